"""The pages: which values an address asks for, and what its template is given.

Nothing newer than a freeze leaves this module: boards and standings are asked for through `_board` and `_standing`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pgleaderboard.reading import boards, events
from pgleaderboard.reading.catalog import Catalog, Competition, Event
from pgleaderboard.reading.names import nearest_of
from pgleaderboard.web.board import Board
from pgleaderboard.web.page import Elsewhere, Page, Refusal, address
from pgleaderboard.web.source import AT_MOST_EVERY, Source

PEOPLE = 50  # of a standing on a page


@dataclass(frozen=True)
class Asked:
    """What a request asks for. path: as in the address line, decoded. names: the variable parts of the path."""

    path: str
    names: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)

    def whole(self, name: str) -> int | None:
        """A number of the query. Raises Refusal where it is none."""
        text = self.query.get(name, "").strip()
        if not text:
            return None
        try:
            return int(text)
        except ValueError:
            raise Refusal(400, f"{name} must be a whole number.", (address_of(self), "Without it")) from None

    def to(self, **query: Any) -> str:
        """The same address with another query."""
        return address_of(self) + (
            "?" + "&".join(f"{name}={address(value)}" for name, value in query.items()) if query else ""
        )


def address_of(asked: Asked) -> str:
    """The path, as it stands in a link."""
    return "/".join(map(address, asked.path.split("/")))


def _competition(catalog: Catalog, slug: str) -> Competition:
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


def _event(catalog: Catalog, slug: str) -> Event:
    known = catalog.events.get(slug.lower())
    if known is None:
        other = nearest_of(slug, list(catalog.events))
        instead = ("/e/" + address(other), catalog.events[other].title) if other else ("/", "All events")
        raise Refusal(404, f"No event {slug} is shown here.", instead)
    return known


async def _board(source: Source, competition: Competition) -> Board:
    at = competition.frozen_at(source.now())
    return await source.get(
        ("board", competition.id, competition.slug, at),
        lambda connection: Board(boards.board(connection, competition.slug, at, None, None)),
        frozenset([competition.id]),
    )


@dataclass(frozen=True, eq=False)
class Told:
    """A standing, and what each person earned where, by username."""

    standing: events.Standing
    results: Mapping[str, list[Any]]


async def _standing(source: Source, event: Event) -> Told:
    held = event.held_at(source.now())
    return await source.get(
        ("standing", event.id, event.slug, held, event.is_frozen(source.now())),
        lambda connection: Told(*events.standing_with_results(connection, event.slug, held)),
        frozenset(event.competition_ids),
        at_most_every=AT_MOST_EVERY,
    )


def _minute(source: Source) -> Hashable:
    """What every page rests on: ages are told in minutes."""
    return (source.away_since, int(source.now().timestamp() // 60))


def _common(source: Source, asked: Asked, **more: Any) -> dict[str, Any]:
    return {
        "now": source.now(),
        "away_since": source.away_since,
        "asked": asked,
        "layout": "page",
        "watched": None,
    } | more


async def index(source: Source, asked: Asked) -> Page:
    """Events and competitions, with their ages."""
    catalog = await source.catalog()
    return Page("index.html", (catalog, _minute(source)), lambda: _common(source, asked, catalog=catalog, watched="/"))


async def board(source: Source, asked: Asked) -> Page:
    """A board, 50 teams a page."""
    catalog = await source.catalog()
    competition = _competition(catalog, asked.names["slug"])
    shown = await _board(source, competition)
    number, chosen = _place(asked, shown)
    wanted = asked.query.get("q", "").strip()[:255]
    here = asked.to(
        **{
            name: value
            for name, value in (("page", number if number > 1 else None), ("team", chosen), ("q", wanted))
            if value
        }
    )

    def context() -> dict[str, Any]:
        found, hits = shown.named(wanted) if wanted else ((), 0)
        entry = None if chosen is None else shown.entry(chosen)
        return _common(
            source,
            asked,
            watched=here,
            competition=competition,
            events=[event for event in catalog.events.values() if competition.id in event.competition_ids],
            held=competition.frozen_at(source.now()),
            board=shown,
            rows=shown.page(number),
            number=number,
            chosen=entry,
            wanted=wanted,
            found=found,
            hits=hits,
        )

    return Page("board.html", (competition, shown, _minute(source), asked.query.get("page")), context)


def _place(asked: Asked, shown: Board) -> tuple[int, int | None]:
    """The page that is asked for, and the team that is marked. Raises Refusal and Elsewhere."""
    number, rank, team = asked.whole("page"), asked.whole("rank"), asked.whole("team")
    if team is not None:
        entry = shown.entry(team)
        if entry is None:
            raise Refusal(404, f"Team {team} is not on this board.", (address_of(asked), "The whole board"))
        return shown.page_of(entry), team
    if rank is not None:
        right = min(max(rank, 1), max(shown.ranked, 1))
        if right != rank or not shown.ranked:
            raise Elsewhere(asked.to(rank=right) if shown.ranked else asked.to())
        entry = next(entry for entry in shown.page((rank - 1) // 50 + 1) if entry.rank == rank)
        return shown.page_of(entry), entry.team_id
    if number is not None and not 1 <= number <= shown.pages:
        raise Elsewhere(asked.to(page=min(max(number, 1), shown.pages)))
    return number or 1, None
