"""Blocking work beside an event loop, which ends with the process however long it takes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[[], T]) -> T:
    """Run `work` in a daemon thread and await its result. Cancelling the awaiting task leaves the thread to itself.

    asyncio.to_thread would be the standard way, but the interpreter waits for its threads at exit: work that hangs
    must not delay it.
    """
    result: Future[T] = Future()
    result.set_running_or_notify_cancel()  # the thread cannot be cancelled

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised where the result is awaited
            result.set_exception(error)

    threading.Thread(target=run, daemon=True, name="pgleaderboard-work").start()
    return await asyncio.wrap_future(result)
