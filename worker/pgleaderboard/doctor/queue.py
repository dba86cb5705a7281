"""Checks of the queue: procrastinate, the workers, and jobs that got stuck."""

from __future__ import annotations

from datetime import timedelta
from importlib.metadata import version as installed_version

from pgleaderboard import __version__
from pgleaderboard.database.connect import Connection, column, row, rows, value
from pgleaderboard.doctor.finding import Finding, Findings, ok, problem, some, warning

TESTED_QUEUE = "3.10."
STUCK_AFTER = timedelta(minutes=10)  # a worker sweeps every 4 s, and a sync has its deadline


def queue(connection: Connection) -> Findings:
    """Whether procrastinate's package fits its schema."""
    package = installed_version("procrastinate")
    missing = column(
        connection,
        "SELECT name FROM unnest(ARRAY['procrastinate_defer_jobs_v1', 'procrastinate_fetch_job_v2', "
        "'procrastinate_finish_job_v1']) AS name WHERE NOT EXISTS (SELECT FROM pg_proc "
        "WHERE pronamespace = to_regnamespace('procrastinate') AND proname = name)",
    )
    if missing:
        yield problem(
            "queue",
            f"procrastinate {package} misses {some(missing)} in its schema",
            "restore schema procrastinate from a backup, or see `pgleaderboard uninstall --help`",
        )
    elif not package.startswith(TESTED_QUEUE):
        yield warning(
            "queue",
            f"procrastinate {package} is installed, not {TESTED_QUEUE}x",
            "install the required version: pip install --upgrade pgleaderboard",
        )
    else:
        yield ok("queue", f"procrastinate {package} fits its schema")


def workers(connection: Connection, fingerprint: str) -> Findings:
    """Whether a worker is running, and those that run are of this version and credential."""
    registered = rows(
        connection,
        """
        SELECT w.id, w.version, w.credential, extract(epoch FROM clock_timestamp() - w.seen_at)::float8 AS silent,
               a.id IS NOT NULL AS alive, a.problem
        FROM kaggle_internal.worker_processes w LEFT JOIN kaggle.workers a ON a.id = w.id ORDER BY w.id
        """,
    )
    for worker in registered:
        if not worker.alive:
            yield warning(
                "workers",
                f"worker {worker.id} was killed or cut off, last heartbeat {worker.silent:.0f} s ago",
                "look into its log; the next worker restarts its syncs",
            )
        elif worker.version != __version__:
            yield warning(
                "workers",
                f"worker {worker.id} is pgleaderboard {worker.version}, this program is {__version__}",
                "restart it after an upgrade",
            )
        elif worker.credential != fingerprint:
            yield warning(
                "workers",
                f"worker {worker.id} uses another Kaggle credential than this program",
                "restart it after changing a credential, which it reads at its start",
            )
        if worker.problem:
            yield warning(
                "workers",
                f"worker {worker.id}: {worker.problem}",
                "give all workers the same settings, and restart them",
            )
    silent = [worker.silent for worker in registered if worker.alive]
    if silent:
        yield ok("workers", f"{len(silent)} running, last heartbeat {min(silent):.0f} s ago")
        return
    waiting = value(connection, "SELECT count(DISTINCT competition_id) FROM kaggle_internal.wanted(NULL, true)")
    yield Finding(
        "workers",
        "problem" if waiting else "warning",
        f"no worker is running; {f'{waiting} competitions wait' if waiting else 'nothing waits'} for one",
        "start one: pgleaderboard work (or work --once, from cron)",
    )


def jobs(connection: Connection, fingerprint: str) -> Findings:
    """Syncs and jobs that should have begun or ended long ago."""
    stuck = [*_long_runs(connection), *_long_waits(connection, fingerprint), *_lost_jobs(connection)]
    yield from stuck or [ok("jobs", "nothing is stuck")]


def _long_runs(connection: Connection) -> Findings:
    for run in rows(
        connection,
        """
        SELECT s.running_run_id, s.competition_id, clock_timestamp() - s.running_since AS since
        FROM kaggle_internal.sync_state s WHERE s.running_since < clock_timestamp() - %s::interval
        ORDER BY s.running_since
        """,
        STUCK_AFTER,
    ):
        yield problem(
            "jobs",
            f"run {run.running_run_id} of competition {run.competition_id} has been running for {_minutes(run.since)}",
            "restart its worker: the sync begins again",
        )


def _long_waits(connection: Connection, fingerprint: str) -> Findings:
    paused, alive = row(
        connection,
        "SELECT EXISTS (SELECT FROM kaggle_internal.kaggle_budget WHERE credential = %s "
        "AND blocked_until > clock_timestamp()) AS paused, EXISTS (SELECT FROM kaggle.workers) AS alive",
        fingerprint,
    )
    waiting, oldest = row(
        connection,
        "SELECT count(DISTINCT competition_id), clock_timestamp() - min(since) "
        "FROM kaggle_internal.wanted(NULL, false) WHERE task = 'sync' AND since < clock_timestamp() - %s::interval",
        STUCK_AFTER,
    )
    if waiting and alive and not paused:
        yield problem(
            "jobs",
            f"{waiting} competitions wait for a sync, the oldest for {_minutes(oldest)}, though a worker is running",
            "raise PGLEADERBOARD_REQUESTS_PER_MINUTE or sync_interval if the budget is too small for so many boards; "
            "else restart the worker and report its log",
        )


def _lost_jobs(connection: Connection) -> Findings:
    lost = value(
        connection,
        "SELECT count(*) FROM procrastinate.procrastinate_jobs j WHERE j.queue_name = 'kaggle' AND j.status = 'doing' "
        "AND NOT EXISTS (SELECT FROM procrastinate.procrastinate_workers p WHERE p.id = j.worker_id "
        "AND p.last_heartbeat > now() - interval '1 minute')",
    )
    if lost:
        yield warning("jobs", f"jobs held by a worker that is gone: {lost}", "nothing: the next worker takes them over")


def _minutes(length: timedelta) -> str:
    return f"{length.total_seconds() / 60:.0f} minutes"
