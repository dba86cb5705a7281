"""The commands around the worker: board files in and out, competitions on Kaggle, and uninstalling."""

from __future__ import annotations

import contextlib
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pgleaderboard.cli.console import (
    Slug,
    Verbose,
    complete_event,
    fail,
    progress,
    reading,
    say,
    session,
    settings_for,
    show_notices,
    without_blanks,
)
from pgleaderboard.errors import PgleaderboardError, Transient

if TYPE_CHECKING:
    from pgleaderboard.archives.backfill import Snapshot
    from pgleaderboard.database.connect import Connection
    from pgleaderboard.kaggle.client import Kaggle
    from pgleaderboard.settings import Settings
    from pgleaderboard.sync.store import Applied

commands = typer.Typer()

_LONGEST_WAIT_FOR_BUDGET = timedelta(minutes=1)  # by search


@commands.command()
def backfill(
    slug: Slug,
    files: Annotated[
        list[Path] | None, typer.Argument(exists=True, help="Boards: Kaggle's ZIPs, CSV or CSV.gz, or folders of them.")
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="Time of the board, if not in the file name (UTC without a zone).")
    ] = None,
    board: Annotated[
        Literal["public", "private"] | None, typer.Option(help="Which board, if not in the file name.")
    ] = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Take out the board that --board names, and its past.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Import old board files into the history. As if each had been synced at its time.

    Example: pgleaderboard backfill titanic ~/Downloads/titanic-publicleaderboard-*.zip
    """
    from pgleaderboard.archives import files as board_files
    from pgleaderboard.archives.backfill import ArchiveStore, remove_board
    from pgleaderboard.reading.names import known_slug
    from pgleaderboard.screens.table import counted

    if remove:
        if files or at or not board:
            raise typer.BadParameter("takes --board public or --board private, and no files", param_hint="--remove")
        with session(verbose, direct=True, check=True) as connection:
            remove_board(connection, known_slug(connection, slug), board)
        say(f"{slug}: the {board} board was removed")
        return
    if not files:
        raise typer.BadParameter("missing", param_hint="FILES")
    files = [file for path in files for file in board_files.in_folder(path)]
    if at is not None and len(files) != 1:
        raise typer.BadParameter("only for a single file", param_hint="--at")

    def report(snapshot: Snapshot, applied: Applied) -> None:
        if applied.outcome == "skipped":
            say(f"{snapshot.name}: there already")
        else:
            say(
                f"{snapshot.name}: {applied.outcome}, {counted(applied.teams or 0, 'team')}, {applied.added} added, "
                f"{applied.removed} removed, {applied.updated} updated, {applied.moved} moved"
            )

    overrides = board_files.Overrides(board_files.moment_of(at) if at else None, board)
    with session(verbose, direct=True, check=True) as connection, progress(slug) as advance:
        slug = known_slug(connection, slug)
        limit = settings_for(verbose).max_download_mb * 2**20
        board_files.backfill(ArchiveStore(connection), slug, files, overrides, limit, report, advance)


@commands.command()
def export(
    slug: Slug,
    folder: Annotated[Path, typer.Argument(file_okay=False, help="Folder for the ZIPs.")],
    every: Annotated[bool, typer.Option("--all", help="Every past board, a file for each change.")] = False,
    verbose: Verbose = False,
) -> None:
    """Write the current board, or every past one, as Kaggle's files. `backfill` reads them.

    Example: pgleaderboard export titanic ./boards --all
    """
    from pgleaderboard.archives.export import export as write_files
    from pgleaderboard.database import release
    from pgleaderboard.screens.table import counted

    def write(connection: Connection) -> int:
        release.check(connection)
        return write_files(connection, slug, folder, every=every, advance=advance)

    with reading(verbose, direct=True) as server, progress(slug) as advance:
        written = server.ask(write)
    say(f"{counted(written, 'board')} written to {folder}")


@commands.command()
def search(text: Annotated[str, typer.Argument(help="Words of a title.")], verbose: Verbose = False) -> None:
    """List the competitions on Kaggle that match.

    Example: pgleaderboard search 'house prices'
    """
    from pgleaderboard import app

    settings = settings_for(verbose)
    simulated = app.is_simulated(settings, False)
    with app.kaggle(settings, simulated=simulated) as (client, which_kaggle):
        if simulated:
            typer.echo(which_kaggle, err=True)
        elif settings.url or (settings.home / "data").is_dir():
            _wait_for_budget(settings, client, verbose)
        matches, more = client.search(text)
    width = max((len(match.slug) for match in matches), default=0)
    for match in matches:
        deadline = f"{match.deadline:%Y-%m-%d}" if match.deadline else ""
        teams = "" if match.teams is None else str(match.teams)
        say(f"{match.slug:<{width}}  {deadline:<10}  {teams:>6}  {match.title}")
    if more:
        typer.echo("there are more matches: add words", err=True)
    if not matches:
        fail(f"no competition on Kaggle matches {text!r}")


def _wait_for_budget(settings: Settings, client: Kaggle, verbose: bool) -> None:
    """Take a request of the budget that the workers share, where a database keeps one.

    Raises Transient where the budget allows none within _LONGEST_WAIT_FOR_BUDGET.
    """
    from pgleaderboard.database.connect import DatabaseError
    from pgleaderboard.sync.store import take_grant

    wake_at: datetime | None = None
    until = datetime.now(UTC) + _LONGEST_WAIT_FOR_BUDGET
    # Without a database that answers there is nothing to share.
    with (
        contextlib.suppress(DatabaseError, PgleaderboardError),
        session(verbose, direct=True, check=True) as connection,
    ):
        while wake_at := take_grant(connection, client.fingerprint, settings.requests_per_minute):
            if wake_at > until:
                break
            time.sleep(max(0.05, (wake_at - datetime.now(UTC)).total_seconds()))
    if wake_at:
        raise Transient(f"Kaggle asked for a pause until {wake_at.astimezone(UTC):%H:%M:%S} UTC")


@commands.command()
def add(
    slugs: Annotated[list[str], typer.Argument(help="Slugs or URLs of competitions.", callback=without_blanks)],
    event: Annotated[
        str | None, typer.Option(help="Slug of an event in which they count.", autocompletion=complete_event)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the outcome, and change nothing.")] = False,
    verbose: Verbose = False,
) -> None:
    """Follow competitions: their boards are synced from now on. Exits 1 if one was rejected.

    Example: pgleaderboard add titanic https://www.kaggle.com/competitions/digit-recognizer --event neural-night
    """
    from pgleaderboard.archives.lists import import_competitions
    from pgleaderboard.reading.names import known_event

    with session(verbose, direct=True, check=True) as connection:
        if not dry_run:
            show_notices(connection)
        if event is not None:
            _, event = known_event(connection, event)
        rows = import_competitions(connection, slugs, event, keep=not dry_run)
    width = max(len(slug) for slug, _ in rows)
    for slug, outcome in rows:
        say(f"{slug:<{width}}  {outcome}")
    if dry_run:
        say("nothing was changed (--dry-run)")
    if any(outcome.startswith("rejected") for _, outcome in rows):
        raise typer.Exit(1)


@commands.command(name="uninstall")
def uninstall_(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False, verbose: Verbose = False
) -> None:
    """Remove pgleaderboard from the database. Every board and its history goes with it.

    Example: pgleaderboard uninstall
    """
    from pgleaderboard.database import uninstall
    from pgleaderboard.screens.table import counted

    with session(verbose, direct=True) as connection:
        there = uninstall.look(connection)
        say(
            f'schemas kaggle, kaggle_internal and procrastinate of database "{connection.info.dbname}": '
            f"{counted(there.competitions, 'competition')}, {counted(there.boards, 'board')}, "
            f"{counted(there.versions, 'version')} of entries"
        )
        if not yes:
            if not sys.stdin.isatty():
                fail("not a terminal, cannot ask: pass --yes")
            if not typer.confirm("Remove all of it?"):
                fail("nothing was removed")
        uninstall.remove(connection)
        say("removed")
