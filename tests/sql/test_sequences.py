"""Sequences that lie behind their tables, as after an upgrade by logical replication."""

from __future__ import annotations

import psycopg
import pytest

from pgleaderboard.database import migrate
from pgleaderboard.doctor import schema
from tests.support.aliases import Connection, MakeWorker
from tests.support.asking import insert, rows, synced, value
from tests.support.databases import copy_of

SEQUENCES = (
    "kaggle_internal.run_ids",
    "kaggle_internal.link_revisions",
    "kaggle.events_id_seq",
    "kaggle.competitions_id_seq",
    "kaggle.boards_id_seq",
    "kaggle_internal.boards_at_freeze_id_seq",
    "kaggle_internal.sync_requests_id_seq",
    "kaggle_internal.worker_processes_id_seq",
    "procrastinate.procrastinate_jobs_id_seq",
    "procrastinate.procrastinate_workers_id_seq",
    "procrastinate.procrastinate_events_id_seq",
    "procrastinate.procrastinate_periodic_defers_id_seq",
)
FOLLOWING = [
    name
    for name in SEQUENCES
    if name.endswith(("_ids", "_revisions", "boards_id_seq", "_requests_id_seq", "_processes_id_seq"))
]
BEHIND = "SELECT sequence::text, last_value, highest FROM kaggle_internal.sequences_behind() ORDER BY 1"


def test_every_sequence_is_looked_at(db: Connection) -> None:
    """Those of both schemas; a new one must be added to kaggle_internal.sequences_behind."""
    there = rows(
        db,
        "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'S' "
        "AND relnamespace::regnamespace::text ~ '^(kaggle|procrastinate)'",
    )
    assert {name for (name,) in there} == set(SEQUENCES)
    body = value(db, "SELECT prosrc FROM pg_proc WHERE proname = 'sequences_behind'")
    for name in SEQUENCES:
        table = name.removesuffix("_id_seq")
        assert f"'{table}'" in body


def test_what_is_behind_is_named_and_mended(db: Connection, url: str, worker: MakeWorker) -> None:
    """Before, an INSERT fails and a sync ends in a duplicate key; doctor names them, and migrate --again mends them."""
    db.execute("INSERT INTO kaggle.events (slug, title) VALUES ('night', 'Night')")
    with worker():
        for n in (1, 2, 3):
            insert(db, f"simulated-{n}-teams")
            synced(db, f"simulated-{n}-teams")
    assert rows(db, BEHIND) == []
    for name in SEQUENCES:
        db.execute(f"ALTER SEQUENCE {name} RESTART")
    highest = {name: highest for name, _, highest in rows(db, BEHIND)}
    behind = set(highest)
    for name in behind - {"kaggle_internal.run_ids", "kaggle_internal.link_revisions"}:
        assert highest[name] == value(db, f"SELECT max(id) FROM {name.removesuffix('_id_seq')}")
    assert highest["kaggle_internal.run_ids"] == value(db, "SELECT max(id) FROM kaggle.sync_runs")
    assert highest["kaggle_internal.link_revisions"] == value(db, "SELECT max(link_revision) FROM kaggle.competitions")
    assert {
        "kaggle_internal.run_ids",
        "kaggle_internal.link_revisions",
        "kaggle.competitions_id_seq",
        "kaggle.boards_id_seq",
    } <= behind
    with pytest.raises(psycopg.errors.UniqueViolation):
        insert(db, "simulated-4-teams")
    db.execute("ALTER SEQUENCE kaggle.competitions_id_seq RESTART")
    found = list(schema.sequences(db))
    assert {finding.message.split(" ")[0] for finding in found} == behind
    assert {finding.level for finding in found} == {"problem"}
    assert {finding.remedy for finding in found} == {"run pgleaderboard migrate --again, which sets it forward"}

    assert migrate.migrate(url, again=True)

    assert rows(db, BEHIND) == []
    assert [finding.level for finding in schema.sequences(db)] == ["ok"]
    with worker():
        insert(db, "simulated-4-teams")
        assert synced(db, "simulated-4-teams") == ("inserted", "changed")
        db.execute("SELECT kaggle.sync_now('simulated-1-teams')")
        assert synced(db, "simulated-1-teams") == ("manual", "unchanged")


def test_two_servers_promoted_in_a_row_give_other_numbers(server_url: str, template: str) -> None:
    """Neither knows of the other, so both have the same timeline: one is lost, and clients have seen its numbers."""
    numbers = []
    for _ in range(2):
        with copy_of(template, server_url) as promoted, Connection.connect(promoted, autocommit=True) as db:
            db.execute("INSERT INTO kaggle_internal.known_timeline (timeline) VALUES ('before')")
            assert value(db, "SELECT kaggle_internal.follow_timeline()")
            numbers.append([value(db, "SELECT nextval(%s)", sequence) for sequence in FOLLOWING])
    assert all(1_000_000 < number <= 2_000_002 for each in numbers for number in each)
    assert not set(numbers[0]) & set(numbers[1])
