"""The supervisor's own corners; what it does with a database is in tests/e2e and tests/chaos."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

import pytest

from worker.supervisor import Supervisor, run_until_signalled


class LeavesATask:
    """A supervisor whose lost session has left a task that fails when it is ended."""

    def stop(self) -> None:
        """Called on a signal; none comes."""

    async def run(self) -> None:
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
