"""One direct connection of a worker: it registers the worker, listens for jobs, sweeps, prunes, and closes.

The connection holds the lock that shows that this worker is alive. When it is lost, the session ends, and the next one
has another number: a sweep begins the lost syncs anew, and the old attempts can no longer apply anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
from psycopg import sql

from pgleaderboard import __version__
from pgleaderboard.database import release
from pgleaderboard.database.connect import connect, conninfo
from pgleaderboard.errors import PgleaderboardError
from pgleaderboard.kaggle.client import Kaggle
from pgleaderboard.process.jobs import Jobs, explained, in_thread
from pgleaderboard.process.queue import CHANNEL, QueueWorker, queue_app
from pgleaderboard.sync.attempt import Syncer
from pgleaderboard.sync.store import Store

log = logging.getLogger(__name__)

SWEEP_EVERY = 4.0  # seconds, at most, between sweeps; a sync begins within 5 s of being due
THOROUGH_EVERY = 10.0  # seconds between sweeps that also look for what arrived without triggers
PRUNE_EVERY = 3600.0
PATIENCE = 7.0  # seconds that running syncs get to finish when asked to stop; containers are killed after 10
SILENCE = 30.0  # seconds without an answer, after which a connection is given up
SLOW_START = 30  # seconds for the first connection of `work --once`
LONGEST_BUDGET_WAIT = 300.0  # seconds that `work --once` waits for Kaggle's budget

_abandoned: set[asyncio.Task[Any]] = set()  # tasks that end as soon as they meet their closed connections


@dataclass(frozen=True)
class Configuration:
    """The configuration of a worker.

    url: the database, perhaps through a pooler. direct_url: the same one without. requests_per_minute: Kaggle's budget
    for all workers together, 0 = no limit. limit: bytes of one board, unpacked. runs_for: how long runs that changed
    nothing are kept. history_for: how long closed versions of entries are kept, None = for ever. follow_up: how long
    a completed competition is synced every sync_interval after its final sync, then hourly, then daily, None = as
    kaggle_internal.sync_pace says. ended: is called with the outcome and the seconds of each attempt.
    """

    url: str
    direct_url: str
    kaggle: Kaggle
    concurrency: int
    requests_per_minute: int
    limit: int
    runs_for: timedelta
    history_for: timedelta | None = None
    follow_up: tuple[timedelta, timedelta, timedelta] | None = None
    ended: Callable[[str, float], object] = lambda outcome, seconds: None


@dataclass
class Session:
    """A session; `opened` makes it and explains `stop` and `beat`."""

    configuration: Configuration
    connection: psycopg.AsyncConnection[Any]
    worker_id: int
    stop: asyncio.Event
    beat: Callable[[], None]

    def __post_init__(self) -> None:
        configuration = self.configuration
        self._sweep_now = asyncio.Event()
        self._thorough_at = time.monotonic()
        self.store = Store(configuration.url, self.worker_id, connections=configuration.concurrency + 1)
        syncer = Syncer(self.store, configuration.kaggle, configuration.limit, configuration.ended)
        self.jobs = Jobs(syncer, self._sweep_now.set)
        self._queue: QueueWorker

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, configuration: Configuration, stop: asyncio.Event, beat: Callable[[], None], *, once: bool
    ) -> AsyncIterator[Session]:
        """Open a session, and close it at the end of the block.

        once: its queue ends when there is no job, and a database that sleeps gets SLOW_START for the first connection.
        stop: is set when the worker must end. beat: is called at each sweep.
        """
        await in_thread(lambda: _check_schema(configuration.direct_url, SLOW_START if once else 10))
        connection = await psycopg.AsyncConnection.connect(
            conninfo(configuration.direct_url, "worker"), autocommit=True
        )
        async with connection:
            await _warn_of_a_pooler(connection)
            worker_id: int = await _value(
                connection,
                "SELECT kaggle_internal.register_worker(%s, %s, %s, %s)",
                __version__,
                configuration.kaggle.fingerprint,
                configuration.requests_per_minute,
                configuration.follow_up and list(configuration.follow_up),
            )
            session = cls(configuration, connection, worker_id, stop, beat)
            await in_thread(session.store.open)
            app = queue_app(configuration.direct_url, session.jobs)
            try:
                async with app.open_async():
                    session._queue = QueueWorker(
                        app, concurrency=configuration.concurrency, wait=not once, patience=None if once else PATIENCE
                    )
                    await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
                    yield session
            finally:
                if not connection.broken:
                    with contextlib.suppress(psycopg.OperationalError):
                        await connection.execute("SELECT kaggle_internal.unregister_worker(%s)", (worker_id,))
                await in_thread(session.store.close)

    async def work(self) -> None:
        """Sync and prune until asked to stop. Raises psycopg.Error where the database is lost."""
        await self._run_queue(PATIENCE + 5, self._prune_for_ever())
        if not self.stop.is_set():
            # procrastinate ends quietly when a side task of its own lost the database.
            raise psycopg.OperationalError("the queue's worker lost its connection")

    async def work_once(self) -> None:
        """Do everything that is due or requested, then prune.

        Raises PgleaderboardError where Kaggle has asked for a long pause, and psycopg.Error where the database is lost.
        """
        while not self.stop.is_set():
            await self._sweep()
            await self._run_queue(PATIENCE)
            pause: float | None = await _value(
                self.connection,
                "SELECT extract(epoch FROM greatest(kaggle_internal.next_grant(%s, %s), now()) - now())::float8 "
                "WHERE EXISTS (SELECT FROM kaggle_internal.wanted(%s, true))",
                self.configuration.kaggle.fingerprint,
                self.configuration.requests_per_minute,
                self.worker_id,
            )
            if pause is None:
                await in_thread(self.prune)
                break
            if pause > LONGEST_BUDGET_WAIT:
                raise PgleaderboardError(
                    f"Kaggle asked for a pause of {pause / 60:.0f} minutes more; run this again then"
                )
            await _first(self.stop.wait(), asyncio.sleep(min(max(0.05, pause), SWEEP_EVERY)))

    async def _run_queue(self, patience: float, *beside: Awaitable[Any]) -> None:
        """Run the queue's worker, with sweeps, until it ends or is asked to stop. patience: seconds for running jobs.

        When the database is lost, nothing is waited for: the running attempts have lost their fence, and the next
        session must begin at once.
        """
        queue = _abandonable(self._queue.run())  # type: ignore[no-untyped-call]
        try:
            await _first(
                self._sweep_for_ever(), *beside, self.stop.wait(), self._queue.lost.wait(), asyncio.wait({queue})
            )
        finally:
            self._queue.stop()  # type: ignore[no-untyped-call]
        if self.stop.is_set():
            await asyncio.wait({queue}, timeout=patience)
        elif not queue.done():
            raise psycopg.OperationalError("the queue's worker lost its connection")
        if queue.done():
            queue.result()

    async def _sweep_for_ever(self) -> None:
        while True:
            self._sweep_now.clear()
            pause = await self._sweep()
            await _first(self._listen(pause), self._sweep_now.wait())

    async def _listen(self, pause: float) -> None:
        """Wake the queue's worker at each notification. pause: seconds."""
        async for _ in self.connection.notifies(timeout=pause):
            self._queue.wake()

    async def _sweep(self) -> float:
        """Sweep once. Returns the seconds until the next one."""
        thorough = time.monotonic() >= self._thorough_at
        if thorough:
            self._thorough_at = time.monotonic() + THOROUGH_EVERY
        asking = _abandonable(
            self.connection.execute(
                "SELECT queued, extract(epoch FROM wake_at - clock_timestamp())::float8, missing, "
                "clock_timestamp() + kaggle_internal.grace_for_missing() FROM kaggle_internal.sweep(%s, %s)",
                (self.worker_id, thorough),
            )
        )
        # A proxy may hold a connection open to a server that is gone. To cancel would be to wait for an answer.
        if not (await asyncio.wait({asking}, timeout=SILENCE))[0]:
            await self.connection.close()
            asking.cancel()
            raise psycopg.OperationalError(f"no answer for {SILENCE:.0f} s")
        queued, wake_in, missing, removal = await asking.result().fetchone() or (0, None, None, None)
        self.beat()
        if queued:
            log.debug("sweep queued %s jobs", queued)
        for competition_id in missing or ():
            log.warning(
                "a competition is missing from kaggle.competitions, and no trigger saw its deletion: "
                "its boards, history and runs are removed at %s, unless it is back by then",
                f"{removal:%Y-%m-%d %H:%M:%S %Z}",
                extra={"competition_id": competition_id},
            )
        return SWEEP_EVERY if wake_in is None else min(SWEEP_EVERY, max(0.02, wake_in))

    async def _prune_for_ever(self) -> None:
        """Beside the sweeps: a long pruning must not stop the heartbeat."""
        while True:
            try:
                await in_thread(self.prune)
            except psycopg.Error as error:
                log.warning("old runs and history could not be pruned: %s", explained(error))
            await asyncio.sleep(PRUNE_EVERY)

    def prune(self) -> None:
        """Remove old runs and history, and of each history_interval all boards but the last."""
        self.store.prune_runs(self.configuration.runs_for)
        self.store.thin_history()
        if self.configuration.history_for is not None:
            self.store.prune_history(self.configuration.history_for)


