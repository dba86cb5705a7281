"""No edit is lost, and nobody waits for anybody: every order in which editors, the queue and the sweep can meet.

The worker is played by hand, one statement at a time on real connections, so that an order is chosen and not hoped
for. `merged` lists the orders; a test plays all of them, each with a competition of its own.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psycopg
import pytest
from psycopg.rows import namedtuple_row

from pgleaderboard.simulator import Simulator
from tests.support.aliases import Connect, Connection, MakeWorker
from tests.support.asking import heard

_numbers = itertools.count(1)

# Whoever acts here may wait for nobody: a wait ends as an error at once.
IMPATIENT = "SET lock_timeout = '400ms'; SET statement_timeout = '20s'"

FETCH = (
    "SELECT id, task_name, (args ->> 'competition_id')::bigint AS competition_id"
    " FROM procrastinate_fetch_job_v2(ARRAY['kaggle'], %s)"
)
FINISH = "SELECT procrastinate_finish_job_v1(%s, 'succeeded', true)"
STAGE = "INSERT INTO pg_temp.staged_rows_1 (rank, team_id, team_name) VALUES (1, 1, 'Otters')"


def merged(*scripts: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """All orders of the scripts' steps that keep the order within each script."""
    if not any(scripts):
        yield ()
    for number, script in enumerate(scripts):
        if script:
            for rest in merged(*scripts[:number], script[1:], *scripts[number + 1 :]):
                yield (script[0], *rest)


class Hands:
    """A worker played by hand; each of its steps is one statement, `commit` apart where a test wants that."""

    def __init__(self, connection: Connection, *, ending: str = "applied") -> None:
        self.connection = connection
        self.ending = ending
        self.job: psycopg.rows.Row | None = None
        self.run: int | None = None
        self.begun: list[tuple[int, str]] = []  # (competition, slug) of each attempt, in order
        connection.execute(IMPATIENT)
        connection.execute("SET search_path = procrastinate, pg_temp")
        connection.commit()
        connection.autocommit = True
        self.queue_id = connection.execute("SELECT procrastinate_register_worker_v1()").fetchone()[0]
        self.worker_id = connection.execute("SELECT kaggle_internal.register_worker('test', 'cred')").fetchone()[0]
        connection.execute("SELECT kaggle_internal.prepare_staging()")

    def fetch(self) -> None:
        """Fetch a job, if there is one."""
        assert self.job is None
        job = self.connection.cursor(row_factory=namedtuple_row).execute(FETCH, (self.queue_id,)).fetchone()
        self.job = job if job.id is not None else None

    def begin(self) -> None:
        """Do what the job says, up to the request to Kaggle."""
        if self.job is None:
            return
        if self.job.task_name == "sweep":
            self.sweep(thorough=False)
        elif self.job.task_name == "remove":
            while self.connection.execute("SELECT kaggle_internal.remove_detached()").fetchone()[0]:
                pass
        elif self.job.task_name == "sync":
            row = self.connection.execute(
                "SELECT action, run_id, slug FROM kaggle_internal.begin_sync(%s, %s, 'cred', 0)",
                (self.job.competition_id, self.worker_id),
            ).fetchone()
            action, self.run, slug = row
            if action == "sync":
                self.begun.append((self.job.competition_id, slug))
            elif action == "remove":
                while self.connection.execute(
                    "SELECT kaggle_internal.remove_deleted(%s)", (self.job.competition_id,)
                ).fetchone()[0]:
                    pass

    def end(self) -> None:
        """End the attempt, if one runs."""
        if self.run is None:
            return
        if self.ending == "failed":
            self.connection.execute(
                "SELECT kaggle_internal.fail_run(%s, 'it broke', 'transient', interval '1 hour')", (self.run,)
            )
        else:
            with self.connection.transaction():
                self.connection.execute(STAGE)
                self.connection.execute(
                    "SELECT kaggle_internal.apply_board(%s, 'public', %s, 0)", (self.run, b"digest")
                )
        self.run = None

    def finish(self) -> None:
        """Put the job away."""
        if self.job is not None:
            self.connection.execute(FINISH, (self.job.id,))
            self.job = None

    def sweep(self, *, thorough: bool) -> None:
        """Sweep."""
        self.connection.execute("SELECT kaggle_internal.sweep(%s, 'cred', 0, %s)", (self.worker_id, thorough))

    def work_off(self) -> None:
        """End what runs and do every job until none is left; nothing is swept that no job asks for."""
        self.end()
        self.finish()
        for _ in range(1000):
            self.fetch()
            if self.job is None:
                return
            self.begin()
            self.end()
            self.finish()
        raise AssertionError("jobs without end")


@pytest.fixture
def hands(connect: Connect) -> Hands:
    """The worker, played by hand."""
    return Hands(connect())


