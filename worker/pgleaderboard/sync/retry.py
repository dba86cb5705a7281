"""When a failed sync is tried again. Pure.

| kind      | meaning               | next attempt                                                           |
| --------- | --------------------- | ---------------------------------------------------------------------- |
| transient | passes by itself      | 15 s, 30 s, 60 s …, at most sync_interval, unless Kaggle asks for more |
| person    | a person must act     | every 5 minutes for an hour, then hourly                               |
| ours      | a bug of this program | as transient                                                           |

A change of the row, a request by hand and a new credential cause an attempt at once (sql/060_attempt_begin.sql).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import psycopg

from pgleaderboard.database.connect import explained, may_be_ours
from pgleaderboard.errors import PgleaderboardError, Transient

ErrorKind = Literal["transient", "person", "ours"]

FIRST_DELAY = timedelta(seconds=15)
PERSON_DELAY = timedelta(minutes=5)
PERSON_PATIENCE = timedelta(hours=1)
HOURLY = timedelta(hours=1)


@dataclass(frozen=True)
class Decision:
    """The message to record and the time until the next attempt.

    block_for: the pause for all requests with this credential, None = no pause.
    """

    kind: ErrorKind
    message: str
    retry_in: timedelta
    block_for: timedelta | None = None


def decide(
    error: Exception,
    *,
    failures: int,
    failing_for: timedelta,
    interval: timedelta,
    jitter: float | None = None,
) -> Decision:
    """Decide what follows a failed attempt.

    failures: the number of consecutive failures before this one. failing_for: the time since the first of them.
    interval: the competition's sync_interval. jitter: from 0 to 1, random if None.
    """
    if jitter is None:
        jitter = random.random()  # noqa: S311 - spreads retries; no secret
    growing = min(FIRST_DELAY * 2 ** min(failures, 20), interval)
    spread = growing * (0.75 + 0.25 * jitter)
    patient = failing_for < PERSON_PATIENCE
    match error:
        case Transient(retry_after=pause, throttled=throttled):
            return Decision("transient", str(error), max(spread, pause or spread), pause if throttled else None)
        case PgleaderboardError():
            return Decision("person", str(error), PERSON_DELAY if patient else HOURLY)
        case (
            psycopg.OperationalError(sqlstate=None)
            | psycopg.InterfaceError()
            | psycopg.errors.IdleInTransactionSessionTimeout()  # this process was suspended
            | psycopg.errors.LockNotAvailable()
            | psycopg.errors.DeadlockDetected()
            | psycopg.errors.AdminShutdown()
            | psycopg.errors.CrashShutdown()
            | psycopg.errors.CannotConnectNow()
        ):
            return Decision(
                "transient", "the database was busy or could not be reached; the sync will be tried again", spread
            )
        case psycopg.Error(sqlstate=str(state)) if state == "P0001" or state.startswith(
            "23"
        ):  # a trigger, a constraint
            return Decision("person", f"{explained(error)}{_where(error)}", PERSON_DELAY if patient else HOURLY)
        case psycopg.Error(sqlstate=str()) if not may_be_ours(error):
            return Decision("transient", f"{explained(error)}{_where(error)}", spread)
        case psycopg.Error() if error.diag.severity:
            return Decision("ours", f"pgleaderboard itself failed, or {explained(error)}{_where(error)}", spread)
        case _:
            return Decision(
                "ours",
                f"pgleaderboard itself failed ({type(error).__name__}); its log has the details",
                spread,
            )


def _where(error: psycopg.Error) -> str:
    """Which function refused."""
    context = (error.diag.context or "").partition("\n")[0]
    return f" ({context})" if context else ""
