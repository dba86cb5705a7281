"""Worker processes, and waiting for what they do."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parents[2]
POLL = 0.03


class Broken(Exception):
    """The world did not come to a state that the next step needs."""


T = TypeVar("T")


def wait_for(probe: Callable[[], T], seconds: float, what: Callable[[], str] | str) -> T:
    """Look until the probe gives something true, and return it; Broken, telling what was waited for, if it does not."""
    until = time.monotonic() + seconds
    while not (answer := probe()):
        if time.monotonic() > until:
            raise Broken(f"not within {seconds:g} s: {what if isinstance(what, str) else what()}")
        time.sleep(POLL)
    return answer


class Worker:
    """One process that works; what it says goes to a file."""

    def __init__(self, command: list[str], log: Path, settings: dict[str, str]) -> None:
        self.settings = settings
        self.is_reported = False
        self._log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command], stdout=out, stderr=out, env=settings, cwd=ROOT
            )

    @property
    def said(self) -> str:
        """All it has said."""
        return self._log.read_text(errors="replace")

    @property
    def tracebacks(self) -> list[str]:
        """The line before each traceback in its log."""
        lines = self.said.splitlines()
        return [
            lines[at - 1][:400]
            for at, line in enumerate(lines)
            if line.startswith("Traceback") and lines[at - 1] and not lines[at - 1].startswith(" ")
        ]

    def wait_until_it_says(self, words: str, times: int = 1, seconds: float = 30) -> None:
        """Wait for words in its log, as a regular expression."""

        def says() -> bool:
            if self.process.poll() is not None:
                raise Broken(f"a worker ended with {self.process.returncode}: {self.said[-2000:]}")
            return len(re.findall(words, self.said)) >= times

        wait_for(says, seconds, lambda: f"{words!r} {times} times in: {self.said[-2000:]}")

    def wait_until_frozen(self, seconds: float = 30) -> None:
        """Wait until it has stopped itself, or was stopped."""
        flags = os.WSTOPPED | os.WEXITED | os.WNOHANG | os.WNOWAIT
        wait_for(
            lambda: os.waitid(os.P_PID, self.process.pid, flags),
            seconds,
            lambda: f"a worker freezes; it said: {self.said[-2000:]}",
        )
        if self.process.poll() is not None:
            raise Broken(f"a worker ended instead of freezing; it said: {self.said[-2000:]}")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and reap it."""
        self.process.kill()
        self.process.wait()

    def terminate(self, seconds: float = 30) -> tuple[int | None, float]:
        """SIGTERM. Returns the exit status (None: had to be killed) and the seconds it took."""
        begun = time.monotonic()
        self.process.terminate()
        try:
            status: int | None = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            status = None
        return status, time.monotonic() - begun
