"""Statements that insert and change many competitions at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.aliases import Connection

MANY = 10_000


def insert_rows(db: Connection, count: int, wanted: str) -> None:
    """A plain INSERT."""
    db.execute(
        "INSERT INTO kaggle.competitions (kaggle_competition_id, status) "
        "SELECT format('simulated-%%s-teams', n), %s FROM generate_series(1, %s) n",
        (wanted, count),
    )


def copy_rows(db: Connection, count: int, wanted: str) -> None:
    """COPY."""
    with db.cursor().copy("COPY kaggle.competitions (kaggle_competition_id, status) FROM STDIN") as copy:
        for n in range(1, count + 1):
            copy.write_row((f"simulated-{n}-teams", wanted))


def upsert_rows(db: Connection, count: int, wanted: str) -> None:
    """INSERT … ON CONFLICT DO UPDATE."""
    db.execute(
        "INSERT INTO kaggle.competitions (kaggle_competition_id, status) "
        "SELECT format('simulated-%%s-teams', n), %s FROM generate_series(1, %s) n "
        "ON CONFLICT (kaggle_competition_id) DO UPDATE SET status = excluded.status",
        (wanted, count),
    )


def merge_rows(db: Connection, count: int, wanted: str) -> None:
    """MERGE."""
    db.execute(
        "MERGE INTO kaggle.competitions c "
        "USING (SELECT format('simulated-%%s-teams', n) AS slug, %s AS status FROM generate_series(1, %s) n) s "
        "ON c.kaggle_competition_id = s.slug "
        "WHEN MATCHED THEN UPDATE SET status = s.status "
        "WHEN NOT MATCHED THEN INSERT (kaggle_competition_id, status) VALUES (s.slug, s.status)",
        (wanted, count),
    )


def update_rows(db: Connection, count: int, wanted: str) -> None:
    """A plain UPDATE."""
    db.execute("UPDATE kaggle.competitions SET status = %s", (wanted,))


INSERTING = pytest.mark.parametrize("write", [insert_rows, copy_rows, upsert_rows, merge_rows])


CHANGING = pytest.mark.parametrize("write", [update_rows, upsert_rows, merge_rows])


Write = Callable[[Connection, int, str], None]
