"""What hung on a deleted competition is removed, all of it and nothing else; a row with its id again is another one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.support.aliases import Connect, Connection, MakeWorker
from tests.support.asking import eventually, insert, move_time, rows, synced, value
from tests.support.boards import shown, teams, zip_of
from tests.support.faults import Simulator
from tests.support.syncs import Syncs

TABLES = (
    "kaggle.boards",
    "kaggle.leaderboard_entries",
    "kaggle_internal.packs",
    "kaggle_internal.past_names",
    "kaggle.sync_runs",
    "kaggle_internal.sync_state",
    "kaggle_internal.sync_requests",
)


def left(db: Connection) -> dict[str, int]:
    """How many rows each table has that something of a competition can hang in, where it has any."""
    counts = {table: value(db, f"SELECT count(*) FROM {table}") for table in TABLES}
    return {table.split(".")[1]: count for table, count in counts.items() if count}


def delete(syncs: Syncs) -> None:
    """Delete its row."""
    syncs.db.execute("DELETE FROM kaggle.competitions WHERE id = %s", (syncs.competition,))


def insert_again(db: Connection, syncs: Syncs, slug: str = "a-board") -> None:
    """Insert a row with the same id, and the same slug unless another is given."""
    insert(db, slug, id=syncs.competition, auto_sync=False)


def remove(connection: Connection, competition_id: int, at_most: int = 10000) -> bool:
    """One chunk of the runs."""
    return bool(value(connection, "SELECT kaggle_internal.remove_deleted(%s, %s)", competition_id, at_most))


def remove_board(connection: Connection, at_most: int = 10000) -> bool:
    """One chunk of a board."""
    return bool(value(connection, "SELECT kaggle_internal.remove_detached(%s)", at_most))


@pytest.fixture
def moved(syncs: Syncs) -> Syncs:
    """A competition with three runs, three entries and a past of two boards; a team changed its name twice."""
    syncs.sync(zip_of(teams(1, 2, 3)))
    syncs.sync(zip_of([team.but(team_name="renamed") for team in teams(3)] + teams(2, 1)))
    syncs.sync(zip_of(teams(1, 2, 3)))
    assert left(syncs.db) == {
        "boards": 1,
        "leaderboard_entries": 3,
        "packs": 2,
        "past_names": 2,
        "sync_runs": 3,
        "sync_state": 1,
    }
    return syncs


def test_chunk_by_chunk_down_to_nothing(moved: Syncs) -> None:
    """From the first chunk on nobody sees the board; state and requests go last."""
    delete(moved)
    assert moved.again().action == "remove"
    assert remove(moved.db, moved.competition, 1)
    assert value(moved.db, "SELECT array_agg(competition_id) FROM kaggle.boards") == [None]
    assert remove(moved.db, moved.competition, 1)
    assert left(moved.db)["sync_state"] == 1
    assert not remove(moved.db, moved.competition, 1)
    assert left(moved.db) == {"boards": 1, "leaderboard_entries": 3, "packs": 2, "past_names": 2}
    assert rows(moved.db, "SELECT task_name FROM procrastinate.procrastinate_jobs WHERE task_name = 'remove'")
    chunks = 0
    while remove_board(moved.db, 2):
        chunks += 1
    assert chunks == 3  # a pack and two other rows each
    assert left(moved.db) == {}
    assert not remove(moved.db, moved.competition)


def test_two_that_remove_the_same_board(moved: Syncs, connect: Connect) -> None:
    """Who meets the rows that another removes does not take that for the end."""
    delete(moved)
    while remove(moved.db, moved.competition):
        pass
    first, second = connect(), connect()
    for connection in (first, second):
        connection.execute("SET lock_timeout = '2s'")
        connection.commit()
    assert remove_board(first, 3)
    assert not remove_board(second, 3)
    second.commit()
    assert left(moved.db)["boards"] == 1
    first.commit()
    while remove_board(second, 3):
        second.commit()
    assert left(moved.db) == {}


def test_two_that_remove_the_same_competition(moved: Syncs, connect: Connect) -> None:
    """The second waits for the row of the state, and goes on where the first has stopped."""
    delete(moved)
    first, second = connect(), connect()
    assert remove(first, moved.competition, 1)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(remove, second, moved.competition, 1)
        eventually(moved.db, True, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        assert not other.done()
        first.commit()
        assert other.result(20)
    second.commit()
    assert left(moved.db)["sync_runs"] == 1


@pytest.mark.parametrize("chunks", [0, 1, 2, 9])
@pytest.mark.parametrize("slug", ["a-board", "another-board"])
def test_a_row_that_is_inserted_again_under_its_id_is_another_one(moved: Syncs, chunks: int, slug: str) -> None:
    """However much was removed by then: it gets a board and runs of its own, from the same bytes, too."""
    delete(moved)
    for _ in range(chunks):
        remove(moved.db, moved.competition, 1)
    insert_again(moved.db, moved, slug)
    moved.db.execute("SELECT kaggle.sync_now(%s)", (slug,))
    if chunks < 3:
        assert moved.again().action == "remove"
    while remove(moved.db, moved.competition):
        pass
    while remove_board(moved.db):
        pass

    begun = moved.again()
    assert (begun.action, begun.reason) == ("sync", "manual")
    assert moved.end(begun.run_id, zip_of(teams(1, 2, 3), slug=slug)).added == 3

    assert moved.leaderboard() == shown(teams(1, 2, 3))
    assert left(moved.db) == {"boards": 1, "leaderboard_entries": 3, "sync_runs": 1, "sync_state": 1}


def test_twice_under_the_same_id_before_anybody_looks(moved: Syncs) -> None:
    """Two deletions and two insertions: the second row that came is the one that is there."""
    for _ in range(2):
        delete(moved)
        insert_again(moved.db, moved)
    assert moved.begin_after_removal() == "sync"
    assert left(moved.db)["boards"] == 1


def test_a_row_that_comes_while_its_predecessor_is_removed(moved: Syncs, connect: Connect) -> None:
    """Its request stays, though it commits between the look at the row and the end of the removal."""
    delete(moved)
    remover = connect()
    assert not remove(remover, moved.competition)
    moved.db.execute("SET lock_timeout = '2s'")
    insert(moved.db, "a-board", id=moved.competition)
    remover.commit()
    begun = moved.again()
    assert (begun.action, begun.reason) == ("sync", "inserted")
    moved.end(begun.run_id, zip_of(teams(1, 2, 3)))
    assert moved.leaderboard() == shown(teams(1, 2, 3))


def test_what_is_asked_of_the_next_row_outlives_the_removal(moved: Syncs) -> None:
    """Only the requests of the row that was deleted go with it."""
    moved.db.execute("SELECT kaggle.sync_now('a-board')")
    delete(moved)
    insert_again(moved.db, moved)
    moved.db.execute("SELECT kaggle.sync_now('a-board')")
    while remove(moved.db, moved.competition):
        pass
    assert rows(moved.db, "SELECT reason, run_id FROM kaggle_internal.sync_requests") == [("manual", None)]


def test_a_removal_that_nothing_asks_for_removes_nothing(moved: Syncs) -> None:
    """Neither of a row that is there, nor of one that is synced at this moment, nor of one that was never there."""
    before = left(moved.db)
    assert not remove(moved.db, moved.competition)
    assert not remove(moved.db, 4711)
    run_id = moved.begin().run_id
    delete(moved)
    assert not remove(moved.db, moved.competition)
    assert left(moved.db) == before | {"sync_requests": 2}
    assert moved.end(run_id, zip_of(teams(2))).outcome == "skipped"
    assert moved.again().action == "remove"


def test_a_competition_that_was_never_synced(db: Connection, syncs: Syncs) -> None:
    """Its request goes, and the job that comes second leaves no state behind."""
    delete(syncs)
    assert syncs.again().action == "remove"
    assert not remove(db, syncs.competition)
    assert syncs.again().action == "none"
    assert left(db) == {}


def test_with_a_worker(db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """Deleted and inserted again under the same id and slug, with the same bytes at Kaggle: the board is there."""
    slug = "simulated-30-teams"
    with worker():
        competition_id = insert(db, slug)
        synced(db, slug)
        for _ in range(3):
            with db.transaction():
                db.execute("DELETE FROM kaggle.competitions")
                insert(db, slug, id=competition_id)
            eventually(db, 30, "SELECT count(*) FROM kaggle.leaderboard WHERE NOT is_benchmark")
            eventually(db, 1, "SELECT count(*) FROM kaggle.sync_runs")
            eventually(db, 1, "SELECT count(*) FROM kaggle.boards")
        db.execute("DELETE FROM kaggle.competitions")
        for table in TABLES:
            eventually(db, 0, f"SELECT count(*) FROM {table}")


def test_what_is_asked_of_a_row_while_it_is_being_deleted_is_not_asked_of_the_next(
    moved: Syncs, connect: Connect
) -> None:
    """The request comes between the deletion and its commit: it is the old row's, whatever its number."""
    deleting = connect()
    deleting.execute("DELETE FROM kaggle.competitions")
    moved.db.execute("SELECT kaggle.sync_now('a-board')")
    insert(deleting, "b-board", id=moved.competition, auto_sync=False)
    deleting.commit()
    while moved.again().action == "remove":
        moved.store.remove_deleted(moved.competition)
        moved.store.remove_detached()
    assert moved.again().action == "none"
    assert left(moved.db) == {"sync_state": 1}


