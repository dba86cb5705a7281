"""The errors of this program.

    PgleaderboardError          the message is for the user and says what to do
    ├── Transient               passes by itself: time-outs, 5xx, 429, a broken download
    ├── NeedsPerson             a person must act: a credential, a slug, an unreadable board, a setting
    │   └── SchemaTooNew        the database was migrated by a newer version of this program
    └── SchemaTooOld            the database must be migrated with `pgleaderboard migrate`

All other exceptions are bugs of this program and are logged with their traceback.
"""

from __future__ import annotations

from datetime import timedelta


class PgleaderboardError(Exception):
    """Base class of errors with a message for the user: one line, no secrets."""


class Transient(PgleaderboardError):
    """Passes by itself; the sync is tried again.

    retry_after: the pause that Kaggle asked for, None if it did not. throttled: Kaggle has refused the request
    because of too many requests, so that all syncs must pause.
    """

    def __init__(self, message: str, *, retry_after: timedelta | None = None, throttled: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.throttled = throttled


class NeedsPerson(PgleaderboardError):
    """A person must act; the message says how."""


class SchemaTooNew(NeedsPerson):
    """The database was migrated by a newer version of this program."""


class SchemaTooOld(PgleaderboardError):
    """The database must be migrated before this program can work on it."""
