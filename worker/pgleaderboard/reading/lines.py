"""Ranks or scores through time as lines: what terminal, files and page draw.

Lines are steps: a team keeps its place until a sync sees it elsewhere. The line of a team that vanished stops.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import accumulate, pairwise
from statistics import median_high
from typing import Any

from pgleaderboard.reading.formats import number

_USUAL = 0.95  # of the time that a line covers
_FLATTENED = 3  # times the range of what most lines reach, from which on the rest is cut off


@dataclass(frozen=True)
class Line:
    """A line's corners, in pieces: between two of them there is no value. Scores are as they are stored."""

    label: str
    pieces: Sequence[Sequence[tuple[datetime, Decimal]]]

    @property
    def end(self) -> Decimal:
        """The last value."""
        return self.pieces[-1][-1][1]

    def usual(self, sign: int) -> Decimal:
        """The worst value, times sign the greatest, but for the worst moments."""
        held = sorted(
            (sign * value, (until - at).total_seconds())
            for piece in self.pieces
            for (at, value), (until, _) in pairwise(piece)
        )
        passed = list(accumulate(seconds for _, seconds in held))
        return held[bisect_left(passed, _USUAL * passed[-1])][0]


@dataclass(frozen=True)
class Picture:
    """What is drawn. ascends: greater values are better, and stand above.

    colours: of the lines, red, green and blue from 0 to 1; empty = some that lie apart.
    """

    title: str
    lines: Sequence[Line]
    by_score: bool
    ascends: bool
    colours: Sequence[tuple[float, float, float]] = ()

    @property
    def corners(self) -> list[tuple[datetime, Decimal]]:
        """All corners of all lines."""
        return [corner for line in self.lines for piece in line.pieces for corner in piece]

    @property
    def span(self) -> tuple[datetime, datetime]:
        """From the first to the last moment, a minute at least."""
        first, last = min(self.corners)[0], max(self.corners)[0]
        return first, max(last, first + timedelta(minutes=1))

    def limit(self) -> Decimal | None:
        """The worst value that is shown, None = all are: what only a few lines reach would flatten all others.

        Shown are the ends of all lines, and what most lines usually reach, however long the others were elsewhere.
        """
        sign = -1 if self.ascends else 1
        values = [sign * value for _, value in self.corners]
        best, worst = min(values), max(values)
        most = median_high(line.usual(sign) for line in self.lines)
        bulk = max(most, *(sign * line.end for line in self.lines))
        if bulk == best or worst - best <= _FLATTENED * (bulk - best):
            return None
        limit = sign * (bulk + (bulk - best) / 10)
        return limit if self.by_score else Decimal(math.ceil(limit))

    def note(self) -> str:
        """What is cut off, in words; empty = nothing."""
        limit = self.limit()
        if limit is None:
            return ""
        worst = (min if self.ascends else max)(value for _, value in self.corners)
        return f"cut off at {number(limit)}: lines reach {number(worst)}"


def line_of(label: str, steps: Sequence[Any], until: datetime, *, by_score: bool) -> Line | None:
    """The line of a team or a user. steps: as of `rank_history`. None without a value to draw."""
    pieces: list[list[tuple[datetime, Decimal]]] = [[]]
    team: int | None = None
    for step in steps:
        if step.rank is None and step.team_id != team:
            continue  # the user had left this team before it vanished
        team = step.team_id
        if pieces[-1]:
            pieces[-1].append((step.at, pieces[-1][-1][1]))
        value = step.score if by_score else step.rank
        if value is not None and math.isfinite(value):
            pieces[-1].append((step.at, Decimal(value)))
        else:
            pieces.append([])
    if pieces[-1]:
        pieces[-1].append((max(until, pieces[-1][-1][0]), pieces[-1][-1][1]))
    pieces = [piece for piece in pieces if piece]
    return Line(label, pieces) if pieces else None
