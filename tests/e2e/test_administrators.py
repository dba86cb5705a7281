"""What an administrator does beside pgleaderboard, and what it says then."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgleaderboard import app
from pgleaderboard.database import cluster, embedded, migrate
from pgleaderboard.database.connect import connect
from pgleaderboard.doctor import Target, findings
from pgleaderboard.errors import NeedsPerson
from pgleaderboard.settings import Settings
from tests.support.aliases import Connection, MakeWorker
from tests.support.asking import OTHER, SLUG, eventually, insert, rows, status, synced, value
from tests.support.faults import Simulator
from tests.support.kaggle import make_kaggle
from tests.support.settings import check_job

Problems = Callable[[], list[str]]

RAISES = """
CREATE FUNCTION public.refuse() RETURNS {returns} LANGUAGE plpgsql AS
$$ BEGIN RAISE {code} USING MESSAGE = '{words}'; END $$
"""


@pytest.fixture
def problems(url: str, simulator: Simulator) -> Problems:
    """What doctor finds wrong, each with what to do."""

    def told() -> list[str]:
        target = Target(url, url, False, make_kaggle(simulator.url), "Kaggle", None, 0)
        return [f"{f.check}: {f.message} → {f.remedy}" for f in findings(target) if f.level == "problem"]

    return told


@pytest.mark.parametrize(
    "settings",
    [
        {"IntervalStyle": "iso_8601", "DateStyle": "German", "extra_float_digits": "-15", "bytea_output": "escape"},
        {"default_transaction_isolation": "serializable", "default_transaction_read_only": "on"},
        {"client_encoding": "LATIN1", "search_path": "nowhere", "statement_timeout": "150ms", "lock_timeout": "1ms"},
    ],
    ids=["forms", "transactions", "sessions"],
)
def test_settings_of_the_database(
    settings: dict[str, str], url: str, db: Connection, worker: MakeWorker, simulator: Simulator
) -> None:
    """The kinds of them; `make test-servers` sets one at a time."""
    check_job(url, settings, db, worker, simulator)


def test_a_database_that_was_read_only(url: str, db: Connection, worker: MakeWorker) -> None:
    """Sessions from that time write, once the setting is gone and before they are closed."""
    name = sql.Identifier(str(conninfo_to_dict(url)["dbname"]))
    db.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(name))
    with worker():
        eventually(db, 1, "SELECT count(*) FROM kaggle.workers")
        db.execute(sql.SQL("ALTER DATABASE {} RESET default_transaction_read_only").format(name))
        insert(db)
        assert synced(db) == ("inserted", "changed")


@pytest.mark.parametrize(
    ("code", "kind"),
    [("raise_exception", "person"), ("check_violation", "person"), ("disk_full", "transient")],
)
def test_the_servers_words_are_kept(db: Connection, worker: MakeWorker, code: str, kind: str) -> None:
    """A trigger that refuses, a disk that is full: run, row and log have what the server said, and where."""
    db.execute(RAISES.format(returns="trigger", code=code, words="no room on volume 7"))
    db.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON kaggle.leaderboard_entries "
        "FOR EACH STATEMENT EXECUTE FUNCTION public.refuse()"
    )
    with worker():
        insert(db)
        assert synced(db) == ("inserted", "failed")
        told = "the database refused: no room on volume 7 (PL/pgSQL function public.refuse() line 1 at RAISE)"
        assert rows(db, "SELECT error, error_kind FROM kaggle.sync_runs") == [(told, kind)]
        assert status(db, "last_error") == told


def test_an_event_trigger_that_refuses(db: Connection, worker: MakeWorker, problems: Problems) -> None:
    """Somebody else's, at the making of the staging tables: a sync says so with its name, and so does doctor."""
    db.execute(RAISES.format(returns="event_trigger", code="raise_exception", words="tables need a ticket"))
    db.execute("CREATE EVENT TRIGGER refuse ON ddl_command_start EXECUTE FUNCTION public.refuse()")
    try:
        with worker():
            insert(db)
            assert synced(db) == ("inserted", "failed")
            assert "tables need a ticket (PL/pgSQL function public.refuse()" in status(db, "last_error")
            (told,) = [line for line in problems() if line.startswith("staging")]
            assert "tables need a ticket (PL/pgSQL function public.refuse()" in told
    finally:
        db.execute("DROP EVENT TRIGGER refuse")


