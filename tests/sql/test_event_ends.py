"""How an event ends: its states, which board of each competition counts, and the final standing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.sql.test_standings import Compete, as_of, event, register, standing, team
from tests.support.aliases import Connect, Connection
from tests.support.asking import rows, value
from tests.support.boards import zip_of
from tests.support.syncs import WORKER, Syncs

END = datetime(2026, 1, 10, 20, 0, tzinfo=UTC)
FOREVER = datetime(9999, 1, 1, tzinfo=UTC)
HOUR = 3600


def at(seconds: float) -> datetime:
    """So many seconds after the end."""
    return END + timedelta(seconds=seconds)


def lead(*names: str) -> bytes:
    """A public board with these people, best first."""
    return zip_of([team(name, str(9 - n)) for n, name in enumerate(names)])


def reveal(*names: str) -> bytes:
    """A private board."""
    return zip_of([team(name, str(9 - n)) for n, name in enumerate(names)], kind="private")


def leader(db: Connection, moment: datetime | None = None) -> str | None:
    """Who leads the event, as readers see it, or as it was known at a moment."""
    places = standing(db) if moment is None else as_of(db, moment)
    return places[0][1] if places else None


# The boards of one competition, public ones in lower case and private ones in capitals, each led by another person, at
# seconds after the event's end; Kaggle's deadline; columns of the event and of the link; and who leads when.
BOARDS: dict[str, tuple[dict[str, int], int | None, dict[str, Any], dict[float, str | None]]] = {
    "goes on: the first board within two minutes": (
        {"a": -60, "b": 10, "c": 100, "d": 300}, None, {},
        {-61: None, -60: "a", -1: "a", 0: "a", 9: "a", 10: "b", 100: "b", 300: "b"},
    ),
    "goes on: observed at the end itself": ({"a": -60, "b": 0, "c": 10}, None, {}, {-1: "a", 0: "b", 10: "b"}),
    "goes on: two minutes after": ({"a": -60, "b": 120}, None, {}, {119: "a", 120: "b"}),
    "goes on: not more than two minutes after": ({"a": -60, "b": 121}, None, {}, {120: "a", 121: "a"}),
    "goes on: first known long after": ({"a": 600, "b": 900}, None, {}, {599: None, 600: "a", 900: "a"}),
    "goes on: Kaggle's deadline lies a second behind": ({"a": -60, "b": 10, "c": 900}, 1, {}, {900: "b"}),
    "goes on, whatever private board came": ({"a": -60, "b": 10, "C": 900}, 24 * HOUR, {}, {900: "b"}),
    "goes on: a private board within two minutes": (
        {"a": -60, "B": 10, "c": 60}, 24 * HOUR, {}, {-1: "a", 0: "a", 10: "B", 60: "B"},
    ),
    "goes on: a private board within two minutes, if private ones do not count": (
        {"a": -60, "B": 10, "c": 60}, 24 * HOUR, {"counts_private": False}, {10: "a", 59: "a", 60: "c"},
    ),
    "goes on: private boards alone, if private ones do not count": (
        {"A": 10, "B": 60}, 24 * HOUR, {"counts_private": False}, {9: None, 10: "A", 60: "A"},
    ),
    "has ended: the latest board": (
        {"a": -60, "b": 10, "c": 900}, 0, {}, {-1: "a", 0: "a", 9: "a", 10: "b", 899: "b", 900: "c"},
    ),
    "has ended: the private one": ({"a": -60, "b": 10, "C": 900, "d": 950, "E": 999}, -HOUR, {},
                                   {10: "b", 900: "C", 950: "C", 999: "E"}),
    "has ended: the public one, if private ones do not count": (
        {"a": -60, "b": 10, "C": 900, "d": 950}, -HOUR, {"counts_private": False}, {900: "b", 950: "d"},
    ),
    "has ended: private only": ({"A": 900}, -HOUR, {"counts_private": False}, {899: None, 900: "A"}),
    "deadline unknown: a private board tells that it has ended": (
        {"a": -60, "b": 10, "c": 500, "D": 900, "e": 950}, None, {}, {899: "b", 900: "D", 950: "D"},
    ),
    "deadline unknown: it tells so where it does not count": (
        {"a": -60, "b": 10, "c": 500, "D": 900, "e": 950}, None, {"counts_private": False},
        {899: "b", 900: "c", 950: "e"},
    ),
    "private before the end": ({"a": -900, "B": -600}, None, {}, {-601: "a", -600: "B", 0: "B", 10: "B"}),
    "chosen: a moment after the end": (
        {"a": -60, "b": 10, "c": 200, "d": 400}, None, {"counts_at": 300},
        {-1: "a", 0: "a", 10: "b", 200: "c", 300: "c", 400: "c"},
    ),
    "chosen: a moment before the end": (
        {"a": -60, "b": -20, "c": 10}, None, {"counts_at": -30}, {-1: "b", 0: "a", 10: "a"},
    ),
    "chosen goes before has ended": ({"a": -60, "b": 10, "C": 900}, -HOUR, {"counts_at": 20}, {900: "b"}),
    "chosen is a private board": ({"a": -60, "b": 10, "C": 900, "D": 999}, -HOUR, {"counts_at": 900}, {999: "C"}),
}  # fmt: skip


def night_of(db: Connection, compete: Compete, case: str) -> Syncs:
    """The event and the competition of a case, its boards seen."""
    boards, deadline, columns, _ = BOARDS[case]
    columns = dict(columns)
    counts_at = columns.pop("counts_at", None)
    syncs = compete("a", event_id=event(db, start_date=END - timedelta(days=9), **columns))
    for name, seconds in boards.items():
        others = [other for other in boards if other != name]
        syncs.sync_at(at(seconds), (reveal if name.isupper() else lead)(name, *others))
    db.execute("UPDATE kaggle.events SET end_date = %s", (END,))
    db.execute("UPDATE kaggle.competitions SET kaggle_deadline = %s", (None if deadline is None else at(deadline),))
    db.execute("UPDATE kaggle.event_competitions SET counts_at = %s", (None if counts_at is None else at(counts_at),))
    return syncs


@pytest.mark.parametrize("case", BOARDS)
def test_which_board_counts(db: Connection, compete: Compete, case: str) -> None:
    """Now, as known at any moment, and in a freeze of any moment; before the worker keeps the board, and after."""
    *_, known = BOARDS[case]
    night_of(db, compete, case)
    for kept in (False, True):
        for seconds, expected in known.items():
            assert leader(db, at(seconds)) == expected, (seconds, kept)
            db.execute("UPDATE kaggle.events SET frozen_at = %s", (at(seconds),))
            assert leader(db) == expected, (seconds, kept)
        db.execute("UPDATE kaggle.events SET frozen_at = NULL")
        assert leader(db) == leader(db, FOREVER) == known[max(known)], kept
        db.execute("SELECT kaggle_internal.keep_boards_at_end()")


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("case", BOARDS)
def test_the_board_that_counts_is_neither_pruned_nor_thinned(
    db: Connection, compete: Compete, case: str, kept: bool
) -> None:
    """Nor is it another one when the runs that told it are gone."""
    *_, known = BOARDS[case]
    syncs = night_of(db, compete, case)
    last = known[max(known)]
    db.execute("UPDATE kaggle.competitions SET history_interval = '1 day'")
    if kept:
        db.execute("SELECT kaggle_internal.keep_boards_at_end()")
    while syncs.store.thin_history():
        assert leader(db) == last
    while syncs.scalar("SELECT kaggle.prune_history('0 seconds', 1)"):
        assert leader(db) == last
    if kept:
        db.execute("UPDATE kaggle.sync_runs SET outcome = 'failed', error = 'gone', error_kind = 'ours'")
    assert leader(db) == last


def test_another_end_is_chosen_for_anew(db: Connection, compete: Compete) -> None:
    """The event's end is moved, there and back: each end has its board, kept or not."""
    syncs = compete("a", event_id=event(db, start_date=END - timedelta(days=9)))
    for seconds, names in ((-60, "ab"), (10, "ba"), (HOUR, "cab")):
        syncs.sync_at(at(seconds), lead(*names))
    for seconds, expected in ((0, "b"), (HOUR - 30, "c"), (0, "b"), (600, "b"), (-30, "b")):
        db.execute("UPDATE kaggle.events SET end_date = %s", (at(seconds),))
        assert leader(db) == expected, seconds
        db.execute("SELECT kaggle_internal.keep_boards_at_end()")
        assert leader(db) == expected, seconds
    db.execute("DELETE FROM kaggle.event_competitions")
    db.execute("SELECT kaggle_internal.keep_boards_at_end()")
    assert rows(db, "SELECT * FROM kaggle_internal.boards_at_end") == []


