"""The page's charts as SVG."""

from __future__ import annotations

import re
from collections import namedtuple
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgleaderboard.reading.lines import Picture, line_of
from pgleaderboard.web.chart import drawn

BEGIN = datetime(2026, 8, 10, 12, tzinfo=UTC)
SVG = "{http://www.w3.org/2000/svg}"
Step = namedtuple("Step", "at team_id rank score")
VALUES = st.decimals(allow_nan=False, allow_infinity=False, min_value=Decimal("-1e300"), max_value=Decimal("1e300"))
STEPS = st.lists(st.tuples(st.integers(0, 10**8), st.none() | st.integers(1, 10**6), VALUES), min_size=1)


def svg_of(*teams: list[Step], by_score: bool = False, ascends: bool = False) -> ElementTree.Element:
    """The drawing of teams, as a browser reads it."""
    until = max(step.at for steps in teams for step in steps)
    lines = [line_of(f"team <{n}>", steps, until, by_score=by_score) for n, steps in enumerate(teams)]
    picture = Picture("A & B", [line for line in lines if line], by_score, ascends)
    text = str(drawn(picture, range(len(picture.lines)))).replace(
        "<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1
    )
    assert "style" not in text
    return ElementTree.fromstring(text)  # noqa: S314 - our own


def steps(*values: tuple[int, int | None, str]) -> list[Step]:
    """Minutes, rank and score; None = gone."""
    return [
        Step(BEGIN + timedelta(minutes=at), 1, rank, None if rank is None else Decimal(score))
        for at, rank, score in values
    ]


def heights(svg: ElementTree.Element) -> list[list[float]]:
    """The heights that each line passes, pixels from the top."""
    paths = [path.attrib["d"] for path in svg.iter(f"{SVG}path")]
    return [
        [float(height or other) for height, other in re.findall(r"M\S+ ([\d.]+)|V([\d.]+)", path)] for path in paths
    ]


def marks(svg: ElementTree.Element) -> list[str]:
    """The labels: values first, then times."""
    return [text.text or "" for text in svg.findall(f"{SVG}text")]


def test_the_first_rank_is_at_the_top() -> None:
    """A line goes down with the rank, has a gap where the team was gone, and goes on until the end."""
    svg = svg_of(steps((0, 3, "1"), (10, 1, "2"), (20, None, ""), (30, 5, "1"), (60, 2, "3")))
    ((third, first, fifth, second),) = heights(svg)
    assert first == 0
    assert first < second < third < fifth
    (path,) = svg.iter(f"{SVG}path")
    assert path.attrib["d"].count("M") == 2
    assert path.attrib["d"].startswith("M0 ")
    assert marks(svg)[:2] == ["1", "2"]
    assert "12:00" in marks(svg)
    assert path.find(f"{SVG}title").text == "team <0>: 2"


@pytest.mark.parametrize("ascends", [True, False])
def test_the_better_score_is_above(ascends: bool) -> None:
    """Whichever direction the metric has."""
    ((low, high),) = heights(svg_of(steps((0, 2, "0.1"), (10, 1, "0.9")), by_score=True, ascends=ascends))
    assert (high < low) == ascends


def test_a_team_in_the_field_is_not_flat() -> None:
    """The axis begins near its best rank, not at 1."""
    svg = svg_of(steps((0, 3100, "1"), (10, 3000, "1")))
    ((worst, best),) = heights(svg)
    assert worst - best > 150
    assert all(int(mark.replace(",", "")) >= 3000 for mark in marks(svg)[:2])


def test_only_what_is_seen_is_drawn() -> None:
    """Ten thousand changes within the width of a phone make no heavier page."""
    zigzag = steps(*((n, 1 + n % 50, "1") for n in range(10_000)))
    assert len(ElementTree.tostring(svg_of(zigzag))) < 25_000


@given(teams=st.lists(STEPS, min_size=1, max_size=3), by_score=st.booleans(), ascends=st.booleans())
def test_any_lines_are_drawn_within_the_frame(
    teams: list[list[tuple[int, int | None, Decimal]]], by_score: bool, ascends: bool
) -> None:
    """Whatever the values, the times and the gaps."""
    told = [
        [
            Step(BEGIN + timedelta(seconds=at), 1, rank, None if rank is None else score)
            for at, rank, score in sorted(own, key=lambda step: step[0])
        ]
        for own in teams
        if any(rank is not None for _, rank, _ in own)
    ]
    if told:
        for line in heights(svg_of(*told, by_score=by_score, ascends=by_score and ascends)):
            assert all(0 <= height <= 320 for height in line)
