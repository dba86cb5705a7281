"""What happens after a failed sync: the table in worker/pgleaderboard/sync/retry.py, row by row."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg_pool import PoolTimeout

from pgleaderboard.database.connect import OnStandby
from pgleaderboard.errors import NeedsPerson, PgleaderboardError, SchemaTooNew, Transient
from pgleaderboard.sync.retry import Decision, decide

SETTINGS = settings(max_examples=200, deadline=None)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
NEVER = timedelta(0)


def decided(error: Exception, **changes: Any) -> Decision:
    """The decision about a first failure at an interval of five minutes, with nothing left to chance."""
    given: dict[str, Any] = {"failures": 0, "failing_for": NEVER, "interval": 5 * MINUTE, "jitter": 1.0}
    return decide(error, **(given | changes))


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 15), (1, 30), (2, 60), (3, 120), (4, 240), (5, 300), (6, 300), (1000, 300)]
)
def test_what_passes_by_itself_is_tried_with_a_growing_delay(failures: int, seconds: int) -> None:
    """15 s, 30 s, 60 s and so on, at most the competition's sync_interval."""
    assert decided(Transient("the line broke"), failures=failures) == Decision(
        "transient", "the line broke", seconds * SECOND
    )


@pytest.mark.parametrize(("jitter", "seconds"), [(0.0, 11.25), (0.5, 13.125), (1.0, 15)])
def test_the_delay_is_spread(jitter: float, seconds: float) -> None:
    """Many failures of one moment do not all come back in one moment: a quarter of the delay is left to chance."""
    assert decided(Transient("x"), jitter=jitter).retry_in == timedelta(seconds=seconds)


def test_without_a_given_chance_the_delay_is_drawn() -> None:
    """Two hundred decisions are not all the same, and all within the bounds."""
    delays = {decided(Transient("x"), jitter=None).retry_in for _ in range(200)}
    assert len(delays) > 1
    assert min(delays) >= 11.25 * SECOND
    assert max(delays) <= 15 * SECOND


@pytest.mark.parametrize(
    ("asked", "throttled", "retry_in", "block_for"),
    [
        (None, False, 15 * SECOND, None),
        (120 * SECOND, False, 120 * SECOND, None),
        (3 * SECOND, False, 15 * SECOND, None),
        (NEVER, False, 15 * SECOND, None),
        (120 * SECOND, True, 120 * SECOND, 120 * SECOND),
        (3 * SECOND, True, 15 * SECOND, 3 * SECOND),
        (24 * HOUR, True, 24 * HOUR, 24 * HOUR),
    ],
)
def test_kaggle_may_ask_for_more(
    asked: timedelta | None, throttled: bool, retry_in: timedelta, block_for: timedelta | None
) -> None:
    """Retry-After is kept even beyond sync_interval; only too many requests (429) pause the whole credential."""
    decision = decided(Transient("x", retry_after=asked, throttled=throttled))
    assert decision == Decision("transient", "x", retry_in, block_for)


@pytest.mark.parametrize("error", [NeedsPerson("mend it"), SchemaTooNew("mend it"), PgleaderboardError("mend it")])
@pytest.mark.parametrize(
    ("failing_for", "retry_in"),
    [
        (NEVER, 5 * MINUTE),
        (59 * MINUTE, 5 * MINUTE),
        (HOUR - timedelta(microseconds=1), 5 * MINUTE),
        (HOUR, HOUR),
        (1000 * HOUR, HOUR),
    ],
)
@pytest.mark.parametrize("failures", [0, 7, 10**6])
def test_a_person_is_given_time(error: Exception, failing_for: timedelta, retry_in: timedelta, failures: int) -> None:
    """Every 5 minutes for an hour, then hourly, however often it failed; the message stays as it is."""
    decision = decided(error, failing_for=failing_for, failures=failures)
    assert decision == Decision("person", "mend it", retry_in)


@pytest.mark.parametrize(
    "error",
    [
        psycopg.OperationalError("server closed the connection; password=geheim"),
        psycopg.InterfaceError("the connection is closed"),
        psycopg.errors.LockNotAvailable("canceling statement due to lock timeout"),
        psycopg.errors.DeadlockDetected("deadlock detected"),
        psycopg.errors.AdminShutdown("terminating connection"),
        psycopg.errors.CrashShutdown("terminating connection because of crash of another server process"),
        psycopg.errors.CannotConnectNow("the database system is starting up"),
        psycopg.errors.IdleInTransactionSessionTimeout("terminating connection due to idle-in-transaction timeout"),
        OnStandby("db.example.org:5432 is a standby, which takes no writes"),
        PoolTimeout("couldn't get a connection after 10 sec"),
    ],
)
def test_a_busy_database_passes_by_itself(error: Exception) -> None:
    """Lock time-outs, deadlocks and lost connections are tried again; their own text stays out of the message."""
    decision = decided(error, failures=1)
    assert (decision.kind, decision.retry_in, decision.block_for) == ("transient", 30 * SECOND, None)
    assert "database" in decision.message
    assert str(error) not in decision.message


