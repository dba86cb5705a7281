"""What a worker shows to a monitor.

What this process does is counted as it happens. What lives in the database is read at each scrape, by one query on
a connection of its own with a short time-out: a scrape neither waits for a sync nor takes a connection from one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pgleaderboard import monitor
from pgleaderboard.database.connect import connect, row, transaction
from pgleaderboard.process.supervisor import Health, State

log = logging.getLogger(__name__)

QUERY_SECONDS = 2  # the database's time for a scrape; Prometheus gives up after 10
DEAD_AFTER = 120.0  # seconds without a beat; its heart beats every 3 s, or it tries to connect for at most 30 a URL

# A competition that has no board yet is as old as its row.
_VALUES = """
WITH status AS MATERIALIZED (SELECT * FROM kaggle.sync_status)
SELECT (SELECT count(*) FROM kaggle.workers) AS workers,
       (SELECT json_object_agg(sync_state, n)
        FROM (SELECT sync_state, count(*) AS n FROM status GROUP BY sync_state) AS states) AS competitions,
       (SELECT extract(epoch FROM max(coalesce(board_age, clock_timestamp() - created_at)))::float8
        FROM status JOIN kaggle.competitions c ON c.id = competition_id
        WHERE status.status = 'ongoing' AND c.auto_sync AND c.kaggle_competition_id IS NOT NULL) AS oldest_board,
       (SELECT count(*) FROM procrastinate.procrastinate_jobs
        WHERE queue_name = 'kaggle' AND status IN ('todo', 'doing')) AS jobs,
       (SELECT extract(epoch FROM clock_timestamp() - min(since))::float8
        FROM kaggle_internal.wanted(NULL, false) WHERE task = 'sync') AS oldest_wish,
       (SELECT greatest(0, extract(epoch FROM max(blocked_until) - clock_timestamp()))::float8
        FROM kaggle_internal.kaggle_budget
        WHERE credential = %s AND blocked_until > clock_timestamp()) AS pause
"""


class Metrics:
    """What this process counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._syncs = Counter(
            "pgleaderboard_syncs", "Attempts that this worker ended, by outcome.", ["outcome"], registry=self.registry
        )
        self._duration = Histogram(
            "pgleaderboard_sync_duration_seconds",
            "Time from the beginning to the end of an attempt of this worker.",
            buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600),
            registry=self.registry,
        )
        self._answers = Counter(
            "pgleaderboard_kaggle_requests",
            "Requests of this worker to Kaggle, by the answer's HTTP status; none = no answer.",
            ["status"],
            registry=self.registry,
        )
        for outcome in ("changed", "unchanged", "failed", "skipped", "superseded"):
            # From the start, so that a rate sees the first one.
            self._syncs.labels(outcome)

    def ended(self, outcome: str, seconds: float) -> None:
        """An attempt ended."""
        self._syncs.labels(outcome).inc()
        self._duration.observe(seconds)

    def answered(self, status: str) -> None:
        """Kaggle answered with this status; "none" = no answer."""
        self._answers.labels(status).inc()


@dataclass(frozen=True)
class DatabaseValues(Collector):
    """What is read from the database at each scrape.

    url: the database, perhaps through a pooler. credential: its fingerprint. requests_per_minute: 0 = no limit.
    """

    url: str
    credential: str
    requests_per_minute: int

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics; without those of the database if it does not answer."""
        try:
            with (
                connect(self.url, "metrics", connect_timeout=QUERY_SECONDS) as connection,
                transaction(connection, seconds=QUERY_SECONDS),
            ):
                values = row(connection, _VALUES, self.credential)
        except psycopg.Error as error:
            log.debug("the metrics could not be read: %s", error)
            values = None
        yield monitor.gauge("database_up", "Whether the database answered this scrape.", values is not None)
        yield monitor.build()
        yield monitor.gauge(
            "kaggle_budget_per_minute",
            "Requests to Kaggle that all workers together may make; 0 = no limit.",
            self.requests_per_minute,
        )
        if values is None:
            return
        states = GaugeMetricFamily("pgleaderboard_competitions", "Competitions by sync_state.", labels=["sync_state"])
        for state in ("running", "queued", "failing", "off", "idle"):
            states.add_metric([state], (values.competitions or {}).get(state, 0))
        yield states
        yield monitor.gauge("workers", "Workers that are alive.", values.workers)
        yield monitor.gauge("queue_jobs", "Jobs that wait or run.", values.jobs)
        yield monitor.gauge(
            "oldest_board_age_seconds", "Age of the oldest board that should be current.", values.oldest_board
        )
        yield monitor.gauge(
            "oldest_wait_seconds", "How long the longest waiting sync has been wanted.", values.oldest_wish
        )
        yield monitor.gauge("kaggle_pause_seconds", "How long Kaggle still wants no requests (429).", values.pause)


@contextmanager
def serving(host: str, port: int, metrics: Metrics, values: DatabaseValues, health: Health) -> Iterator[str]:
    """Serve them as `monitor.serving` does."""
    metrics.registry.register(values)

    def alive() -> str:
        silent = time.monotonic() - health.beat_at
        return "" if silent < DEAD_AFTER else f"no heartbeat for {silent:.0f} s"

    def ready() -> str:
        return "" if health.state is State.WORKING else health.reason

    with monitor.serving(host, port, metrics.registry, alive, ready) as url:
        yield url
