"""Boards for the tests: as Python values, as Kaggle's CSV and ZIP, and as the rows that the database should show."""

from __future__ import annotations

import csv
import io
import zipfile
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg

from pgleaderboard.simulator.boards import zip_board

BOARDS = Path(__file__).resolve().parents[3] / "shared" / "boards"  # those of Kaggle, where they are at hand

HEADER = "Rank,TeamId,TeamName,LastSubmissionDate,Score,SubmissionCount,TeamMemberUserNames"
OLD_HEADER = "TeamId,TeamName,SubmissionDate,Score"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# What `shown` gives, in its order. Text for the score: 0.8 and 0.80 are equal as numbers.
COLUMNS = "rank, team_id, team_name, score::text, submission_count, last_submission_at, member_usernames, is_benchmark"
Shown = tuple[int | None, int, str, str | None, int | None, datetime | None, list[str], bool]


@dataclass(frozen=True)
class Entry:
    """One row of a board; its place is its place in the list."""

    team_id: int
    team_name: str = "a team"
    score: Decimal | None = Decimal("0.5")
    submission_count: int | None = 1
    last_submission_at: datetime | None = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    members: tuple[str, ...] = ()
    is_benchmark: bool = False

    def but(self, **changes: Any) -> Entry:
        """The same entry with some facts changed."""
        return replace(self, **changes)


Board = Sequence[Entry]


def teams(*team_ids: int) -> list[Entry]:
    """A plain board of these teams, best first."""
    return [Entry(team_id, f"team {team_id}", members=(f"user{team_id}",)) for team_id in team_ids]


def csv_of(board: Board, *, line_end: str = "\n") -> bytes:
    """The file as Kaggle writes it since 2023-07, byte-order mark included."""
    rank = 0
    lines = [HEADER]
    for entry in board:
        rank += not entry.is_benchmark
        lines.append(
            ",".join(
                (
                    "0" if entry.is_benchmark else str(rank),
                    str(entry.team_id),
                    _quoted(entry.team_name),
                    _quoted(_date(entry.last_submission_at)),
                    _score(entry.score),
                    "" if entry.submission_count is None else str(entry.submission_count),
                    _quoted(",".join(entry.members)),
                )
            )
        )
    return BYTE_ORDER_MARK + "".join(line + line_end for line in lines).encode()


def old_csv_of(rows: Board, *, line_end: str = "\r\n") -> bytes:
    """The file as Kaggle wrote it before: no ranks, and possibly several rows a team."""
    lines = [OLD_HEADER]
    lines += [
        f"{e.team_id},{_quoted(e.team_name)},{_quoted(_date(e.last_submission_at))},{_score(e.score)}" for e in rows
    ]
    return BYTE_ORDER_MARK + "".join(line + line_end for line in lines).encode()


def zip_of(board: Board | bytes, *, slug: str = "a-board", kind: str = "public", line_end: str = "\n") -> bytes:
    """The ZIP as Kaggle sends it, from a board or from a CSV's bytes."""
    content = board if isinstance(board, bytes) else csv_of(board, line_end=line_end)
    return zip_board(content, f"{slug}-{kind}leaderboard-2026-05-05T15:36:33.csv")


def read_csv(content: bytes) -> list[Entry]:
    """A board from the bytes of a file written since 2023-07, in the file's order."""
    text = io.StringIO(content.removeprefix(BYTE_ORDER_MARK).decode(), newline="")
    rows = csv.DictReader(text, strict=True)
    return [
        Entry(
            team_id=int(row["TeamId"]),
            team_name=row["TeamName"],
            score=Decimal(row["Score"]) if row["Score"] else None,
            submission_count=int(row["SubmissionCount"]) if row["SubmissionCount"] else None,
            last_submission_at=_moment(row["LastSubmissionDate"]),
            members=tuple(row["TeamMemberUserNames"].split(",")) if row["TeamMemberUserNames"] else (),
            is_benchmark=row["Rank"] == "0",
        )
        for row in rows
    ]


def read_zip(path: Path) -> list[Entry]:
    """The board in a downloaded ZIP."""
    with zipfile.ZipFile(path) as archive:
        (name,) = archive.namelist()
        return read_csv(archive.read(name))


def shown(board: Board) -> list[Shown]:
    """The rows that the database should show, in the order of the file; see COLUMNS."""
    rows: list[Shown] = []
    rank = 0
    for entry in board:
        rank += not entry.is_benchmark
        rows.append(
            (
                None if entry.is_benchmark else rank,
                entry.team_id,
                entry.team_name,
                None if entry.score is None else _score(entry.score),
                entry.submission_count,
                entry.last_submission_at,
                list(entry.members),
                entry.is_benchmark,
            )
        )
    return rows


def places(board: Board) -> list[Any]:
    """The same without ranks: what `versions_at` gives."""
    return [row[1:] for row in shown(board)]


def versions_at(
    connection: psycopg.Connection[Any], competition_id: int, moment: datetime, kind: str = "public"
) -> list[Any]:
    """The board at a moment as its entries and their history have it, benchmarks in their place."""
    return connection.execute(
        """
        SELECT v.team_id, v.team_name, v.score::text, v.submission_count, v.last_submission_at,
               v.member_usernames, v.is_benchmark
        FROM kaggle.boards b
        JOIN kaggle.competitions c ON c.id = b.competition_id AND lower(c.kaggle_competition_id) = lower(b.slug)
        CROSS JOIN LATERAL kaggle_internal.versions(b.id, %s) v
        WHERE c.id = %s AND b.kind = %s AND b.observed_from <= %s
        ORDER BY v.order_key
        """,
        (moment, competition_id, kind, moment),
    ).fetchall()


def leaderboard(rows: Iterable[Shown]) -> list[Shown]:
    """Those rows as kaggle.leaderboard can be read: benchmarks, which have no place there, behind, by team."""
    return sorted(rows, key=lambda row: (row[0] is None, row[0] or 0, row[1]))


@dataclass(frozen=True)
class Counts:
    """What a sync says it did."""

    added: int
    removed: int
    updated: int
    moved: int


def counts(before: Board, after: Board) -> Counts:
    """What became of a board, by naive comparison; moved is the least number of teams that must have moved."""
    old = {entry.team_id: entry for entry in before}
    new = {entry.team_id: entry for entry in after}
    place = {entry.team_id: index for index, entry in enumerate(before)}
    staying = [place[entry.team_id] for entry in after if entry.team_id in place]
    return Counts(
        added=len(new.keys() - old.keys()),
        removed=len(old.keys() - new.keys()),
        updated=sum(_facts(old[team]) != _facts(new[team]) for team in old.keys() & new.keys()),
        moved=len(staying) - longest_increasing(staying),
    )


def longest_increasing(numbers: Sequence[int]) -> int:
    """How many of different numbers can stay where they are, the others taken out, for the rest to ascend."""
    tails: list[int] = []
    for number in numbers:
        at = bisect_left(tails, number)
        tails[at : at + 1] = [number]
    return len(tails)


def _facts(entry: Entry) -> tuple[object, ...]:
    # Everything but the place. As text: 0.8 == 0.80 as numbers.
    return shown([entry.but(is_benchmark=True)])[0] + (entry.is_benchmark,)


def _date(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"


def _moment(text: str) -> datetime | None:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC) if text else None


def _score(score: Decimal | None) -> str:
    return "" if score is None else f"{score:f}"


def _quoted(field: str) -> str:
    if " " in field or "," in field or '"' in field:
        return '"' + field.replace('"', '""') + '"'
    return field
