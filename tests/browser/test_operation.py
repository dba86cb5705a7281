"""The page through outages, restarts, and for some events only."""

from __future__ import annotations

import signal
import socket

from playwright.sync_api import Browser, expect

from tests.browser.conftest import Open
from tests.support.aliases import Connection
from tests.support.evening import Evening
from tests.support.page import serving, started

ROWS = "tbody th a"


def test_while_the_database_is_away_the_last_page_stays(
    visit: Open, evening: Evening, db: Connection, server_url: str
) -> None:
    """It says since when; what came meanwhile is there once the database is back."""
    evening.sync(["Ann", "Bo"])
    page = visit("/c/first")
    (name,) = db.execute("SELECT current_database()").fetchone() or ("",)

    def allow(connections: str) -> None:
        with Connection.connect(server_url, autocommit=True) as server:
            server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {connections}'.encode())

    allow("false")
    db.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'pgleaderboard page' AND datname = current_database()"
    )
    expect(page.locator("main")).to_contain_text("The database has been out of reach since")
    expect(page.locator(ROWS)).to_have_text(["Ann", "Bo"])
    evening.sync(["Bo", "Ann"])
    allow("true")
    expect(page.locator(ROWS)).to_have_text(["Bo", "Ann"])
    expect(page.locator("main")).not_to_contain_text("out of reach")


def test_a_page_that_was_killed_is_followed_again(browser: Browser, evening: Evening, url: str) -> None:
    """The browser says that the connection is lost, and catches up with the next process."""
    evening.sync(["Ann", "Bo"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    page = browser.new_page()
    with started(url, "--port", port) as (process, address):
        page.goto(f"{address}/c/first")
        expect(page.locator("[data-stream-state]")).to_have_text("live")
        process.send_signal(signal.SIGKILL)
        expect(page.locator("[data-stream-state]")).to_contain_text("connection lost")
        process.wait(10)
    evening.sync(["Bo", "Ann"])
    with serving(url, "--port", port):
        expect(page.locator(ROWS)).to_have_text(["Bo", "Ann"], timeout=15_000)
        expect(page.locator("[data-stream-state]")).to_have_text("live")
        page.close()


def test_a_room_sees_its_event_only(browser: Browser, evening: Evening, url: str, db: Connection) -> None:
    """With --event the others, and their competitions, are not there."""
    evening.sync(["Ann", "Bo"], ["Ann", "Bo"])
    db.execute("INSERT INTO kaggle.events (slug, title) VALUES ('other', 'Another')")
    db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id, auto_sync) VALUES ('elsewhere', false)")
    with serving(url, "--event", "night") as address:
        page = browser.new_page()
        page.goto(address)
        expect(page.locator(".cards a")).to_have_text(["Neural Night", "first", "second"])
        page.goto(f"{address}/c/elsewhere")
        expect(page.locator("h1")).to_have_text("No competition elsewhere is followed here.")
        page.get_by_role("link", name="All boards").first.click()
        page.get_by_role("link", name="Neural Night").click()
        expect(page.locator("main > .scroll > table > tbody > tr")).to_have_count(2)
        page.close()
