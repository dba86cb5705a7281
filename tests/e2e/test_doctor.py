"""`pgleaderboard doctor` against set-ups that were broken on purpose: each is named, with what to do."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pgleaderboard import __version__
from pgleaderboard.doctor import Finding, Target, findings
from tests.support import program
from tests.support.aliases import Connection, MakeWorker
from tests.support.asking import OTHER, eventually, insert, status, synced, value
from tests.support.faults import Simulator, Status
from tests.support.kaggle import make_kaggle
from tests.support.pooler import pgbouncer

Check = Callable[..., list[Finding]]


@pytest.fixture
def check_all(url: str, simulator: Simulator) -> Check:
    """Runs all checks on the test's database and Kaggle; keywords change fields of the Target."""

    def one(**changes: Any) -> list[Finding]:
        fields: dict[str, Any] = {
            "url": url,
            "direct_url": changes.get("url", url),
            "has_direct_url": "direct_url" in changes,
            "kaggle": make_kaggle(simulator.url),
            "which_kaggle": "Kaggle, credential from the test",
            "credential_problem": None,
            "requests_per_minute": 0,
        }
        return list(findings(Target(**(fields | changes))))

    return one


def named(found: list[Finding], check: str, level: str, message: str, remedy: str) -> bool:
    """Whether one finding of that check has this message and remedy."""
    hits = [
        f for f in found if (f.check, f.level) == (check, level) and message in f.message and remedy in (f.remedy or "")
    ]
    assert len(hits) == 1, "\n".join(map(str, found))
    return True


def test_a_healthy_set_up(check_all: Check, db: Connection, worker: MakeWorker) -> None:
    """With a worker and a board that is synced everything is well, in one line a check."""
    with worker():
        insert(db)
        assert synced(db) == ("inserted", "changed")
        found = check_all()
    assert {f.level for f in found} == {"ok"}, found
    checks = (
        "database clock listen migrations rights search_path triggers sequences queue workers jobs kaggle syncs boards"
    )
    assert [f.check for f in found] == checks.split()


# The database

