"""What is broken: a throwaway PostgreSQL, a simulated Kaggle, worker processes, competitions; and whether it is whole.

Competitions are due by the clock only after hours, so a board that follows an edit does so because of the edit.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any

import psutil
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgleaderboard.database import embedded, migrate
from pgleaderboard.simulator.boards import Profile
from tests.chaos.scale import Scale
from tests.chaos.tally import Tally
from tests.support.boards import COLUMNS, leaderboard, read_csv, shown
from tests.support.faults import Drip, Simulator
from tests.support.processes import POLL, ROOT, Broken, Worker, wait_for
from tests.support.undone import UNDONE

COMPETITIONS = 8
BIG = "simulated-15000-teams"
SLUGS = [slug for n in range(250) if Profile.of(slug := f"chaos-{n}").teams < 120]
PASSWORD_ROLE = "chaos_password"
WORKER_ROLE = "chaos_worker"
_OPTIONS = {
    "fsync": "off",
    "autovacuum": "off",  # its own locks would be taken for a worker's
    "dynamic_shared_memory_type": "mmap",  # in the data folder: a killed server leaves nothing elsewhere
}
_APPLICATIONS = ("pgleaderboard worker", "pgleaderboard queue", "pgleaderboard")


class World:
    """Everything between `with World(...)` and its end. One thread's."""

    def __init__(self, scale: Scale) -> None:
        self.scale = scale
        self.random = Random(0)
        memory = Path("/dev/shm")  # noqa: S108 - a file system in memory, where there is one
        self._folder = Path(tempfile.mkdtemp(prefix="pgl-chaos-", dir=memory if os.access(memory, os.W_OK) else None))
        self._folder.chmod(0o755)  # as root, PostgreSQL runs as another user and must pass through
        self._home = self._folder / "postgres"
        self._temporary = self._folder / "tmp"
        self._temporary.mkdir()
        self.simulator = Simulator()
        self.workers: list[Worker] = []
        self._started: list[Worker] = []
        self._connection: psycopg.Connection[Any] | None = None
        self._served: dict[tuple[str, int], list[Any]] = {}
        self._edits: dict[int, datetime] = {}
        self.given_away: set[str] = set()
        self._held: list[Any] = []
        self._sessions: list[psycopg.Connection[Any]] = []

    def __enter__(self) -> World:
        try:
            self.simulator.start()
            self.start_postgres()
            migrate.migrate(self.url)
            self._ask_one_role_for_its_password()
            self.sql(f"CREATE ROLE {WORKER_ROLE} LOGIN IN ROLE pgleaderboard_worker")
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        for worker in self._started:
            if worker.process.poll() is None:
                worker.kill()
        self.simulator.stop()
        self._disconnect()
        with contextlib.suppress(Exception):
            embedded.stop(self.server, self.scale.postgres_bin)
        shutil.rmtree(self._folder, ignore_errors=True)

    # PostgreSQL

    def start_postgres(self) -> None:
        """Start it on the data there is."""
        self.server = embedded.start(self._home, bin_dir=self.scale.postgres_bin, extra_options=_OPTIONS)

    def lose_postgres(self, how: signal.Signals) -> None:
        """Signal its postmaster: SIGINT stops it fast, SIGQUIT immediately, SIGKILL as a crash would."""
        self._disconnect()
        postmaster = int((self.server.data / "postmaster.pid").read_text().split()[0])
        os.kill(postmaster, how)

        def is_away() -> bool:
            try:
                psycopg.connect(self.url).close()
            except psycopg.OperationalError:
                return True
            return False

        wait_for(is_away, 30, "PostgreSQL refuses connections")

    @contextlib.contextmanager
    def frozen_postgres(self) -> Iterator[None]:
        """Freeze all processes of the server for the length of a block."""
        self._disconnect()
        postmaster = int((self.server.data / "postmaster.pid").read_text().split()[0])
        frozen = [postmaster]
        os.kill(postmaster, signal.SIGSTOP)  # it starts no more
        try:
            for child in psutil.Process(postmaster).children():
                frozen.append(child.pid)
                child.suspend()
            yield
        finally:
            for pid in reversed(frozen):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def url_behind(self, address: tuple[str, int]) -> str:
        """The database, as the second of two hosts."""
        parts = conninfo_to_dict(self.url)
        host, port = address
        return make_conninfo(self.url, host=f"{host},{parts['host']}", port=f"{port},{parts['port']}")

    def terminate_backends(self, *applications: str) -> int:
        """End the workers' connections that have these names, all of ours by default. Returns how many there were."""
        ended = self.sql(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = ANY (%s)",
            list(applications or _APPLICATIONS),
        )
        return int(ended[0][0])

    @property
    def url(self) -> str:
        """The database."""
        return self.server.url()

    def url_of(self, role: str) -> str:
        """The database, for another role than its owner."""
        return self.url.replace("postgres@", f"{role}@")

    def sql(self, query: str, *values: Any) -> list[Any]:
        """Run a statement in autocommit, on a connection that is made again after PostgreSQL was away."""
        if self._connection is None or self._connection.closed:
            # What waits for one of our own idle sessions is a mistake of the test: it fails, and does not hang.
            self._connection = psycopg.connect(
                self.url, autocommit=True, application_name="chaos", options="-c lock_timeout=30s"
            )
        cursor = self._connection.execute(query.encode(), values or None)
        return cursor.fetchall() if cursor.description else []

    def session(self) -> psycopg.Connection[Any]:
        """Another connection, not in autocommit; whoever forgets it, the world closes it."""
        self._sessions.append(psycopg.connect(self.url, application_name="chaos"))
        return self._sessions[-1]

    def _disconnect(self) -> None:
        for connection in (self._connection, *self._sessions):
            if connection is not None:
                connection.close()
        self._connection = None
        self._sessions.clear()

    def _ask_one_role_for_its_password(self) -> None:
        self.sql(f"CREATE ROLE {PASSWORD_ROLE} LOGIN PASSWORD 'right'")
        rules = self.server.data / "pg_hba.conf"
        rules.write_text(f"local all {PASSWORD_ROLE} scram-sha-256\n{rules.read_text()}")
        self.sql("SELECT pg_reload_conf()")

    # Workers

    def settings(self, **given: str) -> dict[str, str]:
        """The environment of a worker: nothing of ours but these settings."""
        ours = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(self._temporary),
            "TMPDIR": str(self._temporary),
            "PYTHONUNBUFFERED": "1",
            "DATABASE_URL": self.url,
            "PGLEADERBOARD_KAGGLE_URL": self.simulator.url,
            "PGLEADERBOARD_REQUESTS_PER_MINUTE": "0",
        }
        return ours | given

    def start(self, *, freeze_at: Sequence[str] = (), **given: str) -> Worker:
        """Start another worker; freeze_at: where its syncs will be when it freezes, see freezing.py."""
        command = ["tests.chaos.freezing", *freeze_at] if freeze_at else ["pgleaderboard", "work"]
        worker = Worker(command, self._folder / f"worker-{len(self._started)}.log", self.settings(**given))
        self.workers.append(worker)
        self._started.append(worker)
        return worker

    def start_page(self, port: int) -> Worker:
        """Start the live page."""
        command = ["pgleaderboard", "serve", "--port", str(port)]
        page = Worker(command, self._folder / f"page-{len(self._started)}.log", self.settings())
        self._started.append(page)
        return page

    def run(self, *arguments: str, **given: str) -> subprocess.CompletedProcess[str]:
        """Run the program to its end."""
        return subprocess.run(
            [sys.executable, "-m", "pgleaderboard", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=self.settings(**given),
            cwd=ROOT,
            timeout=60,
        )

    def take(self, worker: Worker) -> Worker:
        """Take a worker off the list of those that should run."""
        self.workers.remove(worker)
        return worker

    def staff(self, count: int | None = None, **given: str) -> None:
        """See that so many workers with these settings run, and are ready; None: as many as there are, at least one."""
        wanted = self.settings(**given)
        count = max(1, len(self.workers)) if count is None else count
        for worker in list(self.workers):
            if worker.process.poll() is not None:
                raise Broken(f"a worker ended by itself with {worker.process.returncode}: {worker.said[-2000:]}")
            if len(self.workers) > count or worker.settings != wanted:
                self.take(worker).terminate()
        while len(self.workers) < count:
            self.start(**given)
        for worker in self.workers:
            worker.wait_until_it_says("worker ready")

    # Competitions

    @property
    def competitions(self) -> dict[int, str]:
        """Slugs by id."""
        return dict(self.sql("SELECT id, kaggle_competition_id FROM kaggle.competitions ORDER BY id"))

    def spare_slug(self) -> str:
        """One that no competition has, nor was given to somebody who may not have committed it yet."""
        taken = set(self.competitions.values()) | self.given_away
        return self.random.choice([slug for slug in SLUGS if slug not in taken])

    def insert(self, slug: str | None = None, competition_id: int | None = None) -> int:
        """Insert a competition that is not due again for hours, under an id of its own by default."""
        moment = self._now()
        found: int = self.sql(
            "INSERT INTO kaggle.competitions (id, kaggle_competition_id, sync_interval)"
            " VALUES (%s, %s, '6 hours') RETURNING id",
            competition_id,
            slug or self.spare_slug(),
        )[0][0]
        self._edits[found] = moment
        return found

    def delete(self, competition_id: int) -> None:
        """Delete a competition; its board must go."""
        self.sql("DELETE FROM kaggle.competitions WHERE id = %s", competition_id)
        self._edits.pop(competition_id, None)

    def insert_again(self, competition_id: int, slug: str) -> None:
        """Delete a competition and insert it again under the same id and slug, in one transaction."""
        self.sql("BEGIN")
        self.delete(competition_id)
        self.insert(slug, competition_id)
        self.sql("COMMIT")

    def edit(self, competition_id: int, *kinds: str) -> None:
        """Do something to a competition that its board must follow: one of these kinds, any kind by default."""
        moment = self._now()
        kind = self.random.choice(kinds or ("sync_now", "sync_now", "rename", "rename", "switch", "replace"))
        slug = self.competitions[competition_id]
        if slug == BIG or kind == "sync_now":
            self.sql("SELECT kaggle.sync_now(%s)", slug)
        elif kind == "rename":
            self.sql(
                "UPDATE kaggle.competitions SET kaggle_competition_id = %s WHERE id = %s",
                self.spare_slug(),
                competition_id,
            )
        elif kind == "switch":
            for on in (False, True):
                self.sql("UPDATE kaggle.competitions SET auto_sync = %s WHERE id = %s", on, competition_id)
        else:
            self.delete(competition_id)
            self.insert()
            return
        self._edits[competition_id] = moment

    def stir(self, *kinds: str) -> None:
        """Kaggle's boards move on, and every competition is edited."""
        self.simulator.advance(25)
        for competition_id in self.random.sample(list(self.competitions), len(self.competitions)):
            self.edit(competition_id, *kinds)

    def stretch(self, fetches: int) -> None:
        """Hold back or drip the next few downloads, until `release`."""
        for _ in range(fetches):
            fault = self.random.choice((None, Drip(interval=0.0005)))
            if fault is None:
                self._held.append(self.simulator.faults.hold(method="DownloadLeaderboard"))
            else:
                self._held.append(self.simulator.faults.put(None, fault, method="DownloadLeaderboard"))

    def release(self) -> None:
        """Let go of the downloads that are held back, and forget the faults still in line."""
        self.simulator.faults.clear()
        for fault in self._held:
            fault.release()
        self._held.clear()

    def _now(self) -> datetime:
        moment: datetime = self.sql("SELECT clock_timestamp()")[0][0]
        return moment

    # Is it whole?

    def undone(self) -> list[str]:
        """What is still to do, or was left behind; nothing = quiet. Jobs of dead workers are not counted here."""
        return [line for (line,) in self.sql(UNDONE)]

    def settle(self, tally: Tally, *, since: float, bound: float, hurry: bool = False) -> float:
        """Wait until nothing is left to do, for at most `bound` seconds since then, and count what is wrong.

        hurry: what waits for a retry waits no longer, as time would have it. Returns the seconds since then.
        """
        while undone := self.undone():
            if time.monotonic() > since + bound * self.scale.patience:
                break
            if hurry and self.sql(
                "UPDATE kaggle_internal.sync_state SET retry_at = clock_timestamp()"
                " WHERE retry_at > clock_timestamp() RETURNING 1"
            ):
                self.sql("SELECT kaggle_internal.queue_job('sweep', NULL, 20)")
            time.sleep(POLL)
        seconds = time.monotonic() - since
        tally.stuck += len(undone)
        tally.complaints += undone
        self.compare(tally)
        for competition_id, moment in self._edits.items():
            followed = self.sql(
                "SELECT 1 FROM kaggle.sync_runs WHERE competition_id = %s AND started_at >= %s"
                " AND outcome IN ('changed', 'unchanged')",
                competition_id,
                moment,
            )
            if not followed:
                tally.lost += 1
                tally.complaints.append(f"no sync followed the edit of competition {competition_id} at {moment}")
        self._edits.clear()
        return seconds

    def compare(self, tally: Tally) -> None:
        """Compare every board with what Kaggle serves for its slug, field by field."""
        for competition_id, slug in self.competitions.items():
            stored = self.sql(f"SELECT {COLUMNS} FROM kaggle.leaderboard WHERE competition_id = %s", competition_id)
            tally.boards += 1
            if leaderboard(stored) == self._expected(slug):
                tally.right += 1
            else:
                tally.complaints.append(f"the board of {slug} (competition {competition_id}) is not what Kaggle serves")

    def _expected(self, slug: str) -> list[Any]:
        step = self.simulator.step
        if (slug, step) not in self._served:
            if len(self._served) > 100:
                self._served.clear()
            with zipfile.ZipFile(io.BytesIO(self.simulator.download(slug) or b"")) as archive:
                self._served[slug, step] = leaderboard(shown(read_csv(archive.read(archive.namelist()[0]))))
        return self._served[slug, step]

    def probe(self) -> float:
        """Ask for one sync and wait for it. Returns the seconds it took."""
        begun = time.monotonic()
        # One whose fetch is held would only be waited for.
        idle = wait_for(
            lambda: self.sql(
                "SELECT c.id FROM kaggle.competitions c WHERE kaggle_competition_id <> %s AND NOT EXISTS"
                " (SELECT FROM kaggle_internal.sync_state s"
                " WHERE s.competition_id = c.id AND s.running_run_id IS NOT NULL)",
                BIG,
            ),
            60 * self.scale.patience,
            "a competition that no attempt runs for",
        )
        (competition_id,) = self.random.choice(idle)
        self.edit(competition_id, "sync_now")
        moment = self._edits[competition_id]
        wait_for(
            lambda: self.sql(
                "SELECT true FROM kaggle.sync_runs WHERE competition_id = %s AND started_at >= %s"
                " AND outcome IN ('changed', 'unchanged')",
                competition_id,
                moment,
            ),
            60 * self.scale.patience,
            lambda: f"a sync of competition {competition_id} that was asked for: {self.undone()}",
        )
        return time.monotonic() - begun

    def populate(self) -> None:
        """Come to rest with the usual number of small competitions, all in sync."""
        self.release()
        for competition_id, slug in self.competitions.items():
            if slug == BIG:
                self.delete(competition_id)
        missing = COMPETITIONS - len(self.competitions)
        for _ in range(missing):
            self.insert()
        for competition_id in list(self.competitions)[COMPETITIONS:]:
            self.delete(competition_id)
        self.stir("sync_now")
        rest = Tally("", 0)
        self.settle(rest, since=time.monotonic(), bound=60, hurry=True)
        if rest.complaints:
            raise Broken(f"the world was not whole before the fault: {rest.complaints}")

    def inspect(self, tally: Tally) -> None:
        """What must hold after a fault whatever it was: no job of the dead, no file, no worker lost, no traceback."""
        self.release()
        if not self.workers:
            self.start()
        # As time would: the queue finds a dead worker by a heartbeat that is 30 s old.
        self.sql(
            "UPDATE procrastinate.procrastinate_workers SET last_heartbeat = now() - interval '1 minute'"
            " WHERE id IN (SELECT worker_id FROM procrastinate.procrastinate_jobs WHERE status = 'doing')"
        )
        self.sql("SELECT kaggle_internal.queue_job('sweep', NULL, 20)")
        try:
            wait_for(
                lambda: not self.sql("SELECT 1 FROM procrastinate.procrastinate_jobs"),
                10 * self.scale.patience,
                "no job is left",
            )
        except Broken:
            left = self.sql("SELECT format('a job is left: %s', to_jsonb(j)) FROM procrastinate.procrastinate_jobs j")
            tally.stuck += len(left)
            tally.complaints += [line for (line,) in left]
        files = [path.name for path in self._temporary.glob("pgleaderboard-*")]
        tally.stuck += len(files)
        tally.expect(not files, f"temporary files are left: {files}")
        for worker in list(self.workers):
            if worker.process.poll() is not None:
                self.take(worker)
                tally.complaints.append(
                    f"a worker ended by itself with {worker.process.returncode}: {worker.said[-2000:]}"
                )
        for worker in self._started:
            if worker.tracebacks and not worker.is_reported:
                worker.is_reported = True
                tally.complaints.append(f"a worker shows {len(worker.tracebacks)} tracebacks: {worker.tracebacks[0]}")
        faults = self.sql("SELECT DISTINCT error FROM kaggle.sync_runs WHERE error_kind = 'ours'")
        tally.expect(not faults, f"runs failed by a fault of ours: {faults}")
