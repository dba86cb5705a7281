"""Checks of the schemas: their version, rights, functions, triggers and sequences."""

from __future__ import annotations

from typing import LiteralString

import psycopg

from pgleaderboard import __version__
from pgleaderboard.database import release
from pgleaderboard.database.connect import Connection, column, rows, value
from pgleaderboard.doctor.finding import Findings, ok, problem, some
from pgleaderboard.errors import NeedsPerson, SchemaTooNew, SchemaTooOld, Transient


def schema(connection: Connection) -> Findings:
    """Whether the schemas exist, and are of this version."""
    try:
        release.check(connection)
    except SchemaTooOld as error:
        yield problem("migrations", str(error), "run pgleaderboard migrate")
    except SchemaTooNew as error:
        yield problem("migrations", str(error), "install the newer pgleaderboard here, too")
    except Transient as error:
        yield problem("migrations", f"cannot read the installed version: {error}", "fix that first")
    except NeedsPerson as error:
        if isinstance(error.__cause__, psycopg.errors.InsufficientPrivilege):
            yield problem("rights", str(error), remedy_for_rights(connection))
            return
        may: LiteralString = "SELECT has_database_privilege(current_database(), 'CREATE')"
        database, role = connection.info.dbname, connection.info.user
        grant = f'have the owner run GRANT CREATE ON DATABASE "{database}" TO "{role}"; then pgleaderboard migrate'
        yield problem("migrations", str(error), "run pgleaderboard migrate" if value(connection, may) else grant)
    else:
        yield ok("migrations", f"the tables and functions are those of pgleaderboard {__version__}")


def rights(connection: Connection) -> Findings:
    """Whether the role may do what a worker does."""
    missing = column(
        connection,
        """
        SELECT format('%s.%s', relnamespace::regnamespace, relname) FROM pg_class
        WHERE relnamespace::regnamespace::text IN ('kaggle', 'kaggle_internal', 'procrastinate')
          AND relkind = 'r' AND relname NOT IN ('sync_condition', 'applied_files')
          AND NOT (has_schema_privilege(relnamespace, 'USAGE') AND has_table_privilege(oid, 'SELECT')
               AND has_table_privilege(oid, 'INSERT') AND has_table_privilege(oid, 'UPDATE')
               AND has_table_privilege(oid, 'DELETE'))
        UNION ALL
        SELECT 'temporary tables' WHERE NOT has_database_privilege(current_database(), 'TEMPORARY')
        UNION ALL
        SELECT 'the functions of kaggle'
        WHERE EXISTS (SELECT FROM pg_proc p WHERE p.proname = 'sweep' AND NOT has_function_privilege(p.oid, 'EXECUTE')
                         AND p.pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'kaggle_internal'))
        ORDER BY 1
        """,
    )
    role = connection.info.user
    if missing:
        yield problem("rights", f'role "{role}" may not use {some(missing)}', remedy_for_rights(connection))
    else:
        yield ok("rights", f'role "{role}" has the rights of a worker')


def remedy_for_rights(connection: Connection) -> str:
    """What gives this role the rights of a worker."""
    return f'have the owner run GRANT pgleaderboard_worker TO "{connection.info.user}"'


def search_path(connection: Connection) -> Findings:
    """Whether each function still pins its search_path, whatever a session sets."""
    unpinned = column(
        connection,
        """
        SELECT oid::regprocedure::text FROM pg_proc
        WHERE pronamespace::regnamespace::text IN ('kaggle', 'kaggle_internal')
          AND prosqlbody IS NULL    -- a RETURN was bound when it was made
          AND NOT EXISTS (SELECT FROM unnest(proconfig) AS setting WHERE setting ~ '^search_path=.*pg_temp"?$')
        ORDER BY 1
        """,
    )
    if unpinned:
        yield problem(
            "search_path",
            f"{some(unpinned)} would find other people's tables: no search_path is pinned",
            "run pgleaderboard migrate --again; keep functions of your own in a schema of your own",
        )
    else:
        yield ok("search_path", "every function pins its own")


def triggers(connection: Connection) -> Findings:
    """Whether the triggers fire."""
    disabled = column(
        connection,
        "SELECT format('%s on %s', tgname, tgrelid::regclass) FROM pg_trigger "
        "WHERE tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'kaggle'::regnamespace) "
        "AND NOT tgisinternal AND tgenabled NOT IN ('O', 'A') ORDER BY 1",
    )
    missing = column(
        connection,
        "SELECT name FROM unnest(ARRAY['competitions_inserted', 'competitions_updated', 'competitions_deleted', "
        "'competitions_truncated']) AS name WHERE NOT EXISTS (SELECT FROM pg_trigger "
        "WHERE tgrelid = 'kaggle.competitions'::regclass AND tgname = name)",
    )
    role = value(connection, "SELECT current_setting('session_replication_role')")
    if disabled:
        yield problem(
            "triggers", f"disabled: {some(disabled)}", "as the owner: ALTER TABLE kaggle.… ENABLE TRIGGER USER"
        )
    if missing:
        yield problem("triggers", f"missing: {some(missing)}", "run pgleaderboard migrate --again")
    if role != "origin":
        yield problem(
            "triggers",
            f"session_replication_role is {role}: no trigger fires in this role's sessions",
            "ALTER ROLE … or ALTER DATABASE … RESET session_replication_role",
        )
    if not disabled and not missing and role == "origin":
        yield ok("triggers", "all exist and are enabled")


def sequences(connection: Connection) -> Findings:
    """Whether a sequence would issue a number in use, as after an upgrade by logical replication."""
    behind = rows(connection, "SELECT sequence, last_value, highest FROM kaggle_internal.sequences_behind()")
    for row in behind:
        yield problem(
            "sequences",
            f"{row.sequence} is at {row.last_value}, and {row.highest} is in use",
            "run pgleaderboard migrate --again, which sets it forward",
        )
    if not behind:
        yield ok("sequences", "none is behind its table")
