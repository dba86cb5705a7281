"""An embedded PostgreSQL: starts it, adopts it, stops it.

Everything lies in one folder, the home:

    data/         the cluster
    socket/       its Unix socket, mode 0700; the only way in unless a TCP port is asked for
    postgres.log  the server's log
    password      for TCP, mode 0600; exists once a port was asked for
    lock          held while a server is started or stopped

PostgreSQL refuses to run as root. For root it runs as `postgres` or `nobody`, who then owns data/ and socket/; the
rest of the home stays root's.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shlex
import socket
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from pgleaderboard.database import cluster
from pgleaderboard.database.cluster import Account, error_line, private
from pgleaderboard.database.connect import Connection, connect, value
from pgleaderboard.errors import NeedsPerson, PgleaderboardError, Transient

_SOCKET_PORT = 5432  # names the socket's file if the server does not listen on TCP
_MAX_SOCKET_PATH = 103 if sys.platform == "darwin" else 107  # bytes
_MAX_LOG = 10 * 1024**2  # bytes
_SECONDS = 60
_UNUSED_PID = 2**31 - 2  # larger than any pid of a kernel


@dataclass(frozen=True)
class Server:
    """A running embedded PostgreSQL."""

    data: Path
    socket_dir: Path
    port: int  # names the file of the socket, too
    started_here: bool = False
    version: str = ""
    password: str | None = field(default=None, repr=False)  # None if the server does not listen on TCP

    def url(self, database: str = "postgres") -> str:
        """The libpq URL for the Unix socket. It holds no secret."""
        host = quote(str(self.socket_dir))
        return f"postgresql://postgres@/{quote(database, safe='')}?host={host}&port={self.port}"

    def tcp_url(self, database: str = "postgres") -> str | None:
        """The libpq URL for TCP, password included. None if the server does not listen on TCP."""
        if self.password is None:
            return None
        return f"postgresql://postgres:{self.password}@127.0.0.1:{self.port}/{quote(database, safe='')}"


def start(
    home: Path, *, port: int | None = None, bin_dir: Path | None = None, extra_options: Mapping[str, str] = {}
) -> Server:
    """Start the server of this home, or adopt it if it runs. The first start makes the cluster.

    port: listen on 127.0.0.1, too, where a password is required. Concurrent calls are safe: one starts the server,
    the others adopt it. Raises PgleaderboardError with the reason if there is no server then.
    """
    home = home.resolve()
    data = home / "data"
    try:
        cluster.make_home(home)
        with cluster.locked(home):
            account = cluster.account_for(data)
            cluster.check_access(home, account)
            bin_dir = cluster.runnable_binaries(bin_dir, account)
            cluster.ensure_cluster(data, bin_dir, account, sync=extra_options.get("fsync") != "off")
            server = _adopt(data) or _launch(data, bin_dir, account, port, extra_options)
            if port is not None and (server.password is None or port != server.port):
                where = f"on port {server.port}" if server.password else "on its Unix socket only"
                raise NeedsPerson(
                    f"a PostgreSQL already runs on {data}, {where}: stop it before asking for port {port}"
                )
            return server
    except OSError as error:
        raise NeedsPerson(
            f"cannot run PostgreSQL in {home}: {error.strerror or error}: set PGLEADERBOARD_HOME to a folder that this "
            "user can write to, or DATABASE_URL to a database of your own"
        ) from error
    except psycopg.Error as error:
        raise Transient(f"PostgreSQL in {home} does not answer: {error_line(str(error))}") from error


def registered(home: Path) -> Server | None:
    """The server that postmaster.pid of this home names, None if there is no such file. Connects to nothing."""
    lines = _pid_file(home / "data")
    return Server(home / "data", Path(lines[4]), int(lines[3])) if lines and lines[4] else None


def stop(server: Server, bin_dir: Path | None = None) -> None:
    """Stop the server if this process started it. It is no error if the server has ended already."""
    if not server.started_here:
        return
    with cluster.locked(server.data.parent):
        lines = _pid_file(server.data)
        if lines is None or not _is_server(int(lines[0]), server.data):
            return
        account = cluster.account_for(server.data)
        pg_ctl = cluster.runnable_binaries(bin_dir, account) / "pg_ctl"
        done = cluster.run([pg_ctl, "-D", server.data, "-m", "fast", "-w", "-t", _SECONDS, "stop"], account)
    if done.returncode:
        raise PgleaderboardError(f"cannot stop PostgreSQL on {server.data}: {error_line(done.stderr)}")


@contextmanager
def running(
    home: Path, *, port: int | None = None, bin_dir: Path | None = None, extra_options: Mapping[str, str] = {}
) -> Iterator[Server]:
    """Start a server, and stop it at the end of the block unless it ran before."""
    server = start(home, port=port, bin_dir=bin_dir, extra_options=extra_options)
    try:
        yield server
    finally:
        stop(server, bin_dir)


def ensure_database(server: Server, name: str) -> None:
    """Create the database unless it exists. Concurrent calls are safe."""
    try:
        with connect(server.url()) as connection:
            if not value(connection, "SELECT true FROM pg_database WHERE datname = %s", name):
                # A session in template1 would block the copy. template0 accepts no connections.
                create = sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name))
                with suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                    connection.execute(create)
    except psycopg.OperationalError as error:
        raise Transient(f"PostgreSQL on {server.data} does not answer: {error_line(str(error))}") from error


def in_use(server: Server) -> bool:
    """Whether anybody else is connected to the server."""
    others = "SELECT true FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    with suppress(psycopg.OperationalError), connect(server.url()) as connection:
        return bool(value(connection, others))
    return False


# A running server


def _pid_file(data: Path) -> list[str] | None:
    """The lines of postmaster.pid, None without one: 0 pid, 3 port, 4 socket folder, 5 listen address."""
    try:
        lines = os.fsdecode((data / "postmaster.pid").read_bytes()).splitlines()
    except OSError:
        return None
    return lines + [""] * (8 - len(lines)) if lines and lines[0].isdecimal() else None


def _is_server(pid: int, data: Path) -> bool:
    """Whether this pid is a server on this data, and neither a zombie nor another program with the same number."""
    process = Path("/proc", str(pid))
    if not Path("/proc/self").exists():
        status = cluster.run(["ps", "-ww", "-o", "stat=,command=", "-p", pid], None).stdout
        return re.match(r"[^Z\s].*postgres", status) is not None and str(data) in status
    try:
        if (process / "stat").read_text().rpartition(")")[2].split()[0] in "ZX":
            return False
        command = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        with suppress(PermissionError):
            return (process / "cwd").samefile(data)
    except (FileNotFoundError, ProcessLookupError):
        return False
    # Without CAP_SYS_PTRACE root cannot see another user's folder. If in doubt, the server is alive.
    return Path(command[0]).name == "postgres" and ("-D" not in command or str(data) in command)


def _adopt(data: Path) -> Server | None:
    """The running server on this data, None if there is none. Waits while it starts or stops."""
    deadline = time.monotonic() + _SECONDS
    while (lines := _pid_file(data)) is not None:
        reason = "no socket yet"
        if lines[4]:
            try:
                return _connected(Server(data, Path(lines[4]), int(lines[3])), tcp=bool(lines[5]))
            except psycopg.OperationalError as error:
                reason = error_line(str(error))
        if not _is_server(int(lines[0]), data):
            return None
        if time.monotonic() > deadline:
            raise Transient(f"the PostgreSQL that runs on {data} (pid {lines[0]}) does not answer: {reason}")
        time.sleep(0.05)
    return None


def _connected(server: Server, *, tcp: bool) -> Server:
    """Complete what is known of a server. Raises psycopg.OperationalError if the socket is of another data folder."""
    with connect(server.url()) as connection:
        if os.path.realpath(value(connection, "SHOW data_directory")) != os.path.realpath(server.data):
            raise psycopg.OperationalError(f"another server answers in {server.socket_dir}")
        version = connection.info.parameter_status("server_version") or ""
        password = _set_password(server.data.parent, connection) if tcp else None
    return replace(server, version=version.split()[0], password=password)


def _set_password(home: Path, connection: Connection) -> str:
    """Set the password in the home's file, which is created if it is missing."""
    with open(home / "password", "a+", opener=private) as file:
        file.seek(0)
        if not (password := file.read().strip()):
            password = secrets.token_urlsafe(24)
            file.write(password)
    # Hashed here, so that the server's log can never show it.
    hashed = connection.pgconn.encrypt_password(password.encode(), b"postgres", b"scram-sha-256").decode()
    connection.execute(sql.SQL("ALTER ROLE postgres PASSWORD {}").format(hashed))
    return password


