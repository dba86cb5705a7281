"""The program at a terminal: a process on a pseudo-terminal, and what its screen shows."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Callable
from types import TracebackType

import pyte

from tests.support.program import Program

PATIENCE = 30.0


class Terminal:
    """The program on a terminal of 80 cells; `with` ends it."""

    def __init__(self, *arguments: str, url: str, columns: int = 80, lines: int = 24, **given: str) -> None:
        self.raw = b""
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self._ours, theirs = pty.openpty()
        self._size(columns, lines)
        self.process = Program(
            *arguments,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=os.environ | {"DATABASE_URL": url, "TERM": "xterm-256color"} | given,
            is_leader=True,
        )
        os.close(theirs)

    def _size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns: int, lines: int) -> None:
        """Give the window another size."""
        self.screen.resize(lines, columns)
        self._size(columns, lines)

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._ours, keys.encode())

    @property
    def echoes(self) -> bool:
        """Whether it shows what is typed."""
        return bool(termios.tcgetattr(self._ours)[3] & termios.ECHO)

    def _read(self, seconds: float) -> bool:
        """Take in what comes. Returns False at the end."""
        ready, _, _ = select.select([self._ours], [], [], seconds)
        if ready:
            try:
                came = os.read(self._ours, 65536)
            except OSError:  # Linux says EIO at the end
                return False
            if not came:
                return False
            self.raw += came
            self._stream.feed(came)
        return True

    def until(self, shows: Callable[[str], bool] | str) -> str:
        """Read until the screen shows a text, or what the function looks for; the screen then."""
        looks = (lambda text: shows in text) if isinstance(shows, str) else shows
        deadline = time.monotonic() + PATIENCE
        while not looks(self.text):
            assert time.monotonic() < deadline, f"the screen shows:\n{self.text}"
            assert self._read(1.0), f"it ended, and the screen shows:\n{self.text}"
        return self.text

    @property
    def text(self) -> str:
        """The screen."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    def end(self) -> int:
        """Read what is left until it ends; its exit status."""
        while self._read(PATIENCE):
            pass
        return self.process.wait(PATIENCE)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        os.close(self._ours)
