"""Types of the fixtures."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from pgleaderboard.database.connect import Connection

__all__ = ["Connect", "Connection", "MakeWorker"]

Connect = Callable[[], Connection]
MakeWorker = Callable[..., AbstractContextManager[None]]
