"""Examines everything a sync rests on: a check is a small function that yields findings.

Checks run in the order in which things rest on one another, and end where the next ones would repeat the same. They
change nothing but one grant of Kaggle's budget, for their one request to Kaggle.
"""

from __future__ import annotations

import psycopg

from pgleaderboard.database.connect import Connection, connect, message_of, value
from pgleaderboard.doctor import competitions, database, queue, schema, standby
from pgleaderboard.doctor.finding import Finding, Findings, Target, problem
from pgleaderboard.doctor.kaggle import kaggle

__all__ = ["Finding", "Target", "findings"]

LOCK_SECONDS = 5.0


def findings(target: Target) -> Findings:
    """The findings of all checks."""
    try:
        connection: Connection = connect(target.direct_url, "doctor")
        value(connection, "SELECT 1")  # a pooler may have led to a standby
    except psycopg.Error as error:
        yield problem("database", message_of(error), database.remedy_for_connecting(error))
        yield from standby.readers(target, None)
        yield from kaggle(target, None)
        return
    with connection:
        connection.lock_seconds = LOCK_SECONDS
        if not database.is_pooled(connection):  # else the setting would stay for another client
            connection.execute("SET idle_session_timeout = 0")  # Kaggle may take its time
        yield from database.server(connection)
        yield from database.clock(connection, target.clock)
        yield from database.listen(connection, target)
        yield from database.notification_queue(connection)
        yield from database.row_security(connection)
        is_installed = True
        for finding in _guarded(connection, schema.schema(connection)):
            is_installed = is_installed and finding.level == "ok"
            yield finding
        if not is_installed:
            yield from kaggle(target, None)
            return
        for check in (
            schema.rights(connection),
            schema.rights_through_url(target, connection),
            schema.page(target),
            standby.readers(target, connection),
            schema.staging(connection),
            schema.search_path(connection),
            schema.triggers(connection),
            schema.sequences(connection),
            queue.queue(connection),
            queue.workers(connection, target.fingerprint),
            queue.jobs(connection, target.fingerprint),
            kaggle(target, connection),
            competitions.syncs(connection),
            competitions.missing(connection),
            competitions.ahead(connection),
            competitions.condition(connection),
        ):
            yield from _guarded(connection, check)


def _guarded(connection: Connection, check: Findings) -> Findings:
    """The findings of a check; an error that ends it early is one, too."""
    try:
        yield from check
    except psycopg.errors.InsufficientPrivilege as error:
        yield problem("rights", message_of(error), schema.remedy_for_rights(connection))
    except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled) as error:
        yield problem("locks", message_of(error), f"end the blocking transaction: {database.lock_holders(connection)}")
    except psycopg.ProgrammingError as error:
        yield problem("schema", message_of(error), "run pgleaderboard migrate --again; restore a table from a backup")
