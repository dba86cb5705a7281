"""The program, run in forks of one process that has imported it: the import takes longer than most commands.

`python -m pgleaderboard`, as tests/e2e/test_cli.py starts it, does the same and a second of imports besides.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0
ALSO = (  # what the program imports when a command needs it
    *("kagglesdk", "kagglesdk.competitions.types.competition_api_service", "rich.progress", "rich.live"),
    *("matplotlib.figure", "matplotlib.dates", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg"),
)
LARGEST = 2**17  # bytes of a request
WIDTH = 16  # bytes of a number that is told


class Program:
    """The program as a process beside the test; like a subprocess.Popen.

    stdin, stdout, stderr: file descriptors. is_leader: it leads a session, whose controlling terminal is its
    stdin: less reads its keys there.
    """

    def __init__(
        self,
        *arguments: str,
        stdin: int,
        stdout: int,
        stderr: int,
        env: Mapping[str, str],
        cwd: Path = ROOT,
        is_leader: bool = False,
    ) -> None:
        self.returncode: int | None = None
        self.args = arguments
        self._told, tell = os.pipe()
        request = json.dumps([arguments, dict(env), str(cwd), is_leader]).encode()
        assert len(request) < LARGEST
        socket.send_fds(_server()[0], [request], [stdin, stdout, stderr, tell])
        os.close(tell)
        self.pid = self._number()

    def _number(self) -> int:
        """Wait for the next of the two numbers that are told: its process, and its end."""
        told = os.read(self._told, WIDTH)
        assert told, "the process that has imported the program has ended"
        return int(told)

    def poll(self) -> int | None:
        """How it ended, None while it runs."""
        if self.returncode is None and select.select([self._told], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Returns how it ended; raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = self._number()
            os.close(self._told)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


def run(
    *arguments: str | Path,
    cwd: Path = ROOT,
    stdin: bytes = b"",
    stderr: int = subprocess.PIPE,
    **given: str,
) -> subprocess.CompletedProcess[str]:
    """Run the program to its end, without a terminal.

    given: variables of its environment beside the tests'. stderr: subprocess.STDOUT puts it into stdout.
    """
    words = [str(each) for each in arguments]
    with tempfile.TemporaryFile() as sent, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        sent.write(stdin)
        sent.seek(0)
        errors = out if stderr == subprocess.STDOUT else err
        streams = {"stdin": sent.fileno(), "stdout": out.fileno(), "stderr": errors.fileno()}
        program = Program(*words, **streams, env=os.environ | given, cwd=cwd)
        try:
            status = program.wait(PATIENCE)
        finally:
            program.send_signal(signal.SIGKILL)
        return subprocess.CompletedProcess(words, status, _all(out), _all(err))


def _all(written: IO[bytes]) -> str:
    written.seek(0)
    return written.read().decode().replace("\r\n", "\n")


@cache
def _server() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start the process that imports the program; it ends with this one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        number = theirs.fileno()
        return ours, subprocess.Popen([sys.executable, "-m", __name__, str(number)], pass_fds=[number], cwd=ROOT)


def _serve(requests: socket.socket) -> None:
    """Fork for each request. In the fork that becomes the program this returns, and what it runs may raise."""
    import pgleaderboard

    for module in pkgutil.walk_packages(pgleaderboard.__path__, "pgleaderboard."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in ALSO:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # no fork copies, or collects at its end, what was imported
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        request, descriptors, *_ = socket.recv_fds(requests, LARGEST, 4)
        if not request:
            return
        if os.fork() == 0:
            break
        for each in descriptors:
            os.close(each)
    requests.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *streams, tell = descriptors
    if child := os.fork():
        for each in streams:
            os.close(each)
        os.write(tell, f"{child:{WIDTH}}".encode())
        os.write(tell, f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):{WIDTH}}".encode())
        os._exit(0)
    os.close(tell)
    _become(streams, *json.loads(request))


def _become(streams: list[int], arguments: list[str], env: dict[str, str], cwd: str, is_leader: bool) -> None:
    for number, each in enumerate(streams):
        os.dup2(each, number)
        os.close(each)
    if is_leader:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    os.chdir(cwd)
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.argv[1:] = arguments
    runpy.run_module("pgleaderboard", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
