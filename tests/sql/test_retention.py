"""What is kept of the past and for how long: pruning that nobody waits for, and the merging of versions."""

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
from tests.support.boards import COLUMNS, Entry, shown, teams, zip_of
from tests.support.faults import Simulator
from tests.support.syncs import Syncs

Compete = Callable[..., Syncs]

ROOT = Path(__file__).resolve().parents[2]
DAY = timedelta(days=1)
# Whoever acts under this may wait for nobody.
IMPATIENT = "SET lock_timeout = '300ms'"
_NUMBERS = itertools.count(1)


def sync_at(syncs: Syncs, board: list[Entry], at: datetime) -> int:
    """A whole sync, as if it had begun at that moment. Returns the run."""
    run_id = syncs.begin().run_id
    syncs.db.execute("UPDATE kaggle_internal.sync_state SET running_since = %s WHERE running_run_id = %s", (at, run_id))
    syncs.end(run_id, zip_of(board))
    return run_id


def scored(*scores: int) -> list[Entry]:
    """A board of teams 1, 2, … with these scores, best first."""
    entries = [Entry(n, f"team {n}", Decimal(score), members=(f"user{n}",)) for n, score in enumerate(scores, start=1)]
    return sorted(entries, key=lambda entry: (-(entry.score or 0), entry.team_id))


BOARDS = [scored(1, 2, 3), scored(3, 2, 1), scored(4, 5, 1), scored(4, 5, 6), scored(9, 8, 6), scored(9, 8, 10)]


def play(syncs: Syncs) -> tuple[list[datetime], list[int]]:
    """BOARDS, a day apart, the last one today. Returns the moments and the runs."""
    now = syncs.scalar("SELECT now()")
    moments = [now - DAY * (len(BOARDS) - 1 - number) for number in range(len(BOARDS))]
    return moments, [sync_at(syncs, board, at) for board, at in zip(BOARDS, moments, strict=True)]


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
        assert pruned <= 2
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
    assert pruned == (before if older_than else 0)
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


def test_pruning_does_not_wait_for_keys_that_are_spread(compete: Compete, db: Connection, connect: Connect) -> None:
    """Versions whose order keys are being changed are left for the next time; both end, and what is kept is right."""
    syncs = compete()
    moments, _ = play(syncs)
    total = syncs.scalar("SELECT count(*) FROM kaggle.leaderboard_history")
    run_id = syncs.begin().run_id
    board_id = syncs.scalar("SELECT id FROM kaggle.boards")
    spreading = connect()
    assert spreading.execute("SELECT kaggle_internal.widen_gap(%s, %s, 0, 2)", (run_id, board_id)).fetchone() == (True,)
    db.execute(IMPATIENT)
    early = prune(db, 3 * DAY)
    spreading.commit()
    late = 0
    while chunk := prune(db, 3 * DAY):
        late += chunk
    assert late > 0
    assert early + late == total - syncs.scalar("SELECT count(*) FROM kaggle.leaderboard_history")
    for number in (3, 4, 5):
        assert as_of(db, "a-board", moments[number]) == shown(BOARDS[number])


def test_a_sync_waits_for_a_chunk_of_its_own_board_only(compete: Compete, db: Connection, connect: Connect) -> None:
    """While a chunk is not committed, other boards are synced at once, and its own as soon as it is; none fails."""
    pruned, other = compete("a-board"), compete("b-board")
    moments, _ = play(pruned)
    sync_at(other, scored(1, 2), moments[0])
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
    assert prune(one, timedelta(0), 2) == 2
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
    run_id = sync_at(syncs, teams(3, 1, 2), datetime(2026, 1, 1, tzinfo=UTC))
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


# --- merging ------------------------------------------------------------------------------------------------------

INTERVAL = timedelta(hours=1)


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
        ),
        min_size=1,
        max_size=8,
    )
)
def test_the_last_version_within_history_interval_counts(compete: Compete, steps: list[Any]) -> None:
    """Against a model that merges version by version: facts at every moment; a rank history that fits the boards."""
    slug = f"board-{next(_NUMBERS)}"
    syncs = compete(slug, history_interval=INTERVAL)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    versions: dict[int, list[list[Any]]] = {}  # by team: from, until, place and facts
    moments = []
    board: list[Entry] = []
    for gap, scores, away in [(timedelta(0), [1, 2, 3, 4, 5], set()), *steps]:
        at += gap
        board = [entry for entry in scored(*scores) if entry.team_id not in away]
        sync_at(syncs, board, at)
        at = syncs.scalar("SELECT observed_at FROM kaggle.boards WHERE slug = %s", slug)
        moments.append(at)
        now = {entry.team_id: row for entry, row in zip(board, shown(board), strict=True)}
        # Which of several teams have moved past one another is the database's choice.
        began = dict(
            syncs.db.execute(
                "SELECT team_id, entry_changed_at FROM kaggle.leaderboard WHERE kaggle_competition_id = %s", (slug,)
            ).fetchall()
        )
        for team in range(1, 6):
            past = versions.setdefault(team, [])
            there = past[-1] if past and past[-1][1] is None else None
            if team not in now:
                if there:
                    there[1] = at
            elif not there:
                past.append([at, None, now[team][1:]])
            elif at - there[0] < INTERVAL:
                there[2] = now[team][1:]
            elif there[2] != now[team][1:] or began[team] == at:
                there[1] = at
                past.append([at, None, now[team][1:]])
    everybody: dict[int, dict[datetime, int]] = {team: {} for team in versions}
    for moment in moments:
        rows = as_of(syncs.db, slug, moment)
        assert sorted(row[1:] for row in rows) == sorted(
            facts
            for past in versions.values()
            for since, until, facts in past
            if since <= moment and (until is None or until > moment)
        )
        assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
        for row in rows:
            everybody[row[1]][moment] = row[0]
    assert as_of(syncs.db, slug, moments[-1]) == shown(board)
    told: dict[int, dict[datetime, int]] = {}
    for moment, team, rank in syncs.db.execute(
        "SELECT at, team_id, rank FROM kaggle.rank_history(%s, 1, 2, 3, 4, 5)", (slug,)
    ):
        assert everybody[team][moment] == rank
        told.setdefault(team, {})[moment] = rank
    for team, ranks in everybody.items():
        for moment, rank in ranks.items():
            assert told[team][max(at for at in told[team] if at <= moment)] == rank