def test_another_kind_of_board_is_chosen_for_anew(db: Connection, compete: Compete) -> None:
    """Private boards are to count, or not, after the board at the end was kept."""
    night = event(db, start_date=END - timedelta(days=9))
    syncs = compete("a", event_id=night)
    for seconds, board in ((-60, lead("a", "b", "c")), (10, reveal("b", "a", "c")), (60, lead("c", "b", "a"))):
        syncs.sync_at(at(seconds), board)
    db.execute("UPDATE kaggle.competitions SET kaggle_deadline = %s", (FOREVER,))
    db.execute("UPDATE kaggle.events SET end_date = %s", (END,))
    for counts_private, expected in ((True, "b"), (False, "c"), (True, "b")):
        db.execute("UPDATE kaggle.events SET counts_private = %s", (counts_private,))
        assert leader(db) == expected
        db.execute("SELECT kaggle_internal.keep_boards_at_end()")
        assert leader(db) == expected


@pytest.mark.parametrize(
    "undo",
    [
        "UPDATE kaggle.competitions SET kaggle_competition_id = 'b'",
        "SELECT kaggle.drop_board('a', 'public')",
    ],
)
def test_a_board_that_was_kept_and_is_gone(db: Connection, compete: Compete, undo: str) -> None:
    """The slug was mistyped, or the board was: the next one counts, and nothing is made final without one."""
    syncs = compete("a", event_id=event(db, end_date=END))
    syncs.sync_at(at(10), lead("x", "y"))
    db.execute("SELECT kaggle_internal.keep_boards_at_end()")
    db.execute(undo)  # type: ignore[arg-type]
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="no board from the end on"):
        db.execute("SELECT kaggle.finalize_event('night')")
    db.rollback()
    syncs.sync_at(at(HOUR), lead("y", "x"))
    for _ in range(2):
        assert leader(db) == "y"
        db.execute("SELECT kaggle_internal.keep_boards_at_end()")


