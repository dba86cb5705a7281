"""Lists of competitions and of people, as organisers have them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from psycopg.errors import NoDataFound

from pgleaderboard.database.connect import Connection, message_of, rows, transaction
from pgleaderboard.errors import NeedsPerson

_NAMES = ("kaggle_username", "username", "kaggle")  # of the column with the names, the first one that is there
_DISPLAY_NAME = "display_name"


def import_competitions(
    connection: Connection, slugs: Sequence[str], event: str | None, *, keep: bool
) -> list[tuple[str, str]]:
    """Follow competitions by slugs or URLs. Returns each one with its outcome.

    keep: False takes everything back. Raises NeedsPerson for an unknown event.
    """
    try:
        with transaction(connection, keep=keep):
            return rows(
                connection,
                "SELECT kaggle_competition_id, outcome FROM kaggle.import_competitions(%s, %s)",
                list(slugs),
                event,
            )
    except NoDataFound as error:
        raise NeedsPerson(message_of(error, with_hint=True)) from error


def import_participants(
    connection: Connection, people: Sequence[tuple[str, str | None]], event: str, *, keep: bool
) -> list[tuple[str, str]]:
    """Register people for an event. people: names or URLs of profiles, with the names to show. Returns as above."""
    try:
        with transaction(connection, keep=keep):
            return rows(
                connection,
                "SELECT kaggle_username, outcome FROM kaggle.import_participants(%s::text[], %s, %s::text[])",
                [name for name, _ in people],
                event,
                [shown for _, shown in people],
            )
    except NoDataFound as error:
        raise NeedsPerson(message_of(error, with_hint=True)) from error


def read_people(content: bytes) -> list[tuple[int, str, str | None]]:
    """Read a CSV of people: the number of the line, the name, and the name to show.

    The column is the one that is headed kaggle_username, username or kaggle, else the first. Blank lines and the header
    are left out. Raises NeedsPerson where the file is not text in UTF-8.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise NeedsPerson(f"line {line} is not UTF-8: save the file as CSV in UTF-8") from None
    first_line = text.partition("\n")[0]
    delimiter = max(",;\t", key=first_line.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    header = [cell.strip().lower() for cell in lines[0][1]] if lines else []
    named = [header.index(name) for name in _NAMES if name in header]
    column = named[0] if named else 0
    shown = header.index(_DISPLAY_NAME) if named and _DISPLAY_NAME in header else None
    return [
        (number, _cell(cells, column), None if shown is None else _cell(cells, shown) or None)
        for number, cells in (lines[1:] if named else lines)
    ]


def _cell(cells: Sequence[str], place: int) -> str:
    return cells[place].strip().replace("\0", "") if place < len(cells) else ""
