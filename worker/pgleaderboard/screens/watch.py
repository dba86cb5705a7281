"""Keeps a screen current: it is read and drawn again after a notification that concerns it, and when it is due.

A lost connection is shown on the screen and made again. Where a standby is read, its primary notifies.
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
from typing import Any, NoReturn

from rich.console import Console, ConsoleDimensions, Group
from rich.live import Live
from rich.text import Text

from pgleaderboard.database.connect import Connection, ConnectionLost, connect
from pgleaderboard.logs import harmless
from pgleaderboard.reading.asking import have_answer, in_words, listen, news
from pgleaderboard.reading.standby import PRIMARY_SECONDS, Awaited, Server, Standby, position
from pgleaderboard.screens.table import View

_AT_MOST_EVERY = 0.5  # seconds; a burst of notifications is read once
_LOOK_EVERY = 1.0  # seconds between looks at the size of the window, and whether the server is there
_AWAY_EVERY = 5.0  # seconds, at most, between reads of a standby while nobody notifies
_READ_SECONDS = 60.0  # that a statement may take


def watch(url: str, read: Callable[[Connection], View], console: Console, read_url: str | None = None) -> NoReturn:
    """Show a view until Ctrl-C: in place on a terminal, else each time below the last. SIGTERM ends the program.

    read_url: of a standby to read; its primary, that of url, notifies, and may be away. Raises ConnectionLost where the
    first connection fails, and the errors of `read`.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # the terminal is restored
    standby = Server(lambda: _reading(read_url)) if read_url else None
    lost: ConnectionLost | None = None
    if standby:
        standby.ask(lambda _: None)
    try:
        connection = connect(url, connect_timeout=PRIMARY_SECONDS if standby else None)
    except ConnectionLost as error:
        if standby is None:
            raise
        lost = error
    with _display(console) as display:
        screen = _Screen(read, display, standby)
        while True:
            if lost:
                connection = _reconnected(url, lost, screen)
            try:
                with contextlib.closing(connection):
                    _follow(connection, screen)
            except ConnectionLost as error:
                lost = error


def _reading(read_url: str) -> Connection:
    connection = connect(read_url, connect_timeout=PRIMARY_SECONDS, reads=True)
    connection.statement_seconds = _READ_SECONDS
    return connection


def _follow(connection: Connection, screen: _Screen) -> NoReturn:
    connection.statement_seconds = _READ_SECONDS
    listen(connection)  # before the first read: nothing is missed in between
    while True:
        begun = time.monotonic()
        due = screen.refresh(connection)
        while (left := due - time.monotonic()) > 0:
            for payload in news(connection, min(left, _LOOK_EVERY)):
                if screen.concerns(payload):
                    due = min(due, begun + _AT_MOST_EVERY)
            have_answer(connection)
            screen.display.fit()


def _reconnected(url: str, error: ConnectionLost, screen: _Screen) -> Connection:
    lost_at, pause, due = time.monotonic(), 0.2, 0.0
    while True:
        if screen.standby is None:
            screen.display.say(f"connection lost, reconnecting: {error}")
        else:
            screen.display.say(f"the primary is out of reach, reading goes on: {error}")
            if time.monotonic() >= due:
                due = min(screen.refresh(None), time.monotonic() + _AWAY_EVERY)
        time.sleep(pause)
        pause = min(2 * pause, 1.0)
        try:
            connection = connect(url, connect_timeout=PRIMARY_SECONDS if screen.standby else None)
            screen.display.say(f"reconnected after {time.monotonic() - lost_at:.0f} s")
            return connection
        except ConnectionLost as again:
            error = again


class _Screen:
    """A view that is read again and again. standby: the server that is read, None for the one that notifies."""

    def __init__(self, read: Callable[[Connection], View], display: _Display, standby: Server | None) -> None:
        self._read, self.display, self.standby = read, display, standby
        self._awaited = Awaited()
        self._is_behind = False

    def refresh(self, primary: Connection | None) -> float:
        """Read and draw. primary: None while it is away. Returns when to read again, by time.monotonic."""
        as_of, again = None, math.inf
        if self.standby is None:
            assert primary is not None
            with in_words(primary):
                view = self._read(primary)
        else:
            if primary:
                self._awaited.expect(position(primary))
            try:
                told = self._awaited.before(self._read, is_told=primary is not None)
                view, behind = self.standby.ask(told)
            except ConnectionLost as error:
                self.display.say(f"the standby is out of reach: {error}")
                return time.monotonic() + _LOOK_EVERY
            if primary:
                self._tell(behind)
            if behind:
                as_of, again = behind.last_at, time.monotonic() + _LOOK_EVERY
        self.display.show(view, as_of)
        return min(again, math.inf if view.wake_in is None else time.monotonic() + max(0.0, view.wake_in))

    def _tell(self, behind: Standby | None) -> None:
        if behind and not self._is_behind:
            self.display.say(f"the standby {behind.address} is behind")
        elif self._is_behind and not behind:
            self.display.say("the standby has caught up")
        self._is_behind = behind is not None

    def concerns(self, payload: dict[str, Any]) -> bool:
        """Whether what is shown is out of date after a notification."""
        return self.display.view is None or self.display.view.concerns(payload)


@dataclass
class _Display:
    """Where a view is drawn. live: None without a terminal. note: the last event of the connection."""

    console: Console
    live: Live | None
    view: View | None = None
    read_at: str = ""
    note: str = "Ctrl-C to quit"
    size: ConsoleDimensions | None = None

    def show(self, view: View, as_of: datetime | None = None) -> None:
        """Draw a view. as_of: where it is not of now."""
        self.view, self.read_at = view, _clock(as_of or datetime.now(UTC))
        if self.live is None:
            for line in [*view.draw(None, None), Text()]:
                self.console.print(line, soft_wrap=True)
            self.console.file.flush()
        self._draw()

    def say(self, note: str) -> None:
        """Show an event of the connection."""
        self.note = harmless(f"{_clock(datetime.now(UTC))} {' '.join(note.split())}")
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


def _clock(at: datetime) -> str:
    return f"{at.astimezone(UTC):%H:%M:%S} UTC"