def test_a_full_queue_of_notifications(tmp_path: Path, simulator: Simulator) -> None:
    """doctor names the session that holds it."""
    home = tmp_path / "home"
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o755)
    with embedded.running(home, extra_options={"fsync": "off", "max_notify_queue_pages": "64"}) as server:
        url = server.url()
        migrate.migrate(url)
        with Connection.connect(url) as holder, Connection.connect(url, autocommit=True) as talker:
            holder.execute("LISTEN something")
            holder.commit()
            holder.execute("SELECT 1")
            with suppress(psycopg.errors.ProgramLimitExceeded):
                while True:
                    talker.execute("SELECT pg_notify('something', repeat('x', 7000) || random())")
            target = Target(url, url, False, make_kaggle(simulator.url), "Kaggle", None, 0)
            told = [f"{f.message} → {f.remedy}" for f in findings(target) if f.check == "listen"]
            assert all(f"process {holder.info.backend_pid} (postgres, database postgres" in line for line in told), told
            assert any("too many notifications" in line for line in told), told


def test_the_right_to_make_temporary_tables(url: str, db: Connection, simulator: Simulator) -> None:
    """REVOKE ALL ON DATABASE takes it away; the remedy is the grant that helps."""
    name, role = conninfo_to_dict(url)["dbname"], f"worker_{os.getpid()}"
    db.execute(f"CREATE ROLE {role} LOGIN")
    try:
        for schema in ("kaggle", "kaggle_internal", "procrastinate"):
            db.execute(f"GRANT ALL ON SCHEMA {schema} TO {role}; GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {role}")
            db.execute(f"GRANT ALL ON ALL FUNCTIONS IN SCHEMA {schema} TO {role}")
            db.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA {schema} TO {role}")
        db.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC; GRANT CONNECT ON DATABASE {name} TO {role}")
        as_role = make_conninfo(url, user=role)
        target = Target(as_role, as_role, False, make_kaggle(simulator.url), "Kaggle", None, 0)
        told, *more = [f for f in findings(target) if f.check == "rights"]
        assert more == []
        assert "temporary tables" in told.message
        remedy = f'GRANT TEMPORARY ON DATABASE "{name}" TO "{role}"'
        assert told.remedy == f"have the owner run {remedy}"
        db.execute(remedy)
        (told,) = [f for f in findings(target) if f.check == "rights"]
        assert told.level == "ok"
    finally:
        db.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_the_role_of_the_pooler_s_url_is_looked_at_too(url: str, db: Connection, simulator: Simulator) -> None:
    """PGLEADERBOARD_DIRECT_URL may name a role that has all rights, and DATABASE_URL one that has none."""
    role = f"pooled_{os.getpid()}"
    db.execute(f"CREATE ROLE {role} LOGIN")
    try:
        target = Target(make_conninfo(url, user=role), url, True, make_kaggle(simulator.url), "Kaggle", None, 0)
        told = [f for f in findings(target) if f.check == "rights" and f.level == "problem"]
        assert [f.remedy for f in told] == [f'have the owner run GRANT pgleaderboard_worker TO "{role}"'], told
        assert told[0].message.startswith(f'DATABASE_URL: role "{role}" may not use ')
    finally:
        db.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize("role", ["reader", "editor", "worker"])
