"""Procrastinate's traps, and that none of them is ours.

Each test names the trap. Where the remedy is code, the comment says how the test fails without it.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any
from uuid import UUID

import psycopg
import pytest
from procrastinate.manager import JobManager

from pgleaderboard.process.queue import QueueWorker
from tests.support.aliases import Connect, Connection, MakeWorker
from tests.support.faults import Simulator, Status

QUEUED = "SELECT count(*) FROM procrastinate.procrastinate_jobs"


def insert(db: Connection, *slugs: str) -> None:
    """Insert competitions one by one."""
    for slug in slugs:
        db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES (%s)", (slug,))


def wait(db: Connection, slug: str) -> str:
    """The outcome of the sync that was asked for."""
    found = db.execute("SELECT outcome FROM kaggle.wait_for_sync(%s, '30 seconds')", (slug,)).fetchone()
    assert found is not None
    return str(found[0])


def until(db: Connection, query: str) -> None:
    """Return when a query gives true."""
    for _ in range(600):
        if db.execute(query).fetchone() == (True,):
            return
        db.execute("SELECT pg_sleep(0.02)")
    pytest.fail(f"still not true: {query}")


# A queueing_lock whose job waits aborts the user's own statement; a lock holds up what is behind its head; +5 s.


def test_no_job_carries_a_lock_or_a_schedule(db: Connection) -> None:
    """Whoever asks, however often and for however many rows: no lock, no queueing_lock, nothing for later.

    Without the remedy (a queueing_lock in queue_job) the second session's statement fails with unique_violation.
    """
    insert(db, "titanic", "orbit-wars")
    with db.transaction():
        for _ in range(3):
            db.execute("SELECT kaggle.sync_now('titanic')")
    db.execute("UPDATE kaggle.competitions SET auto_sync = false")
    db.execute("UPDATE kaggle.competitions SET auto_sync = true")
    db.execute("SELECT kaggle_internal.register_worker('test', 'cred')")
    db.execute("SELECT kaggle_internal.sweep((SELECT max(id) FROM kaggle_internal.worker_processes), true)")
    kinds = db.execute(
        "SELECT DISTINCT lock, queueing_lock, scheduled_at, queue_name, attempts FROM procrastinate.procrastinate_jobs"
    ).fetchall()
    assert kinds == [(None, None, None, "kaggle", 0)]


def test_asking_while_a_job_waits_in_another_session_aborts_nobody(db: Connection, connect: Connect) -> None:
    """Five sessions ask for the same competition before any commits; each one's statement works, and commits."""
    insert(db, "titanic")
    sessions = [connect() for _ in range(5)]
    for session in sessions:
        session.execute("SET lock_timeout = '300ms'")
        session.execute("SELECT kaggle.sync_now('titanic')")
    for session in reversed(sessions):
        session.commit()
    # The first found the waiting job and held it, the others put one beside it each.
    assert db.execute(QUEUED).fetchone() == (5,)
    assert db.execute("SELECT count(*) FROM kaggle_internal.sync_requests").fetchone() == (6,)


def test_jobs_too_many_find_nothing_to_do(
    db: Connection, connect: Connect, worker: MakeWorker, simulator: Simulator
) -> None:
    """Of those jobs one syncs, the others end; Kaggle is asked once or twice, and the queue is empty."""
    test_asking_while_a_job_waits_in_another_session_aborts_nobody(db, connect)
    with worker():
        assert wait(db, "titanic") == "changed"
        until(db, f"SELECT ({QUEUED} WHERE task_name = 'sync') = 0")
    assert 1 <= [request.method for request in simulator.requests].count("DownloadLeaderboard") <= 2


# A retry while a newer job waits leaves the job `doing` for good.


def test_a_failure_while_a_newer_job_waits_blocks_nothing(
    db: Connection, worker: MakeWorker, simulator: Simulator
) -> None:
    """A sync fails although it was asked for again meanwhile: its job ends, and the newer wish is done at once."""
    gate = simulator.faults.put("titanic", Status(500))
    hold = simulator.faults.hold("held")
    with worker(concurrency=1):
        insert(db, "held")
        assert hold.arrived.wait(30)
        insert(db, "titanic")
        hold.release()
        assert gate.arrived.wait(30)
        db.execute("SELECT kaggle.sync_now('titanic')")
        until(db, "SELECT count(*) > 0 FROM kaggle.sync_runs WHERE outcome = 'failed'")
        until(
            db,
            "SELECT consecutive_failures = 0 AND last_success_at IS NOT NULL FROM kaggle_internal.sync_state"
            " WHERE competition_id = (SELECT max(id) FROM kaggle.competitions)",
        )
        until(db, f"SELECT ({QUEUED} WHERE task_name = 'sync') = 0")


# The lost wake-up: the worker clears its new-job event after the fetch.


