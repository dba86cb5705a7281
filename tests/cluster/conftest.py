"""The cluster, where the machine can have one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.needs import missing
from tests.cluster.run import Stage

COMPETITIONS = 20


@pytest.fixture(scope="session")
def stage(_plain_environment: None) -> Iterator[Stage]:
    """A cluster with two databases, where workers sync and clients edit on request."""
    if lacking := missing():
        pytest.skip(f"a cluster needs {lacking}")
    # Patient, since a busy machine is no fault; `make cluster` holds the bounds.
    with Stage(seed=1, competitions=COMPETITIONS, patience=10) as opened:
        yield opened
