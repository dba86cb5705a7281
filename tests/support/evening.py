"""An event of people in two competitions, for the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from zlib import crc32

from tests.support.aliases import Connection
from tests.support.boards import Entry, zip_of
from tests.support.syncs import Syncs


def ranked(*names: str) -> list[Entry]:
    """Teams by name, best first, each with the same number wherever it stands and a member of its name."""
    return [
        Entry(crc32(name.encode()), name, Decimal(90 - place) / 100, members=(name.lower(),))
        for place, name in enumerate(names)
    ]


class Evening:
    """An event `night` with the competitions `first` and `second`; whoever is on a board takes part."""

    def __init__(self, db: Connection, compete: Callable[..., Syncs]) -> None:
        self.db = db
        self.first, self.second = compete("first"), compete("second")
        db.execute("INSERT INTO kaggle.events (slug, title) VALUES ('night', 'Neural Night')")
        db.execute(
            "INSERT INTO kaggle.event_competitions (event_id, competition_id) "
            "SELECT e.id, c.id FROM kaggle.events e, kaggle.competitions c"
        )

    def sync(self, first: Sequence[str], second: Sequence[str] = ()) -> None:
        """Both boards, by the names of their teams."""
        self.first.sync(zip_of(ranked(*first)))
        if second:
            self.second.sync(zip_of(ranked(*second)))

    def freeze(self) -> None:
        """Freeze the standing now."""
        self.db.execute("UPDATE kaggle.events SET frozen_at = clock_timestamp() WHERE slug = 'night'")

    def unfreeze(self) -> None:
        """Lift the freeze."""
        self.db.execute("UPDATE kaggle.events SET frozen_at = NULL WHERE slug = 'night'")

    def standing(self) -> list[str]:
        """The names of the unfrozen standing, in order."""
        return [
            name
            for (name,) in self.db.execute("SELECT kaggle_username FROM kaggle.unfrozen_standings('night')").fetchall()
        ]
