"""Readers on a hot standby: each of them, also while the replay pauses or the primary is away, and what refuses."""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from pgleaderboard.cli.console import complete_slug
from pgleaderboard.cli.main import cli
from pgleaderboard.database import connect as database
from pgleaderboard.doctor import Target
from pgleaderboard.doctor.standby import readers
from pgleaderboard.process.session import Configuration
from pgleaderboard.process.supervisor import Supervisor, running
from pgleaderboard.reading.asking import snapshot
from pgleaderboard.reading.standby import Awaited, Server, position
from tests.support.aliases import Connection
from tests.support.asking import eventually, value
from tests.support.boards import teams, zip_of
from tests.support.databases import copy_of
from tests.support.faults import Simulator
from tests.support.kaggle import make_kaggle
from tests.support.psql import printed
from tests.support.standby import Pair, cut_off, migrated_pair
from tests.support.syncs import Syncs
from tests.support.terminal import Terminal

NOWHERE = "postgresql://127.0.0.1:1/nowhere"
ALIVE = "SELECT count(*) FROM kaggle.workers"


@pytest.fixture
def url(pair: Pair) -> Iterator[str]:
    """DSN of a fresh, migrated database of the primary, whose standby replays."""
    with copy_of(pair.template, pair.primary_url) as dsn:
        yield dsn
        pair.standby.resume()


@pytest.fixture
def read_url(pair: Pair, url: str) -> str:
    """DSN of the same database on the standby."""
    return pair.read_url(url)


