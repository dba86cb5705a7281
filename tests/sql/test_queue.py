"""The door to the queue: what is urgent, and which job it finds."""

from __future__ import annotations

from tests.support.aliases import Connection
from tests.support.asking import rows
from tests.support.hands import Hands


def test_what_is_asked_for_by_hand_comes_first(db: Connection, hands: Hands) -> None:
    """A competition whose job waits overtakes those before it, and only that one does."""
    for slug in ("one", "two", "three"):
        db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES (%s)", (slug,))
    db.execute("SELECT kaggle.sync_now('two')")
    db.execute("SELECT kaggle.sync_now('three'), kaggle.sync_now('three')")
    order = [slug for _, slug in _begun(hands)]
    assert order == ["two", "three", "one"]


def test_what_is_less_urgent_lowers_nothing(db: Connection, hands: Hands) -> None:
    """An edit after a request by hand leaves it ahead."""
    for slug in ("one", "two"):
        db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES (%s)", (slug,))
    db.execute("SELECT kaggle.sync_now('two')")
    db.execute("UPDATE kaggle.competitions SET auto_sync = false WHERE kaggle_competition_id = 'two'")
    db.execute("UPDATE kaggle.competitions SET auto_sync = true WHERE kaggle_competition_id = 'two'")
    assert [slug for _, slug in _begun(hands)] == ["two", "one"]


def test_each_competition_has_one_job_of_a_kind(db: Connection) -> None:
    """However often it is asked for; a job of another competition or of another kind is none of its own."""
    for slug in ("one", "two"):
        db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES (%s)", (slug,))
    one, two = (only for (only,) in rows(db, "SELECT id FROM kaggle.competitions ORDER BY id"))
    db.execute("SELECT kaggle_internal.queue_job('describe', %s, 0)", (two,))
    db.execute("SELECT kaggle_internal.queue_job('describe', %s, 0)", (two,))
    db.execute("SELECT kaggle_internal.queue_job('sweep', NULL, 5)")
    db.execute("SELECT kaggle_internal.queue_job('sweep', NULL, 5)")
    db.execute("SELECT kaggle.sync_now('two')")
    assert rows(
        db,
        "SELECT task_name, (args ->> 'competition_id')::bigint FROM procrastinate.procrastinate_jobs ORDER BY 1, 2",
    ) == [("describe", two), ("sweep", None), ("sync", one), ("sync", two)]


def _begun(hands: Hands) -> list[tuple[int, str]]:
    hands.work_off()
    return hands.begun