@pytest.fixture
def editor(connect: Connect) -> Connection:
    """A user's session, not in autocommit, that waits for nobody."""
    made = connect()
    made.execute(IMPATIENT)
    made.commit()
    return made


@dataclass(frozen=True)
class Edit:
    """What a user does to a competition.

    before: how the row was, as columns and values. does: the edit; %(id)s is the row, %(slug)s its slug, %(new)s
    another one. wants: whether an attempt must begin after it.
    """

    does: str
    before: str = ""
    wants: bool = True
    failing: bool = False


EDITS = {
    "another slug": Edit("UPDATE kaggle.competitions SET kaggle_competition_id = %(new)s WHERE id = %(id)s"),
    "auto_sync on": Edit("UPDATE kaggle.competitions SET auto_sync = true WHERE id = %(id)s", "auto_sync = false"),
    "ongoing": Edit("UPDATE kaggle.competitions SET status = 'ongoing' WHERE id = %(id)s", "status = 'upcoming'"),
    "completed": Edit("UPDATE kaggle.competitions SET status = 'completed' WHERE id = %(id)s"),
    "sync_now": Edit("SELECT kaggle.sync_now(%(slug)s)"),
    "a failing row": Edit("UPDATE kaggle.competitions SET title = 'x' WHERE id = %(id)s", failing=True),
    "interval": Edit(
        "UPDATE kaggle.competitions SET sync_interval = '2 minutes' WHERE id = %(id)s",
        "sync_interval = '1 day'",
        wants=False,
    ),
    "deleted": Edit("DELETE FROM kaggle.competitions WHERE id = %(id)s", wants=False),
    "replaced": Edit(
        "DELETE FROM kaggle.competitions WHERE id = %(id)s; "
        "INSERT INTO kaggle.competitions (id, kaggle_competition_id) VALUES (%(id)s, %(slug)s)"
    ),
}


def make(editor: Connection, edit: Edit, row: dict[str, object]) -> None:
    """Make an edit, statement by statement, without committing it."""
    for statement in edit.does.split("; "):
        editor.execute(statement, row)


def insert(db: Connection, values: str = "") -> dict[str, object]:
    """A competition as some edit left it, without any job or request. Returns id, slug and another slug."""
    slug = f"competition-{next(_numbers)}"
    competition_id = db.execute(
        "INSERT INTO kaggle.competitions (kaggle_competition_id, auto_sync) VALUES (%s, false) RETURNING id", (slug,)
    ).fetchone()[0]
    db.execute(f"UPDATE kaggle.competitions SET {values or 'auto_sync = true'} WHERE id = %s", (competition_id,))
    if "auto_sync" not in values and values:
        db.execute("UPDATE kaggle.competitions SET auto_sync = true WHERE id = %s", (competition_id,))
    return {"id": competition_id, "slug": slug, "new": f"{slug}-renamed"}


def once_synced(db: Connection, hands: Hands, edit: Edit) -> dict[str, object]:
    """A competition that was synced before (or is failing), and is asked for by hand again: one job waits."""
    row = insert(db, edit.before)
    db.execute("SELECT kaggle.sync_now(%(slug)s)", row)
    ending, hands.ending = hands.ending, "failed" if edit.failing else "applied"
    hands.work_off()
    hands.ending = ending
    hands.begun.clear()
    db.execute("UPDATE kaggle_internal.sync_state SET describe_at = clock_timestamp() + interval '23 hours'")
    db.execute("SELECT kaggle.sync_now(%(slug)s)", row)
    assert jobs(db) == [("sync", row["id"])]
    return row


def is_failing(db: Connection, row: dict[str, object]) -> bool:
    """Whether its last attempt failed."""
    return db.execute(
        "SELECT consecutive_failures > 0 FROM kaggle_internal.sync_state WHERE competition_id = %(id)s", row
    ).fetchone()[0]


def jobs(db: Connection) -> list[tuple[str, int | None]]:
    """What waits in the queue."""
    return db.execute(
        "SELECT task_name, (args ->> 'competition_id')::bigint FROM procrastinate.procrastinate_jobs"
        " WHERE status = 'todo' ORDER BY 1, 2"
    ).fetchall()


def left_over(db: Connection, row: dict[str, object]) -> list[tuple[object, ...]]:
    """Requests that nobody took although they wait for nothing, and attempts that nobody ended."""
    return db.execute(
        "SELECT reason, id FROM kaggle_internal.sync_requests"
        " WHERE competition_id = %(id)s AND (run_id IS NOT NULL OR NOT tried)"
        " UNION ALL SELECT 'running', running_run_id FROM kaggle_internal.sync_state"
        " WHERE competition_id = %(id)s AND running_run_id IS NOT NULL",
        row,
    ).fetchall()


