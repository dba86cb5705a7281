"""An attempt whose competition was taken over, linked elsewhere or deleted meanwhile writes nothing."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta

import pytest

from pgleaderboard.sync import board
from pgleaderboard.sync.retry import Decision
from pgleaderboard.sync.store import Applied
from tests.support.boards import shown, teams, zip_of
from tests.support.syncs import LIMIT, WORKER, Syncs


@pytest.mark.parametrize("archive", [zip_of(teams(1, 2, 3)), zip_of(teams(3, 4))], ids=["same bytes", "other bytes"])
def test_an_attempt_that_was_taken_over_writes_nothing(syncs: Syncs, archive: bytes) -> None:
    """After another attempt began in its place, an older one can neither apply nor confirm nor fail."""
    syncs.sync(zip_of(teams(1, 2, 3)))
    lost = syncs.begin()
    syncs.db.execute("SELECT kaggle_internal.abandon_runs(%s)", (WORKER,))
    newer = syncs.again()
    assert newer.action == "sync"
    before = syncs.versions(), syncs.scalar("SELECT to_json(b)::text FROM kaggle.boards b")
    state = syncs.scalar("SELECT to_json(s)::text FROM kaggle_internal.sync_state s")

    assert syncs.end(lost.run_id, archive).outcome is None
    file = io.BytesIO(archive)
    read = board.read_zip(file, LIMIT)
    assert syncs.store.confirm(lost.run_id, read) in (None, "superseded")
    assert syncs.store.apply(lost.run_id, read, lambda: board.zip_chunks(file, LIMIT)) == Applied(None)
    decision = Decision("transient", "too late", timedelta(seconds=1))
    assert syncs.store.fail(lost.run_id, decision) == "superseded"

    assert (syncs.versions(), syncs.scalar("SELECT to_json(b)::text FROM kaggle.boards b")) == before
    assert syncs.scalar("SELECT to_json(s)::text FROM kaggle_internal.sync_state s") == state
    assert syncs.scalar("SELECT count(*) FROM kaggle.sync_runs WHERE id = %s", lost.run_id) == 0
    assert syncs.end(newer.run_id, zip_of(teams(9))).outcome == "changed"
    assert syncs.leaderboard() == shown(teams(9))


def _link(syncs: Syncs, *slugs: str) -> None:
    for slug in slugs:
        syncs.db.execute(
            "UPDATE kaggle.competitions SET kaggle_competition_id = %s WHERE id = %s", (slug, syncs.competition)
        )


@pytest.mark.parametrize("by_itself", [True, False], ids=["by itself", "by hand"])
@pytest.mark.parametrize("archive", [zip_of(teams(1, 2)), zip_of(teams(2))], ids=["same bytes", "other bytes"])
@pytest.mark.parametrize("slugs", [("b-board",), ("b-board", "a-board")], ids=["A to B", "A to B to A"])
def test_linked_elsewhere_during_the_fetch(
    compete: Callable[..., Syncs], slugs: tuple[str, ...], archive: bytes, by_itself: bool
) -> None:
    """A download begun under another link is discarded, even if the link is the old one again; another sync follows."""
    syncs = compete(auto_sync=by_itself)
    syncs.sync(zip_of(teams(1, 2)))
    begun = syncs.begin()
    _link(syncs, *slugs)
    syncs.db.execute("TRUNCATE procrastinate.procrastinate_jobs CASCADE")  # those of the edits
    before = syncs.versions()

    assert syncs.end(begun.run_id, archive).outcome == "skipped"

    assert syncs.run()[0] == "skipped"
    assert syncs.versions() == before
    assert syncs.jobs() == 1
    again = syncs.again()
    assert (again.action, again.slug) == ("sync", slugs[-1])
    assert syncs.end(again.run_id, zip_of(teams(7))).outcome == "changed"
    assert syncs.leaderboard() == shown(teams(7))


def test_linked_during_the_fetch_to_a_board_without_room(syncs: Syncs) -> None:
    """A download of the former link ends as skipped even where it would find no room on the new link's board."""
    _link(syncs, "b-board")
    syncs.sync(zip_of(teams(1, 2, 3)))
    syncs.db.execute("UPDATE kaggle.leaderboard_entries SET order_key = order_key >> 40")
    _link(syncs, "a-board")
    begun = syncs.begin()
    _link(syncs, "b-board")
    before = syncs.versions()
    file = io.BytesIO(zip_of(teams(1, 4, 2, 3)))
    read = board.read_zip(file, LIMIT)

    assert syncs.store.apply(begun.run_id, read, lambda: board.zip_chunks(file, LIMIT)).outcome == "skipped"

    assert syncs.versions() == before
    assert syncs.leaderboard() == shown(teams(1, 2, 3))


@pytest.mark.parametrize("archive", [zip_of(teams(1, 2)), zip_of(teams(2))], ids=["same bytes", "other bytes"])
def test_deleted_during_the_fetch(syncs: Syncs, archive: bytes) -> None:
    """A download for a competition that is gone is discarded, and what hung on it is removed after."""
    syncs.sync(zip_of(teams(1, 2)))
    begun = syncs.begin()
    before = syncs.versions()
    syncs.db.execute("DELETE FROM kaggle.competitions WHERE id = %s", (syncs.competition,))
    syncs.db.execute("TRUNCATE procrastinate.procrastinate_jobs CASCADE")  # that of the deletion

    assert syncs.end(begun.run_id, archive).outcome == "skipped"

    assert syncs.versions() == before
    assert syncs.jobs() == 1
    assert syncs.again().action == "remove"
    syncs.store.remove_deleted(syncs.competition)
    syncs.store.remove_detached()
    for table in (
        "kaggle.boards",
        "kaggle.leaderboard_entries",
        "kaggle_internal.packs",
        "kaggle_internal.past_names",
        "kaggle.sync_runs",
        "kaggle_internal.sync_state",
        "kaggle_internal.sync_requests",
    ):
        assert syncs.scalar(f"SELECT count(*) FROM {table}") == 0
