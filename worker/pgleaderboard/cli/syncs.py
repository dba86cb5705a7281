"""The commands that request, switch off and wait for syncs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from pgleaderboard.cli.console import (
    Slugs,
    Verbose,
    complete_slug,
    fail,
    progress,
    say,
    session,
    show_notices,
    without_blanks,
)
from pgleaderboard.errors import Transient

if TYPE_CHECKING:
    from pgleaderboard.database.connect import Connection

commands = typer.Typer()

Wait = Annotated[bool, typer.Option("--wait", help="Wait for the end of the syncs; exit 1 if one failed.")]
Timeout = Annotated[int, typer.Option(min=1, max=86400, help="Seconds that --wait waits in total.")]


@commands.command()
def sync(slugs: Slugs, wait: Wait = False, timeout: Timeout = 300, verbose: Verbose = False) -> None:
    """Sync competitions now, whatever their status.

    Example: pgleaderboard sync titanic digit-recognizer --wait
    """
    with session(verbose, direct=wait) as connection:
        show_notices(connection)
        _request(connection, _known(connection, slugs), "sync", wait, timeout)


@commands.command()
def pause(
    slugs: Slugs,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end of running syncs.")] = False,
    timeout: Timeout = 300,
    verbose: Verbose = False,
) -> None:
    """Switch automatic syncs off. A running sync goes on, and `sync` still works.

    Example: pgleaderboard pause titanic --wait
    """
    from pgleaderboard.reading import syncs

    with session(verbose) as connection:
        known = _known(connection, slugs)
        for slug in known:
            say(f"{slug}: paused" if syncs.set_auto_sync(connection, slug, False) else f"{slug}: already paused")
        if not wait:
            return
        until = time.monotonic() + timeout
        with progress("waiting") as advance:
            advance(len(known), 0)
            for slug in known:
                if syncs.wait_while_running(connection, slug, timedelta(seconds=until - time.monotonic())):
                    say(f"{slug}: its sync has ended")
                advance(0, 1)


@commands.command()
def resume(slugs: Slugs, wait: Wait = False, timeout: Timeout = 300, verbose: Verbose = False) -> None:
    """Switch automatic syncs on again.

    Example: pgleaderboard resume titanic --wait
    """
    from pgleaderboard.reading import syncs
    from pgleaderboard.screens.table import moment_here

    with session(verbose, direct=wait) as connection:
        show_notices(connection)
        begun = []
        for slug in _known(connection, slugs):
            resumed = syncs.set_auto_sync(connection, slug, True)
            if resumed is None:
                say(f"{slug}: not paused")
            elif resumed.status == "ongoing":
                begun.append(slug)
                say(f"{slug}: resumed, syncs now")
            elif resumed.status == "upcoming":
                start = resumed.start_date
                say(f"{slug}: resumed, syncs when it begins{f' ({moment_here(start)})' if start else ''}")
            else:
                say(f"{slug}: resumed; it is completed")
        if wait and begun:
            _wait_for(connection, begun, timeout)


@commands.command()
def retry(
    slugs: Annotated[
        list[str] | None,
        typer.Argument(help="Slugs of failing competitions.", autocompletion=complete_slug, callback=without_blanks),
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="All competitions whose last sync failed.")] = False,
    wait: Wait = False,
    timeout: Timeout = 300,
    verbose: Verbose = False,
) -> None:
    """Retry failed syncs now.

    Example: pgleaderboard retry --failed --wait
    """
    from pgleaderboard.reading import syncs

    if bool(slugs) == failed:
        raise typer.BadParameter("pass either --failed or the slugs of competitions")
    with session(verbose, direct=wait) as connection:
        show_notices(connection)
        failing = syncs.failing(connection)
        chosen = failing if failed else _known(connection, slugs or [])
        for slug in chosen:
            if slug not in failing:
                say(f"{slug}: not failing, nothing to retry")
        if failed and not failing:
            say("nothing is failing")
        _request(connection, [slug for slug in chosen if slug in failing], "retry", wait, timeout)


def _known(connection: Connection, names_: Sequence[str]) -> list[str]:
    """The slugs as they are stored, without repetitions. Raises NeedsPerson for the first unknown one."""
    from pgleaderboard.reading.names import known_slug

    return list(dict.fromkeys(known_slug(connection, name) for name in names_))


def _request(connection: Connection, slugs: Sequence[str], what: str, wait: bool, timeout: int) -> None:
    """Request syncs, and wait for them or print that they were requested."""
    from pgleaderboard.reading import syncs

    syncs.request_syncs(connection, slugs)
    if wait:
        _wait_for(connection, slugs, timeout)
    else:
        for slug in slugs:
            say(f"{slug}: {what} requested")


def _wait_for(connection: Connection, slugs: Sequence[str], seconds: int) -> None:
    """Wait for requested syncs and print each outcome; exit 1 if one failed or the time is over."""
    from pgleaderboard.reading import asking, syncs
    from pgleaderboard.screens.status import result

    failed = 0
    until = time.monotonic() + seconds
    with progress("syncing") as advance:
        advance(len(slugs), 0)
        for slug in slugs:
            try:
                with asking.in_words(connection):
                    run = syncs.wait(connection, slug, timedelta(seconds=max(0, round(until - time.monotonic()))))
            except Transient as error:
                failed += 1
                say(f"{slug}: {error}")
            else:
                failed += run.outcome in ("failed", "skipped")
                say(f"{slug}: {', '.join(filter(None, (run.outcome, result(run))))}")
            advance(0, 1)
    if failed:
        fail(f"{failed} of {len(slugs)} failed")
