"""An event's evening, with a worker: final syncs, deadlines that move, an early private board, and the commands."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.e2e.test_metadata import METHOD, says, told
from tests.support.aliases import Connection, MakeWorker
from tests.support.asking import (
    BYSTANDER,
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
from tests.support.boards import Entry, csv_of, teams, zip_of
from tests.support.faults import Simulator, Zipped
from tests.support.syncs import Syncs
from tests.support.terminal import Terminal

Run = Callable[..., subprocess.CompletedProcess[str]]
DOWNLOAD = "DownloadLeaderboard"


def event(db: Connection, **columns: Any) -> int:
    """A new event."""
    given = {"slug": "night", "title": "The Night"} | columns
    return int(
        value(
            db,
            f"INSERT INTO kaggle.events ({', '.join(given)}) VALUES ({', '.join(['%s'] * len(given))}) RETURNING id",
            *given.values(),
        )
    )


def local(at: datetime) -> str:
    """A moment as people in Tokyo read it."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC ({at + timedelta(hours=9):%H:%M} JST)"


def soon(**length: float) -> datetime:
    """A moment ahead."""
    return datetime.now(UTC) + timedelta(**length)


def end_passes(db: Connection) -> None:
    """The event's end passes by itself."""
    move_time(
        db,
        "UPDATE kaggle.events SET end_date = clock_timestamp() - interval '1 s', "
        "dates_checked_at = now() - interval '1 h'",
    )
    sweep_soon(db)


def ends_pass(db: Connection) -> None:
    """The ends of competitions pass, which were the event's or Kaggle's."""
    move_time(
        db,
        "UPDATE kaggle.competitions SET end_date = now() - interval '1 s', "
        "end_date_filled = now() - interval '1 s', dates_checked_at = now() - interval '1 h'",
    )


def said(finished: subprocess.CompletedProcess[str]) -> str:
    """The one line with which a command failed."""
    assert finished.returncode == 1, finished.stdout + finished.stderr
    assert finished.stderr.count("\n") == 1, finished.stderr
    return finished.stderr.removeprefix("pgleaderboard: ").rstrip()


# --- what is synced at an end --------------------------------------------------------------------------------------


def test_all_competitions_of_an_event_are_synced_at_its_end(db: Connection, worker: MakeWorker) -> None:
    """Whatever their status, once each; one that is synced by hand only is not."""
    night = event(db, end_date=soon(days=1))
    hour = timedelta(hours=1)
    insert(db, SLUG, event_id=night, sync_interval=hour, end_date=soon(days=9))
    insert(db, OTHER, status="upcoming")
    insert(db, BYSTANDER, event_id=night, auto_sync=False)
    db.execute("INSERT INTO kaggle.event_competitions SELECT %s, max(id) - 1 FROM kaggle.competitions", (night,))
    with worker():
        synced(db)
        end_passes(db)
        eventually(db, 2, "SELECT count(*) FROM kaggle.sync_runs WHERE reason = 'event_ended'")
        eventually(db, 0, "SELECT count(*) FROM kaggle_internal.sync_requests")
        sweep_soon(db)
        db.execute("SELECT kaggle.sync_now(%s)", (BYSTANDER,))
        synced(db, BYSTANDER)
    assert runs(db) == [("inserted", "changed"), ("event_ended", "unchanged")]
    assert runs(db, OTHER) == [("event_ended", "changed")]
    assert runs(db, BYSTANDER) == [("manual", "changed")]


def test_they_come_before_all_that_was_not_asked_by_hand(db: Connection, connect: Callable[[], Connection]) -> None:
    """Before what is due or was inserted, though jobs of those wait; a job that waits for one of them is raised."""
    night = event(db, end_date=soon(days=1))
    late = insert(db, SLUG, event_id=night, status="upcoming")
    other = insert(db, OTHER)
    by_hand = insert(db, BYSTANDER, status="upcoming")
    also = insert(db, "simulated-4-teams", event_id=night, end_date=soon(days=3))
    session = connect()
    worker_id = value(session, "SELECT kaggle_internal.register_worker('test', '')")
    session.commit()
    db.execute("SELECT kaggle_internal.sweep(%s, false)", (worker_id,))
    db.execute("SELECT kaggle.sync_now(%s)", (BYSTANDER,))
    end_passes(db)
    for _ in range(2):
        db.execute("SELECT kaggle_internal.sweep(%s, false)", (worker_id,))
    assert rows(
        db,
        "SELECT (args ->> 'competition_id')::bigint FROM procrastinate.procrastinate_jobs "
        "WHERE status = 'todo' AND task_name = 'sync' ORDER BY priority DESC, args ->> 'competition_id'",
    ) == [(by_hand,), (late,), (also,), (other,)]
    assert value(db, "SELECT count(*) FROM procrastinate.procrastinate_jobs WHERE task_name = 'sync'") == 4


