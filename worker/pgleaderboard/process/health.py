"""What a worker does now, for those who watch it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """What a worker does."""

    STARTING = "starting"
    WORKING = "working"
    WAITING = "waiting"  # for the database
    STOPPED = "stopped"


@dataclass
class Health:
    """A worker as a monitor sees it.

    reason: why it does not work, empty while it does. beat_at: its last heartbeat, by time.monotonic.
    """

    state: State
    reason: str
    beat_at: float

    def beat(self) -> None:
        """Note that it lives."""
        self.beat_at = time.monotonic()
