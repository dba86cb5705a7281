"""procrastinate, set up for our one queue: the tasks, and a worker that our own LISTEN wakes.

The payload of a job is an id: the row is the truth. Jobs are deleted when they end, and procrastinate's retry is not
used, since sync_requests and sync_state hold what remains to be done.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import procrastinate
import psycopg
from procrastinate import job_context, jobs, manager, worker
from psycopg_pool import AsyncConnectionPool

from pgleaderboard.database.connect import AsyncConnection, OnStandby, session_settings
from pgleaderboard.process.jobs import Jobs
from pgleaderboard.sync.store import LOCAL

log = logging.getLogger(__name__)

QUEUE = "kaggle"
CHANNEL = "procrastinate_queue_v1#kaggle"
STATEMENT_SECONDS = 10.0  # that a statement of procrastinate may take
# Its statements use unqualified names. Statistics from a quiet time say that no job waits, and a fetch would sort all
# ten thousand to take the first: there is an index in that order.
_OF_PROCRASTINATE = b"SET search_path = procrastinate, pg_temp; SET enable_sort = off"
_LOST = (procrastinate.exceptions.ConnectorException, procrastinate.exceptions.AppNotOpen)


class _Wakeup(asyncio.Event):
    """procrastinate's worker clears its event after a fetch, and so forgets a job that was inserted during it."""

    def clear(self) -> None:
        """Do nothing: _Manager clears the event before a fetch."""


class _Manager(manager.JobManager):
    wakeup: _Wakeup

    async def fetch_job(self, *args: Any, **kwargs: Any) -> jobs.Job | None:
        asyncio.Event.clear(self.wakeup)
        return await super().fetch_job(*args, **kwargs)


class QueueWorker(worker.Worker):
    """procrastinate's worker without its listener: ours calls `wake`."""

    def __init__(self, app: procrastinate.App, *, concurrency: int, wait: bool, patience: float | None) -> None:
        super().__init__(
            app,
            queues=[QUEUE],
            name="pgleaderboard",
            concurrency=concurrency,
            wait=wait,
            shutdown_graceful_timeout=patience,
            listen_notify=False,
            delete_jobs=jobs.DeleteJobCondition.ALWAYS,
            install_signal_handlers=False,
        )
        assert isinstance(app.job_manager, _Manager)
        self._new_job_event = app.job_manager.wakeup = _Wakeup()
        # Its connection failed. procrastinate would first wait for what runs, or not notice that the end of a job
        # was not recorded, and leave it `doing` under a living worker for ever.
        self.lost = asyncio.Event()

    def wake(self) -> None:
        """A job may have been inserted: fetch."""
        self._new_job_event.set()

    async def _fetch_and_process_jobs(self) -> None:
        try:
            await super()._fetch_and_process_jobs()  # type: ignore[no-untyped-call]
        except _LOST:
            self.lost.set()
            raise

    async def _process_job(self, context: job_context.JobContext) -> None:
        try:
            await super()._process_job(context)
        except _LOST as error:
            log.debug("the end of job %s was not recorded: %s", context.job.id, error)
            self.lost.set()


def queue_app(dsn: str, work: Jobs, opened: Callable[[AsyncConnection], object]) -> procrastinate.App:
    """Build the procrastinate application.

    dsn: direct, not through a pooler. work: has a method for each task. opened: is called with each new connection.
    """

    async def check(connection: AsyncConnection) -> None:
        # Where one connection is dead the others are, too: the pool would try them one by one, pausing 1, 2, 4 s.
        try:
            if await (await connection.execute("SELECT pg_is_in_recovery()")).fetchone() != (False,):
                raise OnStandby("the queue is on a standby, which takes no writes")
        except psycopg.OperationalError:
            await connector.pool.drain()
            raise

    async def configure(connection: AsyncConnection) -> None:
        opened(connection)
        connection.patience = STATEMENT_SECONDS + 2
        # Everything that procrastinate does is one statement: BEGIN and COMMIT would be two more round trips.
        await connection.set_autocommit(True)
        await connection.execute(
            session_settings(connection, STATEMENT_SECONDS, synchronous_commit=LOCAL) + _OF_PROCRASTINATE
        )

    connector = procrastinate.PsycopgConnector(
        # It has its own check, and its own kind of connection.
        pool_factory=lambda **options: AsyncConnectionPool(
            **(options | {"check": check, "connection_class": AsyncConnection})
        ),
        conninfo=dsn,
        min_size=1,
        max_size=4,
        timeout=10,
        configure=configure,
    )
    app = procrastinate.App(connector=connector)
    app.job_manager = _Manager(connector)
    app.task(name="sync", queue=QUEUE)(work.sync)
    app.task(name="describe", queue=QUEUE)(work.describe)
    app.task(name="remove", queue=QUEUE)(work.remove)
    app.task(name="sweep", queue=QUEUE)(work.sweep)
    return app


async def beat(app: procrastinate.App) -> None:
    """Have a connection of the queue answer. Raises psycopg.OperationalError where none does."""
    async with _pool_of(app).connection():  # which is checked before it is given out
        pass


async def abandon(app: procrastinate.App) -> None:
    """Close the connections of the queue to a server that is lost, without a wait for those that are being made."""
    await _pool_of(app).close(timeout=0.1)


def _pool_of(app: procrastinate.App) -> AsyncConnectionPool[Any]:
    assert isinstance(app.connector, procrastinate.PsycopgConnector)
    return app.connector.pool
