"""Lines through time as SVG.

A chart is as wide as its place, and its text stays as large as it is: what is text stands at a share of the width, and
only the lines lie in a drawing that is stretched. Colours and dashes are classes of the style sheet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import groupby

from markupsafe import Markup

from pgleaderboard.reading.formats import number
from pgleaderboard.reading.lines import Picture

LINES = 10  # that are told apart
_WIDTH = 600  # units, which are stretched; more corners than these are not told apart
_HEIGHT, _HIGHER = 200, 320  # pixels, of one line and of several
_TOP, _BELOW = 18, 26  # pixels around it
_FIRST = 10  # ranks that are reached by a line whose axis begins at 1
_STEPS = (60, 300, 900, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600)  # seconds between labels; then whole days
_DAYS = (1, 2, 7, 14, 30, 91, 182, 365, 730)
_LABELS = 4  # at most, of time: they stand beside each other on a phone


def drawn(picture: Picture, colours: Sequence[int]) -> Markup:
    """The SVG of one or more lines. colours: the number of each."""
    begin, end = picture.span
    best, worst = _range(picture)
    marks = _marks(best, worst) if picture.by_score else _ranks(best, worst)
    height = _HEIGHT if len(picture.lines) == 1 else _HIGHER

    def x(at: datetime) -> float:
        return (at - begin) / (end - begin)

    # From rank 1 to 2 it is as far as from 10 to 20: what happens among the first is seen.
    scaled = float if picture.by_score else math.log
    top, bottom = scaled(best), scaled(worst)

    def y(value: float | Decimal) -> float:
        return height * min(1.0, max(0.0, (scaled(float(value)) - top) / (bottom - top)))

    parts = [
        Markup('<svg class="chart" width="100%" height="{}" role="img"><title>{}</title>').format(
            _TOP + height + _BELOW, picture.title
        )
    ]
    for mark in marks:
        parts.append(Markup('<line class="grid" x1="0" x2="100%" y1="{0:.1f}" y2="{0:.1f}"/>').format(_TOP + y(mark)))
    parts.append(
        Markup(
            '<svg x="0" y="{0}" width="100%" height="{2}" viewBox="0 0 {1} {2}" preserveAspectRatio="none" '
            'overflow="visible">'
        ).format(_TOP, _WIDTH, height)
    )
    for colour, line in zip(colours, picture.lines, strict=True):
        path = "".join(
            _path([(round(_WIDTH * x(at)), round(y(value), 1)) for at, value in piece]) for piece in line.pieces
        )
        parts.append(
            Markup('<path class="line l{}" vector-effect="non-scaling-stroke" d="{}"><title>{}</title></path>').format(
                colour % LINES, path, f"{line.label}: {number(line.end)}"
            )
        )
    parts.append(Markup("</svg>"))
    for colour, line in zip(colours, picture.lines, strict=True):
        at, value = line.pieces[-1][-1]
        parts.append(
            Markup('<circle class="end l{}" cx="{:.2f}%" cy="{:.1f}" r="4"/>').format(
                colour % LINES, 100 * x(at), _TOP + y(value)
            )
        )
    for mark in marks:
        parts.append(
            Markup('<text class="mark" x="0" y="{:.1f}">{}</text>').format(_TOP + y(mark) - 4, f"{mark:,.10g}")
        )
    for at, label in _times(begin, end):
        share = x(at)
        anchor = "start" if share < 0.08 else "end" if share > 0.92 else "middle"
        parts.append(
            Markup('<text class="mark" x="{:.2f}%" y="{}" text-anchor="{}">{}</text>').format(
                100 * share, _TOP + height + 19, anchor, label
            )
        )
    return Markup("").join([*parts, Markup("</svg>")])


def _range(picture: Picture) -> tuple[float, float]:
    """The values at the top and at the bottom, which differ."""
    values = [float(value) for _, value in picture.corners]
    best, worst = (max(values), min(values)) if picture.ascends else (min(values), max(values))
    if not picture.by_score:
        return 1 if best <= _FIRST else best, max(worst, best + 2)
    limit = picture.limit()
    if limit is not None:
        worst = float(limit)
    if best == worst:
        room = abs(best) / 10 or 1.0
        return (best + room, worst - room) if picture.ascends else (best - room, worst + room)
    return best, worst


def _marks(best: float, worst: float) -> list[float]:
    """Round values between two others."""
    low, high = min(best, worst), max(best, worst)
    size = 10 ** math.floor(math.log10((high - low) / 4))
    step = next(size * by for by in (1, 2, 5, 10) if size * by >= (high - low) / 4)
    return [nth * step for nth in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _ranks(best: float, worst: float) -> list[float]:
    """1, 2, 5, 10 and so on, where there are enough of them between two ranks."""
    marks = [by * 10**power for power in range(19) for by in (1, 2, 5) if best <= by * 10**power <= worst]
    return marks if len(marks) > 2 else [mark for mark in _marks(best, worst) if mark == round(mark)]


def _times(begin: datetime, end: datetime) -> list[tuple[datetime, str]]:
    """Round moments between two others, in UTC, and how they are written."""
    first, last = begin.timestamp(), end.timestamp()
    steps = [*_STEPS, *(days * 86400 for days in _DAYS)]
    step = next((step for step in steps if (last - first) / step <= _LABELS), steps[-1])
    pattern = "%d %b %Y" if step >= 91 * 86400 else "%d %b" if step >= 86400 else "%H:%M"
    if pattern == "%H:%M" and begin.astimezone(UTC).date() != end.astimezone(UTC).date():
        pattern = "%d %b %H:%M"
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    moments = [epoch + timedelta(seconds=nth * step) for nth in range(math.ceil(first / step), int(last // step) + 1)]
    return [(at, at.strftime(pattern)) for at in moments or [begin.astimezone(UTC)]]


def _path(points: Sequence[tuple[int, float]]) -> str:
    """A step line. Of the corners on one vertical only the extremes and the last one are drawn."""
    at, height = points[0]
    path = f"M{at} {height:g}"
    for at, group in groupby(points, key=lambda point: point[0]):
        heights = [point[1] for point in group]
        path += f"H{at}"
        for extreme in (min(heights), max(heights)):
            if extreme not in (height, heights[-1]):
                path += f"V{extreme:g}"
        if heights[-1] != height:
            height = heights[-1]
            path += f"V{height:g}"
    return path
