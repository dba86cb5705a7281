"""An attempt that fails, is skipped or is given up: what was asked for is still asked for, and nobody else pays."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

from pgleaderboard.sync.retry import Decision
from pgleaderboard.sync.store import Begun
from tests.support.aliases import Connection
from tests.support.asking import rows, value
from tests.support.boards import teams, zip_of
from tests.support.syncs import Syncs

SECOND = "interval '1 second'"
FAILED = Decision("transient", "the answer was lost", timedelta(seconds=15))
GIVEN_UP = (timedelta(minutes=5), "the end was refused")


def fail(syncs: Syncs, run_id: int, kind: str = "transient") -> None:
    """End an attempt as failed; it would be tried again in five minutes."""
    syncs.db.execute("SELECT kaggle_internal.fail_run(%s, 1, 'it broke', %s, '5 minutes')", (run_id, kind))


def retry_is_due(syncs: Syncs) -> None:
    """Let five minutes pass."""
    syncs.db.execute(f"UPDATE kaggle_internal.sync_state SET retry_at = clock_timestamp() - {SECOND}")


def test_a_wish_outlives_a_retry_that_was_skipped(syncs: Syncs) -> None:
    """It failed, and its retry was for the link before: it is asked of the new one, by a job."""
    fail(syncs, syncs.begin().run_id)
    retry_is_due(syncs)
    retry = syncs.again()
    assert (retry.action, retry.reason) == ("sync", "manual")
    syncs.db.execute("UPDATE kaggle.competitions SET kaggle_competition_id = 'b-board'")
    syncs.db.execute("TRUNCATE procrastinate.procrastinate_jobs CASCADE")

    assert syncs.end(retry.run_id, zip_of(teams(1))).outcome == "skipped"

    assert syncs.jobs() == 1
    begun = syncs.again()
    assert (begun.action, begun.slug, begun.reason) == ("sync", "b-board", "manual")


def test_what_is_asked_for_meanwhile_is_done_afterwards(syncs: Syncs) -> None:
    """An attempt that ends answers what it was begun for, and neither what came since nor another competition's."""
    run_id = syncs.begin().run_id
    syncs.db.execute("UPDATE kaggle.competitions SET auto_sync = true, status = 'completed'")
    syncs.db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('another')")
    syncs.db.execute("TRUNCATE procrastinate.procrastinate_jobs CASCADE")

    assert syncs.end(run_id, zip_of(teams(1))).outcome == "changed"

    assert syncs.jobs() == 1
    begun = syncs.again()
    assert (begun.action, begun.reason) == ("sync", "completed")
    assert rows(syncs.db, "SELECT reason FROM kaggle_internal.sync_requests ORDER BY 1") == [
        ("completed",),
        ("inserted",),
    ]


def begin(syncs: Syncs, token: UUID) -> Begun:
    """Begin an attempt with a token."""
    begun = syncs.store.begin_sync(syncs.competition, token=token)
    assert begun.action == "sync"
    return begun


def test_a_job_gives_up_its_own_attempt_only(syncs: Syncs) -> None:
    """Another one's goes on, under the same worker, and ends with its run."""
    syncs.db.execute("SELECT kaggle.sync_now('a-board')")
    begun = begin(syncs, uuid4())
    syncs.store.let_go(syncs.competition, uuid4(), *GIVEN_UP)
    assert syncs.end(begun.run_id, zip_of(teams(1)), begun.token).outcome == "changed"
    assert syncs.run()[0] == "changed"


def test_an_attempt_that_is_given_up_is_tried_again(syncs: Syncs) -> None:
    """Its job may not even know its number: the answer to its beginning was lost."""
    syncs.db.execute("SELECT kaggle.sync_now('a-board')")
    token = uuid4()
    begun = begin(syncs, token)
    syncs.store.let_go(syncs.competition, token, *GIVEN_UP)
    assert syncs.end(begun.run_id, zip_of(teams(1)), token).outcome is None
    assert value(syncs.db, "SELECT last_error FROM kaggle.sync_status") == GIVEN_UP[1]
    assert syncs.again().action == "none"
    retry_is_due(syncs)
    assert syncs.again().reason == "manual"


