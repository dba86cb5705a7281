"""Notifications: what they are about, for a screen that stays current."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from psycopg import sql

from pgleaderboard.database.connect import Connection

# Boards that changed; workers that start or stop and edited competitions; jobs, on the queue's own channel.
_CHANNELS = ("kaggle_leaderboard", "kaggle_status", "procrastinate_queue_v1#kaggle")


def listen(connection: Connection) -> None:
    """Receive every notification from now on. connection: direct, a pooler loses them."""
    for channel in _CHANNELS:
        connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))


def news(connection: Connection, timeout: float) -> Iterator[dict[str, Any]]:
    """The payloads of the next notifications; nothing after `timeout` seconds without one.

    Raises psycopg.OperationalError where the connection is lost.
    """
    for notification in connection.notifies(timeout=timeout, stop_after=1):
        try:
            payload = json.loads(notification.payload)
        except ValueError:  # anybody may send anything on a channel
            continue
        if isinstance(payload, dict):
            yield payload