# Starting


def _launch(data: Path, bin_dir: Path, account: Account, port: int | None, extra_options: Mapping[str, str]) -> Server:
    """Start a server on data without a running one."""
    socket_port = port or _SOCKET_PORT
    socket_dir = _socket_folder(data, socket_port, account)
    _clear_stale_files(data, socket_dir)
    if port is not None:
        _check_port(port)
    settings = {
        "listen_addresses": "127.0.0.1" if port else "",
        "port": str(socket_port),
        "unix_socket_directories": '"{}"'.format(str(socket_dir).replace('"', '""')),
    }
    if cluster.shm_is_small():
        settings["dynamic_shared_memory_type"] = "mmap"
    options = ["-D", str(data), *(f"-c{name}={setting}" for name, setting in (settings | dict(extra_options)).items())]
    path = data.parent / "postgres.log"
    if path.exists() and path.stat().st_size > _MAX_LOG:
        path.replace(path.with_suffix(".log.1"))
    # A shell expands the arguments of pg_ctl's -D and -l, so PGDATA and stdout are used instead.
    pg_ctl: tuple[Path | str | int, ...] = (bin_dir / "pg_ctl", "-s", "-w", "-t", _SECONDS)
    deadline = time.monotonic() + _SECONDS
    try:
        while True:
            with open(path, "ab", opener=private) as log:
                start = log.tell()
                done = cluster.run(
                    [*pg_ctl, "-o", shlex.join(options), "start"], account, stdout=log.fileno(), pgdata=data
                )
            if done.returncode == 0:
                return _connected(Server(data, socket_dir, socket_port, started_here=True), tcp=port is not None)
            output = path.read_bytes()[start:].decode(errors="replace") or done.stderr
            # A busy backend of a killed server is late to notice that it is orphaned.
            if "pre-existing shared memory" not in output or time.monotonic() > deadline:
                break
            time.sleep(0.2)
    except BaseException:  # Ctrl-C, too: only this process knows that it started the server
        cluster.run([*pg_ctl, "-m", "fast", "stop"], account, pgdata=data)
        raise
    reason = f"{error_line(output)} (log: {path})"
    lines = _pid_file(data)
    if lines is not None and _is_server(int(lines[0]), data):
        raise Transient(f"PostgreSQL on {data} is still starting after {_SECONDS} s: {reason}")
    raise PgleaderboardError(f"PostgreSQL on {data} does not start: {reason}")


