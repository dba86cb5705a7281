"""Writes values as CSV, JSON and Markdown. CSV and JSON hold names as they are, Markdown holds them escaped."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from pgleaderboard.logs import harmless
from pgleaderboard.screens.table import number


def csv_line(*values: str) -> str:
    """Quoted as Kaggle quotes: for a space, a comma, a quotation mark and a line's end."""
    return ",".join(f'"{v.replace(chr(34), chr(34) * 2)}"' if re.search('[ ,"\r\n]', v) else v for v in values) + "\n"


def as_json(document: dict[str, Any]) -> Iterator[str]:
    """Times in ISO 8601 and UTC, exact numbers as strings; ASCII, so that no name can harm a terminal."""

    def plain(value: Any) -> str:
        if isinstance(value, datetime):
            return value.astimezone(UTC).isoformat()
        if isinstance(value, Decimal):
            return number(value)
        raise TypeError(f"no JSON for {type(value).__name__}")

    yield json.dumps(document, indent=2, default=plain) + "\n"


def fields_of(row: Any) -> dict[str, Any]:
    """A row for JSON."""
    return {("kaggle_competition_id" if f.name == "slug" else f.name): getattr(row, f.name) for f in fields(row)}


def markdown(text: str) -> str:
    """Text from outside, without effect on the Markdown around it."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&])", r"\\\1", harmless(text))
