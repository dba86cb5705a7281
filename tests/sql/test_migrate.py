"""`pgleaderboard.database.migrate`: what it does to a database, and what it refuses to touch."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row

from pgleaderboard import __version__
from pgleaderboard.database import cluster, migrate, release
from pgleaderboard.database.release import Release
from pgleaderboard.errors import NeedsPerson, PgleaderboardError, SchemaTooNew, SchemaTooOld, Transient
from tests.support.aliases import Connection


@dataclass(frozen=True)
class Folders:
    """A release of a test's own."""

    sql: Path
    migrations: Path
    procrastinate: Path

    def migration(self, number: int, text: str) -> None:
        """Write a migration of the tables."""
        (self.migrations / f"{number:04}_step.sql").write_text(text)

    def code(self, name: str, text: str) -> None:
        """Write a file of sql/."""
        (self.sql / name).write_text(text)

    def queue(self, name: str, text: str) -> None:
        """Write a migration of procrastinate."""
        (self.procrastinate / "migrations" / name).write_text(text)

    def migrate(self, url: str, **options: Any) -> bool:
        """Migrate to this release."""
        return migrate.migrate(url, self.release, **options)

    @property
    def release(self) -> Release:
        """What is in the folders now."""
        return Release.read(sql=self.sql, migrations=self.migrations, procrastinate=self.procrastinate)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """A small release: one table, one view on it."""
    made = Folders(tmp_path / "sql", tmp_path / "migrations", tmp_path / "procrastinate")
    made.sql.mkdir()
    made.migrations.mkdir()
    shutil.copytree(release.PROCRASTINATE, made.procrastinate)
    made.migration(1, "CREATE TABLE kaggle.facts (id bigint, seen_at timestamptz);")
    made.code("010_leaderboard.sql", "CREATE OR REPLACE VIEW kaggle.leaderboard AS SELECT id FROM kaggle.facts;")
    return made


