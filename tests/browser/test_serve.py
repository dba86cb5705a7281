"""The page's process: beside `up`, alone, behind proxies, under bad input and bad clients, without its database."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import psutil
import pytest
import requests
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pgleaderboard.database import embedded, migrate
from pgleaderboard.web import hub, server
from tests.support.aliases import Connection
from tests.support.asking import SLUG, insert, synced
from tests.support.boards import teams, zip_of
from tests.support.faults import Simulator
from tests.support.page import serving, serving_here, started
from tests.support.pooler import pgbouncer
from tests.support.proxy import Proxy
from tests.support.syncs import Syncs

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = (sys.executable, "-m", "pgleaderboard")
PATIENCE = 30.0


def until(probe: Callable[[], object], what: str) -> None:
    """Look until something holds."""
    end = time.monotonic() + PATIENCE
    while not probe():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def status(address: str, **headers: str) -> int:
    """The status of an answer; 0 where there is none."""
    try:
        return requests.get(address, headers=headers, timeout=30, allow_redirects=False).status_code
    except requests.ConnectionError:
        return 0


def said(port: int, request: bytes) -> bytes:
    """All that is answered on a connection of one's own, until it is closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        answer = b""
        while received := connection.recv(65536):
            answer += received
        return answer


class Stream:
    """A viewer that reads."""

    def __init__(self, address: str, path: str, **headers: str) -> None:
        self._answer = requests.get(f"{address}/live{path}", headers=headers, stream=True, timeout=30)
        assert self._answer.status_code == 200
        self._chunks = self._answer.iter_content(None)
        self.seen = ""

    def until(self, text: str) -> None:
        """Read until a text has come."""
        while text not in self.seen:
            self.seen += next(self._chunks).decode()


# Beside `up`


