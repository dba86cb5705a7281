"""Fixtures that several modules share."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pgleaderboard.database import migrate
from pgleaderboard.process.supervisor import Supervisor, Work, running
from pgleaderboard.simulator import Simulator
from tests.support.kaggle import close, make_kaggle
from tests.support.stage import Stage, Switched

LIMIT = 2**20


_databases = itertools.count(1)


@pytest.fixture(scope="module")
def stage(server_url: str) -> Iterator[Stage]:
    """A database, a simulated Kaggle and a worker between them."""
    name = sql.Identifier(f"pgl_faults_{os.getpid()}_{next(_databases)}")
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(name))
        url = make_conninfo(server_url, dbname=name.as_string().strip('"'))
        migrate.migrate(url)
        with (
            Simulator(speed=0) as simulator,
            socket.socket() as closed,  # bound, and listening to nobody
            psycopg.connect(url, autocommit=True) as db,
        ):
            closed.bind(("127.0.0.1", 0))
            kaggle = Switched(make_kaggle(simulator.url))
            work = Work(
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
        server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
