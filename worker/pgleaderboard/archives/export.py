"""Writes boards as Kaggle's files, byte for byte. `backfill` reads them back."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import LiteralString

from psycopg import errors as pg

from pgleaderboard.database.connect import Connection, column, rows, transaction
from pgleaderboard.errors import NeedsPerson
from pgleaderboard.reading.formats import HEADER
from pgleaderboard.reading.names import instead_of
from pgleaderboard.sync.board import BYTE_ORDER_MARK, BoardKind, name_of


def export(connection: Connection, slug: str, folder: Path, *, every: bool, advance: Callable[[int, int], None]) -> int:
    """Write the current board, or all boards at each of their changes, as ZIP files.

    connection: in autocommit. advance: called with the numbers of new files and of completed files. Returns the
    number of files. Raises NeedsPerson if the slug is unknown or the folder cannot be written.
    """
    try:
        with transaction(connection, snapshot=True):  # a backfill may change the past
            query: LiteralString = "SELECT board_id, slug, kind, at FROM kaggle_internal.boards_to_export(%s, %s)"
            boards = rows(connection, query, slug, every)
            advance(len(boards), 0)
            folder.mkdir(parents=True, exist_ok=True)
            for board_id, stored_slug, kind, at in boards:
                lines = column(connection, "SELECT kaggle_internal.board_as_csv(%s, %s)", board_id, at)
                write(folder, stored_slug, kind, at, HEADER + "".join(f"{line}\n" for line in lines))
                advance(0, 1)
            return len(boards)
    except pg.NoDataFound as error:
        raise NeedsPerson(f"{error.diag.message_primary}: {instead_of(connection, slug)}") from error
    except pg.CheckViolation as error:
        raise NeedsPerson(error.diag.message_primary or "no such competition") from error
    except OSError as error:
        raise NeedsPerson(f"cannot write into {folder}: {error.strerror or error}") from error


def write(folder: Path, slug: str, kind: BoardKind, at: datetime, csv: str) -> None:
    """Write a board's CSV into a ZIP with Kaggle's name, completely or not at all."""
    member = name_of(slug, kind, at)
    target = folder / (member.removesuffix(".csv").replace(":", "_") + ".zip")
    # A ZIP's times have a resolution of 2 s and are from 1980 to 2107.
    stamp = min(max(at.astimezone(UTC), datetime(1980, 1, 1, tzinfo=UTC)), datetime(2107, 12, 31, tzinfo=UTC))
    entry = zipfile.ZipInfo(member, stamp.timetuple()[:6])
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(unfinished, "w") as archive:
            archive.writestr(entry, BYTE_ORDER_MARK + csv.encode())
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
