"""A property: the page that was open all the time equals one that is opened now."""

from __future__ import annotations

import itertools

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.support.boards import zip_of
from tests.support.dom import wait_until_equal
from tests.support.evening import Evening, ranked

NAMES = ["Asp", "Bo", "Cy", "Dot", "Eve", "Fox", "Gus", "<b>", "\u202eHal", "a'\"b"]
BOARDS = st.lists(st.sampled_from(NAMES), min_size=1, unique=True)
STEPS = st.one_of(
    BOARDS.map(lambda names: ("first", names)),
    BOARDS.map(lambda names: ("second", names)),
    st.sampled_from(NAMES).map(lambda name: ("title", name)),
    st.sampled_from(NAMES).map(lambda name: ("register", name)),
    st.sampled_from(["freeze", "unfreeze", "pause", "go on", "hide"]).map(lambda what: (what, None)),
)
EVENTS = itertools.count()


def step(evening: Evening, what: str, given: object) -> None:
    """One thing that an organiser or a worker does."""
    db = evening.db
    match what:
        case "first" | "second":
            getattr(evening, what).sync(zip_of(ranked(*given)))  # type: ignore[misc]
        case "title":
            db.execute("UPDATE kaggle.competitions SET title = %s", (given,))
        case "register":
            db.execute(
                "INSERT INTO kaggle.participants (kaggle_username, display_name) VALUES ('bo', %s) "
                'ON CONFLICT (lower(kaggle_username COLLATE "C")) DO UPDATE SET display_name = excluded.display_name',
                (given,),
            )
        case "freeze":
            evening.freeze()
        case "unfreeze":
            evening.unfreeze()


@given(steps=st.lists(STEPS, min_size=1, max_size=10))
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def equal(visit: Open, evening: Evening, steps: list[tuple[str, object]]) -> None:
    """After all steps, and once the stream has brought the last of them."""
    evening.unfreeze()
    evening.sync(NAMES[:4], NAMES[2:])
    pages = [visit(path) for path in ("/c/first", "/e/night", "/")]
    for what, value in steps:
        for page in pages:
            pressed = page.get_by_role("button", name="Pause").get_attribute("aria-pressed") == "true"
            if (what == "pause" and not pressed) or (what == "go on" and pressed):
                page.get_by_role("button", name="Pause").click()
        step(evening, what, value)
    for page in pages:
        button = page.get_by_role("button", name="Pause")
        if button.get_attribute("aria-pressed") == "true":
            button.click()
            expect(button).to_have_attribute("aria-pressed", "false")
        fresh = visit(page.url.removeprefix(page.url[: page.url.index("/", 8)]))
        wait_until_equal(page, fresh)
    for page in pages:
        page.context.close()


def test_the_live_page_equals_a_fresh_one_after_any_steps(visit: Open, evening: Evening) -> None:
    """Boards, edits, freezes and reconnections in any order."""
    equal(visit, evening)
