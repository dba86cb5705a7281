"""Checks of the server, its clock, notifications, and row level security."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import LiteralString

import psycopg
from psycopg import sql

from pgleaderboard import __version__
from pgleaderboard.database import release
from pgleaderboard.database.connect import Connection, OnStandby, connect, message_of, rows, value
from pgleaderboard.doctor.finding import Finding, Findings, Target, ok, problem, warning

TESTED_SERVERS = range(15, 19)
NOTIFIED_WITHIN = 5.0  # seconds that a notification may take
CLOCK_WARNING, CLOCK_PROBLEM = 5.0, 60.0  # seconds; TLS refuses Kaggle's certificate from a few minutes on


def server(connection: Connection) -> Findings:
    """The server's version and the database's encoding."""
    info = connection.info
    number = info.server_version // 10000
    name = f'PostgreSQL {info.parameter_status("server_version")}, database "{info.dbname}", role "{info.user}"'
    if number < release.MINIMUM_SERVER:
        yield problem("database", name, f"upgrade to PostgreSQL {release.MINIMUM_SERVER} or newer")
    elif (encoding := info.parameter_status("server_encoding")) != "UTF8":
        yield problem("database", f"{name}, encoded in {encoding}", "use a database with ENCODING 'UTF8'")
    elif number not in TESTED_SERVERS:
        yield warning("database", name, f"this version was not tested with pgleaderboard {__version__}")
    else:
        yield ok("database", name)


def clock(connection: Connection, here: Callable[[], float], whose: str = "the database") -> Findings:
    """The difference between clocks: schedules run by the database's, a standby's freezes by its own, TLS by ours."""
    before = here()
    there: float = value(connection, "SELECT extract(epoch FROM clock_timestamp())::float8")
    ahead = there - (before + here()) / 2
    if abs(ahead) < CLOCK_WARNING:
        yield ok("clock", f"{whose} and this machine agree on the time")
    else:
        yield Finding(
            "clock",
            "warning" if abs(ahead) < CLOCK_PROBLEM else "problem",
            f"{whose}'s clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this machine's",
            "set both by NTP: schedules need a right clock there, secure connections need one here",
        )


def listen(connection: Connection, target: Target) -> Findings:
    """Whether a notification through DATABASE_URL arrives on the direct connection, as the worker needs it."""
    name = "PGLEADERBOARD_DIRECT_URL" if target.has_direct_url else "DATABASE_URL"
    channel = f"pgleaderboard_doctor_{secrets.token_hex(4)}"
    connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
    identity: LiteralString = (
        "SELECT oid, datname, pg_postmaster_start_time() FROM pg_database WHERE datname = current_database()"
    )
    try:
        with connect(target.url, "doctor") as other:
            is_other = rows(other, identity) != rows(connection, identity)
            other.execute("SELECT pg_notify(%s, '')", (channel,))
    except psycopg.errors.ProgramLimitExceeded as error:
        yield problem("listen", message_of(error), f"end the transaction that holds it: {_oldest(connection)}")
        return
    except psycopg.Error as error:
        yield problem("listen", f"DATABASE_URL: {message_of(error)}", remedy_for_connecting(error))
        return
    if is_other:
        message = "DATABASE_URL and PGLEADERBOARD_DIRECT_URL name different databases"
        yield problem("listen", message, "name the same database in both, with the pooler in the first only")
    elif any(connection.notifies(timeout=NOTIFIED_WITHIN, stop_after=1)):
        yield ok("listen", "a notification sent through DATABASE_URL arrived")
    elif is_pooled(connection):
        message = f"{name} names a pooler in transaction mode: LISTEN does not work there"
        remedy = "set PGLEADERBOARD_DIRECT_URL to the database itself; DATABASE_URL may stay the pooler"
        yield problem("listen", message, remedy)
    else:
        message = f"a notification did not arrive within {NOTIFIED_WITHIN:g} s on {name}"
        remedy = "name the primary server itself in PGLEADERBOARD_DIRECT_URL, without a proxy"
        yield problem("listen", message, remedy)


def notification_queue(connection: Connection) -> Findings:
    """How full the server's queue of notifications is: a session that listens within a transaction holds all of it."""
    usage: float = value(connection, "SELECT pg_notification_queue_usage()")
    if usage > 0.1:
        message = f"the queue of notifications is {usage:.0%} full; nothing is synced where it is full"
        yield warning("listen", message, f"end the transaction that holds it: {_oldest(connection)}")