async def _first(*work: Awaitable[Any]) -> None:
    """Run until one of them ends, and cancel the others. Raises the error of the first that failed."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome


def _abandonable(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Start a task that may outlive whoever waits for it: asyncio keeps no reference, and logs unread errors."""
    task = asyncio.create_task(work)
    _abandoned.add(task)
    task.add_done_callback(_discard)
    return task


def _discard(task: asyncio.Task[Any]) -> None:
    _abandoned.discard(task)
    if not task.cancelled() and task.exception():
        log.debug("an abandoned task ended: %s", task.exception())


async def _value(connection: psycopg.AsyncConnection[Any], query: str, *values: object) -> Any:
    return (await (await connection.execute(query.encode(), values)).fetchone() or (None,))[0]


async def _warn_of_a_pooler(connection: psycopg.AsyncConnection[Any]) -> None:
    if await _value(connection, "SELECT pg_backend_pid()") != connection.info.backend_pid:  # a pooler makes one up
        log.warning(
            "a pooler stands before the database: unless it keeps sessions, LISTEN does not work; "
            "set PGLEADERBOARD_DIRECT_URL (see pgleaderboard doctor)"
        )


def _check_schema(direct_url: str, connect_timeout: int) -> None:
    with connect(direct_url, "worker", connect_timeout=connect_timeout) as connection:
        release.check(connection)
        connection.execute("SELECT kaggle_internal.refuse_hidden_rows()")
