"""`pgleaderboard plot`: ranks or scores through time, the scores that medals need, and the shake-up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pgleaderboard.cli.console import Slug, Verbose, fail, reading, say, screen

if TYPE_CHECKING:
    from pgleaderboard.database.connect import Connection
    from pgleaderboard.reading.lines import Picture

commands = typer.Typer()

_BOARDS = 200  # that are looked at for the scores of medals, however many there were


@commands.command()
def plot(
    slug: Slug,
    team: Annotated[list[str] | None, typer.Option(help="A team's name or TeamId; may be repeated.")] = None,
    participant: Annotated[
        list[str] | None, typer.Option(help="A Kaggle username, from team to team; may be repeated.")
    ] = None,
    top: Annotated[
        int | None, typer.Option(min=1, max=50, help="The first N teams; 10 without --team and --participant.")
    ] = None,
    score: Annotated[bool, typer.Option("--score", help="Draw scores instead of ranks.")] = False,
    medals: Annotated[bool, typer.Option("--medals", help="Draw the score that each medal needs.")] = False,
    shakeup: Annotated[
        bool, typer.Option("--shakeup", help="Draw each team at its public and its private rank.")
    ] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", dir_okay=False, help="Write a .png or .svg.")] = None,
    verbose: Verbose = False,
) -> None:
    """Draw ranks, or scores, through time; or the shake-up. Into a file, else in the terminal.

    Example: pgleaderboard plot titanic --top 5 -o titanic.svg
    """
    from pgleaderboard.reading import names
    from pgleaderboard.screens import plot

    alone = [name for name, is_given in (("--medals", medals), ("--shakeup", shakeup)) if is_given]
    if len(alone) > 1 or (alone and (team or participant or top or score)):
        raise typer.BadParameter(f"{alone[0]} can be combined with --output only")
    if output is not None and output.suffix.lower() not in plot.SUFFIXES:
        raise typer.BadParameter("the file's name must end in .png or .svg", param_hint="--output")
    if output is None and not screen().is_terminal:
        fail("not a terminal, cannot draw: pass -o FILE.png or -o FILE.svg")

    def read(connection: Connection) -> Callable[[], None]:
        known = names.known_slug(connection, slug)
        if shakeup:
            return _scatter(connection, known, output)
        picture = (
            _medals(connection, known)
            if medals
            else _lines(connection, known, team or [], participant or [], top, by_score=score)
        )
        return lambda: _show(picture, output)

    try:
        with reading(verbose) as server:
            draw = server.ask(read)
        draw()
    except ImportError:
        fail("plots need more packages: pip install 'pgleaderboard[plot]'")


def _lines(
    connection: Connection, slug: str, teams: list[str], participants: list[str], top: int | None, *, by_score: bool
) -> Picture:
    from pgleaderboard.reading import boards
    from pgleaderboard.reading.lines import Picture
    from pgleaderboard.screens import plot

    until, is_higher_better, histories = boards.rank_histories(connection, slug, teams, participants, top)
    lines = []
    for label, steps in histories:
        line = plot.line_of(label, steps, until, by_score=by_score)
        if line is None:
            fail(f"{label!r} has never been on the {slug} board{' with a score' if by_score and steps else ''}")
        lines.append(line)
    title = f"{slug}: {'scores' if by_score else 'ranks'}"
    return Picture(title, lines, by_score=by_score, ascends=by_score and is_higher_better)


def _medals(connection: Connection, slug: str) -> Picture:
    from pgleaderboard.reading import boards, past
    from pgleaderboard.reading.lines import Picture
    from pgleaderboard.screens import plot, scatter

    until, is_higher_better, _ = boards.rank_histories(connection, slug, [], [], 1)
    needed = past.medal_scores(connection, slug, _BOARDS)
    of_medals = {medal: [step for step in needed if step.medal == medal] for medal in scatter.MEDALS}
    lines = {
        medal: line
        for medal, steps in of_medals.items()
        if (line := plot.line_of(medal, steps, until, by_score=True)) is not None
    }
    if not lines:
        fail(f"{slug} gives no medals")
    return Picture(
        f"{slug}: the score that each medal needs",
        list(lines.values()),
        by_score=True,
        ascends=is_higher_better,
        colours=[scatter.MEDALS[medal] for medal in lines],
    )


def _show(picture: Picture, output: Path | None) -> None:
    from pgleaderboard.screens import plot
    from pgleaderboard.screens.table import counted

    if output is not None:
        plot.file(output, picture)
        say(f"{counted(len(picture.lines), 'line')} drawn into {output}")
        return
    console = screen()
    width, height = console.size
    room = max(10, height - 3 - len(picture.lines) // 3)
    drawn, legend = plot.terminal(picture, width=width, height=room, colours=console.color_system is not None)
    console.out(drawn, highlight=False)
    for entries in legend:
        console.print(entries, soft_wrap=True)


def _scatter(connection: Connection, slug: str, output: Path | None) -> Callable[[], None]:
    from pgleaderboard.reading import past
    from pgleaderboard.screens import scatter
    from pgleaderboard.screens.table import counted

    shaken = past.shaken(past.shakeup(connection, slug, None))
    if not shaken.moved:
        fail(f"{slug} has no private board yet to compare the public one with")
    medals = past.medals_of(connection, slug, [private for _, private in shaken.moved], shaken.teams)

    def draw() -> None:
        if output is not None:
            scatter.file(output, slug, shaken, medals)
            say(f"{counted(len(shaken.moved), 'team')} drawn into {output}; {scatter.words(shaken)}")
            return
        console = screen()
        width, height = console.size
        room = {"width": min(width, 2 * height), "height": max(10, height - 3)}
        say(f"{slug}: {scatter.words(shaken)}")
        console.out(scatter.terminal(shaken, medals, **room, colours=console.color_system is not None), highlight=False)

    return draw