def test_nobody_waits_for_a_run_of_the_row_before(moved: Syncs) -> None:
    """wait_for_sync on the new row does not answer with what the old one has left."""
    delete(moved)
    insert_again(moved.db, moved)
    with pytest.raises(psycopg.errors.QueryCanceled):
        moved.db.execute("SELECT kaggle.wait_for_sync('a-board', '0.1 s')")


@pytest.mark.parametrize("statement", ["DELETE FROM kaggle.competitions", "TRUNCATE kaggle.competitions CASCADE"])
def test_a_row_that_is_brought_back_is_the_same(moved: Syncs, statement: str) -> None:
    """A restore after the deletion: a revision is never repeated, so all that hung on the row is its own again."""
    before, row = left(moved.db), value(moved.db, "SELECT to_jsonb(c) FROM kaggle.competitions c")
    moved.db.execute(statement)
    bring_back(moved.db, row)
    assert moved.again().action == "none"
    assert not remove(moved.db, moved.competition)
    for _ in range(2):
        assert sweep(moved.db) == []
        moved.again()
    assert left(moved.db) == before
    assert rows(moved.db, "SELECT task FROM kaggle_internal.wanted(NULL, true) WHERE task = 'sync'") == []
    assert moved.sync(zip_of(teams(2, 1))).outcome == "changed"


