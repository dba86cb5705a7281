"""Lays out text for a terminal: tables, wrapped sentences, and the words for moments, lengths of time and numbers.

Pure: values in, text out. Widths are in cells of the terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from pgleaderboard.logs import harmless

_ELLIPSIS = "\u2026"
_measure = Console(width=80)

Cell = tuple[str, str]  # text, harmless, and its style


class View(Protocol):
    """The result of a query, ready to be drawn."""

    @property
    def wake_in(self) -> float | None:
        """Seconds until it is out of date by the clock alone; None = never."""

    def concerns(self, news: dict[str, Any]) -> bool:
        """Whether it is out of date after a notification; news: the payload."""

    def draw(self, width: int | None, height: int | None) -> Sequence[Text]:
        """Its lines. width, height: cells of the window; None = no limit."""

    def json(self) -> Iterable[str]:
        """Its values as one JSON document."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    flexible: the least width in cells to which it may be cut, None = it is never cut.
    optional: it is left out where the table is too wide.
    """

    title: str
    right: bool = False
    flexible: int | None = None
    optional: bool = False


def foreign(text: str) -> str:
    """Text from outside for a screen, without control and direction-changing characters."""
    return text if text.isascii() and text.isprintable() else harmless(text)


def table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int | None) -> Iterator[Text]:
    """Lines of a table without rules, the header first, none wider than `width` cells."""
    kept = list(range(len(columns)))
    widths = [max([cell_len(c.title), *(cell_len(row[i][0]) for row in rows)]) for i, c in enumerate(columns)]
    least = [n if c.flexible is None else min(n, c.flexible) for n, c in zip(widths, columns, strict=True)]
    if width is not None:
        for i in reversed(range(len(columns))):
            if columns[i].optional and sum(least[k] + 2 for k in kept) - 2 > width:
                kept.remove(i)
        over = sum(widths[k] + 2 for k in kept) - 2 - width
        while over > 0 and (cut := [k for k in kept if widths[k] > least[k]]):
            widest = max(cut, key=lambda k: widths[k])
            others = [widths[k] for k in cut if widths[k] < widths[widest]]
            step = min(over, widths[widest] - max([least[widest], *others]), widths[widest] - least[widest]) or 1
            widths[widest] -= step
            over -= step
    header = [(column.title, "dim") for column in columns]
    for row in (header, *rows):
        line = Text(no_wrap=True, overflow="crop", end="\n")
        for place, k in enumerate(kept):
            text, style = row[k]
            fitted = _fitted(text, widths[k], columns[k].right, last=place == len(kept) - 1)
            line.append("  " if place else "").append(fitted, style or None)
        yield line


def _fitted(text: str, width: int, right: bool, *, last: bool) -> str:
    size = cell_len(text)
    if size > width:
        return set_cell_size(text, width - 1) + _ELLIPSIS
    if right:
        return " " * (width - size) + text
    return text if last else text + " " * (width - size)


def wrapped(text: str, width: int | None, style: str = "", indent: str = "") -> list[Text]:
    """A sentence on as many lines as it needs, all but the first indented."""
    line = Text(text, style=style)
    if width is None:
        return [line]
    first, *others = line.wrap(_measure, width)
    first.rstrip()
    if not others:
        return [first]
    # The first line has the whole width; the rest is wrapped to the width without the indent.
    rest = Text(text[len(first.plain) :].lstrip(), style=style)
    parts = rest.wrap(_measure, max(10, width - len(indent)))
    for part in parts:
        part.rstrip()
    return [first, *(Text(indent) + part for part in parts)]


def moment(at: datetime | None, *, seconds: bool = False) -> str:
    """A moment in UTC."""
    return "" if at is None else f"{at.astimezone(UTC):{'%Y-%m-%d %H:%M:%S' if seconds else '%Y-%m-%d %H:%M'}}"


def duration(length: timedelta) -> str:
    """A length of time in its largest unit."""
    seconds = max(0, round(length.total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size * 2 or (unit == "min" and seconds >= size):
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def number(value: Decimal | int | None) -> str:
    """Exact, never with an exponent."""
    return "" if value is None else format(value, "f" if isinstance(value, Decimal) else "d")


def counted(count: int, noun: str) -> str:
    """A number and its noun, in the plural unless it is 1."""
    return f"{count} {noun}{'s' * (count != 1)}"
