"""The commands for people: how the syncs stand, boards and standings, live or at a moment, and asking for syncs."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import psycopg
import typer
from rich.text import Text

from pgleaderboard import app
from pgleaderboard.archives.files import moment_of
from pgleaderboard.cli.console import (
    Verbose,
    fail,
    one_line,
    paged,
    progress,
    say,
    screen,
    settings_for,
    show_notices,
    width_of,
)
from pgleaderboard.database.connect import connect
from pgleaderboard.errors import NeedsPerson, PgleaderboardError, Transient
from pgleaderboard.reading import asking, boards, events, names, syncs
from pgleaderboard.screens import plot
from pgleaderboard.screens.tables import BoardView, StandingView, StatusView, changes, moment, printed
from pgleaderboard.screens.watch import View, watch
from pgleaderboard.settings import Settings

commands = typer.Typer()
_LINES_AT_ONCE = 500
Connection = psycopg.Connection[Any]


def _complete(ask: Callable[[Connection], list[str]]) -> Callable[[str], list[str]]:
    """Completion from the database, where it can be reached at once; else nothing."""

    def words(incomplete: str) -> list[str]:
        with contextlib.suppress(psycopg.Error, PgleaderboardError, OSError):
            settings = Settings.load()
            url = app.reachable_url(settings)
            if url is not None:
                with connect(url, connect_timeout=2) as connection:
                    return [word for word in ask(connection) if word.lower().startswith(incomplete.lower())]
        return []

    return words


_slugs, _events = _complete(names.slugs), _complete(names.event_slugs)

Slug = Annotated[
    str, typer.Argument(help="The competition's slug, as in its URL.", show_default=False, autocompletion=_slugs)
]
Slugs = Annotated[list[str], typer.Argument(help="Slugs of competitions.", show_default=False, autocompletion=_slugs)]
At = Annotated[str | None, typer.Option(help="As it was at this time (ISO 8601, UTC unless said).", show_default=False)]
Top = Annotated[int | None, typer.Option(min=1, help="Only the first so many.", show_default=False)]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Stay, and show each change when it comes; Ctrl-C ends it.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until they are done; exit 1 if one failed.")]
Timeout = Annotated[int, typer.Option(min=1, max=86400, help="Seconds that --wait waits in all.")]


def _only_one(**given: bool) -> None:
    """Wrong usage where two options of which each says what is printed are given."""
    chosen = [f"--{name}" for name, is_given in given.items() if is_given]
    if len(chosen) > 1:
        raise typer.BadParameter(f"{' and '.join(chosen)} do not go together")


def _at(given: str | None, *, watching: bool) -> datetime | None:
    if given is not None and watching:
        raise typer.BadParameter("--at and --watch do not go together: the past does not change")
    return moment_of(given) if given is not None else None


def _show(lines: Sequence[Text]) -> None:
    with paged(screen()) as out:
        # Many lines at a time: rich takes its time over each call.
        for start in range(0, len(lines), _LINES_AT_ONCE):
            out.print(Text("\n").join(lines[start : start + _LINES_AT_ONCE]), soft_wrap=True)


def _write(lines: Iterable[str]) -> None:
    is_terminal = screen().is_terminal
    for line in printed(lines, to_terminal=is_terminal):
        sys.stdout.write(line)


def _stay(settings: Settings, read: Callable[[Connection], View]) -> None:
    with app.database(settings, simulated=app.is_simulated(settings, False)) as found:
        watch(found.direct_url, read, screen())


@commands.command()
def status(
    slug: Annotated[
        str | None,
        typer.Argument(
            help="One competition in full; else a line for each.", show_default=False, autocompletion=_slugs
        ),
    ] = None,
    watch: Watch = False,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Show how the syncs stand: each competition's state, leader, age, next sync and trouble, the workers, Kaggle.

    Example: pgleaderboard status --watch
    """
    with one_line(verbose=verbose):
        _only_one(watch=watch, json=json)
        settings = settings_for(verbose)
        if watch:
            _stay(settings, lambda connection: StatusView(syncs.overview(connection, slug)))
        with app.session(settings) as connection:
            view = StatusView(syncs.overview(connection, slug))
        if json:
            _write([view.json() + "\n"])
        else:
            _show(view.draw(width_of(screen()), None))


