"""The jobs of the queue. A failure is logged here and recorded in the database; none is raised."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from itertools import chain, repeat

import psycopg
from procrastinate import JobContext
from psycopg_pool import PoolClosed

from pgleaderboard.database.connect import explained, may_be_ours
from pgleaderboard.sync.attempt import Syncer
from pgleaderboard.sync.retry import FIRST_DELAY
from pgleaderboard.threads import in_thread

log = logging.getLogger(__name__)


class Jobs:
    """The jobs of one session.

    request_sweep: asks for a sweep, as soon as one is possible. failed: how many syncs have failed. refused: why the
    last one could not begin or end, None where it could.
    """

    def __init__(self, syncer: Syncer, request_sweep: Callable[[], None]) -> None:
        self._syncer = syncer
        self._request_sweep = request_sweep
        self.failed = 0
        self.refused: Exception | None = None

    async def sync(self, context: JobContext, competition_id: int) -> None:
        """Sync a competition, if that is wanted now."""
        job_id = context.job.id
        assert job_id is not None
        try:
            ending = await in_thread(lambda: self._syncer.sync(competition_id, job_id))
        except Exception as error:  # noqa: BLE001 - whatever it was, the attempt must not stay running
            self.refused = error
            _warn("a sync could not begin or end", error, competition_id)
            reason = f"the sync could not end: {explained(error)}"
            await self._let_go(competition_id, job_id, reason)
        else:
            self.refused = None
            self.failed += ending == "failed"
            if ending == "waits":
                self._request_sweep()

    async def describe(self, competition_id: int) -> None:
        """Ask Kaggle for the metadata of a competition, if that is due."""
        try:
            ending = await in_thread(lambda: self._syncer.describe(competition_id))
        except Exception as error:  # noqa: BLE001 - it must be seen: procrastinate's own log is off
            _warn("metadata could not be written", error, competition_id)
        else:
            if ending == "waits":
                self._request_sweep()

    async def remove(self) -> None:
        """Remove the boards of deleted competitions."""
        try:
            await in_thread(self._syncer.store.remove_detached)
        except (psycopg.Error, PoolClosed) as error:
            log.warning("boards of deleted competitions could not be removed: %s", explained(error))

    async def sweep(self) -> None:
        """Queue what is due."""
        self._request_sweep()

    async def _let_go(self, competition_id: int, job_id: int, reason: str) -> None:
        """Give up an attempt that a job could not end: while this worker lives, no sweep would take it for lost."""
        store = self._syncer.store
        for pause in chain((0.1, 1.0, 5.0), repeat(20.0)):
            try:
                await in_thread(lambda: store.let_go(competition_id, job_id, FIRST_DELAY, reason))
                break
            except PoolClosed:
                break  # the session has ended, which gives up everything
            except psycopg.Error:
                await asyncio.sleep(pause)  # the database may be away


def _warn(what: str, error: Exception, competition_id: int) -> None:
    log.warning(
        "%s: %s",
        what,
        explained(error),
        extra={"competition_id": competition_id},
        exc_info=error if may_be_ours(error) else None,
    )
