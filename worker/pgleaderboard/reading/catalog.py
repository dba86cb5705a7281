"""What there is: the competitions and the events, with what a page says of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from pgleaderboard.database.connect import Connection, objects, rows, value
from pgleaderboard.errors import NeedsPerson
from pgleaderboard.reading.asking import snapshot
from pgleaderboard.reading.names import known_event


@dataclass(frozen=True)
class Competition:
    """A followed competition. kind, teams, synced_at: of the board that is shown, None before the first sync.

    late_since: the last success of a sync, where the board is not current; None where it is, or was never synced.
    freezes: the frozen_at of its events, the first one first.
    """

    id: int
    slug: str
    title: str
    status: str
    end_date: datetime | None
    kind: str | None
    teams: int | None
    synced_at: datetime | None
    next_sync_at: datetime | None
    is_late: bool
    late_since: datetime | None
    freezes: Sequence[datetime]

    def frozen_at(self, now: datetime) -> datetime | None:
        """The moment behind which the page shows nothing of it; None where no freeze has come."""
        return self.freezes[0] if self.freezes and self.freezes[0] <= now else None


@dataclass(frozen=True)
class Event:
    """An event. freezes: its own frozen_at and those of the events that share a competition with it, in order."""

    id: int
    slug: str
    title: str
    status: str
    start_date: datetime | None
    end_date: datetime | None
    frozen_at: datetime | None
    final_at: datetime | None
    competition_ids: Sequence[int]
    freezes: Sequence[datetime]

    def held_at(self, now: datetime) -> datetime | None:
        """The moment behind which the page shows nothing of it though readers of SQL do; None where there is none.

        It is the first freeze of an event that shares a competition, where that came before its own one and before the
        standing was made final.
        """
        first = self.freezes[0] if self.freezes else None
        if first is None or first > now or first == self.frozen_at:
            return None
        return None if self.final_at and self.final_at <= first and not self.is_frozen(now) else first

    def is_frozen(self, now: datetime) -> bool:
        """Whether its own freeze has come."""
        return self.frozen_at is not None and self.frozen_at <= now


@dataclass(frozen=True)
class Catalog:
    """All of it. now: the database's clock. competitions, events: by lower-case slug, in the order of a page."""

    now: datetime
    competitions: dict[str, Competition]
    events: dict[str, Event]

    @cached_property
    def freezes(self) -> Sequence[datetime]:
        """The freezes that are shown or planned, the first one first."""
        return sorted({at for events in self.events.values() for at in events.freezes})


def catalog(connection: Connection, event_ids: Sequence[int] | None = None) -> Catalog:
    """The competitions and the events. event_ids: only these events, where they are there, and their competitions."""
    with snapshot(connection):
        events = _events(connection, event_ids)
        competitions = objects(
            connection,
            Competition,
            """
            SELECT c.id, s.kaggle_competition_id AS slug,
                   coalesce(nullif(s.title, ''), s.kaggle_competition_id) AS title, s.status, c.end_date,
                   s.board AS kind, s.teams, s.synced_at, s.next_sync_at, s.is_late,
                   CASE WHEN s.is_late THEN s.last_success_at END AS late_since,
                   ARRAY(SELECT e.frozen_at FROM kaggle.event_competitions x JOIN kaggle.events e ON e.id = x.event_id
                         WHERE x.competition_id = c.id AND e.frozen_at < '10000-01-01' ORDER BY 1) AS freezes
            FROM kaggle.sync_status s JOIN kaggle.competitions c ON c.id = s.competition_id
            WHERE s.kaggle_competition_id IS NOT NULL
              AND (%(event_ids)s::bigint[] IS NULL OR EXISTS (
                       SELECT FROM kaggle.event_competitions x
                       WHERE x.competition_id = c.id AND x.event_id = ANY (%(event_ids)s)))
            ORDER BY s.status = 'completed', s.status = 'upcoming', lower(s.kaggle_competition_id COLLATE "C")
            """,
            event_ids=event_ids,
        )
        now: datetime = value(connection, "SELECT clock_timestamp()")
    return Catalog(now, {c.slug.lower(): c for c in competitions}, {e.slug: e for e in events})


def ids_of(connection: Connection, slugs: Sequence[str]) -> list[int]:
    """The ids of events. Raises NeedsPerson for an unknown one."""
    return [known_event(connection, slug)[0] for slug in slugs]


def held_at(connection: Connection, event_id: int) -> datetime | None:
    """Event.held_at, as a snapshot has it. Raises NeedsPerson where the event is gone."""
    events = _events(connection, [event_id])
    if not events:
        raise NeedsPerson("the event has been deleted")
    now: datetime = value(connection, "SELECT clock_timestamp()")
    return events[0].held_at(now)


def freezes(connection: Connection) -> dict[int, datetime]:
    """The freezes that have come, by competition: of several events the first one."""
    return dict(
        rows(
            connection,
            "SELECT x.competition_id, min(e.frozen_at) FROM kaggle.event_competitions x "
            "JOIN kaggle.events e ON e.id = x.event_id WHERE e.frozen_at <= clock_timestamp() GROUP BY 1",
        )
    )


def _events(connection: Connection, event_ids: Sequence[int] | None) -> list[Event]:
    return objects(
        connection,
        Event,
        """
    SELECT e.id, e.slug, coalesce(nullif(e.title, ''), e.slug) AS title, e.status, e.start_date, e.end_date,
           e.frozen_at, e.final_at,
           ARRAY(SELECT x.competition_id FROM kaggle.event_competitions x WHERE x.event_id = e.id ORDER BY 1)
               AS competition_ids,
           ARRAY(SELECT f.frozen_at FROM kaggle.events f
                 WHERE f.frozen_at < '10000-01-01'  -- Python's calendar ends before
                   AND (f.id = e.id OR EXISTS (
                            SELECT FROM kaggle.event_competitions x
                            JOIN kaggle.event_competitions y ON y.competition_id = x.competition_id
                            WHERE x.event_id = e.id AND y.event_id = f.id))
                 ORDER BY 1) AS freezes
    FROM kaggle.events e WHERE %(event_ids)s::bigint[] IS NULL OR e.id = ANY (%(event_ids)s)
    ORDER BY (e.end_date < statement_timestamp()) IS TRUE, e.start_date DESC NULLS LAST, e.slug
        """,
        event_ids=event_ids,
    )
