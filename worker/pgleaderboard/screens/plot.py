"""Draws ranks or scores through time: into a file with matplotlib, in a terminal with plotext, of the extra `plot`.

Lines are steps: a team keeps its place until a sync sees it elsewhere. The line of a team that vanished stops.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from pgleaderboard.errors import NeedsPerson
from pgleaderboard.logs import harmless
from pgleaderboard.screens.table import foreign

SUFFIXES = (".png", ".svg")
_LONGEST_LABEL = 24  # cells
_COLOURS = (33, 208, 40, 196, 201, 51, 226, 245, 99, 130)  # of the 256 of a terminal
_NO_BREAK = "\u00a0"


@dataclass(frozen=True)
class Line:
    """A line's corners, in pieces: between two of them there is no value. last: the last value, as it is stored."""

    label: str
    pieces: Sequence[Sequence[tuple[datetime, float]]]
    last: str

    @property
    def end(self) -> float:
        """The last value."""
        return self.pieces[-1][-1][1]


def line_of(label: str, steps: Sequence[Any], until: datetime, *, by_score: bool) -> Line | None:
    """The line of a team or a user. steps: as of `rank_history`. None without a value to draw."""
    pieces: list[list[tuple[datetime, float]]] = [[]]
    last = ""
    team: int | None = None
    for step in steps:
        if step.rank is None and step.team_id != team:
            continue  # the user had left this team before it vanished
        team = step.team_id
        if pieces[-1]:
            pieces[-1].append((step.at, pieces[-1][-1][1]))
        value = step.score if by_score else step.rank
        if value is not None and math.isfinite(value):
            pieces[-1].append((step.at, float(value)))
            last = f"{value:f}" if by_score else str(value)
        else:
            pieces.append([])
    if pieces[-1]:
        pieces[-1].append((max(until, pieces[-1][-1][0]), pieces[-1][-1][1]))
    pieces = [piece for piece in pieces if piece]
    shown = harmless(label)
    if cell_len(shown) > _LONGEST_LABEL:
        shown = set_cell_size(shown, _LONGEST_LABEL - 1) + "\u2026"
    return Line(shown, pieces, last) if pieces else None


def file(path: Path, title: str, lines: Sequence[Line], *, by_score: bool) -> None:
    """Write a PNG or an SVG, by the path's suffix: the same bytes for the same lines.

    Raises ImportError where matplotlib is not installed, NeedsPerson where the file cannot be written.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "pgleaderboard"}), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a letter without a glyph is a box in the picture
        figure = Figure(figsize=(9, 5), dpi=110)
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        colours = [f"C{n % 10}" for n in range(len(lines))]
        for line, colour in zip(lines, colours, strict=True):
            for piece in line.pieces:
                axes.plot(*zip(*piece, strict=True), color=colour, linewidth=1.6)
        axes.margins(x=0)
        locator = AutoDateLocator(tz=UTC)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))  # type: ignore[no-untyped-call]
        axes.set_xlabel("UTC")
        axes.set_ylabel("score" if by_score else "rank")
        if not by_score:
            ticks = MaxNLocator(integer=True).tick_values(*axes.get_ylim())
            axes.set_yticks(sorted({max(1, round(tick)) for tick in ticks if tick < axes.get_ylim()[1]}))
            axes.invert_yaxis()
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(harmless(title), parse_math=False, loc="left", fontsize=11)
        bottom, top = axes.get_ylim()
        heights = spread([(line.end - bottom) / (top - bottom) for line in lines], 0.045)
        for line, colour, height in zip(lines, colours, heights, strict=True):
            text = f"{line.last}  {line.label}"
            style: dict[str, Any] = {"color": colour, "va": "center", "fontsize": 8, "parse_math": False}
            axes.text(1.01, height, text, transform=axes.transAxes, **style)
        figure.subplots_adjust(left=0.08, right=0.78, top=0.92, bottom=0.12)
        kind = path.suffix.lower().removeprefix(".")
        try:
            figure.savefig(path, format=kind, metadata={"Date": None} if kind == "svg" else None)
        except OSError as error:
            raise NeedsPerson(f"cannot write {path}: {error.strerror or error}") from error


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Move heights, from 0 to 1, apart as little as labels need, in the same order."""
    order = sorted(range(len(heights)), key=heights.__getitem__)
    gap = min(gap, 1 / max(1, len(order) - 1))
    placed = list(heights)
    lowest, highest = 0.0, 1.0
    for n in order:
        placed[n] = max(placed[n], lowest)
        lowest = placed[n] + gap
    for n in reversed(order):
        placed[n] = min(placed[n], highest)
        highest = placed[n] - gap
    return placed


def terminal(
    title: str, lines: Sequence[Line], *, by_score: bool, width: int, height: int, colours: bool
) -> tuple[str, Text]:
    """The plot in characters, and its legend. Raises ImportError where plotext is not installed."""
    import plotext

    of_line = [_COLOURS[n % len(_COLOURS)] for n in range(len(lines))]
    # The legend holds the last values, best first: they tell the lines apart without colours, too.
    legend = Text()
    for line, colour in sorted(zip(lines, of_line, strict=True), key=lambda pair: pair[0].end, reverse=by_score):
        entry = f"\u2501 {line.last} {foreign(line.label)}".replace(" ", _NO_BREAK)
        legend.append("   " if legend else "").append(entry, f"color({colour})")
    plotext.clear_figure()
    plotext.plotsize(width, height)
    plotext.theme("clear")
    for line, colour in zip(lines, of_line, strict=True):
        for piece in line.pieces:
            plotext.plot([at.timestamp() for at, _ in piece], [v for _, v in piece], color=colour, marker="braille")
    corners = [corner for line in lines for piece in line.pieces for corner in piece]
    first, last = min(corners)[0], max(corners)[0]
    pattern = "%H:%M:%S" if last - first < timedelta(minutes=10) else "%m-%d %H:%M"
    count = max(2, width // 20)
    ticks = [first + (last - first) * n / (count - 1) for n in range(count)]
    plotext.xticks([tick.timestamp() for tick in ticks], [f"{tick.astimezone(UTC):{pattern}}" for tick in ticks])
    if not by_score:
        ranks = [int(value) for _, value in corners]
        step = max(1, -(-(max(ranks) - min(ranks)) // max(1, height // 3)))
        plotext.yticks(list(range(min(ranks), max(ranks) + 1, step)))
        plotext.yreverse(True)
    plotext.title(harmless(title))
    drawn = str(plotext.build())
    return (drawn if colours else str(plotext.uncolorize(drawn))), legend
