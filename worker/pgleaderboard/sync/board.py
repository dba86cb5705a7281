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
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import IO, Literal

from pgleaderboard.errors import NeedsPerson, Transient

BoardKind = Literal["public", "private"]

CHUNK = 256 * 1024
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
READER_VERSION = b"2"  # part of the digest: with a new version every board is read again

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
# Greedy: the slug ends before the last such word.
_NAME = re.compile(r"(.*)[-_](public|private)[-_]?leaderboard", re.IGNORECASE | re.DOTALL)
# Kaggle's times end in seconds; `name_of` may add a fraction. Programs that save files replace the colons in many ways.
_COLON = r"(?:[:_.\-\ua789\uf03a]|%3A)"
_TIME = re.compile(
    rf"(\d{{4}})-(\d\d)-(\d\d)[_ ]?T_?(\d\d){_COLON}?(\d\d){_COLON}?(\d\d)(?!\d)(?:\.(\d{{1,6}})(?!\d))?"
    # An offset. A minus also joins words: it needs minutes.
    rf"(?:[_ ]?(\+|%2B|-(?=\d\d{_COLON}?\d\d(?!\d)))(\d\d)(?:{_COLON}?(\d\d))?(?!\d))?",
    re.IGNORECASE,
)
_BREAK = re.compile(rb"\r\n?|\n")
# Kaggle's command prints a line before a CSV; blank ones may follow.
_BEFORE_HEADER = re.compile(
    rb"(?:\xef\xbb\xbf)?(?:Next Page Token[^\r\n]*(?:\r\n?|\n|\Z)(?:[ \t]*(?:\r\n?|\n))*(?:\xef\xbb\xbf)?)?"
)
_RECORD = re.compile(rb'(?:[^"\r\n]+|"[^"]*(?:"|\Z))*')  # where COPY ends it
_MAX_HEADER = 64 * 1024

# What zipfile and its decompressors raise for damaged bytes (OSError: a seek before the beginning).
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, ValueError, OverflowError)


@dataclass(frozen=True)
class Layout:
    """The columns of a file.

    columns: the staging table's column for each column of the file, in the file's order.
    ranked: whether the file has ranks, which also mark benchmarks. Without ranks a team's last row counts.
    unknown: the file's names of the columns extra_1, extra_2 …
    header_line: the number of the header's line in the file.
    """

    columns: tuple[str, ...]
    ranked: bool
    unknown: tuple[str, ...] = ()
    header_line: int = 1


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
    """Read the kind of board from the name of a file or a ZIP's member. Raises NeedsPerson if it contains none."""
    match = _NAME.match(name)
    if not match:
        raise NeedsPerson(
            f"cannot tell from the file name {_quoted(name)} whether this is the public or the private board"
        )
    return "private" if match[2].lower() == "private" else "public"


def time_of(name: str) -> datetime | None:
    """Read the time of a board from a file's name, in UTC unless it has an offset; None if it contains none."""
    match = _TIME.search(name)
    if not match:
        return None
    *parts, fraction, sign, hours, minutes = match.groups()
    if int(hours or 0) > 14 or int(minutes or 0) > 59:  # no zone is farther away
        return None
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    try:
        zone = timezone(-offset if sign == "-" else offset)
        moment = datetime(*map(int, parts), tzinfo=zone)  # type: ignore[misc, arg-type]
        return moment.replace(microsecond=int((fraction or "").ljust(6, "0"))).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def slug_of(name: str) -> str | None:
    """Read the competition's slug from a file's name, perhaps empty. None if the name does not contain the kind."""
    match = _NAME.match(name)
    return match[1] if match else None


def name_of(slug: str, kind: BoardKind, moment: datetime) -> str:
    """The name of a board's CSV as in Kaggle's ZIPs. A fraction of a second is kept."""
    return f"{slug}-{kind}leaderboard-{moment.astimezone(UTC).replace(tzinfo=None).isoformat()}.csv"


def layout_of(header: str) -> Layout:
    """Map the columns of a file to those of the staging table.

    Raises NeedsPerson if a column is missing or doubled, or if there are too many.
    """
    columns: list[str] = []
    unknown: list[str] = []
    for name in next(csv.reader(io.StringIO(header, newline="")), []):
        column = _COLUMNS.get(name.strip(" \t\ufeff").lower())
        if not column:
            unknown.append(" ".join(name.split()).replace("\0", "\ufffd"))
            column = f"extra_{len(unknown)}"
        if column in columns:
            raise NeedsPerson(f"the leaderboard's header has the column {_quoted(name)} twice")
        columns.append(column)
    for column, name in _REQUIRED.items():
        if column not in columns:
            raise NeedsPerson(
                f"the leaderboard lacks the column {name}; its header is {_quoted(header)}. "
                "Kaggle may have changed its format: look for a newer version of pgleaderboard"
            )
    if len(unknown) > EXTRA_COLUMNS:
        raise NeedsPerson(f"the leaderboard has {len(unknown)} unknown columns; at most {EXTRA_COLUMNS} can be ignored")
    return Layout(tuple(columns), "rank" in columns, tuple(unknown))


