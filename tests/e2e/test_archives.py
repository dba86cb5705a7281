"""Boards from files and into files, competitions found and added, and the way out, as commands."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from pgleaderboard.database import migrate, uninstall
from pgleaderboard.errors import NeedsPerson, Transient
from pgleaderboard.kaggle.credential import Credential
from pgleaderboard.simulator.boards import zip_board
from tests.support import program
from tests.support.aliases import Connection
from tests.support.boards import csv_of, teams, zip_of
from tests.support.faults import Simulator, Status
from tests.support.kaggle import make_kaggle

ROOT = Path(__file__).resolve().parents[2]
DOCS = (ROOT / "docs" / "archives.md").read_text()

BASH = shutil.which("bash") or "/bin/sh"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(url: str, tmp_path: Path) -> Run:
    """Runs the program on the test's database to its end, without a terminal."""

    def one(*arguments: str | Path, **given: str) -> subprocess.CompletedProcess[str]:
        return program.run(*arguments, cwd=tmp_path, **({"DATABASE_URL": url} | given))

    return one


def said(finished: subprocess.CompletedProcess[str]) -> str:
    """The one line with which a command failed."""
    assert finished.returncode == 1, finished.stdout + finished.stderr
    lines = [line for line in finished.stderr.splitlines() if line.startswith("pgleaderboard: ")]
    assert len(lines) == 1, finished.stderr
    assert "Traceback" not in finished.stderr
    return lines[0].removeprefix("pgleaderboard: ")


def test_the_docs_commands_print_what_is_shown(db: Connection, url: str, tmp_path: Path) -> None:
    """Each command of docs/archives.md, in its order, in a shell: its printed lines, to the letter."""
    slug = "spaceship-titanic"
    third = teams(3)[0].but(score=Decimal("0.9"))
    (archive := tmp_path / "archive").mkdir()
    (archive / f"{slug}-publicleaderboard-2026-05-05T15_36_33.zip").write_bytes(
        zip_board(csv_of(teams(1, 2, 3)), f"{slug}-publicleaderboard-2026-05-05T15:36:33.csv")
    )
    second = csv_of([third, *teams(1, 2)])
    (archive / f"{slug}-publicleaderboard-2026-05-06T09:00:00.csv").write_bytes(second)
    last = csv_of([third, *teams(1, 2, 4)])
    (archive / f"{slug}-publicleaderboard-2026-05-07T09:00:00.csv.gz").write_bytes(gzip.compress(last))
    (tmp_path / "old.csv").write_bytes(csv_of(teams(2, 1)))
    (tmp_path / "Downloads").mkdir()
    (tmp_path / "Downloads" / f"{slug}-privateleaderboard-2026-06-01T00_10_00.zip").write_bytes(
        zip_of([*teams(2, 1), third, *teams(4)], slug=slug, kind="private").replace(
            b"2026-05-05T15:36:33", b"2026-06-01T00:10:00"
        )
    )
    shell = os.environ | {
        "DATABASE_URL": url,
        "HOME": str(tmp_path),
        "LC_ALL": "C",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    session = "".join(re.findall(r"```console\n(.*?)```", DOCS, re.DOTALL))
    steps = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", session, re.MULTILINE)
    assert len(steps) == 11
    for command, expected in steps:
        done = subprocess.run(
            [BASH, "-c", command], capture_output=True, text=True, check=False, env=shell, cwd=tmp_path, timeout=60
        )
        assert done.returncode == 0, (command, done.stderr)
        printed = "".join(line.rstrip() + "\n" for line in done.stdout.splitlines())
        assert printed == expected.replace('"mine"', f'"{db.info.dbname}"'), command
    assert db.execute(
        "SELECT to_regnamespace('kaggle'), to_regnamespace('kaggle_internal'), to_regnamespace('procrastinate')"
    ).fetchone() == (None, None, None)
    assert migrate.migrate(url)  # and it can be had again


def test_a_folder_is_read_by_its_board_files(run: Run, db: Connection, tmp_path: Path) -> None:
    """What is no board is left alone; a folder without one is told."""
    db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id, auto_sync) VALUES ('titanic', false)")
    (folder := tmp_path / "boards").mkdir()
    assert said(run("backfill", "titanic", folder)) == f"no ZIP, CSV or CSV.gz in {folder}"
    for day, suffix, content in ((1, ".csv", csv_of(teams(1))), (2, ".csv.gz", gzip.compress(csv_of(teams(2))))):
        (folder / f"titanic-publicleaderboard-2026-05-0{day}T00_00_00{suffix}").write_bytes(content)
    (folder / "notes.txt").write_text("mine")
    done = run("backfill", "titanic", folder)
    assert (done.returncode, done.stdout.count(": changed, 1 team")) == (0, 2), done.stderr


