"""procrastinate, set up for our one queue: the tasks, and a worker that our own LISTEN wakes.

The payload of a job is an id: the row is the truth. Jobs are deleted when they end, and procrastinate's retry is not
used, since sync_requests and sync_state hold what remains to be done.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import procrastinate
import psycopg
from procrastinate import job_context, jobs, manager, worker
from psycopg_pool import AsyncConnectionPool

from pgleaderboard.database.connect import conninfo
from pgleaderboard.process.jobs import Jobs

log = logging.getLogger(__name__)

QUEUE = "kaggle"
CHANNEL = "procrastinate_queue_v1#kaggle"
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


def queue_app(direct_url: str, work: Jobs) -> procrastinate.App:
    """Build the procrastinate application, on connections to the direct URL. work: has a method for each task."""

    async def check(connection: psycopg.AsyncConnection[Any]) -> None:
        # Where one connection is dead the others are, too: the pool would try them one by one, pausing 1, 2, 4 s.
        try:
            await AsyncConnectionPool.check_connection(connection)
        except psycopg.OperationalError:
            await connector.pool.drain()
            raise

    connector = procrastinate.PsycopgConnector(
        pool_factory=lambda **options: AsyncConnectionPool(**(options | {"check": check})),  # it has its own check
        conninfo=conninfo(direct_url, "queue"),
        min_size=1,
        max_size=4,
        timeout=10,
        configure=_find_procrastinate,
    )
    app = procrastinate.App(connector=connector)
    app.job_manager = _Manager(connector)
    app.task(name="sync", queue=QUEUE, pass_context=True)(work.sync)
    app.task(name="describe", queue=QUEUE)(work.describe)
    app.task(name="remove", queue=QUEUE)(work.remove)
    app.task(name="sweep", queue=QUEUE)(work.sweep)
    return app


async def _find_procrastinate(connection: psycopg.AsyncConnection[Any]) -> None:
    # Everything that procrastinate does is one statement: BEGIN and COMMIT would be two more round trips.
    await connection.set_autocommit(True)
    # Its statements use unqualified names.
    await connection.execute("SET search_path = procrastinate, pg_temp")
    # Statistics from a quiet time say that no job waits, and a fetch would sort all ten thousand to take the first:
    # there is an index in that order.
    await connection.execute("SET enable_sort = off")
