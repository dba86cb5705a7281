"""What was done and used between two moments."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import psutil

from tests.bench.page import seconds_of
from tests.bench.world import Database


def server_of(database: Database) -> Callable[[], float]:
    """Counts the processor seconds of a PostgreSQL: of all its processes, and of those that have ended."""
    postmaster = psutil.Process(int(database.one("SELECT pg_read_file('postmaster.pid')").split()[0]))

    def used() -> float:
        times = postmaster.cpu_times()
        total = seconds_of(postmaster) + float(times.children_user + times.children_system)
        for child in postmaster.children():
            try:
                total += seconds_of(child)
            except psutil.NoSuchProcess:
                continue
        return total

    return used


def _machine() -> float:
    """Processor seconds that the whole machine has used."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq)


@dataclass(frozen=True)
class Used:
    """Between two moments. cores: of the processor, by part, and by whatever else ran on the machine ("others")."""

    seconds: float
    syncs: int
    changed: int
    wal: int
    cores: Mapping[str, float]

    @property
    def rate(self) -> float:
        """Syncs a second."""
        return self.syncs / self.seconds

    def per_sync(self, part: str) -> float:
        """Milliseconds of the processor that a part used for a sync."""
        return 1000 * self.cores[part] / self.rate


class Meter:
    """Counts from its making on. parts: how many processor seconds each part has used, by its name."""

    def __init__(self, database: Database, parts: Mapping[str, Callable[[], float]]) -> None:
        self._database, self._parts = database, parts
        self._before = self._now()

    def _now(self) -> tuple[float, tuple[int, int, int], float, dict[str, float]]:
        counted = self._database.db.execute(
            "SELECT count(*), count(*) FILTER (WHERE outcome = 'changed'),"
            " (pg_current_wal_insert_lsn() - '0/0')::bigint FROM kaggle.sync_runs"
        ).fetchone()
        assert counted is not None
        return time.perf_counter(), counted, _machine(), {name: used() for name, used in self._parts.items()}

    def used(self) -> Used:
        """Since it was made."""
        began, before, machine, parts = self._before
        now, after, machine_now, parts_now = self._now()
        seconds = now - began
        cores = {name: (used - parts[name]) / seconds for name, used in parts_now.items()}
        cores["others"] = max(0.0, (machine_now - machine) / seconds - sum(cores.values()))
        syncs, changed, wal = (int(b - a) for a, b in zip(before, after, strict=True))
        return Used(seconds, syncs, changed, wal, cores)
