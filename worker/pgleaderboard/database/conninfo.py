"""How a database is named: a libpq URL or DSN."""

from __future__ import annotations

import re
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgleaderboard.errors import NeedsPerson


def parts_of(url: str) -> dict[str, Any]:
    """Split a URL or DSN into libpq's parameters.

    Raises NeedsPerson with a message that repeats nothing of it: what cannot be read may be part of a password.
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


def kept_alive(url: str, *, connect_timeout: int = 10) -> str:
    """The URL with time-outs for a server that vanishes without a word, where it names none itself.

    connect_timeout: seconds.
    """
    given = parts_of(url)
    wanted = {
        "connect_timeout": connect_timeout,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 25_000,  # milliseconds; keepalives say nothing while data waits to be acknowledged
    }
    return make_conninfo(url, **{name: value for name, value in wanted.items() if name not in given})
