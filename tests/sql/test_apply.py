"""`Store.apply` and the functions behind it: what a download does to a board, and to the boards before it."""

from __future__ import annotations

import io
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgleaderboard.errors import NeedsPerson
from pgleaderboard.sync import board, order
from pgleaderboard.sync.attempt import Syncer
from pgleaderboard.sync.store import Applied, Store
from tests.support.aliases import Connection
from tests.support.boards import Counts, Entry, counts, csv_of, leaderboard, old_csv_of, places, shown, teams, zip_of
from tests.support.faults import Page, Simulator
from tests.support.kaggle import make_kaggle
from tests.support.kaggle_moves import SEQUENCES_OF_CHANGES, Kaggle
from tests.support.syncs import LIMIT, WORKER, Syncs

# APPLY_SEQUENCES=500 tries that many sequences of boards, other ones each time.
SEQUENCES = os.environ.get("APPLY_SEQUENCES")


@settings(
    max_examples=int(SEQUENCES or 60),
    derandomize=SEQUENCES is None,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(first=st.integers(0, 12), sequence=SEQUENCES_OF_CHANGES)
def test_any_sequence_of_boards(compete: Callable[..., Syncs], first: int, sequence: list[list[Any]]) -> None:
    """Whatever Kaggle shows is shown, the run counts what changed, and each board before can be had back exactly."""
    syncs = compete(f"board-{time.monotonic_ns()}")
    kaggle = Kaggle()
    if first:
        kaggle.join_second(first - 1)
    now: dict[str, list[Entry]] = {}  # by kind
    bytes_of: dict[str, bytes] = {}
    past: list[tuple[str, datetime, list[Entry]]] = []
    for changes in [[("nothing", (), {})], *sequence]:
        for name, arguments, facts in changes:
            getattr(kaggle, name)(*arguments, **facts)
        kind, entries = kaggle.kind, list(kaggle.entries)
        content = csv_of(entries, line_end=kaggle.line_end)
        same_bytes = bytes_of.get(kind) == content
        before = syncs.versions() if same_bytes else []

        applied = syncs.sync(zip_of(content, kind=kind))

        expected = counts(now.get(kind, []), entries)
        changed = kind not in now or expected != Counts(0, 0, 0, 0)
        ranked = sum(not entry.is_benchmark for entry in entries)
        outcome, run_teams, added, removed, updated, moved, observed_at, run_board = syncs.run()
        assert (outcome, run_board, run_teams) == ("changed" if changed else "unchanged", kind, ranked)
        assert Counts(added, removed, updated, moved) == expected
        assert applied.outcome == outcome
        now[kind] = entries
        # The private board, once it is there, is the one that counts.
        assert syncs.leaderboard() == leaderboard(shown(now.get("private", entries)))
        assert syncs.at(observed_at, kind) == places(entries)
        if same_bytes:
            assert syncs.versions() == before
        bytes_of[kind] = content
        past.append((kind, observed_at, entries))

    for kind in now:
        of_kind = [(observed_at, entries) for each, observed_at, entries in past if each == kind]
        until = [observed_at - timedelta(microseconds=1) for observed_at, _ in of_kind[1:]]
        until.append(of_kind[-1][0] + timedelta(days=1))
        assert syncs.at(of_kind[0][0] - timedelta(microseconds=1), kind) == []
        for (observed_at, entries), last in zip(of_kind, until, strict=True):
            assert syncs.at(observed_at, kind) == places(entries)
            assert syncs.at(last, kind) == places(entries)


def test_files_from_before_2023(syncs: Syncs) -> None:
    """In a file without ranks a team's last row counts, at the first sync and at every later one."""
    one, two, three, four, five = (entry.but(submission_count=None, members=()) for entry in teams(1, 2, 3, 4, 5))
    files = [
        ([one, two, one.but(score=Decimal("0.7")), three], [one.but(score=Decimal("0.7")), two, three]),
        ([one, five, three, two, two, one, four], [five, three, two, one, four]),
        ([four, one, five, four, three], [one, five, four, three]),
        ([three, one, five, three, four], [one, five, three, four]),
    ]
    before: list[Entry] = []
    for rows, entries in files:
        syncs.sync(zip_of(old_csv_of(rows)))
        assert syncs.leaderboard() == shown(entries)
        assert Counts(*syncs.run()[2:6]) == counts(before, entries)
        before = entries


def _link(syncs: Syncs, *slugs: str) -> None:
    for slug in slugs:
        syncs.db.execute(
            "UPDATE kaggle.competitions SET kaggle_competition_id = %s WHERE id = %s", (slug, syncs.competition)
        )


def test_readers_see_the_old_board_or_the_new_one(syncs: Syncs, connect: Callable[[], Connection]) -> None:
    """Until the commit a reader sees the whole board of before, from then on the whole new one; nobody waits."""
    old, new = teams(1, 2, 3, 4), teams(5, 4, 3, 1)
    new[2] = new[2].but(score=Decimal("0.9"))
    syncs.sync(zip_of(old))
    # The run is written last: whoever holds its table stops the apply behind all it has written.
    holder = connect()
    holder.execute("LOCK TABLE kaggle.sync_runs IN SHARE MODE")
    reader = connect()
    reader.autocommit = True
    with ThreadPoolExecutor(1) as pool:
        applied = pool.submit(syncs.end, syncs.begin().run_id, zip_of(new))
        try:
            until = time.monotonic() + 8
            while not reader.execute(
                "SELECT 1 FROM pg_locks WHERE relation = 'kaggle.sync_runs'::regclass AND NOT granted"
            ).fetchone():
                assert not applied.done(), applied.result()
                assert time.monotonic() < until
            assert syncs.leaderboard(reader) == shown(old)
            assert reader.execute("SELECT count(*) FROM kaggle.leaderboard_history").fetchone() == (0,)
        finally:
            holder.rollback()
        assert applied.result().outcome == "changed"
    assert syncs.leaderboard(reader) == shown(new)


def test_unchanged_bytes_write_no_entry(syncs: Syncs) -> None:
    """The same file again is a run and nothing else: no version is written, synced_at moves on."""
    archive = zip_of(teams(1, 2, 3))
    syncs.sync(archive)
    syncs.sync(zip_of(teams(2, 1, 3)))
    syncs.sync(archive)
    before = syncs.versions()
    synced_at = syncs.scalar("SELECT max(synced_at) FROM kaggle.leaderboard")

    assert syncs.sync(archive).outcome == "unchanged"

    assert syncs.run()[:6] == ("unchanged", 3, 0, 0, 0, 0)
    assert syncs.versions() == before
    assert syncs.scalar("SELECT max(synced_at) FROM kaggle.leaderboard") > synced_at


def test_other_bytes_of_the_same_board_write_no_entry(syncs: Syncs) -> None:
    """A file that says the same in other bytes is compared, and nothing is written."""
    syncs.sync(zip_of(teams(1, 2, 3)))
    before = syncs.versions()

    syncs.sync(zip_of(teams(1, 2, 3), line_end="\r\n"))

    assert syncs.run()[:6] == ("unchanged", 3, 0, 0, 0, 0)
    assert syncs.versions() == before


def _staged(syncs: Syncs) -> list[int]:
    with syncs.store._pool.connection() as connection:
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        return [
            (connection.execute(f"SELECT count(*) FROM pg_temp.{table}").fetchone() or (-1,))[0]
            for table in ("staged_rows_1", "placed_rows_1")
        ]


def test_staging_is_empty_after_an_apply(syncs: Syncs) -> None:
    """Every apply through a pooled connection begins with empty staging tables."""
    for entries in (teams(1, 2, 3), teams(3, 2, 1), teams(3, 2)):
        syncs.sync(zip_of(entries))
        assert _staged(syncs) == [0, 0]
        assert syncs.leaderboard() == shown(entries)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        pytest.param(csv_of(teams(1, 2)).replace(b"0.5,1,user2", b"best,1,user2"), "line 3, column score", id="score"),
        pytest.param(csv_of(teams(1, 2)) + b"3,3\n", "line 4", id="columns"),
        pytest.param(csv_of(teams(1, 2)).replace(b"team 2", b"team \xff"), "line 3", id="encoding"),
        pytest.param(csv_of(teams(1, 2, 1)), "TeamId 1 stands there 2 times", id="a team twice"),
        pytest.param(csv_of(teams(1, 2)).replace(b"\n2,", b"\n3,"), "rank 3 stands where rank 2", id="a gap"),
    ],
)
def test_a_failed_apply_leaves_nothing_behind(syncs: Syncs, broken: bytes, said: str) -> None:
    """A file that cannot be read changes nothing, says where it is wrong, and the connection can go on."""
    syncs.sync(zip_of(teams(1, 2, 3)))
    before = syncs.versions()
    run_id = syncs.begin().run_id

    with pytest.raises(NeedsPerson, match=said):
        syncs.end(run_id, zip_of(broken))

    assert _staged(syncs) == [0, 0]
    assert syncs.versions() == before
    assert syncs.end(run_id, zip_of(teams(2, 1))).outcome == "changed"
    assert syncs.leaderboard() == shown(teams(2, 1))


