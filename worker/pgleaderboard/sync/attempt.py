"""One sync: fetch, read, stage, apply. Runs in a thread of its own; everything it waits for is bounded."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal
from uuid import UUID

from pgleaderboard.errors import PgleaderboardError, Transient
from pgleaderboard.kaggle.client import Kaggle
from pgleaderboard.sync import board
from pgleaderboard.sync.retry import decide
from pgleaderboard.sync.store import Applied, Begun, Store

log = logging.getLogger(__name__)

Ending = Literal["changed", "unchanged", "failed", "skipped", "superseded", "nothing", "waits", "removed"]


@dataclass(frozen=True)
class Syncer:
    """What a sync needs.

    limit: bytes of one board, unpacked. ended: is called with the outcome of each attempt and its seconds.
    """

    store: Store
    kaggle: Kaggle
    limit: int
    ended: Callable[[str, float], object] = lambda outcome, seconds: None

    def sync(self, competition_id: int, token: UUID) -> Ending:
        """Sync one competition if that is wanted now. The row and the run say how it went; nothing is raised for it.

        token: a random one, for `Store.let_go`.
        """
        begun = self.store.begin_sync(competition_id, token=token)
        if begun.action == "ask":
            begun = self.store.begin_sync(competition_id, self.store.ask_condition(competition_id), token)
        match begun.action:
            case "sync":
                return self._attempt(begun)
            case "wait":
                return "waits"
            case "remove":
                self.store.remove_deleted(competition_id)
                return "removed"
            case _:
                return "nothing"

    def _attempt(self, begun: Begun) -> Ending:
        started = time.monotonic()
        try:
            applied = self._fetch_and_apply(begun)
        except Exception as error:  # noqa: BLE001 - whatever failed, the run must say so; retry.decide tells what it is
            return self._failed(begun, error, started)
        return self._ended(begun, applied, started)

    def _ended(self, begun: Begun, applied: Applied, started: float) -> Ending:
        outcome: Ending = applied.outcome or "superseded"  # type: ignore[assignment]
        seconds = round(time.monotonic() - started, 3)
        self.ended(outcome, seconds)
        log.log(
            logging.DEBUG if outcome == "unchanged" else logging.INFO,  # most syncs find nothing new
            "sync %s",
            outcome,
            extra={
                "competition": begun.slug,
                "run": begun.run_id,
                "reason": begun.reason,
                "seconds": seconds,
                "teams": applied.teams,
                "added": applied.added,
                "removed": applied.removed,
                "updated": applied.updated,
                "moved": applied.moved,
            },
        )
        return outcome

    def _fetch_and_apply(self, begun: Begun) -> Applied:
        with tempfile.TemporaryFile(prefix="pgleaderboard-") as archive:  # unlinked: not even SIGKILL leaves it
            is_simulated = self.kaggle.download_leaderboard(begun.slug, archive)
            read = board.read_zip(archive, self.limit)
            outcome = self.store.confirm(begun.run_id, read, is_simulated=is_simulated, token=begun.token)
            if outcome:
                return Applied(outcome)
            return self.store.apply(begun.run_id, read, lambda: board.zip_chunks(archive, self.limit), begun.token)

    def _failed(self, begun: Begun, error: Exception, started: float) -> Ending:
        decision = decide(
            error,
            failures=begun.failures,
            failing_for=begun.failing_for or timedelta(0),
            interval=begun.sync_interval,
        )
        outcome: Ending = self.store.fail(begun.run_id, decision, begun.token)  # type: ignore[assignment]
        if outcome in ("changed", "unchanged"):  # only the answer was lost
            return self._ended(begun, Applied(outcome), started)
        seconds = round(time.monotonic() - started, 3)
        self.ended(outcome, seconds)
        log.log(
            logging.ERROR if decision.kind == "ours" else logging.WARNING,
            "sync %s: %s",
            outcome,
            decision.message,
            extra={
                "competition": begun.slug,
                "run": begun.run_id,
                "reason": begun.reason,
                "seconds": seconds,
                "kind": decision.kind,
                "retry_in": f"{decision.retry_in.total_seconds():.0f}s",
            },
            exc_info=error if decision.kind == "ours" else None,
        )
        return outcome

    def describe(self, competition_id: int) -> Ending:
        """Ask Kaggle about a competition and fill its row, if that is due. A failure is logged and tried in an hour."""
        action, slug, link_revision = self.store.begin_describe(competition_id)
        if action == "wait":
            return "waits"
        if action != "describe":
            return "nothing"
        try:
            self.store.fill_from_kaggle(competition_id, link_revision, self.kaggle.describe(slug))
        except PgleaderboardError as error:
            if isinstance(error, Transient) and error.throttled and error.retry_after:
                self.store.block(error.retry_after)
            log.warning("metadata could not be read: %s", error, extra={"competition": slug})
            return "failed"
        return "changed"
