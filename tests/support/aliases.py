"""Types of the fixtures."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import psycopg

Connection = psycopg.Connection[Any]
Connect = Callable[[], Connection]
MakeWorker = Callable[..., AbstractContextManager[None]]
