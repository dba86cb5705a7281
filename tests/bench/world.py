"""What is measured: a throwaway PostgreSQL with its data on the disk, Kaggle and workers in processes of their own."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import IO, Any
from uuid import uuid4

import psutil
import psycopg
from psycopg import sql

from pgleaderboard.database import embedded, migrate
from pgleaderboard.kaggle.client import Kaggle
from pgleaderboard.kaggle.credential import Credential
from pgleaderboard.sync import board
from pgleaderboard.sync.attempt import Syncer
from pgleaderboard.sync.store import Store
from tests.bench.boards import Board, write_zip
from tests.support.processes import Worker

LIMIT = 2**30
CREDENTIAL = Credential("the benchmark", token="bench")  # opens nothing
DISK = Path("/var/tmp")  # noqa: S108 - never a file system in memory, as /tmp may be
# What a machine of some gigabytes would be given; everything that makes a commit safe is left on.
OPTIONS = {
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "effective_cache_size": "8GB",
    "shared_preload_libraries": "pg_stat_statements",
}
COLUMNS = (
    "rank bigint, team_id bigint, team_name text, last_submission_at timestamptz, score numeric, "
    "submission_count bigint, members text"
)


@dataclass(frozen=True)
class Scale:
    """How much of everything. quick: small sizes, to try the harness out; its figures mean nothing."""

    quick: bool = False

    def of(self, full: int, quick: int) -> int:
        """A size or a number of trials."""
        return quick if self.quick else full


class Served:
    """A board as ZIP and CSV on the disk, and in the folder that Kaggle serves."""

    def __init__(self, folder: Path, name: str, csv: bytes) -> None:
        self.name = name
        self.csv = folder / f"{name}.csv"
        self.csv.write_bytes(csv)
        self.zip = write_zip(folder / f"{name}.zip", csv)


class FromDisk:
    """Stands where Kaggle stands in a sync and copies a ZIP: what is measured begins with bytes on disk."""

    fingerprint = CREDENTIAL.fingerprint

    def __init__(self) -> None:
        self.zip = Path()
        self.begun = 0.0

    def download_leaderboard(self, slug: str, archive: IO[bytes]) -> bool:
        """Copy the ZIP, and note when."""
        self.begun = time.perf_counter()
        with self.zip.open("rb") as source:
            shutil.copyfileobj(source, archive)
        return True


class Database:
    """A migrated database of its own, and a sync of its competitions in this process."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.db = psycopg.connect(url, autocommit=True)
        self._kaggle = FromDisk()
        self._worker = self.one("SELECT kaggle_internal.register_worker('bench', %s)", CREDENTIAL.fingerprint)
        self._numbers = itertools.count(1)
        self._store: Store | None = None

    def one(self, query: str, *values: Any) -> Any:
        """The only value of a query."""
        return (self.db.execute(query.encode(), values or None).fetchone() or (None,))[0]

    def insert(self, name: str) -> tuple[int, str]:
        """Another competition for that board of Kaggle's; nobody syncs it before we do. Returns its id and slug."""
        slug = f"{name}-{next(self._numbers)}"
        query = "INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES (%s) RETURNING id"
        return self.one(query, slug), slug

    def open(self) -> None:
        """Open the connection that syncs use, as a worker keeps it."""
        self._store = Store(self.url, self._worker, connections=1)
        self._store.open()

    def close(self) -> None:
        """Close everything."""
        self.close_store()
        self.db.close()

    def close_store(self) -> None:
        """Close the connection that syncs use; with it, its statistics are told."""
        if self._store:
            self._store.close()
        self._store = None

    def sync(self, competition_id: int, served: Path, outcome: str) -> float:
        """Sync as a worker does. Returns the seconds from the first byte read off the disk to the commit."""
        if self._store is None:
            self.open()
        assert self._store is not None
        self.db.execute(
            "SELECT kaggle_internal.ask_for_sync(ARRAY[%s::bigint], ARRAY['manual'], 10)", (competition_id,)
        )
        self._kaggle.zip = served
        syncer = Syncer(self._store, self._kaggle, LIMIT)  # type: ignore[arg-type]
        ending = syncer.sync(competition_id, uuid4())
        ended = time.perf_counter()
        if ending != outcome:
            raise RuntimeError(f"a sync ended as {ending}, not as {outcome}")
        return ended - self._kaggle.begun

    def empty(self) -> None:
        """Remove all boards at once, so that the next sync finds tables as the first did."""
        self.db.execute("TRUNCATE kaggle.leaderboard_entries, kaggle_internal.packs, kaggle_internal.past_names")

    def thin(self) -> None:
        """Apply history_interval, as a worker does hourly."""
        assert self._store is not None
        self._store.thin_history()

    def make_floor(self, name: str = "floor") -> None:
        """The table that COPY is measured on: logged, the same types, no index."""
        self.db.execute(f"CREATE TABLE {name} ({COLUMNS})".encode())

    def copy(self, csv: Path) -> float:
        """COPY a CSV into the emptied floor and commit. Returns the seconds."""
        self.db.execute("TRUNCATE floor")
        begun = time.perf_counter()
        with csv.open("rb") as source, self.db.cursor().copy("COPY floor FROM STDIN WITH (FORMAT csv, HEADER)") as copy:
            source.read(3)  # the byte-order mark
            while chunk := source.read(board.CHUNK):
                copy.write(chunk)
        return time.perf_counter() - begun