@pytest.mark.parametrize("kind", ["transient", "person"])
def test_one_that_failed_is_as_urgent_as_before(db: Connection, connect: Callable[[], Connection], kind: str) -> None:
    """When its retry is due, or another credential is there, it comes before what was inserted."""
    night = event(db, end_date=soon(days=1))
    final = insert(db, SLUG, event_id=night, status="upcoming", end_date=soon(days=9))
    insert(db, OTHER)
    session = connect()
    one, two = (
        value(session, "SELECT kaggle_internal.register_worker('test', %s, 60)", credential)
        for credential in ("one", "two")
    )
    session.commit()
    end_passes(db)
    assert value(db, "SELECT let_dates_act FROM kaggle_internal.let_dates_act()") is False
    run_id = value(db, "SELECT run_id FROM kaggle_internal.begin_sync(%s, %s)", final, one)
    retry_in = timedelta(0) if kind == "transient" else timedelta(hours=1)
    db.execute("SELECT kaggle_internal.fail_run(%s, %s, 'a failure', %s, %s)", (run_id, one, kind, retry_in))
    db.execute("TRUNCATE procrastinate.procrastinate_jobs CASCADE")
    db.execute("SELECT kaggle_internal.sweep(%s, true)", (two,))
    queued = "SELECT (args ->> 'competition_id')::bigint FROM procrastinate.procrastinate_jobs WHERE task_name = 'sync'"
    assert rows(db, queued) == [(final,)]


def test_the_worker_wakes_for_an_events_end(db: Connection, connect: Callable[[], Connection]) -> None:
    """And an hour before it, for Kaggle's deadline."""
    end = soon(hours=3)
    insert(db, event_id=event(db, end_date=end), end_date=soon(days=9), status="upcoming")
    session = connect()
    worker_id = value(session, "SELECT kaggle_internal.register_worker('test', '')")
    session.commit()
    for hours in (1, 0):
        assert value(db, "SELECT wake_at FROM kaggle_internal.sweep(%s, true)", worker_id) == end - timedelta(
            hours=hours
        )
        end -= timedelta(hours=2.5)
        move_time(db, "UPDATE kaggle.events SET end_date = %s", end)


@pytest.mark.parametrize("how", ["inserted as completed", "inserted past its end", "linked", "linked by event_id"])
def test_what_comes_after_an_end_is_synced_once(db: Connection, worker: MakeWorker, how: str) -> None:
    """A competition that is inserted as completed, or linked to an event that has ended."""
    night = event(db, start_date=datetime(2018, 1, 1, tzinfo=UTC), end_date=datetime(2019, 1, 1, tzinfo=UTC))
    with worker():
        if how == "inserted as completed":
            competition_id = insert(db, status="completed")
        elif how == "inserted past its end":
            competition_id = insert(db, event_id=night)
        else:
            competition_id = insert(db, status="upcoming", start_date=soon(days=1))
            assert_nothing_is_wanted(db, competition_id)
            if how == "linked":
                db.execute("INSERT INTO kaggle.event_competitions VALUES (%s, %s)", (night, competition_id))
            else:
                db.execute("UPDATE kaggle.competitions SET event_id = %s", (night,))
        assert synced(db)[1] == "changed"
        eventually(db, 0, "SELECT count(*) FROM kaggle_internal.sync_requests")
        assert_nothing_is_wanted(db, competition_id, before=1)
    assert status(db, "problem") is None or "worker" in status(db, "problem")
    assert value(db, "SELECT due_at FROM kaggle_internal.sync_state WHERE competition_id = %s", competition_id) is None


