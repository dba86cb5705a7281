"""Row level security: a row that cannot be seen is no row that was deleted, whoever the worker is."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.json import Jsonb

from pgleaderboard.database import migrate
from pgleaderboard.sync.retry import decide
from pgleaderboard.sync.store import Store
from tests.support.aliases import Connection, MakeWorker
from tests.support.asking import PATIENCE, eventually, insert, move_time, sweep_soon, synced, value
from tests.support.boards import shown, teams, zip_of
from tests.support.databases import copy_of
from tests.support.faults import Simulator
from tests.support.syncs import WORKER, Syncs

OF_PEOPLE = (
    "kaggle.competitions",
    "kaggle.events",
    "kaggle.event_competitions",
    "kaggle.participants",
    "kaggle.event_participants",
)
OF_THE_WORKER = (
    "kaggle_internal.sync_requests",
    "kaggle_internal.sync_state",
    "kaggle.sync_runs",
    "kaggle_internal.sync_condition",
    "kaggle_internal.worker_processes",
    "kaggle_internal.kaggle_budget",
    "kaggle.boards",
    "kaggle.leaderboard_entries",
    "kaggle_internal.packs",
    "kaggle_internal.past_names",
)
POLICIES = {
    "no policy": "",
    "a policy for another role": "CREATE POLICY somebody ON {table} FOR SELECT TO pgleaderboard_reader USING (true)",
    # What is written passes, what is there is not seen: an absence would be believed.
    "a policy for inserts": "CREATE POLICY everybody ON {table} FOR INSERT WITH CHECK (true)",
}
HIDDEN = psycopg.errors.InsufficientPrivilege


@pytest.fixture
def role(db: Connection) -> Iterator[str]:
    """A role that may log in and run a worker, and owns nothing: what docs/operating.md recommends."""
    name = f"unprivileged_{secrets.token_hex(4)}"
    db.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'plain' IN ROLE pgleaderboard_worker")
    yield name
    db.execute(f"DROP OWNED BY {name}")
    db.execute(f"DROP ROLE {name}")


@pytest.fixture
def role_url(url: str, role: str) -> str:
    """DSN for that role."""
    return make_conninfo(url, user=role, password="plain")


@pytest.fixture
def as_role(role_url: str) -> Iterator[Connection]:
    """A connection of that role, in autocommit."""
    with Connection.connect(role_url, autocommit=True) as connection:
        yield connection


def hide(db: Connection, table: str, policy: str = "no policy") -> None:
    """Switch row level security on."""
    db.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    if statement := POLICIES[policy].format(table=table):
        db.execute(statement)


def show(db: Connection, table: str) -> None:
    """Switch it off again."""
    db.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")


def kept(db: Connection) -> dict[str, list[Any]]:
    """What must not get lost."""
    return (
        {
            table: db.execute(f"SELECT to_jsonb(t) FROM kaggle.{table} t ORDER BY 1").fetchall()
            for table in ("competitions", "boards", "leaderboard_entries", "sync_runs")
        }
        | {
            table: db.execute(f"SELECT to_jsonb(t) FROM kaggle_internal.{table} t ORDER BY 1").fetchall()
            for table in ("packs", "past_names")
        }
        | {
            "states": db.execute(
                "SELECT competition_id, link_revision FROM kaggle_internal.sync_state ORDER BY 1"
            ).fetchall(),
            "requests": db.execute("SELECT id FROM kaggle_internal.sync_requests ORDER BY 1").fetchall(),
        }
    )


def tried(connection: Connection, competition_id: int, run_id: int, worker_id: int) -> set[str]:
    """Everything a worker does, each in a transaction that is committed if nothing is refused. Returns what was."""
    refused = set()
    for statement, values in (
        ("SELECT kaggle_internal.sweep(%s, true)", (worker_id,)),
        ("SELECT kaggle_internal.rescue()", ()),
        ("SELECT kaggle_internal.confirm_board(%s, 'public', 'other bytes')", (run_id,)),
        ("SELECT kaggle_internal.fail_run(%s, %s, 'it broke', 'transient', '1 hour')", (run_id, worker_id)),
        ("SELECT kaggle_internal.begin_sync(%s, %s)", (competition_id, worker_id)),
        ("SELECT kaggle_internal.begin_describe(%s, 1)", (competition_id,)),
        ("SELECT kaggle_internal.let_go(%s, gen_random_uuid(), '1 minute', 'why')", (competition_id,)),
        ("SELECT kaggle_internal.remove_deleted(%s)", (competition_id,)),
        ("SELECT kaggle_internal.remove_detached()", ()),
        ("SELECT kaggle_internal.prune_runs('-1 hour')", ()),
        ("SELECT kaggle_internal.begin_backfill('a-board')", ()),
    ):
        try:
            connection.execute(statement, values)
        except HIDDEN as error:
            if "row level security hides rows of kaggle" in str(error) and "BYPASSRLS" in (
                error.diag.message_hint or ""
            ):
                refused.add(statement.removeprefix("SELECT kaggle_internal.").split("(")[0])
    return refused


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("table", OF_THE_WORKER)
def test_a_worker_that_does_not_see_its_own_tables_does_nothing(
    db: Connection, syncs: Syncs, as_role: Connection, role_url: str, table: str, policy: str
) -> None:
    """Every function refuses, names the table and the remedy, and leaves everything as it is."""
    db.execute("UPDATE kaggle.competitions SET history_interval = '1 hour'")
    for minute, ids in enumerate(((1, 2, 3), (3, 2), (2, 3, 1))):
        syncs.sync_at(datetime(2026, 1, 1, 0, minute, tzinfo=UTC), zip_of(teams(*ids)))
    run_id = syncs.begin().run_id
    before = kept(db)
    worker_id = value(as_role, "SELECT kaggle_internal.register_worker('test', 'credential')")
    hide(db, table, policy)

    refused = tried(as_role, syncs.competition, run_id, worker_id)
    with closing(Store(role_url, WORKER, connections=1)) as store, suppress(HIDDEN):
        store.open()
        store.thin_history()

    assert {"sweep", "fail_run", "let_go"} <= refused  # the others may find nothing to do
    assert kept(db) == before
    show(db, table)
    assert syncs.end(run_id, zip_of(teams(2, 3))).outcome == "changed"


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("table", OF_PEOPLE)
def test_a_worker_that_does_not_see_what_people_wrote_removes_nothing(
    db: Connection, syncs: Syncs, as_role: Connection, table: str, policy: str
) -> None:
    """A competition that is hidden is left alone, and its attempt is skipped; what is asked of it waits."""
    syncs.sync(zip_of(teams(1, 2, 3)))
    syncs.sync(zip_of(teams(3, 2)))
    before = kept(db)
    worker_id = value(as_role, "SELECT kaggle_internal.register_worker('test', 'credential')")
    db.execute("SELECT kaggle.sync_now('a-board')")
    hide(db, table, policy)

    begun = as_role.execute(
        "SELECT action, run_id FROM kaggle_internal.begin_sync(%s, %s)", (syncs.competition, worker_id)
    ).fetchone()
    assert begun is not None
    assert begun[0] == ("none" if table == "kaggle.competitions" else "sync")
    for _ in range(2):
        as_role.execute("SELECT kaggle_internal.sweep(%s, true)", (worker_id,))
        as_role.execute("SELECT kaggle_internal.remove_deleted(%s)", (syncs.competition,))
        as_role.execute("SELECT kaggle_internal.remove_detached()")

    after = kept(db)
    assert len(after.pop("requests")) == 1
    assert before.pop("requests") == []
    assert after == before
    assert value(db, "SELECT count(*) FROM kaggle_internal.sync_state WHERE missing_since IS NOT NULL") == 0
    show(db, table)
    run_id = begun[1] or syncs.again().run_id
    assert syncs.end(run_id, zip_of(teams(2, 3))).outcome == "changed"


def test_a_row_that_was_missing_before_rows_were_hidden(db: Connection, syncs: Syncs, as_role: Connection) -> None:
    """It may be back by now, and cannot be seen: its hour does not run out."""
    syncs.sync(zip_of(teams(1, 2, 3)))
    before = kept(db)
    worker_id = value(as_role, "SELECT kaggle_internal.register_worker('test', 'credential')")
    db.execute("UPDATE kaggle_internal.sync_state SET missing_since = clock_timestamp() - interval '2 hours'")
    hide(db, "kaggle.competitions")
    as_role.execute("SELECT kaggle_internal.sweep(%s, true)", (worker_id,))
    assert value(as_role, "SELECT count(*) FROM kaggle_internal.wanted(NULL, true)") == 0
    assert not value(as_role, "SELECT kaggle_internal.remove_deleted(%s)", syncs.competition)
    assert kept(db) == before
    show(db, "kaggle.competitions")
    as_role.execute("SELECT kaggle_internal.sweep(%s, true)", (worker_id,))
    assert value(db, "SELECT count(*) FROM kaggle_internal.sync_state WHERE missing_since IS NOT NULL") == 0


def test_a_row_that_is_hidden_during_its_sync(db: Connection, syncs: Syncs, role_url: str) -> None:
    """The download is discarded, since the row cannot be asked; when it is due, and whether it was final, stays."""
    syncs.sync(zip_of(teams(1, 2)))
    db.execute("UPDATE kaggle.competitions SET auto_sync = true, status = 'completed'")
    syncs.sync(zip_of(teams(1, 2)))
    when = "SELECT due_interval, completed_at FROM kaggle_internal.sync_state"
    planned = db.execute(when).fetchone()
    assert planned is not None
    assert None not in planned
    unprivileged = Store(role_url, WORKER, connections=1)
    unprivileged.open()
    try:
        run_id = syncs.begin().run_id
        hide(db, "kaggle.competitions")
        with pytest.raises(HIDDEN) as refused:
            Syncs(db, unprivileged, syncs.competition).end(run_id, zip_of(teams(2, 1)))
        decision = decide(refused.value, failures=0, failing_for=timedelta(0), interval=timedelta(minutes=5))
        assert unprivileged.fail(run_id, decision) == "skipped"
    finally:
        unprivileged.close()
    assert value(db, "SELECT error FROM kaggle.sync_runs ORDER BY id DESC LIMIT 1") == (
        "the competition was hidden by row level security"
    )
    assert db.execute(when).fetchone() == planned
    show(db, "kaggle.competitions")
    assert syncs.sync(zip_of(teams(2, 1))).outcome == "changed"


def test_rows_that_are_hidden_while_a_removal_is_under_way(
    db: Connection, syncs: Syncs, as_role: Connection, connect: Callable[[], Connection]
) -> None:
    """It has looked around before, and comes to the runs after: they are hidden, and not taken for removed."""
    syncs.sync(zip_of(teams(1, 2, 3)))
    db.execute("DELETE FROM kaggle.competitions")
    before = kept(db)
    holder = connect()
    holder.execute("SELECT FROM kaggle.boards FOR UPDATE")
    with ThreadPoolExecutor(1) as pool:
        removal = pool.submit(value, as_role, "SELECT kaggle_internal.remove_deleted(%s)", syncs.competition)
        eventually(db, True, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        hide(db, "kaggle.sync_runs")
        holder.commit()
        with pytest.raises(HIDDEN, match=r"hides rows of kaggle\.sync_runs"):
            removal.result(20)
    assert kept(db) == before


@pytest.mark.parametrize(
    "table", ["kaggle.competitions", "kaggle_internal.sync_state", "kaggle.boards", "kaggle.leaderboard_entries"]
)
def test_an_order_that_could_not_be_read_is_not_taken_for_none(
    db: Connection, syncs: Syncs, as_role: Connection, table: str
) -> None:
    """Else the board would keep its old order under the new file's digest, once the rows are shown again."""
    syncs.sync(zip_of(teams(1, 2, 3)))
    board_id = value(db, "SELECT id FROM kaggle.boards")
    run_id = syncs.begin().run_id
    as_role.execute("SELECT kaggle_internal.prepare_staging(1)")
    hide(db, table)
    with pytest.raises(HIDDEN, match=rf"hides rows of {table}"):
        as_role.execute("SELECT kaggle_internal.board_of_run(%s, 'public')", (run_id,))
    if table != "kaggle.competitions":
        with pytest.raises(HIDDEN):
            as_role.execute("SELECT kaggle_internal.compare_staging(%s)", (board_id,))
    show(db, table)
    assert syncs.end(run_id, zip_of(teams(3, 2, 1))).outcome == "changed"
    assert syncs.leaderboard() == shown(teams(3, 2, 1))


