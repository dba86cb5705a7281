"""The standing of an event: now, in the past, and while it is revealed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from pgleaderboard.reading import events
from pgleaderboard.reading.catalog import Event
from pgleaderboard.reading.events import Standing
from pgleaderboard.reading.formats import standing_csv, standing_json
from pgleaderboard.reading.reveal import Reveal
from pgleaderboard.reading.reveal import reveal as reveal_of
from pgleaderboard.web.page import Elsewhere, File, Page, Refusal, address
from pgleaderboard.web.request import (
    Asked,
    Told,
    address_of,
    common,
    event_of,
    minute_of,
    moment_of,
    page_of,
    standing_of,
)
from pgleaderboard.web.reveals import Reveals
from pgleaderboard.web.source import AT_MOST_EVERY, FEW, NONE, Source

PEOPLE = 50  # on a page


async def event(source: Source, asked: Asked) -> Page:
    """The standing, as it is shown now."""
    catalog = await source.catalog()
    shown = event_of(catalog, asked.names["slug"])
    return _standing(source, asked, shown, await standing_of(source, shown), catalog, None)


async def event_at(source: Source, asked: Asked) -> Page:
    """The standing as it was known at a moment."""
    catalog = await source.catalog()
    shown = event_of(catalog, asked.names["slug"])
    now = source.now()
    at = moment_of(asked.names["moment"], ("/e/" + address(shown.slug), shown.title))
    until = min([now, *(freeze for freeze in shown.freezes if freeze <= now)])
    if at > until:
        raise Refusal(404, "That moment is not shown (yet).", ("/e/" + address(shown.slug), shown.title))
    told = await source.get(
        ("standing at", shown.id, shown.slug, at),
        lambda connection: Told(*events.standing_with_results(connection, shown.slug, at)),
        NONE,
        reader=source.past,
        room=FEW,
    )
    return _standing(source, asked, shown, told, catalog, at)


async def csv(source: Source, asked: Asked) -> File:
    """The whole standing, a line for each person."""
    return await _file(source, asked, standing_csv, "text/csv; charset=utf-8")


async def json(source: Source, asked: Asked) -> File:
    """The whole standing as a document."""
    return await _file(source, asked, standing_json, "application/json")


async def _file(source: Source, asked: Asked, form: Callable[[Standing], str], media: str) -> File:
    told = await standing_of(source, event_of(await source.catalog(), asked.names["slug"]))
    return File(told, lambda: form(told.standing), media)


def _standing(source: Source, asked: Asked, shown: Event, told: Told, catalog: Any, at: datetime | None) -> Page:
    places = told.standing.places
    wanted = asked.query.get("q", "").strip()[:255]
    person = asked.query.get("person")
    chosen = None
    if person is not None:
        chosen = next((place for place in places if place.kaggle_username.lower() == person.lower()), None)
        if chosen is None:
            raise Refusal(404, f"{person} is not ranked here.", (address_of(asked), "The whole standing"))
    pages = max(1, -(-len(places) // PEOPLE))
    number = page_of(asked, pages) if chosen is None else places.index(chosen) // PEOPLE + 1
    here = asked.to(
        **{
            name: value
            for name, value in (("page", number if number > 1 else None), ("person", person), ("q", wanted))
            if value
        }
    )
    competitions = catalog.competitions_of(shown)

    def context() -> dict[str, Any]:
        found = [place for place in places if wanted and wanted.casefold().removeprefix("@") in _names(place)]
        return common(
            source,
            asked,
            watched=None if at else here,
            event=shown,
            competitions=competitions,
            held=told.held,
            at=at,
            standing=told.standing.event,
            places=places[(number - 1) * PEOPLE : number * PEOPLE],
            people=len(places),
            results=told.results,
            slugs=catalog.competitions,
            number=number,
            pages=pages,
            chosen=chosen,
            wanted=wanted,
            found=found[:20],
            hits=len(found),
        )

    return Page("event.html", (shown, told, tuple(competitions), minute_of(source), asked.query.get("page")), context)


def _names(place: Any) -> str:
    return f"{place.kaggle_username}\n{place.display_name or ''}".casefold()


async def reveal(source: Source, asked: Asked, reveals: Reveals) -> Page:
    """A frozen standing as far as it is revealed; with the presenter's key, the buttons of the next step."""
    shown, told = await revealed(source, asked)
    assert shown.frozen_at is not None
    key = asked.query.get("key")
    if key is not None and not reveals.is_key(key):
        raise Refusal(404, "That is not the presenter's key.", ("/e/" + address(shown.slug) + "/reveal", "The reveal"))
    so_far = tuple(reveals.of(shown.id, shown.frozen_at))

    def context() -> dict[str, Any]:
        places = told.after(so_far)
        last = so_far[-1] if so_far else None
        return common(
            source,
            asked,
            watched=asked.to(**({"key": key} if key else {})),
            event=shown,
            key=key,
            position=len(so_far),
            steps=len(so_far) + len(told.left(so_far)),
            places=places,
            last=last,
            current=next((place for place in places if place.kaggle_username.lower() == last), None),
        )

    return Page("reveal.html", (shown, told, so_far, minute_of(source)), context)


async def revealed(source: Source, asked: Asked) -> tuple[Event, Reveal]:
    """The event, and its two standings. Raises Refusal where there is nothing to reveal, Elsewhere once all is open."""
    shown = event_of(await source.catalog(), asked.names["slug"])
    now = source.now()
    if not shown.is_frozen(now):
        raise Elsewhere("/e/" + address(shown.slug))
    if sum(freeze <= now for freeze in shown.freezes) > 1:
        raise Refusal(404, "Another event that shares competitions is frozen, too: nothing can be revealed.")
    told = await source.get(
        ("reveal", shown.id, shown.slug, shown.frozen_at),
        lambda connection: reveal_of(connection, shown.slug),
        frozenset(shown.competition_ids),
        at_most_every=AT_MOST_EVERY,
    )
    return shown, told