def is_wrong(db: Connection, hands: Hands, row: dict[str, object], name: str, begun_before: int | None) -> str | None:
    """What is wrong after all jobs were done, None = nothing.

    begun_before: attempts begun before the commit; None where the edit wants no other.
    """
    if found := left_over(db, row):
        return f"left over: {found}"
    if name == "deleted":
        rows = db.execute(
            "SELECT (SELECT count(*) FROM kaggle_internal.sync_state WHERE competition_id = %(id)s)"
            " + (SELECT count(*) FROM kaggle.sync_runs WHERE competition_id = %(id)s)"
            " + (SELECT count(*) FROM kaggle_internal.sync_requests WHERE competition_id = %(id)s)"
            " + (SELECT count(*) FROM kaggle.boards WHERE competition_id = %(id)s OR competition_id IS NULL)",
            row,
        ).fetchone()[0]
        return f"{rows} rows hang on what was deleted" if rows else None
    if name == "replaced":
        has = db.execute(
            "SELECT (SELECT count(*) FROM kaggle.leaderboard WHERE competition_id = %(id)s),"
            " (SELECT coalesce(sum(added), 0) FROM kaggle.sync_runs WHERE competition_id = %(id)s),"
            " (SELECT count(*) FROM kaggle.boards WHERE competition_id IS NULL)",
            row,
        ).fetchone()
        expected = (1, 1, 0) if hands.ending == "applied" else (0, 0, 0)
        return f"teams, teams that runs added, boards that nobody owns: {has}" if has != expected else None
    slug = db.execute("SELECT kaggle_competition_id FROM kaggle.competitions WHERE id = %(id)s", row).fetchone()[0]
    if EDITS[name].wants and begun_before is not None and len(hands.begun) <= begun_before:
        return "no attempt began after the commit"
    if hands.begun and hands.begun[-1] != (row["id"], slug):
        return f"the last attempt was for {hands.begun[-1]}, the row says {slug}"
    if name == "interval":
        late = db.execute(
            "SELECT due_at - running FROM (SELECT due_at, last_attempt_at + interval '2 minutes' AS running"
            " FROM kaggle_internal.sync_state WHERE competition_id = %(id)s) s WHERE due_at > running + interval '1 s'",
            row,
        ).fetchone()
        return f"the next sync comes {late[0]} too late" if late else None
    return None


def report(wrong: list[str], played: int) -> None:
    """Fail with the orders that went wrong."""
    assert wrong == [], f"{len(wrong)} of {played} orders went wrong, the first: {wrong[0]}"


def test_all_orders_are_played() -> None:
    """Each way to merge two scripts, once: what the tests below go through."""
    assert sorted(merged("ab", "xy")) == [tuple(order) for order in ("abxy", "axby", "axyb", "xaby", "xayb", "xyab")]


# One edit against one job. fetch, begin and end are transactions of their own; between a statement and its commit the
# other side may act, too.


@pytest.mark.parametrize("ending", ["applied", "failed"])
@pytest.mark.parametrize("name", EDITS)
def test_an_edit_at_any_moment_of_a_sync_is_seen(
    db: Connection, hands: Hands, editor: Connection, name: str, ending: str
) -> None:
    """Whenever an edit is made and committed, a sync that begins after the commit sees it; no sweep is needed."""
    edit = EDITS[name]
    hands.ending = ending
    wrong: list[str] = []
    orders = list(merged(("edit", "commit"), ("fetch", "fetched", "begin", "begun", "end", "ended")))
    for order in orders:
        row = once_synced(db, hands, edit)
        before: int | None = None
        wanted = True
        hands.connection.autocommit = False
        for step in order:
            match step:
                case "edit":
                    # To edit a row asks for a sync while it is failing; once that is healed, nothing is wanted.
                    wanted = not edit.failing or is_failing(db, row)
                    make(editor, edit, row)
                case "commit":
                    editor.commit()
                    before = len(hands.begun) if wanted else None
                case "fetched" | "begun" | "ended":
                    hands.connection.commit()
                case _:
                    getattr(hands, step)()
        hands.connection.autocommit = True
        hands.work_off()
        if found := is_wrong(db, hands, row, name, before):
            wrong.append(f"{' '.join(order)}: {found}")
        assert jobs(db) == []
    report(wrong, len(orders))


