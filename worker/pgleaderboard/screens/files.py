"""Writes values as CSV, JSON and Markdown. CSV and JSON hold names as they are, Markdown holds them escaped."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from pgleaderboard.logs import harmless
from pgleaderboard.screens.table import moment, number


def csv_line(*values: Any) -> str:
    """Quoted as Kaggle quotes: for a space, a comma, a quotation mark and a line's end."""
    fields = [moment(value, seconds=True) if isinstance(value, datetime) else number(value) for value in values]
    return ",".join(f'"{f.replace(chr(34), chr(34) * 2)}"' if re.search('[ ,"\r\n]', f) else f for f in fields) + "\n"


def as_json(**document: Any) -> str:
    """Times in ISO 8601 and UTC, exact numbers as strings; ASCII, so that no name can harm a terminal."""

    def plain(value: datetime | Decimal) -> str:
        return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else number(value)

    return json.dumps(document, indent=2, default=plain) + "\n"


def markdown(text: str) -> str:
    """Text from outside, without effect on the Markdown around it."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&])", r"\\\1", harmless(text))
