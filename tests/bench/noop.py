"""`python -m tests.bench.noop DSN CONCURRENCY`: procrastinate with jobs that do nothing, the floor of row 13."""

from __future__ import annotations

import asyncio
import sys

import procrastinate
from procrastinate import jobs


async def work(dsn: str, concurrency: int) -> None:
    """Work until killed."""
    connector = procrastinate.PsycopgConnector(
        conninfo=dsn, min_size=1, max_size=4, kwargs={"options": "-c search_path=procrastinate"}
    )
    app = procrastinate.App(connector=connector)

    @app.task(name="noop", queue="noop")
    async def noop(competition_id: int) -> None:
        """Do nothing."""

    async with app.open_async():
        print("ready", flush=True)
        await app.run_worker_async(queues=["noop"], concurrency=concurrency, delete_jobs=jobs.DeleteJobCondition.ALWAYS)


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], int(sys.argv[2])))
