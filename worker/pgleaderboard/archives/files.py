"""Boards in files of before: read what they are, then have each put where it belongs in time.

A file is a ZIP as Kaggle or a browser gives it, a CSV, or a CSV under gzip; what it is, its first bytes say. Which
board it is, public or private, and of when, its name says: the ZIP's member's, else the file's own.
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
from typing import IO

from pgleaderboard.archives.backfill import Advance, ArchiveStore, Filling, Snapshot
from pgleaderboard.errors import NeedsPerson, PgleaderboardError
from pgleaderboard.sync import board
from pgleaderboard.sync.board import Kind
from pgleaderboard.sync.store import Applied

Report = Callable[[Snapshot, Applied], None]


@dataclass(frozen=True)
class Said:
    """What the user says of the files where their names do not. None = the names tell."""

    at: datetime | None = None
    kind: Kind | None = None


def backfill(
    store: ArchiveStore, slug: str, files: Iterable[Path], said: Said, limit: int, report: Report, advance: Advance
) -> None:
    """Put every file's board where it belongs in time, whatever the order they are given in.

    limit: the most bytes that one may unpack to. report: told of each file; outcome "skipped" is one that is there
    already. advance: told of steps to come and steps done.
    Raises NeedsPerson before anything is written where a file cannot be put in.
    """
    filling = store.begin(slug)
    snapshots = sorted((read(file, filling.slug, said, limit) for file in files), key=lambda s: (s.at, s.name))
    for kind in ("public", "private"):
        wanted = _not_there(store, filling, kind, [s for s in snapshots if s.board.kind == kind], report)
        advance(len(wanted), 0)
        while wanted:
            known = store.board(filling, kind)
            if known and wanted[0].at == known.observed_at:  # by a sync that ended just now
                raise NeedsPerson(f"{wanted[0].name}: another board of that very moment came meanwhile")
            early = [s for s in wanted if known and s.at < known.observed_at]
            if known and early:
                store.rebuild(filling, known, early, report, advance)
                wanted = wanted[len(early) :]
            elif applied := store.append(filling, wanted[0]):
                report(wanted.pop(0), applied)
                advance(0, 1)


def _not_there(
    store: ArchiveStore, filling: Filling, kind: Kind, snapshots: list[Snapshot], report: Report
) -> list[Snapshot]:
    """Those that are to be put in, by time. Raises NeedsPerson where one contradicts what is there, or another one."""
    known = store.board(filling, kind)
    moments = store.moments(known) if known else set()
    wanted: list[Snapshot] = []
    for snapshot in snapshots:
        if snapshot.at > filling.now:
            raise NeedsPerson(f"{snapshot.name}: {_shown(snapshot.at)} lies in the future")
        if known and known.history_from and snapshot.at < known.history_from:
            raise NeedsPerson(
                f"{snapshot.name} is of {_shown(snapshot.at)}: the history of {filling.slug} begins at "
                f"{_shown(known.history_from)}, what was before is pruned"
            )
        if wanted and wanted[-1].at == snapshot.at:
            if wanted[-1].board.digest != snapshot.board.digest:
                raise NeedsPerson(
                    f"{wanted[-1].name} and {snapshot.name} are different boards of {_shown(snapshot.at)}"
                )
            report(snapshot, Applied("skipped"))
        elif known and snapshot.at in moments:
            if not store.is_known(known, snapshot):
                raise NeedsPerson(f"{snapshot.name}: another {kind} board of {_shown(snapshot.at)} is there already")
            report(snapshot, Applied("skipped"))
        else:
            wanted.append(snapshot)
    return wanted


def read(file: Path, slug: str, said: Said, limit: int) -> Snapshot:
    """Find out what a file is.

    Raises NeedsPerson where it is no board, or neither its name nor the user says which one and of when.
    """
    try:
        with _opened(file, limit) as (member, stream):
            names = [name for name in (member, file.name) if name]
            kind = said.kind or _kind_of(names, slug)
            at = said.at or next(filter(None, map(board.time_of, names)), None)
            if at is None:
                raise NeedsPerson("its name tells no time as in 2026-05-05T15:36:33; give this file alone, with --at")
            return Snapshot(file.name, at, board.read(stream, kind, at), partial(_rows, file, limit))
    except PgleaderboardError as error:
        raise NeedsPerson(f"{file.name}: {error}") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise NeedsPerson(f"{file.name}: is damaged ({error})") from error
    except OSError as error:
        raise NeedsPerson(f"{file.name}: cannot be read ({error.strerror or error})") from error


def _kind_of(names: list[str], slug: str) -> Kind:
    for name in names:
        try:
            kind = board.kind_of(name)
        except NeedsPerson:
            continue
        of = board.slug_of(name)
        if of and of.lower() != slug.lower():
            raise NeedsPerson(f"by its name a board of {of}, not of {slug}; --board {kind} takes it all the same")
        return kind
    raise NeedsPerson(
        "its name tells neither a public nor a private leaderboard; say --board public or --board private"
    )


@contextmanager
def _opened(file: Path, limit: int) -> Iterator[tuple[str | None, IO[bytes]]]:
    """Open a file, unpacked. Yields the name of the ZIP's member (None outside a ZIP) and the CSV's bytes."""
    with file.open("rb") as opened:
        magic = opened.read(4)
        opened.seek(0)
        if magic == b"PK\x03\x04" or magic == b"PK\x05\x06":
            with board.open_member(opened, limit) as found:
                yield found
        elif magic.startswith(b"\x1f\x8b"):
            with gzip.open(opened) as unpacked:
                yield None, board.Bounded(unpacked, limit)  # type: ignore[arg-type, misc]
        else:
            yield None, board.Bounded(opened, limit)  # type: ignore[misc]


def _rows(file: Path, limit: int) -> Iterator[bytes]:
    with _opened(file, limit) as (_, stream):
        yield from board.content(stream)


def moment_of(text: str) -> datetime:
    """Read a moment in ISO 8601; without a zone it is UTC. Raises NeedsPerson if it is none."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise NeedsPerson(f"{text!r} is no time as in 2026-05-05T15:36:33 or 2026-05-05T15:36:33+02:00") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _shown(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(sep=" ")