def test_what_is_wrong_is_said_in_a_line(run: Run, db: Connection, tmp_path: Path) -> None:
    """An unknown competition or event, an unreadable file, a moment that is none: status 1; --at with two files: 2."""
    (file := tmp_path / "titanic-publicleaderboard-2026-05-05T15_36_33.csv").write_bytes(csv_of(teams(1)))
    (other := tmp_path / "titanic-publicleaderboard-2026-05-05T15_36_34.csv").write_bytes(csv_of(teams(1)))
    assert said(run("backfill", "titanic", file)).endswith("follow it with `pgleaderboard add titanic`")
    db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('titanic')")
    db.execute("INSERT INTO kaggle.events (slug, title) VALUES ('night', 'Night')")
    for nearly in (("backfill", "titanc", file), ("export", "titanc", tmp_path)):
        assert said(run(*nearly)).endswith("did you mean titanic?")
    assert said(run("add", "digits", "--event", "nigth")) == "no event 'nigth': did you mean night?"
    assert "is not a time; write it like" in said(run("backfill", "titanic", file, "--at", "yesterday"))
    assert run("backfill", "titanic", file, other, "--at", "2026-05-05").returncode == 2
    (bad := tmp_path / "titanic-publicleaderboard-2026-05-05T15_36_35.csv").write_bytes(b"Rank,Nonsense\n1,2\n")
    assert said(run("backfill", "titanic", file, bad)).startswith(f"{bad.name}: the leaderboard lacks the column")
    assert db.execute("SELECT count(*) FROM kaggle.sync_runs").fetchone() == (0,)


def test_a_database_without_the_schema_is_told(run: Run, empty_database: str, tmp_path: Path) -> None:
    """What needs it says what to run; there is nothing to uninstall."""
    (file := tmp_path / "titanic-publicleaderboard-2026-05-05T15_36_33.csv").write_bytes(csv_of(teams(1)))
    assert "pgleaderboard migrate" in said(run("backfill", "titanic", file, DATABASE_URL=empty_database))
    assert "there is nothing to remove" in said(run("uninstall", "--yes", DATABASE_URL=empty_database))


def test_add_imports(run: Run, db: Connection) -> None:
    """Slugs and URLs, into an event too; what is rejected is said and is status 1; --dry-run changes nothing."""
    db.execute("INSERT INTO kaggle.events (slug, title) VALUES ('night', 'Night')")
    dry = run("add", "titanic", "--event", "night", "--dry-run")
    assert (dry.returncode, dry.stdout) == (0, "titanic  created\nnothing was changed (--dry-run)\n")
    assert db.execute("SELECT count(*) FROM kaggle.competitions").fetchone() == (0,)
    added = run("add", "titanic", "https://www.kaggle.com/competitions/orbit-wars/overview", "--event", "night")
    assert (added.returncode, added.stdout) == (0, "titanic     created\norbit-wars  created\n")
    assert "no pgleaderboard worker is running" in added.stderr
    assert db.execute("SELECT count(*) FROM kaggle.event_competitions").fetchone() == (2,)
    mixed = run("add", "titanic", "no slug", "digit-recognizer")
    assert mixed.returncode == 1
    assert [line.split("  ")[0] for line in mixed.stdout.splitlines()] == ["titanic", "no slug", "digit-recognizer"]
    assert "rejected: not a Kaggle competition: 'no slug'" in mixed.stdout
    assert db.execute("SELECT count(*) FROM kaggle.competitions").fetchone() == (3,)
    assert "no event 'day'" in said(run("add", "titanic", "--event", "day"))


