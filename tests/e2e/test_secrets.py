"""What opens Kaggle or the database reaches no table, no log, no message and no list of sessions or processes.

And foreign text, such as a team's name, cannot play with the reader's terminal.
"""

from __future__ import annotations

import base64
import io
import json
import logging
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from rich.console import Console

from pgleaderboard.reading.boards import board
from pgleaderboard.reading.syncs import overview
from pgleaderboard.screens.board import BoardView
from pgleaderboard.screens.status import StatusView
from tests.support import program
from tests.support.aliases import Connection, MakeWorker
from tests.support.boards import Entry, zip_of
from tests.support.faults import Page, Simulator, Status

ROOT = Path(__file__).resolve().parents[2]
LINUX = Path("/proc/self/cmdline").exists()

TOKEN = "KGAT_t0ken-that-opens-kaggle"
USER = "somebody"
KEY = "k3y-that-opens-kaggle"
BASIC = base64.b64encode(f"{USER}:{KEY}".encode()).decode()
PASSWORD = "p4ss/word that@opens:the#database"
PASSWORD_PIECES = ("p4ss", "word that", "opens:the")
ESCAPE = "\x1b]0;owned\x07\x1b[2J\u202e"  # a title, a cleared screen, text from right to left

Start = Callable[..., subprocess.Popen[str]]


def found_in(text: str) -> list[str]:
    """The secrets that stand in a text, as they are or as a URL would have them."""
    wanted = (TOKEN, KEY, BASIC, *PASSWORD_PIECES, quote(PASSWORD, safe=""))
    return [secret for secret in wanted if secret in text]


def controls_in(text: str) -> list[str]:
    """Characters that a terminal would act on."""
    return sorted({c for c in text if c not in "\n\r" and not c.isprintable()})


def run(*arguments: str, **given: str) -> subprocess.CompletedProcess[str]:
    """Run the program to its end; all it said is in stdout."""
    return program.run(*arguments, stderr=subprocess.STDOUT, **given)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the program beside the test, its words in a file; it is ended afterwards."""
    started: list[subprocess.Popen[str]] = []

    def one(*arguments: str, said: Path, **given: str) -> subprocess.Popen[str]:
        with said.open("w") as out:
            started.append(
                subprocess.Popen(
                    [sys.executable, "-m", "pgleaderboard", *arguments],
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    text=True,
                    env=os.environ | given,
                    cwd=ROOT,
                )
            )
        return started[-1]

    yield one
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.fixture
def secret_url(db: Connection, server_url: str) -> Iterator[str]:
    """URL of the database for an owner with a password."""
    role = f"secretive_{secrets.token_hex(4)}"
    db.execute(sql.SQL("CREATE ROLE {} LOGIN SUPERUSER PASSWORD {}").format(sql.Identifier(role), PASSWORD))
    parts = conninfo_to_dict(server_url)
    host = str(parts.get("host") or "localhost")
    place = f"/{db.info.dbname}?host={quote(host, safe='')}&port={parts.get('port', 5432)}"
    yield f"postgresql://{role}:{quote(PASSWORD, safe='')}@{place}"
    db.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s", (role,))
    db.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def everything_stored(db: Connection) -> str:
    """All rows of all our tables as text; of bytea the bytes, too."""
    tables = db.execute(
        "SELECT c.oid::regclass::text FROM pg_class c WHERE c.relkind IN ('r', 'p', 'm')"
        " AND c.relnamespace::regnamespace::text IN ('kaggle', 'kaggle_internal', 'procrastinate') ORDER BY 1"
    ).fetchall()
    assert len(tables) > 12
    parts: list[str] = []
    for (table,) in tables:
        for row in db.execute(f"SELECT t::text, to_jsonb(t) FROM {table} t"):
            parts += [row[0], json.dumps(row[1], ensure_ascii=False)]
            for value in row[1].values():
                if isinstance(value, str) and value.startswith("\\x"):
                    parts.append(bytes.fromhex(value[2:]).decode("latin-1"))
    return "\n".join(parts)


def sessions(db: Connection) -> str:
    """What the server shows of the program's sessions."""
    rows = db.execute(
        "SELECT usename, application_name, query FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        " AND datname = current_database()"
    ).fetchall()
    return "\n".join(map(str, rows))


