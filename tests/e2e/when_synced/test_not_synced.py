"""Other changes bring no sync about, and switching off cancels one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.aliases import Connection, MakeWorker
from tests.support.asking import (
    BYSTANDER,
    OTHER,
    SLUG,
    assert_nothing_is_wanted,
    eventually,
    insert,
    status,
    sweep_soon,
    synced,
    value,
)
from tests.support.faults import Simulator
from tests.support.statements import MANY, insert_rows

IDLE: dict[str, dict[str, Any]] = {
    "upcoming": {"status": "upcoming"},
    "no Kaggle id": {"kaggle_competition_id": None, "title": "Not there yet"},
    "auto_sync false": {"auto_sync": False},
}


EDITS = (
    "title = 'Another title'",
    "description = 'Words', evaluation_metric = 'RMSE', higher_is_better = true",
    "rating_weight = 2, points_for_perfect_score = 50, is_featured = true",
    "metric_min_value = 0, metric_max_value = 1",
    "max_submissions_per_day = 9, history_interval = '1 hour'",
    "sync_interval = '1 hour'",
    "start_date = now() + '1 day', end_date = now() + '2 days'",
    "event_id = (SELECT max(id) FROM kaggle.events)",
)


@pytest.mark.parametrize("columns", IDLE.values(), ids=IDLE)
def test_nothing_happens_to_a_competition_that_is_not_to_be_synced(
    db: Connection, worker: MakeWorker, simulator: Simulator, columns: dict[str, Any]
) -> None:
    """No change of title, weight, dates and the like brings a sync about."""
    db.execute("INSERT INTO kaggle.events (slug, title) VALUES ('night', 'Night')")
    with worker():
        competition_id = (
            insert(db, **{"slug": SLUG} | columns)
            if "kaggle_competition_id" not in columns
            else insert(db, None, title=columns["title"])
        )
        for edit in EDITS:
            db.execute(f"UPDATE kaggle.competitions SET {edit} WHERE id = %s", (competition_id,))
        assert (
            value(db, "SELECT count(*) FROM kaggle_internal.sync_requests WHERE competition_id = %s", competition_id)
            == 0
        )
        assert_nothing_is_wanted(db, competition_id)
    assert {BYSTANDER} == {request.slug for request in simulator.requests}


def test_an_ongoing_competition_is_not_synced_for_a_new_title(
    db: Connection, worker: MakeWorker, simulator: Simulator
) -> None:
    """A change that means nothing to a board leaves the next sync to the clock."""
    with worker():
        competition_id = insert(db)
        assert synced(db) == ("inserted", "changed")
        due = status(db, "next_sync_at")
        db.execute("UPDATE kaggle.competitions SET title = 'New', rating_weight = 3 WHERE id = %s", (competition_id,))
        assert_nothing_is_wanted(db, competition_id, before=1)
        assert due == status(db, "next_sync_at")


def test_ten_thousand_upcoming_bring_no_work(db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """Inserted and edited in one statement each: no request, no job, not a word to Kaggle."""
    with worker():
        insert_rows(db, MANY, "upcoming")
        db.execute("UPDATE kaggle.competitions SET title = 'T' || id, rating_weight = 2")
        assert value(db, "SELECT count(*) FROM kaggle_internal.sync_requests") == 0
        sweep_soon(db)
        assert (db.execute("SELECT kaggle.sync_now(%s)", (OTHER,)), synced(db, OTHER))[1] == ("manual", "changed")
        assert value(db, "SELECT count(*) FROM kaggle_internal.wanted(NULL, true) WHERE task = 'sync'") == 0
    assert {OTHER} == {request.slug for request in simulator.requests}


@pytest.mark.parametrize(
    "change", ["auto_sync = false", "status = 'upcoming'", "kaggle_competition_id = NULL, title = 'Off Kaggle'"]
)
def test_switching_off_cancels_what_has_not_begun(
    db: Connection, worker: MakeWorker, simulator: Simulator, change: str
) -> None:
    """What was asked for while it was on is dropped."""
    competition_id = insert(db)
    assert status(db, "sync_state") == "queued"
    db.execute(f"UPDATE kaggle.competitions SET {change} WHERE id = %s", (competition_id,))
    assert value(db, "SELECT sync_state FROM kaggle.sync_status") in ("off", "idle")
    with worker():
        assert_nothing_is_wanted(db, competition_id)
    assert {BYSTANDER} == {request.slug for request in simulator.requests}


def test_switching_off_stops_the_clock(db: Connection, worker: MakeWorker) -> None:
    """A competition that was due is not synced any more, and nothing announces a next sync."""
    with worker():
        competition_id = insert(db)
        synced(db)
        with db.transaction():
            db.execute("UPDATE kaggle.competitions SET auto_sync = false")
            db.execute("UPDATE kaggle_internal.sync_state SET due_at = now() - interval '1 s'")
        sweep_soon(db)
        eventually(db, None, "SELECT due_at FROM kaggle_internal.sync_state WHERE competition_id = %s", competition_id)
        assert_nothing_is_wanted(db, competition_id, before=1)
    assert (status(db, "next_sync_at"), status(db, "sync_state")) == (None, "off")


def test_switching_off_keeps_what_was_asked_for_by_hand(db: Connection, worker: MakeWorker) -> None:
    """sync_now counts whatever the row says."""
    insert(db)
    db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
    db.execute("UPDATE kaggle.competitions SET auto_sync = false")
    with worker():
        assert synced(db) == ("manual", "changed")
