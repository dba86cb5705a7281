"""Boards and standings as CSV, JSON and Markdown. CSV and JSON hold names as they are, Markdown holds them escaped."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from pgleaderboard.logs import harmless
from pgleaderboard.reading.boards import BoardNow
from pgleaderboard.reading.events import Shown, Standing

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


def number(value: Decimal | int | str | None) -> str:
    """Exact, never with an exponent; text as it is."""
    return "" if value is None else format(value, "f") if isinstance(value, Decimal) else str(value)


def markdown(text: str) -> str:
    """Text from outside, without effect on the Markdown around it."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&])", r"\\\1", harmless(text))
