"""Keeps a worker working: registers it, listens, sweeps, and starts it anew when the database comes back.

One direct connection does everything that needs a session: it holds the lock that shows this worker is alive,
listens for jobs, and sweeps. When it is lost, all of the worker is taken down and set up again, under a new
number; what ran is found by the sweep and begun anew, and the old attempts can no longer apply anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain, repeat
from typing import Any

import procrastinate
import psycopg
from psycopg import sql
from psycopg.errors import InsufficientPrivilege
from psycopg_pool import PoolClosed

from pgleaderboard import __version__
from pgleaderboard.database.connect import connect, conninfo
from pgleaderboard.database.release import check
from pgleaderboard.errors import NeedsPerson, PgleaderboardError, SchemaTooOld, Transient
from pgleaderboard.kaggle.client import Kaggle
from pgleaderboard.process.queue import CHANNEL, QueueWorker, queue_app
from pgleaderboard.process.threads import in_thread
from pgleaderboard.sync.attempt import Ending, Syncer
from pgleaderboard.sync.retry import FIRST_DELAY
from pgleaderboard.sync.store import Store

log = logging.getLogger(__name__)

LONGEST_PAUSE = 4.0  # seconds between sweeps; a sync begins within 5 s of being due
THOROUGH_EVERY = 10.0  # seconds between sweeps that also look for what arrived without triggers
PATIENCE = 7.0  # seconds that running syncs get to finish when asked to stop; containers are killed after 10
RECONNECT = 0.25  # seconds between tries to reach the database
PRUNE_EVERY = 3600.0
SILENCE = 30.0  # seconds without an answer, after which a connection is given up
LONGEST_WAIT = 300.0  # seconds that `work --once` waits for Kaggle's budget
WAKING = 5.0  # seconds that `work --once` tries again where a database that sleeps refuses at first
STARTING = "it is starting"
_OUTAGES = (psycopg.Error, procrastinate.exceptions.ConnectorException, OSError, SchemaTooOld, Transient)
SLOW_START = 30  # seconds that one which keeps us waiting gets for the first connection


@dataclass(frozen=True)
class Work:
    """What a worker is told.

    url: the database, perhaps through a pooler. direct_url: the same one without. limit: bytes of one board,
    unpacked. runs_for: how long runs that changed nothing are kept. history_for: how long closed versions of entries
    are kept, None = for ever. follow_up: how long after its final sync a completed competition is asked every
    sync_interval, then hourly, then daily, None = as kaggle_internal.sync_pace says. ended: told how each attempt
    ended, and after how many seconds.
    """

    url: str
    direct_url: str
    kaggle: Kaggle
    concurrency: int
    requests_per_minute: int
    limit: int
    runs_for: timedelta
    history_for: timedelta | None = None
    follow_up: tuple[timedelta, timedelta, timedelta] | None = None
    ended: Callable[[str, float], object] = lambda outcome, seconds: None


@dataclass(frozen=True)
class _Session:
    """What lives as long as one direct connection."""

    worker_id: int
    connection: psycopg.AsyncConnection[Any]
    worker: QueueWorker
    store: Store


class Supervisor:
    """One worker process. Make it, then await `run` or `run_once`.

    failed: syncs that failed. waiting_for: why it does not work now, None while it does. beat_at: when it was last
    seen alive, by time.monotonic.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._stop = asyncio.Event()
        self._sweep_now = asyncio.Event()
        self._dying: set[asyncio.Task[Any]] = set()
        self.failed = 0
        self.waiting_for: str | None = STARTING
        self.beat_at = time.monotonic()

    def stop(self) -> None:
        """Ask it to finish what runs and to end."""
        self._stop.set()
        self._sweep_now.set()

    async def run(self) -> None:
        """Work until asked to stop, through whatever the database does.

        Raises PgleaderboardError for what no waiting mends: a wrong password, a schema that is missing or newer.
        """
        kind: type[PgleaderboardError] | None = None
        while not self._stop.is_set():
            self.beat_at = time.monotonic()
            try:
                async with self._session(wait=True) as session:
                    self.waiting_for = None
                    log.info("worker ready", extra={"worker": session.worker_id, "version": __version__})
                    await self._until_stopped(session)
            except _OUTAGES as error:
                ours = _as_ours(error)
                if isinstance(ours, NeedsPerson):
                    raise ours from error
                reason = str(ours)
                if self.waiting_for in (None, STARTING) or type(ours) is not kind:  # once an outage, whatever its words
                    # A programming error may mean that the database was migrated meanwhile: the next session checks.
                    fault = isinstance(error, psycopg.ProgrammingError) and not isinstance(error, InsufficientPrivilege)
                    log.warning("waiting: %s", reason, exc_info=error if fault else None)
                self.waiting_for, kind = reason, type(ours)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), RECONNECT)
        self.waiting_for = "it was asked to stop"
        log.info("worker stopped")

    async def run_once(self) -> None:
        """Sync what is due or wanted, prune, then end. `failed` counts the syncs that failed.

        Raises PgleaderboardError if the database cannot be used, or Kaggle has asked for a long pause.
        """
        await self._wake_database()
        try:
            async with self._session(wait=False) as session:
                while not self._stop.is_set():
                    await self._sweep(session, thorough=True)
                    await self._until_drained(session)
                    left = await session.connection.execute(
                        "SELECT count(*) FROM kaggle_internal.wanted(%s, true)", (self._work.kaggle.fingerprint,)
                    )
                    if (await left.fetchone() or (0,))[0] == 0:
                        await in_thread(lambda: self._prune(session.store))
                        return
                    await self._until_granted(session)
        except (
            psycopg.OperationalError,
            InsufficientPrivilege,
            procrastinate.exceptions.ConnectorException,
            OSError,
        ) as error:
            raise _as_ours(error) from error

    async def _until_drained(self, session: _Session) -> None:
        """Run the queue's worker until there is no job, however long the last ones take; PATIENCE if asked to stop."""
        queue = asyncio.create_task(session.worker.run(), name="queue")  # type: ignore[no-untyped-call]
        try:
            while not (queue.done() or session.worker.lost.is_set()):
                stopped = await self._stopped_within(LONGEST_PAUSE, queue)
                if stopped:
                    session.worker.stop()  # type: ignore[no-untyped-call]
                    await asyncio.wait({queue}, timeout=PATIENCE)
                    return
                await self._sweep(session, thorough=False)  # the heart beats, and what falls due meanwhile is done, too
            if queue.done():
                queue.result()
            else:
                raise psycopg.OperationalError("the queue's worker lost its connection")
        finally:
            if not queue.done():
                self._dying.add(queue)
                queue.add_done_callback(self._bury)

    async def _stopped_within(self, seconds: float, *others: asyncio.Task[Any]) -> bool:
        """Wait until asked to stop, until one of the others is done, or for so long. Returns whether to stop."""
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        await asyncio.wait({stopping, *others}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        return self._stop.is_set()

    async def _wake_database(self) -> None:
        """Connect once, so that a database that sleeps is awake; a wrong password or name is told at once."""
        loop = asyncio.get_running_loop()
        until = loop.time() + WAKING
        told = False
        while not self._stop.is_set():
            try:
                url = conninfo(self._work.direct_url, "worker", connect_timeout=SLOW_START)
                await (await psycopg.AsyncConnection.connect(url)).close()
            except psycopg.OperationalError as error:
                ours = _as_ours(error)
                if isinstance(ours, NeedsPerson) or loop.time() >= until:
                    raise ours from error
                if not told:
                    log.warning("waiting: %s", ours)
                    told = True
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), RECONNECT)
            else:
                return

    async def _until_granted(self, session: _Session) -> None:
        answer = await session.connection.execute(
            "SELECT extract(epoch FROM greatest(kaggle_internal.next_grant(%s, %s), now()) - now())::float8",
            (self._work.kaggle.fingerprint, self._work.requests_per_minute),
        )
        (pause,) = await answer.fetchone() or (0.0,)
        if pause > LONGEST_WAIT:
            raise Transient(f"Kaggle asked for a pause of {pause / 60:.0f} minutes more; run this again then")
        until = time.monotonic() + max(0.05, pause)
        while (left := until - time.monotonic()) > 0 and not await self._stopped_within(min(left, LONGEST_PAUSE)):
            await self._sweep(session, thorough=False)

    @asynccontextmanager
    async def _session(self, *, wait: bool) -> AsyncIterator[_Session]:
        """Everything that lives as long as one connection to the database."""
        work = self._work
        await in_thread(lambda: _check_schema(work.direct_url))
        connection = await psycopg.AsyncConnection.connect(conninfo(work.direct_url, "worker"), autocommit=True)
        store = Store(work.url, connections=work.concurrency + 1)
        async with connection:
            (process,) = await (await connection.execute("SELECT pg_backend_pid()")).fetchone() or (0,)
            if process != connection.info.backend_pid:  # a pooler makes one up
                log.warning(
                    "a pooler stands before the database: where it does not keep sessions nothing is heard; "
                    "set PGLEADERBOARD_DIRECT_URL (pgleaderboard doctor tells more)"
                )
            registered = await connection.execute(
                "SELECT kaggle_internal.register_worker(%s, %s, %s)",
                (__version__, work.kaggle.fingerprint, work.follow_up and list(work.follow_up)),
            )
            (worker_id,) = await registered.fetchone() or (0,)
            syncer = Syncer(store, work.kaggle, worker_id, work.requests_per_minute, work.limit, work.ended)
            await in_thread(store.open)
            app = queue_app(
                work.direct_url,
                sync=lambda competition_id, job_id: self._sync(syncer, competition_id, job_id),
                describe=lambda competition_id: self._describe(syncer, competition_id),
                remove=lambda: self._remove(store),
                sweep=self._ask_for_sweep,
            )
            try:
                async with app.open_async():
                    worker = QueueWorker(
                        app, concurrency=work.concurrency, wait=wait, patience=PATIENCE if wait else None
                    )
                    await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
                    yield _Session(worker_id, connection, worker, store)
            finally:
                if not connection.broken:
                    with contextlib.suppress(psycopg.OperationalError):
                        await connection.execute("SELECT kaggle_internal.unregister_worker(%s)", (worker_id,))
                await in_thread(store.close)

    async def _until_stopped(self, session: _Session) -> None:
        """Run the queue's worker and the sweep until we are asked to stop, or one of them loses the database.

        Asked to stop, the worker fetches no more and its jobs get PATIENCE. When the database is lost nothing is
        waited for: the attempts that ran have lost their fence, and the next session should begin at once.
        """
        queue = asyncio.create_task(session.worker.run(), name="queue")  # type: ignore[no-untyped-call]
        sweeps = asyncio.create_task(self._sweep_for_ever(session), name="sweeps")
        prunes = asyncio.create_task(self._prune_for_ever(session.store), name="prunes")
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        lost = asyncio.create_task(session.worker.lost.wait(), name="lost")
        try:
            await asyncio.wait((queue, sweeps, prunes, stopping, lost), return_when=asyncio.FIRST_COMPLETED)
            session.worker.stop()  # type: ignore[no-untyped-call]
            if stopping.done():
                await asyncio.wait({queue}, timeout=PATIENCE + 5)
        finally:
            for task in (sweeps, prunes, stopping, lost):
                task.cancel()
            ended = await asyncio.gather(sweeps, prunes, stopping, lost, return_exceptions=True)
            if not queue.done():
                self._dying.add(queue)  # it ends as soon as it meets its closed connections
                queue.add_done_callback(self._bury)
        for outcome in (*ended, queue.exception() if queue.done() else None):
            if isinstance(outcome, Exception):
                raise outcome
        if not self._stop.is_set():
            # procrastinate ends quietly when a side task of its own lost the database.
            raise psycopg.OperationalError("the queue's worker lost its connection")

    def _bury(self, queue: asyncio.Task[Any]) -> None:
        self._dying.discard(queue)
        if not queue.cancelled() and queue.exception():
            log.debug("the lost queue worker ended: %s", queue.exception())

    async def _sweep_for_ever(self, session: _Session) -> None:
        loop = asyncio.get_running_loop()
        thorough_at = loop.time()
        while True:
            self._sweep_now.clear()
            thorough = loop.time() >= thorough_at
            if thorough:
                thorough_at = loop.time() + THOROUGH_EVERY
            pause = await self._sweep(session, thorough=thorough)
            self.beat_at = time.monotonic()
            await self._listen(session, pause)

    async def _prune_for_ever(self, store: Store) -> None:
        """Beside the sweeps: a long pruning must not stop the heartbeat."""
        while True:
            try:
                await in_thread(lambda: self._prune(store))
            except psycopg.Error as error:
                log.warning("old runs and history could not be pruned: %s", _as_ours(error))
            await asyncio.sleep(PRUNE_EVERY)

    def _prune(self, store: Store) -> None:
        store.prune_runs(self._work.runs_for)
        if self._work.history_for is not None:
            store.prune_history(self._work.history_for)

    async def _listen(self, session: _Session, pause: float) -> None:
        """Wake the queue's worker at each notification, for a while or until a sweep is asked for."""

        async def hear() -> None:
            async for _ in session.connection.notifies(timeout=pause):
                session.worker.wake()

        hearing = asyncio.create_task(hear())
        asked = asyncio.create_task(self._sweep_now.wait())
        try:
            await asyncio.wait({hearing, asked}, return_when=asyncio.FIRST_COMPLETED)
            if hearing.done():
                hearing.result()
        finally:
            for task in (hearing, asked):
                task.cancel()
            await asyncio.gather(hearing, asked, return_exceptions=True)

    async def _sweep(self, session: _Session, *, thorough: bool) -> float:
        """Sweep once. Returns the seconds until the next one."""
        asking = asyncio.create_task(
            session.connection.execute(
                "SELECT queued, extract(epoch FROM wake_at - clock_timestamp())::float8, missing, "
                "clock_timestamp() + kaggle_internal.grace_for_missing() FROM kaggle_internal.sweep(%s, %s, %s, %s)",
                (session.worker_id, self._work.kaggle.fingerprint, self._work.requests_per_minute, thorough),
            )
        )
        # A proxy may hold a connection open to a server that is gone. To cancel would be to wait for an answer.
        if not (await asyncio.wait({asking}, timeout=SILENCE))[0]:
            await session.connection.close()
            asking.cancel()
            raise psycopg.OperationalError(f"no answer for {SILENCE:.0f} s")
        queued, wake_in, missing, removal = await asking.result().fetchone() or (0, None, None, None)
        if queued:
            log.debug("sweep queued %s jobs", queued)
        for competition_id in missing or ():
            log.warning(
                "a competition is missing from kaggle.competitions, and no trigger saw its deletion: "
                "its boards, history and runs are removed at %s, unless it is back by then",
                f"{removal:%Y-%m-%d %H:%M:%S %Z}",
                extra={"competition_id": competition_id},
            )
        return LONGEST_PAUSE if wake_in is None else min(LONGEST_PAUSE, max(0.02, wake_in))

    async def _sync(self, syncer: Syncer, competition_id: int, job_id: int) -> None:
        try:
            ending: Ending = await in_thread(lambda: syncer.sync(competition_id, job_id))
        except Exception as error:  # whatever it was, the attempt must not stay running
            fault = not isinstance(error, psycopg.OperationalError | InsufficientPrivilege)
            log.warning(
                "a sync could not begin or end: %s",
                _as_ours(error),
                extra={"competition_id": competition_id},
                exc_info=error if fault else None,
            )
            await self._let_go(
                syncer.store,
                competition_id,
                job_id,
                f"the end of the sync was refused ({type(error).__name__}); the worker's log has the details",
            )
            return
        if ending == "failed":
            self.failed += 1
        elif ending == "waits":
            self._sweep_now.set()

    async def _let_go(self, store: Store, competition_id: int, job_id: int, why: str) -> None:
        """Give up an attempt that a job could not end: while this worker lives, no sweep would take it for lost."""
        for pause in chain((0.1, 1.0, 5.0), repeat(20.0)):
            try:
                await in_thread(lambda: store.let_go(competition_id, job_id, FIRST_DELAY, why))
            except PoolClosed:
                return  # the session has ended, and all is let go
            except psycopg.Error:
                await asyncio.sleep(pause)  # the database may be away
            else:
                return

    async def _describe(self, syncer: Syncer, competition_id: int) -> None:
        try:
            ending: Ending = await in_thread(lambda: syncer.describe(competition_id))
        except Exception as error:  # whatever it was, it must be seen: procrastinate's own log is off
            fault = not isinstance(error, psycopg.OperationalError | InsufficientPrivilege)
            log.warning(
                "metadata could not be written: %s",
                _as_ours(error),
                extra={"competition_id": competition_id},
                exc_info=error if fault else None,
            )
            return
        if ending == "waits":
            self._sweep_now.set()

    async def _remove(self, store: Store) -> None:
        try:
            await in_thread(store.remove_detached)
        except (psycopg.Error, PoolClosed) as error:
            log.warning("boards of deleted competitions could not be removed: %s", _as_ours(error))

    async def _ask_for_sweep(self) -> None:
        self._sweep_now.set()


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

    async def work() -> None:
        loops.append(asyncio.get_running_loop())
        ready.set()
        try:
            await supervisor.run()
        finally:
            await _end_what_is_left()

    failures: list[BaseException] = []

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


def _check_schema(direct_url: str) -> None:
    with connect(direct_url) as connection:
        check(connection)
        connection.execute("SELECT kaggle_internal.refuse_hidden_rows()")


def _as_ours(error: Exception) -> PgleaderboardError:
    """One line about a database that cannot be reached, or refuses, without its password."""
    if isinstance(error, PgleaderboardError):
        return error
    if isinstance(error, procrastinate.exceptions.ConnectorException) and error.__cause__:
        error = error.__cause__  # type: ignore[assignment]
    said = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, psycopg.OperationalError) and any(
        words in said for words in ("password authentication failed", "no password supplied", "does not exist")
    ):
        return NeedsPerson(f"cannot use the database: {said}")
    if isinstance(error, psycopg.Error) and error.sqlstate and not isinstance(error, psycopg.OperationalError):
        words = (error.diag.message_primary, error.diag.message_hint)
        return Transient(f"the database refused: {': '.join(filter(None, words))}")
    return Transient(f"the database is out of reach: {said}")
