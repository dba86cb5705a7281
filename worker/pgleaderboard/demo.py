"""`pgleaderboard demo`: the four ways to follow competitions, by plain SQL, in a throwaway database."""

from __future__ import annotations

import csv
import io
import shutil
import tempfile
import textwrap
import zipfile
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pgleaderboard import app, logs
from pgleaderboard.database import embedded, migrate
from pgleaderboard.database.connect import Connection, column, connect, row, rows
from pgleaderboard.errors import PgleaderboardError
from pgleaderboard.kaggle.credential import Credential
from pgleaderboard.process.supervisor import running
from pgleaderboard.settings import Settings
from pgleaderboard.simulator.server import Simulator
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
    """Run the story and print the boards. Returns whether every board equals the simulator's file."""
    home = Path(tempfile.mkdtemp(prefix="pgleaderboard-demo-"))
    home.chmod(0o755)  # as root, PostgreSQL runs as another user and must pass through
    try:
        with (
            embedded.running(home, bin_dir=settings.postgres_bin, extra_options={"fsync": "off"}) as server,
            Simulator(epoch=app.today(), speed=0) as simulator,
        ):
            migrate.migrate(server.url())
            out.print(f"embedded PostgreSQL {server.version}; the simulator stands for Kaggle: boards are invented\n")
            client = app.client(settings, simulator.url, Credential("the simulator", token="simulated"))  # noqa: S106
            database = app.Database(server.url(), server.url(), "", server)
            with (
                running(app.supervisor(settings, database, client, simulated=True)),
                connect(server.url()) as connection,
            ):
                return _tell(connection, simulator, out)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _tell(connection: Connection, simulator: Simulator, out: Console) -> bool:
    for title, statement in STEPS:
        out.print(Text(f"-- {title}", style="bold"))
        out.print(Text(textwrap.dedent(statement).strip() + ";\n"))
        connection.execute(statement)
    all_exact = True
    for slug in column(connection, "SELECT kaggle_competition_id FROM kaggle.competitions ORDER BY id"):
        run = row(connection, "SELECT outcome, error FROM kaggle.wait_for_sync(%s, '30 seconds')", slug)
        is_exact = _is_exact(connection, simulator, slug)
        all_exact = all_exact and is_exact
        out.print(_top(connection, slug))
        if is_exact:
            out.print(Text("every field of every row is what the simulator served\n", style="green"))
        else:
            out.print(
                Text(f"WRONG: differs from what the simulator served ({run.outcome}: {run.error})\n", style="bold red")
            )
    return all_exact


def _top(connection: Connection, slug: str) -> Table:
    board = row(
        connection,
        "SELECT coalesce(title, kaggle_competition_id) AS title, teams FROM kaggle.sync_status "
        "WHERE kaggle_competition_id = %s",
        slug,
    )
    table = Table(title=Text(f"{logs.harmless(board.title)}: {board.teams} teams"), title_justify="left")
    table.add_column("rank", justify="right")
    table.add_column("team")
    table.add_column("score", justify="right")
    for entry in rows(
        connection,
        "SELECT rank, team_name, score FROM kaggle.leaderboard WHERE kaggle_competition_id = %s AND rank <= 5 "
        "ORDER BY rank",
        slug,
    ):
        table.add_row(str(entry.rank), Text(logs.harmless(entry.team_name)), str(entry.score))
    return table


def _is_exact(connection: Connection, simulator: Simulator, slug: str) -> bool:
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
