"""The page on a hot standby: what it shows while its primary is away, and while the replay pauses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.support.aliases import Connection
from tests.support.databases import copy_of
from tests.support.evening import Evening
from tests.support.page import serving
from tests.support.standby import Pair, cut_off

ROWS = "tbody th a"


@pytest.fixture
def url(pair: Pair) -> Iterator[str]:
    """DSN of a fresh, migrated database of the primary, whose standby replays."""
    with copy_of(pair.template, pair.primary_url) as dsn:
        yield dsn
        pair.standby.resume()


def test_the_page_reads_its_standby(
    browser: Browser, pair: Pair, url: str, db: Connection, evening: Evening, tmp_path: Path
) -> None:
    """A sync is shown when it is replayed; behind, and without the primary, it says so, and shows what there is."""
    evening.sync(["Ann", "Bo"])
    read_url = pair.read_url(url)
    page = browser.new_page()
    with cut_off(url, tmp_path) as (through_proxy, cut):
        with serving(through_proxy, PGLEADERBOARD_READ_URL=read_url) as address:
            page.goto(f"{address}/c/first")
            expect(page.locator("[data-stream-state]")).to_have_text("live")
            evening.sync(["Bo", "Ann"])
            expect(page.locator(ROWS)).to_have_text(["Bo", "Ann"])
            expect(page.locator(".notice")).to_have_count(0)

            pair.standby.pause()
            evening.sync(["Cy", "Bo", "Ann"])
            expect(page.locator("main")).to_contain_text(
                "The standby is behind: what is shown is as of", timeout=15_000
            )
            expect(page.locator(ROWS)).to_have_text(["Bo", "Ann"])
            pair.standby.resume()
            expect(page.locator(ROWS)).to_have_text(["Cy", "Bo", "Ann"])
            expect(page.locator(".notice")).to_have_count(0)

            cut()
            expect(page.locator("main")).to_contain_text("The primary server has been out of reach since")
            evening.sync(["Ann", "Cy", "Bo"])
            expect(page.locator(ROWS)).to_have_text(["Ann", "Cy", "Bo"])
            assert page.request.get(f"{address}/readyz").status == 200
        with serving(through_proxy, PGLEADERBOARD_READ_URL=read_url) as address:  # it begins without its primary, too
            page.goto(f"{address}/c/first")
            expect(page.locator("main")).to_contain_text("The primary server has been out of reach since")
            expect(page.locator(ROWS)).to_have_text(["Ann", "Cy", "Bo"])
    page.close()
