"""The past over real servers: two real boards against a naive comparison of their files; private after public."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.aliases import Connection, MakeWorker
from tests.support.boards import BOARDS, COLUMNS, Board, Entry, read_zip, shown, teams, zip_of
from tests.support.faults import Simulator
from tests.support.kaggle import make_kaggle

SLUG = "orbit-wars"
FILES = (
    "orbit-wars-publicleaderboard-2026-05-05T15_36_33.zip",
    "orbit-wars-publicleaderboard-2026-06-07T06_21_22.zip",
)


@pytest.fixture
def serve(worker: MakeWorker) -> Callable[..., Any]:
    """Makes a Kaggle that serves a folder, and a worker that asks it."""

    @contextmanager
    def make(folder: Path, *, replay: bool) -> Iterator[None]:
        with Simulator(boards_dir=folder, replay=replay) as kaggle_side:
            kaggle = make_kaggle(kaggle_side.url)
            with worker(kaggle=kaggle):
                yield
            for line in kaggle._idle:
                line.close()

    return make


def synced(db: Connection, slug: str) -> tuple[int, datetime]:
    """Sync once by hand; the run and its moment."""
    db.execute("SELECT kaggle.sync_now(%s)", (slug,))
    row = db.execute("SELECT outcome, id, observed_at FROM kaggle.wait_for_sync(%s)", (slug,)).fetchone()
    assert row is not None
    assert row[0] == "changed"
    return int(row[1]), row[2]


def ranked(board: Board) -> dict[int, Any]:
    """The rows of the ranked teams by team."""
    return {row[1]: row for row in shown(board) if row[0] is not None}


def test_the_past_of_two_real_boards(db: Connection, serve: Callable[..., Any], tmp_path: Path) -> None:
    """Who is gone, new, climbed, fell, is renamed or has other members: as a naive comparison of the CSVs has it."""
    for name in FILES:
        if not (BOARDS / name).is_file():
            pytest.skip(f"the real board {name} is not here: {BOARDS}")
        shutil.copy(BOARDS / name, tmp_path)
    boards: list[list[Entry]] = [read_zip(BOARDS / name) for name in FILES]
    then, now = map(ranked, boards)
    stayed = then.keys() & now.keys()
    with serve(tmp_path, replay=True):
        db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id, auto_sync) VALUES (%s, false)", (SLUG,))
        synced_at = [synced(db, SLUG) for _ in boards]

    expected = Counter(
        gone=len(then.keys() - now.keys()),
        new=len(now.keys() - then.keys()),
        climbed=sum(now[team][0] < then[team][0] for team in stayed),
        fell=sum(now[team][0] > then[team][0] for team in stayed),
    )
    rows = db.execute(
        "SELECT team_id, rank_then, rank_now, places_climbed, score_then::text, score_now::text, what "
        "FROM kaggle.movers(%s, %s)",
        (SLUG, synced_at[0][1]),
    ).fetchall()
    assert Counter(row[6] for row in rows) == expected
    for team, rank_then, rank_now, climbed, score_then, score_now, _ in rows:
        assert (rank_then, score_then) == ((then[team][0], then[team][3]) if team in then else (None, None))
        assert (rank_now, score_now) == ((now[team][0], now[team][3]) if team in now else (None, None))
        assert climbed == (rank_then - rank_now if rank_then and rank_now else None)

    changes = db.execute(
        "SELECT team_id, what, team_name, team_name_before, member_usernames_before, member_usernames_after, "
        "score_before, score_after, rank_before, rank_after FROM kaggle.changes(%s)",
        (synced_at[1][0],),
    ).fetchall()
    what = Counter(row[1] for row in changes if row[0] in then or row[0] in now)
    assert (what["removed"], what["added"]) == (expected["gone"], expected["new"])
    both = [row for row in changes if row[0] in stayed]
    assert {row[0] for row in both if row[2] != row[3]} == {team for team in stayed if then[team][2] != now[team][2]}
    assert {row[0] for row in both if row[4] != row[5]} == {team for team in stayed if then[team][6] != now[team][6]}
    assert sum(row[7] < row[6] for row in both) == sum(float(now[t][3]) < float(then[t][3]) for t in stayed)
    facts = [{row[1]: row[1:] for row in shown(board)} for board in boards]
    assert {row[0] for row in changes if "updated" in row[1]} == {
        team for team in facts[0].keys() & facts[1].keys() if facts[0][team] != facts[1][team]
    }

    # Teams that were merged or renamed stand under their name of then.
    for (_, at), board in zip(synced_at, boards, strict=True):
        rows = db.execute(f"SELECT {COLUMNS} FROM kaggle.leaderboard_as_of(%s, %s)", (SLUG, at)).fetchall()
        assert (rows == shown(board)) is True


def test_shakeup_when_the_private_board_has_come(db: Connection, serve: Callable[..., Any], tmp_path: Path) -> None:
    """Each team's last public and its private rank; nothing before; the public past can still be asked for."""
    public, later = teams(1, 2, 3, 4), teams(2, 1, 3, 4)
    later.insert(0, Entry(90, "a benchmark", is_benchmark=True))
    private = [Entry(5, "late"), *teams(4, 2, 1)]
    slug = "a-board"
    moments = []
    with serve(tmp_path, replay=False):
        db.execute(
            "INSERT INTO kaggle.competitions (kaggle_competition_id, auto_sync, end_date) VALUES (%s, false, now())",
            (slug,),
        )
        for day, board, kind in ((1, public, "public"), (2, later, "public"), (3, private, "private")):
            (tmp_path / f"{slug}-{kind}leaderboard-2026-05-0{day}T00_00_00.zip").write_bytes(zip_of(board, kind=kind))
            moments.append(synced(db, slug)[1])
            shaken = db.execute("SELECT * FROM kaggle.shakeup(%s)", (slug,)).fetchall()
            assert (shaken == []) is (kind == "public")
    assert [(row[0], *row[2:5]) for row in shaken] == [
        (5, None, 1, None),
        (4, 4, 2, 2),
        (2, 1, 3, -2),
        (1, 2, 4, -2),
        (3, 3, None, None),
    ]
    for at, board in zip(moments, (public, later, private), strict=True):
        rows = db.execute(f"SELECT {COLUMNS} FROM kaggle.leaderboard_as_of(%s, %s)", (slug, at)).fetchall()
        assert rows == shown(board)
    assert db.execute("SELECT at, rank FROM kaggle.rank_history(%s, 2)", (slug,)).fetchall() == [
        (moments[0], 2),
        (moments[1], 1),
        (moments[2], 3),
    ]
