"""Reads a downloaded leaderboard: the ZIP, its one member, the header. Pure: bytes in, values out.

The rows are parsed by PostgreSQL's COPY, which is many times faster than Python. This module makes sure that the
bytes for COPY are a board, and maps the columns of the file to those of the staging table.
"""

from __future__ import annotations

import csv
import hashlib
import io
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Literal

from pgleaderboard.errors import NeedsPerson, Transient

BoardKind = Literal["public", "private"]

CHUNK = 256 * 1024
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
READER_VERSION = b"1"  # part of the digest: with a new version every board is read again

# The header since 2023-07, and the one before (facts: counted over 34 downloads, 2015 to 2026).
_COLUMNS = {
    "rank": "rank",
    "teamid": "team_id",
    "teamname": "team_name",
    "lastsubmissiondate": "last_submission_at",
    "submissiondate": "last_submission_at",
    "score": "score",
    "submissioncount": "submission_count",
    "teammemberusernames": "members",
}
_REQUIRED = {"team_id": "TeamId", "team_name": "TeamName", "score": "Score"}
EXTRA_COLUMNS = 12  # of a file, whose names are unknown, that the staging table has room for
_KIND = re.compile(r"[-_](public|private)[-_]?leaderboard", re.IGNORECASE)
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d)[:_](\d\d)[:_](\d\d)(?:\.(\d{1,6})(?!\d))?")
_DATE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_MAX_HEADER = 64 * 1024

# What zipfile and its decompressors raise for damaged bytes (OSError: a seek before the beginning).
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, ValueError, OverflowError)


@dataclass(frozen=True)
class Layout:
    """The columns of a file.

    columns: the staging table's column for each column of the file, in the file's order.
    ranked: whether the file has ranks, which also mark benchmarks. Without ranks a team's last row counts.
    """

    columns: tuple[str, ...]
    ranked: bool


@dataclass(frozen=True)
class Board:
    """A downloaded board without its rows.

    kind: public or private, from the member's name.
    taken_at: the time in the member's name (UTC), None if there is none.
    digest: of the member's bytes; boards with the same digest are equal.
    nul_characters: the number of NUL bytes in the member; they are stored as U+FFFD.
    """

    kind: BoardKind
    taken_at: datetime | None
    layout: Layout
    digest: bytes
    nul_characters: int


def kind_of(name: str) -> BoardKind:
    """Read the kind of board from the name of a file or of a ZIP's member.

    Raises NeedsPerson if the name does not contain it.
    """
    kinds = _KIND.findall(name)
    if not kinds:
        raise NeedsPerson(
            f"cannot tell from the file name {_quoted(name)} whether this is the public or the private board"
        )
    return "private" if kinds[-1].lower() == "private" else "public"


def time_of(name: str) -> datetime | None:
    """Read the time of a board (UTC) from a file's name, None if it contains none.

    Kaggle's times end in seconds; `name_of` may add a fraction.
    """
    match = _TIME.search(name)
    if not match:
        return None
    *parts, fraction = match.groups()
    try:
        moment = datetime(*map(int, parts), tzinfo=UTC)  # type: ignore[misc, arg-type]
        return moment.replace(microsecond=int((fraction or "").ljust(6, "0")))
    except ValueError:
        return None


def slug_of(name: str) -> str | None:
    """Read the competition's slug from a file's name, None if it contains none."""
    matches = list(_KIND.finditer(name))
    return name[: matches[-1].start()] or None if matches else None


def name_of(slug: str, kind: BoardKind, moment: datetime) -> str:
    """The name of a board's CSV as in Kaggle's ZIPs. A fraction of a second is kept."""
    return f"{slug}-{kind}leaderboard-{moment.astimezone(UTC).replace(tzinfo=None).isoformat()}.csv"


def layout_of(header: str) -> Layout:
    """Map the columns of a file to those of the staging table.

    Raises NeedsPerson if a column is missing or doubled, or if there are too many.
    """
    names = next(csv.reader([header]), [])
    columns: list[str] = []
    extra = 0
    for name in names:
        column = _COLUMNS.get(name.strip().lower())
        if column is None:
            extra += 1
            column = f"extra_{extra}"
        if column in columns:
            raise NeedsPerson(f"the leaderboard's header has the column {_quoted(name)} twice")
        columns.append(column)
    for column, name in _REQUIRED.items():
        if column not in columns:
            raise NeedsPerson(
                f"the leaderboard lacks the column {name}; its header is {_quoted(header)}. "
                "Kaggle may have changed its format: look for a newer version of pgleaderboard"
            )
    if extra > EXTRA_COLUMNS:
        raise NeedsPerson(f"the leaderboard has {extra} unknown columns; {EXTRA_COLUMNS} can be ignored")
    return Layout(tuple(columns), "rank" in columns)


