"""Lines for a terminal keep its width, whatever the names and numbers are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from pgleaderboard.reading.boards import BoardNow
from pgleaderboard.reading.syncs import Overview
from pgleaderboard.screens.board import BoardView
from pgleaderboard.screens.standing import ExplanationView
from pgleaderboard.screens.status import StatusView

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


DAY = timedelta(days=1)
COUNTS = dict.fromkeys(("added", "removed", "updated", "moved"), 99999)
RUN = SimpleNamespace(
    reason="scheduled", started_at=NOW, finished_at=NOW + DAY, outcome="changed", teams=123456, error=None, **COUNTS
)
FAILED = SimpleNamespace(
    reason="manual", started_at=NOW, finished_at=NOW, outcome="failed", error="Kaggle did not answer " * 9
)
WORKER = SimpleNamespace(worker_id=1, seen_at=NOW, problem="has other settings " * 9)


def is_harmless(line: str) -> bool:
    """Whether it plays no tricks with a terminal. Joiners stand within Persian words, and emoji made of several."""
    return line.replace("\u200c", "").replace("\u200d", "").isprintable()


def status(slug: str, leader: str, problem: str) -> SimpleNamespace:
    """A competition whose columns are all full."""
    return SimpleNamespace(
        kaggle_competition_id=slug,
        title=leader,
        status="ongoing",
        sync_state="failing",
        board="public",
        teams=123456,
        leader=leader,
        leader_score=Decimal("0.12345"),
        synced_at=NOW - DAY,
        next_sync_at=NOW + DAY,
        consecutive_failures=17,
        last_error=None,
        problem=problem,
        is_late=True,
    )


@settings(max_examples=60)
@given(st.text(min_size=1), st.text(), st.integers(80, 200))
def test_states_fit(name: str, problem: str, width: int) -> None:
    """All competitions, and one in full with its runs."""
    each = status("a-competition-whose-slug-is-as-long-as-kaggle-makes-them", name, problem or "a problem " * 20)
    for runs in (None, (RUN, FAILED)):
        found = Overview(NOW, [WORKER], [each], NOW, NOW + DAY, "simulator", runs)
        lines = StatusView(found).draw(width, None)
        assert max(cell_len(line.plain) for line in lines) <= width
        assert all(is_harmless(line.plain) for line in lines)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.text(), st.none() | st.decimals(-1, 1, places=6)), max_size=5), st.integers(80, 200))
def test_boards_fit(rows: list[tuple[str, Decimal | None]], width: int) -> None:
    """Whatever teams call themselves, and no more lines than there is room for."""
    entries = [
        SimpleNamespace(
            rank=n,
            team_name=name,
            score=score,
            submission_count=999,
            last_submission_at=NOW,
            is_benchmark=False,
            medal="silver",
            participants=[name],
            movement=12345,
        )
        for n, (name, score) in enumerate(rows, 1)
    ]
    found = BoardNow("a-board", 1, "public", NOW, NOW - DAY, len(rows), 0, entries)
    lines = BoardView(found, "pgleaderboard board a-board" + " --event as-long-as-slugs-are" * 4).draw(width, 8)
    assert max(cell_len(line.plain) for line in lines) <= width
    assert len(lines) <= 8
    assert all(is_harmless(line.plain) for line in lines)


@given(st.integers(1, 60), st.integers(1, 40), st.integers(80, 120))
def test_an_explanation_fits(slug: int, digits: int, width: int) -> None:
    """However long a slug is, and a score, which is cut before the line is."""
    result = SimpleNamespace(
        kaggle_competition_id="s" * slug,
        place=1234,
        teams=12345,
        score=Decimal("9" * digits),
        counted_by="place",
        weight=Decimal("1.0"),
        points=Decimal(100),
        team_name="a team",
        board="public",
        observed_at=NOW,
    )
    event = SimpleNamespace(title="Night", at=NOW, state="live")
    person = SimpleNamespace(place=1, points=Decimal(100), display_name=None, kaggle_username="ann")
    explanation = SimpleNamespace(event=event, person=person, results=[result], missing=[])
    lines = ExplanationView(explanation).draw(width, None)  # type: ignore[arg-type]
    assert max(cell_len(line.plain) for line in lines) <= width
    assert "1234 of 12345" in lines[-1].plain
    assert lines[-1].plain.count("100.000000") == 1
