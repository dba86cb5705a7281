"""`make pictures`: the pictures of README and docs, drawn by the program itself from half a day of invented boards.

docs/board.svg    the screen of `pgleaderboard board`
docs/plot.png     the file of `pgleaderboard plot`
docs/page-*.png   the live page in Chromium, where that is installed (Debian: apt install chromium)
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import psutil
from playwright.sync_api import sync_playwright
from rich.console import Console

from pgleaderboard.database import embedded, migrate
from pgleaderboard.database.connect import Connection, connect
from pgleaderboard.reading import boards
from pgleaderboard.screens.board import BoardView
from pgleaderboard.simulator.boards import EPOCH, STEP_SECONDS, SimulatedBoards

DOCS = Path(__file__).resolve().parents[1] / "docs"
SLUG = "night-finals"
EVERY = 1200 // STEP_SECONDS  # steps between two boards: twenty minutes
DAY = 86400 // STEP_SECONDS
# Of the page: the file's name, the address, the size in pixels, and the colours.
PAGES = (
    ("page-board", f"/c/{SLUG}", (1440, 900), "light"),
    ("page-phone", f"/c/{SLUG}", (360, 720), "dark"),
    ("page-event", "/e/neural-night", (1440, 900), "light"),
    ("page-screen", "/e/neural-night/screen", (1440, 810), "dark"),
)


def make(into: Path) -> list[Path]:
    """Draw the pictures into a folder. Returns them."""
    home = Path(tempfile.mkdtemp(prefix="pgl-pictures-"))
    home.chmod(0o755)  # as root, PostgreSQL runs as another user and must pass through
    try:
        with embedded.running(home, extra_options={"fsync": "off"}) as server:
            migrate.migrate(server.url())
            return _draw(server.url(), home, into)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _draw(url: str, folder: Path, into: Path) -> list[Path]:
    boards = SimulatedBoards(EPOCH)
    files = []
    for step in range(DAY // 2, DAY + 1, EVERY):
        archive = boards.download(SLUG, step)
        assert archive is not None
        files.append(folder / f"{step}.zip")
        files[-1].write_bytes(archive)
    with connect(url) as connection:
        connection.execute(
            "INSERT INTO kaggle.competitions (kaggle_competition_id, auto_sync) VALUES (%s, false)", (SLUG,)
        )
        _run(url, "backfill", SLUG, *map(str, files))
        connection.execute(
            "INSERT INTO kaggle.participants SELECT member_usernames[1], 'You' FROM kaggle.leaderboard WHERE rank = 4"
        )
        at = EPOCH.replace(tzinfo=UTC, day=2, second=1)
        screen, plot = into / "board.svg", into / "plot.png"
        screen.write_text(_screen(connection, at))
    _run(url, "plot", SLUG, "--top", "6", "-o", str(plot))
    return [screen, plot, *_pages(url, folder, into)]


def _pages(url: str, home: Path, into: Path) -> list[Path]:
    chromium = shutil.which("chromium")
    if chromium is None:
        print("chromium is not installed: the pictures of the page stay as they are")
        return []
    with connect(url) as connection:
        connection.execute("INSERT INTO kaggle.events (slug, title) VALUES ('neural-night', 'Neural Night')")
        connection.execute(
            "INSERT INTO kaggle.event_competitions (event_id, competition_id) "
            "SELECT e.id, c.id FROM kaggle.events e, kaggle.competitions c"
        )
        connection.execute("UPDATE kaggle.competitions SET title = 'Night Finals'")
    command = [sys.executable, "-m", "pgleaderboard", "serve", "--port", "0", "--url", "http://boards.example.org"]
    environment = os.environ | {"DATABASE_URL": url, "PGLEADERBOARD_HOME": str(home)}
    drawn = []
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as page:
        assert page.stdout is not None
        page.stdout.readline()
        (port,) = {c.laddr.port for c in psutil.Process(page.pid).net_connections() if c.status == "LISTEN"}
        with sync_playwright() as playwright:
            arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
            browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
            for name, path, (width, height), colours in PAGES:
                view = browser.new_page(viewport={"width": width, "height": height}, color_scheme=colours)
                view.goto(f"http://127.0.0.1:{port}{path}")
                drawn.append(into / f"{name}.png")
                view.screenshot(path=drawn[-1])
            browser.close()
        page.terminate()
    return drawn


def _run(url: str, *arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "pgleaderboard", *arguments],
        env=os.environ | {"DATABASE_URL": url},
        stdout=subprocess.DEVNULL,
        check=True,
    )


def _screen(connection: Connection, at: datetime) -> str:
    console = Console(record=True, width=80, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for line in BoardView(boards.board(connection, SLUG, at, None, 16)).draw(console.width, None):
        console.print(line, soft_wrap=True)
    return console.export_svg(title=f"pgleaderboard board {SLUG} --top 16 --watch")


if __name__ == "__main__":
    for picture in make(DOCS):
        print(f"{picture.relative_to(DOCS.parent)}: {picture.stat().st_size // 1024} KiB")