@pytest.mark.parametrize("name", ["another slug", "auto_sync on", "sync_now", "deleted"])
def test_an_edit_that_is_rolled_back_leaves_nothing(
    db: Connection, hands: Hands, editor: Connection, name: str
) -> None:
    """A rolled-back edit asks for nothing, and what others asked for is still done."""
    edit = EDITS[name]
    orders = list(merged(("edit", "rollback"), ("fetch", "begin", "end", "finish")))
    for order in orders:
        row = once_synced(db, hands, edit)
        for step in order:
            if step == "edit":
                editor.execute(edit.does, row)
            elif step == "rollback":
                editor.rollback()
            else:
                getattr(hands, step)()
        hands.work_off()
        # What was asked by hand was done once, under the slug that stayed.
        assert hands.begun == [(row["id"], row["slug"])], order
        assert left_over(db, row) == [], order


def test_an_insert_is_synced_after_its_commit(db: Connection, hands: Hands, editor: Connection) -> None:
    """A competition inserted while another's job is fetched, runs and ends is synced as soon as it is committed."""
    for order in merged(("insert", "commit"), ("fetch", "begin", "end", "finish")):
        other = once_synced(db, hands, EDITS["sync_now"])
        slug = f"inserted-{next(_numbers)}"
        for step in order:
            if step == "insert":
                editor.execute("INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES (%s)", (slug,))
            elif step == "commit":
                editor.commit()
            else:
                getattr(hands, step)()
        hands.work_off()
        assert sorted(slug for _, slug in hands.begun) == sorted([str(other["slug"]), slug]), order


def test_statements_on_many_rows_are_seen(db: Connection, hands: Hands, editor: Connection) -> None:
    """A statement on several rows queues one job, which fans out; at whatever moment it commits, each row is synced."""
    for order in merged(("edit", "commit"), ("fetch", "begin", "end", "finish")):
        rows = [insert(db, "auto_sync = false") for _ in range(3)]
        db.execute("SELECT kaggle.sync_now(%(slug)s)", rows[0])
        hands.begun.clear()
        before = 0
        for step in order:
            if step == "edit":
                editor.execute(
                    "UPDATE kaggle.competitions SET auto_sync = true WHERE id = ANY (%s)", ([r["id"] for r in rows],)
                )
            elif step == "commit":
                editor.commit()
                before = len(hands.begun)
            else:
                getattr(hands, step)()
        hands.work_off()
        assert sorted(hands.begun[before:]) == sorted((r["id"], r["slug"]) for r in rows), order


# Two users at once.


def play(
    hands: Hands, order: Sequence[str], does: dict[str, tuple[Connection, str, dict[str, object]]]
) -> dict[str, int]:
    """Play an order of steps `edit A`, `commit A`, …; how many attempts had begun at each commit."""
    before: dict[str, int] = {}
    for step in order:
        verb, _, who = step.partition(" ")
        if verb == "edit":
            connection, statement, row = does[who]
            connection.execute(statement, row)
        elif verb == "commit":
            does[who][0].commit()
            before[who] = len(hands.begun)
        elif step == "sweep":
            hands.sweep(thorough=True)
        else:
            getattr(hands, step)()
    return before


def test_two_sessions_ask_about_the_same_row(
    db: Connection, hands: Hands, editor: Connection, connect: Connect
) -> None:
    """One renames, the other asks by hand: neither waits, and a sync begins after each of the commits."""
    other = connect()
    other.execute(IMPATIENT)
    other.commit()
    wrong: list[str] = []
    orders = list(merged(("edit A", "commit A"), ("edit B", "commit B"), ("fetch", "begin", "end")))
    for order in orders:
        row = once_synced(db, hands, EDITS["another slug"])
        renames, asks = (
            EDITS["another slug"].does,
            "SELECT kaggle_internal.ask_for_sync(ARRAY[%(id)s], ARRAY['manual'], 10)",
        )
        before = play(hands, order, {"A": (editor, renames, row), "B": (other, asks, row)})
        hands.work_off()
        if found := is_wrong(db, hands, row, "another slug", max(before.values())):
            wrong.append(f"{' '.join(order)}: {found}")
    report(wrong, len(orders))


def test_two_sessions_rename_the_same_row_one_after_the_other(
    db: Connection, hands: Hands, editor: Connection, connect: Connect
) -> None:
    """A → B → A: the board that is fetched last is the one the row names, and it was fetched after both commits."""
    other = connect()
    other.execute(IMPATIENT)
    other.commit()
    wrong: list[str] = []
    back = "UPDATE kaggle.competitions SET kaggle_competition_id = %(slug)s WHERE id = %(id)s"
    orders = list(merged(("edit A", "commit A", "edit B", "commit B"), ("fetch", "begin", "end", "finish")))
    for order in orders:
        row = once_synced(db, hands, EDITS["another slug"])
        before = play(hands, order, {"A": (editor, EDITS["another slug"].does, row), "B": (other, back, row)})
        hands.work_off()
        if found := is_wrong(db, hands, row, "another slug", before["B"]):
            wrong.append(f"{' '.join(order)}: {found}")
    report(wrong, len(orders))