def test_a_windows_list_as_arguments(run: Run, db: Connection) -> None:
    """`add $(cat urls.txt)`: what a blank line or a byte-order mark leaves over is passed by, in other commands too."""
    added = run("add", "\ufeff", "titanic\r", "\r", " \t", "\u00a0", "digit-recognizer\r", "")
    assert (added.returncode, added.stdout) == (0, "titanic           created\ndigit-recognizer  created\n"), (
        added.stderr
    )
    paused = run("pause", "titanic\r", "\r", "digit-recognizer\r")
    assert (paused.returncode, paused.stdout) == (0, "titanic: paused\ndigit-recognizer: paused\n"), paused.stderr
    assert run("retry", "titanic\r", "\r").stdout == "titanic: not failing, nothing to retry\n"
    for command in ("add", "sync", "pause", "resume", "retry"):
        nothing = run(command, "\r", "")
        assert nothing.returncode == 2
        assert "only blanks were given" in nothing.stderr
        assert "Traceback" not in nothing.stderr


def test_search_lists(run: Run, db: Connection, simulator: Simulator) -> None:
    """One request of the shared budget; slugs first, as `add` takes them; nothing found is status 1."""
    given = {"PGLEADERBOARD_KAGGLE_URL": simulator.url, "KAGGLE_API_TOKEN": "t"}
    found = run("search", "titanic", **given)
    assert found.returncode == 0, found.stderr
    assert [line.split()[0] for line in found.stdout.splitlines()] == ["titanic", "spaceship-titanic"]
    assert "Spaceship Titanic (simulated)" in found.stdout
    assert len(simulator.requests) == 1
    assert db.execute(
        "SELECT next_grant_at > clock_timestamp() - interval '1 minute' FROM kaggle_internal.kaggle_budget"
    ).fetchall() == [(True,)]
    assert "no competition on Kaggle matches 'nothing of that'" in said(
        run("search", "nothing of that", PGLEADERBOARD_REQUESTS_PER_MINUTE="0", **given)
    )


def test_search_knows_community_competitions_and_urls(run: Run, simulator: Simulator) -> None:
    """Classes have those of the community; what people have at hand is the URL."""
    given = {"PGLEADERBOARD_KAGGLE_URL": simulator.url, "KAGGLE_API_TOKEN": "t"}
    for text in ("stat101", "https://www.kaggle.com/competitions/Stat101-Spring2026/leaderboard?tab=public"):
        assert run("search", text, **given).stdout.startswith("Stat101-Spring2026 "), text


def test_search_keeps_a_pause_that_kaggle_asked_for(run: Run, db: Connection, simulator: Simulator) -> None:
    """In a long pause no request goes out, and it is said until when; without a database it just asks."""
    given = {"PGLEADERBOARD_KAGGLE_URL": simulator.url, "KAGGLE_API_TOKEN": "t"}
    db.execute(
        "INSERT INTO kaggle_internal.kaggle_budget (credential, blocked_until) VALUES (%s, now() + interval '1 hour')",
        (Credential("the test", token="t").fingerprint,),
    )
    assert "Kaggle asked for a pause until" in said(run("search", "titanic", **given))
    assert simulator.requests == []
    given["DATABASE_URL"] = "postgresql://nobody@127.0.0.1:1/nothing"
    assert run("search", "titanic", **given).returncode == 0


def test_search_explains_a_refusal(simulator: Simulator) -> None:
    """No slug is blamed for a search that Kaggle refuses; what passes by itself is told as that."""
    kaggle = make_kaggle(simulator.url)
    simulator.faults.put("", Status(403))
    with pytest.raises(NeedsPerson, match=r"Kaggle refused the request \(status 403\)"):
        kaggle.search("titanic")
    simulator.faults.put("", Status(503))
    with pytest.raises(Transient, match="503"):
        kaggle.search("titanic")
    found, more = kaggle.search("")
    assert more
    assert len(found) == len({each.slug for each in found}) > 10
    assert all(each.deadline and each.deadline.tzinfo and each.teams for each in found)


# --- uninstall ----------------------------------------------------------------------------------------------------


def test_uninstall_asks(run: Run, db: Connection) -> None:
    """Without a terminal it refuses, and says what would be lost."""
    db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('titanic')")
    refused = run("uninstall")
    assert said(refused) == "not a terminal, cannot ask: pass --yes"
    assert "1 competition, 0 boards, 0 versions of entries" in refused.stdout
    assert db.execute("SELECT count(*) FROM kaggle.competitions").fetchone() == (1,)


