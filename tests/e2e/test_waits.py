"""Every wait for the server ends: hosts and connections that say nothing, refusals, and SIGTERM meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgleaderboard.database.connect import connect, conninfo, explained
from pgleaderboard.errors import NeedsPerson, PgleaderboardError, Transient
from pgleaderboard.process.session import Configuration
from pgleaderboard.process.supervisor import Supervisor
from pgleaderboard.web.reader import Reader
from tests.support.aliases import Connection, MakeWorker
from tests.support.asking import OTHER, SLUG, eventually, insert, runs, synced, value
from tests.support.faults import Simulator
from tests.support.kaggle import make_kaggle
from tests.support.proxy import Proxy

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A host that accepts connections, and says nothing on them."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(100)
        yield listening


@pytest.fixture
def proxy(db: Connection, tmp_path: Path) -> Iterator[Proxy]:
    """A proxy before the server; its folder is `tmp_path`."""
    host = str(db.info.host)
    if not host.startswith("/"):
        pytest.skip("the server has no Unix socket that a proxy could stand before")
    name = f".s.PGSQL.{db.info.port}"
    made = Proxy(Path(host) / name, tmp_path / name)
    yield made
    made.close()


def supervisor(url: str, simulator: Simulator, direct_url: str | None = None) -> Supervisor:
    """A worker."""
    return Supervisor(
        Configuration(
            url,
            direct_url or url,
            make_kaggle(simulator.url),
            concurrency=4,
            requests_per_minute=0,
            limit=2**28,
            runs_for=timedelta(days=30),
        )
    )


@contextmanager
def process(simulator: Simulator, *arguments: str, **given: str) -> Iterator[subprocess.Popen[str]]:
    """`pgleaderboard` with these arguments; it is killed if it has not ended by the end of the block."""
    started = subprocess.Popen(
        [sys.executable, "-m", "pgleaderboard", *arguments],
        env=os.environ | {"PGLEADERBOARD_KAGGLE_URL": simulator.url, "KAGGLE_API_TOKEN": "x"} | given,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        yield started
    finally:
        if started.poll() is None:
            started.kill()
        started.communicate()


def wait_for(started: subprocess.Popen[str], words: str) -> None:
    """Read its log until the words come."""
    assert started.stderr is not None
    seen = ""
    for line in started.stderr:
        seen += line
        if words in line:
            return
    raise AssertionError(seen)


def test_a_host_that_says_nothing_is_passed_by(
    url: str, db: Connection, worker: MakeWorker, silent: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several hosts the first may be dead: the next one is asked in time, and first by all further connections."""
    monkeypatch.setattr("pgleaderboard.database.connect._ONE_OF_MANY", 1)
    both = make_conninfo(url, host=f"127.0.0.1,{db.info.host}", port=f"{silent.getsockname()[1]},{db.info.port}")
    with worker(url=both, direct_url=both):
        insert(db)
        assert synced(db) == ("inserted", "changed")
    silent.setblocking(False)
    asked = 0
    while True:
        try:
            silent.accept()[0].close()
        except BlockingIOError:
            break
        asked += 1
    assert asked <= 1


def test_a_host_that_says_nothing_is_asked_once(
    url: str, silent: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command opens several connections, and waits for it but once: the server that answered goes first."""
    monkeypatch.setattr("pgleaderboard.database.connect._answered", set())
    parts = conninfo_to_dict(url)
    mine = str(parts.get("hostaddr") or parts.get("host") or "localhost")
    both = make_conninfo(
        url, host=f"127.0.0.1,{mine}", port=f"{silent.getsockname()[1]},{parts.get('port', 5432)}", connect_timeout="2"
    )
    for _ in range(3):
        connect(both).close()
    silent.setblocking(False)
    silent.accept()[0].close()
    with pytest.raises(BlockingIOError):
        silent.accept()


def test_a_name_with_two_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is two hosts: each gets three seconds, and the address that answered goes first."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (number, 0)) for number in ("192.0.2.1", "192.0.2.2")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert conninfo_to_dict(conninfo("postgresql://db.example/x", ""))["connect_timeout"] == "3"
    parts = conninfo_to_dict(conninfo("postgresql://db.example/x", "", first=("192.0.2.2", 5432)))
    assert (parts["host"], parts["hostaddr"]) == ("db.example,db.example", "192.0.2.2,192.0.2.1")


def test_one_host_gets_time_to_wake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Databases that sleep take long; what the URL says, or libpq's variable, goes before."""
    assert conninfo_to_dict(conninfo("host=192.0.2.1", ""))["connect_timeout"] == "30"
    assert conninfo_to_dict(conninfo("host=192.0.2.1,192.0.2.2", ""))["connect_timeout"] == "3"
    assert conninfo_to_dict(conninfo("host=192.0.2.1 connect_timeout=7", ""))["connect_timeout"] == "7"
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "9")
    assert "connect_timeout" not in conninfo_to_dict(conninfo("host=192.0.2.1", ""))


