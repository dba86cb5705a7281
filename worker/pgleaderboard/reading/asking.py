"""What all queries share: one snapshot for a whole answer, and errors for people."""

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
    """Turn an error of the database into one line for the user."""
    try:
        yield
    except _NOT_OURS as error:
        raise NeedsPerson(
            f'database "{connection.info.dbname}" has no leaderboards of this version: run `pgleaderboard migrate` '
            f"({error.diag.message_primary})"
        ) from error
    except (pg.NoDataFound, pg.CheckViolation) as error:
        raise NeedsPerson(_one_line(error)) from error
    except (pg.LockNotAvailable, pg.QueryCanceled) as error:
        raise Transient(_one_line(error)) from error


def _one_line(error: psycopg.Error) -> str:
    parts = (error.diag.message_primary, error.diag.message_detail, error.diag.message_hint)
    return "; ".join(" ".join(part.split()) for part in parts if part)


@contextmanager
def snapshot(connection: Connection) -> Iterator[None]:
    """All queries within see the same moment."""
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        yield
    finally:
        if not connection.closed:
            connection.rollback()
