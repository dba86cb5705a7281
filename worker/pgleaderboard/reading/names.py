"""What people call competitions and events. A name that is mistyped is answered with the nearest right one."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from pgleaderboard.database.connect import Connection, column, rows, value
from pgleaderboard.errors import NeedsPerson


def slugs(connection: Connection) -> list[str]:
    """All slugs that are followed."""
    return column(
        connection,
        "SELECT kaggle_competition_id FROM kaggle.competitions WHERE kaggle_competition_id IS NOT NULL ORDER BY 1",
    )


def event_slugs(connection: Connection) -> list[str]:
    """All events."""
    return column(connection, "SELECT slug FROM kaggle.events ORDER BY 1")


def known_slug(connection: Connection, given: str) -> str:
    """The slug, as it is stored, of a competition that is followed. Raises NeedsPerson with the nearest one."""
    found: str | None = value(
        connection,
        "SELECT kaggle_competition_id FROM kaggle.competitions "
        "WHERE lower(kaggle_competition_id) = lower(kaggle.slug_of(%s))",
        given,
    )
    if found is None:
        raise NeedsPerson(f"no competition {given!r} is followed: {instead_of(connection, given)}")
    return found


def known_event(connection: Connection, given: str) -> tuple[int, str]:
    """Id and slug of an event. Raises NeedsPerson with the nearest one."""
    found = rows(connection, "SELECT id, slug FROM kaggle.events WHERE slug = lower(%s)", given)
    if not found:
        there = event_slugs(connection)
        hint = nearest(given, there) or ("SELECT slug FROM kaggle.events lists them" if there else "there is none")
        raise NeedsPerson(f"no event {given!r}: {hint}")
    return found[0].id, found[0].slug


def instead_of(connection: Connection, given: str) -> str:
    """What the user may have meant by a slug that is not followed, or how to follow it."""
    return nearest(given, slugs(connection)) or f"`pgleaderboard add {given}` follows it"


def nearest(given: str, words: Sequence[str]) -> str | None:
    """A question after the words that are most like a mistyped one, None where there is none."""
    by_lower = {word.lower(): word for word in words}
    found = get_close_matches(given.lower(), by_lower, n=3, cutoff=0.6)
    return f"did you mean {' or '.join(by_lower[each] for each in found)}?" if found else None
