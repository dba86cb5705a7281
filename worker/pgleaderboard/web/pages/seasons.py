"""The standing of a season, and the ratings: all registered people over all completed competitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from pgleaderboard.reading import seasons
from pgleaderboard.reading.formats import ratings_csv, ratings_json, season_csv, season_json
from pgleaderboard.reading.seasons import Ratings, Season
from pgleaderboard.web.page import File, Page, Refusal
from pgleaderboard.web.request import Asked, common, minute_of, moment_of, page_of
from pgleaderboard.web.source import ALL, FEW, Source

PEOPLE = 50  # on a page
_CSV, _JSON = "text/csv; charset=utf-8", "application/json"
_BEST = (3, 5, 10)  # that are offered
_YEARS = (1970, 9998)


async def season(source: Source, asked: Asked) -> Page:
    """Who earned most in a year, or in another span."""
    found = await _season(source, asked)
    number = found.since.year if found.name.isdecimal() else None
    around = [year for year in (number - 1, number + 1) if _YEARS[0] <= year <= source.now().year] if number else []
    return _listed(source, asked, "season.html", found, ("year", "since", "until", "best"), years=around, offered=_BEST)


async def season_as_csv(source: Source, asked: Asked) -> File:
    """The whole standing, a line for each person."""
    found = await _season(source, asked)
    return File(found, lambda: season_csv(found), _CSV)


async def season_as_json(source: Source, asked: Asked) -> File:
    """The whole standing as a document."""
    found = await _season(source, asked)
    return File(found, lambda: season_json(found), _JSON)


async def ratings(source: Source, asked: Asked) -> Page:
    """How strong everybody is."""
    return _listed(source, asked, "ratings.html", await _ratings(source), ())


async def ratings_as_csv(source: Source, asked: Asked) -> File:
    """All ratings, a line for each person."""
    found = await _ratings(source)
    return File(found, lambda: ratings_csv(found), _CSV)


async def ratings_as_json(source: Source, asked: Asked) -> File:
    """All ratings as a document."""
    found = await _ratings(source)
    return File(found, lambda: ratings_json(found), _JSON)


async def _season(source: Source, asked: Asked) -> Season:
    await _are_shown(source)
    since, until = _span(asked, source.now())
    best = asked.whole("best")
    if best is not None and not 0 < best < 2**31:
        raise Refusal(400, "best must be at least 1.", ("/season", "The season"))
    return await source.get(
        ("season", since, until, best, source.freezes_until(source.now())),
        lambda connection: seasons.season(connection, since, until, best, top=None, is_page=True),
        ALL,
        at_most_every=1.0,
        reader=source.past,
        room=FEW,
    )


async def _ratings(source: Source) -> Ratings:
    await _are_shown(source)
    return await source.get(
        ("ratings", source.freezes_until(source.now())),
        lambda connection: seasons.ratings(connection, None, k=32, start=1500, top=None, is_page=True),
        ALL,
        at_most_every=1.0,
        reader=source.past,
        room=FEW,
    )


async def _are_shown(source: Source) -> None:
    await source.catalog()
    if source.only:  # of some events nothing else is told
        raise Refusal(
            404, "This page shows some events only; seasons and ratings rest on all competitions.", ("/", "All")
        )


def _span(asked: Asked, now: datetime) -> tuple[datetime, datetime]:
    instead = ("/season", "The season")
    number = asked.whole("year")
    since, until = (
        moment_of(text, instead) if (text := asked.query.get(name, "").strip()) else None for name in ("since", "until")
    )
    if number is not None and not _YEARS[0] <= number <= _YEARS[1]:
        raise Refusal(404, f"There is no season {number}.", instead)
    begin, end = seasons.year(number or (since or now).year)
    begin, end = since or begin, until or end
    if begin >= end:
        raise Refusal(400, "The season ends before it begins.", instead)
    return begin, end


def _listed(
    source: Source, asked: Asked, template: str, found: Season | Ratings, kept: Sequence[str], **more: Any
) -> Page:
    pages = max(1, -(-len(found.places) // PEOPLE))
    asked = replace(asked, kept={name: value for name, value in asked.query.items() if name in kept})
    number = page_of(asked, pages)

    def context() -> dict[str, Any]:
        return common(
            source,
            asked,
            watched=asked.to(**({"page": number} if number > 1 else {})),
            found=found,
            rows=found.places[(number - 1) * PEOPLE : number * PEOPLE],
            number=number,
            pages=pages,
            **more,
        )

    return Page(template, (found, minute_of(source), number, tuple(more.values())), context)
