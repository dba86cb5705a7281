"""A condition of one's own for automatic syncs: asked by the worker, never by the user's statement."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgleaderboard.database import migrate
from pgleaderboard.sync.store import Begun, Store
from tests.support.aliases import Connection, MakeWorker
from tests.support.asking import (
    OTHER,
    SLUG,
    assert_nothing_is_wanted,
    eventually,
    insert,
    move_time,
    rows,
    runs,
    status,
    sweep_soon,
    synced,
    value,
)
from tests.support.boards import teams, zip_of
from tests.support.syncs import Syncs

NAME = "public.only_featured(kaggle.competitions)"


def condition(db: Connection, body: str) -> None:
    """Make a function and have it asked."""
    db.execute(
        "CREATE OR REPLACE FUNCTION public.only_featured(c kaggle.competitions) RETURNS boolean LANGUAGE plpgsql "
        f"AS $$ BEGIN {body} END $$"
    )
    db.execute("SELECT kaggle.set_sync_condition('public.only_featured(kaggle.competitions)')")


def asked_again(db: Connection) -> None:
    """Let its time come."""
    move_time(db, "UPDATE kaggle_internal.sync_state SET retry_at = clock_timestamp()")
    sweep_soon(db)


def test_it_is_asked_before_every_automatic_sync(db: Connection, worker: MakeWorker) -> None:
    """What it refuses is asked again each interval, keeps its reason, and waits without being a problem."""
    condition(db, "RETURN c.is_featured;")
    with worker():
        insert(db, OTHER, is_featured=True)
        competition_id = insert(db)
        assert synced(db, OTHER) == ("inserted", "changed")
        eventually(
            db,
            "no",
            "SELECT max(condition_says) FROM kaggle_internal.sync_state WHERE competition_id = %s",
            competition_id,
        )
        assert runs(db) == []
        assert status(db, "problem") is None
        assert status(db, "sync_state") == "idle"
        wait = value(db, "SELECT extract(epoch FROM next_sync_at - now())::int FROM kaggle.sync_status "
                         "WHERE competition_id = %s", competition_id)  # fmt: skip
        assert 200 < wait <= 300

        db.execute("UPDATE kaggle.competitions SET is_featured = true WHERE id = %s", (competition_id,))
        asked_again(db)
        eventually(db, 1, "SELECT count(*) FROM kaggle.sync_runs WHERE competition_id = %s", competition_id)
        assert runs(db) == [("inserted", "changed")]


def test_what_is_asked_by_hand_is_not_asked_of_it(db: Connection, worker: MakeWorker) -> None:
    """sync_now syncs; so does nothing else, the final sync and what is due by the clock included."""
    condition(db, "RETURN false;")
    with worker():
        competition_id = insert(db)
        db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
        assert synced(db) == ("manual", "changed")
        move_time(db, "UPDATE kaggle_internal.sync_state SET due_at = clock_timestamp()")
        sweep_soon(db)
        eventually(db, "no", "SELECT (SELECT condition_says FROM kaggle_internal.sync_state)")
        db.execute("UPDATE kaggle.competitions SET status = 'completed' WHERE id = %s", (competition_id,))
        eventually(db, True, "SELECT bool_and(tried) FROM kaggle_internal.sync_requests")
        assert runs(db) == [("manual", "changed")]
        assert status(db, "problem") == "the final sync after the end is outstanding"

        db.execute("SELECT kaggle.set_sync_condition(NULL)")
        asked_again(db)
        eventually(db, 2, "SELECT count(*) FROM kaggle.sync_runs")
        assert runs(db) == [("manual", "changed"), ("completed", "unchanged")]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("RETURN 1 / 0 = 1;", "division by zero"),
        ("PERFORM pg_sleep(60); RETURN true;", "it did not answer within 2s"),
        ("RAISE EXCEPTION E'two\\nlines';", "two lines"),
    ],
)
def test_one_that_fails_syncs_nothing_and_is_the_problem(
    db: Connection, worker: MakeWorker, body: str, says: str
) -> None:
    """It raises or hangs: the user's statement does not notice, the status says it, and others by hand go on."""
    condition(db, body)
    with worker():
        competition_id = insert(db)
        eventually(
            db,
            f"the sync condition fails, so nothing is synced by itself: {says}",
            "SELECT problem FROM kaggle.sync_status WHERE competition_id = %s",
            competition_id,
        )
        insert(db, OTHER, auto_sync=False)
        db.execute("SELECT kaggle.sync_now(%s)", (OTHER,))
        assert synced(db, OTHER) == ("manual", "changed")
        assert runs(db) == []

        db.execute("SELECT kaggle.set_sync_condition(NULL)")
        asked_again(db)
        eventually(db, 1, "SELECT count(*) FROM kaggle.sync_runs WHERE competition_id = %s", competition_id)
        assert status(db, "problem") is None