@pytest.fixture
def plain_role(empty_database: str) -> Iterator[str]:
    """DSN of the same database for a role that may only log in."""
    name = f"plain_{conninfo_to_dict(empty_database)['dbname']}"
    role = sql.Identifier(name)
    with Connection.connect(empty_database, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'plain'").format(role))
        yield make_conninfo(empty_database, user=name, password="plain")
        connection.execute(sql.SQL("DROP OWNED BY {}").format(role))
        connection.execute(sql.SQL("DROP ROLE {}").format(role))


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    """Run one statement and commit it."""
    with Connection.connect(url) as connection:
        cursor = connection.execute(query.encode())
        return cursor.fetchall() if cursor.description else []


def value(url: str, query: str) -> Any:
    """The one value of a query."""
    ((found,),) = rows(url, query)
    return found


def migrations(url: str) -> list[str]:
    """Those on record."""
    found = rows(url, "SELECT name FROM kaggle_internal.applied_files WHERE name LIKE 'migrations/%' ORDER BY 1")
    return [name for (name,) in found]


def untouched(url: str) -> bool:
    """Whether a database holds nothing of ours."""
    return not rows(url, "SELECT 1 FROM pg_namespace WHERE nspname IN ('kaggle', 'kaggle_internal', 'procrastinate')")


def refused(error: pytest.ExceptionInfo[BaseException], *parts: str) -> None:
    """Check that a message is one line and says all of this."""
    message = str(error.value)
    assert "\n" not in message
    assert [part for part in parts if part not in message] == [], message


# what it does


def test_this_release_installs_and_fits(empty_database: str) -> None:
    """Everything in the repository applies to an empty database; a second run finds nothing to do."""
    assert migrate.migrate(empty_database) is True
    assert migrate.migrate(empty_database) is False
    with Connection.connect(empty_database) as connection:
        release.check(connection)


def test_this_release_as_a_script_for_psql(empty_database: str, tmp_path: Path) -> None:
    """psql runs what `migrate --sql` prints, and migrate then finds nothing to do."""
    run_in_psql(empty_database, migrate.script(), tmp_path)
    assert migrate.migrate(empty_database) is False


def test_fresh(empty_database: str, folders: Folders) -> None:
    """An empty database gets the queue, the tables and the code, and a record of each file."""
    told: list[str] = []

    assert folders.migrate(empty_database, report=told.append) is True

    assert told == [
        "to apply: procrastinate/schema.sql",
        "to apply: migrations/0001_step.sql",
        "to apply: sql/010_leaderboard.sql",
    ]
    assert value(empty_database, "SELECT to_regclass('procrastinate.procrastinate_jobs')::text") is not None
    assert rows(empty_database, "SELECT * FROM kaggle.leaderboard") == []
    recorded = {name for (name,) in rows(empty_database, "SELECT name FROM kaggle_internal.applied_files")}
    queue = {f"procrastinate/{path.name}" for path in (folders.procrastinate / "migrations").glob("*.sql")}
    assert recorded == {"pgleaderboard", "migrations/0001_step.sql", "sql/010_leaderboard.sql"} | queue
    assert len(queue) > 30


def test_a_second_run_changes_nothing(empty_database: str, folders: Folders) -> None:
    """Nothing is applied, reported or recorded again."""
    folders.migrate(empty_database)
    before = rows(empty_database, "SELECT * FROM kaggle_internal.applied_files ORDER BY name")
    told: list[str] = []

    assert folders.migrate(empty_database, report=told.append) is False

    assert told == []
    assert rows(empty_database, "SELECT * FROM kaggle_internal.applied_files ORDER BY name") == before


def test_what_it_makes_itself_is_commented(empty_database: str, folders: Folders) -> None:
    """Each schema, and the table of the record with each column, says what it is."""
    folders.migrate(empty_database)
    silent = rows(
        empty_database,
        """
        SELECT nspname FROM pg_namespace
        WHERE nspname IN ('kaggle', 'kaggle_internal', 'procrastinate') AND obj_description(oid, 'pg_namespace') IS NULL
        UNION ALL
        SELECT format('%s.%s', attrelid::regclass, attnum)
        FROM (SELECT attrelid, attnum FROM pg_attribute WHERE attnum > 0
              UNION ALL SELECT oid, 0 FROM pg_class) AS named (attrelid, attnum)
        WHERE attrelid = 'kaggle_internal.applied_files'::regclass
          AND CASE attnum WHEN 0 THEN obj_description(attrelid, 'pg_class')
              ELSE col_description(attrelid, attnum) END IS NULL
        """,
    )
    assert silent == []


def test_twenty_installers_at_once(empty_database: str, folders: Folders) -> None:
    """All succeed; one of them did the work."""
    together = threading.Barrier(20)

    def install(_: int) -> bool:
        together.wait()
        return folders.migrate(empty_database)

    with ThreadPoolExecutor(20) as pool:
        changed = list(pool.map(install, range(20)))

    assert sorted(changed) == [False] * 19 + [True]


def test_a_changed_file_is_applied_again(empty_database: str, folders: Folders) -> None:
    """With its new digest on record."""
    folders.migrate(empty_database)
    before = value(empty_database, "SELECT digest FROM kaggle_internal.applied_files WHERE name LIKE 'sql/%'")
    folders.code("010_leaderboard.sql", "CREATE OR REPLACE VIEW kaggle.leaderboard AS SELECT 7::bigint AS id;")

    assert folders.migrate(empty_database) is True

    assert value(empty_database, "SELECT id FROM kaggle.leaderboard") == 7
    assert value(empty_database, "SELECT digest FROM kaggle_internal.applied_files WHERE name LIKE 'sql/%'") != before
    assert folders.migrate(empty_database) is False


def test_files_are_applied_in_the_order_of_their_names(empty_database: str, folders: Folders) -> None:
    """A file can use what an earlier one made."""
    folders.code("005_first.sql", "CREATE OR REPLACE FUNCTION kaggle.one() RETURNS int RETURN 1;")
    folders.code(
        "020_last.sql",
        "CREATE OR REPLACE VIEW kaggle.ones AS SELECT kaggle.one(), id FROM kaggle.leaderboard;",
    )
    assert folders.migrate(empty_database) is True


def test_a_file_that_went_away_is_forgotten(empty_database: str, folders: Folders) -> None:
    """It is no sign of a newer release, and no reason to migrate for ever."""
    folders.code("020_more.sql", "CREATE OR REPLACE VIEW kaggle.more AS SELECT 1 AS one;")
    folders.migrate(empty_database)
    (folders.sql / "020_more.sql").unlink()

    assert folders.migrate(empty_database) is True
    assert folders.migrate(empty_database) is False


def test_a_version_brings_back_the_code_it_dropped(empty_database: str, folders: Folders) -> None:
    """All of sql/ follows a version, also files that did not change."""
    folders.migrate(empty_database)
    folders.migration(2, "DROP VIEW kaggle.leaderboard;\nALTER TABLE kaggle.facts ALTER id TYPE text;")

    assert folders.migrate(empty_database) is True

    assert migrations(empty_database) == ["migrations/0001_step.sql", "migrations/0002_step.sql"]
    assert rows(empty_database, "SELECT id FROM kaggle.leaderboard") == []


def test_a_users_view_survives_an_upgrade(empty_database: str, folders: Folders) -> None:
    """What somebody built on a view of ours stays when that view grows at its end."""
    folders.migrate(empty_database)
    rows(empty_database, "INSERT INTO kaggle.facts VALUES (1)")
    rows(empty_database, "CREATE VIEW public.mine AS SELECT * FROM kaggle.leaderboard")
    folders.code(
        "010_leaderboard.sql",
        "CREATE OR REPLACE VIEW kaggle.leaderboard AS SELECT id, 'new' AS grown FROM kaggle.facts;",
    )

    folders.migrate(empty_database)

    assert rows(empty_database, "SELECT * FROM public.mine") == [(1,)]
    assert rows(empty_database, "SELECT * FROM kaggle.leaderboard") == [(1, "new")]


def test_later_migrations_of_procrastinate(empty_database: str, folders: Folders) -> None:
    """Each new one is applied in a transaction of its own, in its schema, and recorded."""
    folders.migrate(empty_database)
    folders.queue("90.00.00_01_pre_kind.sql", "ALTER TYPE procrastinate_job_status ADD VALUE 'resting';")
    folders.queue(  # a value that the same transaction added could not be used
        "90.00.00_50_post_kind.sql", "CREATE TABLE rests (state procrastinate_job_status DEFAULT 'resting');"
    )
    told: list[str] = []

    assert folders.migrate(empty_database, report=told.append) is True

    new = ["procrastinate/90.00.00_01_pre_kind.sql", "procrastinate/90.00.00_50_post_kind.sql"]
    assert told == [f"to apply: {name}" for name in new]
    assert value(empty_database, "SELECT to_regclass('procrastinate.rests')::text") == "procrastinate.rests"
    recorded = rows(
        empty_database, "SELECT name FROM kaggle_internal.applied_files WHERE name LIKE 'procrastinate/9%' ORDER BY 1"
    )
    assert [name for (name,) in recorded] == new
    assert folders.migrate(empty_database) is False


def test_percent_and_colon_reach_the_database_as_they_are(
    empty_database: str, folders: Folders, tmp_path: Path
) -> None:
    """Nobody on the way takes them for parameters, neither in a migration nor in the script."""
    odd = (
        "-- a comment with :name and 100%\n"
        "CREATE OR REPLACE FUNCTION kaggle.{}() RETURNS text LANGUAGE sql AS\n"
        "    $$ SELECT 'a % b %s %(x)s :name :\"n\" \\ {{}} %%' $$;\n"
    )
    folders.migration(1, "CREATE TABLE kaggle.facts (id bigint);\n" + odd.format("versioned"))
    folders.code("020_odd.sql", odd.format("coded"))
    expected = 'a % b %s %(x)s :name :"n" \\ {} %%'

    folders.migrate(empty_database)
    assert rows(empty_database, "SELECT kaggle.versioned(), kaggle.coded()") == [(expected, expected)]

    rows(empty_database, "DROP SCHEMA kaggle, kaggle_internal, procrastinate CASCADE")
    run_in_psql(empty_database, migrate.script(folders.release), tmp_path)
    assert rows(empty_database, "SELECT kaggle.versioned(), kaggle.coded()") == [(expected, expected)]


def test_the_script_does_what_a_migration_does(empty_database: str, folders: Folders, tmp_path: Path) -> None:
    """After it, migrate finds nothing to do, a file without a last semicolon or line end included."""
    folders.code("020_open.sql", "CREATE OR REPLACE VIEW kaggle.open AS SELECT 1 AS one -- no end;")
    folders.migration(2, "ALTER TABLE kaggle.facts ADD note text;")

    run_in_psql(empty_database, migrate.script(folders.release), tmp_path)

    assert folders.migrate(empty_database) is False
    with Connection.connect(empty_database) as connection:
        release.check(connection, folders.release)


def test_the_script_is_all_or_nothing(empty_database: str, folders: Folders, tmp_path: Path) -> None:
    """psql stops at the first mistake and leaves nothing."""
    folders.code("020_wrong.sql", "SELECT 1 / 0;")
    with pytest.raises(subprocess.CalledProcessError):
        run_in_psql(empty_database, migrate.script(folders.release), tmp_path)
    assert untouched(empty_database)


def test_the_script_refuses_a_schema_that_is_there(empty_database: str, folders: Folders, tmp_path: Path) -> None:
    """It is for an empty database: what is there stays as it is."""
    rows(empty_database, "CREATE SCHEMA kaggle")
    with pytest.raises(subprocess.CalledProcessError) as error:
        run_in_psql(empty_database, migrate.script(folders.release), tmp_path)
    assert b'schema "kaggle" already exists' in error.value.stderr
    assert value(empty_database, "SELECT to_regclass('kaggle_internal.applied_files')::text") is None


def run_in_psql(url: str, script: str, folder: Path) -> None:
    """Run a script as a user would."""
    file = folder / "script.sql"
    file.write_text(script)
    subprocess.run([cluster.psql(), "-X", "-q", "-d", url, "-f", file], check=True, capture_output=True)


@pytest.mark.parametrize("form", ["postgresql", "postgres", "dsn"])
def test_any_form_of_address(empty_database: str, folders: Folders, form: str) -> None:
    """Whatever libpq takes is taken."""
    parts = {name: str(part) for name, part in conninfo_to_dict(empty_database).items()}
    parts["application_name"] = "spaces and 100%"
    url = make_conninfo(**parts)
    if form != "dsn":
        encoded = "&".join(f"{name}={percent(part)}" for name, part in parts.items())
        url = f"{form}:///?{encoded}"
    assert folders.migrate(url) is True


def percent(text: str) -> str:
    """Percent-encode everything."""
    return "".join(f"%{byte:02X}" for byte in text.encode())


def test_settings_of_the_database_do_not_change_the_meaning(empty_database: str, folders: Folders) -> None:
    """Dates read as in our files, whatever an administrator has set."""
    name = conninfo_to_dict(empty_database)["dbname"]
    for setting in ("TimeZone = 'Asia/Tokyo'", "DateStyle = 'German, DMY'", "search_path = public"):
        rows(empty_database, f'ALTER DATABASE "{name}" SET {setting}')
    folders.migration(2, "INSERT INTO kaggle.facts (seen_at) VALUES ('02/03/2026 04:05');")

    folders.migrate(empty_database)

    assert value(empty_database, "SELECT seen_at = '2026-02-03 04:05Z' FROM kaggle.facts")


# what goes wrong


@pytest.mark.parametrize("place", ["sql", "migrations"])
def test_a_failing_statement_is_named_and_leaves_nothing(empty_database: str, folders: Folders, place: str) -> None:
    """The file, the line and what PostgreSQL says; all is rolled back. The server counts characters, not bytes."""
    text = "-- first, äöü\nCREATE TABLE kaggle.fine ();\n\n/* a\n; comment */\n"
    text += "CREATE VIEW kaggle.broken AS\n  SELECT nope;\n"
    if place == "sql":
        folders.code("020_broken.sql", text)
    else:
        folders.migration(2, text)

    with pytest.raises(PgleaderboardError) as error:
        folders.migrate(empty_database)

    file = "sql/020_broken.sql" if place == "sql" else "migrations/0002_step.sql"
    assert str(error.value) == f'{file}, line 7: column "nope" does not exist'
    assert untouched(empty_database)


def test_a_failing_upgrade_leaves_what_was_there(empty_database: str, folders: Folders) -> None:
    """The version before stays as it was, and the mended release applies."""
    folders.migrate(empty_database)
    folders.migration(2, "ALTER TABLE kaggle.facts ADD note text;")
    folders.code("020_broken.sql", "SELECT 1 / 0;")

    with pytest.raises(PgleaderboardError, match=r"sql/020_broken\.sql: division by zero"):
        folders.migrate(empty_database)
    assert migrations(empty_database) == ["migrations/0001_step.sql"]

    folders.code("020_broken.sql", "SELECT 1;")
    assert folders.migrate(empty_database) is True


def test_a_connection_lost_on_the_way(empty_database: str, folders: Folders) -> None:
    """One line, and nothing is left."""
    folders.code("020_lost.sql", "SELECT pg_terminate_backend(pg_backend_pid());")
    with pytest.raises(PgleaderboardError) as error:
        folders.migrate(empty_database)
    refused(error, "sql/020_lost.sql: terminating connection")
    assert untouched(empty_database)


def test_another_migration_that_does_not_end(empty_database: str, folders: Folders) -> None:
    """The wait has an end, and names who is in the way."""
    with Connection.connect(empty_database) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [migrate.LOCK_KEY])
        told: list[str] = []
        with pytest.raises(Transient) as error:
            folders.migrate(empty_database, deadline=0.2, report=told.append)
        refused(error, "another migration", f"server process {other.info.backend_pid}", "0.2 s")
    assert len(told) == 1
    assert untouched(empty_database)