def test_two_sessions_edit_two_rows(db: Connection, hands: Hands, editor: Connection, connect: Connect) -> None:
    """Edits of two rows, in any order with one row's sync: both are seen, and nobody waits."""
    other = connect()
    other.execute(IMPATIENT)
    other.commit()
    does = EDITS["another slug"].does
    for order in merged(("edit A", "commit A"), ("edit B", "commit B"), ("fetch", "begin")):
        second = insert(db)
        hands.work_off()
        first = once_synced(db, hands, EDITS["another slug"])
        play(hands, order, {"A": (editor, does, first), "B": (other, does, second)})
        hands.work_off()
        last = dict(hands.begun)
        assert (last[first["id"]], last[second["id"]]) == (first["new"], second["new"]), order
        assert left_over(db, first) + left_over(db, second) == [], order


@pytest.mark.parametrize("name", ["another slug", "interval", "deleted", "replaced"])
def test_the_sweep_may_come_at_any_moment(
    db: Connection, hands: Hands, editor: Connection, connect: Connect, name: str
) -> None:
    """A sweep of another worker between any two steps changes nothing about what is synced in the end."""
    sweeper = Hands(connect())
    edit = EDITS[name]
    wrong: list[str] = []
    orders = list(merged(("edit", "commit"), ("sweep", "swept"), ("fetch", "begin")))
    for order in orders:
        row = once_synced(db, hands, edit)
        before = 0
        sweeper.connection.autocommit = False
        for step in order:
            match step:
                case "edit":
                    make(editor, edit, row)
                case "commit":
                    editor.commit()
                    before = len(hands.begun)
                case "sweep":
                    sweeper.sweep(thorough=True)
                case "swept":
                    sweeper.connection.commit()
                case _:
                    getattr(hands, step)()
        sweeper.connection.autocommit = True
        hands.work_off()
        if found := is_wrong(db, hands, row, name, before):
            wrong.append(f"{' '.join(order)}: {found}")
    report(wrong, len(orders))


def test_two_workers_and_an_edit(db: Connection, hands: Hands, editor: Connection, connect: Connect) -> None:
    """A second worker may fetch and begin between any two steps: what it leaves to the running sync is not lost."""
    second = Hands(connect())
    edit = EDITS["another slug"]
    wrong: list[str] = []
    orders = list(merged(("edit", "commit"), ("fetch", "begin", "end"), ("fetch 2", "begin 2")))
    for order in orders:
        row = once_synced(db, hands, edit)
        second.begun.clear()
        for step in order:
            verb, _, who = step.partition(" ")
            if verb == "edit":
                editor.execute(edit.does, row)
            elif verb == "commit":
                editor.commit()
            else:
                getattr(second if who else hands, verb)()
        for each in (second, hands, second):  # the first ends what runs; then each does what the other's end has queued
            each.work_off()
        last = db.execute(
            "SELECT s.link_revision = c.link_revision, s.running_run_id FROM kaggle_internal.sync_state s"
            " JOIN kaggle.competitions c ON c.id = s.competition_id WHERE c.id = %(id)s",
            row,
        ).fetchone()
        if left_over(db, row) or last != (True, None):
            wrong.append(f"{' '.join(order)}: {left_over(db, row)} {last}")
        assert jobs(db) == []
    report(wrong, len(orders))


# The same by hand, where it reads like documentation.


def test_a_job_fetched_before_the_commit_does_not_swallow_the_edit(
    db: Connection, hands: Hands, editor: Connection
) -> None:
    """The classic lost edit: the waiting job is fetched and begins while the rename is not committed yet.

    It reads the old slug. The rename has put a job of its own beside it, since it could not lock the fetched one.
    """
    row = once_synced(db, hands, EDITS["another slug"])
    hands.fetch()
    editor.execute(EDITS["another slug"].does, row)
    hands.begin()
    assert hands.begun == [(row["id"], row["slug"])]
    editor.commit()
    assert jobs(db) == [("sync", row["id"])]
    hands.work_off()
    assert hands.begun[-1] == (row["id"], row["new"])


def test_a_waiting_job_is_held_until_the_edit_is_committed(db: Connection, hands: Hands, editor: Connection) -> None:
    """An edit that finds a waiting job locks it: the fetch passes it by until the commit, and no job is added."""
    row = once_synced(db, hands, EDITS["another slug"])
    editor.execute(EDITS["another slug"].does, row)
    hands.fetch()
    assert hands.job is None
    editor.commit()
    assert jobs(db) == [("sync", row["id"])]
    hands.work_off()
    assert hands.begun == [(row["id"], row["new"])]


