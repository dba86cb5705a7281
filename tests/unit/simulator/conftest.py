"""Fixtures of the tests of the simulator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.faults import Simulator


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """A frozen simulator."""
    with Simulator() as running:
        yield running


@pytest.fixture
def background() -> Iterator[Callable[..., Future[Any]]]:
    """Calls something in a thread of its own."""
    with ThreadPoolExecutor() as pool:
        yield pool.submit