def test_a_lock_that_goes_away_is_waited_for(
    empty_database: str, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement gives up early, so that nobody queues behind it, and comes again."""
    monkeypatch.setattr(migrate, "_LOCK_TIMEOUT", 0.1)
    folders.migrate(empty_database)
    folders.migration(2, "ALTER TABLE kaggle.facts ADD note text;")
    told: list[str] = []
    with Connection.connect(empty_database) as other, ThreadPoolExecutor(1) as pool:
        other.execute("LOCK TABLE kaggle.facts")
        upgrade = pool.submit(folders.migrate, empty_database, report=told.append)
        while not any("trying again" in line for line in told):
            time.sleep(0.01)
        other.rollback()
        assert upgrade.result() is True
    assert migrations(empty_database) == ["migrations/0001_step.sql", "migrations/0002_step.sql"]


def test_a_lock_that_stays(empty_database: str, folders: Folders) -> None:
    """After the deadline the file that waited is named."""
    folders.migrate(empty_database)
    folders.migration(2, "ALTER TABLE kaggle.facts ADD note text;")
    with Connection.connect(empty_database) as other:
        other.execute("LOCK TABLE kaggle.facts")
        with pytest.raises(Transient) as error:
            folders.migrate(empty_database, deadline=0.2)
    refused(error, "migrations/0002_step.sql: ", "lock timeout")


# what it refuses


def test_a_schema_kaggle_of_somebody_else(empty_database: str, folders: Folders) -> None:
    """Is named with something it holds, and left alone."""
    rows(empty_database, "CREATE SCHEMA kaggle CREATE TABLE theirs ()")
    with pytest.raises(NeedsPerson) as error:
        folders.migrate(empty_database)
    refused(error, "schema kaggle", "not made by pgleaderboard", "table kaggle.theirs")
    assert value(empty_database, "SELECT to_regclass('kaggle_internal.applied_files')::text") is None


def test_procrastinate_of_somebody_else(empty_database: str, folders: Folders) -> None:
    """Also in the schema that we would use."""
    rows(empty_database, "CREATE SCHEMA procrastinate CREATE TABLE procrastinate_jobs ()")
    with pytest.raises(NeedsPerson) as error:
        folders.migrate(empty_database)
    refused(error, "schema procrastinate", "not made by pgleaderboard", "procrastinate.procrastinate_jobs")


def test_procrastinate_in_another_schema(empty_database: str, folders: Folders) -> None:
    """Its notifications would wake our workers, and ours theirs."""
    rows(empty_database, "CREATE SCHEMA jobs CREATE TABLE procrastinate_jobs ()")
    with pytest.raises(NeedsPerson) as error:
        folders.migrate(empty_database)
    refused(error, "another installation of procrastinate", "in schema jobs")
    assert untouched(empty_database)


def test_a_queue_that_is_gone(empty_database: str, folders: Folders) -> None:
    """As after restoring schema kaggle alone: what the message says to run mends it."""
    folders.migrate(empty_database)
    rows(empty_database, "DROP SCHEMA procrastinate CASCADE")
    with pytest.raises(NeedsPerson) as error:
        folders.migrate(empty_database)
    refused(error, "schema procrastinate are gone")
    mend = re.search(r"run (DELETE .*?) and migrate again", str(error.value))
    assert mend
    rows(empty_database, mend[1])
    assert folders.migrate(empty_database) is True
    assert folders.migrate(empty_database) is False


def test_a_database_that_is_not_utf8(empty_database: str, folders: Folders) -> None:
    """Team names come in every script."""
    name = f"{conninfo_to_dict(empty_database)['dbname']}_ascii"
    with Connection.connect(empty_database, autocommit=True) as connection:
        connection.execute(
            sql.SQL(
                "CREATE DATABASE {} ENCODING 'SQL_ASCII' TEMPLATE template0"
                " LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'"
            ).format(sql.Identifier(name))
        )
        try:
            with pytest.raises(NeedsPerson) as error:
                folders.migrate(make_conninfo(empty_database, dbname=name))
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
    refused(error, name, "encoded in SQL_ASCII")


def test_a_server_that_is_too_old(empty_database: str, folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both versions are named."""
    monkeypatch.setattr(migrate, "MINIMUM_SERVER", 99)
    with pytest.raises(NeedsPerson, match=r"the server is PostgreSQL 1\d.*: 99 or newer is needed"):
        folders.migrate(empty_database)


@pytest.mark.parametrize(
    ("newer", "reason"),
    [
        (
            "INSERT INTO kaggle_internal.applied_files VALUES ('migrations/0999_later.sql', '')",
            "holds migrations/0999_later.sql, which pgleaderboard",
        ),
        (
            "INSERT INTO kaggle_internal.applied_files VALUES ('procrastinate/99.00.00_01_x.sql', '')",
            "holds procrastinate/99.00.00_01_x.sql, which",
        ),
        (
            "UPDATE kaggle_internal.applied_files SET digest = '10.0.0' WHERE name = 'pgleaderboard'",
            f"was migrated by pgleaderboard 10.0.0, and this is {__version__}",
        ),
    ],
)
def test_a_newer_database(empty_database: str, folders: Folders, newer: str, reason: str) -> None:
    """An older program neither works on it nor puts its own code back."""
    folders.migrate(empty_database)
    rows(empty_database, newer)
    folders.code("010_leaderboard.sql", "CREATE OR REPLACE VIEW kaggle.leaderboard AS SELECT 7::bigint AS id;")

    with pytest.raises(SchemaTooNew) as error:
        folders.migrate(empty_database)
    refused(error, reason, "upgrade this program")
    with Connection.connect(empty_database) as connection, pytest.raises(SchemaTooNew):
        release.check(connection, folders.release)
    assert rows(empty_database, "SELECT id FROM kaggle.leaderboard") == []


@pytest.mark.parametrize(
    "made",
    [
        "UPDATE kaggle_internal.applied_files SET digest = 'other' WHERE name = 'migrations/0001_step.sql'",
        "DROP SCHEMA kaggle_internal CASCADE; CREATE TABLE kaggle.applied_files ()",  # before there were three schemas
    ],
)
def test_a_database_of_another_development_version(empty_database: str, folders: Folders, made: str) -> None:
    """migrate and a worker refuse it, and what the message says to run is a way to start over."""
    folders.migrate(empty_database)
    rows(empty_database, made)
    with pytest.raises(SchemaTooOld) as error:
        folders.migrate(empty_database)
    refused(error, "another development version")
    with Connection.connect(empty_database) as connection, pytest.raises(PgleaderboardError):
        release.check(connection, folders.release)
    start_over = re.search(r"start over: (DROP .*?); then `pgleaderboard migrate`", str(error.value))
    assert start_over
    rows(empty_database, start_over[1])
    assert folders.migrate(empty_database) is True


def test_a_schema_kaggle_that_is_gone(empty_database: str, folders: Folders) -> None:
    """Nothing is taken for installed."""
    folders.migrate(empty_database)
    rows(empty_database, "DROP SCHEMA kaggle CASCADE")
    with pytest.raises(NeedsPerson) as error:
        folders.migrate(empty_database)
    refused(error, "schema kaggle is gone from", "start over: DROP SCHEMA")


def test_what_migrations_made_is_on_record(empty_database: str, folders: Folders) -> None:
    """What other people put into our schemas stays theirs through upgrades; what an earlier release made stays ours."""
    folders.code("020_old.sql", "CREATE OR REPLACE FUNCTION kaggle.old(a text) RETURNS int RETURN 1;")
    folders.migrate(empty_database)
    rows(empty_database, "CREATE TABLE kaggle.theirs (id serial)")
    (folders.sql / "020_old.sql").unlink()
    folders.migration(2, "CREATE TABLE kaggle_internal.more (id bigint GENERATED ALWAYS AS IDENTITY);")
    folders.migrate(empty_database)
    with Connection.connect(empty_database) as connection:
        assert release.strangers(connection) == ["sequence kaggle.theirs_id_seq", "table kaggle.theirs"]
    recorded = value(empty_database, "SELECT objects FROM kaggle_internal.applied_files WHERE name = 'pgleaderboard'")
    assert recorded == [
        "function kaggle.old(pg_catalog.text)",
        "sequence kaggle_internal.more_id_seq",
        "table kaggle.facts",
        "table kaggle_internal.applied_files",
        "table kaggle_internal.more",
        "view kaggle.leaderboard",
    ]


def test_the_release_after_its_own_candidate(
    empty_database: str, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that 0.2.0rc1 migrated is not too new for 0.2.0, but it is for 0.1.9."""
    for module in (migrate, release):
        monkeypatch.setattr(module, "__version__", "0.2.0rc1")
    folders.migrate(empty_database)
    for module in (migrate, release):
        monkeypatch.setattr(module, "__version__", "0.2.0")
    assert folders.migrate(empty_database) is False
    for module in (migrate, release):
        monkeypatch.setattr(module, "__version__", "0.1.9")
    with pytest.raises(SchemaTooNew, match=r"0\.2\.0rc1, and this is 0\.1\.9"):
        folders.migrate(empty_database)


def test_a_role_without_create_on_the_database(plain_role: str, folders: Folders) -> None:
    """Says which right is lacking and who can give it."""
    parts = conninfo_to_dict(plain_role)
    with pytest.raises(NeedsPerson) as error:
        folders.migrate(plain_role)
    refused(error, f'role "{parts["user"]}" lacks CREATE on database "{parts["dbname"]}"', "GRANT CREATE")


def test_empty_schemas_made_by_an_administrator(empty_database: str, plain_role: str, folders: Folders) -> None:
    """Are enough for a role that may not make any; default privileges in them do not count as content."""
    role = conninfo_to_dict(plain_role)["user"]
    rows(empty_database, f'CREATE SCHEMA kaggle AUTHORIZATION "{role}"')
    rows(empty_database, f'ALTER DEFAULT PRIVILEGES IN SCHEMA kaggle GRANT SELECT ON TABLES TO "{role}"')
    rows(empty_database, f'CREATE SCHEMA kaggle_internal AUTHORIZATION "{role}"')
    rows(empty_database, "CREATE SCHEMA procrastinate")
    with pytest.raises(NeedsPerson, match=f'role "{role}" lacks CREATE on schema procrastinate'):
        folders.migrate(plain_role)

    rows(empty_database, f'GRANT USAGE, CREATE ON SCHEMA procrastinate TO "{role}"')
    assert folders.migrate(plain_role) is True
    assert folders.migrate(plain_role) is False


def test_an_upgrade_by_somebody_else_than_the_owner(empty_database: str, plain_role: str, folders: Folders) -> None:
    """PostgreSQL's own words say whose the table is to be."""
    folders.migrate(empty_database)
    rows(empty_database, "GRANT USAGE, CREATE ON SCHEMA kaggle, kaggle_internal, procrastinate TO PUBLIC")
    rows(empty_database, "GRANT ALL ON ALL TABLES IN SCHEMA kaggle, kaggle_internal TO PUBLIC")
    folders.migration(2, "ALTER TABLE kaggle.facts ADD note text;")
    with pytest.raises(NeedsPerson, match=r"0002_step\.sql: must be owner of table facts"):
        folders.migrate(plain_role)


def test_a_database_that_cannot_be_reached(folders: Folders) -> None:
    """One line with host, port and name, and without the password."""
    with pytest.raises(PgleaderboardError) as error:
        folders.migrate("postgresql://somebody:s3cret@127.0.0.1:1/boards")
    refused(error, "the database is out of reach: ", '"127.0.0.1", port 1', "Connection refused")
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://somebody:s3cret@s3cret@localhost/boards",
        "postgresql://somebody:s3cret/s3cret@localhost/boards",
        "postgresql://somebody:12/s3cret@localhost/boards",
        "postgresql://somebody:s3cret%s3cret@localhost/boards",
        "postgresql+psycopg://somebody:s3cret@localhost/boards",
        "s3cret",
    ],
)
def test_an_address_that_cannot_be_read(folders: Folders, url: str) -> None:
    """The message shows how to write it, and nothing of what was written: it may be part of a password."""
    with pytest.raises(PgleaderboardError) as error:
        folders.migrate(url)
    refused(error, "postgresql://user:password@host:port/database", "%40")
    assert "s3cret" not in str(error.value)


