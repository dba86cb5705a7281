"""What the functions about the past read: what they tell of, however long the past is."""

from __future__ import annotations

from typing import Any

import pytest

from tests.bench.history_data import LongPast, write_long_past
from tests.support.aliases import Connection

TEAMS = 500
SYNCS = 120


@pytest.fixture
def past(db: Connection) -> LongPast:
    """A board on which every score moves at every sync, beside one that hardly moves."""
    write_long_past(db, "calm", teams=TEAMS, syncs=SYNCS, changes=40)
    return write_long_past(db, "harsh", teams=TEAMS, syncs=SYNCS, changes=TEAMS)


def rows_read(table: str, db: Connection, query: str, *values: Any) -> int:
    """How many rows of a table a query reads, by whatever plan, those it throws away again included."""

    def read() -> int:
        db.execute("SELECT pg_stat_force_next_flush()")
        row = db.execute(
            "SELECT seq_tup_read + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes i WHERE i.relid = t.relid) "
            "FROM pg_stat_user_tables t WHERE relname = %s",
            (table,),
        ).fetchone()
        assert row is not None
        return int(row[0])

    before = read()
    assert db.execute(query, values).fetchall() != []
    return read() - before


def versions_read(db: Connection, query: str, *values: Any) -> int:
    """How many rows of leaderboard_history a query reads."""
    return rows_read("leaderboard_history", db, query, *values)


@pytest.mark.parametrize("slug", ["calm", "harsh"])
def test_a_past_board_costs_a_board(db: Connection, past: LongPast, slug: str) -> None:
    """A moment early, midway or late: of the history little more is read than what held then."""
    for number in (0, 1, SYNCS // 3, SYNCS // 2, SYNCS - 2, SYNCS - 1):
        assert versions_read(db, "SELECT * FROM kaggle.leaderboard_as_of(%s, %s)", slug, past.at(number)) <= 3 * TEAMS
        moved = "SELECT * FROM kaggle.movers(%s, %s::timestamptz - interval '1 minute')"
        if number:
            assert versions_read(db, moved, slug, past.at(number)) <= 3 * TEAMS
    run = "SELECT max(r.id) - %s FROM kaggle.sync_runs r JOIN kaggle.boards b ON b.id = r.board_id WHERE b.slug = %s"
    assert versions_read(db, f"SELECT * FROM kaggle.changes(({run}))", SYNCS // 2, slug) <= 6 * TEAMS


def test_rank_history_reads_the_past_once(db: Connection, past: LongPast) -> None:
    """However many teams are asked for; a user's teams are found through indexes."""
    row = db.execute("SELECT count(*) FROM kaggle.leaderboard_history").fetchone()
    assert row is not None
    once = row[0]
    assert versions_read(db, "SELECT max(valid_until) FROM kaggle.leaderboard_history") == once  # reading is counted
    for teams in ([2], [2, 70, 300, 400, 499]):
        allowed = once + 4 * len(teams) * SYNCS
        read = versions_read(db, "SELECT * FROM kaggle.rank_history('harsh', VARIADIC %s::bigint[])", teams)
        assert read <= allowed
        # Once more to find the user's teams.
        read = versions_read(db, "SELECT * FROM kaggle.rank_history('harsh', 'second70'::text)")
        assert read <= 2 * once + 8 * SYNCS


def test_when_a_board_was_confirmed_is_found_by_its_index(db: Connection, past: LongPast) -> None:
    """leaderboard_as_of does not read all runs of a competition to tell synced_at."""
    synced_at = "SELECT DISTINCT synced_at FROM kaggle.leaderboard_as_of('harsh', %s::timestamptz + '59 minutes')"
    assert rows_read("sync_runs", db, synced_at, past.at(60)) == 1
    assert rows_read("sync_runs", db, "SELECT max(finished_at) FROM kaggle.sync_runs") == 2 * SYNCS
    assert db.execute(synced_at, (past.at(60),)).fetchall() == [(past.at(60),)]
