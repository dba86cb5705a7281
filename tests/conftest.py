"""Real servers for the tests: a PostgreSQL, a database a test, Kaggle's side of the socket, a worker.

TEST_DATABASE_URL names a PostgreSQL where databases and roles may be made; without it a throwaway embedded one runs.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pytest_postgresql import factories

from pgleaderboard.database import embedded, migrate
from pgleaderboard.process.supervisor import Supervisor, Work, running
from pgleaderboard.simulator import Simulator
from pgleaderboard.sync.store import Store
from tests.support.aliases import Connect, Connection, MakeWorker
from tests.support.kaggle import make_kaggle
from tests.support.syncs import Syncs

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session", autouse=True)
def _plain_environment() -> Iterator[None]:
    """No setting or credential of whoever runs the tests reaches them."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as home:
        for name in list(os.environ):
            if name.startswith(("KAGGLE_", "PGLEADERBOARD_")) or name == "DATABASE_URL":
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
def pg_server(server_url: str) -> SimpleNamespace:
    """The server as pytest-postgresql wants to be told of it."""
    parts = conninfo_to_dict(server_url)
    return SimpleNamespace(
        host=parts.get("host"),
        port=parts.get("port", 5432),
        user=parts.get("user"),
        password=parts.get("password"),
        options="",
        maintenance_dbname=parts.get("dbname", "postgres"),
        template_dbname=None,
    )


def _migrate(**where: Any) -> None:
    where.pop("autocommit", None)
    migrate.migrate(make_conninfo(**{name: value for name, value in where.items() if value is not None}))


migrated = factories.postgresql_noproc(depends_on="pg_server", dbname=f"pgl_{os.getpid()}", load=[_migrate])
_cloned = factories.postgresql("migrated")


@pytest.fixture
def empty_database(server_url: str) -> Iterator[str]:
    """DSN of a database with nothing in it."""
    name = f"pgl_{os.getpid()}_{next(_NUMBERS)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(sql.Identifier(name))
        )
        yield make_conninfo(server_url, dbname=name)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def db(_cloned: Connection) -> Connection:
    """A connection in autocommit to a fresh, migrated database."""
    _cloned.autocommit = True
    return _cloned


@pytest.fixture
def url(db: Connection, server_url: str) -> str:
    """DSN of that database."""
    return make_conninfo(server_url, dbname=db.info.dbname)


@pytest.fixture
def connect(url: str) -> Iterator[Connect]:
    """Opens more connections to that database, not in autocommit; they are closed afterwards."""
    opened: list[Connection] = []

    def one() -> Connection:
        opened.append(psycopg.connect(url))
        return opened[-1]

    yield one
    for each in opened:
        each.close()


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """Kaggle's side of the socket; its boards stand still until they are advanced."""
    with Simulator(speed=0) as running_simulator:
        yield running_simulator


@pytest.fixture
def worker(url: str, simulator: Simulator) -> MakeWorker:
    """Makes a worker that runs for the length of a with block; keywords change what it is told (see Work)."""

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
        return running(Supervisor(Work(**(told | changes))))

    return make


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """A store with one connection, so that every call meets what the call before left behind."""
    opened = Store(url, connections=1)
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