@pytest.mark.parametrize("way", ["direct", "pool", "both"])
def test_connections_that_say_nothing_are_replaced(
    way: str,
    url: str,
    db: Connection,
    worker: MakeWorker,
    proxy: Proxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A frozen server, or a proxy that keeps connections to one that is gone: a new session begins, and syncs go on."""
    monkeypatch.setattr("pgleaderboard.process.session.SILENCE", 0.5)
    monkeypatch.setattr("pgleaderboard.process.session.HEARTBEAT", 0.1)
    through = make_conninfo(url, host=str(tmp_path))
    with worker(url=url if way == "direct" else through, direct_url=url if way == "pool" else through):
        insert(db)
        synced(db)
        first = value(db, "SELECT max(worker_id) FROM kaggle.workers")
        eventually(db, 0, "SELECT count(*) FROM procrastinate.procrastinate_jobs WHERE status = 'doing'")
        proxy.freeze()  # while a board is written, a pool is given a minute
        eventually(db, True, "SELECT max(worker_id) > %s FROM kaggle.workers", first)
        insert(db, OTHER)
        assert synced(db, OTHER) == ("inserted", "changed")


def test_a_statement_that_is_never_answered_ends(url: str, proxy: Proxy, tmp_path: Path) -> None:
    """Without a heartbeat beside it, too: a command's connection is given up."""
    connection = connect(make_conninfo(url, host=str(tmp_path)))
    proxy.freeze()
    connection.patience = 0.2
    with pytest.raises(psycopg.OperationalError, match=r"has not answered for 0\.2 s"):
        connection.execute("SELECT 1")
    assert connection.closed


def test_what_the_page_reads_is_read_elsewhere(url: str, proxy: Proxy, tmp_path: Path) -> None:
    """A server is known to be gone, while a read waits for its answer: it is made anew, on another connection."""
    asking = threading.Event()

    def one(connection: Connection) -> int:
        asking.set()
        answer: int = value(connection, "SELECT 1")
        return answer

    async def read() -> None:
        reader = Reader(make_conninfo(url, host=str(tmp_path)), threads=1, waiting=1)
        assert await reader.read("before", one) == (1, None)
        proxy.freeze()
        asking.clear()
        answer = asyncio.ensure_future(reader.read("after", one))
        await asyncio.to_thread(asking.wait)
        reader.hang_up()
        assert await asyncio.wait_for(answer, 10) == (1, None)
        reader.close()

    asyncio.run(read())


@pytest.mark.parametrize("at", ["start", "work"])
def test_sigterm_while_the_server_says_nothing(
    at: str, url: str, proxy: Proxy, simulator: Simulator, tmp_path: Path
) -> None:
    """It ends with status 0, within the ten seconds that a container gets."""
    if at == "start":
        proxy.freeze_what_comes()
    with process(simulator, "work", DATABASE_URL=make_conninfo(url, host=str(tmp_path))) as started:
        wait_for(started, "PostgreSQL of DATABASE_URL" if at == "start" else "worker ready")
        if at == "start":
            proxy.met.wait(30)
        proxy.freeze()
        started.send_signal(signal.SIGTERM)
        assert started.wait(15) == 0


def test_a_screen_whose_server_says_nothing(
    url: str, db: Connection, proxy: Proxy, simulator: Simulator, tmp_path: Path
) -> None:
    """It says so, and follows the syncs again on another connection."""
    with process(simulator, "status", "--watch", DATABASE_URL=make_conninfo(url, host=str(tmp_path))) as started:
        eventually(db, True, "SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE 'SELECT 1' AND pid <> %s", 0)
        proxy.freeze()
        wait_for(started, "connection lost, reconnecting: the server has not answered for 5 s")
        wait_for(started, "reconnected after")


# Refusals.


def refused(url: str, **changes: Any) -> PgleaderboardError:
    """How a connection that is refused is told."""
    with pytest.raises(psycopg.OperationalError) as caught:
        connect(make_conninfo(url, **changes))
    return explained(caught.value)


def test_a_refusal_is_decided_by_its_sqlstate(url: str, db: Connection) -> None:
    """Of those that a person must mend waiting does not help, whatever language the server speaks."""
    name = conninfo_to_dict(url)["dbname"]
    role = f"limited_{os.getpid()}"
    db.execute(f"CREATE ROLE {role} NOLOGIN")
    try:
        for kind, words, change in (
            (NeedsPerson, "nobody_here", "SELECT 1"),
            (NeedsPerson, "not permitted to log in", "SELECT 1"),
            (
                NeedsPerson,
                "permission denied for database",
                f"ALTER ROLE {role} LOGIN; REVOKE CONNECT ON DATABASE {name} FROM PUBLIC",
            ),
            (
                Transient,
                "too many connections for role",
                f"GRANT CONNECT ON DATABASE {name} TO PUBLIC; ALTER ROLE {role} CONNECTION LIMIT 0",
            ),
        ):
            db.execute(change)
            told = refused(url, user="nobody_here" if words == "nobody_here" else role)
            assert (type(told), words in str(told)) == (kind, True), told
        assert type(refused(url, dbname="nothing_here")) is NeedsPerson
        assert type(refused(url, host="/nowhere")) is Transient
    finally:
        db.execute(f"GRANT CONNECT ON DATABASE {name} TO PUBLIC; DROP ROLE {role}")


@pytest.mark.parametrize("once", [True, False])
def test_a_url_that_is_refused_beside_one_that_works(
    url: str, db: Connection, simulator: Simulator, once: bool
) -> None:
    """DATABASE_URL alone is wrong: one line with the server's words, and no worker that looks alive."""
    worker = supervisor(make_conninfo(url, dbname="nothing_here"), simulator, direct_url=url)
    with pytest.raises(NeedsPerson, match=r'cannot connect: database "nothing_here" does not exist'):
        asyncio.run(worker.run(once=once))
    assert value(db, "SELECT count(*) FROM kaggle_internal.worker_processes") == 0


def test_a_role_without_rights(url: str, db: Connection, simulator: Simulator) -> None:
    """The worker says which are missing and what gives them, instead of never ending."""
    role = f"idle_{os.getpid()}"
    db.execute(f"CREATE ROLE {role} LOGIN; GRANT pgleaderboard_reader TO {role}")
    db.execute(f"GRANT USAGE ON SCHEMA kaggle_internal TO {role}")
    db.execute(f"GRANT SELECT ON kaggle_internal.applied_files TO {role}")
    try:
        insert(db)
        worker = supervisor(make_conninfo(url, user=role), simulator, direct_url=url)
        with pytest.raises(NeedsPerson, match=f'have the owner run GRANT pgleaderboard_worker TO "{role}"'):
            asyncio.run(worker.run(once=True))
    finally:
        db.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_once_ends_where_no_sync_can_begin(url: str, db: Connection, simulator: Simulator) -> None:
    """Something of the user's refuses each beginning: that is said, and the next run of cron tries again."""
    insert(db)
    db.execute(
        "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'not today'; END $$; "
        "CREATE TRIGGER refuse BEFORE UPDATE ON kaggle_internal.sync_state "
        "FOR EACH ROW EXECUTE FUNCTION public.refuse()"
    )
    with pytest.raises(PgleaderboardError, match="not today"):
        asyncio.run(supervisor(url, simulator).run(once=True))
    assert runs(db, SLUG) == []


@pytest.mark.parametrize("name", ["pgbouncer", "schema"])
def test_a_parameter_of_another_program_in_the_url_is_named(name: str) -> None:
    """libpq knows it not; nothing else of the URL is repeated."""
    with pytest.raises(NeedsPerson, match=f"has the parameter {name}, which") as caught:
        connect(f"postgresql://u:secret@db.example/x?sslmode=require&{name}=true")
    assert "secret" not in str(caught.value)
    with pytest.raises(NeedsPerson, match="percent-encoded"):
        connect("postgresql://u:s3c?ret=p@db.example:1x/y")
