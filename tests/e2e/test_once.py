"""`pgleaderboard work --once`, as cron runs it, with syncs that take their time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from pgleaderboard.errors import PgleaderboardError
from pgleaderboard.process.session import Configuration
from pgleaderboard.process.supervisor import Supervisor
from tests.support.aliases import Connection
from tests.support.asking import OTHER, SLUG, eventually, insert, runs, value
from tests.support.faults import Hold, Simulator
from tests.support.kaggle import make_kaggle


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps come fast, and what is told to stop gets no time to speak of."""
    monkeypatch.setattr("pgleaderboard.process.session.SWEEP_EVERY", 0.1)
    monkeypatch.setattr("pgleaderboard.process.session.PATIENCE", 0.1)


@pytest.fixture
def hold(simulator: Simulator) -> Iterator[Hold]:
    """Keeps a download back until it is released."""
    fault = Hold()
    simulator.faults.put(SLUG, fault, method="DownloadLeaderboard")
    yield fault
    fault.release()


def once(url: str, simulator: Simulator, concurrency: int = 4) -> Supervisor:
    """A worker for one round."""
    kaggle = make_kaggle(simulator.url)
    return Supervisor(
        Configuration(
            url, url, kaggle, concurrency=concurrency, requests_per_minute=0, limit=2**28, runs_for=timedelta(days=30)
        )
    )


def test_it_waits_for_its_last_sync_and_lives_meanwhile(
    url: str, db: Connection, simulator: Simulator, hold: Hold
) -> None:
    """However long a download takes; its heart beats, and what is asked meanwhile is done as well."""
    insert(db)

    def meanwhile() -> None:
        assert hold.arrived.wait(30)
        seen = "SELECT max(seen_at)::text FROM kaggle_internal.worker_processes"
        for _ in range(2):
            eventually(db, True, f"SELECT ({seen}) > %s", value(db, seen))
        insert(db, OTHER)
        hold.release()

    waiter = threading.Thread(target=meanwhile)
    waiter.start()
    supervisor = once(url, simulator)
    asyncio.run(supervisor.run(once=True))
    waiter.join()
    assert (runs(db), runs(db, OTHER)) == ([("inserted", "changed")],) * 2
    assert supervisor.failed == 0


def test_a_long_pause_that_kaggle_asked_for_ends_it_at_once(url: str, db: Connection, simulator: Simulator) -> None:
    """That is no outage to wait out: one line says when to come again, and no other session is opened."""
    insert(db)
    supervisor = once(url, simulator)
    credential = make_kaggle(simulator.url).fingerprint
    db.execute("SELECT kaggle_internal.block_budget(%s, '1 hour')", (credential,))
    with pytest.raises(PgleaderboardError, match="Kaggle asked for a pause of 60 minutes more"):
        asyncio.run(supervisor.run(once=True))
    assert value(db, "SELECT last_value FROM kaggle_internal.worker_processes_id_seq") == 1
    assert simulator.requests == []


def test_it_stops_when_it_is_told_to(url: str, db: Connection, simulator: Simulator, hold: Hold) -> None:
    """What runs gets its patience, what waits is not begun, and both are wanted still."""
    insert(db)

    async def told_to_stop() -> None:
        supervisor = once(url, simulator, concurrency=1)
        running = asyncio.create_task(supervisor.run(once=True))
        assert await asyncio.to_thread(hold.arrived.wait, 30)
        await asyncio.to_thread(insert, db, OTHER)
        supervisor.stop()
        await running

    asyncio.run(told_to_stop())
    assert (runs(db), runs(db, OTHER)) == ([], [])
    assert value(db, "SELECT count(*) FROM kaggle_internal.wanted(NULL, false) WHERE task = 'sync'") == 2
