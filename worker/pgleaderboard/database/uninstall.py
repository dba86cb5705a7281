"""Removes pgleaderboard from a database, and nothing else with it.

The objects that are ours in the schemas kaggle and kaggle_internal are those that `migrate` recorded. `pg_depend` tells
which objects outside our schemas depend on them.
"""

from __future__ import annotations

from typing import Any

from psycopg import errors as pg

from pgleaderboard.database.connect import Connection, column, row, transaction, value
from pgleaderboard.database.release import applied, name_of, strangers
from pgleaderboard.errors import NeedsPerson, Transient


def look(connection: Connection) -> Any:
    """Count what would be lost: competitions, boards, versions.

    Raises NeedsPerson where nothing is installed, a worker runs, or our schemas hold an object that is not ours.
    """
    if not applied(connection):
        raise NeedsPerson(f"{name_of(connection)} holds no pgleaderboard: there is nothing to remove")
    if alive := value(connection, "SELECT count(*) FROM kaggle.workers"):
        raise NeedsPerson(f"{alive} worker{'s run' if alive > 1 else ' runs'} on this database: stop it first")
    if value(connection, "SELECT to_regclass('procrastinate.procrastinate_jobs')") is not None:
        queue = value(
            connection, "SELECT min(queue_name) FROM procrastinate.procrastinate_jobs WHERE queue_name <> 'kaggle'"
        )
        if queue is not None:
            raise NeedsPerson(f"the queue {queue!r} in schema procrastinate is not pgleaderboard's: it would be lost")
    if foreign := strangers(connection):
        raise NeedsPerson(f"{_listed(foreign)} is not pgleaderboard's: move or drop it")
    return row(
        connection,
        """
        SELECT (SELECT count(*) FROM kaggle.competitions) AS competitions,
               (SELECT count(*) FROM kaggle.boards) AS boards,
               (SELECT count(*) FROM kaggle.leaderboard_entries)
                   + (SELECT count(*) FROM kaggle.leaderboard_history) AS versions
        """,
    )


def remove(connection: Connection) -> None:
    """Drop our schemas. Raises NeedsPerson, with nothing dropped, where an object of another owner depends on them."""
    try:
        with transaction(connection, lock_seconds=10, client_min_messages="error"):
            if foreign := _dependents(connection):
                raise NeedsPerson(f"{_listed(foreign)} depends on pgleaderboard: drop it first")
            connection.execute("DROP SCHEMA IF EXISTS kaggle, kaggle_internal, procrastinate CASCADE")
    except pg.LockNotAvailable as error:
        raise Transient("other sessions use the tables: end them and run this again") from error
    except (pg.InsufficientPrivilege, pg.DependentObjectsStillExist) as error:
        raise NeedsPerson(f"cannot drop the schemas: {error.diag.message_primary}") from error


def _dependents(connection: Connection) -> list[str]:
    """Describe the objects outside our schemas that would be dropped with them."""
    return column(
        connection,
        """
        WITH RECURSIVE inside AS (
            SELECT d.*, n.nspname IN ('kaggle', 'kaggle_internal', 'procrastinate') AS is_ours
            FROM pg_depend d JOIN pg_namespace n ON n.oid = d.refobjid AND d.refclassid = 'pg_namespace'::regclass),
        ours AS (
            SELECT classid, objid FROM inside WHERE is_ours
            UNION
            -- An index, a constraint or a trigger lies in no schema, and goes with its table.
            SELECT d.classid, d.objid
            FROM ours JOIN pg_depend d ON (d.refclassid, d.refobjid) = (ours.classid, ours.objid)
            WHERE d.deptype IN ('a', 'i')
              AND (d.classid, d.objid) NOT IN (SELECT classid, objid FROM inside WHERE NOT is_ours))
        SELECT DISTINCT CASE WHEN r.oid IS NULL THEN pg_describe_object(d.classid, d.objid, d.objsubid)
                             ELSE pg_describe_object('pg_class'::regclass, r.ev_class, 0) END
        FROM ours
        JOIN pg_depend d ON (d.refclassid, d.refobjid) = (ours.classid, ours.objid)
        -- A view depends on what it reads through its rule.
        LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid AND r.rulename = '_RETURN'
        WHERE (d.classid, d.objid) NOT IN (SELECT classid, objid FROM ours)
        ORDER BY 1
        """,
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
