"""Runs the rows one after the other: they share two cores, and each wants the machine for itself."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tests.bench import footprint, latency, newcomer, page, past, readers, report, rivals, sweep, sync
from tests.bench.report import Figure
from tests.bench.world import Scale, World


@dataclass(frozen=True)
class Row:
    """A row of the table. name: what --only looks in."""

    number: int
    name: str
    measure: Callable[[World], Iterator[Figure]]


ROWS = (
    Row(1, "job starts", latency.job_starts),
    Row(2, "asked while a sync ends", latency.asked_while_one_ends),
    Row(3, "board visible", latency.board_visible),
    Row(4, "first sync", sync.first_sync),
    Row(5, "unchanged board", sync.unchanged),
    Row(6, "few changes", sync.few_changes),
    Row(7, "every score changes", sync.every_score),
    Row(8, "peak memory", footprint.memory),
    Row(9, "row by row", rivals.row_by_row),
    Row(10, "dlt", rivals.dlt),
    Row(11, "reading", readers.reading),
    Row(12, "sweep", sweep.sweeping),
    Row(13, "draining", sweep.draining),
    Row(14, "idle worker", footprint.idle),
    Row(16, "the past", past.past),
    Row(17, "people and events", past.people),
    Row(19, "old snapshot", latency.behind_an_old_snapshot),
    Row(20, "newcomer", newcomer.newcomer),
    Row(21, "viewers", page.viewers),
    Row(22, "requests", page.requests),
    Row(23, "browser", page.browser),
    Row(24, "seasons", past.seasons),
)


@dataclass
class Measured:
    """What a run gave. failures: tracebacks of rows that could not be measured."""

    figures: list[Figure] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    about: dict[str, str] = field(default_factory=dict)


def run(
    scale: Scale, *, only: Sequence[str] = (), tell: Callable[[str, float], None] = lambda name, s: None
) -> Measured:
    """Measure every row whose number is among `only` or whose name holds one of its words; all, where it is empty."""
    measured = Measured()
    with World(scale) as world:
        measured.about = report.machine(world.description)
        for row in ROWS:
            if only and not any(word == str(row.number) or word in row.name for word in only):
                continue
            begun = time.monotonic()
            try:
                measured.figures.extend(row.measure(world))
            except Exception:  # noqa: BLE001 - the other rows can still be measured
                measured.failures.append(f"row {row.number}, {row.name}:\n{traceback.format_exc()}")
            tell(f"{row.number:2} {row.name}", time.monotonic() - begun)
    measured.figures.sort(key=lambda figure: figure.row)
    return measured
