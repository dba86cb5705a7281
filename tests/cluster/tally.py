"""What one fault did to one site, the bounds that it must keep, and the table.

new primary after: seconds from the fault until a server takes writes.
next sync: seconds from then until the next sync of this site has ended. At most 2 where the old primary is closed (its
connections end), at most 10 where it is silent (they do not).
page: seconds from the end of that sync until the live page shows it. screen: the same of `board --watch` and another
sync. Both are bound as the next sync. doctor: seconds that it takes then, at most 10: it starts anew.
longest wait: the longest that a sync was wanted (asked for, or due) until it had succeeded, over all competitions,
from the promotion on for what was wanted before. At most 10 s more than the next sync may take: what was wanted while
there was no primary is many syncs, and they take turns.
boards wrong: in the end, of all competitions, compared with what Kaggle serves. past wrong: of the boards since the
fault, as kaggle.leaderboard_as_of tells them, compared with what Kaggle served then. Both: 0.
edits lost: confirmed COMMITs of the clients that edit, of which the new primary knows nothing. 0 with synchronous
replication; asynchronous replication may lose the last moments before the fault, so there they are only counted.
doubled: syncs of one competition that overlap. stuck: what is left to do, or left behind, a minute after the last edit.
missed, repeated: runs that changed a board, of which examples/listen.py told nothing, or told more than once. All: 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.markup import escape
from rich.table import Table

CLOSED, SILENT = 2.0, 10.0  # seconds to the next sync
TURNS = 10.0  # seconds more for the last one of those that were wanted


@dataclass
class Row:
    """A fault, a kind of URL, a kind of replication. bound: of the next sync, in seconds. None: was not measured."""

    fault: str
    url: str
    replication: str
    bound: float
    new_primary_after: float | None = None
    next_sync: float | None = None
    page: float | None = None
    screen: float | None = None
    doctor: float | None = None
    longest_wait: float | None = None
    boards: int = 0
    boards_wrong: int = 0
    past: int = 0
    past_wrong: int = 0
    edits: int = 0
    edits_lost: int = 0
    doubled: int = 0
    stuck: int = 0
    missed: int = 0
    repeated: int = 0
    complaints: list[str] = field(default_factory=list)

    @property
    def broken(self) -> list[str]:
        """The bounds that are not kept, and all other complaints."""
        wrong = [
            f"{name.replace('_', ' ')}: {getattr(self, name)}"
            for name in ("boards_wrong", "past_wrong", "doubled", "stuck", "missed", "repeated")
            if getattr(self, name)
        ]
        if self.replication == "synchronous" and self.edits_lost:
            wrong.append(f"edits lost: {self.edits_lost}")
        bounds = dict.fromkeys(("next_sync", "page", "screen"), self.bound)
        for name, bound in (bounds | {"doctor": SILENT, "longest_wait": self.bound + TURNS}).items():
            seconds = getattr(self, name)
            if seconds is None or seconds > bound:
                told = "never" if seconds is None else f"{seconds:.1f} s"
                wrong.append(f"{name.replace('_', ' ')}: {told}, {bound:g} s are allowed")
        if not (self.boards and self.past and self.edits):
            wrong.append("it was not tried: no boards, no past or no edits")
        return wrong + self.complaints

    @property
    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return vars(self) | {"broken": self.broken}


def table(rows: Sequence[Row]) -> Table:
    """All rows for people."""
    shown = Table(title="Fail-over, and what it left", title_justify="left")
    for name in ("fault", "URL", "replication"):
        shown.add_column(name, no_wrap=True)
    for name in (
        *("new primary after s", "next sync s", "page s", "screen s", "doctor s", "longest wait s"),
        *("boards wrong", "past wrong", "edits lost", "doubled", "stuck", "missed", "told twice"),
    ):
        shown.add_column(name, justify="right")
    for row in rows:
        shown.add_row(
            row.fault,
            row.url,
            row.replication,
            *map(_seconds, (row.new_primary_after, row.next_sync, row.page, row.screen, row.doctor, row.longest_wait)),
            f"{row.boards_wrong}/{row.boards}",
            f"{row.past_wrong}/{row.past}",
            f"{row.edits_lost}/{row.edits}",
            *(str(each) for each in (row.doubled, row.stuck, row.missed, row.repeated)),
            style="bold red" if row.broken else None,
        )
    return shown


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f}"


def complaints(rows: Sequence[Row]) -> list[str]:
    """All that is wrong, a line each, safe to print with rich."""
    return [escape(f"{row.fault}, {row.url}, {row.replication}: {said}") for row in rows for said in row.broken]
