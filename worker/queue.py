"""procrastinate, set up for our one queue: the tasks, and a worker that is woken by our own LISTEN.

A job's payload is an id: what the row says now is the truth. Jobs are deleted when they end, and procrastinate's
retry is not used; sync_requests and sync_state know what is still to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import procrastinate
import psycopg
from procrastinate import jobs, manager, worker
from psycopg_pool import AsyncConnectionPool

QUEUE = "kaggle"
CHANNEL = "procrastinate_queue_v1#kaggle"
SCHEMA = "procrastinate"


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

    def __init__(self, app: procrastinate.App, *, concurrency: int, wait: bool, patience: float) -> None:
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

    def wake(self) -> None:
        """A job may have been inserted: fetch."""
        self._new_job_event.set()


Task = Callable[[int], Awaitable[Any]]


def queue_app(direct_url: str, *, sync: Task, describe: Task, sweep: Callable[[], Awaitable[Any]]) -> procrastinate.App:
    """Build the procrastinate application on the direct connection, with what each kind of job does."""
    connector = procrastinate.PsycopgConnector(
        pool_factory=AsyncConnectionPool,
        conninfo=direct_url,
        min_size=1,
        max_size=4,
        timeout=10,
        kwargs={"application_name": "pgleaderboard queue"},
        configure=_find_procrastinate,
    )
    app = procrastinate.App(connector=connector)
    app.job_manager = _Manager(connector)

    @app.task(name="sync", queue=QUEUE)
    async def run_sync(competition_id: int) -> None:
        await sync(competition_id)

    @app.task(name="describe", queue=QUEUE)
    async def run_describe(competition_id: int) -> None:
        await describe(competition_id)

    @app.task(name="sweep", queue=QUEUE)
    async def run_sweep() -> None:
        await sweep()

    return app


async def _find_procrastinate(connection: psycopg.AsyncConnection[Any]) -> None:
    # Its statements use unqualified names.
    await connection.set_autocommit(True)
    await connection.execute(f"SET search_path = {SCHEMA}, pg_temp")
    await connection.set_autocommit(False)
