"""Which entries of a board really moved, and where they stand now. Pure.

A board is an order. Each entry holds a key that sorts as Kaggle's file does, with gaps between, so that a team
that climbs 3,000 places is one entry with a new key and not 3,000 entries with new ranks. The entries that keep
their key are a longest increasing subsequence of the old keys in the new order (Fredman 1975, by patience
sorting, O(n log n)); all others moved. `widen_gap` in sql/070_boards.sql makes room where keys lie too close.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, compress, count, islice, pairwise
from operator import ge

NEW = -(2**63)  # stands for "had no key": the team was not on the board
LOWEST, HIGHEST = -(2**62), 2**62  # keys stay between them
GAP = 2**40  # between neighbours of a new board: room for 40 halvings, and for 4 million entries


@dataclass(eq=False)
class GapExhausted(Exception):
    """There is no room for `needed` entries behind the key `low`."""

    low: int
    needed: int


def kept(keys: array[int]) -> bytearray:
    """Mark the entries that keep their key.

    keys: the old key of each entry in the new order, NEW where it had none.
    Returns one byte an entry, 1 where it is in a longest strictly increasing subsequence.
    """
    tails: array[int] = array("q")  # smallest last key of an increasing subsequence of each length
    tail_at: array[int] = array("i")  # its index in keys
    before: array[int] = array("i", bytes(4 * len(keys)))  # the index before it in its subsequence
    falls = compress(count(1), map(ge, keys, islice(keys, 1, None)))  # where a key does not exceed the one before
    for start, end in pairwise(chain((0,), falls, (len(keys),))):  # keys ascend from start to end
        for index in range(start, end):
            key = keys[index]
            if key == NEW:
                continue
            if not tails or key > tails[-1]:  # the common case, and all the rest of the run with it: nothing moved here
                before[index] = tail_at[-1] if tail_at else -1
                before[index + 1 : end] = array("i", range(index, end - 1))
                tails.extend(keys[index:end])
                tail_at.extend(range(index, end))
                break
            length = bisect_left(tails, key)
            before[index] = tail_at[length - 1] if length else -1
            tails[length] = key
            tail_at[length] = index
    stays = bytearray(len(keys))
    index = tail_at[-1] if tail_at else -1
    while index >= 0:
        stays[index] = 1
        index = before[index]
    return stays


def place(keys: array[int]) -> Iterator[tuple[int, int]]:
    """Give a key to every entry that moved or is new.

    keys: as for `kept`.
    Yields (index in keys, new key), by ascending index.
    Raises GapExhausted, possibly after some were yielded, where neighbours lie too close together.
    """
    stays = kept(keys)
    start = 0
    while (start := stays.find(0, start)) >= 0:  # the next run of entries without a place
        end = stays.find(1, start)
        low = keys[start - 1] if start else None
        high = keys[end] if end >= 0 else None
        count = (end if end >= 0 else len(keys)) - start
        yield from zip(range(start, start + count), _between(low, high, count), strict=True)
        start += count


def _between(low: int | None, high: int | None, count: int) -> Iterator[int]:
    """Spread `count` keys over the gap between two neighbours, None for an end of the board."""
    if low is not None and high is not None:
        if high - low <= count:
            raise GapExhausted(low, count)
        return (low + (high - low) * n // (count + 1) for n in range(1, count + 1))
    first = 0
    if low is not None:
        first = low + GAP
    elif high is not None:
        first = high - count * GAP
    last = first + (count - 1) * GAP
    if first < LOWEST or last > HIGHEST:
        raise GapExhausted(NEW if low is None else 2**63 - 1, count)
    return iter(range(first, last + 1, GAP))
