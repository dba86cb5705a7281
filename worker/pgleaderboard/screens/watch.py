"""Keeps a screen current: it is read and drawn again after a notification that concerns it, and when it is due.

A lost connection is shown on the screen and made again.
"""

from __future__ import annotations

import contextlib
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NoReturn

from rich.console import Console, ConsoleDimensions, Group
from rich.live import Live
from rich.text import Text

from pgleaderboard.database.connect import Connection, ConnectionLost, connect
from pgleaderboard.logs import harmless
from pgleaderboard.reading.asking import have_answer, in_words, listen, news
from pgleaderboard.screens.table import View

_AT_MOST_EVERY = 0.5  # seconds; a burst of notifications is read once
_LOOK_EVERY = 1.0  # seconds between looks at the size of the window, and whether the server is there
_READ_SECONDS = 60.0  # that a statement may take


def watch(url: str, read: Callable[[Connection], View], console: Console) -> NoReturn:
    """Show a view until Ctrl-C: in place on a terminal, else each time below the last. SIGTERM ends the program.

    Raises ConnectionLost where the first connection fails, and the errors of `read`.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # the terminal is restored
    connection = connect(url)
    with _display(console) as display:
        while True:
            try:
                with contextlib.closing(connection):
                    _follow(connection, read, display)
            except ConnectionLost as error:
                connection = _reconnected(url, error, display)


def _follow(connection: Connection, read: Callable[[Connection], View], display: _Display) -> NoReturn:
    connection.statement_seconds = _READ_SECONDS
    listen(connection)  # before the first read: nothing is missed in between
    while True:
        begun = time.monotonic()
        with in_words(connection):
            view = read(connection)
        due = math.inf if view.wake_in is None else time.monotonic() + max(0.0, view.wake_in)
        display.show(view)
        while (left := due - time.monotonic()) > 0:
            for payload in news(connection, min(left, _LOOK_EVERY)):
                if view.concerns(payload):
                    due = min(due, begun + _AT_MOST_EVERY)
            have_answer(connection)
            display.fit()


def _reconnected(url: str, error: ConnectionLost, display: _Display) -> Connection:
    lost_at, pause = time.monotonic(), 0.2
    while True:
        display.say(f"connection lost, reconnecting: {error}")
        time.sleep(pause)
        pause = min(2 * pause, 5.0)
        try:
            connection = connect(url)
            display.say(f"reconnected after {time.monotonic() - lost_at:.0f} s")
            return connection
        except ConnectionLost as again:
            error = again


@dataclass
class _Display:
    """Where a view is drawn. live: None without a terminal. note: the last event of the connection."""

    console: Console
    live: Live | None
    view: View | None = None
    read_at: str = ""
    note: str = "Ctrl-C to quit"
    size: ConsoleDimensions | None = None

    def show(self, view: View) -> None:
        """Draw a view."""
        self.view, self.read_at = view, _now()
        if self.live is None:
            for line in [*view.draw(None, None), Text()]:
                self.console.print(line, soft_wrap=True)
            self.console.file.flush()
        self._draw()

    def say(self, note: str) -> None:
        """Show an event of the connection."""
        self.note = harmless(f"{_now()} {' '.join(note.split())}")
        if self.live is None:
            print(self.note, file=sys.stderr, flush=True)
        self._draw()

    def fit(self) -> None:
        """Draw the view again if the window has another size."""
        if self.console.size != self.size:
            self._draw()

    def _draw(self) -> None:
        self.size = width, height = self.console.size
        if self.live is None:
            return
        drawn = list(self.view.draw(width, height - 1)) if self.view else []
        lines = drawn[: height - 1]
        if len(drawn) > len(lines):
            lines[-1] = Text(f"\u2026 {len(drawn) - height + 2} more lines", style="dim")
        lines += [Text()] * (height - 1 - len(lines))
        foot = f"{self.note} \u00b7 as of {self.read_at}"
        lines.append(Text(foot, style="dim", no_wrap=True, overflow="ellipsis"))
        self.live.update(Group(*lines), refresh=True)


@contextmanager
def _display(console: Console) -> Iterator[_Display]:
    if not console.is_terminal or console.is_dumb_terminal:
        yield _Display(console, None)
        return
    with Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
        # A name that the terminal draws wider than expected must not push the lines below it down.
        console.file.write("\x1b[?7l")
        try:
            yield _Display(console, live)
        finally:
            console.file.write("\x1b[?7h")


def _now() -> str:
    return f"{datetime.now(UTC):%H:%M:%S} UTC"
