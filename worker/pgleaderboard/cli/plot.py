"""`pgleaderboard plot`: ranks or scores through time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pgleaderboard.cli.console import Slug, Verbose, fail, say, screen, session

commands = typer.Typer()


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
    output: Annotated[Path | None, typer.Option("--output", "-o", dir_okay=False, help="Write a .png or .svg.")] = None,
    verbose: Verbose = False,
) -> None:
    """Draw ranks, or scores, through time. Into a file, else in the terminal.

    Example: pgleaderboard plot titanic --top 5 -o titanic.svg
    """
    from pgleaderboard.reading import boards, names
    from pgleaderboard.reading.lines import Picture
    from pgleaderboard.screens import plot
    from pgleaderboard.screens.table import counted

    if output is not None and output.suffix.lower() not in plot.SUFFIXES:
        raise typer.BadParameter("the file's name must end in .png or .svg", param_hint="--output")
    console = screen()
    if output is None and not console.is_terminal:
        fail("not a terminal, cannot draw: pass -o FILE.png or -o FILE.svg")
    with session(verbose) as connection:
        slug = names.known_slug(connection, slug)
        until, is_higher_better, histories = boards.rank_histories(connection, slug, team or [], participant or [], top)
    lines = []
    for label, steps in histories:
        drawn_line = plot.line_of(label, steps, until, by_score=score)
        if drawn_line is None:
            fail(f"{label!r} has never been on the {slug} board{' with a score' if score and steps else ''}")
        lines.append(drawn_line)
    title = f"{slug}: {'scores' if score else 'ranks'}"
    picture = Picture(title, lines, by_score=score, ascends=score and is_higher_better)
    try:
        if output is not None:
            plot.file(output, picture)
            say(f"{counted(len(lines), 'line')} drawn into {output}")
        else:
            width, height = console.size
            room = max(10, height - 3 - len(lines) // 3)
            colours = console.color_system is not None
            drawn, legend = plot.terminal(picture, width=width, height=room, colours=colours)
            console.out(drawn, highlight=False)
            for entries in legend:
                console.print(entries, soft_wrap=True)
    except ImportError:
        fail("plots need more packages: pip install 'pgleaderboard[plot]'")
