"""The commands that show how the syncs stand, a board, and the standing of an event."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from pgleaderboard.cli.console import Slug, Verbose, complete_event, complete_slug, fail, reading, screen, settings_for
from pgleaderboard.logs import harmless

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from pgleaderboard.database.connect import Connection
    from pgleaderboard.screens.table import View

commands = typer.Typer()

_LINES_AT_ONCE = 500  # printed by one call, which costs rich more than a line does

At = Annotated[str | None, typer.Option(help="The past at this time (ISO 8601, UTC without a zone).")]
Top = Annotated[int | None, typer.Option(min=1, help="Show only the first N.")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Stay and show each change at once; Ctrl-C to quit.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Md = Annotated[bool, typer.Option("--md", help="Print a Markdown table.")]


def past_moment(at: str | None, *, watch: bool = False) -> datetime | None:
    """A time of the past as it is given, None = now."""
    if at is None:
        return None
    if watch:
        raise typer.BadParameter("--at and --watch cannot be combined: the past does not change")
    from pgleaderboard.archives.files import moment_of

    moment = moment_of(at)
    if moment > datetime.now(UTC):
        raise typer.BadParameter(f"{at} lies in the future", param_hint="--at")
    return moment


def present(read: Callable[[Connection], View], verbose: bool, *, watch: bool = False, **formats: bool) -> None:
    """Show a view: on a screen that stays current, in one of the formats, or as lines."""
    chosen = [name for name, is_chosen in {"watch": watch, **formats}.items() if is_chosen]
    if len(chosen) > 1:
        raise typer.BadParameter(f"{' and '.join(f'--{name}' for name in chosen)} cannot be combined")
    console = screen()
    if watch:
        from pgleaderboard import app
        from pgleaderboard.screens.watch import watch as stay

        with app.database(settings_for(verbose)) as database:
            stay(database.direct_url, read, console, database.read_url)
    with reading(verbose) as server:
        view = server.ask(read)
    if chosen:
        text: str = getattr(view, chosen[0])()
        sys.stdout.write("\n".join(map(harmless, text.split("\n"))) if console.is_terminal else text)
    else:
        is_window = console.is_terminal or shutil.get_terminal_size((0, 0)).columns
        _print(view.draw(console.width if is_window else None, None), console)


def pasted(name: str, slug: str, **options: object) -> str:
    """A command as it can be pasted, without the options that are None."""
    given = [word for option, value in options.items() if value is not None for word in (f"--{option}", str(value))]
    return shlex.join(["pgleaderboard", name, slug, *given])


def _print(lines: Sequence[Text], console: Console) -> None:
    """Print lines; on a terminal through PAGER, else less, which ends by itself where all fits on one page."""
    from rich.text import Text

    from pgleaderboard.settings import pager

    chosen = pager()
    command = ("less" if chosen is None else chosen).split()
    is_paged = console.is_terminal and not console.is_dumb_terminal and command and shutil.which(command[0])
    with console.capture() if is_paged else contextlib.nullcontext() as captured:
        for start in range(0, len(lines), _LINES_AT_ONCE):
            console.print(Text("\n").join(lines[start : start + _LINES_AT_ONCE]), soft_wrap=True)
    if captured:
        environment = os.environ | {"LESS": os.environ.get("LESS", "FRX"), "LESSCHARSET": "utf-8"}
        signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is the pager's
        subprocess.run(command, input=captured.get(), env=environment, encoding="utf-8", check=False)


@commands.command()
def status(
    slug: Annotated[
        str | None,
        typer.Argument(help="One competition in full; a line for each without it.", autocompletion=complete_slug),
    ] = None,
    watch: Watch = False,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Show how the syncs stand. The workers, Kaggle, and each competition's state, leader, age, next sync and problem.

    Example: pgleaderboard status --watch
    """
    from pgleaderboard import app
    from pgleaderboard.reading import standby, syncs
    from pgleaderboard.screens.status import StatusView

    with app.database(settings_for(verbose)) as database:
        if database.read_url and not watch and (why := standby.why_away(database.direct_url)):
            typer.echo(f"the primary is out of reach: {harmless(why)}", err=True)
    present(lambda connection: StatusView(syncs.overview(connection, slug)), verbose, watch=watch, json=json)


@commands.command()
def board(
    slug: Slug,
    top: Top = None,
    at: At = None,
    event: Annotated[
        str | None, typer.Option(help="Only teams that take part in this event.", autocompletion=complete_event)
    ] = None,
    watch: Watch = False,
    csv: Csv = False,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Show a board. Ranks, their movement within a day, medal zones, registered participants.

    On a terminal through PAGER, else less. --csv prints Kaggle's own columns.

    Example: pgleaderboard board titanic --top 20 --at '2026-11-01 12:00'
    """
    from pgleaderboard.reading import boards
    from pgleaderboard.screens.board import BoardView

    moment = past_moment(at, watch=watch)

    def read(connection: Connection) -> View:
        shown = boards.board(connection, slug, moment, event, top)
        if shown.kind is None and not watch:
            fail(f"{shown.slug} had no board yet at {at}" if at else f"{shown.slug} has no board yet: {shown.problem}")
        return BoardView(shown, pasted("board", shown.slug, event=event, top=top))

    present(read, verbose, watch=watch, csv=csv, json=json)


@commands.command()
def standings(
    event: Annotated[str, typer.Argument(help="The event's slug.", autocompletion=complete_event)],
    top: Top = None,
    at: At = None,
    watch: Watch = False,
    csv: Csv = False,
    json: Json = False,
    md: Md = False,
    explain: Annotated[
        str | None, typer.Option(metavar="NAME", help="The points of one person, competition by competition.")
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Show the standing of an event. As readers see it, or as of a time.

    Example: pgleaderboard standings neural-night --top 10 --md
    """
    from pgleaderboard.reading import events
    from pgleaderboard.screens.standing import ExplanationView, StandingView

    if explain is not None:
        if top or watch or csv or md:
            raise typer.BadParameter("--explain can be combined with --at and --json only")
        past = past_moment(at, watch=False)
        present(lambda c: ExplanationView(events.explanation(c, event, explain, past)), verbose, watch=False, json=json)
        return

    moment = past_moment(at, watch=watch)

    def read(connection: Connection) -> View:
        standing = events.standing(connection, event, moment, top)
        return StandingView(standing, pasted("standings", standing.event.slug, top=top))

    present(read, verbose, watch=watch, csv=csv, json=json, md=md)
