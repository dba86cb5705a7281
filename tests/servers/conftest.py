"""The servers."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgleaderboard.database import embedded

DEBIAN = Path("/usr/lib/postgresql/15/bin")


@pytest.fixture(scope="session", params=["18", "15"])
def server_url(request: pytest.FixtureRequest, _plain_environment: None) -> Iterator[str]:
    """URL of a throwaway server: the embedded one, and the oldest that is supported."""
    bin_dir = DEBIAN if request.param == "15" else None
    if bin_dir and not bin_dir.exists():
        pytest.skip("PostgreSQL 15 is not installed (Debian 12: apt install postgresql-15)")
    memory = Path("/dev/shm")  # noqa: S108 - a file system in memory, where there is one
    home = Path(tempfile.mkdtemp(prefix="pgl-", dir=memory if os.access(memory, os.W_OK) else None))
    home.chmod(0o755)  # as root, PostgreSQL runs as another user and must pass through
    try:
        options = {"fsync": "off", "max_connections": "200"}
        with embedded.running(home, extra_options=options, bin_dir=bin_dir) as server:
            yield server.url()
    finally:
        shutil.rmtree(home, ignore_errors=True)