@pytest.mark.parametrize("column", ["end_date", "frozen_at"])
def test_a_moment_of_before_the_horizon_at_which_the_board_was_quiet(
    db: Connection, compete: Compete, column: str
) -> None:
    """An event that is made after pruning: nothing had changed since, so the board is known, and stays known."""
    syncs = compete("a")
    for seconds, names in ((-600, "xy"), (-300, "yx")):
        syncs.sync_at(at(seconds), lead(*names))
    db.execute("SELECT kaggle.prune_history('0 seconds')")
    night = event(db, **{column: END})
    db.execute(
        "INSERT INTO kaggle.event_competitions (event_id, competition_id) SELECT %s, id FROM kaggle.competitions",
        [night],
    )
    assert leader(db) == "y"
    db.execute("SELECT kaggle_internal.keep_boards_at_end()")
    syncs.sync(lead("x", "y"))
    db.execute("SELECT kaggle.prune_history('0 seconds')")
    assert leader(db) == "y"


def test_a_moment_between_two_that_are_kept(db: Connection, compete: Compete) -> None:
    """The board that was kept held for longer than its moment."""
    syncs = compete("a", event_id=event(db, end_date=END))
    for seconds, names in ((-60, "xy"), (10, "yx"), (900, "xy"), (1800, "zxy")):
        syncs.sync_at(at(seconds), lead(*names))
    db.execute("SELECT kaggle_internal.keep_boards_at_end()")
    db.execute("SELECT kaggle.prune_history('0 seconds')")
    db.execute("UPDATE kaggle.event_competitions SET counts_at = %s", (at(30),))
    assert leader(db) == "y"


def test_a_sync_that_began_in_time_is_waited_for(db: Connection, compete: Compete) -> None:
    """It was begun a minute after the end, and its download takes three: its board counts, so none is kept before."""
    syncs = compete("a", event_id=event(db, start_date=END - timedelta(days=9)))
    syncs.sync_at(at(-60), lead("x", "y"))
    run_id = syncs.begin().run_id
    db.execute("UPDATE kaggle_internal.sync_state SET running_since = %s", (at(60),))
    db.execute("UPDATE kaggle.events SET end_date = %s", (END,))
    db.execute("SELECT kaggle_internal.keep_boards_at_end()")
    assert leader(db) == "x"
    syncs.end(run_id, lead("y", "x"))
    assert leader(db) == "y"
    db.execute("SELECT kaggle_internal.keep_boards_at_end()")
    assert rows(db, "SELECT at FROM kaggle_internal.boards_at_end") == [(at(60),)]


def test_the_last_minutes_count_and_then_the_private_board(db: Connection, compete: Compete) -> None:
    """x 0.9, y 0.8; Kaggle's file changes before the end and is seen after it; then the private board has x first."""
    syncs = compete("a", event_id=event(db, start_date=END - timedelta(days=9)))
    syncs.sync_at(at(-600), zip_of([team("x", "0.9"), team("y", "0.8")]))
    assert states(db) == [("live", at(-600))]
    db.execute("UPDATE kaggle.events SET end_date = %s", (END,))
    syncs.sync_at(at(3), zip_of([team("y", "0.95"), team("x", "0.9")]))
    assert standing(db) == [(1, "y", "100"), (2, "x", "0")]
    assert states(db) == [("provisional", at(3))]
    syncs.sync_at(at(HOUR), reveal("x", "y"))
    assert standing(db) == [(1, "x", "100"), (2, "y", "0")]
    assert states(db) == [("provisional", at(HOUR))]


# --- states ------------------------------------------------------------------------------------------------------


def states(db: Connection) -> list[tuple[Any, ...]]:
    """State and moment of the event, which all rows of its standing bear."""
    told = rows(db, "SELECT state, as_of FROM kaggle.event_states")
    assert set(rows(db, "SELECT state, as_of FROM kaggle.event_standings")) <= set(told)
    return told


PAST, AHEAD = datetime(2026, 1, 5, tzinfo=UTC), FOREVER


@pytest.mark.parametrize(
    ("end", "frozen", "final", "expected"),
    [
        (None, None, False, "live"),
        (AHEAD, None, False, "live"),
        (AHEAD, AHEAD, False, "live"),
        (AHEAD, PAST, False, "frozen"),
        (None, PAST, False, "frozen"),
        (END, None, False, "provisional"),
        (END, AHEAD, False, "provisional"),
        (END, PAST, False, "frozen"),
        (END, None, True, "final"),
        (END, AHEAD, True, "final"),
        (END, PAST, True, "frozen"),
    ],
)
def test_states(
    db: Connection, compete: Compete, end: datetime | None, frozen: datetime | None, final: bool, expected: str
) -> None:
    """The first that holds of frozen, final, provisional and live; a freeze ahead is planned."""
    compete("a", event_id=event(db)).sync_at(at(5), lead("x", "y"))
    db.execute("UPDATE kaggle.events SET end_date = %s, frozen_at = %s", (end, frozen))
    if final:
        db.execute("SELECT kaggle.finalize_event('night')")
    ((state, as_of),) = states(db)
    assert state == expected
    final_at = value(db, "SELECT final_at FROM kaggle.events")
    assert as_of == {"frozen": frozen, "final": final_at}.get(state, at(5))
    assert (final_at is not None) == final


