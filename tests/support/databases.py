"""Databases that live for a test."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

_NUMBERS = itertools.count(1)


@contextmanager
def copy_of(template: str, server_url: str) -> Iterator[str]:
    """Copy a database, and drop the copy at the end of a block. Yields its DSN."""
    name = f"pgl_{os.getpid()}_{next(_NUMBERS)}"
    with psycopg.connect(server_url, autocommit=True) as server:
        # To copy files takes half the time of copying pages, but a checkpoint, which writes to the disk with fsync.
        fsync = server.execute("SELECT current_setting('fsync')::boolean").fetchone() == (True,)
        server.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} ENCODING 'UTF8' STRATEGY {}").format(
                sql.Identifier(name), sql.Identifier(template), sql.Identifier("wal_log" if fsync else "file_copy")
            )
        )
        try:
            yield make_conninfo(server_url, dbname=name)
        finally:
            _wait_for_sessions(server, name)
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _wait_for_sessions(server: psycopg.Connection, name: str) -> None:
    """Wait a moment for those that are ending: DROP DATABASE looks again after a tenth of a second only."""
    for _ in range(20):
        if server.execute("SELECT FROM pg_stat_activity WHERE datname = %s", (name,)).fetchone() is None:
            return
        time.sleep(0.002)
