"""Keeps a screen current: it is read and drawn again when a board changed or a sync was asked for, and at the moments
the screen itself names.

A screen that names none is asked nothing on a timer. A lost connection is said on the screen and made anew.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn, Protocol

import psycopg
from psycopg import sql
from rich.console import Console, Group
from rich.control import Control
from rich.text import Text

from pgleaderboard import logs
from pgleaderboard.database.connect import connect
from pgleaderboard.process.queue import CHANNEL
from pgleaderboard.reading.asking import in_words

Connection = psycopg.Connection[Any]
_AT_MOST_EVERY = 0.5  # seconds; a burst of news is read once
_RECONNECT_AFTER = (0.2, 0.5, 1.0, 2.0, 5.0)  # seconds before each attempt; the last again and again


class View(Protocol):
    """What was read, ready to be drawn."""

    @property
    def wake_in(self) -> float | None:
        """Seconds until it is out of date by itself; None = never."""

    def concerns(self, news: dict[str, Any]) -> bool:
        """Whether a notification of `kaggle_leaderboard`, `kaggle_status` or procrastinate's is about it."""

    def draw(self, width: int | None, height: int | None) -> Sequence[Text]:
        """Its lines. width, height: cells that there are; None = no limit."""


def watch(url: str, read: Callable[[Connection], View], console: Console) -> NoReturn:
    """Show it until Ctrl-C: on a terminal in place, else anew below each time. Other signals end the program.

    Raises psycopg.OperationalError where the first connection cannot be made, and what `read` raises.
    """
    with _wake_up() as resized, _display(console) as display:
        connection = connect(url)
        while True:
            with contextlib.closing(connection):
                try:
                    _follow(connection, read, display, resized)
                except psycopg.OperationalError as error:
                    if not connection.closed:
                        raise
                    why = error
            connection = _again(url, why, display)


def _follow(
    connection: Connection, read: Callable[[Connection], View], display: _Display, resized: socket.socket
) -> NoReturn:
    """Read, draw, and wait for a reason to do so again. Raises psycopg.OperationalError when the connection is lost."""
    inbox: list[str] = []
    connection.add_notify_handler(lambda notify: inbox.append(notify.payload))
    # Before the first look: nothing is missed in between.
    for channel in ("kaggle_leaderboard", "kaggle_status", CHANNEL):
        connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
    while True:
        inbox.clear()
        begun = time.monotonic()
        with in_words(connection):
            view = read(connection)
        until = None if view.wake_in is None else time.monotonic() + max(0.0, view.wake_in)
        display.show(view)
        while not _news(connection, view, inbox, begun + _AT_MOST_EVERY, until, resized):
            display.show(view)  # in another size


def _news(
    connection: Connection,
    view: View,
    inbox: list[str],
    soonest: float,
    until: float | None,
    resized: socket.socket,
) -> bool:
    """Wait for news, until `soonest` at least. Returns whether the view is out of date; False = only its size is."""
    with selectors.DefaultSelector() as selector:
        selector.register(connection.fileno(), selectors.EVENT_READ)
        selector.register(resized, selectors.EVENT_READ)
        while True:
            # What came along with the answer to a query was read with it.
            while notify := connection.pgconn.notifies():
                inbox.append(notify.extra.decode())
            if any(view.concerns(_payload(each)) for each in inbox):
                until = soonest
            else:
                inbox.clear()
            ready = selector.select(None if until is None else max(0.0, until - time.monotonic()))
            if not ready:
                return True
            if any(key.fileobj is resized for key, _ in ready):
                with contextlib.suppress(BlockingIOError):
                    resized.recv(4096)
                return False
            try:
                connection.pgconn.consume_input()
            except psycopg.OperationalError:
                connection.close()
                raise


def _payload(text: str) -> dict[str, Any]:
    """A notification; anybody may send anything on a channel."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _again(url: str, why: Exception, display: _Display) -> Connection:
    """Connect again, however long that takes."""
    lost_at = time.monotonic()
    attempt = 0
    while True:
        display.say(f"{_now()} connection lost, connecting again: {' '.join(str(why).split())}")
        time.sleep(_RECONNECT_AFTER[min(attempt, len(_RECONNECT_AFTER) - 1)])
        attempt += 1
        try:
            connection = connect(url)
        except psycopg.OperationalError as error:
            why = error
            continue
        display.say(f"{_now()} connected again after {time.monotonic() - lost_at:.0f} s")
        return connection


def _now() -> str:
    return f"{datetime.now(UTC):%H:%M:%S} UTC"


@contextmanager
def _wake_up() -> Iterator[socket.socket]:
    """A socket that can be read when the terminal has another size. SIGTERM ends the program as it does others."""
    ours, theirs = socket.socketpair()
    for each in (ours, theirs):
        each.setblocking(False)
    handlers = {signal.SIGWINCH: signal.signal(signal.SIGWINCH, lambda *_: None)}
    handlers[signal.SIGTERM] = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    try:
        yield ours
    finally:
        signal.set_wakeup_fd(before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        ours.close()
        theirs.close()


@dataclass
class _Display:
    """Where a view is drawn: in place on a terminal, else below what is there. note: a line at the end."""

    console: Console
    update: Callable[[Any], None] | None
    view: View | None = None
    drawn_at: str = ""
    note: str | None = None

    def show(self, view: View) -> None:
        """Draw it."""
        self.view, self.drawn_at = view, _now()
        if self.update is None:
            for line in view.draw(None, None):
                self.console.print(line, soft_wrap=True)
            self.console.print()
            sys.stdout.flush()
        else:
            self._draw()

    def say(self, note: str) -> None:
        """Tell what happened to the connection."""
        self.note = logs.harmless(note)
        if self.update is None:
            print(self.note, file=sys.stderr, flush=True)
        else:
            self._draw()

    def _draw(self) -> None:
        assert self.update is not None
        width, height = self.console.size
        lines: list[Text] = []
        if self.view is not None:
            drawn = self.view.draw(width, height - 1)
            lines += drawn[: height - 1]
            if len(drawn) > height - 1:
                lines[-1] = Text(f"\u2026 {len(drawn) - height + 2} more lines", style="dim")
        lines += [Text()] * (height - 1 - len(lines))
        foot = f"{self.note or 'Ctrl-C ends it'} \u00b7 as of {self.drawn_at}"
        lines.append(Text(foot, style="dim", no_wrap=True, overflow="ellipsis"))
        with self.console:  # both in one write: nothing flickers
            self.console.control(Control.home())
            self.update(Group(*lines))


@contextmanager
def _display(console: Console) -> Iterator[_Display]:
    """The terminal's other screen for as long as this lasts, where there is one."""
    if console.is_terminal and not console.is_dumb_terminal:
        with console.screen(hide_cursor=True) as screen:
            # A name that is wider there than we think must not push the lines below it down.
            console.file.write("\x1b[?7l")
            try:
                yield _Display(console, screen.update)
            finally:
                console.file.write("\x1b[?7h")
    else:
        yield _Display(console, None)