def test_as_of_is_the_oldest_board_that_counts(db: Connection, compete: Compete) -> None:
    """A confirmed board is as new as its confirmation; without boards there is no moment."""
    night = event(db)
    assert states(db) == [("live", None)]
    first, second = compete("a", event_id=night), compete("b", event_id=night)
    first.sync_at(at(10), lead("x", "y"))
    second.sync_at(at(20), lead("x", "y"))
    assert states(db) == [("live", at(10))]
    first.sync_at(at(30), lead("x", "y"))
    assert states(db) == [("live", at(20))]
    known = "SELECT DISTINCT state, as_of FROM kaggle.event_standings_as_of('night', %s)"
    assert rows(db, known, at(25)) == [("live", at(10))]
    db.execute("UPDATE kaggle.events SET end_date = %s, frozen_at = %s", (at(22), at(12)))
    assert rows(db, known, at(21)) == [("live", at(10))]
    assert rows(db, known, at(25)) == [("provisional", at(10))]


def test_rosters_and_weights_act_at_once_on_all_but_a_final_standing(db: Connection, compete: Compete) -> None:
    """Live, frozen and provisional ones."""
    night = event(db)
    compete("a", event_id=night).sync_at(at(-60), lead("x", "y", "z"))
    changes: list[tuple[str, Callable[[], object]]] = [
        ("live", lambda: None),
        ("frozen", lambda: db.execute("UPDATE kaggle.events SET frozen_at = %s", (at(-30),))),
        ("provisional", lambda: db.execute("UPDATE kaggle.events SET frozen_at = NULL, end_date = %s", (END,))),
        ("final", lambda: db.execute("SELECT kaggle.finalize_event('night', true)")),
    ]
    for state, change in changes:
        change()
        before = standing(db)
        register(db, night, "x", excluded=True)
        db.execute("UPDATE kaggle.competitions SET rating_weight = 2")
        after = standing(db)
        assert states(db)[0][0] == state
        assert after == (before if state == "final" else [(1, "y", "200"), (2, "z", "0")])
        db.execute("DELETE FROM kaggle.event_participants")
        db.execute("UPDATE kaggle.competitions SET rating_weight = 1")


