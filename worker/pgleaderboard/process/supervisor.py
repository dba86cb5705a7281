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
from pgleaderboard.database.connect import explained
from pgleaderboard.errors import NeedsPerson, SchemaTooOld, Transient
from pgleaderboard.process.session import Configuration, Session

log = logging.getLogger(__name__)

RECONNECT, LONGEST_RECONNECT = 0.25, 0.5  # seconds between tries to reach the database, at first and later
WAKING = 5.0  # seconds that `work --once` retries, since a database that sleeps may refuse at first
# PgBouncer says the same of a database or user that it does not know, which a person must mend, and of a server that is
# away or has just come back.
_OF_A_POOLER, POOLER_PATIENCE = "08P01", 60.0  # seconds
_OUTAGES = (psycopg.Error, ConnectorException, OSError, SchemaTooOld, Transient)


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
    """One worker process. `failed` counts the syncs that failed."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._stop = asyncio.Event()
        self.failed = 0
        self.health = Health()

    def stop(self) -> None:
        """Ask it to finish the running syncs and to end."""
        self._stop.set()

    async def run(self, *, once: bool = False) -> None:
        """Work until asked to stop, through outages of the database.

        once: sync what is due or requested, prune, then end; a database that sleeps gets WAKING seconds.
        Raises NeedsPerson where waiting does not help: a wrong password, a schema that is missing or newer; with once
        also where the database does not wake, or where Kaggle has asked for a long pause.
        """
        health = self.health
        outage: object = None  # that was logged last
        since = 0.0  # by time.monotonic
        pause = RECONNECT
        give_up_at = time.monotonic() + WAKING
        while not self._stop.is_set():
            health.beat()
            try:
                async with contextlib.AsyncExitStack() as stack:
                    session = await self._session(stack, once)
                    if session is None:
                        break
                    health.state, health.reason, outage, pause = State.WORKING, "", None, RECONNECT
                    log.info("worker ready", extra={"worker": session.worker_id, "version": __version__})
                    try:
                        await (session.work_once() if once else session.work())
                    finally:
                        self.failed += session.jobs.failed
                if once:
                    break
            except _OUTAGES as error:
                cause = error.__cause__ if isinstance(error, ConnectorException) and error.__cause__ else error
                ours, sqlstate = explained(cause), getattr(cause, "sqlstate", None)
                # A programming error may mean that the database was migrated meanwhile: the next session checks.
                fault = isinstance(error, psycopg.ProgrammingError) and not isinstance(error, InsufficientPrivilege)
                if once and fault:
                    raise
                sleeps = isinstance(error, psycopg.OperationalError) and time.monotonic() < give_up_at
                if (type(ours), sqlstate) != outage:  # one message for an outage
                    outage, since = (type(ours), sqlstate), time.monotonic()
                    if not (isinstance(ours, NeedsPerson) or once):
                        log.warning("waiting: %s", ours, exc_info=error if fault else None)
                if sqlstate == _OF_A_POOLER and time.monotonic() > since + POOLER_PATIENCE:
                    ours = NeedsPerson(str(ours))
                if isinstance(ours, NeedsPerson) or (once and not sleeps):
                    raise ours from error
                health.state, health.reason = State.WAITING, str(ours)
                await self._pause(pause)
                pause = min(2 * pause, LONGEST_RECONNECT)
        health.state, health.reason = State.STOPPED, "it was asked to stop"
        log.info("worker stopped")

    async def _session(self, stack: contextlib.AsyncExitStack, once: bool) -> Session | None:
        """Open a session for as long as the stack lasts; None where the worker is asked to stop meanwhile."""
        opened = Session.opened(self._configuration, self._stop, self.health.beat, once=once)
        opening = asyncio.create_task(stack.enter_async_context(opened))
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({opening, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            opening.cancel()  # which does nothing to one that is done
        await asyncio.wait({opening})
        return None if opening.cancelled() else opening.result()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()


async def run_until_signalled(supervisor: Supervisor, *, once: bool = False) -> None:
    """Run until SIGTERM or SIGINT. The handlers last as long as the loop."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, supervisor.stop)
    await _run(supervisor, once)


async def _run(supervisor: Supervisor, once: bool = False) -> None:
    try:
        await supervisor.run(once=once)
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
