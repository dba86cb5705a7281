"""Brings a database to this version: the tables once, the code again whenever it changed.

Three sorts of SQL reach the database, always in this order:

    procrastinate/…        the queue, from the installed package: its schema.sql on a fresh database, later
                           only those of its migrations that are not recorded, each in its own transaction
    migrations/versions/…  the shape of stored data, by Alembic, once and forward
    sql/…                  functions, triggers, views, grants and comments: all files, in the order of their
                           names, whenever any of them or a version is new (a version may have dropped a view
                           whose file did not change)

The last two, and a fresh queue, are one transaction. What was applied is recorded in
`kaggle_internal.alembic_version` and `kaggle_internal.applied_files`; `release` compares it with what this program
brings. `script` writes the same steps for psql.
"""

from __future__ import annotations

import io
import logging
import re
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import psycopg
from alembic import command, op
from alembic.config import Config
from psycopg.conninfo import make_conninfo
from sqlalchemy import Connection, NullPool, create_engine
from sqlalchemy.exc import DBAPIError

from pgleaderboard import __version__
from pgleaderboard.database import paths
from pgleaderboard.database.connect import parts_of
from pgleaderboard.database.release import (
    MINIMUM_SERVER,
    PROCRASTINATE,
    RELEASE,
    File,
    Psycopg,
    Recorded,
    Release,
    explained,
    is_installed,
    name_of,
    one_line,
    rows,
    value,
)
from pgleaderboard.errors import NeedsPerson, PgleaderboardError, Transient

DEADLINE = 60.0  # seconds for another migration, and then for anybody else's lock, to go away
LOCK_KEY = int.from_bytes(b"pglbmigr", "big")

_LOCK_TIMEOUT = 2.0  # a statement that waits for a lock makes everybody behind it wait: rather come again
_PAUSE = 0.05

# What an administrator may have set for the role or the database must not change what our SQL means.
_SETTINGS = {
    "client_encoding": "'UTF8'",
    "client_min_messages": "warning",
    "standard_conforming_strings": "on",
    "check_function_bodies": "on",
    "TimeZone": "'UTC'",
    "DateStyle": "'ISO, MDY'",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "search_path": "pg_catalog, pg_temp",
}

_SCHEMAS = {
    "kaggle": "Kaggle leaderboards that keep themselves in sync; made by pgleaderboard.",
    "kaggle_internal": "What keeps them in sync: the worker's tables and functions; nothing here is for users.",
    "procrastinate": "The queue of pgleaderboard, made from the package procrastinate; one to a database.",
}

_BOOKKEEPING = """\
CREATE TABLE kaggle_internal.applied_files (
    name       text        NOT NULL,
    digest     text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT applied_files_pkey PRIMARY KEY (name)
);
COMMENT ON TABLE kaggle_internal.applied_files IS
    'What `pgleaderboard migrate` applied to this database, beside the version in alembic_version.';
COMMENT ON COLUMN kaggle_internal.applied_files.name IS
    'sql/FILE, procrastinate/FILE, or pgleaderboard for the release itself.';
COMMENT ON COLUMN kaggle_internal.applied_files.digest IS
    'SHA-256 of the file as applied; for pgleaderboard the release that last changed anything.';
COMMENT ON COLUMN kaggle_internal.applied_files.applied_at IS 'When it was last applied.';
"""

_BOOKKEEPING_OF_ALEMBIC = """\
COMMENT ON TABLE kaggle_internal.alembic_version IS
    'The version of the tables, written by Alembic; what else is applied stands in applied_files.';
COMMENT ON COLUMN kaggle_internal.alembic_version.version_num IS
    'The newest of migrations/versions that was applied.';
"""

_LOG = logging.getLogger(__name__)
_ALEMBIC = threading.Lock()  # `alembic.op` and `alembic.context` are one to a process

Report = Callable[[str], None]
Run = Callable[[str, str], None]  # (where the SQL comes from, the SQL): executes it, or writes it down


def migrate(
    url: str,
    *,
    sql: Path = paths.SQL,
    migrations: Path = paths.MIGRATIONS,
    procrastinate: Path = PROCRASTINATE,
    report: Report = _LOG.info,
    deadline: float = DEADLINE,
    again: bool = False,
) -> bool:
    """Bring the database at `url` (a libpq URL or DSN) to this version; True if anything changed.

    again: apply all of sql/ even if none of it is new, which mends what a restore left out (grants, comments).

    Needs a session: no pooler in transaction mode. Safe to run twice, and by several at once: one works, the
    others wait for it, at most `deadline` seconds.

    Raises PgleaderboardError, with one line that says what was found and what to do.
    """
    release = Release.read(sql, migrations, procrastinate)
    with closing(_connect(url)) as connection:
        try:
            connection.add_notice_handler(lambda said: report(said.message_primary or ""))
            _prepare(connection, deadline)
            _refuse_server(connection)
            _take_turn(connection, deadline, report)
            return _bring_up(connection, release, deadline, report, again=again)
        except (psycopg.Error, DBAPIError) as error:
            raise _explained(error, "cannot migrate") from error


