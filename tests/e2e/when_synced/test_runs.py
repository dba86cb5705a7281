"""An attempt is one run, and listeners are notified of a changed board."""

from __future__ import annotations

import json

from tests.support.aliases import Connect, Connection, MakeWorker
from tests.support.asking import (
    OTHER,
    PATIENCE,
    SLUG,
    eventually,
    insert,
    rows,
    runs,
    synced,
    value,
)
from tests.support.faults import Simulator, Status, Zipped

HEADER = "Rank,TeamId,TeamName,LastSubmissionDate,Score,SubmissionCount,TeamMemberUserNames\n"


def test_each_attempt_is_one_run_with_right_counts(db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """What appeared, vanished, changed its facts, changed its place; a failure with its error; nothing twice."""
    name = f"{SLUG}-publicleaderboard.csv"
    first = "1,11,a,2026-01-01 00:00:00,0.9,1,\n2,12,b,,0.8,1,\n3,13,c,,0.7,1,\n0,10,host,,0.5,1,\n"
    second = "1,13,c,,0.7,1,\n2,11,renamed,2026-01-01 00:00:00,0.9,1,\n3,14,d,,0.6,1,\n0,10,host,,0.5,1,\n"
    simulator.faults.put(SLUG, Zipped(HEADER + first, name), method="DownloadLeaderboard")
    with worker():
        insert(db)
        synced(db)
        for fault in (
            Zipped(HEADER + second, name),
            Zipped(HEADER + second, name),
            Status(500),
            Zipped(HEADER + second + "4,15,d,,0.1,1,x\n", name),
        ):
            simulator.faults.put(SLUG, fault, method="DownloadLeaderboard")
            db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
            synced(db)
    assert rows(
        db,
        "SELECT reason, outcome, board, teams, added, removed, updated, moved, error IS NOT NULL "
        "FROM kaggle.sync_runs ORDER BY id",
    ) == [
        ("inserted", "changed", "public", 3, 4, 0, 0, 0, False),
        ("manual", "changed", "public", 3, 1, 1, 1, 1, False),
        ("manual", "unchanged", "public", 3, 0, 0, 0, 0, False),
        ("manual", "failed", None, None, None, None, None, None, True),
        ("manual", "changed", "public", 4, 1, 0, 0, 0, False),
    ]
    assert (
        value(
            db,
            "SELECT count(*) FROM kaggle.sync_runs WHERE NOT (observed_at >= started_at AND finished_at >= started_at)",
        )
        == 0
    )


def test_finished_jobs_do_not_pile_up(db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """Whether a sync went well or not, its job goes."""
    simulator.faults.put(OTHER, Status(500), method="DownloadLeaderboard")
    with worker():
        for slug in (SLUG, OTHER):
            insert(db, slug)
            synced(db, slug)
        db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
        synced(db)
        eventually(db, 0, "SELECT count(*) FROM procrastinate.procrastinate_jobs")


def test_old_runs_that_changed_nothing_are_pruned(db: Connection, worker: MakeWorker) -> None:
    """Those that changed a board stay, and so does a competition's last one; the worker does it by itself."""
    with worker():
        insert(db, auto_sync=False)
        for _ in range(4):
            db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
            synced(db)
    assert [("manual", "changed"), *[("manual", "unchanged")] * 3] == runs(db)
    assert value(db, "SELECT kaggle_internal.prune_runs('1 hour')") == 0
    db.execute("UPDATE kaggle.sync_runs SET finished_at = finished_at - interval '40 days'")
    assert value(db, "SELECT kaggle_internal.prune_runs('30 days', 1)") == 1
    with worker():
        eventually(db, 2, "SELECT count(*) FROM kaggle.sync_runs")
    assert runs(db) == [("manual", "changed"), ("manual", "unchanged")]
    assert rows(db, "SELECT outcome FROM kaggle.wait_for_sync(%s, '0 s')", SLUG) == [("unchanged",)]


def test_listeners_are_told_of_each_change_and_of_nothing_else(
    db: Connection, connect: Connect, worker: MakeWorker, simulator: Simulator
) -> None:
    """One notification a sync that changed a board; its payload is JSON."""
    listener = connect()
    listener.autocommit = True
    listener.execute("LISTEN kaggle_leaderboard")
    with worker():
        competition_id = insert(db, "titanic")
        synced(db, "titanic")
        db.execute("SELECT kaggle.sync_now('titanic')")
        assert synced(db, "titanic") == ("manual", "unchanged")
        simulator.faults.put("titanic", Status(500), method="DownloadLeaderboard")
        db.execute("SELECT kaggle.sync_now('titanic')")
        assert synced(db, "titanic") == ("manual", "failed")
        simulator.advance(3)
        db.execute("SELECT kaggle.sync_now('titanic')")
        assert synced(db, "titanic") == ("manual", "changed")
    told = [json.loads(each.payload) for each in listener.notifies(timeout=PATIENCE, stop_after=2)]
    columns = ("id", "teams", "added", "removed", "updated", "moved")
    assert [
        {"competition_id": competition_id, "kaggle_competition_id": "titanic"}
        | dict(zip(("run_id", *columns[1:]), run, strict=True))
        for run in rows(db, f"SELECT {', '.join(columns)} FROM kaggle.sync_runs WHERE outcome = 'changed' ORDER BY id")
    ] == told
    db.execute("NOTIFY kaggle_leaderboard, 'the last one'")
    assert [each.payload for each in listener.notifies(timeout=PATIENCE, stop_after=1)] == ["the last one"]
