"""Draws the standing of an event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.text import Text

from pgleaderboard.reading.events import Explanation, Shown, Standing
from pgleaderboard.reading.formats import as_json, markdown, moments, number, standing_csv, standing_json
from pgleaderboard.screens.table import (
    Column,
    counted,
    duration,
    fitting,
    foreign,
    moment,
    moment_here,
    table,
    wrapped,
)


@dataclass(frozen=True)
class StandingView:
    """The standing of an event. command: what shows all of it."""

    standing: Standing
    command: str

    @property
    def wake_in(self) -> float | None:
        """Until the event ends, or a planned freeze begins; a minute at most, for the age."""
        event = self.standing.event
        return min([60.0, *((at - event.now).total_seconds() for at in (event.end_date, event.freeze_at) if at)])

    def concerns(self, news: dict[str, Any]) -> bool:
        """A sync of a board that counts in the event, and any edit: a freeze, a roster, a weight, a name."""
        if news.get("type") == "job_inserted":
            return False
        return "competition_id" not in news or news["competition_id"] in self.standing.event.competition_ids

    def draw(self, width: int | None, height: int | None) -> list[Text]:
        """A title, then a line for each person; as many as fit into the height."""
        event = self.standing.event
        count = counted(len(event.competition_ids), "competition")
        title = " \u00b7 ".join((foreign(event.title), event.status, _when(event), count))
        lines = wrapped(title, width, "bold")
        if event.freeze_at and event.at is None:
            lines += wrapped(f"a freeze is planned for {moment_here(event.freeze_at)}", width, "dim")
        if event.page_frozen_at and event.state != "frozen":
            lines += wrapped(f"the page is frozen since {moment_here(event.page_frozen_at)}", width, "dim")
        if event.changed:
            changed = f"boards have changed since: {', '.join(event.changed)}"
            lines += wrapped(f"{changed}; pgleaderboard event reopen {event.slug} counts them", width, "yellow")
        for problem in dict.fromkeys(problem for _, problem in event.late):
            slugs = ", ".join(slug for slug, why in event.late if why == problem)
            lines += wrapped(f"not current: {slugs}: {foreign(problem)}", width, "red")
        lines.append(Text())
        columns = (
            Column("PLACE", lambda p: str(p.place), right=True),
            Column("NAME", lambda p: (foreign(_name(p)), "bold" if p.is_registered else ""), flexible=16),
            Column("POINTS", lambda p: number(p.points), right=True),
            Column("ENTERED", lambda p: str(p.competitions_entered), right=True),
            Column("USER", lambda p: (foreign(p.kaggle_username), "dim"), flexible=10, optional=True),
            Column("LAST (UTC)", lambda p: (moment(p.last_submission_at), "dim"), optional=True),
        )
        places, rest = fitting(self.standing.places, height, len(lines), width, self.command)
        return [*lines, *table(columns, places, width), *rest]

    def csv(self) -> str:
        """A line for each person."""
        return standing_csv(self.standing)

    def json(self) -> str:
        """One document."""
        return standing_json(self.standing)

    def md(self) -> str:
        """A Markdown table for a README or a chat."""
        return "| Place | Name | Points | Competitions |\n| ---: | :--- | ---: | ---: |\n" + "".join(
            f"| {p.place} | {markdown(_name(p))} | {number(p.points)} | {p.competitions_entered} |\n"
            for p in self.standing.places
        )


@dataclass(frozen=True)
class ExplanationView:
    """The points of a person in an event, competition by competition."""

    explanation: Explanation

    @property
    def wake_in(self) -> None:
        """It is shown once."""

    def concerns(self, news: dict[str, Any]) -> bool:
        """It is shown once."""
        return False

    def draw(self, width: int | None, height: int | None) -> list[Text]:
        """A title, then a line for each competition, those that were not entered last."""
        e = self.explanation
        place = f"place {e.person.place} with {number(e.person.points)} points"
        title = " \u00b7 ".join((foreign(_name(e.person)), place, foreign(e.event.title), _when(e.event)))
        columns = (
            Column("COMPETITION", lambda r: foreign(r[0]), flexible=16),
            Column("PLACE", lambda r: r[1], right=True),
            Column("SCORE", lambda r: r[2], right=True),
            Column("COUNTED BY", lambda r: r[3]),
            Column("WEIGHT", lambda r: r[4], right=True),
            Column("POINTS", lambda r: r[5], right=True),
            Column("TEAM", lambda r: (foreign(r[6]), "dim"), flexible=10, optional=True),
            Column("BOARD (UTC)", lambda r: (r[7], "dim"), optional=True),
        )
        lines: list[tuple[str, ...]] = [
            (
                r.kaggle_competition_id,
                f"{r.place} of {r.teams}",
                number(r.score),
                r.counted_by,
                number(r.weight),
                f"{r.points:.6f}",
                r.team_name,
                f"{r.board}, {moment(r.observed_at)}",
            )
            for r in e.results
        ]
        lines += [
            (slug, "", "", "not entered" if has_board else "no board yet", "", "0", "", "")
            for slug, has_board in e.missing
        ]
        return [*wrapped(title, width, "bold"), Text(), *table(columns, lines, width)]

    def json(self) -> str:
        """One document."""
        e = self.explanation
        return as_json(
            event_slug=e.event.slug,
            **moments(e.event),
            person=e.person._asdict(),
            results=[result._asdict() for result in e.results],
            not_entered=[slug for slug, _ in e.missing],
        )


def _name(place: Any) -> str:
    return str(place.display_name or place.kaggle_username)


def _when(event: Shown) -> str:
    if event.at:
        return f"{'' if event.state == 'live' else f'{event.state}, '}as of {moment_here(event.at)}"
    if event.state == "live":
        return f"live, boards at most {duration(event.now - event.as_of)} old" if event.as_of else "live, no board yet"
    if event.as_of is None:
        return f"{event.state}, no board yet"
    if event.state == "provisional":
        return f"provisional, boards since {moment_here(event.as_of)}"
    return f"{event.state} {'as of' if event.state == 'frozen' else 'since'} {moment_here(event.as_of)}"
