"""The values behind the page: which are kept, and what is shown while many ask."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pgleaderboard.web.reader import Busy, Reader
from pgleaderboard.web.source import FEW, NONE, Source


class Counting(Reader):
    """Reads nothing, and counts how often; once it is full, it refuses."""

    def __init__(self) -> None:
        super().__init__("", threads=1, waiting=0)
        self.is_full = False

    async def read(self, key: Any, query: Any) -> Any:
        """Count."""
        if self.is_full:
            raise Busy
        self.count += 1
        return query(None), None


def tried(what: Callable[[Source, Counting], Awaitable[None]]) -> None:
    """Try something with a source and its reader."""

    async def run() -> None:
        source = Source("", "")
        source._loop = asyncio.get_running_loop()
        await what(source, Counting())

    asyncio.run(run())


def test_the_last_value_is_shown_while_too_many_ask() -> None:
    """Who watches a page is not left without it; a value that was never read is refused."""

    async def what(source: Source, reader: Counting) -> None:
        assert await source.get("known", lambda _: "first", NONE, reader=reader) == "first"
        source.mark(None)
        reader.is_full = True
        assert await source.get("known", lambda _: "second", NONE, reader=reader) == "first"
        with pytest.raises(Busy):
            await source.get("unknown", lambda _: "first", NONE, reader=reader)
        reader.is_full = False
        assert await source.get("known", lambda _: "second", NONE, reader=reader) == "second"

    tried(what)


def test_large_values_push_no_others_out() -> None:
    """However many moments of the past are asked for, few are kept, and the boards of now stay."""

    async def what(source: Source, reader: Counting) -> None:
        await source.get("now", str, NONE, reader=reader)
        for moment in range(200):
            await source.get(("past", moment), str, NONE, reader=reader, room=FEW)
        reads = reader.count
        await source.get("now", str, NONE, reader=reader)
        for moment in range(200 - FEW, 200):
            await source.get(("past", moment), str, NONE, reader=reader, room=FEW)
        assert reader.count == reads
        await source.get(("past", 0), str, NONE, reader=reader, room=FEW)
        assert reader.count == reads + 1

    tried(what)