def test_the_source_fails_during_the_copy(syncs: Syncs) -> None:
    """An error while the file is read ends the COPY; the attempt can be tried on the same connection."""
    syncs.sync(zip_of(teams(1, 2, 3)))
    run_id = syncs.begin().run_id
    file = io.BytesIO(zip_of(teams(3, 1)))
    read = board.read_zip(file, LIMIT)

    def rows() -> Iterator[bytes]:
        yield csv_of(teams(3)).removeprefix(b"\xef\xbb\xbf")
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        syncs.store.apply(run_id, read, rows)

    assert syncs.leaderboard() == shown(teams(1, 2, 3))
    assert syncs.store.apply(run_id, read, lambda: board.zip_chunks(file, LIMIT)).outcome == "changed"
    assert syncs.leaderboard() == shown(teams(3, 1))


def test_nothing_is_left_in_a_temporary_folder(
    syncs: Syncs, simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Downloads lie in files without a name: not even during a sync is there one to be left behind."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    syncs.db.execute(
        "UPDATE kaggle.competitions SET kaggle_competition_id = 'titanic' WHERE id = %s", (syncs.competition,)
    )
    seen: list[list[Path]] = []
    apply = syncs.store.apply

    def watched(*arguments: Any) -> Applied:
        seen.append(list(tmp_path.iterdir()))
        return apply(*arguments)

    monkeypatch.setattr(syncs.store, "apply", watched)
    kaggle = make_kaggle(simulator.url)
    syncer = Syncer(syncs.store, kaggle, LIMIT)
    for fault, ending in ((None, "changed"), (Page(b"PK no ZIP", "application/zip"), "failed")):
        if fault:
            simulator.faults.put("titanic", fault)
        syncs.db.execute("SELECT kaggle.sync_now('titanic')")
        assert syncer.sync(syncs.competition, uuid4()) == ending
        assert list(tmp_path.iterdir()) == []
    assert seen == [[]]
    for line in kaggle._idle:
        line.close()


