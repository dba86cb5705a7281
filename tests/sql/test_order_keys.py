"""Room between neighbours: where order keys run out, neighbours make way, and nobody sees a difference."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from pgleaderboard.sync import order
from tests.support.boards import Counts, Entry, places, shown, teams, zip_of
from tests.support.syncs import Syncs


def test_hundreds_of_newcomers_at_one_place(syncs: Syncs) -> None:
    """Newcomers one after another at one place use up every gap there; the board and all boards before stay right."""
    entries = teams(1, 2, 3)
    syncs.sync(zip_of(entries))
    syncs.db.execute("UPDATE kaggle.leaderboard_entries SET order_key = order_key >> 32")
    past, given, joined = [], {}, {}
    for newcomer in range(10, 310):
        entries.insert(1, Entry(newcomer))
        syncs.sync(zip_of(entries))
        given[newcomer] = syncs.scalar("SELECT order_key FROM kaggle.leaderboard_entries WHERE team_id = %s", newcomer)
        joined[newcomer] = syncs.run()[6]
        assert Counts(*syncs.run()[2:6]) == Counts(1, 0, 0, 0)
        if newcomer % 29 == 0:
            past.append((syncs.run()[6], list(entries)))
    keys = dict(syncs.db.execute("SELECT team_id, order_key FROM kaggle.leaderboard_entries").fetchall())
    assert [newcomer for newcomer, key in given.items() if keys[newcomer] != key] != []  # they made way

    assert syncs.leaderboard() == shown(entries)
    assert [syncs.at(moment) for moment, _ in past] == [places(then) for _, then in past]
    # Whoever made way has not moved.
    assert syncs.scalar("SELECT count(*) FROM kaggle.leaderboard_history") == 0
    changed = dict(syncs.db.execute("SELECT team_id, entry_changed_at FROM kaggle.leaderboard").fetchall())
    assert {newcomer: changed[newcomer] for newcomer in joined} == joined
    assert syncs.db.execute(
        "SELECT team_id, what FROM kaggle.sync_runs r CROSS JOIN LATERAL kaggle.changes(r.id) "
        "WHERE added = 1 ORDER BY r.id"
    ).fetchall() == [(newcomer, "added") for newcomer in joined]


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
        pytest.param(lambda n: order.LOWEST + n, id="far below zero"),
        pytest.param(lambda n: order.HIGHEST - 1600 + n, id="far above"),
    ],
)
def test_making_way_changes_no_board(syncs: Syncs, where: str, spaced: Callable[[int], int]) -> None:
    """However narrow: the board and those before are right, and no more is told than that newcomers came."""
    size = 1600
    syncs.sync(zip_of(teams(*range(size))))
    syncs.db.execute(
        "UPDATE kaggle.leaderboard_entries e SET order_key = m.key "
        "FROM unnest(%s::bigint[]) WITH ORDINALITY AS m (key, n) WHERE e.team_id = m.n - 1",
        ([spaced(n) for n in range(size)],),
    )
    past = [(syncs.run()[6], teams(*range(size)))]
    # Closed versions: some under keys of today's entries, some alone under theirs once the entry is gone.
    staying = [
        entry.but(score=Decimal("0.25")) if entry.team_id % 3 == 0 else entry
        for entry in teams(*range(size))
        if entry.team_id % 5 != 3
    ]
    syncs.sync(zip_of(staying))
    past.append((syncs.run()[6], staying))
    history = "SELECT team_id, valid_from, valid_until FROM kaggle.leaderboard_history ORDER BY 1, 2"
    before = syncs.db.execute(history).fetchall()
    at = {"top": 1, "middle": len(staying) * 3 // 8, "bottom": len(staying) - 1}[where]

    board = [*staying[:at], *teams(*range(size, size + 100)), *staying[at:]]
    syncs.sync(zip_of(board))

    assert Counts(*syncs.run()[2:6]) == Counts(100, 0, 0, 0)
    assert syncs.leaderboard() == shown(board)
    assert [syncs.at(moment) for moment, _ in past] == [places(then) for _, then in past]
    assert syncs.db.execute(history).fetchall() == before


def test_only_neighbours_make_way(syncs: Syncs) -> None:
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
    """Teams that stood outside of today's first or last one, and left, do not keep others from making way."""
    syncs.sync(zip_of(teams(*range(200))))
    before = [(syncs.run()[6], teams(*range(200)))]
    # The outermost are closed versions: one that left before, and one that leaves now.
    entries = teams(*range(1, 199))
    syncs.sync(zip_of(entries))
    before.append((syncs.run()[6], entries))
    far = -(2**63) + 1 if end == "first" else 2**63 - 1 - 199 * order.GAP
    syncs.db.execute("UPDATE kaggle.leaderboard_entries SET order_key = order_key + %s", (far,))
    syncs.db.execute(
        "UPDATE kaggle_internal.packs SET order_keys = ARRAY("
        "SELECT v.key + %s FROM unnest(order_keys) WITH ORDINALITY AS v (key, nth) ORDER BY nth)",
        (far,),
    )

    entries = teams(900, *range(2, 198)) if end == "first" else teams(*range(2, 198), 900)
    assert syncs.sync(zip_of(entries)).outcome == "changed"

    assert syncs.leaderboard() == shown(entries)
    assert [syncs.at(moment) for moment, _ in before] == [places(then) for _, then in before]
