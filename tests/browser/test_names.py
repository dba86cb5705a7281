"""Hostile names in every view: no script runs, no layout breaks; and no view is closed to a screen reader."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.support.aliases import Connection
from tests.support.boards import Entry, zip_of
from tests.support.evening import Evening

HOSTILE = (
    "<script>document.title = 'hacked'</script>",
    "<img src=x onerror=\"document.title = 'hacked'\">",
    "'\"></td></tr></table><h1>free</h1>",
    "{{ 7 * 7 }} {% raw %} ${7*7}",
    "\u202egnp.exe \u2066\u2067 \u200f\u05e9\u05dc\u05d5\u05dd",
    "Z\u0351\u036b\u0343\u036a\u0302\u036b\u033d\u034f\u0334\u0319\u0324" * 12,
    "W" * 255,
    "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f3f3\ufe0f\u200d\U0001f308 \U0001f1fa\U0001f1f3",
    "javascript:document.title='hacked'",
    "\u0641\u0631\u064a\u0642 \u0627\u0644\u0628\u064a\u0627\u0646\u0627\u062a",
    '=1+1,"quoted"',
)
VIEWS = (
    "/",
    "/c/first",
    "/c/first?q=hacked",
    "/c/first?rank=7",
    "/c/first/teams/5",
    "/c/first/chart",
    "/c/first/chart?of=score",
    "/c/first/at",
    "/c/first/movers",
    "/people/user7",
    "/c/first/screen",
    "/e/night",
    "/e/night?q=script",
    "/e/night/screen",
    "/e/night/reveal",
    "/embed/c/first",
    "/embed/e/night",
    "/nowhere",
    "/c/%3Cscript%3Ealert(1)%3C%2Fscript%3E",
)


@pytest.fixture
def hostile(evening: Evening, db: Connection) -> Evening:
    """The evening, with such names wherever a name may stand."""
    board = [
        Entry(number, name, Decimal(90 - number) / 100, members=(f"user{number}",))
        for number, name in enumerate(HOSTILE, 1)
    ]
    evening.first.sync(zip_of(board))
    evening.second.sync(zip_of(board[::-1]))
    for number, name in enumerate(HOSTILE, 1):
        db.execute("INSERT INTO kaggle.participants VALUES (%s, %s)", (f"user{number}", name))
    db.execute("UPDATE kaggle.events SET title = %s", (HOSTILE[0],))
    db.execute("UPDATE kaggle.competitions SET title = %s", (HOSTILE[6],))
    evening.freeze()
    return evening


@pytest.mark.parametrize("width", [360, 1920])
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_no_name_breaks_a_page(visit: Open, hostile: Evening, width: int, colours: str) -> None:
    """Nothing runs, nothing is wider than the window, and axe finds nothing."""
    for view in VIEWS:
        page = visit("/", width=width, color_scheme=colours)
        page.goto(page.url.rstrip("/") + view)
        assert page.title() != "hacked", view
        assert page.locator("script:not([src]), img, h1:has-text('free')").count() == 0, view
        assert page.evaluate("document.documentElement.scrollWidth") <= width, view
        found = Axe().run(page)
        assert found.violations_count == 0, f"{view} at {width} in {colours}: {found.generate_report()}"
        page.context.close()


def test_names_stand_as_they_are(visit: Open, hostile: Evening) -> None:
    """Only what changes directions is shown as its number."""
    page = visit("/c/first")
    names = page.locator("tbody .team > a bdi").all_inner_texts()
    assert names == [re.sub("[\u202e\u2066\u2067\u200f]", lambda c: f"\\u{ord(c[0]):04x}", name) for name in HOSTILE]


def test_all_of_it_works_by_keyboard(visit: Open, hostile: Evening) -> None:
    """From the top of a page the content is one step away, and a search ends at the team."""
    page = visit("/c/first")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the content")).to_be_focused()
    page.keyboard.press("Enter")
    for view in ("Board", "Past", "Chart", "Movers"):
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name=view, exact=True)).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Find a team or a username")).to_be_focused()
    page.keyboard.type("user7")
    page.keyboard.press("Enter")
    page.wait_for_url("**q=user7")
    page.locator(".found a").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("tr[aria-current]")).to_have_count(1)
