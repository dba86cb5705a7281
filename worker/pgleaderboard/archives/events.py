"""What an organiser does to an event: its freeze, its final standing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg.errors import NoDataFound, ObjectNotInPrerequisiteState

from pgleaderboard.database.connect import Connection, message_of, row, rows
from pgleaderboard.errors import NeedsPerson
from pgleaderboard.reading.names import known_event


def freeze(connection: Connection, event: str, at: datetime | None) -> tuple[datetime, bool]:
    """Have readers see the standing as of a moment, None = now. Returns it, and whether it has come or is planned."""
    event_id, _ = known_event(connection, event)
    frozen_at, has_come = row(
        connection,
        "UPDATE kaggle.events SET frozen_at = coalesce(%s::timestamptz, clock_timestamp()) WHERE id = %s "
        "RETURNING frozen_at, frozen_at <= clock_timestamp()",
        at,
        event_id,
    )
    return frozen_at, has_come


def unfreeze(connection: Connection, event: str) -> bool:
    """Have readers see the standing again. Returns whether there was a freeze, or a planned one."""
    event_id, _ = known_event(connection, event)
    return bool(
        rows(
            connection,
            "UPDATE kaggle.events SET frozen_at = NULL WHERE id = %s AND frozen_at IS NOT NULL RETURNING id",
            event_id,
        )
    )


def finalize(connection: Connection, event: str, *, anyway: bool) -> Sequence[Any]:
    """Make the standing final. Returns the rows of kaggle.finalize_event. Raises NeedsPerson where it refuses."""
    _, slug = known_event(connection, event)
    try:
        return rows(connection, "SELECT * FROM kaggle.finalize_event(%s, %s)", slug, anyway)
    except (ObjectNotInPrerequisiteState, NoDataFound) as error:
        raise NeedsPerson(message_of(error, with_hint=True)) from error


def reopen(connection: Connection, event: str) -> None:
    """Take a final standing back. Raises NeedsPerson where it is not final."""
    _, slug = known_event(connection, event)
    try:
        connection.execute("SELECT kaggle.reopen_event(%s)", (slug,))
    except ObjectNotInPrerequisiteState as error:
        raise NeedsPerson(message_of(error)) from error