def test_an_attempt_that_meets_hidden_rows_passes_by_itself(
    db: Connection, worker: MakeWorker, role_url: str, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows are hidden while Kaggle is asked, and shown again: no fault of ours is told, and the board comes."""
    gate = simulator.faults.hold("simulated-1-teams", "DownloadLeaderboard")
    with caplog.at_level(logging.WARNING), worker(url=role_url, direct_url=role_url):
        insert(db, "simulated-1-teams")
        assert gate.arrived.wait(PATIENCE)
        hide(db, "kaggle.boards")
        gate.release()
        for _ in range(int(PATIENCE * 100)):
            if caplog.records:
                break
            value(db, "SELECT pg_sleep(0.01)")
        show(db, "kaggle.boards")
        # The attempt failed and waits, or its session has ended and another one has begun it anew.
        eventually(
            db, True, "SELECT retry_at IS NOT NULL OR last_success_at IS NOT NULL FROM kaggle_internal.sync_state"
        )
        move_time(db, "UPDATE kaggle_internal.sync_state SET retry_at = clock_timestamp()")
        sweep_soon(db)
        eventually(db, 1, "SELECT count(*) FROM kaggle.leaderboard WHERE NOT is_benchmark")
    assert [record for record in caplog.records if record.exc_info or "itself failed" in record.getMessage()] == []


def test_what_is_seen_is_synced_on(db: Connection, role: str, role_url: str, worker: MakeWorker) -> None:
    """A policy that shows some competitions has these synced; the others keep what they have, and get it again."""
    with worker():
        for slug in ("simulated-1-teams", "simulated-2-teams"):
            insert(db, slug)
            synced(db, slug)
    before = kept(db)
    db.execute("ALTER TABLE kaggle.competitions ENABLE ROW LEVEL SECURITY")
    db.execute(
        f"CREATE POLICY first ON kaggle.competitions TO {role} USING (kaggle_competition_id = 'simulated-1-teams')"
    )
    with worker(url=role_url, direct_url=role_url):
        for slug in ("simulated-2-teams", "simulated-1-teams"):  # the hidden one is asked for first
            db.execute("SELECT kaggle.sync_now(%s)", (slug,))
        assert synced(db, "simulated-1-teams")[0] == "manual"
        swept = value(db, "SELECT max(seen_at) FROM kaggle_internal.worker_processes")
        sweep_soon(db)
        eventually(db, True, "SELECT max(seen_at) > %s FROM kaggle_internal.worker_processes", swept)
        after = kept(db)
        for table in ("competitions", "leaderboard_entries", "packs", "past_names", "states"):
            assert after[table] == before[table]
        db.execute("ALTER TABLE kaggle.competitions DISABLE ROW LEVEL SECURITY")
        sweep_soon(db)
        assert synced(db, "simulated-2-teams")[0] == "manual"


@pytest.mark.parametrize(
    "table", ["kaggle_internal.sync_state", "kaggle_internal.packs", "kaggle_internal.applied_files"]
)
def test_a_worker_waits_until_it_sees_its_tables(
    db: Connection, role_url: str, worker: MakeWorker, caplog: pytest.LogCaptureFixture, table: str
) -> None:
    """It says why, once, without a traceback, registers nobody, and works as soon as it can."""
    hide(db, table)
    insert(db, "simulated-1-teams")
    with caplog.at_level(logging.WARNING), worker(url=role_url, direct_url=role_url):
        for _ in range(int(PATIENCE * 100)):
            if caplog.records:
                break
            value(db, "SELECT pg_sleep(0.01)")
        show(db, table)
        assert synced(db, "simulated-1-teams") == ("inserted", "changed")
    (said,) = [record for record in caplog.records if "row level security" in record.getMessage()]
    assert said.exc_info is None
    assert f"hides rows of {table} from role" in said.getMessage()


@pytest.fixture(scope="module")
def owned(server_url: str, template: str) -> Iterator[str]:
    """DSN of a database to copy, which an owner that is no superuser has migrated; the template's made the roles."""
    name = f"owner_{secrets.token_hex(4)}"
    role = sql.Identifier(name)
    with (
        copy_of("template0", server_url) as url,
        Connection.connect(server_url, autocommit=True) as admin,
    ):
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'plain'").format(role))
        database = conninfo_to_dict(url)["dbname"]
        admin.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(sql.Identifier(str(database)), role))
        owner = make_conninfo(url, user=name, password="plain")
        migrate.migrate(owner)
        yield owner
        with Connection.connect(url, autocommit=True) as inside:
            inside.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(role))
        admin.execute(sql.SQL("DROP ROLE {}").format(role))


