"""Those who use the database while it fails over, and Kaggle, which remembers what it served."""

from __future__ import annotations

import io
import json
import re
import threading
import time
import urllib.request
import zipfile
from collections import Counter, defaultdict
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

import psycopg
from psycopg.errors import ReadOnlySqlTransaction

from pgleaderboard.database.connect import Connection, connect
from pgleaderboard.simulator.boards import Profile
from tests.support.boards import leaderboard, read_csv, shown
from tests.support.faults import Simulator
from tests.support.processes import Worker

SLUGS = [slug for n in range(2500) if Profile.of(slug := f"cluster-{n}").teams < 90]
PATIENCE = 5.0  # seconds that a client waits for an answer
PAUSE = 0.05  # seconds between two edits of a client: the machine has other work, too
_KINDS = {"title": 85, "ask": 9, "rename": 3, "switch": 2, "replace": 1}  # how often; but a title, all ask for a sync
_STEP_EVERY = 0.5  # seconds between two states of a board


class Kaggle(Simulator):
    """A simulator whose boards move on by themselves, and which notes when it served which board."""

    def __init__(self) -> None:
        super().__init__()
        self._served: dict[str, list[tuple[float, int]]] = defaultdict(list)
        self._known: dict[tuple[str, int], list[Any]] = {}
        self.moving = threading.Event()
        self._ended = threading.Event()

    def start(self) -> None:
        """As above, and move."""
        super().start()
        self._mover = threading.Thread(target=self._move, name="moves the boards", daemon=True)
        self._mover.start()

    def stop(self) -> None:
        """As above."""
        self._ended.set()
        self._mover.join()
        super().stop()

    def _move(self) -> None:
        while not self._ended.wait(_STEP_EVERY):
            if self.moving.is_set():
                self.advance()

    def download(self, slug: str) -> bytes | None:
        """As above."""
        step = self.step
        self._served[slug.lower()].append((time.time(), step))
        return self.boards.download(slug, step)

    def board(self, slug: str, step: int) -> list[Any]:
        """A board as the database should show it."""
        if (slug, step) not in self._known:
            with zipfile.ZipFile(io.BytesIO(self.boards.download(slug, step))) as archive:
                self._known[slug, step] = leaderboard(shown(read_csv(archive.read(archive.namelist()[0]))))
        return self._known[slug, step]

    def served(self, slug: str, since: datetime, until: datetime) -> list[list[Any]]:
        """The boards of a slug that were downloaded within a time; several where somebody else asked, too."""
        downloads = self._served[slug.lower()]
        steps = {step for at, step in downloads if since.timestamp() <= at <= until.timestamp()}
        return [self.board(slug, step) for step in sorted(steps)]


