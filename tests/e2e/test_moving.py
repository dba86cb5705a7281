"""What docs/operating.md walks through: moving to another server with pg_dump, and upgrading in place."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo

from pgleaderboard.database import cluster, embedded
from tests.support.aliases import Connection
from tests.support.asking import insert, move_time, rows, runs, synced, value
from tests.support.boards import COLUMNS
from tests.support.faults import Simulator

ROOT = Path(__file__).resolve().parents[2]
ASKED, DUE, REST = (f"simulated-{n}-teams" for n in (4, 5, 6))


@pytest.fixture
def server() -> Iterator[embedded.Server]:
    """Another server, that no role of ours is known to."""
    home = Path(tempfile.mkdtemp(prefix="pgl-move-"))
    home.chmod(0o755)
    try:
        with embedded.running(home, extra_options={"fsync": "off"}) as running:
            yield running
    finally:
        shutil.rmtree(home, ignore_errors=True)


def program(*arguments: str, at: Path = ROOT, **given: str) -> subprocess.CompletedProcess[str]:
    """Run a release of the program to its end."""
    return subprocess.run(
        [sys.executable, "-m", "pgleaderboard", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | given | {"PYTHONPATH": str(at / "worker")},
        cwd=at,
        timeout=120,
    )


def worked_once(url: str, simulator: Simulator) -> None:
    """Have one round of a worker do what is due or wanted."""
    done = program(
        "work",
        "--once",
        DATABASE_URL=url,
        PGLEADERBOARD_KAGGLE_URL=simulator.url,
        PGLEADERBOARD_REQUESTS_PER_MINUTE="0",
    )
    assert done.returncode == 0, done.stderr


def fingerprint(db: Connection) -> dict[str, Any]:
    """A digest of every table of the schema, except what moves with a worker."""
    names = [
        name
        for (name,) in rows(
            db,
            "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r'"
            " AND relnamespace::regnamespace::text ~ '^kaggle' ORDER BY 1",
        )
    ]
    return {
        name: value(db, f"SELECT count(*) || ' ' || md5(string_agg(t::text, E'\\n' ORDER BY t::text)) FROM {name} t")
        for name in names
    }


def grants(db: Connection) -> list[Any]:
    """Who may do what with the relations and functions of the schema, owners left out."""
    return rows(
        db,
        """
        SELECT relname::text, a.grantee::regrole::text, privilege_type FROM pg_class, aclexplode(relacl) a
        WHERE relnamespace::regnamespace::text ~ '^kaggle' AND a.grantee <> relowner
        UNION ALL
        SELECT oid::regprocedure::text, CASE a.grantee WHEN 0 THEN 'public' ELSE a.grantee::regrole::text END,
               privilege_type
        FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner))) a
        WHERE pronamespace::regnamespace::text ~ '^kaggle' AND a.grantee <> proowner
        ORDER BY 1, 2, 3
        """,
    )


def dumper(db: Connection) -> Path:
    """The pg_dump of the server's own release: an older one does not know what a later minor release stores."""
    if db.info.server_version == embedded_version():
        return cluster.binaries() / "pg_dump"
    program = Path(f"/usr/lib/postgresql/{db.info.server_version // 10000}/bin/pg_dump")
    if not program.exists():
        pytest.skip(f"there is no {program} beside the server of TEST_DATABASE_URL")
    return program


def embedded_version() -> int:
    """Number of the embedded release, as libpq counts: 180006 is 18.6."""
    shown = subprocess.run([cluster.binaries() / "postgres", "--version"], capture_output=True, text=True, check=True)
    major, minor = re.findall(r"\d+", shown.stdout)[:2]
    return int(major) * 10000 + int(minor)


