"""A session of a worker: it registers, listens for jobs, has its heart beat, sweeps, prunes, and closes.

Its direct connection holds the lock that shows that this worker is alive. When the server does not answer a heartbeat,
or a connection is lost, the session ends, and the next one has another number: a sweep begins the lost syncs anew, and
the old attempts can no longer apply anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
from procrastinate.exceptions import ConnectorException
from psycopg import sql

from pgleaderboard import __version__
from pgleaderboard.database import release, rights
from pgleaderboard.database.connect import (
    AsyncConnection,
    NoAnswer,
    address_of,
    connect,
    conninfo,
    explained,
    session_settings,
    value,
)
from pgleaderboard.errors import PgleaderboardError
from pgleaderboard.kaggle.client import Kaggle
from pgleaderboard.process.jobs import Jobs
from pgleaderboard.process.queue import CHANNEL, QueueWorker, abandon, queue_app
from pgleaderboard.process.queue import beat as beat_of_queue
from pgleaderboard.sync.attempt import Syncer
from pgleaderboard.sync.store import LOCAL, Store
from pgleaderboard.threads import in_thread

log = logging.getLogger(__name__)

SWEEP_EVERY = 4.0  # seconds, at most, between sweeps; a sync begins within 5 s of being due
# Of ten thousand competitions one is always due. Unless grants, which come singly, set the pace, the next sweep then
# waits so many times as long as one took, which grows with their number: together they take a tenth of a processor.
REST, LONGEST_REST = 9, 1.0  # times; seconds
THOROUGH_EVERY = 10.0  # seconds between sweeps that also look for what arrived without triggers
PRUNE_EVERY = 3600.0
PATIENCE = 7.0  # seconds that running syncs get to finish when asked to stop; containers are killed after 10
HEARTBEAT = 3.0  # seconds between heartbeats
SILENCE = 5.0  # seconds without an answer to one, after which every connection is given up
SILENCE_WHILE_WRITING = 60.0  # the same through DATABASE_URL while boards are written: a pooler may have nothing free
BESIDE_JOBS = 3  # connections of the pool for sweeps, for pruning and for heartbeats
LONGEST_BUDGET_WAIT = 300.0  # seconds that `work --once` waits for Kaggle's budget

_abandoned: set[asyncio.Task[Any]] = set()  # tasks that end as soon as they meet their closed connections


@dataclass(frozen=True)
class Configuration:
    """The configuration of a worker.

    url: the database, perhaps through a pooler. direct_url: the same one without. requests_per_minute: Kaggle's budget
    for all workers together, 0 = no limit. limit: bytes of one board, unpacked. runs_for: how long runs that changed
    nothing are kept. history_for: how long closed versions of entries are kept, None = for ever. follow_up: how long
    a completed competition is synced every sync_interval after its end, then hourly, then daily, then weekly, None = as
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
    follow_up: tuple[timedelta, timedelta, timedelta, timedelta] | None = None
    ended: Callable[[str, float], object] = lambda outcome, seconds: None