class Editor(threading.Thread):
    """Edits its own competitions without end, an edit a transaction, and notes each whose COMMIT was confirmed."""

    def __init__(self, name: str, url: str, slugs: list[str], seed: str) -> None:
        super().__init__(name=name, daemon=True)
        self._url, self._slugs, self._random = url, slugs, Random(seed)
        self._number = 0
        self._unsure = False
        self._own: dict[int, str] = {}
        self.confirmed: list[int] = []
        self.failures: Counter[str] = Counter()
        self.complaints: list[str] = []
        self.editing = threading.Event()
        self.ended = threading.Event()
        self.resting = threading.Event()

    def run(self) -> None:
        """Edit while `editing` is set, until `ended` is; `resting` tells that no edit is under way."""
        connection: Connection | None = None
        while not self.ended.is_set():
            self.resting.set()
            if not self.editing.wait(0.2):
                continue
            self.resting.clear()
            try:
                if connection is None or connection.closed:
                    connection = self._connect()
                self._edit(connection)
            except (psycopg.OperationalError, ReadOnlySqlTransaction) as error:
                self.failures[type(error).__name__] += 1
                if connection is not None:
                    connection.close()
            except psycopg.Error as error:
                self.complaints.append(f"an edit was refused: {type(error).__name__} {error}")
                assert connection is not None
                connection.close()
            time.sleep(PAUSE)
        if connection is not None:
            connection.close()

    def _connect(self) -> Connection:
        connection = connect(self._url, connect_timeout=2)
        connection.patience = PATIENCE
        connection.add_notice_handler(self._notice)
        query = "SELECT id, kaggle_competition_id FROM kaggle.competitions WHERE category = %s"
        self._own = dict(connection.execute(query, (self.name,)).fetchall())  # an edit may have been committed unseen
        return connection

    def _notice(self, notice: psycopg.errors.Diagnostic) -> None:
        # "canceling wait for synchronous replication": it was committed here, and nobody knows whether elsewhere.
        self._unsure = self._unsure or notice.sqlstate == "01000"

    def _edit(self, connection: Connection) -> None:
        self._number += 1
        self._unsure = False
        own = dict(self._own)
        connection.execute("BEGIN")
        connection.execute("INSERT INTO public.edits (client, number) VALUES (%s, %s)", (self.name, self._number))
        self._change(connection, own)
        connection.execute("COMMIT")
        self._own = own
        if not self._unsure:
            self.confirmed.append(self._number)

    def _change(self, connection: Connection, own: dict[int, str]) -> None:
        competition_id = self._random.choice(list(own))
        kind = self._random.choices(*zip(*_KINDS.items(), strict=True))[0]
        if kind == "title":
            title = f"edit {self._number}"
            connection.execute("UPDATE kaggle.competitions SET title = %s WHERE id = %s", (title, competition_id))
        elif kind == "ask":
            connection.execute("SELECT kaggle.sync_now(%s)", (own[competition_id],))
        elif kind == "rename":
            own[competition_id] = self._spare(own)
            connection.execute(
                "UPDATE kaggle.competitions SET kaggle_competition_id = %s WHERE id = %s",
                (own[competition_id], competition_id),
            )
        elif kind == "switch":
            for on in (False, True):
                connection.execute("UPDATE kaggle.competitions SET auto_sync = %s WHERE id = %s", (on, competition_id))
        else:
            connection.execute("DELETE FROM kaggle.competitions WHERE id = %s", (competition_id,))
            del own[competition_id]
            slug = self._spare(own)
            inserted = connection.execute(INSERT, (self.name, [slug])).fetchone()
            assert inserted is not None
            own[inserted[0]] = slug

    def _spare(self, own: dict[int, str]) -> str:
        taken = set(own.values()) | set(self._own.values())
        return self._random.choice([slug for slug in self._slugs if slug not in taken])


INSERT = (
    "INSERT INTO kaggle.competitions (kaggle_competition_id, category, sync_interval) "
    "SELECT slug, %s, make_interval(secs => 120 + 240 * random()) FROM unnest(%s::text[]) AS slug RETURNING id"
)


class Listener:
    """examples/listen.py, and what it told."""

    def __init__(self, url: str, folder: Path, settings: dict[str, str]) -> None:
        self._url, self._folder, self._settings = url, folder, settings
        self._marks = folder / "seen.json"
        self._logs: list[Path] = []
        self.start()

    def start(self) -> None:
        """Start it, with the marks that there are."""
        self._logs.append(self._folder / f"listen-{len(self._logs)}.log")
        self.process = Worker(["examples.listen", self._url, str(self._marks)], self._logs[-1], self._settings)

    @property
    def is_ready(self) -> bool:
        """Whether it has noted what was there before it."""
        return self._marks.exists()

    @property
    def told(self) -> Counter[int]:
        """How often it has told each run."""
        said = "\n".join(log.read_text(errors="replace") for log in self._logs)
        return Counter(int(number) for number in re.findall(r"^\S+ run (\d+): ", said, re.MULTILINE))

    def end(self) -> None:
        """End it."""
        self.process.kill()


class Screen:
    """`board --watch`, which prints its board anew below the last one."""

    def __init__(self, slug: str, log: Path, settings: dict[str, str]) -> None:
        self.process = Worker(["pgleaderboard", "board", slug, "--watch"], log, settings)

    @property
    def length(self) -> int:
        """How much it has printed."""
        return len(self.process.said)


class Page:
    """The live page."""

    def __init__(self, log: Path, settings: dict[str, str]) -> None:
        self.process = Worker(["pgleaderboard", "serve", "--port", "0"], log, settings)
        self.process.wait_until_it_says("page: ")
        found = re.search(r"page: (http\S+?)/?$", self.process.said, re.MULTILINE)
        assert found is not None
        self._url = found[1]

    def synced_at(self, slug: str) -> datetime | None:
        """When a board was synced last, as the page shows it; None: it shows none."""
        try:
            with urllib.request.urlopen(f"{self._url}/c/{slug}.json", timeout=30) as answer:  # noqa: S310 - http
                shown: str | None = json.load(answer)["synced_at"]
        except (OSError, ValueError, KeyError):
            return None
        return datetime.fromisoformat(shown) if shown else None
