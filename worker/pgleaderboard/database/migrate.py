"""Brings a database to this version: the tables once, the code again whenever it changed.

Three sorts of SQL reach the database, always in this order:

    procrastinate/…  the queue, from the installed package: its schema.sql on a fresh database, later only those of its
                     migrations that are not recorded, each in its own transaction
    migrations/…     the tables: each file once, in the order of their names
    sql/…            functions, triggers, views, grants and comments: all files, in the order of their names, whenever
                     any of them or a migration is new (a migration may have dropped a view whose file did not change)

The last two, and a fresh queue, are one transaction. The applied files are recorded in `kaggle_internal.applied_files`;
`release` compares them with what this program brings. `script` writes the same steps for psql.

A file is sent whole, as one simple query: the server parses all of it first, but analyses a statement only after it has
run the ones before, so a statement may use what an earlier one made.

The record also names the objects that the migrations made in our schemas, so that `uninstall` can tell them from those
of other people. The names are taken from the catalogue at the end of the transaction, less those that were not ours at
its beginning: no file has to be parsed, and what an earlier release made stays ours.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import closing

import psycopg
from psycopg import errors as pg
from psycopg.sql import quote

from pgleaderboard import __version__
from pgleaderboard.database.connect import (
    READ_WRITE,
    SETTINGS,
    Connection,
    column,
    connect,
    explained,
    row,
    rows,
    session_settings,
    value,
)
from pgleaderboard.database.release import (
    ANOTHER_DEVELOPMENT_VERSION,
    GRANTS,
    MINIMUM_SERVER,
    OBJECTS,
    RELEASE,
    File,
    Release,
    applied,
    lost_grants,
    name_of,
    of_folder,
    strangers,
)
from pgleaderboard.errors import NeedsPerson, PgleaderboardError, SchemaTooOld, Transient

DEADLINE = 60.0  # seconds to wait for another migration, and then for other locks
LOCK_KEY = int.from_bytes(b"pglbmigr", "big")

_LOCK_TIMEOUT = 2.0  # seconds; a statement that waits for a lock blocks those behind it, so it gives up and retries
_PAUSE = 0.05

_PATIENCE = 3600.0  # seconds that one statement may take

# Beside what all our statements rely on.
_SETTINGS = {"client_min_messages": "warning", "check_function_bodies": "on", "search_path": "pg_catalog, pg_temp"}

_SCHEMAS = {
    "kaggle": "Kaggle leaderboards that keep themselves in sync; made by pgleaderboard.",
    "kaggle_internal": "What keeps them in sync: the worker's tables and functions; nothing here is for users.",
    "procrastinate": "The queue of pgleaderboard, made from the package procrastinate; one to a database.",
}

_RECORD = """\
CREATE TABLE kaggle_internal.applied_files (
    name       text        NOT NULL,
    digest     text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    objects    text[],
    CONSTRAINT applied_files_pkey PRIMARY KEY (name)
);
COMMENT ON TABLE kaggle_internal.applied_files IS 'What `pgleaderboard migrate` applied to this database.';
COMMENT ON COLUMN kaggle_internal.applied_files.name IS
    'migrations/FILE, sql/FILE, procrastinate/FILE, or pgleaderboard for the release itself.';
COMMENT ON COLUMN kaggle_internal.applied_files.digest IS
    'SHA-256 of the file as applied; for pgleaderboard the release that last changed anything.';
COMMENT ON COLUMN kaggle_internal.applied_files.applied_at IS 'When it was last applied.';
COMMENT ON COLUMN kaggle_internal.applied_files.objects IS
    'For pgleaderboard: what migrations and sql made in our schemas, and granted to our roles; else null.';