class World:
    """The server and what runs beside it, from `with World(...)` to its end."""

    def __init__(self, scale: Scale) -> None:
        self.scale = scale
        self._stack = contextlib.ExitStack()
        self._numbers = itertools.count(1)

    def __enter__(self) -> World:
        self.folder = Path(tempfile.mkdtemp(prefix="pgl-bench-", dir=DISK if DISK.is_dir() else None))
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.folder.chmod(0o755)  # as root, PostgreSQL runs as another user and must pass through
        self.served = self.folder / "kaggle"
        self.served.mkdir()
        try:
            self.server = self._stack.enter_context(embedded.running(self.folder / "postgres", extra_options=OPTIONS))
            embedded.ensure_database(self.server, "template")
            migrate.migrate(self.server.url("template"))
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def description(self) -> str:
        """The server in words."""
        disk = next(
            (part.fstype for part in sorted(psutil.disk_partitions(all=True), key=lambda p: -len(p.mountpoint))
             if self.folder.is_relative_to(part.mountpoint)), "?",
        )  # fmt: skip
        changed = ", ".join(f"{name}={value}" for name, value in OPTIONS.items())
        return f"PostgreSQL {self.server.version} with its data on {disk} (fsync and synchronous_commit on, {changed})"

    def board(self, teams: int) -> Board:
        """A board of so many teams; the same numbers each time."""
        return Board(teams)

    def serve(self, name: str, csv: bytes) -> Served:
        """Put a board where Kaggle and we find it."""
        return Served(self.served, name, csv)

    @contextmanager
    def database(self) -> Iterator[Database]:
        """A migrated database for the length of a block."""
        name = f"bench_{next(self._numbers)}"
        with psycopg.connect(self.server.url(), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template").format(sql.Identifier(name)))
        made = Database(self.server.url(name))
        try:
            yield made
        finally:
            made.close()
            with psycopg.connect(self.server.url(), autocommit=True) as connection:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    @contextmanager
    def kaggle(self) -> Iterator[str]:
        """Kaggle in a process of its own for the length of a block. Gives its URL."""
        process = self._start("tests.bench.kaggle", [str(self.served)], {})
        try:
            process.wait_until_it_says("\n")
            yield process.said.split()[1]
        finally:
            process.process.kill()
            process.process.wait()

    @contextmanager
    def worker(self, database: Database, kaggle_url: str, **given: str) -> Iterator[Worker]:
        """A worker process for the length of a block, once it is ready."""
        settings = {
            "DATABASE_URL": database.url,
            "PGLEADERBOARD_KAGGLE_URL": kaggle_url,
            "PGLEADERBOARD_REQUESTS_PER_MINUTE": "0",
            "PGLEADERBOARD_MAX_DOWNLOAD_MB": str(LIMIT // 2**20),
            "KAGGLE_API_TOKEN": "bench",
        }
        process = self._start("pgleaderboard", ["work"], settings | given)
        try:
            process.wait_until_it_says("worker ready", seconds=120)
            yield process
        finally:
            process.process.terminate()
            try:
                process.process.wait(20)
            except subprocess.TimeoutExpired:
                process.process.kill()
                process.process.wait()

    @contextmanager
    def process(self, module: str, *arguments: str) -> Iterator[Worker]:
        """Another module in a process of its own, killed at the end of the block."""
        process = self._start(module, list(arguments), {})
        try:
            yield process
        finally:
            process.process.kill()
            process.process.wait()

    def _start(self, module: str, arguments: list[str], settings: dict[str, str]) -> Worker:
        plain = {"PATH": os.environ.get("PATH", ""), "HOME": str(self.folder), "PYTHONUNBUFFERED": "1"}
        log = self.folder / f"process-{next(self._numbers)}.log"
        return Worker([module, *arguments], log, plain | settings)


def kaggle_client(url: str) -> Kaggle:
    """Ours, as a worker has it."""
    return Kaggle(url, CREDENTIAL, timeout=30, deadline=300, limit=LIMIT)


def wait_until(database: Database, query: str, *values: Any, limit: float = 300, pause: float = 0.002) -> Any:
    """Ask again until the query's value is true. Returns it."""
    until = time.monotonic() + limit
    while not (found := database.one(query, *values)):
        if time.monotonic() > until:
            raise TimeoutError(f"not within {timedelta(seconds=limit)}: {query}")
        time.sleep(pause)
    return found
