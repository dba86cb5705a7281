"""The plans of what everybody reads: they reach the rows that are asked for, and no others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.aliases import Connection
from tests.support.asking import value

COMPETITIONS = 300
TEAMS = 500
SLUG = "board-150"

Node = dict[str, Any]

TOP_TEN = f"SELECT * FROM kaggle.leaderboard WHERE kaggle_competition_id = '{SLUG}' AND rank <= 10 ORDER BY rank"
FIRST_TEN = f"SELECT * FROM kaggle.leaderboard WHERE kaggle_competition_id = '{SLUG}' ORDER BY rank LIMIT 10"
FIRST_TEN_TEAMS = (
    f"SELECT * FROM kaggle.leaderboard WHERE kaggle_competition_id = '{SLUG}' AND rank IS NOT NULL "
    "ORDER BY rank LIMIT 10"
)
WHOLE = f"SELECT * FROM kaggle.leaderboard WHERE kaggle_competition_id = '{SLUG}' ORDER BY rank"
STATUS = f"SELECT * FROM kaggle.sync_status WHERE kaggle_competition_id = '{SLUG}'"


def fill(db: Connection, competitions: int, teams: int) -> None:
    """That many ongoing competitions that were just synced, each with a board of that many teams and a benchmark."""
    db.execute(
        "INSERT INTO kaggle.competitions (kaggle_competition_id, auto_sync) "
        "SELECT 'board-' || n, false FROM generate_series(1, %s) n",
        (competitions,),
    )
    db.execute(
        """
        INSERT INTO kaggle.boards (competition_id, slug, kind, higher_is_better, teams, digest, observed_at)
        SELECT id, kaggle_competition_id, 'public', true, %s, '\\x00', clock_timestamp() FROM kaggle.competitions
        """,
        (teams,),
    )
    # Board by board in the board's order, as apply_board writes a first sync.
    db.execute(
        """
        INSERT INTO kaggle.leaderboard_entries (board_id, team_id, order_key, valid_from, first_seen_at,
            last_submission_at, submission_count, is_benchmark, score, team_name, member_usernames)
        SELECT b.id, n, ((n * 7919) %% 1000003) << 40, now(), now(), now(), 1 + n %% 50, n = 0,
               round((1 - n::numeric / 100000), 5), 'team ' || n, ARRAY['user' || n]
        FROM kaggle.boards b CROSS JOIN generate_series(0, %s) n ORDER BY b.id, n * 7919 %% 1000003
        """,
        (teams,),
    )
    db.execute(
        """
        INSERT INTO kaggle_internal.sync_state
            (competition_id, link_revision, last_run_id, due_at, due_interval, describe_at,
            last_attempt_at, last_success_at)
        SELECT id, link_revision, nextval('kaggle_internal.run_ids'), now() + '1 hour', '5 minutes', now() + '1 day',
            now(), now()
        FROM kaggle.competitions
        """
    )
    db.execute("UPDATE kaggle.competitions SET auto_sync = true")
    db.execute("DELETE FROM kaggle_internal.sync_requests")
    db.execute("TRUNCATE procrastinate.procrastinate_jobs CASCADE")
    db.execute("VACUUM ANALYZE")


@pytest.fixture
def full(db: Connection) -> Iterator[Connection]:
    """A database of 300 competitions with 150,000 teams."""
    fill(db, COMPETITIONS, TEAMS)
    db.execute("SELECT kaggle_internal.register_worker('test', 'credential')")
    return db


def nodes(db: Connection, query: str) -> list[Node]:
    """The nodes of a query's plan as it was executed."""
    row = db.execute(f"EXPLAIN (ANALYZE, FORMAT JSON, TIMING OFF) {query}").fetchone()
    assert row is not None
    return list(under(row[0][0]["Plan"]))


def under(node: Node) -> Iterator[Node]:
    """A node and all below it."""
    yield node
    for child in node.get("Plans", ()):
        yield from under(child)


