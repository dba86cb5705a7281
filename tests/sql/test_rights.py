"""Who may do what: three roles, nothing for PUBLIC, and no way around through a search_path.

READER, EDITOR and WORKER below are the decision. A new table or function fails `test_each_object_is_decided`
until it is written down there who may use it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pgleaderboard.database import migrate
from pgleaderboard.database.release import SQL, Release
from tests.support.aliases import Connection, MakeWorker
from tests.support.faults import Simulator, Status

ROLES = ("pgleaderboard_reader", "pgleaderboard_editor", "pgleaderboard_worker")
REFUSED = psycopg.errors.InsufficientPrivilege

VIEWS = {
    "leaderboard",
    "sync_status",
    "workers",
    "budget",
    "participant_results",
    "participant_points",
    "unmatched_participants",
    "event_standings",
    "event_results",
    "event_states",
    "board_source",
    "participant_entries",
}
WRITTEN_BY_PEOPLE = {"events", "competitions", "event_competitions", "participants", "event_participants"}
READABLE = VIEWS | WRITTEN_BY_PEOPLE | {"sync_runs", "boards", "leaderboard_entries", "leaderboard_history"}
OF_THE_WORKER = {
    "shown_boards",
    "earned_points",
    "ends_ahead",
    "to_describe",
    "boards_at_end",
    "boards_at_freeze",
    "boards_to_drop",
    "known_timeline",
    "marked_source",
    "final_standings",
    "final_results",
    "final_boards",
    "sync_requests",
    "sync_state",
    "worker_processes",
    "kaggle_budget",
    "packs",
    "past_names",
}
ONLY_READ_BY_THE_WORKER = {"sync_condition", "applied_files"}
QUEUE = {
    "procrastinate_jobs",
    "procrastinate_workers",
    "procrastinate_events",
    "procrastinate_periodic_defers",
}
READER_CALLS = {
    "slug_of",
    "username_of",
    "find_competition",
    "wait_for_sync",
    "leaderboard_as_of",
    "team_rank",
    "rank_history",
    "rank_history_between",
    "movers",
    "changes",
    "board_runs",
    "medal",
    "shakeup",
    "points",
    "season_standings",
    "ratings",
    "rating_history",
    "event_standings_as_of",
    "event_results_as_of",
    "unfrozen_standings",
}
EDITOR_CALLS = READER_CALLS | {
    "sync_now",
    "import_competitions",
    "import_participants",
    "drop_board",
    "finalize_event",
    "reopen_event",
}
WORKER_CALLS = EDITOR_CALLS | {
    "refuse",
    "expected_places",
    "rated_competitions",
    "rating_steps",
    "check_source",
    "trigrams",
    "nearest",
    "moment_of",
    "live_workers",
    "heard_until",
    "refuse_standby",
    "presence_key",
    "request_holds",
    "find_board",
    "standing",
    "results",
    "observed",
    "event_at",
    "find_event",
    "basis_of_standing",
    "changed_since_final",
    "counting_boards",
    "counting_moment",
    "moment_at_end",
    "keep_boards_at_end",
    "board_at_freeze",
    "keep_board_at_freeze",
    "forget_boards_at_freeze",
    "ask_for_boards_at_end",
    "lower_all",
    "status_by_dates",
    "settled_status",
    "status_is_by",
    "derived_date",
    "forget_what_kaggle_filled",
    "queue_job",
    "queue_syncs",
    "refuse_hidden_rows",
    "grant_spacing",
    "next_grant",
    "hold_state",
    "save_state",
    "release_fence",
    "registered_worker",
    "linked_board",
    "deleted_until",
    "grace_for_missing",
    "is_deleted",
    "remove_detached",
    "note_missing",
    "pull_back_schedules",
    "queue_wanted",
    "truncated_states",
    "is_alive",
    "sequences_behind",
    "owner_of_functions",
    "bound_condition",
    "block_budget",
    "let_dates_act_on",
    "moments_of_events",
    "tell_status",
    "ask_for_sync",
    "notice_if_no_worker",
    "take_grant",
    "begin_sync",
    "hold_fence",
    "end_run",
    "fail_run",
    "abandon_run",
    "abandon_runs",
    "register_worker",
    "timeline",
    "is_on_known_timeline",
    "follow_timeline",
    "unregister_worker",
    "let_dates_act",
    "rescue",
    "wanted",
    "sweep",
    "remove_deleted",
    "prune_runs",
    "prepare_staging",
    "check_staging",
    "board_of_run",
    "compare_staging",
    "confirm_board",
    "apply_board",
    "beat",
    "store_run",
    "write_differences",
    "describe_staging",
    "board_for",
    "make_board",
    "begin_backfill",
    "known_moments",
    "hold_board",
    "insert_run",
    "append_board",
    "stage_base",
    "insert_board",
    "amend_board",
    "correct_changed_at",
    "csv_field",
    "board_as_csv",
    "boards_to_export",
    "begin_describe",
    "fill_from_kaggle",
    "versions",
    "boards_through_time",
    "refuse_pruned",
    "teams_of",
    "rank_history_of",
    "rank_history_through",
    "ranks_a_day_ago",
    "kept_moments",
    "prunable_packs",
    "prune_history",
    "intervals_to_thin",
    "merge_boards",
    "pack_anew",
    "stage_board",
    "try_slug",
    "try_username",
    "stacked_boards",
    "order_unranked",
    "direction_of_run",
    "unreadable_date",
    "let_go",
    "known_board",
    "known_direction",
    "is_pruned",
    "trimmed",
    "shown_at_end",
    "has_changed",
    "has_board_at",
    "sync_pace",
    "ask_condition",
}
OWNER_CALLS = {"set_sync_condition"}
# Nobody calls them: on a table of one's own they would act with the owner's rights.
TRIGGERS = {
    "complete_competition",
    "complete_event",
    "tell_changes",
    "competitions_inserted",
    "competitions_updated",
    "competitions_deleted",
    "competitions_truncated",
    "events_updated",
    "event_competitions_inserted",
    "event_competitions_updated",
    "drop_at_commit",
    "complete_participant",
    "complete_event_participant",
    "complete_event_competition",
}


@pytest.fixture
def login(db: Connection, url: str) -> Iterator[Callable[..., str]]:
    """Makes a role that may log in and has been granted these roles; gives the DSN for it."""
    made: list[sql.Identifier] = []

    def one(*granted: str, options: str = "") -> str:
        name = f"login_{secrets.token_hex(4)}"
        made.append(sql.Identifier(name))
        db.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'plain' " + options).format(made[-1]))
        for role in granted:
            db.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), made[-1]))
        return make_conninfo(url, user=name, password="plain")

    yield one
    for role in made:
        db.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(role))
        db.execute(sql.SQL("DROP ROLE {}").format(role))


@pytest.fixture
def as_role(login: Callable[..., str]) -> Iterator[Callable[..., Connection]]:
    """Connects in autocommit as a user with these roles."""
    opened: list[Connection] = []

    def one(*granted: str) -> Connection:
        opened.append(Connection.connect(login(*granted), autocommit=True))
        return opened[-1]

    yield one
    for each in opened:
        each.close()


def allowed(db: Connection, role: str) -> dict[str, set[str]]:
    """What a role may do, from the catalogue: relations by privilege, and functions. USAGE of the schema included."""
    found: dict[str, set[str]] = {}
    for privilege in PRIVILEGES[:-1]:
        rows = db.execute(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f')"
            " AND relnamespace::regnamespace::text IN ('kaggle', 'kaggle_internal', 'procrastinate')"
            " AND has_schema_privilege(%(role)s, relnamespace, 'USAGE')"
            " AND (has_table_privilege(%(role)s, oid, %(privilege)s)"
            "      OR (%(privilege)s IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')"
            "          AND has_any_column_privilege(%(role)s, oid, %(privilege)s)))",
            {"role": role, "privilege": privilege},
        )
        found[privilege] = {name for (name,) in rows}
    rows = db.execute(
        "SELECT proname FROM pg_proc WHERE pronamespace::regnamespace::text ~ '^kaggle'"
        " AND has_schema_privilege(%(role)s, pronamespace, 'USAGE')"
        " AND has_function_privilege(%(role)s, oid, 'EXECUTE')",
        {"role": role},
    )
    found["EXECUTE"] = {name for (name,) in rows}
    return found


PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "EXECUTE")
NOTHING: dict[str, set[str]] = {privilege: set() for privilege in PRIVILEGES}
EXPECTED = {
    "pgleaderboard_reader": NOTHING | {"SELECT": READABLE, "EXECUTE": READER_CALLS},
    "pgleaderboard_editor": NOTHING
    | {"SELECT": READABLE, "EXECUTE": EDITOR_CALLS}
    | dict.fromkeys(("INSERT", "UPDATE", "DELETE"), WRITTEN_BY_PEOPLE),
    "pgleaderboard_worker": NOTHING
    | dict.fromkeys(("INSERT", "UPDATE", "DELETE"), READABLE | OF_THE_WORKER | QUEUE)
    | {
        "SELECT": READABLE | OF_THE_WORKER | ONLY_READ_BY_THE_WORKER | QUEUE,
        "EXECUTE": WORKER_CALLS,
    },
}


# What the catalogue says.


@pytest.mark.parametrize("role", ROLES)
def test_each_object_is_decided(db: Connection, role: str) -> None:
    """A role may do with each table, view and function exactly what is written above."""
    assert allowed(db, role) == EXPECTED[role]


def test_nothing_is_forgotten(db: Connection) -> None:
    """The lists above name every table, view and function there is."""
    relations = db.execute(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f')"
        " AND relnamespace::regnamespace::text IN ('kaggle', 'kaggle_internal', 'procrastinate')"
    ).fetchall()
    functions = db.execute("SELECT proname FROM pg_proc WHERE pronamespace::regnamespace::text ~ '^kaggle'").fetchall()
    assert {name for (name,) in relations} == (READABLE | OF_THE_WORKER | ONLY_READ_BY_THE_WORKER | QUEUE)
    assert {name for (name,) in functions} == WORKER_CALLS | OWNER_CALLS | TRIGGERS


def test_sequences_are_for_the_worker(db: Connection) -> None:
    """Reader and editor use no sequence by themselves, identity columns need none. The worker uses all, sets none."""
    rows = db.execute(
        "SELECT r.name, has_schema_privilege(r.name, relnamespace, 'USAGE')"
        " AND has_sequence_privilege(r.name, c.oid, 'USAGE'),"
        " has_sequence_privilege(r.name, c.oid, 'UPDATE')"
        " FROM pg_class c, unnest(%s::text[]) AS r (name)"
        " WHERE relkind = 'S' AND relnamespace::regnamespace::text IN ('kaggle', 'kaggle_internal', 'procrastinate')",
        (list(ROLES),),
    ).fetchall()
    assert set(rows) == {
        ("pgleaderboard_reader", False, False),
        ("pgleaderboard_editor", False, False),
        ("pgleaderboard_worker", True, False),
    }


def test_public_has_nothing(db: Connection) -> None:
    """PUBLIC may enter neither schema, and was granted nothing in ours."""
    acl = db.execute(
        """
        SELECT 'schema ' || nspname FROM pg_namespace, aclexplode(nspacl) a
        WHERE nspname IN ('kaggle', 'kaggle_internal', 'procrastinate') AND a.grantee = 0
        UNION ALL
        SELECT relname FROM pg_class, aclexplode(relacl) a
        WHERE relnamespace::regnamespace::text LIKE 'kaggle%' AND a.grantee = 0
        UNION ALL
        SELECT proname FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner))) a
        WHERE pronamespace::regnamespace::text LIKE 'kaggle%' AND a.grantee = 0
        """
    ).fetchall()
    assert acl == []


def test_definers_are_trigger_and_api_functions_only(db: Connection) -> None:
    """SECURITY DEFINER is what people's statements reach; what only the worker calls runs with the worker's rights."""
    definers = {
        name
        for (name,) in db.execute(
            "SELECT proname FROM pg_proc WHERE pronamespace::regnamespace::text LIKE 'kaggle%' AND prosecdef"
        )
    }
    assert definers == {
        "slug_of",
        "username_of",
        "find_competition",
        "complete_competition",
        "complete_event",
        "queue_job",
        "live_workers",
        "follow_timeline",  # the worker alone calls it: it has no right to set a sequence
        "ask_for_sync",
        "notice_if_no_worker",
        "competitions_inserted",
        "tell_changes",
        "competitions_updated",
        "competitions_deleted",
        "competitions_truncated",
        "sync_now",
        "wait_for_sync",
        "find_board",
        "leaderboard_as_of",
        "team_rank",
        "rank_history",
        "season_standings",
        "ratings",
        "rating_history",
        "rank_history_between",
        "movers",
        "changes",
        "board_runs",
        "shakeup",
        "prune_history",
        "import_competitions",
        "import_participants",
        "complete_participant",
        "complete_event_participant",
        "complete_event_competition",
        "ranks_a_day_ago",
        "standing",
        "results",
        "counting_boards",
        "basis_of_standing",
        "changed_since_final",
        "finalize_event",
        "reopen_event",
        "drop_board",
        "events_updated",
        "event_competitions_inserted",
        "event_competitions_updated",
        "drop_at_commit",
        "event_standings_as_of",
        "event_results_as_of",
        "unfrozen_standings",
        "set_sync_condition",  # so that what it makes belongs to that owner
        "ask_condition",  # so that a condition runs as its owner, not as the worker
    }


# What each can do.


def test_a_reader_reads_and_waits(db: Connection, as_role: Callable[..., Connection], worker: MakeWorker) -> None:
    """A reader sees boards, competitions, runs and how the sync stands, and may wait for one."""
    with worker():
        db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('titanic')")
        db.execute("SELECT kaggle.wait_for_sync('titanic')")
        reader = as_role("pgleaderboard_reader")
        assert reader.execute("SELECT outcome FROM kaggle.wait_for_sync('titanic')").fetchone() == ("changed",)
        for relation in sorted(READABLE):
            reader.execute(f"SELECT * FROM kaggle.{relation}")
        for relation in ("leaderboard", "sync_status", "workers", "competitions", "sync_runs", "boards"):
            assert reader.execute(f"SELECT count(*) > 0 FROM kaggle.{relation}").fetchone() == (True,), relation
        assert reader.execute("SELECT sync_state, problem FROM kaggle.sync_status").fetchone() == ("idle", None)
        team_id, name = reader.execute("SELECT team_id, team_name FROM kaggle.leaderboard WHERE rank = 1").fetchone()
        assert reader.execute("SELECT kaggle.team_rank('titanic', %s)", (team_id,)).fetchone() == (1,)
        past = "SELECT team_name FROM kaggle.leaderboard_as_of('titanic', now()) WHERE rank = 1"
        assert reader.execute(past).fetchone() == (name,)
        for call in (
            f"rank_history('titanic', {team_id})",
            "rank_history('titanic', 'somebody')",
            f"rank_history_between('titanic', ARRAY[{team_id}], now() - interval '1 day', now())",
            "movers('titanic', now())",
            "movers('titanic', interval '0')",
            "changes((SELECT max(id) FROM kaggle.sync_runs))",
            "board_runs('titanic')",
            "shakeup('titanic')",
            "medal(1, 1000)",
        ):
            reader.execute(f"SELECT * FROM kaggle.{call}")


REFUSED_TO_READERS = (
    "INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('x')",
    "UPDATE kaggle.competitions SET title = 'x'",
    "DELETE FROM kaggle.events",
    "SELECT kaggle.sync_now('titanic')",
    "SELECT * FROM kaggle.import_competitions(ARRAY['titanic'])",
    "SELECT * FROM kaggle.import_participants(ARRAY['ann'])",
    "SELECT kaggle_internal.ask_for_sync(ARRAY[1], ARRAY['manual'], 5)",
)
REFUSED_TO_EDITORS = (
    "SELECT * FROM kaggle_internal.sync_requests",
    "SELECT * FROM kaggle_internal.sync_state",
    "SELECT * FROM kaggle_internal.kaggle_budget",
    "SELECT * FROM kaggle_internal.worker_processes",
    "SELECT * FROM procrastinate.procrastinate_jobs",
    "SELECT procrastinate.procrastinate_cancel_job_v1(1, true, true)",
    "INSERT INTO kaggle_internal.sync_requests (competition_id, reason) VALUES (1, 'manual')",
    "UPDATE kaggle.sync_runs SET outcome = 'changed'",
    "DELETE FROM kaggle.leaderboard_entries",
    "DELETE FROM kaggle_internal.packs",
    "SELECT * FROM kaggle_internal.past_names",
    "TRUNCATE kaggle.competitions",
    "SELECT kaggle_internal.queue_job('sync', 1, 5)",
    "SELECT kaggle_internal.begin_sync(1, 1)",
    "SELECT kaggle_internal.fail_run(1, 1, 'x', 'ours', '1 s')",
    "SELECT kaggle_internal.apply_board(1, 'public', '', 0, 1)",
    "SELECT kaggle_internal.register_worker('x', 'x')",
    "SELECT kaggle.prune_history('0 s')",
    "SELECT kaggle_internal.merge_boards(1, ARRAY[now()])",
    "SELECT kaggle.set_sync_condition(NULL)",
    "SELECT kaggle_internal.ask_condition(1)",
    "INSERT INTO kaggle_internal.sync_condition VALUES ('public.mine(kaggle.competitions)')",
    "SELECT * FROM kaggle_internal.versions(1, now())",
    "SELECT kaggle_internal.fill_from_kaggle(1, 0, 'x', 'x', now(), now(), 'x', 1)",
    "CREATE TABLE kaggle.mine ()",
    "CREATE FUNCTION kaggle.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "ALTER TABLE kaggle.competitions DISABLE TRIGGER ALL",
    "CREATE TRIGGER mine AFTER INSERT ON kaggle.competitions EXECUTE FUNCTION suppress_redundant_updates_trigger()",
)


def test_what_is_refused(db: Connection, as_role: Callable[..., Connection]) -> None:
    """A reader writes nothing; neither reader nor editor touches the queue, the boards or the worker's functions."""
    db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('titanic')")
    reader, editor, nobody = as_role(ROLES[0]), as_role(ROLES[1]), as_role()
    for connection, statements in (
        (reader, REFUSED_TO_READERS + REFUSED_TO_EDITORS),
        (editor, REFUSED_TO_EDITORS),
        (
            nobody,
            ("SELECT * FROM kaggle.leaderboard", "SELECT kaggle.find_competition('titanic')", *REFUSED_TO_READERS),
        ),
    ):
        for statement in statements:
            with pytest.raises(REFUSED):
                connection.execute(statement)


