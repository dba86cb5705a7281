"""Faults around the live page: whatever happens to it or beside it, it comes to show what the database holds."""

from __future__ import annotations

import json
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

from tests.chaos.tally import Tally
from tests.chaos.world import World
from tests.support.processes import Worker, wait_for

_ROUNDS = 5  # boards move so many times meanwhile


class Page:
    """The page's process, which keeps its port over a restart."""

    def __init__(self, world: World) -> None:
        self._world = world
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.restart()

    def restart(self) -> None:
        """Start it, and wait until it serves."""
        self.process: Worker = self._world.start_page(self.port)
        self.process.wait_until_it_says("page: ")

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of an answer; status 0 where there is none."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def watch(self, path: str) -> socket.socket:
        """Open a stream, and read no more than the kernel does."""
        viewer = socket.socket()
        viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        viewer.connect(("127.0.0.1", self.port))
        viewer.sendall(f"GET /live{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return viewer

    def settle(self, tally: Tally) -> None:
        """Wait until every board is as the database has it, and count what is not."""
        since, world = time.monotonic(), self._world

        def differ(slugs: list[str]) -> list[str]:
            return [slug for slug in slugs if self._shown(slug) != _held(world, slug)]

        slugs = sorted(world.competitions.values())
        wrong = slugs
        while (wrong := differ(wrong)) and time.monotonic() < since + tally.bound:
            time.sleep(0.1)
        tally.tries += 1
        tally.boards += len(slugs)
        tally.right += len(slugs) - len(wrong)
        tally.expect(not wrong, f"the page of {wrong} is not what the database holds")
        tally.recovered(time.monotonic() - since)

    def _shown(self, slug: str) -> object:
        status, text = self.get(f"/c/{slug}.json")
        return (
            sorted((e["team_id"], e["rank"], e["team_name"]) for e in json.loads(text)["entries"])
            if status == 200
            else status
        )

    def end(self, tally: Tally) -> None:
        """End it as its users do."""
        status, seconds = self.process.terminate()
        tally.expect(status == 0 and seconds < 5 * self._world.scale.patience, f"it ended with {status} in {seconds} s")


def _held(world: World, slug: str) -> object:
    return sorted(
        world.sql("SELECT team_id, rank, team_name FROM kaggle.leaderboard WHERE kaggle_competition_id = %s", slug)
    )


@contextmanager
def _page(world: World, tally: Tally) -> Iterator[Page]:
    world.staff(1)
    page = Page(world)
    page.settle(tally)
    yield page
    page.settle(tally)
    page.end(tally)


def _move(world: World, tally: Tally) -> None:
    world.stir("sync_now", "rename")
    world.settle(tally, since=time.monotonic(), bound=20)


def postgres_away(world: World, tally: Tally) -> None:
    """PostgreSQL is killed, and comes back: said within 5 s, current within 5 s."""
    with _page(world, tally) as page:
        for _ in range(world.scale.of(3)):
            world.lose_postgres(signal.SIGKILL)
            wait_for(lambda: page.get("/readyz")[0] == 503, 5 * world.scale.patience, "it says that PostgreSQL is away")
            status, text = page.get("/")
            tally.expect((status, "out of reach since" in text) == (200, True), f"the first page was {status}")
            world.start_postgres()
            wait_for(lambda: page.get("/readyz")[0] == 200, 5 * world.scale.patience, "it says that PostgreSQL is back")
            page.settle(tally)
            _move(world, tally)
            page.settle(tally)


def worker_away(world: World, tally: Tally) -> None:
    """Without a worker the page goes on, and follows edits; a new worker's boards are shown."""
    with _page(world, tally) as page:
        world.take(world.workers[0]).kill()
        slug = world.random.choice(sorted(world.competitions.values()))
        world.sql("UPDATE kaggle.competitions SET title = 'Edited' WHERE kaggle_competition_id = %s", slug)
        wait_for(lambda: "Edited" in page.get(f"/c/{slug}")[1], tally.bound, "an edit is shown")
        world.start()
        _move(world, tally)


def deaf_viewers(world: World, tally: Tally) -> None:
    """Viewers that never read, while boards move: nobody waits for them."""
    with _page(world, tally) as page, ExitStack() as stack:
        slugs = sorted(world.competitions.values())
        for number in range(100):
            stack.enter_context(page.watch(f"/c/{slugs[number % len(slugs)]}"))
        for _ in range(world.scale.of(_ROUNDS, 2)):
            _move(world, tally)
            page.settle(tally)


def slow_requests(world: World, tally: Tally) -> None:
    """200 connections that send a byte a second: others are answered, and in the end they are cut off."""
    with _page(world, tally) as page, ExitStack() as stack:
        slow = [
            stack.enter_context(socket.create_connection(("127.0.0.1", page.port)))
            for _ in range(world.scale.of(200, 50))
        ]
        left = list(slow)
        since = time.monotonic()
        for byte in b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a header that takes its time\r\n":
            for connection in list(left):
                try:
                    connection.send(bytes([byte]))
                except OSError:
                    left.remove(connection)
            if not left or time.monotonic() > since + 20:
                break
            tally.expect(page.get("/healthz")[0] == 200, "another one was not answered")
            time.sleep(1)
        tally.expect(not left, f"{len(left)} connections are still open after {time.monotonic() - since:.0f} s")
        _move(world, tally)


def many_moments(world: World, tally: Tally) -> None:
    """A thousand requests for different past moments, 20 at once: each is answered or told to come back."""
    with _page(world, tally) as page:
        _move(world, tally)
        moments = world.sql(
            "SELECT kaggle_competition_id, r.id FROM kaggle.sync_runs r"
            " JOIN kaggle.competitions c ON c.id = r.competition_id WHERE outcome IN ('changed', 'unchanged')"
        )
        paths = [f"/c/{slug}/at/{run}?page={page_number}" for slug, run in moments for page_number in range(1, 100)]
        world.random.shuffle(paths)
        with ThreadPoolExecutor(20) as pool:
            answers = pool.map(page.get, paths[: world.scale.of(1000, 200)])
            _move(world, tally)
            page.settle(tally)
            statuses = [status for status, _ in answers]
        odd = {status: statuses.count(status) for status in {*statuses} - {200, 302, 404, 503}}
        tally.expect(not odd, f"answers by status: {odd}")
        tally.expect(200 in statuses, "no moment was shown")


def server_killed(world: World, tally: Tally) -> None:
    """SIGKILL of the page at a random moment, with viewers; the next one serves under the same address."""
    with _page(world, tally) as page:
        for _ in range(world.scale.of(_ROUNDS)):
            with ExitStack() as stack:
                for slug in sorted(world.competitions.values()):
                    stack.enter_context(page.watch(f"/c/{slug}"))
                world.stir("sync_now")
                time.sleep(world.random.uniform(0, 0.5))
                page.process.kill()
                page.restart()
                world.settle(tally, since=time.monotonic(), bound=20)
                page.settle(tally)


PAGE_FAULTS = {
    "the page: PostgreSQL killed": postgres_away,
    "the page: no worker": worker_away,
    "the page: viewers that never read": deaf_viewers,
    "the page: a byte a second": slow_requests,
    "the page: a thousand past moments": many_moments,
    "the page: killed": server_killed,
}
