"""A sweep: when the next one is needed, and whom it waits for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.support.aliases import Connect, Connection
from tests.support.asking import insert, move_time, rows, value

SOON = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
LATER = SOON + timedelta(hours=1)


@pytest.mark.parametrize(
    ("competition", "event", "wakes"),
    [
        ({}, {}, None),
        ({"start_date": SOON, "end_date": LATER}, {}, SOON),
        ({"end_date": SOON}, {}, SOON),
        ({"end_date": LATER}, {"end_date": SOON}, SOON),
        ({"end_date": LATER + timedelta(hours=1)}, {"start_date": SOON, "end_date": LATER}, SOON),
        ({"start_date": datetime.now(UTC) - timedelta(days=1), "end_date": LATER}, {}, LATER - timedelta(hours=1)),
    ],
)
def test_the_worker_wakes_at_the_next_date(
    db: Connection, competition: dict[str, datetime], event: dict[str, datetime], wakes: datetime | None
) -> None:
    """A competition and an event begin and end on time; an hour before an end Kaggle is asked."""
    insert(db, auto_sync=False, **competition)
    if event:
        db.execute(
            "INSERT INTO kaggle.events (slug, title, start_date, end_date) VALUES ('night', 'N', %s, %s)",
            (event.get("start_date"), event["end_date"]),
        )
    worker_id = value(db, "SELECT kaggle_internal.register_worker('test', 'credential')")
    assert value(db, "SELECT wake_at FROM kaggle_internal.sweep(%s, true)", worker_id) == wakes


@pytest.mark.parametrize("table", ["competitions", "events"])
@pytest.mark.parametrize("lock", ["SHARE", "NO KEY UPDATE"])
def test_a_date_that_passes_waits_for_no_reader(db: Connection, connect: Connect, table: str, lock: str) -> None:
    """Somebody reads the row with a lock, and stays: its status follows later, and nobody is held up."""
    if table == "events":
        db.execute("INSERT INTO kaggle.events (slug, title, end_date) VALUES ('night', 'N', %s)", (SOON,))
    else:
        insert(db, end_date=SOON)
    past = "end_date = now() - interval '1 s', dates_checked_at = now() - interval '1 h'"
    move_time(db, f"UPDATE kaggle.{table} SET {past}")
    reader = connect()
    reader.execute(f"SELECT FROM kaggle.{table} FOR {lock}")
    db.execute("SET statement_timeout = '10s'")  # an error of a lock would be taken for a refusal of the row
    status, act = f"SELECT status FROM kaggle.{table}", "SELECT kaggle_internal.let_dates_act()"
    db.execute(act)
    assert rows(db, status) == [("ongoing",)]
    reader.rollback()
    db.execute(act)
    assert rows(db, status) == [("completed",)]
