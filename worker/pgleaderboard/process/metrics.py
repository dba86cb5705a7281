"""What a worker tells a monitor: OpenMetrics at /metrics, whether it lives at /healthz, whether it works at /readyz.

What this process does is counted as it happens. What lives in the database is read when somebody asks, by one query on
a connection of its own with a short time-out: a scrape neither waits for a sync nor takes a connection from one.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import psycopg
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from psycopg.rows import namedtuple_row

from pgleaderboard import __version__
from pgleaderboard.database.connect import connect
from pgleaderboard.errors import NeedsPerson
from pgleaderboard.logs import harmless
from pgleaderboard.process.supervisor import Health

log = logging.getLogger(__name__)

QUERY_SECONDS = 2  # that the database may take for a scrape; Prometheus gives up after 10
DEAD_AFTER = 120.0  # seconds without a beat; a worker sweeps every 4 s, or tries to connect for at most 20
_OUTCOMES = ("changed", "unchanged", "failed", "skipped", "superseded")

# Competitions that are synced by themselves and have no board yet are as old as their row.
_VALUES = """
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
        WHERE credential = %(credential)s AND blocked_until > clock_timestamp()) AS pause
FROM (SELECT) AS one
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
        for outcome in _OUTCOMES:  # there from the start, so that a rate sees the first one
            self._syncs.labels(outcome)

    def ended(self, outcome: str, seconds: float) -> None:
        """An attempt ended."""
        self._syncs.labels(outcome).inc()
        self._duration.observe(seconds)

    def answered(self, status: str) -> None:
        """Kaggle answered with this status, or not at all."""
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
        """Give all values; where the database does not answer only that."""
        try:
            values = self._read()
        except psycopg.Error as error:
            log.debug("the metrics could not be read: %s", error)
            values = None
        yield GaugeMetricFamily(
            "pgleaderboard_database_up", "Whether the database answered this scrape.", value=float(values is not None)
        )
        build = GaugeMetricFamily("pgleaderboard_build_info", "This program.", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
        yield GaugeMetricFamily(
            "pgleaderboard_kaggle_budget_per_minute",
            "Requests to Kaggle that all workers together may make; 0 = no limit.",
            value=self.requests_per_minute,
        )
        if values is None:
            return
        states = GaugeMetricFamily("pgleaderboard_competitions", "Competitions by sync_state.", labels=["sync_state"])
        for state in ("running", "queued", "failing", "off", "idle"):
            states.add_metric([state], (values.competitions or {}).get(state, 0))
        yield states
        for name, said, value in (
            ("workers", "Workers that are alive.", values.workers),
            ("queue_jobs", "Jobs that wait or run.", values.jobs),
            ("oldest_board_age_seconds", "Age of the oldest board that should be current.", values.oldest_board),
            ("oldest_wait_seconds", "How long the longest waiting sync has been wanted.", values.oldest_wish),
            ("kaggle_pause_seconds", "How long Kaggle still wants no requests (429).", values.pause),
        ):
            yield GaugeMetricFamily(f"pgleaderboard_{name}", said, value=value or 0)

    def _read(self) -> Any:
        with (
            connect(self.url, "metrics", connect_timeout=QUERY_SECONDS) as connection,
            connection.transaction(),
            connection.cursor(row_factory=namedtuple_row) as cursor,
        ):
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", (f"{QUERY_SECONDS}s",))
            return cursor.execute(
                "WITH status AS MATERIALIZED (SELECT * FROM kaggle.sync_status)" + _VALUES,
                {"credential": self.credential},
            ).fetchone()


class MetricsServer:
    """Serves them over HTTP inside a `with` block, in threads of its own. port: 0 = any that is free."""

    def __init__(self, host: str, port: int, metrics: Metrics, values: DatabaseValues, health: Health) -> None:
        self._address = (host, port)
        self._metrics = metrics
        self._values = values
        self._health = health
        self._one_scrape = threading.Lock()

    def __enter__(self) -> MetricsServer:
        """Listen. Raises NeedsPerson where that cannot be."""
        answer = self._answer

        class Handler(_Handler):
            answered_by = staticmethod(answer)

        try:
            self._server = _Server(self._address, Handler)
        except OSError as error:
            host, port = self._address
            raise NeedsPerson(
                f"cannot serve metrics on {host}:{port}: {error.strerror or error}; "
                "PGLEADERBOARD_METRICS_PORT and PGLEADERBOARD_METRICS_HOST say where"
            ) from None
        host = f"[{self._address[0]}]" if ":" in self._address[0] else self._address[0]
        self.url = f"http://{host}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="metrics", daemon=True)
        self._thread.start()
        log.info("metrics at %s/metrics", self.url)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, path: str, accept: str) -> tuple[int, str, bytes]:
        """Status, content type and body for a path."""
        match path:
            case "/metrics":
                encode, content_type = choose_encoder(accept)
                with self._one_scrape:  # however many ask, the database is asked by one
                    return 200, content_type, encode(_Together((self._metrics.registry, self._values)))
            case "/healthz":
                silent = time.monotonic() - self._health.beat_at
                return _plain(200, "alive") if silent < DEAD_AFTER else _plain(503, f"no beat for {silent:.0f} s")
            case "/readyz":
                reason = self._health.reason
                return _plain(503, harmless(reason)) if reason else _plain(200, "ready")
            case _:
                return _plain(404, "there are /metrics, /healthz and /readyz")


@dataclass(frozen=True)
class _Together(Collector):
    """Several in one answer. A registry would collect each of them twice, once for its name."""

    parts: tuple[Collector, ...]

    def collect(self) -> Iterator[Metric]:
        for part in self.parts:
            yield from part.collect()


def _plain(status: int, text: str) -> tuple[int, str, bytes]:
    return status, "text/plain; charset=utf-8", f"{text}\n".encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a client that holds its connection must not hold up the worker's end

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is nothing to report."""


class _Handler(BaseHTTPRequestHandler):
    timeout = 5  # seconds for a client to say what it wants
    answered_by: Any

    def do_GET(self) -> None:
        """Answer."""
        status, content_type, body = self.answered_by(self.path.partition("?")[0], self.headers.get("Accept", ""))
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """A scrape is no event."""