# When it was frozen, who leads then, and what moves afterwards.
FREEZES: dict[str, tuple[int, str, str]] = {
    "Kaggle's deadline becomes known": (600, "D", "UPDATE kaggle.competitions SET kaggle_deadline = %(ahead)s"),
    "the end is moved ahead": (400, "b", "UPDATE kaggle.events SET end_date = %(ahead)s"),
    "private boards no longer count": (600, "D", "UPDATE kaggle.events SET counts_private = false"),
    "the end is removed": (400, "b", "UPDATE kaggle.events SET end_date = NULL"),
    "the end is moved behind a board": (400, "b", "UPDATE kaggle.events SET end_date = %(later)s"),
    "an end is set that had passed": (-50, "a", "UPDATE kaggle.events SET end_date = %(before)s"),
    "an end is set, of a moment that was chosen": (
        400, "a", "UPDATE kaggle.event_competitions SET counts_at = %(before)s",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FREEZES)
def test_a_freeze_holds_what_was_chosen_when_dates_move(db: Connection, compete: Compete, case: str) -> None:
    """And what it rests on is not pruned; when it is lifted, or set anew, the dates count as they are."""
    frozen, expected, change = FREEZES[case]
    moments = {"ahead": FOREVER, "later": at(295), "before": at(-55)}
    syncs = compete("a", event_id=event(db, start_date=END - timedelta(days=9)))
    boards = {"z": -90, "a": -60, "b": 10, "c": 300, "D": 500, "E": 900}
    for name, seconds in boards.items():
        others = [other for other in boards if other != name]
        syncs.sync_at(at(seconds), (reveal if name.isupper() else lead)(name, *others))
    db.execute("UPDATE kaggle.events SET end_date = %s, frozen_at = %s", (END, at(frozen)))
    chosen = "counts_at" in change
    if chosen:
        db.execute(change, moments)  # type: ignore[arg-type]
        change = FREEZES["the end is moved ahead"][2]
    assert leader(db) == expected
    db.execute(change, moments)  # type: ignore[arg-type]
    for _ in range(2):
        assert leader(db) == expected
        assert states(db) == [("frozen", at(frozen))]
        db.execute("SELECT kaggle_internal.sweep(%s, true)", (WORKER,))
        while syncs.scalar("SELECT kaggle.prune_history('0 seconds', 1)"):
            assert leader(db) == expected
    if chosen:
        db.execute("UPDATE kaggle.event_competitions SET counts_at = NULL")
        assert leader(db) == "c"
    db.execute("UPDATE kaggle.events SET frozen_at = NULL")
    unfrozen = leader(db)
    assert unfrozen == leader(db, FOREVER)
    assert rows(db, "SELECT * FROM kaggle_internal.boards_at_freeze") == []
    db.execute("UPDATE kaggle.events SET frozen_at = now()")
    assert leader(db) == unfrozen


def test_sessions_that_note_the_same_freeze_do_not_wait(db: Connection, connect: Connect, compete: Compete) -> None:
    """A person moves the end and idles, meanwhile Kaggle tells its deadline, and a worker sweeps."""
    dates = {"start_date": END - timedelta(days=9), "end_date": FOREVER}  # its own
    syncs = compete("a", event_id=event(db, end_date=END), **dates)
    for seconds, leads in {-60: ("x", "y"), 10: ("y", "x"), 300: ("x", "y")}.items():
        syncs.sync_at(at(seconds), lead(*leads))
    db.execute("UPDATE kaggle.events SET frozen_at = %s", (at(600),))
    person = connect()
    db.execute("SET lock_timeout = '2s'")
    with person.transaction():
        person.execute("UPDATE kaggle.events SET end_date = %s", (FOREVER,))
        db.execute("UPDATE kaggle.competitions SET kaggle_deadline = %s", (END,))
        db.execute("SELECT kaggle_internal.sweep(%s, true)", (WORKER,))
        assert leader(db) == "y"
    assert leader(db) == "y"
    db.execute("UPDATE kaggle.events SET frozen_at = NULL")
    db.execute("SELECT kaggle_internal.sweep(%s, true)", (WORKER,))
    assert value(db, "SELECT count(*) FROM kaggle_internal.boards_at_freeze") == 0


def test_a_freeze_shows_no_board_that_was_dropped(db: Connection, compete: Compete) -> None:
    """What counts then is chosen among those that are left."""
    syncs = compete("a", event_id=event(db, end_date=END))
    syncs.sync_at(at(-60), lead("x", "y"))
    syncs.sync_at(at(10), reveal("y", "x"))
    db.execute("UPDATE kaggle.events SET frozen_at = %s", (at(60),))
    db.execute("UPDATE kaggle.events SET end_date = NULL")
    assert leader(db) == "y"
    db.execute("SELECT kaggle.drop_board('a', 'private')")
    assert leader(db) == "x"


# --- the final standing --------------------------------------------------------------------------------------------


RESULTS = "SELECT * FROM kaggle.event_results ORDER BY kaggle_username, competition_id"


def test_nothing_changes_a_final_standing(db: Connection, compete: Compete) -> None:
    """No sync, registration, weight, renaming, deletion or pruning; it is there after the competition is gone."""
    night = event(db, end_date=END)
    syncs = compete("a", event_id=night)
    syncs.sync_at(at(-60), lead("x", "y"))
    syncs.sync_at(at(10), lead("y", "x"))
    db.execute("INSERT INTO kaggle.participants VALUES ('y', 'Yvonne')")
    final = rows(db, "SELECT * FROM kaggle.finalize_event('NIGHT')")
    assert final == [(syncs.competition, "a", "public", at(10), 2)]
    told, results = rows(db, "SELECT * FROM kaggle.event_standings"), rows(db, RESULTS)
    assert [row[2:7] for row in told] == [(1, "y", "Yvonne", True, 100), (2, "x", None, False, 0)]
    assert len(results) == 2
    for change in (
        "UPDATE kaggle.participants SET display_name = 'Another'",
        "INSERT INTO kaggle.event_participants VALUES (%(night)s, 'x')",
        "UPDATE kaggle.competitions SET rating_weight = 3, points_for_perfect_score = 7",
        "UPDATE kaggle.events SET counts_private = false, points_by_place = '{3,2}', only_since_start = true",
        "UPDATE kaggle.event_competitions SET counts_at = '2026-01-01', rating_weight = 9",
        "SELECT kaggle.prune_history('0 seconds')",
        "DELETE FROM kaggle.participants",
        "SELECT kaggle.drop_board('a', 'public')",
        "DELETE FROM kaggle.competitions",
        "TRUNCATE kaggle.competitions CASCADE",
    ):
        if "participants" not in change and "competitions" not in change:
            syncs.sync_at(datetime.now(UTC), lead("z", "x", "y"))
        db.execute(change, {"night": night})
        assert rows(db, "SELECT * FROM kaggle.event_standings") == told, change
        assert rows(db, RESULTS) == results, change
    db.execute("DELETE FROM kaggle.events")
    assert rows(db, "SELECT * FROM kaggle.event_standings") == []
    for table in ("final_standings", "final_results", "final_boards"):
        assert rows(db, f"SELECT * FROM kaggle_internal.{table}") == []


def test_a_final_standing_says_what_has_changed_since(db: Connection, compete: Compete) -> None:
    """By name: another board, another content; a confirmation is no change, nor is a board that does not count."""
    night = event(db, end_date=END)
    ended, goes_on, quiet = (compete(slug, event_id=night) for slug in ("ended", "goes-on", "quiet"))
    db.execute("UPDATE kaggle.competitions SET kaggle_deadline = %s WHERE title IS NOT NULL OR true", (END,))
    db.execute("UPDATE kaggle.competitions SET kaggle_deadline = NULL WHERE kaggle_competition_id = 'goes-on'")
    for syncs in (ended, goes_on, quiet):
        syncs.sync_at(at(10), lead("x", "y"))
    db.execute("SELECT kaggle.finalize_event('night')")
    changed = "SELECT changed_since_final FROM kaggle.event_states"
    for syncs in (goes_on, quiet):
        syncs.sync_at(at(500), lead("x", "y"))
    assert value(db, changed) is None
    goes_on.sync_at(at(600), lead("y", "x"))
    assert value(db, changed) is None
    ended.sync_at(at(600), lead("y", "x"))
    assert value(db, changed) == ["ended"]
    quiet.sync_at(at(700), reveal("x", "y"))
    assert value(db, changed) == ["ended", "quiet"]
    db.execute("SELECT kaggle.reopen_event('night')")
    assert value(db, changed) is None
    assert states(db)[0][0] == "provisional"
    db.execute("SELECT kaggle.finalize_event('night')")
    assert value(db, changed) is None


@pytest.mark.parametrize(
    "undo", ["SELECT kaggle.drop_board('a', 'public')", "UPDATE kaggle.competitions SET kaggle_competition_id = 'b'"]
)
def test_a_board_that_is_gone_has_changed_since(db: Connection, compete: Compete, undo: str) -> None:
    """The only one of a final event: what the standing rests on is no longer what counts."""
    compete("a", event_id=event(db, end_date=END)).sync_at(at(10), lead("x", "y"))
    db.execute("SELECT kaggle.finalize_event('night')")
    db.execute(undo)  # type: ignore[arg-type]
    slug = value(db, "SELECT kaggle_competition_id FROM kaggle.competitions")
    assert value(db, "SELECT changed_since_final FROM kaggle.event_states") == [slug]
    db.execute("DELETE FROM kaggle.competitions")
    assert states(db)[0][0] == "final"


def test_a_frozen_board_is_there_again_after_another_link(db: Connection, compete: Compete) -> None:
    """Linked to another slug by mistake, with an edit of the event, and back: readers see what they saw."""
    syncs = compete("a", event_id=event(db, end_date=FOREVER))
    syncs.sync_at(at(-60), lead("x", "y"))
    db.execute("UPDATE kaggle.events SET frozen_at = %s", (at(-30),))
    syncs.sync_at(at(-10), lead("y", "x"))
    for slug, leads in (("b", None), ("A", "x")):
        db.execute("UPDATE kaggle.competitions SET kaggle_competition_id = %s", (slug,))
        db.execute("UPDATE kaggle.events SET counts_private = NOT counts_private")
        assert leader(db) == leads


@pytest.mark.parametrize("moment", ["end", "frozen", "chosen"])
def test_as_of_stays_when_runs_are_pruned(db: Connection, compete: Compete, moment: str) -> None:
    """The run that saw the board last before a moment on which the standing rests is kept; others go."""
    syncs = compete("a", event_id=event(db, end_date=END))
    for seconds in (-90, -60, -30, 300, 600):
        syncs.sync_at(at(seconds), lead("x", "y"))
    db.execute("UPDATE kaggle.competitions SET kaggle_deadline = %s", (FOREVER,))
    if moment == "frozen":
        db.execute("UPDATE kaggle.events SET end_date = NULL, frozen_at = %s", (at(-40),))
    elif moment == "chosen":
        db.execute("UPDATE kaggle.event_competitions SET counts_at = %s", (at(400),))
    told = "SELECT max(observed_at) FROM kaggle.event_results"
    expected = {"end": at(-30), "frozen": at(-60), "chosen": at(300)}[moment]
    for _ in range(2):
        assert value(db, told) == expected
        if moment != "frozen":
            assert states(db) == [("provisional", expected)]
        syncs.scalar("SELECT kaggle_internal.prune_runs('0 seconds')")
    assert value(db, "SELECT count(*) FROM kaggle.sync_runs") <= 5 - 1


def test_runs_without_a_change_that_are_pruned_change_nothing(db: Connection, compete: Compete) -> None:
    """The final board was seen by such a run: its content is the same without it."""
    syncs = compete("a", event_id=event(db, end_date=END))
    for seconds, names in ((-60, "xy"), (10, "xy"), (900, "yx")):
        syncs.sync_at(at(seconds), lead(*names))
    db.execute("SELECT kaggle_internal.keep_boards_at_end()")
    db.execute("SELECT kaggle.finalize_event('night')")
    db.execute("DELETE FROM kaggle.sync_runs WHERE outcome = 'unchanged'")
    assert value(db, "SELECT changed_since_final FROM kaggle.event_states") is None


def test_finalising_during_a_freeze_stores_the_unfrozen_standing(db: Connection, compete: Compete) -> None:
    """Readers see it when the freeze is lifted."""
    syncs = compete("a", event_id=event(db, end_date=END, frozen_at=at(-HOUR)))
    syncs.sync_at(at(-2 * HOUR), lead("x", "y"))
    syncs.sync_at(at(10), lead("y", "x"))
    db.execute("SELECT kaggle.finalize_event('night')")
    assert leader(db) == "x"
    assert states(db) == [("frozen", at(-HOUR))]
    assert value(db, "SELECT kaggle_username FROM kaggle.event_results WHERE place = 1") == "x"
    syncs.sync_at(at(HOUR), lead("z", "y", "x"))
    db.execute("UPDATE kaggle.events SET frozen_at = NULL")
    assert leader(db) == "y"
    assert states(db)[0][0] == "final"
    assert value(db, "SELECT kaggle_username FROM kaggle.event_results WHERE place = 1") == "y"


def test_a_competition_without_a_board_from_the_end_on_is_named(db: Connection, compete: Compete) -> None:
    """Unless anyway is said, or the organiser has chosen a moment; without any board it has a row all the same."""
    night = event(db, end_date=END)
    before, after, never, chosen = (compete(slug, event_id=night) for slug in ("before", "after", "never", "chosen"))
    before.sync_at(at(-10), lead("x", "y"))
    after.sync_at(at(HOUR), lead("x", "y"))
    chosen.sync_at(at(-20), lead("x", "y"))
    db.execute(
        "UPDATE kaggle.event_competitions SET counts_at = %s WHERE competition_id = %s", (END, chosen.competition)
    )
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="no board from the end on: before, never\n"):
        db.execute("SELECT kaggle.finalize_event('night')")
    db.rollback()
    assert rows(db, "SELECT * FROM kaggle.finalize_event('night', anyway => true)") == [
        (before.competition, "before", "public", at(-10), 2),
        (after.competition, "after", "public", at(HOUR), 2),
        (never.competition, "never", None, None, None),
        (chosen.competition, "chosen", "public", at(-20), 2),
    ]


