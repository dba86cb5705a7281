"""What any client of the database asks and waits for, a worker running beside it."""

from __future__ import annotations

import time
from typing import Any

import psycopg

from tests.support.aliases import Connection

SLUG = "simulated-1-teams"
OTHER = "simulated-2-teams"
BYSTANDER = "simulated-3-teams"
PATIENCE = 30.0


def rows(db: Connection, query: str, *values: Any) -> list[tuple[Any, ...]]:
    """All rows of a query."""
    return db.execute(query, values).fetchall()


def value(db: Connection, query: str, *values: Any) -> Any:
    """The one value of a query."""
    ((only,),) = rows(db, query, *values)
    return only


def heard(listener: Connection) -> list[str]:
    """Payloads of the notifications that were committed before this and not heard before. Nothing is waited for.

    A server process sends what it was notified of before it says that it is ready for another query.
    """
    notifications: list[psycopg.Notify] = []
    listener.add_notify_handler(notifications.append)
    listener.execute("SELECT 1")
    listener.remove_notify_handler(notifications.append)
    return [each.payload for each in notifications]


def eventually(db: Connection, expected: Any, query: str, *values: Any) -> None:
    """Wait until a query's one value is the expected one."""
    until = time.monotonic() + PATIENCE
    while (actual := value(db, query, *values)) != expected and time.monotonic() < until:
        time.sleep(0.02)
    assert expected == actual


def synced(db: Connection, slug: str = SLUG) -> tuple[str, str]:
    """Wait for what was asked. Returns the run's reason and outcome."""
    ((reason, outcome),) = rows(db, "SELECT reason, outcome FROM kaggle.wait_for_sync(%s, '30 s')", slug)
    return reason, outcome


def runs(db: Connection, slug: str = SLUG) -> list[tuple[str, str]]:
    """Reason and outcome of every attempt."""
    return rows(
        db,
        "SELECT reason, outcome FROM kaggle.sync_runs r JOIN kaggle.competitions c ON c.id = r.competition_id "
        "WHERE c.kaggle_competition_id = %s ORDER BY r.id",
        slug,
    )


def status(db: Connection, column: str, slug: str = SLUG) -> Any:
    """A column of kaggle.sync_status."""
    return value(db, f"SELECT {column} FROM kaggle.sync_status WHERE kaggle_competition_id = %s", slug)


def insert(db: Connection, slug: str | None = SLUG, **columns: Any) -> int:
    """Insert a competition, as any client would. Returns its id."""
    given = {"kaggle_competition_id": slug} | columns
    found: int = value(
        db,
        f"INSERT INTO kaggle.competitions ({', '.join(given)}) VALUES ({', '.join(['%s'] * len(given))}) RETURNING id",
        *given.values(),
    )
    return found


def move_time(db: Connection, statement: str, *values: Any) -> None:
    """Change stored times as the passing of time would: without a trigger."""
    with db.transaction():
        db.execute("SET LOCAL session_replication_role = replica")
        db.execute(statement, values)


def sweep_soon(db: Connection) -> None:
    """Have the worker sweep now rather than in a few seconds."""
    db.execute("SELECT kaggle_internal.queue_job('sweep', NULL, 20)")


def assert_nothing_is_wanted(db: Connection, competition_id: int, before: int = 0) -> None:
    """The worker has since synced another competition, and there was and is nothing to do for this one."""
    insert_bystander = "INSERT INTO kaggle.competitions (kaggle_competition_id, auto_sync) VALUES (%s, false)"
    db.execute(f"{insert_bystander} ON CONFLICT DO NOTHING", (BYSTANDER,))
    db.execute("SELECT kaggle.sync_now(%s)", (BYSTANDER,))
    assert synced(db, BYSTANDER)[0] == "manual"
    of_it = "WHERE competition_id = %s"
    eventually(db, 0, f"SELECT count(*) FROM kaggle_internal.sync_requests {of_it}", competition_id)
    eventually(db, 0, f"SELECT count(*) FROM kaggle_internal.wanted(NULL, true) {of_it}", competition_id)
    eventually(
        db,
        0,
        "SELECT count(*) FROM procrastinate.procrastinate_jobs WHERE args ->> 'competition_id' = %s",
        str(competition_id),
    )
    assert before == value(db, f"SELECT count(*) FROM kaggle.sync_runs {of_it}", competition_id)
