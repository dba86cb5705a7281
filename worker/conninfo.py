"""How a database is named: a libpq URL or DSN."""

from __future__ import annotations

import re
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from worker.errors import NeedsPerson


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