class Up:
    """`pgleaderboard up` on a database, with the lines that it writes."""

    def __init__(self, url: str, simulator: Simulator, *arguments: str, **given: str) -> None:
        environment = os.environ | {
            "DATABASE_URL": url,
            "PGLEADERBOARD_KAGGLE_URL": simulator.url,
            "PGLEADERBOARD_REQUESTS_PER_MINUTE": "0",
        }
        self.process = subprocess.Popen(
            [*PROGRAM, "up", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment | given,
            cwd=ROOT,
        )
        self.lines: list[str] = []
        watchdog = threading.Timer(2 * PATIENCE, self.process.kill)  # a line that never comes is waited for in vain
        watchdog.daemon = True
        watchdog.start()

    def until(self, *patterns: str) -> str:
        """Read lines until each pattern was met. Returns what the last one matched."""
        assert self.process.stdout is not None
        found: re.Match[str] | None = None
        for pattern in patterns:
            while not (found := next(filter(None, (re.search(pattern, line) for line in self.lines)), None)):
                line = self.process.stdout.readline()
                assert line, f"{pattern!r} not in {self.lines}"
                self.lines.append(line)
        assert found is not None
        return found[0]

    def page(self) -> tuple[psutil.Process, str]:
        """The page's process, and its address."""
        address = self.until(r"^page: (.*)").removeprefix("page: ")
        (child,) = psutil.Process(self.process.pid).children()
        return child, address

    def end(self, how: signal.Signals) -> int:
        """Signal it; its status."""
        self.process.send_signal(how)
        self.lines += self.process.communicate(timeout=30)[0].splitlines()
        return self.process.returncode


@pytest.fixture
def up(url: str, simulator: Simulator) -> Iterator[Callable[..., Up]]:
    """Starts `up` on the test's database; it is ended afterwards."""
    running: list[Up] = []

    def one(*arguments: str, **given: str) -> Up:
        running.append(Up(url, simulator, *arguments, **given))
        return running[-1]

    yield one
    for each in running:
        if each.process.poll() is None:
            each.process.kill()
        each.process.communicate()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_up_serves_the_page_as_long_as_it_runs(up: Callable[..., Up], how: signal.Signals) -> None:
    """It is a process of its own, which ends with `up`, even if that is killed."""
    beside = up()
    page, address = beside.page()
    assert re.fullmatch(r"http://127\.0\.0\.1:8\d\d\d", address)
    assert "Leaderboards" in requests.get(address, timeout=30).text
    beside.until("worker ready")
    assert beside.end(how) == (-9 if how == signal.SIGKILL else 0)
    page.wait(10)
    assert status(address) == 0
    assert not [line for line in beside.lines if "the page" in line or "Traceback" in line]


def test_a_page_that_dies_stops_no_sync(up: Callable[..., Up], db: Connection) -> None:
    """One line of the log says so; the next sync is as ever."""
    beside = up()
    page, _ = beside.page()
    beside.until("worker ready")
    page.kill()
    assert beside.until("warning .*page.*") == "warning the page has ended (status -9); syncs go on"
    insert(db)
    assert synced(db) == ("inserted", "changed")
    assert beside.end(signal.SIGTERM) == 0
    assert sum("the page" in line for line in beside.lines) == 1


def test_up_takes_the_next_free_port_and_no_port_of_a_monitor(up: Callable[..., Up]) -> None:
    """What has a port keeps it; the metrics of `up` are the worker's."""
    first, second = up(PGLEADERBOARD_METRICS_PORT="0"), up()
    addresses = {first.page()[1], second.page()[1]}
    assert len(addresses) == 2
    metrics = first.until(r"http://127\.0\.0\.1:\d+/metrics")
    assert "pgleaderboard_workers" in requests.get(metrics, timeout=30).text
    for each in (first, second):
        each.until("worker ready")
        assert each.end(signal.SIGTERM) == 0


def test_up_without_the_page(up: Callable[..., Up]) -> None:
    """--no-page leaves it out."""
    alone = up("--no-page")
    alone.until("worker ready")
    assert psutil.Process(alone.process.pid).children() == []
    assert alone.end(signal.SIGINT) == 0
    assert not [line for line in alone.lines if "page" in line]


def test_a_terminals_ctrl_c_reaches_the_page_once(up: Callable[..., Up]) -> None:
    """It goes to the whole group of processes; both end, and nobody complains."""
    beside = up(PGLEADERBOARD_LOG_FORMAT="json")
    page, _ = beside.page()
    beside.until("worker ready")
    if os.getpgid(page.pid) == os.getpgid(beside.process.pid):
        page.send_signal(signal.SIGINT)
    assert beside.end(signal.SIGINT) == 0
    page.wait(10)
    assert "Traceback" not in "".join(beside.lines)


# Alone


def test_the_procfiles_web_listens_on_the_platforms_port(url: str, tmp_path: Path) -> None:
    """On all addresses, under any number of this host, since a platform asks by one; SIGTERM ends it with 0."""
    (web,) = re.findall(r"^web: (.*)$", (ROOT / "Procfile").read_text(), re.MULTILINE)
    (tmp_path / "Procfile").write_text(f"web: exec {web}\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "DATABASE_URL": url,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    honcho = subprocess.Popen(
        [sys.executable, "-m", "honcho", "-f", str(tmp_path / "Procfile"), "-d", str(ROOT), "start", "-p", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        cwd=ROOT,
    )
    try:
        assert honcho.stdout is not None
        assert any("page: " in line for line in honcho.stdout)
        page = f"http://127.0.0.1:{port}"
        assert (status(page), status(page, Host=f"10.1.2.3:{port}"), status(page, Host="other.example")) == (
            *(200, 200),
            421,
        )
        honcho.send_signal(signal.SIGTERM)
        rest, _ = honcho.communicate(timeout=60)
        assert "web.1 stopped (rc=0)" in rest
    finally:
        if honcho.poll() is None:
            honcho.kill()
            honcho.communicate()


def refused(*arguments: str, url: str, **given: str) -> tuple[int, str]:
    """Status and stderr of a page that cannot be served."""
    shown = subprocess.run(
        [*PROGRAM, "serve", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"DATABASE_URL": url} | given,
        cwd=ROOT,
        timeout=60,
    )
    return shown.returncode, shown.stderr


def test_what_keeps_it_from_serving_is_one_line(url: str, db: Connection, empty_database: str) -> None:
    """A port in use, an unknown event, a URL that is none, a schema that is missing or of another version."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert refused("--port", port, url=url) == (
            1,
            f"pgleaderboard: cannot serve the page on 127.0.0.1:{port}: Address already in use; "
            "--port sets another one\n",
        )
    free = ("--port", "0")
    db.execute("INSERT INTO kaggle.events (slug, title) VALUES ('neural-night', 'Night')")
    cases = {
        ("--host", "192.0.2.1"): r"cannot serve the page on 192\.0\.2\.1:0: Cannot assign requested address; .*",
        ("--event", "neural-nigth"): r".*neural-nigth.*neural-night.*",
        ("--url", "boards"): r"'boards' is not an address; write it like https://boards\.example\.org",
        ("--url", "http://[::1"): r"'http://\[::1' is not an address; .*",
        ("--url", "ftp://boards.example.org"): r"'ftp://boards\.example\.org' is not an address; .*",
    }
    for wrong, expected in cases.items():
        code, line = refused(*free, *wrong, url=url)
        assert (code, bool(re.fullmatch(f"pgleaderboard: {expected}\n", line))) == (1, True), line
    code, line = refused(*free, url=empty_database)
    assert (code, line.count("\n"), "pgleaderboard migrate" in line) == (1, 1, True)
    change = "UPDATE kaggle_internal.applied_files SET digest = %s WHERE name = %s"
    for name, digest, expected in (
        ("sql/900_grants.sql", "old", "waits for `pgleaderboard migrate`"),
        ("pgleaderboard", "99.0.0", "older than the database"),
    ):
        db.execute(change, (digest, name))
        code, line = refused(*free, url=url)
        assert (code, line.count("\n"), expected in line) == (1, 1, True), line
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        away = f"postgresql://me:s3cret@127.0.0.1:{closed.getsockname()[1]}/mine"
        code, line = refused(*free, url=away)
    assert (code, line.count("\n"), "s3cret" in line) == (1, 1, False), line
    assert "out of reach" in line
    assert refused("--port", "70000", url=url)[0] == 2
    assert refused("--nonsense", url=url)[0] == 2


def test_a_port_of_the_system_is_refused_in_one_line(url: str) -> None:
    """As a user without the right to it."""
    if Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text().strip() == "0":
        pytest.skip("here everybody may bind every port")
    program = (
        "import os, sys\n"
        "from pgleaderboard.cli.main import main\n"
        "import encodings.idna, pgleaderboard.web.server, pgleaderboard.app\n"  # others may not read the folder
        "os.geteuid() or os.setuid(65534)\n"
        "sys.argv[1:] = ['serve', '--port', '80']\n"
        "main()"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"DATABASE_URL": url},
        cwd=ROOT / "worker",
        timeout=60,
    )
    assert (shown.returncode, shown.stderr) == (
        1,
        "pgleaderboard: cannot serve the page on 127.0.0.1:80: Permission denied; --port sets another one\n",
    )


# Whom it answers


HOSTS = {
    (): {
        "127.0.0.1": 200, "127.0.0.1:8080": 200, "localhost:1": 200, "LOCALHOST": 200, "[::1]:80": 200, "[::1]": 200,
        "evil.example": 421, "localhost.evil.example": 421, "10.1.2.3": 421, "[2001:db8::1]": 421, "": 421,
    },
    ("--host", "0.0.0.0"): {  # noqa: S104 - it is what a room needs
        "10.1.2.3:8080": 200, "[2001:db8::1]:8080": 200, "[2001:db8::1]": 200, "localhost": 200,
        "evil.example": 421, "1.2.3.4.evil.example": 421, "evil:1:2": 421, "1.2": 421, "": 421,
    },
    ("--allowed-host", "Big.Screen", "--url", "https://boards.example.org/"): {
        "big.screen": 200, "boards.example.org": 200, "boards.example.org:443": 200, "127.0.0.1": 200,
        "example.org": 421, "10.1.2.3": 421,
    },
}  # fmt: skip


@pytest.mark.parametrize("arguments", HOSTS, ids=lambda arguments: " ".join(arguments) or "loopback")
def test_it_is_served_under_known_names_only(url: str, arguments: tuple[str, ...]) -> None:
    """A foreign site that points its own name here is told 421: it reads nothing through a visitor's browser."""
    with serving(url, *arguments) as shown:
        address = shown
        if "--url" in arguments:
            assert shown == "https://boards.example.org"
            (connection,) = [
                c for child in psutil.Process().children() for c in child.net_connections() if c.status == "LISTEN"
            ]
            address = f"http://127.0.0.1:{connection.laddr.port}"
        expected = HOSTS[arguments]
        assert {host: status(address, Host=host) for host in expected} == expected
        answer = requests.get(address, headers={"Host": "evil.example"}, timeout=30)
        assert "--allowed-host" in answer.text


def test_it_only_reads(url: str) -> None:
    """Other methods are 405, and say what is allowed; what is no HTTP is 400. Nothing of it is a line of the log."""
    with started(url) as (process, address):
        port = int(address.rpartition(":")[2])
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
            answer = requests.request(method, address, data=b"x", timeout=30)
            assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD"), method
        assert requests.head(address, timeout=30).status_code == 200
        for line in (
            b"nonsense",
            b"GET",
            b"GET / HTTP/9.9",
            b"\x16\x03\x01\x02\x00",
            b"GET  HTTP/1.1",
            b"CONNECT a:1 X",
        ):
            assert said(port, line + b"\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 400 "), line
        connect = said(port, b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert connect.split()[1] in (b"400", b"405")
        long = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + 2_000_000 * b"x" + b"\r\n\r\n"
        assert said(port, long).startswith(b"HTTP/1.1 431 ")
        upgrade = requests.get(address, headers={"Connection": "Upgrade", "Upgrade": "websocket"}, timeout=30)
        assert upgrade.status_code == 200
        process.terminate()
        assert process.stdout is not None
        assert [line for line in process.stdout if not line.startswith("to reveal")] == []


def test_a_presenter_who_vanishes_is_no_fault(url: str) -> None:
    """A step whose body never comes leaves nothing in the log."""
    with started(url) as (process, address):
        assert process.stdout is not None
        key = process.stdout.readline().strip().rpartition("key=")[2]
        with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))) as presenter:
            step = f"POST /e/night/reveal?key={key} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 11\r\n\r\nfrom=0"
            presenter.sendall(step.encode())
            assert status(f"{address}/healthz") == 200
        assert status(f"{address}/healthz") == 200
        process.terminate()
        assert process.stdout.read() == ""


