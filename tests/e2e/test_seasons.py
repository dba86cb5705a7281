"""A season, ratings and a person at a terminal and in files, and the plots of the shake-up and of medals."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo

from tests.e2e.test_screens import cells, said
from tests.support.aliases import Connection
from tests.support.boards import Entry, teams, zip_of
from tests.support.syncs import Syncs
from tests.support.terminal import Terminal

Compete = Callable[..., Syncs]
Run = Callable[..., Any]
NASTY = "\u202eevil\x1b[2J"


@pytest.fixture
def club(db: Connection, compete: Compete) -> None:
    """Four people over two competitions of this season, one of another year, and one that goes on."""
    db.execute(
        "INSERT INTO kaggle.participants VALUES ('ann', 'Ann B.'), ('bo', NULL), ('cy', %s), ('dee', '')", (NASTY,)
    )
    year = datetime(2026, 1, 1, tzinfo=UTC)
    for slug, day, order in (
        ("first", 10, ("ann", "bo", "cy")),
        ("second", 20, ("bo", "ann", "x")),
        ("last-year", -9, ("cy", "ann")),
        ("goes-on", None, ("cy", "bo", *"pqrstuvw")),
    ):
        board = [Entry(n, f"team of {name}", Decimal(99 - n), members=(name,)) for n, name in enumerate(order, 1)]
        end = None if day is None else year + timedelta(days=day)
        compete(slug, end_date=end).sync(zip_of(board, slug=slug))


def test_a_season(run: Run, club: None) -> None:
    """Who earned most in a year or a span; the best N; as a table, CSV, JSON and Markdown."""
    shown = run("season", "2026")
    assert (shown.returncode, shown.stderr) == (0, "")
    title, _, *lines = shown.stdout.splitlines()
    assert title == "Season 2026 · Kaggle's points without decay"
    assert [line.split()[:2] for line in lines] == [
        ["PLACE", "NAME"],
        ["1", "Ann"],
        ["1", "bo"],
        ["3", "\\u202eevil\\x1b[2J"],
    ]
    rows = list(csv.DictReader(io.StringIO(run("season", "2026", "--csv", "--best", "1").stdout)))
    assert [(row["Place"], row["KaggleUsername"], row["Competitions"]) for row in rows] == [
        ("1", "ann", "2"), ("1", "bo", "2"), ("3", "cy", "1"),
    ]  # fmt: skip
    assert float(rows[0]["Points"]) == pytest.approx(16941.6, abs=0.1)
    span = ("--since", "2025-12-01", "--until", "2026-01-11T12:00")
    document = json.loads(run("season", *span, "--json", "--top", "2").stdout)
    assert [place["kaggle_username"] for place in document["standing"]] == ["ann", "cy"]
    assert document["until"] == "2026-01-11T12:00:00+00:00"
    assert "Season from 2025-12-01 00:00 until 2026-01-11 12:00" in run("season", *span).stdout
    markdown = run("season", "2026", "--md").stdout.splitlines()
    assert markdown[2].startswith("| 1 | Ann B. | ")
    assert NASTY not in run("season", "2026", "--md").stdout
    assert "Nobody who is registered was on a board" in run("season", "1999").stdout
    for wrong in (("2026", "--since", "2026-02-01"), ("--since", "2026-02-01", "--until", "2026-01-01"), ("0",)):
        assert run("season", *wrong).returncode == 2


def test_ratings(run: Run, club: None) -> None:
    """Now, at a moment, by other numbers."""
    title, _, header, *lines = run("ratings", TZ="UTC").stdout.splitlines()
    assert title.startswith("Ratings as of 20")
    assert header.split() == ["PLACE", "NAME", "RATING", "LAST", "COMPETITIONS", "USER"]
    assert [line.split()[1] for line in lines] == ["bo", "\\u202eevil\\x1b[2J", "Ann"]
    rows = list(csv.DictReader(io.StringIO(run("ratings", "--at", "2025-12-31", "--csv").stdout)))
    assert [(row["KaggleUsername"], float(row["Rating"])) for row in rows] == [("cy", 1516), ("ann", 1484)]
    by_others = json.loads(run("ratings", "--at", "2025-12-31", "--k", "16", "--start", "1000", "--json").stdout)
    assert [(place["rating"], place["last_change"]) for place in by_others["ratings"]] == [(1008, 8), (992, -8)]
    assert (
        run("ratings", "--md", "--at", "2025-12-31", "--top", "1")
        .stdout.splitlines()[2]
        .endswith("| 1,516.0 | +16.0 | 1 |")
    )
    assert run("ratings", "--k", "-1").returncode == 2


def test_a_person(run: Run, db: Connection, club: None) -> None:
    """Each competition: rank, of how many, medal, points, what it did to the rating, and why; what goes on first."""
    for columns in (80, 200):
        shown = run("person", "@BO", COLUMNS=str(columns)).stdout
        assert cells(shown) <= columns
        title, _, header, *lines = shown.splitlines()
        assert re.fullmatch(r"bo · rating 1,5\d\d\.\d · 3 competitions", title)
        assert [line.split()[:3] for line in lines] == [
            ["goes-on", "2", "10"],
            ["second", "1", "3"],
            ["first", "2", "3"],
        ]
        assert "silver zone" in lines[0]
        assert ("WHY" in header) == (columns == 200)
    assert "expected 2nd of 3, came 2nd" in lines[2]
    rows = list(csv.DictReader(io.StringIO(run("person", "ann", "--csv").stdout)))
    assert [row["KaggleCompetitionId"] for row in rows] == ["second", "first", "last-year"]
    assert float(rows[0]["Rating"]) == pytest.approx(float(rows[0]["RatingBefore"]) + float(rows[0]["RatingChange"]))
    document = json.loads(run("person", "ann", "--json").stdout)
    assert document["rating"] == document["results"][0]["rating"]
    assert run("person", "cy", "--md").stdout.splitlines()[2] == "| goes-on | 1 of 10 | gold zone |  |  |  |"
    unrated = run("person", "dee").stdout
    assert unrated.startswith("dee · not rated yet · 0 competitions\n")
    assert "On no board." in unrated
    assert said(run("person", "an")) == "nobody called 'an' is registered: did you mean ann?"
    assert "pgleaderboard participants add" in said(run("person", "zzzzz"))


def test_a_reader_may_ask(run: Run, db: Connection, url: str, club: None) -> None:
    """Each command works for the role that only reads."""
    name = f"reader_{os.getpid()}"
    db.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'x' IN ROLE pgleaderboard_reader")
    try:
        for command in (["season", "2026"], ["ratings"], ["person", "ann"]):
            seen = run(*command, DATABASE_URL=make_conninfo(url, user=name, password="x"))
            assert (seen.returncode, seen.stderr) == (0, ""), command
    finally:
        db.execute(f"DROP ROLE {name}")


def test_the_shakeup_is_drawn(run: Run, syncs: Syncs, url: str, tmp_path: Path) -> None:
    """A dot for each team on both boards, those with a medal apart, and the two numbers."""
    svg = tmp_path / "a.svg"
    syncs.sync(zip_of(teams(*range(1, 21))))
    assert said(run("plot", "a-board", "--shakeup", "-o", str(svg))) == (
        "a-board has no private board yet to compare the public one with"
    )
    # The first two change places, the last one climbs to the third place; one is new, and one is gone.
    syncs.sync(zip_of([*teams(2, 1, 20), *teams(*range(3, 19)), *teams(30)], kind="private"))
    drawn = run("plot", "a-board", "--shakeup", "-o", str(svg))
    numbers = f"shake-up {(1 + 1 + 17 + 16) / 19 / 20:.3f}, of the top tenth {1 / 20:.3f}"
    assert drawn.stdout == f"19 teams drawn into {svg}; {numbers}\n", drawn.stderr
    assert f"a-board: {numbers}" in svg.read_text()
    assert {"gold", "silver", "bronze"} <= set(re.findall(">([a-z]+)</text>", svg.read_text()))
    with Terminal("plot", "a-board", "--shakeup", url=url) as shown:
        assert shown.end() == 0
        assert numbers in shown.text
        assert re.findall(r"(\d+)┤", shown.text) == ["1", "5", "10", "15", "20"]
    for other in (["--medals"], ["--top", "3"], ["--score"]):
        assert run("plot", "a-board", "--shakeup", *other, "-o", str(svg)).returncode == 2


def test_the_scores_of_medals_are_drawn(run: Run, db: Connection, syncs: Syncs, tmp_path: Path) -> None:
    """A line for each medal, which ends with the score of the last place in its zone; not where none is given."""
    svg = tmp_path / "a.svg"
    for best in (50, 90):
        syncs.sync(zip_of([Entry(n, f"team {n}", Decimal(best - n)) for n in range(1, 11)]))
    assert run("plot", "a-board", "--medals", "-o", str(svg)).stdout == f"3 lines drawn into {svg}\n"
    assert [text for text in re.findall(">([^<]*)</text>", svg.read_text()) if "  " in text] == [
        "89  gold", "88  silver", "86  bronze",
    ]  # fmt: skip
    db.execute("UPDATE kaggle.competitions SET category = 'Playground'")
    assert said(run("plot", "a-board", "--medals", "-o", str(svg))) == "a-board gives no medals"
