"""Labels, colours and limits of a plot."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

from pgleaderboard.screens.plot import Line, Picture, file, spread, terminal

START = datetime(2026, 1, 1, tzinfo=UTC)


def line(label: str, *values: int | str) -> Line:
    """A line with a rank, or a score, each hour."""
    told = list(map(Decimal, values))
    hours = [START + timedelta(hours=n) for n in range(len(values) + 1)]
    piece = [(at, v) for n, v in enumerate(told) for at in (hours[n], hours[n + 1])]
    return Line(label, [piece])


def picture(*lines: Line, by_score: bool = False, ascends: bool = False) -> Picture:
    """A picture of lines."""
    return Picture("a board", lines, by_score, ascends)


def test_one_newcomer_flattens_no_other(tmp_path: Path) -> None:
    """Who comes from rank 1,533 is cut off, and it is said; what most of the lines reach is not."""
    steady = [line(f"team {n}", *[n] * 40) for n in range(1, 11)]
    ranks = picture(*steady, line("newcomer", 1533, *[4] * 39))
    assert ranks.limit() == 11
    assert ranks.note() == "cut off at 11: lines reach 1533"
    file(tmp_path / "ranks.svg", ranks)
    assert "cut off at 11: lines reach 1533" in (tmp_path / "ranks.svg").read_text()
    assert terminal(ranks, width=80, height=20, colours=False)[1][-1].plain == ranks.note()
    assert picture(*steady).limit() is None
    assert picture(*steady, line("last", *[1533] * 40)).limit() is None  # it ends there
    scores = picture(line("a", *["0.9"] * 40), line("b", *["0.8"] * 40), line("c", "-7.0", *["0.85"] * 39),
                     by_score=True, ascends=True)  # fmt: skip
    assert scores.note() == "cut off at 0.79: lines reach -7.0"
    assert picture(line("only", 3)).limit() is None


def test_however_long_a_newcomer_was_far_behind() -> None:
    """Three of ten that climbed for most of the time flatten no other; what most lines did is shown."""
    steady = [line(f"team {n}", *[n] * 40) for n in range(1, 8)]
    late = [line(f"late {n}", *[1500 - n] * 39, n) for n in (8, 9, 10)]
    assert picture(*steady, *late).limit() == 11
    assert picture(*steady[:3], *late).limit() is None
    assert picture(steady[0], late[0]).limit() is None
    assert picture(line("fell for an hour", *[2] * 30, 900, *[3] * 30)).note() == "cut off at 4: lines reach 900"


def test_a_board_that_was_seen_once_is_drawn(tmp_path: Path) -> None:
    """As a point for each team, on an axis of that minute."""
    once = picture(*(Line(f"team {n}", [[(START, Decimal(n))] * 2]) for n in (1, 2)))
    file(tmp_path / "once.svg", once)
    svg = (tmp_path / "once.svg").read_text()
    assert "2025" not in svg
    assert len(re.findall(r"<use [^>]*style=\"fill: #[0-9a-f]{6}; stroke: #[0-9a-f]{6}\"", svg)) == 2
    assert "00:00:00" in terminal(once, width=80, height=20, colours=False)[0]


def test_scores_are_told_as_they_are_stored(tmp_path: Path) -> None:
    """With all their digits: at the ends of the lines, and where lines are cut off."""
    losses = picture(line("a", *["1234567.123"] * 40), line("b", "9876543.21", *["1234567.124"] * 39), by_score=True)
    assert losses.note() == "cut off at 1234567.1241: lines reach 9876543.21"
    file(tmp_path / "scores.svg", losses)
    assert ">1234567.124  b<" in (tmp_path / "scores.svg").read_text()


@pytest.mark.parametrize("name", ["WWWWWWWWWWWWWWWWWWWWWWWW", "i"])
def test_no_label_is_cut_off(tmp_path: Path, name: str) -> None:
    """Beside the longest ones there is white to the edges, and the lines have the rest of the width."""
    scores = picture(line(name, "123456.789012345", "123456.789012345"), line("b", "2.5", "2.5"), by_score=True)
    file(
        tmp_path / "scores.png",
        Picture("a-competition-of-a-very-long-name-" * 2 + ": scores " * 9, scores.lines, True, False),
    )
    pixels = imread(tmp_path / "scores.png")[:, :, :3].min(axis=2)
    assert pixels[:, :3].min() == pixels[:, -3:].min() == 1
    inked = [x for x in range(pixels.shape[1]) if pixels[:, x].min() < 1]
    assert inked[0] < 40
    assert inked[-1] > pixels.shape[1] - 40


@pytest.mark.parametrize("ascends", [False, True])
def test_the_best_stands_above(tmp_path: Path, ascends: bool) -> None:
    """Of scores, too: where lower is better the lowest one; its label is whole."""
    scores = picture(line("low", "0.118175", "0.118174"), line("high", "0.2", "0.2"), by_score=True, ascends=ascends)
    file(tmp_path / "scores.svg", scores)
    svg = (tmp_path / "scores.svg").read_text()
    found = re.findall(r' y="([\d.]+)" transform="[^"]*">[\d.]+ +(low|high)<', svg)
    height = {name: float(y) for y, name in found}
    assert (height["high"] < height["low"]) == ascends
    lefts = [float(x) for x in re.findall(r'text-anchor: end"[^>]*x="([\d.]+)"', svg)]
    assert all(x > 35 for x in lefts)
    legend = terminal(scores, width=80, height=20, colours=False)[1]
    assert ("high" in legend[0].plain.split("\u2501")[1]) == ascends


def test_fifty_lines_are_told_apart() -> None:
    """No colour comes twice among the first twenty in a terminal; no entry of the legend is broken."""
    many = picture(*(line(f"a team called {n}", n, n) for n in range(1, 51)))
    drawn, legend = terminal(many, width=60, height=20, colours=True)
    assert drawn
    assert all(entries.cell_len <= 60 for entries in legend)
    entries = [entry for entries in legend for entry in entries.plain.split("   ")]
    assert entries == [f"\u2501 {n} a team called {n}" for n in range(1, 51)]
    colours = [str(span.style) for entries in legend for span in entries.spans]
    assert len(set(colours[:20])) == 20


@given(st.lists(st.floats(0, 1), max_size=50))
def test_labels_are_moved_apart(heights: list[float]) -> None:
    """None lies on another, all stay within, and their order stays."""
    placed = spread(heights, 0.045)
    gap = min(0.045, 1 / max(1, len(heights) - 1))
    in_order = [placed[n] for n in sorted(range(len(heights)), key=lambda n: heights[n])]
    assert all(b - a >= gap - 1e-9 for a, b in pairwise(in_order))
    assert all(-1e-9 <= each <= 1 + 1e-9 for each in placed)