def test_an_editor_writes_in_every_way(db: Connection, as_role: Callable[..., Connection], worker: MakeWorker) -> None:
    """INSERT, COPY, ON CONFLICT, UPDATE, DELETE and sync_now work for an editor, triggers included."""
    editor = as_role("pgleaderboard_editor")
    with worker():
        event = editor.execute(
            "INSERT INTO kaggle.events (slug, title) VALUES ('night', 'Night') RETURNING id"
        ).fetchone()[0]
        editor.execute(
            "INSERT INTO kaggle.competitions (kaggle_competition_id, event_id) VALUES ('kaggle.com/c/titanic', %s)",
            (event,),
        )
        with editor.cursor().copy("COPY kaggle.competitions (kaggle_competition_id) FROM STDIN") as copy:
            copy.write("orbit-wars\ndigit-recognizer\n")
        editor.execute(
            "INSERT INTO kaggle.competitions (kaggle_competition_id, title) VALUES ('orbit-wars', 'Wars')"
            " ON CONFLICT (kaggle_competition_id) DO UPDATE SET title = excluded.title"
        )
        editor.execute(
            "INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('titanic')"
            " ON CONFLICT (kaggle_competition_id) DO NOTHING"
        )
        for slug in ("titanic", "orbit-wars", "digit-recognizer"):
            assert editor.execute("SELECT outcome FROM kaggle.wait_for_sync(%s)", (slug,)).fetchone() == ("changed",)
        imported = editor.execute(
            "SELECT outcome FROM kaggle.import_competitions(ARRAY['titanic', 'store-sales-time-series-forecasting'])"
        ).fetchall()
        assert imported == [("already there",), ("created",)]
        editor.execute("SELECT kaggle.sync_now('titanic')")
        assert editor.execute("SELECT outcome FROM kaggle.wait_for_sync('titanic')").fetchone() == ("unchanged",)
        assert editor.execute("SELECT count(*) FROM kaggle.event_competitions").fetchone() == (1,)
        editor.execute("UPDATE kaggle.event_competitions SET rating_weight = 2")
        editor.execute("UPDATE kaggle.events SET status = 'completed'")
        editor.execute(
            "UPDATE kaggle.competitions SET kaggle_competition_id = 'spaceship-titanic', event_id = NULL"
            " WHERE kaggle_competition_id = 'titanic'"
        )
        outcome = editor.execute("SELECT outcome FROM kaggle.wait_for_sync('spaceship-titanic')").fetchone()
        assert outcome == ("changed",)
        editor.execute("INSERT INTO kaggle.participants (kaggle_username) VALUES ('kaggle.com/somebody')")
        editor.execute(
            "INSERT INTO kaggle.event_participants (event_id, kaggle_username)"
            " SELECT %s, unnest(ARRAY['@somebody', 'another'])",
            (event,),
        )
        names = editor.execute("SELECT kaggle_username FROM kaggle.participants ORDER BY 1").fetchall()
        assert names == [("another",), ("somebody",)]
        editor.execute("SELECT * FROM kaggle.event_standings_as_of('night', now())")
        editor.execute("DELETE FROM kaggle.event_participants")
        editor.execute("DELETE FROM kaggle.participants")
        editor.execute("DELETE FROM kaggle.event_competitions")
        editor.execute("DELETE FROM kaggle.competitions")
        editor.execute("DELETE FROM kaggle.events")
    assert db.execute("SELECT count(*) FROM kaggle.leaderboard").fetchone() == (0,)


