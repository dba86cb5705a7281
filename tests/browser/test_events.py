"""An event: its standing live, its freeze, and the reveal."""

from __future__ import annotations

import re
import socket
from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.browser.conftest import Open
from tests.support.dom import shown, tag, wait_for_other
from tests.support.evening import Evening
from tests.support.page import serving

NAMES = "tbody .team bdi"


def test_a_standing_is_live_and_each_total_opens(visit: Open, evening: Evening) -> None:
    """Points by competition stay open while the standing moves."""
    evening.sync(["Ann", "Bo", "Cy"], ["Bo", "Cy", "Ann"])
    page = visit("/e/night")
    expect(page.locator("main > .scroll > table > tbody > tr > th bdi")).to_have_text(["bo", "ann", "cy"])
    page.get_by_text("150", exact=True).click()
    expect(page.locator("details[open]")).to_contain_text("1 of 3")
    evening.sync(["Cy", "Ann", "Bo"])
    expect(page.locator("main > .scroll > table > tbody > tr > th bdi")).to_have_text(["cy", "bo", "ann"])
    expect(page.locator("details[open]")).to_contain_text("3 of 3")
    page.get_by_label("Find a person").fill("CY")
    page.get_by_role("button", name="Find").click()
    page.locator(".found a").click()
    expect(page.locator("tr[aria-current]")).to_contain_text("cy")


def test_a_freeze_holds_everything_and_everybody(visit: Open, evening: Evening, address: str) -> None:
    """Boards, standings, other events that share a competition, and every format show nothing newer."""
    evening.sync(["Ann", "Bo"], ["Ann", "Bo"])
    evening.db.execute("INSERT INTO kaggle.events (slug, title) VALUES ('league', 'League')")
    evening.db.execute(
        "INSERT INTO kaggle.event_competitions (event_id, competition_id) "
        "SELECT e.id, %s FROM kaggle.events e WHERE slug = 'league'",
        (evening.first.competition,),
    )
    pages = [visit(path) for path in ("/c/first", "/e/night", "/e/league", "/c/first/screen", "/e/league/screen")]
    evening.freeze()
    for page in pages:
        expect(page.locator("main")).to_contain_text(re.compile("frozen since", re.IGNORECASE))
    evening.sync(["Bo", "Zoe", "Ann"], ["Bo", "Zoe", "Ann"])
    later = evening.db.execute("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US')").fetchone()
    assert later
    for path in (
        "/c/first",
        "/e/night",
        "/e/league",
        "/",
        "/c/first.json",
        "/c/first.csv",
        "/e/league.json",
        "/e/night.csv",
    ):
        answer = visit("/").request.get(address + path)
        assert answer.ok, path
        assert "zoe" not in answer.text().lower(), path
    assert visit("/").request.get(f"{address}/e/league/at/{later[0]}Z").status == 404
    evening.unfreeze()
    for page in pages:
        expect(page.locator("main")).to_contain_text(re.compile("zoe", re.IGNORECASE))


def test_the_reveal_step_by_step(browser: Browser, evening: Evening, url: str, tmp_path: Path) -> None:
    """From the last place upwards; viewers follow; a restart resumes; the end is the unfrozen standing."""
    evening.sync(["Ann", "Bo", "Cy"], ["Ann", "Bo", "Cy"])
    evening.freeze()
    evening.sync(["Cy", "Dot", "Bo", "Ann"], ["Cy", "Bo", "Ann"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    home = {"PGLEADERBOARD_HOME": str(tmp_path)}
    with serving(url, "--port", port, **home) as address:
        key = re.findall('"key": "([^"]+)"', "".join(path.read_text() for path in tmp_path.glob("page-*.json")))[0]
        viewer, presenter = browser.new_page(), browser.new_page()
        viewer.goto(f"{address}/e/night/reveal")
        expect(viewer.locator(NAMES)).to_have_text(["ann", "bo", "cy"])
        expect(viewer.get_by_role("button", name="Reveal the next")).to_have_count(0)
        presenter.goto(f"{address}/e/night/reveal?key={key}")
        button = presenter.get_by_role("button", name="Reveal the next")
        button.press("Enter")  # who came after the freeze
        expect(viewer.locator(NAMES)).to_have_text(["ann", "bo", "dot", "cy"])
        assert "dot" not in viewer.request.get(f"{address}/e/night").text()
        expect(presenter.locator("main")).to_contain_text("1 of 4 people revealed")
        button.press("Enter")  # the last place of the frozen standing
        expect(viewer.locator(NAMES)).to_have_text(["ann", "cy", "bo", "dot"])
        expect(viewer.locator("tr.marked")).to_contain_text("cy")
        fresh = browser.new_page()
        fresh.goto(f"{address}/e/night/reveal")
        assert shown(fresh) == shown(viewer)
        assert viewer.request.post(f"{address}/e/night/reveal?key=wrong").status == 403
        assert viewer.request.post(f"{address}/e/night").status == 405
        assert viewer.request.get(f"{address}/e/night/reveal?key=wrong").status == 404
    with serving(url, "--port", port, **home) as address:
        presenter.goto(f"{address}/e/night/reveal?key={key}")
        expect(presenter.locator("main")).to_contain_text("2 of 4 people revealed")
        for _ in range(2):
            before = tag(presenter)
            presenter.get_by_role("button", name="Reveal the next").click()
            wait_for_other(presenter, before)
        expect(presenter.locator("main")).to_contain_text("All are revealed")
        expect(presenter.locator(NAMES)).to_have_text(evening.standing())
        before = tag(presenter)
        presenter.get_by_role("button", name="One step back").click()
        wait_for_other(presenter, before)
        expect(presenter.locator("main")).to_contain_text("3 of 4 people revealed")
    for context in browser.contexts:
        context.close()


def test_a_screen_turns_its_pages(visit: Open, evening: Evening) -> None:
    """On a projector the rows that do not fit follow by themselves; there is nothing to click."""
    evening.sync([f"Team {number}" for number in range(60)])
    page = visit("/c/first/screen")
    expect(page.get_by_role("button")).to_have_count(0)
    expect(page.locator("[data-clock]")).to_contain_text(re.compile(r"\d\d:\d\d"))
    expect(page.locator(".code")).to_have_count(0)  # nobody's phone finds a loopback address
    page.wait_for_function("() => document.querySelector('.scroll').scrollTop > 100", timeout=15_000)
