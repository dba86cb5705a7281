"""Draws boards, standings and states of the sync as lines for a terminal, CSV, JSON or Markdown.

Pure: values in, text out. Foreign text is harmless on a screen and in JSON; CSV is data, as it came.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from pgleaderboard.archives.export import HEADER
from pgleaderboard.logs import harmless
from pgleaderboard.reading.boards import BoardNow, Entry
from pgleaderboard.reading.events import Standing
from pgleaderboard.reading.syncs import Overview, Run, Status

HEARTBEAT_LIMIT = timedelta(
    seconds=30
)  # after which a worker that was not seen counts as gone (kaggle_internal.live_workers)
_ELLIPSIS = "\u2026"
_MEDALS = {"gold": "bold yellow", "silver": "bold white", "bronze": "red"}
_STATES = {"running": "cyan", "queued": "cyan", "failing": "bold red", "off": "dim", "idle": "green"}
_measure = Console(width=80)


@dataclass(frozen=True)
class Column:
    """A column of a table.

    flexible: the least width in cells that it may be cut to, None = it is never cut.
    optional: left out for lack of room.
    """

    title: str
    right: bool = False
    flexible: int | None = None
    optional: bool = False


Cell = tuple[str, str]  # what it says, harmless, and its style


def foreign(text: str) -> str:
    """Text of somebody else for a screen, without control and direction-changing characters."""
    return text if text.isascii() and text.isprintable() else harmless(text)


def table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int | None) -> Iterator[Text]:
    """Lines of a table without rules, the header first, none wider than `width` cells."""
    kept = list(range(len(columns)))
    natural = [max([cell_len(c.title), *(cell_len(row[i][0]) for row in rows)]) for i, c in enumerate(columns)]
    least = [n if c.flexible is None else min(n, c.flexible) for n, c in zip(natural, columns, strict=True)]
    if width is not None:
        for i in reversed(range(len(columns))):
            if columns[i].optional and sum(least[k] + 2 for k in kept) - 2 > width:
                kept.remove(i)
        over = sum(natural[k] + 2 for k in kept) - 2 - width
        while over > 0 and (cut := [k for k in kept if natural[k] > least[k]]):
            widest = max(cut, key=lambda k: natural[k])
            others = [natural[k] for k in cut if natural[k] < natural[widest]]
            step = min(over, natural[widest] - max([least[widest], *others]), natural[widest] - least[widest]) or 1
            natural[widest] -= step
            over -= step
    header = [(column.title, "dim") for column in columns]
    for row in (header, *rows):
        line = Text(no_wrap=True, overflow="crop", end="\n")
        for place, k in enumerate(kept):
            text, style = row[k]
            shown = _fitted(text, natural[k], columns[k].right, last=place == len(kept) - 1)
            line.append("  " if place else "").append(shown, style or None)
        yield line


def _fitted(text: str, width: int, right: bool, *, last: bool) -> str:
    size = cell_len(text)
    if size > width:
        return set_cell_size(text, width - 1) + _ELLIPSIS
    if right:
        return " " * (width - size) + text
    return text if last else text + " " * (width - size)


def wrapped(text: str, width: int | None, style: str = "", indent: str = "") -> list[Text]:
    """A sentence on as many lines as it takes, each but the first indented."""
    line = Text(text, style=style)
    if width is None:
        return [line]
    first, *others = line.wrap(_measure, width)
    first.rstrip()
    if not others:
        return [first]
    # The first line has the whole width; what follows is wrapped to what the indent leaves.
    rest = Text(text[len(first.plain) :].lstrip(), style=style)
    parts = rest.wrap(_measure, max(10, width - len(indent)))
    for part in parts:
        part.rstrip()
    return [first, *(Text(indent) + part for part in parts)]


# --- words for moments and numbers -----------------------------------------------------------------------------------


def moment(at: datetime | None, *, seconds: bool = False) -> str:
    """A moment in UTC."""
    return "" if at is None else f"{at.astimezone(UTC):{'%Y-%m-%d %H:%M:%S' if seconds else '%Y-%m-%d %H:%M'}}"


def while_(length: timedelta) -> str:
    """A length of time in its largest unit."""
    seconds = max(0, round(length.total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size * 2 or (unit == "min" and seconds >= size):
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def number(value: Decimal | None) -> str:
    """Exact, never with an exponent."""
    return "" if value is None else format(value, "f")


# --- how the syncs stand ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StatusView:
    """How the syncs stand."""

    found: Overview

    @property
    def wake_in(self) -> float | None:
        """When something falls due, a pause ends, or a worker has not been seen for too long; a minute for the ages.

        While something is queued or runs, in a second: only ends that changed a board are notified.
        """
        if any(each.sync_state in ("queued", "running") for each in self.found.competitions):
            return 1.0
        moments = [self.found.blocked_until, *(each.next_sync_at for each in self.found.competitions)]
        moments += [worker.seen_at + HEARTBEAT_LIMIT for worker in self.found.workers]
        ahead = [(each - self.found.at).total_seconds() for each in moments if each and each > self.found.at]
        return min([*ahead, 60.0])

    def concerns(self, news: dict[str, Any]) -> bool:
        """Each change of a board that is shown, whatever is asked of a worker, and workers that come and go."""
        if news.get("type") in ("job_inserted", "status"):
            return True
        slug = str(news.get("kaggle_competition_id")).lower()
        return self.found.runs is None or slug in {str(each.slug).lower() for each in self.found.competitions}

    def draw(self, width: int | None, height: int | None) -> list[Text]:
        """Workers and Kaggle first, then a line a competition, what fails above; or one competition in full."""
        lines = [*wrapped(self._summary(), width, "bold" if self.found.workers else "bold red"), Text()]
        if self.found.runs is not None:
            return lines + self._one(self.found.competitions[0], self.found.runs, width)
        return lines + self._all(width)

    def _summary(self) -> str:
        found = self.found
        workers = len(found.workers)
        said = ["no worker is running: pgleaderboard work" if not workers else f"{workers} worker{'s' * (workers > 1)}"]
        if found.runs is None:
            count = len(found.competitions)
            said.append(f"{count} competition{'s' * (count != 1)}")
            for state in ("queued", "running", "failing"):
                there = sum(each.sync_state == state for each in found.competitions)
                if there or state != "failing":
                    said.append(f"{there} {state}")
        if found.blocked_until and found.blocked_until > found.at:
            said.append(f"Kaggle asked for a pause until {moment(found.blocked_until, seconds=True)} UTC")
        elif found.next_request_at and found.next_request_at > found.at:
            said.append(f"next request to Kaggle in {while_(found.next_request_at - found.at)}")
        else:
            said.append("Kaggle may be asked")
        return " \u00b7 ".join(said)

    def _next(self, each: Status) -> str:
        if each.sync_state in ("running", "queued"):
            return "now"
        if each.next_sync_at is None:
            return "-"
        return "now" if each.next_sync_at <= self.found.at else f"in {while_(each.next_sync_at - self.found.at)}"

    def _all(self, width: int | None) -> list[Text]:
        if not self.found.competitions:
            return wrapped("no competition is followed: pgleaderboard add titanic", width)
        columns = (
            Column("COMPETITION", flexible=16),
            Column("STATE"),
            Column("TEAMS", right=True),
            Column("LEADER", flexible=12, optional=True),
            Column("AGE", right=True),
            Column("NEXT", right=True),
        )
        shown = sorted(self.found.competitions, key=lambda each: each.sync_state != "failing")
        rows = [
            (
                (foreign(each.slug or each.title or ""), ""),
                (each.sync_state, _STATES[each.sync_state]),
                ("" if each.teams is None else str(each.teams), ""),
                (foreign(each.leader or ""), ""),
                ("never" if each.synced_at is None else while_(self.found.at - each.synced_at), ""),
                (self._next(each), ""),
            )
            for each in shown
        ]
        header, *drawn = table(columns, rows, width)
        lines = [header]
        for each, line in zip(shown, drawn, strict=True):
            lines.append(line)
            if said := _trouble(each):
                lines += wrapped(f"  {foreign(said)}", width, "red", "  ")
        return lines

    def _one(self, each: Status, runs: Sequence[Run], width: int | None) -> list[Text]:
        at = self.found.at
        told = [
            ("", f"{each.slug}{f': {foreign(each.title)}' if each.title else ''}", "bold"),
            ("state", f"{each.sync_state} ({each.status})", _STATES[each.sync_state]),
            ("board", f"{each.board}, {each.teams} teams" if each.board else "none yet", ""),
            (
                "as of",
                f"{moment(each.synced_at, seconds=True)} UTC ({while_(at - each.synced_at)} ago)"
                if each.synced_at
                else "",
                "",
            ),
            ("leader", f"{foreign(each.leader)}, {number(each.leader_score)}" if each.leader is not None else "", ""),
            (
                "next",
                f"{moment(each.next_sync_at, seconds=True)} UTC ({self._next(each)})"
                if each.next_sync_at
                else "not by itself",
                "",
            ),
            ("problem", foreign(_trouble(each) or ""), "red"),
        ]
        lines: list[Text] = []
        for label, said, style in told:
            if said:
                lines += wrapped(f"{label:<9}{said}" if label else said, width, style, " " * 9)
        if runs:
            columns = [Column(t) for t in ("BEGAN (UTC)", "TOOK", "ASKED BY", "OUTCOME")]
            rows = [
                (
                    (moment(run.started_at, seconds=True), ""),
                    (f"{(run.finished_at - run.started_at).total_seconds():.1f} s", ""),
                    (run.reason, ""),
                    (run.outcome, "red" if run.outcome == "failed" else ""),
                )
                for run in runs
            ]
            header, *drawn = table(columns, rows, width)
            lines += [Text(), header]
            for run, line in zip(runs, drawn, strict=True):
                lines.append(line)
                if said := run.error or changes(run):
                    lines += wrapped(f"  {foreign(said)}", width, "dim", "  ")
        return lines

    def json(self) -> str:
        """One document."""
        found = self.found
        document: dict[str, Any] = {
            "at": found.at,
            "workers": [_fields(each) for each in found.workers],
            "queued": sum(each.sync_state == "queued" for each in found.competitions),
            "running": sum(each.sync_state == "running" for each in found.competitions),
            "next_request_at": found.next_request_at,
            "blocked_until": found.blocked_until,
            "competitions": [_fields(each) for each in found.competitions],
        }
        if found.runs is not None:
            document["runs"] = [_fields(each) for each in found.runs]
        return as_json(document)


def _trouble(each: Status) -> str | None:
    """What is wrong, in words."""
    said = each.problem or each.last_error
    if said and each.consecutive_failures > 1:
        return f"{said} ({each.consecutive_failures} times)"
    return said


def changes(run: Run) -> str:
    """What a run changed."""
    if run.outcome == "unchanged":
        return f"{run.teams} teams"
    if run.outcome != "changed":
        return ""
    told = [
        f"{count} {what}"
        for count, what in (
            (run.added, "added"),
            (run.removed, "removed"),
            (run.updated, "updated"),
            (run.moved, "moved"),
        )
        if count
    ]
    return ", ".join([f"{run.teams} teams", *told])


# --- a board ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BoardView:
    """A board, now or at a moment."""

    found: BoardNow

    @property
    def wake_in(self) -> float | None:
        """A board changes by news only."""
        return None

    def concerns(self, news: dict[str, Any]) -> bool:
        """Its own news."""
        return news.get("competition_id") == self.found.competition_id

    def draw(self, width: int | None, height: int | None) -> list[Text]:
        """A line for what it is, then one an entry; as many as there is room for."""
        found = self.found
        if found.kind is None:
            return wrapped(
                f"{found.slug} has no board yet{f': {foreign(found.problem)}' if found.problem else ''}", width
            )
        told = (
            found.slug,
            f"{found.kind} board",
            f"{found.teams} teams",
            f"{moment(found.synced_at, seconds=True)} UTC",
        )
        lines = wrapped(" \u00b7 ".join(told), width, "bold")
        if found.since:
            lines += wrapped(f"moves since {moment(found.since)} UTC", width, "dim")
        lines.append(Text())
        shown = found.entries if height is None else found.entries[: max(0, height - len(lines) - 1)]
        columns = [
            Column("RANK", right=True),
            Column("MOVE"),
            Column("MEDAL"),
            Column("TEAM", flexible=18),
            Column("SCORE", right=True),
            Column("SUBS", right=True, optional=True),
            Column("LAST (UTC)", optional=True),
        ]
        has_people = any(each.participants for each in found.entries)
        if has_people:
            columns.insert(4, Column("PARTICIPANT", flexible=12))
        rows = [_board_row(each, found.since is not None, has_people) for each in shown]
        return [*lines, *table(columns, rows, width)]

    def csv(self) -> Iterator[str]:
        """Kaggle's own file, row by row."""
        yield HEADER
        for each in self.found.entries:
            yield _csv_line(
                str(each.rank or 0),
                str(each.team_id),
                each.team_name,
                moment(each.last_submission_at, seconds=True),
                number(each.score),
                "" if each.submission_count is None else str(each.submission_count),
                ",".join(each.member_usernames),
            )

    def json(self) -> str:
        """One document."""
        found = self.found
        return as_json(
            {
                "kaggle_competition_id": found.slug,
                "board": found.kind,
                "synced_at": found.synced_at,
                "teams": found.teams,
                "movement_since": found.since,
                "entries": [_fields(each) | {"movement": _climbed(each)} for each in found.entries],
            }
        )