def test_an_editors_upsert_checks_nothing_twice(as_role: Callable[..., Connection]) -> None:
    """A refused row is refused with its constraint's name for an editor, too."""
    editor = as_role("pgleaderboard_editor")
    with pytest.raises(psycopg.errors.CheckViolation) as refused:
        editor.execute("INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('no slug')")
    assert refused.value.diag.constraint_name == "kaggle_competition_id_is_a_slug"


def until(db: Connection, query: str) -> None:
    """Return when a query gives true."""
    for _ in range(500):
        if db.execute(query).fetchone() == (True,):
            return
        db.execute("SELECT pg_sleep(0.02)")
    pytest.fail(f"still not true: {query}")


def test_a_worker_needs_its_role_only(
    db: Connection, login: Callable[..., str], worker: MakeWorker, simulator: Simulator
) -> None:
    """A login with pgleaderboard_worker alone syncs, describes, fails, rescues, prunes and cleans up."""
    dsn = login("pgleaderboard_worker")
    with worker(url=dsn, direct_url=dsn, runs_for=timedelta(0), requests_per_minute=60000):
        db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('titanic'), ('refused')")
        simulator.faults.put("refused", Status(403))
        assert db.execute("SELECT outcome FROM kaggle.wait_for_sync('titanic')").fetchone() == ("changed",)
        db.execute("SELECT kaggle.sync_now('refused')")
        until(db, "SELECT count(*) = 2 FROM kaggle.competitions WHERE title IS NOT NULL")
        simulator.advance()
        db.execute("SELECT kaggle.sync_now('titanic')")
        assert db.execute("SELECT outcome FROM kaggle.wait_for_sync('titanic')").fetchone() == ("changed",)
        # Another worker is gone: its attempt and its job are found.
        db.execute(
            "UPDATE kaggle_internal.sync_state s SET running_run_id = nextval('kaggle_internal.run_ids'),"
            " running_worker_id = 2000000000,"
            " running_since = now(), running_reason = 'manual'"
            " FROM kaggle.competitions c WHERE c.id = s.competition_id AND kaggle_competition_id = 'titanic'"
        )
        db.execute("SELECT kaggle_internal.queue_job('sweep', NULL, 20)")
        until(db, "SELECT count(*) = 0 FROM kaggle_internal.sync_state WHERE running_run_id IS NOT NULL")
        # A date passes; the editor's row is written by the worker.
        db.execute(
            "INSERT INTO kaggle.competitions (kaggle_competition_id, start_date)"
            " VALUES ('orbit-wars', clock_timestamp() + interval '500 ms')"
        )
        db.execute("SELECT kaggle_internal.queue_job('sweep', NULL, 20)")
        until(db, "SELECT status = 'ongoing' FROM kaggle.competitions WHERE kaggle_competition_id = 'orbit-wars'")
        assert db.execute("SELECT outcome FROM kaggle.wait_for_sync('orbit-wars')").fetchone() == ("changed",)
        db.execute("DELETE FROM kaggle.competitions")
        until(
            db,
            "SELECT (SELECT count(*) FROM kaggle.leaderboard_entries) + (SELECT count(*) FROM kaggle.sync_runs)"
            " + (SELECT count(*) FROM kaggle_internal.sync_state) = 0",
        )
        until(db, "SELECT count(*) = 0 FROM procrastinate.procrastinate_jobs")


