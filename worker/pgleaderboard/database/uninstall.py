"""Takes pgleaderboard out of a database, and nothing else with it.

Ours in the schemas kaggle and kaggle_internal is what `migrate` recorded as made by it. What hangs on our schemas from
outside is what `pg_depend` names: a dependency of an object that does not belong to them on one that does.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import errors as pg

from pgleaderboard.database.connect import Connection, column, objects, value
from pgleaderboard.database.release import applied, name_of, strangers
from pgleaderboard.errors import NeedsPerson, Transient


@dataclass(frozen=True)
class Installed:
    """What would be lost."""

    competitions: int
    boards: int
    versions: int


def look(connection: Connection) -> Installed:
    """Count what is installed.

    Raises NeedsPerson where nothing is installed, a worker runs, or something that is not ours lies in our schemas;
    SchemaTooOld where an early development version installed it.
    """
    if not applied(connection):
        raise NeedsPerson(f"{name_of(connection)} holds no pgleaderboard: there is nothing to remove")
    alive = value(connection, "SELECT count(*) FROM kaggle.workers")
    if alive:
        raise NeedsPerson(f"{alive} worker{'s run' if alive > 1 else ' runs'} on this database: stop it first")
    if value(connection, "SELECT to_regclass('procrastinate.procrastinate_jobs')") is not None:
        queue = value(
            connection, "SELECT min(queue_name) FROM procrastinate.procrastinate_jobs WHERE queue_name <> 'kaggle'"
        )
        if queue is not None:
            raise NeedsPerson(f"the queue {queue!r} in schema procrastinate is not pgleaderboard's: it would be lost")
    if foreign := strangers(connection):
        raise NeedsPerson(f"{_listed(foreign)} is not pgleaderboard's: move or drop it")
    (installed,) = objects(
        connection,
        Installed,
        """
        SELECT (SELECT count(*) FROM kaggle.competitions) AS competitions,
               (SELECT count(*) FROM kaggle.boards) AS boards,
               (SELECT count(*) FROM kaggle.leaderboard_entries)
                   + (SELECT count(*) FROM kaggle.leaderboard_history) AS versions
        """,
    )
    return installed


def remove(connection: Connection) -> None:
    """Drop our schemas.

    Raises NeedsPerson, with nothing dropped, where something of somebody else hangs on them.
    """
    try:
        with connection.transaction():
            connection.execute("SET LOCAL lock_timeout = '10s'")
            connection.execute("SET LOCAL client_min_messages = error")
            if foreign := _dependents(connection):
                raise NeedsPerson(f"{_listed(foreign)} depends on pgleaderboard: drop it first")
            connection.execute("DROP SCHEMA IF EXISTS kaggle, kaggle_internal, procrastinate CASCADE")
    except pg.LockNotAvailable as error:
        raise Transient("somebody uses the tables: end those sessions and run this again") from error
    except (pg.InsufficientPrivilege, pg.DependentObjectsStillExist) as error:
        raise NeedsPerson(f"cannot drop the schemas: {error.diag.message_primary}") from error


def _dependents(connection: Connection) -> list[str]:
    """Describe what does not belong to our schemas and would go with them."""
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
