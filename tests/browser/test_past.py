"""The past of a board: the slider over its syncs, and the lines of teams."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Open
from tests.support.boards import zip_of
from tests.support.dom import has_glided, note_glides, shown, tag, wait_for_other
from tests.support.evening import ranked
from tests.support.syncs import Syncs

BOARDS = (
    ("Otters", "Badgers", "Cranes"),
    ("Badgers", "Otters", "Cranes"),
    ("Badgers", "Newts", "Otters"),
    ("Cranes", "Badgers", "Otters", "Newts"),
)


@pytest.fixture
def runs(syncs: Syncs) -> list[int]:
    """Four boards, an hour apart, the last one half an hour ago."""
    begin = datetime.now(UTC) - timedelta(hours=3, minutes=30)
    return [syncs.sync_at(begin + timedelta(hours=n), zip_of(ranked(*names))) for n, names in enumerate(BOARDS)]


def teams_are(page: Page, names: tuple[str, ...]) -> None:
    """The board is that one."""
    expect(page.locator("tbody th a")).to_have_text(list(names))


def test_the_slider_shows_every_sync(visit: Open, runs: list[int]) -> None:
    """Moved by keys, it shows each board in place; the address, the title and the links follow; rows glide."""
    page = visit("/c/a-board")
    page.get_by_role("link", name="Past").click()
    teams_are(page, BOARDS[3])
    page.evaluate("window.mine = document.querySelector('tr[data-key]')")
    note_glides(page)
    slider = page.get_by_role("slider")
    slider.press("ArrowLeft")
    teams_are(page, BOARDS[2])
    expect(page).to_have_url(re.compile(f"/c/a-board/at/{runs[2]}$"))
    # It is the same page: the row of a team is the same one, and it has moved.
    assert page.evaluate("window.mine !== undefined")
    assert has_glided(page, 0)
    slider.press("Home")
    teams_are(page, BOARDS[0])
    expect(page.get_by_label("Sync 1 of 4")).to_be_focused()
    page.get_by_role("link", name="Next").click()
    teams_are(page, BOARDS[1])
    expect(page).to_have_url(re.compile(f"/c/a-board/at/{runs[1]}$"))
    fresh = visit(f"/c/a-board/at/{runs[1]}")
    assert shown(page).replace(' aria-pressed="false"', "") == shown(fresh).replace(' aria-pressed="false"', "")
    page.reload()
    teams_are(page, BOARDS[1])


def test_a_hurried_slider_ends_where_it_was_left(visit: Open, runs: list[int]) -> None:
    """Boards that are passed by are left out; the last one that was wanted is shown."""
    page = visit(f"/c/a-board/at/{runs[0]}")
    slider = page.get_by_role("slider")
    for step in (3, 1, 4, 2):
        slider.evaluate("(one, to) => { one.value = to; one.dispatchEvent(new Event('input', {bubbles: true})) }", step)
    teams_are(page, BOARDS[1])
    expect(page).to_have_url(re.compile(f"/c/a-board/at/{runs[1]}$"))


def test_the_past_plays_by_itself(visit: Open, runs: list[int]) -> None:
    """A step a second until the last one, and again from the first; by keyboard, too."""
    page = visit(f"/c/a-board/at/{runs[1]}")
    page.clock.install()
    page.reload()
    page.get_by_role("button", name="Play").press("Enter")
    teams_are(page, BOARDS[2])
    expect(page.get_by_role("button", name="Stop")).to_be_focused()
    page.clock.run_for(1000)
    teams_are(page, BOARDS[3])
    page.clock.run_for(1000)
    play = page.get_by_role("button", name="Play")
    expect(play).to_have_attribute("aria-pressed", "false")
    play.click()
    teams_are(page, BOARDS[0])
    page.get_by_role("button", name="Stop").click()
    page.clock.run_for(5000)
    teams_are(page, BOARDS[0])


def test_the_past_without_javascript(visit: Open, runs: list[int]) -> None:
    """The slider's button, the links and a moment lead to the same boards."""
    page = visit("/c/a-board/at", java_script_enabled=False)
    page.get_by_role("slider").fill("1")
    page.get_by_role("button", name="Show").click()
    teams_are(page, BOARDS[0])
    page.get_by_role("link", name="Next").click()
    teams_are(page, BOARDS[1])
    expect(page.get_by_role("button", name="Play")).to_be_hidden()
    page.get_by_label("Another moment").fill(f"{datetime.now(UTC) - timedelta(hours=1):%Y-%m-%dT%H:%M}")
    page.get_by_role("button", name="Go").click()
    expect(page).to_have_url(re.compile(f"/c/a-board/at/{runs[2]}$"))


