"""Boards from files of before: afterwards the database is the one in which each was synced at its moment."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import psycopg
import pytest
from conftest import Connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.boards import COLUMNS, Entry, csv_of, old_csv_of, shown, teams, zip_of
from worker import archive, board
from worker.archive import Said
from worker.archive_store import ArchiveStore
from worker.errors import NeedsPerson
from worker.simulator import zip_board
from worker.store import Applied, Begun, Store

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
        begun = self.store.begin_sync(competition, 1, "credential", 0)
        assert begun.action == "sync"
        if moment:
            self.db.execute(
                "UPDATE kaggle.sync_state SET running_since = %s WHERE competition_id = %s", (moment, competition)
            )
        return begun

    def end(self, begun: Begun, content: bytes, kind: str = "public") -> str | None:
        """The end of an attempt, as the worker does it."""
        import io

        file = io.BytesIO(zip_of(content, kind=kind))
        read = board.examine(file, LIMIT)
        return self.store.confirm(begun.run_id, read) or self.store.apply(
            begun.run_id, read, lambda: board.rows(file, LIMIT)
        ).outcome

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
        said: Said = Said(),  # noqa: B008 - frozen
        advance: Callable[[int, int], None] = lambda more, done: None,
    ) -> list[tuple[str, str | None]]:
        """What the command does, over a session of its own. Returns each file's name with what became of it."""
        told: list[tuple[str, str | None]] = []

        def report(snapshot: Any, applied: Applied) -> None:
            told.append((snapshot.name, applied.outcome))

        with psycopg.connect(self.url, autocommit=True) as connection:
            archive.backfill(ArchiveStore(connection, patience=0), slug, files, said, LIMIT, report, advance)
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
            "SELECT r.id, r.board, r.observed_at, r.outcome, r.teams, r.added, r.removed, r.updated, r.moved "
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
                [tuple(map(str, row)) for row in self.rows("SELECT * FROM kaggle.changes(%s)", run[0])] for run in runs
            ],
            "history": self.rows("SELECT * FROM kaggle.rank_history(%s, VARIADIC %s::bigint[])", slug, everybody)
            if runs
            else [],
            "movers": [self.rows("SELECT * FROM kaggle.movers(%s, %s)", slug, moment) for moment in moments],
            "versions": self.rows(
                "SELECT b.kind, v.team_id, v.valid_from, v.valid_until, v.first_seen_at FROM kaggle.boards b JOIN ("
                "SELECT board_id, team_id, valid_from, NULL AS valid_until, first_seen_at FROM kaggle.leaderboard_entries "
                "UNION ALL SELECT board_id, team_id, valid_from, valid_until, first_seen_at "
                "FROM kaggle.leaderboard_history) v ON v.board_id = b.id WHERE b.slug = %s ORDER BY 1, 2, 3",
                slug,
            ),
        }

    def orphans(self) -> int:
        """Versions of no board."""
        return int(
            self.rows(
                "SELECT count(*) FROM (SELECT board_id FROM kaggle.leaderboard_entries "
                "UNION ALL SELECT board_id FROM kaggle.leaderboard_history) v "
                "WHERE board_id NOT IN (SELECT id FROM kaggle.boards)"
            )[0][0]
        )


@pytest.fixture
def world(db: Connection, url: str, tmp_path: Path) -> Iterator[World]:
    """A database with a worker on its list."""
    db.execute("SELECT kaggle.register_worker('test', 'credential')")
    store = Store(url, connections=1)
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
def sequences(draw: st.DrawFn, *, interval: int | None = None) -> list[Step]:
    """Boards by time, of which some come back, some are a neighbour's with two teams swapped.

    interval: minutes that lie at least between two synced boards of a kind.
    """
    pool = draw(st.lists(_BOARDS, min_size=1, max_size=4))
    minute = 0
    steps: list[Step] = []
    synced: dict[str, int] = {}
    for _ in range(draw(st.integers(1, 9))):
        minute += draw(st.integers(1, 100))
        entries = list(draw(st.sampled_from(pool)))
        if len(entries) > 1 and draw(st.booleans()):
            place = draw(st.integers(0, len(entries) - 2))
            entries[place : place + 2] = reversed(entries[place : place + 2])
            pool.append(entries)
        kind = draw(st.sampled_from(["public", "public", "public", "private"]))
        call = draw(st.one_of(st.none(), st.integers(0, 2)))
        if interval is not None:
            call = 0 if call is not None or minute - synced.get(kind, -interval) < interval else None
        if call is None:
            synced[kind] = minute
        line_end = draw(st.sampled_from(["\n", "\r\n"]))
        steps.append(Step(at(minute), kind, csv_of(entries, line_end=line_end), call))
    return steps


_SETTINGS = settings(
    max_examples=int(SEQUENCES or 40),
    derandomize=SEQUENCES is None,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


def both_ways(world: World, steps: list[Step], seed: int, **columns: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The sequence synced in order, and with parts brought later: everything that can be learned of each."""
    number = next(_NUMBERS)
    straight, mixed = (world.compete(f"{name}-{number}", **columns) for name in ("straight", "mixed"))
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
@given(steps=sequences(interval=60), seed=st.integers(0, 10**6))
def test_any_sequence_with_a_history_interval(world: World, steps: list[Step], seed: int) -> None:
    """The same where versions close together are merged, as long as nothing was merged away before the files came."""
    straight, mixed = both_ways_at_the_end(world, steps, seed)
    for about in straight:
        assert mixed[about] == straight[about], about


def both_ways_at_the_end(world: World, steps: list[Step], seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """As `both_ways`, with one backfill behind the last sync and a history_interval of an hour."""
    number = next(_NUMBERS)
    straight, mixed = (
        world.compete(f"{name}-{number}", history_interval=timedelta(hours=1)) for name in ("straight", "mixed")
    )
    for step in steps:
        world.sync(straight, step.moment, step.content, step.kind)
        if step.call is None:
            world.sync(mixed, step.moment, step.content, step.kind)
    files = [world.file(mixed, s.moment, s.content, s.kind) for s in steps if s.call is not None]
    Random(seed).shuffle(files)
    if files:
        world.backfill(mixed, *files)
        assert {outcome for _, outcome in world.backfill(mixed, *files)} == {"skipped"}
    return world.everything(straight), world.everything(mixed)