"""

_APPLIES = "to apply: "
_LOG = logging.getLogger(__name__)

Report = Callable[[str], None]
Step = tuple[str, str]  # (where the SQL comes from, the SQL)


def migrate(
    url: str,
    release: Release | None = None,
    *,
    report: Report = _LOG.info,
    deadline: float = DEADLINE,
    again: bool = False,
) -> bool:
    """Bring the database at `url` (a libpq URL or DSN) to this version; True if anything changed.

    again: apply all of sql/ even if none of it is new, which mends what a restore left out (grants, comments).

    Needs a session: no pooler in transaction mode. Safe to run twice, and by several at once: the others wait for the
    first, at most `deadline` seconds. Raises PgleaderboardError.
    """
    release = release or Release.read()
    with closing(_connect(url)) as connection:
        try:
            connection.add_notice_handler(lambda notice: report(notice.message_primary or ""))
            _refuse_server(connection)
            connection.patience = _PATIENCE
            ours = "".join(f"SET {name} = {setting};" for name, setting in _SETTINGS.items())
            lock_seconds = max(0.001, min(_LOCK_TIMEOUT, deadline))
            connection.execute(session_settings(connection, 0, lock_seconds) + ours.encode())
            _retried(lambda: _take_turn(connection), deadline, report)
            return _bring_up(connection, release, deadline, report, again=again)
        except psycopg.Error as error:
            raise _explained(error, "cannot migrate") from error


def script(release: Release | None = None) -> str:
    """What `migrate` would do to an empty database, as one transaction for psql."""
    ours = {name: f"'{setting}'" for name, setting in SETTINGS.items()} | {"statement_timeout": "0"} | _SETTINGS
    settings = "\n".join(f"SET LOCAL {name} = {setting};" for name, setting in ours.items())
    steps = [("settings", settings), *_steps(release or Release.read(), {}, existing=(), foreign=())]
    # A semicolon may be missing or stand in a trailing comment; an empty statement does no harm.
    body = "".join(f"-- {name}\n{text.rstrip()}\n;\n\n" for name, text in steps)
    return (
        f"-- pgleaderboard {__version__}, for psql, on an empty database in UTF8\n"
        f"\\set ON_ERROR_STOP on\n\n{READ_WRITE}\n\n{body}COMMIT;\n"
    )


def _connect(url: str) -> Connection:
    try:
        return connect(url, "migrate")
    except psycopg.OperationalError as error:
        raise explained(error) from error


def _refuse_server(connection: Connection) -> None:
    if connection.info.server_version < MINIMUM_SERVER * 10000:
        version = connection.info.parameter_status("server_version")
        raise NeedsPerson(f"the server is PostgreSQL {version}: {MINIMUM_SERVER} or newer is needed")
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise NeedsPerson(
            f"{name_of(connection)} is encoded in {encoding}: make one with "
            "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )


def _take_turn(connection: Connection) -> None:
    # Not pg_advisory_lock: a session that waits in it deadlocks with another's CREATE INDEX CONCURRENTLY.
    # The lock goes with the connection.
    is_ours, pid = row(
        connection,
        """
        SELECT pg_try_advisory_lock(%(key)s), (
            SELECT pid FROM pg_locks
            WHERE locktype = 'advisory' AND objsubid = 1 AND granted
              AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
              AND classid::bigint << 32 | objid::bigint = %(key)s)
        """,
        key=LOCK_KEY,
    )
    if not is_ours:
        raise Transient(f"another migration of {name_of(connection)} is running (server process {pid})")


def applies(line: str) -> bool:
    """Whether a line of the report names a file that is applied; the others are for people."""
    return line.startswith(_APPLIES)


def _retried(action: Callable[[], None], deadline: float, report: Report) -> None:
    """Take an action; again, until `deadline`, where another session's lock is in the way."""
    until, is_reported = time.monotonic() + deadline, False
    while True:
        try:
            return action()
        except Transient as error:
            if time.monotonic() >= until:
                raise Transient(f"{error}: gave up after {deadline:g} s") from error
            if not is_reported:
                report(f"trying again: {error}")
            is_reported = True
        time.sleep(_PAUSE)


def _bring_up(connection: Connection, release: Release, deadline: float, report: Report, *, again: bool) -> bool:
    existing = _schemas(connection)
    recorded = applied(connection)
    lost = lost_grants(connection) if recorded else []
    if lost:
        report(f"{len(lost)} grants are gone, the first: {lost[0]}")
    if again or lost:
        recorded |= dict.fromkeys(of_folder(recorded, "sql"), "")
    waiting = release.waiting(recorded)
    _refuse_foreign(connection, existing, recorded)
    if not waiting:
        return False
    _refuse_rights(connection, existing)
    for name in waiting:
        report(_APPLIES + name)
    if of_folder(recorded, "procrastinate"):
        for file in release.queue:
            if file.name in waiting:
                _commit(connection, _queue_steps([file], [file]), deadline, report)
    foreign = strangers(connection) if recorded else []
    _commit(connection, _steps(release, recorded, existing, foreign), deadline, report)
    return True


def _commit(connection: Connection, steps: Iterable[Step], deadline: float, report: Report) -> None:
    steps = list(steps)

    def transaction() -> None:
        with connection.transaction():
            for name, text in steps:
                _execute(connection, name, text)

    _retried(transaction, deadline, report)


def _execute(connection: Connection, name: str, text: str) -> None:
    try:
        connection.execute(text.encode())
    except psycopg.Error as error:
        position = error.diag.statement_position  # in characters, from 1
        line = text.count("\n", 0, int(position) - 1) + 1 if position else None
        raise _explained(error, f"{name}, line {line}" if line else name) from error


def _steps(
    release: Release, recorded: Mapping[str, str], existing: Collection[str], foreign: Iterable[str]
) -> Iterator[Step]:
    """Everything but the later migrations of the queue."""
    for schema, comment in _SCHEMAS.items():
        if schema not in existing:
            yield f"schema {schema}", f"CREATE SCHEMA {schema};\nCOMMENT ON SCHEMA {schema} IS {quote(comment)};"
    if not recorded:
        yield "the record", _RECORD
    if not of_folder(recorded, "procrastinate"):
        yield from _queue_steps(release.queue_schema, release.queue)
    migrations = [file for file in release.migrations if file.name not in recorded]
    for file in (*migrations, *release.sql):
        yield file.name, file.text
    for name in release.gone(recorded):
        yield "the record", f"DELETE FROM kaggle_internal.applied_files WHERE name = {quote(name)};"
    yield _record({file.name: file.digest for file in (*migrations, *release.sql)} | {RELEASE: __version__})
    yield (
        "the record",
        f"UPDATE kaggle_internal.applied_files SET objects = ARRAY(\n({OBJECTS}\n"
        f"EXCEPT SELECT unnest({quote(list(foreign))}::text[]))\nUNION ALL\n({GRANTS})\nORDER BY 1)\n"
        f"WHERE name = {quote(RELEASE)};",
    )