@pytest.fixture
def owners_database(owned: str, server_url: str) -> Iterator[str]:
    """DSN of a copy of that database for a superuser."""
    with copy_of(str(conninfo_to_dict(owned)["dbname"]), server_url) as url:
        yield url


@pytest.fixture
def owner(owned: str, owners_database: str) -> str:
    """DSN of that copy for its owner."""
    return make_conninfo(owned, dbname=conninfo_to_dict(owners_database)["dbname"])


@pytest.mark.parametrize("table", ["kaggle.competitions", *OF_THE_WORKER])
def test_an_owner_is_forced_too(owner: str, owners_database: str, table: str) -> None:
    """FORCE ROW LEVEL SECURITY hides rows from their owner as well; nothing is concluded there either."""
    store = Store(owner, WORKER, connections=1)
    store.open()
    try:
        with (
            Connection.connect(owners_database, autocommit=True) as db,
            Connection.connect(owner, autocommit=True) as mine,
        ):
            worker_id = value(mine, "SELECT kaggle_internal.register_worker('test', 'credential')")
            syncs = Syncs(db, store, insert(db, "a-board", auto_sync=False))
            syncs.sync(zip_of(teams(1, 2, 3)))
            syncs.sync(zip_of(teams(3, 2)))
            before = kept(db)
            mine.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
            for _ in range(2):
                try:
                    mine.execute("SELECT kaggle_internal.sweep(%s, true)", (worker_id,))
                    assert table == "kaggle.competitions"
                except HIDDEN:
                    assert table != "kaggle.competitions"
            assert kept(db) == before
    finally:
        store.close()


