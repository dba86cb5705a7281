"""Labels of a plot."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pgleaderboard.screens.plot import spread


@given(st.lists(st.floats(0, 1), max_size=50))
def test_labels_are_moved_apart(heights: list[float]) -> None:
    """None lies on another, all stay within, and their order stays."""
    placed = spread(heights, 0.045)
    gap = min(0.045, 1 / max(1, len(heights) - 1))
    in_order = [placed[n] for n in sorted(range(len(heights)), key=lambda n: heights[n])]
    assert all(b - a >= gap - 1e-9 for a, b in pairwise(in_order))
    assert all(-1e-9 <= each <= 1 + 1e-9 for each in placed)
