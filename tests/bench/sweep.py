"""Rows 12 and 13: ten thousand competitions."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from pgleaderboard.sync import board
from tests.bench.report import Figure, within
from tests.bench.timing import in_turns, median
from tests.bench.world import CREDENTIAL, Database, Served, World, wait_until

SMALL = 10  # teams
SETTLE = 0.5  # seconds until a worker that has started is idle
SWEEP = "SELECT queued FROM kaggle_internal.sweep(%s, %s)"

DEFER = """
SELECT procrastinate_defer_jobs_v1(array_agg(
    ROW('noop', 'noop', 0, NULL, NULL, jsonb_build_object('competition_id', n), NULL)::procrastinate_job_to_defer_v1))
FROM generate_series(1, %s) n
"""


def fill(database: Database, competitions: int, served: Served) -> None:
    """So many ongoing competitions that were just synced, each with that board as it is served; no entry is needed."""
    with served.zip.open("rb") as archive:
        read = board.read_zip(archive, 2**30)
    db = database.db
    db.execute(
        "INSERT INTO kaggle.competitions (kaggle_competition_id, auto_sync)"
        " SELECT %s || '-' || n, false FROM generate_series(1, %s) n",
        (served.name, competitions),
    )
    db.execute(
        "INSERT INTO kaggle.boards (competition_id, slug, kind, teams, digest, observed_at)"
        " SELECT id, kaggle_competition_id, %s, %s, %s, clock_timestamp() FROM kaggle.competitions",
        (read.kind, SMALL, read.digest),
    )
    db.execute(
        "INSERT INTO kaggle_internal.sync_state (competition_id, link_revision, last_run_id, due_at, due_interval, "
        "describe_at,"
        " last_attempt_at, last_success_at, tried_credentials)"
        " SELECT id, link_revision, nextval('kaggle_internal.run_ids'), now() + '5 hours', '5 hours', now() + '1 day',"
        " now(), now(), ARRAY[%s]"
        " FROM kaggle.competitions",
        (CREDENTIAL.fingerprint,),
    )
    db.execute("UPDATE kaggle.competitions SET auto_sync = true, sync_interval = '5 hours'")
    db.execute("DELETE FROM kaggle_internal.sync_requests")
    db.execute("TRUNCATE procrastinate.procrastinate_jobs CASCADE")
    db.execute("VACUUM ANALYZE")


def sweeping(world: World) -> Iterator[Figure]:
    """Row 12: the sweep of 10,000 ongoing competitions, none due and all due."""
    competitions = world.scale.of(10_000, 500)
    served = world.serve("small", world.board(SMALL).csv())
    with world.database() as database:
        fill(database, competitions, served)
        worker = database.one("SELECT kaggle_internal.register_worker('bench', %s)", CREDENTIAL.fingerprint)

        def sweep(thorough: bool, expected: int) -> float:
            begun = time.perf_counter()
            queued = database.one(SWEEP, worker, thorough)
            taken = time.perf_counter() - begun
            if queued != expected:
                raise RuntimeError(f"a sweep queued {queued} jobs, not {expected}")
            return taken

        def all_due() -> float:
            database.db.execute("TRUNCATE procrastinate.procrastinate_jobs CASCADE")
            database.db.execute("UPDATE kaggle_internal.sync_state SET due_at = now() - interval '1 second'")
            return sweep(False, competitions)

        quiet, thorough = in_turns(world.scale.of(25, 5), lambda: sweep(False, 0), lambda: sweep(True, 0), warm_up=3)
        yield within(12, f"sweep of {competitions:,}, none due", median(quiet) * 1000, 5, "ms", ours=quiet)
        yield within(12, "… the one of three that looks for more", median(thorough) * 1000, 5, "ms", ours=thorough)
        due, again = in_turns(world.scale.of(5, 5), all_due, lambda: sweep(False, 0))
        yield within(12, f"sweep of {competitions:,}, all due", median(due) * 1000, 1000, "ms", ours=due, again=again)
        yield Figure(12, "… queued again by the next sweep", ours="0 jobs", target="0 jobs", met=True)


def draining(world: World) -> Iterator[Figure]:
    """Row 13: 10,000 due competitions with unchanged boards, by turns with procrastinate's own no-op jobs.

    Each turn begins with all of them queued and counts what is done within some seconds.
    """
    competitions = world.scale.of(10_000, 1_000)
    window = world.scale.of(4, 1)
    served = world.serve("small", world.board(SMALL).csv())
    with world.kaggle() as kaggle, world.database() as database, world.database() as floor:
        fill(database, competitions, served)
        floor.db.execute("SET search_path = procrastinate")

        def rate(of: Database, done: str) -> float:
            time.sleep(SETTLE)
            before, begun = of.one(done), time.perf_counter()
            time.sleep(window)
            return float(of.one(done) - before) / (time.perf_counter() - begun)

        def noop() -> float:
            floor.db.execute("TRUNCATE procrastinate_jobs CASCADE")
            floor.db.execute(DEFER, (competitions,))
            floor.db.execute("ANALYZE procrastinate_jobs")  # at its best: without, each fetch sorts all that waits
            with world.process("tests.bench.noop", floor.url, "4") as process:
                process.wait_until_it_says("ready")
                return rate(floor, "SELECT -count(*) FROM procrastinate_jobs")

        def ours(workers: int) -> float:
            database.db.execute("TRUNCATE procrastinate.procrastinate_jobs CASCADE")
            database.db.execute("UPDATE kaggle_internal.sync_state SET due_at = clock_timestamp()")
            with contextlib.ExitStack() as running:
                for _ in range(workers):
                    running.enter_context(world.worker(database, kaggle))
                wait_until(database, "SELECT count(*) > %s FROM procrastinate.procrastinate_jobs", competitions // 2)
                return rate(database, "SELECT count(*) FROM kaggle.sync_runs")

        nothing, alone, both = in_turns(5, noop, lambda: ours(1), lambda: ours(2))
    work = f"{competitions:,} due competitions with unchanged boards, one worker"
    samples = {"procrastinate": nothing, "one": alone, "two": both}
    yield _faster(work, "procrastinate's no-op jobs", alone, nothing, 0.3, samples)
    yield _faster("… two workers", "one worker", both, alone, 1.1, {})


def _faster(
    work: str, against: str, ours: list[float], floor: list[float], limit: float, samples: dict[str, list[float]]
) -> Figure:
    mine, least = median(ours), median(floor)
    ratio = mine / least
    target = f"≥ {limit:g} ×"
    return Figure(13, work, against, f"{mine:,.0f}/s", f"{least:,.0f}/s", ratio, target, ratio >= limit, samples)