def bring_back(db: Connection, row: object) -> None:
    """Insert a row as it was, without triggers, as a restore does."""
    move_time(
        db,
        "INSERT INTO kaggle.competitions SELECT * FROM jsonb_populate_record(null::kaggle.competitions, %s)",
        psycopg.types.json.Jsonb(row),
    )


def test_a_deletion_of_many_is_read_once(db: Connection, compete: Callable[..., Syncs]) -> None:
    """A session that has swept a quiet database before does not compare all with all when 3,000 are deleted."""
    syncs = compete()
    db.execute(
        "VACUUM ANALYZE kaggle_internal.sync_requests, procrastinate.procrastinate_jobs, kaggle_internal.sync_state"
    )
    for _ in range(12):
        sweep(db)
    db.execute(
        "INSERT INTO kaggle.competitions (kaggle_competition_id) SELECT 'many-' || n FROM generate_series(1, 3000) n"
    )
    db.execute("INSERT INTO kaggle_internal.sync_state (competition_id, link_revision) SELECT id, link_revision "
               "FROM kaggle.competitions WHERE id <> %s", (syncs.competition,))  # fmt: skip
    read = (
        "SELECT relname, seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables "
        "WHERE relname IN ('sync_requests', 'procrastinate_jobs', 'sync_state', 'competitions')"
    )
    for step in ("SELECT", "DELETE FROM kaggle.competitions"):
        db.execute(step)
        for _ in range(2):
            with db.transaction():
                before = dict(rows(db, read))
                sweep(db)
                after = dict(rows(db, read))
            assert len(after) == 4
            assert {name for name in after if after[name] > before.get(name, 0) + 30 * 3000} == set()


# rows that are missing, though no trigger saw their deletion


def sweep(db: Connection) -> list[int]:
    """A thorough sweep. Returns what it newly found missing."""
    worker_id = value(db, "SELECT max(id) FROM kaggle_internal.worker_processes")
    found: list[int] = value(db, "SELECT missing FROM kaggle_internal.sweep(%s, true)", worker_id)
    return found


def lost(syncs: Syncs) -> None:
    """Delete its row as a restore does that has not come to it yet."""
    move_time(syncs.db, "DELETE FROM kaggle.competitions")


