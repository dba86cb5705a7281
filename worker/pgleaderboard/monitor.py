"""Serves a monitor over HTTP: /metrics in OpenMetrics, whether the process is alive at /healthz, ready at /readyz."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from pgleaderboard import __version__
from pgleaderboard.errors import NeedsPerson
from pgleaderboard.logs import harmless

log = logging.getLogger(__name__)


def gauge(name: str, documentation: str, value: float | None) -> GaugeMetricFamily:
    """One of ours; 0 where there is no value."""
    return GaugeMetricFamily(f"pgleaderboard_{name}", documentation, value=value or 0)


def build() -> Metric:
    """This program."""
    family = GaugeMetricFamily("pgleaderboard_build_info", "This program.", labels=["version"])
    family.add_metric([__version__], 1)
    return family


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
def serving(
    host: str, port: int, registry: CollectorRegistry, alive: Callable[[], str], ready: Callable[[], str]
) -> Iterator[str]:
    """Serve in threads of its own. port: 0 = any that is free. Yields the base URL.

    alive, ready: why the process is not, empty where it is. Raises NeedsPerson if the address cannot be listened on.
    """
    scrape = make_wsgi_app(registry)
    one_scrape = threading.Lock()  # many scrapes at once query the database one after the other

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        status, text = "200 OK", ""
        match environ["REQUEST_METHOD"], environ["PATH_INFO"]:
            case "GET", "/metrics":
                with one_scrape:
                    body: Iterable[bytes] = scrape(environ, start_response)
                return body
            case "GET", "/healthz" | "/readyz" as path:
                reason = alive() if path == "/healthz" else ready()
                text = harmless(reason) or ("alive" if path == "/healthz" else "ready")
                status = "503 Service Unavailable" if reason else status
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
