"""The reveal of a frozen standing, one person a step, from the last place upwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pgleaderboard.database.connect import Connection, rows
from pgleaderboard.reading.asking import snapshot
from pgleaderboard.reading.events import standing

_LATEST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Place:
    """A person in a standing that is partly revealed; the names are those of kaggle.event_standings."""

    place: int
    kaggle_username: str
    display_name: str | None
    points: Any
    competitions_entered: int
    is_revealed: bool


@dataclass(frozen=True)
class Reveal:
    """Two standings, rows of kaggle.event_standings: as of the freeze, and as it is behind it."""

    frozen: Sequence[Any]
    unfrozen: Sequence[Any]

    def left(self, revealed: Sequence[str]) -> Sequence[str]:
        """Whom the steps to come reveal, in lower case: those who came after the freeze, then from the last upwards.

        revealed: those who were, in lower case. A sync during the reveal may bring more.
        """
        known = {_who(row) for row in self.frozen}
        late = [_who(row) for row in self.unfrozen if _who(row) not in known]
        return [who for who in (*reversed(late), *map(_who, reversed(self.frozen))) if who not in revealed]

    def after(self, revealed: Sequence[str]) -> list[Place]:
        """The standing in which these were revealed: they with their final points, the others as frozen.

        Places are counted as in kaggle.event_standings. With nobody left it is the unfrozen standing.
        """
        rows = [row for row in self.frozen if _who(row) not in revealed]
        rows += [row for row in self.unfrozen if _who(row) in revealed]
        rows.sort(key=lambda row: (*_order(row), _who(row)))
        places: list[Place] = []
        for number, row in enumerate(rows, 1):
            is_equal = number > 1 and _order(row) == _order(rows[number - 2])
            places.append(
                Place(
                    places[-1].place if is_equal else number,
                    row.kaggle_username,
                    row.display_name,
                    row.points,
                    row.competitions_entered,
                    _who(row) in revealed,
                )
            )
        return places


def _who(row: Any) -> str:
    name: str = row.kaggle_username.lower()
    return name


def _order(row: Any) -> tuple[Any, ...]:
    return (-row.points, -row.competitions_entered, row.last_submission_at or _LATEST)


def reveal(connection: Connection, event: str) -> Reveal:
    """The two standings of a frozen event. Raises NeedsPerson for an unknown one, or a pruned one."""
    with snapshot(connection):
        frozen = standing(connection, event, None, None)
        unfrozen = rows(
            connection,
            "SELECT place, kaggle_username, display_name, is_registered, points, competitions_entered, "
            "last_submission_at FROM kaggle.unfrozen_standings(%s)",
            frozen.event.slug,
        )
    return Reveal(frozen.places, unfrozen)
