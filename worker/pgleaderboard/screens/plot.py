"""Draws ranks or scores through time: into a file with matplotlib, in a terminal with plotext, of the extra `plot`.

Lines are steps: a team keeps its place until a sync sees it elsewhere. The line of a team that vanished stops.
"""

from __future__ import annotations

import colorsys
import logging
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from pgleaderboard.errors import NeedsPerson
from pgleaderboard.logs import harmless
from pgleaderboard.reading import lines
from pgleaderboard.reading.formats import number
from pgleaderboard.reading.lines import Line, Picture
from pgleaderboard.screens.table import foreign

SUFFIXES = (".png", ".svg")
_LONGEST_LABEL = 24  # cells
_GOLDEN = 0.618034  # of a turn: hues in these steps lie apart, however many there are


def line_of(label: str, steps: Sequence[Any], until: datetime, *, by_score: bool) -> Line | None:
    """As `lines.line_of`, with a label that fits."""
    shown = harmless(label)
    if cell_len(shown) > _LONGEST_LABEL:
        shown = set_cell_size(shown, _LONGEST_LABEL - 1) + "\u2026"
    return lines.line_of(shown, steps, until, by_score=by_score)


def _colours(count: int) -> list[tuple[float, float, float]]:
    """So many colours, red, green and blue from 0 to 1, none twice."""
    return [colorsys.hsv_to_rgb((0.58 + n * _GOLDEN) % 1, 0.85, (0.85, 0.6)[n % 2]) for n in range(count)]


def terminal_colour(colour: tuple[float, float, float]) -> int:
    """The number of the nearest one of the 216 of a terminal."""
    return 16 + sum(round(5 * part) * by for part, by in zip(colour, (36, 6, 1), strict=True))


def _terminal_colours(count: int) -> list[int]:
    """The same of the 216 of a terminal, none twice as far as they reach."""
    distinct = list(dict.fromkeys(map(terminal_colour, _colours(20 * count))))
    return [distinct[n % len(distinct)] for n in range(count)]


def file(path: Path, picture: Picture) -> None:
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
        lines = picture.lines
        figure = Figure(figsize=(9, max(5, 0.14 * len(lines))), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        colours = picture.colours or _colours(len(lines))
        for line, colour in zip(lines, colours, strict=True):
            for piece in line.pieces:
                corners = zip(*((at, float(value)) for at, value in piece), strict=True)
                axes.plot(*corners, color=colour, linewidth=1.6, marker="o", markersize=2.5, markevery=[-1])
        axes.set_xlim(*picture.span)  # type: ignore[arg-type]
        locator = AutoDateLocator(tz=UTC)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))  # type: ignore[no-untyped-call]
        axes.set_xlabel("UTC")
        axes.set_ylabel("score" if picture.by_score else "rank")
        limit = picture.limit()
        if limit is not None:
            best = (max if picture.ascends else min)(value for _, value in picture.corners)
            axes.set_ylim(*sorted((float(limit), float(best + (best - limit) / 20))))
        if not picture.by_score:
            ticks = MaxNLocator(integer=True).tick_values(*axes.get_ylim())
            axes.set_yticks(sorted({max(1, round(tick)) for tick in ticks if tick < axes.get_ylim()[1]}))
        if not picture.ascends:
            axes.invert_yaxis()
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        title = f"{picture.title}  ({note})" if (note := picture.note()) else picture.title
        axes.set_title(harmless(title), parse_math=False, loc="left", fontsize=11, wrap=True)
        bottom, top = axes.get_ylim()
        heights = spread([min(1.0, max(0.0, (float(line.end) - bottom) / (top - bottom))) for line in lines], 0.045)
        for line, colour, height in zip(lines, colours, heights, strict=True):
            text = f"{number(line.end)}  {line.label}"
            style: dict[str, Any] = {"color": colour, "va": "center", "fontsize": 8, "parse_math": False}
            axes.text(1.01, height, text, transform=axes.transAxes, **style)
        save(figure, path)


def save(figure: Any, path: Path) -> None:
    """Write a figure of matplotlib as PNG or SVG. Raises NeedsPerson where the file cannot be written."""
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


def terminal(picture: Picture, *, width: int, height: int, colours: bool) -> tuple[str, list[Text]]:
    """The plot in characters, and the lines of its legend. Raises ImportError where plotext is not installed."""
    import plotext

    lines = picture.lines
    of_line = list(map(terminal_colour, picture.colours)) or _terminal_colours(len(lines))
    # The legend holds the last values, best first: they tell the lines apart without colours, too.
    legend = [Text()]
    for line, colour in sorted(zip(lines, of_line, strict=True), key=lambda pair: pair[0].end, reverse=picture.ascends):
        entry = Text(f"\u2501 {number(line.end)} {foreign(line.label)}", f"color({colour})")
        if legend[-1] and legend[-1].cell_len + 3 + entry.cell_len > width:
            legend.append(Text())
        legend[-1].append("   " if legend[-1] else "").append(entry)
    if note := picture.note():
        legend.append(Text(note, "dim"))
    plotext.clear_figure()
    plotext.plotsize(width, height)
    plotext.theme("clear")
    limit = picture.limit()
    for line, colour in zip(lines, of_line, strict=True):
        for piece in line.pieces:
            shown = [(at, v if limit is None else (max if picture.ascends else min)(v, limit)) for at, v in piece]
            plotext.plot(
                [at.timestamp() for at, _ in shown], [float(v) for _, v in shown], color=colour, marker="braille"
            )
    first, last = picture.span
    plotext.xlim(first.timestamp(), last.timestamp())
    pattern = "%H:%M:%S" if last - first < timedelta(minutes=10) else "%m-%d %H:%M"
    count = max(2, width // 20)
    ticks = [first + (last - first) * n / (count - 1) for n in range(count)]
    plotext.xticks([tick.timestamp() for tick in ticks], [f"{tick.astimezone(UTC):{pattern}}" for tick in ticks])
    if not picture.by_score:
        ranks = [int(value if limit is None else min(value, limit)) for _, value in picture.corners]
        step = max(1, -(-(max(ranks) - min(ranks)) // max(1, height // 3)))
        plotext.yticks(list(range(min(ranks), max(ranks) + 1, step)))
    if not picture.ascends:
        plotext.yreverse(True)
    plotext.title(harmless(picture.title))
    drawn = str(plotext.build())
    return (drawn if colours else str(plotext.uncolorize(drawn))), legend
