"""Who really moved on a board, and where they stand now."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from itertools import pairwise
from operator import ne

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pgleaderboard.sync.order import GAP, HIGHEST, LOWEST, NEW, kept, place

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

    Where keys lie too close together, neighbours get new keys, too; where most have moved, all do.
    """
    stays = kept(array("q", keys))
    run = [index for index, stay in enumerate(stays) if stay]
    too_close = any(keys[two] - keys[one] < two - one for one, two in pairwise(run))

    placed = place(array("q", keys), stays)

    assert len(placed) == len(keys)
    assert all(one < two for one, two in pairwise(placed))
    assert all(LOWEST <= key <= HIGHEST for key in placed)
    if not too_close and 2 * len(run) >= len(keys):
        assert [placed[index] for index in run] == [keys[index] for index in run]


@SETTINGS
@given(keys=boards(), lowest=st.booleans(), away=st.integers(0, 3) | st.integers(0, 20 * GAP))
def test_keys_stay_within_their_range(keys: list[int], lowest: bool, away: int) -> None:
    """At the ends of the range room is made inwards."""
    known = [key for key in keys if key != NEW]
    shift = LOWEST + away - min(known, default=0) if lowest else HIGHEST - away - max(known, default=0)
    keys = [key if key == NEW else key + shift for key in keys]

    placed = place(array("q", keys), kept(array("q", keys)))

    assert all(one < two for one, two in pairwise(placed))
    assert all(LOWEST <= key <= HIGHEST for key in placed)


@pytest.mark.parametrize("end", ["first", "last"])
def test_newcomers_at_an_end_of_the_range(end: str) -> None:
    """Where the keys have come to an end of the range, a few neighbours make way, and then there is room again."""
    size = 1000
    first = LOWEST if end == "first" else HIGHEST - (size - 1) * GAP
    keys = array("q", range(first, first + size * GAP, GAP))
    made_way = [made_way_for(keys, at=0 if end == "first" else len(keys)) for _ in range(100)]
    assert made_way[0] > 0
    assert sum(made_way) <= 200


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([], []),
        ([NEW, NEW, NEW], [0, GAP, 2 * GAP]),
        ([NEW, 0], [-GAP, 0]),
        ([0, NEW], [0, GAP]),
        (
            [NEW, NEW, *range(5 * GAP, 9 * GAP, GAP), NEW, NEW],
            [*range(3 * GAP, 11 * GAP, GAP)],
        ),
        ([0, NEW, 2], [0, 1, 2]),
        ([0, NEW, NEW, 3], [0, 1, 2, 3]),
        ([0, NEW, GAP], [0, GAP // 2, GAP]),
    ],
)
def test_newcomers_stand_in_the_gap(keys: list[int], expected: list[int]) -> None:
    """At an end of the board they stand a gap apart; between two neighbours they share the gap evenly."""
    assert list(place(array("q", keys), kept(array("q", keys)))) == expected


@SETTINGS
@given(high=st.integers(1, 60), newcomers=st.integers(1, 60))
def test_a_gap_is_used_to_its_last_key(high: int, newcomers: int) -> None:
    """As many entries fit between two keys as there are numbers; nobody makes way before they are used up."""
    beside = 100  # so that most have not moved
    keys = array("q", [*range(-beside * GAP, 1, GAP), *[NEW] * newcomers, *range(high, high + beside * GAP, GAP)])

    placed = place(keys, kept(keys))

    assert all(one < two for one, two in pairwise(placed))
    made_way = sum(old not in (NEW, key) for old, key in zip(keys, placed, strict=True))
    assert (made_way == 0) == (newcomers < high)
    assert made_way <= 20


@pytest.mark.parametrize(("moved_from", "moved_to"), [(99_999, 0), (0, 99_999), (70_000, 3)])
def test_one_team_that_moves_among_many_is_one_move(moved_from: int, moved_to: int) -> None:
    """A climb from the last place of 100,000 to the first writes one entry, not 100,000."""
    order = list(range(100_000))
    order.insert(moved_to, order.pop(moved_from))
    keys = array("q", [n * GAP for n in order])

    placed = place(keys, kept(keys))

    assert [index for index, key in enumerate(placed) if key != keys[index]] == [moved_to]
    assert all(one < two for one, two in pairwise(placed))


def test_a_newcomer_at_the_top_of_many_is_one_move() -> None:
    """Thousands of ranks below shift by one; nothing of that is written."""
    keys = array("q", [NEW, *range(0, 100_000 * GAP, GAP)])
    assert place(keys, kept(keys)) == array("q", range(-GAP, 100_000 * GAP, GAP))


def test_only_neighbours_make_way() -> None:
    """One narrow gap in a large board costs a few new keys around it, not the board."""
    keys = array("q", [n * GAP for n in range(1000)])
    keys[500] = keys[499] + 1
    before = keys[:]
    assert 0 < made_way_for(keys, at=500) <= 20
    assert before[:450] == keys[:450]
    assert before[550:] == keys[551:]


def made_way_for(keys: array[int], at: int, newcomers: int = 1) -> int:
    """Let newcomers come to a place of a board. Returns how many others got new keys."""
    keys[at:at] = array("q", [NEW] * newcomers)
    stays = bytearray(b"\1" * len(keys))
    stays[at : at + newcomers] = bytes(newcomers)
    placed = place(keys, stays)
    changed = keys[:at] != placed[:at] or keys[at + newcomers :] != placed[at + newcomers :]
    made_way = sum(map(ne, keys, placed)) - newcomers if changed else 0
    keys[:] = placed
    return made_way


Z = 2500  # a team of the board; P stands before it


@pytest.mark.parametrize(
    ("place_of", "at_once", "bound"),
    [
        pytest.param(lambda n: Z + n, 1, 100, id="directly above Z"),  # measured: 16
        pytest.param(lambda n: Z + n, 10, 100, id="directly above Z, ten at once"),  # 8
        pytest.param(lambda _: Z, 1, 100, id="directly below P"),  # 8
        pytest.param(lambda n: Z + n * (n % 2), 1, 100, id="above Z and below P in turns"),  # 8
        pytest.param(lambda n: Z + (n + 1) // 2 + n % 2, 1, 20_000, id="above and below Z in turns"),  # 8,712
        pytest.param(lambda n: Z + n // 2 + n * 7 % 11, 1, 400_000, id="scattered over eleven places"),  # 211,280
        pytest.param(lambda n: n % 10 * (501 + n // 10) + n // 10, 1, 100, id="ten popular places"),  # 0
    ],
)
def test_what_newcomers_at_one_place_cost(place_of: Callable[[int], int], at_once: int, bound: int) -> None:
    """10,000 newcomers at one place of a board of 5,000, one sync after another: so many others get new keys."""
    keys = array("q", range(0, 5000 * GAP, GAP))
    made_way = sum(made_way_for(keys, place_of(n), at_once) for n in range(0, 10_000, at_once))
    assert len(keys) == 15_000
    assert all(one < two for one, two in pairwise(keys))
    assert made_way <= bound
