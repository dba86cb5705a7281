"""Reads a downloaded leaderboard: the ZIP, its one member, the header. Pure: bytes in, values out.

The rows themselves are parsed and typed by PostgreSQL's COPY, which does it exactly and many times faster than
Python; this module makes sure that what reaches COPY is a board, and turns the file's columns into COPY's.
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

Kind = Literal["public", "private"]

CHUNK = 256 * 1024
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
READER = b"1"  # part of the digest: a reader that understands more reads every board again

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

# What zipfile and its decompressors raise over damaged bytes (a seek to nowhere is an OSError).
_UNSOUND = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, ValueError, OverflowError)


@dataclass(frozen=True)
class Layout:
    """What the header says.

    columns: the staging column of each column of the file, in the file's order.
    ranked: whether the file has ranks (and marks benchmarks); without, a team's last row counts.
    """

    columns: tuple[str, ...]
    ranked: bool


@dataclass(frozen=True)
class Board:
    """One downloaded board, read as far as Python reads it.

    kind: public or private, told by the member's name.
    taken_at: the time in the member's name (UTC), None where it has none.
    digest: of the member's bytes; equal digests are equal boards.
    nul_characters: how many NUL bytes the member holds; they are stored as U+FFFD.
    """

    kind: Kind
    taken_at: datetime | None
    layout: Layout
    digest: bytes
    nul_characters: int


def kind_of(name: str) -> Kind:
    """Tell public from private by the name of the ZIP's member or file.

    Raises NeedsPerson if it says neither.
    """
    found = _KIND.findall(name)
    if not found:
        raise NeedsPerson(
            f"Kaggle's file is named {_shown(name)}, which tells neither a public nor a private leaderboard"
        )
    return "private" if found[-1].lower() == "private" else "public"


def time_of(name: str) -> datetime | None:
    """Read the moment of the snapshot (UTC) from a file's name, None where it holds none.

    Kaggle's names end in seconds; a fraction may follow, as `name_of` writes it.
    """
    found = _TIME.search(name)
    if not found:
        return None
    *parts, fraction = found.groups()
    try:
        moment = datetime(*map(int, parts), tzinfo=UTC)  # type: ignore[misc, arg-type]
        return moment.replace(microsecond=int((fraction or "").ljust(6, "0")))
    except ValueError:
        return None


def slug_of(name: str) -> str | None:
    """Read the competition's slug from a file's name, None where it holds none."""
    found = list(_KIND.finditer(name))
    return name[: found[-1].start()] or None if found else None


def name_of(slug: str, kind: Kind, moment: datetime) -> str:
    """Name a board's file as Kaggle names the ZIP's member; a fraction of a second is kept."""
    return f"{slug}-{kind}leaderboard-{moment.astimezone(UTC).replace(tzinfo=None).isoformat()}.csv"


def layout_of(header: str) -> Layout:
    """Map the file's columns to the staging table's.

    Raises NeedsPerson naming the column that is missing, doubled, or too many.
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
            raise NeedsPerson(f"the leaderboard's header has the column {_shown(name)} twice")
        columns.append(column)
    for column, name in _REQUIRED.items():
        if column not in columns:
            raise NeedsPerson(
                f"the leaderboard lacks the column {name}; its header is {_shown(header)}. "
                "Kaggle may have changed its format: look for a newer version of pgleaderboard"
            )
    if extra > EXTRA_COLUMNS:
        raise NeedsPerson(f"the leaderboard has {extra} unknown columns; {EXTRA_COLUMNS} can be passed over")
    return Layout(tuple(columns), "rank" in columns)


