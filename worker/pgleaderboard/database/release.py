"""What this program brings to a database, what a database has on record, and whether the two fit."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString

from procrastinate.schema import migrations_path
from psycopg import errors as pg

from pgleaderboard import __version__
from pgleaderboard.database.connect import Connection, column, message_of, rows, transaction, value
from pgleaderboard.errors import NeedsPerson, PgleaderboardError, SchemaTooNew, SchemaTooOld, Transient

_PACKAGE = Path(__file__).resolve().parents[1]
_ROOT = _PACKAGE if (_PACKAGE / "sql").is_dir() else _PACKAGE.parents[1]  # of a wheel, or of a checkout
SQL, MIGRATIONS = _ROOT / "sql", _ROOT / "migrations"
PROCRASTINATE = migrations_path.parent  # holds schema.sql and the folder migrations
MINIMUM_SERVER = 15
RELEASE = "pgleaderboard"  # the row of applied_files that holds the release instead of a digest

# The objects in our schemas, by names that depend on no setting of a session.
OBJECTS: LiteralString = """\
SELECT i.type || ' ' || i.identity
FROM pg_catalog.pg_depend d
JOIN pg_catalog.pg_namespace n ON d.refclassid = 'pg_catalog.pg_namespace'::regclass AND d.refobjid = n.oid,
     pg_catalog.pg_identify_object(d.classid, d.objid, 0) i
WHERE n.nspname IN ('kaggle', 'kaggle_internal')
  AND d.classid NOT IN ('pg_catalog.pg_default_acl'::regclass, 'pg_catalog.pg_publication_namespace'::regclass)"""

# The grants to our roles on what stands in our schemas.
GRANTS: LiteralString = """\
SELECT format('grant %s on %s %s to %s', a.privilege_type, i.type, i.identity, r.rolname)
FROM (SELECT 'pg_catalog.pg_namespace'::regclass AS class, oid, nspname, nspacl AS acl FROM pg_catalog.pg_namespace
      UNION ALL
      SELECT 'pg_catalog.pg_class'::regclass, c.oid, n.nspname, c.relacl
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      UNION ALL
      SELECT 'pg_catalog.pg_proc'::regclass, p.oid, n.nspname, p.proacl
      FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace) o
CROSS JOIN LATERAL pg_catalog.aclexplode(o.acl) a
JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
CROSS JOIN LATERAL pg_catalog.pg_identify_object(o.class, o.oid, 0) i
WHERE o.nspname IN ('kaggle', 'kaggle_internal', 'procrastinate')
  AND r.rolname IN ('pgleaderboard_reader', 'pgleaderboard_editor', 'pgleaderboard_worker')"""

_START_OVER = "DROP SCHEMA IF EXISTS kaggle, kaggle_internal, procrastinate CASCADE; then `pgleaderboard migrate`"
ANOTHER_DEVELOPMENT_VERSION = (
    "the database was made by another development version of pgleaderboard, and no migration leads from there to "
    f"this one: start over: {_START_OVER}"
)


@dataclass(frozen=True)
class File:
    """A file of SQL. name: as recorded. digest: SHA-256."""

    name: str
    text: str
    digest: str

    @classmethod
    def read(cls, folder: str, paths: Iterable[Path]) -> tuple[File, ...]:
        """Read files, in the order of their names. folder: under which they are recorded."""
        contents = {f"{folder}/{path.name}": path.read_bytes() for path in sorted(paths)}
        return tuple(cls(name, text.decode(), hashlib.sha256(text).hexdigest()) for name, text in contents.items())


@dataclass(frozen=True)
class Release:
    """What this program brings to a database: the queue's schema and its migrations, our migrations, our code."""

    queue_schema: tuple[File, ...]
    queue: tuple[File, ...]
    migrations: tuple[File, ...]
    sql: tuple[File, ...]

    @classmethod
    def read(cls, *, sql: Path = SQL, migrations: Path = MIGRATIONS, procrastinate: Path = PROCRASTINATE) -> Release:
        """Read it from its folders. Raises PgleaderboardError where one is missing."""
        for folder in (sql, migrations, procrastinate):
            if not folder.is_dir():
                raise PgleaderboardError(f"this installation is broken: the folder {folder} is missing")
        return cls(
            File.read("procrastinate", [procrastinate / "schema.sql"]),
            File.read("procrastinate", (procrastinate / "migrations").glob("*.sql")),
            File.read("migrations", migrations.glob("*.sql")),
            File.read("sql", sql.glob("*.sql")),
        )

    def waiting(self, recorded: Mapping[str, str]) -> list[str]:
        """Name what is to be applied, in that order.

        Raises SchemaTooNew if this program is older than the database, SchemaTooOld if the database cannot be migrated.
        """
        made_once = of_folder(recorded, "migrations") | of_folder(recorded, "procrastinate")
        reason = ""
        if unknown := made_once - {file.name for file in (*self.migrations, *self.queue)}:
            reason = f"holds {min(unknown)}, which pgleaderboard {__version__} does not know"
        elif _numbers(recorded.get(RELEASE, "")) > _numbers(__version__):
            reason = f"was migrated by pgleaderboard {recorded[RELEASE]}, and this is {__version__}"
        if reason:
            raise SchemaTooNew(f"the database {reason}: upgrade this program, it is older than the database")
        if any(recorded.get(file.name, file.digest) != file.digest for file in self.migrations):
            raise SchemaTooOld(ANOTHER_DEVELOPMENT_VERSION)
        queue = self.queue if of_folder(recorded, "procrastinate") else self.queue_schema
        return [
            *(file.name for file in (*queue, *self.migrations) if file.name not in recorded),
            *(file.name for file in self.sql if recorded.get(file.name) != file.digest),
            *(f"{name} (gone)" for name in self.gone(recorded)),
        ]

    def gone(self, recorded: Mapping[str, str]) -> list[str]:
        """Name the files of sql/ that an earlier release had and this one lacks."""
        return sorted(of_folder(recorded, "sql") - {file.name for file in self.sql})


