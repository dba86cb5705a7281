"""Draws the standing of an event."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from pgleaderboard.reading.events import Standing
from pgleaderboard.screens.files import as_json, csv_line, fields_of, markdown
from pgleaderboard.screens.table import Column, counted, foreign, moment, number, table, wrapped


@dataclass(frozen=True)
class StandingView:
    """The standing of an event."""

    standing: Standing

    @property
    def wake_in(self) -> float | None:
        """Until the end of the event, which freezes the standing."""
        end, at = self.standing.end_date, self.standing.at
        return (end - at).total_seconds() if end and end > at else None

    def concerns(self, news: dict[str, Any]) -> bool:
        """A change of a board that counts in the event."""
        return news.get("competition_id") in self.standing.competition_ids

    def draw(self, width: int | None, height: int | None) -> list[Text]:
        """A title, then a line for each person; as many as fit into the height."""
        standing = self.standing
        when = f"as of {moment(standing.shown_at, seconds=True)} UTC" if standing.shown_at else "live"
        count = counted(len(standing.competition_ids), "competition")
        title = " \u00b7 ".join((foreign(standing.title), standing.status, when, count))
        lines = [*wrapped(title, width, "bold"), Text()]
        columns = (
            Column("PLACE", right=True),
            Column("NAME", flexible=16),
            Column("POINTS", right=True),
            Column("ENTERED", right=True),
            Column("USER", flexible=10, optional=True),
            Column("LAST (UTC)", optional=True),
        )
        rows = [
            (
                (str(place.place), ""),
                (foreign(place.display_name or place.kaggle_username), "bold" if place.is_registered else ""),
                (number(place.points), ""),
                (str(place.competitions_entered), ""),
                (foreign(place.kaggle_username), "dim"),
                (moment(place.last_submission_at), "dim"),
            )
            for place in standing.places[: None if height is None else max(0, height - len(lines) - 1)]
        ]
        return [*lines, *table(columns, rows, width)]

    def csv(self) -> Iterator[str]:
        """A line for each person."""
        yield "Place,KaggleUsername,DisplayName,IsRegistered,Points,CompetitionsEntered,LastSubmissionDate\n"
        for place in self.standing.places:
            yield csv_line(
                str(place.place),
                place.kaggle_username,
                place.display_name or "",
                str(place.is_registered).lower(),
                number(place.points),
                str(place.competitions_entered),
                moment(place.last_submission_at, seconds=True),
            )

    def json(self) -> Iterator[str]:
        """One document."""
        standing = self.standing
        return as_json(
            {
                "event_slug": standing.slug,
                "title": standing.title,
                "status": standing.status,
                "at": standing.shown_at or standing.at,
                "is_live": standing.shown_at is None,
                "standing": [fields_of(place) for place in standing.places],
            }
        )

    def md(self) -> Iterator[str]:
        """A Markdown table for a README or a chat."""
        yield "| Place | Name | Points | Competitions |\n"
        yield "| ---: | :--- | ---: | ---: |\n"
        for place in self.standing.places:
            name = markdown(place.display_name or place.kaggle_username)
            yield f"| {place.place} | {name} | {number(place.points)} | {place.competitions_entered} |\n"