def _oldest(connection: Connection) -> str:
    """The session with the oldest transaction, of all databases."""
    oldest: str | None = value(
        connection,
        """
        SELECT format('process %s (%s, database %s, %s), begun %s', pid, usename, datname, application_name,
                      date_trunc('second', xact_start))
        FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'
        ORDER BY xact_start LIMIT 1
        """,
    )
    return oldest or "it has ended meanwhile"


def is_pooled(connection: Connection) -> bool:
    """Whether a pooler stands in between: it makes up the process number that a client receives at the start."""
    return bool(connection.info.backend_pid != value(connection, "SELECT pg_backend_pid()"))


def row_security(connection: Connection) -> Findings:
    """Whether row level security hides rows from this role, or from the owner, in whose name triggers and views act."""
    for name, role, is_forced in rows(
        connection,
        """
        SELECT c.oid::regclass::text, r.rolname, c.relforcerowsecurity
        FROM pg_class c JOIN pg_roles r ON r.rolname = current_user OR r.oid = c.relowner
        WHERE c.relkind = 'r' AND c.relrowsecurity
          AND c.relnamespace::regnamespace::text IN ('kaggle', 'kaggle_internal', 'procrastinate')
          AND NOT (r.rolsuper OR r.rolbypassrls OR r.oid = c.relowner AND NOT c.relforcerowsecurity)
          AND (r.rolname <> current_user OR row_security_active(c.oid))
        ORDER BY 1, 2
        """,
    ):
        effect = "hidden competitions are not synced" if name == "kaggle.competitions" else "nothing is synced"
        remedy = f'ALTER ROLE "{role}" BYPASSRLS' + ("" if is_forced else f'; or ALTER TABLE {name} OWNER TO "{role}"')
        yield problem("rights", f'row level security hides rows of {name} from role "{role}": {effect}', remedy)


def lock_holders(connection: Connection) -> str:
    """Who holds a lock on one of our tables that keeps everybody from reading it."""
    holders: str = value(
        connection,
        """
        SELECT coalesce(string_agg(DISTINCT format('process %s (%s), on %s', l.pid, a.usename, l.relation::regclass),
                                   '; '), 'it has ended meanwhile')
        FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_stat_activity a ON a.pid = l.pid
        WHERE l.granted AND l.mode = 'AccessExclusiveLock' AND l.pid <> pg_backend_pid()
          AND c.relnamespace::regnamespace::text IN ('kaggle', 'kaggle_internal', 'procrastinate')
        """,
    )
    return holders


def remedy_for_connecting(error: psycopg.Error, names: str = "DATABASE_URL and PGLEADERBOARD_DIRECT_URL") -> str:
    """What to do after a failed connection by the URL of a setting."""
    if isinstance(error, OnStandby):
        return "name the primary in DATABASE_URL and PGLEADERBOARD_DIRECT_URL; PGLEADERBOARD_READ_URL is for a standby"
    match error.sqlstate:
        case "28000" | "28P01":
            return "check user and password in the URL, and pg_hba.conf on the server"
        case "3D000":
            return "create it, or correct its name in the URL"
        case "42501":
            return "have the database's owner run GRANT CONNECT ON DATABASE … TO the role in the URL"
        case "53300":
            return "raise max_connections, or put a pooler before the database and name it in DATABASE_URL"
        case "57P03":
            return "wait until the server has started"
    return f"start the server, or correct host and port in {names}"
