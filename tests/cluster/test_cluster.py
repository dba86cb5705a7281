"""The short form: a switchover, a SIGKILL, and readers on a standby."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pgleaderboard.database.connect import connect
from tests.cluster.clients import Page
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
def site(stage: Stage) -> Site:
    """One of the two databases, at rest, with an event; what holds there holds in the other. All standbys have it."""
    site = stage.sites[0]
    site.sql("UPDATE kaggle.competitions SET auto_sync = false")
    site.sql("INSERT INTO kaggle.events (slug, title) VALUES ('night', 'The Night') ON CONFLICT DO NOTHING")
    site.sql(
        "INSERT INTO kaggle.event_competitions (event_id, competition_id) "
        "SELECT e.id, c.id FROM kaggle.events e, kaggle.competitions c ON CONFLICT DO NOTHING"
    )
    assert site.settle(60) == []
    (position,) = site.sql("SELECT pg_current_wal_insert_lsn()::text")[0]
    for node in _standbys(stage):
        wait_for(
            lambda node=node: stage.cluster.sql(  # type: ignore[misc]
                "postgres", "SELECT 1 WHERE pg_last_wal_replay_lsn() >= %s::pg_lsn", position, node=node
            ),
            30,
            f"{node.name} has replayed all",
        )
    return site


def _standbys(stage: Stage) -> list[Node]:
    return [node for node in stage.cluster.nodes if node is not stage.cluster.primary]


def test_readers_on_a_standby_see_what_the_primary_shows(stage: Stage, site: Site) -> None:
    """Boards of now and of the past, row by row."""
    queries = (
        f"SELECT kaggle_competition_id, {COLUMNS} FROM kaggle.leaderboard ORDER BY 1, 2, 3",
        f"SELECT r.id, {COLUMNS} FROM kaggle.sync_runs r JOIN kaggle.competitions c ON c.id = r.competition_id,"
        " kaggle.leaderboard_as_of(c.kaggle_competition_id, r.observed_at) ORDER BY 1, 2, 3",
    )
    for query in queries:
        shown = []
        for node in (stage.cluster.primary, *_standbys(stage)):
            with connect(url_of(node.address, SUPERUSER, site.database), reads=True) as connection:
                shown.append(connection.execute(query.encode()).fetchall())
        assert len(shown[0]) > 100
        assert shown[1:] == [shown[0]] * 2


def test_commands_read_the_standbys_behind_haproxy(site: Site, tmp_path: Path) -> None:
    """Each prints what it prints when it reads the primary; so does the page."""
    (slug,) = site.sql("SELECT kaggle_competition_id FROM kaggle.competitions ORDER BY id LIMIT 1")[0]
    told = {}
    for server, given in {"primary": {}, "standby": {"PGLEADERBOARD_READ_URL": site.url_of_standbys}}.items():
        folder = tmp_path / server
        commands = {
            "status": ("status", "--json"),
            "board": ("board", slug, "--json"),
            "standings": ("standings", "night", "--json"),
            "plot": ("plot", slug, "-o", str(tmp_path / f"{server}.svg")),
            "export": ("export", slug, str(folder)),
        }
        done = {name: site.run(*command, **given) for name, command in commands.items()}
        assert {name: each.returncode for name, each in done.items()} == dict.fromkeys(done, 0), done
        status = json.loads(done["status"].stdout)
        assert (status.pop("standby", None) is not None) == (server == "standby")
        shown = {name: json.loads(done[name].stdout) for name in ("board", "standings")}
        page = Page(tmp_path / f"{server}.log", site.settings(**given))
        try:
            shown["page"] = page.synced_at(slug)
        finally:
            page.process.terminate()
        shown["standings"].pop("at")
        told[server] = shown | {
            "status": sorted(row["kaggle_competition_id"] for row in status["competitions"]),
            "plot": (tmp_path / f"{server}.svg").exists(),
            "export": {path.name: path.read_bytes() for path in folder.iterdir()},
        }
    assert told["standby"] == told["primary"]


def test_a_row_that_breaks_a_bound_is_told() -> None:
    """The table is not clean by itself: what was never tried, wrong, lost, stuck or late shows."""

    def row(**changes: object) -> Row:
        tried: dict[str, object] = {
            "next_sync": 1.9,
            "page": 1.9,
            "screen": 1.9,
            "doctor": 1.9,
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
        {"screen": None},
        {"doctor": 10.1},
        {"longest_wait": 12.1},
        {"boards": 0},
        {"past": 0},
    ):
        assert len(row(**changes).broken) == 1
    lost = row(edits_lost=1)
    lost.replication = "asynchronous"
    assert lost.broken == []
