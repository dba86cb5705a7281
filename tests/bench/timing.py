"""Measuring in turns: whatever else the machine does troubles what is compared alike."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence

Measure = Callable[[], float]
median = statistics.median


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def in_turns(trials: int, *measures: Measure, warm_up: int = 1) -> list[list[float]]:
    """Call each in turn, so many times after the warm-up. Returns what each gave."""
    taken: list[list[float]] = [[] for _ in measures]
    for trial in range(warm_up + trials):
        for measure, results in zip(measures, taken, strict=True):
            result = measure()
            if trial >= warm_up:
                results.append(result)
    return taken


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of all does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
    """The slope of a line fitted to the logarithms: 1 = grows as the size does."""
    return statistics.linear_regression([math.log(s) for s in sizes], [math.log(v) for v in values]).slope
