"""Names of competitions and events as people type them. The answer to a mistyped name is the nearest right one."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from pgleaderboard.database.connect import Connection, column, rows, value
from pgleaderboard.errors import NeedsPerson


def trimmed(name: str) -> str:
    """A name as kaggle_internal.trimmed gives it, which no reader may call."""
    return name.strip("\ufeff\u00a0 \t\r\n")


def slugs(connection: Connection) -> list[str]:
    """The slugs of all followed competitions."""
    return column(
        connection,
        "SELECT kaggle_competition_id FROM kaggle.competitions WHERE kaggle_competition_id IS NOT NULL ORDER BY 1",
    )


def event_slugs(connection: Connection) -> list[str]:
    """The slugs of all events."""
    return column(connection, "SELECT slug FROM kaggle.events ORDER BY 1")


def usernames(connection: Connection) -> list[str]:
    """The Kaggle usernames of all registered people."""
    return column(connection, "SELECT kaggle_username FROM kaggle.participants ORDER BY 1")


def known_slug(connection: Connection, name: str) -> str:
    """The stored slug of a followed competition, from a slug or URL. Raises NeedsPerson with the nearest one."""
    slug: str | None = value(
        connection,
        "SELECT kaggle_competition_id FROM kaggle.competitions "
        'WHERE lower(kaggle_competition_id COLLATE "C") = lower(kaggle.slug_of(%s) COLLATE "C")',
        name,
    )
    if slug is None:
        raise NeedsPerson(f"no competition {name!r} is followed: {instead_of(connection, name)}")
    return slug


def known_event(connection: Connection, name: str) -> tuple[int, str]:
    """Id and slug of an event. Raises NeedsPerson with the nearest one."""
    events = rows(
        connection,
        'SELECT id, slug FROM kaggle.events WHERE slug = lower(%s COLLATE "C")',
        trimmed(name),
    )
    if not events:
        known = event_slugs(connection)
        hint = nearest(name, known) or ("SELECT slug FROM kaggle.events lists them" if known else "there is none")
        raise NeedsPerson(f"no event {name!r}: {hint}")
    return events[0].id, events[0].slug


def instead_of(connection: Connection, name: str) -> str:
    """What to do about a slug that is not followed: the nearest ones that are, else how to follow it."""
    if name.lower() in event_slugs(connection):
        return f"it is an event, try `pgleaderboard standings {name.lower()}`"
    return nearest(name, slugs(connection)) or f"follow it with `pgleaderboard add {name}`"


def nearest(name: str, known: Sequence[str]) -> str | None:
    """A question with the known names closest to a mistyped one, None where there is none."""
    matches = _close(name, known, 3)
    return f"did you mean {' or '.join(matches)}?" if matches else None


def nearest_of(name: str, known: Sequence[str]) -> str | None:
    """The known name closest to a mistyped one, None where there is none."""
    return next(iter(_close(name, known, 1)), None)


def _close(name: str, known: Sequence[str], most: int) -> list[str]:
    by_lower = {word.lower(): word for word in known}
    return [by_lower[match] for match in get_close_matches(name.lower(), by_lower, n=most, cutoff=0.6)]