@pytest.mark.parametrize("statement", ["DELETE FROM kaggle.competitions", "TRUNCATE kaggle.competitions CASCADE"])
def test_a_noted_deletion_of_a_row_that_may_be_back(
    db: Connection, syncs: Syncs, as_role: Connection, statement: str
) -> None:
    """A restore brings back a row that cannot be seen: nothing is removed, and `work --once` ends."""
    syncs.sync(zip_of(teams(1, 2, 3)))
    row = value(db, "SELECT to_jsonb(c) FROM kaggle.competitions c")
    db.execute(statement)
    move_time(db, "INSERT INTO kaggle.competitions SELECT * FROM jsonb_populate_record(null::kaggle.competitions, %s)",
              Jsonb(row))  # fmt: skip
    before = kept(db)
    hide(db, "kaggle.competitions")
    worker_id = value(as_role, "SELECT kaggle_internal.register_worker('test', 'credential')")
    as_role.execute("SELECT kaggle_internal.sweep(%s, true)", (worker_id,))
    assert value(as_role, "SELECT count(*) FROM kaggle_internal.wanted(NULL, true)") == 0
    as_role.execute("SELECT kaggle_internal.begin_sync(%s, 1)", (syncs.competition,))
    as_role.execute("SELECT kaggle_internal.remove_deleted(%s)", (syncs.competition,))
    assert kept(db) == before
    show(db, "kaggle.competitions")
    assert syncs.again().action == "none"
    assert syncs.leaderboard() == shown(teams(1, 2, 3))


