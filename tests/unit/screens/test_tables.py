"""Lines for a terminal keep its width, whatever the names and numbers are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from pgleaderboard.reading.boards import BoardNow, Entry
from pgleaderboard.reading.syncs import Overview, Run, Status, Worker
from pgleaderboard.screens.board import BoardView
from pgleaderboard.screens.status import StatusView

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


DAY = timedelta(days=1)


RUN = Run(7, "scheduled", NOW, NOW + timedelta(seconds=3), "changed", 123456, 99999, 99999, 99999, 99999, None)


FAILED = Run(6, "manual", NOW, NOW, "failed", None, None, None, None, None, "Kaggle did not answer " * 9)


def status(slug: str, leader: str, problem: str) -> Status:
    """A competition whose columns are all full."""
    score = Decimal("0.12345")
    return Status(
        slug,
        leader,
        "ongoing",
        "failing",
        "public",
        123456,
        leader,
        score,
        NOW - DAY,
        NOW,
        NOW,
        NOW + DAY,
        17,
        None,
        problem,
    )


@settings(max_examples=60)
@given(st.text(min_size=1), st.text(), st.integers(80, 200))
def test_states_fit(name: str, problem: str, width: int) -> None:
    """All competitions, and one in full with its runs."""
    each = status("a-competition-whose-slug-is-as-long-as-kaggle-makes-them", name, problem or "a problem " * 20)
    for runs in (None, (RUN, FAILED)):
        found = Overview(NOW, [Worker(1, "0.1.0", NOW, NOW)], [each], NOW, NOW + DAY, runs)
        lines = StatusView(found).draw(width, None)
        assert max(cell_len(line.plain) for line in lines) <= width
        assert all(line.plain.isprintable() for line in lines)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.text(), st.none() | st.decimals(-1, 1, places=6)), max_size=5), st.integers(80, 200))
def test_boards_fit(rows: list[tuple[str, Decimal | None]], width: int) -> None:
    """Whatever teams call themselves, and no more lines than there is room for."""
    entries = [
        Entry(n, n, name, score, 999, NOW, ["a"], False, n + 12345, "silver", [name])
        for n, (name, score) in enumerate(rows, 1)
    ]
    found = BoardNow("a-board", 1, "public", NOW, NOW, NOW - DAY, len(rows), entries)
    lines = BoardView(found).draw(width, 6)
    assert max(cell_len(line.plain) for line in lines) <= width
    assert len(lines) <= 6
    assert all(line.plain.isprintable() for line in lines)
