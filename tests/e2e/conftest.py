"""Fixtures that several modules share."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from pgleaderboard.process.session import Configuration
from pgleaderboard.process.supervisor import Supervisor, running
from tests.support import program
from tests.support.aliases import Connection
from tests.support.databases import copy_of
from tests.support.faults import Simulator
from tests.support.kaggle import close, make_kaggle
from tests.support.stage import Stage, Switched

LIMIT = 2**20
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def stage(template: str, server_url: str) -> Iterator[Stage]:
    """A database, a simulated Kaggle and a worker between them."""
    with (
        copy_of(template, server_url) as url,
        Simulator() as simulator,
        socket.socket() as closed,  # bound, and listening to nobody
        Connection.connect(url, autocommit=True) as db,
    ):
        closed.bind(("127.0.0.1", 0))
        kaggle = Switched(make_kaggle(simulator.url))
        work = Configuration(
            url=url,
            direct_url=url,
            kaggle=kaggle,
            concurrency=4,
            requests_per_minute=0,
            limit=LIMIT,
            runs_for=timedelta(days=30),
        )
        with running(Supervisor(work)):
            yield Stage(db, simulator, kaggle, closed.getsockname()[1])
        close(kaggle.usual)


@pytest.fixture
def run(url: str) -> Run:
    """Runs the program on the test's database to its end, without a terminal."""

    def one(*arguments: str, **given: str) -> subprocess.CompletedProcess[str]:
        return program.run(*arguments, **({"DATABASE_URL": url} | given))

    return one
