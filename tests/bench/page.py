"""Rows 21 to 23: the live page; its process, its viewers, and a browser."""

from __future__ import annotations

import os
import re
import shutil
import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
from playwright.sync_api import sync_playwright

from tests.bench.boards import Board
from tests.bench.report import Figure, ms, within
from tests.bench.timing import percentile
from tests.bench.world import Database, World
from tests.support.page import started
from tests.support.processes import Worker

MIB = 2**20
READS = """
SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements
WHERE query LIKE '%leaderboard_as_of%' AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
SLOW_4G = {"offline": False, "latency": 150, "downloadThroughput": 1.6 * 2**20 / 8, "uploadThroughput": 750 * 2**10 / 8}


class Shown:
    """A board of a competition, synced in this process, and the page's process."""

    def __init__(self, world: World, database: Database, teams: int) -> None:
        self.board: Board = world.board(teams)
        self._world, self._database = world, database
        database.db.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        self.competition_id, self.slug = database.insert("shown")
        self.sync()

    def sync(self) -> float:
        """Change some places among the first 50, and sync. Returns the time of the commit (Unix, seconds)."""
        served = self._world.serve("shown", self.board.csv())
        self._database.sync(self.competition_id, served.zip, "changed")
        return time.time()


@contextmanager
def _page(world: World, teams: int) -> Iterator[tuple[Database, Shown, psutil.Process, str]]:
    home = world.folder / "page"
    with (
        world.database() as database,
        started(database.url, PGLEADERBOARD_HOME=str(home)) as (process, address),
    ):
        yield database, Shown(world, database, teams), psutil.Process(process.pid), address


@contextmanager
def streams(world: World, address: str, path: str, count: int) -> Iterator[Worker]:
    """So many viewers of a page for the length of a block, once they watch."""
    host, port = re.findall(r"//(.*):(\d+)", address)[0]
    with world.process("tests.bench.viewers", host, port, path, str(count)) as viewers:
        viewers.wait_until_it_says("watching", seconds=180)
        yield viewers


def seconds_of(process: psutil.Process) -> float:
    """The processor time that a process has used."""
    times = process.cpu_times()
    return float(times.user + times.system)


def viewers(world: World) -> Iterator[Figure]:
    """Row 21: 1,000 viewers of a board of 2,000 teams that changes."""
    count, changes = world.scale.of(1_000, 20), world.scale.of(40, 3)
    with _page(world, world.scale.of(2_000, 200)) as (database, shown, process, address):

        def changing() -> tuple[list[float], float]:
            """The commits of so many changes, and the processor's seconds for one of them."""
            used, commits = seconds_of(process), []
            for _ in range(changes):
                shown.board.shake()
                commits.append(shown.sync())
                time.sleep(1)
            return commits, (seconds_of(process) - used) / changes

        with streams(world, address, f"/live/c/{shown.slug}", 1):
            _, alone = changing()
        with streams(world, address, f"/live/c/{shown.slug}", count) as watching:
            time.sleep(1)
            begun, used = time.perf_counter(), seconds_of(process)
            time.sleep(world.scale.of(30, 2))
            idle = (seconds_of(process) - used) / (time.perf_counter() - begun)
            reads = database.one(READS)
            commits, busy = changing()
            events = [line.split() for line in watching.said.splitlines()[1:]]
            reads = database.one(READS) - reads
        # The catalog may bring a second event; what counts is the one that brings the board.
        delays, sizes = [], []
        for commit in commits:
            first = next(event for event in events if float(event[0]) > commit - 0.5 and int(event[1]) == count)
            delays.append(float(first[0]) - commit)
            sizes.append(int(first[2]))
        sent = sum(int(event[1]) for event in events)
        yield within(
            21, f"page: commit → last byte at {count:,} viewers, 95th percentile", 1000 * percentile(delays, 0.95), 250,
            "ms", delays=delays,
        )  # fmt: skip
        each = changes * (busy - alone) / (sent - changes)
        yield within(21, "… processor for one more viewer of an event", 1e6 * each, 45, "µs")
        yield Figure(21, "… processor for a change, with one viewer", ours=ms(alone), target="reported")
        yield within(21, f"… processor for {count:,} idle viewers", 100 * idle, 1, "% of a core")
        yield within(21, "… reads of the board for a change", reads / changes, 1, "reads")
        yield within(21, "… an update, compressed", max(sizes) / 1000, 4, "kB")
    count = world.scale.of(5_000, 50)
    with (
        _page(world, world.scale.of(2_000, 200)) as (_, shown, process, address),
        streams(world, address, f"/live/c/{shown.slug}", count),
    ):
        yield within(21, f"… memory with {count:,} viewers", process.memory_info().rss / MIB, 150, "MiB")