def test_a_job_that_meets_a_running_sync_leaves_the_decision_to_its_end(
    db: Connection, hands: Hands, connect: Connect
) -> None:
    """A second worker fetches the job of an edit while the first still runs: it does nothing, the end queues anew."""
    row = once_synced(db, hands, EDITS["another slug"])
    second = Hands(connect())
    hands.fetch()
    hands.begin()
    db.execute(EDITS["another slug"].does, row)
    second.work_off()
    assert (second.begun, jobs(db)) == ([], [])
    hands.end()
    assert jobs(db) == [("sync", row["id"])]
    second.work_off()
    assert second.begun == [(row["id"], row["new"])]


def test_the_download_of_a_slug_that_came_back_is_discarded(db: Connection, hands: Hands) -> None:
    """A → B → A during a download: what was fetched before is not taken for the present, a new sync begins."""
    row = once_synced(db, hands, EDITS["another slug"])
    hands.fetch()
    hands.begin()
    db.execute(EDITS["another slug"].does, row)
    db.execute("UPDATE kaggle.competitions SET kaggle_competition_id = %(slug)s WHERE id = %(id)s", row)
    hands.work_off()
    outcomes = db.execute("SELECT outcome FROM kaggle.sync_runs WHERE competition_id = %(id)s ORDER BY id", row)
    assert [outcome for (outcome,) in outcomes][1:] == ["skipped", "unchanged"]


def test_a_shorter_interval_given_during_a_sync_counts_from_its_start(db: Connection, hands: Hands) -> None:
    """sync_interval goes from a day to two minutes while a sync asked for by hand runs: the next one comes soon."""
    row = insert(db, "sync_interval = '1 day'")
    hands.work_off()
    db.execute("SELECT kaggle.sync_now(%(slug)s)", row)
    hands.fetch()
    hands.begin()
    db.execute("UPDATE kaggle.competitions SET sync_interval = '2 minutes' WHERE id = %(id)s", row)
    hands.work_off()
    soon = db.execute(
        "SELECT next_sync_at < clock_timestamp() + interval '3 minutes' FROM kaggle_internal.sync_state"
        " WHERE competition_id = %(id)s",
        row,
    ).fetchone()[0]
    assert soon


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_job_fetched_since_the_snapshot_ends_no_transaction(
    db: Connection, hands: Hands, editor: Connection, connect: Connect, level: str
) -> None:
    """Above READ COMMITTED a session still sees jobs waiting that were fetched since: it puts its own beside them."""
    row = once_synced(db, hands, EDITS["sync_now"])
    db.execute("SELECT kaggle_internal.queue_job('sweep', NULL, 20)")
    editor.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
    editor.execute("SELECT FROM kaggle.competitions")
    for each in (hands, Hands(connect())):
        each.fetch()
        assert each.job is not None
    editor.execute("SELECT kaggle.sync_now(%(slug)s)", row)
    editor.execute("INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('one'), ('two')")
    editor.commit()
    assert jobs(db) == [("sweep", None), ("sync", row["id"])]
    hands.work_off()
    assert Counter(slug for _, slug in hands.begun) == Counter(["one", "two", row["slug"]])


# The notification, which a worker wakes up by.


def test_each_commit_that_asks_notifies(db: Connection, connect: Connect, editor: Connection) -> None:
    """A listener hears of each commit that asked, also where a waiting job was reused, and of none before it."""
    listener = connect()
    listener.autocommit = True
    listener.execute('LISTEN "procrastinate_queue_v1#kaggle"')
    editor.execute("INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('titanic')")
    assert not heard(listener)
    editor.commit()
    assert heard(listener)
    for statement in (
        "SELECT kaggle.sync_now('titanic')",
        "UPDATE kaggle.competitions SET kaggle_competition_id = 'orbit-wars'",
        "SELECT kaggle.sync_now('orbit-wars')",
    ):
        editor.execute(statement)
        editor.commit()
        assert heard(listener), statement
    assert [task for task, _ in jobs(db)] == ["sync"]  # one job served them all
    editor.execute("SELECT kaggle.sync_now('orbit-wars')")
    editor.rollback()
    editor.execute("UPDATE kaggle.competitions SET title = 'Wars'")
    editor.commit()
    assert not heard(listener)


# Sessions that sit in a transaction, more of them than syncs run at once.

HOLDING = (
    "INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES (%(new)s)",
    "UPDATE kaggle.competitions SET kaggle_competition_id = %(new)s WHERE id = %(id)s",
    "UPDATE kaggle.competitions SET title = 'held', sync_interval = '1 hour' WHERE id = %(id)s",
    "DELETE FROM kaggle.competitions WHERE id = %(id)s",
    "SELECT kaggle.sync_now(%(slug)s)",
    "SELECT * FROM kaggle.competitions WHERE id = %(id)s FOR UPDATE",
)


