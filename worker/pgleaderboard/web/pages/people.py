"""A registered participant, over all competitions."""

from __future__ import annotations

from typing import Any

from pgleaderboard.reading import people
from pgleaderboard.reading.names import nearest_of
from pgleaderboard.reading.people import Person
from pgleaderboard.web.page import Elsewhere, Page, Refusal, address
from pgleaderboard.web.request import Asked, common, minute_of
from pgleaderboard.web.source import MANY, Source


async def person(source: Source, asked: Asked) -> Page:
    """Where somebody stands."""
    catalog = await source.catalog()
    name = asked.names["name"].removeprefix("@")[:100]
    slugs = {c.id: c.slug for c in catalog.competitions.values()}
    found = await source.get(
        ("person", name.lower(), tuple(slugs.items()), source.freezes_until(source.now())),
        lambda connection: people.person(connection, name, slugs, is_rated=not source.only),
        frozenset(slugs),
        at_most_every=1.0,
        reader=source.past,
        room=MANY,
    )
    if not isinstance(found, Person) or (source.only and not found.results):
        # Of some events nobody else's people are told of.
        other = None if source.only or isinstance(found, Person) else nearest_of(name, found)
        instead = ("/people/" + address(other), other) if other else None
        raise Refusal(404, f"Nobody called {name} is registered here.", instead)
    if asked.names["name"] != found.username:
        raise Elsewhere("/people/" + address(found.username))

    def context() -> dict[str, Any]:
        return common(
            source,
            asked,
            watched=asked.to(),
            person=found,
            competitions={c.slug: c for c in catalog.competitions.values()},
        )

    return Page("person.html", (found, tuple(catalog.competitions.values()), minute_of(source)), context)