def test_it_listens_on_an_address_of_ipv6(url: str) -> None:
    """Whose form in an address line has brackets."""
    if not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists():
        pytest.skip("there is no IPv6 here")
    with serving(url, "--host", "::1") as address:
        assert address.startswith("http://[::1]:")
        assert status(address) == 200


@pytest.mark.parametrize("behind_proxy", [False, True])
def test_a_proxys_headers_count_only_behind_one(url: str, behind_proxy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is not behind one can claim anything; nor does uvicorn's own variable turn it on."""
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    seen: list[tuple[str, str]] = []
    with serving_here(url, behind_proxy=behind_proxy) as (site, port):
        answer = site._answer

        async def noting(scope: dict[str, object], request: requests.Request) -> object:
            client = scope["client"]
            assert isinstance(client, tuple)
            seen.append((client[0], str(scope["scheme"])))
            return await answer(scope, request)  # type: ignore[arg-type]

        monkeypatch.setattr(site, "_answer", noting)
        forwarded = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
        assert status(f"http://127.0.0.1:{port}", **forwarded) == 200
    assert seen == [("192.0.2.7", "https") if behind_proxy else ("127.0.0.1", "http")]


NGINX = """
pid {folder}/pid; error_log {folder}/error; worker_processes 1; {user}
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    {ours}
}}
"""


@contextmanager
def proxied(program: str, page: str) -> Iterator[str]:
    """A proxy before a page, set up by our file for it. Yields its address."""
    found = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin")
    if found is None:
        pytest.skip(f"{program} is not installed (Debian: apt install {program})")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="pgl-proxy-") as name:
        folder, upstream = Path(name), page.removeprefix("http://")
        if program == "nginx":
            ours = (ROOT / "deploy/nginx.conf").read_text().replace("127.0.0.1:8080", upstream)
            ours = ours.replace("listen 80;", f"listen 127.0.0.1:{port};")
            user = "user root;" if os.geteuid() == 0 else ""
            (folder / "conf").write_text(NGINX.format(folder=folder, ours=ours, user=user))
            command = [found, "-c", str(folder / "conf"), "-g", "daemon off;"]
        else:
            ours = (ROOT / "deploy/Caddyfile").read_text().replace("127.0.0.1:8080", upstream)
            ours = ours.replace("boards.example.org {", f"http://boards.example.org:{port} {{\n\tbind 127.0.0.1")
            (folder / "conf").write_text("{\n\tadmin off\n}\n" + ours)
            command = [found, "run", "--adapter", "caddyfile", "--config", str(folder / "conf")]
        given = {"HOME": name, "XDG_DATA_HOME": name, "XDG_CONFIG_HOME": name}
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=os.environ | given)
        try:
            address = f"http://127.0.0.1:{port}"
            until(lambda: status(address, Host="boards.example.org"), "the proxy answers")
            yield address
        finally:
            process.kill()  # a graceful stop would wait for the streams
            process.wait()


