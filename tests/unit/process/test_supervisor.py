"""The supervisor's own corners; what it does with a database is in tests/e2e and tests/chaos."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg_pool import PoolClosed

from pgleaderboard.process.jobs import Jobs
from pgleaderboard.process.supervisor import Supervisor, run_until_signalled
from pgleaderboard.sync.attempt import Syncer


class LeavesATask:
    """A supervisor whose lost session has left a task that fails when it is ended."""

    def stop(self) -> None:
        """Called on a signal; none comes."""

    async def run(self, once: bool) -> None:
        """Leave it, begun, and end."""
        begun = asyncio.Event()

        async def fails_when_ended() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                raise RuntimeError("the connection is closed")

        self.task = asyncio.create_task(fails_when_ended())
        await begun.wait()


def test_what_a_lost_session_leaves_is_ended_quietly(caplog: pytest.LogCaptureFixture) -> None:
    """asyncio.run would log it as unhandled, with a traceback, though nothing is wrong but what was said already."""
    supervisor: Any = LeavesATask()

    with caplog.at_level(logging.WARNING):
        asyncio.run(run_until_signalled(cast(Supervisor, supervisor)))

    assert supervisor.task.done()
    assert caplog.records == []


class AwayFor:
    """A store whose database is away for so many calls; after that, `ends` if that is given."""

    def __init__(self, calls: int, ends: Exception | None = None) -> None:
        self.left = calls
        self.ends = ends
        self.let_go_of: list[int] = []

    def let_go(self, competition_id: int, token: UUID, retry_in: object, error: str) -> None:
        """Fail, or note it."""
        self.left -= 1
        if self.left >= 0:
            raise psycopg.OperationalError("away")
        if self.ends:
            raise self.ends
        self.let_go_of.append(competition_id)


@pytest.mark.parametrize(("ends", "let_go_of"), [(None, [7]), (PoolClosed("the session has ended"), [])])
def test_an_attempt_is_let_go_however_long_the_database_is_away(
    monkeypatch: pytest.MonkeyPatch, ends: Exception | None, let_go_of: list[int]
) -> None:
    """Else it would stay running for as long as its worker lives; the end of the session ends it, too."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr("pgleaderboard.process.jobs.asyncio.sleep", sleep)
    store = AwayFor(50, ends)

    asyncio.run(Jobs(cast(Syncer, SimpleNamespace(store=store)), lambda: None)._let_go(7, uuid4(), "why"))

    assert store.let_go_of == let_go_of
    assert max(pauses) <= 1
