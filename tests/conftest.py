"""Real servers for the tests: a PostgreSQL, a database a test, Kaggle's side of the socket, a worker.

TEST_DATABASE_URL names a PostgreSQL where databases and roles may be made; without it a throwaway embedded one runs.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from pgleaderboard.database import embedded, migrate
from pgleaderboard.process.session import Configuration
from pgleaderboard.process.supervisor import Supervisor, running
from pgleaderboard.sync.store import Store
from tests.support.aliases import Connect, Connection, MakeWorker
from tests.support.asking import value
from tests.support.databases import copy_of
from tests.support.faults import Simulator
from tests.support.kaggle import make_kaggle
from tests.support.standby import Pair, migrated_pair
from tests.support.syncs import WORKER, Syncs

OTHERS = ("DATABASE_URL", "COLUMNS", "LINES", "NO_COLOR", "PAGER", "LESS")  # variables


@pytest.hookimpl(optionalhook=True)  # without the plugin nobody asks
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: half of the tests wait for something most of their time."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(scope="session", autouse=True)
def _plain_environment() -> Iterator[None]:
    """No setting or credential of whoever runs the tests reaches them, nor what changes a terminal."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as home:
        for name in list(os.environ):
            if name.startswith(("KAGGLE_", "PGLEADERBOARD_")) or name in OTHERS:
                patch.delenv(name)
        patch.setenv("HOME", home)
        yield


@pytest.fixture(scope="session")
def server_url(_plain_environment: None) -> Iterator[str]:
    """URL of a server where databases may be made: TEST_DATABASE_URL, else a throwaway one."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield given
        return
    memory = Path("/dev/shm")  # noqa: S108 - a file system in memory, where there is one
    home = Path(tempfile.mkdtemp(prefix="pgl-", dir=memory if os.access(memory, os.W_OK) else None))
    home.chmod(0o755)  # as root, PostgreSQL runs as another user and must pass through
    try:
        with embedded.running(home, extra_options={"fsync": "off", "max_connections": "200"}) as server:
            yield server.url()
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def template(server_url: str) -> Iterator[str]:
    """Name of a migrated database to copy: TEST_TEMPLATE, which is there already, else one of our own."""
    if given := os.environ.get("TEST_TEMPLATE"):
        yield given
        return
    with copy_of("template0", server_url) as dsn:
        migrate.migrate(dsn)
        with Connection.connect(dsn, autocommit=True) as connection:
            # Once here, not in each copy that reads them. Tables of ours stay as they are after an installation.
            catalogues = "SELECT string_agg(oid::regclass::text, ',') FROM pg_class WHERE oid < 16384 AND relkind = 'r'"
            connection.execute(f"VACUUM (FREEZE) {value(connection, catalogues)}")
        yield str(conninfo_to_dict(dsn)["dbname"])


@pytest.fixture(scope="session")
def pair(_plain_environment: None) -> Iterator[Pair]:
    """A primary and its hot standby; who pauses the replay resumes it."""
    with migrated_pair() as made:
        yield made


@pytest.fixture
def empty_database(server_url: str) -> Iterator[str]:
    """DSN of a database with nothing in it."""
    with copy_of("template0", server_url) as dsn:
        yield dsn


@pytest.fixture
def url(template: str, server_url: str) -> Iterator[str]:
    """DSN of a fresh, migrated database."""
    with copy_of(template, server_url) as dsn:
        yield dsn


@pytest.fixture
def db(url: str) -> Iterator[Connection]:
    """A connection in autocommit to that database."""
    with Connection.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def connect(url: str) -> Iterator[Connect]:
    """Opens more connections to that database, not in autocommit; they are closed afterwards."""
    opened: list[Connection] = []

    def one() -> Connection:
        opened.append(Connection.connect(url))
        return opened[-1]

    yield one
    for each in opened:
        each.close()


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """Kaggle's side of the socket; its boards stand still until they are advanced."""
    with Simulator() as running_simulator:
        yield running_simulator


@pytest.fixture
def worker(url: str, simulator: Simulator) -> MakeWorker:
    """Makes a worker that runs for the length of a with block; keywords change what it is told (see Configuration)."""

    def make(**changes: Any) -> AbstractContextManager[None]:
        told: dict[str, Any] = {
            "url": url,
            "direct_url": url,
            "kaggle": make_kaggle(simulator.url),
            "concurrency": 4,
            "requests_per_minute": 0,
            "limit": 2**28,
            "runs_for": timedelta(days=30),
        }
        return running(Supervisor(Configuration(**(told | changes))))

    return make


@pytest.fixture
def many_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker sweeps all the time, and each sweep also looks for what arrived without triggers."""
    monkeypatch.setattr("pgleaderboard.process.session.SWEEP_EVERY", 0.1)
    monkeypatch.setattr("pgleaderboard.process.session.THOROUGH_EVERY", 0.0)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """A store with one connection, so that every call meets what the call before left behind."""
    opened = Store(url, WORKER, connections=1)
    opened.open()
    yield opened
    opened.close()


@pytest.fixture
def compete(db: Connection, store: Store) -> Callable[..., Syncs]:
    """Inserts a competition that is synced by hand only; columns may be given."""
    db.execute("SELECT kaggle_internal.register_worker('test', 'credential')")

    def insert(slug: str = "a-board", **columns: Any) -> Syncs:
        given = {"kaggle_competition_id": slug, "auto_sync": False} | columns
        row = db.execute(
            f"INSERT INTO kaggle.competitions ({', '.join(given)}) VALUES ({', '.join(['%s'] * len(given))}) "
            "RETURNING id",
            list(given.values()),
        ).fetchone()
        assert row is not None
        return Syncs(db, store, row[0])

    return insert


@pytest.fixture
def syncs(compete: Callable[..., Syncs]) -> Syncs:
    """A competition that is synced by hand only."""
    return compete()