@pytest.fixture
def held(db: Connection, hands: Hands, connect: Connect) -> list[dict[str, object]]:
    """Competitions, synced before, that idle sessions have inserted, renamed, edited, deleted, asked for, locked."""
    rows = [insert(db) for _ in HOLDING]
    hands.work_off()
    hands.begun.clear()
    for row, statement in zip(rows, HOLDING, strict=True):
        connect().execute(statement, row)
    return rows


def test_idle_sessions_hold_nobody_up(
    db: Connection, hands: Hands, editor: Connection, held: list[dict[str, object]]
) -> None:
    """Others are inserted, edited, asked for, synced, swept, described and deleted; even the held ones are synced."""
    db.execute(IMPATIENT)
    free = [insert(db) for _ in range(3)]
    editor.execute("SELECT kaggle.sync_now(%(slug)s)", free[0])
    editor.execute(EDITS["another slug"].does, free[1])
    editor.commit()
    hands.work_off()
    for row in held:
        editor.execute("SELECT kaggle.sync_now(%(slug)s)", row)
    editor.commit()
    hands.work_off()
    # What is not committed is not there yet: the held ones were synced as they were.
    assert {row["slug"] for row in held} <= {slug for _, slug in hands.begun}

    # Dates that have passed, on held and on free ones; a sweep leaves the held ones for later.
    db.execute(
        "UPDATE kaggle_internal.sync_state SET due_at = clock_timestamp() - interval '1 second', retry_at = NULL"
    )
    hands.begun.clear()
    hands.sweep(thorough=True)
    hands.work_off()
    assert {row["id"] for row in [*held, *free]} <= {competition_id for competition_id, _ in hands.begun}

    described = (
        "SELECT kaggle_internal.fill_from_kaggle(id, link_revision, 'A title', NULL, NULL, NULL, NULL, NULL)"
        " FROM kaggle.competitions WHERE id = %(id)s"
    )
    assert hands.connection.execute(described, free[2]).fetchone()[0] == "filled"
    said = [hands.connection.execute(described, row).fetchone()[0] for row in held]
    assert said == ["filled", "later", "later", "later", "filled", "later"]

    editor.execute("DELETE FROM kaggle.competitions WHERE id = %(id)s", free[0])
    editor.commit()
    hands.work_off()
    assert db.execute("SELECT count(*) FROM kaggle.boards WHERE competition_id = %(id)s", free[0]).fetchone() == (0,)


def test_dates_of_others_act_while_rows_are_held(db: Connection, hands: Hands, connect: Connect) -> None:
    """The sweep completes and starts the competitions whose dates passed, except those that somebody holds."""
    rows = [insert(db, "status = 'upcoming', start_date = now() + interval '1 hour'") for _ in range(6)]
    with db.transaction():  # the hour passes
        db.execute("ALTER TABLE kaggle.competitions DISABLE TRIGGER USER")
        db.execute(
            "UPDATE kaggle.competitions SET start_date = start_date - interval '2 hours',"
            " dates_checked_at = dates_checked_at - interval '2 hours'"
        )
        db.execute("ALTER TABLE kaggle.competitions ENABLE TRIGGER USER")
    holders = [connect() for _ in range(5)]
    for holder, row in zip(holders, rows, strict=False):
        holder.execute("UPDATE kaggle.competitions SET description = 'held' WHERE id = %(id)s", row)
    hands.sweep(thorough=False)
    hands.work_off()
    assert [competition_id for competition_id, _ in hands.begun] == [rows[5]["id"]]
    for holder in holders:
        holder.commit()
    hands.sweep(thorough=False)
    hands.work_off()
    assert Counter(competition_id for competition_id, _ in hands.begun) == Counter(row["id"] for row in rows)


def test_a_waiting_job_that_an_idle_session_holds_is_replaced(db: Connection, hands: Hands, editor: Connection) -> None:
    """What was asked and committed is synced although a session that asked again sits in its transaction.

    That session holds the waiting job, so no worker can fetch it; the sweep puts another beside it, once.
    """
    row = once_synced(db, hands, EDITS["another slug"])
    editor.execute(EDITS["another slug"].does, row)
    hands.work_off()
    assert hands.begun == []
    hands.sweep(thorough=True)
    hands.work_off()
    assert hands.begun == [(row["id"], row["slug"])]
    hands.sweep(thorough=True)
    assert jobs(db) == [("sync", row["id"])]  # the one that is held
    editor.commit()
    hands.work_off()
    assert hands.begun[1:] == [(row["id"], row["new"])]


