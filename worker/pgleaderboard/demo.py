"""`pgleaderboard demo`: the four ways to follow competitions, by plain SQL, in a throwaway database."""

from __future__ import annotations

import io
import tempfile
import textwrap
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.text import Text

from pgleaderboard import app
from pgleaderboard.database import embedded, migrate
from pgleaderboard.database.connect import Connection, column, connect, row
from pgleaderboard.kaggle.credential import Credential
from pgleaderboard.process.supervisor import running
from pgleaderboard.reading import boards
from pgleaderboard.screens.board import BoardView
from pgleaderboard.settings import Settings
from pgleaderboard.simulator.server import Simulator
from pgleaderboard.sync.board import BYTE_ORDER_MARK

# The story: each step is what an organiser would type.
STEPS = (
    ("A competition alone", "INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('spaceship-titanic')"),
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
    with tempfile.TemporaryDirectory(prefix="pgleaderboard-demo-", ignore_cleanup_errors=True) as home:
        Path(home).chmod(0o755)  # as root, PostgreSQL runs as another user and must pass through
        now = datetime.now(UTC).replace(tzinfo=None)  # the boards stand still
        with (
            embedded.running(Path(home), bin_dir=settings.postgres_bin, extra_options={"fsync": "off"}) as server,
            Simulator(clock=lambda: now) as simulator,
        ):
            migrate.migrate(server.url())
            out.print(f"embedded PostgreSQL {server.version}; the simulator stands for Kaggle: boards are invented\n")
            client = app.client(settings, simulator.url, Credential("the simulator", token="simulated"))  # noqa: S106
            database = app.Database(server.url(), server.url(), "", server)
            worker = app.supervisor(settings, database, client, simulated=True)
            with running(worker), connect(server.url()) as connection:
                return _tell(connection, simulator, out)


def _tell(connection: Connection, simulator: Simulator, out: Console) -> bool:
    for title, statement in STEPS:
        out.print(Text(f"-- {title}", style="bold"))
        out.print(Text(textwrap.dedent(statement).strip() + ";\n"))
        connection.execute(statement)
    wrong = 0
    for slug in column(connection, "SELECT kaggle_competition_id FROM kaggle.competitions ORDER BY id"):
        run = row(connection, "SELECT outcome, error FROM kaggle.wait_for_sync(%s, '30 seconds')", slug)
        board = boards.board(connection, slug, None, None, None)
        for line in BoardView(replace(board, entries=board.entries[:5])).draw(out.width, None):
            out.print(line, soft_wrap=True)
        if BoardView(board).csv() == _served(simulator, slug):
            out.print(Text("every field of every row is what the simulator served\n", style="green"))
        else:
            wrong += 1
            message = f"WRONG: differs from what the simulator served ({run.outcome}: {run.error})\n"
            out.print(Text(message, style="bold red"))
    return not wrong


def _served(simulator: Simulator, slug: str) -> str:
    with zipfile.ZipFile(io.BytesIO(simulator.download(slug) or b"")) as archive:
        return archive.read(archive.namelist()[0]).removeprefix(BYTE_ORDER_MARK).decode()
