"""One budget for Kaggle, shared by all workers: evenly spaced, without a burst, and nobody sits waiting for it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from pgleaderboard.kaggle.credential import Credential
from tests.support.aliases import Connect, Connection, MakeWorker
from tests.support.faults import Simulator, Status

MINUTE = timedelta(seconds=60)


def take(connection: Connection, rate: int, credential: str = "cred") -> tuple[bool, datetime | None]:
    """Ask for a grant."""
    found = connection.execute(
        "SELECT granted, wake_at FROM kaggle_internal.take_grant(%s, %s)", (credential, rate)
    ).fetchone()
    assert found is not None
    return found


def register(db: Connection, rate: int, credential: str = "cred") -> int:
    """A worker with this credential and this budget."""
    (worker_id,) = db.execute("SELECT kaggle_internal.register_worker('test', %s, %s)", (credential, rate)).fetchone()
    return int(worker_id)


def pass_time(db: Connection, seconds: float) -> None:
    """Let time pass, as the budget sees it."""
    db.execute(
        "UPDATE kaggle_internal.kaggle_budget SET next_grant_at = next_grant_at - make_interval(secs => %(by)s),"
        " blocked_until = blocked_until - make_interval(secs => %(by)s)",
        {"by": seconds},
    )


def next_in(db: Connection, credential: str = "cred") -> float:
    """Seconds until the next grant."""
    found = db.execute(
        "SELECT extract(epoch FROM next_grant_at - clock_timestamp())::float8 FROM kaggle_internal.kaggle_budget"
        " WHERE credential = %s",
        (credential,),
    ).fetchone()
    assert found is not None
    return float(found[0])


def add(db: Connection, *slugs: str, **columns: Any) -> list[int]:
    """Insert competitions one by one; their ids."""
    names = "".join(f", {name}" for name in columns)
    values = "".join(", %s" for _ in columns)
    return [
        db.execute(
            f"INSERT INTO kaggle.competitions (kaggle_competition_id{names}) VALUES (%s{values}) RETURNING id",
            (slug, *columns.values()),
        ).fetchone()[0]
        for slug in slugs
    ]


# By hand.


@pytest.mark.parametrize("rate", [1, 7, 30, 60, 1200])
def test_grants_are_evenly_spaced_so_no_minute_sees_too_many(db: Connection, rate: int) -> None:
    """After a grant the next one is more than a minute's share away: `rate` grants and one more span over 60 s."""
    spacing = 60.5 / rate
    before = db.execute("SELECT clock_timestamp()").fetchone()[0]
    assert take(db, rate)[0] is True
    granted, wake_at = take(db, rate)
    assert granted is False
    assert wake_at is not None
    assert (wake_at,) == db.execute("SELECT next_grant_at FROM kaggle_internal.kaggle_budget").fetchone()
    assert (wake_at - before).total_seconds() >= spacing
    assert next_in(db) <= spacing
    assert rate * spacing > MINUTE.total_seconds()


def test_time_that_passed_unused_is_not_saved_up(db: Connection) -> None:
    """After an hour without a request there is one grant, not a burst of them."""
    assert take(db, 30)[0] is True
    pass_time(db, 3600)
    assert [take(db, 30)[0] for _ in range(5)] == [True, False, False, False, False]


def test_three_minutes(db: Connection) -> None:
    """Through three minutes in small steps, no window of 60 s has more grants than allowed, and few have less."""
    rate, step = 30, 0.1
    granted: list[float] = []
    for tick in range(int(180 / step)):
        if take(db, rate)[0]:
            clock = db.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
            assert clock is not None
            granted.append(tick * step + clock[0])  # the time that was passed by hand, and the real one
        pass_time(db, step)
    fullest = max(sum(start <= moment < start + 60 for moment in granted) for start in granted)
    assert rate - 2 <= fullest <= rate


def test_three_sessions_at_once_get_one_grant(db: Connection, connect: Connect) -> None:
    """However many workers ask at the same moment, one is granted, and the others are told when to come again."""
    connections = [connect() for _ in range(3)]
    for each in connections:
        each.autocommit = True

    def ask(connection: Connection) -> tuple[bool, datetime | None]:
        return take(connection, 60)

    with ThreadPoolExecutor(3) as pool:
        for _ in range(20):
            answers = list(pool.map(ask, connections))
            assert sorted(granted for granted, _ in answers) == [False, False, True]
            assert all(
                wake_at is not None and wake_at > datetime.now(UTC) for granted, wake_at in answers if not granted
            )
            pass_time(db, 2)


