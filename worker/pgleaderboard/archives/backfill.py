"""The database's side of `pgleaderboard backfill`: puts boards where they belong in time (sql/150_backfill.sql)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from psycopg import errors as pg

from pgleaderboard.database.connect import Connection, message_of, objects, row, rows, value
from pgleaderboard.errors import NeedsPerson, Transient
from pgleaderboard.sync import order
from pgleaderboard.sync.board import Board, BoardKind
from pgleaderboard.sync.staging import BASE, Staging
from pgleaderboard.sync.store import Applied


@dataclass(frozen=True)
class Snapshot:
    """A board to be put in.

    name: for people. at: it holds from then. rows: gives the CSV's bytes from its beginning, header included, each
    time it is called.
    """

    name: str
    at: datetime
    board: Board
    rows: Callable[[], Iterable[bytes]]


@dataclass(frozen=True)
class Filling:
    """The competition that is filled. link_revision: of its row. now: the database's clock."""

    competition_id: int
    slug: str
    link_revision: int
    now: datetime


@dataclass(frozen=True)
class Known:
    """A board that is there. observed_at: known to be right as of then. history_from: pruned before, None = never."""

    board_id: int
    observed_at: datetime
    history_from: datetime | None


def remove_board(connection: Connection, slug: str, kind: BoardKind) -> None:
    """Take a board of a competition out, with its past, in chunks. Raises NeedsPerson where there is none."""
    try:
        connection.execute("SELECT kaggle.drop_board(%s, %s)", (slug, kind))
    except pg.NoDataFound as error:
        raise NeedsPerson(message_of(error)) from error
    while value(connection, "SELECT kaggle_internal.remove_detached()"):
        pass


Advance = Callable[[int, int], None]  # so many steps more are known of, so many are done


class ArchiveStore:
    """Calls into the database over one connection in autocommit, which must be a session of its own.

    patience: seconds that a sync which runs may take to end by itself before its attempt is begun anew.
    """

    def __init__(self, connection: Connection, *, patience: float = 10) -> None:
        self._connection = connection
        self._staging = Staging(connection)
        self._patience = patience

    def begin(self, slug: str) -> Filling:
        """Find the competition, and keep other backfills of it away for the length of the session.

        Raises NeedsPerson where it is not there, or another backfill of it runs.
        """
        try:
            (filling,) = objects(
                self._connection,
                Filling,
                "SELECT competition_id, slug, link_revision, clock_timestamp() AS now "
                "FROM kaggle_internal.begin_backfill(%s)",
                slug,
            )
        except pg.NoDataFound as error:
            raise NeedsPerson(f"{message_of(error)}: add it first with `pgleaderboard add {slug}`") from error
        except (pg.CheckViolation, pg.ObjectInUse) as error:
            raise NeedsPerson(message_of(error)) from error
        while value(self._connection, "SELECT kaggle_internal.remove_deleted(%s)", filling.competition_id):
            pass  # a competition that had this id before leaves no board to it
        return filling

    def board(self, filling: Filling, kind: BoardKind) -> Known | None:
        """The board as it stands, None where there is none yet."""
        known = objects(
            self._connection,
            Known,
            "SELECT id AS board_id, observed_at, history_from FROM kaggle.boards "
            'WHERE competition_id = %s AND lower(slug COLLATE "C") = lower(%s COLLATE "C") AND kind = %s',
            *(filling.competition_id, filling.slug, kind),
        )
        return known[0] if known else None

    def moments(self, known: Known) -> dict[datetime, bool]:
        """When it was seen, and whether history_interval has merged what was seen."""
        return dict(
            rows(self._connection, "SELECT at, is_merged FROM kaggle_internal.known_moments(%s)", known.board_id)
        )

    def is_known(self, filling: Filling, known: Known, snapshot: Snapshot) -> bool:
        """Whether the board at a moment at which it was seen is this one."""
        with self._transaction():
            self._stage(filling.competition_id, snapshot)
            self._connection.execute("SELECT kaggle_internal.stage_base(%s, %s)", (known.board_id, snapshot.at))
            with _naming(snapshot):
                return not self._staging.place(BASE)

    def add(self, filling: Filling, snapshot: Snapshot) -> Applied:
        """Put a board into the history.

        Raises Transient where something holds the competition, NeedsPerson where the board does not belong there.
        """
        known = self.board(filling, snapshot.board.kind)
        if not known or known.observed_at < snapshot.at:  # a running attempt would lose its fence
            self._wait_for_sync(filling)
        file = (snapshot.at, snapshot.board.digest, snapshot.board.nul_characters)
        with self._transaction():
            self._stage(filling.competition_id, snapshot)
            # From here on no sync of this competition begins or ends.
            board, board_id, is_first, behind = row(
                self._connection,
                "SELECT board::text, (board).id, (board).observed_from IS NULL, behind "
                "FROM kaggle_internal.hold_board(%s, %s, %s, %s)",
                *(filling.competition_id, filling.link_revision, snapshot.board.kind, snapshot.at),
            )
            if behind is None:
                with _naming(snapshot):
                    self._staging.place("%s::bigint", None if is_first else board_id)
                applied = self._run(
                    "kaggle_internal.append_board(%s::kaggle.boards, %s, %s, %s, %s)", board, *file, order.GAP
                )
            else:
                self._connection.execute("SELECT kaggle_internal.stage_base(%s, %s)", (board_id, snapshot.at))
                with _naming(snapshot):
                    self._staging.place(BASE)
                applied = self._run(
                    "kaggle_internal.insert_board(%s::kaggle.boards, %s, %s, %s, %s)", board, file[0], behind, *file[1:]
                )
                self._staging.place(BASE)
                self._connection.execute("SELECT kaggle_internal.amend_board(%s::kaggle.boards, %s)", (board, behind))
            self._connection.execute("COMMIT")
        return applied

    def _run(self, call: LiteralString, *values: object) -> Applied:
        query: LiteralString = "SELECT outcome, teams, added, removed, updated, moved FROM " + call
        return Applied(*row(self._connection, query, *values))

    def _stage(self, competition_id: int, snapshot: Snapshot) -> None:
        direction: LiteralString = "(SELECT higher_is_better FROM kaggle.competitions WHERE id = %s)"
        with _naming(snapshot):
            self._staging.load(snapshot.board.layout, snapshot.rows, direction, competition_id)

    def _wait_for_sync(self, filling: Filling) -> None:
        """Let a sync that runs end by itself, within the patience: it has cost a request to Kaggle."""
        until = time.monotonic() + self._patience
        query: LiteralString = (
            "SELECT running_run_id IS NOT NULL FROM kaggle_internal.sync_state WHERE competition_id = %s"
        )
        while value(self._connection, query, filling.competition_id) and time.monotonic() < until:
            time.sleep(0.05)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """One transaction, staging tables included; it is rolled back unless it is committed."""
        try:
            with self._staging.transaction():
                yield
        except pg.LockNotAvailable as error:
            raise Transient("something else holds the competition for too long: run this again later") from error
        except (pg.NoDataFound, pg.ObjectInUse) as error:
            raise NeedsPerson(message_of(error, with_hint=True)) from error


@contextmanager
def _naming(snapshot: Snapshot) -> Iterator[None]:
    """Name the file in what is wrong with it."""
    try:
        yield
    except NeedsPerson as error:
        raise NeedsPerson(f"{snapshot.name}: {error}") from error
