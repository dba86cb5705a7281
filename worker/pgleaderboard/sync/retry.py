"""What happens after a failed sync, decided in one place. Pure.

| kind      | meaning                     | tried again                                                           |
| --------- | --------------------------- | --------------------------------------------------------------------- |
| transient | passes by itself            | 15 s, 30 s, 60 s …, at most sync_interval, unless Kaggle asks for more |
| person    | somebody must act           | after 5 minutes for an hour, then hourly                              |
| ours      | a fault of this program     | as transient                                                          |

Whoever changes the row, asks by hand or brings another credential has it tried at once (sql/050_sync.sql).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import psycopg

from pgleaderboard.errors import PgleaderboardError, Transient

Kind = Literal["transient", "person", "ours"]

FIRST_DELAY = timedelta(seconds=15)
PERSON_DELAY = timedelta(minutes=5)
PERSON_PATIENCE = timedelta(hours=1)


@dataclass(frozen=True)
class Decision:
    """What to record and when to try again.

    block_for: how long every request of this credential pauses, None = not at all.
    """

    kind: Kind
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
    """Decide what a failed attempt means.

    failures: failed attempts before this one, in a row. failing_for: since the first of them.
    interval: the competition's sync_interval. jitter: from 0 to 1, random if None.
    """
    if jitter is None:
        jitter = random.random()  # noqa: S311 - spreads retries; no secret
    growing = min(FIRST_DELAY * 2 ** min(failures, 20), interval)
    spread = growing * (0.75 + 0.25 * jitter)
    match error:
        case Transient(retry_after=pause, throttled=throttled):
            return Decision("transient", str(error), max(spread, pause or spread), pause if throttled else None)
        case PgleaderboardError():
            patient = failing_for < PERSON_PATIENCE
            return Decision("person", str(error), PERSON_DELAY if patient else timedelta(hours=1))
        case (
            psycopg.OperationalError()
            | psycopg.InterfaceError()
            | psycopg.errors.IdleInTransactionSessionTimeout()  # this process stood still
            | psycopg.errors.ReadOnlySqlTransaction()  # the server has become a standby
        ):
            return Decision("transient", "the database was busy or out of reach; the sync is tried again", spread)
        case psycopg.errors.InsufficientPrivilege():  # somebody changes rights, or hides rows
            return Decision("transient", f"the database refused: {error.diag.message_primary}", spread)
        case _:
            return Decision(
                "ours",
                f"pgleaderboard itself failed ({type(error).__name__}); its log has the details",
                spread,
            )