def test_time_goes_on_where_the_clock_stands_still(syncs: Syncs) -> None:
    """observed_at strictly increases within a board, whatever the clock says; no board in between is lost."""
    boards = [teams(1, 2, 3), teams(2, 1, 3), teams(2, 1, 3), teams(2, 3), teams(1, 2, 3)]
    syncs.sync(zip_of(boards[0]))
    syncs.db.execute("UPDATE kaggle.boards SET observed_at = observed_at + interval '1 hour'")
    moments = [syncs.scalar("SELECT observed_at FROM kaggle.boards")]
    for entries in boards[1:]:
        syncs.sync(zip_of(entries))
        moments.append(syncs.run()[6])
        assert syncs.scalar("SELECT observed_at FROM kaggle.boards") == moments[-1]

    assert moments == sorted(set(moments))
    assert [syncs.at(moment) for moment in moments] == [places(entries) for entries in boards]


def test_first_seen_is_kept_through_an_absence(syncs: Syncs) -> None:
    """A team that comes back was first seen when it was there first, and its entry changed now."""
    syncs.sync(zip_of(teams(1, 2)))
    first = syncs.run()[6]
    for entries in (teams(1), [], teams(1), teams(2, 1)):
        syncs.sync(zip_of(entries))
    assert syncs.db.execute(
        "SELECT first_seen_at, entry_changed_at FROM kaggle.leaderboard WHERE team_id = 2"
    ).fetchone() == (first, syncs.run()[6])


def test_history_interval_keeps_the_last_board_of_each(compete: Callable[..., Syncs]) -> None:
    """Every board is there at first; once an interval has ended an hour ago, only its last one is."""
    syncs = compete(history_interval=timedelta(hours=1))
    boards = [[entry.but(score=Decimal(text)) for entry in teams(1, 2)] for text in ("0.1", "0.2", "0.3", "0.4", "0.5")]
    first = datetime(2026, 1, 1, tzinfo=UTC)
    moments = [first + timedelta(minutes=minutes) for minutes in (0, 20, 40, 120, 140)]
    for at, entries in zip(moments, boards, strict=True):
        syncs.sync_at(at, zip_of(entries))
        assert Counts(*syncs.run()[2:6]) == (Counts(2, 0, 0, 0) if at == first else Counts(0, 0, 2, 0))
    assert [syncs.at(at) for at in moments] == [places(entries) for entries in boards]
    assert syncs.scalar("SELECT count(*) FROM kaggle.leaderboard_history") == 8

    syncs.store.thin_history()

    assert [syncs.at(at) for at in moments] == [[], [], *[places(boards[n]) for n in (2, 2, 4)]]
    assert syncs.at(moments[4] - timedelta(microseconds=1)) == places(boards[2])
    assert syncs.scalar("SELECT count(*) FROM kaggle.leaderboard_history") == 2
    assert syncs.leaderboard() == shown(boards[4])


