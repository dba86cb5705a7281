"""The commands that show how the syncs stand, a board, and the standing of an event."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from pgleaderboard.cli.console import (
    Slug,
    Verbose,
    complete_event,
    complete_slug,
    fail,
    only_one,
    screen,
    settings_for,
    show,
    width_of,
)

if TYPE_CHECKING:
    from pgleaderboard.database.connect import Connection
    from pgleaderboard.screens.board import BoardView
    from pgleaderboard.screens.standing import StandingView
    from pgleaderboard.screens.status import StatusView
    from pgleaderboard.screens.table import View

commands = typer.Typer()

At = Annotated[
    str | None, typer.Option(help="The past at this time (ISO 8601, UTC without a zone).", show_default=False)
]
Top = Annotated[int | None, typer.Option(min=1, help="Show only the first N.", show_default=False)]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Stay and show each change at once; Ctrl-C to quit.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _at(given: str | None, *, watch: bool) -> datetime | None:
    if given is None:
        return None
    if watch:
        raise typer.BadParameter("--at and --watch cannot be combined: the past does not change")
    from pgleaderboard.archives.files import moment_of

    return moment_of(given)


def _present(read: Callable[[Connection], View], verbose: bool, *, watch: bool, **formats: bool) -> None:
    """Show a view: on a screen that stays current, in the chosen format, or as lines."""
    from pgleaderboard import app
    from pgleaderboard.screens.files import printed

    only_one(watch=watch, **formats)
    settings = settings_for(verbose)
    if watch:
        from pgleaderboard.screens.watch import watch as stay

        with app.database(settings, simulated=app.is_simulated(settings, False)) as database:
            stay(database.direct_url, read, screen())
    with app.session(settings) as connection:
        view = read(connection)
    for name in (name for name, is_chosen in formats.items() if is_chosen):
        sys.stdout.writelines(printed(getattr(view, name)(), to_terminal=screen().is_terminal))
        return
    show(view.draw(width_of(screen()), None))


@commands.command()
def status(
    slug: Annotated[
        str | None,
        typer.Argument(
            help="One competition in full; a line for each without it.",
            show_default=False,
            autocompletion=complete_slug,
        ),
    ] = None,
    watch: Watch = False,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Show the workers, Kaggle, and the state, leader, age, next sync and problem of each competition.

    Example: pgleaderboard status --watch
    """
    from pgleaderboard.reading import syncs
    from pgleaderboard.screens.status import StatusView

    def read(connection: Connection) -> StatusView:
        return StatusView(syncs.overview(connection, slug))

    _present(read, verbose, watch=watch, json=json)


@commands.command()
def board(
    slug: Slug,
    top: Top = None,
    at: At = None,
    event: Annotated[
        str | None,
        typer.Option(
            help="Only teams with a participant of this event.", show_default=False, autocompletion=complete_event
        ),
    ] = None,
    watch: Watch = False,
    csv: Csv = False,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Show a board: ranks, their movement within a day, medal zones, registered participants.

    On a terminal through PAGER, else less. --csv prints Kaggle's own columns.

    Example: pgleaderboard board titanic --top 20 --at '2026-11-01 12:00'
    """
    from pgleaderboard.reading import boards
    from pgleaderboard.screens.board import BoardView

    moment = _at(at, watch=watch)

    def read(connection: Connection) -> BoardView:
        found = boards.board(connection, slug, moment, event, top)
        if found.kind is None and not watch:
            fail(f"{found.slug} had no board yet at {at}" if at else f"{found.slug} has no board yet: {found.problem}")
        return BoardView(found)

    _present(read, verbose, watch=watch, csv=csv, json=json)


@commands.command()
def standings(
    event: Annotated[str, typer.Argument(help="The event's slug.", show_default=False, autocompletion=complete_event)],
    top: Top = None,
    at: At = None,
    watch: Watch = False,
    csv: Csv = False,
    json: Json = False,
    md: Annotated[bool, typer.Option("--md", help="Print a Markdown table.")] = False,
    verbose: Verbose = False,
) -> None:
    """Show the standing of an event, as readers see it or as of a time.

    Example: pgleaderboard standings neural-night --top 10 --md
    """
    from pgleaderboard.reading import events
    from pgleaderboard.screens.standing import StandingView

    moment = _at(at, watch=watch)

    def read(connection: Connection) -> StandingView:
        return StandingView(events.standing(connection, event, moment, top))

    _present(read, verbose, watch=watch, csv=csv, json=json, md=md)
