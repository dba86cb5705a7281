"""Checks of the server of PGLEADERBOARD_READ_URL."""

from __future__ import annotations

from typing import Any

import psycopg

from pgleaderboard.database.connect import Connection, connect, message_of, row, value
from pgleaderboard.doctor.database import clock, remedy_for_connecting
from pgleaderboard.doctor.finding import Findings, Target, ok, problem, warning
from pgleaderboard.reading.standby import Awaited, position, standby

_NAME = "PGLEADERBOARD_READ_URL"


def readers(target: Target, primary: Connection | None) -> Findings:
    """Whether readers can use it, and how far it is behind. primary: None where that is away."""
    if target.read_url is None:
        return
    try:
        connection = connect(target.read_url, "doctor", reads=True)
    except psycopg.Error as error:
        yield problem("standby", f"{_NAME}: {message_of(error)}", remedy_for_connecting(error, _NAME))
        return
    with connection:
        if primary and _identity(primary, connection) != _identity(connection, primary):
            remedy = f"name a standby of DATABASE_URL's server, and the same database, in {_NAME}"
            yield problem("standby", f"DATABASE_URL and {_NAME} name different databases", remedy)
            return
        yield from clock(connection, target.clock, "the standby")
        awaited = Awaited()
        if primary:
            awaited.expect(position(primary))
        is_behind, read = not awaited.has_come(connection), standby(connection)
        if read is None:
            yield ok("standby", f"{_NAME} names a primary")
            return
        last = f"its last change is of {read.last_at:%Y-%m-%d %H:%M:%S %Z}" if read.last_at else "it has no change yet"
        if is_behind:
            remedy = "resume its replay (pg_wal_replay_resume), or end the query for which that waits"
            if not value(connection, "SELECT EXISTS (SELECT FROM pg_stat_wal_receiver)"):
                remedy = "connect it to its primary: see its log, and primary_conninfo"
            yield warning("standby", f"{read.address} is behind: {last}", remedy)
        else:
            yield ok("standby", f"{read.address} is a standby; {last}" if not primary else f"{read.address} is current")


def _identity(one: Connection, other: Connection) -> Any:
    """What tells a database of a cluster from others, as far as both roles may ask."""
    may_ask = "SELECT has_function_privilege('pg_control_system()', 'EXECUTE')"
    cluster = None
    if value(one, may_ask) and value(other, may_ask):
        cluster = value(one, "SELECT system_identifier FROM pg_control_system()")
    return cluster, *row(one, "SELECT oid, datname FROM pg_database WHERE datname = current_database()")
