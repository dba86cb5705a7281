"""A board as a page needs it: in pages, with its medal lines, and whom a search finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any

from pgleaderboard.reading.boards import BoardNow

PAGE = 50  # ranked teams on a page; benchmarks stand between them
_FOUND = 20
_ORDER = {"gold": 0, "silver": 1, "bronze": 2, None: 3}


@dataclass(frozen=True)
class Line:
    """The last team of a medal zone, and how far a team is from it. gap: of the scores, None where one has none."""

    medal: str
    rank: int
    score: Decimal | None
    places: int = 0
    gap: Decimal | None = None


@dataclass(frozen=True, eq=False)
class Board:
    """A board and its indexes. Two are equal if they are the same one. held: the freeze as of which it is shown."""

    now: BoardNow
    held: datetime | None = None

    @cached_property
    def _of_ranks(self) -> list[int]:
        """The index of each ranked entry, by rank."""
        return [index for index, entry in enumerate(self.now.entries) if entry.rank is not None]

    @cached_property
    def _of_teams(self) -> dict[int, int]:
        return {entry.team_id: index for index, entry in enumerate(self.now.entries)}

    @cached_property
    def lines(self) -> list[Line]:
        """The medal lines; none where the competition gives no medals."""
        last: dict[str, Any] = {}
        for entry in self.now.entries:
            if entry.medal:
                last[entry.medal] = entry
        return [Line(medal, entry.rank, entry.score) for medal, entry in last.items()]

    @property
    def ranked(self) -> int:
        """How many teams are ranked."""
        return len(self._of_ranks)

    @property
    def benchmarks(self) -> int:
        """How many entries are a host's."""
        return len(self.now.entries) - self.ranked

    @property
    def pages(self) -> int:
        """How many pages there are, 1 at least."""
        return max(1, -(-self.ranked // PAGE))

    def page(self, number: int) -> Sequence[Any]:
        """The entries of a page, from 1."""
        starts = self._of_ranks[::PAGE]
        begin = 0 if number == 1 else starts[number - 1]
        return self.now.entries[begin : starts[number] if number < len(starts) else None]

    def entry(self, team_id: int) -> Any | None:
        """A team's entry."""
        index = self._of_teams.get(team_id)
        return None if index is None else self.now.entries[index]

    def page_of(self, entry: Any) -> int:
        """The page on which an entry stands."""
        index = self._of_teams[entry.team_id]
        before = sum(1 for at in self._of_ranks if at < index) if entry.rank is None else entry.rank - 1
        return min(self.pages, before // PAGE + 1)

    def around(self, entry: Any, reach: int) -> Sequence[Any]:
        """An entry among so many above and below it."""
        index = self._of_teams[entry.team_id]
        return self.now.entries[max(0, index - reach) : index + reach + 1]

    def distances(self, entry: Any) -> list[Line]:
        """How far a team is from each medal that is better than its own."""
        if entry.rank is None:
            return []
        return [
            Line(
                line.medal,
                line.rank,
                line.score,
                entry.rank - line.rank,
                None if line.score is None or entry.score is None else abs(line.score - entry.score),
            )
            for line in self.lines
            if _ORDER[line.medal] < _ORDER[entry.medal]
        ]

    def named(self, wanted: str) -> tuple[Sequence[Any], int]:
        """The first entries with a team, member or participant whose name contains the text, and how many there are."""
        folded = wanted.casefold().removeprefix("@")
        found = [entry for entry, names in zip(self.now.entries, self._names, strict=True) if folded in names]
        found.sort(key=lambda entry: entry.team_name.casefold() != folded)  # stable: the best first
        return found[:_FOUND], len(found)

    @cached_property
    def _names(self) -> list[str]:
        return [
            "\n".join((entry.team_name, *entry.member_usernames, *entry.participants)).casefold()
            for entry in self.now.entries
        ]