def test_a_grant_that_is_rolled_back_is_given_back(db: Connection, connect: Connect) -> None:
    """A beginning that fails after its grant costs nothing."""
    assert take(db, 60)[0] is True
    pass_time(db, 2)
    failing = connect()
    assert take(failing, 60)[0] is True
    failing.rollback()
    assert take(db, 60)[0] is True


def test_zero_is_no_limit(db: Connection) -> None:
    """With 0 requests a minute every request is granted, and nothing is written."""
    assert {take(db, 0) for _ in range(50)} == {(True, None)}
    assert db.execute("SELECT count(*) FROM kaggle_internal.kaggle_budget").fetchone() == (0,)


def test_a_second_credential_has_its_own_budget(db: Connection) -> None:
    """Two credentials neither share grants nor a pause."""
    assert [take(db, 60, "one")[0], take(db, 60, "two")[0], take(db, 60, "one")[0]] == [True, True, False]
    db.execute(
        "UPDATE kaggle_internal.kaggle_budget SET blocked_until = now() + interval '1 hour' WHERE credential = 'one'"
    )
    pass_time(db, 2)
    assert [take(db, 60, "one")[0], take(db, 60, "two")[0]] == [False, True]


@pytest.mark.parametrize("rate", [0, 60])
def test_nothing_is_granted_in_a_pause(db: Connection, rate: int) -> None:
    """After a 429, nobody is granted anything until the pause is over, limit or not; a shorter pause ends none."""
    (competition_id,) = add(db, "titanic")
    worker_id = register(db, rate)
    run = "SELECT run_id FROM kaggle_internal.begin_sync(%s, %s)"
    (run_id,) = db.execute(run, (competition_id, worker_id)).fetchone()
    fail = "SELECT kaggle_internal.fail_run(%s, %s, '429', 'transient', interval '1 s', make_interval(secs => %s))"
    db.execute(fail, (run_id, worker_id, 100))
    db.execute(fail, (-1, worker_id, 50))  # an attempt that was superseded heard of a shorter one
    granted, wake_at = take(db, rate)
    assert (granted, wake_at) == (
        False,
        db.execute("SELECT blocked_until FROM kaggle_internal.kaggle_budget").fetchone()[0],
    )
    # Neither is it for what is asked by hand.
    db.execute("SELECT kaggle.sync_now('titanic')")
    begun = db.execute("SELECT action, wake_at FROM kaggle_internal.begin_sync(%s, %s)", (competition_id, worker_id))
    assert begun.fetchone() == ("wait", wake_at)
    pass_time(db, 90)
    assert take(db, rate)[0] is False
    pass_time(db, 10)
    assert take(db, rate)[0] is True


def test_metadata_is_counted(db: Connection) -> None:
    """Asking for metadata takes a grant of the same budget, and waits for one."""
    assert register(db, 60) == 1
    (competition_id,) = add(db, "titanic")
    describe = "SELECT action FROM kaggle_internal.begin_describe(%s, 1)"
    assert db.execute("SELECT action FROM kaggle_internal.begin_sync(%s, 1)", (competition_id,)).fetchone() == ("sync",)
    assert db.execute(describe, (competition_id,)).fetchone() == ("wait",)
    pass_time(db, 2)
    assert db.execute(describe, (competition_id,)).fetchone() == ("describe",)
    assert take(db, 60)[0] is False


def test_metadata_gives_way_to_boards(db: Connection) -> None:
    """While a sync is wanted, a grant is not spent on metadata, though its job comes first: an import of a thousand
    competitions brings all boards before any title.
    """
    assert register(db, 60) == 1
    first, second = add(db, "titanic", "orbit-wars")
    begin, describe = (
        "SELECT action FROM kaggle_internal.begin_sync(%s, 1)",
        ("SELECT action FROM kaggle_internal.begin_describe(%s, 1)"),
    )
    assert db.execute(begin, (first,)).fetchone() == ("sync",)
    pass_time(db, 2)
    assert db.execute(describe, (first,)).fetchone() != ("describe",)
    assert db.execute(begin, (second,)).fetchone() == ("sync",)
    pass_time(db, 2)
    assert db.execute(describe, (first,)).fetchone() == ("describe",)


