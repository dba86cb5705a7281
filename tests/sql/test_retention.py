"""What is kept of the past and for how long: pruning and thinning that nobody waits for."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.aliases import Connect, Connection
from tests.support.boards import COLUMNS, Entry, counts, shown, teams, zip_of
from tests.support.faults import Simulator
from tests.support.syncs import Syncs

Compete = Callable[..., Syncs]

ROOT = Path(__file__).resolve().parents[2]
DAY = timedelta(days=1)
# Whoever acts under this may wait for nobody.
IMPATIENT = "SET lock_timeout = '300ms'"
_NUMBERS = itertools.count(1)


def scored(*scores: int) -> list[Entry]:
    """A board of teams 1, 2, … with these scores, best first."""
    entries = [Entry(n, f"team {n}", Decimal(score), members=(f"user{n}",)) for n, score in enumerate(scores, start=1)]
    return sorted(entries, key=lambda entry: (-(entry.score or 0), entry.team_id))


BOARDS = [scored(1, 2, 3), scored(3, 2, 1), scored(4, 5, 1), scored(4, 5, 6), scored(9, 8, 6), scored(9, 8, 10)]


def play(syncs: Syncs) -> tuple[list[datetime], list[int]]:
    """BOARDS, a day apart, the last one today. Returns the moments and the runs."""
    now = syncs.scalar("SELECT now()")
    moments = [now - DAY * (len(BOARDS) - 1 - number) for number in range(len(BOARDS))]
    return moments, [syncs.sync_at(at, zip_of(board)) for board, at in zip(BOARDS, moments, strict=True)]


def as_of(db: Connection, slug: str, at: datetime) -> list[Any]:
    """The board at a moment."""
    return db.execute(f"SELECT {COLUMNS} FROM kaggle.leaderboard_as_of(%s, %s)", (slug, at)).fetchall()


def prune(db: Connection, older_than: timedelta, at_most: int = 10000) -> int:
    """One chunk."""
    row = db.execute("SELECT kaggle.prune_history(%s, %s)", (older_than, at_most)).fetchone()
    assert row is not None
    return int(row[0])


def refused(db: Connection, query: str, *values: Any) -> None:
    """The query is refused, and the horizon named."""
    with pytest.raises(psycopg.errors.NoDataFound, match="the history of a-board begins at 20"):
        db.execute(query, values)


# --- pruning ------------------------------------------------------------------------------------------------------


def test_no_chunk_gives_a_wrong_answer(compete: Compete, db: Connection, connect: Connect) -> None:
    """From the first chunk on, what lies before the horizon is refused; what lies behind it stays as it was."""
    syncs = compete()
    moments, runs = play(syncs)
    reader = connect()  # began before, and sees what was then
    reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    reader.execute("SELECT FROM kaggle.boards")
    older_than = 2 * DAY + timedelta(hours=12)
    chunks = 0
    while pruned := prune(db, older_than, 2):
        assert pruned < 2 + len(BOARDS[0])  # rounded up to what one sync replaced
        chunks += 1
        for number, at in enumerate(moments):
            if number <= 2:
                for moment in (at, at + timedelta(hours=1)):
                    refused(db, "SELECT * FROM kaggle.leaderboard_as_of('a-board', %s)", moment)
                    refused(db, "SELECT * FROM kaggle.movers('a-board', %s::timestamptz)", moment)
                refused(db, "SELECT * FROM kaggle.changes(%s)", runs[number])
            else:
                assert as_of(db, "a-board", at) == shown(BOARDS[number])
                assert db.execute("SELECT * FROM kaggle.changes(%s)", (runs[number],)).fetchall() != []
            assert as_of(reader, "a-board", at) == shown(BOARDS[number])
    assert chunks > 1
    assert as_of(db, "a-board", moments[0] - DAY) == []  # before the first sync, now as before
    assert db.execute("SELECT * FROM kaggle.movers('a-board', %s)", (timedelta(hours=25),)).fetchall() != []


@pytest.mark.parametrize("older_than", ["-1 day", None])
def test_what_holds_now_is_never_pruned(compete: Compete, db: Connection, older_than: str | None) -> None:
    """A horizon does not lie in the future; without one nothing goes."""
    syncs = compete()
    play(syncs)
    before = syncs.scalar("SELECT count(*) FROM kaggle.leaderboard_history")
    pruned = syncs.scalar("SELECT kaggle.prune_history(%s)", older_than)
    assert (pruned >= before > 0) if older_than else pruned == 0
    assert syncs.scalar("SELECT count(*) FROM kaggle.leaderboard_history") == (0 if older_than else before)
    assert as_of(db, "a-board", syncs.scalar("SELECT now()")) == shown(BOARDS[-1]) == syncs.leaderboard()
    assert syncs.scalar("SELECT history_from <= now() FROM kaggle.boards") is (True if older_than else None)


def test_rank_history_begins_at_the_horizon(compete: Compete, db: Connection) -> None:
    """How each team stood at the horizon, then each change; and what a user's teams were."""
    syncs = compete()
    moments, _ = play(syncs)
    whole = db.execute("SELECT at, team_id, rank, teams FROM kaggle.rank_history('a-board', 1, 2, 3)").fetchall()
    while prune(db, 2 * DAY + timedelta(hours=12), 2):
        pass
    horizon = syncs.scalar("SELECT history_from FROM kaggle.boards")
    assert moments[2] < horizon < moments[3]
    kept = db.execute("SELECT at, team_id, rank, teams FROM kaggle.rank_history('a-board', 1, 2, 3)").fetchall()
    ranks = {row[1]: row[0] for row in shown(BOARDS[2])}
    assert sorted(kept) == sorted(
        [(horizon, team, rank, 3) for team, rank in ranks.items()] + [row for row in whole if row[0] > horizon]
    )
    assert db.execute("SELECT at, team_id, rank, teams FROM kaggle.rank_history('a-board', 'USER2')").fetchall() == [
        row for row in kept if row[1] == 2
    ]