@pytest.mark.parametrize("program", ["nginx", "caddy"])
def test_a_stream_passes_a_proxy_at_once(url: str, syncs: Syncs, program: str) -> None:
    """Our files for nginx and Caddy hold back no event, and keep the name that a visitor asked for."""
    syncs.sync(zip_of(teams(1, 2)))
    with (
        serving(url, "--behind-proxy", "--allowed-host", "boards.example.org") as page,
        proxied(program, page) as address,
    ):
        assert status(address, Host="boards.example.org") == 200
        watching = Stream(address, "/c/a-board", Host="boards.example.org")
        watching.until("team 2")
        syncs.sync(zip_of(teams(3, 1, 2)))
        watching.until("team 3")


# Limits


def test_whoever_does_not_ask_in_time_is_cut_off(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """200 that send a byte now and then, on a fresh connection or after an answer; others are answered meanwhile."""
    monkeypatch.setattr(server, "HEADER_SECONDS", 1.0)
    with serving_here(url) as (site, port):
        asked = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
        slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
        for number, connection in enumerate(slow):
            connection.setblocking(False)
            if number % 4 == 1:
                connection.send(asked + b"\r\n\r\n")  # the next request never begins, though bytes come
            if number % 4 == 2:
                connection.send(asked + b"Content-Length: 9\r\n\r\n")  # its body never ends
        dripped = {0: b"GET / HTTP/1.1"[:1], 1: b"\r", 2: b"x", 3: b"\r\n"}
        end = time.monotonic() + PATIENCE
        left = dict(enumerate(slow))
        while left and time.monotonic() < end:
            for number, connection in list(left.items()):
                try:
                    connection.send(dripped[number % 4])
                    while connection.recv(65536):
                        pass
                    del left[number]
                except BlockingIOError:
                    pass
                except OSError:
                    del left[number]
            time.sleep(0.05)
            assert status(f"http://127.0.0.1:{port}/healthz") == 200
        assert left == {}
        until(lambda: site.hub.viewers == 0, "nobody watches")
        for connection in slow:
            connection.close()


def test_one_connection_too_many_is_told_503(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With when to come back; who has one goes on, and one that ends makes room."""
    monkeypatch.setattr(server, "CONNECTIONS", 3)
    with serving_here(url) as (_, port):
        streams = [Stream(f"http://127.0.0.1:{port}", "/") for _ in range(3)]
        for _ in range(20):
            answer = requests.get(f"http://127.0.0.1:{port}/healthz", timeout=30)
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
        streams.pop()._answer.close()
        until(lambda: status(f"http://127.0.0.1:{port}/healthz") == 200, "there is room again")


def test_an_idle_connection_is_closed(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the answer to its last request, and whether or not that was read."""
    monkeypatch.setattr(server, "IDLE_SECONDS", 1)
    with serving_here(url) as (_, port):
        request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
        assert said(port, request).startswith(b"HTTP/1.1 200")
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            deaf.connect(("127.0.0.1", port))
            deaf.settimeout(30)
            for _ in range(8):  # the answers are more than the kernel takes
                deaf.sendall(request.replace(b"/ ", b"/?%s " % (b"x" * 8000)))
            deaf.sendall(8 * request)
            me = psutil.Process()
            ours = deaf.getsockname()[1]

            def is_gone() -> bool:
                theirs = [c for c in me.net_connections("tcp4") if c.raddr and c.raddr.port == ours]
                return all(c.status not in ("ESTABLISHED", "CLOSE_WAIT") for c in theirs)

            until(is_gone, "the connection is closed")


def test_a_viewer_that_never_reads_is_dropped(url: str, syncs: Syncs, monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs a buffer, and delays nobody."""
    monkeypatch.setattr(hub, "HEARTBEAT", 0.5)
    monkeypatch.setattr(hub, "STALLED", 1.0)
    syncs.sync(zip_of(teams(*range(60))))
    with serving_here(url) as (site, port):
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        deaf.connect(("127.0.0.1", port))
        deaf.sendall(b"GET /live/c/a-board HTTP/1.1\r\nHost: localhost\r\n\r\n")
        reader = Stream(f"http://127.0.0.1:{port}", "/c/a-board")
        reader.until("team 49")
        until(lambda: site.hub.viewers == 2, "both watch")
        number = 60
        end = time.monotonic() + PATIENCE
        while site.hub.viewers == 2:
            assert time.monotonic() < end, "it is dropped"
            syncs.sync(zip_of(teams(number, *range(60))))
            reader.until(f"team {number}")
            number += 1
        assert site.hub.viewers == 1
        deaf.close()


def test_a_request_behind_a_stream_hides_no_loss(url: str) -> None:
    """A viewer that asks for more on its stream, and goes, is noticed."""
    with serving_here(url) as (site, port):
        watch = b"GET /live/ HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with socket.create_connection(("127.0.0.1", port)) as viewer:
            viewer.sendall(watch)
            until(lambda: site.hub.viewers == 1, "it watches")
            viewer.sendall(watch)
            time.sleep(0.1)
        until(lambda: site.hub.viewers == 0, "it is gone")


def test_a_stop_with_a_thousand_streams(url: str) -> None:
    """Each is ended in order, also those that do not read, and one read that hangs: at once, with 0."""
    with started(url) as (process, address):
        port = int(address.rpartition(":")[2])
        viewers = []
        for number in range(1000):
            viewer = socket.socket()
            if number % 10 == 0:
                viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            viewer.connect(("127.0.0.1", port))
            viewer.sendall(b"GET /live/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
            viewers.append(viewer)
        for viewer in viewers:
            viewer.settimeout(30)
            assert viewer.recv(12) == b"HTTP/1.1 200"
        begun = time.monotonic()
        process.terminate()
        assert process.wait(20) == 0
        assert time.monotonic() - begun < 2
        whole = 0
        for viewer in viewers:
            with viewer:
                ended = b""
                while received := viewer.recv(65536):
                    ended = (ended + received)[-5:]
                whole += ended == b"0\r\n\r\n"
        assert whole == 1000


def test_a_stop_waits_for_no_read(url: str, db: Connection) -> None:
    """A query that hangs, because of a lock, does not keep the process."""
    with started(url) as (process, address), db.transaction():
        db.execute("LOCK TABLE kaggle.competitions IN ACCESS EXCLUSIVE MODE")
        with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))) as visitor:
            db.execute("NOTIFY kaggle_status")
            visitor.sendall(b"GET /c/nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
            with Connection.connect(url, autocommit=True) as other:
                other.execute("SELECT pg_notify('kaggle_status', '{}')")
                until(
                    lambda: (
                        [
                            visitor.sendall(b"GET /?x HTTP/1.1\r\nHost: localhost\r\n\r\n"),
                            other.execute("SELECT FROM pg_locks WHERE NOT granted").fetchone(),
                        ][1]
                        is not None
                    ),
                    "a read hangs",
                )
            begun = time.monotonic()
            process.terminate()
            assert process.wait(20) == 0
            assert time.monotonic() - begun < 8


# Without its database

AWAY = "The database has been out of reach since"


def test_what_was_read_stays_while_postgresql_is_away() -> None:
    """The last pages stay and say since when; a monitor is told; after the return they are current again."""
    home = Path(tempfile.mkdtemp(prefix="pgl-away-"))
    home.chmod(0o755)  # as root, PostgreSQL runs as another user and must pass through
    postgres = embedded.start(home, extra_options={"fsync": "off"})
    try:
        embedded.ensure_database(postgres, "boards")
        url = postgres.url("boards")
        migrate.migrate(url)
        with Connection.connect(url, autocommit=True) as db:
            insert(db)
        with started(url) as (process, address):
            watching = Stream(address, "/")
            watching.until(SLUG)
            embedded.stop(postgres)
            watching.until(AWAY)
            assert SLUG in watching.seen
            assert status(f"{address}/readyz") == 503
            page = requests.get(address, timeout=30)
            assert (page.status_code, SLUG in page.text, AWAY in page.text) == (200, True, True)
            assert status(f"{address}/c/{SLUG}") == 503  # which nobody has read yet
            assert status(f"{address}/healthz") == 200
            postgres = embedded.start(home, extra_options={"fsync": "off"})
            with Connection.connect(url, autocommit=True) as db:
                db.execute("UPDATE kaggle.competitions SET title = 'Back again'")
            watching.until("Back again")
            until(lambda: status(f"{address}/readyz") == 200, "it is ready")
            now = requests.get(address, timeout=30).text
            assert ("Back again" in now, AWAY in now) == (True, False)
            process.terminate()
            assert process.stdout is not None
            told = [line.split(" ", 2)[2] for line in process.stdout if not line.startswith("to reveal")]
        assert [re.sub(": .*", "", line.strip()) for line in told] == [
            "warning the database is away",
            "info    the database is back",
        ]
    finally:
        embedded.stop(postgres)
        shutil.rmtree(home, ignore_errors=True)


def test_a_server_that_says_nothing_holds_nobody(url: str, db: Connection, tmp_path: Path) -> None:
    """It is away, too: what was read is shown at once, not after a query has waited for it."""
    host = Path(str(db.info.host))
    if not host.is_absolute():
        pytest.skip("the server has no Unix socket that could be proxied")
    insert(db)
    name = f".s.PGSQL.{db.info.port}"
    proxy = Proxy(host / name, tmp_path / name)
    try:
        with serving(make_conninfo(url, host=str(tmp_path))) as address:
            assert SLUG in requests.get(address, timeout=30).text
            proxy.freeze()
            proxy.freeze_what_comes()
            until(lambda: status(f"{address}/readyz") == 503, "it is away")
            db.execute("UPDATE kaggle.competitions SET title = 'Unheard'")
            for _ in range(3):
                page = requests.get(address, timeout=10).text
                assert (AWAY in page, SLUG in page) == (True, True)
    finally:
        proxy.close()


# Rights


@contextmanager
def role(url: str, *grants: str) -> Iterator[str]:
    """A role that may log in, with some grants. Yields the database's URL for it."""
    name = f"page_{secrets.token_hex(4)}"
    with Connection.connect(url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(sql.Identifier(name)))
        for grant in grants:
            admin.execute(sql.SQL(grant).format(role=sql.Identifier(name)))  # type: ignore[arg-type]
        try:
            yield make_conninfo(url, user=name, password="x")
        finally:
            admin.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


READER = "GRANT pgleaderboard_reader TO {role}"
ONLY_ITS_RIGHTS = "GRANT pgleaderboard_reader TO {role} WITH SET FALSE"


@pytest.mark.parametrize("grant", [READER, ONLY_ITS_RIGHTS])
def test_a_role_that_only_reads_suffices(url: str, syncs: Syncs, grant: str) -> None:
    """It may become the reader or only has its rights: the page is the same, and follows changes."""
    syncs.sync(zip_of(teams(1, 2)))
    if grant == ONLY_ITS_RIGHTS and syncs.db.info.server_version < 160000:
        pytest.skip("before PostgreSQL 16 a member may always become the role")
    with role(url, grant) as readers_url, serving(readers_url) as address:
        watching = Stream(address, "/c/a-board")
        watching.until("team 2")
        syncs.sync(zip_of(teams(3, 1, 2)))
        watching.until("team 3")


def test_the_page_reads_as_the_reader(url: str, syncs: Syncs) -> None:
    """Whatever else the role may do: what is hidden from the reader is not shown, through PgBouncer too."""
    syncs.sync(zip_of(teams(1, 2)))
    syncs.db.execute("REVOKE SELECT ON kaggle.events FROM pgleaderboard_reader")
    try:
        for through in (nullcontext(url), pgbouncer(url)):
            with through as pooled:
                code, line = refused("--port", "0", url=pooled, PGLEADERBOARD_DIRECT_URL=url)
            assert (code, "permission denied for table events" in line) == (1, True), line
    finally:
        syncs.db.execute("GRANT SELECT ON kaggle.events TO pgleaderboard_reader")
    with pgbouncer(url) as pooled, serving(pooled, PGLEADERBOARD_DIRECT_URL=url) as address:
        watching = Stream(address, "/c/a-board")
        watching.until("team 2")
        syncs.sync(zip_of(teams(3, 1, 2)))
        watching.until("team 3")


# Monitors


def test_a_monitor_reads_what_the_page_does(url: str, syncs: Syncs) -> None:
    """Viewers, events, reads, cache hits and requests, on a port of its own; never on the page's."""
    syncs.sync(zip_of(teams(1, 2)))
    with started(url, PGLEADERBOARD_METRICS_PORT="0", PGLEADERBOARD_LOG_FORMAT="json") as (process, address):
        (monitor,) = [json.loads(line)["event"] for line in process.lines_before]  # type: ignore[attr-defined]
        metrics = monitor.removeprefix("metrics at ")
        streams = [Stream(address, "/c/a-board") for _ in range(3)]
        for stream in streams:
            stream.until("team 2")
        syncs.sync(zip_of(teams(3, 1, 2)))
        for stream in streams:
            stream.until("team 3")
        before = scraped(metrics)
        for _ in range(5):
            assert status(f"{address}/c/a-board") == 200
        after = scraped(metrics)
        assert before["pgleaderboard_page_viewers"] == 3
        assert before["pgleaderboard_page_events_total"] >= 6
        assert before["pgleaderboard_page_database_up"] == 1
        grown = {name: after[f"pgleaderboard_page_{name}_total"] - before[f"pgleaderboard_page_{name}_total"]
                 for name in ("requests", "cache_hits", "reads")}  # fmt: skip
        # The catalog may be read anew meanwhile, and a minute may pass, which is another page.
        assert grown["requests"] == 5
        assert grown["cache_hits"] >= 2
        assert grown["reads"] <= 2
        base = metrics.removesuffix("/metrics")
        assert (status(f"{base}/healthz"), status(f"{base}/readyz"), status(f"{address}/metrics")) == (200, 200, 404)
        said(int(address.rpartition(":")[2]), b"nonsense\r\n\r\n")
        process.terminate()
        assert process.stdout is not None
        assert [json.loads(line) for line in process.stdout if not line.startswith("to reveal")] == []


def scraped(metrics: str) -> dict[str, float]:
    """The samples without labels."""
    text = requests.get(metrics, timeout=30).text
    return {name: float(value) for name, value in re.findall(r"^(\w+) (\S+)$", text, re.MULTILINE)}