def test_a_broken_installation(empty_database: str, folders: Folders) -> None:
    """A folder that is missing is not a release without code."""
    shutil.rmtree(folders.sql)
    with pytest.raises(PgleaderboardError, match=f"folder {re.escape(str(folders.sql))} is missing"):
        folders.migrate(empty_database)


# what a worker asks


def test_check_of_a_database_without_anything(empty_database: str) -> None:
    """It is a person who must migrate, or set another database."""
    with Connection.connect(empty_database) as connection:
        with pytest.raises(NeedsPerson, match="holds no leaderboards yet: run `pgleaderboard migrate`"):
            release.check(connection)
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


@pytest.mark.parametrize("autocommit", [True, False])
def test_check_of_a_database_that_fits(empty_database: str, folders: Folders, autocommit: bool) -> None:
    """Says nothing and leaves no transaction open, whatever the connection's rows look like."""
    folders.migrate(empty_database)
    with Connection.connect(empty_database, autocommit=autocommit, row_factory=dict_row) as connection:
        release.check(connection, folders.release)
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


@pytest.mark.parametrize(
    ("name", "waiting"),
    [("sql", "sql/020_more.sql"), ("migration", "migrations/0002_step.sql"), ("queue", "procrastinate/90_x.sql")],
)
def test_check_of_a_database_that_waits(empty_database: str, folders: Folders, name: str, waiting: str) -> None:
    """Names the command, and the first of what is to be applied."""
    folders.migrate(empty_database)
    if name == "sql":
        folders.code("020_more.sql", "SELECT 1;")
    elif name == "migration":
        folders.migration(2, "SELECT 1;")
    else:
        folders.queue("90_x.sql", "SELECT 1;")
    with Connection.connect(empty_database) as connection, pytest.raises(SchemaTooOld) as error:
        release.check(connection, folders.release)
    refused(error, "waits for `pgleaderboard migrate`", f"1 to apply, the first {waiting}")


def test_check_by_a_role_that_may_not_read(empty_database: str, plain_role: str, folders: Folders) -> None:
    """Is no missing migration: PostgreSQL's words say what may not be read."""
    folders.migrate(empty_database)
    with Connection.connect(plain_role) as connection, pytest.raises(NeedsPerson) as error:
        release.check(connection, folders.release)
    refused(error, "permission denied for schema kaggle")
