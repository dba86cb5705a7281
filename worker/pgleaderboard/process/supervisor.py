"""Keeps a worker working: opens a session, and another one when the database comes back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.errors import InsufficientPrivilege

from pgleaderboard import __version__
from pgleaderboard.database.connect import conninfo
from pgleaderboard.errors import NeedsPerson, PgleaderboardError
from pgleaderboard.process.health import Health, State
from pgleaderboard.process.outages import OUTAGES, UNREACHABLE, explained
from pgleaderboard.process.session import Configuration, Session

log = logging.getLogger(__name__)

RECONNECT = 0.25  # seconds between tries to reach the database
WAKING = 5.0  # seconds that `work --once` tries again where a database that sleeps refuses at first
SLOW_START = 30  # seconds that a database which sleeps gets for the first connection


class Supervisor:
    """One worker process. Make it, then await `run` or `run_once`."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._stop = asyncio.Event()
        self.failed = 0  # syncs
        self.health = Health(State.STARTING, "it is starting", time.monotonic())

    def stop(self) -> None:
        """Ask it to finish what runs and to end."""
        self._stop.set()

    async def run(self) -> None:
        """Work until asked to stop, through whatever the database does.

        Raises PgleaderboardError for what no waiting mends: a wrong password, a schema that is missing or newer.
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
            except OUTAGES as error:
                ours = explained(error)
                if isinstance(ours, NeedsPerson):
                    raise ours from error
                if type(ours) is not outage:  # once an outage, whatever its words
                    # A programming error may mean that the database was migrated meanwhile: the next session checks.
                    fault = isinstance(error, psycopg.ProgrammingError) and not isinstance(error, InsufficientPrivilege)
                    log.warning("waiting: %s", ours, exc_info=error if fault else None)
                health.state, health.reason, outage = State.WAITING, str(ours), type(ours)
                await self._pause()
        health.state, health.reason = State.STOPPED, "it was asked to stop"
        log.info("worker stopped")

    async def run_once(self) -> None:
        """Sync what is due or wanted, prune, then end. `failed` counts the syncs that failed.

        Raises PgleaderboardError if the database cannot be used, or Kaggle has asked for a long pause.
        """
        await self._wake_database()
        try:
            async with Session.opened(self._configuration, self._stop, self.health.beat, wait=False) as session:
                try:
                    await session.work_once()
                finally:
                    self.failed = session.jobs.failed
        except UNREACHABLE as error:
            raise explained(error) from error

    async def _wake_database(self) -> None:
        """Connect once, so that a database that sleeps is awake; a wrong password or name is told at once."""
        until = time.monotonic() + WAKING
        url = conninfo(self._configuration.direct_url, "worker", connect_timeout=SLOW_START)
        told = False
        while not self._stop.is_set():
            try:
                await (await psycopg.AsyncConnection.connect(url)).close()
            except psycopg.OperationalError as error:
                ours = explained(error)
                if isinstance(ours, NeedsPerson) or time.monotonic() >= until:
                    raise ours from error
                if not told:
                    log.warning("waiting: %s", ours)
                    told = True
                await self._pause()
            else:
                return

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), RECONNECT)


async def run_until_signalled(supervisor: Supervisor, *, once: bool = False) -> None:
    """Run, and stop on SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, supervisor.stop)
    try:
        await (supervisor.run_once() if once else supervisor.run())
    finally:
        await _end_what_is_left()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(each)


async def _end_what_is_left() -> None:
    """End the tasks of lost sessions: asyncio.run would show each of them failing on its closed connections."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    for task in (await asyncio.wait(left, timeout=1))[0] if left else ():
        if not task.cancelled() and task.exception():
            log.debug("a task of a lost session ended: %s", task.exception())


@contextmanager
def running(supervisor: Supervisor) -> Iterator[None]:
    """Run a worker beside us, in a thread, for the length of a block; what ends it early is raised at its end."""
    loops: list[asyncio.AbstractEventLoop] = []
    ready = threading.Event()
    failures: list[BaseException] = []

    async def work() -> None:
        loops.append(asyncio.get_running_loop())
        ready.set()
        try:
            await supervisor.run()
        finally:
            await _end_what_is_left()

    def main() -> None:
        try:
            asyncio.run(work())
        except BaseException as error:  # raised again below, in the thread that waits
            log.error("the worker ended: %s", error, exc_info=error)
            failures.append(error)

    thread = threading.Thread(target=main, name="worker")
    thread.start()
    ready.wait()
    try:
        yield
    finally:
        with contextlib.suppress(RuntimeError):  # its loop is closed: it ended by itself
            loops[0].call_soon_threadsafe(supervisor.stop)
        thread.join()
    if failures:
        raise failures[0]
