"""Builds everything from the settings: which database, which Kaggle, and the worker between them.

Kaggle's client, the simulator, the embedded server and the worker are imported where they are used: most commands need
none of them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from pgleaderboard.database.connect import parts_of, without_password
from pgleaderboard.errors import NeedsPerson
from pgleaderboard.settings import Settings, address

if TYPE_CHECKING:
    import socket

    from pgleaderboard.database.embedded import Server
    from pgleaderboard.kaggle.client import Kaggle
    from pgleaderboard.kaggle.credential import Credential
    from pgleaderboard.process.metrics import Metrics
    from pgleaderboard.process.supervisor import Supervisor
    from pgleaderboard.web.site import Site

EMBEDDED_DATABASE = "pgleaderboard"
SIMULATED_DATABASE = "simulated"  # of its own: invented boards never mix with real ones

NO_CREDENTIAL = (
    "no Kaggle credential found: boards stay failing until there is one "
    "(KAGGLE_API_TOKEN, KAGGLE_USERNAME with KAGGLE_KEY, or ~/.kaggle/kaggle.json)"
)


@dataclass(frozen=True)
class Database:
    """The database to work on. server: the embedded one, None for the user's own. read_url: of a standby of it."""

    url: str
    direct_url: str
    description: str
    server: Server | None = None
    read_url: str | None = None

    @property
    def tcp_url(self) -> str | None:
        """Where the embedded server listens on TCP."""
        return self.server.tcp_url(str(parts_of(self.url)["dbname"])) if self.server else None


@dataclass(frozen=True)
class Worker:
    """A worker that is ready to run. which_kaggle: one line for people."""

    database: Database
    which_kaggle: str
    supervisor: Supervisor

    def run(self, *, once: bool = False) -> None:
        """Run until SIGTERM or SIGINT. once: until nothing is due or requested."""
        import asyncio

        from pgleaderboard.process.supervisor import run_until_signalled

        asyncio.run(run_until_signalled(self.supervisor, once=once))


def is_simulated(settings: Settings, simulate: bool) -> bool:
    """Whether the simulator stands for Kaggle: on request, or on the embedded server without a credential."""
    from pgleaderboard.kaggle.credential import find_credential

    return simulate or (settings.url is None and _is_kaggle(settings) and find_credential(settings) is None)


def _is_kaggle(settings: Settings) -> bool:
    """Whether requests go to Kaggle itself, not to another server of its protocol."""
    return bool(settings.kaggle_url == Settings.model_fields["kaggle_url"].default)


@contextmanager
def database(settings: Settings, *, simulated: bool | None = None, port: int | None = None) -> Iterator[Database]:
    """The user's own database, else that of the embedded server, which runs as long as this lasts.

    simulated: whether its boards are invented, None = see is_simulated.
    port: of the embedded server on loopback TCP, None = Unix socket only.
    Raises PgleaderboardError with one line where neither works.
    """
    if settings.url:
        if port is not None:
            raise NeedsPerson("--port is for the embedded PostgreSQL, but DATABASE_URL is set")
        direct = settings.direct_url.get_secret_value() if settings.direct_url else settings.url
        read = settings.read_url.get_secret_value() if settings.read_url else None
        yield Database(settings.url, direct, "PostgreSQL of DATABASE_URL", read_url=read)
        return
    from pgleaderboard.database import embedded

    _forget_libpq()
    simulated = is_simulated(settings, False) if simulated is None else simulated
    name = SIMULATED_DATABASE if simulated else EMBEDDED_DATABASE
    server = embedded.start(settings.home, port=port, bin_dir=settings.postgres_bin)
    try:
        embedded.ensure_database(server, name)
        url = server.url(name)
        yield Database(url, url, f"embedded PostgreSQL {server.version}, database {name}", server)
    finally:
        if not embedded.in_use(server):  # the last user stops it, whoever started it
            embedded.stop(dataclasses.replace(server, started_here=True), settings.postgres_bin)


def _forget_libpq() -> None:
    """Drop libpq's own variables (PGHOSTADDR, PGSERVICE …): they are meant for other servers than the embedded one."""
    for name in [name for name in os.environ if re.fullmatch("PG[A-Z]+", name)]:
        del os.environ[name]


def reachable_url(settings: Settings) -> str | None:
    """The database's URL if its server may be running; None where the embedded one would have to be started."""
    if settings.url:
        return settings.url
    from pgleaderboard.database import embedded

    _forget_libpq()
    server = embedded.registered(settings.home)
    return server.url(SIMULATED_DATABASE if is_simulated(settings, False) else EMBEDDED_DATABASE) if server else None


def client(settings: Settings, url: str, credential: Credential | None, metrics: Metrics | None = None) -> Kaggle:
    """A client of Kaggle at a URL."""
    from pgleaderboard.kaggle.client import Kaggle

    return Kaggle(
        url,
        credential,
        timeout=settings.http_timeout,
        deadline=settings.download_deadline,
        limit=settings.max_download_mb * 2**20,
        answered=metrics.answered if metrics else None,
    )


