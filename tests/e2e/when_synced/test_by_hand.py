"""kaggle.sync_now."""

from __future__ import annotations

import pytest
from psycopg import errors

from tests.support.aliases import Connection, MakeWorker
from tests.support.asking import (
    SLUG,
    assert_nothing_is_wanted,
    insert,
    synced,
    value,
)
from tests.support.faults import Simulator, Status


@pytest.mark.parametrize("state", ["upcoming", "ongoing", "completed"])
def test_sync_now_syncs_whatever_the_status(db: Connection, worker: MakeWorker, state: str) -> None:
    """By slug, by URL and in another case."""
    insert(db, "Simulated-4-Teams", status=state, auto_sync=False)
    with worker():
        for wrote, outcome in (
            ("Simulated-4-Teams", "changed"),
            ("simulated-4-TEAMS", "unchanged"),
            ("https://www.kaggle.com/competitions/simulated-4-teams/leaderboard?tab=public", "unchanged"),
        ):
            db.execute("SELECT kaggle.sync_now(%s)", (wrote,))
            assert ("manual", outcome) == synced(db, wrote)
    assert value(db, "SELECT count(*) FROM kaggle.sync_runs") == 3


def test_sync_now_syncs_after_a_failure_too(db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """Whoever asks by hand does not wait for the retry."""
    simulator.faults.put(SLUG, Status(404), method="DownloadLeaderboard")
    with worker():
        insert(db)
        assert synced(db) == ("inserted", "failed")
        db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
        assert synced(db) == ("manual", "changed")


def test_sync_now_on_an_unknown_competition_says_what_to_do(db: Connection) -> None:
    """The hint is the INSERT that makes it known."""
    with pytest.raises(errors.NoDataFound) as refused:
        db.execute("SELECT kaggle.sync_now('nowhere')")
    assert (
        refused.value.diag.message_hint == "INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('nowhere');"
    )


def test_sync_now_in_a_transaction_that_rolls_back_asks_for_nothing(db: Connection, worker: MakeWorker) -> None:
    """It begins when the caller commits."""
    competition_id = insert(db, status="upcoming")
    with db.transaction(force_rollback=True):
        db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
    with worker():
        assert_nothing_is_wanted(db, competition_id)
