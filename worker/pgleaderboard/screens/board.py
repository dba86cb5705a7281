"""Draws a board."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.text import Text

from pgleaderboard.reading.boards import BoardNow
from pgleaderboard.reading.formats import board_csv, board_json, number
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

_MEDALS = {None: "", "gold": "bold yellow", "silver": "bold white", "bronze": "red"}


@dataclass(frozen=True)
class BoardView:
    """A board, now or at a moment. command: what shows all of it."""

    board: BoardNow
    command: str = ""
    wake_in = 60.0  # its age is shown

    def concerns(self, news: dict[str, Any]) -> bool:
        """A sync of this board, and any edit: of people, and of the competition."""
        ours = self.board.competition_id
        return news.get("type") != "job_inserted" and bool(news.get("competition_id", ours) == ours)

    def draw(self, width: int | None, height: int | None) -> list[Text]:
        """A title, then a line for each entry; as many as fit into the height."""
        board = self.board
        if board.kind is None:
            problem = f": {foreign(board.problem)}" if board.problem else ""
            return wrapped(f"{board.slug} has no board yet{problem}", width)
        synced_at = moment_here(board.synced_at) if board.synced_at else ""
        if board.now and board.synced_at:
            synced_at += f" ({duration(board.now - board.synced_at)} ago)"
        size = counted(board.teams, "team")
        if board.benchmarks:
            size += f" and {counted(board.benchmarks, 'benchmark')}"
        title = " \u00b7 ".join((board.slug, f"{board.kind} board", size, synced_at))
        lines = wrapped(title, width, "bold")
        if board.problem:
            lines += wrapped(foreign(board.problem), width, "red")
        if board.page_frozen_at:
            lines += wrapped(f"the page is frozen since {moment_here(board.page_frozen_at)}", width, "dim")
        if board.since:
            lines += wrapped(f"moves since {moment_here(board.since)}", width, "dim")
        lines.append(Text())
        columns = (
            Column("RANK", lambda e: number(e.rank) or "-", right=True),
            Column("MOVE", lambda e: _move(e) if board.since else ""),
            Column("MEDAL", lambda e: ("benchmark", "dim") if e.is_benchmark else (e.medal or "", _MEDALS[e.medal])),
            Column("TEAM", lambda e: (foreign(e.team_name), _style(e)), flexible=18),
            Column("PARTICIPANT", lambda e: (_people(e), "bold magenta"), flexible=12, optional=True),
            Column("SCORE", lambda e: number(e.score), right=True),
            Column("SUBS", lambda e: number(e.submission_count), right=True, optional=True),
            Column("LAST (UTC)", lambda e: (moment(e.last_submission_at), "dim"), optional=True),
        )
        entries, rest = fitting(board.entries, height, len(lines), width, self.command)
        return [*lines, *table(columns, entries, width), *rest]

    def csv(self) -> str:
        """Kaggle's own file."""
        return board_csv(self.board)

    def json(self) -> str:
        """One document."""
        return board_json(self.board)


def _move(entry: Any) -> tuple[str, str]:
    if entry.rank is None or entry.movement == 0:
        return "", ""
    if entry.movement is None:
        return "new", "cyan"
    return (f"\u25b2 {entry.movement}", "green") if entry.movement > 0 else (f"\u25bc {-entry.movement}", "red")


def _style(entry: Any) -> str:
    return "dim" if entry.is_benchmark else "bold" if entry.participants else ""


def _people(entry: Any) -> str:
    return foreign("\u2605 " + ", ".join(entry.participants)) if entry.participants else ""
