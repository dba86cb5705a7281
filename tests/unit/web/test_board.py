"""A board in pages, its medal lines, and whom a search finds."""

from __future__ import annotations

from collections import namedtuple
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from pgleaderboard.reading.boards import BoardNow
from pgleaderboard.web.board import Board

Entry = namedtuple("Entry", "rank team_id team_name score medal member_usernames participants")


def board(kinds: list[bool], medals: int = 0) -> Board:
    """Entries in order, True = a benchmark; the first so many ranked ones have gold."""
    entries, rank = [], 0
    for number, is_benchmark in enumerate(kinds):
        rank += not is_benchmark
        medal = "gold" if not is_benchmark and rank <= medals else None
        score = Decimal(1000 - number) / 1000
        entries.append(
            Entry(None if is_benchmark else rank, number, f"Team {number}", score, medal, [f"u{number}"], [])
        )
    return Board(BoardNow("a-board", 1, "public", None, None, rank, len(kinds) - rank, entries))


@settings(deadline=None)
@given(st.lists(st.booleans(), max_size=240))
def test_the_pages_are_the_board(kinds: list[bool]) -> None:
    """In order, each entry once, 50 ranked teams a page; each entry is on the page that is told for it."""
    shown = board(kinds)
    pages = [shown.page(number) for number in range(1, shown.pages + 1)]
    assert [entry for page in pages for entry in page] == list(shown.now.entries)
    for number, page in enumerate(pages, 1):
        ranks = [entry.rank for entry in page if entry.rank is not None]
        assert ranks == list(range(50 * number - 49, min(50 * number, shown.ranked) + 1))
        for entry in page:
            assert shown.page_of(entry) == number


def test_the_distance_to_a_medal() -> None:
    """In places and in score, to the last team that has it; none to those that are no better than one's own."""
    shown = board([False, False, True, False, False], medals=2)
    fourth = shown.entry(4)
    (line,) = shown.distances(fourth)
    assert (line.medal, line.rank, line.places, line.gap) == ("gold", 2, 2, Decimal("0.003"))
    assert shown.distances(shown.entry(1)) == []
    assert shown.distances(shown.entry(2)) == []  # a benchmark


def test_who_is_found() -> None:
    """By part of a team's or a member's name, capitals do not matter; the exact name comes first."""
    shown = board([False] * 30)
    found, hits = shown.named("@U1")
    assert hits == 11
    assert [entry.team_id for entry in found] == [1, *range(10, 20)]
    found, hits = shown.named("team 2")
    assert (found[0].team_id, hits) == (2, 11)
    assert shown.named("nobody") == ([], 0)
