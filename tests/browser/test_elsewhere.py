"""The page on other sites and in other programs: frames, files, and what messengers show."""

from __future__ import annotations

import csv
import http.server
import io
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, expect

from tests.browser.conftest import Open
from tests.support.evening import Evening
from tests.support.page import serving


@contextmanager
def foreign_site(address: str) -> Iterator[str]:
    """A site of somebody else's that frames the board, once as it may and once as it may not."""
    html = f"<iframe id=a src='{address}/embed/c/first'></iframe><iframe id=b src='{address}/c/first'></iframe>"

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}/"
        server.shutdown()


def test_only_what_is_meant_for_frames_is_framed(browser: Browser, evening: Evening, address: str) -> None:
    """An embedded board is live, without what stands around it; the page itself refuses."""
    evening.sync(["Ann", "Bo"])
    page = browser.new_page()
    with foreign_site(address) as site:
        page.goto(site)
        inside = page.frame_locator("#a")
        expect(inside.locator("tbody th a")).to_have_text(["Ann", "Bo"])
        expect(inside.get_by_role("navigation", name="Site")).to_have_count(0)
        evening.sync(["Bo", "Ann"])
        expect(inside.locator("tbody th a")).to_have_text(["Bo", "Ann"])
        expect(page.frame_locator("#b").locator("tbody")).to_have_count(0)
    page.close()


def test_files_say_what_the_page_says(visit: Open, evening: Evening, address: str) -> None:
    """Boards and standings for programs; unchanged ones are not sent again."""
    evening.sync(["Ann", 'Bo "Jr"'], ['Bo "Jr"', "Ann"])
    get = visit("/").request.get
    board = get(f"{address}/c/first.csv")
    assert board.headers["content-type"] == "text/csv; charset=utf-8"
    assert [row["TeamName"] for row in csv.DictReader(io.StringIO(board.text()))] == ["Ann", 'Bo "Jr"']
    assert get(f"{address}/c/first.csv", headers={"If-None-Match": board.headers["etag"]}).status == 304
    document = json.loads(get(f"{address}/c/FIRST.json").text())
    assert [entry["rank"] for entry in document["entries"]] == [1, 2]
    standing = get(f"{address}/e/night.csv").text()
    assert [row["Points"] for row in csv.DictReader(io.StringIO(standing))] == ["100.000000", "100.000000"]
    assert json.loads(get(f"{address}/e/night.json").text())["state"] == "live"
    assert get(f"{address}/c/second.json").status == 200
    for path in ("/c/nowhere.json", "/e/nowhere.csv", "/live/c/first.json"):
        assert get(address + path).status == 404, path


def test_messengers_show_a_title_and_a_description(visit: Open, evening: Evening) -> None:
    """In a document that needs no script to say so."""
    evening.sync(["Ann", "Bo"])
    page = visit("/c/first", java_script_enabled=False)
    described = page.locator("meta[property='og:description']").get_attribute("content")
    assert described == "Public leaderboard, 2 teams"
    assert page.locator("meta[property='og:title']").get_attribute("content") == "first"


def test_a_screen_leads_phones_to_the_page(browser: Browser, evening: Evening, url: str) -> None:
    """The QR code is there where --url says how phones find it."""
    evening.sync(["Ann", "Bo"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    with serving(url, "--port", port, "--url", "http://boards.example.org"):
        page = browser.new_page()
        page.goto(f"http://localhost:{port}/e/night/screen")
        expect(page.locator(".code svg")).to_be_visible()
        expect(page.locator(".code")).to_contain_text("boards.example.org/e/night")
        page.close()
