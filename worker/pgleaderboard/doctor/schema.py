"""Checks of the schemas: their version, rights, functions, triggers and sequences."""

from __future__ import annotations

import psycopg

from pgleaderboard import __version__
from pgleaderboard.database import release
from pgleaderboard.database import rights as role_rights
from pgleaderboard.database.connect import Connection, column, connect, message_of, transaction, value
from pgleaderboard.doctor.finding import Findings, Target, ok, problem, problems, some, warning
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
        remedy = "run pgleaderboard migrate"
        if not value(connection, "SELECT has_database_privilege(current_database(), 'CREATE')"):
            database, role = connection.info.dbname, connection.info.user
            remedy = f'have the owner run GRANT CREATE ON DATABASE "{database}" TO "{role}"; then pgleaderboard migrate'
        yield problem("migrations", str(error), remedy)
    else:
        yield ok("migrations", f"the tables and functions are those of pgleaderboard {__version__}")


def rights(connection: Connection) -> Findings:
    """Whether the role may do what a worker does."""
    if lost := release.lost_grants(connection):
        yield problem("rights", f"taken away since the last migration: {some(lost)}", "run pgleaderboard migrate")
    if missing := role_rights.missing(connection):
        remedy = role_rights.remedy(connection, missing)
        yield problem("rights", role_rights.lacking(connection, missing), remedy)
    elif not lost:
        yield ok("rights", f'role "{connection.info.user}" has the rights of a worker')


def rights_through_url(target: Target, connection: Connection) -> Findings:
    """Whether the role of DATABASE_URL may do the same, where that is another."""
    if target.url == target.direct_url:
        return
    with connect(target.url, "doctor") as other:
        if other.info.user != connection.info.user and (missing := role_rights.missing(other)):
            message = f"DATABASE_URL: {role_rights.lacking(other, missing)}"
            yield problem("rights", message, role_rights.remedy(other, missing))


def page(target: Target) -> Findings:
    """Whether the page can give up the rights that it does not need."""
    with connect(target.url, "doctor") as other:
        if role_rights.reader_role(other) is None:
            role = other.info.user
            message = f'role "{role}" may not become pgleaderboard_reader: the live page reads as "{role}"'
            yield warning("page", message, f'have an administrator run GRANT pgleaderboard_reader TO "{role}"')


def staging(connection: Connection) -> Findings:
    """Whether a sync can make its temporary tables: an event trigger of somebody else's may refuse, or fail."""
    if role_rights.missing(connection):
        return  # that is told already
    try:
        with transaction(connection, keep=False):
            connection.execute("SELECT kaggle_internal.prepare_staging(1)")
    except psycopg.Error as error:
        context = (error.diag.context or "").partition("\n")[0]
        message = f"temporary tables cannot be made: {message_of(error)}{f' ({context})' if context else ''}"
        yield problem("staging", message, "have the owner of that event trigger let the worker's role pass")


def remedy_for_rights(connection: Connection) -> str:
    """What gives this role the rights of a worker."""
    return role_rights.remedy(connection, [])


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
        message = f"{some(unpinned)} would find other people's tables: no search_path is pinned"
        remedy = "run pgleaderboard migrate --again; keep functions of your own in a schema of your own"
        yield problem("search_path", message, remedy)
    else:
        yield ok("search_path", "every function pins its own")


def triggers(connection: Connection) -> Findings:
    """Whether the triggers fire."""
    return problems(
        connection,
        "triggers",
        "all exist and are enabled",
        """
        SELECT format('disabled: %s on %s', tgname, tgrelid::regclass),
               'as the owner: ALTER TABLE kaggle.… ENABLE TRIGGER USER'
        FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid
        WHERE c.relnamespace = 'kaggle'::regnamespace AND NOT tgisinternal AND tgenabled NOT IN ('O', 'A')
        UNION ALL
        SELECT 'missing: ' || name, 'run pgleaderboard migrate --again'
        FROM unnest(ARRAY['competitions_inserted', 'competitions_updated', 'competitions_deleted',
                          'competitions_truncated']) AS name
        WHERE NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'kaggle.competitions'::regclass AND tgname = name)
        UNION ALL
        SELECT format('session_replication_role is %s: no trigger fires in this role''s sessions', setting),
               'ALTER ROLE … or ALTER DATABASE … RESET session_replication_role'
        FROM pg_settings WHERE name = 'session_replication_role' AND setting <> 'origin'
        ORDER BY 1
        """,
    )


def sequences(connection: Connection) -> Findings:
    """Whether a sequence would issue a number in use, as after an upgrade by logical replication."""
    return problems(
        connection,
        "sequences",
        "none is behind its table",
        """
        SELECT format('%s is at %s, and %s is in use', sequence, last_value, highest),
               'run pgleaderboard migrate --again, which sets it forward'
        FROM kaggle_internal.sequences_behind()
        """,
    )