def test_one_that_was_dropped_with_force_syncs_nothing(db: Connection, worker: MakeWorker) -> None:
    """Only CASCADE drops it, and that is the problem then; made again and set, it is asked again."""
    condition(db, "RETURN true;")
    with pytest.raises(psycopg.errors.DependentObjectsStillExist):
        db.execute("DROP FUNCTION public.only_featured")
    db.execute("DROP FUNCTION public.only_featured CASCADE")
    with worker():
        insert(db)
        eventually(
            db,
            f"the sync condition fails, so nothing is synced by itself: {NAME} does not exist",
            "SELECT problem FROM kaggle.sync_status",
        )
        condition(db, "RETURN true;")
        asked_again(db)
        eventually(db, 1, "SELECT count(*) FROM kaggle.sync_runs")


def test_null_is_no(db: Connection, worker: MakeWorker) -> None:
    """As in a WHERE."""
    condition(db, "RETURN NULL;")
    with worker():
        competition_id = insert(db)
        eventually(db, "no", "SELECT (SELECT condition_says FROM kaggle_internal.sync_state)")
        move_time(db, "DELETE FROM kaggle_internal.sync_requests")
        assert_nothing_is_wanted(db, competition_id)


@pytest.mark.parametrize(
    ("made", "wrong"),
    [
        ("public.two(kaggle.competitions, integer) RETURNS boolean LANGUAGE sql AS 'SELECT true'", "cannot be"),
        ("public.two(kaggle.competitions) RETURNS integer LANGUAGE sql AS 'SELECT 1'", "cannot be"),
        ("public.two(kaggle.competitions) RETURNS SETOF boolean LANGUAGE sql AS 'SELECT true'", "cannot be"),
        ("public.two(bigint) RETURNS boolean LANGUAGE sql AS 'SELECT true'", "cannot be"),
    ],
)
def test_what_cannot_be_one_is_refused(db: Connection, made: str, wrong: str) -> None:
    """At once, and the one before stays."""
    condition(db, "RETURN true;")
    db.execute(f"CREATE FUNCTION {made}")
    with pytest.raises(psycopg.errors.InvalidFunctionDefinition, match=wrong):
        db.execute("SELECT kaggle.set_sync_condition(oid::regprocedure) FROM pg_proc WHERE proname = 'two'")
    assert value(db, "SELECT function FROM kaggle_internal.sync_condition") == NAME


@pytest.fixture
def somebody(db: Connection) -> Iterator[str]:
    """A role that owns a schema of its own, and reads ours."""
    role = f"somebody_{secrets.token_hex(4)}"
    db.execute(f"CREATE ROLE {role}")
    db.execute(f"GRANT pgleaderboard_reader TO {role}")
    db.execute(f"CREATE SCHEMA theirs AUTHORIZATION {role}")
    yield role
    db.execute("RESET ROLE")
    db.execute(f"DROP OWNED BY {role} CASCADE")
    db.execute(f"DROP ROLE {role}")


