"""Syncs without a worker: the database's and the store's side of them, step by step."""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pgleaderboard.sync import board
from pgleaderboard.sync.store import Applied, Begun, Store
from tests.support.aliases import Connection
from tests.support.boards import COLUMNS, leaderboard, teams, versions_at, zip_of

LIMIT = 2**28
WORKER = 1


@dataclass
class Syncs:
    """One competition and the store's side of its syncs; what Kaggle sends is given as bytes."""

    db: Connection
    store: Store
    competition: int

    def begin(self) -> Begun:
        """Ask by hand, and begin an attempt."""
        self.db.execute(
            "SELECT kaggle.sync_now(kaggle_competition_id) FROM kaggle.competitions WHERE id = %s", (self.competition,)
        )
        begun = self.again()
        assert begun.action == "sync"
        return begun

    def again(self) -> Begun:
        """Begin an attempt if one is wanted."""
        return self.store.begin_sync(self.competition)

    def end(self, run_id: int, archive: bytes, token: UUID | None = None) -> Applied:
        """What the worker does with a download."""
        file = io.BytesIO(archive)
        read = board.read_zip(file, LIMIT)
        outcome = self.store.confirm(run_id, read, token=token)
        if outcome:
            return Applied(outcome)
        return self.store.apply(run_id, read, lambda: board.zip_chunks(file, LIMIT), token)

    def sync(self, archive: bytes) -> Applied:
        """A whole sync."""
        return self.end(self.begin().run_id, archive)

    def sync_at(self, at: datetime, archive: bytes) -> int:
        """A whole sync, as if it had begun at that moment. Returns the run."""
        run_id = self.begin().run_id
        self.db.execute(
            "UPDATE kaggle_internal.sync_state SET running_since = %s WHERE running_run_id = %s", (at, run_id)
        )
        self.end(run_id, archive)
        return run_id

    def run(self) -> Any:
        """The competition's last run: outcome, teams, added, removed, updated, moved, observed_at, board."""
        return self.db.execute(
            "SELECT outcome, teams, added, removed, updated, moved, observed_at, board FROM kaggle.sync_runs "
            "WHERE competition_id = %s ORDER BY id DESC LIMIT 1",
            (self.competition,),
        ).fetchone()

    def leaderboard(self, reader: Connection | None = None) -> list[Any]:
        """kaggle.leaderboard, by rank, benchmarks behind."""
        return leaderboard(
            (reader or self.db)
            .execute(f"SELECT {COLUMNS} FROM kaggle.leaderboard WHERE competition_id = %s", (self.competition,))
            .fetchall()
        )

    def at(self, moment: datetime, kind: str = "public") -> list[Any]:
        """The board as the versions valid at a moment give it, benchmarks in their place."""
        return versions_at(self.db, self.competition, moment, kind)

    def versions(self) -> list[Any]:
        """Every version of every entry of this competition's boards, with the transaction that wrote it."""
        return self.db.execute(
            """
            SELECT 'now' AS of, team_id, valid_from, order_key, e.xmin::text FROM kaggle.leaderboard_entries e
            JOIN kaggle.boards b ON b.id = e.board_id WHERE b.competition_id = %(competition)s
            UNION ALL
            SELECT 'before', v.team_id, v.valid_from, v.order_key, p.xmin::text
            FROM kaggle_internal.packs p JOIN kaggle.boards b ON b.id = p.board_id
            CROSS JOIN LATERAL (
                SELECT unnest(p.team_ids) AS team_id, unnest(p.changed_at) AS valid_from,
                       unnest(p.order_keys) AS order_key) v
            WHERE b.competition_id = %(competition)s
            ORDER BY 1, 2, 3
            """,
            {"competition": self.competition},
        ).fetchall()

    def jobs(self) -> int:
        """How many sync jobs wait for this competition."""
        return self.scalar(
            "SELECT count(*) FROM procrastinate.procrastinate_jobs WHERE status = 'todo' AND task_name = 'sync' "
            "AND (args ->> 'competition_id')::bigint = %s",
            self.competition,
        )

    def scalar(self, query: str, *values: Any) -> Any:
        """One value."""
        return (self.db.execute(query, values).fetchone() or (None,))[0]

    def begin_after_removal(self) -> str:
        """Remove what a row with this id left behind, as the worker does, then begin. Returns the last action."""
        self.db.execute(
            "SELECT kaggle.sync_now(kaggle_competition_id) FROM kaggle.competitions WHERE id = %s", (self.competition,)
        )
        while (begun := self.again()).action == "remove":
            self.store.remove_deleted(self.competition)
            self.store.remove_detached()
        self.end(begun.run_id, zip_of(teams(1, 2, 3)))
        return begun.action