def test_grants_that_are_taken_away(role: str, empty_database: str, simulator: Simulator) -> None:
    """DROP OWNED BY one of the roles, or a restore without grants: doctor says so, and a plain migrate mends it."""
    migrate.migrate(empty_database)
    assert not migrate.migrate(empty_database)
    with Connection.connect(empty_database, autocommit=True) as db:
        db.execute(f"DROP OWNED BY pgleaderboard_{role}")
        target = Target(empty_database, empty_database, False, make_kaggle(simulator.url), "Kaggle", None, 0)
        told = [f for f in findings(target) if f.check == "rights" and f.level == "problem"]
        assert [f.remedy for f in told] == ["run pgleaderboard migrate"], told
        said: list[str] = []
        assert migrate.migrate(empty_database, report=said.append)
        assert "grants are gone, the first: grant " in said[0]
        assert [f for f in findings(target) if f.check == "rights" and f.level == "problem"] == []
    assert not migrate.migrate(empty_database)


def test_another_procrastinate_that_comes_later(url: str, db: Connection) -> None:
    """In a schema of its own: a migrate that has nothing to do, and one that has, let it be."""
    db.execute("CREATE SCHEMA later; CREATE TABLE later.procrastinate_jobs (id bigint)")
    assert not migrate.migrate(url)
    assert migrate.migrate(url, again=True)


@pytest.mark.parametrize("kind", ["NOT NULL DEFAULT 'x'", "GENERATED ALWAYS AS ('x') STORED"])
def test_a_column_that_an_administrator_adds(db: Connection, worker: MakeWorker, kind: str) -> None:
    """To every table of ours: boards are synced, changed, thinned, exported and deleted as before."""
    for (table,) in rows(
        db,
        "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) "
        "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname IN ('kaggle', 'kaggle_internal') AND c.relkind = 'r'",
    ):
        db.execute(f"ALTER TABLE {table} ADD COLUMN remark text {kind}")
    with worker():
        db.execute("INSERT INTO kaggle.events (slug, title) VALUES ('night', 'Night')")
        insert(db, event_id=value(db, "SELECT id FROM kaggle.events"))
        assert synced(db) == ("inserted", "changed")
        db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
        assert synced(db) == ("manual", "unchanged")
        insert(db, OTHER)
        assert synced(db, OTHER) == ("inserted", "changed")
        db.execute("UPDATE kaggle.competitions SET status = 'completed' WHERE kaggle_competition_id = %s", (OTHER,))
        assert synced(db, OTHER) == ("completed", "unchanged")
        assert value(db, "SELECT count(*) FROM kaggle.leaderboard_as_of(%s, 'infinity')", SLUG) > 0
        db.execute("DELETE FROM kaggle.competitions WHERE kaggle_competition_id = %s", (OTHER,))
        eventually(db, 1, "SELECT count(*) FROM kaggle.boards")


def test_variables_of_libpq_do_not_reach_the_embedded_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are meant for the user's own servers."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o755)
    for name, setting in {
        "PGHOSTADDR": "192.0.2.1",
        "PGCHANNELBINDING": "require",
        "PGREQUIREAUTH": "scram-sha-256",
        "PGOPTIONS": "-c nothing.of=ours -c default_transaction_read_only=on",
        "PGTARGETSESSIONATTRS": "standby",
        "PGSERVICE": "nowhere",
    }.items():
        monkeypatch.setenv(name, setting)
    monkeypatch.setenv("PGLEADERBOARD_HOME", str(tmp_path / "home"))
    with app.database(Settings.load(), simulated=True) as database, connect(database.url) as connection:
        assert connection.execute("SHOW default_transaction_read_only").fetchone() == ("off",)


# A user without a home, an account or a place to write.


@pytest.fixture
def no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """A uid without an entry in /etc/passwd, and without HOME, as containers have them."""

    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr("os.geteuid", lambda: 54321)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.delenv("HOME")


