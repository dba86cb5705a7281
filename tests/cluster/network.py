"""Namespaces of the kernel's: networks that reach nothing outside, and processes that end with their first one.

Everything here ends with the processes in it. The kernel removes a namespace, its interfaces and its mounts with the
last process, and ends all processes of a process namespace with the first; that one ends with the thread that made it.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path
from types import TracebackType

import psutil

from tests.support.processes import Broken, wait_for

HUB = "10.77.0.1"  # this process, HAProxy, and all clients
_NEW_NETWORK = 0x40000000  # CLONE_NEWNET
_BRIDGE = "cluster"
_ALONE = ("unshare", "--net", "--pid", "--ipc", "--mount")
ENDS_WITH_US = ("setpriv", "--pdeathsig=KILL")
_LIBC = ctypes.CDLL(None, use_errno=True)


def missing() -> str | None:
    """What root lacks here to make namespaces; None: nothing."""
    try:
        run(*_ALONE, "--fork", "true")
    except Broken:
        return "the right to make namespaces (CAP_NET_ADMIN and CAP_SYS_ADMIN)"
    try:
        run(*_ALONE, "--fork", "sh", "-c", "ip link add br0 type bridge && ip link add one type veth peer name two")
    except Broken:
        return "bridges and veth pairs in the kernel"
    return None


def run(*command: str) -> None:
    """Run a command that must succeed. Raises Broken with what it says."""
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise Broken(f"{' '.join(command)}: {ended.stderr.strip()}")


class Network:
    """A network namespace with a bridge, in which the calling thread is for the length of a block.

    Threads and processes that it starts meanwhile are there, too.
    """

    def __enter__(self) -> Network:
        self._outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        _check(_LIBC.unshare(_NEW_NETWORK))
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", _BRIDGE, "type", "bridge")
        run("ip", "address", "add", f"{HUB}/24", "dev", _BRIDGE)
        run("ip", "link", "set", _BRIDGE, "up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _check(_LIBC.setns(self._outside, _NEW_NETWORK))
        os.close(self._outside)


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Machine:
    """Namespaces of processes, mounts and the network, joined to the bridge: as good as a machine.

    mounts: folders of it, and what is seen there. log: of what fails while it boots.
    """

    def __init__(self, name: str, address: str, mounts: dict[Path, Path], log: Path) -> None:
        self.name, self.address = name, address
        self._mounts, self._log = mounts, log
        self._first: subprocess.Popen[bytes] | None = None

    def boot(self) -> None:
        """Make it, with nothing but its first process, which reaps the others."""
        steps = [f"mount --bind {outside} {inside}" for inside, outside in self._mounts.items()]
        steps += ["mount -t tmpfs none /run", "mkdir -m 1777 /run/postgresql"]
        script = " && ".join([*steps, "echo booted", "{ sleep infinity & wait; }"])  # which reaps
        with self._log.open("ab") as out:
            self._first = subprocess.Popen(
                [*ENDS_WITH_US, *_ALONE, "--mount-proc", "--fork", "--kill-child", "sh", "-c", script],
                stdout=subprocess.PIPE,
                stderr=out,
                process_group=0,  # Ctrl-C is for us alone
            )
        assert self._first.stdout is not None
        if self._first.stdout.readline() != b"booted\n":
            raise Broken(f"{self.name} did not boot: {self._log.read_text()}")
        (first,) = psutil.Process(self._first.pid).children()
        self._pid = first.pid
        self._namespace = os.stat(f"/proc/{self._pid}/ns/pid").st_ino
        run("ip", "link", "add", self.name, "type", "veth", "peer", "name", "eth0", "netns", str(self._pid))
        run("ip", "link", "set", self.name, "master", _BRIDGE, "up")
        for command in (
            ["link", "set", "lo", "up"],
            ["address", "add", f"{self.address}/24", "dev", "eth0"],
            ["link", "set", "eth0", "up"],
        ):
            run("nsenter", "--target", str(self._pid), "--net", "ip", *command)

    def start(self, *command: str, user: str, log: Path, settings: dict[str, str]) -> None:
        """Start a process of it, as a user and with nothing in its environment but that user's and these settings."""
        with log.open("ab") as out:
            subprocess.run(
                ["nsenter", "--target", str(self._pid), "--net", "--pid", "--ipc", "--mount", "--wd=/", "setpriv"]
                + [f"--reuid={user}", f"--regid={user}", "--init-groups", "--reset-env", "--", "env"]
                + [f"{name}={setting}" for name, setting in settings.items()]
                + ["setsid", "--fork", *command],  # to the first process: nsenter would stop and wait with it
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                check=True,
            )

    def processes(self, *names: str) -> list[psutil.Process]:
        """Its processes of these names, all but the first one by default."""
        found = []
        for process in psutil.process_iter():
            try:
                if os.stat(f"/proc/{process.pid}/ns/pid").st_ino != self._namespace or process.pid == self._pid:
                    continue
                if not names or process.name() in names:
                    found.append(process)
            except (OSError, psutil.Error):
                continue  # it has ended, or is a zombie
        return found

    def connect(self, is_connected: bool) -> None:
        """Connect its network, or cut it off without a word to anybody."""
        run("ip", "link", "set", self.name, "up" if is_connected else "down")

    def die(self) -> None:
        """End all of it at once, as without power: but the kernel still tells its clients."""
        if self._first is None:
            return
        if self._first.poll() is None:
            os.kill(self._pid, 9)
        self._first.wait()
        assert self._first.stdout is not None
        self._first.stdout.close()
        self._first = None
        wait_for(lambda: not self.processes(), 10, f"the processes of {self.name} end")
