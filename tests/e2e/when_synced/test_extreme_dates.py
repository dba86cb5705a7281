"""Dates and intervals at the ends of what PostgreSQL can hold."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable

import psycopg
import pytest
import requests
from psycopg import errors

from pgleaderboard.database.connect import connect, explained
from tests.support.aliases import Connection, MakeWorker
from tests.support.asking import (
    SLUG,
    eventually,
    insert,
    sweep_soon,
    synced,
    value,
)
from tests.support.faults import Simulator
from tests.support.page import serving

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(
    ("column", "date"), [("end_date", "infinity"), ("start_date", "infinity"), ("start_date", "-infinity")]
)
def test_a_date_of_infinity_does_not_harm_the_worker(
    db: Connection, worker: MakeWorker, column: str, date: str
) -> None:
    """People write infinity for "never": the worker goes on, with that row alone in the database too."""
    db.execute(
        f"INSERT INTO kaggle.competitions (kaggle_competition_id, {column}, auto_sync) VALUES (%s, %s, false)",
        (SLUG, date),
    )
    db.execute(f"INSERT INTO kaggle.events (slug, title, {column}) VALUES ('night', 'Night', %s)", (date,))
    with worker():
        eventually(db, 1, "SELECT count(*) FROM kaggle.workers")
        sweep_soon(db)
        db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
        assert synced(db) == ("manual", "changed")
        assert value(db, "SELECT worker_id FROM kaggle.workers") == 1


@pytest.mark.parametrize(
    ("columns", "date"),
    [(("end_date",), "infinity"), (("end_date", "start_date"), "20000-01-01"), (("end_date",), "0044-03-15 BC")],
)
def test_screens_and_page_hold_a_date_that_python_does_not(
    run: Run, url: str, db: Connection, columns: tuple[str, ...], date: str
) -> None:
    """One that never comes is shown as none; behind a freeze since ever there is nothing."""
    db.execute("INSERT INTO kaggle.events (slug, title, frozen_at) VALUES ('night', 'Night', %s)", (date,))
    db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id, event_id) VALUES (%s, 1)", (SLUG,))
    for table in ("events", "competitions"):
        db.execute(
            f"UPDATE kaggle.{table} SET {', '.join(f'{column} = %(date)s' for column in columns)}", {"date": date}
        )
    for command in (
        ["status"],
        ["status", SLUG],
        ["standings", "night"],
        ["board", SLUG],
        ["pause", SLUG],
        ["resume", SLUG],
    ):
        shown = run(*command)
        assert not re.search("too large|too small|out of reach|cannot read|Traceback", shown.stdout + shown.stderr)
    assert value(db, "SELECT count(*) FROM kaggle.sync_status WHERE next_sync_at IN ('infinity', '-infinity')") == 0
    with serving(url) as address:
        pages = {path: requests.get(address + path, timeout=30) for path in ("/", "/e/night", f"/c/{SLUG}")}
    assert [page.status_code for page in pages.values()] == [200, 200, 200]
    assert ("frozen since" in pages["/"].text) == (date not in ("infinity", "20000-01-01"))


def test_a_value_that_cannot_be_read_is_no_outage(url: str) -> None:
    """It is said to be what it is."""
    with connect(url) as connection, pytest.raises(psycopg.DataError) as unread:
        value(connection, "SELECT date 'infinity'")
    assert str(explained(unread.value)).startswith("cannot read what the database holds: date too large")


@pytest.mark.parametrize("column", ["sync_interval", "history_interval"])
@pytest.mark.parametrize("huge", ["170000000 years", "infinity"])
def test_an_interval_of_ages_is_refused(db: Connection, column: str, huge: str) -> None:
    """By a rule of that column, whose name says what is wrong."""
    if huge == "infinity" and db.info.server_version < 170000:
        pytest.skip("no infinite intervals before PostgreSQL 17")
    with pytest.raises(errors.CheckViolation) as refused:
        insert(db, "titanic", **{column: huge})
    assert str(refused.value.diag.constraint_name).startswith(f"{column}_")


@pytest.mark.parametrize("column", ["sync_interval", "history_interval"])
def test_an_interval_of_nearly_a_century_works(
    db: Connection, worker: MakeWorker, simulator: Simulator, column: str
) -> None:
    """No interval that is accepted stops a competition's syncs."""
    with worker():
        insert(db, "titanic", **{column: "36000 days"})
        assert synced(db, "titanic") == ("inserted", "changed")
        simulator.advance(2)
        db.execute("SELECT kaggle.sync_now('titanic')")
        assert synced(db, "titanic") == ("manual", "changed")
