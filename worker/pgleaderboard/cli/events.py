"""The commands of an organiser: an event's freeze, and its final standing."""

from __future__ import annotations

from typing import Annotated

import typer

from pgleaderboard.cli.console import Verbose, complete_event, say, session

commands = typer.Typer()
event = typer.Typer(
    no_args_is_help=True,
    help="Freeze the standing of an event, and make it final.\n\nExample: pgleaderboard event freeze neural-night",
)
commands.add_typer(event, name="event")

Event = Annotated[str, typer.Argument(metavar="SLUG", help="Slug of the event.", autocompletion=complete_event)]


@event.command()
def freeze(
    slug: Event,
    at: Annotated[
        str | None, typer.Option(help="Since this time, past or ahead (ISO 8601, UTC without a zone); now without it.")
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Have readers see the standing as of a time, until it is unfrozen. Syncs go on.

    Example: pgleaderboard event freeze neural-night --at '2026-11-01 21:00'
    """
    from pgleaderboard.archives import events
    from pgleaderboard.archives.files import moment_of
    from pgleaderboard.screens.table import moment_here

    with session(verbose, check=True) as connection:
        frozen_at, has_come = events.freeze(connection, slug, moment_of(at) if at else None)
    when = moment_here(frozen_at)
    say(f"{slug}: {f'readers see the standing of {when}' if has_come else f'a freeze is planned for {when}'}")


@event.command()
def unfreeze(slug: Event, verbose: Verbose = False) -> None:
    """Have readers see the standing again.

    Example: pgleaderboard event unfreeze neural-night
    """
    from pgleaderboard.archives import events

    with session(verbose, check=True) as connection:
        was_frozen = events.unfreeze(connection, slug)
    say(f"{slug}: {'the freeze is lifted' if was_frozen else 'there was no freeze'}")


@event.command()
def finalize(
    slug: Event,
    anyway: Annotated[bool, typer.Option("--anyway", help="Though competitions have no board since the end.")] = False,
    verbose: Verbose = False,
) -> None:
    """Make the standing of an event that has ended final. Nothing changes it from then on.

    Example: pgleaderboard event finalize neural-night
    """
    from pgleaderboard.archives import events
    from pgleaderboard.screens.table import counted, moment_here

    with session(verbose, check=True) as connection:
        boards = events.finalize(connection, slug, anyway=anyway)
    width = max((len(board.kaggle_competition_id) for board in boards), default=0)
    for board in boards:
        rests_on = (
            f"{board.board} board of {moment_here(board.observed_at)}, {counted(board.teams, 'team')}"
            if board.board
            else "no board"
        )
        say(f"{board.kaggle_competition_id:<{width}}  {rests_on}")
    say(f"{slug}: final")


@event.command()
def reopen(slug: Event, verbose: Verbose = False) -> None:
    """Take a final standing back: it is provisional again.

    Example: pgleaderboard event reopen neural-night
    """
    from pgleaderboard.archives import events

    with session(verbose, check=True) as connection:
        events.reopen(connection, slug)
    say(f"{slug}: provisional again")
