"""The database's side of `pgleaderboard backfill`: puts boards where they belong in time (sql/150_backfill.sql)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

import psycopg
from psycopg import errors as pg

from pgleaderboard.database.connect import message_of, objects, row, value
from pgleaderboard.errors import NeedsPerson, Transient
from pgleaderboard.sync import order
from pgleaderboard.sync.board import Board, BoardKind
from pgleaderboard.sync.staging import Staging
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


@dataclass(frozen=True)
class _Moment:
    at: datetime
    run_id: int | None
    changed: bool


Done = Callable[[Snapshot, Applied], None]
Advance = Callable[[int, int], None]  # so many steps more are known of, so many are done


class ArchiveStore:
    """Calls into the database over one connection in autocommit, which must be a session of its own.

    patience: seconds that a sync which runs may take to end by itself before its attempt is begun anew.
    """

    def __init__(self, connection: psycopg.Connection[Any], *, patience: float = 10) -> None:
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
            "WHERE competition_id = %s AND lower(slug) = lower(%s) AND kind = %s",
            *(filling.competition_id, filling.slug, kind),
        )
        return known[0] if known else None

    def moments(self, known: Known) -> set[datetime]:
        """When it was seen."""
        return {moment.at for moment in self._moments(known, None)}

    def is_known(self, known: Known, snapshot: Snapshot) -> bool:
        """Whether the board at a moment at which it was seen is this one."""
        with self._transaction(keep=False):
            self._stage(snapshot)
            answer: bool = value(
                self._connection, "SELECT kaggle_internal.staged_is_known(%s, %s)", known.board_id, snapshot.at
            )
        return answer

    def append(self, filling: Filling, snapshot: Snapshot) -> Applied | None:
        """Make it the board as of its moment. None, with nothing written, if the board is known beyond that by now."""
        self._wait_for_sync(filling)
        with self._transaction():
            self._stage(snapshot)
            # From here on no sync of this competition begins or ends.
            board_id = value(
                self._connection,
                "SELECT CASE WHEN b.observed_at < %s THEN b.id END "
                "FROM kaggle_internal.board_for(kaggle_internal.hold_competition(%s, %s), %s) b",
                snapshot.at,
                filling.competition_id,
                filling.link_revision,
                snapshot.board.kind,
            )
            if board_id is None:
                self._connection.execute("ROLLBACK")
                return None
            return self._append(board_id, snapshot)

    def rebuild(
        self, filling: Filling, known: Known, snapshots: Sequence[Snapshot], done: Done, advance: Advance
    ) -> None:
        """Write the board anew with these, all before its observed_at, in one transaction.

        snapshots: by time. done: told of each one and what it changed, once all is committed.
        """
        first = snapshots[0].at
        applied: list[tuple[Snapshot, Applied]] = []
        with self._transaction():
            board_id: int = value(
                self._connection, "SELECT kaggle_internal.open_rebuild(%s, %s)", known.board_id, first
            )
            seen = self._moments(known, first)
            advance(sum(moment.changed for moment in seen), 0)
            disturbed = False  # the board is another than it was at this moment before
            steps: list[Snapshot | _Moment] = sorted([*seen, *snapshots], key=lambda step: step.at)
            for step in steps:
                if isinstance(step, Snapshot):
                    self._staging.clear()
                    self._stage(step)
                    applied.append((step, self._append(board_id, step)))
                    disturbed = True
                elif step.changed or disturbed:
                    self._replay(known, board_id, step)
                    disturbed = False
                else:
                    continue
                advance(0, 1)
            # From here on no sync of this competition begins or ends: what came meanwhile is the rest.
            self._connection.execute(
                "SELECT kaggle_internal.hold_competition(%s, %s)", (filling.competition_id, filling.link_revision)
            )
            for moment in self._moments(known, seen[-1].at):
                if moment.changed:
                    self._replay(known, board_id, moment)
            self._connection.execute(
                "SELECT kaggle_internal.close_rebuild(%s, %s, %s)", (known.board_id, board_id, known.history_from)
            )
        for each in applied:
            done(*each)

    def _append(self, board_id: int, snapshot: Snapshot) -> Applied:
        self._place(board_id)
        return Applied(
            *row(
                self._connection,
                "SELECT outcome, teams, added, removed, updated, moved "
                "FROM kaggle_internal.append_board(%s, %s, %s, %s, %s)",
                *(board_id, snapshot.at, snapshot.board.digest, snapshot.board.nul_characters, order.GAP),
            )
        )

    def _replay(self, known: Known, board_id: int, moment: _Moment) -> None:
        self._staging.clear()
        self._connection.execute("SELECT kaggle_internal.stage_known(%s, %s)", (known.board_id, moment.at))
        self._place(board_id)
        self._connection.execute(
            "SELECT kaggle_internal.replay_run(%s, %s, %s, %s)", (moment.run_id, board_id, moment.at, order.GAP)
        )

    def _moments(self, known: Known, after: datetime | None) -> list[_Moment]:
        return objects(
            self._connection,
            _Moment,
            "SELECT at, run_id, changed FROM kaggle_internal.known_moments(%s, coalesce(%s, '-infinity'::timestamptz))",
            known.board_id,
            after,
        )

    def _stage(self, snapshot: Snapshot) -> None:
        try:
            self._staging.load(snapshot.board.layout, snapshot.rows())
        except NeedsPerson as error:
            raise NeedsPerson(f"{snapshot.name}: {error}") from error

    def _place(self, board_id: int) -> None:
        """Place the staged rows on a board whose order nobody else can change now."""
        while True:
            try:
                return self._staging.place("kaggle_internal.staged_order(%s)", board_id)
            except order.GapExhausted as full:
                self._connection.execute(
                    "SELECT kaggle_internal.spread_keys(%s, %s, %s)", (board_id, full.low, full.needed)
                )

    def _wait_for_sync(self, filling: Filling) -> None:
        """Let a sync that runs end by itself, within the patience: it has cost a request to Kaggle."""
        until = time.monotonic() + self._patience
        query: LiteralString = (
            "SELECT running_run_id IS NOT NULL FROM kaggle_internal.sync_state WHERE competition_id = %s"
        )
        while value(self._connection, query, filling.competition_id) and time.monotonic() < until:
            time.sleep(0.05)

    @contextmanager
    def _transaction(self, *, keep: bool = True) -> Iterator[None]:
        """One transaction, staging tables included. keep: whether it is committed."""
        try:
            with self._staging.transaction() as connection:
                yield
                if keep and connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                    connection.execute("COMMIT")
        except pg.LockNotAvailable as error:
            raise Transient("something else holds the competition for too long: run this again later") from error
        except (pg.NoDataFound, pg.ObjectInUse, pg.DatetimeFieldOverflow) as error:
            raise NeedsPerson(message_of(error, with_hint=True)) from error
