"""The live part of a page, to be compared."""

from __future__ import annotations

from playwright.sync_api import Page

_LIVE = "document.getElementById('live')"
_TEXT = f"""() => {{
    const copy = {_LIVE}.cloneNode(true);
    copy.removeAttribute("data-tag");
    for (const element of copy.querySelectorAll("*")) element.removeAttribute("style");
    return copy.outerHTML.replace(/>\\s+/g, ">").replace(/\\s+</g, "<");
}}"""


def shown(page: Page) -> str:
    """Its markup, without white space between elements."""
    text: str = page.evaluate(_TEXT)
    return text


def tag(page: Page) -> str:
    """What the stream has brought last."""
    text: str = page.evaluate(f"{_LIVE}.dataset.tag")
    return text


def note_glides(page: Page) -> None:
    """From now on the page remembers which of its rows glided, however soon they came to rest."""
    page.evaluate(
        """() => {
            const animate = Element.prototype.animate;
            window.glided = new Set();
            Element.prototype.animate = function (...path) {
                window.glided.add(this);
                return animate.apply(this, path);
            };
        }"""
    )


def has_glided(page: Page, nth: int) -> bool:
    """Whether a row of the table, counted from 0, has glided to its place."""
    return bool(page.evaluate("nth => window.glided.has(document.querySelectorAll('tbody tr')[nth])", nth))


def wait_for_other(page: Page, before: str) -> None:
    """Wait until the stream has brought something else."""
    page.wait_for_function(f"before => {_LIVE}.dataset.tag !== before", arg=before)


def wait_until_equal(page: Page, fresh: Page) -> None:
    """Wait until the streams have brought both to the same version, which each minute is another one; compare them."""
    for _ in range(75):
        if tag(page) == tag(fresh):
            break
        page.wait_for_timeout(200)
    assert shown(page) == shown(fresh)
