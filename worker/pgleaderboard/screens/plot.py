"""Draws ranks or scores through time: into a file with matplotlib, in a terminal with plotext, of the extra `plot`.

Lines are steps: a team keeps its place until a sync sees it elsewhere. The line of a team that vanished stops.
"""

from __future__ import annotations

import io
import logging
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from pgleaderboard.errors import NeedsPerson
from pgleaderboard.logs import harmless
from pgleaderboard.reading.boards import Step
from pgleaderboard.screens.table import foreign

SUFFIXES = (".png", ".svg")
_LONGEST_LABEL = 24  # cells
_COLOURS = (33, 208, 40, 196, 201, 51, 226, 245, 99, 130)  # of the 256 of a terminal
_NO_BREAK = "\u00a0"
_INSTALL = "plots need more packages: pip install 'pgleaderboard[plot]'"


@dataclass(frozen=True)
class Line:
    """A value from each moment on; None = no value from there on."""

    label: str
    points: Sequence[tuple[datetime, float | None]]

    def pieces(self) -> list[list[tuple[datetime, float]]]:
        """Its corners, in pieces without a gap."""
        pieces: list[list[tuple[datetime, float]]] = [[]]
        last: float | None = None
        for at, value in self.points:
            if last is not None:
                pieces[-1].append((at, last))
            if value is None:
                pieces.append([])
            else:
                pieces[-1].append((at, value))
            last = value
        return [piece for piece in pieces if piece]

    @property
    def end(self) -> float:
        """The last value."""
        return next(value for _, value in reversed(self.points) if value is not None)


def line_of(
    label: str, steps: Sequence[Step], gone: Sequence[tuple[int, datetime]], until: datetime, *, by_score: bool
) -> Line | None:
    """The line of a team or a user. gone: when a team vanished. None without a value to draw."""
    points: list[tuple[datetime, float | None]] = []
    changes = [(step.at, 1, step.team_id, step) for step in steps] + [(at, 0, team, None) for team, at in gone]
    team: int | None = None
    for at, _, of_team, step in sorted(changes, key=lambda change: change[:3]):
        if step is not None:
            team = of_team
            points.append((at, _finite(step.score) if by_score else float(step.rank)))
        elif of_team == team:
            points.append((at, None))
    if all(value is None for _, value in points):
        return None
    if points[-1][1] is not None and points[-1][0] < until:
        points.append((until, points[-1][1]))
    shown = harmless(label)
    if cell_len(shown) > _LONGEST_LABEL:
        shown = set_cell_size(shown, _LONGEST_LABEL - 1) + "\u2026"
    return Line(shown, points)


def _finite(score: Decimal | None) -> float | None:
    return float(score) if score is not None and math.isfinite(score) else None


def file(path: Path, title: str, lines: Sequence[Line], *, by_score: bool) -> None:
    """Write a PNG or an SVG, by the path's suffix: the same bytes for the same lines.

    Raises NeedsPerson where matplotlib is not installed or the file cannot be written.
    """
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError as error:
        raise NeedsPerson(_INSTALL) from error
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "pgleaderboard"}), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a letter without a glyph is a box in the picture
        figure = Figure(figsize=(9, 5), dpi=110)
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        colours = [f"C{n % 10}" for n in range(len(lines))]
        for line, colour in zip(lines, colours, strict=True):
            for piece in line.pieces():
                moments = [float(date2num(at)) for at, _ in piece]  # type: ignore[no-untyped-call]
                axes.plot(moments, [value for _, value in piece], color=colour, linewidth=1.6)
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
            axes.text(
                1.01,
                height,
                f"{_last(line, by_score)}  {line.label}",
                color=colour,
                transform=axes.transAxes,
                va="center",
                fontsize=8,
                parse_math=False,
            )
        figure.subplots_adjust(left=0.08, right=0.78, top=0.92, bottom=0.12)
        written = io.BytesIO()
        kind = path.suffix.lower().removeprefix(".")
        figure.savefig(written, format=kind, metadata={"Date": None} if kind == "svg" else None)
    try:
        path.write_bytes(written.getvalue())
    except OSError as error:
        raise NeedsPerson(f"cannot write {path}: {error.strerror or error}") from error


def _last(line: Line, by_score: bool) -> str:
    return f"{line.end:g}" if by_score else f"{line.end:.0f}"


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Move heights, from 0 to 1, apart as little as labels need, in the same order."""
    order = sorted(range(len(heights)), key=lambda n: heights[n])
    gap = min(gap, 1 / max(1, len(order) - 1))
    placed: dict[int, float] = {}
    lowest = 0.0
    for n in order:
        placed[n] = max(heights[n], lowest)
        lowest = placed[n] + gap
    highest = 1.0
    for n in reversed(order):
        placed[n] = min(placed[n], highest)
        highest = placed[n] - gap
    return [placed[n] for n in range(len(heights))]


def terminal(
    title: str, lines: Sequence[Line], *, by_score: bool, width: int, height: int, colours: bool
) -> tuple[str, Text]:
    """The plot in characters, and its legend. Raises NeedsPerson where plotext is not installed."""
    try:
        import plotext
    except ImportError as error:
        raise NeedsPerson(_INSTALL) from error
    of_line = [_COLOURS[n % len(_COLOURS)] for n in range(len(lines))]
    # The legend holds the last values, best first: they tell the lines apart without colours, too.
    legend = Text()
    for line, colour in sorted(zip(lines, of_line, strict=True), key=lambda pair: pair[0].end, reverse=by_score):
        entry = f"\u2501 {_last(line, by_score)} {foreign(line.label)}".replace(" ", _NO_BREAK)
        legend.append("   " if legend else "").append(entry, f"color({colour})")
    plotext.clear_figure()
    plotext.plotsize(width, height)
    plotext.theme("clear")
    for line, colour in zip(lines, of_line, strict=True):
        for piece in line.pieces():
            moments, values = zip(*((at.timestamp(), value) for at, value in piece), strict=True)
            plotext.plot(moments, values, color=colour, marker="braille")
    times = [at for line in lines for at, _ in line.points]
    first, last_time = min(times), max(times)
    pattern = "%H:%M:%S" if last_time - first < timedelta(minutes=10) else "%m-%d %H:%M"
    count = max(2, width // 20)
    ticks = [first + (last_time - first) * n / (count - 1) for n in range(count)]
    plotext.xticks([tick.timestamp() for tick in ticks], [f"{tick.astimezone(UTC):{pattern}}" for tick in ticks])
    if not by_score:
        ranks = [int(value) for line in lines for _, value in line.points if value is not None]
        step = max(1, -(-(max(ranks) - min(ranks)) // max(1, height // 3)))
        plotext.yticks(list(range(min(ranks), max(ranks) + 1, step)))
        plotext.yreverse(True)
    plotext.title(harmless(title))
    drawn = str(plotext.build())
    return (drawn if colours else str(plotext.uncolorize(drawn))), legend
