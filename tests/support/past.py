"""Boards that were seen long ago."""

from __future__ import annotations

from datetime import timedelta

from tests.support.aliases import Connection

# Every stored moment of boards and their past.
_MOMENTS = {
    "kaggle.boards": ("observed_from", "observed_at", "history_from"),
    "kaggle.leaderboard_entries": ("valid_from", "first_seen_at"),
    "kaggle_internal.packs": ("until",),
    "kaggle_internal.past_names": ("until", "first_seen_at"),
    "kaggle.sync_runs": ("observed_at", "started_at", "finished_at"),
}
_ARRAYS = {"kaggle.boards": "kept_at", "kaggle_internal.packs": "changed_at"}


def time_passes(db: Connection, by: timedelta, slug: str | None = None) -> None:
    """All that is known of the boards of a slug, or of all boards and runs, is so much older."""
    for table, columns in _MOMENTS.items():
        older = [f"{column} = {column} - %(by)s" for column in columns]
        if array := _ARRAYS.get(table):
            each = f"unnest({array}) WITH ORDINALITY AS v (at, nth)"
            older.append(f"{array} = ARRAY(SELECT v.at - %(by)s FROM {each} ORDER BY v.nth)")
        board = "id" if table == "kaggle.boards" else "board_id"
        db.execute(
            f"UPDATE {table} SET {', '.join(older)} "
            f"WHERE %(slug)s::text IS NULL OR {board} IN (SELECT id FROM kaggle.boards WHERE slug = %(slug)s)",
            {"by": by, "slug": slug},
        )
