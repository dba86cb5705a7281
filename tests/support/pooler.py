"""PgBouncer in transaction mode between a test and its database, where the program is installed."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

PORT = 6432  # part of the socket's name in a folder of its own; nothing listens on TCP


@contextmanager
def pgbouncer(url: str, *, server_connections: int = 3) -> Iterator[str]:
    """Pool a database by a PgBouncer in transaction mode for the length of a block. Gives its DSN behind the pooler.

    server_connections: fewer than a worker asks for, so that statements do meet other sessions.
    Skips the test where PgBouncer is not installed.
    """
    program = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if program is None:
        pytest.skip("PgBouncer is not installed (Debian: apt install pgbouncer)")
    parts = conninfo_to_dict(url)
    user, password, name = parts["user"], parts.get("password", ""), parts["dbname"]
    folder = Path(tempfile.mkdtemp(prefix="pgl-pool-"))
    try:
        (folder / "users.txt").write_text(f'"{user}" "{password}"\n')
        (folder / "pgbouncer.ini").write_text(
            f"""
[databases]
{name} = host={parts.get("host", "localhost")} port={parts.get("port", 5432)} dbname={name}
[pgbouncer]
pool_mode = transaction
default_pool_size = {server_connections}
auth_type = trust
auth_file = {folder}/users.txt
listen_port = {PORT}
unix_socket_dir = {folder}
"""
        )
        command = [program, "-q", str(folder / "pgbouncer.ini")]
        if os.geteuid() == 0:  # it refuses to run as root; the server's socket may be its account's alone
            host = Path(str(parts.get("host", "")))
            account = pwd.getpwuid(host.stat().st_uid) if host.is_absolute() else pwd.getpwnam("nobody")
            for path in (folder, *folder.iterdir()):
                os.chown(path, account.pw_uid, account.pw_gid)
            command[1:1] = ["-u", account.pw_name]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        pooled = make_conninfo(host=str(folder), port=PORT, user=user, password=password, dbname=name)
        try:
            _wait_for(pooled, process)
            yield pooled
        finally:
            process.terminate()
            process.communicate(timeout=20)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(url: str, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 20
    while True:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            if process.poll() is not None:
                raise AssertionError(process.communicate()[1]) from None
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            return