def test_a_private_board_that_is_not_shown_yet_is_none_from_the_end_on(db: Connection, compete: Compete) -> None:
    """The competition goes on, its private board came too early, and its public one was seen before the end only."""
    syncs = compete("early", event_id=event(db, end_date=END), end_date=FOREVER)
    syncs.sync_at(at(-10), lead("x", "y"))
    syncs.sync_at(at(10), reveal("y", "x"))
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="no board from the end on: early\n"):
        db.execute("SELECT kaggle.finalize_event('night')")
    db.rollback()
    syncs.sync_at(at(20), lead("x", "y"))
    assert rows(db, "SELECT board, observed_at FROM kaggle.finalize_event('night')") == [("public", at(20))]


def test_what_cannot_be_made_final_or_reopened(db: Connection, compete: Compete) -> None:
    """One line each, with what to do."""
    compete("a", event_id=event(db)).sync_at(at(10), lead("x", "y"))
    refused = psycopg.errors.ObjectNotInPrerequisiteState

    def refuse(call: str, message: str, error: type[psycopg.Error] = refused) -> None:
        with pytest.raises(error, match=message):
            db.execute(call)
        db.rollback()

    refuse("SELECT kaggle.finalize_event('night')", "has not ended: it has no end_date")
    db.execute("UPDATE kaggle.events SET end_date = now() + interval '1 hour'")
    refuse("SELECT kaggle.finalize_event('night', true)", "has not ended: its end_date is")
    refuse("SELECT kaggle.reopen_event('night')", "is not final")
    refuse("SELECT kaggle.finalize_event('nigth')", "no event 'nigth'", psycopg.errors.NoDataFound)
    refuse("SELECT kaggle.reopen_event('nigth')", "no event 'nigth'", psycopg.errors.NoDataFound)
    refuse(
        "INSERT INTO kaggle.events (slug, title, final_at) VALUES ('b', 'B', now())",
        "final_at cannot be given",
        psycopg.errors.CheckViolation,
    )
    refuse("UPDATE kaggle.events SET final_at = now()", "final_at cannot be given", psycopg.errors.CheckViolation)
    db.execute("UPDATE kaggle.events SET end_date = %s", (END,))
    db.execute("SELECT kaggle.finalize_event('night')")
    refuse("SELECT kaggle.finalize_event('night')", "is final since")
    refuse("UPDATE kaggle.events SET final_at = NULL", "final_at cannot be given", psycopg.errors.CheckViolation)
    for column in ("start_date", "end_date"):
        for moment in ("now()", "NULL"):
            if (column, moment) != ("start_date", "NULL"):
                refuse(f"UPDATE kaggle.events SET {column} = {moment}", "is final: its dates cannot change",
                       psycopg.errors.CheckViolation)  # fmt: skip
    db.execute(
        "UPDATE kaggle.events SET start_date = start_date, end_date = end_date, final_at = final_at, title = 'N'"
    )
    db.execute("SELECT kaggle.reopen_event('night')")
    db.execute("UPDATE kaggle.events SET end_date = NULL")
    assert states(db)[0][0] == "live"


