"""The short form: a switchover, a SIGKILL, and readers on a standby."""

from __future__ import annotations

import pytest

from pgleaderboard.database.connect import connect
from tests.cluster.cluster import SUPERUSER, url_of
from tests.cluster.faults import FAULTS, SHORT, Fault
from tests.cluster.node import Node
from tests.cluster.run import Stage
from tests.cluster.site import Site
from tests.cluster.tally import Row, complaints
from tests.support.boards import COLUMNS
from tests.support.processes import wait_for


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.name in SHORT], ids=lambda fault: fault.name)
def test_nothing_is_wrong_lost_or_stuck_after_a_fail_over(stage: Stage, fault: Fault) -> None:
    """Whichever kind of URL one has, every board follows on the new primary, and each sync is told once."""
    rows = stage.play(fault, "asynchronous")

    assert complaints(rows) == []
    assert [row.url for row in rows] == ["multi-host", "HAProxy"]


@pytest.fixture
def standby(stage: Stage) -> Node:
    """A standby that has replayed what the primary holds now."""
    (position,) = stage.cluster.sql("postgres", "SELECT pg_current_wal_insert_lsn()::text")[0]
    node = next(node for node in stage.cluster.nodes if node.is_replica)
    wait_for(
        lambda: stage.cluster.sql(
            "postgres", "SELECT 1 WHERE pg_last_wal_replay_lsn() >= %s::pg_lsn", position, node=node
        ),
        30,
        "a standby has replayed all",
    )
    return node


@pytest.fixture
def site(stage: Stage) -> Site:
    """One of the two databases; what holds there holds in the other."""
    return stage.sites[0]


def test_readers_on_a_standby_see_what_the_primary_shows(stage: Stage, site: Site, standby: Node) -> None:
    """Boards of now and of the past, row by row."""
    primary = stage.cluster.primary
    queries = (
        f"SELECT kaggle_competition_id, {COLUMNS} FROM kaggle.leaderboard ORDER BY 1, 2, 3",
        f"SELECT r.id, {COLUMNS} FROM kaggle.sync_runs r JOIN kaggle.competitions c ON c.id = r.competition_id,"
        " kaggle.leaderboard_as_of(c.kaggle_competition_id, r.observed_at) ORDER BY 1, 2, 3",
    )
    for query in queries:
        shown = []
        for node in (primary, standby):
            with connect(url_of(node.address, SUPERUSER, site.database), reads=True) as connection:
                shown.append(connection.execute(query.encode()).fetchall())
        assert len(shown[0]) > 100
        assert shown[0] == shown[1]


def test_a_row_that_breaks_a_bound_is_told() -> None:
    """The table is not clean by itself: what was never tried, wrong, lost, stuck or late shows."""

    def row(**changes: object) -> Row:
        tried: dict[str, object] = {
            "next_sync": 1.9,
            "page": 1.9,
            "longest_wait": 11.9,
            "boards": 1,
            "past": 1,
            "edits": 1,
        }
        return Row("a fault", "HAProxy", "synchronous", 2, **tried | changes)  # type: ignore[arg-type]

    assert row().broken == []
    for name in ("boards_wrong", "past_wrong", "edits_lost", "doubled", "stuck", "missed", "repeated"):
        assert row(**{name: 1}).broken == [f"{name.replace('_', ' ')}: 1"]
    for changes in (
        {"next_sync": 2.1},
        {"next_sync": None},
        {"page": None},
        {"longest_wait": 12.1},
        {"boards": 0},
        {"past": 0},
    ):
        assert len(row(**changes).broken) == 1
    lost = row(edits_lost=1)
    lost.replication = "asynchronous"
    assert lost.broken == []
