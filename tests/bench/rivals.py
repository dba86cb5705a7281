"""Rows 9 and 10: how others would do it: a loop row by row, and dlt."""

from __future__ import annotations

import csv
import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import platformdirs
import psycopg

from tests.bench.report import Figure, at_least
from tests.bench.timing import in_turns
from tests.bench.world import World

DLT = "dlt[postgres]==1.31.0"
ENTRY = """
CREATE TABLE entry (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, competition text NOT NULL, team_id bigint NOT NULL,
    rank bigint, team_name text, last_submission_at timestamptz, score numeric, submission_count bigint, members text,
    UNIQUE (competition, team_id))
"""


def row_by_row(world: World) -> Iterator[Figure]:
    """Row 9: select, then insert or update, one transaction a row, as web applications write it."""
    teams = world.scale.of(1_744, 100)
    served = world.serve("rows", world.board(teams).csv())
    numbers = itertools.count(1)
    with world.database() as database, psycopg.connect(database.url) as web:
        database.db.execute(ENTRY.encode())
        names: list[str] = []
        ids: list[int] = []

        def loop_first() -> float:
            names.append(f"competition-{next(numbers)}")
            return _loop(web, served.csv, names[-1])

        def sync_first() -> float:
            ids.append(database.insert(served.name)[0])
            return database.sync(ids[-1], served.zip, "changed")

        first, loop, again, loop_again = in_turns(
            5, sync_first, loop_first,
            lambda: database.sync(ids[-1], served.zip, "unchanged"),
            lambda: _loop(web, served.csv, names[-1]),
        )  # fmt: skip
    against = "row by row through a loop"
    yield at_least(9, f"first sync of {teams:,} teams", against, first, loop, 50)
    yield at_least(9, "… and again, unchanged", against, again, loop_again, 50)


def _loop(connection: psycopg.Connection[Any], file: Path, competition: str) -> float:
    begun = time.perf_counter()
    with file.open(encoding="utf-8-sig", newline="") as source:
        for row in csv.DictReader(source):
            with connection.transaction():
                found = connection.execute(
                    "SELECT id FROM entry WHERE competition = %s AND team_id = %s", (competition, row["TeamId"])
                ).fetchone()
                values = (
                    row["Rank"], row["TeamName"], row["LastSubmissionDate"], row["Score"], row["SubmissionCount"],
                    row["TeamMemberUserNames"],
                )  # fmt: skip
                if found:
                    connection.execute(
                        "UPDATE entry SET rank = %s, team_name = %s, last_submission_at = %s, score = %s,"
                        " submission_count = %s, members = %s WHERE id = %s",
                        (*values, found[0]),
                    )
                else:
                    connection.execute(
                        "INSERT INTO entry (rank, team_name, last_submission_at, score, submission_count, members,"
                        " competition, team_id) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
                        (*values, competition, row["TeamId"]),
                    )
    return time.perf_counter() - begun


def dlt(world: World) -> Iterator[Figure]:
    """Row 10: dlt's merges, in an environment of its own."""
    teams = world.scale.of(15_000, 500)
    try:
        python = _environment()
    except (subprocess.CalledProcessError, OSError) as error:
        yield Figure(10, f"{teams:,} teams", f"{DLT} could not be installed: {error}", target="≥ 8 ×")
        return
    served = world.serve("dlt", world.board(teams).csv())
    numbers = itertools.count(1)
    trials = world.scale.of(5, 2)
    with world.database() as database:
        ids: list[int] = []
        command = [
            str(python),
            str(Path(__file__).with_name("dlt_rival.py")),
            _for_dlt(database.url),
            str(served.csv),
        ]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=(world.folder / "dlt.log").open("wb"),
            text=True, cwd=world.folder,
            env={"HOME": str(world.folder), "PATH": "/usr/bin:/bin", "RUNTIME__DLTHUB_TELEMETRY": "false"},
        ) as process:  # fmt: skip
            try:
                _answer(process)

                def load(strategy: str, dataset: str) -> float:
                    assert process.stdin is not None
                    process.stdin.write(f"{strategy} {dataset}\n")
                    process.stdin.flush()
                    return float(_answer(process))

                def sync_first() -> float:
                    ids.append(database.insert(served.name)[0])
                    return database.sync(ids[-1], served.zip, "changed")

                for strategy in ("upsert", "scd2"):
                    latest: list[str] = []

                    def load_first(strategy: str = strategy, latest: list[str] = latest) -> float:
                        latest.append(f"{strategy}_{next(numbers)}")
                        return load(strategy, latest[-1])

                    first, loaded, again, loaded_again = in_turns(
                        trials, sync_first, load_first,
                        lambda: database.sync(ids[-1], served.zip, "unchanged"),
                        lambda strategy=strategy, latest=latest: load(strategy, latest[-1]),
                    )  # fmt: skip
                    against = f"{DLT}, {strategy}"
                    yield at_least(10, f"first sync of {teams:,} teams", against, first, loaded, 8)
                    yield at_least(10, "… and again, unchanged", against, again, loaded_again, 8)
            finally:
                process.kill()


def _environment() -> Path:
    """dlt in a virtual environment in the user's cache, made once for each version. Returns its Python."""
    version = DLT.partition("==")[2]
    folder = Path(platformdirs.user_cache_dir("pgleaderboard")) / f"dlt-{version}-py{sys.version_info.minor}"
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        quiet = ["--quiet", "--disable-pip-version-check"]
        subprocess.run([str(python), "-m", "pip", "install", *quiet, DLT], check=True, stderr=subprocess.DEVNULL)
        (folder / "ready").touch()
    return python


def _for_dlt(url: str) -> str:
    """The same URL with the host and password that dlt insists on; libpq goes by the socket's folder in the query."""
    return url.replace("postgres@/", "postgres:none@localhost/")


def _answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line:
        raise RuntimeError(f"dlt ended with {process.wait()}")
    return line