# --- what asks for a board after the end ----------------------------------------------------------------------------

LINK = "INSERT INTO kaggle.event_competitions SELECT %(ended)s, id FROM kaggle.competitions"
LATE: dict[str, tuple[dict[str, Any], str, bool]] = {
    "linked": ({}, LINK, True),
    "linked, and synced by hand only": ({"auto_sync": False}, LINK, False),
    "its link moved to the event": (
        {"link": "other"}, "UPDATE kaggle.event_competitions SET event_id = %(ended)s", True,
    ),
    "another one in its link": (
        {"link": "ended"},
        "WITH other AS (INSERT INTO kaggle.competitions (title, auto_sync) VALUES ('Other', false) RETURNING id) "
        "UPDATE kaggle.event_competitions SET competition_id = id FROM other", False,
    ),
    "its link moved to one that goes on": (
        {"link": "ended"}, "UPDATE kaggle.event_competitions SET event_id = %(other)s", False,
    ),
    "a weight": ({"link": "ended"}, "UPDATE kaggle.event_competitions SET rating_weight = 2", False),
    "its slug given": (
        {"link": "ended", "kaggle_competition_id": None, "title": "T"},
        "UPDATE kaggle.competitions SET kaggle_competition_id = 'late'", True,
    ),
    "its slug given, of an event that goes on": (
        {"link": "other", "kaggle_competition_id": None, "title": "T"},
        "UPDATE kaggle.competitions SET kaggle_competition_id = 'late'", False,
    ),
    "switched on": ({"link": "ended", "auto_sync": False}, "UPDATE kaggle.competitions SET auto_sync = true", True),
    "switched on without a slug": (
        {"link": "ended", "auto_sync": False, "kaggle_competition_id": None, "title": "T"},
        "UPDATE kaggle.competitions SET auto_sync = true", False,
    ),
    "switched off": ({"link": "ended"}, "UPDATE kaggle.competitions SET auto_sync = false", False),
    "a title": ({"link": "ended"}, "UPDATE kaggle.competitions SET title = 'T'", False),
}  # fmt: skip


