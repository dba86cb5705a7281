"""Real boards, served from a folder, end up in kaggle.leaderboard exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta

import pytest

from tests.support.aliases import Connection, MakeWorker
from tests.support.boards import (
    BOARDS,
    COLUMNS,
    Counts,
    Entry,
    counts,
    leaderboard,
    places,
    read_zip,
    shown,
    versions_at,
)
from tests.support.faults import Simulator
from tests.support.kaggle import close, make_kaggle

FILES = {
    "titanic": "titanic-publicleaderboard-2025-06-03T15_28_00.zip",
    "nvidia-nemotron-model-reasoning-challenge": (
        "nvidia-nemotron-model-reasoning-challenge-publicleaderboard-2026-06-16T01_57_45.zip"
    ),
    "orbit-wars": "orbit-wars-publicleaderboard-2026-06-07T06_21_22.zip",
}
EARLIER = "orbit-wars-publicleaderboard-2026-05-05T15_36_33.zip"

Synced = Callable[..., AbstractContextManager[None]]


def real(name: str) -> list[Entry]:
    """The board in one of the files."""
    if not (BOARDS / name).is_file():
        pytest.skip(f"the real board {name} is not here: {BOARDS}")
    return read_zip(BOARDS / name)


@pytest.fixture
def synced(worker: MakeWorker) -> Synced:
    """Makes a simulator of the real boards, and a worker that asks it."""

    @contextmanager
    def make(*, replay: bool = False) -> Iterator[None]:
        with Simulator(boards_dir=BOARDS, replay=replay) as simulator:
            kaggle = make_kaggle(simulator.url)
            with worker(kaggle=kaggle):
                yield
            close(kaggle)

    return make


def compete(db: Connection, slug: str) -> int:
    """Insert a competition and wait for its first sync."""
    row = db.execute(
        "INSERT INTO kaggle.competitions (kaggle_competition_id, sync_interval) VALUES (%s, '1 day') RETURNING id",
        (slug,),
    ).fetchone()
    assert row is not None
    return int(row[0])


def wait(db: Connection, slug: str) -> tuple[str, str | None, int | None, Counts, datetime]:
    """Wait for the sync that was asked for: outcome, error, teams, counts, observed_at."""
    row = db.execute(
        "SELECT outcome, error, teams, added, removed, updated, moved, observed_at FROM kaggle.wait_for_sync(%s)",
        (slug,),
    ).fetchone()
    assert row is not None
    return row[0], row[1], row[2], Counts(*row[3:7]), row[7]


def assert_shown(db: Connection, slug: str, board: list[Entry]) -> None:
    """Every field of every row of kaggle.leaderboard is the file's, and the file's rows are all there."""
    rows = leaderboard(
        db.execute(f"SELECT {COLUMNS} FROM kaggle.leaderboard WHERE kaggle_competition_id = %s", (slug,)).fetchall()
    )
    expected = leaderboard(shown(board))
    # Row by row: a diff of sixteen thousand rows helps nobody.
    for row, expected_row in zip(rows, expected, strict=False):
        assert row == expected_row
    assert len(rows) == len(expected)
    assert [row[0] for row in rows if not row[-1]] == list(range(1, sum(not e.is_benchmark for e in board) + 1))


def test_real_boards_end_up_in_the_view(db: Connection, synced: Synced) -> None:
    """Each board is in kaggle.leaderboard to the last byte: ranks, ties in Kaggle's order, decimals, odd names."""
    boards = {slug: real(name) for slug, name in FILES.items()}
    with synced():
        ids = {slug: compete(db, slug) for slug in boards}
        for slug, board in boards.items():
            teams = sum(not entry.is_benchmark for entry in board)
            outcome, error, shown_teams, counted, observed_at = wait(db, slug)
            assert (outcome, error, shown_teams) == ("changed", None, teams)
            assert counted == Counts(len(board), 0, 0, 0)
            assert_shown(db, slug, board)
            assert (versions_at(db, ids[slug], observed_at) == places(board)) is True


def test_the_next_real_board_after_the_first(db: Connection, synced: Synced) -> None:
    """33 days on, the run says what became of the board; the first board can still be had from the history."""
    first, second = real(EARLIER), real(FILES["orbit-wars"])
    with synced(replay=True):
        competition = compete(db, "orbit-wars")
        outcome, error, _, counted, first_at = wait(db, "orbit-wars")
        assert (outcome, error, counted) == ("changed", None, Counts(len(first), 0, 0, 0))
        assert_shown(db, "orbit-wars", first)

        db.execute("SELECT kaggle.sync_now('orbit-wars')")
        outcome, error, _, counted, second_at = wait(db, "orbit-wars")
        naive = counts(first, second)
        assert (outcome, error) == ("changed", None)
        assert (counted.added, counted.removed, counted.updated) == (naive.added, naive.removed, naive.updated)
        assert counted.moved <= naive.moved
        assert_shown(db, "orbit-wars", second)

        db.execute("SELECT kaggle.sync_now('orbit-wars')")
        assert wait(db, "orbit-wars")[0] == "unchanged"
    for moment, board in (
        (first_at, first),
        (second_at - timedelta(microseconds=1), first),
        (second_at, second),
    ):
        assert (versions_at(db, competition, moment) == places(board)) is True
