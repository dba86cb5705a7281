"""Draws the shake-up: each team at its public and its private rank. matplotlib for files, plotext for a terminal."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

from pgleaderboard.logs import harmless
from pgleaderboard.reading.past import Shaken
from pgleaderboard.screens.plot import save, terminal_colour

MEDALS = {"gold": (0.85, 0.64, 0.0), "silver": (0.55, 0.58, 0.62), "bronze": (0.69, 0.42, 0.21)}  # red, green and blue
_OTHERS = (0.2, 0.4, 0.7)


def words(shaken: Shaken) -> str:
    """The numbers of a shake-up. The mean way of a team, as a share of the board."""
    if shaken.mean is None or shaken.top is None:
        return "no team is on both boards"
    return f"shake-up {shaken.mean:.3f}, of the top tenth {shaken.top:.3f}"


def file(path: Path, title: str, shaken: Shaken, medals: Sequence[str | None]) -> None:
    """Write a PNG or an SVG, by the path's suffix. medals: of each team that moved, by its private rank.

    Raises ImportError where matplotlib is not installed, NeedsPerson where the file cannot be written.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "pgleaderboard"}), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        figure = Figure(figsize=(7, 7), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        last = max(max(ranks) for ranks in shaken.moved)
        axes.plot([1, last], [1, last], color="0.6", linewidth=1, zorder=1)
        for medal, colour in ((None, _OTHERS), *reversed(MEDALS.items())):
            if chosen := [ranks for ranks, own in zip(shaken.moved, medals, strict=True) if own == medal]:
                size = 12 if medal is None else 26
                across, down = zip(*chosen, strict=True)
                axes.scatter(across, down, s=size, color=[colour], alpha=0.7, linewidths=0, label=medal)
        room = max(1, last / 50)
        axes.set_xlim(1 - room, last + room)
        axes.set_ylim(last + room, 1 - room)
        axes.set_aspect("equal")
        for axis in (axes.xaxis, axes.yaxis):
            ticks = MaxNLocator(integer=True).tick_values(1, last)
            axis.set_ticks(sorted({max(1, round(tick)) for tick in ticks if tick <= last}))
        axes.set_xlabel("public rank")
        axes.set_ylabel("private rank (above the line: climbed)")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if any(medals):
            axes.legend(loc="lower left", frameon=False, reverse=True)
        axes.set_title(harmless(f"{title}: {words(shaken)}"), parse_math=False, loc="left", fontsize=11, wrap=True)
        save(figure, path)


def terminal(shaken: Shaken, medals: Sequence[str | None], *, width: int, height: int, colours: bool) -> str:
    """The plot in characters. Raises ImportError where plotext is not installed."""
    import plotext

    plotext.clear_figure()
    plotext.plotsize(width, height)
    plotext.theme("clear")
    last = max(max(ranks) for ranks in shaken.moved)
    plotext.plot([1, last], [1, last], color=8, marker="braille")
    for medal, colour in ((None, _OTHERS), *reversed(MEDALS.items())):
        if chosen := [ranks for ranks, own in zip(shaken.moved, medals, strict=True) if own == medal]:
            across, down = zip(*chosen, strict=True)
            plotext.scatter(across, down, color=terminal_colour(colour), marker="braille" if medal is None else "dot")
    for ticks in (plotext.xticks, plotext.yticks):
        ticks(sorted({1, *(round(last * part / 4) for part in (1, 2, 3, 4))} - {0}))
    plotext.yreverse(True)
    plotext.xlabel("public rank")
    plotext.ylabel("private rank")
    drawn = str(plotext.build())
    return drawn if colours else str(plotext.uncolorize(drawn))