def test_a_number_alone_applies_and_fails_nothing(syncs: Syncs) -> None:
    """A promoted server may have issued it again: the attempt that has it now goes on."""
    syncs.db.execute("SELECT kaggle.sync_now('a-board')")
    begun = begin(syncs, uuid4())
    for token in (None, uuid4()):
        assert syncs.end(begun.run_id, zip_of(teams(1)), token).outcome is None
        assert syncs.store.fail(begun.run_id, FAILED, token) == "superseded"
    assert syncs.end(begun.run_id, zip_of(teams(1, 2)), begun.token).teams == 2


def test_whose_end_was_answered_to_nobody_is_no_failure(syncs: Syncs) -> None:
    """The connection was lost while COMMIT was on its way back: the run is there, and the worker is told so."""
    syncs.db.execute("SELECT kaggle.sync_now('a-board')")
    begun = begin(syncs, uuid4())
    syncs.end(begun.run_id, zip_of(teams(1)), begun.token)
    assert syncs.store.fail(begun.run_id, FAILED, begun.token) == "changed"
    assert syncs.run()[0] == "changed"


def test_a_wish_that_a_lost_attempt_has_taken_is_wanted(syncs: Syncs) -> None:
    """Whoever took it has lost the fence without a word: it is waiting again, for a sweep and for who waits in SQL."""
    syncs.begin()
    syncs.db.execute(
        "UPDATE kaggle_internal.sync_state SET running_run_id = NULL, running_worker_id = NULL, running_since = NULL, "
        "running_reason = NULL"
    )
    assert wanted(syncs.db, "credential") == 1
    assert value(syncs.db, "SELECT sync_state FROM kaggle.sync_status") == "queued"
    assert syncs.again().reason == "manual"


def wanted(db: Connection, credential: str) -> int:
    """How many syncs a thorough sweep of a worker with this credential wants."""
    return int(
        value(
            db,
            "SELECT count(DISTINCT competition_id) FROM kaggle_internal.wanted(%s, true) WHERE task = 'sync'",
            worker(db, credential),
        )
    )


def worker(db: Connection, credential: str) -> int:
    """A worker that has registered with this credential."""
    known = value(db, "SELECT max(id) FROM kaggle_internal.worker_processes WHERE credential = %s", credential)
    return int(known or value(db, "SELECT kaggle_internal.register_worker('test', %s)", credential))


def begin_with(syncs: Syncs, credential: str) -> tuple[str, int]:
    """What a worker with this credential is answered: action and number of the run."""
    begun: tuple[str, int]
    begin = "SELECT action, run_id FROM kaggle_internal.begin_sync(%s, %s)"
    (begun,) = rows(syncs.db, begin, syncs.competition, worker(syncs.db, credential))
    return begun


def test_each_credential_is_tried_once_for_what_a_person_must_mend(syncs: Syncs) -> None:
    """The second worker has its try; then both wait, however often either looks, until the five minutes are over."""
    db = syncs.db
    db.execute("UPDATE kaggle.competitions SET auto_sync = true, sync_interval = '1 hour'")
    fail(syncs, syncs.begin().run_id, "person")
    for credential in ("other", "third"):
        assert wanted(db, "credential") == 0
        assert wanted(db, credential) == 1
        action, run_id = begin_with(syncs, credential)
        assert action == "sync"
        fail(syncs, run_id, "person")
    for credential in ("credential", "other", "third"):
        assert wanted(db, credential) == 0
        assert begin_with(syncs, credential)[0] == "none"
    assert value(db, "SELECT count(*) FROM kaggle.sync_runs") == 3

    retry_is_due(syncs)
    assert syncs.end(syncs.again().run_id, zip_of(teams(1))).outcome == "changed"
    assert rows(db, "SELECT tried_credentials FROM kaggle_internal.sync_state") == [([],)]
    fail(syncs, syncs.begin().run_id, "person")
    assert wanted(db, "other") == 1  # a success makes all of them worth another try


def test_another_link_is_tried_with_every_credential(syncs: Syncs) -> None:
    """What was tried says nothing of another Kaggle competition."""
    fail(syncs, syncs.begin().run_id, "person")
    fail(syncs, begin_with(syncs, "other")[1], "person")
    syncs.db.execute("UPDATE kaggle.competitions SET kaggle_competition_id = 'b-board'")
    begun = syncs.begin()
    assert rows(syncs.db, "SELECT tried_credentials FROM kaggle_internal.sync_state") == [(["credential"],)]
    fail(syncs, begun.run_id, "person")
    syncs.db.execute("UPDATE kaggle.competitions SET auto_sync = true")
    assert wanted(syncs.db, "other") == 1
