"""What the page knows of all competitions: after a sync it reads that one alone, and knows as much."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pgleaderboard.reading.catalog import Catalog, catalog
from pgleaderboard.sync.retry import Decision
from pgleaderboard.web.source import Source
from tests.support.aliases import Connection
from tests.support.boards import teams, zip_of
from tests.support.syncs import Syncs

Compete = Callable[..., Syncs]


def plain(known: Catalog | None) -> Catalog | None:
    """Without the moment at which it was read."""
    return known and replace(known, now=datetime(2000, 1, 1, tzinfo=UTC))


def test_after_syncs_it_is_what_reading_all_gives(db: Connection, compete: Compete) -> None:
    """First and later boards, a private one, an attempt that fails; one that is not shown is passed over."""
    db.execute("INSERT INTO kaggle.events (slug, title, frozen_at) VALUES ('night', 'Night', now() - interval '1 h')")
    shown = compete("a-board", event_id=1)
    other, elsewhere = compete("b-board", event_id=1), compete("elsewhere")
    known = catalog(db, [1])
    for archive in (zip_of(teams(1, 2)), zip_of(teams(1, 2)), zip_of(teams(3)), zip_of(teams(3, 4), kind="private")):
        shown.sync(archive)
        elsewhere.sync(archive)
        after = known.after_syncs(db, [shown.competition, elsewhere.competition])
        assert plain(after) == plain(catalog(db, [1]))
        assert after != known
        assert after is not None
        known = after
    assert [each.teams for each in known.competitions_of(known.events["night"])] == [2, None]
    assert [each.slug for each in known.events_of(known.competitions["b-board"])] == ["night"]
    begun = other.begin()
    other.store.fail(begun.run_id, Decision("transient", "no such board", timedelta(hours=1)))
    assert plain(known.after_syncs(db, [other.competition])) == plain(catalog(db, [1]))


@pytest.mark.parametrize(
    "edit",
    [
        "DELETE FROM kaggle.competitions WHERE id = 1",
        "UPDATE kaggle.competitions SET kaggle_competition_id = 'z-board' WHERE id = 1",
        "UPDATE kaggle.competitions SET end_date = now() WHERE id = 1",
    ],
)
def test_what_has_another_place_is_not_read_alone(db: Connection, compete: Compete, edit: str) -> None:
    """It is gone, or stands elsewhere in the list."""
    compete("a-board").sync(zip_of(teams(1)))
    known = catalog(db)
    db.execute(edit)
    assert known.after_syncs(db, [1]) is None


def test_a_sync_has_one_competition_read_and_an_edit_all(
    url: str, db: Connection, compete: Compete, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page does so; with ten thousand of them all takes a second."""
    whole = 0

    def counted(*asked: object) -> Catalog:
        nonlocal whole
        whole += 1
        return catalog(*asked)  # type: ignore[arg-type]

    monkeypatch.setattr("pgleaderboard.web.source.catalog", counted)
    monkeypatch.setattr("pgleaderboard.web.source.CATALOG_EVERY", 3600.0)
    syncs = compete("a-board")

    async def until(source: Source, is_so: Callable[[Catalog], bool]) -> None:
        while not is_so(await source.catalog()):
            source.changed.clear()
            await asyncio.wait({asyncio.ensure_future(source.changed.wait())}, timeout=0.1)

    async def look() -> None:
        source = Source(url, url)
        await source.start()
        assert whole == 1
        for number in (1, 2, 3):
            await asyncio.to_thread(syncs.sync, zip_of(teams(*range(1, number + 1))))
            await until(source, lambda known, number=number: known.competitions["a-board"].teams == number)
        assert whole == 1
        await asyncio.to_thread(db.execute, "UPDATE kaggle.competitions SET title = 'A new one'")
        await until(source, lambda known: known.competitions["a-board"].title == "A new one")
        assert whole > 1
        source.stop()

    asyncio.run(look())
