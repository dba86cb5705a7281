"""Logs a line for each event, as text or JSON. Foreign text, such as a team's name, breaks neither line nor screen."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal
from unicodedata import category

_JOINERS = "\u200c\u200d"  # within Persian words, and emoji made of several
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure(form: Literal["text", "json"], *, verbose: bool = False) -> None:
    """Send all logs to stderr. verbose: ours from DEBUG on, the queue's from INFO on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Text())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("pgleaderboard").setLevel(logging.DEBUG if verbose else logging.INFO)
    # The queue logs each job at INFO, and a lost connection with a traceback; the supervisor logs it once.
    logging.getLogger("procrastinate").setLevel(logging.INFO if verbose else logging.CRITICAL)
    logging.getLogger("psycopg.pool").setLevel(logging.WARNING if verbose else logging.CRITICAL)
    logging.getLogger("urllib3").setLevel(logging.INFO if verbose else logging.ERROR)
    # It warns of every request that is no HTTP.
    logging.getLogger("uvicorn.error").setLevel(logging.INFO if verbose else logging.ERROR)


def quiet() -> None:
    """Log warnings and errors only."""
    logging.getLogger("pgleaderboard").setLevel(logging.WARNING)


def harmless(text: str) -> str:
    """Escape control and direction-changing characters. Other spaces become a space; joiners of letters stay."""
    return "".join(
        c if c.isprintable() or c in _JOINERS else " " if category(c) == "Zs" else c.encode("unicode_escape").decode()
        for c in text
    )


def _details(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD and value is not None}


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%d %H:%M:%S")
        details = "".join(f" {name}={value}" for name, value in _details(record).items())
        line = harmless(f"{moment} {record.levelname.lower():7} {record.getMessage()}{details}")
        trace = self.formatException(record.exc_info).split("\n") if record.exc_info else []
        return "\n".join([line, *map(harmless, trace)])


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **_details(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)
