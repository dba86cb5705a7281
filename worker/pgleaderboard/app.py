"""Builds everything from the settings: which database, which Kaggle, and the worker between them."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pgleaderboard.database import embedded
from pgleaderboard.database.connect import Connection, connect
from pgleaderboard.errors import NeedsPerson
from pgleaderboard.kaggle.client import Kaggle
from pgleaderboard.kaggle.credential import Credential, find_credential
from pgleaderboard.process.session import Configuration
from pgleaderboard.process.supervisor import Supervisor
from pgleaderboard.reading.asking import in_words
from pgleaderboard.settings import Settings
from pgleaderboard.simulator import Simulator

if TYPE_CHECKING:
    from pgleaderboard.process.metrics import Metrics

EMBEDDED_DATABASE = "pgleaderboard"
SIMULATED_DATABASE = "simulated"  # of its own: invented boards never mix with real ones

NO_CREDENTIAL = (
    "no Kaggle credential found: boards stay failing until there is one "
    "(KAGGLE_API_TOKEN, KAGGLE_USERNAME with KAGGLE_KEY, or ~/.kaggle/kaggle.json)"
)


@dataclass(frozen=True)
class Database:
    """The database to work on. server: the embedded one, None for the user's own."""

    url: str
    direct_url: str
    description: str
    server: embedded.Server | None = None


def is_simulated(settings: Settings, simulate: bool) -> bool:
    """Whether Kaggle is played by the simulator: when told so, or with no credential on the embedded server only."""
    return simulate or (settings.url is None and _is_kaggle(settings) and find_credential(settings) is None)


def _is_kaggle(settings: Settings) -> bool:
    """Whether requests go to Kaggle itself, and not to something else that speaks its protocol."""
    return bool(settings.kaggle_url == Settings.model_fields["kaggle_url"].default)


@contextmanager
def database(settings: Settings, *, simulated: bool, port: int | None = None) -> Iterator[Database]:
    """Reach the user's own database, else run the embedded server for as long as this lasts.

    port: of the embedded server on loopback TCP, None = Unix socket only.
    Raises PgleaderboardError with one line where neither works.
    """
    if settings.url:
        if port is not None:
            raise NeedsPerson("--port belongs to the embedded PostgreSQL; DATABASE_URL names another one")
        direct = settings.direct_url.get_secret_value() if settings.direct_url else settings.url
        yield Database(settings.url, direct, "PostgreSQL of DATABASE_URL")
        return
    server = embedded.start(settings.home, port=port, bin_dir=settings.postgres_bin)
    try:
        name = SIMULATED_DATABASE if simulated else EMBEDDED_DATABASE
        embedded.ensure_database(server, name)
        yield Database(
            server.url(name), server.url(name), f"embedded PostgreSQL {server.version}, database {name}", server
        )
    finally:
        if not embedded.in_use(server):  # the last one out, whoever started it
            embedded.stop(dataclasses.replace(server, started_here=True), settings.postgres_bin)


def reachable_url(settings: Settings) -> str | None:
    """Where statements go if a server runs there now; None where the embedded one would have to be started."""
    if settings.url:
        return settings.url
    server = embedded.registered(settings.home)
    return server.url(SIMULATED_DATABASE if is_simulated(settings, False) else EMBEDDED_DATABASE) if server else None


@contextmanager
def session(settings: Settings, *, direct: bool = False) -> Iterator[Connection]:
    """A connection to the right database for a command. direct: past a pooler, for what takes long."""
    with (
        database(settings, simulated=is_simulated(settings, False)) as found,
        connect(found.direct_url if direct else found.url) as connection,
        in_words(connection),
    ):
        yield connection


def today() -> datetime:
    """Where the simulator's calendar begins, so that its submissions look current."""
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)


@contextmanager
def kaggle(settings: Settings, *, simulated: bool, metrics: Metrics | None = None) -> Iterator[tuple[Kaggle, str]]:
    """Reach Kaggle, or run the simulator for as long as this lasts. Also gives a line that says which, and why."""
    with contextlib.ExitStack() as stack:
        if simulated:
            simulator = stack.enter_context(Simulator(epoch=today()))
            credential: Credential | None = Credential("the simulator", token="simulated")  # noqa: S106 - opens nothing
            url = simulator.url
            said = f"the built-in SIMULATOR at {url} (boards are invented)"
            if find_credential(settings) is None:
                said = f"no Kaggle credential found: using {said}"
        else:
            credential = find_credential(settings)
            url = settings.kaggle_url
            if credential:
                said = f"Kaggle at {url}, credential from {credential.source}"
            elif _is_kaggle(settings):
                said = NO_CREDENTIAL
            else:
                credential = Credential("nowhere")
                said = f"Kaggle at {url}, asked without a credential"
        client = Kaggle(
            url,
            credential,
            timeout=settings.http_timeout,
            deadline=settings.download_deadline,
            limit=settings.max_download_mb * 2**20,
            answered=metrics.answered if metrics else None,
        )
        yield client, said


def supervisor(
    settings: Settings, found: Database, client: Kaggle, *, simulated: bool, metrics: Metrics | None = None
) -> Supervisor:
    """A worker on this database with this Kaggle."""
    chosen = configuration(settings, found, client, simulated=simulated)
    return Supervisor(dataclasses.replace(chosen, ended=metrics.ended) if metrics else chosen)


def counting(settings: Settings) -> Metrics | None:
    """What a worker counts, if a port is set where it tells."""
    if settings.metrics_port is None:
        return None
    from pgleaderboard.process.metrics import Metrics  # some MiB that most workers do without

    return Metrics()


@contextmanager
def serving(
    settings: Settings, found: Database, client: Kaggle, worker: Supervisor, metrics: Metrics | None, *, simulated: bool
) -> Iterator[None]:
    """Serve metrics and health for as long as this lasts, if a port is set for it.

    Raises NeedsPerson where it cannot be listened on.
    """
    if settings.metrics_port is None or metrics is None:
        yield
        return
    from pgleaderboard.process.metrics import DatabaseValues, MetricsServer

    values = DatabaseValues(found.url, client.fingerprint, _budget(settings, simulated))
    with MetricsServer(settings.metrics_host, settings.metrics_port, metrics, values, worker.health):
        yield


def configuration(settings: Settings, found: Database, client: Kaggle, *, simulated: bool) -> Configuration:
    """What a worker on this database with this Kaggle is configured with."""
    return Configuration(
        url=found.url,
        direct_url=found.direct_url,
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
        ),
    )


def _budget(settings: Settings, simulated: bool) -> int:
    is_given = "requests_per_minute" in settings.model_fields_set
    return 0 if simulated and not is_given else settings.requests_per_minute  # the simulator needs no gentleness
