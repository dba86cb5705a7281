"""What all queries share: one snapshot for a whole answer, errors for people, and notifications."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg import errors as pg

from pgleaderboard.database.connect import Connection, transaction, value
from pgleaderboard.errors import NeedsPerson, Transient

SILENCE = 5.0  # seconds without an answer, after which a connection is given up
_NOT_OURS = (pg.InvalidSchemaName, pg.UndefinedTable, pg.UndefinedFunction, pg.UndefinedColumn)
_PASSING = (pg.LockNotAvailable, pg.QueryCanceled)


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
    except (pg.NoDataFound, pg.CheckViolation, *_PASSING) as error:
        parts = (error.diag.message_primary, error.diag.message_detail, error.diag.message_hint)
        message = "; ".join(" ".join(part.split()) for part in parts if part)
        raise (Transient if isinstance(error, _PASSING) else NeedsPerson)(message) from error


def check(connection: Connection) -> None:
    """Refuse a database of another version. Only those who may see which one it is are told in advance.

    Raises the errors of `release.check`.
    """
    from pgleaderboard.database import release  # which brings the queue

    if value(connection, "SELECT has_schema_privilege('kaggle_internal', 'USAGE')"):
        release.check(connection)


@contextmanager
def snapshot(connection: Connection) -> Iterator[None]:
    """All queries within see the same moment."""
    with transaction(connection, snapshot=True):
        yield


def listen(connection: Connection, *, jobs: bool = True) -> None:
    """Receive every notification from now on. connection: direct, a pooler loses them.

    jobs: those of the queue, too.
    """
    # Boards that changed; workers that start or stop and edited competitions.
    connection.execute("LISTEN kaggle_leaderboard; LISTEN kaggle_status")
    if jobs:
        connection.execute('LISTEN "procrastinate_queue_v1#kaggle"')


def have_answer(connection: Connection) -> None:
    """Have the server answer. Raises psycopg.OperationalError where it says nothing for SILENCE."""
    usual, connection.patience = connection.patience, SILENCE
    connection.execute("SELECT 1")
    connection.patience = usual


def news(connection: Connection, timeout: float) -> Iterator[dict[str, Any]]:
    """The payloads of the next notifications; nothing after `timeout` seconds without one.

    Raises psycopg.OperationalError where the connection is lost.
    """
    for notification in connection.notifies(timeout=timeout, stop_after=1):
        try:
            payload = json.loads(notification.payload)
        except ValueError:  # anybody may send anything on a channel
            continue
        if isinstance(payload, dict):
            yield payload
