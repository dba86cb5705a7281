"""Which entries of a board really moved, and where they stand now. Pure.

A board is an order. Each entry holds a key that sorts as Kaggle's file does, with gaps between, so that a team
that climbs 3,000 places is one entry with a new key and not 3,000 entries with new ranks. The entries that need no
new key are a longest increasing subsequence of the old keys in the new order (Fredman 1975, by patience sorting,
O(n log n)); all others moved. Where a gap is used up, neighbours make way: they get new keys, and have not moved.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from functools import reduce
from itertools import chain, compress, count, islice, pairwise
from operator import ge, ne, or_

NEW = -(2**63)  # stands for "had no key": the team was not on the board
LOWEST, HIGHEST = -(2**62), 2**62  # keys stay between them
GAP = 2**40  # between neighbours of a new board
_ROOMY = 2**16  # between neighbours that made way
_NOT = bytes([1, 0]) + bytes(254)  # translates flags
_REACH = 4  # neighbours on either side that make way first; where that is not enough, twice as many


def kept(keys: array[int]) -> bytearray:
    """Mark the entries that did not move.

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


def place(keys: array[int], stays: bytearray) -> array[int]:
    """Give a key to every entry that moved or is new, and to neighbours that must make way.

    keys, stays: as for `kept`. Returns the key of each entry, ascending.
    """
    size = len(keys)
    if 2 * stays.count(1) < size:  # most have moved: room for everybody
        return array("q", _numbered(size))
    placed = array("q", keys)
    start = 0
    while (start := stays.find(0, start)) >= 0:  # the next run of entries without a place
        end = stays.find(1, start)
        first, last, reach = start, end if end >= 0 else size, _REACH
        while (window := _window(placed, stays, first, last, widened=reach > _REACH)) is None:
            first = max(0, first - reach)
            last = min(size, last + reach)
            while last < size and not stays[last]:
                last += 1
            reach *= 2
        placed[first:last] = array("q", window)
        start = last
    return placed


def differences(
    keys: array[int], news: array[int], fixed: array[int] | None = None
) -> Iterator[tuple[int, int | None, str]]:
    """Tell what became of the entries of a board.

    keys: as for `kept`. news: the indexes of entries that were there and have other facts now. fixed: the new keys
    where they are known already, None = they are to be chosen.
    Yields (index, new key or None for the old one, letter as in kaggle_internal.packs.ended) where anything changed,
    by ascending index.
    """
    stays = kept(keys)
    placed = place(keys, stays) if fixed is None else fixed
    updated = bytearray(
        len(keys)
    )  # a byte an entry, as in `stays`: sets of a million indexes would take a lot of memory
    for index in news:
        updated[index] = 1
    moved, rekeyed = stays.translate(_NOT), bytes(map(ne, keys, placed))
    for index in compress(count(), _either(updated, moved, rekeyed)):
        if keys[index] == NEW:
            letter = "a"
        elif stays[index]:
            letter = "u" if updated[index] else "w"
        else:
            letter = "M" if updated[index] else "m"
        yield index, placed[index] if placed[index] != keys[index] else None, letter


def _either(*flags: bytes | bytearray) -> bytes:
    size = len(flags[0])
    return reduce(or_, (int.from_bytes(each, "big") for each in flags)).to_bytes(size, "big")


def _window(
    placed: array[int], stays: bytearray, first: int, last: int, *, widened: bool
) -> range | Iterator[int] | None:
    """The keys of the entries from first to last (not included), None where their neighbours stand too close.

    widened: some of them have keys that they could keep, so that it must be worth it.
    """
    size, needed = len(placed), last - first
    low = placed[first - 1] if first else None
    high = placed[last] if last < size else None
    if low is None and high is None:
        return _numbered(size)
    if high is None and low is not None and low + needed * GAP <= HIGHEST:
        return range(low + GAP, low + needed * GAP + 1, GAP)
    if low is None and high is not None and high - needed * GAP >= LOWEST:
        return range(high - needed * GAP, high, GAP)
    low = LOWEST - 1 if low is None else low
    high = HIGHEST + 1 if high is None else high
    room = high - low
    if room // (needed + 1) < (_ROOMY if widened or first == 0 or last == size else 1):
        return None
    step = room >> 8
    if widened or room >= GAP or step * (needed + 1) >= room or not step:
        return (low + room * n // (needed + 1) for n in range(1, needed + 1))
    # Newcomers often come to the same place again. A small step from the side where the keys are denser leaves them
    # room. Where neither side is, a guess costs 8 bits of the gap if it is wrong, and lasts for thousands if it is not.
    below = low - placed[first - 2] if first > 1 else GAP
    above = placed[last + 1] - high if last + 1 < size and stays[last + 1] else GAP
    if 4 * below <= above or (4 * above > below and hash((low, high)) & 1):
        return range(low + step, low + step * needed + 1, step)
    return range(high - step * needed, high, step)


def _numbered(size: int) -> range:
    step = min(GAP, HIGHEST // max(size, 1))
    return range(0, step * size, step)
