"""What the functions about the past read: what they tell of, however long the past is."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.sql.test_plans import under
from tests.support.aliases import Connection
from tests.support.boards import Entry, zip_of
from tests.support.past import time_passes
from tests.support.syncs import Syncs

TEAMS = 200
SYNCS = 60
CHANGES = {"calm": 15, "harsh": TEAMS}
ONCE = (SYNCS - 1) * TEAMS  # the past of the harsh board

Past = dict[str, list[datetime]]


@pytest.fixture
def past(db: Connection, compete: Callable[..., Syncs]) -> Past:
    """The moments of a board on which every score moves at every sync, beside one that hardly moves."""
    moments: Past = {}
    for slug, changes in CHANGES.items():
        syncs = compete(slug)
        rng = random.Random(slug)
        board = [Entry(n, f"team {n}", Decimal(n), members=(f"user{n}", f"second{n}")) for n in range(TEAMS)]
        for _ in range(SYNCS):
            syncs.sync(zip_of(sorted(board, key=lambda entry: entry.score or 0)))
            for n in rng.sample(range(TEAMS), changes):
                board[n] = board[n].but(score=Decimal(rng.randrange(1000 * TEAMS)))
        time_passes(db, timedelta(days=1), slug)
        moments[slug] = [
            at for (at,) in db.execute("SELECT observed_at FROM kaggle.sync_runs WHERE competition_id = %s ORDER BY id",
                                       (syncs.competition,))
        ]  # fmt: skip
    db.execute("VACUUM ANALYZE")
    return moments


def versions_read(db: Connection, query: str, *values: Any) -> int:
    """How many versions a query takes out of packs, by whatever plan, in the functions that it calls."""
    plans: list[str] = []

    def listen(notice: Any) -> None:
        plans.append(notice.message_primary or "")

    db.execute("LOAD 'auto_explain'")
    db.add_notice_handler(listen)
    with db.transaction(force_rollback=True):
        for name, setting in (("log_min_duration", "0"), ("log_analyze", "on"), ("log_nested_statements", "on"),
                            ("log_timing", "off"), ("log_format", "json")):  # fmt: skip
            db.execute(f"SET LOCAL auto_explain.{name} = {setting}")
        db.execute("SET LOCAL client_min_messages = log")
        assert db.execute(query, values).fetchall() != []
    db.remove_notice_handler(listen)
    nodes = [node for plan in plans if "{" in plan for node in under(json.loads(plan[plan.index("{") :])["Plan"])]
    return sum(node["Actual Rows"] * node["Actual Loops"] for node in nodes if node["Node Type"] == "ProjectSet")


@pytest.mark.parametrize("slug", CHANGES)
def test_a_past_board_costs_a_board(db: Connection, past: Past, slug: str) -> None:
    """A moment early, midway or late: of the history little more is read than what held then."""
    for number in (0, 1, SYNCS // 3, SYNCS // 2, SYNCS - 2, SYNCS - 1):
        at = past[slug][number]
        read = versions_read(db, "SELECT * FROM kaggle.leaderboard_as_of(%s, %s)", slug, at)
        assert (read > 0) == (number < SYNCS - 1)
        assert read <= 3 * TEAMS
        moved = "SELECT * FROM kaggle.movers(%s, %s::timestamptz - interval '1 microsecond')"
        if number:
            assert versions_read(db, moved, slug, at) <= 3 * TEAMS
    run = "SELECT max(r.id) - %s FROM kaggle.sync_runs r JOIN kaggle.boards b ON b.id = r.board_id WHERE b.slug = %s"
    assert versions_read(db, f"SELECT * FROM kaggle.changes(({run}))", SYNCS // 2, slug) <= 6 * TEAMS


def test_rank_history_reads_the_past_once(db: Connection, past: Past) -> None:
    """However many teams are asked for, or for a user."""
    history = (
        "SELECT h.* FROM kaggle.leaderboard_history h JOIN kaggle.boards b ON b.id = h.board_id WHERE b.slug = 'harsh'"
    )
    assert versions_read(db, history) >= ONCE  # reading is counted
    for teams in ([2], [2, 70, 150, 180, 199]):
        read = versions_read(db, "SELECT * FROM kaggle.rank_history('harsh', VARIADIC %s::bigint[])", teams)
        assert 0 < read <= ONCE + 4 * len(teams) * SYNCS
    assert versions_read(db, "SELECT * FROM kaggle.rank_history('harsh', 'second70'::text)") <= ONCE + 4 * SYNCS


def test_a_part_of_the_past_costs_that_part(db: Connection, past: Past) -> None:
    """rank_history_between reads what lies between its moments, and up to the next whole board."""
    since, until = past["harsh"][SYNCS // 2], past["harsh"][SYNCS // 2 + 3]
    part = "SELECT * FROM kaggle.rank_history_between('harsh', ARRAY[2, 70], %s, %s)"
    assert versions_read(db, part, since, until) <= 6 * TEAMS


def test_when_a_board_was_confirmed_is_found_by_its_index(db: Connection, past: Past) -> None:
    """leaderboard_as_of does not read all runs of a competition to tell synced_at."""
    synced_at = "SELECT DISTINCT synced_at FROM kaggle.leaderboard_as_of('harsh', %s::timestamptz + '1 microsecond')"
    at = past["harsh"][SYNCS // 2]
    assert rows_read("sync_runs", db, synced_at, at) == 1
    assert rows_read("sync_runs", db, "SELECT max(finished_at) FROM kaggle.sync_runs") == 2 * SYNCS
    assert db.execute(synced_at, (at,)).fetchall() == [(at,)]


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
