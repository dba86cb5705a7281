"""A figure and its target; the table of all of them, for the terminal, as Markdown and as JSON."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from rich.table import Table

HEADINGS = ("#", "work", "compared with", "ours", "floor", "ratio", "target", "met")
BEGIN, END = "<!-- make bench: begin -->", "<!-- make bench: end -->"


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    row: its number in the table. met: None where there is no target. samples: what was measured, for the JSON.
    """

    row: int
    work: str
    against: str = "–"
    ours: str = "–"
    floor: str = "–"
    ratio: float | None = None
    target: str = "–"
    met: bool | None = None
    samples: dict[str, Any] = field(default_factory=dict)

    @property
    def cells(self) -> tuple[str, ...]:
        """The line's texts, as HEADINGS."""
        ratio = "–" if self.ratio is None else f"{self.ratio:.2f} ×" if self.ratio < 20 else f"{self.ratio:.0f} ×"
        met = {None: "–", True: "yes", False: "no"}[self.met]
        return (str(self.row), self.work, self.against, self.ours, self.floor, ratio, self.target, met)


def at_most(row: int, work: str, against: str, ours: list[float], floor: list[float], limit: float) -> Figure:
    """Seconds beside the floor's, whose medians' ratio should be at most the limit."""
    ratio = median(ours) / median(floor)
    samples = {"ours": ours, "floor": floor}
    target = f"≤ {limit:g} ×"
    return Figure(row, work, against, ms(median(ours)), ms(median(floor)), ratio, target, ratio <= limit, samples)


def at_least(row: int, work: str, against: str, ours: list[float], rival: list[float], limit: float) -> Figure:
    """Seconds beside a rival's, who should take at least so many times as long."""
    ratio = median(rival) / median(ours)
    samples = {"ours": ours, "rival": rival}
    target = f"≥ {limit:g} ×"
    return Figure(row, work, against, ms(median(ours)), ms(median(rival)), ratio, target, ratio >= limit, samples)


def within(row: int, work: str, value: float, limit: float, unit: str, **samples: Any) -> Figure:
    """A value that should be at most the limit, both in this unit."""
    return Figure(
        row, work, ours=f"{value:,.3g} {unit}" if value < 100 else f"{value:,.0f} {unit}",
        target=f"≤ {limit:,g} {unit}", met=value <= limit, samples=samples,
    )  # fmt: skip


def ms(seconds: float) -> str:
    """Seconds for a reader."""
    if seconds >= 10:
        return f"{seconds:,.1f} s"
    return f"{seconds * 1000:,.0f} ms" if seconds >= 0.1 else f"{seconds * 1000:.3g} ms"


def machine(server: str) -> dict[str, str]:
    """What it was measured on. server: PostgreSQL and its settings in words."""
    return {
        "date": f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}",
        "cores": str(os.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "python": platform.python_version(),
        "system": platform.platform(terse=True),
        "postgresql": server,
    }


def table(figures: Sequence[Figure]) -> Table:
    """For the terminal."""
    made = Table(*HEADINGS, show_lines=False)
    for figure in figures:
        style = {False: "red", True: "", None: ""}[figure.met]
        made.add_row(*figure.cells, style=style)
    return made


def markdown(figures: Sequence[Figure], about: dict[str, str], quick: bool) -> str:
    """For docs/performance.md."""
    said = (
        f"Measured {about['date']} on {about['cores']} cores with {about['memory']}, {about['system']}, "
        f"Python {about['python']}, {about['postgresql']}."
    )
    lines = ["*A trial run with small sizes: not to be quoted.*", ""] if quick else []
    lines += [said, ""]
    lines += ["| " + " | ".join(HEADINGS) + " |", "|" + " --- |" * len(HEADINGS)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in figure.cells) + " |" for figure in figures]
    return "\n".join(lines)


def write_markdown(page: Path, text: str, markers: tuple[str, str] = (BEGIN, END)) -> None:
    """Put the table between its two markers on the page."""
    begin, end = markers
    old = page.read_text()
    new, found = re.subn(
        f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: f"{begin}\n{text}\n{end}", old, count=1, flags=re.DOTALL
    )
    if not found:
        raise SystemExit(f"{page} lacks the markers {begin} and {end}")
    page.write_text(new)


def write_json(file: Path, figures: Sequence[Figure], about: dict[str, str]) -> None:
    """Everything, samples included."""
    file.write_text(json.dumps({"about": about, "figures": [asdict(f) for f in figures]}, indent=1) + "\n")
