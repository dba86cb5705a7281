"""The commands over many competitions: the standing of a season, the ratings, and a person."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from pgleaderboard.cli.boards import At, Csv, Json, Md, Top, past_moment, present
from pgleaderboard.cli.console import Verbose, complete_person

if TYPE_CHECKING:
    from pgleaderboard.database.connect import Connection
    from pgleaderboard.screens.table import View

commands = typer.Typer()


def _span(number: int | None, since: str | None, until: str | None) -> tuple[datetime, datetime]:
    from pgleaderboard.archives.files import moment_of
    from pgleaderboard.reading.seasons import year

    if number is not None and (since or until):
        raise typer.BadParameter("give a year, or --since and --until")
    begin, end = year(number or (moment_of(since) if since else datetime.now(UTC)).year)
    begin = moment_of(since) if since else begin
    end = moment_of(until) if until else end
    if begin >= end:
        raise typer.BadParameter("the season ends before it begins", param_hint="--until")
    return begin, end


@commands.command()
def season(
    year: Annotated[int | None, typer.Argument(min=1970, max=9998, help="A year; this one without it.")] = None,
    since: Annotated[str | None, typer.Option(help="Competitions that ended from then on (ISO 8601, UTC).")] = None,
    until: Annotated[str | None, typer.Option(help="Competitions that ended before then.")] = None,
    best: Annotated[int | None, typer.Option(min=1, help="Only the best N competitions of each person count.")] = None,
    top: Top = None,
    csv: Csv = False,
    json: Json = False,
    md: Md = False,
    verbose: Verbose = False,
) -> None:
    """Show the standing of a season. Kaggle's points of all registered people over the competitions that ended in it.

    Example: pgleaderboard season 2026 --best 5
    """
    from pgleaderboard.reading import seasons
    from pgleaderboard.screens.season import SeasonView

    begin, end = _span(year, since, until)

    def read(connection: Connection) -> View:
        return SeasonView(seasons.season(connection, begin, end, best, top=top, is_page=False))

    present(read, verbose, csv=csv, json=json, md=md)


@commands.command()
def ratings(
    at: At = None,
    top: Top = None,
    k: Annotated[float, typer.Option(min=0, max=1000, help="How fast ratings change.")] = 32,
    start: Annotated[float, typer.Option(min=-100_000, max=100_000, help="The rating everybody begins with.")] = 1500,
    csv: Csv = False,
    json: Json = False,
    md: Md = False,
    verbose: Verbose = False,
) -> None:
    """Show the ratings of all registered people. Replayed from all completed competitions, in the order of their ends.

    Example: pgleaderboard ratings --at 2026-06-30 --md
    """
    from pgleaderboard.reading import seasons
    from pgleaderboard.screens.season import RatingsView

    moment = past_moment(at)

    def read(connection: Connection) -> View:
        return RatingsView(seasons.ratings(connection, moment, k=k, start=start, top=top, is_page=False))

    present(read, verbose, csv=csv, json=json, md=md)


@commands.command()
def person(
    name: Annotated[str, typer.Argument(help="A registered Kaggle username.", autocompletion=complete_person)],
    csv: Csv = False,
    json: Json = False,
    md: Md = False,
    verbose: Verbose = False,
) -> None:
    """Show a registered person over all competitions. Rank, medal and points, and what each did to the rating, and why.

    Example: pgleaderboard person gumby --md
    """
    from pgleaderboard.reading import people
    from pgleaderboard.screens.season import PersonView

    present(lambda connection: PersonView(people.anybody(connection, name)), verbose, csv=csv, json=json, md=md)
