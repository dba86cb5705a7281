"""The examples as their users run them."""

from __future__ import annotations

import contextlib
import json
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from psycopg.conninfo import make_conninfo

from tests.support.aliases import Connection, MakeWorker
from tests.support.asking import OTHER, PATIENCE, insert, synced, value
from tests.support.boards import teams, zip_of
from tests.support.faults import Simulator
from tests.support.syncs import Syncs

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SLUG = "simulated-40-teams"


class Listener:
    """examples/listen.py as a process, and the lines it prints."""

    def __init__(self, url: str, state: Path) -> None:
        reader = make_conninfo(url, options="-c role=pgleaderboard_reader")
        self.process = subprocess.Popen(
            [sys.executable, EXAMPLES / "listen.py", reader, state],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)

    def line(self, pattern: str) -> re.Match[str]:
        """The next line that matches; those before it are dropped."""
        while True:
            if found := re.search(pattern, self._lines.get(timeout=PATIENCE)):
                return found

    def run(self) -> int:
        """The number of the next run it tells."""
        return int(self.line(r" run (\d+): ")[1])

    def kill(self) -> list[int]:
        """End it without a word of warning. Returns the runs it had told besides."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._reading.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        rest = [self._lines.get() for _ in range(self._lines.qsize())]
        return [int(found[1]) for line in rest if (found := re.search(r" run (\d+): ", line))]


def until(is_so: Callable[[], bool]) -> None:
    """Wait for something that happens in another process."""
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


@contextlib.contextmanager
def listening(url: str, state: Path) -> Iterator[Listener]:
    """Run it, from when it listens: then it has its marks."""
    listener = Listener(url, state)
    try:
        until(state.exists)
        yield listener
    finally:
        listener.kill()


def test_the_listener_tells_every_run_once(
    url: str, db: Connection, worker: MakeWorker, simulator: Simulator, tmp_path: Path
) -> None:
    """It sees a sync, is killed, misses two, catches up, loses its connection and goes on; nothing is told twice."""
    state = tmp_path / "seen.json"

    def sync() -> int:
        simulator.advance(5)
        db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
        assert synced(db, SLUG) == ("manual", "changed")
        return int(value(db, "SELECT max(id) FROM kaggle.sync_runs"))

    def tells(listener: Listener, *runs: int) -> None:
        assert list(runs) == [listener.run() for _ in runs]
        until(
            lambda: runs[-1] in [run for run, _ in json.loads(state.read_text()).values()]
        )  # it has noted what it told

    with worker():
        insert(db, SLUG)
        synced(db, SLUG)
        with listening(url, state) as listener:
            tells(listener, sync())
            assert listener.kill() == []
        missed = [sync(), sync()]
        with listening(url, state) as listener:
            tells(listener, *missed)
            assert value(db, "SELECT bool_or(pg_terminate_backend(pid)) FROM pg_stat_activity "
                             "WHERE application_name = 'listen.py' AND datname = current_database()")  # fmt: skip
            listener.line("^connection lost, again in 1 s: ")
            tells(listener, sync())
            insert(db, OTHER)
            listener.line(rf"^{OTHER} run ")  # one that it never saw before: its first board is news
            tells(listener, sync())
            assert listener.kill() == []


def test_the_listener_misses_nothing_that_commits_late(
    url: str, db: Connection, compete: Callable[..., Syncs], tmp_path: Path
) -> None:
    """A run that began before another competition's and commits after it is told; what a backfill adds never is."""
    slow, quick = compete("slow"), compete("quick")
    slow.sync(zip_of(teams(1, 2)))
    begun = slow.begin()

    def backfill() -> None:
        db.execute(
            "INSERT INTO kaggle.sync_runs (id, competition_id, reason, observed_at, started_at, finished_at, outcome) "
            "SELECT nextval('kaggle_internal.run_ids'), %s, 'backfill', now(), now(), now(), 'changed'",
            (slow.competition,),
        )

    backfill()
    with listening(url, tmp_path / "seen.json") as listener:
        backfill()
        quick.sync(zip_of(teams(1, 2)))
        assert listener.line(r"^(\w+) run ")[1] == "quick"
        slow.end(begun.run_id, zip_of(teams(2, 1)))
        assert listener.line(r"^(\w+) run ")[1] == "slow"
        assert listener.line("^  (.+)$")[1] in ("team 2: 2 -> 1", "team 1: 1 -> 2")  # one of the two has moved
        assert listener.kill() == []
