"""Pushes pages to those who watch them, as server-sent events.

An address has one latest version, rendered and compressed once; no viewer has a queue, so that a slow one skips
versions. There is no timer for a viewer: the hub looks after all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import zlib
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from pgleaderboard.web.page import Elsewhere, Page, Refusal
from pgleaderboard.web.source import CATALOG_EVERY, Source

log = logging.getLogger(__name__)

HEARTBEAT = 20.0  # seconds; proxies give up a silent connection after 60
STALLED = 30.0  # seconds that a viewer may take to read what was sent
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


@dataclass(frozen=True)
class Message:
    """An event of a stream, as it is sent. tag: what is shown, for a viewer who comes back."""

    tag: str
    plain: bytes
    packed: bytes

    @classmethod
    def of(cls, text: str, tag: str = "") -> Message:
        """text: lines of server-sent events."""
        plain = text.encode()
        # Packed with nothing but itself as the dictionary, it is valid at any place of any gzip stream.
        packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
        return cls(tag, plain, packer.compress(plain) + packer.flush(zlib.Z_FULL_FLUSH))


BEAT = Message.of(":\n\n")


def event(html: str, tag: str) -> Message:
    """The event that shows a page's live part."""
    return Message.of("id: " + tag + "\n" + "".join(f"data: {line}\n" for line in html.split("\n")) + "\n", tag)


GONE = Message.of("event: gone\ndata:\n\n", "gone")  # the address has no page any more, or leads elsewhere


class Viewer:
    """One stream."""

    __slots__ = ("abort", "beat", "has_news", "is_gone", "sending_since", "tag")

    def __init__(self, tag: str, abort: Callable[[], None]) -> None:
        """tag: what the viewer shows. abort: closes the connection at once."""
        self.tag, self.abort = tag, abort
        self.has_news = asyncio.Event()
        self.beat = self.is_gone = False
        self.sending_since: float | None = None

    def leave(self) -> None:
        """End the stream."""
        self.is_gone = True
        self.has_news.set()


@dataclass
class Channel:
    """An address that is watched. page: makes its page."""

    page: Callable[[], Awaitable[Page]]
    viewers: set[Viewer] = field(default_factory=set)
    basis: Hashable = None
    latest: Message | None = None

    async def refresh(self) -> None:
        """Make the latest version, and wake the viewers if it is another one."""
        try:
            page = await self.page()
        except (Refusal, Elsewhere):
            self.basis, latest = None, GONE
        else:
            if self.latest is not None and page.basis == self.basis:
                return
            html, tag = page.live()
            self.basis, latest = page.basis, event(html, tag)
        if self.latest is None or latest.tag != self.latest.tag:
            self.latest = latest
            for viewer in self.viewers:
                viewer.has_news.set()


class Hub:
    """All channels."""

    def __init__(self, source: Source, greeting: str) -> None:
        """greeting: the first event of each stream."""
        self._source = source
        self._greeting = Message.of(greeting)
        self._channels: dict[Hashable, Channel] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.pushed = 0

    @property
    def viewers(self) -> int:
        """How many watch."""
        return sum(len(channel.viewers) for channel in list(self._channels.values()))  # a monitor asks from its thread

    def start(self) -> None:
        """Begin to push."""
        self._tasks = [asyncio.create_task(self._push()), asyncio.create_task(self._look_after())]

    def stop(self) -> None:
        """End all streams."""
        for task in self._tasks:
            task.cancel()
        for channel in self._channels.values():
            for viewer in channel.viewers:
                viewer.leave()
                if viewer.sending_since is not None:
                    viewer.abort()

    async def _push(self) -> None:
        """Refresh what is watched after every change, and by the clock."""
        changed = self._source.changed
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), self._pause())
            changed.clear()
            watched = [channel for channel in self._channels.values() if channel.viewers]
            for result in await asyncio.gather(*(channel.refresh() for channel in watched), return_exceptions=True):
                # What cannot be read now stays as it is: the next change, or the clock, brings it up to date.
                if isinstance(result, Exception):
                    log.debug("a page was not refreshed: %s", result)

    def _pause(self) -> float:
        """Seconds until something may have changed by the clock alone."""
        if not any(channel.viewers for channel in self._channels.values()):
            return 3600.0
        return self._source.next_moment(CATALOG_EVERY)

    async def _look_after(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(HEARTBEAT)
            for key, channel in list(self._channels.items()):
                for viewer in channel.viewers:
                    if viewer.sending_since is None:
                        viewer.beat = True
                        viewer.has_news.set()
                    elif clock() - viewer.sending_since > STALLED:
                        viewer.leave()
                        viewer.abort()
                if not channel.viewers:
                    del self._channels[key]

    async def watch(
        self, key: Hashable, page: Callable[[], Awaitable[Page]], viewer: Viewer, *, packed: bool, send: Any
    ) -> None:
        """Send every version of a page until the viewer leaves. packed: the stream is compressed."""
        channel = self._channels.setdefault(key, Channel(page))
        is_current = bool(channel.viewers and channel.latest)  # whatever changes from now on wakes this viewer, too
        channel.viewers.add(viewer)
        clock = asyncio.get_running_loop().time

        async def tell(message: Message) -> None:
            viewer.sending_since = clock()
            await send(
                {"type": "http.response.body", "body": message.packed if packed else message.plain, "more_body": True}
            )
            viewer.sending_since = None

        try:
            if packed:
                await send({"type": "http.response.body", "body": _GZIP_HEADER, "more_body": True})
            await tell(self._greeting)
            if not is_current:
                await channel.refresh()
                self._source.changed.set()  # the clock may matter from now on
            viewer.has_news.set()
            while not viewer.is_gone:
                await viewer.has_news.wait()
                viewer.has_news.clear()
                latest = channel.latest
                if latest is not None and latest.tag != viewer.tag:
                    await tell(latest)
                    viewer.tag = latest.tag
                    self.pushed += 1
                elif viewer.beat:
                    await tell(BEAT)
                viewer.beat = False
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            channel.viewers.discard(viewer)
