"""The page's process, as its users start it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def serving(url: str, *arguments: str, **given: str) -> Iterator[str]:
    """Serve the page of a database on a free port for the length of a block. Yields the address."""
    with started(url, *arguments, **given) as (_, address):
        yield address


@contextmanager
def started(url: str, *arguments: str, **given: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """As `serving`, with the process; it must end by itself, or on SIGTERM, with status 0."""
    command = [sys.executable, "-m", "pgleaderboard", "serve", "--port", "0", *arguments]
    environment = os.environ | {"DATABASE_URL": url, "PYTHONPATH": str(ROOT)} | given
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            lines = [process.stdout.readline()]
            while lines[-1] and not lines[-1].startswith("page: "):
                lines.append(process.stdout.readline())
            assert lines[-1], f"no page: {lines}"
            yield process, lines[-1].removeprefix("page: ").strip()
        finally:
            if process.poll() is None:
                process.terminate()
            assert process.wait(10) in (0, -9)
