"""The screens of a room: large, and with nothing to click."""

from __future__ import annotations

import io
from typing import Any

import segno

from pgleaderboard.web.page import Page, count, lasting, people
from pgleaderboard.web.request import Asked, board_of, common, competition_of, event_of, minute_of, standing_of
from pgleaderboard.web.source import Source

_PAGES = 2  # of a board
_PEOPLE = 200


async def board(source: Source, asked: Asked, public: str | None) -> Page:
    """The first teams of a board. public: where phones find the page, None = nowhere."""
    competition = competition_of(await source.catalog(), asked.names["slug"])
    shown = await board_of(source, competition)
    now = shown.now

    def context() -> dict[str, Any]:
        facts = "no board yet"
        if now.kind and now.synced_at:
            facts = f"{now.kind} board · {count(now.teams, 'team')} · {lasting(source.now() - now.synced_at)} ago"
        rows = [entry for number in range(1, min(_PAGES, shown.pages) + 1) for entry in shown.page(number)]
        return _screen(
            source,
            asked,
            public,
            f"/c/{competition.slug}",
            title=competition.title,
            facts=facts,
            held=shown.held,
            late_since=competition.late_since,
            board=bool(rows),
            rows=rows,
            slug=competition.slug,
        )

    return Page("screen.html", (competition, shown, minute_of(source)), context)


async def event(source: Source, asked: Asked, public: str | None) -> Page:
    """The standing of an event. public: where phones find the page, None = nowhere."""
    shown = event_of(await source.catalog(), asked.names["slug"])
    told = await standing_of(source, shown)

    def context() -> dict[str, Any]:
        held = told.held or (shown.frozen_at if told.standing.event.state == "frozen" else None)
        state = "" if held else f"{told.standing.event.state} · "
        return _screen(
            source,
            asked,
            public,
            f"/e/{shown.slug}",
            title=shown.title,
            facts=f"{state}{people(len(told.standing.places))}",
            held=held,
            late_since=None,
            board=False,
            places=told.standing.places[:_PEOPLE],
        )

    return Page("screen.html", (shown, told, minute_of(source)), context)


def _screen(source: Source, asked: Asked, public: str | None, path: str, **more: Any) -> dict[str, Any]:
    code = None
    if public:
        drawn = io.BytesIO()
        segno.make(public + path, micro=False).save(
            drawn, kind="svg", xmldecl=False, svgns=True, omitsize=True, border=2, light="#fff"
        )
        code = drawn.getvalue().decode()
    return common(source, asked, layout="screen", watched=asked.to(), code=code, address=(public or "") + path, **more)
