"""The command that registers people for an event."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pgleaderboard.cli.console import Verbose, complete_event, fail, say, session

commands = typer.Typer()
participants = typer.Typer(
    no_args_is_help=True,
    help="Register people for an event.\n\nExample: pgleaderboard participants add neural-night names.csv",
)
commands.add_typer(participants, name="participants")

Event = Annotated[str, typer.Argument(help="Slug of the event.", autocompletion=complete_event)]


@participants.command()
def add(
    event: Event,
    file: Annotated[str, typer.Argument(metavar="FILE.csv|-", help="A CSV of names or profile URLs; - is stdin.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the outcome, and change nothing.")] = False,
    verbose: Verbose = False,
) -> None:
    """Register the people of a list. The column is headed kaggle_username, username or kaggle, else the first.

    A column headed display_name has the names to show. A bad line stops no other; exits 1 if one was rejected.

    Example: pgleaderboard participants add neural-night names.csv
    """
    from pgleaderboard.archives.lists import import_participants, read_people
    from pgleaderboard.reading.names import known_event

    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        fail(f"cannot read {file}: {error.strerror}")
    people = read_people(content)
    with session(verbose, direct=True, check=True) as connection:
        _, slug = known_event(connection, event)
        outcomes = import_participants(connection, [(name, shown) for _, name, shown in people], slug, keep=not dry_run)
    width = max((len(name) for name, _ in outcomes), default=0)
    for (number, _, _), (name, outcome) in zip(people, outcomes, strict=True):
        say(f"line {number:<4}  {name:<{width}}  {outcome}")
    if not outcomes:
        say("the list is empty")
    if dry_run:
        say("nothing was changed (--dry-run)")
    if any(outcome.startswith("rejected") for _, outcome in outcomes):
        raise typer.Exit(1)