def hours_pass(db: Connection, hours: float) -> None:
    """Move what was noted into the past."""
    db.execute(
        "UPDATE kaggle_internal.sync_state SET missing_since = missing_since - make_interval(secs => %s)",
        (3600 * hours,),
    )


def test_a_missing_row_is_believed_after_an_hour(moved: Syncs) -> None:
    """It is noted, and told once; nothing is removed before, and all of it after."""
    before = left(moved.db)
    moved.db.execute("SELECT kaggle.sync_now('a-board')")
    lost(moved)
    assert moved.again().action == "none"
    assert sweep(moved.db) == [moved.competition]
    assert sweep(moved.db) == []
    hours_pass(moved.db, 0.95)
    assert sweep(moved.db) == []
    assert moved.again().action == "none"
    assert not remove(moved.db, moved.competition)
    assert left(moved.db) == before | {"sync_requests": 1}

    hours_pass(moved.db, 0.06)
    moved.db.execute("TRUNCATE procrastinate.procrastinate_jobs CASCADE")
    sweep(moved.db)
    assert moved.jobs() == 1
    assert moved.again().action == "remove"
    while remove(moved.db, moved.competition):
        pass
    while remove_board(moved.db):
        pass
    assert left(moved.db) == {}


def test_a_row_that_is_back_in_time_keeps_everything(moved: Syncs) -> None:
    """And if it is missing again later, its hour begins anew."""
    row = value(moved.db, "SELECT to_jsonb(c) FROM kaggle.competitions c")
    before = left(moved.db)
    for _ in range(2):
        lost(moved)
        assert sweep(moved.db) == [moved.competition]
        hours_pass(moved.db, 0.9)
        bring_back(moved.db, row)
        assert sweep(moved.db) == []
    hours_pass(moved.db, 10)
    assert moved.sync(zip_of(teams(2, 1))).outcome == "changed"
    assert left(moved.db)["boards"] == before["boards"]


def test_requests_that_came_before_their_rows_wait_for_them(db: Connection, compete: Callable[..., Syncs]) -> None:
    """A restore that has come to the requests only: nothing is dropped, and nothing is tried again and again."""
    syncs = compete()
    db.execute("SELECT kaggle.sync_now('a-board')")
    lost(syncs)
    assert syncs.again().action == "none"
    assert rows(db, "SELECT task FROM kaggle_internal.wanted(NULL, true)") == []
    assert left(db) == {"sync_requests": 1, "sync_state": 1}


# TRUNCATE


