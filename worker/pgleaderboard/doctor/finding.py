"""A finding of a check, and the target of all checks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, LiteralString

from pgleaderboard.database.connect import Connection, rows
from pgleaderboard.kaggle.client import Kaggle

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """The result of a check. remedy: what to do, None where nothing is to be done."""

    check: str
    level: Level
    message: str
    remedy: str | None = None


Findings = Iterator[Finding]


def ok(check: str, message: str) -> Finding:
    """Nothing to do."""
    return Finding(check, "ok", message)


def warning(check: str, message: str, remedy: str) -> Finding:
    """Something to know: syncs go on."""
    return Finding(check, "warning", message, remedy)


def problem(check: str, message: str, remedy: str) -> Finding:
    """Something to fix: syncs fail or are wrong until then."""
    return Finding(check, "problem", message, remedy)


def some(names: list[str]) -> str:
    """The first three names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "")


def problems(connection: Connection, check: str, good: str, query: LiteralString, *values: Any) -> Findings:
    """A problem for each row of a query, which holds message and remedy; without rows the good message."""
    wrong = [problem(check, message, remedy) for message, remedy in rows(connection, query, *values)]
    yield from wrong or [ok(check, good)]


@dataclass(frozen=True)
class Target:
    """The set-up under examination.

    url: the database, perhaps through a pooler. direct_url: the same one without; has_direct_url: it is set.
    read_url: the same one on a standby, None = not set.
    kaggle: None where credential_problem says why there is none. clock: seconds since 1970 on this machine.
    """

    url: str
    direct_url: str
    has_direct_url: bool
    kaggle: Kaggle | None
    which_kaggle: str
    credential_problem: str | None
    requests_per_minute: int
    clock: Callable[[], float] = time.time
    read_url: str | None = None

    @property
    def fingerprint(self) -> str:
        """Of the credential."""
        return self.kaggle.fingerprint if self.kaggle else ""