def test_uninstall_asks_at_a_terminal(url: str, db: Connection) -> None:
    """A no leaves everything; a yes removes it."""
    import pty

    for answer, status, left in (("n", 1, "kaggle"), ("y", 0, None)):
        ours, theirs = pty.openpty()
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "pgleaderboard", "uninstall"],
                stdin=theirs,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=os.environ | {"DATABASE_URL": url},
                cwd=ROOT,
            )
            os.write(ours, f"{answer}\n".encode())
            told, _ = process.communicate(timeout=60)
        finally:
            os.close(ours)
            os.close(theirs)
        assert process.returncode == status, told
        assert b"Remove all of it?" in told
        assert db.execute("SELECT to_regnamespace('kaggle')::text").fetchone() == (left,)


DEPENDENTS = {
    "view mine": "CREATE VIEW mine AS SELECT team_name FROM kaggle.leaderboard",
    "materialized view mine": "CREATE MATERIALIZED VIEW mine AS SELECT count(*) FROM kaggle.sync_runs",
    "function mine()": "CREATE FUNCTION mine() RETURNS SETOF kaggle.leaderboard LANGUAGE sql "
    "AS 'SELECT * FROM kaggle.leaderboard'",
    "constraint mine_event_fkey on table mine": "CREATE TABLE mine (event bigint REFERENCES kaggle.events (id))",
    "column board of table mine": "CREATE TABLE mine (id int, board kaggle.boards)",
    "default value for column medal of table mine": "CREATE TABLE mine (medal text DEFAULT kaggle.medal(1, 2))",
    "default value for column place of table mine": "CREATE TABLE mine (id int, place text "
    "GENERATED ALWAYS AS (kaggle.medal(id, 2)) STORED)",
    "index mine": "CREATE TABLE others (id int); CREATE INDEX mine ON others ((kaggle.medal(id, 2)))",
    "rule mine on table mine": "CREATE TABLE mine (id int); "
    "CREATE RULE mine AS ON INSERT TO mine DO ALSO SELECT * FROM kaggle.boards",
    "table mine": "CREATE TABLE mine () INHERITS (kaggle.events)",
    "trigger mine on table mine": "CREATE TABLE mine (id int); CREATE TRIGGER mine AFTER INSERT ON mine "
    "EXECUTE FUNCTION kaggle_internal.competitions_inserted()",
}


@pytest.mark.parametrize("what", DEPENDENTS)
def test_uninstall_takes_nothing_of_others_with_it(db: Connection, what: str) -> None:
    """What depends on it outside is named and kept, and so is all of ours; once it is gone the rest goes."""
    db.execute("CREATE TABLE untouched (id int PRIMARY KEY)")
    db.execute(DEPENDENTS[what])  # type: ignore[arg-type]
    uninstall.look(db)
    with pytest.raises(NeedsPerson) as refusal:
        uninstall.remove(db)
    assert str(refusal.value) == f"{what} depends on pgleaderboard: drop it first"
    assert db.execute("SELECT count(*) FROM kaggle.competitions").fetchone() == (0,)
    kind = what.partition(" mine")[0] if " on " not in what and " of " not in what else "table"
    db.execute(f"DROP {kind} mine")  # type: ignore[arg-type]
    uninstall.remove(db)
    assert db.execute("SELECT to_regnamespace('kaggle'), to_regclass('untouched')::text").fetchone() == (
        None,
        "untouched",
    )


def test_uninstall_keeps_what_others_put_inside(run: Run, db: Connection) -> None:
    """A table of the user's in schema kaggle, and jobs of another application in the queue, are not ours to drop."""
    db.execute("CREATE TABLE kaggle.notes (id int)")
    assert said(run("uninstall", "--yes")).startswith("table kaggle.notes is not pgleaderboard's")
    db.execute("DROP TABLE kaggle.notes")
    db.execute(
        "SET search_path = procrastinate; INSERT INTO procrastinate_jobs (queue_name, task_name) VALUES ('mail', 'x')"
    )
    with pytest.raises(NeedsPerson, match="the queue 'mail' in schema procrastinate"):
        uninstall.look(db)


def test_uninstall_while_a_worker_runs(db: Connection) -> None:
    """It is to be stopped first."""
    db.execute("SELECT kaggle_internal.register_worker('test', 'credential')")
    with pytest.raises(NeedsPerson, match="1 worker runs on this database: stop it first"):
        uninstall.look(db)
