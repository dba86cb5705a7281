"""Checks of the queue: procrastinate, the workers, and jobs that got stuck."""

from __future__ import annotations

from datetime import timedelta
from importlib.metadata import version as installed_version

from pgleaderboard import __version__
from pgleaderboard.database.connect import Connection, column, row, rows, value
from pgleaderboard.doctor.finding import Findings, ok, problem, some, warning

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
        remedy = "restore schema procrastinate from a backup, or see `pgleaderboard uninstall --help`"
        yield problem("queue", f"procrastinate {package} misses {some(missing)} in its schema", remedy)
    elif not package.startswith(TESTED_QUEUE):
        remedy = "install the required version: pip install --upgrade pgleaderboard"
        yield warning("queue", f"procrastinate {package} is installed, not {TESTED_QUEUE}x", remedy)
    else:
        yield ok("queue", f"procrastinate {package} fits its schema")


def workers(connection: Connection, fingerprint: str) -> Findings:
    """Whether a worker is running, and those that run are of this version and credential."""
    registered = rows(
        connection,
        """
        SELECT w.id, w.version, w.credential, extract(epoch FROM clock_timestamp() - w.seen_at)::float8 AS silent,
               a.worker_id IS NOT NULL AS alive, a.problem
        FROM kaggle_internal.worker_processes w LEFT JOIN kaggle.workers a ON a.worker_id = w.id ORDER BY w.id
        """,
    )
    for worker in registered:
        name = f"worker {worker.id}"
        if not worker.alive:
            message = f"{name} was killed or cut off, last heartbeat {worker.silent:.0f} s ago"
            yield warning("workers", message, "look into its log; the next worker restarts its syncs")
        elif worker.version != __version__:
            message = f"{name} is pgleaderboard {worker.version}, this program is {__version__}"
            yield warning("workers", message, "restart it after an upgrade")
        elif worker.credential != fingerprint:
            message = f"{name} uses another Kaggle credential than this program"
            yield warning("workers", message, "restart it after changing a credential, which it reads at its start")
        if worker.problem:
            remedy = "give all workers the same settings, and restart them"
            yield warning("workers", f"{name}: {worker.problem}", remedy)
    silent = [worker.silent for worker in registered if worker.alive]
    if silent:
        yield ok("workers", f"{len(silent)} running, last heartbeat {min(silent):.0f} s ago")
        return
    waiting = value(connection, "SELECT count(DISTINCT competition_id) FROM kaggle_internal.wanted(NULL, true)")
    message = f"no worker is running; {_waiting(waiting) if waiting else 'nothing waits'} for one"
    finding = problem if waiting else warning
    yield finding("workers", message, "start one: pgleaderboard work (or work --once, from cron)")


def jobs(connection: Connection, fingerprint: str) -> Findings:
    """Syncs and jobs that should have begun or ended long ago."""
    stuck = [*_long_runs(connection), *_long_waits(connection, fingerprint), *_lost_jobs(connection)]
    yield from stuck or [ok("jobs", "nothing is stuck")]


def _long_runs(connection: Connection) -> Findings:
    for run, competition, minutes in rows(
        connection,
        """
        SELECT running_run_id, competition_id, round(extract(epoch FROM clock_timestamp() - running_since) / 60)
        FROM kaggle_internal.sync_state WHERE running_since < clock_timestamp() - %s::interval ORDER BY running_since
        """,
        STUCK_AFTER,
    ):
        message = f"run {run} of competition {competition} has been running for {minutes} minutes"
        yield problem("jobs", message, "restart its worker: the sync begins again")


def _long_waits(connection: Connection, fingerprint: str) -> Findings:
    waiting, minutes = row(
        connection,
        """
        SELECT count(DISTINCT competition_id), round(extract(epoch FROM clock_timestamp() - min(since)) / 60)
        FROM kaggle_internal.wanted(NULL, false)
        WHERE task = 'sync' AND since < clock_timestamp() - %s::interval
          AND EXISTS (SELECT FROM kaggle.workers)
          AND NOT EXISTS (SELECT FROM kaggle_internal.kaggle_budget
                          WHERE credential = %s AND blocked_until > clock_timestamp())
        """,
        STUCK_AFTER,
        fingerprint,
    )
    if waiting:
        yield problem(
            "jobs",
            f"{_waiting(waiting)} for a sync, the oldest for {minutes} minutes, though a worker is running",
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


def _waiting(count: int) -> str:
    return f"{count} competition{' waits' if count == 1 else 's wait'}"
