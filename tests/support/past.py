"""Boards that were seen long ago."""

from __future__ import annotations

from datetime import timedelta

from tests.support.aliases import Connection

# Every stored moment of a board and its past, as expressions that make it older.
_OLDER = {
    "kaggle.boards": "observed_from = observed_from - {0}, observed_at = observed_at - {0}, history_from = history_from - {0}",
    "kaggle.leaderboard_entries": "valid_from = valid_from - {0}, first_seen_at = first_seen_at - {0}",
    "kaggle_internal.packs": "until = until - {0}, kept_at = kept_at - {0}, changed_at = ARRAY("
    "SELECT v.at - {0} FROM unnest(changed_at) WITH ORDINALITY AS v (at, nth) ORDER BY v.nth)",
    "kaggle_internal.past_names": "until = until - {0}, first_seen_at = first_seen_at - {0}",
    "kaggle.sync_runs": "observed_at = observed_at - {0}, started_at = started_at - {0}, finished_at = finished_at - {0}",
}


def time_passes(db: Connection, by: timedelta, slug: str | None = None) -> None:
    """All that is known of the boards of a slug, or of all boards and runs, is so much older."""
    for table, older in _OLDER.items():
        board = "id" if table == "kaggle.boards" else "board_id"
        db.execute(
            f"UPDATE {table} SET {older.format('%(by)s')} "
            f"WHERE %(slug)s::text IS NULL OR {board} IN (SELECT id FROM kaggle.boards WHERE slug = %(slug)s)",
            {"by": by, "slug": slug},
        )
