"""What every question has in common: one moment for all that it reads, and words for what the database refuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors as pg

from pgleaderboard.database.connect import Connection
from pgleaderboard.errors import NeedsPerson, Transient

_NOT_OURS = (pg.InvalidSchemaName, pg.UndefinedTable, pg.UndefinedFunction, pg.UndefinedColumn)


@contextmanager
def in_words(connection: Connection) -> Iterator[None]:
    """Turn what the database refuses into one line for the user, with the nearest right word."""
    try:
        yield
    except _NOT_OURS as error:
        raise NeedsPerson(
            f'database "{connection.info.dbname}" holds no leaderboards of this version: run `pgleaderboard migrate` '
            f"({error.diag.message_primary})"
        ) from error
    except (pg.NoDataFound, pg.CheckViolation) as error:
        raise NeedsPerson(_said(error)) from error
    except (pg.LockNotAvailable, pg.QueryCanceled) as error:
        raise Transient(_said(error)) from error


def _said(error: psycopg.Error) -> str:
    words = error.diag
    return "; ".join(
        " ".join(each.split()) for each in (words.message_primary, words.message_detail, words.message_hint) if each
    )


@contextmanager
def snapshot(connection: Connection) -> Iterator[None]:
    """Everything asked within sees the same moment."""
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        yield
    finally:
        if not connection.closed:
            connection.rollback()