@dataclass
class Session:
    """A session; `opened` makes it and explains `stop` and `beat`."""

    configuration: Configuration
    connection: AsyncConnection
    worker_id: int
    stop: asyncio.Event
    beat: Callable[[], None]

    def __post_init__(self) -> None:
        configuration = self.configuration
        self._opened: weakref.WeakSet[psycopg.Connection[Any] | psycopg.AsyncConnection[Any]] = weakref.WeakSet()
        self._opened.add(self.connection)
        self._is_lost = False
        self._sweep_now = asyncio.Event()
        self._thorough_at = time.monotonic()
        first = address_of(self.connection)
        self.store = Store(
            configuration.url,
            self.worker_id,
            connections=configuration.concurrency + BESIDE_JOBS,
            first=first,
            opened=self._opened.add,
            is_direct=configuration.url == configuration.direct_url,
        )
        syncer = Syncer(self.store, configuration.kaggle, configuration.limit, configuration.ended)
        self.jobs = Jobs(syncer, self._sweep_now.set, lambda: self._queue.lost.set())
        self._app = queue_app(conninfo(configuration.direct_url, "queue", first=first), self.jobs, self._opened.add)
        self._queue: QueueWorker

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, configuration: Configuration, stop: asyncio.Event, beat: Callable[[], None], *, once: bool
    ) -> AsyncIterator[Session]:
        """Open a session, and close it at the end of the block.

        once: its queue ends when there is no job. stop: is set when the worker must end. beat: is called at each
        heartbeat. Raises NeedsPerson where a person must act; then nothing is registered.
        """
        first = await in_thread(lambda: _check(configuration.direct_url))
        if configuration.url != configuration.direct_url:
            await in_thread(lambda: _check(configuration.url))
        connection = await AsyncConnection.connect(
            conninfo(configuration.direct_url, "worker", first=first), autocommit=True
        )
        connection.patience = SILENCE
        async with connection:
            await connection.execute(
                session_settings(connection, 0.8 * SILENCE, 0.6 * SILENCE, synchronous_commit=LOCAL)
            )
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
            try:
                async with session._serving(wait=not once):
                    yield session
            finally:
                if not (connection.closed or session._is_lost):
                    with contextlib.suppress(psycopg.OperationalError):
                        await connection.execute("SELECT kaggle_internal.unregister_worker(%s)", (worker_id,))
                await in_thread(session.store.close)

    @asynccontextmanager
    async def _serving(self, *, wait: bool) -> AsyncIterator[None]:
        """Open both pools, and listen. When the database is lost, nothing waits for it any more."""
        await in_thread(self.store.open)
        async with self._app.open_async():
            try:
                self._queue = QueueWorker(
                    self._app,
                    concurrency=self.configuration.concurrency,
                    wait=wait,
                    patience=PATIENCE if wait else None,
                )
                await self.connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
                yield
            except (psycopg.OperationalError, ConnectorException):
                self._cut()
                await abandon(self._app)
                raise

    def _cut(self) -> None:
        """Shut down the socket of every connection: whoever waits for an answer has an error instead."""
        self._is_lost = True
        for connection in list(self._opened):
            with (
                contextlib.suppress(psycopg.Error, OSError),
                socket.socket(fileno=os.dup(connection.fileno())) as shared,
            ):
                shared.shutdown(socket.SHUT_RDWR)

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
            pause = await in_thread(self.store.seconds_to_next_grant)
            if pause is None:
                await in_thread(self.prune)
                break
            if self.jobs.refused:
                raise explained(self.jobs.refused) from self.jobs.refused
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
        ended = asyncio.wait({queue})
        try:
            await self._alive(self._sweep_for_ever(), *beside, self.stop.wait(), self._queue.lost.wait(), ended)
        finally:
            self._queue.stop()  # type: ignore[no-untyped-call]
        if self.stop.is_set():
            await self._alive(asyncio.wait({queue}, timeout=patience))
        elif not queue.done():
            raise psycopg.OperationalError("the queue's worker lost its connection")
        if queue.done():
            queue.result()

    async def _alive(self, *work: Awaitable[Any]) -> None:
        """Run until one of them ends, as long as the server answers."""
        await _first(*work, self._listen(), self._beat_through_pools())

    async def _listen(self) -> None:
        """Wake the queue's worker at each notification, and say that this worker lives."""
        while True:
            await _answered(SILENCE, self._beat)
            self.beat()
            async for _ in self.connection.notifies(timeout=HEARTBEAT):
                self._queue.wake()

    async def _beat(self) -> None:
        # A statement that waits for somebody's lock is an answer, too.
        with contextlib.suppress(psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled):
            await self.connection.execute("SELECT kaggle_internal.beat(%s)", (self.worker_id,))

    async def _beat_through_pools(self) -> None:
        while True:
            silence = SILENCE_WHILE_WRITING if self.store.is_writing else SILENCE
            await asyncio.gather(
                _answered(silence, lambda: in_thread(self.store.beat)),
                _answered(SILENCE, lambda: beat_of_queue(self._app)),
            )
            await asyncio.sleep(HEARTBEAT)

    async def _sweep_for_ever(self) -> None:
        while True:
            self._sweep_now.clear()
            pause = await self._sweep()
            with contextlib.suppress(TimeoutError):
                # Not wait_for: in Python 3.11 it can swallow a cancellation.
                async with asyncio.timeout(pause):
                    await self._sweep_now.wait()

    async def _sweep(self) -> float:
        """Sweep once. Returns the seconds until the next one."""
        begun = time.monotonic()
        thorough = begun >= self._thorough_at
        if thorough:
            self._thorough_at = begun + THOROUGH_EVERY
        swept = await in_thread(lambda: self.store.sweep(thorough))
        rest = 0.0 if self.configuration.requests_per_minute else min(LONGEST_REST, REST * (time.monotonic() - begun))
        if swept.queued:
            log.debug("sweep queued %s jobs", swept.queued)
        for competition_id in swept.missing or ():
            log.warning(
                "a competition is missing from kaggle.competitions, and no trigger saw its deletion: "
                "its boards, history and runs are removed at %s, unless it is back by then",
                f"{swept.removal:%Y-%m-%d %H:%M:%S %Z}",
                extra={"competition_id": competition_id},
            )
        return SWEEP_EVERY if swept.wake_in is None else min(SWEEP_EVERY, max(0.02, rest, swept.wake_in))

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


async def _answered(seconds: float, ask: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    """Wait for an answer, or raise NoAnswer. The question is left alone: to cancel it takes an answer, too.

    ask: makes the coroutine, here: one that was made before would never be awaited where this is cancelled first.
    """
    task = _abandonable(ask())
    if not (await asyncio.wait({task}, timeout=seconds))[0]:
        raise NoAnswer(f"the server has not answered for {seconds:g} s")
    task.result()


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


def _check(url: str) -> tuple[str, int]:
    """Refuse a database that cannot be worked on. Returns the address that answered."""
    with connect(url, "worker") as connection:
        release.check(connection)
        rights.check(connection)
        value(connection, "SELECT kaggle_internal.refuse_hidden_rows()")
        return address_of(connection)
