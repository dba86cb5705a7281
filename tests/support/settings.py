"""The main job and the commands under what an administrator sets for a database."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping

from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from tests.support import program
from tests.support.aliases import Connection, MakeWorker
from tests.support.asking import OTHER, insert, rows, status, synced
from tests.support.faults import Simulator

SLUG = "simulated-40-teams"
BOARD = "SELECT rank, team_name, score, member_usernames, is_benchmark FROM kaggle.leaderboard ORDER BY rank, team_id"


def check_job(url: str, settings: Mapping[str, str], db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """Do the whole job under these settings of the database, and ask what people ask.

    db: a session from before they were set.
    """
    name = sql.Identifier(str(conninfo_to_dict(url)["dbname"]))
    for setting, chosen in settings.items():
        db.execute(sql.SQL("ALTER DATABASE {} SET {} = {}").format(name, sql.Identifier(setting), sql.Literal(chosen)))
    with worker():
        insert(db, SLUG)
        assert synced(db, SLUG) == ("inserted", "changed")
        assert status(db, "problem", SLUG) is None
        shown = rows(db, BOARD)
        assert len(shown) > 10
        assert command(url, simulator, "sync", SLUG, "--wait").stdout == f"{SLUG}: unchanged, 40 teams\n"
        overview = json.loads(command(url, simulator, "status", "--json").stdout)
        assert overview["workers"], overview
        told = command(url, simulator, "doctor", "--json").stdout
        assert [f for f in json.loads(told)["findings"] if f["level"] == "problem"] == [], told
    insert(db, OTHER)
    command(url, simulator, "work", "--once")
    assert synced(db, OTHER) == ("inserted", "changed")
    printed = command(url, simulator, "board", SLUG, "--json").stdout
    assert len(json.loads(printed)) > 1


def command(url: str, simulator: Simulator, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `pgleaderboard` against the database and the simulator; it must end well."""
    ended = program.run(
        *arguments,
        DATABASE_URL=url,
        PGLEADERBOARD_KAGGLE_URL=simulator.url,
        PGLEADERBOARD_REQUESTS_PER_MINUTE="0",
        KAGGLE_API_TOKEN="a-token",
    )
    assert ended.returncode == 0, (arguments, ended.stdout, ended.stderr)
    return ended
