"""kaggle.board_runs: which run brought the board that a slug showed at a moment."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.support.aliases import Connection
from tests.support.boards import shown, teams, zip_of
from tests.support.syncs import Syncs

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)
A, B, C, D = teams(1, 2, 3), teams(2, 1, 3), teams(3, 2, 1), teams(2, 1)
Compete = Callable[..., Syncs]


def runs(db: Connection) -> list[Any]:
    """What it tells."""
    return db.execute("SELECT run_id, at, board, teams FROM kaggle.board_runs('a-board')").fetchall()


def test_each_change_of_the_board_is_a_step(compete: Compete, db: Connection) -> None:
    """Unchanged boards are none; at each step and just before the next one its board is the one of the past."""
    syncs = compete()
    boards = [A, B, B, C, D]
    ran = [syncs.sync_at(NOW - (9 - n) * HOUR, zip_of(board)) for n, board in enumerate(boards)]
    told = runs(db)
    assert told == [(ran[n], NOW - (9 - n) * HOUR, "public", len(boards[n])) for n in (0, 1, 3, 4)]
    for n, (_, at, *_) in zip((0, 1, 3, 4), told, strict=True):
        names = "SELECT team_name FROM kaggle.leaderboard_as_of('a-board', %s)"
        assert [row[0] for row in db.execute(names, (at,)).fetchall()] == [row[2] for row in shown(boards[n])]


def test_a_private_board_counts_from_when_it_is_shown(compete: Compete, db: Connection) -> None:
    """It came before the end: until the end the public one is shown, then its last state."""
    syncs = compete(end_date=NOW - 2 * HOUR)
    first = syncs.sync_at(NOW - 8 * HOUR, zip_of(A))
    syncs.sync_at(NOW - 7 * HOUR, zip_of(B, kind="private"))
    last = syncs.sync_at(NOW - 6 * HOUR, zip_of(C, kind="private"))
    after = syncs.sync_at(NOW - HOUR, zip_of(D, kind="private"))
    assert runs(db) == [
        (first, NOW - 8 * HOUR, "public", 3),
        (last, NOW - 2 * HOUR, "private", 3),
        (after, NOW - HOUR, "private", 2),
    ]


def test_a_pruned_history_begins_with_what_held_there(compete: Compete, db: Connection) -> None:
    """What is pruned is no step; the board that held at the horizon counts from there."""
    syncs = compete()
    ran = [syncs.sync_at(NOW - (8 - 2 * n) * HOUR, zip_of(board)) for n, board in enumerate((A, B, C))]
    db.execute("SELECT kaggle.prune_history(interval '5 hours')")
    (horizon,) = db.execute("SELECT history_from FROM kaggle.boards").fetchone()
    assert runs(db) == [(ran[1], horizon, "public", 3), (ran[2], NOW - 4 * HOUR, "public", 3)]
    for _, at, *_ in runs(db):
        db.execute("SELECT * FROM kaggle.leaderboard_as_of('a-board', %s)", (at,))


def test_thinned_out_boards_are_no_steps(compete: Compete, db: Connection) -> None:
    """With a history_interval the last board of each interval is kept."""
    syncs = compete(history_interval=HOUR)
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    ran = [
        syncs.sync_at(begin + timedelta(minutes=minutes), zip_of(board))
        for minutes, board in ((0, A), (20, B), (40, C), (140, A))
    ]
    syncs.store.thin_history()
    assert [run for run, *_ in runs(db)] == ran[2:]


def test_a_competition_without_a_board_has_none(compete: Compete, db: Connection) -> None:
    """An unknown slug is refused, as everywhere."""
    compete()
    assert runs(db) == []
    with pytest.raises(psycopg.errors.NoDataFound):
        db.execute("SELECT * FROM kaggle.board_runs('another')")
