"""Imports old board files into the history.

A file is a ZIP as downloaded from Kaggle, a CSV, or a CSV under gzip; its first bytes show which. The kind of board
and its time are read from the name of the ZIP's member, or else from the file's name.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from pgleaderboard.archives.backfill import Advance, ArchiveStore, Filling, Snapshot
from pgleaderboard.errors import NeedsPerson, PgleaderboardError
from pgleaderboard.sync import board
from pgleaderboard.sync.board import BoardKind
from pgleaderboard.sync.store import Applied

Report = Callable[[Snapshot, Applied], None]


@dataclass(frozen=True)
class Overrides:
    """The time and kind of the boards as the user gives them. None = read from the file's name."""

    at: datetime | None = None
    kind: BoardKind | None = None


def backfill(
    store: ArchiveStore,
    slug: str,
    files: Iterable[Path],
    overrides: Overrides,
    limit: int,
    report: Report,
    advance: Advance,
) -> None:
    """Add the boards to the history at their times. The order of the files does not matter.

    limit: the largest size of an unpacked file, in bytes. report: called for each file; the outcome is "skipped" if
    the history has the board already. advance: called with the numbers of new steps and of completed steps.
    Raises NeedsPerson, before anything is written, if a file cannot be imported.
    """
    filling = store.begin(slug)
    snapshots = sorted(
        (read_file(file, filling.slug, overrides, limit) for file in files), key=lambda s: (s.at, s.name)
    )
    for kind in ("public", "private"):
        new = _new_snapshots(store, filling, kind, [s for s in snapshots if s.board.kind == kind], report)
        advance(len(new), 0)
        for snapshot in new:
            report(snapshot, store.add(filling, snapshot))
            advance(0, 1)


def _new_snapshots(
    store: ArchiveStore, filling: Filling, kind: BoardKind, snapshots: list[Snapshot], report: Report
) -> list[Snapshot]:
    """The snapshots that are not in the history, by time.

    Raises NeedsPerson if a snapshot contradicts the history or another snapshot.
    """
    known = store.board(filling, kind)
    moments = store.moments(known) if known else {}
    new: list[Snapshot] = []
    for snapshot in snapshots:
        if snapshot.at > filling.now:
            raise NeedsPerson(f"{snapshot.name}: {_iso(snapshot.at)} is in the future")
        if known and known.history_from and snapshot.at < known.history_from:
            raise NeedsPerson(
                f"{snapshot.name} is of {_iso(snapshot.at)}, but the history of {filling.slug} was pruned: "
                f"it begins at {_iso(known.history_from)}"
            )
        if new and new[-1].at == snapshot.at:
            if new[-1].board.digest != snapshot.board.digest:
                raise NeedsPerson(f"{new[-1].name} and {snapshot.name} are different boards of {_iso(snapshot.at)}")
            report(snapshot, Applied("skipped"))
        elif known and snapshot.at in moments:
            if not moments[snapshot.at] and not store.is_known(filling, known, snapshot):
                raise NeedsPerson(f"{snapshot.name}: the history has another {kind} board of {_iso(snapshot.at)}")
            report(snapshot, Applied("skipped"))
        else:
            new.append(snapshot)
    return new


def read_file(file: Path, slug: str, overrides: Overrides, limit: int) -> Snapshot:
    """Read a file to its end.

    Raises NeedsPerson if it is not a board, or if neither its name nor the user gives its time and kind.
    """
    try:
        with _opened(file, limit) as (member, chunks):
            names = [name for name in (member, file.name) if name]
            kind = overrides.kind or _kind_of(names, slug)
            at = overrides.at or next(filter(None, map(board.time_of, names)), None)
            if at is None:
                raise NeedsPerson("no time in the file name; import it alone, with --at 2026-05-05T15:36:33")
            return Snapshot(file.name, at, board.read_csv(chunks, kind, at), partial(_rows, file, limit))
    except PgleaderboardError as error:
        raise NeedsPerson(f"{file.name}: {error}") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise NeedsPerson(f"{file.name}: the file is damaged ({error})") from error
    except OSError as error:
        raise NeedsPerson(f"{file.name}: cannot read the file ({error.strerror or error})") from error


def _kind_of(names: list[str], slug: str) -> BoardKind:
    for name in names:
        if (named := board.slug_of(name)) is not None:
            kind = board.kind_of(name)
            if named and named.lower() != slug.lower():
                raise NeedsPerson(f"looks like a board of {named}, not {slug}; add --board {kind} to import it anyway")
            return kind
    raise NeedsPerson(
        "cannot tell from the file name whether this is the public or the private board; "
        "add --board public or --board private"
    )


@contextmanager
def _opened(file: Path, limit: int) -> Iterator[tuple[str | None, Iterator[bytes]]]:
    """Open and unpack a file. Yields the name of the ZIP's member (None without a ZIP) and the CSV's chunks."""
    with file.open("rb") as opened:
        magic = opened.read(4)
        opened.seek(0)
        if magic in (b"PK\x03\x04", b"PK\x05\x06"):
            with board.open_member(opened, limit) as member:
                yield member
        elif magic.startswith(b"\x1f\x8b"):
            with gzip.open(opened) as unpacked:
                yield None, board.chunks_of(unpacked, limit)  # type: ignore[arg-type]
        else:
            yield None, board.chunks_of(opened, limit)


def _rows(file: Path, limit: int) -> Iterator[bytes]:
    with _opened(file, limit) as (_, chunks):
        yield from board.cleaned(chunks)


def in_folder(path: Path) -> list[Path]:
    """The board files in a folder, by name; a file itself. Raises NeedsPerson where a folder has none."""
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.name.lower().endswith((".zip", ".csv", ".csv.gz")))
    if not files:
        raise NeedsPerson(f"no ZIP, CSV or CSV.gz in {path}")
    return files


def moment_of(text: str) -> datetime:
    """Read a time in ISO 8601, in UTC unless it has a zone. Raises NeedsPerson if it is not a time."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise NeedsPerson(f"{text!r} is not a time; write it like 2026-05-05T15:36:33") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(sep=" ")