@contextmanager
def open_member(archive: IO[bytes], limit: int) -> Iterator[tuple[str, IO[bytes]]]:
    """Open the one member of a downloaded ZIP.

    limit: the most bytes it may unpack to.
    Yields the member's name and its unpacked stream; reading past the limit raises NeedsPerson.
    Raises Transient for a file that is no sound ZIP (a broken download), NeedsPerson for a sound one that is no board.
    """
    try:
        with zipfile.ZipFile(archive) as unpacked:
            members = unpacked.infolist()
            if len(members) != 1:
                raise NeedsPerson(f"Kaggle's ZIP holds {len(members)} files where one leaderboard was expected")
            member = members[0]
            if "/" in member.filename or "\\" in member.filename or member.is_dir():
                raise NeedsPerson(f"the file in Kaggle's ZIP has a path in its name: {_shown(member.filename)}")
            if member.flag_bits & 0x1:
                raise NeedsPerson("the file in Kaggle's ZIP is encrypted")
            with unpacked.open(member) as stream:
                yield member.filename, Bounded(stream, limit)  # type: ignore[misc]
    except NeedsPerson:
        raise
    except _UNSOUND as error:
        raise Transient(f"Kaggle's answer is not a sound ZIP file ({error}); the download may have been cut") from error
    except (NotImplementedError, RuntimeError) as error:  # a compression or feature that Python lacks
        raise NeedsPerson(f"the file in Kaggle's ZIP cannot be unpacked: {error}") from error


class Bounded:
    """A stream that refuses to give more than `limit` bytes: a ZIP bomb ends here."""

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self._stream = stream
        self._left = limit
        self._limit = limit

    def read(self, size: int) -> bytes:
        """Read at most that many bytes. Raises NeedsPerson beyond the limit."""
        chunk = self._stream.read(size)
        self._left -= len(chunk)
        if self._left < 0:
            raise NeedsPerson(
                f"the leaderboard unpacks to more than {self._limit // 2**20} MB; "
                "PGLEADERBOARD_MAX_DOWNLOAD_MB allows more"
            )
        return chunk


def examine(archive: IO[bytes], limit: int) -> Board:
    """Read a downloaded ZIP once through: is it a board, which one, and has it changed.

    Raises as `open_member`, `kind_of` and `layout_of` do.
    """
    archive.seek(0)
    with open_member(archive, limit) as (name, stream):
        return read(stream, kind_of(name), time_of(name))


def read(stream: IO[bytes], kind: Kind, taken_at: datetime | None) -> Board:
    """Read an unpacked board once through.

    Raises Transient for a file with nothing in it, NeedsPerson for one that is no board.
    """
    digest = hashlib.blake2b(READER, digest_size=32)
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


def rows(archive: IO[bytes], limit: int) -> Iterator[bytes]:
    """Yield the CSV after its byte-order mark, in chunks, header included, NUL bytes replaced by U+FFFD."""
    archive.seek(0)
    with open_member(archive, limit) as (_, stream):
        yield from content(stream)


def content(stream: IO[bytes]) -> Iterator[bytes]:
    """The same of an unpacked board."""
    chunk = stream.read(CHUNK).removeprefix(BYTE_ORDER_MARK)
    while chunk:
        yield chunk.replace(b"\0", b"\xef\xbf\xbd")
        chunk = stream.read(CHUNK)


def _first_lines(head: bytes) -> tuple[str, str]:
    # Bytes that are no UTF-8 are replaced here and refused by COPY, which names their line.
    text = io.StringIO(head.removeprefix(BYTE_ORDER_MARK).decode("utf-8", "replace"), newline="")
    header = text.readline().rstrip("\r\n")
    if not header:
        raise Transient("Kaggle's leaderboard file is empty")
    return header, text.readline().rstrip("\r\n")


def _check_first_row(layout: Layout, row: str) -> None:
    """Refuse a file whose dates are written otherwise: PostgreSQL would read them, perhaps wrongly."""
    fields = next(csv.reader([row]), [])
    if len(fields) != len(layout.columns) or "last_submission_at" not in layout.columns:
        return
    date = fields[layout.columns.index("last_submission_at")]
    if date and not _DATE.fullmatch(date):
        raise NeedsPerson(f"the leaderboard's first date is {_shown(date)}, not in the form 2026-01-31 23:59:59")


def _shown(text: str) -> str:
    """Quote foreign text for a message: short, on one line, control characters escaped."""
    return repr(text if len(text) <= 120 else text[:117] + "...")
