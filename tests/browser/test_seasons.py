"""A season, the ratings and what a person earned, on the page."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import requests
from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.browser.test_moments import Get, get  # noqa: F401 - a fixture
from tests.support.aliases import Connection
from tests.support.boards import Entry, teams, zip_of
from tests.support.page import serving
from tests.support.syncs import Syncs

YEAR = datetime(2025, 1, 1, tzinfo=UTC)


def scored(*team_ids: int) -> list[Entry]:
    """A board of these teams, best first, none with the score of another."""
    return [entry.but(score=Decimal(99 - n)) for n, entry in enumerate(teams(*team_ids))]


@pytest.fixture
def club(db: Connection, compete: Callable[..., Syncs]) -> list[Syncs]:
    """Three people over two completed competitions."""
    db.execute("INSERT INTO kaggle.participants VALUES ('user1', 'One <b>'), ('user2', NULL), ('user3', NULL)")
    made = []
    for day, order in ((9, (1, 2, 3)), (40, (1, 3, 2))):
        syncs = compete(f"day-{day}", title=f"Day {day}", end_date=YEAR + timedelta(days=day))
        syncs.sync(zip_of(scored(*order, *range(10, 20)), slug=f"day-{day}"))
        made.append(syncs)
    return made


def names(html: str) -> list[str]:
    """Who stands in the table, in its order."""
    return re.findall(r'<tr data-key="p(\w+)">', html)


def test_a_season_is_shown_and_given_to_programs(club: list[Syncs], get: Get) -> None:  # noqa: F811
    """By year, by span and by the best of each person; what is no season is refused."""
    assert 'href="/season"' in get("/").text
    page = get("/season?year=2025").text
    assert names(page) == ["user1", "user2", "user3"]
    assert "<h1>Season 2025</h1>" in page
    assert '<a href="/people/user1"><bdi>One &lt;b&gt;</bdi></a>' in page
    first = get("/season?since=2025-01-01&until=2025-01-31").text
    assert names(first) == ["user1", "user2", "user3"]
    assert 'href="/season?since=2025-01-01&amp;until=2025-01-31&amp;best=3"' in first
    assert names(get("/season?year=2024").text) == []
    lines = get("/season.csv?year=2025&best=1").text.splitlines()
    assert lines[0] == "Place,KaggleUsername,DisplayName,Points,Competitions"
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2", "2"]
    assert [place["place"] for place in get("/season.json?year=2025").json()["standing"]] == [1, 2, 2]
    for wrong, status in (
        ("year=1", 404),
        ("year=x", 400),
        ("best=0", 400),
        ("since=2025-02-01&until=2025-01-01", 400),
    ):
        assert get(f"/season?{wrong}").status_code == status, wrong


def test_ratings_and_a_persons_steps(club: list[Syncs], get: Get) -> None:  # noqa: F811
    """Who is strongest, and why, competition by competition, the latest first."""
    page = get("/ratings").text
    assert names(page) == ["user1", "user3", "user2"]
    assert [place["kaggle_username"] for place in get("/ratings.json").json()["ratings"]] == names(page)
    assert get("/ratings.csv").text.startswith(
        "Place,KaggleUsername,DisplayName,Rating,Competitions,LastChange\n1,user1,"
    )
    person = get("/people/user3").text
    assert re.findall(r"<bdi>(Day \d+)</bdi>", person) == ["Day 40", "Day 9"]
    assert "expected 2nd of 3, came 3rd" in person
    assert re.findall(r'<span class="(up|down)">(.\d+\.\d)</span>', person) == [("up", "+2.0"), ("down", "\u221221.3")]


def test_a_freeze_holds_in_ratings_too(club: list[Syncs], db: Connection, get: Get) -> None:  # noqa: F811
    """Of a frozen competition, and of all that ended after it, neither season nor ratings nor people tell."""
    db.execute("INSERT INTO kaggle.events (slug, title, frozen_at) VALUES ('night', 'Night', now() - interval '1 h')")
    db.execute("INSERT INTO kaggle.event_competitions SELECT e.id, %s FROM kaggle.events e", (club[1].competition,))
    for path in ("/season?year=2025", "/ratings"):
        page = get(path).text
        assert names(page) == ["user1", "user2", "user3"]
        assert "what ended from" in page
    ratings = get("/ratings.json").json()["ratings"]
    assert {place["competitions"] for place in ratings} == {1}
    assert get("/people/user3").text.count("came") == 1


def test_where_some_events_are_shown_nothing_of_others_is(club: list[Syncs], db: Connection, url: str) -> None:
    """Seasons and ratings rest on all competitions."""
    db.execute("INSERT INTO kaggle.events (slug, title) VALUES ('night', 'Night')")
    db.execute("INSERT INTO kaggle.event_competitions SELECT e.id, %s FROM kaggle.events e", (club[0].competition,))
    with serving(url, "--event", "night") as address:
        for path in ("/season", "/season.csv", "/ratings", "/ratings.json"):
            assert requests.get(address + path, timeout=30).status_code == 404
        assert "/season" not in requests.get(address + "/", timeout=30).text
        person = requests.get(address + "/people/user1", timeout=30).text
    assert "Day 9" in person
    assert "came" not in person


def test_it_is_live_and_fits_a_phone(club: list[Syncs], visit: Open) -> None:
    """A private board that comes turns the order around without a reload; nothing is wider than the window."""
    page = visit("/season?year=2025", width=360)
    rows = page.locator("table.standing tbody th")
    assert rows.first.inner_text().startswith("One <b>")
    for syncs, day in zip(club, (9, 40), strict=True):
        syncs.sync(zip_of(scored(3, 2, *range(10, 20), 1), slug=f"day-{day}", kind="private"))
    expect(rows.first).to_contain_text("user3", timeout=15_000)
    for path in ("/ratings", "/people/user3"):
        other = visit(path, width=360)
        assert other.evaluate("document.documentElement.scrollWidth") == 360
        assert other.evaluate("[...document.querySelectorAll('.scroll')].every(e => e.scrollWidth <= e.clientWidth)")