@pytest.mark.parametrize("case", LATE)
def test_what_comes_late_to_an_event_that_has_ended_is_asked_for(db: Connection, case: str) -> None:
    """A competition that nothing else would sync: it begins next year by its own dates."""
    columns, change, asks = LATE[case]
    events = {"ended": event(db, "ended", end_date=END), "other": event(db, "other", end_date=FOREVER)}
    given = {"kaggle_competition_id": "late", "start_date": FOREVER} | columns
    link = given.pop("link", None)
    db.execute(
        f"INSERT INTO kaggle.competitions ({', '.join(given)}) VALUES ({', '.join(['%s'] * len(given))})",
        list(given.values()),
    )
    if link:
        db.execute("INSERT INTO kaggle.event_competitions SELECT %s, id FROM kaggle.competitions", (events[link],))
    db.execute("DELETE FROM kaggle_internal.sync_requests")
    db.execute(change, events)  # type: ignore[arg-type]
    assert rows(db, "SELECT reason FROM kaggle_internal.sync_requests") == [("event_ended",)] * asks


# --- a private board before the end ---------------------------------------------------------------------------------

PAST_END, SOON, LATER = END, datetime(9998, 1, 1, tzinfo=UTC), FOREVER


@pytest.mark.parametrize(
    ("given", "of_event", "of_kaggle", "expected"),
    [
        (None, None, None, None),
        (SOON, None, None, SOON),
        (None, SOON, None, SOON),
        (None, None, SOON, SOON),
        (None, PAST_END, SOON, SOON),
        (None, SOON, LATER, LATER),
        (None, LATER, SOON, SOON),
        (None, SOON, PAST_END, None),
        (SOON, None, PAST_END, SOON),
        (SOON, None, LATER, SOON),
        (PAST_END, None, SOON, None),
        (None, PAST_END, None, None),
    ],
)
def test_from_when_a_private_board_is_shown(
    db: Connection, compete: Compete, given: datetime | None, of_event: datetime | None, of_kaggle: datetime | None,
    expected: datetime | None,
) -> None:  # fmt: skip
    """From the competition's own end on, where that is known: a person's word, else Kaggle's, else the event's."""
    syncs = compete("a", event_id=event(db, end_date=of_event), end_date=given)
    db.execute("UPDATE kaggle.competitions SET kaggle_deadline = %s", (of_kaggle,))
    syncs.sync(lead("x", "y"))
    syncs.sync(reveal("y", "x"))
    assert value(db, "SELECT shown_from FROM kaggle.boards WHERE kind = 'private'") == expected


def test_a_competition_whose_private_board_is_hidden_is_not_late(db: Connection, compete: Compete) -> None:
    """Its syncs succeed; that the board which is shown does not change is what problem tells."""
    syncs = compete("a", end_date=FOREVER, auto_sync=True)
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    syncs.sync_at(long_ago, lead("x", "y"))
    late = "SELECT is_late, starts_with(problem, 'a private board came before the end') FROM kaggle.sync_status"
    syncs.sync_at(long_ago + timedelta(minutes=1), reveal("y", "x"))
    db.execute("UPDATE kaggle_internal.sync_state SET success_gap = '1 minute'")
    assert rows(db, late) == [(True, True)]
    syncs.sync(reveal("y", "x"))
    db.execute("UPDATE kaggle_internal.sync_state SET success_gap = '1 minute'")
    assert rows(db, late) == [(False, True)]