@pytest.mark.parametrize("given", [{}, {"status": "completed"}], ids=["a slug alone", "as completed"])
def test_one_that_came_after_its_end_is_synced_once_and_followed_from_there(
    db: Connection, worker: MakeWorker, simulator: Simulator, given: dict[str, str]
) -> None:
    """Kaggle tells the end with the first answer: a week ago, so it is asked daily; years ago, no more."""
    simulator.faults.put(SLUG, says(deadline=soon(days=-7)), times=None, method=METHOD)
    simulator.faults.put(OTHER, says(deadline=datetime(2019, 1, 1, tzinfo=UTC)), times=None, method=METHOD)
    with worker():
        for slug in (SLUG, OTHER):
            insert(db, slug, **given)
            assert synced(db, slug) == ("completed" if given else "inserted", "changed")
        eventually(db, 2, "SELECT count(*) FROM kaggle.competitions WHERE kaggle_deadline IS NOT NULL")
        eventually(db, True, "SELECT bool_and(describe_at > '-infinity') FROM kaggle_internal.sync_state")
        for competition_id, slug in rows(db, "SELECT id, kaggle_competition_id FROM kaggle.competitions ORDER BY id"):
            assert status(db, "status", slug) == "completed"
            assert_nothing_is_wanted(db, competition_id, before=1)
    due = "SELECT due_at - last_attempt_at FROM kaggle_internal.sync_state ORDER BY competition_id LIMIT 2"
    assert rows(db, due) == [(timedelta(days=1),), (None,)]


# --- deadlines that move on the last day -----------------------------------------------------------------------------


def test_kaggles_deadline_is_asked_for_in_the_last_hour(
    db: Connection, worker: MakeWorker, simulator: Simulator
) -> None:
    """Once, ahead of what is due; a host who extends is heard in time."""
    end = soon(hours=2)
    simulator.faults.put(SLUG, says(deadline=end), method=METHOD)
    with worker():
        competition_id = insert(db)
        synced(db)
        told(db)
        assert value(db, "SELECT count(*) FROM kaggle_internal.to_describe") == 0
        later = soon(days=2).replace(microsecond=0)
        simulator.faults.put(SLUG, says(deadline=later), method=METHOD)
        move_time(
            db,
            "UPDATE kaggle.competitions SET end_date = now() + interval '59 min', "
            "end_date_filled = now() + interval '59 min', kaggle_deadline = now() + interval '59 min'",
        )
        move_time(db, "UPDATE kaggle_internal.sync_state SET described_at = now() - interval '3 min'")
        wanted = "SELECT task, priority FROM kaggle_internal.wanted(NULL, false) WHERE competition_id = %s"
        assert rows(db, wanted, competition_id) == [("describe", 1)]
        sweep_soon(db)
        eventually(db, later, "SELECT end_date FROM kaggle.competitions WHERE id = %s", competition_id)
        assert rows(db, wanted, competition_id) == []
    assert len(runs(db)) == 1