def test_history_interval_keeps_departures_until_it_has_ended(compete: Callable[..., Syncs]) -> None:
    """A team that leaves and returns within history_interval was away in between."""
    syncs = compete(history_interval=timedelta(days=36_000))
    moments = []
    for entries in (teams(1, 2), teams(1), teams(1, 2)):
        syncs.sync(zip_of(entries))
        syncs.store.thin_history()
        moments.append(syncs.run()[6])
    assert [syncs.at(moment) for moment in moments] == [places(teams(*ids)) for ids in ((1, 2), (1,), (1, 2))]


def test_a_reused_id_is_another_competition(syncs: Syncs) -> None:
    """It is deleted and another one inserted under its id while its sync runs: the download is not the other's."""
    syncs.sync(zip_of(teams(1, 2)))
    run_id = syncs.begin().run_id
    with syncs.db.transaction():
        syncs.db.execute("DELETE FROM kaggle.competitions WHERE id = %s", (syncs.competition,))
        syncs.db.execute(
            "INSERT INTO kaggle.competitions (id, kaggle_competition_id) VALUES (%s, 'b-board')", (syncs.competition,)
        )
    assert syncs.end(run_id, zip_of(teams(2, 1, 3))).outcome == "skipped"
    assert syncs.leaderboard() == []
    assert syncs.again().action == "remove"
    syncs.store.remove_deleted(syncs.competition)
    assert syncs.end(syncs.again().run_id, zip_of(teams(4), slug="b-board")).outcome == "changed"
    assert syncs.leaderboard() == shown(teams(4))


@pytest.mark.parametrize("ranked", [True, False])
def test_a_board_has_no_more_rows_than_there_are_keys(db: Connection, ranked: bool) -> None:
    """The 8,388,609th row's key would be negative, and so its place the first: such a board is refused."""
    stage = (
        "INSERT INTO pg_temp.staged_rows_1 (position, rank, team_id, team_name) OVERRIDING SYSTEM VALUE "
        "VALUES (7, 0, 1, 'first'), (%s, 0, 2, 'last')"
    )
    for rows, refused in ((2**23, None), (2**23 + 1, "the leaderboard has more than 8388608 rows")):
        with db.transaction():
            db.execute("SELECT kaggle_internal.prepare_staging(1)")
            db.execute(stage, (6 + rows,))
            assert db.execute(
                "SELECT kaggle_internal.check_staging(%s, %s, '{}', NULL)", (ranked, order.GAP)
            ).fetchone() == (refused,)


def test_private_after_public(syncs: Syncs) -> None:
    """The private board is another board: it takes the public one's place, whose versions stay as they are."""
    syncs.sync(zip_of(teams(1, 2, 3)))
    before = syncs.versions()

    assert syncs.sync(zip_of(teams(3, 1), kind="private")).added == 2

    assert syncs.leaderboard() == shown(teams(3, 1))
    assert syncs.scalar("SELECT array_agg(DISTINCT board) FROM kaggle.leaderboard") == ["private"]
    assert set(before) < set(syncs.versions())


def test_two_competitions_at_once(compete: Callable[..., Syncs], url: str) -> None:
    """Syncs of different competitions run beside one another and do not meet."""
    store = Store(url, WORKER, connections=4)
    store.open()
    try:
        all_syncs = [compete(f"board-{n}") for n in range(4)]
        begun = [syncs.begin().run_id for syncs in all_syncs]
        for syncs in all_syncs:
            syncs.store = store
        barrier = threading.Barrier(4)

        def end(n: int) -> Applied:
            barrier.wait(10)
            return all_syncs[n].end(begun[n], zip_of(teams(*range(n * 10, n * 10 + 5))))

        with ThreadPoolExecutor(4) as pool:
            assert [applied.outcome for applied in pool.map(end, range(4))] == ["changed"] * 4
        for n, syncs in enumerate(all_syncs):
            assert syncs.leaderboard() == shown(teams(*range(n * 10, n * 10 + 5)))
    finally:
        store.close()