def test_moving_to_a_server_of_ones_own(
    url: str, db: Connection, server: embedded.Server, simulator: Simulator, tmp_path: Path
) -> None:
    """pg_dump, pg_restore, `migrate --again`: nothing is synced twice, nothing missed, all else is as it was.

    The new role may neither make roles nor own anything of the old server; the roles come later.
    """
    for slug in (DUE, REST):
        insert(db, slug)
    worked_once(url, simulator)
    simulator.advance(3)
    insert(db, ASKED, auto_sync=False)
    for slug in (DUE, REST):
        db.execute("SELECT kaggle.sync_now(%s)", (slug,))
    worked_once(url, simulator)
    # Left to do when the old worker has gone: one was asked for by hand, one is due.
    db.execute("SELECT kaggle.sync_now(%s)", (ASKED,))
    move_time(db, "UPDATE kaggle_internal.sync_state SET due_at = clock_timestamp() WHERE competition_id = 1")

    programs = cluster.binaries()
    dump = tmp_path / "boards.dump"
    subprocess.run(
        [dumper(db), "-Fc", "-n", "kaggle", "-n", "kaggle_internal", "-n", "procrastinate", "-f", dump, url], check=True
    )
    with Connection.connect(server.url(), autocommit=True) as admin:
        admin.execute("CREATE ROLE me LOGIN")
        admin.execute("CREATE DATABASE mine TEMPLATE template0 ENCODING 'UTF8' OWNER me")
    mine = make_conninfo(server.url("mine"), user="me")
    restored = subprocess.run(
        [programs / "pg_restore", "--no-owner", "--no-privileges", "--exit-on-error", "-1", "-d", mine, dump],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (restored.returncode, restored.stderr) == (0, "")

    with Connection.connect(mine, autocommit=True) as there:
        assert fingerprint(there) == fingerprint(db)
        again = program("migrate", "--again", DATABASE_URL=mine)
        assert (again.returncode, again.stdout.splitlines()[-1]) == (0, "migrated"), again.stderr
        assert [grant for grant in grants(there) if grant[1] == "public"] == []

        before = value(there, "SELECT max(id) FROM kaggle.sync_runs")
        worked_once(mine, simulator)
        done = rows(
            there,
            "SELECT kaggle_competition_id, reason FROM kaggle.sync_runs r JOIN kaggle.competitions c "
            "ON c.id = r.competition_id WHERE r.id > %s ORDER BY 1",
            before,
        )
        assert done == [(ASKED, "manual"), (DUE, "scheduled")]
        assert [reason for reason, _ in runs(there, REST)] == ["inserted", "manual"]
        worked_once(mine, simulator)
        assert value(there, "SELECT count(*) FROM kaggle.sync_runs WHERE id > %s", before) == 2

        # What lives on in the schema works: triggers, sequences, the past.
        assert insert(there, "simulated-7-teams") > value(db, "SELECT max(id) FROM kaggle.competitions")
        worked_once(mine, simulator)
        assert synced(there, "simulated-7-teams") == ("inserted", "changed")
        moment = value(db, "SELECT min(observed_at) FROM kaggle.sync_runs WHERE competition_id = 2")
        past = f"SELECT {COLUMNS} FROM kaggle.leaderboard_as_of(%s, %s) ORDER BY rank, team_id"
        assert rows(there, past, REST, moment) == rows(db, past, REST, moment) != []

        # An administrator makes the roles; the same command brings their rights.
        with Connection.connect(server.url(), autocommit=True) as admin:
            for name in ("reader", "editor", "worker"):
                admin.execute(f"CREATE ROLE pgleaderboard_{name} NOLOGIN")
        assert program("migrate", "--again", DATABASE_URL=mine).returncode == 0
        assert grants(there) == grants(db)


# upgrading


@pytest.fixture
def next_release(tmp_path: Path) -> Path:
    """The program as it will be: another release number, another migration, another function."""
    at = tmp_path / "next"
    for name in ("worker", "sql", "migrations"):
        shutil.copytree(ROOT / name, at / name, ignore=shutil.ignore_patterns("__pycache__"))
    version = at / "worker" / "pgleaderboard" / "__init__.py"
    version.write_text(re.sub(r'__version__ = ".*"', '__version__ = "99.0.0"', version.read_text()))
    (at / "migrations" / "9999_next.sql").write_text(
        "ALTER TABLE kaggle.sync_runs ADD COLUMN next text DEFAULT 'filled';\n"
    )
    (at / "sql" / "200_next.sql").write_text(
        "CREATE OR REPLACE FUNCTION kaggle.next() RETURNS text LANGUAGE sql SET search_path = kaggle, pg_temp "
        "AS $$ SELECT min(next) FROM sync_runs $$;\n"
    )
    return at


def read_until(process: subprocess.Popen[str], text: str) -> None:
    """Read its lines until one has this text."""
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if text in line:
            return
    raise AssertionError(f"{text!r} not in:\n{''.join(seen)}")


def test_an_upgrade_in_place(url: str, db: Connection, simulator: Simulator, next_release: Path) -> None:
    """The new worker waits for the migration and goes on by itself; the old one refuses what is newer in one line."""
    given = {
        "DATABASE_URL": url,
        "PGLEADERBOARD_KAGGLE_URL": simulator.url,
        "PGLEADERBOARD_REQUESTS_PER_MINUTE": "0",
    }
    insert(db, REST)
    worked_once(url, simulator)
    board = rows(db, "SELECT * FROM kaggle.leaderboard ORDER BY rank")

    new = subprocess.Popen(
        [sys.executable, "-m", "pgleaderboard", "work"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | given | {"PYTHONPATH": str(next_release / "worker")},
        cwd=next_release,
    )
    try:
        read_until(new, "waits for `pgleaderboard migrate`: 2 to apply, the first migrations/9999_next.sql")
        insert(db, ASKED)  # people write on while nobody works
        upgraded = program("migrate", at=next_release, **given)
        assert (upgraded.returncode, upgraded.stdout.splitlines()[-1]) == (0, "migrated"), upgraded.stderr
        read_until(new, "worker ready")
        assert synced(db, ASKED) == ("inserted", "changed")
        assert rows(db, "SELECT version FROM kaggle.workers") == [("99.0.0",)]
    finally:
        new.terminate()
        new.communicate(timeout=60)
    assert new.returncode == 0
    assert value(db, "SELECT kaggle.next()") == "filled"
    assert rows(db, "SELECT * FROM kaggle.leaderboard WHERE kaggle_competition_id = %s ORDER BY rank", REST) == board

    for command in (("work",), ("work", "--once"), ("migrate",)):
        refused = program(*command, **given)
        assert refused.returncode == 1, command
        assert re.fullmatch(
            r"pgleaderboard: the database holds migrations/9999_next\.sql, which pgleaderboard \S+ does not know: "
            r"upgrade this program, it is older than the database",
            refused.stderr.splitlines()[-1],
        ), refused.stderr
