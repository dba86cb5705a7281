"""Who really moved on a board, and where they stand now."""

from __future__ import annotations

from array import array
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pgleaderboard.sync.order import GAP, NEW, GapExhausted, kept, place

SETTINGS = settings(max_examples=150, deadline=None)  # no deadline: the machine is shared


def longest(keys: list[int]) -> int:
    """Length of a longest strictly increasing subsequence without NEW, by the definition: O(n^2)."""
    lengths: list[int] = []
    for index, key in enumerate(keys):
        before = [lengths[i] for i in range(index) if keys[i] != NEW and keys[i] < key]
        lengths.append(0 if key == NEW else 1 + max(before, default=0))
    return max(lengths, default=0)


@st.composite
def boards(draw: st.DrawFn) -> list[int]:
    """Old keys in a new order: teams that stayed, moved, came and went; gaps of any size, also none."""
    gaps = draw(st.lists(st.sampled_from([1, 2, 3, 50, GAP]), max_size=40))
    old = [sum(gaps[: n + 1]) - draw(st.just(7 * GAP)) for n in range(len(gaps))]
    new = draw(st.permutations(old))[: draw(st.integers(0, len(old)))]
    if draw(st.booleans()):  # as most boards are: few moved
        new = sorted(new)
        for _ in range(draw(st.integers(0, 3)) if new else 0):
            moved = new.pop(draw(st.integers(0, len(new) - 1)))
            new.insert(draw(st.integers(0, len(new))), moved)
    for _ in range(draw(st.integers(0, 8))):
        new.insert(draw(st.integers(0, len(new))), NEW)
    return new


@SETTINGS
@given(keys=boards())
@example(keys=[])
@example(keys=[NEW])
@example(keys=[3, 2, 1])
def test_the_entries_that_stay_are_a_longest_increasing_run(keys: list[int]) -> None:
    """No fewer entries could be moved: what stays ascends, and is as long as any such run."""
    stays = kept(array("q", keys))

    run = [key for key, stay in zip(keys, stays, strict=True) if stay]
    assert NEW not in run
    assert all(one < two for one, two in pairwise(run))
    assert len(run) == longest(keys)
    assert set(stays) <= {0, 1}


@SETTINGS
@given(keys=st.lists(st.integers(-3, 3) | st.just(NEW), max_size=30))
def test_equal_keys_never_both_stay(keys: list[int]) -> None:
    """Strictly increasing: of two entries with one key, one gets another."""
    run = [key for key, stay in zip(keys, kept(array("q", keys)), strict=True) if stay]
    assert all(one < two for one, two in pairwise(run))
    assert len(run) == longest(keys)


@SETTINGS
@given(keys=boards())
def test_sorting_by_key_gives_the_new_order(keys: list[int]) -> None:
    """Whoever moved or is new gets a key of its own between its neighbours; nobody else is touched.

    Where keys lie too close together, that is said instead, with the place and the number of entries.
    """
    new = list(keys)
    stays = kept(array("q", keys))
    run = [index for index, stay in enumerate(stays) if stay]
    too_close = [
        (keys[one], two - one - 1)
        for one, two in pairwise(run)
        if two - one > 1 and keys[two] - keys[one] <= two - one - 1
    ]
    if too_close:
        with pytest.raises(GapExhausted) as full:
            list(place(array("q", keys)))
        assert (full.value.low, full.value.needed) == too_close[0]
        return

    for index, key in place(array("q", keys)):
        assert not stays[index]
        new[index] = key

    assert NEW not in new
    assert all(one < two for one, two in pairwise(new))
    assert [new[index] for index in run] == [keys[index] for index in run]


@SETTINGS
@given(keys=boards())
def test_places_come_in_order_of_the_board(keys: list[int]) -> None:
    """Indexes ascend, so that they can be written as they come."""
    try:
        indexes = [index for index, _ in place(array("q", keys))]
    except GapExhausted:
        return
    assert indexes == sorted(set(indexes))
    assert indexes == [index for index, stay in enumerate(kept(array("q", keys))) if not stay]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([], []),
        ([NEW, NEW, NEW], [(0, 0), (1, GAP), (2, 2 * GAP)]),
        ([NEW, 0], [(0, -GAP)]),
        ([0, NEW], [(1, GAP)]),
        ([NEW, NEW, 5 * GAP, NEW, NEW], [(0, 3 * GAP), (1, 4 * GAP), (3, 6 * GAP), (4, 7 * GAP)]),
        ([0, NEW, 2], [(1, 1)]),
        ([0, NEW, NEW, 3], [(1, 1), (2, 2)]),
        ([0, NEW, GAP], [(1, GAP // 2)]),
    ],
)
def test_newcomers_are_spread_over_the_gap(keys: list[int], expected: list[tuple[int, int]]) -> None:
    """At an end of the board there is always room; between two neighbours the gap is shared evenly."""
    assert list(place(array("q", keys))) == expected


@pytest.mark.parametrize(
    ("keys", "low", "needed"),
    [
        ([0, NEW, 1], 0, 1),
        ([0, NEW, NEW, 2], 0, 2),
        ([0, 10, NEW, NEW, NEW, 12, NEW, 13], 10, 3),
        ([-5, *[NEW] * 99, 94], -5, 99),
    ],
)
def test_a_used_up_gap_says_where_and_how_much_room_is_needed(keys: list[int], low: int, needed: int) -> None:
    """The first gap that is too narrow is named by the key before it."""
    with pytest.raises(GapExhausted) as caught:
        list(place(array("q", keys)))
    assert (caught.value.low, caught.value.needed) == (low, needed)


@SETTINGS
@given(high=st.integers(1, 60), count=st.integers(1, 60))
def test_a_gap_is_used_to_its_last_key(high: int, count: int) -> None:
    """As many entries fit between two keys as there are numbers, and no more."""
    keys = array("q", [0, *[NEW] * count, high])
    if count <= high - 1:
        placed = [key for _, key in place(keys)]
        assert sorted(set(placed)) == placed
        assert placed[0] > 0
        assert placed[-1] < high
    else:
        with pytest.raises(GapExhausted):
            list(place(keys))


@pytest.mark.parametrize(("moved_from", "moved_to"), [(99_999, 0), (0, 99_999), (70_000, 3)])
def test_one_team_that_moves_among_many_is_one_move(moved_from: int, moved_to: int) -> None:
    """A climb from the last place of 100,000 to the first writes one entry, not 100,000."""
    order = list(range(100_000))
    order.insert(moved_to, order.pop(moved_from))

    placed = list(place(array("q", [n * GAP for n in order])))

    assert len(placed) == 1
    (index, key) = placed[0]
    assert index == moved_to
    neighbours = [order[i] * GAP for i in (moved_to - 1, moved_to + 1) if 0 <= i < len(order)]
    assert all((neighbour < key) == (order.index(neighbour // GAP) < moved_to) for neighbour in neighbours)


def test_a_newcomer_at_the_top_of_many_is_one_move() -> None:
    """Thousands of ranks below shift by one; nothing of that is written."""
    keys = array("q", [NEW, *(n * GAP for n in range(100_000))])
    assert list(place(keys)) == [(0, -GAP)]


def test_a_gap_lasts_forty_halvings() -> None:
    """Newcomers who always push in at one place find room forty times."""
    low, high = 0, GAP
    for _ in range(40):
        ((_, high),) = place(array("q", [low, NEW, high]))
    with pytest.raises(GapExhausted):
        list(place(array("q", [low, NEW, high])))
