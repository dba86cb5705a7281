"""The past of a board: as it was at any moment, who moved, and the shake-up by the private board."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from pgleaderboard.database.connect import Connection
from pgleaderboard.reading import boards
from pgleaderboard.reading import past as reading
from pgleaderboard.reading.catalog import Competition
from pgleaderboard.reading.past import Timeline
from pgleaderboard.web.board import PAGE, Board
from pgleaderboard.web.page import Elsewhere, Page, Refusal, address, iso, moment
from pgleaderboard.web.pages.boards import place_of
from pgleaderboard.web.request import (
    Asked,
    board_of,
    common,
    competition_of,
    frozen,
    minute_of,
    moment_of,
    number_of,
    page_of,
)
from pgleaderboard.web.source import FEW, NONE, Source

_DAY = timedelta(days=1)
_UNITS = {"m": 60, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURING = re.compile(r"(\d{1,6}) ?(m|min|h|d|w)", re.ASCII)


async def step(source: Source, asked: Asked) -> Page:
    """No page of its own: leads to the board of a step or a moment, without either to the last one."""
    competition, told = await _timeline(source, asked)
    if text := asked.query.get("moment", "").strip():
        if number_of(text) is None:
            moment_of(text, (_past(competition), "The last board"))
        raise Elsewhere(f"{_past(competition)}/{address(text)}")
    number = asked.whole("step")
    last = len(told.runs)
    raise Elsewhere(_at(competition, told, (last if number is None else min(max(number, 1), last)) - 1))


async def board(source: Source, asked: Asked) -> Page:
    """A board as it was. Its own address ends in the run that brought it."""
    competition, told = await _timeline(source, asked)
    given = asked.names["moment"]
    run_id = number_of(given)
    place = _place(source, competition, told, given) if run_id is None else told.step_of(run_id)
    if place is None:
        instead = _nearest(told, run_id or 0)
        message = f"Run {given} did not change the board, is not shown, or is not kept."
        raise Refusal(404, message, (_at(competition, told, instead), "The nearest one"))
    if run_id is None:
        raise Elsewhere(_at(competition, told, place))
    run = told.runs[place]
    before = told.step_at(max(run.at - _DAY, told.runs[0].at))
    assert before is not None
    shown: Board = await source.get(
        # What it is compared with may be thinned out, pruned, or filled in.
        ("past", competition.id, competition.slug, run.run_id, run.at, told.runs[before]),
        lambda connection: Board(boards.board(connection, competition.slug, run.at, None, None)),
        NONE,
        reader=source.past,
        room=FEW,
    )
    number, chosen = place_of(asked, shown)

    def context() -> dict[str, Any]:
        return common(
            source,
            asked,
            competition=competition,
            past=_past(competition),
            run=run,
            step=place + 1,
            steps=len(told.runs),
            private=told.has_private,
            begin=told.runs[0].at,
            end=told.runs[-1].at,
            previous=_at(competition, told, place - 1) if place else None,
            next=_at(competition, told, place + 1) if place + 1 < len(told.runs) else None,
            board=shown,
            rows=shown.page(number),
            number=number,
            chosen=None if chosen is None else shown.entry(chosen),
        )

    return Page("past.html", (competition.title, competition.slug, told, shown, source.reach), context)


async def movers(source: Source, asked: Asked) -> Page:
    """Whose rank changed."""
    competition, told = await _timeline(source, asked)
    held = competition.frozen_at(source.now())
    given = asked.query.get("since", "").strip()[:40] or "24h"
    first: datetime = told.runs[0].at
    during = _DURING.fullmatch(given)
    since = None if during else moment_of(given, (asked.to(), "The last day"))
    if since and since > (held or source.now()):
        raise Refusal(404, f"{given} is not shown (yet).", (asked.to(), "The last day"))

    def begin(until: datetime | None) -> datetime:
        now = until or source.now()
        if during:
            return now - min(timedelta(seconds=int(during[1]) * _UNITS[during[2]]), now - first)
        return min(now, max(first, since or first))

    def movers_of(connection: Connection, until: datetime | None) -> tuple[datetime, Sequence[Any]]:
        at = begin(until)
        return at, reading.movers(connection, competition.slug, at, until)

    found = await source.get(
        ("movers", competition.id, competition.slug, given, held, first),
        frozen(competition, movers_of),
        frozenset([competition.id]),
        at_most_every=1.0,
        reader=source.past,
        room=FEW,
    )
    return _listed(
        source, asked, competition, "movers.html", found[1], since=found[0], given=given, private=told.has_private
    )


async def shakeup(source: Source, asked: Asked) -> Page:
    """From the public to the private board."""
    competition = competition_of(await source.catalog(), asked.names["slug"])
    shown = await board_of(source, competition)
    if shown.now.kind != "private":
        to_board = ("/c/" + address(competition.slug), competition.title)
        raise Refusal(404, "There is no private board yet.", to_board)
    held = competition.frozen_at(source.now())
    found = await source.get(
        ("shakeup", competition.id, competition.slug, held),
        frozen(competition, lambda connection, at: reading.shakeup(connection, competition.slug, at)),
        frozenset([competition.id]),
        reader=source.past,
    )
    return _listed(source, asked, competition, "shakeup.html", found)


def _listed(
    source: Source, asked: Asked, competition: Competition, template: str, found: Sequence[Any], **more: Any
) -> Page:
    pages = max(1, -(-len(found) // PAGE))
    asked = replace(asked, kept={name: value for name, value in asked.query.items() if name == "since"})
    number = page_of(asked, pages)

    def context() -> dict[str, Any]:
        return common(
            source,
            asked,
            watched=asked.to(**({"page": number} if number > 1 else {})),
            competition=competition,
            held=competition.frozen_at(source.now()),
            rows=found[(number - 1) * PAGE : number * PAGE],
            count=len(found),
            number=number,
            pages=pages,
            **more,
        )

    return Page(template, (competition, found, minute_of(source), number, tuple(more.values())), context)


async def _timeline(source: Source, asked: Asked) -> tuple[Competition, Timeline]:
    """A competition and the boards it showed. Raises Refusal where there is none."""
    competition = competition_of(await source.catalog(), asked.names["slug"])
    until = competition.frozen_at(source.now())
    told = await source.get(
        ("timeline", competition.id, competition.slug, until),
        frozen(competition, lambda connection, at: reading.timeline(connection, competition.slug, at)),
        frozenset([competition.id]),
        reader=source.past,
    )
    if not told.runs:
        raise Refusal(
            404,
            "There is no past to show: no board yet, or it was pruned.",
            ("/c/" + address(competition.slug), competition.title),
        )
    return competition, told


def _place(source: Source, competition: Competition, told: Timeline, given: str) -> int:
    """The step that held at a moment of an address. Raises Refusal."""
    to_last = (_at(competition, told, len(told.runs) - 1), "The last board")
    at = moment_of(given, to_last)
    now = source.now()
    held = competition.frozen_at(now)
    if at > (held or now):
        raise Refusal(404, f"{moment(at)} lies {'behind the freeze' if held and at <= now else 'ahead'}.", to_last)
    place = told.step_at(at)
    if place is None:
        first = told.runs[0].at
        instead = (_at(competition, told, 0), "The first board")
        raise Refusal(404, f"The known history begins at {iso(first)}.", instead)
    return place


def _nearest(told: Timeline, run_id: int) -> int:
    return min(range(len(told.runs)), key=lambda place: abs(told.runs[place].run_id - run_id))


def _past(competition: Competition) -> str:
    return f"/c/{address(competition.slug)}/at"


def _at(competition: Competition, told: Timeline, place: int) -> str:
    return f"{_past(competition)}/{told.runs[place].run_id}"
