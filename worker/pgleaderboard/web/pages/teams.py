"""A team: where it stands, its neighbours, and its way there; several of them in one chart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pgleaderboard.reading import boards
from pgleaderboard.reading.boards import Histories
from pgleaderboard.reading.catalog import Competition
from pgleaderboard.reading.lines import Picture, line_of
from pgleaderboard.web import chart
from pgleaderboard.web.page import Elsewhere, Page, Refusal, address, clean
from pgleaderboard.web.request import Asked, board_of, common, competition_of, frozen, minute_of, number_of
from pgleaderboard.web.source import MANY, Source

NEIGHBOURS = 5  # above and below
_CHANGES = 100  # that a table lists


async def team(source: Source, asked: Asked) -> Page:
    """A team of a board, or one that has left it."""
    competition = competition_of(await source.catalog(), asked.names["slug"])
    team_id = number_of(asked.names["team"])
    board = await board_of(source, competition)
    told = await _histories(source, competition, [team_id]) if team_id and board.now.kind else None
    entry = None if team_id is None else board.entry(team_id)
    if told is None or not (told.lines[0][1] or entry):
        to_board = ("/c/" + address(competition.slug), competition.title)
        raise Refusal(404, f"Team {asked.names['team']} was never on this board.", to_board)
    name, steps = told.lines[0]

    def context() -> dict[str, Any]:
        last = next((step for step in reversed(steps) if step.rank is not None), None)
        first = [other.team_id for other in board.page(1) if other.rank and other.team_id != team_id][: chart.LINES - 1]
        return common(
            source,
            asked,
            watched=asked.to(),
            competition=competition,
            held=board.held,
            board=board,
            team_id=team_id,
            name=entry.team_name if entry else name,
            entry=entry,
            gone=steps[-1].at if entry is None and steps[-1].rank is None else None,
            last=last,
            best=min((step.rank for step in steps if step.rank is not None), default=None),
            around=board.around(entry, NEIGHBOURS) if entry else (),
            compared=",".join(map(str, [team_id, *first])),
            pictures=[
                picture for by_score in (False, True) if (picture := _picture(told, by_score=by_score, what=name))
            ],
            changes=_changes(told),
            changed=_changed(told),
        )

    return Page("team.html", (competition, board, told, minute_of(source)), context)


async def chart_of(source: Source, asked: Asked) -> Page:
    """Ranks or scores of several teams."""
    competition = competition_of(await source.catalog(), asked.names["slug"])
    board = await board_of(source, competition)
    if board.now.kind is None:
        raise Refusal(404, "There is no board yet.", ("/c/" + address(competition.slug), competition.title))
    of = asked.query.get("of", "rank")
    if of not in ("rank", "score"):
        raise Refusal(400, "of must be rank or score.", (asked.to(), "The ranks"))
    team_ids = teams_of(asked) or [entry.team_id for entry in board.page(1) if entry.rank][: chart.LINES]
    if added := asked.query.get("add", "").strip()[:255]:
        found, _ = board.named(added)
        if not found:
            raise Refusal(404, f"No team with {added} is on this board.", (_query(asked, team_ids, of), "The chart"))
        raise Elsewhere(_query(asked, list(dict.fromkeys([found[0].team_id, *team_ids]))[: chart.LINES], of))
    told = await _histories(source, competition, team_ids)
    absent = [team_id for team_id, (_, steps) in zip(team_ids, told.lines, strict=True) if not steps]
    if absent == team_ids and "teams" not in asked.query:
        to_board = ("/c/" + address(competition.slug), competition.title)
        raise Refusal(404, "There is no past to show: it was pruned.", to_board)
    if absent and board.ranked:
        present = [team_id for team_id in team_ids if team_id not in absent]
        message = f"Team {absent[0]} was never on this board."
        raise Refusal(404, message, (_query(asked, present, of), "The others" if present else "The first ten"))

    def context() -> dict[str, Any]:
        picture = _picture(told, by_score=of == "score", what=f"the teams of {competition.title}")
        return common(
            source,
            asked,
            watched=_query(asked, team_ids if "teams" in asked.query else [], of),
            competition=competition,
            held=board.held,
            board=board,
            of=of,
            ranks=_query(asked, team_ids, "rank"),
            scores=_query(asked, team_ids, "score"),
            chosen=team_ids,
            legend=[
                (team_id, name, board.entry(team_id), _query(asked, [t for t in team_ids if t != team_id], of))
                for team_id, (name, _) in zip(team_ids, told.lines, strict=True)
            ],
            picture=picture,
            changes=_changes(told),
            changed=_changed(told),
        )

    return Page("chart.html", (competition, board, told, minute_of(source), "teams" in asked.query), context)


async def rows(source: Source, asked: Asked) -> Page:
    """Teams of a board for a list of pinned ones: a fragment, not a document."""
    competition = competition_of(await source.catalog(), asked.names["slug"])
    board = await board_of(source, competition)
    team_ids = teams_of(asked)
    return Page(
        "rows.html",
        (competition.slug, board, tuple(team_ids)),
        lambda: common(
            source,
            asked,
            slug=competition.slug,
            entries=[entry for team_id in team_ids if (entry := board.entry(team_id))],
            ranked=board.ranked,
        ),
    )


def teams_of(asked: Asked) -> list[int]:
    """The teams of the query. Raises Refusal for too many, and for what is no number."""
    given = [text for text in asked.query.get("teams", "").split(",") if text.strip()]
    team_ids = [number_of(text.strip()) for text in given]
    if None in team_ids:
        raise Refusal(400, "teams must be numbers of teams, with commas between.", (asked.to(), "Without them"))
    if len(given) > chart.LINES:
        shorter = asked.to(teams=",".join(text.strip() for text in given[: chart.LINES]))
        raise Refusal(400, f"No more than {chart.LINES} teams.", (shorter, f"The first {chart.LINES}"))
    return list(dict.fromkeys(team_id for team_id in team_ids if team_id is not None))


def _query(asked: Asked, team_ids: Sequence[int], of: str) -> str:
    query = {"teams": ",".join(map(str, team_ids))} if team_ids else {}
    return asked.to(**query, **({"of": of} if of != "rank" else {}))


async def _histories(source: Source, competition: Competition, team_ids: Sequence[int]) -> Histories:
    at = competition.frozen_at(source.now())
    return await source.get(
        ("histories", competition.id, competition.slug, at, tuple(team_ids)),
        frozen(competition, lambda connection, at: boards.histories(connection, competition.slug, team_ids, at)),
        frozenset([competition.id]),
        reader=source.past,
        room=MANY,
    )


def _picture(told: Histories, *, by_score: bool, what: str) -> dict[str, Any] | None:
    lines = [line_of(clean(name), steps, told.until, by_score=by_score) for name, steps in told.lines]
    numbers = [number for number, line in enumerate(lines) if line]
    if not numbers:
        return None
    title = f"{'Scores' if by_score else 'Ranks'} of {clean(what)} through time"
    picture = Picture(title, [line for line in lines if line], by_score, by_score and told.is_higher_better)
    return {
        "title": title,
        "by_score": by_score,
        "svg": chart.drawn(picture, numbers),
        "note": picture.note() if by_score else "",
    }


def _changes(told: Histories) -> list[Any]:
    """The last changes of all teams, the newest first."""
    steps = [step for _, own in told.lines for step in own]
    return sorted(steps, key=lambda step: step.at, reverse=True)[:_CHANGES]


def _changed(told: Histories) -> int:
    return sum(len(own) for _, own in told.lines)