def script(*, sql: Path = paths.SQL, migrations: Path = paths.MIGRATIONS, procrastinate: Path = PROCRASTINATE) -> str:
    """What `migrate` would do to an empty database, as one transaction for psql."""
    release = Release.read(sql, migrations, procrastinate)
    out = io.StringIO()

    def run(name: str, text: str) -> None:
        *_, (_, last) = [(0, ";"), *statements(text)]
        out.write(f"-- {name}\n{text.rstrip()}\n" + ("" if last.endswith(";") else ";\n") + "\n")

    out.write(f"-- pgleaderboard {__version__}, for psql, on an empty database in UTF8\n")
    out.write("\\set ON_ERROR_STOP on\n\nBEGIN;\n\n")
    run("settings", "\n".join(f"SET LOCAL {name} = {value};" for name, value in _SETTINGS.items()))
    config = _config(migrations, run=run, output=out)
    upgrade = partial(_upgrade, config, offline=True)
    _apply(run, upgrade, release, create=_SCHEMAS, fresh=True, fresh_queue=True)
    out.write("COMMIT;\n")
    return out.getvalue()


def run_sql_beside(version: str) -> None:
    """Run the SQL file beside a version, `0001_tables.sql` beside `0001_tables.py`.

    It goes to the driver as it is: `op.execute` takes `:name` for a parameter, and Alembic's own script
    doubles `%`.
    """
    config = op.get_context().config
    assert config is not None, "run by Alembic"
    run: Run = config.attributes["run"]
    file = Path(version).with_suffix(".sql")
    run(f"migrations/versions/{file.name}", file.read_text(encoding="utf-8"))


