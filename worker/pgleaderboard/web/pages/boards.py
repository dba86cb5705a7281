"""The first page, and a board as it is now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pgleaderboard.reading.boards import BoardNow
from pgleaderboard.reading.formats import board_csv, board_json
from pgleaderboard.web.board import Board
from pgleaderboard.web.page import Elsewhere, File, Page, Refusal
from pgleaderboard.web.request import Asked, address_of, board_of, common, competition_of, minute_of, page_of
from pgleaderboard.web.source import Source

LISTED = 100  # events, and competitions, a page


async def index(source: Source, asked: Asked) -> Page:
    """Events and competitions, with their ages, 100 of each a page."""
    catalog = await source.catalog()
    pages = max(1, -(-max(len(catalog.events), len(catalog.competitions)) // LISTED))
    number = page_of(asked, pages)
    part = slice((number - 1) * LISTED, number * LISTED)
    events, competitions = list(catalog.events.values())[part], list(catalog.competitions.values())[part]

    def context() -> dict[str, Any]:
        return common(
            source,
            asked,
            events=events,
            competitions=competitions,
            has_seasons=not source.only,
            number=number,
            pages=pages,
            watched=asked.to(**({"page": number} if number > 1 else {})),
        )

    return Page("index.html", (tuple(events), tuple(competitions), pages, minute_of(source)), context)


async def board(source: Source, asked: Asked) -> Page:
    """A board, 50 teams a page."""
    catalog = await source.catalog()
    competition = competition_of(catalog, asked.names["slug"])
    shown = await board_of(source, competition)
    number, chosen = place_of(asked, shown)
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
        return common(
            source,
            asked,
            watched=here,
            competition=competition,
            events=catalog.events_of(competition),
            held=shown.held,
            board=shown,
            rows=shown.page(number),
            number=number,
            chosen=entry,
            wanted=wanted,
            found=found,
            hits=hits,
        )

    return Page("board.html", (competition, shown, minute_of(source), asked.query.get("page")), context)


def place_of(asked: Asked, shown: Board) -> tuple[int, int | None]:
    """The page that is asked for, and the team that is marked. Raises Refusal and Elsewhere."""
    rank, team = asked.whole("rank"), asked.whole("team")
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
    return page_of(asked, shown.pages), None


async def csv(source: Source, asked: Asked) -> File:
    """The whole board as Kaggle's own file."""
    return await _file(source, asked, board_csv, "text/csv; charset=utf-8")


async def json(source: Source, asked: Asked) -> File:
    """The whole board as a document."""
    return await _file(source, asked, board_json, "application/json")


async def _file(source: Source, asked: Asked, form: Callable[[BoardNow], str], media: str) -> File:
    competition = competition_of(await source.catalog(), asked.names["slug"])
    shown = await board_of(source, competition)
    if shown.now.kind is None:
        raise Refusal(404, f"{competition.slug} has no board yet.")
    return File(shown, lambda: form(shown.now), media)
