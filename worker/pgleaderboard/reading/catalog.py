"""What there is: the competitions and the events, with what a page says of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
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
        return sorted({at for event in self.events.values() for at in event.freezes})

    @cached_property
    def moments(self) -> Sequence[datetime]:
        """The freezes and the ends of events, the first one first."""
        return sorted({*self.freezes, *(event.end_date for event in self.events.values() if event.end_date)})

    @cached_property
    def _slugs(self) -> dict[int, str]:
        return {each.id: slug for slug, each in self.competitions.items()}

    @cached_property
    def _places(self) -> dict[int, int]:
        return {competition_id: place for place, competition_id in enumerate(self._slugs)}

    @cached_property
    def _events_of(self) -> dict[int, list[Event]]:
        found: dict[int, list[Event]] = {}
        for event in self.events.values():
            for competition_id in event.competition_ids:
                found.setdefault(competition_id, []).append(event)
        return found

    def competitions_of(self, event: Event) -> list[Competition]:
        """The competitions of an event, in the order of a page."""
        there = sorted((each for each in event.competition_ids if each in self._places), key=self._places.__getitem__)
        return [self.competitions[self._slugs[each]] for each in there]

    def events_of(self, competition: Competition) -> Sequence[Event]:
        """The events of a competition, in the order of a page."""
        return self._events_of.get(competition.id, ())

    def after_syncs(self, connection: Connection, competition_ids: Iterable[int]) -> Catalog | None:
        """The catalog after attempts to sync these competitions; None where more has changed than attempts change."""
        before = {each: self.competitions[self._slugs[each]] for each in competition_ids if each in self._slugs}
        with snapshot(connection):
            after = {each.id: each for each in _competitions(connection, list(before))}
            now: datetime = value(connection, "SELECT clock_timestamp()")
        if before.keys() != after.keys() or any(
            (old.slug, old.status) != (after[each].slug, after[each].status) for each, old in before.items()
        ):
            return None
        return replace(self, now=now, competitions=self.competitions | {c.slug.lower(): c for c in after.values()})


def catalog(connection: Connection, event_ids: Sequence[int] | None = None) -> Catalog:
    """The competitions and the events. event_ids: only these events, where they are there, and their competitions."""
    with snapshot(connection):
        events = _events(connection, event_ids)
        ids = None if event_ids is None else [each for event in events for each in event.competition_ids]
        competitions = _competitions(connection, ids)
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


def _competitions(connection: Connection, ids: Sequence[int] | None) -> list[Competition]:
    return objects(
        connection,
        Competition,
        """
    SELECT c.id, s.kaggle_competition_id AS slug, coalesce(nullif(s.title, ''), s.kaggle_competition_id) AS title,
           s.status, c.end_date, s.board AS kind, s.teams, s.synced_at, s.next_sync_at, s.is_late,
           CASE WHEN s.is_late THEN s.last_success_at END AS late_since,
           ARRAY(SELECT e.frozen_at FROM kaggle.event_competitions x JOIN kaggle.events e ON e.id = x.event_id
                 WHERE x.competition_id = c.id AND e.frozen_at < '10000-01-01' ORDER BY 1) AS freezes
    FROM kaggle.sync_status s JOIN kaggle.competitions c ON c.id = s.competition_id
    WHERE s.kaggle_competition_id IS NOT NULL AND (%(ids)s::bigint[] IS NULL OR c.id = ANY (%(ids)s))
    ORDER BY s.status = 'completed', s.status = 'upcoming', lower(s.kaggle_competition_id COLLATE "C")
        """,
        ids=ids,
    )


def _events(connection: Connection, event_ids: Sequence[int] | None) -> list[Event]:
    return objects(
        connection,
        Event,
        """
    WITH own AS (
        SELECT f.id AS event_id, f.id AS frozen_id, f.frozen_at FROM kaggle.events f
        WHERE f.frozen_at < '10000-01-01'  -- Python's calendar ends before
    ), shared AS (
        SELECT * FROM own
        UNION
        SELECT x.event_id, o.frozen_id, o.frozen_at FROM own o
        JOIN kaggle.event_competitions y ON y.event_id = o.event_id
        JOIN kaggle.event_competitions x ON x.competition_id = y.competition_id
    ), freezes AS (
        SELECT s.event_id, array_agg(s.frozen_at ORDER BY s.frozen_at) AS freezes FROM shared s GROUP BY s.event_id
    )
    SELECT e.id, e.slug, coalesce(nullif(e.title, ''), e.slug) AS title, e.status, e.start_date, e.end_date,
           e.frozen_at, e.final_at,
           ARRAY(SELECT x.competition_id FROM kaggle.event_competitions x WHERE x.event_id = e.id ORDER BY 1)
               AS competition_ids,
           coalesce(f.freezes, '{}') AS freezes
    FROM kaggle.events e LEFT JOIN freezes f ON f.event_id = e.id
    WHERE %(event_ids)s::bigint[] IS NULL OR e.id = ANY (%(event_ids)s)
    ORDER BY (e.end_date < statement_timestamp()) IS TRUE, e.start_date DESC NULLS LAST, e.slug
        """,
        event_ids=event_ids,
    )
