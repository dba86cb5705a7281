"""What can go wrong, as one small tree.

    PgleaderboardError          the message is for the user and says what to do
    ├── Transient               passes by itself: time-outs, 5xx, 429, a broken download
    ├── NeedsPerson             somebody must mend it: a credential, a slug, an unreadable board, a setting
    │   └── SchemaTooNew        the database belongs to a newer version of this program
    └── SchemaTooOld            the database waits for `pgleaderboard migrate`

Everything else that is raised is a fault of ours and is logged with its traceback.
"""

from __future__ import annotations

from datetime import timedelta


class PgleaderboardError(Exception):
    """Base of all errors whose message is meant for the user. One line, no secrets."""


class Transient(PgleaderboardError):
    """Passes by itself; the sync is tried again.

    `retry_after` is how long the other side asked us to wait, None where it did not say.
    `throttled` is true when Kaggle refused because of too many requests: then every sync waits.
    """

    def __init__(self, message: str, *, retry_after: timedelta | None = None, throttled: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.throttled = throttled


class NeedsPerson(PgleaderboardError):
    """A person must do something; the message says what."""


class SchemaTooNew(NeedsPerson):
    """The database was migrated by a newer version of this program."""


class SchemaTooOld(PgleaderboardError):
    """The database must be migrated before this program can work on it."""
