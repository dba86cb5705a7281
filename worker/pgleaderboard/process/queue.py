"""procrastinate, set up for our one queue: the tasks, and a worker that is woken by our own LISTEN.

A job's payload is an id: what the row says now is the truth. Jobs are deleted when they end, and procrastinate's
retry is not used; sync_requests and sync_state know what is still to do.
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
SCHEMA = "procrastinate"
_LOST = (procrastinate.exceptions.ConnectorException, procrastinate.exceptions.AppNotOpen)


class _Wakeup(asyncio.Event):
    """An event that only `consume` clears.

    procrastinate's worker clears its event after the fetch, and so forgets a job that was inserted during it.
    """

    def clear(self) -> None:
        """Do nothing; see `consume`."""

    def consume(self) -> None:
        """Forget what came before the fetch that begins now."""
        super().clear()


class _Manager(manager.JobManager):
    """Fetches jobs, and notes when a fetch begins."""

    wakeup: _Wakeup

    async def fetch_job(self, *args: Any, **kwargs: Any) -> jobs.Job | None:
        self.wakeup.consume()
        return await super().fetch_job(*args, **kwargs)


class QueueWorker(worker.Worker):
    """procrastinate's worker, without its listener: `wake` is called by ours."""

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
        wakeup = _Wakeup()
        self._new_job_event = wakeup
        assert isinstance(app.job_manager, _Manager)
        app.job_manager.wakeup = wakeup
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
    """Build the procrastinate application on the direct connection. work: what each kind of job does."""

    async def check(connection: psycopg.AsyncConnection[Any]) -> None:
        # Where one connection is dead the others are, too: the pool would try them one by one, pausing 1, 2, 4 s.
        try:
            await AsyncConnectionPool.check_connection(connection)
        except psycopg.OperationalError:
            await connector.pool.drain()
            raise

    connector = procrastinate.PsycopgConnector(
        pool_factory=lambda **given: AsyncConnectionPool(**(given | {"check": check})),  # it has a check of its own
        conninfo=conninfo(direct_url, "queue"),
        min_size=1,
        max_size=4,
        timeout=10,
        configure=_find_procrastinate,
    )
    app = procrastinate.App(connector=connector)
    app.job_manager = _Manager(connector)

    @app.task(name="sync", queue=QUEUE, pass_context=True)
    async def run_sync(context: job_context.JobContext, competition_id: int) -> None:
        assert context.job.id is not None
        await work.sync(competition_id, context.job.id)

    @app.task(name="describe", queue=QUEUE)
    async def run_describe(competition_id: int) -> None:
        await work.describe(competition_id)

    @app.task(name="remove", queue=QUEUE)
    async def run_remove() -> None:
        await work.remove()

    @app.task(name="sweep", queue=QUEUE)
    async def run_sweep() -> None:
        await work.sweep()

    return app


async def _find_procrastinate(connection: psycopg.AsyncConnection[Any]) -> None:
    # Each thing it does is one statement: BEGIN and COMMIT around it would be two more round trips.
    await connection.set_autocommit(True)
    # Its statements use unqualified names.
    await connection.execute(f"SET search_path = {SCHEMA}, pg_temp")
    # Statistics from a quiet time say that no job waits, and a fetch would sort all ten thousand to take the first:
    # there is an index in that order.
    await connection.execute("SET enable_sort = off")