_TOKEN = re.compile(
    r"""
    (?P<nothing> \s+ | --[^\n]* )
  | (?P<comment> /\* )
  | [eE]' [^'\\]* (?: (?: \\. | '' ) [^'\\]* )* '
  | ' [^']* '
  | " [^"]* "
  | (?P<dollar> \$ (?: [^\W\d]\w* )? \$ ) .*? (?P=dollar)
  | (?P<word> [^\W\d] [\w$]* )
  | (?P<end> ; )
  | .
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")


def statements(text: str) -> Iterator[tuple[int, str]]:
    """Split SQL into statements, each with the line it begins on; comments before it are left out.

    Knows comments, strings, quoted names, dollar quotes, and `BEGIN ATOMIC … END`; not psql's own commands.
    """
    position, start, line, counted = 0, -1, 1, 0
    depth, previous = 0, ""  # of BEGIN ATOMIC and the CASEs in it, whose semicolons and ENDs are inside
    while token := _TOKEN.match(text, position):
        position = token.end()
        if token["nothing"]:
            continue
        if token["comment"]:
            position = _after_comment(text, position)
            continue
        if start < 0:
            start = token.start()
            line, counted = line + text.count("\n", counted, start), start
        word = (token["word"] or "").lower()
        if word == "atomic" and previous == "begin":
            depth = 1
        elif depth and word in ("case", "end"):
            depth += 1 if word == "case" else -1
        previous = word
        if token["end"] and not depth:
            if position - start > 1:
                yield line, text[start:position]
            start = -1
    if start >= 0:
        yield line, text[start:].rstrip()


def _after_comment(text: str, position: int) -> int:
    depth = 1  # PostgreSQL's comments nest
    while depth and (edge := _COMMENT_EDGE.search(text, position)):
        position = edge.end()
        depth += 1 if edge[0] == "/*" else -1
    return len(text) if depth else position


def _config(migrations: Path, **attributes: object) -> Config:
    config = Config(attributes=attributes)
    config.set_main_option("path_separator", "os")
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    return config


def _upgrade(config: Config, *, offline: bool = False) -> None:
    with _ALEMBIC:
        command.upgrade(config, "heads", sql=offline)


def _connect(url: str) -> Psycopg:
    # libpq quotes what it cannot read: after an unescaped @ or / that is a piece of the password.
    parts = parts_of(url)
    host, port = str(parts.get("host") or ""), str(parts.get("port") or "")
    parts.setdefault("connect_timeout", 10)
    parts["client_encoding"] = "UTF8"  # psycopg returns bytes from a database in SQL_ASCII otherwise
    parts["application_name"] = "pgleaderboard migrate"
    try:
        return psycopg.connect(make_conninfo(**parts), autocommit=True, prepare_threshold=None)
    except psycopg.Error as error:
        where = f" at {host}" + (f":{port}" if port else "") if host else ""
        name = f'database "{parts["dbname"]}"' if parts.get("dbname") else "the database"
        raise PgleaderboardError(f"cannot connect to {name}{where}: {one_line(str(error))}") from error


def _prepare(connection: Psycopg, deadline: float) -> None:
    for name, setting in _SETTINGS.items():
        connection.execute(f"SET {name} = {setting}".encode())
    milliseconds = max(1, round(min(_LOCK_TIMEOUT, deadline) * 1000))
    connection.execute(f"SET lock_timeout = {milliseconds}".encode())


def _refuse_server(connection: Psycopg) -> None:
    if connection.info.server_version < MINIMUM_SERVER * 10000:
        version = connection.info.parameter_status("server_version")
        raise NeedsPerson(f"the server is PostgreSQL {version}: {MINIMUM_SERVER} or newer is needed")
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise NeedsPerson(
            f"{name_of(connection)} is encoded in {encoding}: make one with "
            "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )


def _take_turn(connection: Psycopg, deadline: float, report: Report) -> None:
    # Polled: a session that waits inside pg_advisory_lock deadlocks with another's CREATE INDEX CONCURRENTLY.
    # The lock goes with the connection.
    until, told = time.monotonic() + deadline, False
    while not value(connection, "SELECT pg_try_advisory_lock(%s)", LOCK_KEY):
        if time.monotonic() >= until:
            raise Transient(
                f"another migration of {name_of(connection)} is running{_holder(connection)}: "
                f"gave up after {deadline:g} s, try again when it has ended"
            )
        if not told:
            report(f"another migration of {name_of(connection)} is running: waiting for it")
            told = True
        time.sleep(_PAUSE)


def _holder(connection: Psycopg) -> str:
    pid = value(
        connection,
        """
        SELECT pid FROM pg_locks
        WHERE locktype = 'advisory' AND objsubid = 1 AND granted
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND classid::bigint << 32 | objid::bigint = %s
        """,
        LOCK_KEY,
    )
    return f" (server process {pid})" if pid else ""


def _bring_up(connection: Psycopg, release: Release, deadline: float, report: Report, *, again: bool) -> bool:
    existing = _schemas(connection)
    installed = is_installed(connection)
    if not installed and (found := existing.get("kaggle")):
        raise NeedsPerson(
            f"schema kaggle in {name_of(connection)} was not made by pgleaderboard (it holds {found}): "
            "use another database, or rename that schema"
        )
    recorded = Recorded.read(connection) if installed else Recorded()
    if again:
        recorded = recorded.without_digests("sql")
    waiting = release.waiting(recorded)
    _refuse_queue(connection, existing.get("procrastinate"), recorded)
    if not waiting:
        return False
    _refuse_rights(connection, existing)
    for name in waiting:
        report(f"to apply: {name}")

    def run(name: str, text: str) -> None:
        _execute(connection, name, text)

    # Alembic works on this very connection, which holds the lock.
    connection.autocommit = False
    engine = create_engine("postgresql+psycopg://", creator=lambda: connection, poolclass=NullPool)
    with engine.connect() as alchemy:
        fresh_queue = not recorded.names("procrastinate")
        for file in () if fresh_queue else release.queue:
            if file.name in waiting:
                _commit(alchemy, partial(_apply_queue, run, file, [file]), deadline, report)
        config = _config(release.migrations, connection=alchemy, run=run)
        everything = partial(
            _apply,
            run,
            partial(_upgrade, config),
            release,
            create=[schema for schema in _SCHEMAS if schema not in existing],
            fresh=not installed,
            fresh_queue=fresh_queue,
            gone=release.gone(recorded),
        )
        _commit(alchemy, everything, deadline, report)
    return True


def _commit(alchemy: Connection, work: Callable[[], None], deadline: float, report: Report) -> None:
    """Do `work` in one transaction; again, until `deadline`, where somebody's lock was in the way."""
    until = time.monotonic() + deadline
    while True:
        transaction = alchemy.begin()
        try:
            work()
            transaction.commit()
            return
        except (PgleaderboardError, DBAPIError) as error:
            with suppress(DBAPIError):  # what failed may be the connection
                transaction.rollback()
            mistake = _explained(error, "cannot migrate") if isinstance(error, DBAPIError) else error
            if not isinstance(mistake, Transient) or time.monotonic() >= until:
                raise mistake from error.__cause__
        report(f"trying again: {mistake}")
        time.sleep(_PAUSE)


def _apply(
    run: Run,
    upgrade: Callable[[], None],
    release: Release,
    *,
    create: Iterable[str],
    fresh: bool,
    fresh_queue: bool,
    gone: Iterable[str] = (),
) -> None:
    for schema in create:
        comment = _literal(_SCHEMAS[schema])
        run(f"schema {schema}", f"CREATE SCHEMA {schema};")
        run(f"schema {schema}", f"COMMENT ON SCHEMA {schema} IS {comment};")
    if fresh:
        run("what is applied", _BOOKKEEPING)
    if fresh_queue:
        _apply_queue(run, release.queue_schema, release.queue)
    upgrade()
    if fresh:
        run("what is applied, by Alembic", _BOOKKEEPING_OF_ALEMBIC)
    for file in release.sql:
        run(file.name, file.text)
    for name in gone:
        run("what is applied", f"DELETE FROM kaggle_internal.applied_files WHERE name = {_literal(name)};")
    _record(run, {file.name: file.digest for file in release.sql} | {RELEASE: __version__})


def _apply_queue(run: Run, file: File, done: Iterable[File]) -> None:
    # Its SQL names nothing by schema.
    run(file.name, "SET LOCAL search_path = procrastinate, pg_temp;")
    run(file.name, file.text)
    run(file.name, f"SET LOCAL search_path = {_SETTINGS['search_path']};")
    _record(run, {migration.name: migration.digest for migration in done})


def _record(run: Run, digests: Mapping[str, str]) -> None:
    rows = ",\n    ".join(f"({_literal(name)}, {_literal(digest)})" for name, digest in digests.items())
    run(
        "what is applied",
        f"INSERT INTO kaggle_internal.applied_files (name, digest) VALUES\n    {rows}\n"
        "ON CONFLICT (name) DO UPDATE SET digest = excluded.digest, applied_at = excluded.applied_at;",
    )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _execute(connection: Psycopg, name: str, text: str) -> None:
    for line, statement in statements(text):
        try:
            connection.execute(statement.encode())
        except psycopg.Error as error:
            position = error.diag.statement_position
            below = statement.count("\n", 0, int(position) - 1) if position else 0
            near = f" (near line {line + below})" if below else ""
            first = statement.partition("\n")[0][:100]
            raise explained(error, f"{name}, line {line}{near}, {first}") from error


def _refuse_queue(connection: Psycopg, found: str | None, recorded: Recorded) -> None:
    places = {
        schema
        for (schema,) in rows(
            connection,
            """
            SELECT nspname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
            WHERE relname = 'procrastinate_jobs' AND relkind IN ('r', 'p') AND nspname !~ '^pg_'
            """,
        )
    }
    database = name_of(connection)
    if elsewhere := sorted(places - {"procrastinate"}):
        raise NeedsPerson(
            f"{database} holds another installation of procrastinate, in schema {elsewhere[0]}: "
            "its notifications reach every schema, so a database can hold one only; use another database"
        )
    if recorded.names("procrastinate"):
        if not places:
            raise NeedsPerson(
                f"the tables of schema procrastinate are gone from {database}: restore them, or run "
                "DELETE FROM kaggle_internal.applied_files WHERE name LIKE 'procrastinate/%' and migrate again, "
                "which makes them anew"
            )
    elif found:
        raise NeedsPerson(
            f"schema procrastinate in {database} was not made by pgleaderboard (it holds {found}): "
            "use another database, or drop that schema if nobody uses it"
        )


def _refuse_rights(connection: Psycopg, existing: Collection[str]) -> None:
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


def _schemas(connection: Psycopg) -> dict[str, str | None]:
    """Those of our schemas that exist, each with one thing it holds, None where it is empty."""
    return dict(
        rows(
            connection,
            """
            SELECT nspname, min(pg_describe_object(classid, objid, objsubid))
            FROM pg_namespace
            LEFT JOIN pg_depend ON refclassid = 'pg_namespace'::regclass AND refobjid = pg_namespace.oid
                -- what is said about a schema does not lie in it
                AND classid NOT IN ('pg_default_acl'::regclass, 'pg_publication_namespace'::regclass)
            WHERE nspname = ANY (%s)
            GROUP BY nspname
            """,
            list(_SCHEMAS),
        )
    )


def _explained(error: psycopg.Error | DBAPIError, what: str) -> PgleaderboardError:
    """The same in one line, and as what it means for the user; Alembic's engine wraps psycopg's errors."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(cause, psycopg.Error):
        raise error
    return explained(cause, what)
