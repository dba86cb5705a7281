"""The commands around the worker: boards from files and into files, competitions found and added, and the way out."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import psycopg
import typer

from pgleaderboard import app
from pgleaderboard.archives import files as board_files
from pgleaderboard.archives.backfill import ArchiveStore, Snapshot
from pgleaderboard.archives.export import export as write_files
from pgleaderboard.cli.console import Verbose, fail, one_line, progress, say, settings_for, show_notices
from pgleaderboard.database import release, uninstall
from pgleaderboard.database.connect import connect
from pgleaderboard.errors import PgleaderboardError, Transient
from pgleaderboard.kaggle.client import Kaggle
from pgleaderboard.reading import names
from pgleaderboard.settings import Settings
from pgleaderboard.sync.board import BoardKind
from pgleaderboard.sync.store import Applied, import_competitions, take_grant

commands = typer.Typer()

LONGEST_WAIT = timedelta(minutes=1)  # that a search waits for Kaggle's budget

Slug = Annotated[str, typer.Argument(help="The competition's slug, as in its URL.", show_default=False)]


@contextmanager
def _session(settings: Settings, *, check: bool = True) -> Iterator[psycopg.Connection[Any]]:
    """A connection of its own to the right database. check: refuse one of another version."""
    with (
        app.database(settings, simulated=app.is_simulated(settings, False)) as found,
        connect(found.direct_url) as connection,
    ):
        if check:
            release.check(connection)
        yield connection


@commands.command()
def backfill(
    slug: Slug,
    files: Annotated[
        list[Path],
        typer.Argument(exists=True, dir_okay=False, help="Boards: Kaggle's ZIPs, CSV or CSV.gz.", show_default=False),
    ],
    at: Annotated[
        str | None, typer.Option(help="When the board was taken, where its name does not tell (UTC unless said).")
    ] = None,
    board: Annotated[
        BoardKind | None, typer.Option(help="Which board, where the name does not tell.", show_default=False)
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Bring boards from files to where they belong in time, as if each had been synced then.

    Example: pgleaderboard backfill titanic ~/Downloads/titanic-publicleaderboard-*.zip
    """
    with one_line(verbose=verbose):
        if at is not None and len(files) != 1:
            raise typer.BadParameter("it goes with one file only", param_hint="--at")
        settings = settings_for(verbose)
        said = board_files.Overrides(board_files.moment_of(at) if at else None, board)

        with _session(settings) as connection, progress(slug) as (advance, tell):
            slug = names.known_slug(connection, slug)

            def report(snapshot: Snapshot, applied: Applied) -> None:
                if applied.outcome == "skipped":
                    tell(f"{snapshot.name}: there already")
                else:
                    tell(
                        f"{snapshot.name}: {applied.outcome}, {applied.teams} teams, {applied.added} added, "
                        f"{applied.removed} removed, {applied.updated} updated, {applied.moved} moved"
                    )

            limit = settings.max_download_mb * 2**20
            board_files.backfill(ArchiveStore(connection), slug, files, said, limit, report, advance)


@commands.command()
def export(
    slug: Slug,
    folder: Annotated[Path, typer.Argument(file_okay=False, help="Where the ZIPs go.", show_default=False)],
    every: Annotated[bool, typer.Option("--all", help="Every past board, a file each time one changed.")] = False,
    verbose: Verbose = False,
) -> None:
    """Write the board now, or every past one, as Kaggle's files; backfill reads them back.

    Example: pgleaderboard export titanic ./boards --all
    """
    with one_line(verbose=verbose):
        settings = settings_for(verbose)
        with _session(settings) as connection, progress(slug) as (advance, _):
            written = write_files(connection, slug, folder, every=every, advance=advance)
        say(f"{written} board{'' if written == 1 else 's'} written to {folder}")


@commands.command()
def search(
    text: Annotated[str, typer.Argument(help="Words of a title.", show_default=False)], verbose: Verbose = False
) -> None:
    """List the competitions on Kaggle that match.

    Example: pgleaderboard search 'house prices'
    """
    with one_line(verbose=verbose):
        settings = settings_for(verbose)
        simulated = app.is_simulated(settings, False)
        with app.kaggle(settings, simulated=simulated) as (client, which_kaggle):
            if simulated:
                typer.echo(which_kaggle, err=True)
            _wait_for_grant(settings, client, simulated=simulated)
            found, more = client.search(text)
        width = max((len(each.slug) for each in found), default=0)
        for each in found:
            deadline = f"{each.deadline:%Y-%m-%d}" if each.deadline else ""
            teams = "" if each.teams is None else str(each.teams)
            say(f"{each.slug:<{width}}  {deadline:<10}  {teams:>6}  {each.title}")
        if more:
            typer.echo("there are more: say more words", err=True)
        if not found:
            fail(f"Kaggle knows no competition for {text!r}")


def _wait_for_grant(settings: Settings, client: Kaggle, *, simulated: bool) -> None:
    """Take a request of the budget that the workers share, where there is a database that keeps one.

    Raises Transient where the budget allows none for longer than a person waits.
    """
    if simulated or not (settings.url or (settings.home / "data").is_dir()):
        return
    wake_at: datetime | None = None
    until = datetime.now(UTC) + LONGEST_WAIT
    # Without a database that answers there is nothing to share.
    with contextlib.suppress(psycopg.Error, PgleaderboardError), _session(settings) as connection:
        while wake_at := take_grant(connection, client.fingerprint, settings.requests_per_minute):
            if wake_at > until:
                break
            time.sleep(max(0.05, (wake_at - datetime.now(UTC)).total_seconds()))
    if wake_at:
        raise Transient(f"no request to Kaggle may go out before {wake_at.astimezone(UTC):%H:%M:%S} UTC: it asked so")


@commands.command()
def add(
    slugs: Annotated[list[str], typer.Argument(help="Slugs or URLs of competitions.", show_default=False)],
    event: Annotated[str | None, typer.Option(help="Slug of an event to count them in.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and change nothing.")] = False,
    verbose: Verbose = False,
) -> None:
    """Follow competitions: their boards are synced from now on. Exits 1 if any was rejected.

    Example: pgleaderboard add titanic https://www.kaggle.com/competitions/digit-recognizer --event neural-night
    """
    with one_line(verbose=verbose):
        settings = settings_for(verbose)
        with _session(settings) as connection:
            if not dry_run:
                show_notices(connection)
            if event is not None:
                _, event = names.known_event(connection, event)
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
    """Remove pgleaderboard from the database, with every board and its history.

    Example: pgleaderboard uninstall
    """
    with one_line(verbose=verbose):
        settings = settings_for(verbose)
        with _session(settings, check=False) as connection:
            there = uninstall.look(connection)
            say(
                f'schemas kaggle and procrastinate of database "{connection.info.dbname}": '
                f"{there.competitions} competitions, {there.boards} boards, {there.versions} versions of entries"
            )
            if not yes:
                if not sys.stdin.isatty():
                    fail("nobody to ask: say --yes to remove all of it")
                if not typer.confirm("Remove all of it?"):
                    fail("nothing was removed")
            uninstall.remove(connection)
            say("removed")