THEIRS = "theirs.may(kaggle.competitions)"
MAKE = f"CREATE OR REPLACE FUNCTION {THEIRS} RETURNS boolean LANGUAGE sql"


@pytest.mark.parametrize("definer", ["", "SECURITY DEFINER"])
def test_a_function_of_somebody_else_is_refused(db: Connection, somebody: str, definer: str) -> None:
    """It would run with our rights, now or once it is made an ordinary one again."""
    db.execute(f"{MAKE} {definer} AS 'SELECT true'")
    db.execute(f"ALTER FUNCTION {THEIRS} OWNER TO {somebody}")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match=r"theirs\.may.* does not belong to"):
        db.execute(f"SELECT kaggle.set_sync_condition('{THEIRS}')")
    assert rows(db, "SELECT function FROM kaggle_internal.sync_condition") == []
    assert value(db, "SELECT kaggle_internal.bound_condition()") is None


def test_one_that_is_given_away_is_asked_no_more(db: Connection, store: Store, somebody: str) -> None:
    """Whoever owns it could put anything into it."""
    db.execute(f"{MAKE} AS 'SELECT true'")
    db.execute(f"SELECT kaggle.set_sync_condition('{THEIRS}')")
    competition_id = insert(db)
    assert store.ask_condition(competition_id) == "yes"
    db.execute(f"ALTER FUNCTION {THEIRS} OWNER TO {somebody}")
    assert "does not belong to" in store.ask_condition(competition_id)


@pytest.mark.parametrize(
    "trick",
    [
        "DROP FUNCTION theirs.may CASCADE",
        "ALTER SCHEMA theirs RENAME TO other; CREATE SCHEMA theirs",
    ],
)
def test_the_owner_of_its_schema_puts_no_other_in_its_place(
    db: Connection, store: Store, somebody: str, trick: str
) -> None:
    """Our function is bound by its identity: theirs, of the same name, is never called."""
    db.execute(f"{MAKE} AS 'SELECT true'")
    db.execute(f"SELECT kaggle.set_sync_condition('{THEIRS}')")
    db.execute(f"GRANT CREATE ON DATABASE {db.info.dbname} TO {somebody}")
    competition_id = insert(db)
    db.execute(f"SET ROLE {somebody}")
    with pytest.raises((psycopg.errors.DependentObjectsStillExist, psycopg.errors.InsufficientPrivilege)):
        db.execute("DROP FUNCTION theirs.may")
    for statement in trick.split("; "):
        db.execute(statement)
    db.execute(f"{MAKE} AS $$ SELECT 1 / 0 = 1 $$")
    assert store.ask_condition(competition_id) in ("yes", f"{THEIRS} does not exist")
    db.execute("RESET ROLE")


