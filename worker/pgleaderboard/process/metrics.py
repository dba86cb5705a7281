"""What a worker shows to a monitor: OpenMetrics at /metrics, whether it is alive at /healthz, ready at /readyz.

What this process does is counted as it happens. What lives in the database is read at each scrape, by one query on
a connection of its own with a short time-out: a scrape neither waits for a sync nor takes a connection from one.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

import psycopg
from prometheus_client import CollectorRegistry, Counter, Histogram, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pgleaderboard import __version__
from pgleaderboard.database.connect import connect, row, transaction
from pgleaderboard.errors import NeedsPerson
from pgleaderboard.logs import harmless
from pgleaderboard.process.supervisor import Health, State

log = logging.getLogger(__name__)

QUERY_SECONDS = 2  # the database's time for a scrape; Prometheus gives up after 10
DEAD_AFTER = 120.0  # seconds without a beat; its heart beats every 3 s, or it tries to connect for at most 30 a URL
_OK, _UNAVAILABLE = "200 OK", "503 Service Unavailable"

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
        yield _gauge("database_up", "Whether the database answered this scrape.", values is not None)
        build = GaugeMetricFamily("pgleaderboard_build_info", "This program.", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
        yield _gauge(
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
        yield _gauge("workers", "Workers that are alive.", values.workers)
        yield _gauge("queue_jobs", "Jobs that wait or run.", values.jobs)
        yield _gauge("oldest_board_age_seconds", "Age of the oldest board that should be current.", values.oldest_board)
        yield _gauge("oldest_wait_seconds", "How long the longest waiting sync has been wanted.", values.oldest_wish)
        yield _gauge("kaggle_pause_seconds", "How long Kaggle still wants no requests (429).", values.pause)


def _gauge(name: str, documentation: str, value: float | None) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"pgleaderboard_{name}", documentation, value=value or 0)


class _Server(ThreadingWSGIServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that went away."""


class _ServerV6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = 5  # seconds for a client to send its request

    def log_message(self, format: str, *args: Any) -> None:
        """Log no scrapes."""


@contextmanager
def serving(host: str, port: int, metrics: Metrics, values: DatabaseValues, health: Health) -> Iterator[str]:
    """Serve over HTTP in threads of its own. port: 0 = any that is free. Yields the base URL.

    Raises NeedsPerson if the address cannot be listened on.
    """
    metrics.registry.register(values)
    scrape = make_wsgi_app(metrics.registry)
    one_scrape = threading.Lock()  # many scrapes at once query the database one after the other

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        match environ["REQUEST_METHOD"], environ["PATH_INFO"]:
            case "GET", "/metrics":
                with one_scrape:
                    body: Iterable[bytes] = scrape(environ, start_response)
                return body
            case "GET", "/healthz":
                silent = time.monotonic() - health.beat_at
                is_alive = silent < DEAD_AFTER
                status, text = (_OK, "alive") if is_alive else (_UNAVAILABLE, f"no heartbeat for {silent:.0f} s")
            case "GET", "/readyz":
                is_ready = health.state is State.WORKING
                status, text = (_OK, "ready") if is_ready else (_UNAVAILABLE, harmless(health.reason))
            case "GET", _:
                status, text = "404 Not Found", "the pages are /metrics, /healthz and /readyz"
            case _:
                status, text = "501 Not Implemented", "only GET is implemented"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{text}\n".encode()]

    try:
        server = make_server(host, port, answer, _ServerV6 if ":" in host else _Server, _Handler)
    except OSError as error:
        raise NeedsPerson(
            f"cannot serve metrics on {host}:{port}: {error.strerror or error}; "
            "set PGLEADERBOARD_METRICS_PORT and PGLEADERBOARD_METRICS_HOST to another address"
        ) from None
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="metrics", daemon=True)
    thread.start()
    url = f"http://{f'[{host}]' if ':' in host else host}:{server.server_port}"
    log.info("metrics at %s/metrics", url)
    try:
        yield url
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
