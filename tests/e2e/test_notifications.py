"""How others are told of a sync: the channel, and a trigger of their own. See docs/notifications.md."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from pgleaderboard.database import migrate
from tests.support.aliases import Connection, MakeWorker
from tests.support.asking import SLUG, eventually, heard, insert, rows, runs, status, synced, value
from tests.support.boards import Entry, teams, zip_of
from tests.support.pages import DOCS
from tests.support.syncs import Syncs

RAISES = "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not today'; END $$"


@pytest.fixture
def listener(url: str) -> Any:
    """A connection that listens."""
    with Connection.connect(url, autocommit=True) as connection:
        connection.execute("LISTEN kaggle_leaderboard")
        yield connection


def test_there_is_one_notification_a_sync_that_changed_a_board(syncs: Syncs, listener: Connection) -> None:
    """With the numbers of its run; an unchanged board, other bytes of the same board, and a failure say nothing."""
    syncs.sync(zip_of(teams(1, 2, 3)))
    syncs.sync(zip_of(teams(1, 2, 3)))
    syncs.sync(zip_of(teams(1, 2, 3), line_end="\r\n"))
    syncs.db.execute("SELECT kaggle_internal.fail_run(%s, 1, 'nothing came', 'person', '1 h')", (syncs.begin().run_id,))
    syncs.sync(zip_of([*teams(3, 1, 4)]))
    ids = [run for (run,) in rows(syncs.db, "SELECT id FROM kaggle.sync_runs WHERE outcome = 'changed' ORDER BY id")]
    same = {"competition_id": syncs.competition, "kaggle_competition_id": "a-board", "teams": 3, "updated": 0}
    assert [json.loads(payload) for payload in heard(listener)] == [
        same | {"run_id": ids[0], "added": 3, "removed": 0, "moved": 0},
        same | {"run_id": ids[1], "added": 1, "removed": 1, "moved": 1},
    ]


def test_the_notification_stays_small(compete: Callable[..., Syncs], listener: Connection) -> None:
    """Whatever the teams are called, with the longest slug and the largest numbers there can be."""
    syncs = compete("x" * 200)
    syncs.db.execute("SELECT setval('kaggle_internal.run_ids', 9223372036854775000)")
    syncs.sync(zip_of([Entry(team, "\N{CRAB}" * 5000, members=("m" * 5000,)) for team in range(50)]))
    (payload,) = heard(listener)
    # The other numbers could grow to 19 digits.
    assert len(payload.encode()) + 7 * 19 < 1000
    assert len(json.loads(payload)) == 8


def recipe() -> str:
    """The SQL of the page."""
    (block,) = re.findall(r"```sql\n(.*?)```", (DOCS / "notifications.md").read_text(), re.DOTALL)
    return str(block)


def test_a_trigger_of_ones_own_notes_what_changed(url: str, db: Connection, syncs: Syncs) -> None:
    """The page's: each changed run once, in the board's transaction; what it cannot do does not stop the sync."""
    db.execute(recipe())
    for board in (teams(1, 2), teams(1, 2), teams(2, 1)):
        syncs.sync(zip_of(board))
    changed = rows(db, "SELECT id, moved FROM kaggle.sync_runs WHERE outcome = 'changed' ORDER BY id")
    assert rows(db, "SELECT run_id, moved FROM public.news WHERE slug = 'a-board' ORDER BY run_id") == changed
    assert len(changed) == 2
    db.execute("ALTER TABLE public.news ADD CONSTRAINT is_full CHECK (false) NOT VALID")
    syncs.sync(zip_of(teams(1)))
    assert syncs.run()[:2] == ("changed", 1)
    assert value(db, "SELECT count(*) FROM public.news") == 2
    migrate.migrate(url)
    assert value(db, "SELECT count(*) FROM pg_trigger WHERE tgname = 'note_run'") == 1


def test_such_a_trigger_sees_what_the_sync_changed(db: Connection, syncs: Syncs) -> None:
    """kaggle.changes answers within it."""
    db.execute(
        "CREATE TABLE public.seen (what text); "
        "CREATE FUNCTION public.see() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN "
        "INSERT INTO public.seen SELECT c.what FROM kaggle.changes(NEW.id) c; RETURN NULL; END $$; "
        "CREATE TRIGGER see AFTER INSERT ON kaggle.sync_runs FOR EACH ROW EXECUTE FUNCTION public.see()"
    )
    syncs.sync(zip_of(teams(1, 2)))
    syncs.sync(zip_of(teams(2)))
    assert rows(db, "SELECT what FROM public.seen") == [("added",), ("added",), ("removed",)]


def test_a_trigger_that_raises_stops_the_board_and_sync_status_says_so(db: Connection, worker: MakeWorker) -> None:
    """With WHEN (outcome = 'changed') the failed run is recorded; without the trigger all is well at the next try."""
    db.execute(RAISES)
    db.execute(
        "CREATE TRIGGER refuse AFTER INSERT ON kaggle.sync_runs FOR EACH ROW WHEN (NEW.outcome = 'changed') "
        "EXECUTE FUNCTION public.refuse()"
    )
    with worker():
        insert(db)
        assert synced(db) == ("inserted", "failed")
        assert status(db, "sync_state") == "failing"
        assert (
            status(db, "problem")
            == "the database refused: not today (PL/pgSQL function public.refuse() line 1 at RAISE)"
        )
        assert value(db, "SELECT count(*) FROM kaggle.leaderboard") == 0
        db.execute("DROP TRIGGER refuse ON kaggle.sync_runs")
        db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
        assert synced(db) == ("manual", "changed")


def test_one_that_refuses_every_run_shows_too(
    db: Connection, worker: MakeWorker, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even a failed run can be recorded; sync_status says it all the same, and the sync is tried again."""
    db.execute(RAISES)
    db.execute("CREATE TRIGGER refuse AFTER INSERT ON kaggle.sync_runs FOR EACH ROW EXECUTE FUNCTION public.refuse()")
    with worker():
        insert(db)
        eventually(db, True, "SELECT coalesce(bool_or(retry_at IS NOT NULL), false) FROM kaggle_internal.sync_state")
        assert runs(db) == []
        assert (status(db, "sync_state"), status(db, "consecutive_failures"), status(db, "teams")) == (
            "failing",
            1,
            None,
        )
        assert status(db, "problem") == "the sync could not end: the database refused: not today"
        assert "not today" in caplog.text