def test_a_team_is_drawn_through_time(visit: Open, syncs: Syncs, runs: list[int]) -> None:
    """Its rank and score as lines with a gap where it was gone, a table behind them, and all of it live."""
    page = visit("/c/a-board")
    page.get_by_role("link", name="Cranes").click()
    expect(page.locator("h1")).to_have_text("Cranes")
    expect(page.locator(".figures")).to_contain_text("of 4")
    expect(page.get_by_role("img", name="Ranks of Cranes through time")).to_be_visible()
    expect(page.get_by_role("img", name="Scores of Cranes through time")).to_be_visible()
    line = page.locator(".picture path.line").first
    assert line.get_attribute("d").count("M") == 2  # it was gone in between
    # Rank 1, where it is now, is at the top.
    dot = page.locator(".picture circle").first.bounding_box()
    assert dot["y"] < line.bounding_box()["y"] + 10
    page.get_by_text("As a table").press("Enter")
    rows = page.locator("table.changes tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.nth(1)).to_contain_text("gone")
    before = tag(page)
    syncs.sync(zip_of(ranked("Otters", "Cranes", "Badgers")))
    wait_for_other(page, before)
    expect(rows).to_have_count(4)  # the table is still open
    expect(page.locator("tr.marked")).to_contain_text("Cranes")
    fresh = visit(page.url.removeprefix(page.evaluate("location.origin")))
    page.wait_for_function("tag => document.getElementById('live').dataset.tag === tag", arg=tag(fresh))
    assert shown(page).replace(' open=""', "") == shown(fresh)


def test_teams_are_compared_in_a_chart(visit: Open, runs: list[int]) -> None:
    """The first ones at once; a team is added by its name and taken out by its cross; ranks or scores."""
    page = visit("/c/a-board")
    page.get_by_role("link", name="Chart").click()
    expect(page.locator("path.line:not(.swatch *)")).to_have_count(4)
    expect(page.locator(".legend a:not(.without)")).to_have_text(["Cranes", "Badgers", "Otters", "Newts"])
    page.get_by_role("link", name="Without Otters").click()
    expect(page.locator(".legend a:not(.without)")).to_have_text(["Cranes", "Badgers", "Newts"])
    page.get_by_label("Add a team or a username").fill("otters")
    page.get_by_role("button", name="Add").click()
    expect(page.locator(".legend a:not(.without)")).to_have_text(["Otters", "Cranes", "Badgers", "Newts"])
    page.get_by_role("link", name="Scores").click()
    expect(page.get_by_role("img", name="Scores of the teams of a-board through time")).to_be_visible()
    # Each line of the legend looks like the line of the chart, and no other.
    looks = page.evaluate(
        "[...document.querySelectorAll('path.line')].map((line) => { const style = getComputedStyle(line); "
        "return style.stroke + style.strokeDasharray; })"
    )
    assert looks[:4] == looks[4:]
    assert len(set(looks)) == 4


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_ten_lines_are_told_apart(visit: Open, syncs: Syncs, color_scheme: str) -> None:
    """By colour and by dashes, each seen well before its ground."""
    syncs.sync(zip_of(ranked(*(f"Team {n}" for n in range(12)))))
    page = visit("/c/a-board/chart", color_scheme=color_scheme)
    styles = page.evaluate(
        "[...document.querySelectorAll('.chart path.line')].map((line) => [getComputedStyle(line).stroke, "
        "getComputedStyle(line).strokeDasharray])"
    )
    ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert len(styles) == len({stroke for stroke, _ in styles}) == len({dashes for _, dashes in styles}) == 10
    for stroke, _ in styles:
        assert contrast(stroke, ground) >= 3, stroke


def contrast(one: str, other: str) -> float:
    """Of two colours, as WCAG counts it."""

    def light(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    dark, bright = sorted((light(one), light(other)))
    return (bright + 0.05) / (dark + 0.05)


def test_a_pinned_team_stays_in_sight(visit: Open, syncs: Syncs) -> None:
    """Pinned by keyboard, it stands above every page of its board, live and after a reload; unpinned, it goes."""
    names = [f"Team {n:03}" for n in range(100)]
    syncs.sync(zip_of(ranked(*names)))
    page = visit("/c/a-board?page=2")
    expect(page.locator(".pins")).to_be_hidden()
    page.get_by_role("link", name="Team 087").click()
    pin = page.get_by_role("button", name="Pin", exact=True)
    pin.press("Enter")
    expect(page.get_by_role("button", name="Unpin")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("link", name="Board", exact=True).click()
    pinned = page.get_by_role("complementary", name="Pinned teams")
    expect(pinned.locator("li")).to_contain_text("Team 087")
    expect(pinned.locator(".rank")).to_have_text("88")
    before = tag(page)
    syncs.sync(zip_of(ranked(names[87], *names[:87], *names[88:])))
    wait_for_other(page, before)
    expect(pinned.locator(".rank")).to_have_text("1")
    page.reload()
    expect(pinned.locator("li")).to_have_count(1)
    pinned.get_by_role("link", name="Team 087").click()
    page.get_by_role("button", name="Unpin").click()
    page.get_by_role("link", name="Board", exact=True).click()
    expect(pinned).to_be_hidden()


def test_no_button_that_does_nothing(visit: Open, syncs: Syncs) -> None:
    """Without JavaScript nothing can be pinned."""
    syncs.sync(zip_of(ranked("Otters")))
    page = visit("/c/a-board", java_script_enabled=False)
    page.get_by_role("link", name="Otters").click()
    expect(page.get_by_role("button", name="Pin")).to_be_hidden()
    expect(page.get_by_role("img", name="Ranks of Otters through time")).to_be_visible()
