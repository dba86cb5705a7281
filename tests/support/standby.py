"""A primary and its hot standby, made of the embedded PostgreSQL."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgleaderboard.database import cluster, embedded, migrate
from pgleaderboard.database.connect import Connection, connect, value
from tests.support.databases import copy_of
from tests.support.proxy import Proxy

_OPTIONS = {"fsync": "off", "max_connections": "100", "wal_level": "replica", "hot_standby": "on"}


@dataclass
class Standby:
    """A hot standby of a server. url: of database `postgres`."""

    home: Path
    bin_dir: Path
    account: cluster.Account
    primary_url: str

    @property
    def url(self) -> str:
        """The URL of its socket, which a multi-host URL cannot hold: see `host`."""
        return f"host={self.host} port=5432 user=postgres dbname=postgres"

    @property
    def host(self) -> Path:
        """The folder of its socket."""
        return self.home / "socket"

    def start(self) -> None:
        """Start it; it accepts connections then, whether or not there is a primary."""
        options = " ".join(
            f"-c {name}={setting}"
            for name, setting in (_OPTIONS | {"unix_socket_directories": self.host, "listen_addresses": "''"}).items()
        )
        self._ctl("-l", self.home / "data" / "log", "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop it."""
        self._ctl("-m", mode, "stop")

    def promote(self) -> None:
        """Make it a primary, on a timeline of its own."""
        self._ctl("promote")

    def crash_primary(self) -> None:
        """End the primary as a crash does."""
        self._ctl("-m", "immediate", "stop", data=self.home.parent / "primary" / "data")

    def take_over(self) -> None:
        """Have the primary crash, and be the next one."""
        self.crash_primary()
        self.promote()

    @property
    def either(self) -> str:
        """The URL of whichever of the two is the primary."""
        return (
            f"host={self.home.parent / 'primary' / 'socket'},{self.host} port=5432,5432 user=postgres dbname=postgres"
        )

    def caught_up(self) -> None:
        """Wait until it has replayed what the primary has written by now."""
        with connect(self.primary_url) as primary:
            lsn = value(primary, "SELECT pg_current_wal_flush_lsn()::text")
        with connect(self.url, reads=True) as standby:
            _wait(standby, "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", lsn)

    def pause(self) -> None:
        """Have it replay nothing more until `resume`."""
        with connect(self.url, reads=True) as standby:
            value(standby, "SELECT pg_wal_replay_pause()")
            _wait(standby, "SELECT pg_get_wal_replay_pause_state() = 'paused'")

    def resume(self) -> None:
        """Have it replay again."""
        with connect(self.url, reads=True) as standby:
            value(standby, "SELECT pg_wal_replay_resume()")

    def _ctl(self, *arguments: Path | str, data: Path | None = None) -> None:
        command = [self.bin_dir / "pg_ctl", "-s", "-w", "-D", data or self.home / "data", *arguments]
        done = cluster.run(command, self.account, stdout=-3)  # DEVNULL: the server keeps a pipe open
        assert done.returncode == 0, done.stderr


@dataclass
class Pair:
    """A primary and its standby. template: the name of a migrated database to copy."""

    primary_url: str
    standby: Standby
    template: str

    def read_url(self, url: str) -> str:
        """Where the standby has the database of a URL, once it has replayed what there is."""
        self.standby.caught_up()
        return make_conninfo(self.standby.url, dbname=str(conninfo_to_dict(url)["dbname"]))


@contextmanager
def migrated_pair() -> Iterator[Pair]:
    """Run a primary with a migrated database, and its standby, for the length of a block."""
    with replicated() as (url, standby), copy_of("template0", url) as dsn:
        migrate.migrate(dsn)
        yield Pair(url, standby, str(conninfo_to_dict(dsn)["dbname"]))


@contextmanager
def cut_off(url: str, folder: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """The URL of a database behind a proxy, and what cuts it off for good."""
    socket = Path(str(conninfo_to_dict(url)["host"])) / ".s.PGSQL.5432"
    proxy = Proxy(socket, folder / ".s.PGSQL.5432")
    try:
        yield make_conninfo(url, host=str(folder)), proxy.close
    finally:
        proxy.close()


def _wait(connection: Connection, query: str, *values: object) -> None:
    """Ask until it is so; there is no event for it."""
    while connection.execute(query.encode(), values or None).fetchone() != (True,):
        connection.execute("SELECT pg_sleep(0.01)")


@contextmanager
def replicated() -> Iterator[tuple[str, Standby]]:
    """Run a primary and a standby for the length of a block. Gives the primary's URL and the standby."""
    memory = Path("/dev/shm")  # noqa: S108 - a file system in memory, where there is one
    home = Path(tempfile.mkdtemp(prefix="pgl-pair-", dir=memory if os.access(memory, os.W_OK) else None))
    home.chmod(0o755)  # as root, PostgreSQL runs as another user and must pass through
    try:
        with embedded.running(home / "primary", extra_options=_OPTIONS) as server:
            account = cluster.account_for(server.data)
            bin_dir = cluster.runnable_binaries(None, account)
            standby = Standby(home / "standby", bin_dir, account, server.url())
            for folder in (standby.home, standby.host):
                folder.mkdir()
                if account:
                    os.chown(folder, account.pw_uid, account.pw_gid)
            copy = [bin_dir / "pg_basebackup", "-R", "-c", "fast", "-d", server.url(), "-D", standby.home / "data"]
            done = cluster.run(copy, account)
            assert done.returncode == 0, done.stderr
            standby.start()
            try:
                yield server.url(), standby
            finally:
                standby.stop("immediate")
    finally:
        shutil.rmtree(home, ignore_errors=True)