@pytest.mark.parametrize("statement", ["DELETE FROM kaggle.competitions", "TRUNCATE kaggle.competitions CASCADE"])
def test_a_noted_deletion_while_rows_are_hidden(
    db: Connection, syncs: Syncs, as_role: Connection, statement: str
) -> None:
    """It waits until the rows are seen; the note is not taken for one that was acted on."""
    syncs.sync(zip_of(teams(1, 2, 3)))
    db.execute(statement)
    before = kept(db)
    hide(db, "kaggle.competitions")
    worker_id = value(as_role, "SELECT kaggle_internal.register_worker('test', 'credential')")
    as_role.execute("SELECT kaggle_internal.sweep(%s, true)", (worker_id,))
    as_role.execute("SELECT kaggle_internal.remove_deleted(%s)", (syncs.competition,))
    assert kept(db) == before
    assert value(as_role, "SELECT count(*) FROM kaggle_internal.wanted(NULL, true)") == 0
    show(db, "kaggle.competitions")
    assert value(as_role, "SELECT count(*) FROM kaggle_internal.wanted(NULL, true)") == 1
    as_role.execute("SELECT kaggle_internal.remove_deleted(%s)", (syncs.competition,))
    assert kept(db)["states"] == []


@pytest.mark.parametrize(
    "table",
    [
        "kaggle_internal.packs",
        "kaggle.sync_runs",
        "kaggle_internal.kaggle_budget",
        "kaggle_internal.sync_condition",
    ],
)
def test_people_write_on_though_the_owner_is_forced(owner: str, owners_database: str, table: str) -> None:
    """What only the worker reads is no reason to refuse an INSERT."""
    with (
        Connection.connect(owners_database, autocommit=True) as admin,
        Connection.connect(owner, autocommit=True) as mine,
    ):
        mine.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
        with admin.transaction():
            admin.execute("SET LOCAL ROLE pgleaderboard_editor")
            insert(admin, "a-board")
            admin.execute("SELECT kaggle.sync_now('a-board')")
            assert value(admin, "SELECT sync_state FROM kaggle.sync_status") == "queued"


def test_readers_and_editors_go_on(db: Connection, compete: Callable[..., Syncs]) -> None:
    """Where the tables are theirs to see, the others are read and written in the owner's name, hidden or not."""
    syncs = compete()
    syncs.sync(zip_of(teams(1, 2, 3)))
    for table in OF_THE_WORKER:
        hide(db, table)
    with db.transaction():
        db.execute("SET LOCAL ROLE pgleaderboard_editor")
        assert value(db, "SELECT count(*) FROM kaggle.leaderboard") == 3
        assert value(db, "SELECT teams FROM kaggle.sync_status") == 3
        insert(db, "b-board")
        db.execute("SELECT kaggle.sync_now('b-board')")
        db.execute("DELETE FROM kaggle.competitions WHERE kaggle_competition_id = 'a-board'")
    assert value(db, "SELECT array_agg(reason ORDER BY id) FROM kaggle_internal.sync_requests") == [
        "inserted",
        "manual",
        "deleted",
    ]