def test_pruning_does_not_wait_for_a_sync(compete: Compete, db: Connection, connect: Connect) -> None:
    """A board whose apply is under way is left for the next time; others are pruned meanwhile."""
    held, free = compete("a-board"), compete("b-board")
    for syncs in (held, free):
        play(syncs)
    run_id = held.begin().run_id
    applying = connect()
    applying.execute("SELECT kaggle_internal.prepare_staging(1)")
    applying.execute("INSERT INTO pg_temp.staged_rows_1 (rank, team_id, team_name) VALUES (1, 3, 'x')")
    applying.execute(
        "INSERT INTO pg_temp.placed_rows_1 (position, team_id, ended) "
        "VALUES ((SELECT position FROM pg_temp.staged_rows_1), NULL, 'u'), (NULL, 1, 'l'), (NULL, 2, 'l')"
    )
    applying.execute("SELECT kaggle_internal.apply_board(%s, 'public', 'digest', 0, 1)", (run_id,))

    db.execute(IMPATIENT)
    while prune(db, timedelta(0), 2):
        pass
    boards = (
        "SELECT slug FROM kaggle.boards b WHERE EXISTS (SELECT FROM kaggle.leaderboard_history WHERE board_id = b.id)"
    )
    assert db.execute(boards).fetchall() == [("a-board",)]

    applying.commit()
    while prune(db, timedelta(0), 2):
        pass
    assert db.execute(boards).fetchall() == []
    assert [row[1] for row in as_of(db, "a-board", datetime.now(UTC) + DAY)] == [3]


def test_a_sync_waits_for_a_chunk_of_its_own_board_only(compete: Compete, db: Connection, connect: Connect) -> None:
    """While a chunk is not committed, other boards are synced at once, and its own as soon as it is; none fails."""
    pruned, other = compete("a-board"), compete("b-board")
    moments, _ = play(pruned)
    other.sync_at(moments[0], zip_of(scored(1, 2)))
    pruning = connect()
    assert prune(pruning, DAY) > 0
    db.execute(IMPATIENT)
    assert other.sync(zip_of(scored(2, 1))).outcome == "changed"
    run_id = pruned.begin().run_id
    with ThreadPoolExecutor(1) as pool:
        applied = pool.submit(pruned.end, run_id, zip_of(scored(7, 7, 7)))
        until = time.monotonic() + 8
        while not db.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone():
            assert not applied.done(), applied.result()
            assert time.monotonic() < until
        pruning.commit()
        assert applied.result().outcome == "changed"
    assert as_of(db, "a-board", moments[5]) == shown(BOARDS[5])
    assert pruned.leaderboard() == shown(scored(7, 7, 7))


