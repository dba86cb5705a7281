"""What is shown as CSV, JSON and Markdown. CSV and JSON hold names as they are, Markdown holds them escaped."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from pgleaderboard.logs import harmless
from pgleaderboard.reading.boards import BoardNow
from pgleaderboard.reading.events import Shown, Standing
from pgleaderboard.reading.people import Person
from pgleaderboard.reading.seasons import Ratings, Season

HEADER = "Rank,TeamId,TeamName,LastSubmissionDate,Score,SubmissionCount,TeamMemberUserNames\n"
_OF_THE_BOARD = ("board", "synced_at", "teams", "benchmarks")  # the same in each entry


def board_csv(board: BoardNow) -> str:
    """Kaggle's own file."""
    lines = [HEADER]
    for e in board.entries:
        facts = (e.last_submission_at, e.score, e.submission_count, ",".join(e.member_usernames))
        lines.append(csv_line(e.rank or 0, e.team_id, e.team_name, *facts))
    return "".join(lines)


def board_json(board: BoardNow) -> str:
    """One document."""
    entries = [entry._asdict() for entry in board.entries]
    return as_json(
        kaggle_competition_id=board.slug,
        board=board.kind,
        synced_at=board.synced_at,
        teams=board.teams,
        movement_since=board.since,
        entries=[{name: e[name] for name in e if name not in _OF_THE_BOARD} for e in entries],
    )


def standing_csv(standing: Standing) -> str:
    """A line for each person."""
    lines = ["Place,KaggleUsername,DisplayName,IsRegistered,Points,CompetitionsEntered,LastSubmissionDate\n"]
    for p in standing.places:
        person = (p.kaggle_username, p.display_name, str(p.is_registered).lower())
        lines.append(csv_line(p.place, *person, p.points, p.competitions_entered, p.last_submission_at))
    return "".join(lines)


def standing_json(standing: Standing) -> str:
    """One document."""
    event = standing.event
    return as_json(
        event_slug=event.slug,
        title=event.title,
        status=event.status,
        **moments(event),
        changed_since_final=event.changed,
        standing=[place._asdict() for place in standing.places],
    )


def season_csv(season: Season) -> str:
    """A line for each person."""
    lines = ["Place,KaggleUsername,DisplayName,Points,Competitions\n"]
    lines += [csv_line(*place) for place in season.places]
    return "".join(lines)


def season_json(season: Season) -> str:
    """One document."""
    return as_json(
        since=season.since, until=season.until, best=season.best, standing=[place._asdict() for place in season.places]
    )


def ratings_csv(ratings: Ratings) -> str:
    """A line for each person."""
    lines = ["Place,KaggleUsername,DisplayName,Rating,Competitions,LastChange\n"]
    lines += [csv_line(*place) for place in ratings.places]
    return "".join(lines)


def ratings_json(ratings: Ratings) -> str:
    """One document."""
    return as_json(at=ratings.at, ratings=[place._asdict() for place in ratings.places])


def person_csv(person: Person) -> str:
    """A line for each competition."""
    lines = [
        "KaggleCompetitionId,EndedAt,Board,Rank,Teams,Medal,Score,TeamId,TeamName,Points,ExpectedPlace,Place,RatedTeams,"
        "RatingBefore,RatingChange,Rating\n"
    ]
    for r in person.results:
        board = (
            r.kaggle_competition_id,
            r.ended_at,
            r.board,
            r.rank,
            r.teams,
            r.medal,
            r.score,
            r.team_id,
            r.team_name,
        )
        step = (r.expected_place, r.place, r.rated_teams, r.rating_before, r.change, r.rating)
        lines.append(csv_line(*board, r.points, *step))
    return "".join(lines)


def person_json(person: Person) -> str:
    """One document."""
    return as_json(
        kaggle_username=person.username,
        display_name=person.display_name,
        rating=person.rating,
        results=[result._asdict() for result in person.results],
    )


def moments(event: Shown) -> dict[str, Any]:
    """The state of a standing, and its moments."""
    return {"at": event.at or event.now, "state": event.state, "as_of": event.as_of}


def csv_line(*values: Any) -> str:
    """Quoted as Kaggle quotes: for a space, a comma, a quotation mark and a line's end."""
    fields = [
        f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if isinstance(value, datetime) else number(value)
        for value in values
    ]
    return ",".join(f'"{f.replace(chr(34), chr(34) * 2)}"' if re.search('[ ,"\r\n]', f) else f for f in fields) + "\n"


def as_json(**document: Any) -> str:
    """Times in ISO 8601 and UTC, exact numbers as strings; ASCII, so that no name can harm a terminal."""

    def plain(value: datetime | Decimal) -> str:
        return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else number(value)

    return json.dumps(document, indent=2, default=plain) + "\n"


def number(value: Decimal | float | str | None) -> str:
    """Exact, never with an exponent; text as it is."""
    if isinstance(value, float):
        value = Decimal(repr(value))
    return "" if value is None else format(value, "f") if isinstance(value, Decimal) else str(value)


def ordinal(place: float) -> str:
    """A place, perhaps between two others: 4th, 7.3rd, 2.5th."""
    text = f"{place:.1f}".removesuffix(".0")
    is_teen = "." not in text and int(text) % 100 in (11, 12, 13)
    return text + ("th" if is_teen else {"1": "st", "2": "nd", "3": "rd"}.get(text[-1], "th"))


def explained(step: Any) -> str:
    """Why a rating changed: a row of kaggle.rating_history in words."""
    return f"expected {ordinal(step.expected_place)} of {step.rated_teams:,}, came {ordinal(step.place)}"


def markdown(text: str) -> str:
    """Text from outside, without effect on the Markdown around it."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&])", r"\\\1", harmless(text))
