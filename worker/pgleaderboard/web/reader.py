"""Reads the database in threads, each with a connection of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from pgleaderboard.database import rights
from pgleaderboard.database.connect import Connection, ConnectionLost, connect
from pgleaderboard.reading.asking import in_words

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
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="page")
        self._own = threading.local()
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
            read = asyncio.get_running_loop().run_in_executor(self._pool, self._answer, query)
            self._reads[key] = read
            read.add_done_callback(lambda done: (self._reads.pop(key), done.cancelled() or done.exception()))
        answer: T = await asyncio.shield(read)
        return answer

    def _answer(self, query: Callable[[Connection], T]) -> T:
        kept: Connection | None = getattr(self._own, "connection", None)
        if kept and not kept.closed:
            try:
                with in_words(kept):
                    return query(kept)
            except ConnectionLost:
                kept.close()  # it may have been lost long before
        connection = connect(self._url, "page", connect_timeout=_CONNECT_SECONDS)
        connection.statement_seconds = STATEMENT_SECONDS
        connection.role = rights.reader_role(connection)
        self._own.connection = connection
        with in_words(connection):
            return query(connection)

    def close(self) -> None:
        """Let the running reads end; the connections are closed with their threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)