def requests(world: World) -> Iterator[Figure]:
    """Row 22: what a visit weighs, and how many are answered."""
    asked = world.scale.of(20_000, 500)
    with _page(world, world.scale.of(2_000, 200)) as (_, shown, process, address):
        weight, files = 0, [f"/c/{shown.slug}"]
        for path in files:
            query = urllib.request.Request(address + path, headers={"Accept-Encoding": "gzip"})  # noqa: S310 - ours
            with urllib.request.urlopen(query) as answer:  # noqa: S310
                weight += len(answer.read()) + len(str(answer.headers))
            if path == files[0]:
                with urllib.request.urlopen(address + path) as answer:  # noqa: S310
                    found = re.findall(r'(?:href|src)="(/static/[^"]+(?:css|js))"', answer.read().decode())
                files += dict.fromkeys(found)
        yield within(22, f"page: first view in {len(files)} requests, compressed", weight / 1000, 30, "kB")
        host, port = re.findall(r"//(.*):(\d+)", address)[0]
        request = f"GET {files[0]} HTTP/1.1\r\nHost: {host}\r\nAccept-Encoding: gzip\r\n\r\n".encode()
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(request)
            size = len(connection.recv(2**20))
            used = seconds_of(process)
            for _ in range(asked):
                connection.sendall(request)
                left = size
                while left > 0:
                    left -= len(connection.recv(2**20))
            rate = asked / (seconds_of(process) - used)
        yield Figure(
            22, "… cached GET, for a core", ours=f"{rate:,.0f} a second", target="≥ 4,000 a second", met=rate >= 4000
        )


def browser(world: World) -> Iterator[Figure]:
    """Row 23: a phone of little power on a slow network, and 50 rows that move."""
    chromium = shutil.which("chromium")
    if chromium is None:
        yield Figure(23, "page in Chromium", ours="not installed", target="≤ 1 s")
        return
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with _page(world, world.scale.of(2_000, 200)) as (_, shown, _, address), sync_playwright() as playwright:
        started_browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        page = started_browser.new_page(viewport={"width": 360, "height": 780})
        page.add_init_script(
            "window.shifts = 0; new PerformanceObserver(list => { for (const entry of list.getEntries())"
            " window.shifts += entry.value }).observe({type: 'layout-shift', buffered: true})"
        )
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        session.send("Network.emulateNetworkConditions", SLOW_4G)
        session.send("Emulation.setCPUThrottlingRate", {"rate": 4})
        page.goto(f"{address}/c/{shown.slug}")
        page.wait_for_timeout(500)
        paint = page.evaluate("() => performance.getEntriesByName('first-contentful-paint')[0].startTime")
        session.send("Emulation.setCPUThrottlingRate", {"rate": 1})
        applied: list[float] = []
        for _ in range(world.scale.of(10, 2)):
            tag = page.evaluate("() => document.getElementById('live').dataset.tag")
            shown.board.shake()
            shown.sync()
            page.wait_for_function("tag => document.getElementById('live').dataset.tag !== tag", arg=tag)
            page.wait_for_timeout(1000)  # boards of one competition come a minute apart, or more
            applied.append(page.evaluate("() => performance.getEntriesByName('applied')[0].duration"))
        shifts = page.evaluate("() => window.shifts")
        started_browser.close()
    yield within(23, "page: first paint, slow 4G and a processor 4 × slower", paint / 1000, 1, "s")
    yield within(23, "… layout shift, updates of every score included", shifts, 0.02, "")
    yield within(23, "… 50 rows applied, 95th percentile", percentile(applied, 0.95), 60, "ms", applied=applied)
