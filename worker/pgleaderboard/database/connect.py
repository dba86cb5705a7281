"""The only way to PostgreSQL: reads URLs, opens connections and runs queries."""

from __future__ import annotations

import re
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import class_row, namedtuple_row, scalar_row

from pgleaderboard.errors import NeedsPerson

Connection = psycopg.Connection[Any]
DatabaseError = psycopg.Error
ConnectionLost = psycopg.OperationalError  # the database is out of reach, or has become so
T = TypeVar("T")


def parts_of(url: str) -> dict[str, Any]:
    """Split a URL or DSN into libpq's parameters.

    Raises NeedsPerson with a message that repeats no part of the URL, since any of it may belong to a password.
    """
    unreadable = NeedsPerson(
        "cannot read the database's URL: write postgresql://user:password@host:port/database, "
        "with any of @ : / ? # % or space in the password percent-encoded (@ is %40)"
    )
    try:
        parts: dict[str, Any] = conninfo_to_dict(url)
    except (psycopg.Error, UnicodeError):
        raise unreadable from None
    host, port = str(parts.get("host") or ""), str(parts.get("port") or "")
    if "@" in host or not re.fullmatch(r"[\d,]*", port) or re.search("@.*/", str(parts.get("dbname"))):
        raise unreadable
    return parts


def conninfo(url: str, purpose: str, *, connect_timeout: int = 10) -> str:
    """Add our defaults to a URL or DSN. Raises NeedsPerson as `parts_of` does.

    purpose: what pg_stat_activity shows behind "pgleaderboard". connect_timeout: seconds.
    """
    ours: dict[str, Any] = {
        "application_name": f"pgleaderboard {purpose}".rstrip(),
        "connect_timeout": connect_timeout,
        # A server can vanish without closing its connections.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 25_000,  # milliseconds; no keepalives are sent while data waits for an acknowledgement
    }
    # psycopg returns bytes from a database in SQL_ASCII otherwise.
    return make_conninfo(**(ours | parts_of(url)), client_encoding="UTF8")


def without_password(url: str) -> tuple[str, str | None]:
    """Split a URL or DSN into a DSN that other users may see and the password, None where there is none."""
    parts = parts_of(url)
    password: str | None = parts.pop("password", None)
    return make_conninfo(**parts), password


def connect(url: str, purpose: str = "", *, connect_timeout: int = 10) -> Connection:
    """Open a connection in autocommit. Raises psycopg.OperationalError where the database is out of reach."""
    # No prepared statements: behind a pooler in transaction mode the next statement meets another session.
    return psycopg.connect(
        conninfo(url, purpose, connect_timeout=connect_timeout), autocommit=True, prepare_threshold=None
    )


def rows(connection: Connection, query: LiteralString, *values: Any, **named: Any) -> list[Any]:
    """All rows of a query as named tuples. values: of its %s; named: of its %(name)s."""
    return connection.cursor(row_factory=namedtuple_row).execute(query, named or values or None).fetchall()


def row(connection: Connection, query: LiteralString, *values: Any, **named: Any) -> Any:
    """The first row of a query that has one."""
    return rows(connection, query, *values, **named)[0]


def column(connection: Connection, query: LiteralString, *values: Any, **named: Any) -> list[Any]:
    """The first value of each row."""
    return connection.cursor(row_factory=scalar_row).execute(query, named or values or None).fetchall()


def value(connection: Connection, query: LiteralString, *values: Any, **named: Any) -> Any:
    """The first value of the first row, None without one."""
    return connection.cursor(row_factory=scalar_row).execute(query, named or values or None).fetchone()


def objects(connection: Connection, kind: type[T], query: LiteralString, *values: Any, **named: Any) -> list[T]:
    """All rows as instances of a class that has a parameter for each column."""
    return connection.cursor(row_factory=class_row(kind)).execute(query, named or values or None).fetchall()


def message_of(error: psycopg.Error, *, with_hint: bool = False) -> str:
    """The server's message, in one line."""
    parts = (error.diag.message_primary or str(error), error.diag.message_hint if with_hint else None)
    return " ".join(": ".join(filter(None, parts)).split()) or type(error).__name__