def entries_read(plan: list[Node]) -> float:
    """How many entries a plan read, those it threw away again included; no scan of the whole table among them."""
    scans = [node for node in plan if node.get("Relation Name") == "leaderboard_entries"]
    assert "Seq Scan" not in {scan["Node Type"] for scan in scans}
    assert scans
    return sum(
        (scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0) + scan.get("Rows Removed by Index Recheck", 0))
        * scan["Actual Loops"]
        for scan in scans
    )


def test_reads_touch_only_what_they_ask_for(full: Connection) -> None:
    """The top ten costs ten entries, one board costs that board, a status costs none; nothing scans all entries."""
    top_ten = nodes(full, TOP_TEN)
    assert entries_read(top_ten) <= 16  # ten, the benchmark, and the few that end the run of the window
    assert any("Run Condition" in node for node in top_ten)

    # NULLs, the benchmarks, come last.
    assert entries_read(nodes(full, FIRST_TEN)) <= TEAMS + 2
    assert entries_read(nodes(full, FIRST_TEN_TEAMS)) <= TEAMS + 2
    assert entries_read(nodes(full, WHOLE)) <= 2 * (TEAMS + 1)

    status = nodes(full, STATUS)
    assert [node for node in status if node.get("Relation Name") == "leaderboard_entries"] == []
    by_index = {"competitions", "sync_state", "boards"}
    assert by_index <= {node.get("Relation Name") for node in status}
    assert by_index.isdisjoint(node["Relation Name"] for node in status if node["Node Type"] == "Seq Scan")


