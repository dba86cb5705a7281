"""What this program brings to a database, and what a database says it holds: does the one fit the other?

A worker asks this at each start, so nothing here loads Alembic, which only `migrate` needs.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from procrastinate.schema import migrations_path
from psycopg import errors as pg
from psycopg.rows import tuple_row

from pgleaderboard import __version__
from pgleaderboard.database import paths
from pgleaderboard.errors import NeedsPerson, PgleaderboardError, SchemaTooNew, SchemaTooOld, Transient

PROCRASTINATE = migrations_path.parent  # holds schema.sql and the folder migrations
MINIMUM_SERVER = 15
RELEASE = "pgleaderboard"  # the row of applied_files that holds the release instead of a digest
_REVISION = re.compile(r'^revision = "(\w+)"$', re.MULTILINE)

Psycopg = psycopg.Connection[object]


def check(
    connection: Psycopg,
    *,
    sql: Path = paths.SQL,
    migrations: Path = paths.MIGRATIONS,
    procrastinate: Path = PROCRASTINATE,
) -> None:
    """Whether this program fits the database: returns, or says why not. Leaves a transaction as it found it.

    Raises SchemaTooNew, SchemaTooOld, NeedsPerson where nothing is installed or may not be read, or Transient where row
    level security hides what is installed.
    """
    release = Release.read(sql, migrations, procrastinate)
    try:
        with connection.transaction():
            if not is_installed(connection):
                raise NeedsPerson(f"{name_of(connection)} holds no leaderboards yet: run `pgleaderboard migrate`")
            recorded = Recorded.read(connection)
    except pg.InsufficientPrivilege as error:
        raise explained(error, "cannot read what is installed") from error
    if waiting := release.waiting(recorded):
        raise SchemaTooOld(
            f"{name_of(connection)} waits for `pgleaderboard migrate`: {len(waiting)} to apply, the first {waiting[0]}"
        )


@dataclass(frozen=True)
class File:
    """A file of SQL. name: as it is recorded. digest: SHA-256."""

    name: str
    text: str
    digest: str

    @classmethod
    def read(cls, folder: str, path: Path) -> File:
        """Read a file that is recorded under the name of a folder."""
        content = path.read_bytes()
        return cls(f"{folder}/{path.name}", content.decode(), hashlib.sha256(content).hexdigest())


@dataclass(frozen=True)
class Recorded:
    """What a database says was applied to it."""

    versions: frozenset[str] = frozenset()
    files: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, connection: Psycopg) -> Recorded:
        """Read it from a database that `is_installed`."""
        if value(
            connection,
            "SELECT row_security_active('kaggle_internal.alembic_version') "
            "OR row_security_active('kaggle_internal.applied_files')",
        ):
            raise Transient(
                f'row level security hides rows of kaggle_internal.applied_files from role "{connection.info.user}": '
                f'ALTER ROLE "{connection.info.user}" BYPASSRLS; or make it the owner of the tables'
            )
        versions = rows(connection, "SELECT version_num FROM kaggle_internal.alembic_version")
        files = rows(connection, "SELECT name, digest FROM kaggle_internal.applied_files")
        return cls(frozenset(version for (version,) in versions), dict(files))

    def digest(self, name: str) -> str | None:
        """Of a file as it was applied, None if it was not."""
        return self.files.get(name)

    def without_digests(self, folder: str) -> Recorded:
        """The same, but as if the files of a folder were all others now."""
        files = {name: "" if name.startswith(f"{folder}/") else digest for name, digest in self.files.items()}
        return Recorded(self.versions, files)

    def names(self, folder: str) -> set[str]:
        """Name the applied files of a folder."""
        return {name for name in self.files if name.startswith(f"{folder}/")}


@dataclass(frozen=True)
class Release:
    """What this program brings to a database."""

    migrations: Path
    versions: tuple[str, ...]  # oldest first: each follows the one before, as their file names do
    sql: tuple[File, ...]
    queue_schema: File
    queue: tuple[File, ...]

    @classmethod
    def read(cls, sql: Path, migrations: Path, procrastinate: Path) -> Release:
        """Read it from its folders. Raises PgleaderboardError where one is missing."""
        for folder in (sql, migrations, procrastinate):
            if not folder.is_dir():
                raise PgleaderboardError(f"this installation is broken: the folder {folder} is missing")
        versions = [
            revision
            for path in sorted((migrations / "versions").glob("*.py"))
            for revision in _REVISION.findall(path.read_text(encoding="utf-8"))
        ]
        return cls(
            migrations,
            tuple(versions),
            tuple(File.read("sql", path) for path in sorted(sql.glob("*.sql"))),
            File.read("procrastinate", procrastinate / "schema.sql"),
            tuple(File.read("procrastinate", path) for path in sorted((procrastinate / "migrations").glob("*.sql"))),
        )

    def waiting(self, recorded: Recorded) -> list[str]:
        """Name what is to be applied, in that order; raise SchemaTooNew if this program is the older."""
        self._refuse_newer(recorded)
        if not recorded.names("procrastinate"):
            waiting = [self.queue_schema.name]
        else:
            waiting = [file.name for file in self.queue if recorded.digest(file.name) is None]
        applied = [self.versions.index(version) for version in recorded.versions]
        waiting += [f"version {version}" for version in self.versions[max(applied, default=-1) + 1 :]]
        waiting += [file.name for file in self.sql if recorded.digest(file.name) != file.digest]
        waiting += [f"{name} (gone)" for name in self.gone(recorded)]
        return waiting

    def gone(self, recorded: Recorded) -> list[str]:
        """Name the files of sql/ that an earlier release had and this one has not."""
        return sorted(recorded.names("sql") - {file.name for file in self.sql})

    def _refuse_newer(self, recorded: Recorded) -> None:
        unknown = sorted(recorded.versions - set(self.versions))
        unknown += sorted(recorded.names("procrastinate") - {file.name for file in self.queue})
        if unknown:
            found = f"holds {unknown[0]}, which pgleaderboard {__version__} does not know"
        elif _numbers(recorded.digest(RELEASE) or "") > _numbers(__version__):
            found = f"was migrated by pgleaderboard {recorded.digest(RELEASE)}, and this is {__version__}"
        else:
            return
        raise SchemaTooNew(f"the database {found}: upgrade this program, it is older than the database")


def _numbers(version: str) -> tuple[int, ...]:
    # Of 0.2.0rc1 only 0.2.0 counts: a database a candidate migrated is not too new for the release itself.
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def is_installed(connection: Psycopg) -> bool:
    """Whether a database was ever migrated by us, by the catalog, which everybody may read."""
    tables = value(
        connection,
        """
        SELECT count(*)
        FROM pg_catalog.pg_class
        JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname = 'kaggle_internal' AND relname IN ('alembic_version', 'applied_files')
        """,
    )
    return tables == 2


def rows(connection: Psycopg, query: LiteralString, *values: object) -> list[tuple[Any, ...]]:
    """All rows of a query."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        return cursor.execute(query, values or None, prepare=False).fetchall()


def value(connection: Psycopg, query: LiteralString, *values: object) -> object:
    """The first value of a query's first row, None without one."""
    found = rows(connection, query, *values)
    return found[0][0] if found else None


def name_of(connection: Psycopg) -> str:
    """The database, for a message."""
    return f'database "{connection.info.dbname}"'


def explained(cause: psycopg.Error, what: str) -> PgleaderboardError:
    """The same in one line, and as what it means for the user."""
    said = [cause.diag.message_primary or str(cause), cause.diag.message_detail, cause.diag.message_hint]
    message = one_line(f"{what}: {'; '.join(part for part in said if part)}")
    kind: type[PgleaderboardError] = PgleaderboardError
    if isinstance(cause, pg.LockNotAvailable | pg.DeadlockDetected):
        kind = Transient
    elif isinstance(cause, pg.InsufficientPrivilege | pg.ReadOnlySqlTransaction):
        kind = NeedsPerson
    return kind(message)


def one_line(text: str) -> str:
    """Without line breaks."""
    return " ".join(text.split())
