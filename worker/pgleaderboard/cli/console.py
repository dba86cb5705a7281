"""What all commands share: how a failure is told, the terminal's width and colours, the pager, and progress."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import psycopg
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pgleaderboard import logs
from pgleaderboard.errors import NeedsPerson, PgleaderboardError
from pgleaderboard.settings import Settings, pager

Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log more, and show tracebacks.")]


@contextmanager
def one_line(*, verbose: bool = False) -> Iterator[None]:
    """Turn an error that is for the user into one line on stderr and exit status 1."""
    try:
        yield
    except PgleaderboardError as error:
        if verbose:
            raise
        fail(str(error))
    except psycopg.OperationalError as error:
        if verbose:
            raise
        fail(f"the database is out of reach: {' '.join(str(error).split())}")
    except psycopg.errors.InsufficientPrivilege as error:
        if verbose:
            raise
        fail(f"the database does not allow it to this role: {error.diag.message_primary}")
    except psycopg.Error as error:
        if verbose:
            raise
        fail(f"the database refused: {' '.join(str(error).split())}")
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def settings_for(verbose: bool) -> Settings:
    """The settings, and logging as they and --verbose say."""
    settings = Settings.load()
    logs.configure(settings.log_format, verbose=verbose)
    return settings


def show_notices(connection: psycopg.Connection[Any]) -> None:
    """Show on stderr what the database remarks, e.g. that no worker is running; the same once."""
    told: set[str | None] = set()

    def tell(said: psycopg.errors.Diagnostic) -> None:
        if said.message_primary not in told:
            told.add(said.message_primary)
            typer.echo(f"{said.severity}: {said.message_primary}", err=True)

    connection.add_notice_handler(tell)


def fail(message: str) -> NoReturn:
    """Say one line on stderr and exit with status 1."""
    typer.echo(f"pgleaderboard: {logs.harmless(message)}", err=True)
    raise typer.Exit(1)


@contextmanager
def progress(what: str) -> Iterator[tuple[Callable[[int, int], None], Callable[[str], None]]]:
    """A bar on stderr, where that is a terminal.

    Gives a function that takes steps to come and steps done, and one that prints a line on stdout, above the bar.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal, redirect_stdout=False
    ) as bar:
        task = bar.add_task(what, total=0)
        total = 0

        def advance(more: int, done: int) -> None:
            nonlocal total
            total += more
            bar.update(task, total=total, advance=done)

        def tell(line: str) -> None:
            if console.is_terminal and sys.stdout.isatty():
                console.print(logs.harmless(line), markup=False, highlight=False, soft_wrap=True)
            else:
                say(line)

        yield advance, tell


def say(line: str) -> None:
    """Print one line; foreign text in it does no harm."""
    typer.echo(logs.harmless(line))


def screen() -> Console:
    """Where screens are drawn: stdout, with colours only on a terminal and without NO_COLOR."""
    console = Console(highlight=False, emoji=False, markup=False)
    return Console(highlight=False, emoji=False, markup=False, color_system=None) if console.no_color else console


def width_of(console: Console) -> int | None:
    """Cells in a line; None = no limit, where nobody looks at it through a window."""
    return console.width if console.is_terminal else shutil.get_terminal_size((0, 0)).columns or None


class _Piped(Console):
    """A console whose reader may have seen enough."""

    def on_broken_pipe(self) -> None:
        """Rich would end the program with status 1."""
        raise BrokenPipeError


@contextmanager
def paged(console: Console) -> Iterator[Console]:
    """On a terminal through a pager, as git does: PAGER, else less, which ends by itself where all fits on a page."""
    chosen = pager()
    try:
        program = shlex.split("less" if chosen is None else chosen)
    except ValueError as error:
        raise NeedsPerson(f"cannot read PAGER: {error}") from None
    found = shutil.which(program[0]) if program else None
    if not console.is_terminal or console.is_dumb_terminal or not found or program == ["cat"]:
        yield console
        return
    environment = os.environ | {"LESS": os.environ.get("LESS", "FRX"), "LESSCHARSET": "utf-8"}
    with subprocess.Popen([found, *program[1:]], stdin=subprocess.PIPE, env=environment, encoding="utf-8") as shown:
        assert shown.stdin is not None
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the pager's
        colours = console.color_system
        try:
            with contextlib.suppress(BrokenPipeError):
                yield _Piped(
                    file=shown.stdin,
                    force_terminal=True,
                    width=console.width,
                    color_system=colours if colours in ("standard", "256", "truecolor") else None,  # type: ignore[arg-type]
                    highlight=False,
                    emoji=False,
                    markup=False,
                )
        finally:
            with contextlib.suppress(BrokenPipeError):
                shown.stdin.close()
            shown.wait()
            signal.signal(signal.SIGINT, before)
