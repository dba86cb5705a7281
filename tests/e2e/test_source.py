"""Boards of Kaggle and those of the simulator never meet in one database."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import pytest

from tests.support.aliases import Connection, MakeWorker
from tests.support.asking import OTHER, PATIENCE, SLUG, eventually, insert, rows, status, sweep_soon, synced, value
from tests.support.boards import csv_of, teams, zip_of
from tests.support.faults import Page, Simulator
from tests.support.syncs import Syncs

Run = Callable[..., subprocess.CompletedProcess[str]]
SOURCE = "SELECT source FROM kaggle.board_source"
DESCRIBING = "SELECT count(*) FROM procrastinate.procrastinate_jobs WHERE task_name = 'describe'"


REAL = {"X-Simulated-Kaggle": None}  # without the simulator's header: any other server is Kaggle


def of_kaggle(simulator: Simulator, slug: str) -> None:
    """A board of Kaggle's."""
    archive = zip_of(csv_of(teams(1, 2)), slug=slug)
    simulator.faults.put(slug, Page(archive, "application/zip", headers=REAL), method="DownloadLeaderboard")


def test_the_simulator_is_refused_where_boards_are_real(
    db: Connection, run: Run, worker: MakeWorker, simulator: Simulator
) -> None:
    """In one line that says how to start over; nothing is overwritten, and the real one is synced on."""
    of_kaggle(simulator, SLUG)
    with worker():
        insert(db)
        assert synced(db) == ("inserted", "changed")
        assert rows(db, SOURCE) == [("Kaggle",)]
        before = rows(db, "SELECT * FROM kaggle.leaderboard_entries ORDER BY team_id")
        insert(db, OTHER)
        assert synced(db, OTHER) == ("inserted", "failed")
        assert status(db, "problem", OTHER) == (
            "this database holds boards of Kaggle, and those of the simulator are invented: "
            "use another database, or start over: DELETE FROM kaggle.competitions;"
        )
        db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
        assert synced(db)[1] == "failed"
        assert rows(db, "SELECT * FROM kaggle.leaderboard_entries ORDER BY team_id") == before
        of_kaggle(simulator, SLUG)
        db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
        assert synced(db)[1] == "unchanged"
        assert "SIMULATED" not in run("status").stdout
        assert "boards      they come from Kaggle" in run("doctor").stdout


def test_kaggle_is_refused_where_boards_are_invented_until_there_are_none(
    db: Connection, run: Run, worker: MakeWorker, simulator: Simulator
) -> None:
    """status and doctor show where they come from; whoever starts over has the other source."""
    with worker():
        insert(db)
        assert synced(db) == ("inserted", "changed")
        assert "SIMULATED boards" in run("status").stdout
        assert "they come from the simulator, which invents them" in run("doctor").stdout
        of_kaggle(simulator, OTHER)
        insert(db, OTHER)
        assert synced(db, OTHER)[1] == "failed"
        assert (status(db, "problem", OTHER) or "").startswith("this database holds boards of the simulator")
        db.execute("DELETE FROM kaggle.competitions")
        eventually(db, 0, "SELECT count(*) FROM kaggle.boards WHERE competition_id IS NOT NULL")
        sweep_soon(db)
        assert rows(db, SOURCE) == []
        of_kaggle(simulator, OTHER)
        insert(db, OTHER)
        assert synced(db, OTHER) == ("inserted", "changed")
        assert rows(db, SOURCE) == [("Kaggle",)]


@pytest.mark.parametrize("is_real", [True, False])
def test_a_title_of_the_other_source_is_refused(
    db: Connection, worker: MakeWorker, simulator: Simulator, caplog: pytest.LogCaptureFixture, is_real: bool
) -> None:
    """Neither title nor dates are written where the boards come from elsewhere."""

    def told(title: str, *, by_kaggle: bool) -> None:
        page = Page(json.dumps({"id": 1, "ref": SLUG, "title": title, "deadline": "2099-01-01T00:00:00Z"}),
                    "application/json", headers=REAL if by_kaggle else {})  # fmt: skip
        eventually(db, 0, DESCRIBING)
        simulator.faults.put(SLUG, page, method="GetCompetition")
        db.execute("UPDATE kaggle_internal.sync_state SET describe_at = now()")
        db.execute("SELECT kaggle_internal.queue_job('describe', competition_id, 20) FROM kaggle_internal.sync_state")
        assert page.arrived.wait(PATIENCE)
        eventually(db, 0, DESCRIBING)

    with worker():
        if is_real:
            of_kaggle(simulator, SLUG)
        insert(db, description="mine", evaluation_metric="mine", end_date="2098-01-01")
        assert synced(db) == ("inserted", "changed")
        told("of the boards' source", by_kaggle=is_real)
        told("of the other", by_kaggle=not is_real)
        assert rows(db, "SELECT title FROM kaggle.competitions") == [("of the boards' source",)]
        source = "Kaggle" if is_real else "simulator"
        assert rows(db, SOURCE) == [(source,)]
        assert (
            f"metadata could not be read: this database holds boards of {'Kaggle' if is_real else 'the simulator'}"
            in (caplog.text)
        )


def test_what_kaggle_says_marks_nothing(db: Connection, syncs: Syncs) -> None:
    """Boards tell where they come from; a description only must not contradict them."""
    db.execute("SELECT kaggle_internal.check_source(true, false)")
    assert rows(db, "SELECT * FROM kaggle_internal.marked_source") == []
    db.execute("SELECT kaggle_internal.check_source(false)")
    db.execute("SELECT kaggle_internal.check_source(true, false)")  # there is no board yet
    assert rows(db, "SELECT is_simulated FROM kaggle_internal.marked_source") == [(False,)]


@pytest.mark.parametrize("first", [False, True])
def test_two_first_syncs_of_different_sources(
    db: Connection, connect: Callable[[], Connection], syncs: Syncs, first: bool
) -> None:
    """The one that is written first decides; the other waits for it, and is refused once there is a board."""
    session, other = connect(), connect()
    session.execute("SELECT kaggle_internal.check_source(%s)", (first,))
    db.execute("INSERT INTO kaggle.boards (competition_id, slug, kind) VALUES (%s, 'a-board', 'public')",
               (syncs.competition,))  # fmt: skip
    other.execute("SET lock_timeout = '100ms'")
    with pytest.raises(Exception, match="lock timeout"):
        other.execute("SELECT kaggle_internal.check_source(%s)", (not first,))
    other.rollback()
    session.commit()
    with pytest.raises(Exception, match="this database holds boards of"):
        other.execute("SELECT kaggle_internal.check_source(%s)", (not first,))
    other.rollback()
    assert value(db, "SELECT is_simulated FROM kaggle_internal.marked_source") == first


def test_backfill_says_nothing_of_the_source(db: Connection, run: Run, syncs: Syncs, tmp_path: object) -> None:
    """A file may be of either."""
    file = f"{tmp_path}/a-board-publicleaderboard-2026-01-01T00_00_00.zip"
    with open(file, "wb") as out:
        out.write(zip_of(teams(1)))
    assert run("backfill", "a-board", file).returncode == 0
    assert rows(db, SOURCE) == []
