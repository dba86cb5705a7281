"""The current values: each is read once, whoever asks for it, and again after a notification.

A notification only wakes: what a value depends on says which values are out of date, and they are read again when
somebody asks. While the database is out of reach, the last values stay. Where a standby is read, its primary notifies,
and a value that was read before the standby had replayed what was notified is read again soon.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from pgleaderboard.database.connect import Connection, ConnectionLost, connect, explained
from pgleaderboard.errors import NeedsPerson
from pgleaderboard.reading.asking import check, have_answer, in_words, listen, news
from pgleaderboard.reading.catalog import Catalog, catalog, ids_of
from pgleaderboard.reading.standby import Awaited, Standby, position, replayed
from pgleaderboard.web.reader import Busy, Reader

log = logging.getLogger(__name__)
T = TypeVar("T")

KEPT, FEW, MANY = 128, 24, 1024  # values: usually, large ones that each are asked for by few, and small ones
CATALOG_EVERY = 15.0  # seconds after which it is read again without a notification: a board becomes late by itself
AT_MOST_EVERY = 1.0  # seconds between two reads of a standing
_CATALOG_AT_MOST_EVERY = 0.2
_FEW_TOUCHED = 500  # competitions that are read by their ids rather than with all others
_SHARE = 5  # so many times as long as a read takes, such a value is not read again
_OLDEST = 300.0  # seconds after which anything is read again: movement is counted over the last day
_LOOK_EVERY, _PAUSE = 1.0, 0.5  # seconds between looks whether a server is there, and between tries to reach it
_BEHIND_EVERY = 1.0  # seconds between reads of a value on a standby that is behind

ALL: frozenset[int] | None = None
NONE: frozenset[int] = frozenset()


@dataclass
class _Value:
    """competitions: those whose syncs make it out of date, ALL, or NONE; an edit makes every value so."""

    competitions: frozenset[int] | None
    value: Any = None
    read_at: float = -1e9  # by the loop's clock
    marks: int = 1  # how often it became out of date
    marks_read: int = 0  # of them, before it was read
    room: int = KEPT  # how many values of its kind are kept
    rests: float = 0.0  # seconds after a read in which it is not read again


@dataclass(frozen=True)
class Reach:
    """What is out of reach, by our clock. since: what is read; primary_since: the primary of a standby that is read.

    behind: the standby, where the last read has waited in vain for what was notified.
    """

    since: datetime | None = None
    primary_since: datetime | None = None
    behind: Standby | None = None


@dataclass
class Source:
    """Reads with two readers: one for what is current, and one for the past, which may take long.

    only: slugs of the events that are shown, empty = all. read_url: of a standby to read, None = what url names.
    changed: is set when a value became out of date, or the reach is another one.
    """

    url: str
    direct_url: str
    only: Sequence[str] = ()
    read_url: str | None = None
    reach: Reach = Reach()
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._values: OrderedDict[Hashable, _Value] = OrderedDict()
        self._awaited = Awaited()
        awaited = self._awaited if self.read_url else None
        self.current = Reader(self.read_url or self.url, threads=2, waiting=64, awaited=awaited)
        self.past = Reader(self.read_url or self.url, threads=2, waiting=8, awaited=awaited)
        self._event_ids: Sequence[int] | None = None
        self._touched: dict[int, frozenset[int]] = {}  # what was synced, by the mark that it gave the catalog
        self._all_until = 0.0  # when all of the catalog must be read again, by time.monotonic
        self._stop = threading.Event()

    async def start(self) -> None:
        """Listen, then read the catalog. Raises the errors of both, and those of a schema of another version.

        A primary that is away is waited for, where a standby is read.
        """
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._begin)
        await self.catalog()

    def _begin(self) -> None:
        looking = self._looking() if self.read_url else None
        listening = None
        try:
            try:
                listening = self._listening()
                if looking:
                    self._awaited.expect(position(listening))
            except ConnectionLost as error:
                if not looking or isinstance(explained(error), NeedsPerson):
                    raise
                self._tell(self._lost_primary, error)
            if (reading := looking or listening) and self.only:
                self._event_ids = ids_of(reading, self.only)
        except BaseException:
            for connection in (looking, listening):
                if connection:
                    connection.close()
            raise
        self._keep(listening, self._listening, self._listen)
        if looking:
            self._keep(looking, self._looking, self._look)

    def stop(self) -> None:
        """Listen and read no more."""
        self._stop.set()
        self.current.close()
        self.past.close()

    async def catalog(self) -> Catalog:
        """What there is, at most CATALOG_EVERY seconds old."""
        found: Catalog = await self.get(
            "catalog", self._read_catalog, ALL, at_most_every=_CATALOG_AT_MOST_EVERY, oldest=CATALOG_EVERY
        )
        return found

    def _read_catalog(self, connection: Connection) -> Catalog:
        """Of ten thousand competitions, the few that were synced since the last read; all, where more was told."""
        kept = self._values["catalog"]
        told = [self._touched.get(mark, ALL) for mark in range(kept.marks_read + 1, kept.marks + 1)]
        touched: frozenset[int] = frozenset().union(*(each for each in told if each))
        known: Catalog | None = None
        if told and ALL not in told and len(touched) <= _FEW_TOUCHED and time.monotonic() < self._all_until:
            known = kept.value.after_syncs(connection, touched)
        if known is None:
            until = time.monotonic() + CATALOG_EVERY
            known = catalog(connection, self._event_ids)
            self._all_until = until
        return known

    async def catch_up(self) -> bool:
        """Read the catalog if it is out of date, however short a time ago it was read. Returns whether it was."""
        kept = self._values["catalog"]
        is_behind = kept.marks != kept.marks_read
        if is_behind:
            kept.rests = 0.0
            await self.catalog()
        return is_behind

    def now(self) -> datetime:
        """The database's clock."""
        found = self._values["catalog"]
        now: datetime = found.value.now + timedelta(seconds=self._loop.time() - found.read_at)
        return now

    async def get(
        self,
        key: Hashable,
        query: Callable[[Connection], T],
        competitions: frozenset[int] | None,
        *,
        at_most_every: float = 0.0,
        oldest: float = _OLDEST,
        reader: Reader | None = None,
        room: int = KEPT,
    ) -> T:
        """A value, read if it is out of date; the last one where the database is out of reach, or too many reads wait.

        competitions: whose syncs make it out of date. at_most_every, oldest: seconds. room: KEPT, FEW or MANY.
        Raises the errors of the query, and Busy and ConnectionLost where there is no last one.
        """
        kept = self._values.setdefault(key, _Value(competitions, room=room))
        self._values.move_to_end(key)
        if kept.competitions != competitions:  # an event has got another one
            kept.competitions = competitions
            kept.marks += 1
        clock = self._loop.time
        for _ in range(2):  # it may become out of date while it is read
            age = clock() - kept.read_at
            if (kept.marks == kept.marks_read and age < oldest) or age < kept.rests:
                break
            if self.reach.since and kept.marks_read:
                break  # a server that says nothing would be waited for
            marks, begun = kept.marks, clock()
            try:
                value, behind = await (reader or self.current).read((key, marks), query)
            except (ConnectionLost, Busy) as error:
                if kept.marks_read == 0:
                    raise
                log.debug("not read: %s", type(error).__name__)
                break
            if marks > kept.marks_read or age >= oldest:
                kept.value, kept.marks_read, kept.read_at = value, marks, clock()
                kept.rests = at_most_every and max(at_most_every, _SHARE * (clock() - begun))
                if behind:
                    kept.marks += 1
                    kept.rests = max(kept.rests, _BEHIND_EVERY)
            self._reaches(behind=behind)
        self._forget(room)
        found: T = kept.value
        return found

    def freezes_until(self, now: datetime) -> int:
        """How many freezes of the catalog have come."""
        found: Catalog = self._values["catalog"].value
        return bisect.bisect_right(found.freezes, now)

    def next_moment(self, at_most: float) -> float:
        """Seconds until something is shown anew by the clock alone; no more than given.

        That is a freeze or an end, the next minute, since ages are shown, and when a value may be read again.
        """
        kept: Catalog = self._values["catalog"].value
        now = self.now()
        moments = kept.moments[(first := bisect.bisect_right(kept.moments, now)) : first + 1]
        minute = 60 - now.second - now.microsecond / 1e6
        clock = self._loop.time()
        rests = [v.read_at + v.rests - clock for v in self._values.values() if v.marks != v.marks_read]
        return max(
            0.01,
            min(
                [
                    at_most,
                    minute,
                    *(rest for rest in rests if rest > 0),
                    *((at - now).total_seconds() for at in moments),
                ]
            ),
        )

    def _forget(self, room: int) -> None:
        if len(self._values) > room:
            alike = [key for key, kept in self._values.items() if kept.room == room and key != "catalog"]
            for key in alike[:-room]:
                del self._values[key]

    def mark(self, competitions: Iterable[int] | None) -> None:
        """Values are out of date: those that depend on these competitions, None = all."""
        touched = None if competitions is None else frozenset(competitions)
        if touched is not None and (listed := self._values.get("catalog")):
            self._touched = {mark: ids for mark, ids in self._touched.items() if mark > listed.marks_read}
            self._touched[listed.marks + 1] = touched
        for kept in self._values.values():
            if touched is None or kept.competitions is None or kept.competitions & touched:
                kept.marks += 1
        self.changed.set()

    def _reaches(self, **changes: Any) -> None:
        reach = replace(self.reach, **changes)
        if reach != self.reach:
            self.reach = reach
            self.changed.set()

    # The connections that listen and look, each in a thread of its own.

    def _listening(self) -> Connection:
        connection = self._checked(connect(self.direct_url, "page", connect_timeout=3))
        try:
            listen(connection, jobs=False)
        except BaseException:
            connection.close()
            raise
        return connection

    def _looking(self) -> Connection:
        assert self.read_url is not None
        return self._checked(connect(self.read_url, "page", connect_timeout=3, reads=True))

    def _checked(self, connection: Connection) -> Connection:
        try:
            with in_words(connection):
                check(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _keep(
        self, connection: Connection | None, opened: Callable[[], Connection], use: Callable[[Connection], None]
    ) -> None:
        """Use a connection until the stop, and another one where it is lost; None = it is lost already."""

        def run(connection: Connection | None) -> None:
            while not self._stop.is_set():
                if connection:
                    with contextlib.suppress(ConnectionLost), contextlib.closing(connection):
                        use(connection)
                connection = None
                while not connection and not self._stop.wait(_PAUSE):
                    try:
                        connection = opened()
                    except Exception as error:  # noqa: BLE001 - whatever keeps it away is told, and passes or not
                        log.debug("still away: %s", error)

        threading.Thread(target=run, args=(connection,), name=use.__name__, daemon=True).start()

    def _listen(self, connection: Connection) -> None:
        try:
            self._tell(self._reached_primary, self._position(connection))
            while not self._stop.is_set():
                told = list(news(connection, _LOOK_EVERY))
                while more := list(news(connection, 0)):  # one position for all
                    told += more
                if told:
                    self._tell(self._told, told, self._position(connection))
                have_answer(connection)
        except ConnectionLost as error:
            self._tell(self._lost_primary if self.read_url else self._lost, error)
            raise

    def _position(self, connection: Connection) -> str | None:
        return position(connection) if self.read_url else None

    def _look(self, connection: Connection) -> None:
        try:
            self._tell(self._reached)
            before = None
            while not self._stop.wait(_LOOK_EVERY):
                have_answer(connection)
                before, lsn = replayed(connection), before
                if before != lsn and self.reach.primary_since:  # nobody notifies
                    self._tell(self.mark, None)
        except ConnectionLost as error:
            self._tell(self._lost, error)
            raise

    def _tell(self, what: Callable[..., None], *values: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
            self._loop.call_soon_threadsafe(what, *values)

    def _told(self, payloads: Sequence[dict[str, Any]], lsn: str | None) -> None:
        if lsn:
            self._awaited.expect(lsn)
        for payload in payloads:
            competition_id = payload.get("competition_id")
            self.mark([competition_id] if isinstance(competition_id, int) else None)

    def _lost(self, error: ConnectionLost) -> None:
        log.warning("the database is away: %s", explained(error))
        for reader in (self.current, self.past):
            reader.hang_up()
        self._reaches(since=datetime.now(UTC))

    def _lost_primary(self, error: ConnectionLost) -> None:
        log.warning("the primary is away, reading goes on: %s", explained(error))
        self._reaches(primary_since=datetime.now(UTC))

    def _reached_primary(self, lsn: str | None) -> None:
        if self.reach.primary_since:
            log.info("the primary is back")
        self._reaches(primary_since=None)
        if lsn:
            self._awaited.expect(lsn)
            self.mark(None)  # what came meanwhile was told to nobody
        else:
            self._reached()

    def _reached(self) -> None:
        if self.reach.since:
            log.info("the database is back")
        self._reaches(since=None)
        self.mark(None)
