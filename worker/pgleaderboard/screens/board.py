"""Draws a board."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from pgleaderboard.archives.export import HEADER
from pgleaderboard.reading.boards import BoardNow, Entry
from pgleaderboard.screens.files import as_json, csv_line, fields_of
from pgleaderboard.screens.table import Cell, Column, foreign, moment, number, table, wrapped

_MEDALS = {"gold": "bold yellow", "silver": "bold white", "bronze": "red"}


@dataclass(frozen=True)
class BoardView:
    """A board, now or at a moment."""

    board: BoardNow
    wake_in = None  # only a sync changes it

    def concerns(self, news: dict[str, Any]) -> bool:
        """A change of this board."""
        return news.get("competition_id") == self.board.competition_id

    def draw(self, width: int | None, height: int | None) -> list[Text]:
        """A title, then a line for each entry; as many as fit into the height."""
        board = self.board
        if board.kind is None:
            problem = f": {foreign(board.problem)}" if board.problem else ""
            return wrapped(f"{board.slug} has no board yet{problem}", width)
        title = (
            board.slug,
            f"{board.kind} board",
            f"{board.teams} teams",
            f"{moment(board.synced_at, seconds=True)} UTC",
        )
        lines = wrapped(" \u00b7 ".join(title), width, "bold")
        if board.since:
            lines += wrapped(f"moves since {moment(board.since)} UTC", width, "dim")
        lines.append(Text())
        entries = board.entries if height is None else board.entries[: max(0, height - len(lines) - 1)]
        columns = [
            Column("RANK", right=True),
            Column("MOVE"),
            Column("MEDAL"),
            Column("TEAM", flexible=18),
            Column("SCORE", right=True),
            Column("SUBS", right=True, optional=True),
            Column("LAST (UTC)", optional=True),
        ]
        has_people = any(entry.participants for entry in board.entries)
        if has_people:
            columns.insert(4, Column("PARTICIPANT", flexible=12))
        rows = [_cells(entry, board.since is not None, has_people) for entry in entries]
        return [*lines, *table(columns, rows, width)]

    def csv(self) -> Iterator[str]:
        """Kaggle's own file, row by row."""
        yield HEADER
        for entry in self.board.entries:
            yield csv_line(
                str(entry.rank or 0),
                str(entry.team_id),
                entry.team_name,
                moment(entry.last_submission_at, seconds=True),
                number(entry.score),
                number(entry.submission_count),
                ",".join(entry.member_usernames),
            )

    def json(self) -> Iterator[str]:
        """One document."""
        board = self.board
        return as_json(
            {
                "kaggle_competition_id": board.slug,
                "board": board.kind,
                "synced_at": board.synced_at,
                "teams": board.teams,
                "movement_since": board.since,
                "entries": [fields_of(entry) | {"movement": _movement(entry)} for entry in board.entries],
            }
        )


def _movement(entry: Entry) -> int | None:
    return entry.rank_then - entry.rank if entry.rank is not None and entry.rank_then is not None else None


def _cells(entry: Entry, is_compared: bool, has_people: bool) -> list[Cell]:
    movement = _movement(entry)
    move: Cell = ("", "")
    if is_compared and entry.rank is not None:
        if movement is None:
            move = ("new", "cyan")
        elif movement:
            move = (f"\u25b2 {movement}", "green") if movement > 0 else (f"\u25bc {-movement}", "red")
    row: list[Cell] = [
        (number(entry.rank) or "-", ""),
        move,
        ("benchmark", "dim") if entry.is_benchmark else (entry.medal or "", _MEDALS.get(entry.medal or "", "")),
        (foreign(entry.team_name), "dim" if entry.is_benchmark else "bold" if entry.participants else ""),
        (number(entry.score), ""),
        (number(entry.submission_count), ""),
        (moment(entry.last_submission_at), "dim"),
    ]
    if has_people:
        people = foreign("\u2605 " + ", ".join(entry.participants)) if entry.participants else ""
        row.insert(4, (people, "bold magenta"))
    return row
