"""Reads the database in threads, each with a connection of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from pgleaderboard.database import rights
from pgleaderboard.database.connect import Connection, connect
from pgleaderboard.reading.standby import Awaited, Server, Standby
from pgleaderboard.threads import in_thread

T = TypeVar("T")

STATEMENT_SECONDS = 20.0
_CONNECT_SECONDS = 3


class Busy(Exception):
    """Too many reads wait."""


class Reader:
    """So many reads at once; others wait, and one that is asked for twice is made once."""

    def __init__(self, url: str, *, threads: int, waiting: int, awaited: Awaited | None = None) -> None:
        """url: of the database, perhaps through a pooler. waiting: how many reads may wait.

        awaited: what a standby must have replayed before; None where it is a primary that is read.
        """
        self._url, self._awaited = url, awaited
        self._most = threads + waiting
        self._turns = asyncio.Semaphore(threads)
        self._servers: list[Server] = []
        self._idle: list[Server] = []
        self._reads: dict[Hashable, asyncio.Future[Any]] = {}
        self.count = 0

    async def read(self, key: Hashable, query: Callable[[Connection], T]) -> tuple[T, Standby | None]:
        """The answer of a query, and the standby where it may be out of date already, as `Awaited.before` has it.

        key: whoever asks with the same one meanwhile shares the answer.
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
        answer: tuple[T, Standby | None] = await asyncio.shield(read)
        return answer

    async def _in_turn(self, query: Callable[[Connection], T]) -> tuple[T, Standby | None]:
        async with self._turns:
            if not self._idle:
                self._servers.append(Server(self._opened))
                self._idle.append(self._servers[-1])
            server = self._idle.pop()
            return await in_thread(lambda: self._answer(server, query))

    def _answer(self, server: Server, query: Callable[[Connection], T]) -> tuple[T, Standby | None]:
        try:
            return server.ask(self._awaited.before(query)) if self._awaited else (server.ask(query), None)
        finally:
            self._idle.append(server)

    def _opened(self) -> Connection:
        connection = connect(self._url, "page", connect_timeout=_CONNECT_SECONDS, reads=self._awaited is not None)
        connection.statement_seconds = STATEMENT_SECONDS
        connection.role = rights.reader_role(connection)
        return connection

    def hang_up(self) -> None:
        """Wait no longer for a server that is gone: reads begin anew, on other connections."""
        for server in self._servers:
            server.hang_up()

    def close(self) -> None:
        """Close what is idle. A read that runs ends with the process."""
        while self._idle:
            self._idle.pop().close()