@pytest.mark.parametrize(
    ("form", "credential"),
    [("text", {"KAGGLE_API_TOKEN": TOKEN}), ("json", {"KAGGLE_USERNAME": USER, "KAGGLE_KEY": KEY})],
    ids=["text", "json"],
)
def test_a_worker_whose_kaggle_and_database_fail_gives_nothing_away(
    db: Connection,
    simulator: Simulator,
    secret_url: str,
    start: Start,
    tmp_path: Path,
    form: str,
    credential: Mapping[str, str],
) -> None:
    """Kaggle refuses in many ways, our own code fails with a traceback, every session is killed: no secret is told.

    Neither is any character that a terminal would act on, though Kaggle's answers are full of them.
    """
    refusals = {
        "refused-401": Status(401),
        "refused-403": Status(403),
        "refused-400": Status(400, message=f"no {ESCAPE} no"),
        "refused-429": Status(429, {"Retry-After": "1"}),
        "failed-500": Status(500, message=f"{ESCAPE}\nsecond line"),
        "nonsense": Page(b"PK" + ESCAPE.encode(), "application/zip"),
    }
    for slug, fault in refusals.items():
        simulator.faults.put(slug, fault, times=None)
    simulator.faults.put("titanic", Status(503), method="GetCompetition", times=None)
    gate = simulator.faults.hold("held")
    said = tmp_path / "said.txt"
    process = start(
        "work",
        "--verbose",
        said=said,
        DATABASE_URL=secret_url,
        PGLEADERBOARD_KAGGLE_URL=simulator.url,
        PGLEADERBOARD_LOG_FORMAT=form,
        PGLEADERBOARD_REQUESTS_PER_MINUTE="0",
        **credential,
    )
    db.execute(
        "INSERT INTO kaggle.competitions (kaggle_competition_id) SELECT unnest(%s::text[])",
        ([*refusals, "unknown-404", "titanic", "held"],),
    )
    outcomes = {
        slug: db.execute("SELECT outcome FROM kaggle.wait_for_sync(%s)", (slug,)).fetchone()[0]
        for slug in (*refusals, "unknown-404", "titanic")
    }
    assert outcomes == dict.fromkeys((*refusals, "unknown-404"), "failed") | {"titanic": "changed"}

    assert gate.arrived.wait(30)
    shown = sessions(db)
    assert "pgleaderboard worker" in shown
    assert found_in(shown) == []

    # A fault of ours, whose message would clear the screen, with its traceback.
    db.execute("ALTER FUNCTION kaggle_internal.confirm_board(bigint, text, bytea, boolean, uuid) RENAME TO before")
    db.execute(
        "CREATE FUNCTION kaggle_internal.confirm_board(bigint, text, bytea, boolean, uuid) RETURNS text "
        "LANGUAGE plpgsql "
        f"AS $$ BEGIN RAISE internal_error USING MESSAGE = E'{ESCAPE.encode('unicode_escape').decode()}'; END $$"
    )
    gate.release()
    failed = db.execute("SELECT error_kind FROM kaggle.wait_for_sync('held')").fetchone()
    assert failed == ("ours",)
    db.execute("DROP FUNCTION kaggle_internal.confirm_board(bigint, text, bytea, boolean, uuid)")
    db.execute("ALTER FUNCTION kaggle_internal.before(bigint, text, bytea, boolean, uuid) RENAME TO confirm_board")

    # The database goes away, and comes back.
    db.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name LIKE 'pgleaderboard%'"
    )
    db.execute("SELECT kaggle.sync_now('titanic')")
    assert db.execute("SELECT outcome FROM kaggle.wait_for_sync('titanic')").fetchone() == ("unchanged",)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0

    text = said.read_text()
    assert "Traceback" in text
    assert "refused-401" in text
    assert found_in(text) == []
    assert found_in(everything_stored(db)) == []
    assert controls_in(text) == []
    if form == "json":
        events = [json.loads(line)["event"] for line in text.splitlines()]
        assert "sync changed" in events


def test_kaggle_cannot_echo_the_token_into_a_table(
    db: Connection, simulator: Simulator, worker: MakeWorker, caplog: pytest.LogCaptureFixture
) -> None:
    """An answer that repeats the credential, as some proxies do, is recorded without it."""
    simulator.faults.put("titanic", Status(400, message="rejected: Bearer test-token"), times=None)
    with worker():
        db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('titanic')")
        error = db.execute("SELECT error FROM kaggle.wait_for_sync('titanic')").fetchone()[0]
    assert "rejected" in error
    assert "rejected" in caplog.text
    assert "test-token" not in error + everything_stored(db) + caplog.text


# Databases that cannot be reached.