def _clear_stale_files(data: Path, socket_dir: Path) -> None:
    """Clear the files of a killed server. Requires the lock, and that `_adopt` has returned None.

    PostgreSQL takes over a postmaster.pid by itself, after a check that no orphaned backend is attached to the
    shared memory named there; but it refuses to if the pid is that of a zombie or another program. So the file keeps
    its other lines and gets an unused pid.
    """
    if (lines := _pid_file(data)) is not None:
        lines[0] = str(_UNUSED_PID)
        # In place, so that the owner stays.
        (data / "postmaster.pid").write_bytes(os.fsencode("\n".join(lines) + "\n"))
    for stale in socket_dir.glob(".s.PGSQL.*"):
        stale.unlink()


def _socket_folder(data: Path, port: int, account: Account) -> Path:
    """The socket's folder, of mode 0700: in the home, or in /tmp under a short name if the path is too long."""
    uid, gid = (account.pw_uid, account.pw_gid) if account else (os.geteuid(), -1)
    folder = data.parent / "socket"
    too_long = len(os.fsencode(folder / f".s.PGSQL.{port}")) > _MAX_SOCKET_PATH
    if too_long or "," in str(folder):  # libpq splits hosts at commas
        name = hashlib.sha256(os.fsencode(data)).hexdigest()[:16]
        folder = Path(f"/tmp/pgleaderboard-{uid}-{name}")  # noqa: S108  owner and mode are checked
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (uid, os.geteuid()) or status.st_mode & 0o077:
        raise NeedsPerson(f"{folder} must be a folder of uid {uid} with mode 0700 and is not: remove it")
    os.chown(folder, uid, gid, follow_symlinks=False)
    return folder


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise NeedsPerson(f"PostgreSQL cannot listen on 127.0.0.1:{port}: {error}") from error
