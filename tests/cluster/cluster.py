"""The cluster: three nodes, HAProxy before them, and a record of who was the primary when."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, LiteralString

import psycopg

from pgleaderboard.database.connect import Connection, connect
from tests.cluster.network import ENDS_WITH_US, Network
from tests.cluster.node import ADDRESSES, HERE, PASSWORD, USER, Node
from tests.support.processes import wait_for

LOOK_EVERY = 0.05  # seconds between looks whether a server is the primary
SUPERUSER = "postgres"


EVERY_HOST = ",".join(ADDRESSES.values())


def url_of(host: str, role: str, database: str) -> str:
    """A URL; of several hosts, with commas between."""
    return f"postgresql://{role}:{PASSWORD}@{host}/{database}"


@dataclass
class Reigns(threading.Thread):
    """Asks one server without end whether it takes writes, and notes since when: in seconds since 1970."""

    node: Node
    since: list[tuple[float, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(name=f"looks at {self.node.name}", daemon=True)
        self.ending = threading.Event()

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        """Look until it is ended."""
        connection: Connection | None = None
        url = url_of(self.node.address, SUPERUSER, "postgres")
        while not self.ending.wait(LOOK_EVERY):
            try:
                if connection is None or connection.closed:
                    connection = connect(url, connect_timeout=2, reads=True)
                connection.patience = 1
                (is_primary,) = connection.execute("SELECT NOT pg_is_in_recovery()").fetchone() or (False,)
            except psycopg.Error:
                is_primary = False
            if not self.since or self.since[-1][1] != is_primary:
                self.since.append((time.time(), is_primary))
        if connection is not None:
            connection.close()


class Cluster:
    """Everything between `with Cluster()` and its end. PostgreSQL's data is in memory where that is a file system."""

    def __init__(self) -> None:
        memory = Path("/dev/shm")  # noqa: S108 - a file system in memory, where there is one
        parent = memory if os.access(memory, os.W_OK) else None
        self.folder = Path(tempfile.mkdtemp(prefix="pgl-cluster-", dir=parent))
        self.folder.chmod(0o755)  # PostgreSQL runs as another user and must pass through
        self.nodes = [Node(name, self.folder) for name in ADDRESSES]
        self.primary = self.nodes[0]  # that all agreed on last
        self._stack = ExitStack()
        self._looks: list[Reigns] = []

    def __enter__(self) -> Cluster:
        try:
            self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            self._stack.enter_context(Network())
            for node in self.nodes:
                self._stack.callback(node.die)
                node.boot()
            self.wait_until_whole(120)
            self._start("haproxy.log", "haproxy", "-db", "-f", str(HERE / "haproxy.cfg"))
            self._looks = [Reigns(node) for node in self.nodes]
            for look in self._looks:
                self._stack.callback(look.join, 10)
                self._stack.callback(look.ending.set)
                look.start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _start(self, log: str, *command: str) -> None:
        path = os.environ.get("PATH", "") + ":/usr/sbin"
        with (self.folder / log).open("wb") as out:
            started = subprocess.Popen(
                [*ENDS_WITH_US, *command], stdout=out, stderr=out, process_group=0, env=os.environ | {"PATH": path}
            )
        self._stack.callback(started.wait)
        self._stack.callback(started.kill)

    def start_pgbouncer(self, roles: Iterable[str]) -> None:
        """Start PgBouncer before HAProxy, for these roles."""
        folder = self.folder / "pooler"
        folder.mkdir()
        shutil.copy(HERE / "pgbouncer.ini", folder)
        (folder / "userlist.txt").write_text("".join(f'"{role}" "{PASSWORD}"\n' for role in roles))
        user = f"--reuid={USER} --regid={USER} --init-groups"  # it refuses to run as root
        steps = f"mount --bind {folder} /etc/pgbouncer && exec setpriv {user} pgbouncer /etc/pgbouncer/pgbouncer.ini"
        self._start("pgbouncer.log", "unshare", "--mount", "sh", "-c", steps)

    # Who is who

    def wait_until_whole(self, seconds: float = 150) -> None:
        """Wait until all agree on a primary and two standbys that stream from it, and where it matters synchronously.

        One that was frozen believes for a moment that it still is the primary.
        """

        def agreed() -> Node | None:
            leaders = set()
            for node in self.nodes:
                _, state = node.ask("cluster")
                members = state.get("members", [])
                roles = sorted(member["role"] for member in members if member["state"] in ("running", "streaming"))
                lags = [member.get("lag", 0) for member in members if member["role"] != "leader"]
                wanted = ["leader", "replica", "sync_standby" if self._is_synchronous(node) else "replica"]
                if roles != wanted or not all(isinstance(lag, int) and lag < 10**7 for lag in lags):
                    return None
                leaders |= {member["name"] for member in members if member["role"] == "leader"}
            (first, *others) = (node for node in self.nodes if node.name in leaders)
            follows = all(node.is_replica for node in self.nodes if node is not first)
            return first if not others and first.is_primary and follows else None

        found = wait_for(agreed, seconds, lambda: f"a primary and two standbys: {self.last_words}")
        assert found is not None
        self.primary = found

    def _is_synchronous(self, node: Node) -> bool:
        """Whether a COMMIT waits for a standby."""
        return bool(node.ask("config")[1].get("synchronous_mode"))

    def replicate(self, *, synchronously: bool) -> None:
        """Have a COMMIT wait for a standby, or not."""
        self.primary.demand("config", "PATCH", {"synchronous_mode": synchronously})
        self.wait_until_whole()

    def promotion_after(self, moment: float, seconds: float, *, other_than: Node | None = None) -> tuple[Node, float]:
        """Wait for the first server that becomes the primary after a moment; give it, and when that was."""

        def promoted() -> tuple[Node, float] | None:
            found = [
                (since, look.node)
                for look in self._looks
                for since, is_primary in list(look.since)
                if is_primary and since > moment and look.node is not other_than
            ]
            return min(found, key=lambda each: each[0])[::-1] if found else None

        answer = wait_for(promoted, seconds, lambda: f"a new primary: {self.last_words}")
        assert answer is not None
        return answer

    def is_without_primary(self) -> bool:
        """Whether no server takes writes, as far as one can see from here."""
        return all(look.since and not look.since[-1][1] for look in self._looks)

    def sql(self, database: str, query: LiteralString, *values: Any, node: Node | None = None) -> list[Any]:
        """Run a statement as the superuser, in autocommit; without a node on the primary that all agreed on last."""
        url = url_of((node or self.primary).address, SUPERUSER, database)
        with contextlib.closing(connect(url, connect_timeout=2, reads=node is not None)) as connection:
            connection.patience = 120
            cursor = connection.execute(query, values or None)
            return cursor.fetchall() if cursor.description else []

    @property
    def last_words(self) -> str:
        """The ends of all logs."""
        return "\n".join(f"-- {node.name}\n{node.last_words}" for node in self.nodes)
