"""The command that serves the live page."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from pgleaderboard.cli.console import Verbose, complete_event, say, settings_for

if TYPE_CHECKING:
    from pgleaderboard.app import Database

commands = typer.Typer()
log = logging.getLogger(__name__)

PORT = 8080
_TRIES = 100  # ports from PORT up that `up` tries
_STOP_SECONDS = 10  # that the page beside `up` may take to end


@commands.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; 0.0.0.0 serves a room.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="0 = any free one.")] = None,
    url: Annotated[str | None, typer.Option(help="The address under which people open it, for links.")] = None,
    event: Annotated[
        list[str] | None,
        typer.Option(metavar="SLUG", help="Only this event and its competitions.", autocompletion=complete_event),
    ] = None,
    allowed_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A further name under which it is served.")
    ] = None,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="Believe X-Forwarded-For and X-Forwarded-Proto.")
    ] = False,
    beside: Annotated[
        bool, typer.Option("--beside", hidden=True, help="Of `up`: the next free port; end with it.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Serve the live page until SIGTERM or SIGINT. On loopback; with $PORT on all addresses.

    Example: pgleaderboard serve --host 0.0.0.0 --event neural-night
    """
    import asyncio

    from pgleaderboard import app
    from pgleaderboard.web import server

    settings = settings_for(verbose)
    host = host or ("127.0.0.1" if settings.port is None else "0.0.0.0")  # noqa: S104 - as the platform wants it
    chosen = next(number for number in (port, settings.port, PORT) if number is not None)
    listener = server.bound(host, chosen, tries=_TRIES if beside else 1)
    if beside:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    with listener, app.database(settings) as database:
        site = app.page(
            settings,
            database,
            listener,
            url=url,
            only=event or (),
            names=allowed_host or (),
        )

        def ready() -> None:
            say(f"page: {site.url}")
            if not beside:
                say(f"to reveal a frozen standing: {site.url}/e/EVENT/reveal?key={site.reveals.key}")

        with nullcontext() if beside else app.monitored(settings, site):  # beside `up` the port is the worker's
            asyncio.run(server.serve(site, listener, ready, behind_proxy=behind_proxy))


def _end_with_parent() -> None:
    """Wait until the other end of stdin is closed, be it by the end of a process that was killed."""
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def beside(database: Database) -> Iterator[None]:
    """Serve the page in a process of its own for the length of a block. Its end before that is logged."""
    # In a session of its own a terminal's Ctrl-C does not reach it: the end of the pipe ends it.
    process = subprocess.Popen(
        [sys.executable, "-m", "pgleaderboard", "serve", "--beside"],
        stdin=subprocess.PIPE,
        env=os.environ | {"DATABASE_URL": database.url, "PGLEADERBOARD_DIRECT_URL": database.direct_url},
        start_new_session=True,
    )
    assert process.stdin is not None
    is_over = threading.Event()

    def look_after() -> None:
        status = process.wait()
        if not is_over.is_set():
            log.warning("the page has ended (status %s); syncs go on", status)

    threading.Thread(target=look_after, daemon=True).start()
    try:
        yield
    finally:
        is_over.set()
        process.stdin.close()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