@pytest.fixture
def woken_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a notification makes a worker look for jobs: it does not poll, and sweeps only when a job says so."""
    made = QueueWorker.__init__

    def make(self: QueueWorker, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        self.fetch_job_polling_interval = 3600

    monkeypatch.setattr(QueueWorker, "__init__", make)
    monkeypatch.setattr("pgleaderboard.process.session.SWEEP_EVERY", 3600.0)


@pytest.mark.usefixtures("woken_only")
def test_a_job_inserted_during_a_fetch_starts_at_once(
    db: Connection, worker: MakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that is committed and notified after the fetch has looked, and before it has answered, is not forgotten.

    procrastinate's own worker would sleep until its next poll, and the sweep finds no competition without a job.
    Without the remedy (`_Wakeup`, which only the beginning of a fetch clears) the wait times out.
    """
    looked, go_on = threading.Event(), threading.Event()
    slow = threading.Event()
    fetch = JobManager.fetch_job

    async def slowly(self: JobManager, *args: Any, **kwargs: Any) -> Any:
        found = await fetch(self, *args, **kwargs)
        if found is None and slow.is_set() and not looked.is_set():
            looked.set()
            while not go_on.is_set():  # noqa: ASYNC110 - set by the test, in another thread
                await asyncio.sleep(0.005)
        return found

    monkeypatch.setattr(JobManager, "fetch_job", slowly)
    with worker():
        until(db, "SELECT count(*) = 1 FROM kaggle.workers")
        insert(db, "first")
        assert wait(db, "first") == "changed"
        slow.set()
        db.execute(
            "SELECT kaggle_internal.queue_job('sweep', NULL, 0)"
        )  # wakes the worker: it fetches until it finds nothing
        assert looked.wait(30)
        insert(db, "titanic")
        # Our listener has heard of it while the fetch still is on its way.
        db.execute("SELECT pg_sleep(0.3)")
        go_on.set()
        assert wait(db, "titanic") == "changed"


@pytest.mark.usefixtures("woken_only")
def test_the_next_sync_of_the_same_competition_starts_at_once(
    db: Connection, worker: MakeWorker, simulator: Simulator
) -> None:
    """What is asked during a sync begins when that ends, without a poll: the end queues a job, which notifies."""
    gate = simulator.faults.hold("titanic", method="DownloadLeaderboard")
    with worker():
        insert(db, "titanic")
        assert gate.arrived.wait(30)
        db.execute("SELECT kaggle.sync_now('titanic')")
        until(db, f"SELECT ({QUEUED} WHERE status = 'todo' AND task_name = 'sync') = 0")
        gate.release()
        assert wait(db, "titanic") == "unchanged"
    assert db.execute("SELECT count(*) FROM kaggle.sync_runs").fetchone() == (2,)


# A killed worker's jobs stay `doing` for ever.


def test_a_dead_workers_job_is_removed_and_its_sync_begun_anew(db: Connection, worker: MakeWorker) -> None:
    """A job left `doing` by a worker without a heartbeat goes, and what it ran is done by another.

    Without the remedy (rescue() in sweep) the job stays, and the row is `running` for ever.
    """
    insert(db, "titanic")
    gone = 2_000_000_000  # its connection, and so its lock, is gone
    db.execute("SET search_path = procrastinate")
    dead = db.execute("SELECT procrastinate_register_worker_v1()").fetchone()[0]
    db.execute("SELECT procrastinate_fetch_job_v2(ARRAY['kaggle'], %s)", (dead,))
    db.execute("RESET search_path")
    run = db.execute(
        "SELECT action FROM kaggle_internal.begin_sync((SELECT id FROM kaggle.competitions),"
        " kaggle_internal.register_worker('test', 'cred'))"
    )
    assert run.fetchone() == ("sync",)
    db.execute("UPDATE kaggle_internal.sync_state SET running_worker_id = %s", (gone,))
    doing = f"{QUEUED} WHERE status = 'doing' AND worker_id = {int(dead)}"
    with worker():
        # Its heartbeat is young: it may be alive, and nobody touches its job. Its run is known to be orphaned.
        assert wait(db, "titanic") == "changed"
        assert db.execute(doing).fetchone() == (1,)
        db.execute(
            "UPDATE procrastinate.procrastinate_workers SET last_heartbeat = now() - interval '1 minute' WHERE id = %s",
            (dead,),
        )
        db.execute("SELECT kaggle_internal.queue_job('sweep', NULL, 20)")
        until(db, f"SELECT ({doing}) = 0")


# Finished jobs are pruned by nothing; an error's text is stored nowhere.


