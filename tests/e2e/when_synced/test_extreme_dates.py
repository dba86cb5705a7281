"""Dates and intervals at the ends of what PostgreSQL can hold."""

from __future__ import annotations

import pytest
from psycopg import errors

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
