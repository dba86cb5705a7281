"""No edit is lost, and nobody waits for anybody: every order in which editors, the queue and the sweep can meet.

The worker is played by hand, one statement at a time on real connections, so that an order is chosen and not hoped
for. `merged` lists the orders; a test plays all of them, each with a competition of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from tests.support.aliases import Connect, Connection
from tests.support.hands import EDITS, IMPATIENT, Hands, insert, jobs, make, numbers, once_synced


def merged(*scripts: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """All orders of the scripts' steps that keep the order within each script."""
    if not any(scripts):
        yield ()
    for number, script in enumerate(scripts):
        if script:
            for rest in merged(*scripts[:number], script[1:], *scripts[number + 1 :]):
                yield (script[0], *rest)


def is_failing(db: Connection, row: dict[str, object]) -> bool:
    """Whether its last attempt failed."""
    return db.execute(
        "SELECT consecutive_failures > 0 FROM kaggle_internal.sync_state WHERE competition_id = %(id)s", row
    ).fetchone()[0]


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
        slug = f"inserted-{next(numbers)}"
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