@contextmanager
def open_member(archive: IO[bytes], limit: int) -> Iterator[tuple[str, IO[bytes]]]:
    """Open the one member of a downloaded ZIP.

    limit: the largest size of the unpacked member, in bytes.
    Yields the member's name and its unpacked stream; a read beyond the limit raises NeedsPerson.
    Raises Transient for an invalid ZIP (a broken download), NeedsPerson for a valid one that holds no board.
    """
    try:
        with zipfile.ZipFile(archive) as unpacked:
            members = unpacked.infolist()
            if len(members) != 1:
                raise NeedsPerson(f"Kaggle's ZIP holds {len(members)} files instead of one leaderboard")
            member = members[0]
            if "/" in member.filename or "\\" in member.filename or member.is_dir():
                raise NeedsPerson(f"the file in Kaggle's ZIP has a path in its name: {_quoted(member.filename)}")
            if member.flag_bits & 0x1:
                raise NeedsPerson("the file in Kaggle's ZIP is encrypted")
            with unpacked.open(member) as stream:
                yield member.filename, LimitedReader(stream, limit)  # type: ignore[misc]
    except NeedsPerson:
        raise
    except _DAMAGED as error:
        raise Transient(f"Kaggle's answer is not a valid ZIP file ({error}); the download may have been cut") from error
    except (NotImplementedError, RuntimeError) as error:  # a compression method or feature that Python lacks
        raise NeedsPerson(f"the file in Kaggle's ZIP cannot be unpacked: {error}") from error


class LimitedReader:
    """A stream of at most `limit` bytes: a ZIP bomb ends here."""

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self._stream = stream
        self._left = limit
        self._limit = limit

    def read(self, size: int) -> bytes:
        """Read at most `size` bytes. Raises NeedsPerson beyond the limit."""
        chunk = self._stream.read(size)
        self._left -= len(chunk)
        if self._left < 0:
            raise NeedsPerson(
                f"the leaderboard unpacks to more than {self._limit // 2**20} MB; "
                "PGLEADERBOARD_MAX_DOWNLOAD_MB allows more"
            )
        return chunk


def read_zip(archive: IO[bytes], limit: int) -> Board:
    """Read a downloaded ZIP to its end. limit: as for `open_member`.

    Raises as `open_member`, `kind_of` and `layout_of` do.
    """
    archive.seek(0)
    with open_member(archive, limit) as (name, stream):
        return read_csv(stream, kind_of(name), time_of(name))


def read_csv(stream: IO[bytes], kind: BoardKind, taken_at: datetime | None) -> Board:
    """Read an unpacked board to its end.

    Raises Transient for an empty file, NeedsPerson for one that is not a board.
    """
    digest = hashlib.blake2b(READER_VERSION, digest_size=32)
    nul_characters = 0
    head = b""
    while chunk := stream.read(CHUNK):
        digest.update(chunk)
        nul_characters += chunk.count(b"\0")
        if len(head) < _MAX_HEADER:
            head += chunk[:_MAX_HEADER]
    header, first = _first_lines(head)
    layout = layout_of(header)
    _check_first_row(layout, first)
    return Board(kind, taken_at, layout, digest.digest(), nul_characters)


def zip_chunks(archive: IO[bytes], limit: int) -> Iterator[bytes]:
    """Yield the CSV in a ZIP in chunks, as `csv_chunks` does."""
    archive.seek(0)
    with open_member(archive, limit) as (_, stream):
        yield from csv_chunks(stream)


def csv_chunks(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield a CSV in chunks, header included, without its byte-order mark, and with U+FFFD for NUL bytes."""
    chunk = stream.read(CHUNK).removeprefix(BYTE_ORDER_MARK)
    while chunk:
        yield chunk.replace(b"\0", b"\xef\xbf\xbd")
        chunk = stream.read(CHUNK)


def _first_lines(head: bytes) -> tuple[str, str]:
    # Bytes that are not UTF-8 are replaced here. COPY refuses them and names the line.
    text = io.StringIO(head.removeprefix(BYTE_ORDER_MARK).decode("utf-8", "replace"), newline="")
    header = text.readline().rstrip("\r\n")
    if not header:
        raise Transient("Kaggle's leaderboard file is empty")
    return header, text.readline().rstrip("\r\n")


def _check_first_row(layout: Layout, row: str) -> None:
    """Refuse dates in another format, which PostgreSQL might read wrongly."""
    fields = next(csv.reader([row]), [])
    if len(fields) != len(layout.columns) or "last_submission_at" not in layout.columns:
        return
    date = fields[layout.columns.index("last_submission_at")]
    if date and not _DATE.fullmatch(date):
        raise NeedsPerson(f"the leaderboard's first date is {_quoted(date)}; expected one like 2026-01-31 23:59:59")


def _quoted(text: str) -> str:
    """Quote a text for a message: cut, on one line, with control characters escaped."""
    return repr(text if len(text) <= 120 else text[:117] + "...")
