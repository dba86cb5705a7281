"""Draws the state of the syncs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from rich.text import Text

from pgleaderboard.reading.formats import as_json, number
from pgleaderboard.reading.standby import Standby, facts
from pgleaderboard.reading.syncs import Overview
from pgleaderboard.screens.table import (
    Column,
    counted,
    duration,
    fitting,
    foreign,
    moment,
    moment_here,
    table,
    wrapped,
)

HEARTBEAT_LIMIT = timedelta(seconds=30)  # a worker without a heartbeat for as long is gone, see kaggle.workers
_STYLES = {"running": "cyan", "queued": "cyan", "failing": "bold red", "off": "dim", "idle": "green"}


@dataclass(frozen=True)
class StatusView:
    """The state of all competitions, or of one with its last runs."""

    overview: Overview

    @property
    def wake_in(self) -> float | None:
        """Until a sync falls due, a pause ends or a worker's heartbeat is too old; a minute at most, for the ages.

        A second while a sync is queued or running: its beginning is not notified.
        """
        overview = self.overview
        if any(row.sync_state in ("queued", "running") for row in overview.competitions):
            return 1.0
        moments: list[datetime | None] = [overview.blocked_until, *(row.next_sync_at for row in overview.competitions)]
        moments += [worker.seen_at + HEARTBEAT_LIMIT for worker in overview.workers]
        return min([60.0, *((at - overview.at).total_seconds() for at in moments if at and at > overview.at)])

    def concerns(self, news: dict[str, Any]) -> bool:
        """A change of a board on the screen, every new job, and every worker that starts or stops."""
        if news.get("type") in ("job_inserted", "status"):
            return True
        slug = str(news.get("kaggle_competition_id")).lower()
        return self.overview.runs is None or slug == str(self.overview.competitions[0].kaggle_competition_id).lower()

    def draw(self, width: int | None, height: int | None) -> list[Text]:
        """Workers and Kaggle, then a line for each competition, the failing ones first; or one competition in full."""
        lines = wrapped(self._summary(), width, "bold red" if self._misses_a_worker else "bold")
        if self.overview.standby:
            lines += wrapped(self._of_standby(self.overview.standby), width, "yellow")
        for worker in self.overview.workers:
            if worker.problem:
                lines += wrapped(f"worker {worker.worker_id}: {worker.problem}", width, "yellow")
        lines.append(Text())
        if self.overview.runs is not None:
            row = self.overview.competitions[0]
            return [*lines, *self._competition(row, width), *_runs(self.overview.runs, width)]
        rows = self._competitions(width)
        shown, rest = fitting(rows, height, len(lines) - 1, width, "pgleaderboard status", "line")
        return [*lines, *shown, *rest]

    @property
    def _misses_a_worker(self) -> bool:
        """`work --once` needs none in between: only where something is late."""
        return not self.overview.workers and any(row.is_late for row in self.overview.competitions)

    def _summary(self) -> str:
        overview = self.overview
        workers = counted(len(overview.workers), "worker")
        parts = ["no worker is running: pgleaderboard work" if self._misses_a_worker else workers]
        if overview.runs is None:
            parts.append(counted(len(overview.competitions), "competition"))
            for state in ("queued", "running", "failing"):
                count = sum(row.sync_state == state for row in overview.competitions)
                if count or state != "failing":
                    parts.append(f"{count} {state}")
        if overview.blocked_until and overview.blocked_until > overview.at:
            parts.append(f"Kaggle asked for a pause until {moment_here(overview.blocked_until)}")
        elif overview.next_request_at and overview.next_request_at > overview.at:
            parts.append(f"next request to Kaggle in {duration(overview.next_request_at - overview.at)}")
        else:
            parts.append("Kaggle: ready")
        if overview.source == "simulator":
            parts.append("SIMULATED boards")
        return " \u00b7 ".join(parts)

    def _of_standby(self, standby: Standby) -> str:
        read = f"read from the standby {standby.address}"
        if standby.last_at is None:
            return read
        ago = duration(max(timedelta(0), self.overview.at - standby.last_at))
        return f"{read}: its last change is of {moment_here(standby.last_at)} ({ago} ago)"

    def _next(self, row: Any) -> str:
        if row.sync_state in ("running", "queued"):
            return "now"
        if row.next_sync_at is None:
            return "-"
        return "now" if row.next_sync_at <= self.overview.at else f"in {duration(row.next_sync_at - self.overview.at)}"

    def _competitions(self, width: int | None) -> list[Text]:
        if not self.overview.competitions:
            return wrapped("no competition is followed: pgleaderboard add titanic", width)
        at = self.overview.at
        columns = (
            Column("COMPETITION", lambda c: foreign(c.kaggle_competition_id or c.title or ""), flexible=16),
            Column("STATE", lambda c: (c.sync_state, _STYLES[c.sync_state])),
            Column("TEAMS", lambda c: number(c.teams), right=True),
            Column("LEADER", lambda c: foreign(c.leader or ""), flexible=12, optional=True),
            Column("AGE", lambda c: "never" if c.synced_at is None else duration(at - c.synced_at), right=True),
            Column("NEXT", self._next, right=True),
        )
        failing_first = sorted(self.overview.competitions, key=lambda row: row.sync_state != "failing")
        return _with_remarks(columns, failing_first, _problem, "red", width)

    def _competition(self, row: Any, width: int | None) -> list[Text]:
        slug, follows = row.kaggle_competition_id, self._next(row)
        if follows == "-":
            follows = f"only on request ({'paused' if row.sync_state == 'off' else row.status})"
        elif row.next_sync_at:
            follows = f"{moment_here(row.next_sync_at)} ({follows})"
        age = row.synced_at and duration(self.overview.at - row.synced_at)
        labelled = (
            ("", f"{slug}: {foreign(row.title)}" if row.title else slug, "bold"),
            ("state", f"{row.sync_state} ({row.status})", _STYLES[row.sync_state]),
            ("board", f"{row.board}, {counted(row.teams, 'team')}" if row.board else "none yet", ""),
            ("as of", row.synced_at and f"{moment_here(row.synced_at)} ({age} ago)", ""),
            ("leader", f"{foreign(row.leader)}, {number(row.leader_score)}" if row.leader is not None else "", ""),
            ("next", follows, ""),
            ("problem", foreign(_problem(row)), "red"),
        )
        return [
            line
            for label, text, style in labelled
            if text
            for line in wrapped(text, width, style, f"{label:<9}" if label else "")
        ]

    def json(self) -> str:
        """One document."""
        overview = self.overview
        rows = {"workers": overview.workers, "competitions": overview.competitions, "runs": overview.runs}
        return as_json(
            at=overview.at,
            queued=sum(row.sync_state == "queued" for row in overview.competitions),
            running=sum(row.sync_state == "running" for row in overview.competitions),
            next_request_at=overview.next_request_at,
            blocked_until=overview.blocked_until,
            source=overview.source,
            standby=facts(overview.standby),
            **{name: [row._asdict() for row in listed] for name, listed in rows.items() if listed is not None},
        )


def _runs(runs: Sequence[Any], width: int | None) -> list[Text]:
    if not runs:
        return []
    columns = (
        Column("BEGAN (UTC)", lambda r: moment(r.started_at, seconds=True)),
        Column("TOOK", lambda r: f"{(r.finished_at - r.started_at).total_seconds():.1f} s"),
        Column("ASKED BY", lambda r: r.reason),
        Column("OUTCOME", lambda r: (r.outcome, "red" if r.outcome == "failed" else "")),
    )
    return [Text(), *_with_remarks(columns, runs, result, "dim", width)]


def _with_remarks(
    columns: Sequence[Column], rows: Sequence[Any], remark: Callable[[Any], str], style: str, width: int | None
) -> list[Text]:
    """A table whose rows are followed by a remark, where there is one."""
    lines = table(columns, rows, width)
    drawn = [next(lines)]
    for row, line in zip(rows, lines, strict=True):
        drawn += [line, *(wrapped(foreign(remark(row)), width, style, "  ") if remark(row) else ())]
    return drawn


def _problem(row: Any) -> str:
    problem = row.problem or row.last_error or ""
    has_failed_again = problem == row.last_error and row.consecutive_failures > 1
    return f"{problem} ({row.consecutive_failures} times)" if has_failed_again else problem


def result(run: Any) -> str:
    """The error of a run, or what it changed; empty for a run that was skipped."""
    if run.error or run.outcome not in ("changed", "unchanged"):
        return run.error or ""
    counts = {"added": run.added, "removed": run.removed, "updated": run.updated, "moved": run.moved}
    changes = [f"{count:,} {what}" for what, count in counts.items() if count and run.outcome == "changed"]
    return ", ".join([counted(run.teams, "team"), *changes])