def check(connection: Connection, release: Release | None = None) -> None:
    """Return if this program fits the database. Opens no transaction that it does not close.

    Raises SchemaTooNew, SchemaTooOld, NeedsPerson where nothing is installed or may not be read, or Transient where row
    level security hides what is installed.
    """
    release = release or Release.read()
    try:
        with transaction(connection):
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
    """The digests of the applied files by their names, empty where nothing is installed.

    Raises NeedsPerson where schema kaggle is gone, and Transient where row level security hides rows.
    """
    if not value(connection, "SELECT to_regclass('kaggle_internal.applied_files')"):
        return {}
    if not value(connection, "SELECT to_regnamespace('kaggle')"):
        raise NeedsPerson(f"schema kaggle is gone from {name_of(connection)}: restore it, or start over: {_START_OVER}")
    if value(connection, "SELECT row_security_active('kaggle_internal.applied_files')"):
        role = connection.info.user
        raise Transient(
            f'row level security hides rows of kaggle_internal.applied_files from role "{role}": '
            f'ALTER ROLE "{role}" BYPASSRLS; or make it the owner of the tables'
        )
    return dict(rows(connection, "SELECT name, digest FROM kaggle_internal.applied_files"))


def strangers(connection: Connection) -> list[str]:
    """Name the objects in the schemas kaggle and kaggle_internal that no migration made."""
    return column(connection, f"{OBJECTS} EXCEPT SELECT unnest(objects) FROM kaggle_internal.applied_files ORDER BY 1")


def lost_grants(connection: Connection) -> list[str]:
    """Name the grants to our roles that a migration made and somebody has taken away since."""
    return column(
        connection,
        "SELECT o FROM kaggle_internal.applied_files, unnest(objects) o WHERE o LIKE 'grant %' "
        f"EXCEPT {GRANTS} ORDER BY 1",
    )


def of_folder(recorded: Mapping[str, str], folder: str) -> set[str]:
    """Name the applied files of a folder."""
    return {name for name in recorded if name.startswith(f"{folder}/")}


def name_of(connection: Connection) -> str:
    """The database, for a message."""
    return f'database "{connection.info.dbname}"'


def _numbers(version: str) -> tuple[int, ...]:
    # Of 0.2.0rc1 only 0.2.0 counts: a database that a candidate migrated is not too new for the release itself.
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
