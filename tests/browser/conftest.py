"""A Chromium, and the page of a test's database in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests.support.aliases import Connection
from tests.support.evening import Evening
from tests.support.page import serving
from tests.support.syncs import Syncs

CHROMIUM = shutil.which("chromium")

Open = Callable[..., Page]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (Debian: apt install chromium)")
    # Root may not use Chromium's sandbox.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield started
        started.close()


@pytest.fixture
def address(url: str) -> Iterator[str]:
    """The page of the test's database."""
    with serving(url) as address:
        yield address


@pytest.fixture
def evening(db: Connection, compete: Callable[..., Syncs]) -> Evening:
    """An event of two competitions."""
    return Evening(db, compete)


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Open]:
    """Opens an address of the page in a window of its own. Whatever the browser complains of fails the test."""
    complaints: list[str] = []
    contexts: list[Any] = []

    def complain(message: ConsoleMessage) -> None:
        # A refusal is a page like any other.
        if message.type in ("error", "warning") and "the server responded with a status of 404" not in message.text:
            complaints.append(message.text)

    def one(path: str = "/", *, width: int = 1440, **options: Any) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, locale="en-GB", timezone_id="Europe/Berlin", **options
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", complain)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address + path)
        return page

    yield one
    for context in contexts:
        context.close()
    assert complaints == []