@pytest.mark.parametrize("error", [psycopg.errors.RaiseException("x"), psycopg.errors.CheckViolation("x")])
@pytest.mark.parametrize(("failing_for", "retry_in"), [(59 * MINUTE, 5 * MINUTE), (HOUR, HOUR)])
def test_what_a_trigger_or_a_constraint_refuses_is_for_a_person(
    error: Exception, failing_for: timedelta, retry_in: timedelta
) -> None:
    """Somebody added it: the server's words say what it wants, and a person is given time as ever."""
    decision = decided(error, failing_for=failing_for)
    assert (decision.kind, decision.retry_in, decision.block_for) == ("person", retry_in, None)
    assert decision.message.startswith("the database refused: ")


def test_a_right_that_is_missing_is_named() -> None:
    """Somebody changes grants, or hides rows: the server's words say what, and it is tried again soon."""
    decision = decided(psycopg.errors.InsufficientPrivilege("x"), failures=1)
    assert (decision.kind, decision.retry_in, decision.block_for) == ("transient", 30 * SECOND, None)
    assert decision.message.startswith("the database refused: ")


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("secret-token"),
        KeyError("secret-token"),
        psycopg.errors.UndefinedFunction("secret-token"),
        psycopg.DataError("secret-token"),
        MemoryError(),
    ],
)
def test_anything_else_is_a_fault_of_ours(error: Exception) -> None:
    """It is tried as what passes by itself; the row names the kind of error and the log, never the error's text."""
    decision = decided(error, failures=2)
    assert (decision.kind, decision.retry_in, decision.block_for) == ("ours", 60 * SECOND, None)
    assert type(error).__name__ in decision.message
    assert "log" in decision.message
    assert "secret-token" not in decision.message


@SETTINGS
@given(
    error=st.sampled_from([Transient("x"), psycopg.OperationalError("x"), RuntimeError("x")]),
    failures=st.integers(0, 2**31) | st.integers(0, 30),
    interval=st.timedeltas(MINUTE, timedelta(days=400)),
    jitter=st.none() | st.floats(0, 1),
    failing_for=st.timedeltas(NEVER, timedelta(days=4000)),
)
def test_no_delay_is_longer_than_the_interval(
    error: Exception, failures: int, interval: timedelta, jitter: float | None, failing_for: timedelta
) -> None:
    """Unless Kaggle asks for more, a failing board is tried at least as often as a healthy one; never in the past."""
    delay = decided(error, failures=failures, interval=interval, jitter=jitter, failing_for=failing_for).retry_in
    assert NEVER < delay <= interval


@SETTINGS
@given(
    asked=st.timedeltas(NEVER, timedelta(days=1)),
    throttled=st.booleans(),
    failures=st.integers(0, 2**31),
    interval=st.timedeltas(MINUTE, timedelta(days=400)),
    jitter=st.floats(0, 1),
)
def test_kaggle_is_never_asked_before_it_wants_to_be(
    asked: timedelta, throttled: bool, failures: int, interval: timedelta, jitter: float
) -> None:
    """Whatever the delay would be, Retry-After is its least; beyond both it never goes."""
    error = Transient("x", retry_after=asked, throttled=throttled)
    decision = decided(error, failures=failures, interval=interval, jitter=jitter)
    assert asked <= decision.retry_in <= max(asked, interval)
    assert decision.block_for == (asked if throttled else None)
    if decision.block_for is not None:
        assert decision.retry_in >= decision.block_for


@SETTINGS
@given(failures=st.integers(0, 40), interval=st.timedeltas(MINUTE, timedelta(days=400)))
def test_the_delay_never_shrinks(failures: int, interval: timedelta) -> None:
    """One failure more never brings an earlier try, all else the same."""
    one = decided(Transient("x"), failures=failures, interval=interval).retry_in
    two = decided(Transient("x"), failures=failures + 1, interval=interval).retry_in
    assert one <= two