def test_the_schema_may_belong_to_an_administrator(empty_database: str, template: str) -> None:
    """What counts is who owns our functions, to set a condition and to ask it; the roles may use the schema."""
    role = f"plain_{secrets.token_hex(4)}"
    url = make_conninfo(empty_database, user=role, password="plain")
    with Connection.connect(empty_database, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'plain'")
        try:
            for schema in ("kaggle", "kaggle_internal", "procrastinate"):
                admin.execute(f"CREATE SCHEMA {schema}")
                admin.execute(f"GRANT CREATE, USAGE ON SCHEMA {schema} TO {role}")
            told: list[str] = []
            migrate.migrate(url, report=told.append)
            for name, schema in (
                ("reader", "kaggle"),
                ("editor", "kaggle"),
                ("worker", "kaggle"),
                ("worker", "kaggle_internal"),
                ("worker", "procrastinate"),
            ):
                grant = f"GRANT USAGE ON SCHEMA {schema} TO pgleaderboard_{name}"
                assert f"this user may not grant it, the owner of the schema must: {grant}" in told
            for schema in ("kaggle", "kaggle_internal", "procrastinate"):
                admin.execute(f"GRANT USAGE ON SCHEMA {schema} TO {role} WITH GRANT OPTION")
            told.clear()
            migrate.migrate(url, report=told.append, again=True)
            assert [line for line in told if "may not grant" in line] == []
            assert value(admin, "SELECT has_schema_privilege('pgleaderboard_reader', 'kaggle', 'USAGE')")
            with Connection.connect(url, autocommit=True) as db:
                db.execute(
                    "CREATE FUNCTION kaggle.mine(kaggle.competitions) RETURNS boolean LANGUAGE sql AS 'SELECT true'"
                )
                db.execute("SELECT kaggle.set_sync_condition('kaggle.mine(kaggle.competitions)')")
                assert value(db, "SELECT kaggle_internal.ask_condition(%s)", insert(db)) == "yes"
        finally:
            admin.execute(f"DROP OWNED BY {role} CASCADE")
            admin.execute(f"DROP ROLE {role}")


def test_what_it_leaves_behind_is_taken_back(db: Connection, store: Store) -> None:
    """Somebody else's settings and temporary tables do not stay on the worker's connection."""
    db.execute(
        "CREATE FUNCTION public.leaves(kaggle.competitions) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER AS $$ "
        "BEGIN PERFORM set_config('search_path', 'public', false); CREATE TABLE pg_temp.staged_rows_1 (mine text); "
        "RETURN true; END $$"
    )
    db.execute("SELECT kaggle.set_sync_condition('public.leaves(kaggle.competitions)')")
    has = "SELECT pg_backend_pid(), current_setting('search_path'), to_regclass('pg_temp.staged_rows_1')"
    with store._pool.connection() as connection:
        before = rows(connection, has)
    assert store.ask_condition(insert(db)) == "yes"
    with store._pool.connection() as connection:
        assert before == rows(connection, has)


def answered(syncs: Syncs, says: str) -> Begun:
    """An attempt is wanted, and the condition is asked and says this of it."""
    assert syncs.again().action == "ask"
    return syncs.store.begin_sync(syncs.competition, says)


WANTED = "SELECT task, competition_id FROM kaggle_internal.wanted(NULL, true) WHERE task = 'sync'"


@pytest.mark.parametrize("another", [False, True])
def test_what_one_put_off_is_considered_anew_without_it(
    db: Connection, compete: Callable[..., Syncs], another: bool
) -> None:
    """Once it is taken away or another one is set: no sync_interval has to pass first."""
    condition(db, "RETURN 1 / 0 = 1;")
    syncs = compete(auto_sync=True)
    assert answered(syncs, "division by zero").action == "none"
    assert syncs.again().action == "none"
    assert str(status(db, "problem", "a-board")).endswith("division by zero")
    db.execute("TRUNCATE procrastinate.procrastinate_jobs CASCADE")
    if another:
        condition(db, "RETURN true;")
    else:
        db.execute("SELECT kaggle.set_sync_condition(NULL)")
    assert status(db, "problem", "a-board") is None
    assert rows(db, "SELECT task_name FROM procrastinate.procrastinate_jobs") == [("sweep",)]
    assert rows(db, WANTED) == [("sync", syncs.competition)]
    begun = answered(syncs, "yes") if another else syncs.again()
    assert (begun.action, begun.reason) == ("sync", "inserted")


def test_one_that_refuses_another_kaggle_id_is_not_asked_at_once_again(
    db: Connection, compete: Callable[..., Syncs]
) -> None:
    """It has said no to the new link; a sweep does not find that link unanswered."""
    syncs = compete(auto_sync=True)
    syncs.sync(zip_of(teams(1)))
    condition(db, "RETURN false;")
    db.execute("UPDATE kaggle.competitions SET kaggle_competition_id = 'b-board'")
    assert answered(syncs, "no").action == "none"
    assert rows(db, WANTED) == []
    assert syncs.again().action == "none"
