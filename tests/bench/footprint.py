"""Rows 8 and 14: memory, an idle worker."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.bench.report import Figure, within
from tests.bench.world import World, wait_until

MIB = 2**20
STATEMENTS = """
SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
"""

QUIET = """
SELECT count(DISTINCT competition_id) = %s AND NOT EXISTS (SELECT FROM kaggle_internal.wanted(NULL, true))
   AND NOT EXISTS (SELECT FROM procrastinate.procrastinate_jobs) FROM kaggle.sync_runs
"""


def memory(world: World) -> Iterator[Figure]:
    """Row 8: the peak of a worker process over its idle memory, in a first sync and where every row changes."""
    tiny = world.serve("tiny", world.board(10).csv())
    with world.kaggle() as kaggle:
        for teams in (world.scale.of(100_000, 2_000), world.scale.of(1_000_000, 10_000)):
            board = world.board(teams)
            served = world.serve("heavy", board.csv())
            with world.database() as database, world.worker(database, kaggle) as worker:
                database.insert(tiny.name)  # everything is imported and connected
                wait_until(database, "SELECT count(*) > 0 FROM kaggle.sync_runs")
                time.sleep(1)
                pid = worker.process.pid
                for work in (f"first sync of {teams:,} teams", "… a sync that changes every row of it"):
                    runs = database.one("SELECT count(*) FROM kaggle.sync_runs WHERE outcome = 'changed'")
                    idle = psutil.Process(pid).memory_info().rss
                    Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak is counted anew
                    if "first" in work:
                        _, slug = database.insert(served.name)
                    else:
                        database.db.execute("SELECT kaggle.sync_now(%s)", (slug,))
                    query = "SELECT count(*) > %s FROM kaggle.sync_runs WHERE outcome = 'changed'"
                    wait_until(database, query, runs, pause=0.05)
                    over = _peak(pid) - idle
                    yield within(8, f"peak memory over idle, {work}", over / MIB, 64, "MiB", idle=idle / MIB)
                    board.shake()
                    served = world.serve("heavy", board.csv())
                    time.sleep(0.5)


def _peak(pid: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def idle(world: World) -> Iterator[Figure]:
    """Row 14: a worker that has synced and now waits."""
    length = world.scale.of(60, 8)
    tiny = world.serve("tiny", world.board(10).csv())
    with world.database() as database, world.kaggle() as kaggle, world.worker(database, kaggle) as worker:
        database.db.execute("CREATE EXTENSION pg_stat_statements")
        for _ in range(100):
            database.insert(tiny.name)
        wait_until(database, QUIET, 100, pause=0.1)
        time.sleep(2)
        process = psutil.Process(worker.process.pid)
        asked, used = database.one(STATEMENTS), process.cpu_times()
        begun = time.perf_counter()
        time.sleep(length)
        after = process.cpu_times()
        took = time.perf_counter() - begun
        queries = database.one(STATEMENTS) - asked - 1  # the first count itself
        busy = after.user + after.system - used.user - used.system
        yield within(14, f"idle worker for {length} s: processor", 100 * busy / took, 0.5, "% of a core")
        yield within(14, "… queries", queries / took, 3, "a second")
        yield within(14, "… memory", process.memory_info().rss / MIB, 90, "MiB")