# A secret is in each; the URL cannot be read, or nobody listens there.
UNREADABLE = (
    "postgresql://u:S3cretT4il@127.0.0.1:1/x",
    "postgresql://u:S3cret@T4il@127.0.0.1:1/x",
    "postgresql://u:S3cret/T4il@127.0.0.1:1/x",
    "postgresql://u:S3cret%zzT4il@127.0.0.1:1/x",
    "postgresql://u:S3cret T4il@127.0.0.1:1/x",
    "postgresql://u:S3cret[T4il@127.0.0.1:1/x",
    "postgresql://u:S3cret#T4il@127.0.0.1:1/x",
    "postgresql+psycopg://u:S3cretT4il@127.0.0.1:1/x",
    "postgresql:/u:S3cretT4il@127.0.0.1/x",
    "host=127.0.0.1 port=1 password=S3cret T4il",
    "host=127.0.0.1 port=1 password='S3cret T4il",
    "postgresql://u:p@127.0.0.1:1/x?pasword=S3cretT4il",
)
COMMANDS = (
    ("work", "--once"),
    ("work", "--once", "--verbose"),
    ("migrate",),
    ("psql", "-c", "SELECT 1"),
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the cases are forked")
def test_a_database_that_cannot_be_reached_is_named_without_its_password(tmp_path: Path) -> None:
    """Whatever is wrong with the URL, each command says so in one line, without a piece of the password."""
    cases = [
        (command, {"DATABASE_URL": url, "KAGGLE_API_TOKEN": TOKEN})
        for number, url in enumerate(UNREADABLE)
        for command in (COMMANDS if number in (1, 3) else COMMANDS[:1])
    ]
    wrong: list[str] = []
    with ThreadPoolExecutor() as pool:  # most of them wait
        ended = list(pool.map(lambda case: run(*case[0], **case[1]), cases))
    for (command, given), said in zip(cases, (each.stdout for each in ended), strict=True):
        leaks = [piece for piece in ("S3cret", "T4il", TOKEN) if piece in said]
        one_line = said.splitlines()[-1:] and said.endswith("\n") and said.count("pgleaderboard: ") <= 1
        if leaks or not said or ("Traceback" in said and "--verbose" not in command) or not one_line:
            wrong.append(f"{' '.join(command)} with {given['DATABASE_URL']}: {leaks} in {said.splitlines()[-1:]}")
    assert wrong == [], "\n".join([f"{len(wrong)} of {len(cases)}:", *wrong])


@pytest.mark.skipif(not LINUX, reason="reads /proc")
def test_psql_does_not_show_the_password_to_other_users(secret_url: str) -> None:
    """`pgleaderboard psql` hands the password to psql out of sight: everybody can read a process's arguments."""
    shown = run("psql", "-X", "-c", "\\! tr '\\0' ' ' < /proc/$PPID/cmdline", DATABASE_URL=secret_url)
    assert "psql" in shown.stdout
    assert found_in(shown.stdout) == []


# Foreign text on a terminal.


def test_team_names_cannot_play_with_the_terminal(
    db: Connection, simulator: Simulator, worker: MakeWorker, caplog: pytest.LogCaptureFixture
) -> None:
    """Titles and names full of control characters are stored byte for byte, and printed with each of them escaped."""
    caplog.set_level(logging.DEBUG, logger="pgleaderboard")
    name = f"otters{ESCAPE}[/bold]\x9b31m"
    simulator.faults.put(
        "titanic", Page(zip_of([Entry(1, name), Entry(2, "plain")]), "application/zip"), method="DownloadLeaderboard"
    )
    with worker():
        db.execute(
            "INSERT INTO kaggle.competitions (kaggle_competition_id, title) VALUES ('titanic', %s)", (f"T{ESCAPE}",)
        )
        db.execute("SELECT kaggle.wait_for_sync('titanic')")
    assert db.execute("SELECT team_name FROM kaggle.leaderboard WHERE rank = 1").fetchone() == (name,)
    printed = io.StringIO()
    console = Console(file=printed, force_terminal=False, width=200)
    for view in (BoardView(board(db, "titanic", None, None, None)), StatusView(overview(db, "titanic"))):
        console.print(*view.draw(200, None), sep="\n")
    assert controls_in(printed.getvalue()) == []
    assert "otters\\x1b]0;owned" in printed.getvalue()
    assert "titanic: T\\x1b]0;owned" in printed.getvalue()
    assert "sync changed" in caplog.text
    assert controls_in(caplog.text) == []