def test_finished_jobs_leave_nothing_behind(db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """Jobs that succeeded, failed or had nothing to do are deleted with their events; the error stands in the run."""
    simulator.faults.put("failing", Status(500))
    with worker():
        insert(db, "titanic", "failing", "unknown-slug")
        outcomes = [wait(db, slug) for slug in ("titanic", "failing", "unknown-slug")]
        db.execute("DELETE FROM kaggle.competitions WHERE kaggle_competition_id = 'failing'")
        db.execute("SELECT kaggle_internal.queue_job('sync', 999999, 5)")
        until(db, f"SELECT ({QUEUED}) = 0")
    assert outcomes == ["changed", "failed", "failed"]
    assert db.execute("SELECT count(*) FROM procrastinate.procrastinate_events").fetchone() == (0,)
    said = db.execute("SELECT error FROM kaggle.sync_runs WHERE outcome = 'failed'").fetchone()[0]
    assert "404" in said


def test_a_job_that_raises_is_deleted_too(db: Connection, worker: MakeWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job whose task itself fails is a failed job; it does not stay, and the wish is kept.

    Without the remedy (DeleteJobCondition.ALWAYS) it stays as `failed`.
    """
    broken = threading.Event()

    def breaks(self: object, competition_id: int, token: UUID) -> str:
        broken.set()
        raise RuntimeError("a fault of ours")

    with monkeypatch.context() as patch:
        patch.setattr("pgleaderboard.sync.attempt.Syncer.sync", breaks)
        with worker():
            insert(db, "titanic")
            assert broken.wait(30)
    assert db.execute(f"{QUEUED} WHERE status NOT IN ('todo', 'doing')").fetchone() == (0,)
    assert db.execute("SELECT reason FROM kaggle_internal.sync_requests").fetchall() == [("inserted",)]
    with worker():
        assert wait(db, "titanic") == "changed"
        until(db, f"SELECT ({QUEUED}) = 0")


# PostgreSQL goes away for a moment: procrastinate's worker ends quietly, or lives on deaf.


def test_a_worker_that_lost_its_sessions_hears_again(db: Connection, worker: MakeWorker) -> None:
    """Every session of a worker is ended by the server: it comes back, under another number, and is woken again."""
    with worker():
        insert(db, "titanic")
        wait(db, "titanic")
        before = db.execute("SELECT worker_id FROM kaggle.workers").fetchall()
        db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name LIKE 'pgleaderboard%'"
        )
        until(db, f"SELECT count(*) = 1 FROM kaggle.workers WHERE worker_id > {before[0][0]}")
        insert(db, "orbit-wars")
        assert wait(db, "orbit-wars") == "changed"


def test_an_end_that_the_database_refuses_leaves_no_sync_running(
    db: Connection, worker: MakeWorker, simulator: Simulator
) -> None:
    """The statement that ends an attempt fails once, in a worker that lives: the competition is synced all the same.

    A dead worker's attempts are found by the sweep; a living one's must be let go by the worker itself.
    """
    db.execute(
        """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'try again' USING ERRCODE = 'deadlock_detected'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON kaggle.sync_runs FOR EACH ROW EXECUTE FUNCTION refuse();
        """
    )
    gate = simulator.faults.hold("titanic", method="DownloadLeaderboard")
    with worker():
        insert(db, "titanic")
        assert gate.arrived.wait(30)
        gate.release()
        until(db, f"SELECT ({QUEUED} WHERE task_name = 'sync') = 0")  # its job has ended, whatever became of it
        db.execute("DROP TRIGGER refuse ON kaggle.sync_runs")
        db.execute("SELECT kaggle.sync_now('titanic')")
        db.execute("SELECT kaggle_internal.queue_job('sweep', NULL, 20)")
        found = db.execute("SELECT outcome FROM kaggle.wait_for_sync('titanic', '6 seconds')").fetchone()
    assert found == ("changed",)


# Behind a pooler in transaction mode no search_path holds.


def test_our_functions_find_procrastinate_whatever_the_search_path(db: Connection) -> None:
    """procrastinate's functions use unqualified names; ours that call them bring the path along."""
    db.execute("SET search_path = pg_catalog")
    insert(db, "titanic")
    db.execute("SELECT kaggle.sync_now('titanic')")
    worker_id = db.execute("SELECT kaggle_internal.register_worker('test', 'cred')").fetchone()[0]
    begun = db.execute(
        "SELECT run_id FROM kaggle_internal.begin_sync((SELECT id FROM kaggle.competitions), %s)",
        (worker_id,),
    ).fetchone()
    db.execute("UPDATE kaggle_internal.sync_state SET running_worker_id = 2000000000")
    db.execute("SELECT kaggle_internal.sweep(%s, true)", (worker_id,))
    with pytest.raises((psycopg.errors.UndefinedTable, psycopg.errors.UndefinedObject)):
        db.execute("SELECT procrastinate.procrastinate_fetch_job_v2(NULL, 1)")
    assert begun is not None
    assert db.execute(QUEUED).fetchone() == (1,)