@contextmanager
def kaggle(settings: Settings, *, simulated: bool, metrics: Metrics | None = None) -> Iterator[tuple[Kaggle, str]]:
    """Kaggle, or the simulator, which runs as long as this lasts. Also yields which one, and why, in one line."""
    from pgleaderboard.kaggle.credential import Credential, find_credential

    credential, url = find_credential(settings), settings.kaggle_url
    with contextlib.ExitStack() as stack:
        if simulated:
            from pgleaderboard.simulator.server import Simulator

            url = stack.enter_context(Simulator()).url
            which = "" if credential else "no Kaggle credential found: using "
            which += f"the built-in SIMULATOR at {url} (boards are invented)"
            credential = Credential("the simulator", token="simulated")  # noqa: S106 - opens nothing
        elif credential:
            which = f"Kaggle at {url}, credential from {credential.source}"
        elif _is_kaggle(settings):
            which = NO_CREDENTIAL
        else:
            credential = Credential("nowhere")
            which = f"Kaggle at {url}, without a credential"
        yield client(settings, url, credential, metrics), which


def supervisor(
    settings: Settings, database: Database, client: Kaggle, *, simulated: bool, metrics: Metrics | None = None
) -> Supervisor:
    """A worker on this database with this Kaggle."""
    from pgleaderboard.process.session import Configuration
    from pgleaderboard.process.supervisor import Supervisor

    configuration = Configuration(
        url=database.url,
        direct_url=database.direct_url,
        kaggle=client,
        concurrency=settings.concurrency,
        requests_per_minute=_budget(settings, simulated),
        limit=settings.max_download_mb * 2**20,
        runs_for=timedelta(days=settings.runs_days),
        history_for=None if settings.history_days is None else timedelta(days=settings.history_days),
        follow_up=(
            timedelta(hours=settings.after_end_hours),
            timedelta(days=settings.after_end_hourly_days),
            timedelta(days=settings.after_end_daily_days),
            timedelta(days=settings.after_end_weekly_days),
        ),
    )
    return Supervisor(dataclasses.replace(configuration, ended=metrics.ended) if metrics else configuration)


@contextmanager
def worker(settings: Settings, *, simulate: bool, port: int | None = None, once: bool = False) -> Iterator[Worker]:
    """A worker on the right database with the right Kaggle, with its metrics server if a port is set for it.

    once: without the metrics server. Raises NeedsPerson where the port of the metrics is taken, or no file can be made.
    """
    _check_temporary_files()
    simulated = is_simulated(settings, simulate)
    metrics = None
    if settings.metrics_port is not None and not once:
        from pgleaderboard.process.metrics import DatabaseValues, Metrics, serving  # some MiB

        metrics = Metrics()
    with contextlib.ExitStack() as stack:
        chosen = stack.enter_context(database(settings, simulated=simulated, port=port))
        client, which = stack.enter_context(kaggle(settings, simulated=simulated, metrics=metrics))
        made = supervisor(settings, chosen, client, simulated=simulated, metrics=metrics)
        if metrics and settings.metrics_port is not None:
            values = DatabaseValues(chosen.url, client.fingerprint, _budget(settings, simulated))
            stack.enter_context(serving(settings.metrics_host, settings.metrics_port, metrics, values, made.health))
        yield Worker(chosen, which, made)


def page(
    settings: Settings,
    database: Database,
    listener: socket.socket,
    *,
    url: str | None,
    only: Sequence[str],
    names: Sequence[str],
) -> Site:
    """The live page of a database, on a socket that listens. url: the address under which people open it.

    only: slugs of events, none = all. names: further names of this host.
    """
    from urllib.parse import urlsplit

    from pgleaderboard.web.reveals import Reveals
    from pgleaderboard.web.site import Site
    from pgleaderboard.web.source import Source

    host, number = listener.getsockname()[:2]
    try:
        url = address(url) if url else settings.page_url
    except ValueError as error:
        raise NeedsPerson(str(error)) from None
    is_local = ipaddress.ip_address(host.partition("%")[0]).is_loopback
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - it is compared
    known = {"localhost", "127.0.0.1", "::1", shown, *names, *settings.page_hosts.split(",")}
    known |= {urlsplit(url).hostname or ""} if url else set()
    here = url or f"http://{f'[{shown}]' if ':' in shown else shown}:{number}"
    return Site(
        Source(database.url, database.direct_url, only, read_url=database.read_url),
        frozenset(name.strip().lower() for name in known if name.strip()),
        takes_numbers=not is_local,
        url=here,
        public=url or (None if is_local or shown != host else here),
        reveals=Reveals.kept(settings.home, here, without_password(database.direct_url)[0]),
    )


@contextmanager
def monitored(settings: Settings, site: Site) -> Iterator[None]:
    """Serve the metrics of a page as long as this lasts, if a port is set for it."""
    if settings.metrics_port is None:
        yield
        return
    from pgleaderboard.web import metrics  # some MiB

    with metrics.serving(settings.metrics_host, settings.metrics_port, site):
        yield


def _check_temporary_files() -> None:
    import tempfile

    try:
        tempfile.gettempdir()
    except OSError as error:
        raise NeedsPerson(
            "no folder for temporary files can be written to: set TMPDIR to one, with room for the boards"
        ) from error


def _budget(settings: Settings, simulated: bool) -> int:
    is_set = "requests_per_minute" in settings.model_fields_set
    return 0 if simulated and not is_set else settings.requests_per_minute  # the simulator needs no limit
