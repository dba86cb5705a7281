"""Boards from files of before: afterwards the database is the one in which each was synced at its moment."""

from __future__ import annotations

import gzip
import io
import itertools
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgleaderboard.archives import files as board_files
from pgleaderboard.archives.backfill import ArchiveStore
from pgleaderboard.archives.files import Overrides
from pgleaderboard.errors import NeedsPerson
from pgleaderboard.simulator.boards import zip_board
from pgleaderboard.sync import board
from pgleaderboard.sync.order import GAP
from pgleaderboard.sync.retry import Decision
from pgleaderboard.sync.staging import Staging
from pgleaderboard.sync.store import Applied, Begun, Store
from tests.support.aliases import Connection
from tests.support.asking import heard
from tests.support.boards import COLUMNS, Entry, csv_of, old_csv_of, shown, teams, zip_of
from tests.support.syncs import WORKER

LIMIT = 2**28
START = datetime(2026, 1, 1, tzinfo=UTC)
# BACKFILL_SEQUENCES=500 tries that many sequences, other ones each time.
SEQUENCES = os.environ.get("BACKFILL_SEQUENCES")
_NUMBERS = itertools.count(1)


def at(minutes: int) -> datetime:
    """A moment of the tests' calendar."""
    return START + timedelta(minutes=minutes)


@dataclass
class World:
    """One database, its competitions, and the two ways in which a board comes in."""

    db: Connection
    store: Store
    url: str
    folder: Path

    def compete(self, slug: str = "a-board", **columns: Any) -> str:
        """A competition that is synced by hand only."""
        given = {"kaggle_competition_id": slug, "auto_sync": False} | columns
        self.db.execute(
            f"INSERT INTO kaggle.competitions ({', '.join(given)}) VALUES ({', '.join(['%s'] * len(given))})",  # type: ignore[arg-type]
            list(given.values()),
        )
        return slug

    def begin(self, slug: str, moment: datetime | None = None) -> Begun:
        """An attempt that runs, as if begun at a moment."""
        self.db.execute("SELECT kaggle.sync_now(%s)", (slug,))
        (competition,) = self.rows("SELECT kaggle.find_competition(%s)", slug)[0]
        begun = self.store.begin_sync(competition)
        assert begun.action == "sync"
        if moment:
            self.db.execute(
                "UPDATE kaggle_internal.sync_state SET running_since = %s WHERE competition_id = %s",
                (moment, competition),
            )
        return begun

    def end(self, begun: Begun, content: bytes, kind: str = "public") -> str | None:
        """The end of an attempt, as the worker does it."""
        file = io.BytesIO(zip_of(content, kind=kind))
        read = board.read_zip(file, LIMIT)
        return (
            self.store.confirm(begun.run_id, read)
            or self.store.apply(begun.run_id, read, lambda: board.zip_chunks(file, LIMIT)).outcome
        )

    def sync(self, slug: str, moment: datetime, content: bytes, kind: str = "public") -> str | None:
        """A whole sync, begun at a moment."""
        return self.end(self.begin(slug, moment), content, kind)

    def file(self, slug: str, moment: datetime, content: bytes, kind: str = "public") -> Path:
        """A file as Kaggle gives it; every third as a CSV, every third as a CSV under gzip."""
        name = board.name_of(slug, kind, moment)  # type: ignore[arg-type]
        match next(_NUMBERS) % 3:
            case 0:
                (path := self.folder / name).write_bytes(content)
            case 1:
                (path := self.folder / f"{name}.gz").write_bytes(gzip.compress(content))
            case _:
                (path := self.folder / name.replace(":", "_").replace(".csv", ".zip")).write_bytes(
                    zip_board(content, name)
                )
        return path

    def backfill(
        self,
        slug: str,
        *files: Path,
        overrides: Overrides = Overrides(),  # noqa: B008 - frozen
        advance: Callable[[int, int], None] = lambda more, done: None,
    ) -> list[tuple[str, str | None]]:
        """What the command does, over a session of its own. Returns each file's name with what became of it."""
        told: list[tuple[str, str | None]] = []

        def report(snapshot: Any, applied: Applied) -> None:
            told.append((snapshot.name, applied.outcome))

        with Connection.connect(self.url, autocommit=True) as connection:
            board_files.backfill(ArchiveStore(connection, patience=0), slug, files, overrides, LIMIT, report, advance)
        return told

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        return self.db.execute(query, values).fetchall()  # type: ignore[arg-type]

    def board(self, slug: str, moment: datetime) -> list[tuple[Any, ...]]:
        """The board as of a moment, in Kaggle's order."""
        return self.rows(f"SELECT {COLUMNS} FROM kaggle.leaderboard_as_of(%s, %s)", slug, moment)

    def everything(self, slug: str) -> dict[str, Any]:
        """All that anybody can learn about a competition's boards, without numbers that are given out."""
        runs = self.rows(
            "SELECT r.id, r.board, r.observed_at, r.outcome, r.teams, r.added, r.removed, r.updated, r.moved, "
            "r.is_merged "
            "FROM kaggle.sync_runs r JOIN kaggle.competitions c ON c.id = r.competition_id "
            "WHERE c.kaggle_competition_id = %s ORDER BY r.observed_at, r.board",
            slug,
        )
        moments = [run[2] for run in runs]
        everybody = [team for (team,) in self.rows("SELECT generate_series(1, 200)")]
        return {
            "runs": [run[1:] for run in runs],
            "boards": self.rows(
                "SELECT b.kind, b.higher_is_better, b.teams, b.digest, b.observed_from, b.observed_at, b.history_from "
                "FROM kaggle.boards b WHERE b.slug = %s ORDER BY b.kind",
                slug,
            ),
            "as of": {
                moment: self.rows(
                    f"SELECT {COLUMNS}, board, first_seen_at, entry_changed_at, synced_at "
                    "FROM kaggle.leaderboard_as_of(%s, %s)",
                    slug,
                    moment,
                )
                for end in moments
                for moment in (end - timedelta(microseconds=1), end)
            },
            "changes": [
                [tuple(map(str, row)) for row in self.rows("SELECT * FROM kaggle.changes(%s)", run[0])]
                for run in runs
                if not run[-1]
            ],
            "history": self.rows("SELECT * FROM kaggle.rank_history(%s, VARIADIC %s::bigint[])", slug, everybody)
            if runs
            else [],
            "movers": [self.rows("SELECT * FROM kaggle.movers(%s, %s)", slug, moment) for moment in moments],
            "versions": self.rows(
                """
                SELECT b.kind, v.team_id, v.valid_from, v.valid_until, v.first_seen_at FROM kaggle.boards b
                JOIN (SELECT board_id, team_id, valid_from, NULL AS valid_until, first_seen_at
                      FROM kaggle.leaderboard_entries
                      UNION ALL
                      SELECT board_id, team_id, valid_from, valid_until, first_seen_at
                      FROM kaggle.leaderboard_history) v ON v.board_id = b.id
                WHERE b.slug = %s ORDER BY 1, 2, 3
                """,
                slug,
            ),
        }

    def orphans(self) -> int:
        """Versions of no board."""
        return int(
            self.rows(
                "SELECT count(*) FROM (SELECT board_id FROM kaggle.leaderboard_entries "
                "UNION ALL SELECT board_id FROM kaggle_internal.packs "
                "UNION ALL SELECT board_id FROM kaggle_internal.past_names) v "
                "WHERE board_id NOT IN (SELECT id FROM kaggle.boards)"
            )[0][0]
        )


