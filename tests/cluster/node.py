"""A node of the cluster: etcd, Patroni and the PostgreSQL that Patroni runs."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shutil
import signal
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import psutil

from tests.cluster.network import Machine
from tests.support.processes import Broken, wait_for

HERE = Path(__file__).resolve().parent
ADDRESSES = {"node1": "10.77.0.11", "node2": "10.77.0.12", "node3": "10.77.0.13"}
PASSWORD = "of-the-tests"
USER = "postgres"  # Debian's package makes it; etcd and Patroni run as it, too, to need no other one
BIN = Path("/usr/lib/postgresql/15/bin")
PATRONI = Path("/usr/lib/python3/dist-packages/patroni")  # Debian's; ours is seen in its place, and uses what it uses
PROGRAMS = ("patroni", "etcd", "haproxy", "ip", "nsenter", "setpriv", "unshare")


def missing() -> str | None:
    """What of the programs is not installed; None: nothing."""
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    lacking = [program for program in PROGRAMS if not shutil.which(program, path=path)]
    lacking += [] if BIN.exists() else ["PostgreSQL 15"]
    packages = "apt install patroni python3-etcd etcd-server haproxy iproute2 postgresql-15"
    return f"{', '.join(lacking)} (Debian 12: {packages})" if lacking else None


class Node:
    """One of three."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.address = name, ADDRESSES[name]
        self._folder = folder / name
        data, etcd = self._folder / "postgresql", self._folder / "etcd"
        for made in (data, etcd):
            made.mkdir(parents=True)
            shutil.chown(made, USER, USER)
        etcd.chmod(0o700)
        # Paths as they are on a machine of its own.
        ours = importlib.util.find_spec("patroni")
        assert ours is not None
        assert ours.origin is not None
        mounts = {Path("/var/lib/postgresql"): data, Path("/mnt"): etcd, PATRONI: Path(ours.origin).parent}
        self._machine = Machine(name, self.address, mounts, self._folder / "machine.log")

    # Its life

    def boot(self) -> None:
        """Start it with all that runs on it."""
        self._machine.boot()
        self.start_etcd()
        self.start_patroni()

    def start_etcd(self) -> None:
        """Start its member of etcd."""
        peer, client = f"http://{self.address}:2380", f"http://{self.address}:2379"
        self._machine.start(
            *("etcd", "--name", self.name, "--data-dir", "/mnt/data"),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--initial-cluster", ",".join(f"{name}=http://{at}:2380" for name, at in ADDRESSES.items())),
            user=USER,
            log=self._folder / "etcd.log",
            settings={},
        )

    def start_patroni(self) -> None:
        """Start Patroni, which starts PostgreSQL."""
        settings = {
            "PATRONI_NAME": self.name,
            "PATRONI_RESTAPI_CONNECT_ADDRESS": f"{self.address}:8008",
            "PATRONI_POSTGRESQL_CONNECT_ADDRESS": f"{self.address}:5432",
            "PATRONI_SUPERUSER_PASSWORD": PASSWORD,
            "PATRONI_REPLICATION_PASSWORD": PASSWORD,
        }
        configuration = str(HERE / "patroni.yml")
        self._machine.start("patroni", configuration, user=USER, log=self._folder / "patroni.log", settings=settings)

    def die(self) -> None:
        """End all its processes at once: the machine is gone, its address answers with resets."""
        self._machine.die()

    def kill(self, *names: str) -> None:
        """SIGKILL its processes of these names."""
        self._signal(signal.SIGKILL, *names)
        wait_for(lambda: not self._machine.processes(*names), 10, f"{names} of {self.name} end")

    def freeze(self) -> None:
        """SIGSTOP PostgreSQL and Patroni: the kernel goes on to accept connections and to acknowledge."""
        self._signal(signal.SIGSTOP, "patroni", "postgres")

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT, "patroni", "postgres")

    def _signal(self, number: signal.Signals, *names: str) -> None:
        for _ in range(2):  # a second time for what was started meanwhile
            for process in self._machine.processes(*names):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(number)

    def connect(self, is_connected: bool) -> None:
        """Join its network to the others', or cut it off."""
        self._machine.connect(is_connected)

    # Patroni's REST API

    def ask(
        self, path: str, method: str = "GET", body: object = None, seconds: float = 1
    ) -> tuple[int, dict[str, Any]]:
        """Status and answer of a request; status 0 where there is no answer."""
        request = urllib.request.Request(
            f"http://{self.address}:8008/{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:  # noqa: S310
                return answer.status, _read(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _read(error.read())
        except OSError:
            return 0, {}

    def demand(self, path: str, method: str, body: object, seconds: float = 60) -> None:
        """A request that must succeed."""
        status, answer = self.ask(path, method, body, seconds)
        if status != 200:
            raise Broken(f"{method} {path} of {self.name}: {status} {answer}")

    @property
    def is_primary(self) -> bool:
        """Whether Patroni says so."""
        return self.ask("primary")[0] == 200

    @property
    def is_replica(self) -> bool:
        """Whether Patroni says that it is a standby which follows."""
        return self.ask("replica")[0] == 200

    @property
    def last_words(self) -> str:
        """The ends of its logs."""
        logs = sorted(self._folder.glob("*.log"))
        return "\n".join(f"{log.name}: {log.read_text(errors='replace')[-1500:]}" for log in logs)


def _read(content: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(content)
    except ValueError:
        answer = content.decode(errors="replace")
    return answer if isinstance(answer, dict) else {"said": answer}
