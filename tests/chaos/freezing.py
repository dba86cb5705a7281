"""A worker that freezes (SIGSTOP to itself) once one sync has come to each of the chosen points.

python -m tests.chaos.freezing POINT...

copy   inside the COPY of the file's rows, after the first of them
place  when the order was read, before the places are sent
apply  when everything is staged, before the statement that applies and commits

and, of a competition that was deleted,

remove  when that is known, before anything is removed
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg

from pgleaderboard.cli.main import main
from pgleaderboard.sync import board, order
from pgleaderboard.sync.store import Store

POINTS = ("copy", "place", "apply")


def freeze_at(*points: str) -> None:
    """Wrap the functions that mark these points."""
    # Raised in the thread itself, so that no other gets a step further before all of them stop.
    met = threading.Barrier(len(points), action=lambda: signal.raise_signal(signal.SIGSTOP))
    if "copy" in points:
        meet_in_copy = _once(met)
        real_rows = board.zip_chunks

        def rows(*given: Any) -> Iterator[bytes]:
            chunks = real_rows(*given)
            yield next(chunks)
            meet_in_copy()
            yield from chunks

        board.zip_chunks = rows  # type: ignore[assignment]
    if "place" in points:
        meet_in_place = _once(met)
        real_differences = order.differences

        def differences(*given: Any) -> Iterator[tuple[int, int | None, str]]:
            meet_in_place()
            yield from real_differences(*given)

        order.differences = differences
    if "apply" in points:
        meet_before_apply = _once(met)

        class Cursor(psycopg.ClientCursor[Any]):
            def execute(self, *given: Any, **named: Any) -> Any:
                meet_before_apply()
                return super().execute(*given, **named)

        psycopg.ClientCursor = Cursor  # type: ignore[misc]
    if "remove" in points:
        meet_before_removal = _once(met)
        real_remove = Store.remove_deleted

        def remove_deleted(*given: Any) -> None:
            meet_before_removal()
            real_remove(*given)

        Store.remove_deleted = remove_deleted  # type: ignore[method-assign, assignment]


def _once(met: threading.Barrier) -> Callable[[], None]:
    """Let the first sync that comes wait for those at the other points, and the others pass."""
    first = threading.Semaphore(1)

    def meet() -> None:
        if first.acquire(blocking=False):
            met.wait(60)

    return meet


if __name__ == "__main__":
    freeze_at(*sys.argv[1:])
    sys.argv[1:] = ["work"]
    main()
