"""The program as its users run it: real processes, exit statuses, one line for an error."""

from __future__ import annotations

import io
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pgleaderboard import __version__
from pgleaderboard.cli.main import main
from pgleaderboard.database import migrate
from tests.support.aliases import Connection
from tests.support.faults import Simulator, Status
from tests.support.program import run
from tests.support.terminal import Terminal

ROOT = Path(__file__).resolve().parents[2]
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for an embedded server that PostgreSQL's account can reach, as root too."""
    import shutil
    import tempfile

    made = Path(tempfile.mkdtemp(prefix="pgl-cli-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def environment(**given: str) -> dict[str, str]:
    """The tests' environment, which no setting or credential of anybody is in, with these settings."""
    return os.environ | given


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts the program beside the test; it is ended afterwards."""
    started: list[subprocess.Popen[str]] = []

    def one(*arguments: str, **given: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "pgleaderboard", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(PYTHONUNBUFFERED="1", **given),
            cwd=ROOT,
        )
        started.append(process)
        return process

    yield one
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def read_until(process: subprocess.Popen[str], pattern: str) -> str:
    """Read lines until one matches; its match."""
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if found := re.search(pattern, line):
            return found[0]
    raise AssertionError(f"{pattern!r} not in:\n{''.join(seen)}")


def end(process: subprocess.Popen[str], how: signal.Signals) -> int:
    """Signal it and wait for its exit status."""
    process.send_signal(how)
    process.communicate(timeout=60)
    return process.returncode


def test_help_and_version() -> None:
    """Every command has help with an example; --version prints the version."""
    assert run("--version").stdout == f"pgleaderboard {__version__}\n"
    for command in ("up", "demo", "migrate", "work", "url", "simulate"):
        shown = run(command, "--help")
        assert (shown.returncode, "Example:" in shown.stdout) == (0, True), command


def test_wrong_usage_is_status_2() -> None:
    """An unknown command or option is wrong usage."""
    assert run("synchronise").returncode == 2
    assert run("work", "--twice").returncode == 2


HEAVY = {
    *("psycopg", "pydantic", "psycopg_pool", "procrastinate", "requests", "kagglesdk", "alembic", "sqlalchemy"),
    *("prometheus_client", "matplotlib", "plotext", "rich.progress", "rich.live", "rich.markdown"),
    *("pgleaderboard.kaggle", "pgleaderboard.simulator"),
}
NEEDED = {"psycopg", "pydantic"}  # for any answer from the database
IMPORTS = [
    (("--help",), set()),
    (("--version",), set()),
    (("board", "--help"), {"pydantic"}),  # which typer itself uses
    (("url",), NEEDED),
    (("status",), NEEDED),
    (("status", "titanic", "--json"), NEEDED),
    (("board", "titanic"), NEEDED),
    (("board", "titanic", "--csv"), NEEDED),
    (("standings", "night"), NEEDED),
    (("plot", "titanic", "-o", "/dev/null/a.svg"), NEEDED | {"matplotlib"}),
    (("sync", "titanic"), NEEDED),
    (("pause", "titanic"), NEEDED),
    (("resume", "titanic"), NEEDED),
    (("retry", "--failed"), NEEDED),
]


def test_a_command_imports_only_what_it_needs(url: str, db: Connection) -> None:
    """A command answers quickly: of the heavy packages it loads none but those that it uses."""
    db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id, auto_sync) VALUES ('titanic', false)")
    db.execute("INSERT INTO kaggle.events (slug, title) VALUES ('night', 'Night')")
    program = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print('imports:', *sorted({HEAVY} & sys.modules.keys())))\n"
        "from pgleaderboard.cli.main import main; main()"
    )
    for command, allowed in IMPORTS:
        shown = subprocess.run(
            [sys.executable, "-c", program, *command],
            capture_output=True,
            text=True,
            check=False,
            env=environment(DATABASE_URL=url, PYTHONPATH=str(ROOT / "worker")),
            timeout=60,
        )
        assert "Traceback" not in shown.stderr
        label, *loaded = shown.stdout.splitlines()[-1].split()
        assert (label, set(loaded) - allowed) == ("imports:", set()), command


def test_demo_prints_right_boards() -> None:
    """The demo shows each board, says that each is exact, and exits 0."""
    shown = run("demo")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.count("every field of every row is what the simulator served") == 6
    assert "Neural Night" in shown.stdout
    assert "WRONG" not in shown.stdout


def test_up_runs_the_whole_job_on_an_embedded_server(start: Start, home: Path) -> None:
    """`up` says which database and which Kaggle; an INSERT through `psql` brings the board; Ctrl-C ends it with 0."""
    given = {"PGLEADERBOARD_HOME": str(home)}
    up = start("up", **given)
    read_until(up, r"migrated to \S+ \(\d\d files\)")
    read_until(up, r"embedded PostgreSQL 18\.\d+, database simulated")
    read_until(up, r"no Kaggle credential found: using the built-in SIMULATOR")
    read_until(up, rf"in another terminal: {re.escape(sys.executable)} -m pgleaderboard psql")
    read_until(up, r"worker ready")
    inserted = run(
        "psql", "-X", "-c", "INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('titanic')", **given
    )
    assert (inserted.returncode, inserted.stdout, inserted.stderr) == (0, "INSERT 0 1\n", "")
    waited = run("psql", "-XAt", "-c", "SELECT outcome, teams FROM kaggle.wait_for_sync('titanic')", **given)
    assert waited.stdout == "changed|1744\n"
    shown = run("url", **given)
    with Connection.connect(shown.stdout.strip()) as connection:
        assert connection.execute("SELECT count(*) FROM kaggle.leaderboard WHERE rank <= 10").fetchone() == (10,)
    assert run("psql", "-c", "SELECT nonsense", **given).returncode == 1
    assert end(up, signal.SIGINT) == 0
    with pytest.raises(psycopg.OperationalError):
        Connection.connect(shown.stdout.strip())


def test_up_with_invented_boards_beside_a_credential(start: Start, home: Path) -> None:
    """What `up` tells to type opens the database on which it works, not the one of real boards."""
    given = {"PGLEADERBOARD_HOME": str(home), "KAGGLE_API_TOKEN": "a-token"}
    up = start("up", "--simulate", **given)
    told = read_until(up, r"in another terminal: DATABASE_URL=.* -m pgleaderboard psql")
    database_url = shlex.split(told)[3].removeprefix("DATABASE_URL=")
    read_until(up, r"worker ready")
    shown = run("psql", "-XAt", "-c", "SELECT current_database()", **given, DATABASE_URL=database_url)
    assert (shown.returncode, shown.stdout) == (0, "simulated\n")
    assert end(up, signal.SIGINT) == 0


@pytest.mark.parametrize("server", ["one's own", "embedded"])
def test_ctrl_c_inside_psql_is_psqls(url: str, home: Path, server: str) -> None:
    """It cancels a query, and drops a half-typed line; the session goes on, and the terminal echoes in the end."""
    given = {"url": "", "PGLEADERBOARD_HOME": str(home)} if server == "embedded" else {"url": url}
    with Terminal("psql", "-X", "-v", "PROMPT1=ready> ", **given) as shown:
        shown.until("ready>")
        shown.type("DO $$ BEGIN RAISE NOTICE 'it %', 'runs'; PERFORM pg_sleep(60); END $$;\r")
        shown.until("it runs")
        shown.type("\x03")
        shown.until("canceling statement due to user request")
        shown.type("SELECT 'half a li")
        shown.until("half a li")
        shown.type("\x03")
        shown.until(lambda text: text.count("ready>") == 3)
        shown.type("SELECT 'still ' || 'here';\r")
        shown.until("still here")
        if server == "embedded":
            shown.type("SHOW server_version_num;\r\\echo :VERSION_NUM\r")
            shown.until(lambda text: len(re.findall(r"18\d{4}", text)) == 2)
        shown.type("\\q\r")
        assert shown.end() == 0
        assert shown.echoes


def test_windows_is_told_where_to_run_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, before anything that Windows lacks is imported."""
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(SystemExit, match="Windows is not supported; run it in WSL"):
        main()


def test_up_with_a_port_listens_with_a_password(start: Start, home: Path) -> None:
    """`up --port` prints a TCP URL whose password is needed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    up = start("up", "--port", str(port), PGLEADERBOARD_HOME=str(home))
    printed = read_until(up, r"postgresql://\S+")
    read_until(up, "worker ready")
    with Connection.connect(printed) as connection:
        assert connection.execute("SELECT count(*) FROM kaggle.competitions").fetchone() == (0,)
    with pytest.raises(psycopg.OperationalError, match="password"):
        Connection.connect(make_conninfo(printed, password="wrong"))
    assert end(up, signal.SIGTERM) == 0


def test_migrate_twice_and_as_a_script(empty_database: str) -> None:
    """`migrate` brings a database up, again has nothing to do, and --sql prints a script without a database."""
    assert run("migrate", DATABASE_URL=empty_database).stdout.splitlines()[-1] == "migrated"
    again = run("migrate", DATABASE_URL=empty_database)
    assert (again.returncode, again.stdout) == (0, "nothing to do\n")
    assert "CREATE TABLE kaggle.competitions" in run("migrate", "--sql").stdout


def test_an_unreachable_database_is_one_line(start: Start) -> None:
    """No traceback: one line on stderr, status 1, and the password is not in it."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    url = f"postgresql://me:s3cret@127.0.0.1:{port}/mine"
    for command in (("migrate",), ("work", "--once"), ("up",)):
        failed = run(*command, DATABASE_URL=url)
        assert failed.returncode == 1, command
        assert len([line for line in failed.stderr.splitlines() if line.startswith("pgleaderboard: ")]) == 1
        assert "Traceback" not in failed.stderr
        assert "s3cret" not in failed.stderr + failed.stdout


def test_a_database_without_rights_is_one_line(empty_database: str, server_url: str) -> None:
    """A role that may not create schemas is told what it lacks, with status 1."""
    role = f"nobody_{os.getpid()}"
    with Connection.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(sql.Identifier(role)))
        try:
            failed = run("migrate", DATABASE_URL=make_conninfo(empty_database, user=role, password="x"))
        finally:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
    assert failed.returncode == 1
    assert re.fullmatch(r"pgleaderboard: .*CREATE.*\n", failed.stderr), failed.stderr


def test_a_wrong_setting_is_one_line() -> None:
    """A setting out of bounds is named."""
    failed = run("work", PGLEADERBOARD_CONCURRENCY="none")
    assert failed.returncode == 1
    assert failed.stderr.count("\n") == 1
    assert "PGLEADERBOARD_CONCURRENCY" in failed.stderr


def test_work_needs_a_migrated_database(empty_database: str) -> None:
    """A worker on a database without our schema says what to run, with status 1."""
    failed = run("work", DATABASE_URL=empty_database)
    assert failed.returncode == 1
    assert "pgleaderboard migrate" in failed.stderr.splitlines()[-1]


def test_work_serves_until_sigterm(start: Start, url: str, db: Connection, simulator: Simulator) -> None:
    """The worker process syncs, shows itself in kaggle.workers, and exits 0 on SIGTERM."""
    given = {"DATABASE_URL": url, "PGLEADERBOARD_KAGGLE_URL": simulator.url, "KAGGLE_API_TOKEN": "t"}
    work = start("work", **given)
    read_until(work, "worker ready")
    db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('titanic')")
    assert db.execute("SELECT outcome FROM kaggle.wait_for_sync('titanic')").fetchone() == ("changed",)
    assert db.execute("SELECT version FROM kaggle.workers").fetchall() == [(__version__,)]
    assert end(work, signal.SIGTERM) == 0
    assert db.execute("SELECT version FROM kaggle.workers").fetchall() == []
    assert {request.headers.get("Authorization") for request in simulator.requests} == {"Bearer t"}


def test_work_once_syncs_and_exits(url: str, db: Connection, simulator: Simulator) -> None:
    """`work --once` does what is wanted and exits 0; 1 if a sync failed; nothing to do is 0."""
    given = {"DATABASE_URL": url, "PGLEADERBOARD_KAGGLE_URL": simulator.url, "KAGGLE_API_TOKEN": "t"}
    assert run("work", "--once", **given).returncode == 0
    db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('titanic'), ('digit-recognizer')")
    done = run("work", "--once", PGLEADERBOARD_REQUESTS_PER_MINUTE="6000", **given)
    assert done.returncode == 0, done.stderr
    assert db.execute("SELECT sync_state, problem FROM kaggle.sync_status").fetchall() == [("idle", None)] * 2
    assert db.execute("SELECT title FROM kaggle.competitions ORDER BY id").fetchone() == ("Titanic (simulated)",)
    simulator.faults.put("titanic", Status(503))
    db.execute("SELECT kaggle.sync_now('titanic')")
    failed = run("work", "--once", **given)
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].startswith("pgleaderboard: 1 of the syncs failed")