def _queue_steps(files: Iterable[File], recorded: Iterable[File]) -> Iterator[Step]:
    for file in files:
        # procrastinate's SQL uses unqualified names.
        yield file.name, "SET LOCAL search_path = procrastinate, pg_temp;"
        yield file.name, file.text
        yield file.name, f"SET LOCAL search_path = {_SETTINGS['search_path']};"
    yield _record({file.name: file.digest for file in recorded})


def _record(digests: Mapping[str, str]) -> Step:
    values = ",\n    ".join(f"({quote(name)}, {quote(digest)})" for name, digest in digests.items())
    return (
        "the record",
        f"INSERT INTO kaggle_internal.applied_files (name, digest) VALUES\n    {values}\n"
        "ON CONFLICT (name) DO UPDATE SET digest = excluded.digest, applied_at = excluded.applied_at;",
    )


def _refuse_foreign(connection: Connection, existing: Mapping[str, str | None], recorded: Mapping[str, str]) -> None:
    database = name_of(connection)
    is_queue_recorded = bool(of_folder(recorded, "procrastinate"))
    for schema, content in existing.items():
        if content and not (is_queue_recorded if schema == "procrastinate" else recorded):
            if value(connection, "SELECT to_regclass('kaggle.applied_files')"):
                raise SchemaTooOld(ANOTHER_DEVELOPMENT_VERSION)
            raise NeedsPerson(
                f"schema {schema} in {database} was not made by pgleaderboard (it holds {content}): "
                "use another database, or drop that schema if nobody uses it"
            )
    queues = column(
        connection,
        """
        SELECT nspname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE relname = 'procrastinate_jobs' AND relkind IN ('r', 'p') AND nspname !~ '^pg_'
        ORDER BY nspname = 'procrastinate', 1
        """,
    )
    if not is_queue_recorded and queues[:1] not in ([], ["procrastinate"]):
        raise NeedsPerson(
            f"{database} holds another installation of procrastinate, in schema {queues[0]}: "
            "its notifications reach every schema, so a database can hold one only; use another database"
        )
    if is_queue_recorded and not queues:
        raise NeedsPerson(
            f"the tables of schema procrastinate are gone from {database}: restore them, or run "
            "DELETE FROM kaggle_internal.applied_files WHERE name LIKE 'procrastinate/%' and migrate again, "
            "which creates them anew"
        )


def _refuse_rights(connection: Connection, existing: Collection[str]) -> None:
    role, database = connection.info.user, connection.info.dbname
    missing = [schema for schema in _SCHEMAS if schema not in existing]
    if missing and not value(connection, "SELECT has_database_privilege(current_database(), 'CREATE')"):
        raise NeedsPerson(
            f'role "{role}" lacks CREATE on database "{database}": have its owner run '
            f'GRANT CREATE ON DATABASE "{database}" TO "{role}", '
            f'or CREATE SCHEMA … AUTHORIZATION "{role}" for {" and ".join(missing)}'
        )
    for schema in _SCHEMAS:
        if schema in existing and not value(connection, "SELECT has_schema_privilege(%s, 'CREATE')", schema):
            raise NeedsPerson(
                f'role "{role}" lacks CREATE on schema {schema} in database "{database}": migrate as the '
                f'owner, or have the owner run GRANT USAGE, CREATE ON SCHEMA {schema} TO "{role}"'
            )


def _schemas(connection: Connection) -> dict[str, str | None]:
    """Our schemas that exist, with the name of an object in them, None where they are empty."""
    return dict(
        rows(
            connection,
            """
            SELECT nspname, min(pg_describe_object(classid, objid, objsubid))
            FROM pg_namespace
            LEFT JOIN pg_depend ON refclassid = 'pg_namespace'::regclass AND refobjid = pg_namespace.oid
                -- default privileges and publications refer to a schema without being in it
                AND classid NOT IN ('pg_default_acl'::regclass, 'pg_publication_namespace'::regclass)
            WHERE nspname = ANY (%s)
            GROUP BY nspname
            """,
            list(_SCHEMAS),
        )
    )


def _explained(error: psycopg.Error, what: str) -> PgleaderboardError:
    """The error as ours, in one line."""
    diag = error.diag
    parts = (diag.message_primary or str(error), diag.message_detail, diag.message_hint, diag.context)
    message = " ".join(f"{what}: {'; '.join(filter(None, parts))}".split())
    if isinstance(error, pg.LockNotAvailable | pg.DeadlockDetected):
        return Transient(message)
    if isinstance(error, pg.InsufficientPrivilege | pg.ReadOnlySqlTransaction):
        return NeedsPerson(message)
    return PgleaderboardError(message)
