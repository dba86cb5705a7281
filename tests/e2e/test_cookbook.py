"""The SQL in docs/ is what happens: psql runs each page from top to bottom, a worker and the simulator beside it.

    REWRITE_DOCS=1 make test ARGS=tests/e2e/test_cookbook.py

writes what was printed into the pages.
"""

from __future__ import annotations

import io
import random
import zipfile
from datetime import timedelta
from pathlib import Path

from pgleaderboard.simulator.boards import zip_board
from tests.support.aliases import Connection, MakeWorker
from tests.support.asking import eventually, move_time, synced
from tests.support.boards import Entry, csv_of, read_csv
from tests.support.faults import Simulator, Zipped
from tests.support.kaggle import make_kaggle
from tests.support.pages import check, check_console, files
from tests.support.past import time_passes

BOARDS = ("titanic", "spaceship-titanic", "digit-recognizer")
STEPS_A_DAY = 20

# Every stored moment of which the page could tell, but for those of boards. Not when a sync is due: those would all be
# overdue.
MOMENTS = {
    "kaggle.events": ("start_date", "end_date", "dates_checked_at"),
    "kaggle.competitions": ("start_date", "end_date", "start_date_filled", "end_date_filled", "dates_checked_at"),
    "kaggle_internal.sync_state": ("last_attempt_at", "last_success_at"),
}


def a_worker_is_there(db: Connection) -> None:
    """Before it has registered, a page would be told that none is running."""
    eventually(db, 1, "SELECT count(*) FROM kaggle.workers")


def a_day_passes(db: Connection) -> None:
    """All that was stored is a day older."""
    for table, columns in MOMENTS.items():
        older = ", ".join(f"{column} = {column} - interval '1 day'" for column in columns)
        move_time(db, f"UPDATE {table} SET {older}")
    time_passes(db, timedelta(days=1))


def private_board(simulator: Simulator, slug: str) -> bytes:
    """The same teams on other data: each score a little off, always by the same."""
    archive = simulator.download(slug)
    assert archive is not None
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        public = read_csv(opened.read(opened.namelist()[0]))
    rng = random.Random(slug)

    def rescored(entry: Entry) -> Entry:
        assert entry.score is not None
        return entry.but(score=(entry.score * (100 - rng.randrange(16)) / 100).quantize(entry.score))

    return csv_of(sorted(map(rescored, public), key=lambda entry: -(entry.score or 0)))


def boards_of(page: str, folder: Path) -> Simulator:
    """Kaggle with the boards that stand on a page."""
    boards = folder / "boards"
    boards.mkdir()
    for name, content in files(page).items():
        (boards / name).with_suffix(".zip").write_bytes(zip_board(content.encode("utf-8-sig"), name))
    return Simulator(boards_dir=boards)


def test_the_cookbook_prints_what_it_shows(
    url: str, db: Connection, worker: MakeWorker, simulator: Simulator, tmp_path: Path
) -> None:
    """A story of a week, told from top to bottom."""

    def a_week_passes() -> None:
        for _ in range(6):
            a_day_passes(db)
            simulator.advance(STEPS_A_DAY)
            for slug in BOARDS:
                db.execute("SELECT kaggle.sync_now(%s)", (slug,))
                assert synced(db, slug) == ("manual", "changed")
        a_day_passes(db)
        simulator.advance(STEPS_A_DAY)
        for slug in BOARDS[:2]:
            db.execute("SELECT kaggle.sync_now(%s)", (slug,))
            assert synced(db, slug) == ("manual", "changed")

    def the_private_board_comes() -> None:
        simulator.faults.put(
            "digit-recognizer",
            Zipped(private_board(simulator, "digit-recognizer"), "digit-recognizer-privateleaderboard.csv"),
            method="DownloadLeaderboard",
        )

    with worker():
        a_worker_is_there(db)
        check(
            "cookbook.md",
            url,
            tmp_path,
            {"a week passes": a_week_passes, "the private board comes": the_private_board_comes},
        )


def test_the_standing_is_what_its_rules_give(url: str, db: Connection, worker: MakeWorker, tmp_path: Path) -> None:
    """The example of docs/standings.md, computed by hand there."""
    with boards_of("standings.md", tmp_path) as simulator, worker(kaggle=make_kaggle(simulator.url)):
        a_worker_is_there(db)
        check("standings.md", url, tmp_path)


def test_an_event_runs_as_its_page_says(url: str, db: Connection, worker: MakeWorker, tmp_path: Path) -> None:
    """docs/running-an-event.md, command by command, from the first link to the ceremony."""
    with worker():
        a_worker_is_there(db)
        check_console("running-an-event.md", url, tmp_path)


def test_points_and_ratings_are_what_their_rules_give(
    url: str, db: Connection, worker: MakeWorker, tmp_path: Path
) -> None:
    """The example of docs/ratings.md, computed by hand there."""
    with boards_of("ratings.md", tmp_path) as simulator, worker(kaggle=make_kaggle(simulator.url)):
        a_worker_is_there(db)
        check("ratings.md", url, tmp_path)
