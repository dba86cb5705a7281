"""Keeps a worker working: opens a session, and another one when the database comes back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum

import psycopg
from procrastinate.exceptions import ConnectorException
from psycopg.errors import InsufficientPrivilege

from pgleaderboard import __version__
from pgleaderboard.database.connect import conninfo
from pgleaderboard.errors import NeedsPerson, PgleaderboardError, SchemaTooOld, Transient
from pgleaderboard.process.jobs import explained
from pgleaderboard.process.session import Configuration, Session

log = logging.getLogger(__name__)

RECONNECT = 0.25  # seconds between tries to reach the database
WAKING = 5.0  # seconds that `work --once` tries again where a database that sleeps refuses at first
SLOW_START = 30  # seconds that a database which sleeps gets for the first connection
_UNREACHABLE = (psycopg.OperationalError, InsufficientPrivilege, ConnectorException, OSError)
_OUTAGES = (psycopg.Error, *_UNREACHABLE, SchemaTooOld, Transient)


class State(Enum):
    """What a worker does."""

    STARTING = "starting"
    WORKING = "working"
    WAITING = "waiting"  # for the database
    STOPPED = "stopped"


@dataclass
class Health:
    """A worker as a monitor sees it.

    reason: why it does not work, empty while it does. beat_at: its last heartbeat, by time.monotonic.
    """

    state: State = State.STARTING
    reason: str = "it is starting"
    beat_at: float = field(default_factory=time.monotonic)

    def beat(self) -> None:
        """Record a heartbeat."""
        self.beat_at = time.monotonic()


class Supervisor:
    """One worker process. Make it, then await `run` or `run_once`."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._stop = asyncio.Event()
        self.failed = 0  # syncs
        self.health = Health()

    def stop(self) -> None:
        """Ask it to finish the running syncs and to end."""
        self._stop.set()

    async def run(self) -> None:
        """Work until asked to stop, through outages of the database.

        Raises NeedsPerson where waiting does not help: a wrong password, a schema that is missing or newer.
        """
        health = self.health
        outage: type[PgleaderboardError] | None = None  # that was logged last
        while not self._stop.is_set():
            health.beat()
            try:
                async with Session.opened(self._configuration, self._stop, health.beat, wait=True) as session:
                    health.state, health.reason, outage = State.WORKING, "", None
                    log.info("worker ready", extra={"worker": session.worker_id, "version": __version__})
                    await session.work()
            except _OUTAGES as error:
                ours = explained(error)
                if isinstance(ours, NeedsPerson):
                    raise ours from error
                if type(ours) is not outage:  # once for each outage, whatever its messages
                    # A programming error may mean that the database was migrated meanwhile: the next session checks.
                    fault = isinstance(error, psycopg.ProgrammingError) and not isinstance(error, InsufficientPrivilege)
                    log.warning("waiting: %s", ours, exc_info=error if fault else None)
                health.state, health.reason, outage = State.WAITING, str(ours), type(ours)
                await self._pause()
        health.state, health.reason = State.STOPPED, "it was asked to stop"
        log.info("worker stopped")

    async def run_once(self) -> None:
        """Sync what is due or requested, prune, then end. `failed` counts the syncs that failed.

        Raises PgleaderboardError if the database cannot be used, or Kaggle has asked for a long pause.
        """
        await self._wake_database()
        try:
            async with Session.opened(self._configuration, self._stop, self.health.beat, wait=False) as session:
                try:
                    await session.work_once()
                finally:
                    self.failed = session.jobs.failed
        except _UNREACHABLE as error:
            raise explained(error) from error

    async def _wake_database(self) -> None:
        """Connect once, so that a database that sleeps is awake; a wrong password or name is reported at once."""
        until, is_logged = time.monotonic() + WAKING, False
        url = conninfo(self._configuration.direct_url, "worker", connect_timeout=SLOW_START)
        while not self._stop.is_set():
            try:
                await (await psycopg.AsyncConnection.connect(url)).close()
                break
            except psycopg.OperationalError as error:
                ours = explained(error)
                if isinstance(ours, NeedsPerson) or time.monotonic() >= until:
                    raise ours from error
                if not is_logged:
                    log.warning("waiting: %s", ours)
                is_logged = True
                await self._pause()

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), RECONNECT)


async def run_until_signalled(supervisor: Supervisor, *, once: bool = False) -> None:
    """Run until SIGTERM or SIGINT. The handlers last as long as the loop."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, supervisor.stop)
    await _run(supervisor, once)


async def _run(supervisor: Supervisor, once: bool = False) -> None:
    try:
        await (supervisor.run_once() if once else supervisor.run())
    finally:
        # End the tasks of lost sessions: asyncio.run would log that each of them failed on a closed connection.
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        for task in (await asyncio.wait(left, timeout=1))[0] if left else ():
            if not task.cancelled() and task.exception():
                log.debug("a task of a lost session ended: %s", task.exception())


@contextmanager
def running(supervisor: Supervisor) -> Iterator[None]:
    """Run a worker in a thread for the length of a block. An error that ends it early is raised at the block's end."""
    loop = asyncio.new_event_loop()

    def work() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(_run(supervisor))

    def report(ended: Future[None]) -> None:
        if error := ended.exception():
            log.error("the worker ended: %s", error, exc_info=error)

    with ThreadPoolExecutor(1, thread_name_prefix="worker") as pool:
        worker = pool.submit(work)
        worker.add_done_callback(report)
        try:
            yield
        finally:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the worker has ended
                loop.call_soon_threadsafe(supervisor.stop)
    worker.result()
