"""Runs the faults: several worlds at once, each taking the next fault in line."""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from random import Random

from tests.chaos.faults import FAULTS, ONLY_IN_FULL, Fault
from tests.chaos.scale import Scale
from tests.chaos.tally import Tally
from tests.chaos.world import World


def run(
    scale: Scale,
    *,
    seed: int,
    worlds: int,
    only: str = "",
    report: Callable[[Tally, float], None] = lambda tally, seconds: None,
) -> list[Tally]:
    """Run every fault whose name contains `only`, and tell `report` of each as it ends, with the seconds it took."""
    faults = [fault for fault in FAULTS if only in fault.name and not (scale.short and fault.name in ONLY_IN_FULL)]
    tallies = {fault.name: Tally(fault.name, fault.bound * scale.patience) for fault in faults}
    waiting: queue.SimpleQueue[Fault] = queue.SimpleQueue()
    for fault in faults:
        waiting.put(fault)

    def work() -> None:
        with ExitStack() as stack:
            world: World | None = None
            while True:
                try:
                    fault = waiting.get_nowait()
                except queue.Empty:
                    return
                tally = tallies[fault.name]
                begun = time.monotonic()
                try:
                    if world is None:
                        world = stack.enter_context(World(scale))
                    world.random = Random(f"{seed} {fault.name}")
                    _play(world, fault, tally)
                except Exception:  # noqa: BLE001 - the others still run, in another world
                    tally.complaints.append(traceback.format_exc())
                    stack.close()
                    world = None
                report(tally, time.monotonic() - begun)

    threads = [threading.Thread(target=work, name=f"world {n}", daemon=True) for n in range(worlds)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return list(tallies.values())


def _play(world: World, fault: Fault, tally: Tally) -> None:
    world.staff()
    world.populate()
    fault.play(world, tally)
    world.inspect(tally)


def is_clean(tallies: Sequence[Tally]) -> bool:
    """Whether nothing at all was wrong."""
    return bool(tallies) and all(tally.is_clean for tally in tallies)
