"""Lists of competitions and of people, as organisers have them."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence

from psycopg.errors import NoDataFound

from pgleaderboard.database.connect import Connection, message_of, rows, transaction
from pgleaderboard.errors import NeedsPerson

_NAMES = ("kaggle_username", "username", "kaggle")  # of the column with the names, the first one that is there
_DISPLAY_NAME = "display_name"
_HEADINGS = {*_NAMES, _DISPLAY_NAME}


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

    The column is the one that is headed kaggle_username, username or kaggle, else the first that is not headed
    display_name. Blank lines and the header are left out. Each line is a row: a quote that is not closed spoils no
    other. Raises NeedsPerson where the file is not text in UTF-8.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = len(re.split(b"\r\n|\r|\n", error.object[: error.start]))  # of the content without its byte-order mark
        raise NeedsPerson(f"line {line} is not UTF-8: save the file as CSV in UTF-8") from None
    lines = [(n, line) for n, line in enumerate(re.split("\r\n|\r|\n", text), 1) if line.strip(',;\t "')]
    first = lines[0][1] if lines else ""
    by_delimiter = {d: [cell.strip().lower() for cell in _cells(first, d)] for d in ",;\t"}
    delimiter = max(by_delimiter, key=lambda d: (bool(_HEADINGS & set(by_delimiter[d])), len(by_delimiter[d])))
    header = by_delimiter[delimiter]
    shown = header.index(_DISPLAY_NAME) if _DISPLAY_NAME in header else None
    named = [header.index(name) for name in _NAMES if name in header]
    column = named[0] if named else int(shown == 0)
    read = [(n, _cells(line, delimiter)) for n, line in lines]
    return [
        (n, _cell(cells, column), None if shown is None else _cell(cells, shown) or None)
        for n, cells in (read[1:] if _HEADINGS & set(header) else read)
    ]


def _cells(line: str, delimiter: str) -> list[str]:
    """The cells of a line; the whole line where its quotes do not match, so that it is refused as a name."""
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error:
        return [line]


def _cell(cells: Sequence[str], place: int) -> str:
    return cells[place].strip().replace("\0", "") if place < len(cells) else ""