def test_no_credential_with_the_real_kaggle_is_said(url: str, db: Connection) -> None:
    """With DATABASE_URL and no credential nothing is invented: it is said at the start and on the row."""
    db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('titanic')")
    failed = run("work", "--once", DATABASE_URL=url)
    assert failed.returncode == 1
    assert "no Kaggle credential found" in failed.stderr.splitlines()[0]
    state, error = db.execute("SELECT sync_state, last_error FROM kaggle.sync_status").fetchone() or ("", "")
    assert state == "failing"
    assert "KAGGLE_API_TOKEN" in error


def test_simulate_alone(start: Start) -> None:
    """`simulate` prints its URL and serves boards; SIGTERM ends it with 0."""
    process = start("simulate", "--port", "0")
    url = read_until(process, r"http://127\.0\.0\.1:\d+")
    import requests

    answer = requests.post(
        f"{url}/v1/competitions.CompetitionApiService/DownloadLeaderboard",
        json={"competitionName": "simulated-5-teams"},
        timeout=10,
    )
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert len(archive.read(archive.namelist()[0]).splitlines()) > 5
    assert end(process, signal.SIGTERM) == 0


def test_the_wheel_carries_sql_and_migrations(tmp_path: Path) -> None:
    """An installed wheel migrates like a checkout: the same files lie inside the package."""
    built = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert {name.split("/")[0] for name in archive.namelist()} == {
            "pgleaderboard",
            f"pgleaderboard-{__version__}.dist-info",
        }
        archive.extractall(tmp_path / "installed")
    script = subprocess.run(
        [sys.executable, "-m", "pgleaderboard", "migrate", "--sql"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path / "installed",
        env=environment(PYTHONPATH=str(tmp_path / "installed")),
    )
    assert script.stdout == migrate.script()
