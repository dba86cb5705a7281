"""Takes pgleaderboard out of a database, and nothing else with it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import errors as pg

from pgleaderboard.database import paths
from pgleaderboard.errors import NeedsPerson, Transient

_MADE = re.compile(
    r"^CREATE (?:OR REPLACE )?(?:TABLE|VIEW|FUNCTION|SEQUENCE) kaggle(?:_internal)?\.(\w+)", re.MULTILINE
)
_BOOKKEEPING = {"alembic_version", "applied_files"}  # of worker/pgleaderboard/database/migrate.py

# Whatever in the database does not lie in our schemas, and would be lost if it hung on something that does.
_OTHERS = """
WITH other AS (
    SELECT oid FROM pg_namespace
    WHERE nspname NOT IN ('kaggle', 'kaggle_internal', 'procrastinate', 'information_schema') AND nspname !~ '^pg_')
SELECT o.classid, o.objid, o.objsubid, pg_describe_object(o.classid, o.objid, o.objsubid) FROM (
    SELECT 'pg_class'::regclass AS classid, oid AS objid, 0 AS objsubid FROM pg_class
    WHERE relnamespace IN (SELECT oid FROM other) AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c')
    UNION ALL
    SELECT 'pg_class'::regclass, attrelid, attnum FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
    WHERE relnamespace IN (SELECT oid FROM other) AND relkind IN ('r', 'p', 'f', 'c') AND attnum > 0
      AND NOT attisdropped
    UNION ALL
    SELECT 'pg_class'::regclass, oid, 0 FROM pg_class
    WHERE relnamespace IN (SELECT oid FROM other) AND relkind IN ('i', 'I')
    UNION ALL SELECT 'pg_proc'::regclass, oid, 0 FROM pg_proc WHERE pronamespace IN (SELECT oid FROM other)
    UNION ALL SELECT 'pg_type'::regclass, oid, 0 FROM pg_type
              WHERE typnamespace IN (SELECT oid FROM other) AND typtype = 'd'
    UNION ALL SELECT 'pg_operator'::regclass, oid, 0 FROM pg_operator WHERE oprnamespace IN (SELECT oid FROM other)
    UNION ALL SELECT 'pg_constraint'::regclass, oid, 0 FROM pg_constraint
              WHERE connamespace IN (SELECT oid FROM other)
    UNION ALL SELECT 'pg_attrdef'::regclass, d.oid, 0 FROM pg_attrdef d JOIN pg_class c ON c.oid = d.adrelid
              WHERE c.relnamespace IN (SELECT oid FROM other)
    UNION ALL SELECT 'pg_trigger'::regclass, t.oid, 0 FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
              WHERE c.relnamespace IN (SELECT oid FROM other) AND NOT t.tgisinternal
    UNION ALL SELECT 'pg_policy'::regclass, p.oid, 0 FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
              WHERE c.relnamespace IN (SELECT oid FROM other)
    UNION ALL SELECT 'pg_rewrite'::regclass, r.oid, 0 FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
              WHERE c.relnamespace IN (SELECT oid FROM other) AND c.relkind NOT IN ('v', 'm')
    UNION ALL SELECT 'pg_event_trigger'::regclass, oid, 0 FROM pg_event_trigger
) AS o
"""


@dataclass(frozen=True)
class Installed:
    """What would be lost."""

    competitions: int
    boards: int
    versions: int


def look(connection: psycopg.Connection[Any]) -> Installed:
    """Find out what is there.

    Raises NeedsPerson where nothing is installed, a worker runs, or something that is not ours lies in our schemas.
    """
    database = connection.info.dbname
    if _value(connection, "SELECT to_regclass('kaggle_internal.applied_files')") is None:
        raise NeedsPerson(f'database "{database}" holds no pgleaderboard: there is nothing to remove')
    alive = _value(connection, "SELECT count(*) FROM kaggle.workers")
    if alive:
        raise NeedsPerson(f"{alive} worker{'s run' if alive > 1 else ' runs'} on this database: stop it first")
    queue = None
    if _value(connection, "SELECT to_regclass('procrastinate.procrastinate_jobs')") is not None:
        queue = _value(
            connection, "SELECT min(queue_name) FROM procrastinate.procrastinate_jobs WHERE queue_name <> 'kaggle'"
        )
    if queue is not None:
        raise NeedsPerson(f"the queue {queue!r} in schema procrastinate is not pgleaderboard's: it would be lost")
    if strangers := _strangers(connection):
        raise NeedsPerson(f"{_listed(strangers)} is not pgleaderboard's: move or drop it")
    row = connection.execute(
        "SELECT (SELECT count(*) FROM kaggle.competitions), (SELECT count(*) FROM kaggle.boards), "
        "(SELECT count(*) FROM kaggle.leaderboard_entries) + (SELECT count(*) FROM kaggle.leaderboard_history)"
    ).fetchone()
    assert row is not None
    return Installed(*row)


def remove(connection: psycopg.Connection[Any]) -> None:
    """Drop both schemas.

    Raises NeedsPerson, with nothing dropped, where something of somebody else hangs on them.
    """
    try:
        with connection.transaction():
            connection.execute("SET LOCAL lock_timeout = '10s'")
            connection.execute("SET LOCAL client_min_messages = error")
            before = _others(connection)
            connection.execute("DROP SCHEMA IF EXISTS kaggle, kaggle_internal, procrastinate CASCADE")
            lost = before.keys() - _others(connection).keys()
            if lost:
                # A view goes with its columns, a column with its default: the whole is enough to name.
                whole = {key for key in lost if key[2] == 0 or (*key[:2], 0) not in lost}
                raise NeedsPerson(
                    f"{_listed(sorted({before[key] for key in whole}))} depends on pgleaderboard: drop it first"
                )
    except pg.LockNotAvailable as error:
        raise Transient("somebody uses the tables: end those sessions and run this again") from error
    except (pg.InsufficientPrivilege, pg.DependentObjectsStillExist) as error:
        raise NeedsPerson(f"cannot drop the schemas: {error.diag.message_primary}") from error


def _others(connection: psycopg.Connection[Any]) -> dict[tuple[int, int, int], str]:
    return {(row[0], row[1], row[2]): row[3] for row in connection.execute(_OTHERS)}


def _strangers(connection: psycopg.Connection[Any]) -> list[str]:
    ours = set(_BOOKKEEPING)
    for folder in (paths.SQL, paths.MIGRATIONS / "versions"):
        for file in folder.glob("*.sql"):
            ours.update(_MADE.findall(file.read_text()))
    found = connection.execute(
        """
        SELECT name, described FROM (
            SELECT relname AS name, pg_describe_object('pg_class'::regclass, oid, 0) AS described FROM pg_class c
            WHERE relnamespace IN ('kaggle'::regnamespace, 'kaggle_internal'::regnamespace)
              AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c')
              -- the sequence of an identity column belongs to its table
              AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                              AND d.deptype IN ('i', 'a') AND d.refclassid = 'pg_class'::regclass)
            UNION ALL
            SELECT proname, pg_describe_object('pg_proc'::regclass, oid, 0) FROM pg_proc
            WHERE pronamespace IN ('kaggle'::regnamespace, 'kaggle_internal'::regnamespace)) AS every
        ORDER BY described
        """
    )
    return [described for name, described in found if name not in ours]


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _value(connection: psycopg.Connection[Any], query: str) -> Any:
    return (connection.execute(query).fetchone() or (None,))[0]