def test_kaggles_deadline_is_asked_for_at_the_end(db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """After the final sync; it was extended, so the competition is ongoing again and synced."""
    simulator.faults.put(SLUG, says(deadline=soon(hours=2)), method=METHOD)
    with worker():
        insert(db)
        synced(db)
        told(db)
        later = soon(days=2).replace(microsecond=0)
        simulator.faults.put(SLUG, says(deadline=later), times=None, method=METHOD)
        move_time(db, "UPDATE kaggle.competitions SET kaggle_deadline = now() - interval '1 s'")
        ends_pass(db)
        sweep_soon(db)
        eventually(db, 3, "SELECT count(*) FROM kaggle.sync_runs")
    assert [reason for reason, _ in runs(db)] == ["inserted", "completed", "ongoing"]
    assert rows(db, "SELECT status, end_date FROM kaggle.competitions") == [("ongoing", later)]


# --- a private board before the end ----------------------------------------------------------------------------------


def serve(simulator: Simulator, kind: str, *order: int, times: int | None = 1) -> None:
    """What Kaggle sends next."""
    name = f"{SLUG}-{kind}leaderboard-2026-05-05T15:36:33.csv"
    simulator.faults.put(SLUG, Zipped(csv_of(teams(*order)), name), times=times, method=DOWNLOAD)


SHOWN = "SELECT string_agg(team_id::text, ' ' ORDER BY rank), min(board) FROM kaggle.leaderboard"


@pytest.mark.parametrize("by", ["a sync", "backfill"])
def test_a_private_board_before_the_end_is_shown_from_then_on(
    db: Connection, run: Run, worker: MakeWorker, simulator: Simulator, tmp_path: Path, by: str
) -> None:
    """It is stored, problem says so; the end passes, and the public one is hidden; it stays so if the end moves."""
    end = soon(hours=2)
    name = tmp_path / f"{SLUG}-privateleaderboard.zip"
    name.write_bytes(zip_of(teams(3, 1, 2), kind="private"))
    db.execute("INSERT INTO kaggle.participants VALUES ('user3')")
    with worker():
        serve(simulator, "public", 1, 2, 3)
        insert(db, end_date=end)
        synced(db)
        if by == "a sync":
            serve(simulator, "private", 3, 1, 2)
            db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
            assert synced(db) == ("manual", "changed")
        else:
            now = value(db, "SELECT clock_timestamp()")
            done = run("backfill", SLUG, str(name), "--at", now.isoformat(), "--board", "private")
            assert done.returncode == 0, done.stderr
        assert rows(db, SHOWN) == [("1 2 3", "public")]
        problem = status(db, "problem")
        assert problem.startswith("a private board came before the end: it is shown from ")
        assert status(db, "board") == "public"
        past = "SELECT count(DISTINCT board), min(board) FROM kaggle.leaderboard_as_of(%s, %s)"
        assert rows(db, past, SLUG, datetime.now(UTC)) == rows(db, past, SLUG, "infinity") == [(1, "public")]
        assert value(db, "SELECT rank FROM kaggle.participant_results") == 3
        assert rows(db, "SELECT * FROM kaggle.shakeup(%s)", SLUG) == []
        for later in (3, 4):  # the end is moved: the moment is not
            db.execute("UPDATE kaggle.competitions SET end_date = %s", (soon(hours=later),))
        older = ", ".join(f"{column} = {column} - interval '4 h'" for column in ("observed_from", "observed_at"))
        move_time(db, f"UPDATE kaggle.boards SET shown_from = shown_from - interval '3 h', {older}")
        move_time(db, "UPDATE kaggle.sync_runs SET observed_at = observed_at - interval '4 h'")
        assert value(db, "SELECT shown_from FROM kaggle.boards WHERE kind = 'private'") == end - timedelta(hours=3)
        assert rows(db, SHOWN) == [("3 1 2", "private")]
        assert status(db, "problem") is None
        assert value(db, "SELECT rank FROM kaggle.participant_results") == 1
        before = end - timedelta(hours=3, seconds=1)
        assert rows(db, past, SLUG, before) == [(1, "public")]
        assert rows(db, past, SLUG, before + timedelta(seconds=1)) == [(1, "private")]
        history = "SELECT rank FROM kaggle.rank_history(%s, 3) ORDER BY at"
        assert rows(db, history, SLUG) == [(3,), (1,)]
        assert len(rows(db, "SELECT * FROM kaggle.shakeup(%s)", SLUG)) == 3


@pytest.mark.parametrize("end", [None, "past"])
def test_a_private_board_is_shown_at_once(
    db: Connection, worker: MakeWorker, simulator: Simulator, end: str | None
) -> None:
    """Without a known end, and after it."""
    simulator.faults.put(SLUG, says(title="No end"), times=None, method=METHOD)
    with worker():
        serve(simulator, "public", 1, 2, 3)
        insert(db)
        synced(db)
        if end:
            db.execute("UPDATE kaggle.competitions SET end_date = now(), auto_sync = false")
        serve(simulator, "private", 3, 1, 2)
        db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
        assert synced(db)[1] == "changed"
        assert rows(db, SHOWN) == [("3 1 2", "private")]
        db.execute("UPDATE kaggle.competitions SET end_date = now() + interval '1 day'")
        assert rows(db, SHOWN) == [("3 1 2", "private")]


def test_a_board_that_was_dropped(db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """The public one is shown again at once, its rows go; the run is there and says that its board is not."""
    simulator.faults.put(SLUG, says(title="No end"), times=None, method=METHOD)
    with worker():
        serve(simulator, "public", 1, 2, 3)
        insert(db)
        synced(db)
        serve(simulator, "private", 3, 1, 2)
        db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
        synced(db)
        db.execute("SELECT kaggle.drop_board(%s, 'private')", (SLUG.upper(),))
        assert rows(db, SHOWN) == [("1 2 3", "public")]
        run_id = value(db, "SELECT max(id) FROM kaggle.sync_runs")
        with pytest.raises(psycopg.errors.NoDataFound, match=rf"the board of run {run_id} was dropped"):
            db.execute("SELECT kaggle.changes(%s)", (run_id,))
        eventually(db, 3, "SELECT count(*) FROM kaggle.leaderboard_entries")
        eventually(db, 1, "SELECT count(*) FROM kaggle.boards")
        assert rows(db, "SELECT board, board_id FROM kaggle.sync_runs WHERE id = %s", run_id) == [("private", None)]
        with pytest.raises(psycopg.errors.NoDataFound, match="has no board of kind 'private'"):
            db.execute("SELECT kaggle.drop_board(%s, 'private')", (SLUG,))
        with pytest.raises(psycopg.errors.NoDataFound, match="no competition 'titanic'"):
            db.execute("SELECT kaggle.drop_board('titanic', 'private')")
        serve(simulator, "private", 3, 1, 2)
        db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
        synced(db)
        assert rows(db, SHOWN) == [("3 1 2", "private")]


@pytest.mark.parametrize("confirms", [False, True])
def test_a_board_is_dropped_while_a_sync_runs(syncs: Syncs, confirms: bool) -> None:
    """The sync begins it anew, whole, whether it would have changed or confirmed it."""
    first, second = teams(1, 2, 3), teams(3, 1, 2, 4)
    syncs.sync(zip_of(first))
    run_id = syncs.begin().run_id
    syncs.db.execute("SELECT kaggle.drop_board('a-board', 'public')")
    assert syncs.leaderboard() == []
    applied = syncs.end(run_id, zip_of(first if confirms else second))
    assert applied.outcome == "changed"
    assert len(syncs.leaderboard()) == (3 if confirms else 4)
    while syncs.scalar("SELECT kaggle_internal.remove_detached(1)"):
        pass
    assert len(syncs.leaderboard()) == (3 if confirms else 4)
    assert syncs.scalar("SELECT count(*) FROM kaggle.boards") == 1


def test_a_board_is_taken_out_at_the_command_line(run: Run, db: Connection, syncs: Syncs) -> None:
    """With its rows; what is missing or too much is wrong usage."""
    syncs.sync(zip_of(teams(1, 2)))
    syncs.sync(zip_of(teams(2, 1), kind="private"))
    done = run("backfill", "--remove", "A-Board", "--board", "private")
    assert (done.returncode, done.stdout) == (0, "A-Board: the private board was removed\n")
    assert rows(db, SHOWN) == [("1 2", "public")]
    assert value(db, "SELECT count(*) FROM kaggle.boards") == 1
    assert (
        said(run("backfill", "--remove", "a-board", "--board", "private")) == "a-board has no board of kind 'private'"
    )
    assert run("backfill", "--remove", "a-board").returncode == 2
    assert run("backfill", "--remove", "a-board", "x.csv", "--board", "public").returncode == 2
    assert run("backfill", "a-board").returncode == 2


# --- the commands ----------------------------------------------------------------------------------------------------


def test_an_event_at_the_command_line(run: Run, db: Connection, compete: Callable[..., Syncs]) -> None:
    """freeze, unfreeze, finalize and reopen, and what standings say; what is refused is one line."""
    night = event(db)
    syncs = compete("a-board", event_id=night)
    syncs.sync(zip_of(teams(1, 2)))
    done = run("event", "freeze", "NIGHT", TZ="Asia/Tokyo")
    assert done.returncode == 0, done.stderr
    frozen_at = value(db, "SELECT frozen_at FROM kaggle.events").astimezone(UTC)
    assert done.stdout == f"NIGHT: readers see the standing of {local(frozen_at)}\n"
    assert db.execute("SELECT state FROM kaggle.event_states").fetchone() == ("frozen",)
    assert "The Night · ongoing · frozen as of 20" in run("standings", "night").stdout
    assert run("event", "unfreeze", "night").stdout == "night: the freeze is lifted\n"
    assert run("event", "unfreeze", "night").stdout == "night: there was no freeze\n"
    assert "The Night · ongoing · live, boards at most " in run("standings", "night").stdout
    assert run("event", "freeze", "night", "--at", "2999-01-01 20:00").stdout == (
        "night: a freeze is planned for 2999-01-01 20:00:00 UTC\n"
    )
    shown = run("standings", "night").stdout.splitlines()
    assert "· live, " in shown[0]
    assert shown[1] == "a freeze is planned for 2999-01-01 20:00:00 UTC"
    ahead = run("standings", "night", "--at", "2999-01-01")
    assert (ahead.returncode, "2999-01-01 lies in the future" in ahead.stderr) == (2, True)
    run("event", "unfreeze", "night")
    assert "has not ended: it has no end_date" in said(run("event", "finalize", "night"))
    db.execute("UPDATE kaggle.events SET end_date = clock_timestamp()")
    assert "The Night · completed · provisional, boards since 20" in run("standings", "night").stdout
    assert said(run("event", "finalize", "night")).startswith("no board from the end on: a-board: ")
    done = run("event", "finalize", "night", "--anyway", TZ="Asia/Tokyo")
    observed_at = syncs.run()[6].astimezone(UTC)
    assert done.stdout == f"a-board  public board of {local(observed_at)}, 2 teams\nnight: final\n"
    shown = run("standings", "night").stdout.splitlines()
    assert "The Night · completed · final since 20" in shown[0]
    syncs.sync(zip_of(teams(2, 1), kind="private"))
    shown = run("standings", "night").stdout.splitlines()
    assert shown[1] == "boards have changed since: a-board; pgleaderboard event reopen night counts them"
    document = json.loads(run("standings", "night", "--json").stdout)
    assert (document["state"], document["changed_since_final"]) == ("final", ["a-board"])
    assert [each["kaggle_username"] for each in document["standing"]] == ["user1", "user2"]
    assert said(run("event", "finalize", "night")).startswith("event 'night' is final since")
    assert run("event", "reopen", "night").stdout == "night: provisional again\n"
    assert said(run("event", "reopen", "night")) == "event 'night' is not final"
    assert said(run("event", "freeze", "knight")) == "no event 'knight': did you mean night?"


def test_a_planned_freeze_shows_on_a_watched_standing(url: str, db: Connection, compete: Callable[..., Syncs]) -> None:
    """Without any change of a board."""
    compete("a-board", event_id=event(db, frozen_at=soon(seconds=3))).sync(zip_of(teams(1, 2)))
    with Terminal("standings", "night", "--watch", url=url) as shown:
        shown.until("live")
        shown.until("frozen as of")
        shown.type("\x03")
        assert shown.end() == 130


# --- from the beginning to the end -----------------------------------------------------------------------------------


def test_an_event_from_its_creation_to_its_final_standing(
    run: Run, db: Connection, worker: MakeWorker, simulator: Simulator
) -> None:
    """Creation, freeze, end, private board, finalisation: at each state the explanation of one person's points."""

    boards: dict[str, Zipped] = {}

    def board(kind: str, slug: str = SLUG, **scores: str) -> None:
        entries = [
            Entry(n, name, Decimal(score), members=(name,))
            for n, (name, score) in enumerate(scores.items(), 1)
        ]  # fmt: skip
        entries.sort(key=lambda e: -(e.score or 0))
        name = f"{slug}-{kind}leaderboard-2026-05-05T15:36:33.csv"
        boards[slug] = Zipped(csv_of(entries), name)
        simulator.faults.clear()
        for each, fault in boards.items():
            simulator.faults.put(each, fault, times=None, method=DOWNLOAD)
            simulator.faults.put(each, says(), times=None, method=METHOD)

    def sync(slug: str = SLUG) -> None:
        db.execute("SELECT kaggle.sync_now(%s)", (slug,))
        assert synced(db, slug)[1] == "changed"

    def explained(name: str = "ann") -> tuple[str, list[tuple[str, str, int, str]]]:
        told = json.loads(run("standings", "night", "--explain", name, "--json").stdout)
        lines = [(r["kaggle_competition_id"], r["board"], r["place"], r["points"]) for r in told["results"]]
        total = value(db, "SELECT points FROM kaggle.event_standings WHERE kaggle_username = %s", name)
        assert round(sum(Decimal(points) for *_, points in lines), 6) == total
        short = [(slug, kind, place, f"{Decimal(points).normalize():f}") for slug, kind, place, points in lines]
        return told["state"], sorted(short, reverse=True)

    with worker():
        board("public", ann="0.9", bo="0.8", cy="0.7")
        board("public", OTHER, bo="0.9", ann="0.8", cy="0.7")
        night = event(db, start_date=soon(hours=-1), end_date=soon(hours=3))
        db.execute("SELECT kaggle.import_competitions(%s, 'night')", ([SLUG, OTHER],))
        db.execute("UPDATE kaggle.competitions SET auto_sync = false")
        for slug in (SLUG, OTHER):
            if not runs(db, slug):
                db.execute("SELECT kaggle.sync_now(%s)", (slug,))
            synced(db, slug)
        added = "SELECT outcome FROM kaggle.import_participants('{ann,bo,cy}', 'night')"
        assert rows(db, added) == [("created",)] * 3
        first = [(OTHER, "public", 2, "50"), (SLUG, "public", 1, "100")]
        assert explained() == ("live", first)

        assert run("event", "freeze", "night").returncode == 0
        board("public", bo="0.95", ann="0.9", cy="0.7")
        sync()
        assert explained() == ("frozen", first)
        db.execute("UPDATE kaggle.competitions SET rating_weight = 2 WHERE kaggle_competition_id = %s", (OTHER,))
        assert explained() == ("frozen", [(OTHER, "public", 2, "100"), (SLUG, "public", 1, "100")])
        assert run("event", "unfreeze", "night").returncode == 0
        assert explained() == ("live", [(OTHER, "public", 2, "100"), (SLUG, "public", 2, "50")])

        # The last minutes: seen by the syncs that the end asks for. The first competition has ended, the other goes on.
        board("public", OTHER, ann="0.97", bo="0.9", cy="0.7")
        db.execute("UPDATE kaggle.competitions SET auto_sync = true, kaggle_deadline = CASE kaggle_competition_id "
                   "WHEN %s THEN %s::timestamptz ELSE %s END", (SLUG, soon(minutes=-1), soon(days=99)))  # fmt: skip
        for slug in (SLUG, OTHER):
            synced(db, slug)
        board("public", bo="0.95", cy="0.94", ann="0.9")
        board("public", OTHER, ann="0.98", bo="0.9", cy="0.7")
        last = value(db, "SELECT max(id) FROM kaggle.sync_runs")
        ends_pass(db)
        end_passes(db)
        eventually(db, 2, "SELECT count(DISTINCT competition_id) FROM kaggle.sync_runs r JOIN kaggle.events e "
                          "ON r.observed_at > e.end_date AND r.outcome <> 'failed' AND r.id > %s", last)  # fmt: skip
        assert explained() == ("provisional", [(OTHER, "public", 1, "200"), (SLUG, "public", 3, "0")])

        board("private", ann="0.93", bo="0.92", cy="0.5")
        sync()
        ended = [(OTHER, "public", 1, "200"), (SLUG, "private", 1, "100")]
        assert explained() == ("provisional", ended)
        board("public", OTHER, cy="0.99", bo="0.9", ann="0.7")  # it goes on without the event
        sync(OTHER)
        assert explained() == ("provisional", ended)

        done = run("event", "finalize", "night")
        assert done.returncode == 0, done.stderr
        assert explained() == ("final", ended)
        board("private", bo="0.93", ann="0.92", cy="0.5")
        sync()
        db.execute("UPDATE kaggle.competitions SET rating_weight = 9")
        db.execute("DELETE FROM kaggle.event_participants")
        assert explained() == ("final", ended)
        assert f"boards have changed since: {SLUG};" in run("standings", "night").stdout
        assert run("event", "reopen", "night").returncode == 0
        assert explained() == ("provisional", [(OTHER, "public", 1, "900"), (SLUG, "private", 2, "450")])
    assert night
