"""What it means that the database cannot be reached or refuses: something to wait for, or something to mend."""

from __future__ import annotations

import procrastinate
import psycopg

from pgleaderboard.database.connect import message_of
from pgleaderboard.errors import NeedsPerson, PgleaderboardError, SchemaTooOld, Transient

UNREACHABLE = (
    psycopg.OperationalError,
    psycopg.errors.InsufficientPrivilege,
    procrastinate.exceptions.ConnectorException,
    OSError,
)
OUTAGES = (psycopg.Error, *UNREACHABLE, SchemaTooOld, Transient)
_NO_WAITING_HELPS = ("password authentication failed", "no password supplied", "does not exist")


def explained(error: Exception) -> PgleaderboardError:
    """One line about the error, without a password: NeedsPerson where no waiting helps, else Transient."""
    if isinstance(error, PgleaderboardError):
        return error
    if isinstance(error, procrastinate.exceptions.ConnectorException) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    message = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, psycopg.OperationalError) and any(words in message for words in _NO_WAITING_HELPS):
        return NeedsPerson(f"cannot use the database: {message}")
    if isinstance(error, psycopg.Error) and error.sqlstate and not isinstance(error, psycopg.OperationalError):
        return Transient(f"the database refused: {message_of(error, with_hint=True)}")
    return Transient(f"the database is out of reach: {message}")
