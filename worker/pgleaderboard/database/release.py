"""What this program brings to a database, and what a database has on record: does the one fit the other?"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString

from procrastinate.schema import migrations_path
from psycopg import errors as pg

from pgleaderboard import __version__
from pgleaderboard.database import paths
from pgleaderboard.database.connect import Connection, column, message_of, rows, value
from pgleaderboard.errors import NeedsPerson, PgleaderboardError, SchemaTooNew, SchemaTooOld, Transient

PROCRASTINATE = migrations_path.parent  # holds schema.sql and the folder migrations
MINIMUM_SERVER = 15
RELEASE = "pgleaderboard"  # the row of applied_files that holds the release instead of a digest

# What lies in our schemas, by names that depend on no setting of a session.
OBJECTS: LiteralString = """\
SELECT i.type || ' ' || i.identity
FROM pg_catalog.pg_depend d
JOIN pg_catalog.pg_namespace n ON d.refclassid = 'pg_catalog.pg_namespace'::regclass AND d.refobjid = n.oid,
     pg_catalog.pg_identify_object(d.classid, d.objid, 0) i
WHERE n.nspname IN ('kaggle', 'kaggle_internal')
  AND d.classid NOT IN ('pg_catalog.pg_default_acl'::regclass, 'pg_catalog.pg_publication_namespace'::regclass)"""

_START_OVER = "DROP SCHEMA IF EXISTS kaggle, kaggle_internal, procrastinate CASCADE; then `pgleaderboard migrate`"
_ANOTHER_DEVELOPMENT_VERSION = (
    "the database was made by another development version of pgleaderboard, and no migration leads from there to "
    f"this one: start over: {_START_OVER}"
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

    @classmethod
    def read_all(cls, folder: str, path: Path) -> tuple[File, ...]:
        """Read the files of a folder, in the order of their names."""
        return tuple(cls.read(folder, file) for file in sorted(path.glob("*.sql")))


@dataclass(frozen=True)
class Release:
    """What this program brings to a database: the queue's schema and its migrations, our migrations, our code."""

    queue_schema: File
    queue: tuple[File, ...]
    migrations: tuple[File, ...]
    sql: tuple[File, ...]

    @classmethod
    def read(
        cls, *, sql: Path = paths.SQL, migrations: Path = paths.MIGRATIONS, procrastinate: Path = PROCRASTINATE
    ) -> Release:
        """Read it from its folders. Raises PgleaderboardError where one is missing."""
        for folder in (sql, migrations, procrastinate):
            if not folder.is_dir():
                raise PgleaderboardError(f"this installation is broken: the folder {folder} is missing")
        return cls(
            File.read("procrastinate", procrastinate / "schema.sql"),
            File.read_all("procrastinate", procrastinate / "migrations"),
            File.read_all("migrations", migrations),
            File.read_all("sql", sql),
        )

    def waiting(self, recorded: Mapping[str, str]) -> list[str]:
        """Name what is to be applied, in that order.

        Raises SchemaTooNew if this program is older than the database, SchemaTooOld if the database cannot be migrated.
        """
        self._refuse_newer(recorded)
        if any(recorded.get(file.name, file.digest) != file.digest for file in self.migrations):
            raise SchemaTooOld(_ANOTHER_DEVELOPMENT_VERSION)
        if of_folder(recorded, "procrastinate"):
            waiting = [file.name for file in self.queue if file.name not in recorded]
        else:
            waiting = [self.queue_schema.name]
        waiting += [file.name for file in self.migrations if file.name not in recorded]
        waiting += [file.name for file in self.sql if recorded.get(file.name) != file.digest]
        waiting += [f"{name} (gone)" for name in self.gone(recorded)]
        return waiting

    def gone(self, recorded: Mapping[str, str]) -> list[str]:
        """Name the files of sql/ that an earlier release had and this one has not."""
        return sorted(of_folder(recorded, "sql") - {file.name for file in self.sql})

    def _refuse_newer(self, recorded: Mapping[str, str]) -> None:
        unknown = sorted(of_folder(recorded, "migrations") - {file.name for file in self.migrations})
        unknown += sorted(of_folder(recorded, "procrastinate") - {file.name for file in self.queue})
        if unknown:
            reason = f"holds {unknown[0]}, which pgleaderboard {__version__} does not know"
        elif _numbers(recorded.get(RELEASE, "")) > _numbers(__version__):
            reason = f"was migrated by pgleaderboard {recorded[RELEASE]}, and this is {__version__}"
        else:
            return
        raise SchemaTooNew(f"the database {reason}: upgrade this program, it is older than the database")


def check(connection: Connection, release: Release | None = None) -> None:
    """Whether this program fits the database: returns, or says why not. Leaves a transaction as it found it.

    Raises SchemaTooNew, SchemaTooOld, NeedsPerson where nothing is installed or may not be read, or Transient where row
    level security hides what is installed.
    """
    release = release or Release.read()
    try:
        with connection.transaction():
            recorded = applied(connection)
    except pg.InsufficientPrivilege as error:
        raise NeedsPerson(f"cannot read what is installed: {message_of(error)}") from error
    if not recorded:
        raise NeedsPerson(f"{name_of(connection)} holds no leaderboards yet: run `pgleaderboard migrate`")
    if waiting := release.waiting(recorded):
        raise SchemaTooOld(
            f"{name_of(connection)} waits for `pgleaderboard migrate`: {len(waiting)} to apply, the first {waiting[0]}"
        )


def applied(connection: Connection) -> dict[str, str]:
    """What a database has on record: the digest of each applied file by its name; empty where nothing is installed.

    Raises SchemaTooOld where an early development version made it, NeedsPerson where schema kaggle is gone, and
    Transient where row level security hides rows.
    """
    # From the catalogue, which everybody may read.
    tables = column(
        connection,
        """
        SELECT nspname || '.' || relname
        FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
        WHERE nspname IN ('kaggle', 'kaggle_internal') AND relname IN ('alembic_version', 'applied_files')
        """,
    )
    if not tables:
        return {}
    if tables != ["kaggle_internal.applied_files"]:
        raise SchemaTooOld(_ANOTHER_DEVELOPMENT_VERSION)
    if not value(connection, "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'kaggle')"):
        raise NeedsPerson(f"schema kaggle is gone from {name_of(connection)}: restore it, or start over: {_START_OVER}")
    if value(connection, "SELECT row_security_active('kaggle_internal.applied_files')"):
        role = connection.info.user
        raise Transient(
            f'row level security hides rows of kaggle_internal.applied_files from role "{role}": '
            f'ALTER ROLE "{role}" BYPASSRLS; or make it the owner of the tables'
        )
    return dict(rows(connection, "SELECT name, digest FROM kaggle_internal.applied_files"))


def strangers(connection: Connection) -> list[str]:
    """Name what lies in the schemas kaggle and kaggle_internal and was not made by a migration."""
    return column(connection, f"{OBJECTS} EXCEPT SELECT unnest(objects) FROM kaggle_internal.applied_files ORDER BY 1")


def of_folder(recorded: Mapping[str, str], folder: str) -> set[str]:
    """Name the applied files of a folder."""
    return {name for name in recorded if name.startswith(f"{folder}/")}


def name_of(connection: Connection) -> str:
    """The database, for a message."""
    return f'database "{connection.info.dbname}"'


def _numbers(version: str) -> tuple[int, ...]:
    # Of 0.2.0rc1 only 0.2.0 counts: a database a candidate migrated is not too new for the release itself.
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