def test_truncating_waits_for_no_sync_that_begins(moved: Syncs, connect: Connect) -> None:
    """The sync holds its state and then wants the row: whoever truncates holds the table, and wants nothing of ours."""
    syncing, truncating = connect(), connect()
    syncing.execute("SELECT * FROM kaggle_internal.sync_state FOR UPDATE")
    truncating.execute("SET lock_timeout = '2s'")
    truncating.execute("TRUNCATE kaggle.competitions CASCADE")
    with ThreadPoolExecutor(1) as pool:
        begun = pool.submit(rows, syncing, "SELECT action FROM kaggle_internal.begin_sync(%s, 1)", moved.competition)
        eventually(moved.db, True, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        truncating.commit()
        assert begun.result(20) == [("remove",)]
    syncing.commit()


def test_truncating_events_waits_before_it_holds_competitions(moved: Syncs, connect: Connect) -> None:
    """Events come first, for a worker and for TRUNCATE ... CASCADE: nobody holds what the other wants next."""
    working, truncating = connect(), connect()
    working.execute("SELECT kaggle_internal.let_dates_act()")
    with ThreadPoolExecutor(1) as pool:
        truncated = pool.submit(truncating.execute, "TRUNCATE kaggle.events CASCADE")
        eventually(moved.db, True, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        assert rows(
            moved.db,
            "SELECT relation::regclass::text FROM pg_locks WHERE pid = %s AND granted AND mode = 'AccessExclusiveLock'",
            truncating.info.backend_pid,
        ) == []  # fmt: skip
        working.execute("SELECT count(*) FROM kaggle.competitions, kaggle.event_competitions, kaggle.events")
        working.commit()
        truncated.result(20)
    truncating.rollback()


@pytest.mark.parametrize("prunes", ["kaggle.prune_history('0 s')", "count(*) FROM kaggle_internal.intervals_to_thin()"])
def test_truncating_events_goes_on_while_history_is_pruned(moved: Syncs, connect: Connect, prunes: str) -> None:
    """Pruning asks for events, too, and holds no table then that TRUNCATE ... CASCADE wants after events."""
    moved.db.execute("UPDATE kaggle.competitions SET history_interval = '1 hour'")
    pruning, truncating = connect(), connect()
    truncating.execute("LOCK TABLE kaggle.events IN ACCESS EXCLUSIVE MODE")
    with ThreadPoolExecutor(1) as pool:
        pruned = pool.submit(value, pruning, f"SELECT {prunes}")
        eventually(moved.db, True, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        try:
            truncating.execute("SET LOCAL lock_timeout = '5s'")
            truncating.execute("TRUNCATE kaggle.events CASCADE")
        finally:
            truncating.rollback()
        pruned.result(20)


def test_an_apply_wants_nothing_of_events(moved: Syncs, connect: Connect) -> None:
    """A sync goes on while a TRUNCATE of events is under way."""
    truncating = connect()
    run_id = moved.begin().run_id
    truncating.execute("LOCK TABLE kaggle.events, kaggle.event_competitions IN ACCESS EXCLUSIVE MODE")
    assert moved.end(run_id, zip_of(teams(3, 1))).outcome == "changed"


def test_ids_that_come_again_after_truncating_meet_nothing_old(moved: Syncs) -> None:
    """RESTART IDENTITY: the row with the old id and slug is another one, before anything was removed."""
    moved.db.execute("SELECT kaggle.sync_now('a-board')")
    moved.db.execute("TRUNCATE kaggle.competitions RESTART IDENTITY CASCADE")
    assert rows(moved.db, "SELECT competition_id FROM kaggle_internal.sync_requests WHERE reason = 'deleted'") == [
        (None,)
    ]
    assert insert(moved.db, "a-board", auto_sync=False) == moved.competition
    assert moved.begin_after_removal() == "sync"
    assert left(moved.db)["boards"] == 1


def test_a_truncation_is_acted_on_in_full_and_then_forgotten(compete: Callable[..., Syncs]) -> None:
    """Every competition is removed at once, whether or not a job was left for it; nothing waits for an hour."""
    boards = [compete(f"board-{n}") for n in range(3)]
    for each in boards:
        each.sync(zip_of(teams(1, 2), slug=value(each.db, "SELECT kaggle_competition_id FROM kaggle.competitions "
                                                          "WHERE id = %s", each.competition)))  # fmt: skip
    db = boards[0].db
    db.execute("TRUNCATE kaggle.competitions CASCADE")
    db.execute("TRUNCATE procrastinate.procrastinate_jobs CASCADE")
    sweep(db)
    assert [each.jobs() for each in boards] == [1, 1, 1]
    assert value(db, "SELECT count(*) FROM kaggle_internal.sync_requests") == 1
    for each in boards:
        assert each.again().action == "remove"
        while remove(db, each.competition):
            pass
    while remove_board(db):
        pass
    sweep(db)
    assert left(db) == {}


# every statement trigger, with no row, one and two


STATEMENTS = {
    "insert": "INSERT INTO kaggle.competitions (kaggle_competition_id) "
    "SELECT 'new-' || n FROM generate_series(1, %s) n",
    "update": "UPDATE kaggle.competitions SET sync_interval = '7 minutes' WHERE id <= %s",
    "delete": "DELETE FROM kaggle.competitions WHERE id <= %s",
    "merge": "MERGE INTO kaggle.competitions c USING generate_series(1, %s) n ON c.id = n "
    "WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (kaggle_competition_id) VALUES ('new')",
}


@pytest.mark.parametrize("role", ["owner", "pgleaderboard_editor"])
@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_statement_asks_for_as_many_syncs_as_it_has_rows(
    db: Connection, statement: str, count: int, role: str
) -> None:
    """None is no error; one gets a job, several get a sweep."""
    db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('one'), ('two'), ('three')")
    db.execute("TRUNCATE kaggle_internal.sync_requests, procrastinate.procrastinate_jobs CASCADE")
    with db.transaction():
        if role != "owner":
            db.execute(f"SET LOCAL ROLE {role}")
        db.execute(STATEMENTS[statement], (count,))
    assert value(db, "SELECT count(*) FROM kaggle_internal.sync_requests") == count
    assert rows(db, "SELECT task_name FROM procrastinate.procrastinate_jobs") == [[], [("sync",)], [("sweep",)]][count]
