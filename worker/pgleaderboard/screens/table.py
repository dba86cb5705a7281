"""Lays out text for a terminal: tables, wrapped sentences, and the words for moments, lengths of time and numbers.

Pure: values in, text out. Widths are in cells of the terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from pgleaderboard.logs import harmless

_measure = Console(width=80)


class View(Protocol):
    """The result of a query, ready to be drawn."""

    @property
    def wake_in(self) -> float | None:
        """Seconds until it is out of date by the clock alone; None = never."""

    def concerns(self, news: dict[str, Any]) -> bool:
        """Whether it is out of date after a notification; news: the payload."""

    def draw(self, width: int | None, height: int | None) -> Sequence[Text]:
        """Its lines. width, height: cells of the window; None = no limit."""

    def json(self) -> str:
        """Its values as one JSON document."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    cell: the text of a row, harmless, alone or with its style. flexible: the least width in cells to which it may be
    cut, None = it is cut last. optional: it is left out where the table is too wide or no row has text in it.
    """

    title: str
    cell: Callable[[Any], str | tuple[str, str]]
    right: bool = False
    flexible: int | None = None
    optional: bool = False


def foreign(text: str) -> str:
    """Text from outside for a screen, without control and direction-changing characters."""
    return text if text.isascii() and text.isprintable() else harmless(text)


def table(columns: Sequence[Column], rows: Sequence[Any], width: int | None) -> Iterator[Text]:
    """Lines of a table without rules, the header first, none wider than `width` cells."""
    cells = [[(cell, "") if isinstance(cell := c.cell(row), str) else cell for c in columns] for row in rows]
    kept = [i for i, c in enumerate(columns) if not c.optional or any(row[i][0] for row in cells)]
    widths = [max([cell_len(c.title), *(cell_len(row[i][0]) for row in cells)]) for i, c in enumerate(columns)]
    least = [n if c.flexible is None else min(n, c.flexible) for n, c in zip(widths, columns, strict=True)]
    if width is not None:
        for i in reversed(kept):
            if columns[i].optional and sum(least[k] + 2 for k in kept) - 2 > width:
                kept = [k for k in kept if k != i]
        for floor in (least, [1] * len(columns)):
            while sum(widths[k] + 2 for k in kept) - 2 > width and (cut := [k for k in kept if widths[k] > floor[k]]):
                widths[max(cut, key=lambda k: widths[k])] -= 1
    for row in ([(column.title, "dim") for column in columns], *cells):
        line = Text(no_wrap=True, overflow="crop", end="\n")
        for k in kept:
            text, style = row[k]
            line.append(_fitted(text, widths[k], columns[k].right), style or None).append("  ")
        line.rstrip()
        yield line


def _fitted(text: str, width: int, right: bool) -> str:
    padding = " " * (width - cell_len(text))
    if cell_len(text) > width:
        return set_cell_size(text, width - 1) + "\u2026"
    return padding + text if right else text + padding


def wrapped(text: str, width: int | None, style: str = "", lead: str = "") -> list[Text]:
    """A sentence behind a lead, on as many lines as it needs, all but the first indented by the width of the lead."""
    parts = [Text(text)] if width is None else Text(text).wrap(_measure, max(10, width - len(lead)))
    return [Text((" " * len(lead) if n else lead) + part.plain.rstrip(), style) for n, part in enumerate(parts)]


def moment(at: datetime | None, *, seconds: bool = False) -> str:
    """A moment in UTC."""
    return "" if at is None else f"{at.astimezone(UTC):{'%Y-%m-%d %H:%M:%S' if seconds else '%Y-%m-%d %H:%M'}}"


def moment_here(at: datetime) -> str:
    """A moment in UTC, to the second, with the time of day where the program runs if that is another."""
    here = at.astimezone()
    return f"{moment(at, seconds=True)} UTC" + (f" ({here:%H:%M} {here:%Z})" if here.utcoffset() else "")


def fitting(
    rows: Sequence[Any], height: int | None, above: int, width: int | None, command: str, noun: str = ""
) -> tuple[Sequence[Any], list[Text]]:
    """The first rows that fit below so many lines and a header. Where not all do: how many more, what shows them."""

    def rest(left: int) -> list[Text]:
        count = counted(left, f"more {noun}") if noun else f"{left:,} more"
        return wrapped(f"{count}: {command}", width, "dim")

    room = len(rows) if height is None else max(0, height - above - 1)
    if len(rows) <= room:
        return rows, []
    shown = rows[: max(0, room - len(rest(len(rows))))]
    return shown, rest(len(rows) - len(shown))


def duration(length: timedelta) -> str:
    """A length of time in its largest unit."""
    seconds = max(0, round(length.total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size * 2 or (unit == "min" and seconds >= size):
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def counted(count: int, noun: str) -> str:
    """A number and its noun, in the plural unless it is 1."""
    return f"{count:,} {noun}{'s' * (count != 1)}"
