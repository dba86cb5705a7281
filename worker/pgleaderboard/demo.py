"""`pgleaderboard demo`: an event's four ways in, by plain SQL, in a database that is thrown away afterwards."""

from __future__ import annotations

import csv
import io
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pgleaderboard import app, logs
from pgleaderboard.database import embedded, migrate
from pgleaderboard.database.connect import connect
from pgleaderboard.errors import PgleaderboardError
from pgleaderboard.kaggle.client import Kaggle
from pgleaderboard.kaggle.credential import Credential
from pgleaderboard.process.supervisor import Supervisor, running
from pgleaderboard.settings import Settings
from pgleaderboard.simulator import Simulator
from pgleaderboard.sync.board import BYTE_ORDER_MARK

# The story: each step is what an organiser would type.
STEPS = (
    (
        "A competition alone",
        "INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('spaceship-titanic')",
    ),
    (
        "An event with several competitions",
        """
        WITH night AS (
            INSERT INTO kaggle.events (slug, title) VALUES ('neural-night', 'Neural Night') RETURNING id)
        INSERT INTO kaggle.competitions (kaggle_competition_id, event_id)
        SELECT slug, night.id FROM night, unnest(ARRAY['titanic', 'digit-recognizer']) AS slug
        """,
    ),
    (
        "A bulk import from a list of pasted URLs",
        """
        INSERT INTO kaggle.competitions (kaggle_competition_id)
        SELECT unnest(ARRAY['https://www.kaggle.com/competitions/house-prices-advanced-regression-techniques/overview',
                            'kaggle.com/c/store-sales-time-series-forecasting'])
        ON CONFLICT (kaggle_competition_id) DO NOTHING
        """,
    ),
    (
        "An upcoming competition: nothing is synced yet",
        """
        INSERT INTO kaggle.competitions (kaggle_competition_id, start_date)
        VALUES ('playground-series-s5e1', now() + interval '1 hour')
        """,
    ),
    (
        "... until it is switched to ongoing",
        "UPDATE kaggle.competitions SET status = 'ongoing' WHERE kaggle_competition_id = 'playground-series-s5e1'",
    ),
)


def run_demo(settings: Settings, out: Console) -> bool:
    """Run the story and print the boards. Returns whether every board is what the simulator served."""
    home = Path(tempfile.mkdtemp(prefix="pgleaderboard-demo-"))
    home.chmod(0o755)  # as root, PostgreSQL runs as another user and must pass through
    try:
        with (
            embedded.running(home, bin_dir=settings.postgres_bin, extra_options={"fsync": "off"}) as server,
            Simulator(epoch=app.today(), speed=0) as simulator,
        ):
            migrate.migrate(server.url())
            out.print(f"embedded PostgreSQL {server.version}; Kaggle is played by the simulator: boards are invented\n")
            client = Kaggle(
                simulator.url,
                Credential("the simulator", token="simulated"),  # noqa: S106 - opens nothing
                timeout=settings.http_timeout,
                deadline=settings.download_deadline,
                limit=settings.max_download_mb * 2**20,
            )
            database = app.Database(server.url(), server.url(), "", server)
            with (
                running(Supervisor(app.configuration(settings, database, client, simulated=True))),
                connect(server.url()) as connection,
            ):
                return _tell(connection, simulator, out)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _tell(connection: psycopg.Connection[Any], simulator: Simulator, out: Console) -> bool:
    for title, statement in STEPS:
        out.print(Text(f"-- {title}", style="bold"))
        out.print(Text(_dedent(statement) + ";\n"))
        connection.execute(statement)
    slugs = [
        slug for (slug,) in connection.execute("SELECT kaggle_competition_id FROM kaggle.competitions ORDER BY id")
    ]
    right = True
    for slug in slugs:
        outcome, error = connection.execute(
            "SELECT outcome, error FROM kaggle.wait_for_sync(%s, '30 seconds')", (slug,)
        ).fetchone() or ("lost", None)
        same = _is_exact(connection, simulator, slug)
        right = right and same
        out.print(_top(connection, slug))
        out.print(
            Text(
                "every field of every row is what the simulator served\n"
                if same
                else f"WRONG: differs from what the simulator served ({outcome}: {error})\n",
                style="green" if same else "bold red",
            )
        )
    return right


def _top(connection: psycopg.Connection[Any], slug: str) -> Table:
    rows = connection.execute(
        "SELECT rank, team_name, score FROM kaggle.leaderboard"
        " WHERE kaggle_competition_id = %s AND rank <= 5 ORDER BY rank",
        (slug,),
    ).fetchall()
    title, teams = connection.execute(
        "SELECT coalesce(title, kaggle_competition_id), teams FROM kaggle.sync_status WHERE kaggle_competition_id = %s",
        (slug,),
    ).fetchone() or (slug, 0)
    table = Table(title=Text(f"{logs.harmless(title)}: {teams} teams"), title_justify="left")
    table.add_column("rank", justify="right")
    table.add_column("team")
    table.add_column("score", justify="right")
    for rank, name, score in rows:
        table.add_row(str(rank), Text(logs.harmless(name)), str(score))
    return table


def _is_exact(connection: psycopg.Connection[Any], simulator: Simulator, slug: str) -> bool:
    """Compare the stored board with the served file, field by field."""
    served = simulator.download(slug)
    if served is None:
        raise PgleaderboardError(f"the simulator does not know {slug}")
    with zipfile.ZipFile(io.BytesIO(served)) as archive:
        text = archive.read(archive.namelist()[0]).removeprefix(BYTE_ORDER_MARK).decode()
    expected = [
        (
            int(row["Rank"]) or None,
            int(row["TeamId"]),
            row["TeamName"],
            row["LastSubmissionDate"],
            row["Score"],
            int(row["SubmissionCount"]),
            row["TeamMemberUserNames"],
        )
        for row in csv.DictReader(io.StringIO(text, newline=""))
    ]
    stored = connection.execute(
        """
        SELECT rank, team_id, team_name, to_char(last_submission_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'),
               score::text, submission_count, array_to_string(member_usernames, ',')
        FROM kaggle.leaderboard WHERE kaggle_competition_id = %s
        """,
        (slug,),
    ).fetchall()
    return sorted(stored, key=lambda row: row[1]) == sorted(expected, key=lambda row: row[1])


def _dedent(statement: str) -> str:
    lines = [line for line in statement.splitlines() if line.strip()]
    indent = min(len(line) - len(line.lstrip()) for line in lines)
    return "\n".join(line[indent:] for line in lines)