@pytest.fixture
def world(db: Connection, url: str, tmp_path: Path) -> Iterator[World]:
    """A database with a worker on its list."""
    db.execute("SELECT kaggle_internal.register_worker('test', 'credential')")
    store = Store(url, WORKER, connections=1)
    store.open()
    yield World(db, store, url, tmp_path)
    store.close()


# --- any sequence of boards, each synced or brought later ---------------------------------------------------------

_ENTRIES = st.builds(
    Entry,
    team_id=st.integers(1, 9),
    team_name=st.sampled_from(["a", "b c", 'q"', "\ufffd", ""]),
    score=st.sampled_from([None, Decimal("0.5"), Decimal("0.50"), Decimal(7)]),
    submission_count=st.sampled_from([None, 1, 2]),
    last_submission_at=st.sampled_from([None, START]),
    members=st.sampled_from([(), ("one",), ("one", "two")]),
    is_benchmark=st.sampled_from([False, False, False, True]),
)
_BOARDS = st.lists(_ENTRIES, unique_by=lambda e: e.team_id, max_size=9)


@dataclass(frozen=True)
class Step:
    """One board of a sequence. call: None where it is synced, else which backfill brings it."""

    moment: datetime
    kind: str
    content: bytes
    call: int | None


@st.composite
def sequences(draw: st.DrawFn) -> list[Step]:
    """Boards by time, of which some come back, some have two teams swapped."""
    pool = draw(st.lists(_BOARDS, min_size=1, max_size=4))
    minute = 0
    steps: list[Step] = []
    shown_last: dict[str, list[Entry]] = {}
    for _ in range(draw(st.integers(1, 9))):
        minute += draw(st.integers(1, 100))
        kind = draw(st.sampled_from(["public", "public", "public", "private"]))
        entries = list(draw(st.sampled_from(pool)))
        what = draw(st.sampled_from(["of the pool", "two swapped", "what was synced last"]))
        if what == "two swapped" and len(entries) > 1:
            place = draw(st.integers(0, len(entries) - 2))
            entries[place : place + 2] = reversed(entries[place : place + 2])
            pool.append(entries)
        elif what == "what was synced last":
            entries = shown_last.get(kind, entries)
        call = draw(st.one_of(st.none(), st.integers(0, 2)))
        if call is None:
            shown_last[kind] = entries
        line_end = draw(st.sampled_from(["\n", "\r\n"]))
        steps.append(Step(at(minute), kind, csv_of(entries, line_end=line_end), call))
    return steps


