"""`pgleaderboard plot`: ranks or scores through time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pgleaderboard.cli.console import Slug, Verbose, fail, say, screen, session
from pgleaderboard.errors import NeedsPerson

if TYPE_CHECKING:
    from pgleaderboard.database.connect import Connection
    from pgleaderboard.screens.plot import Line

commands = typer.Typer()


@commands.command()
def plot(
    slug: Slug,
    team: Annotated[
        list[str] | None, typer.Option(help="A team's name or TeamId; may be repeated.", show_default=False)
    ] = None,
    participant: Annotated[
        list[str] | None,
        typer.Option(help="A Kaggle username, from team to team; may be repeated.", show_default=False),
    ] = None,
    top: Annotated[
        int | None, typer.Option(min=1, max=50, help="The first N teams; 10 without --team and --participant.")
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
    from pgleaderboard.reading import names
    from pgleaderboard.screens import plot
    from pgleaderboard.screens.table import counted

    if output is not None and output.suffix.lower() not in plot.SUFFIXES:
        raise typer.BadParameter("the file's name must end in .png or .svg", param_hint="--output")
    console = screen()
    if output is None and not console.is_terminal:
        fail("not a terminal, cannot draw: pass -o FILE.png or -o FILE.svg")
    with session(verbose) as connection:
        slug = names.known_slug(connection, slug)
        lines = _lines(connection, slug, team or [], participant or [], top, by_score=score)
    title = f"{slug}: {'scores' if score else 'ranks'}"
    if output is not None:
        plot.file(output, title, lines, by_score=score)
        say(f"{counted(len(lines), 'line')} drawn into {output}")
    else:
        width, height = console.size
        room = max(10, height - 3 - len(lines) // 3)
        colours = console.color_system is not None
        drawn, legend = plot.terminal(title, lines, by_score=score, width=width, height=room, colours=colours)
        console.out(drawn, highlight=False)
        console.print(legend)


def _lines(
    connection: Connection, slug: str, teams: Sequence[str], users: Sequence[str], top: int | None, *, by_score: bool
) -> list[Line]:
    """The lines of teams and users. Raises NeedsPerson for one without any."""
    from pgleaderboard.reading import asking, boards
    from pgleaderboard.screens.plot import line_of

    with asking.snapshot(connection):
        until = boards.observed_at(connection, slug)
        if until is None:
            raise NeedsPerson(f"{slug} has no board yet")
        chosen = [team_id for name in teams for team_id in boards.teams_called(connection, slug, name)]
        if top is not None or not (teams or users):
            chosen += boards.top_teams(connection, slug, top or 10)
        team_ids = list(dict.fromkeys(chosen))
        steps_of_teams = boards.rank_history_of_teams(connection, slug, team_ids)
        labelled: list[tuple[str, list[boards.Step]]] = []
        for team_id in team_ids:
            steps = [step for step in steps_of_teams if step.team_id == team_id]
            labelled.append((steps[-1].team_name if steps else str(team_id), steps))
        labelled += [(user, boards.rank_history_of_user(connection, slug, user)) for user in users]
        gone = boards.vanished(connection, slug, [step.team_id for _, steps in labelled for step in steps])
    lines = []
    for label, steps in labelled:
        own = {step.team_id for step in steps}
        line = line_of(label, steps, [(team, at) for team, at in gone if team in own], until, by_score=by_score)
        if line is None:
            scored = " with a score" if by_score and steps else ""
            raise NeedsPerson(f"{label!r} has never been on the {slug} board{scored}")
        lines.append(line)
    return lines