# Names of one's own in front of ours.


def test_a_trigger_function_acts_on_no_other_table(as_role: Callable[..., Connection], db: Connection) -> None:
    """On a table of the worker's own it would act with the owner's rights, and delete every board."""
    worker = as_role("pgleaderboard_worker")
    worker.execute("CREATE TEMPORARY TABLE mine (id bigint, link_revision bigint)")
    for event in ("DELETE", "TRUNCATE"):
        for name in sorted(TRIGGERS):
            with pytest.raises(REFUSED, match=rf"permission denied for function (kaggle_internal\.)?{name}$"):
                worker.execute(
                    f"CREATE TRIGGER theirs AFTER {event} ON mine "
                    f"FOR EACH STATEMENT EXECUTE FUNCTION kaggle_internal.{name}()"
                )
    triggers = db.execute(
        "SELECT proname FROM pg_proc WHERE pronamespace::regnamespace::text ~ '^kaggle'"
        " AND prorettype = 'trigger'::regtype"
    ).fetchall()
    assert {name for (name,) in triggers} == TRIGGERS


@pytest.mark.parametrize("role", ["pgleaderboard_reader", "pgleaderboard_editor"])
def test_no_reader_sees_a_credential(db: Connection, as_role: Callable[..., Connection], role: str) -> None:
    """Not even its fingerprint, in whatever it may read or call of the workers."""
    db.execute("SELECT kaggle_internal.register_worker('0.0.1', 'fingerprint-of-a-credential')")
    reader = as_role(role)
    ((found,),) = reader.execute("SELECT to_jsonb(w) FROM kaggle.workers w").fetchall()
    assert set(found) == {"worker_id", "version", "started_at", "seen_at", "problem"}


