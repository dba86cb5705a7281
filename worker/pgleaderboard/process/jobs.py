"""The jobs of the queue. A failure is logged here and recorded in the database; none is raised."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from itertools import chain, repeat
from uuid import UUID, uuid4

import psycopg
from psycopg_pool import PoolClosed

from pgleaderboard.database.connect import explained, may_be_ours
from pgleaderboard.sync.attempt import Syncer
from pgleaderboard.sync.retry import FIRST_DELAY
from pgleaderboard.threads import in_thread

log = logging.getLogger(__name__)

LET_GO_SECONDS = 60.0  # after which an attempt that cannot be given up ends the session


class Jobs:
    """The jobs of one session.

    request_sweep: asks for a sweep, as soon as one is possible. end_session: has the next session give up what this one
    cannot. failed: how many syncs have failed. refused: why the
    last one could not begin or end, None where it could.
    """

    def __init__(
        self, syncer: Syncer, request_sweep: Callable[[], None], end_session: Callable[[], None] = lambda: None
    ) -> None:
        self._syncer = syncer
        self._request_sweep = request_sweep
        self._end_session = end_session
        self.failed = 0
        self.refused: Exception | None = None

    async def sync(self, competition_id: int) -> None:
        """Sync a competition, if that is wanted now."""
        token = uuid4()
        try:
            ending = await in_thread(lambda: self._syncer.sync(competition_id, token))
        except Exception as error:  # noqa: BLE001 - whatever it was, the attempt must not stay running
            self.refused = error
            _warn("a sync could not begin or end", error, competition_id)
            reason = f"the sync could not end: {explained(error)}"
            await self._let_go(competition_id, token, reason)
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

    async def _let_go(self, competition_id: int, token: UUID, reason: str) -> None:
        """Give up an attempt that could not be ended: while this session lives, no sweep would take it for lost."""
        store = self._syncer.store
        until = time.monotonic() + LET_GO_SECONDS
        for pause in chain((0.1,), repeat(1.0)):
            try:
                await in_thread(lambda: store.let_go(competition_id, token, FIRST_DELAY, reason))
                break
            except PoolClosed:
                break  # the session has ended, which gives up everything
            except psycopg.Error:  # the database may be away
                if time.monotonic() > until:
                    self._end_session()
                    break
                await asyncio.sleep(pause)


def _warn(what: str, error: Exception, competition_id: int) -> None:
    log.warning(
        "%s: %s",
        what,
        explained(error),
        extra={"competition_id": competition_id},
        exc_info=error if may_be_ours(error) else None,
    )
