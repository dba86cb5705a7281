"""Room between neighbours: order keys are spread, and widened where they run out."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import pytest

from pgleaderboard.sync import board, order
from tests.support.boards import Entry, places, shown, teams, zip_of
from tests.support.syncs import LIMIT, Syncs


def _in_order(syncs: Syncs) -> list[tuple[int, ...]]:
    """For each version, by (table, team, valid_from): how many different keys stand before its own."""
    found = syncs.versions()
    rank = {key: n for n, key in enumerate(sorted({version[3] for version in found}))}
    return [(*version[:3], rank[version[3]]) for version in found]


def test_hundreds_of_newcomers_at_one_place(syncs: Syncs) -> None:
    """Newcomers one after another at one place use up every gap there; the board and all boards before stay right."""
    entries = teams(1, 2, 3)
    past, given = [], {}
    for newcomer in range(10, 310):
        entries.insert(1, Entry(newcomer))
        syncs.sync(zip_of(entries))
        given[newcomer] = syncs.scalar("SELECT order_key FROM kaggle.leaderboard_entries WHERE team_id = %s", newcomer)
        if newcomer % 29 == 0:
            past.append((syncs.run()[6], list(entries)))
    keys = dict(syncs.db.execute("SELECT team_id, order_key FROM kaggle.leaderboard_entries").fetchall())
    assert [newcomer for newcomer, key in given.items() if keys[newcomer] != key] != []  # the gap was widened

    assert syncs.leaderboard() == shown(entries)
    assert [syncs.at(moment) for moment, _ in past] == [places(then) for _, then in past]
    assert syncs.scalar("SELECT count(*) FROM kaggle.leaderboard_history") == 0


@pytest.mark.parametrize("where", ["top", "middle", "bottom"])
@pytest.mark.parametrize(
    "spaced",
    [
        pytest.param(lambda n: n, id="no room at all"),
        pytest.param(lambda n: n * order.GAP + (0 if n < 600 else 1 - order.GAP), id="one narrow gap"),
        pytest.param(
            # narrow from 500 to 1099: only a window of 512 each side reaches out of it, not yet over the board
            lambda n: min(n, 500) * order.GAP + max(0, min(n, 1100) - 500) + max(0, n - 1100) * order.GAP,
            id="a narrow stretch",
        ),
        pytest.param(lambda n: -(2**62) + n, id="far below zero"),
    ],
)
def test_widening_keeps_the_order(syncs: Syncs, where: str, spaced: Callable[[int], int]) -> None:
    """Making room changes no order among open and closed versions, equal keys included, and there is room then."""
    size = 1600
    syncs.sync(zip_of(teams(*range(size))))
    keys = [spaced(n) for n in range(size)]
    syncs.db.execute(
        "UPDATE kaggle.leaderboard_entries e SET order_key = m.key "
        "FROM unnest(%s::bigint[]) WITH ORDINALITY AS m (key, n) WHERE e.team_id = m.n - 1",
        (keys,),
    )
    # Closed versions: some under keys of today's entries, some alone under theirs once the entry is gone.
    syncs.db.execute(
        """
        INSERT INTO kaggle.leaderboard_history
        SELECT board_id, (team_id * 7 + 3) %% %s, order_key, valid_from - interval '2 days',
               valid_from - interval '1 day', first_seen_at, last_submission_at, submission_count, is_benchmark,
               score, team_name, member_usernames
        FROM kaggle.leaderboard_entries WHERE team_id %% 3 = 0
        """,
        (size,),
    )
    syncs.db.execute("DELETE FROM kaggle.leaderboard_entries WHERE team_id % 5 = 3")
    staying = [n for n in range(size) if n % 5 != 3]
    at = {"top": 0, "middle": len(staying) * 3 // 8, "bottom": len(staying) - 2}[where]
    low = keys[staying[at]]
    before = _in_order(syncs)
    needed = 100
    run_id = syncs.begin().run_id
    board_id = syncs.scalar("SELECT kaggle_internal.board_of_run(%s, 'public')", run_id)

    assert syncs.scalar("SELECT kaggle_internal.widen_gap(%s, %s, %s, %s)", run_id, board_id, low, needed)

    assert _in_order(syncs) == before
    below, above = (
        syncs.scalar("SELECT order_key FROM kaggle.leaderboard_entries WHERE team_id = %s", staying[n])
        for n in (at, at + 1)
    )
    assert above - below > needed


def test_only_the_window_is_renumbered(syncs: Syncs) -> None:
    """One narrow gap in a large board costs as many rows as lie around it, not the board."""
    syncs.sync(zip_of(teams(*range(1000))))
    syncs.db.execute(
        "UPDATE kaggle.leaderboard_entries SET order_key = order_key - (1::bigint << 40) + 1 WHERE team_id = 500"
    )
    before = syncs.versions()

    entries = teams(*range(1000))
    entries.insert(500, Entry(5000))
    syncs.sync(zip_of(entries))

    assert syncs.leaderboard() == shown(entries)
    assert 0 < len(set(before) - set(syncs.versions())) <= 64


@pytest.mark.parametrize("end", ["first", "last"])
def test_newcomers_at_the_ends_for_ever(syncs: Syncs, end: str) -> None:
    """New leaders, or new last teams, can come without end: keys that ran far to one side are no obstacle."""
    syncs.sync(zip_of(teams(1, 2, 3)))
    far = -(2**63) + 1 if end == "first" else 2**63 - 1 - 2 * order.GAP
    syncs.db.execute("UPDATE kaggle.leaderboard_entries SET order_key = order_key + %s", (far,))

    entries = teams(4, 1, 2, 3) if end == "first" else teams(1, 2, 3, 4)
    applied = syncs.sync(zip_of(entries))

    assert applied.outcome == "changed"
    assert syncs.leaderboard() == shown(entries)


@pytest.mark.parametrize("end", ["first", "last"])
def test_newcomers_at_the_ends_beside_those_who_left(syncs: Syncs, end: str) -> None:
    """Teams that stood outside of today's first or last one, and left, do not keep the ends from being widened."""
    syncs.sync(zip_of(teams(*range(200))))
    before = [(syncs.run()[6], teams(*range(200)))]
    # The outermost are closed versions: one that left before, and one that leaves now.
    entries = teams(*range(1, 199))
    syncs.sync(zip_of(entries))
    before.append((syncs.run()[6], entries))
    far = -(2**63) + 1 if end == "first" else 2**63 - 1 - 199 * order.GAP
    for table in ("kaggle.leaderboard_entries", "kaggle.leaderboard_history"):
        syncs.db.execute(f"UPDATE {table} SET order_key = order_key + %s", (far,))

    entries = teams(900, *range(2, 198)) if end == "first" else teams(*range(2, 198), 900)
    file = io.BytesIO(zip_of(entries))
    read = board.read_zip(file, LIMIT)
    tries: list[int] = []

    def rows() -> Iterator[bytes]:
        tries.append(1)
        assert len(tries) <= 5, "it tries again for ever"
        return board.zip_chunks(file, LIMIT)

    assert syncs.store.apply(syncs.begin().run_id, read, rows).outcome == "changed"
    assert syncs.leaderboard() == shown(entries)
    assert [syncs.at(moment) for moment, _ in before] == [places(then) for _, then in before]