def test_no_search_path_turns_a_definer(db: Connection, as_role: Callable[..., Connection]) -> None:
    """An editor's own tables, functions and operators, named like ours and first in its path, are never used."""
    editor = as_role("pgleaderboard_editor")
    user = editor.execute("SELECT current_user").fetchone()[0]
    db.execute(sql.SQL("CREATE SCHEMA trap AUTHORIZATION {}").format(sql.Identifier(user)))
    editor.execute("CREATE TABLE trap.sprung (by text, what text)")
    tables = (*OF_THE_WORKER, *QUEUE, *WRITTEN_BY_PEOPLE, "sync_runs", "boards")
    for place in ("trap", "pg_temp"):
        for table in tables:
            editor.execute(f"CREATE TABLE {place}.{table} (id bigint, competition_id bigint, reason text, status text)")
    spring = "INSERT INTO trap.sprung VALUES (current_user, '{}')"
    for signature, kind in (
        ("queue_job(text, bigint, integer)", "void"),
        ("slug_of(text)", "text"),
        ("find_competition(text)", "bigint"),
        ("ask_for_sync(bigint[], text[], integer)", "void"),
        ("notice_if_no_worker()", "void"),
        ("refuse(text, text, text)", "void"),
        ("status_by_dates(timestamptz, timestamptz)", "text"),
        ("procrastinate_defer_jobs_v1(procrastinate.procrastinate_job_to_defer_v1[])", "bigint[]"),
        ("lower(text)", "text"),
        ("now()", "timestamptz"),
        ("clock_timestamp()", "timestamptz"),
        ("array_agg(bigint)", "bigint[]"),
        ("cardinality(bigint[])", "integer"),
    ):
        name = signature.partition("(")[0]
        if "procrastinate" in signature:
            continue  # an editor cannot even name that type
        editor.execute(
            f"CREATE FUNCTION trap.{signature} RETURNS {kind} LANGUAGE plpgsql AS"
            f" $$ BEGIN {spring.format(name)}; RETURN{'' if kind == 'void' else ' NULL'}; END $$"
        )
    editor.execute(
        f"CREATE FUNCTION trap.equal(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN {spring.format('=')};"
        " RETURN true; END $$"
    )
    editor.execute("CREATE OPERATOR trap.= (LEFTARG = text, RIGHTARG = text, FUNCTION = trap.equal)")

    editor.execute("SET search_path = pg_temp, trap, pg_catalog, kaggle")
    editor.execute("INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('kaggle.com/c/titanic')")
    editor.execute("UPDATE kaggle.competitions SET auto_sync = false, title = 't'")
    editor.execute("UPDATE kaggle.competitions SET auto_sync = true, kaggle_competition_id = 'orbit-wars'")
    editor.execute("SELECT kaggle.sync_now('ORBIT-wars')")
    editor.execute("INSERT INTO kaggle.events (slug, title) VALUES ('night', 'Night')")
    editor.execute("SELECT * FROM kaggle.sync_status")
    with pytest.raises(psycopg.errors.QueryCanceled):
        editor.execute("SELECT kaggle.wait_for_sync('orbit-wars', '0 s')")
    editor.execute("DELETE FROM kaggle.competitions")
    sprung = "SELECT what FROM trap.sprung"
    assert editor.execute(sprung).fetchall() == []
    editor.execute("SELECT lower('A'), now()")  # the traps are set: the editor's own statement falls into them
    editor.execute("RESET search_path")
    assert sorted(editor.execute(sprung).fetchall()) == [("lower",), ("now",)]

    for place in ("trap", "pg_temp"):
        for table in tables:
            assert editor.execute(f"SELECT count(*) FROM {place}.{table}").fetchone() == (0,), (place, table)
    reasons = db.execute("SELECT reason FROM kaggle_internal.sync_requests ORDER BY id").fetchall()
    assert [reason for (reason,) in reasons] == ["inserted", "linked", "manual", "deleted"]