def test_two_prune_at_once(compete: Compete, db: Connection, connect: Connect) -> None:
    """A board that another one prunes is passed over."""
    for number in range(2):
        play(compete(f"board-{number}"))
    one = connect()
    assert 2 <= prune(one, timedelta(0), 2) < 2 + len(BOARDS[0])
    db.execute(IMPATIENT)
    pruned = 0
    while chunk := prune(db, timedelta(0)):
        pruned += chunk
    one.commit()
    while chunk := prune(db, timedelta(0)):
        pruned += chunk
    assert pruned > 2
    assert db.execute("SELECT count(*) FROM kaggle.leaderboard_history").fetchone() == (0,)


def test_the_present_is_never_pruned(compete: Compete, db: Connection) -> None:
    """A board that never changed is there for ever, and its past with it."""
    syncs = compete()
    run_id = syncs.sync_at(datetime(2026, 1, 1, tzinfo=UTC), zip_of(teams(3, 1, 2)))
    assert prune(db, timedelta(0)) == 0
    assert as_of(db, "a-board", datetime(2026, 1, 2, tzinfo=UTC)) == shown(teams(3, 1, 2))
    assert len(db.execute("SELECT * FROM kaggle.changes(%s)", (run_id,)).fetchall()) == 3


@pytest.mark.parametrize("how", ["work", "work --once"])
def test_the_worker_prunes_by_itself(
    compete: Compete, db: Connection, url: str, simulator: Simulator, how: str
) -> None:
    """PGLEADERBOARD_HISTORY_DAYS and PGLEADERBOARD_RUNS_DAYS say what goes; what is younger stays."""
    syncs = compete()
    play(syncs)
    for _ in range(2):
        syncs.sync(zip_of(BOARDS[-1]))
    db.execute("UPDATE kaggle.sync_runs SET finished_at = finished_at - interval '20 days' WHERE outcome = 'unchanged'")
    db.execute("UPDATE kaggle_internal.sync_state SET last_run_id = NULL, describe_at = '2999-01-01'")
    kept = db.execute("SELECT count(*) FROM kaggle.leaderboard_history WHERE valid_until > now() - '2.5 d'::interval")
    kept_versions = (kept.fetchone() or (0,))[0]
    assert kept_versions > 0
    environment = os.environ | {
        "DATABASE_URL": url,
        "PGLEADERBOARD_KAGGLE_URL": simulator.url,
        "KAGGLE_API_TOKEN": "t",
        "PGLEADERBOARD_HISTORY_DAYS": "2.5",
        "PGLEADERBOARD_RUNS_DAYS": "10",
    }
    with subprocess.Popen([sys.executable, "-m", "pgleaderboard", *how.split()], env=environment, cwd=ROOT) as process:
        try:
            expected = (kept_versions, 0)
            until = time.monotonic() + 30
            while (
                db.execute(
                    "SELECT (SELECT count(*) FROM kaggle.leaderboard_history), "
                    "(SELECT count(*) FROM kaggle.sync_runs WHERE outcome = 'unchanged')"
                ).fetchone()
                != expected
            ):
                assert time.monotonic() < until
                assert process.poll() in (None, 0)
        finally:
            if how == "work":
                process.terminate()
        assert process.wait(30) == 0
    assert db.execute("SELECT count(*) FROM kaggle.sync_runs WHERE outcome = 'changed'").fetchone() == (len(BOARDS),)


# --- thinning -----------------------------------------------------------------------------------------------------

INTERVAL = timedelta(hours=1)
MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)


