"""What one kind of fault did, and the table of all of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.markup import escape
from rich.table import Table


@dataclass
class Tally:
    """The outcome of one kind of fault.

    bound: seconds within which everything must be right again. boards, right: compared, and equal to what Kaggle
    serves. lost: edits that no sync followed. stuck: what is left undone or behind. seconds: how long each
    recovery took. complaints: in words, whatever is wrong.
    """

    fault: str
    bound: float
    tries: int = 0
    boards: int = 0
    right: int = 0
    lost: int = 0
    stuck: int = 0
    seconds: list[float] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def expect(self, holds: bool, otherwise: str) -> None:
        """Complain unless something holds."""
        if not holds:
            self.complaints.append(otherwise)

    def recovered(self, seconds: float) -> None:
        """Note a recovery; one beyond the bound is a complaint."""
        self.seconds.append(seconds)
        self.expect(seconds <= self.bound, f"took {seconds:.1f} s, {self.bound:g} s are allowed")

    @property
    def is_clean(self) -> bool:
        """Whether nothing was wrong, lost, stuck or late, and it was tried at all."""
        return self.tries > 0 and self.right == self.boards and not (self.lost or self.stuck or self.complaints)


def table(tallies: Sequence[Tally]) -> Table:
    """All of it for people."""
    shown = Table(title="Faults, and what was left of them", title_justify="left")
    shown.add_column("fault")
    for name in ("tried", "boards right", "edits lost", "stuck", "median s", "worst s", "bound s"):
        shown.add_column(name, justify="right")
    for tally in tallies:
        median = f"{statistics.median(tally.seconds):.2f}" if tally.seconds else "-"
        worst = f"{max(tally.seconds):.2f}" if tally.seconds else "-"
        shown.add_row(
            tally.fault,
            str(tally.tries),
            f"{tally.right}/{tally.boards}" if tally.boards else "-",
            str(tally.lost),
            str(tally.stuck),
            median,
            worst,
            f"{tally.bound:g}",
            style=None if tally.is_clean else "bold red",
        )
    return shown


def complaints(tallies: Sequence[Tally]) -> list[str]:
    """Everything that was wrong, one line each, safe to print with rich."""
    lines = []
    for tally in tallies:
        lines += [escape(f"{tally.fault}: {said}") for said in tally.complaints]
        if not tally.tries:
            lines.append(f"{tally.fault}: was never tried")
    return lines
