"""The page's process, as its users start it, and the same server within a test."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from pgleaderboard import app
from pgleaderboard.settings import Settings
from pgleaderboard.web import server
from pgleaderboard.web.site import Site

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def serving(url: str, *arguments: str, **given: str) -> Iterator[str]:
    """Serve the page of a database on a free port for the length of a block. Yields the address."""
    with started(url, *arguments, **given) as (_, address):
        yield address


@contextmanager
def started(url: str, *arguments: str, **given: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """As `serving`, with the process; it must end by itself, or on SIGTERM, with status 0.

    Its log goes to stdout, too.
    """
    command = [sys.executable, "-m", "pgleaderboard", "serve", "--port", "0", *arguments]
    environment = os.environ | {"DATABASE_URL": url, "PYTHONPATH": str(ROOT)} | given
    environment.pop("PYTHONUNBUFFERED", None)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        try:
            lines = [process.stdout.readline()]
            while lines[-1] and not lines[-1].startswith("page: "):
                lines.append(process.stdout.readline())
            assert lines[-1], f"no page: {lines}"
            process.lines_before = lines[:-1]  # type: ignore[attr-defined]
            yield process, lines[-1].removeprefix("page: ").strip()
        finally:
            if process.poll() is None:
                process.terminate()
            assert process.wait(60) in (0, -9)


@contextmanager
def serving_here(url: str, *, behind_proxy: bool = False) -> Iterator[tuple[Site, int]]:
    """Serve in a thread of this process, so that a test can set its limits. Yields the site and the port."""
    loop, ready = asyncio.new_event_loop(), threading.Event()
    servers: list[server._Server] = []

    def noted(self: server._Server) -> nullcontext[None]:
        servers.append(self)
        ready.set()
        return nullcontext()

    with server.bound("127.0.0.1", 0) as listener, pytest.MonkeyPatch.context() as patch:
        patch.setattr(server._Server, "ended_by_signals", noted)  # a thread hears no signals
        site = app.page(Settings.load(), app.Database(url, url, ""), listener, url=None, only=(), names=())

        def run() -> None:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(server.serve(site, listener, lambda: None, behind_proxy=behind_proxy))

        thread = threading.Thread(target=run)
        thread.start()
        assert ready.wait(20)
        try:
            yield site, listener.getsockname()[1]
        finally:
            loop.call_soon_threadsafe(servers[0]._end)
            thread.join(20)
            assert not thread.is_alive()