def test_waiting_takes_nothing_away(db: Connection) -> None:
    """An attempt that gets no grant leaves every request as it is: it will be begun at the next one."""
    assert register(db, 60) == 1
    first, second = add(db, "titanic", "orbit-wars")
    begin = "SELECT action, reason FROM kaggle_internal.begin_sync(%s, 1)"
    assert db.execute(begin, (first,)).fetchone() == ("sync", "inserted")
    assert db.execute(begin, (second,)).fetchone() == ("wait", None)
    waiting = "SELECT reason, run_id, tried FROM kaggle_internal.sync_requests WHERE competition_id = %s"
    assert db.execute(waiting, (second,)).fetchall() == [("inserted", None, False)]
    pass_time(db, 2)
    assert db.execute(begin, (second,)).fetchone() == ("sync", "inserted")


def test_workers_that_disagree_are_named(db: Connection) -> None:
    """The budget is shared by credential, so it must be the same there; the phases after an end must be everywhere."""
    problems = "SELECT array_agg(problem ORDER BY worker_id) FROM kaggle.workers"
    one, two = register(db, 30), register(db, 60)
    register(db, 60, "another")
    assert db.execute(problems).fetchone() == (
        [
            f"PGLEADERBOARD_REQUESTS_PER_MINUTE is 30 here and 60 at worker {two}, which has the same credential",
            f"PGLEADERBOARD_REQUESTS_PER_MINUTE is 60 here and 30 at worker {one}, which has the same credential",
            None,
        ],
    )
    db.execute("SELECT kaggle_internal.unregister_worker(%s)", (one,))
    assert db.execute(problems).fetchone() == ([None, None],)
    phases = "SELECT kaggle_internal.register_worker('test', 'cred', 60, %s::interval[])"
    db.execute(phases, (["2 hours", "1 day", "30 days", "1 year"],))
    (four,) = db.execute(phases, (["1 hour", "1 day", "30 days", "1 year"],)).fetchone()
    assert db.execute("SELECT count(*) FROM kaggle.workers WHERE problem ~ 'AFTER_END'").fetchone() == (2,)
    assert db.execute(f"SELECT count(*) FROM kaggle.workers WHERE problem ~ 'worker {four}$'").fetchone() == (1,)


# With workers.


def until(db: Connection, query: str, **values: Any) -> None:
    """Return when a query gives true."""
    for _ in range(600):
        if db.execute(query, values).fetchone() == (True,):
            return
        db.execute("SELECT pg_sleep(0.02)")
    pytest.fail(f"still not true: {query}")


def downloads(simulator: Simulator) -> list[str]:
    """The boards that were asked for, in order."""
    return [request.slug for request in simulator.requests if request.method == "DownloadLeaderboard"]