def _climbed(each: Entry) -> int | None:
    return each.rank_then - each.rank if each.rank is not None and each.rank_then is not None else None


def _board_row(each: Entry, is_compared: bool, has_people: bool) -> list[Cell]:
    climbed = _climbed(each)
    move: Cell = ("", "")
    if is_compared and each.rank is not None:
        if climbed is None:
            move = ("new", "cyan")
        elif climbed:
            move = (f"\u25b2 {climbed}", "green") if climbed > 0 else (f"\u25bc {-climbed}", "red")
    name_style = "dim" if each.is_benchmark else "bold" if each.participants else ""
    row: list[Cell] = [
        ("-" if each.rank is None else str(each.rank), ""),
        move,
        ("benchmark", "dim") if each.is_benchmark else (each.medal or "", _MEDALS.get(each.medal or "", "")),
        (foreign(each.team_name), name_style),
        (number(each.score), ""),
        ("" if each.submission_count is None else str(each.submission_count), ""),
        (moment(each.last_submission_at), "dim"),
    ]
    if has_people:
        row.insert(4, (foreign("\u2605 " + ", ".join(each.participants)) if each.participants else "", "bold magenta"))
    return row


# --- a standing ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StandingView:
    """The standing of an event."""

    found: Standing

    @property
    def wake_in(self) -> float | None:
        """The end freezes it."""
        end = self.found.end_date
        return (end - self.found.at).total_seconds() if end and end > self.found.at else None

    def concerns(self, news: dict[str, Any]) -> bool:
        """News of its competitions."""
        return news.get("competition_id") in self.found.competition_ids

    def draw(self, width: int | None, height: int | None) -> list[Text]:
        """A line for what it is, then one a person; as many as there is room for."""
        found = self.found
        when = f"as of {moment(found.shown_at, seconds=True)} UTC" if found.shown_at else "live"
        count = len(found.competition_ids)
        counts = f"{count} competition{'s' * (count != 1)}"
        title = " \u00b7 ".join((foreign(found.title), found.status, when, counts))
        lines = [*wrapped(title, width, "bold"), Text()]
        shown = found.places if height is None else found.places[: max(0, height - len(lines) - 1)]
        columns = (
            Column("PLACE", right=True),
            Column("NAME", flexible=16),
            Column("POINTS", right=True),
            Column("ENTERED", right=True),
            Column("USER", flexible=10, optional=True),
            Column("LAST (UTC)", optional=True),
        )
        rows = [
            (
                (str(each.place), ""),
                (foreign(each.display_name or each.kaggle_username), "bold" if each.is_registered else ""),
                (number(each.points), ""),
                (str(each.competitions_entered), ""),
                (foreign(each.kaggle_username), "dim"),
                (moment(each.last_submission_at), "dim"),
            )
            for each in shown
        ]
        return [*lines, *table(columns, rows, width)]

    def csv(self) -> Iterator[str]:
        """Plain CSV."""
        yield "Place,KaggleUsername,DisplayName,IsRegistered,Points,CompetitionsEntered,LastSubmissionDate\n"
        for each in self.found.places:
            yield _csv_line(
                str(each.place),
                each.kaggle_username,
                each.display_name or "",
                str(each.is_registered).lower(),
                number(each.points),
                str(each.competitions_entered),
                moment(each.last_submission_at, seconds=True),
            )

    def json(self) -> str:
        """One document."""
        found = self.found
        return as_json(
            {
                "event_slug": found.slug,
                "title": found.title,
                "status": found.status,
                "at": found.shown_at or found.at,
                "is_live": found.shown_at is None,
                "standing": [_fields(each) for each in found.places],
            }
        )

    def markdown(self) -> Iterator[str]:
        """A table for a README or a chat."""
        yield "| Place | Name | Points | Competitions |\n"
        yield "| ---: | :--- | ---: | ---: |\n"
        for each in self.found.places:
            name = _markdown(each.display_name or each.kaggle_username)
            yield f"| {each.place} | {name} | {number(each.points)} | {each.competitions_entered} |\n"


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>#|~&])", r"\\\1", harmless(text))


# --- files -----------------------------------------------------------------------------------------------------------


def _csv_line(*values: str) -> str:
    """As Kaggle quotes: for a space, a comma, a quotation mark and a line's end."""
    return ",".join(f'"{v.replace(chr(34), chr(34) * 2)}"' if re.search('[ ,"\r\n]', v) else v for v in values) + "\n"


def as_json(document: dict[str, Any]) -> str:
    """Times in ISO 8601 and UTC, exact numbers as strings; ASCII, so that no name can harm a terminal."""

    def plain(value: Any) -> str:
        if isinstance(value, datetime):
            return value.astimezone(UTC).isoformat()
        if isinstance(value, Decimal):
            return number(value)
        raise TypeError(f"no JSON for {type(value).__name__}")

    return json.dumps(document, indent=2, default=plain)


def _fields(row: Any) -> dict[str, Any]:
    return {("kaggle_competition_id" if f.name == "slug" else f.name): getattr(row, f.name) for f in fields(row)}


def printed(lines: Iterable[str], *, to_terminal: bool) -> Iterator[str]:
    """Lines of a file for stdout: as they are, but harmless where a terminal would act on them."""
    for line in lines:
        yield harmless(line.removesuffix("\n")) + "\n" if to_terminal else line
