"""Reads the database in threads, each with a connection of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from pgleaderboard.database import rights
from pgleaderboard.database.connect import Connection, ConnectionLost, connect
from pgleaderboard.reading.asking import in_words
from pgleaderboard.threads import in_thread

T = TypeVar("T")

STATEMENT_SECONDS = 20.0
_CONNECT_SECONDS = 3


class Busy(Exception):
    """Too many reads wait."""


class Reader:
    """So many reads at once; others wait, and one that is asked for twice is made once."""

    def __init__(self, url: str, *, threads: int, waiting: int) -> None:
        """url: of the database, perhaps through a pooler. waiting: how many reads may wait."""
        self._url = url
        self._most = threads + waiting
        self._turns = asyncio.Semaphore(threads)
        self._idle: list[Connection] = []
        self._reads: dict[Hashable, asyncio.Future[Any]] = {}
        self.count = 0

    async def read(self, key: Hashable, query: Callable[[Connection], T]) -> T:
        """The answer of a query. key: whoever asks with the same one meanwhile shares the answer.

        Raises Busy, ConnectionLost, and the errors of `asking.in_words`.
        """
        read = self._reads.get(key)
        if read is None:
            if len(self._reads) >= self._most:
                raise Busy
            self.count += 1
            read = asyncio.ensure_future(self._in_turn(query))
            self._reads[key] = read
            read.add_done_callback(lambda done: (self._reads.pop(key), done.cancelled() or done.exception()))
        answer: T = await asyncio.shield(read)
        return answer

    async def _in_turn(self, query: Callable[[Connection], T]) -> T:
        async with self._turns:
            kept = self._idle.pop() if self._idle else None
            return await in_thread(lambda: self._answer(kept, query))

    def _answer(self, kept: Connection | None, query: Callable[[Connection], T]) -> T:
        if kept:
            with contextlib.suppress(ConnectionLost):  # it may have been lost long before
                return self._asked(kept, query)
        connection = connect(self._url, "page", connect_timeout=_CONNECT_SECONDS)
        connection.statement_seconds = STATEMENT_SECONDS
        connection.role = rights.reader_role(connection)
        return self._asked(connection, query)

    def _asked(self, connection: Connection, query: Callable[[Connection], T]) -> T:
        try:
            with in_words(connection):
                return query(connection)
        except ConnectionLost:
            connection.close()
            raise
        finally:
            if not connection.closed:
                self._idle.append(connection)

    def close(self) -> None:
        """Close what is idle. A read that runs ends with the process."""
        while self._idle:
            self._idle.pop().close()