@pytest.fixture
def standby_db(read_url: str) -> Iterator[Connection]:
    """A connection to it."""
    with Connection.connect(read_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def night(db: Connection, syncs: Syncs) -> Syncs:
    """An event with one competition, whose board has been another one before, and a participant."""
    db.execute("INSERT INTO kaggle.events (slug, title) VALUES ('night', 'The Night')")
    db.execute("INSERT INTO kaggle.event_competitions (event_id, competition_id) VALUES (1, %s)", (syncs.competition,))
    db.execute("INSERT INTO kaggle.participants VALUES ('user1', 'One')")
    syncs.sync(zip_of(teams(2, 1)))
    syncs.sync(zip_of(teams(1, 2, 3)))
    return syncs


@pytest.fixture
def run(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Runs a command in this process: twenty processes would take most of the time."""
    monkeypatch.setattr("pgleaderboard.logs.configure", lambda *_, **__: None)
    before = signal.getsignal(signal.SIGTERM)
    yield lambda *arguments, **given: CliRunner().invoke(cli, arguments, env={"DATABASE_URL": url} | given)
    signal.signal(signal.SIGTERM, before)


def test_each_command_that_reads_reads_the_standby(
    run: Callable[..., Any], pair: Pair, url: str, read_url: str, night: Syncs, tmp_path: Path
) -> None:
    """With the primary away each does what it does with the primary; `status` says that it is away."""
    pair.standby.caught_up()
    commands = {
        "status": ("status", "--json"),
        "board": ("board", "a-board", "--json"),
        "standings": ("standings", "night", "--json"),
        "explained": ("standings", "night", "--explain", "One", "--json"),
        "season": ("season", "2026", "--json"),
        "ratings": ("ratings", "--json"),
        "person": ("person", "user1", "--json"),
    }
    told, exported = [], []
    for name, given in {
        "primary": {},
        "standby": {"DATABASE_URL": NOWHERE, "PGLEADERBOARD_READ_URL": read_url},
    }.items():
        done = {command: run(*arguments, **given) for command, arguments in commands.items()}
        folder = tmp_path / name
        done["export"] = run("export", "a-board", str(folder), "--all", **given)
        assert {command: each.exit_code for command, each in done.items()} == dict.fromkeys(done, 0), done
        assert ("the primary is out of reach: " in done["status"].stderr) == (name == "standby")
        printed = {command: json.loads(done[command].stdout) for command in commands}
        for document in printed.values():
            document.pop("at", None)
        assert (printed["status"].pop("standby") is not None) == (name == "standby")
        told.append(printed)
        exported.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert told[0] == told[1]
    assert exported[0] == exported[1]
    assert len(exported[0]) == 2
    drawn = run("plot", "a-board", "-o", str(tmp_path / "plot.svg"), **given)
    assert drawn.stdout == f"3 lines drawn into {tmp_path / 'plot.svg'}\n"


def test_completion_reads_the_standby(pair: Pair, read_url: str, syncs: Syncs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slugs are completed while the primary is away."""
    pair.standby.caught_up()
    monkeypatch.setenv("DATABASE_URL", NOWHERE)
    monkeypatch.setenv("PGLEADERBOARD_READ_URL", read_url)
    assert complete_slug("A-") == ["a-board"]


def test_a_paused_replay_is_told(
    run: Callable[..., Any], pair: Pair, url: str, read_url: str, db: Connection, syncs: Syncs
) -> None:
    """Watched and not, the board is the one that the standby has, with its age; on its return the watch catches up."""
    syncs.sync(zip_of(teams(1, 2)))
    pair.standby.caught_up()
    with Terminal("board", "a-board", "--watch", url=url, PGLEADERBOARD_READ_URL=read_url, columns=160) as shown:
        shown.until("team 2")
        syncs.sync(zip_of(teams(2, 1, 3)))
        shown.until("team 3")  # notified by the primary, and read when the standby had replayed it
        pair.standby.pause()
        syncs.sync(zip_of(teams(3, 2, 1, 4)))
        assert "team 4" not in shown.until("is behind · as of ")
        status = " ".join(run("status", PGLEADERBOARD_READ_URL=read_url).stdout.split())  # lines are broken anywhere
        assert "read from the standby " in status
        assert "its last change is of " in status
        pair.standby.resume()
        assert "has caught up" in shown.until("team 4")


def test_a_watch_goes_on_without_its_primary(
    pair: Pair, url: str, read_url: str, db: Connection, syncs: Syncs, tmp_path: Path
) -> None:
    """It says that the primary is out of reach, and shows what the standby replays; also one that begins meanwhile."""
    syncs.sync(zip_of(teams(1, 2)))
    pair.standby.caught_up()
    with cut_off(url, tmp_path) as (through_proxy, cut):
        given = {"url": through_proxy, "PGLEADERBOARD_READ_URL": read_url, "columns": 160}
        with Terminal("board", "a-board", "--watch", **given) as shown:
            shown.until("team 2")
            cut()
            syncs.sync(zip_of(teams(2, 1, 3)))
            shown.until("the primary is out of reach, reading goes on")
            shown.until("team 3")
            with Terminal("board", "a-board", "--watch", **given) as later:
                assert "the primary is out of reach, reading goes on" in later.until("team 3")


def test_workers_count_as_alive_on_the_standby(
    pair: Pair, db: Connection, standby_db: Connection, compete: Callable[..., Syncs]
) -> None:
    """While its heartbeat is younger than 30 s, as of what the standby has replayed: not longer, and not shorter."""
    compete("a-board")
    pair.standby.caught_up()
    assert value(standby_db, ALIVE) == value(db, ALIVE) == 1
    assert value(standby_db, "SELECT problem FROM kaggle.sync_status") is None
    db.execute("UPDATE kaggle_internal.worker_processes SET seen_at = clock_timestamp() - interval '29.8 s'")
    pair.standby.caught_up()
    eventually(standby_db, 0, ALIVE)  # the primary has written nothing since, and all of it is replayed
    db.execute("UPDATE kaggle_internal.worker_processes SET seen_at = clock_timestamp() - interval '29.8 s'")
    pair.standby.caught_up()
    pair.standby.pause()
    db.execute("UPDATE kaggle.competitions SET title = 'later'")
    eventually(standby_db, True, "SELECT pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()")
    eventually(db, 0, ALIVE)
    assert value(standby_db, ALIVE) == 1
    pair.standby.resume()
    eventually(standby_db, 0, ALIVE)


def test_a_commit_is_awaited_on_a_quiet_primary(
    pair: Pair, url: str, read_url: str, db: Connection, connect: Callable[[], Connection], syncs: Syncs
) -> None:
    """What an open transaction has written is not flushed and so never replayed; a commit without a flush is, soon."""
    other = connect()
    other.execute("INSERT INTO kaggle.events (slug, title) VALUES ('open', 'Open')")
    with database.connect(url) as primary, database.connect(read_url, reads=True) as standby:
        awaited = Awaited()
        for title in ("a", "b", "c"):
            db.execute("SET synchronous_commit = off")
            db.execute("UPDATE kaggle.competitions SET title = %s", (title,))
            awaited.expect(position(primary))
            assert awaited.has_come(standby)
            assert database.value(standby, "SELECT title FROM kaggle.competitions") == title
    other.rollback()


@pytest.fixture
def impatient(standby_db: Connection) -> Iterator[None]:
    """The replay waits for no query."""
    for change, shown in (("SET max_standby_streaming_delay = 0", "0"), ("RESET max_standby_streaming_delay", "30s")):
        standby_db.execute(f"ALTER SYSTEM {change}".encode())
        standby_db.execute("SELECT pg_reload_conf()")
        eventually(standby_db, shown, "SELECT current_setting('max_standby_streaming_delay')")
        if shown == "0":
            yield


@pytest.mark.parametrize("is_idle", [False, True])
def test_a_conflict_with_the_replay_is_tried_once_more(
    pair: Pair, db: Connection, read_url: str, is_idle: bool, impatient: None
) -> None:
    """Where a statement was cancelled, or a session ended between two; a second conflict is told."""
    tries: list[int] = []

    def query(connection: database.Connection, conflicts: int) -> int:
        with snapshot(connection):
            database.value(connection, "SELECT count(*) FROM kaggle.events")
            tries.append(connection.info.backend_pid)
            if len(tries) <= conflicts:
                with db.transaction():
                    db.execute("LOCK TABLE kaggle.events")
                if is_idle:
                    pair.standby.caught_up()
                else:
                    database.value(connection, "SELECT pg_sleep(60)")
            return database.value(connection, "SELECT 7")

    server = Server(lambda: database.connect(read_url, reads=True))
    assert server.ask(lambda connection: query(connection, 1)) == 7
    assert len(tries) == 2
    tries.clear()
    with pytest.raises(psycopg.OperationalError, match="due to conflict with recovery"):
        server.ask(lambda connection: query(connection, 2))
    assert len(tries) == 2


def test_everything_that_a_reader_may_ask_is_answered(standby_db: Connection, pair: Pair, night: Syncs) -> None:
    """Each view and each function of readers; none writes, and none makes a temporary table."""
    pair.standby.caught_up()
    asked = {
        "board_runs": "'a-board'",
        "changes": "(SELECT max(id) FROM kaggle.sync_runs)",
        "event_results_as_of": "'night', now()",
        "event_standings_as_of": "'night', now()",
        "find_competition": "'a-board'",
        "leaderboard_as_of": "'a-board', now()",
        "medal": "1, 100, 'featured'",
        "points": "1, 100, 1",
        "rating_history": "'user1'",
        "ratings": "",
        "season_standings": "'2026-01-01', '2027-01-01'",
        "movers": "'a-board', interval '1 day'",
        "rank_history": "'a-board', 1",
        "rank_history_between": "'a-board', ARRAY[1], '-infinity', 'infinity'",
        "shakeup": "'a-board'",
        "slug_of": "'a-board'",
        "team_rank": "'a-board', 1",
        "unfrozen_standings": "'night'",
        "username_of": "'user1'",
        "wait_for_sync": "'a-board'",
    }
    functions = "SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'kaggle'::regnamespace "
    may_call = "AND has_function_privilege('pgleaderboard_reader', oid, 'EXECUTE') AND prorettype <> 'trigger'::regtype"
    assert set(asked) == {name for (name,) in standby_db.execute((functions + may_call).encode()).fetchall()}
    for name, values in asked.items():
        standby_db.execute(f"SELECT * FROM kaggle.{name}({values})".encode()).fetchall()
    views = standby_db.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'kaggle'::regnamespace AND relkind = 'v'"
    )
    for (name,) in views.fetchall():
        standby_db.execute(f"SELECT * FROM kaggle.{name}".encode()).fetchall()


def test_what_cannot_work_on_a_standby_names_it(
    run: Callable[..., Any], read_url: str, pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line, of commands and in SQL; doctor says so in valid JSON."""
    (tmp_path / "people.csv").write_text("user1\n")
    commands = {
        "sync": ("sync", "a-board"),
        "add": ("add", "a-board"),
        "people": ("participants", "add", "night", str(tmp_path / "people.csv")),
        "migrate": ("migrate",),
        "backfill": ("backfill", "a-board", str(tmp_path)),
        "watch": ("status", "--watch"),
        "page": ("serve", "--port", "0"),
        "work": ("work", "--once"),
        "doctor": ("doctor", "--json"),
    }
    name = f"{pair.standby.host}:5432"
    monkeypatch.setattr("pgleaderboard.process.supervisor.WAKING", 0)
    given = {"DATABASE_URL": read_url, "KAGGLE_API_TOKEN": "t", "PGLEADERBOARD_HOME": str(tmp_path)}
    done = {command: run(*arguments, **given) for command, arguments in commands.items()}
    findings = json.loads(done.pop("doctor").stdout)["findings"]
    assert findings[0]["said"] == f"{name} is a standby, which takes no writes"
    assert "PGLEADERBOARD_READ_URL" in findings[0]["remedy"]
    for command, each in done.items():
        last = each.stderr.splitlines()[-1]
        assert (command, each.exit_code, last) == (
            command,
            1,
            f"pgleaderboard: {name} is a standby, which takes no writes: DATABASE_URL must lead to the primary",
        )
    told = printed(read_url, "SELECT kaggle.sync_now('a-board')", tmp_path)
    assert told.startswith("ERROR:  this server is a standby, which takes no writes\nHINT:  Connect to the primary.\n")


def test_doctor_examines_the_standby(
    pair: Pair, url: str, read_url: str, server_url: str, db: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is current, behind, another database, a primary, or away."""
    monkeypatch.setattr("pgleaderboard.reading.standby.PATIENCE", 0.5)

    def said(read_url: str, primary_url: str | None = url) -> tuple[str, str, str | None]:
        target = Target(url, url, False, None, "", "", 0, read_url=read_url)
        if primary_url is None:
            found = list(readers(target, None))
        else:
            with database.connect(primary_url) as primary:
                found = list(readers(target, primary))
        last = found[-1]
        assert all(each.check == "clock" and each.level == "ok" for each in found[:-1])
        return last.level, last.message, last.remedy

    name = f"{pair.standby.host}:5432"
    assert said(read_url) == ("ok", f"{name} is current", None)
    assert said(url) == ("ok", "PGLEADERBOARD_READ_URL names a primary", None)
    level, message, _ = said(read_url, None)
    assert (level, f"{name} is a standby; its last change is of " in message) == ("ok", True)
    for elsewhere in (server_url, pair.standby.url):
        level, message, _ = said(elsewhere)
        assert (level, message) == ("problem", "DATABASE_URL and PGLEADERBOARD_READ_URL name different databases")
    level, message, remedy = said(NOWHERE)
    assert (level, remedy) == ("problem", "start the server, or correct host and port in PGLEADERBOARD_READ_URL")
    pair.standby.pause()
    db.execute("INSERT INTO kaggle.participants VALUES ('user1')")
    level, message, remedy = said(read_url)
    assert (level, f"{name} is behind: its last change is of " in message) == ("warning", True)
    assert remedy is not None
    assert "pg_wal_replay_resume" in remedy


def test_a_worker_waits_on_a_standby_until_it_is_promoted(
    simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    """It logs one line, and works after the switchover."""
    caplog.set_level(logging.INFO, logger="pgleaderboard")
    with migrated_pair() as pair, copy_of(pair.template, pair.primary_url) as dsn:
        read_url = pair.read_url(dsn)
        work = Configuration(
            url=read_url,
            direct_url=read_url,
            kaggle=make_kaggle(simulator.url),
            concurrency=1,
            requests_per_minute=0,
            limit=2**20,
            runs_for=timedelta(days=30),
        )
        supervisor = Supervisor(work)
        with running(supervisor), Connection.connect(read_url, autocommit=True) as db:
            while "is a standby" not in supervisor.health.reason:
                db.execute("SELECT pg_sleep(0.05)")
            pair.standby.promote()
            eventually(db, 1, ALIVE)
        waits = [record.getMessage() for record in caplog.records if "waiting: " in record.getMessage()]
        assert len(waits) == 1, waits