@settings(
    max_examples=30,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from([timedelta(minutes=1), timedelta(minutes=20), INTERVAL, timedelta(hours=5)]),
            st.lists(st.integers(0, 5), min_size=5, max_size=5),
            st.sets(st.integers(1, 5), max_size=1),
            st.booleans(),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_the_last_board_within_history_interval_counts(compete: Compete, steps: list[Any]) -> None:
    """Against a model that keeps whole boards: each board, what changed since the one before, and the ranks."""
    slug = f"board-{next(_NUMBERS)}"
    syncs = compete(slug, history_interval=INTERVAL)
    at = MIDNIGHT
    every: list[tuple[datetime, int, list[Entry]]] = []
    counted: dict[int, Any] = {}
    for gap, scores, away, thinned in [(timedelta(0), [1, 2, 3, 4, 5], set(), False), *steps]:
        at += gap
        board = [entry for entry in scored(*scores) if entry.team_id not in away]
        run_id = syncs.sync_at(at, zip_of(board))
        every.append((at, run_id, board))
        counted[run_id] = syncs.run()
        if thinned:  # what is thinned is thinned again later, along with what came since
            syncs.store.thin_history()
    syncs.store.thin_history()

    # A board that is seen again, unchanged, is no other: it is kept with the moment at which it came.
    changed = [step for step, before in zip(every, [None, *every], strict=False) if not before or step[2] != before[2]]
    of_interval = itertools.groupby(changed, lambda step: (step[0] - MIDNIGHT) // INTERVAL)
    last = {step[0] for step in (list(steps)[-1] for _, steps in of_interval)}
    kept = [step for step in every if max(at for at, _, _ in changed if at <= step[0]) in last]
    expected: list[Entry] = []
    ranks: dict[int, dict[datetime, int]] = {team: {} for team in range(1, 6)}
    for at, run_id, board in every:
        assert syncs.scalar("SELECT is_merged FROM kaggle.sync_runs WHERE id = %s", run_id) == (
            (at, run_id, board) not in kept
        )
        if (at, run_id, board) in kept:
            changes = syncs.db.execute("SELECT team_id, what FROM kaggle.changes(%s)", (run_id,)).fetchall()
            now, then = counts(expected, board), [what for _, what in changes]
            assert then.count("added") == now.added
            assert then.count("removed") == now.removed
            assert sum(what.startswith("updated") for what in then) == now.updated
            expected = board
        else:
            with pytest.raises(psycopg.errors.NoDataFound, match="history_interval"):
                syncs.db.execute("SELECT * FROM kaggle.changes(%s)", (run_id,))
        assert as_of(syncs.db, slug, at) == shown(expected)
        for rank, entry in enumerate(expected, start=1):
            ranks[entry.team_id][at] = rank
    assert syncs.leaderboard() == shown(every[-1][2])
    # What the runs said when they ended stays.
    for run_id, run in counted.items():
        assert (
            syncs.db.execute(
                "SELECT outcome, teams, added, removed, updated, moved, observed_at, board "
                "FROM kaggle.sync_runs WHERE id = %s",
                (run_id,),
            ).fetchone()
            == run
        )
    told: dict[int, dict[datetime, int]] = {}
    for at, team, rank in syncs.db.execute(
        "SELECT at, team_id, rank FROM kaggle.rank_history(%s, 1, 2, 3, 4, 5)", (slug,)
    ):
        assert ranks[team][at] == rank
        told.setdefault(team, {})[at] = rank
    for team, known in ranks.items():
        for at, rank in known.items():
            assert told[team][max(told_at for told_at in told[team] if told_at <= at)] == rank


def test_what_is_not_yet_an_hour_old_is_all_kept(compete: Compete, db: Connection) -> None:
    """An interval is thinned when it has ended an hour ago; none is where there is no interval."""
    syncs, whole = compete("a-board", history_interval=INTERVAL), compete("b-board")
    begins = syncs.scalar("SELECT date_bin('1 hour', now() - interval '1 hour', '2000-01-01 00:00:00+00')")
    moments = [begins + timedelta(minutes=minutes) for minutes in (-30, -20, -10, 10, 20, 30)]
    for at, board in zip(moments, BOARDS, strict=True):
        for each in (syncs, whole):
            each.sync_at(at, zip_of(board))
    syncs.store.thin_history()
    expected = [[], [], BOARDS[2], *BOARDS[3:]]
    if syncs.scalar("SELECT now() >= %s::timestamptz + interval '2 hours'", begins):
        expected[3:5] = [BOARDS[2], BOARDS[2]]  # the hour has turned meanwhile
    assert [as_of(db, "a-board", at) for at in moments] == [shown(board) for board in expected]
    assert [as_of(db, "b-board", at) for at in moments] == [shown(board) for board in BOARDS]


def test_thinning_waits_for_nobody(compete: Compete, connect: Connect) -> None:
    """A board that another session holds is left for the next time; others are thinned meanwhile."""
    boards = [compete(f"board-{number}", history_interval=INTERVAL) for number in range(2)]
    for syncs in boards:
        for minute, board in enumerate(BOARDS):
            syncs.sync_at(MIDNIGHT + timedelta(minutes=minute), zip_of(board))
    holding = connect()
    holding.execute("SELECT FROM kaggle.boards WHERE slug = 'board-0' FOR NO KEY UPDATE")
    merged = "SELECT array_agg(DISTINCT competition_id ORDER BY competition_id) FROM kaggle.sync_runs WHERE is_merged"
    boards[0].store.thin_history()
    assert boards[1].scalar(merged) == [boards[1].competition]
    holding.commit()
    boards[0].store.thin_history()
    assert boards[1].scalar(merged) == [boards[0].competition, boards[1].competition]