def test_a_worker_serves_others_while_sessions_idle(
    db: Connection, worker: MakeWorker, simulator: Simulator, held: list[dict[str, object]]
) -> None:
    """A worker with four places and six idle sessions syncs everybody else, and later what the six commit."""
    del held
    with worker():
        for slug in ("titanic", "orbit-wars"):
            db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES (%s)", (slug,))
            assert db.execute("SELECT outcome FROM kaggle.wait_for_sync(%s)", (slug,)).fetchone() == ("changed",)
        db.execute("SELECT kaggle.sync_now('titanic')")
        assert db.execute("SELECT outcome FROM kaggle.wait_for_sync('titanic')").fetchone() == ("unchanged",)


# The same competitions in another order.


def test_asking_in_opposite_order_step_by_step(db: Connection, editor: Connection, connect: Connect) -> None:
    """Two sessions ask for two competitions, each in its own order, before either commits: nobody waits."""
    first, second = insert(db), insert(db)
    other = connect()
    other.execute(IMPATIENT)
    asks = "SELECT kaggle.sync_now(%(slug)s)"
    editor.execute(asks, first)
    other.execute(asks, second)
    editor.execute(asks, second)
    other.execute(asks, first)
    editor.commit()
    other.commit()
    asked = (
        "SELECT competition_id, count(*) FROM kaggle_internal.sync_requests "
        "WHERE reason = 'manual' GROUP BY 1 ORDER BY 1"
    )
    assert db.execute(asked).fetchall() == [(first["id"], 2), (second["id"], 2)]


@pytest.mark.parametrize("how", ["by hand", "statements on rows of their own"])
def test_sessions_ask_for_a_hundred_in_opposite_order(db: Connection, hands: Hands, connect: Connect, how: str) -> None:
    """Four sessions, each in one transaction, half of them backwards: no deadlock, no wait, everything synced."""
    rows = [insert(db, "auto_sync = false") for _ in range(100)]
    start = threading.Barrier(4)

    def session(number: int) -> None:
        connection = connect()
        connection.execute(IMPATIENT)
        connection.commit()
        start.wait(30)
        own = rows if how == "by hand" else rows[number::4]
        for row in own if number % 2 else own[::-1]:
            if how == "by hand":
                connection.execute("SELECT kaggle.sync_now(%(slug)s)", row)
            else:
                connection.execute("UPDATE kaggle.competitions SET auto_sync = true WHERE id = %(id)s", row)
        connection.commit()

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(session, number) for number in range(4)]:
            done.result()
    hands.ending = "failed"  # the shorter way to an end
    hands.work_off()
    assert {competition_id for competition_id, _ in hands.begun} == {row["id"] for row in rows}


# Locks among the worker's own statements.


def until_waiting(db: Connection, pids: Sequence[int]) -> None:
    """Return when all of these sessions wait for a lock."""
    for _ in range(1000):
        waiting = db.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY (%s) AND wait_event_type = 'Lock'", (list(pids),)
        ).fetchone()
        if waiting == (len(pids),):
            return
        time.sleep(0.01)
    raise AssertionError("nobody waits")


def test_a_throttled_end_and_a_description_never_deadlock(db: Connection, hands: Hands, connect: Connect) -> None:
    """A sync that ends with 429 and the asking for the same competition's metadata take their locks in one order.

    Both need the competition's state and the budget. A deadlock here would leave the attempt running for ever, since
    the worker that ran it lives.
    """
    row = once_synced(db, hands, EDITS["sync_now"])
    db.execute("SELECT * FROM kaggle_internal.take_grant('cred', 60)")
    db.execute("UPDATE kaggle_internal.kaggle_budget SET next_grant_at = '-infinity'")
    hands.fetch()
    hands.begin()
    db.execute("UPDATE kaggle_internal.sync_state SET describe_at = '-infinity'")
    holder, ender, describer = connect(), connect(), connect()
    holder.execute("SELECT * FROM kaggle_internal.kaggle_budget FOR UPDATE")
    ends = "SELECT kaggle_internal.fail_run(%s, '429', 'transient', interval '1 minute', 'cred', interval '1 minute')"
    with ThreadPoolExecutor(2) as pool:
        ended = pool.submit(lambda: [ender.execute(ends, (hands.run,)).fetchone(), ender.commit()][0])
        until_waiting(db, [ender.info.backend_pid])
        described = pool.submit(
            lambda: [
                describer.execute(
                    "SELECT action FROM kaggle_internal.begin_describe(%(id)s, 'cred', 60)", row
                ).fetchone(),
                describer.commit(),
            ][0]
        )
        until_waiting(db, [ender.info.backend_pid, describer.info.backend_pid])
        holder.rollback()
        assert ended.result(30) == ("failed",)
        assert described.result(30) in [("describe",), ("wait",)]
    hands.run = None