def test_the_sweep_never_reads_a_board(full: Connection) -> None:
    """Whatever is due, what is wanted is found without an entry being read, and the sweep queues exactly that."""
    for thorough in ("false", "true"):
        plan = body_of_wanted(full, thorough)
        assert {node.get("Relation Name") for node in plan} >= {"sync_state", "sync_requests"}
        assert {"leaderboard_entries", "packs", "past_names"}.isdisjoint(node.get("Relation Name") for node in plan)

    def entries_scanned() -> Any:
        full.execute("SELECT pg_stat_force_next_flush()")
        return full.execute(
            "SELECT seq_scan, coalesce(idx_scan, 0) FROM pg_stat_user_tables WHERE relname = 'leaderboard_entries'"
        ).fetchone()

    before = entries_scanned()
    worker_id = value(full, "SELECT max(id) FROM kaggle_internal.worker_processes")
    sweep = f"SELECT queued FROM kaggle_internal.sweep({worker_id}, true)"
    assert full.execute(sweep).fetchone() == (0,)
    full.execute(
        "UPDATE kaggle_internal.sync_state SET due_at = now() - interval '1 second' WHERE competition_id % 3 = 0"
    )
    assert full.execute(sweep).fetchone() == (COMPETITIONS // 3,)
    assert full.execute(sweep).fetchone() == (0,)  # each has its job
    assert entries_scanned() == before
    full.execute("SELECT FROM kaggle.leaderboard_entries LIMIT 1")
    assert entries_scanned() != before  # a scan would have shown


def test_results_of_a_person_and_of_many_are_counted_in_the_index(full: Connection) -> None:
    """One pass over the keys of each board, however many people there are, and their teams' entries; points, too."""
    full.execute("INSERT INTO kaggle.participants SELECT 'USER' || n FROM generate_series(1, 100) n")
    full.execute("ANALYZE kaggle.participants")
    (middle,) = full.execute(
        "SELECT kaggle_username FROM kaggle.participant_results ORDER BY abs(rank - teams / 2) LIMIT 1"
    ).fetchone() or ("",)
    one_pass = COMPETITIONS * TEAMS

    one = nodes(full, f"SELECT * FROM kaggle.participant_results WHERE kaggle_username = '{middle}'")
    assert one[0]["Actual Rows"] == COMPETITIONS
    assert entries_read(one) <= 1.1 * one_pass

    everybody = nodes(full, "SELECT * FROM kaggle.participant_results")
    assert everybody[0]["Actual Rows"] == 100 * COMPETITIONS
    assert entries_read(everybody) <= 1.1 * one_pass + 100 * COMPETITIONS

    full.execute("UPDATE kaggle.competitions SET status = 'completed'")
    full.execute("VACUUM ANALYZE kaggle.competitions")
    earned = nodes(full, "SELECT * FROM kaggle.participant_points")
    assert earned[0]["Actual Rows"] == 100 * COMPETITIONS
    assert entries_read(earned) <= 1.1 * one_pass + 100 * COMPETITIONS

    for plan in (one, everybody, earned):
        assert {node["Heap Fetches"] for node in plan if node["Node Type"] == "Index Only Scan"} == {0}


def test_a_standing_reads_each_team_once(full: Connection) -> None:
    """A standing over five boards passes no more rows from step to step than those boards have."""
    full.execute("INSERT INTO kaggle.events (slug, title) VALUES ('night', 'Night')")
    full.execute("INSERT INTO kaggle.event_competitions (event_id, competition_id) "
                 "SELECT 1, id FROM kaggle.competitions LIMIT 5")  # fmt: skip
    full.execute("LOAD 'auto_explain'")
    plans: list[str] = []
    full.add_notice_handler(lambda notice: plans.append(notice.message_primary or ""))
    for name, setting in (("log_min_duration", "0"), ("log_analyze", "on"), ("log_nested_statements", "on"),
                        ("log_timing", "off"), ("log_format", "json")):  # fmt: skip
        full.execute(f"SET auto_explain.{name} = {setting}")
    full.execute("SET client_min_messages = log")
    full.execute("SELECT count(*) FROM kaggle.event_standings WHERE event_slug = 'night'")
    (body,) = [plan for plan in plans if "taking_part" in plan]
    plan = json.loads(body[body.index("{") :])["Plan"]
    most = max(node["Actual Rows"] * node["Actual Loops"] for node in under(plan))
    assert 5 * TEAMS <= most <= 5 * (TEAMS + 1)


def body_of_wanted(db: Connection, thorough: str) -> list[Node]:
    """The plan of kaggle_internal.wanted, whose own EXPLAIN would show a function scan and nothing else."""
    row = db.execute(
        "SELECT prosrc FROM pg_proc WHERE oid = 'kaggle_internal.wanted(bigint, boolean)'::regprocedure"
    ).fetchone()
    assert row is not None
    body = row[0].replace("wanted.worker_id", "1").replace("thorough", thorough)
    with db.transaction():
        db.execute("SET LOCAL search_path = kaggle, kaggle_internal, pg_temp")
        return nodes(db, body)


@pytest.mark.parametrize("task", ["sync", "sweep"])
def test_the_door_finds_the_waiting_job_by_its_index(db: Connection, task: str) -> None:
    """However many jobs wait: 20,000 of them would be read by every INSERT and sync_now."""
    db.execute(
        "INSERT INTO kaggle.competitions (kaggle_competition_id, auto_sync) "
        "SELECT 'board-' || n, false FROM generate_series(1, 8) n"
    )
    db.execute("SET search_path = procrastinate")
    db.execute(
        "INSERT INTO procrastinate.procrastinate_jobs (queue_name, task_name, args) "
        "SELECT 'kaggle', 'sync', jsonb_build_object('competition_id', n) FROM generate_series(1, 5000) n"
    )
    db.execute("ANALYZE procrastinate.procrastinate_jobs")
    scanned = "SELECT seq_scan, idx_scan > 0 FROM pg_stat_xact_user_tables WHERE relname = 'procrastinate_jobs'"
    for n in range(1, 9):  # more often than a plan for given values is made
        with db.transaction():
            if task == "sync":
                db.execute("SELECT kaggle.sync_now('board-' || %s)", (n,))
            else:
                db.execute("SELECT kaggle_internal.queue_job('sweep', NULL, 5)")
            assert db.execute(scanned).fetchone() == (0, True)