# Migrating without the right to make roles.


@pytest.fixture
def plain_owner(empty_database: str) -> Iterator[str]:
    """DSN of an empty database for its owner, who may make no roles."""
    name = f"owner_{secrets.token_hex(4)}"
    role = sql.Identifier(name)
    with Connection.connect(empty_database, autocommit=True) as connection:
        database = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'plain'").format(role))
        connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, role))
        yield make_conninfo(empty_database, user=name, password="plain")
        connection.execute(sql.SQL("REASSIGN OWNED BY {} TO CURRENT_USER").format(role))
        connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(role))
        connection.execute(sql.SQL("DROP ROLE {}").format(role))


def test_migrating_without_createrole_says_so_and_works(
    plain_owner: str, worker: MakeWorker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where the user may not make roles, migrate says which are missing and goes on; the owner can do everything.

    The roles belong to the whole server and other databases use them, so names that do not exist stand in for them.
    """
    told: list[str] = []
    for path in SQL.glob("*.sql"):
        (tmp_path / path.name).write_text(path.read_text().replace("pgleaderboard_", "pgl_absent_"))
    assert migrate.migrate(plain_owner, Release.read(sql=tmp_path), report=told.append) is True
    assert [line for line in told if "pgl_absent_reader" in line and "not made" in line] != []
    monkeypatch.setattr(
        "pgleaderboard.process.session.release.check", lambda connection: None
    )  # it finds another release, of course
    with Connection.connect(plain_owner, autocommit=True) as owner, worker(url=plain_owner, direct_url=plain_owner):
        owner.execute("INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('titanic')")
        assert owner.execute("SELECT outcome FROM kaggle.wait_for_sync('titanic')").fetchone() == ("changed",)
        assert owner.execute("SELECT count(*) > 0 FROM kaggle.leaderboard").fetchone() == (True,)


def test_migrating_where_the_roles_exist(db: Connection, plain_owner: str) -> None:
    """In a second database of the server the roles are there already: they get their rights, and nothing is warned of.

    Not even by a user who may make no roles, since none has to be made.
    """
    assert db.execute("SELECT to_regrole('pgleaderboard_reader') IS NOT NULL").fetchone() == (True,)
    told: list[str] = []
    assert migrate.migrate(plain_owner, report=told.append) is True
    with Connection.connect(plain_owner, autocommit=True) as second:
        for role in ROLES:
            assert allowed(second, role) == EXPECTED[role]
    assert [line for line in told if not line.startswith("to apply:")] == []


def test_a_worker_where_functions_are_not_for_everybody(empty_database: str, worker: MakeWorker) -> None:
    """Where an administrator took EXECUTE on new functions from PUBLIC, the worker's role still runs a worker."""
    name = f"hardened_{secrets.token_hex(4)}"
    dsn = make_conninfo(empty_database, user=name, password="plain")
    with Connection.connect(empty_database, autocommit=True) as admin:
        admin.execute("ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC")
        migrate.migrate(empty_database, report=lambda line: None)
        admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'plain' IN ROLE pgleaderboard_worker")
        try:
            usable: list[Any] = admin.execute(
                "SELECT proname FROM pg_proc WHERE pronamespace = 'procrastinate'::regnamespace"
                " AND NOT has_function_privilege('pgleaderboard_worker', oid, 'EXECUTE')"
            ).fetchall()
            assert usable == []
            with worker(url=dsn, direct_url=dsn):
                admin.execute("INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('titanic')")
                outcome = admin.execute("SELECT outcome FROM kaggle.wait_for_sync('titanic', '10 s')").fetchone()
            assert outcome == ("changed",)
        finally:
            admin.execute(f"DROP OWNED BY {name}")
            admin.execute(f"DROP ROLE {name}")