@pytest.mark.usefixtures("no_account")
def test_a_uid_without_an_account_works_on_a_database_of_its_own(
    url: str, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No home is needed where DATABASE_URL is set; neither is one for a credential."""
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("PGLEADERBOARD_KAGGLE_URL", simulator.url)
    with app.worker(Settings.load(), simulate=False) as worker:
        assert worker.database.server is None


@pytest.mark.usefixtures("no_account")
def test_a_uid_without_an_account_cannot_run_the_embedded_server(tmp_path: Path) -> None:
    """One sentence says what to set; PostgreSQL itself would speak of a user ID."""
    with pytest.raises(NeedsPerson, match=r"uid 54321, which has no entry in /etc/passwd: .* set DATABASE_URL"):
        cluster.account_for(tmp_path / "data")


def test_a_home_that_cannot_be_written_to(tmp_path: Path) -> None:
    """A read-only root file system, or a file in the way: the setting is named."""
    (tmp_path / "file").touch()
    with pytest.raises(NeedsPerson, match=r"set PGLEADERBOARD_HOME to a folder .* or DATABASE_URL"):
        embedded.start(tmp_path / "file" / "home")


def test_no_place_for_temporary_files(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """A worker unpacks boards there: it says so at its start, and not at each sync."""

    def nowhere() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("tempfile.gettempdir", nowhere)
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(NeedsPerson, match="set TMPDIR"), app.worker(Settings.load(), simulate=False):
        pass


@pytest.mark.parametrize("constraint", ["CHECK", "DEFERRED"])
def test_a_date_that_something_of_the_users_refuses_stops_no_sweep(
    db: Connection, worker: MakeWorker, constraint: str
) -> None:
    """At the statement or at COMMIT: the other dates act, and syncs go on."""
    refused, other = insert(db), insert(db, OTHER)
    if constraint == "CHECK":
        db.execute(f"ALTER TABLE kaggle.competitions ADD CHECK (id <> {refused} OR status <> 'completed')")
    else:
        db.execute(RAISES.format(returns="trigger", code="raise_exception", words="it goes on"))
        db.execute(
            "CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON kaggle.competitions DEFERRABLE INITIALLY DEFERRED "
            f"FOR EACH ROW WHEN (NEW.id = {refused} AND NEW.status = 'completed') EXECUTE FUNCTION public.refuse()"
        )
    db.execute(
        "SET session_replication_role = replica; UPDATE kaggle.competitions SET end_date = now() - interval '1 s', "
        "dates_checked_at = now() - interval '1 h'; RESET session_replication_role"
    )
    with worker():
        eventually(db, "completed", "SELECT status FROM kaggle.competitions WHERE id = %s", other)
        assert synced(db, OTHER)[1] in ("changed", "unchanged")
        assert value(db, "SELECT status FROM kaggle.competitions WHERE id = %s", refused) == "ongoing"


# Waiting in SQL.


def test_wait_for_sync_refuses_to_wait_for_long(db: Connection) -> None:
    """Its snapshot would stop vacuum in the whole database."""
    insert(db)
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="ten minutes at most") as caught:
        db.execute("SELECT kaggle.wait_for_sync(%s, '11 minutes')", (SLUG,))
    assert "Call it again" in str(caught.value.diag.message_hint)


def test_wait_for_sync_lets_a_migration_pass(db: Connection, connect: Callable[[], Connection]) -> None:
    """ALTER TABLE would wait for it, every sync for ALTER TABLE, and it for a sync: it gives way, and says to whom."""
    insert(db)
    migrating = connect()
    waiting = threading.Thread(target=lambda: migrating.execute("ALTER TABLE kaggle.sync_runs ADD COLUMN remark text"))
    asked = connect()

    with ThreadPoolExecutor() as pool:
        asking = pool.submit(asked.execute, "SELECT kaggle.wait_for_sync(%s)", (SLUG,))
        holds = "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = %s AND relation = 'kaggle.sync_runs'::regclass)"
        eventually(db, True, holds, asked.info.backend_pid)
        waiting.start()
        error = asking.exception(30)
    assert isinstance(error, psycopg.errors.LockNotAvailable), error
    assert f"process {migrating.info.backend_pid} (postgres) waits for an exclusive lock on kaggle.sync_runs" in str(
        error
    )
    asked.rollback()
    waiting.join(30)
    migrating.commit()
