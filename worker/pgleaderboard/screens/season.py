"""Draws the standing of a season, the ratings, and a person over all competitions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.text import Text

from pgleaderboard.reading.formats import (
    explained,
    markdown,
    person_csv,
    person_json,
    ratings_csv,
    ratings_json,
    season_csv,
    season_json,
)
from pgleaderboard.reading.people import Person
from pgleaderboard.reading.seasons import Ratings, Season
from pgleaderboard.screens.table import Column, counted, foreign, moment, moment_here, table, wrapped

_MEDALS = {"gold": "bold yellow", "silver": "bold", "bronze": "red"}


@dataclass(frozen=True)
class _Once:
    """A view that is not watched: what it tells changes with the end of a competition."""

    @property
    def wake_in(self) -> None:
        """It is shown once."""

    def concerns(self, news: dict[str, Any]) -> bool:
        """It is shown once."""
        return False


@dataclass(frozen=True)
class SeasonView(_Once):
    """The standing of a season."""

    season: Season

    def draw(self, width: int | None, height: int | None) -> list[Text]:
        """A title, then a line for each person."""
        season = self.season
        best = f", the best {season.best} of each person" if season.best else ""
        title = f"Season {season.name} \u00b7 Kaggle's points without decay{best}"
        columns = (
            Column("PLACE", lambda p: str(p.place), right=True),
            Column("NAME", lambda p: (foreign(_name(p)), "bold"), flexible=16),
            Column("POINTS", lambda p: f"{p.points:,.1f}", right=True),
            Column("COMPETITIONS", lambda p: str(p.competitions), right=True),
            Column("USER", lambda p: (foreign(p.kaggle_username), "dim"), flexible=10, optional=True),
        )
        nobody = "Nobody who is registered was on a board of a competition that ended then."
        return [*wrapped(title, width, "bold"), Text(), *_lines(columns, season.places, width, nobody)]

    def csv(self) -> str:
        """A line for each person."""
        return season_csv(self.season)

    def json(self) -> str:
        """One document."""
        return season_json(self.season)

    def md(self) -> str:
        """A Markdown table."""
        return "| Place | Name | Points | Competitions |\n| ---: | :--- | ---: | ---: |\n" + "".join(
            f"| {p.place} | {markdown(_name(p))} | {p.points:,.1f} | {p.competitions} |\n" for p in self.season.places
        )


@dataclass(frozen=True)
class RatingsView(_Once):
    """How strong everybody is."""

    ratings: Ratings

    def draw(self, width: int | None, height: int | None) -> list[Text]:
        """A title, then a line for each person."""
        title = f"Ratings as of {moment_here(self.ratings.at)}"
        columns = (
            Column("PLACE", lambda p: str(p.place), right=True),
            Column("NAME", lambda p: (foreign(_name(p)), "bold"), flexible=16),
            Column("RATING", lambda p: f"{p.rating:,.1f}", right=True),
            Column("LAST", lambda p: _signed(p.last_change), right=True),
            Column("COMPETITIONS", lambda p: str(p.competitions), right=True),
            Column("USER", lambda p: (foreign(p.kaggle_username), "dim"), flexible=10, optional=True),
        )
        nobody = "Nobody who is registered was on a board of a completed competition."
        return [*wrapped(title, width, "bold"), Text(), *_lines(columns, self.ratings.places, width, nobody)]

    def csv(self) -> str:
        """A line for each person."""
        return ratings_csv(self.ratings)

    def json(self) -> str:
        """One document."""
        return ratings_json(self.ratings)

    def md(self) -> str:
        """A Markdown table."""
        return "| Place | Name | Rating | Last | Competitions |\n| ---: | :--- | ---: | ---: | ---: |\n" + "".join(
            f"| {p.place} | {markdown(_name(p))} | {p.rating:,.1f} | {_signed(p.last_change)[0]} | {p.competitions} |\n"
            for p in self.ratings.places
        )


@dataclass(frozen=True)
class PersonView(_Once):
    """A registered person, competition by competition."""

    person: Person

    def draw(self, width: int | None, height: int | None) -> list[Text]:
        """A title, then a line for each competition: those that go on, then from the latest end to the first."""
        person = self.person
        name = foreign(person.display_name or person.username)
        facts = [
            name + (f" ({foreign(person.username)})" if person.display_name else ""),
            "not rated yet" if person.rating is None else f"rating {person.rating:,.1f}",
            counted(len(person.results), "competition"),
        ]
        columns = (
            Column("COMPETITION", lambda r: (foreign(r.kaggle_competition_id), "bold"), flexible=16),
            Column("RANK", lambda r: f"{r.rank:,}", right=True),
            Column("OF", lambda r: f"{r.teams:,}", right=True),
            Column("MEDAL", _medal),
            Column("POINTS", lambda r: "" if r.points is None else f"{r.points:,.1f}", right=True),
            Column("RATING", lambda r: "" if r.rating is None else f"{r.rating:,.1f}", right=True),
            Column("CHANGE", lambda r: _signed(r.change), right=True),
            Column("ENDED (UTC)", lambda r: _ended(r), optional=True),
            Column("WHY", lambda r: ("" if r.rating is None else explained(r), "dim"), optional=True),
            Column("TEAM", lambda r: (foreign(r.team_name), "dim"), flexible=10, optional=True),
        )
        title = " \u00b7 ".join(facts)
        return [*wrapped(title, width, "bold"), Text(), *_lines(columns, person.results, width, "On no board.")]

    def csv(self) -> str:
        """A line for each competition."""
        return person_csv(self.person)

    def json(self) -> str:
        """One document."""
        return person_json(self.person)

    def md(self) -> str:
        """A Markdown table."""
        head = (
            "| Competition | Rank | Medal | Points | Rating | Change |\n| :--- | ---: | :--- | ---: | ---: | ---: |\n"
        )
        return head + "".join(
            f"| {markdown(r.kaggle_competition_id)} | {r.rank:,} of {r.teams:,} | {_medal(r)[0]} "
            f"| {'' if r.points is None else f'{r.points:,.1f}'} "
            f"| {'' if r.rating is None else f'{r.rating:,.1f}'} | {_signed(r.change)[0]} |\n"
            for r in self.person.results
        )


def _lines(columns: tuple[Column, ...], rows: Any, width: int | None, nobody: str) -> list[Text]:
    return list(table(columns, rows, width)) if rows else wrapped(nobody, width, "dim")


def _name(place: Any) -> str:
    return str(place.display_name or place.kaggle_username)


def _signed(change: float | None) -> tuple[str, str]:
    if change is None:
        return "", ""
    text = f"{change:+.1f}"
    return ("0.0", "dim") if text in ("+0.0", "-0.0") else (text, "green" if change > 0 else "red")


def _medal(result: Any) -> tuple[str, str]:
    # Of a competition that goes on it is only the zone.
    if result.medal is None:
        return "", ""
    return f"{result.medal}{'' if result.ended_at else ' zone'}", _MEDALS[result.medal]


def _ended(result: Any) -> tuple[str, str]:
    return (moment(result.ended_at) if result.ended_at else "goes on", "dim")