BROKEN = [
    # what is done to the database; check, level, what is said, what to do
    ("DROP SCHEMA kaggle CASCADE", "migrations", "problem", "schema kaggle is gone", "pgleaderboard migrate"),
    (
        "DROP SCHEMA kaggle, kaggle_internal CASCADE",
        "migrations", "problem", "holds no leaderboards yet", "pgleaderboard migrate",
    ),
    (
        "UPDATE kaggle_internal.applied_files SET digest = 'old' WHERE name = 'sql/010_slugs.sql'",
        "migrations", "problem", "1 to apply, the first sql/010_slugs.sql", "run pgleaderboard migrate",
    ),
    (
        "INSERT INTO kaggle_internal.applied_files VALUES ('migrations/9999_later.sql', '')",
        "migrations", "problem", "holds migrations/9999_later.sql, which", "install the newer pgleaderboard",
    ),
    (
        "ALTER FUNCTION kaggle.sync_now(text) RESET search_path",
        "search_path", "problem", "kaggle.sync_now(text) would find", "migrate --again",
    ),
    (
        "ALTER TABLE kaggle.competitions DISABLE TRIGGER competitions_inserted",
        "triggers", "problem", "disabled: competitions_inserted", "ENABLE TRIGGER",
    ),
    (
        "DROP TRIGGER competitions_updated ON kaggle.competitions",
        "triggers", "problem", "missing: competitions_updated", "migrate --again",
    ),
    (
        "DROP FUNCTION procrastinate.procrastinate_finish_job_v1 CASCADE",
        "queue", "problem", "misses procrastinate_finish_job_v1", "restore schema procrastinate",
    ),
    ("SELECT 1", "workers", "warning", "nothing waits", "pgleaderboard work"),
    (
        "INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('titanic')",
        "workers", "problem", "1 competition waits for one", "pgleaderboard work",
    ),
    (
        "INSERT INTO kaggle_internal.worker_processes (version, credential, requests_per_minute, seen_at) "
        "VALUES ('0.1.0', '', 0, clock_timestamp() - interval '50 s')",
        "workers", "warning", "killed or cut off, last heartbeat 5", "the next worker restarts",
    ),
    (
        "INSERT INTO kaggle_internal.sync_state (competition_id, running_run_id, running_worker_id, running_since, "
        "running_reason) VALUES (1, 7, 1, clock_timestamp() - interval '20 minutes', 'manual')",
        "jobs", "problem", "run 7 of competition 1 has been running for 20 minutes", "restart its worker",
    ),
    (
        "INSERT INTO procrastinate.procrastinate_jobs (queue_name, task_name, priority, status) "
        "VALUES ('kaggle', 'sync', 0, 'doing')",
        "jobs", "warning", "jobs held by a worker that is gone: 1", "the next worker",
    ),
    (
        "INSERT INTO kaggle_internal.sync_condition (function) VALUES ('public.gone(kaggle.competitions)')",
        "condition", "problem", "public.gone(kaggle.competitions) does not exist", "set_sync_condition(NULL)",
    ),
    (
        "INSERT INTO kaggle_internal.sync_state (competition_id, missing_since) VALUES (7, '2026-01-02 03:04:05Z')",
        "syncs", "warning", "competition 7 (without a board) has been missing since 2026-01-02 03:04:05 UTC",
        "under the same id",
    ),
    (
        "INSERT INTO kaggle.competitions (id, kaggle_competition_id) VALUES (50, 'titanic')",
        "sequences", "problem", "kaggle.competitions_id_seq is at 0, and 50 is in use", "migrate --again",
    ),
    (
        "INSERT INTO kaggle.boards (competition_id, slug, kind, observed_at) "
        "VALUES (1, 'titanic', 'public', clock_timestamp() + interval '5 hours')",
        "clock", "warning", "the public board of titanic is dated", "by NTP",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("done", "check", "level", "said", "remedy"), BROKEN)
def test_a_broken_database(
    check_all: Check, db: Connection, done: str, check: str, level: str, said: str, remedy: str
) -> None:
    """What somebody did to the database is named, and how it is mended."""
    db.execute(done)
    assert named(check_all(), check, level, said, remedy)


@pytest.mark.parametrize(
    "gone", ["VIEW kaggle.workers", "TABLE procrastinate.procrastinate_workers", "SCHEMA procrastinate"]
)
def test_what_is_missing_ends_no_other_check(check_all: Check, db: Connection, gone: str) -> None:
    """It is named, and Kaggle is looked at all the same."""
    db.execute(f"DROP {gone} CASCADE")
    found = check_all()
    names = ("procrastinate", "kaggle.workers")
    assert any(f.level == "problem" and any(name in f.message for name in names) for f in found), found
    assert named(found, "kaggle", "ok", "", "")


def test_a_forgotten_lock(
    check_all: Check, db: Connection, connect: Callable[[], Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not waited for; who holds it is named."""
    monkeypatch.setattr("pgleaderboard.doctor.LOCK_SECONDS", 0.05)
    holder = connect()
    holder.execute("LOCK TABLE kaggle_internal.sync_state")
    process = holder.info.backend_pid
    hits = {(f.level, f.remedy) for f in check_all() if f.check == "locks"}
    assert hits == {
        (
            "problem",
            f"end the blocking transaction: process {process} ({holder.info.user}), on kaggle_internal.sync_state",
        )
    }


def test_a_role_whose_sessions_fire_no_triggers(check_all: Check, url: str) -> None:
    """session_replication_role, left behind by a restore, is found."""
    quiet = make_conninfo(url, options="-c session_replication_role=replica")
    assert named(
        check_all(url=quiet), "triggers", "problem", "session_replication_role", "RESET session_replication_role"
    )


def test_a_role_without_rights(check_all: Check, db: Connection, url: str) -> None:
    """A role that may log in and nothing else is told which one to be granted."""
    role = sql.Identifier(f"nobody_{os.getpid()}")
    db.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(role))
    try:
        found = check_all(url=make_conninfo(url, user=f"nobody_{os.getpid()}", password="x"))
        assert named(found, "rights", "problem", "permission denied", "GRANT pgleaderboard_worker TO")
        db.execute(sql.SQL("GRANT pgleaderboard_reader TO {}").format(role))
        db.execute(sql.SQL("GRANT USAGE ON SCHEMA kaggle_internal TO {}").format(role))
        db.execute(sql.SQL("GRANT SELECT ON kaggle_internal.applied_files TO {}").format(role))
        reading = check_all(url=make_conninfo(url, user=f"nobody_{os.getpid()}", password="x"))
        db.execute(sql.SQL("DROP OWNED BY {}").format(role))
    finally:
        db.execute(sql.SQL("DROP ROLE {}").format(role))
    assert any(f.check == "rights" and "may not use kaggle.boards" in f.message for f in reading), reading


HIDEABLE = (
    "kaggle.competitions", "kaggle.events", "kaggle.event_competitions", "kaggle.participants",
    "kaggle.event_participants", "kaggle_internal.sync_requests", "kaggle_internal.sync_state", "kaggle.sync_runs",
    "kaggle_internal.sync_condition", "kaggle_internal.worker_processes", "kaggle_internal.kaggle_budget",
    "kaggle.boards", "kaggle.leaderboard_entries", "kaggle_internal.packs", "kaggle_internal.past_names",
    "kaggle_internal.applied_files", "kaggle_internal.boards_at_end", "kaggle_internal.marked_source",
    "kaggle_internal.boards_at_freeze", "kaggle_internal.boards_to_drop", "kaggle_internal.final_standings",
    "kaggle_internal.final_results", "kaggle_internal.final_boards", "kaggle_internal.known_timeline",
)  # fmt: skip


def test_a_role_that_cannot_become_the_reader(check_all: Check, db: Connection, url: str) -> None:
    """The live page then reads with all rights of its role; the remedy is one GRANT."""
    role = sql.Identifier("a_pages_role")
    db.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(role))
    try:
        db.execute(sql.SQL("GRANT pgleaderboard_worker TO {}").format(role))
        theirs = make_conninfo(url, user="a_pages_role", password="x")
        found = check_all(url=theirs)
        assert named(found, "page", "warning", "may not become pgleaderboard_reader", "GRANT pgleaderboard_reader TO")
        db.execute(sql.SQL("GRANT pgleaderboard_reader TO {}").format(role))
        assert [finding for finding in check_all(url=theirs) if finding.check == "page"] == []
    finally:
        db.execute(sql.SQL("DROP OWNED BY {}").format(role))
        db.execute(sql.SQL("DROP ROLE {}").format(role))


def test_rows_that_are_hidden(check_all: Check, db: Connection, url: str) -> None:
    """Row level security on any table is named with its remedy, and never taken for an old database."""
    tables = "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace::regnamespace::text ~ %s"
    assert set(HIDEABLE) == {name for (name,) in db.execute(tables, ("^kaggle",))}
    role = f"unprivileged_{os.getpid()}"
    db.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x' IN ROLE pgleaderboard_worker")
    try:
        for table in HIDEABLE:
            db.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
            found = check_all(url=make_conninfo(url, user=role, password="x"))
            said = f'row level security hides rows of {table} from role "{role}"'
            assert named(found, "rights", "problem", said, f'ALTER ROLE "{role}" BYPASSRLS; or ALTER TABLE {table}')
            db.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
            (forced,) = [
                f.remedy
                for f in check_all(url=make_conninfo(url, user=role, password="x"))
                if f.message.startswith(said)
            ]
            assert forced == f'ALTER ROLE "{role}" BYPASSRLS'
            db.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
            assert not any("to apply" in f.message for f in found), found
            db.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    finally:
        db.execute(f"DROP ROLE {role}")


def test_a_database_of_another_encoding(check_all: Check, server_url: str) -> None:
    """It is named before anything else is tried in vain."""
    name = f"ascii_{os.getpid()}"
    with Connection.connect(server_url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'")
        try:
            assert named(
                check_all(url=make_conninfo(server_url, dbname=name)), "database", "problem", "SQL_ASCII", "UTF8"
            )
        finally:
            admin.execute(f"DROP DATABASE {name}")


def test_a_worker_that_does_not_get_on(check_all: Check, db: Connection) -> None:
    """A living worker of another release and credential is told of, and that a wish waits all the same."""
    db.execute("SELECT kaggle_internal.register_worker('0.0.9', 'another')")
    insert(db)
    db.execute("UPDATE kaggle_internal.sync_requests SET asked_at = clock_timestamp() - interval '1 hour'")
    found = check_all()
    assert named(found, "workers", "warning", "is pgleaderboard 0.0.9", "restart it")
    assert named(found, "jobs", "problem", "1 competition waits for a sync, the oldest for 60 minutes", "the budget")
    db.execute("UPDATE kaggle_internal.worker_processes SET version = %s", (__version__,))
    assert named(check_all(), "workers", "warning", "another Kaggle credential", "restart it")


def test_another_procrastinate(check_all: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of another minor release, installed by somebody's other requirement, is a warning."""
    monkeypatch.setattr("pgleaderboard.doctor.queue.installed_version", lambda name: "3.11.0")
    assert named(check_all(), "queue", "warning", "procrastinate 3.11.0 is installed, not 3.10.x", "pip install")


# Reaching it


@pytest.mark.parametrize(
    ("changes", "said", "remedy"),
    [
        ({"dbname": "nothing_here"}, "does not exist", "create it"),
        ({"host": "/nowhere"}, "failed", "start the server"),
        ({"user": "nobody_at_all"}, "nobody_at_all", ""),
    ],
)
def test_a_database_that_cannot_be_reached(
    check_all: Check, url: str, changes: dict[str, str], said: str, remedy: str
) -> None:
    """Nothing but the database and Kaggle is then looked at."""
    found = check_all(url=make_conninfo(url, **changes))
    assert named(found, "database", "problem", said, remedy)
    assert {f.check for f in found} == {"database", "kaggle"}


def test_a_pooler_in_transaction_mode(check_all: Check, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a direct URL it is recognised; with one beside it all is well."""
    monkeypatch.setattr("pgleaderboard.doctor.database.NOTIFIED_WITHIN", 0.5)
    with pgbouncer(url) as pooled:
        assert named(
            check_all(url=pooled), "listen", "problem", "a pooler in transaction mode", "set PGLEADERBOARD_DIRECT_URL"
        )
        assert named(check_all(url=pooled, direct_url=url), "listen", "ok", "arrived", "")


def test_a_direct_url_to_another_database(check_all: Check, url: str, empty_database: str) -> None:
    """The two URLs must name one database."""
    assert named(check_all(direct_url=empty_database), "listen", "problem", "different databases", "the same database")


def test_clocks_that_differ(check_all: Check) -> None:
    """Seconds are a warning, a minute is a problem."""
    assert named(check_all(clock=lambda: time.time() - 20), "clock", "warning", "20 s ahead of", "NTP")
    assert named(check_all(clock=lambda: time.time() + 3600), "clock", "problem", "3600 s behind", "NTP")


# Kaggle, and what fails


def test_credentials(check_all: Check, simulator: Simulator) -> None:
    """None, one that cannot be read, one that is refused."""
    remedy = "https://www.kaggle.com/settings"
    for message in ("no Kaggle credential found", "cannot read x"):
        assert named(check_all(credential_problem=message, kaggle=None), "credential", "problem", message, remedy)
    simulator.auth_required = "Bearer another"
    assert named(check_all(), "credential", "problem", "does not accept the credential (401)", remedy)


def test_a_kaggle_that_does_not_answer(check_all: Check, simulator: Simulator, db: Connection) -> None:
    """Out of reach is a problem, a pause that Kaggle asked for a warning, and then it is not asked."""
    simulator.faults.put(None, Status(503))
    assert named(check_all(), "kaggle", "problem", "status 503", "it may pass")
    fingerprint = make_kaggle(simulator.url).fingerprint
    db.execute(
        "INSERT INTO kaggle_internal.kaggle_budget (credential, blocked_until) VALUES (%s, now() + interval '1 hour')",
        (fingerprint,),
    )
    asked = len(simulator.requests)
    assert named(check_all(), "kaggle", "warning", "asked for a pause", "REQUESTS_PER_MINUTE")
    assert len(simulator.requests) == asked
    simulator.stop()
    db.execute("DELETE FROM kaggle_internal.kaggle_budget")
    assert named(check_all(), "kaggle", "problem", "refused", "PGLEADERBOARD_KAGGLE_URL")


def test_syncs_that_fail(check_all: Check, db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """Each failing competition with its last error: what a person must mend is a problem, what passes a warning."""
    simulator.faults.put(OTHER, Status(503), times=None)
    with worker():
        insert(db, "unknown-slug")
        insert(db, OTHER)
        assert synced(db, "unknown-slug")[1] == synced(db, OTHER)[1] == "failed"
        found = check_all()
    assert named(found, "syncs", "problem", "unknown-slug is failing (1 in a row", "kaggle.sync_now('unknown-slug')")
    assert named(found, "syncs", "warning", "status 503", "retried automatically")


def test_a_condition_that_raises(check_all: Check, db: Connection, worker: MakeWorker) -> None:
    """A sync condition of one's own that fails is named with its error."""
    db.execute(
        "CREATE FUNCTION public.broken(c kaggle.competitions) RETURNS boolean LANGUAGE plpgsql "
        "AS $$ BEGIN RAISE 'no such luck'; END $$"
    )
    db.execute("SELECT kaggle.set_sync_condition('public.broken(kaggle.competitions)')")
    with worker():
        insert(db)
        eventually(db, "no such luck", "SELECT max(condition_says) FROM kaggle_internal.sync_state")
        found = check_all()
    assert named(found, "condition", "problem", "no such luck", "set_sync_condition(NULL)")
    assert status(db, "sync_state") == "idle"


# The command


def doctor(*arguments: str, **given: str) -> subprocess.CompletedProcess[str]:
    """Run the program."""
    return program.run("doctor", *arguments, **given)


def test_the_command_and_its_json(url: str, db: Connection, simulator: Simulator) -> None:
    """Status 0 with warnings only, 1 with a problem; JSON says the same; no secret is in either."""
    given = {"DATABASE_URL": url, "PGLEADERBOARD_KAGGLE_URL": simulator.url, "KAGGLE_API_TOKEN": "s3cret"}
    shown = doctor(**given)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "warning  workers     no worker is running; nothing waits for one\n" in shown.stdout
    assert "credential from KAGGLE_API_TOKEN; it answers" in shown.stdout
    assert value(db, "SELECT count(*) FROM kaggle_internal.kaggle_budget") == 1
    simulator.auth_required = "Bearer another"
    db.execute("DELETE FROM kaggle_internal.kaggle_budget")
    told = doctor("--json", **given)
    found = json.loads(told.stdout)
    assert (told.returncode, found["ok"]) == (1, False)
    assert [f["check"] for f in found["findings"] if f["level"] == "problem"] == ["credential"]
    assert "s3cret" not in shown.stdout + told.stdout


def test_it_is_wrapped_to_a_terminal(url: str, simulator: Simulator) -> None:
    """At 80 columns no line is longer; NO_COLOR leaves the colours out."""
    given = {"DATABASE_URL": url, "PGLEADERBOARD_KAGGLE_URL": simulator.url, "KAGGLE_API_TOKEN": "t", "TERM": "xterm"}
    for more in ({}, {"NO_COLOR": "1"}):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        process = subprocess.Popen(
            [sys.executable, "-m", "pgleaderboard", "doctor"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=os.environ | given | more,
            cwd=Path(__file__).resolve().parents[2],
        )
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # EIO is the end of a pseudo-terminal
            while piece := os.read(ours, 4096):
                shown += piece
        os.close(ours)
        assert process.wait() == 0
        assert (b"\x1b[32m" in shown) == (not more)
        lines = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in shown.decode().splitlines()]
        assert len(lines) > 13
        assert max(map(len, lines)) <= 80


def test_the_command_without_a_database_or_a_readable_credential(url: str, tmp_path: Path) -> None:
    """What other commands stop at is a finding here, without a traceback."""
    (tmp_path / "kaggle.json").write_text("{")
    shown = doctor(DATABASE_URL=make_conninfo(url, dbname="nothing_here"), KAGGLE_CONFIG_DIR=str(tmp_path))
    assert shown.returncode == 1
    assert "problem  database" in shown.stdout
    assert "problem  credential  cannot read the Kaggle credential in" in shown.stdout
    assert shown.stderr == ""