def test_three_workers_keep_to_one_budget(db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """Three workers with plenty to do send no more than their common budget, by a real clock."""
    rate = 1200
    add(db, *(f"competition-{number}" for number in range(120)))
    db.execute("UPDATE kaggle.competitions SET auto_sync = true")
    with ExitStack() as stack:
        began = time.monotonic()
        for _ in range(3):
            stack.enter_context(worker(requests_per_minute=rate))
        for _ in range(600):
            if len(simulator.requests) > 20:
                break
            db.execute("SELECT pg_sleep(0.05)")
        asked = len(simulator.requests)
        elapsed = time.monotonic() - began
    assert 20 < asked <= elapsed * rate / 60.5 + 1  # a slow machine only makes the bound higher


def test_by_hand_first_then_asked_then_due_then_metadata(
    db: Connection, worker: MakeWorker, simulator: Simulator
) -> None:
    """At each grant the most urgent wish begins: by hand, asked for by an edit, due by the clock, metadata."""
    with worker():
        add(db, "due-one", "due-two", "by-hand")
        for slug in ("due-one", "due-two", "by-hand"):
            db.execute("SELECT kaggle.wait_for_sync(%s)", (slug,))
    with db.transaction():
        db.execute("SET LOCAL search_path = procrastinate")
        db.execute("DELETE FROM procrastinate_jobs")
    simulator.requests.clear()
    # Nobody works; meanwhile everything becomes wanted, the least urgent first.
    db.execute("UPDATE kaggle_internal.sync_state SET describe_at = '-infinity'")
    db.execute(
        "UPDATE kaggle_internal.sync_state s SET due_at = now() - make_interval(secs => 10 - competition_id)"
        " FROM kaggle.competitions c WHERE c.id = s.competition_id AND c.kaggle_competition_id LIKE 'due%'"
    )
    add(db, "asked")
    db.execute("SELECT kaggle.sync_now('by-hand')")
    # With a grant at hand the first sweep would add a job to those that wait, and it might come before one of theirs.
    db.execute(
        "INSERT INTO kaggle_internal.kaggle_budget (credential, next_grant_at) VALUES (%s, now() + interval '1 hour')",
        (Credential("the test", token="test-token").fingerprint,),
    )
    with worker(requests_per_minute=120, concurrency=1):  # else two that were fetched one after the other may race
        db.execute("SELECT kaggle.wait_for_sync('due-two')")
        # By itself: metadata comes when nothing else is wanted.
        until(db, "SELECT count(*) = 0 FROM kaggle_internal.sync_state WHERE describe_at < clock_timestamp()")
    begun = [request.slug if request.method == "DownloadLeaderboard" else "metadata" for request in simulator.requests]
    assert begun[:4] == ["by-hand", "asked", "due-one", "due-two"]
    assert begun[4:] == ["metadata"] * 4


def test_waiting_for_a_grant_holds_no_place(db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """A worker with one place and no grant for an hour still sweeps, cleans up and lets dates act."""
    (gone,) = add(db, "gone")
    fingerprint = Credential("the test", token="test-token").fingerprint
    db.execute(
        "INSERT INTO kaggle_internal.kaggle_budget (credential, blocked_until) VALUES (%s, now() + interval '1 hour')",
        (fingerprint,),
    )
    with worker(concurrency=1, requests_per_minute=600):
        add(db, "one", "two", "three")
        db.execute("SELECT kaggle.sync_now('one')")
        db.execute("DELETE FROM kaggle.competitions WHERE id = %s", (gone,))
        add(db, "upcoming", start_date=datetime.now(UTC) + timedelta(seconds=1))
        db.execute("SELECT kaggle_internal.queue_job('sweep', NULL, 20)")
        for done in (
            "SELECT count(*) = 0 FROM kaggle_internal.sync_requests WHERE competition_id = %(gone)s",
            "SELECT status = 'ongoing' FROM kaggle.competitions WHERE kaggle_competition_id = 'upcoming'",
            "SELECT count(*) = 0 FROM procrastinate.procrastinate_jobs",
        ):
            until(db, done, gone=gone)
        states = db.execute("SELECT DISTINCT sync_state, blocked_until IS NOT NULL FROM kaggle.sync_status").fetchall()
        assert (states, downloads(simulator)) == ([("queued", True)], [])
        # The pause ends: everything is done, without anybody asking again.
        db.execute("UPDATE kaggle_internal.kaggle_budget SET blocked_until = '-infinity'")
        db.execute("SELECT kaggle_internal.queue_job('sweep', NULL, 20)")
        for slug in ("one", "two", "three", "upcoming"):
            assert db.execute("SELECT outcome FROM kaggle.wait_for_sync(%s)", (slug,)).fetchone() == ("changed",)
    assert downloads(simulator)[0] == "one"


def test_a_429_pauses_all_workers_of_the_credential(db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """One 429 stops two workers, also for what is asked by hand; another credential may go on."""
    simulator.faults.put("throttled", Status(429, {"Retry-After": "3600"}))
    with worker(), worker():
        add(db, "throttled")
        db.execute("SELECT kaggle.wait_for_sync('throttled')")
        (competition_id,) = add(db, "titanic")
        db.execute("SELECT kaggle.sync_now('titanic')")
        with pytest.raises(psycopg.errors.QueryCanceled):
            db.execute("SELECT kaggle.wait_for_sync('titanic', '1 second')")
        assert downloads(simulator) == ["throttled"]
    begun = db.execute(
        "SELECT action FROM kaggle_internal.begin_sync(%s, %s)", (competition_id, register(db, 60, "another"))
    ).fetchone()
    assert begun == ("sync",)