@commands.command()
def board(
    slug: Slug,
    top: Top = None,
    at: At = None,
    event: Annotated[
        str | None,
        typer.Option(
            help="Only teams with somebody who takes part in this event.", show_default=False, autocompletion=_events
        ),
    ] = None,
    watch: Watch = False,
    csv: Csv = False,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Show a board: ranks, how they moved within a day, medal zones, registered participants.

    On a terminal through PAGER, else less. --csv prints Kaggle's own columns.

    Example: pgleaderboard board titanic --top 20 --at '2026-11-01 12:00'
    """
    with one_line(verbose=verbose):
        _only_one(watch=watch, csv=csv, json=json)
        moment = _at(at, watching=watch)
        settings = settings_for(verbose)

        def read(connection: Connection) -> BoardView:
            return BoardView(boards.board(connection, slug, moment, event, top))

        if watch:
            _stay(settings, read)
        with app.session(settings) as connection:
            view = read(connection)
        if view.found.kind is None:
            if at is not None:
                fail(f"{view.found.slug} had no board yet at {at}")
            fail(f"{view.found.slug} has no board yet: {view.found.problem}")
        if csv:
            _write(view.csv())
        elif json:
            _write([view.json() + "\n"])
        else:
            _show(view.draw(width_of(screen()), None))


@commands.command()
def standings(
    event: Annotated[str, typer.Argument(help="The event's slug.", show_default=False, autocompletion=_events)],
    top: Top = None,
    at: At = None,
    watch: Watch = False,
    csv: Csv = False,
    json: Json = False,
    md: Annotated[bool, typer.Option("--md", help="Print a Markdown table.")] = False,
    verbose: Verbose = False,
) -> None:
    """Show how an event stands: as readers see it, or as the boards were at a time.

    Example: pgleaderboard standings neural-night --top 10 --md
    """
    with one_line(verbose=verbose):
        _only_one(watch=watch, csv=csv, json=json, md=md)
        moment = _at(at, watching=watch)
        settings = settings_for(verbose)

        def read(connection: Connection) -> StandingView:
            return StandingView(events.standing(connection, event, moment, top))

        if watch:
            _stay(settings, read)
        with app.session(settings) as connection:
            view = read(connection)
        if csv:
            _write(view.csv())
        elif md:
            _write(view.markdown())
        elif json:
            _write([view.json() + "\n"])
        else:
            _show(view.draw(width_of(screen()), None))


@commands.command(name="plot")
def plot_(
    slug: Slug,
    team: Annotated[
        list[str] | None, typer.Option(help="A team's name or TeamId; may be repeated.", show_default=False)
    ] = None,
    participant: Annotated[
        list[str] | None,
        typer.Option(help="A Kaggle username, from team to team; may be repeated.", show_default=False),
    ] = None,
    top: Annotated[
        int | None, typer.Option(min=1, max=50, help="The first so many teams; 10 where nobody is named.")
    ] = None,
    score: Annotated[bool, typer.Option("--score", help="Draw scores instead of ranks.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", dir_okay=False, help="Write a .png or .svg.", show_default=False)
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Draw ranks, or scores, through time: into a file, else in the terminal.

    Example: pgleaderboard plot titanic --top 5 -o titanic.svg
    """
    with one_line(verbose=verbose):
        if output is not None and output.suffix.lower() not in plot.SUFFIXES:
            raise typer.BadParameter("the file's name must end in .png or .svg", param_hint="--output")
        console = screen()
        if output is None and not console.is_terminal:
            fail("there is no terminal to draw in: say -o FILE.png or -o FILE.svg")
        with app.session(settings_for(verbose)) as connection:
            slug = names.known_slug(connection, slug)
            lines = _lines(connection, slug, team or [], participant or [], top, by_score=score)
        title = f"{slug}: {'scores' if score else 'ranks'}"
        if output is not None:
            plot.file(output, title, lines, by_score=score)
            say(f"{len(lines)} line{'s' * (len(lines) != 1)} drawn into {output}")
        else:
            width, height = console.size
            room = max(10, height - 3 - len(lines) // 3)
            colours = console.color_system is not None
            drawn, legend = plot.terminal(title, lines, by_score=score, width=width, height=room, colours=colours)
            console.out(drawn, highlight=False)
            console.print(legend)


def _lines(
    connection: Connection, slug: str, teams: Sequence[str], users: Sequence[str], top: int | None, *, by_score: bool
) -> list[plot.Line]:
    """The lines of teams and users. Raises NeedsPerson for one that is not there."""
    with asking.snapshot(connection):
        until = boards.observed_at(connection, slug)
        if until is None:
            raise NeedsPerson(f"{slug} has no board yet")
        team_ids = [each for given in teams for each in boards.teams_called(connection, slug, given)]
        if top is not None or not (teams or users):
            team_ids += boards.top_teams(connection, slug, top or 10)
        named: list[tuple[str, list[boards.Step]]] = []
        of_teams = boards.rank_history_of_teams(connection, slug, list(dict.fromkeys(team_ids)))
        for team_id in dict.fromkeys(team_ids):
            steps = [step for step in of_teams if step.team_id == team_id]
            named.append((steps[-1].team_name if steps else str(team_id), steps))
        named += [(user, boards.rank_history_of_user(connection, slug, user)) for user in users]
        gone = boards.vanished(connection, slug, [step.team_id for _, steps in named for step in steps])
    lines = []
    for label, steps in named:
        of_them = {step.team_id for step in steps}
        here = [(team_id, at) for team_id, at in gone if team_id in of_them]
        line = plot.line_of(label, steps, here, until, by_score=by_score)
        if line is None:
            raise NeedsPerson(f"{label!r} never stood on {slug}{' with a score' if by_score and steps else ''}")
        lines.append(line)
    return lines


def _wait_for(connection: Connection, slugs: Sequence[str], seconds: int) -> None:
    """Wait for syncs that were asked for, tell each outcome, exit 1 if one failed or time ran out."""
    failed = 0
    until = time.monotonic() + seconds
    with progress("syncing") as (advance, tell):
        advance(len(slugs), 0)
        for slug in slugs:
            try:
                with asking.in_words(connection):
                    run = syncs.wait(connection, slug, timedelta(seconds=max(0, round(until - time.monotonic()))))
            except Transient as error:
                failed += 1
                tell(f"{slug}: {error}")
            else:
                failed += run.outcome in ("failed", "skipped")
                tell(f"{slug}: {run.outcome}{f', {said}' if (said := run.error or changes(run)) else ''}")
            advance(0, 1)
    if failed:
        fail(f"{failed} of {len(slugs)} failed")


def _all_known(connection: Connection, given: Sequence[str]) -> list[str]:
    """The slugs as they are stored, each once. Raises NeedsPerson for the first that is unknown."""
    return list(dict.fromkeys(names.known_slug(connection, each) for each in given))


@commands.command()
def sync(slugs: Slugs, wait: Wait = False, timeout: Timeout = 300, verbose: Verbose = False) -> None:
    """Sync competitions now, whatever their status.

    Example: pgleaderboard sync titanic digit-recognizer --wait
    """
    with one_line(verbose=verbose), app.session(settings_for(verbose), direct=wait) as connection:
        show_notices(connection)
        known = _all_known(connection, slugs)
        syncs.ask_for_syncs(connection, known)
        if wait:
            _wait_for(connection, known, timeout)
            return
        for slug in known:
            say(f"{slug}: asked for")


@commands.command()
def pause(
    slugs: Slugs,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until those of their syncs that run have ended.")] = False,
    timeout: Timeout = 300,
    verbose: Verbose = False,
) -> None:
    """Stop syncing competitions by themselves; a sync that runs ends, and what is asked with `sync` is still done.

    Example: pgleaderboard pause titanic --wait
    """
    with one_line(verbose=verbose), app.session(settings_for(verbose)) as connection:
        known = _all_known(connection, slugs)
        for slug in known:
            is_change, _, _ = syncs.set_auto_sync(connection, slug, False)
            say(f"{slug}: paused" if is_change else f"{slug}: is paused already")
        if not wait:
            return
        until = time.monotonic() + timeout
        with progress("waiting") as (advance, tell):
            advance(len(known), 0)
            for slug in known:
                if syncs.wait_while_running(connection, slug, timedelta(seconds=until - time.monotonic())):
                    tell(f"{slug}: its sync has ended")
                advance(0, 1)


@commands.command()
def resume(slugs: Slugs, wait: Wait = False, timeout: Timeout = 300, verbose: Verbose = False) -> None:
    """Sync competitions by themselves again.

    Example: pgleaderboard resume titanic --wait
    """
    with one_line(verbose=verbose), app.session(settings_for(verbose), direct=wait) as connection:
        show_notices(connection)
        begun = []
        for slug in _all_known(connection, slugs):
            is_change, status, start = syncs.set_auto_sync(connection, slug, True)
            if not is_change:
                say(f"{slug}: is not paused")
            elif status == "ongoing":
                begun.append(slug)
                say(f"{slug}: resumed, syncs now")
            elif status == "upcoming":
                say(f"{slug}: resumed, syncs when it begins{f' ({moment(start)} UTC)' if start else ''}")
            else:
                say(f"{slug}: resumed; it is completed")
        if wait and begun:
            _wait_for(connection, begun, timeout)


@commands.command()
def retry(
    slugs: Annotated[
        list[str] | None,
        typer.Argument(help="Slugs of competitions that fail.", show_default=False, autocompletion=_slugs),
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="All whose last sync failed.")] = False,
    wait: Wait = False,
    timeout: Timeout = 300,
    verbose: Verbose = False,
) -> None:
    """Try failed syncs again now.

    Example: pgleaderboard retry --failed --wait
    """
    with one_line(verbose=verbose):
        if bool(slugs) == failed:
            raise typer.BadParameter("say either --failed or the slugs of competitions")
        with app.session(settings_for(verbose), direct=wait) as connection:
            show_notices(connection)
            failing = syncs.failing(connection)
            wanted = failing if failed else _all_known(connection, slugs or [])
            for slug in (each for each in wanted if each not in failing):
                say(f"{slug}: does not fail, nothing to retry")
            wanted = [each for each in wanted if each in failing]
            if failed and not wanted:
                say("nothing fails")
            syncs.ask_for_syncs(connection, wanted)
            if wait:
                _wait_for(connection, wanted, timeout)
                return
            for slug in wanted:
                say(f"{slug}: tried again")
