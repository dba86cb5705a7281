"""What the pages share: what a request asks for, and the values that are shown now.

Nothing newer than a freeze is shown: every page takes boards and standings from `board_of` and `standing_of`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from pgleaderboard.database.connect import Connection
from pgleaderboard.reading import boards, events
from pgleaderboard.reading.asking import snapshot
from pgleaderboard.reading.catalog import Catalog, Competition, Event, freezes, held_at
from pgleaderboard.reading.names import nearest_of
from pgleaderboard.web.board import Board
from pgleaderboard.web.page import Elsewhere, Refusal, address
from pgleaderboard.web.source import AT_MOST_EVERY, Source

T = TypeVar("T")


@dataclass(frozen=True)
class Asked:
    """What a request asks for. path: as in the address line, decoded. names: the variable parts of the path.

    kept: what all its addresses keep of the query.
    """

    path: str
    names: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    kept: Mapping[str, str] = field(default_factory=dict)

    def whole(self, name: str) -> int | None:
        """A number of the query. Raises Refusal where it is none."""
        text = self.query.get(name, "").strip()
        if not text:
            return None
        if not re.fullmatch(r"-?\d{1,18}", text, re.ASCII):
            raise Refusal(400, f"{name} must be a whole number.", (address_of(self), "Without it"))
        return int(text)

    def without(self, name: str) -> str:
        """The same address without something that its addresses keep."""
        return replace(self, kept={kept: value for kept, value in self.kept.items() if kept != name}).to()

    def queried(self) -> str:
        """What all its addresses keep, to be put behind another path."""
        return self.to().removeprefix(address_of(self))

    def to(self, **query: Any) -> str:
        """The same address with another query."""
        query = dict(self.kept) | query
        return address_of(self) + (
            "?" + "&".join(f"{name}={address(value)}" for name, value in query.items()) if query else ""
        )


def page_of(asked: Asked, pages: int) -> int:
    """The page that is asked for, from 1. Raises Elsewhere for one that is not there."""
    number = asked.whole("page")
    if number is not None and not 1 <= number <= pages:
        raise Elsewhere(asked.to(page=min(max(number, 1), pages)))
    return number or 1


def address_of(asked: Asked) -> str:
    """The path, as it stands in a link."""
    return "/".join(map(address, asked.path.split("/")))


def number_of(text: str) -> int | None:
    """A number of the database, from 1; None for another text."""
    return int(text) if re.fullmatch(r"[1-9]\d{0,17}", text, re.ASCII) else None


def moment_of(text: str, instead: tuple[str, str]) -> datetime:
    """A moment of an address: 2026-08-10T12:30:00Z, without seconds, or a date. Raises Refusal for another text."""
    if re.fullmatch(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?(\.\d{1,6})?Z?)?", text, re.ASCII):
        with contextlib.suppress(ValueError):
            return datetime.fromisoformat(text.removesuffix("Z")).replace(tzinfo=UTC)
    raise Refusal(400, f"{text} is not a moment; write it like 2026-08-10T12:30:00Z.", instead)


def competition_of(catalog: Catalog, slug: str) -> Competition:
    """The competition of a slug. Raises Refusal with the nearest one."""
    known = catalog.competitions.get(slug.lower())
    if known is None:
        other = nearest_of(slug, list(catalog.competitions))
        instead = (
            ("/c/" + address(catalog.competitions[other].slug), catalog.competitions[other].title)
            if other
            else ("/", "All boards")
        )
        raise Refusal(404, f"No competition {slug} is followed here.", instead)
    return known


def event_of(catalog: Catalog, slug: str) -> Event:
    """The event of a slug. Raises Refusal with the nearest one."""
    known = catalog.events.get(slug.lower())
    if known is None:
        other = nearest_of(slug, list(catalog.events))
        instead = ("/e/" + address(other), catalog.events[other].title) if other else ("/", "All events")
        raise Refusal(404, f"No event {slug} is shown here.", instead)
    return known


def frozen(competition: Competition, query: Callable[[Connection, datetime | None], T]) -> Callable[[Connection], T]:
    """A query that is given the competition's freeze, None without one, as its own snapshot has it.

    Who sees a sync that was committed behind a freeze sees the freeze, too: nothing from behind it can be read.
    """

    def read(connection: Connection) -> T:
        with snapshot(connection):
            return query(connection, freezes(connection).get(competition.id))

    return read


async def board_of(source: Source, competition: Competition) -> Board:
    """The board that is shown now: that of the freeze, where one has come."""
    return await source.get(
        ("board", competition.id, competition.slug, competition.frozen_at(source.now())),
        frozen(
            competition, lambda connection, at: Board(boards.board(connection, competition.slug, at, None, None), at)
        ),
        frozenset([competition.id]),
    )


@dataclass(frozen=True, eq=False)
class Told:
    """A standing, and what each person earned where, by username. held: as Event.held_at."""

    standing: events.Standing
    results: Mapping[str, list[Any]]
    held: datetime | None = None


async def standing_of(source: Source, event: Event) -> Told:
    """The standing that is shown now."""

    def read(connection: Connection) -> Told:
        with snapshot(connection):
            held = held_at(connection, event.id)
            return Told(*events.standing_with_results(connection, event.slug, held), held)

    now = source.now()
    return await source.get(
        ("standing", event.id, event.slug, event.held_at(now), event.is_frozen(now)),
        read,
        frozenset(event.competition_ids),
        at_most_every=AT_MOST_EVERY,
    )


def minute_of(source: Source) -> Hashable:
    """What every page rests on: ages are told in minutes, and freezes come by the clock."""
    now = source.now()
    return (source.reach, int(now.timestamp() // 60), source.freezes_until(now))


def common(source: Source, asked: Asked, **more: Any) -> dict[str, Any]:
    """What every template is given. more: goes before it."""
    return {
        "now": source.now(),
        "reach": source.reach,
        "asked": asked,
        "layout": "embed" if asked.path.startswith("/embed/") else "page",
        "watched": None,
    } | more