_SETTINGS = settings(
    max_examples=int(SEQUENCES or 15),
    derandomize=SEQUENCES is None,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


def both_ways(
    world: World, steps: list[Step], seed: int, minutes: int | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The sequence synced in order, and with parts brought later: everything that can be learned of each.

    minutes: of the history_interval.
    """
    number = next(_NUMBERS)
    straight, mixed = (
        world.compete(f"{name}-{number}", history_interval=minutes and timedelta(minutes=minutes))
        for name in ("straight", "mixed")
    )
    for step in steps:
        world.sync(straight, step.moment, step.content, step.kind)
    # A backfill goes between two syncs, or behind the last; what it brings is older than the next sync.
    random = Random(seed)
    synced = [step for step in steps if step.call is None]
    calls: dict[tuple[int, int], list[Step]] = {}
    for step in steps:
        if step.call is not None:
            earliest = sum(sync.moment < step.moment for sync in synced)
            calls.setdefault((random.randint(earliest, len(synced)), step.call), []).append(step)
    done = 0
    for position, _ in sorted(calls):
        for step in synced[done:position]:
            world.sync(mixed, step.moment, step.content, step.kind)
        done = max(done, position)
        brought = calls.pop((position, _))
        random.shuffle(brought)
        files = [world.file(mixed, step.moment, step.content, step.kind) for step in brought]
        told = world.backfill(mixed, *files)
        assert sorted(name for name, _ in told) == sorted(file.name for file in files)
        assert {outcome for _, outcome in told} <= {"changed", "unchanged"}
        assert {outcome for _, outcome in world.backfill(mixed, *files)} == {"skipped"}
    for step in synced[done:]:
        world.sync(mixed, step.moment, step.content, step.kind)
    world.store.thin_history()
    files = [world.file(mixed, step.moment, step.content, step.kind) for step in steps]
    assert {outcome for _, outcome in world.backfill(mixed, *files)} == {"skipped"}
    return world.everything(straight), world.everything(mixed)


@_SETTINGS
@given(steps=sequences(), seed=st.integers(0, 10**6))
def test_any_sequence(world: World, steps: list[Step], seed: int) -> None:
    """Whichever boards are synced and whichever are brought by files, in whatever order and number of calls: every
    past board, run, change, history, mover and version is the same as had all been synced in order."""
    straight, mixed = both_ways(world, steps, seed)
    for about in straight:
        assert mixed[about] == straight[about], about
    assert world.orphans() == 0


@_SETTINGS
@given(steps=sequences(), seed=st.integers(0, 10**6), minutes=st.sampled_from([30, 60, 1440]))
def test_any_sequence_with_a_history_interval(world: World, steps: list[Step], seed: int, minutes: int) -> None:
    """The same where the last board of each interval is kept, once all boards are there; the files are known then."""
    straight, mixed = both_ways(world, steps, seed, minutes)
    for about in straight:
        assert mixed[about] == straight[about], about
    # Of each kind the last board of each interval is left.
    kept = {(step.kind, (step.moment - at(0)) // timedelta(minutes=minutes)): step.moment for step in steps}
    assert {run[1] for run in straight["runs"] if not run[-1]} >= set(kept.values())
    changed = [run for run in straight["runs"] if run[2] == "changed" and not run[-1]]
    assert len({(run[0], (run[1] - at(0)) // timedelta(minutes=minutes)) for run in changed}) == len(changed)


# --- beside what goes on ------------------------------------------------------------------------------------------


class Meanwhile:
    """Does something once, when the first file is there and the others are not."""

    def __init__(self, do: Callable[[], None]) -> None:
        self._do = do
        self.done = 0

    def __call__(self, more: int, done: int) -> None:
        """As the progress is told: each file."""
        self.done += done
        if self.done == 1 and done:
            self._do()


def files_of(world: World, slug: str, boards: dict[int, list[Entry]]) -> list[Path]:
    """Files by minute."""
    return [world.file(slug, at(minute), csv_of(entries)) for minute, entries in boards.items()]


EARLY = {5: teams(3, 1, 2), 25: teams(4, 3, 1)}  # lie around the sync of minute 10
LATER = teams(1, 4, 3, 5)


@pytest.fixture
def synced(world: World) -> str:
    """A competition that was synced at the minutes 10, 20 and 30, the second time with the same bytes."""
    slug = world.compete()
    for minute, entries in {10: teams(1, 2, 3), 20: teams(1, 2, 3), 30: teams(2, 1, 3, 4)}.items():
        world.sync(slug, at(minute), csv_of(entries))
    return slug


def straight(world: World, boards: dict[int, list[Entry]]) -> dict[str, Any]:
    """Everything of a competition that was synced with these boards in order."""
    slug = world.compete(f"straight-{next(_NUMBERS)}")
    for minute, entries in boards.items():
        world.sync(slug, at(minute), csv_of(entries))
    return world.everything(slug)


ALL = {5: EARLY[5], 10: teams(1, 2, 3), 20: teams(1, 2, 3), 25: EARLY[25], 30: teams(2, 1, 3, 4)}


def test_a_sync_that_ends_meanwhile_is_kept(world: World, synced: str) -> None:
    """A whole sync between two files counts, and finds the board it knew."""
    during = Meanwhile(lambda: world.sync(synced, at(40), csv_of(LATER)) == "changed" or pytest.fail("it was stopped"))
    world.backfill(synced, *files_of(world, synced, EARLY), advance=during)
    assert world.everything(synced) == straight(world, ALL | {40: LATER})
    assert world.orphans() == 0


def test_an_attempt_that_has_read_the_order_goes_on_over_files_of_before(world: World, synced: str) -> None:
    """What lies behind the files stays as it was: nothing of what a running attempt has read is void."""
    running = world.begin(synced, at(40))
    file = io.BytesIO(zip_of(csv_of(LATER)))
    read = board.read_zip(file, LIMIT)
    with Connection.connect(world.url, autocommit=True) as connection:
        staging = Staging(connection)
        with staging.transaction():
            staging.load(read.layout, lambda: board.zip_chunks(file, LIMIT), "NULL")
            staging.place("kaggle_internal.board_of_run(%s, 'public')", running.run_id)
            world.backfill(synced, *files_of(world, synced, EARLY))
            applied = connection.execute(
                "SELECT outcome FROM kaggle_internal.apply_board(%s, 'public', %s, 0, %s)",
                (running.run_id, read.digest, GAP),
            ).fetchone()
            connection.execute("COMMIT")
    assert applied == ("changed",)
    assert world.everything(synced) == straight(world, ALL | {40: LATER})


def test_an_attempt_that_read_the_order_cannot_apply_it_to_another(world: World, synced: str) -> None:
    """An append between an attempt's reading of the order and its end takes the attempt's fence; it is begun anew."""
    running = world.begin(synced, at(50))
    world.db.execute("TRUNCATE procrastinate.procrastinate_jobs CASCADE")  # it was taken
    world.backfill(synced, *files_of(world, synced, {40: LATER}))
    assert world.end(running, csv_of(teams(9, 8))) in (None, "superseded")
    assert [row[1] for row in world.board(synced, datetime.now(UTC))] == [1, 4, 3, 5]
    jobs = "SELECT count(*) FROM procrastinate.procrastinate_jobs WHERE status = 'todo' AND task_name = 'sync'"
    assert world.rows(jobs) == [(1,)]
    again = world.store.begin_sync(world.rows("SELECT kaggle.find_competition(%s)", synced)[0][0])
    assert (again.action, again.reason) == ("sync", "manual")
    assert world.end(again, csv_of(teams(9, 8))) == "changed"
    assert [row[1] for row in world.board(synced, datetime.now(UTC))] == [9, 8]


def test_nobody_sees_half_a_file(world: World, synced: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the commit other sessions see the board, its past and its runs as they were; so do all if it is killed."""
    before = world.everything(synced)
    seen: list[dict[str, Any]] = []
    place = Staging.place

    class Killed(BaseException):
        """As a signal would."""

    def watched(staging: Staging, *arguments: Any) -> bool:
        seen.append(world.everything(synced))
        if len(seen) == 2:
            raise Killed
        return place(staging, *arguments)

    monkeypatch.setattr(Staging, "place", watched)
    with pytest.raises(Killed):
        world.backfill(synced, *files_of(world, synced, EARLY))
    assert seen == [before] * 2
    assert (world.everything(synced), world.orphans()) == (before, 0)


def test_one_that_is_killed_between_files_can_be_run_again(world: World, synced: str) -> None:
    """What is there stays; the second run does the rest."""
    files = files_of(world, synced, EARLY)

    class Killed(BaseException):
        """As a signal would."""

    def kill() -> None:
        raise Killed

    with pytest.raises(Killed):
        world.backfill(synced, *files, advance=Meanwhile(kill))
    assert world.everything(synced) == straight(world, {minute: ALL[minute] for minute in ALL if minute != 25})
    told = world.backfill(synced, *files)
    assert [outcome for _, outcome in told] == ["skipped", "changed"]
    assert world.everything(synced) == straight(world, ALL)


def test_appending_can_be_run_again(world: World) -> None:
    """One that ended between two files goes on with the rest; what is there is said to be."""
    slug = world.compete()
    files = files_of(world, slug, {1: teams(1), 2: teams(2, 1), 3: teams(3)})

    def stop(more: int, done: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.backfill(slug, *files, advance=stop)
    told = world.backfill(slug, *reversed(files))
    assert told == [(files[0].name, "skipped"), (files[1].name, "changed"), (files[2].name, "changed")]
    assert world.everything(slug) == straight(world, {1: teams(1), 2: teams(2, 1), 3: teams(3)})


def test_two_at_once(world: World, synced: str) -> None:
    """A second backfill of the same competition is refused while one runs."""
    (file,) = files_of(world, synced, {5: teams(3)})
    refusals: list[str] = []

    def second() -> None:
        with pytest.raises(NeedsPerson) as refusal:
            world.backfill(synced, file)
        refusals.append(str(refusal.value))

    world.backfill(synced, *files_of(world, synced, EARLY), advance=Meanwhile(second))
    (said,) = refusals
    assert f"another backfill of {synced} is running" in said


def test_it_tells_no_listener_and_no_waiter(world: World, synced: str, url: str) -> None:
    """No notification; wait_for_sync gives the last sync; the state of the sync is as it was; runs say backfill."""
    with Connection.connect(url, autocommit=True) as listener:
        listener.execute("LISTEN kaggle_leaderboard")
        waited = world.rows("SELECT w.id, w.observed_at FROM kaggle.wait_for_sync(%s) w", synced)
        state = world.rows("SELECT s::text FROM kaggle_internal.sync_state s")
        world.backfill(synced, *files_of(world, synced, EARLY | {40: LATER}))
        assert heard(listener) == []
    assert world.rows("SELECT w.id, w.observed_at FROM kaggle.wait_for_sync(%s) w", synced) == waited
    assert world.rows("SELECT s::text FROM kaggle_internal.sync_state s") == state
    reasons = world.rows("SELECT reason FROM kaggle.sync_runs ORDER BY observed_at")
    assert [reason for (reason,) in reasons] == ["backfill", "manual", "manual", "backfill", "manual", "backfill"]
    # What is asked for now is a sync: a backfill's run does not answer for it.
    world.db.execute("SELECT kaggle.sync_now(%s)", (synced,))
    world.backfill(synced, *files_of(world, synced, {50: teams(7)}))
    with pytest.raises(psycopg.errors.QueryCanceled):
        world.db.execute("SELECT kaggle.wait_for_sync(%s, '0 s')", (synced,))


def test_a_competition_that_is_linked_elsewhere_meanwhile(world: World, synced: str) -> None:
    """The backfill is given up; what was put in stays with its board."""
    relink = "UPDATE kaggle.competitions SET kaggle_competition_id = 'elsewhere'"
    with pytest.raises(NeedsPerson, match="the competition was deleted or linked elsewhere meanwhile"):
        world.backfill(
            synced, *files_of(world, synced, EARLY), advance=Meanwhile(lambda: world.db.execute(relink) and None)
        )
    world.db.execute("UPDATE kaggle.competitions SET kaggle_competition_id = %s", (synced,))
    assert world.everything(synced) == straight(world, {minute: ALL[minute] for minute in ALL if minute != 25})
    assert world.orphans() == 0


def test_a_history_that_is_pruned_meanwhile(world: World, synced: str) -> None:
    """A file from before the new horizon has no place: it is given up, and says to run it again."""
    prune = "SELECT kaggle.prune_history('0 s')"
    with pytest.raises(NeedsPerson, match="the history was pruned meanwhile: Run it again"):
        world.backfill(
            synced, *files_of(world, synced, EARLY), advance=Meanwhile(lambda: world.db.execute(prune) and None)
        )
    assert world.orphans() == 0
    assert world.rows("SELECT count(*) FROM kaggle.leaderboard_history") == [(0,)]
    assert world.rows("SELECT count(*) FROM kaggle.sync_runs WHERE reason = 'backfill'") == [(1,)]


def test_what_a_pruned_run_has_seen_last(world: World) -> None:
    """The board is known to be right as of its last sync, though that changed nothing and its run was pruned."""
    slug = world.compete()
    for minute in (10, 20):
        world.sync(slug, at(minute), csv_of(teams(1, 2)))
    failing = world.begin(slug)
    world.store.fail(failing.run_id, Decision("transient", "no answer", timedelta(minutes=1)))
    assert world.rows("SELECT kaggle_internal.prune_runs('0')") == [(1,)]
    for minute, entries in {15: teams(2, 1), 17: teams(3)}.items():
        world.backfill(slug, *files_of(world, slug, {minute: entries}))
        assert [row[1] for row in world.board(slug, at(19))] == [entry.team_id for entry in entries]
        assert [row[1] for row in world.board(slug, at(20))] == [1, 2]
    assert [row[0] for row in world.rows("SELECT outcome FROM kaggle.sync_runs ORDER BY observed_at")] == [
        "changed",
        "changed",
        "changed",
        "changed",
        "failed",
    ]


# --- what is refused ----------------------------------------------------------------------------------------------


def refused(world: World, slug: str, *files: Path, **told: Any) -> str:
    """The one line that refuses; nothing was written."""
    before = world.rows("SELECT * FROM kaggle.sync_runs ORDER BY id")
    with pytest.raises(NeedsPerson) as refusal:
        world.backfill(slug, *files, **told)
    assert world.rows("SELECT * FROM kaggle.sync_runs ORDER BY id") == before
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def test_what_cannot_be_put_in_is_refused_before_anything_is_written(world: World, synced: str) -> None:
    """In one line each, naming the file; the good file that was given too is not put in."""
    (good,) = files_of(world, synced, {5: teams(3)})
    content = csv_of(teams(1))

    def named(name: str, content: bytes = content) -> Path:
        (path := world.folder / name).write_bytes(content)
        return path

    other = world.file(synced, at(10), csv_of(teams(3, 2, 1)))
    assert "the history has another public board of 2026-01-01 00:10:00+00:00" in refused(world, synced, good, other)
    twice = named("a-board-publicleaderboard-2026-01-01T00_05_00 (1).csv", csv_of(teams(8)))
    assert "are different boards of 2026-01-01 00:05:00+00:00" in refused(world, synced, good, twice)
    future = world.file(synced, datetime.now(UTC) + timedelta(days=1), content)
    assert "is in the future" in refused(world, synced, good, future)
    foreign = world.file("other-board", at(6), content)
    assert "looks like a board of other-board, not a-board; add --board public" in refused(world, synced, good, foreign)
    assert "cannot tell from the file name whether this is the public or the private board" in refused(
        world, synced, good, named("2026-01-01T00:05:00.csv")
    )
    assert "no time in the file name; import it alone, with --at" in refused(
        world, synced, good, named("a-board-publicleaderboard.csv")
    )
    broken = named("a-board-publicleaderboard-2026-01-01T00_07_00.zip", zip_of(content)[:-30])
    assert "not a valid ZIP" in refused(world, synced, good, broken)
    cut = named("a-board-publicleaderboard-2026-01-01T00_07_00.csv.gz", gzip.compress(content)[:-9])
    assert "is damaged" in refused(world, synced, good, cut)
    assert "is empty" in refused(world, synced, good, named("a-board-publicleaderboard-2026-01-01T00_08_00.csv", b""))
    assert refused(world, "nobody", good).endswith("add it first with `pgleaderboard add nobody`")
    assert "not a Kaggle competition" in refused(world, "no slug", good)


def test_a_file_whose_rows_contradict_themselves(world: World, synced: str) -> None:
    """It is named, and nothing of it is there."""
    good, bad = files_of(world, synced, {5: teams(3), 6: teams(1, 1)})
    with pytest.raises(NeedsPerson) as refusal:
        world.backfill(synced, good, bad)
    assert str(refusal.value).startswith(bad.name)
    assert [outcome for _, outcome in world.backfill(synced, good)] == ["skipped"]
    assert [row[1] for row in world.board(synced, at(6))] == [3]


def test_before_a_pruned_horizon(world: World) -> None:
    """Refused by the horizon's name; behind it files go in, and what the past left behind stays as it was."""
    slug = world.compete()
    for minute, entries in {10: teams(1, 2, 3), 20: teams(3, 1, 2), 30: teams(2, 3, 1, 4)}.items():
        world.sync(slug, at(minute), csv_of(entries))
    world.db.execute("SELECT kaggle.prune_history(clock_timestamp() - %s)", (at(25),))
    (horizon,) = world.rows("SELECT history_from FROM kaggle.boards")[0]
    shown_now = "SELECT * FROM kaggle.leaderboard ORDER BY rank"
    now = world.rows(shown_now)
    refusal = refused(world, slug, *files_of(world, slug, {5: teams(3)}))
    assert f"begins at {horizon.astimezone(UTC).isoformat(sep=' ')}" in refusal
    told = world.backfill(slug, *files_of(world, slug, {28: teams(3, 1, 2)}))
    assert [outcome for _, outcome in told] == ["unchanged"]
    assert world.rows(shown_now) == now
    assert [row[1] for row in world.board(slug, at(26))] == [3, 1, 2]
    with pytest.raises(psycopg.errors.NoDataFound, match="begins at"):
        world.board(slug, at(24))


# --- what files are -----------------------------------------------------------------------------------------------


def test_what_the_user_says_where_the_name_does_not(world: World, synced: str) -> None:
    """A private board's ZIP as a browser names it; kind and moment as they are given."""
    (path := world.folder / "leaderboard.csv").write_bytes(csv_of(teams(5, 6)))
    world.backfill(synced, path, overrides=Overrides(at(60), "private"))
    assert [row[1] for row in world.board(synced, at(60))] == [5, 6]
    assert [row[1] for row in world.board(synced, at(59))] == [2, 1, 3, 4]
    assert world.rows("SELECT board FROM kaggle.leaderboard LIMIT 1") == [("private",)]
    assert len(world.rows("SELECT * FROM kaggle.shakeup(%s)", synced)) == 6


def test_files_from_before_2023(world: World) -> None:
    """Without ranks, a row for each improvement: before a board of today, in any order."""
    slug = world.compete()
    one, two, three = (entry.but(submission_count=None, members=()) for entry in teams(1, 2, 3))
    world.sync(slug, at(30), csv_of(teams(3, 1, 2)))
    files = [
        world.file(slug, at(20), old_csv_of([two, one, one.but(score=Decimal("0.7")), three])),
        world.file(slug, at(10), old_csv_of([one, two, one.but(score=Decimal("0.6"))])),
    ]
    world.backfill(slug, *files)
    assert world.board(slug, at(10)) == shown([two, one.but(score=Decimal("0.6"))])
    assert world.board(slug, at(20)) == shown([one.but(score=Decimal("0.7")), two, three])
    assert world.board(slug, at(30)) == shown(teams(3, 1, 2))


UNSORTED = """\
TeamId,TeamName,SubmissionDate,Score
11,early,2018-01-01 10:00:00,0.90000
12,mid,2018-01-02 10:00:00,0.50000
12,mid,2018-01-03 10:00:00,0.40000
13,late,2018-01-04 10:00:00,0.60000
"""


def names(world: World, slug: str) -> list[str]:
    """Who stands where, at the last moment."""
    return [name for (name,) in world.rows("SELECT team_name FROM kaggle.leaderboard_as_of(%s, 'infinity')", slug)]


def test_a_file_without_ranks_that_is_sorted_by_date(world: World) -> None:
    """The improvements within teams tell the direction, and that the order; the run says so."""
    slug = world.compete()
    world.backfill(slug, world.file(slug, at(10), UNSORTED.encode()))
    assert names(world, slug) == ["mid", "late", "early"]
    assert world.rows("SELECT note, higher_is_better FROM kaggle.sync_runs") == [("order reconstructed", False)]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param(
            ("13,late,2018-01-04 10:00:00,0.60000", "12,mid,2018-01-03 10:00:00,0.40000",
             "12,mid,2018-01-02 10:00:00,0.50000", "11,early,2018-01-01 10:00:00,0.90000"),
            [("mid", "0.40000"), ("late", "0.60000"), ("early", "0.90000")], id="newest first",
        ),
        pytest.param(
            ("1,a,2018-01-03 00:00:00,0.2", "1,a,2018-01-03 00:00:00,0.3", "2,b,2018-01-02 00:00:00,0.1",
             "3,c,2018-01-02 00:00:00,0.9", "1,a,2018-01-01 00:00:00,0.4"),
            [("b", "0.1"), ("a", "0.2"), ("c", "0.9")], id="newest first, by days",
        ),
        pytest.param(
            ("1,a,2018-01-03 10:00:00,0.3", "2,b,2018-01-02 10:00:00,0.5", "1,a,2018-01-01 10:00:00,0.1",
             "2,b,2018-01-04 10:00:00,0.6", "1,a,2018-01-02 10:00:00,0.2", "3,c,2018-01-01 10:00:00,0.4"),
            [("b", "0.6"), ("c", "0.4"), ("a", "0.3")], id="in no order of dates",
        ),
        pytest.param(
            ("1,a,,0.2", "2,b,,0.7", "1,a,,0.3", "3,c,,0.1"),
            [("b", "0.7"), ("a", "0.3"), ("c", "0.1")], id="without dates",
        ),
        pytest.param(
            ("1,a,2018-01-01 10:00:00,0.5", "1,a,2018-01-02 10:00:00,", "2,b,2018-01-03 10:00:00,0.9",
             "3,c,2018-01-03 11:00:00,0.7", "3,c,2018-01-03 12:00:00,0.75"),
            [("b", "0.9"), ("c", "0.75"), ("a", None)], id="the latest without a score",
        ),
        pytest.param(
            ("1,late,2018-01-04 10:00:00,0.6", "2,mid,2018-01-03 10:00:00,0.7",
             "2,mid,2018-01-02 10:00:00,0.5", "3,early,2018-01-01 10:00:00,0.9"),
            [("early", "0.9"), ("mid", "0.7"), ("late", "0.6")], id="newest first, by chance the worst first",
        ),
    ],
)  # fmt: skip
def test_the_last_row_of_a_team_is_that_of_its_latest_date(
    world: World, rows: tuple[str, ...], expected: list[tuple[str, str | None]]
) -> None:
    """Whichever way the file runs; without dates it is the last one in the file. The best stands first."""
    slug = world.compete()
    lines = ["TeamId,TeamName,SubmissionDate,Score", *rows, ""]
    world.backfill(slug, world.file(slug, at(10), "\n".join(lines).encode()))
    board = "SELECT team_name, score::text FROM kaggle.leaderboard_as_of(%s, 'infinity')"
    assert world.rows(board, slug) == expected


def test_a_file_without_ranks_and_without_improvements(world: World) -> None:
    """Nobody knows what is better until the competition says; ties go by the earlier date."""
    slug = world.compete()
    lines = UNSORTED.replace("12,mid,2018-01-02 10:00:00,0.50000\n", "").replace("0.60000", "0.90000")
    lines += "14,last,2018-01-01 09:00:00,0.90000\n15,best,2018-01-01 09:00:00,0.10000\n"
    file = world.file(slug, at(10), lines.encode())
    with pytest.raises(NeedsPerson, match="no ranks, and is not sorted by score: set higher_is_better"):
        world.backfill(slug, file)
    world.db.execute("UPDATE kaggle.competitions SET higher_is_better = true")
    world.backfill(slug, file)
    assert names(world, slug) == ["last", "early", "late", "mid", "best"]


def test_a_file_without_ranks_that_is_sorted_by_score(world: World) -> None:
    """It is taken as it stands, ties too, and nothing is noted."""
    slug = world.compete()
    lines = "TeamId,TeamName,SubmissionDate,Score\n" + "".join(
        f"{team},{team},2018-01-0{day} 10:00:00,{score}\n" for team, day, score in ((3, 4, 1), (1, 3, 2), (2, 1, 2))
    )
    world.backfill(slug, world.file(slug, at(10), lines.encode()))
    assert names(world, slug) == ["3", "1", "2"]
    assert world.rows("SELECT note, higher_is_better FROM kaggle.sync_runs") == [(None, False)]


@pytest.mark.parametrize("repeated", [0, 1])
@pytest.mark.parametrize("ranked", [True, False])
def test_several_boards_in_one_file(world: World, ranked: bool, repeated: int) -> None:
    """Snapshots that somebody has stacked: one line says by which column to split them, and nothing is stored.

    A line that stands there twice hides no stack.
    """
    slug = world.compete()
    head = "Rank,TeamId,TeamName,LastSubmissionDate,Score,Scrape_Time_UTC,SubmissionCount,TeamMemberUserNames"
    lines = [
        f"{team},{team},team {team},2026-01-01 10:00:00,{9 - team},2026-01-0{day} 00:00:00,1,user{team}"
        for day in (2, 3, 4)
        for team in (1, 2, 3, 4)
    ]
    lines += lines[5 : 5 + repeated]
    if not ranked:
        head, lines = head.removeprefix("Rank,"), [line.partition(",")[2] for line in lines]
    file = world.file(slug, at(10), "\n".join([head, *lines, ""]).encode())
    words = "3 boards stacked, told apart by column Scrape_Time_UTC: split the file by it"
    with pytest.raises(NeedsPerson, match=words):
        world.backfill(slug, file)
    assert world.rows("SELECT * FROM kaggle.leaderboard_entries") == []


@pytest.mark.parametrize(
    "times",
    [
        ("2018-05-01 00:00:00", "2018-05-02 00:00:00"),
        ("1/5/2018 10:00", "2/5/2018 10:00"),
        ("01.05.2018 10:00", "02.05.2018 10:00"),
        ("20180501_1000", "20180502_1000"),
        ("20180501", "20180502"),
        ("May 1 2018 10:00", "May 2 2018 10:00"),
        ("1525168800", "1525255200"),
    ],
)
def test_the_smallest_stack(world: World, times: tuple[str, str]) -> None:
    """Two boards of two teams and one: who had gone does not come back. The times stand in any form."""
    slug = world.compete()
    rows = [(1, "gone", "0.9", times[0]), (2, "a", "0.8", times[0]), (2, "a", "0.8", times[1])]
    lines = [f"{team},{name},2018-01-01 10:00:00,{score},{time}" for team, name, score, time in rows]
    file = world.file(slug, at(10), "\n".join(["TeamId,TeamName,SubmissionDate,Score,Scraped", *lines, ""]).encode())
    with pytest.raises(NeedsPerson, match="2 boards stacked, told apart by column Scraped"):
        world.backfill(slug, file)


@pytest.mark.parametrize("ranked", [True, False])
@pytest.mark.parametrize(
    ("stamp", "emptied"),
    [
        ("Mon Feb {:02} 10:00:00 2018", 0),
        ("{}-Feb-2018", 0),
        ("lb_2018-02-{:02}.csv", 0),
        ("{}th of February", 2),
        ("2018-02-{:02} 00:00:00", 1),
    ],
)
def test_a_stack_is_told_by_its_blocks(world: World, stamp: str, emptied: int, ranked: bool) -> None:
    """Boards of nearly the same teams, one below the other, whatever tells them apart; a stamp may be missing."""
    slug = world.compete()
    lines = [
        f"{place},{team},team {team},2018-01-0{day} 1{team}:00:00,{day + team},{stamp.format(day)}"
        for day in range(1, 6)
        for place, team in enumerate((1, 2, 3, 4) if day == 1 else (4, 2, 3), 1)
    ]
    lines[4 : 4 + emptied] = [line.removesuffix(stamp.format(2)) for line in lines[4 : 4 + emptied]]
    head = "Rank,TeamId,TeamName,SubmissionDate,Score,Source"
    if not ranked:
        head, lines = head.removeprefix("Rank,"), [line.partition(",")[2] for line in lines]
    with pytest.raises(NeedsPerson, match="5 boards stacked, told apart by column Source: split the file by it"):
        world.backfill(slug, world.file(slug, at(10), "\n".join([head, *lines, ""]).encode()))


def test_the_day_of_an_improvement_tells_no_boards_apart(world: World) -> None:
    """A further column that repeats the row's own date is none of a stack, though every team improves every day."""
    slug = world.compete()
    lines = [
        f"{team},{team},2018-01-0{day} 10:00:00,{day + team},2018-01-0{day}" for day in (1, 2, 3) for team in (1, 2)
    ]
    file = world.file(slug, at(10), "\n".join(["TeamId,TeamName,SubmissionDate,Score,Day", *lines, ""]).encode())
    world.backfill(slug, file)
    assert names(world, slug) == ["2", "1"]


@pytest.mark.parametrize(
    "rows", [((1, "xgb"), (2, "xgb"), (2, "nn")), ((1, "1st"), (1, "2nd"), (2, "1st"), (2, "2nd"))]
)
def test_a_column_that_tells_no_boards_apart(world: World, rows: tuple[tuple[int, str], ...]) -> None:
    """How a team improved, or how often: what has the same value stands in several places, or is of other teams."""
    slug = world.compete()
    lines = [f"{team},{team},2018-01-0{n} 10:00:00,{n / 10},{more}" for n, (team, more) in enumerate(rows, 1)]
    file = world.file(slug, at(10), "\n".join(["TeamId,TeamName,SubmissionDate,Score,More", *lines, ""]).encode())
    world.backfill(slug, file)
    assert names(world, slug) == ["2", "1"]


def test_a_number_is_no_time_of_a_board(world: World) -> None:
    """A further column with a metric, the same for several rows, tells no boards apart."""
    slug = world.compete()
    lines = [
        f"{team},{team},2018-01-01 10:00:00,{score},{more}"
        for team, score, more in ((1, 0.9, 0.5), (2, 0.8, 0.5), (2, 0.7, 0.25))
    ]
    file = world.file(slug, at(10), "\n".join(["TeamId,TeamName,SubmissionDate,Score,Recall", *lines, ""]).encode())
    world.backfill(slug, file)
    assert names(world, slug) == ["1", "2"]


@pytest.mark.parametrize(
    "date",
    ["2026-02-31 10:00:00", "2026-01-05 25:00:00", "2026-Ja-05 10:00:00", "2026-03-04 +0:20:30", " 026-03-04 10:00:00"],
)
@pytest.mark.parametrize("ranked", [True, False])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_date_that_is_none(world: World, date: str, ranked: bool, is_first: bool) -> None:
    """Its file and its line are named, whether the board is the first of its competition or not."""
    slug = world.compete()
    if not is_first:
        world.backfill(slug, world.file(slug, at(5), csv_of(teams(1))))
    head, ranks = ("Rank,TeamId", ["1,", "2,"]) if ranked else ("TeamId", ["", ""])
    lines = [
        f"{head},TeamName,LastSubmissionDate,Score",
        f"{ranks[0]}1,x,2026-01-01 10:00:00,0.9",
        f"{ranks[1]}2,y,{date},0.8",
    ]
    file = world.file(slug, at(10), "\n".join([*lines, ""]).encode())
    with pytest.raises(NeedsPerson, match=r"-publicleaderboard-.*: the leaderboard cannot be read: line 3"):
        world.backfill(slug, file)


@pytest.mark.parametrize(
    ("end", "within"), [("\n", "\n"), ("\n", "\r\n"), ("\n", "\r"), ("\r\n", "\r\n"), ("\r\n", "\n"), ("\r", "\n")]
)
@pytest.mark.parametrize("preamble", [[], ["Next Page Token = CfDJ8", ""]])
@pytest.mark.parametrize(
    ("date", "score", "column"),
    [
        pytest.param("2026-02-31 10:00:00", "0.8", ", column last_submission_at", id="a date that is none"),
        pytest.param("2026-02-03 10:00:00", "best", ", column score", id="a score that is none"),
        pytest.param("31.2.2026", "0.8", "", id="a rule that does not hold"),
    ],
)
def test_the_line_of_a_message_is_that_of_the_file(
    world: World, date: str, score: str, column: str, preamble: list[str], end: str, within: str
) -> None:
    """As an editor counts: with the lines before the header, and with those that end within quotes, however they do."""
    slug = world.compete()
    lines = [
        *preamble,
        f'"a{within}note",Rank,TeamId,TeamName,LastSubmissionDate,Score',
        f',1,1,"two{within}lines",2026-01-01 10:00:00,0.9',
        f",2,2,y,{date},{score}",
        ",3,3,z,2026-01-01 10:00:00,0.7",
    ]
    text = end.join([*lines, ""])
    line = len(re.findall(r"\r\n?|\n", text[: text.index(",2,2,y")])) + 1
    with pytest.raises(NeedsPerson, match=f"the leaderboard cannot be read: line {line}{column}: "):
        world.backfill(slug, world.file(slug, at(10), text.encode()))


def of_scores(*scores: int) -> bytes:
    """A board of teams 1, 2, … with these scores, in this order."""
    return csv_of([entry.but(score=Decimal(n)) for entry, n in zip(teams(1, 2), scores, strict=True)])


def directions(world: World, slug: str) -> list[bool | None]:
    """Whether higher was better, as far as each run of a competition knew."""
    known = (
        "SELECT kaggle_internal.known_direction(c, b, r.observed_at) FROM kaggle.sync_runs r "
        "JOIN kaggle.competitions c ON c.id = r.competition_id JOIN kaggle.boards b ON b.id = r.board_id "
        "WHERE c.kaggle_competition_id = %s ORDER BY r.observed_at"
    )
    return [direction for (direction,) in world.rows(known, slug)]


@pytest.mark.parametrize("later", [None, 40])
def test_a_private_file_of_before_the_end(world: World, later: int | None) -> None:
    """It is shown from the end on, as if it had been synced at its moment; a later one may be there already."""
    slug = world.compete(end_date=at(20))
    world.sync(slug, at(10), csv_of(teams(1, 2)))
    if later:
        world.sync(slug, at(later), csv_of(teams(2, 1)), "private")
    world.backfill(slug, world.file(slug, at(15), csv_of(teams(2, 1)), "private"))
    kinds = "SELECT DISTINCT board FROM kaggle.leaderboard_as_of(%s, %s)"
    shown_kinds = [world.rows(kinds, slug, at(minute)) for minute in (12, 15, 19, 20, 60)]
    assert shown_kinds == [[("public",)]] * 3 + [[("private",)]] * 2


@pytest.mark.parametrize("kept", [False, True])
def test_files_of_an_event_that_ended_before_it_was_followed(world: World, kept: bool) -> None:
    """They tell the board at its end, whether the worker had chosen another one or not."""
    slug = world.compete()
    world.rows("INSERT INTO kaggle.events (slug, title, end_date) VALUES ('past', 'Past', %s) RETURNING id", at(20))
    world.db.execute(
        "INSERT INTO kaggle.event_competitions SELECT e.id, c.id FROM kaggle.events e, kaggle.competitions c"
    )
    world.sync(slug, at(2000), of_scores(7, 7))
    if kept:
        world.db.execute("SELECT kaggle_internal.keep_boards_at_end()")
    world.backfill(slug, world.file(slug, at(10), of_scores(9, 8)), world.file(slug, at(21), of_scores(9, 9)))
    for _ in range(2):
        assert world.rows("SELECT DISTINCT score::int FROM kaggle.event_results") == [(9,)]
        world.db.execute("SELECT kaggle_internal.keep_boards_at_end()")


@pytest.mark.parametrize("ends", [None, 20, 60])
def test_files_change_nothing_of_a_freeze(world: World, ends: int | None) -> None:
    """Neither one of long before, nor one of just before it, nor a private one; set anew, it shows them."""
    slug = world.compete(end_date=at(15))
    world.rows(
        "INSERT INTO kaggle.events (slug, title, end_date) VALUES ('night', 'Night', %s) RETURNING id", at(ends or 99)
    )
    world.db.execute(
        "INSERT INTO kaggle.event_competitions SELECT e.id, c.id FROM kaggle.events e, kaggle.competitions c"
    )
    for minute, score in {10: 6, 22: 7, 50: 8}.items():
        world.sync(slug, at(minute), of_scores(score, score))
    world.db.execute("UPDATE kaggle.events SET frozen_at = %s", (at(40),))
    scores = "SELECT DISTINCT score::int FROM kaggle.event_results"
    shown = [(7,)]
    assert world.rows(scores) == shown
    if ends == 60:
        world.db.execute("UPDATE kaggle.events SET end_date = %s", (at(25),))
    for minute, kind in ((5, "public"), (21, "public"), (30, "private"), (39, "public")):
        world.backfill(slug, world.file(slug, at(minute), of_scores(minute, minute), kind))
        world.db.execute("SELECT kaggle_internal.forget_boards_at_freeze()")
        assert world.rows(scores) == shown
    world.db.execute("UPDATE kaggle.events SET frozen_at = NULL")
    world.db.execute("UPDATE kaggle.events SET frozen_at = %s", (at(40),))
    assert world.rows(scores) == [(30,)]


def test_each_moment_knows_the_direction_of_then(world: World) -> None:
    """One that flips later does not reach back to what is brought between equal scores, nor to a final standing."""
    ((night,),) = world.rows(
        "INSERT INTO kaggle.events (slug, title, end_date) VALUES ('night', 'Night', %s) RETURNING id", at(26)
    )
    slug = world.compete(event_id=night, metric_min_value=0, metric_max_value=10)
    standing = "SELECT kaggle_username, points::int FROM kaggle.event_standings ORDER BY 1"
    for minute, content in {10: of_scores(9, 8), 25: of_scores(6, 6), 30: of_scores(1, 2)}.items():
        world.sync(slug, at(minute), content)
    assert world.rows(standing) == [("user1", 60), ("user2", 60)]
    world.backfill(slug, world.file(slug, at(20), of_scores(7, 7)))
    assert directions(world, slug) == [True, True, True, False]
    assert world.rows(standing) == [("user1", 60), ("user2", 60)]
    world.backfill(slug, world.file(slug, at(5), of_scores(5, 5)))
    assert directions(world, slug) == [None, True, True, True, False]
    assert world.rows(standing) == [("user1", 60), ("user2", 60)]


def test_a_run_with_equal_scores_learns_the_direction_from_an_older_file(world: World) -> None:
    """It knew the one from before it, and so it does when that is another."""
    slug = world.compete()
    for minute, content in {10: of_scores(9, 8), 20: of_scores(7, 7), 30: of_scores(9, 8)}.items():
        world.sync(slug, at(minute), content)
    assert directions(world, slug) == [True, True, True]
    world.backfill(slug, world.file(slug, at(15), of_scores(1, 2)))
    assert directions(world, slug) == [True, False, False, True]


def test_no_room_between_neighbours(world: World) -> None:
    """Newcomers at one place use up every gap, while boards are appended and while they are replayed."""
    slug = world.compete()
    entries = teams(1, 2)
    boards: dict[int, list[Entry]] = {}
    for minute in range(60):
        entries = [entries[0], Entry(100 + minute), *entries[1:]]
        boards[minute] = entries
    world.backfill(slug, *files_of(world, slug, {minute: boards[minute] for minute in range(10, 60)}))
    world.backfill(slug, *files_of(world, slug, {minute: boards[minute] for minute in range(10)}))
    assert world.everything(slug) == straight(world, boards)


def test_another_slug_is_another_board(world: World, synced: str) -> None:
    """Files go to the board of the slug that the competition has now."""
    world.db.execute("UPDATE kaggle.competitions SET kaggle_competition_id = 'b-board'")
    before = world.everything(synced)
    world.backfill("b-board", *files_of(world, "b-board", {5: teams(9)}))
    after = world.everything(synced)
    assert {key: after[key] for key in ("boards", "versions")} == {key: before[key] for key in ("boards", "versions")}
    assert [row[1] for row in world.board("b-board", at(5))] == [9]


def test_a_folder_of_77_snapshots_in_any_order(world: World) -> None:
    """Between and around some syncs, in three calls: every board is right at its moment, and so is what follows."""
    random = Random(77)
    slug = world.compete()
    entries = [Entry(n, f"team {n}", score=Decimal(n), members=(f"user{n}",)) for n in range(1, 61)]
    boards: dict[int, list[Entry]] = {}
    for minute in range(0, 77 * 10, 10):
        if random.random() < 0.5:  # as a simulation competition: everything moves
            random.shuffle(entries)
            entries = [entry.but(score=Decimal(random.randrange(10**6)).scaleb(-2)) for entry in entries]
        for _ in range(random.randrange(4)):
            entries.insert(random.randrange(len(entries)), entries.pop(random.randrange(len(entries))))
        if random.random() < 0.2:
            entries.pop(random.randrange(len(entries)))
        if random.random() < 0.2:
            entries.insert(random.randrange(len(entries)), Entry(1000 + minute, "late"))
        boards[minute] = list(entries)
    synced = sorted(random.sample(sorted(boards), 9))
    for minute in synced:
        world.sync(slug, at(minute), csv_of(boards[minute]))
    files = [world.file(slug, at(minute), csv_of(boards[minute])) for minute in boards if minute not in synced]
    random.shuffle(files)
    for part in (files[:5], files[5:40], files[40:]):
        assert {outcome for _, outcome in world.backfill(slug, *part)} <= {"changed", "unchanged"}
    assert {outcome for _, outcome in world.backfill(slug, *files)} == {"skipped"}
    for minute, board_then in boards.items():
        for moment in (at(minute), at(minute) + timedelta(seconds=1), at(minute + 10) - timedelta(microseconds=1)):
            assert world.board(slug, moment) == shown(board_then)
    assert world.rows("SELECT count(*) FROM kaggle.leaderboard_as_of(%s, %s)", slug, at(-1)) == [(0,)]