@contextmanager
def open_member(archive: IO[bytes], limit: int) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Open the one member of a downloaded ZIP. Yields its name and its chunks, as `chunks_of` does.

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
                yield member.filename, chunks_of(stream, limit)
    except _DAMAGED as error:
        raise Transient(f"Kaggle's answer is not a valid ZIP file ({error}); the download may have been cut") from error
    except (NotImplementedError, RuntimeError) as error:  # a compression method or feature that Python lacks
        raise NeedsPerson(f"the file in Kaggle's ZIP cannot be unpacked: {error}") from error


def chunks_of(stream: IO[bytes], limit: int) -> Iterator[bytes]:
    """Yield an unpacked file in chunks. Raises NeedsPerson after `limit` bytes: a ZIP bomb ends here."""
    left = limit
    while chunk := stream.read(CHUNK):
        left -= len(chunk)
        if left < 0:
            raise NeedsPerson(
                f"the leaderboard unpacks to more than {limit // 2**20} MB; PGLEADERBOARD_MAX_DOWNLOAD_MB allows more"
            )
        yield chunk


def read_zip(archive: IO[bytes], limit: int) -> Board:
    """Read a downloaded ZIP to its end. Raises as `open_member`, `chunks_of`, `kind_of` and `read_csv` do."""
    with open_member(archive, limit) as (name, chunks):
        return read_csv(chunks, kind_of(name), time_of(name))


def read_csv(chunks: Iterable[bytes], kind: BoardKind, taken_at: datetime | None) -> Board:
    """Read an unpacked board to its end.

    Raises Transient for an empty file, NeedsPerson for one that is not a board.
    """
    digest = hashlib.blake2b(READER_VERSION, digest_size=32)
    nul_characters = 0
    head = b""
    for chunk in chunks:
        digest.update(chunk)
        nul_characters += chunk.count(b"\0")
        if len(head) < _MAX_HEADER:
            head += chunk[:_MAX_HEADER]
    before = _beginning(_BEFORE_HEADER, head)
    # Bytes that are not UTF-8 are replaced here. COPY refuses them and names the line.
    header = _beginning(_RECORD, head[len(before) :]).decode("utf-8", "replace")
    if not header:
        raise Transient("Kaggle's leaderboard file is empty")
    layout = replace(layout_of(header), header_line=1 + len(_BREAK.findall(before)))
    return Board(kind, taken_at, layout, digest.digest(), nul_characters)


def zip_chunks(archive: IO[bytes], limit: int) -> Iterator[bytes]:
    """Yield the CSV in a ZIP as `cleaned` does."""
    with open_member(archive, limit) as (_, chunks):
        yield from cleaned(chunks)


def cleaned(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the chunks of a CSV without what stands before its header, and with U+FFFD for NUL bytes."""
    for index, chunk in enumerate(chunks):
        text = chunk if index else chunk[len(_beginning(_BEFORE_HEADER, chunk)) :]
        yield text.replace(b"\0", b"\xef\xbf\xbd")


def line_of(chunks: Iterable[bytes], number: int, *, of_copy: bool) -> int:
    """The line of a CSV, as an editor counts, on which its record with this number ends.

    of_copy: the number is COPY's, which also counts the breaks within quotes that are like those between records.
    """
    line = counted = 1
    is_quoted, own = False, b"\r"  # COPY's, until it has seen the first record end
    held = b""
    for chunk in chunks:
        text = held + chunk
        held = text[-1:] if text.endswith(b"\r") else b""  # a \n may follow
        for mark in re.findall(rb'"|\r\n?|\n', text[: len(text) - len(held)]):
            if mark == b'"':
                is_quoted = not is_quoted
                continue
            if not is_quoted:
                own = mark[:1]
            if not is_quoted or (of_copy and own in mark):
                if counted == number:
                    return line
                counted += 1
            line += 1
    return line


def _beginning(pattern: re.Pattern[bytes], text: bytes) -> bytes:
    match = pattern.match(text)
    return match[0] if match else b""


def _quoted(text: str) -> str:
    """Quote a text for a message: cut, on one line, with control characters escaped."""
    return repr(text if len(text) <= 120 else text[:117] + "...")
