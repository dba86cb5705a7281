"""An event's standing: the rules, by examples computed by hand, and against a naive model for any event."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.aliases import Connection
from tests.support.boards import Board, Entry, zip_of
from tests.support.syncs import Syncs

EARLY, LATE = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
Compete = Callable[..., Syncs]


def team(name: str, score: str | None, *members: str, at: datetime | None = EARLY, **more: Any) -> Entry:
    """An entry with what counts in a standing; its members are the name's, unless given."""
    team_id = int.from_bytes(name.encode()[:6], "big")
    return Entry(team_id, name, Decimal(score) if score else None, 1, at, members or (name,), **more)


def event(db: Connection, slug: str = "night", **columns: Any) -> int:
    """A new event."""
    given = {"slug": slug, "title": slug} | columns
    row = db.execute(
        f"INSERT INTO kaggle.events ({', '.join(given)}) VALUES ({', '.join(['%s'] * len(given))}) RETURNING id",
        list(given.values()),
    ).fetchone()
    assert row is not None
    return int(row[0])


def register(db: Connection, event_id: int, *names: str, excluded: bool = False) -> None:
    """Register people for an event."""
    for name in names:
        db.execute("INSERT INTO kaggle.event_participants VALUES (%s, %s, %s)", (event_id, name, excluded))


def standing(db: Connection, slug: str = "night") -> list[tuple[Any, ...]]:
    """Place, name and points, as a user reads them."""
    return [
        (place, name, f"{points.normalize():f}")
        for place, name, points in db.execute(
            "SELECT place, kaggle_username, points FROM kaggle.event_standings WHERE event_slug = %s "
            "ORDER BY place, kaggle_username",
            (slug,),
        )
    ]


def as_of(db: Connection, at: datetime, slug: str = "night") -> list[tuple[Any, ...]]:
    """The same as of a moment."""
    return [
        (place, name, f"{points.normalize():f}")
        for place, name, points in db.execute(
            "SELECT place, kaggle_username, points FROM kaggle.event_standings_as_of(%s, %s) "
            "ORDER BY place, kaggle_username",
            (slug, at),
        )
    ]


def test_points_by_place(db: Connection, compete: Compete) -> None:
    """100 * (teams - r) / (teams - 1): five teams earn 100, 75, 50, 25, 0."""
    compete("a", event_id=event(db)).sync(zip_of([team(n, s) for n, s in zip("abcde", "54321", strict=True)]))
    assert standing(db) == [(1, "a", "100"), (2, "b", "75"), (3, "c", "50"), (4, "d", "25"), (5, "e", "0")]


def test_equal_scores_earn_equal_points_by_their_best_rank(db: Connection, compete: Compete) -> None:
    """Kaggle ranks 2, 3 and 4 on one score: all earn the points of rank 2; and share places, submitted together."""
    board = [team("a", "9"), team("b", "5"), team("c", "5.0"), team("d", "5"), team("e", "1")]
    compete("a", event_id=event(db)).sync(zip_of(board))
    assert standing(db) == [(1, "a", "100"), (2, "b", "75"), (2, "c", "75"), (2, "d", "75"), (5, "e", "0")]


def test_a_single_team_earns_all_and_benchmarks_never_count(db: Connection, compete: Compete) -> None:
    """One team between two benchmarks is alone."""
    board = [team("base", "9", is_benchmark=True), team("a", "5"), team("low", "1", "juror", is_benchmark=True)]
    compete("a", event_id=event(db), points_for_perfect_score=40).sync(zip_of(board))
    assert standing(db) == [(1, "a", "40")]


@pytest.mark.parametrize(
    ("scores", "points"),
    [
        (("2.0", "0.95", "0.75", "0.5", "0.2"), ("100", "90", "50", "0", "0")),  # higher is better, clamped
        (("0.2", "0.5", "0.75", "0.95", "2.0"), ("100", "100", "50", "10", "0")),  # lower is better
    ],
)
def test_points_by_score(db: Connection, compete: Compete, scores: tuple[str, ...], points: tuple[str, ...]) -> None:
    """The score's place between 0.5 and 1.0, in the direction that the board itself tells."""
    syncs = compete("a", event_id=event(db), metric_min_value="0.5", metric_max_value="1.0")
    syncs.sync(zip_of([team(name, score) for name, score in zip("abcde", scores, strict=True)]))
    assert [row[1:] for row in standing(db)] == list(zip("abcde", points, strict=True))


def test_an_unknown_direction_counts_by_place(db: Connection, compete: Compete) -> None:
    """All scores equal: nobody knows what is better, so all earn what the first place earns; until somebody says."""
    syncs = compete("a", event_id=event(db), metric_min_value="0", metric_max_value="1")
    syncs.sync(zip_of([team("a", "0.7"), team("b", "0.7")]))
    assert standing(db) == [(1, "a", "100"), (1, "b", "100")]
    db.execute("UPDATE kaggle.competitions SET higher_is_better = false")
    assert standing(db) == [(1, "a", "30"), (1, "b", "30")]


def test_a_team_without_a_score_takes_no_part(db: Connection, compete: Compete) -> None:
    """It takes no place, is not counted among the teams, and has not entered."""
    syncs = compete("a", event_id=event(db))
    syncs.sync(zip_of([team("c", None), team("a", "0.9"), team("b", "0.5")]))
    assert standing(db) == [(1, "a", "100"), (2, "b", "0")]
    db.execute("UPDATE kaggle.competitions SET metric_min_value = 0, metric_max_value = 0.9")
    assert standing(db) == [(1, "a", "100"), (2, "b", "55.555556")]
    compete("b", event_id=event(db, "day")).sync(zip_of([team("a", None), team("b", "1")]))
    assert standing(db, "day") == [(1, "b", "100")]
    register(db, 2, "a", "b")
    assert standing(db, "day") == [(1, "b", "100"), (2, "a", "0")]
    entered = "SELECT competitions_entered FROM kaggle.event_standings WHERE event_slug = 'day' ORDER BY place"
    assert db.execute(entered).fetchall() == [(1,), (0,)]


def test_a_juror_who_is_excluded_empties_no_open_event(db: Connection, compete: Compete) -> None:
    """Nobody is registered: everybody but the excluded takes part, and a team as long as one of its members does."""
    night = event(db)
    compete("a", event_id=night).sync(zip_of([team("host", "0.9"), team("ann", "0.8"), team("bo", "0.7")]))
    register(db, night, "HOST", excluded=True)
    assert standing(db) == [(1, "ann", "100"), (2, "bo", "0")]
    compete("b", event_id=event(db, "day")).sync(zip_of([team("duo", "0.9", "host", "ann"), team("bo", "0.8")]))
    register(db, 2, "host", excluded=True)
    assert standing(db, "day") == [(1, "ann", "100"), (2, "bo", "0")]


def test_a_table_of_places(db: Connection, compete: Compete) -> None:
    """It goes before score and place, times the weight; ties share the mean of their places, who is beyond earns 0."""
    night = event(db, points_by_place="{10,8,6,4.5}")
    compete(
        "a", event_id=night, rating_weight=2, points_for_perfect_score=7, metric_min_value=0, metric_max_value=9
    ).sync(zip_of([team(n, s) for n, s in zip("abcdef", "988765", strict=True)]))
    assert [row[1:] for row in standing(db)] == [
        ("a", "20"), ("b", "14"), ("c", "14"), ("d", "9"), ("e", "0"), ("f", "0"),
    ]  # fmt: skip
    db.execute("UPDATE kaggle.events SET points_by_place = '{}'")
    assert db.execute("SELECT points_by_place FROM kaggle.events").fetchone() == (None,)


@pytest.mark.parametrize("table", ["{1,NULL}", "{1,-1}", "{{1,2}}", "{Infinity}", "{NaN}", "[0:1]={2,1}"])
def test_what_is_no_table_of_places(db: Connection, table: str) -> None:
    """Each is refused by the constraint that says why."""
    with pytest.raises(psycopg.errors.CheckViolation, match="points_by_place is ") as refused:
        event(db, points_by_place=table)
    assert (refused.value.diag.constraint_name or "").startswith("points_by_place_are_a_list_of_numbers")


def test_weights_and_their_overrides(db: Connection, compete: Compete) -> None:
    """Weighted sums over competitions; the event's own numbers go before the competition's, in that event alone."""
    night, day = event(db), event(db, "day")
    a = compete("a", event_id=night, rating_weight=2)
    b = compete("b", event_id=night, points_for_perfect_score=10)
    a.sync(zip_of([team("x", "3"), team("y", "2"), team("z", "1")]))
    b.sync(zip_of([team("z", "2"), team("y", "1")]))
    assert standing(db) == [(1, "x", "200"), (2, "y", "100"), (3, "z", "10")]

    db.execute(
        "INSERT INTO kaggle.event_competitions (event_id, competition_id, rating_weight, points_for_perfect_score, "
        "metric_min_value, metric_max_value) VALUES (%s, %s, 0.5, 1000, 0, 4), (%s, %s, NULL, NULL, NULL, NULL)",
        (day, a.competition, day, b.competition),
    )
    assert standing(db) == [(1, "x", "200"), (2, "y", "100"), (3, "z", "10")]
    assert standing(db, "day") == [(1, "x", "375"), (2, "y", "250"), (3, "z", "135")]


def test_order_at_equal_points(db: Connection, compete: Compete) -> None:
    """More competitions entered first, then the earlier of each user's latest submission; equal all through shares."""
    night = event(db)
    compete("a", event_id=night).sync(
        zip_of([team("p", "5", at=EARLY), team("q", "5", at=LATE), team("r", "5", at=EARLY), team("s", "5", at=EARLY)])
    )
    compete("b", event_id=night, rating_weight=0).sync(zip_of([team("q", "1", at=EARLY), team("s", "1", at=LATE)]))
    assert standing(db) == [(1, "q", "100"), (1, "s", "100"), (3, "p", "100"), (3, "r", "100")]
    rows = db.execute(
        "SELECT kaggle_username, competitions_entered, last_submission_at FROM kaggle.event_standings ORDER BY 1"
    ).fetchall()
    assert rows == [("p", 1, EARLY), ("q", 2, LATE), ("r", 1, EARLY), ("s", 2, LATE)]


def test_all_members_of_a_team_earn_its_points(db: Connection, compete: Compete) -> None:
    """Two accounts of one team both get them, in whatever spelling the boards have; one user is one row."""
    night = event(db)
    compete("a", event_id=night).sync(zip_of([team("duo", "2", "Ann", "bob"), team("solo", "1", "cy")]))
    compete("b", event_id=night).sync(zip_of([team("solo", "2", "ANN"), team("other", "1", "bob")]))
    db.execute("INSERT INTO kaggle.participants VALUES ('ann', 'Ann B.')")
    rows = db.execute(
        "SELECT place, kaggle_username, display_name, is_registered, points::int, competitions_entered "
        "FROM kaggle.event_standings ORDER BY place"
    ).fetchall()
    assert rows == [(1, "ann", "Ann B.", True, 200, 2), (2, "bob", None, False, 100, 2), (3, "cy", None, False, 0, 1)]


def test_with_a_roster_only_its_teams_are_counted(db: Connection, compete: Compete) -> None:
    """Ranks and numbers of teams among those with a registered member; who entered nothing has 0, a juror no row."""
    night = event(db)
    compete("a", event_id=night).sync(
        zip_of([team("pro", "9"), team("x", "8"), team("jury", "7"), team("mixed", "6", "jury", "y"), team("z", "5")])
    )
    register(db, night, "x", "Y", "z", "absent")
    register(db, night, "jury", excluded=True)
    assert standing(db) == [(1, "x", "100"), (2, "Y", "50"), (3, "z", "0"), (4, "absent", "0")]


def test_only_since_start(db: Connection, compete: Compete) -> None:
    """A team whose last submission lies before the start has not entered; one exactly at the start has."""
    night = event(db, start_date=LATE, only_since_start=True)
    compete("a", event_id=night).sync(
        zip_of([team("old", "9", at=EARLY), team("on", "5", at=LATE), team("new", "1", at=LATE + timedelta(1))])
    )
    assert standing(db) == [(1, "on", "100"), (2, "new", "0")]
    register(db, night, "old", "new")
    assert standing(db) == [(1, "new", "100"), (2, "old", "0")]


def test_the_standing_is_live_then_frozen_then_final(db: Connection, compete: Compete) -> None:
    """frozen_at before the end, the end once it passed, else now; later syncs change neither."""
    night = event(db)
    syncs = compete("a", event_id=night)
    moments = []
    for order in itertools.permutations("xyz"):
        syncs.sync(zip_of([team(name, str(9 - n)) for n, name in enumerate(order)]))
        moments.append(syncs.run()[6])
    orders = [[*zip((1, 2, 3), o, ("100", "50", "0"), strict=True)] for o in itertools.permutations("xyz")]

    assert standing(db) == orders[5]
    for moment, order in zip(moments, orders, strict=True):
        assert as_of(db, moment) == order
        assert as_of(db, moment + timedelta(microseconds=1)) == order
    assert as_of(db, moments[0] - timedelta(microseconds=1)) == []

    db.execute("UPDATE kaggle.events SET end_date = %s", (moments[3],))
    assert standing(db) == orders[3]
    db.execute("UPDATE kaggle.events SET frozen_at = %s", (moments[1],))
    assert standing(db) == orders[1]
    assert as_of(db, moments[2]) == orders[2]
    syncs.sync(zip_of([team("x", "1")]))
    assert standing(db) == orders[1]
    db.execute("UPDATE kaggle.events SET frozen_at = NULL, end_date = now() + interval '1 day'")
    assert standing(db) == [(1, "x", "100")]


def test_a_later_direction_does_not_change_a_final_standing(db: Connection, compete: Compete) -> None:
    """At the end all scores were equal, so it counted by place; it still does when a later sync tells the direction."""
    syncs = compete("a", event_id=event(db), metric_min_value=0, metric_max_value=10)
    syncs.sync(zip_of([team("a", "7"), team("b", "7")]))
    db.execute("UPDATE kaggle.events SET end_date = %s", (syncs.run()[6],))
    assert standing(db) == [(1, "a", "100"), (1, "b", "100")]
    syncs.sync(zip_of([team("a", "8"), team("b", "7")]))
    assert standing(db) == [(1, "a", "100"), (1, "b", "100")]


def test_a_direction_told_only_later_changes_no_final_standing(db: Connection, compete: Compete) -> None:
    """All scores were equal at each sync until the end, though not over time."""
    syncs = compete("a", event_id=event(db), metric_min_value=0, metric_max_value=10)
    for score in ("6", "7"):
        syncs.sync(zip_of([team("a", score), team("b", score)]))
    db.execute("UPDATE kaggle.events SET end_date = %s", (syncs.run()[6],))
    syncs.sync(zip_of([team("a", "7"), team("b", "8")]))
    assert standing(db) == [(1, "a", "100"), (1, "b", "100")]


def test_a_direction_that_flips_changes_no_final_standing(db: Connection, compete: Compete) -> None:
    """Higher was better until the end; lower is now."""
    syncs = compete("a", event_id=event(db), metric_min_value=0, metric_max_value=10)
    syncs.sync(zip_of([team("a", "8"), team("b", "6")]))
    db.execute("UPDATE kaggle.events SET end_date = %s", (syncs.run()[6],))
    syncs.sync(zip_of([team("b", "6"), team("a", "8")]))
    assert standing(db) == [(1, "a", "80"), (2, "b", "60")]


@pytest.mark.parametrize("moment", ["end_date", "frozen_at"])
def test_thinned_history_changes_no_final_standing(db: Connection, compete: Compete, moment: str) -> None:
    """history_interval merges what lies on one side of the end, and of frozen_at, but nothing across it."""
    night = event(db, start_date=EARLY - timedelta(days=1))
    syncs = compete("a", event_id=night, history_interval=timedelta(hours=1))
    minutes = (EARLY + timedelta(minutes=5 * n) for n in itertools.count())
    for order in ("xyz", "yxz"):
        syncs.sync_at(next(minutes), zip_of([team(name, str(9 - n)) for n, name in enumerate(order)]))
    until = next(minutes)
    board, final = syncs.at(until), [(1, "y", "100"), (2, "x", "50"), (3, "z", "0")]
    db.execute(f"UPDATE kaggle.events SET {moment} = %s", (until,))
    for order in ("zxy", "yzx", "xzy"):
        syncs.sync_at(next(minutes), zip_of([team(name, str(8 - n)) for n, name in enumerate(order)]))
        syncs.store.thin_history()
        assert standing(db) == final
        assert syncs.at(until) == board
        names = db.execute("SELECT team_name FROM kaggle.leaderboard_as_of('a', %s) ORDER BY rank", (until,))
        assert [name for (name,) in names] == ["y", "x", "z"]
        merged = "SELECT count(*) FROM kaggle.sync_runs WHERE NOT is_merged"
        assert syncs.scalar(merged) == 2  # one on either side


@pytest.mark.parametrize("moment", ["end_date", "frozen_at"])
def test_pruned_history_changes_no_final_standing(db: Connection, compete: Compete, moment: str) -> None:
    """The board that a standing rests on is kept, whole, from when it was seen until the next one."""
    syncs = compete("a", event_id=event(db, start_date=EARLY - timedelta(days=1)))
    for minute, order in enumerate(("xyz", "yxz", "zxy", "xzy")):
        syncs.sync_at(
            EARLY + timedelta(minutes=5 * minute), zip_of([team(name, str(9 - n)) for n, name in enumerate(order)])
        )
    until = EARLY + timedelta(minutes=7)
    db.execute(f"UPDATE kaggle.events SET {moment} = %s", (until,))
    board, final = syncs.at(until), [(1, "y", "100"), (2, "x", "50"), (3, "z", "0")]
    while syncs.scalar("SELECT kaggle.prune_history('0 seconds', 1)"):
        assert standing(db) == as_of(db, until) == final
    assert standing(db) == as_of(db, until) == final
    assert syncs.at(until) == board
    with pytest.raises(psycopg.errors.NoDataFound, match=r"the history of a begins at .*pruned"):
        as_of(db, EARLY)


def test_a_standing_beyond_the_pruned_horizon(db: Connection, compete: Compete) -> None:
    """Asked for by function it raises and names the board and the horizon; the view leaves that event out, no other."""
    night = event(db)
    syncs = compete("a", event_id=night)
    syncs.sync(zip_of([team("x", "2"), team("y", "1")]))
    first = syncs.run()[6]
    syncs.sync(zip_of([team("y", "2"), team("x", "1")]))
    other = event(db, "other")
    db.execute("INSERT INTO kaggle.event_competitions VALUES (%s, %s)", (other, syncs.competition))
    assert db.execute("SELECT kaggle.prune_history('0 seconds')").fetchone() == (2,)
    db.execute("UPDATE kaggle.events SET frozen_at = %s WHERE id = %s", (first, night))
    with pytest.raises(psycopg.errors.NoDataFound, match=r"the history of a begins at .*pruned"):
        as_of(db, first)
    assert standing(db) == []
    assert standing(db, "other") == [(1, "y", "100"), (2, "x", "0")]


def test_an_unknown_event(db: Connection) -> None:
    """One line, and where to look."""
    with pytest.raises(psycopg.errors.NoDataFound, match="no event 'nigth'") as unknown:
        as_of(db, EARLY, "nigth")
    assert "kaggle.events" in (unknown.value.diag.message_detail or "")


# --- any event, against the rules written down naively ----------------------------------------------------------


@dataclass(frozen=True)
class Contest:
    """One competition of an event as the rules see it."""

    board: Board
    perfect: int
    weight: Decimal
    bounds: tuple[int, int] | None
    higher_is_better: bool | None


_USERS = [f"u{n}" for n in range(8)]


@st.composite
def contests(draw: st.DrawFn) -> Contest:
    """A competition with a board best first, ties, benchmarks, missing scores and shared users."""
    users = draw(st.permutations(_USERS))
    higher = draw(st.booleans())
    entries: list[Entry] = []
    while users:
        size = draw(st.integers(1, 3))
        members, users = users[:size], users[size:]
        if draw(st.integers(0, 5)) == 0:
            continue  # these are not on the board
        score = draw(st.one_of(st.none(), st.integers(-3, 12)))
        at = draw(st.sampled_from([EARLY, LATE, None]))
        entries.append(Entry(
            len(entries) + 1, f"team {members[0]}", None if score is None else Decimal(score), 1, at,
            tuple(draw(st.sampled_from([m, m.upper()])) for m in members),
            draw(st.integers(0, 9)) == 0,
        ))  # fmt: skip
    entries.sort(key=lambda e: (e.score is None, (-1 if higher else 1) * (e.score or 0)))
    return Contest(
        entries,
        draw(st.sampled_from([0, 1, 7, 100])),
        draw(st.sampled_from([Decimal("1.0"), Decimal("0.3"), Decimal(2)])),
        draw(st.sampled_from([None, (0, 10), (2, 5)])),
        draw(st.sampled_from([None, higher])),
    )


def naive(
    contests: list[Contest], roster: dict[str, bool], since: datetime | None, by_place: list[int] | None
) -> list[tuple[Any, ...]]:
    """The issue's rules, one after the other, in fractions."""
    listed = {user for user, excluded in roster.items() if not excluded}
    ranked = listed or {*_USERS} - roster.keys()
    points: dict[str, Fraction] = dict.fromkeys(listed, Fraction(0))
    entered: dict[str, int] = {}
    latest: dict[str, datetime] = {}
    for contest in contests:
        scores = [e.score for e in contest.board if e.score is not None]
        higher = contest.higher_is_better
        if higher is None and scores and scores[0] != scores[-1]:
            higher = scores[0] > scores[-1]
        taking_part = [
            e for e in contest.board
            if not e.is_benchmark
            and e.score is not None
            and not (since and e.last_submission_at and e.last_submission_at < since)
            and any(m.lower() in ranked for m in e.members)
        ]  # fmt: skip
        for entry in taking_part:
            best = next(n for n, e in enumerate(taking_part, 1) if e.score == entry.score)
            perfect = Fraction(contest.perfect)
            assert entry.score is not None
            if by_place:
                equals = sum(e.score == entry.score for e in taking_part)
                perfect = Fraction(1)
                share = Fraction(sum(by_place[best - 1 : best - 1 + equals]), equals)
            elif contest.bounds and higher is not None:
                low, high = contest.bounds
                inside = Fraction(min(max(entry.score, Decimal(low)), Decimal(high)))
                share = (inside - low if higher else high - inside) / (high - low)
            elif len(taking_part) == 1:
                share = Fraction(1)
            else:
                share = Fraction(len(taking_part) - best, len(taking_part) - 1)
            for member in {m.lower() for m in entry.members}:
                if member not in ranked:
                    continue
                points[member] = points.get(member, Fraction(0)) + share * perfect * Fraction(contest.weight)
                entered[member] = entered.get(member, 0) + 1
                if entry.last_submission_at:
                    latest[member] = max(latest.get(member, entry.last_submission_at), entry.last_submission_at)
    never = datetime.max.replace(tzinfo=UTC)
    keys = {
        user: (-Decimal(round(p * 10**6)) / 10**6, -entered.get(user, 0), latest.get(user, never))
        for user, p in points.items()
    }
    return sorted(
        (1 + sum(other < key for other in keys.values()), user, -key[0], -key[1], latest.get(user))
        for user, key in keys.items()
    )


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    st.lists(contests(), min_size=1, max_size=3),
    st.dictionaries(st.sampled_from([*_USERS, "absent"]), st.booleans(), max_size=6),
    st.booleans(),
    st.none() | st.lists(st.integers(0, 12), min_size=1, max_size=4),
)
def test_any_event(
    compete: Compete,
    db: Connection,
    drawn: list[Contest],
    roster: dict[str, bool],
    only_since_start: bool,
    by_place: list[int] | None,
) -> None:
    """Points, entries, order and shared places are those of the rules."""
    db.execute("TRUNCATE kaggle.competitions, kaggle.events, kaggle.participants CASCADE")
    night = event(db, start_date=LATE, only_since_start=only_since_start, points_by_place=by_place)
    register(db, night, *[user for user, excluded in roster.items() if not excluded])
    register(db, night, *[user for user, excluded in roster.items() if excluded], excluded=True)
    for number, contest in enumerate(drawn):
        low, high = contest.bounds or (None, None)
        syncs = compete(
            f"c-{number}", event_id=night, rating_weight=contest.weight, points_for_perfect_score=contest.perfect,
            metric_min_value=low, metric_max_value=high, higher_is_better=contest.higher_is_better,
            start_date=EARLY,
        )  # fmt: skip
        syncs.sync(zip_of(contest.board))
    rows = db.execute(
        "SELECT place, lower(kaggle_username), points, competitions_entered, last_submission_at "
        "FROM kaggle.event_standings ORDER BY 1, 2"
    ).fetchall()
    assert rows == naive(drawn, roster, LATE if only_since_start else None, by_place)
    explained = db.execute(
        "SELECT lower(kaggle_username), round(sum(points), 6), count(*) FROM kaggle.event_results GROUP BY 1 ORDER BY 1"
    ).fetchall()
    assert explained == sorted((who, points, entered) for _, who, points, entered, _ in rows if entered)


# Explained.


def test_results_explain_a_standing(db: Connection, compete: Compete) -> None:
    """A row for each person and competition entered: the place among those who take part, what counted, the points."""
    night = event(db)
    compete("a", event_id=night).sync(
        zip_of([team("pro", "9"), team("duo", "8", "Ann", "bo"), team("solo", "7", "ann"), team("cy", "7")])
    )
    compete("b", event_id=night, rating_weight=2, metric_min_value=0, metric_max_value=4, higher_is_better=True).sync(
        zip_of([team("ANN", "3", "ANN"), team("none", None, "bo")])
    )
    register(db, night, "ann", "bo", "cy", "absent")
    rows = db.execute(
        "SELECT kaggle_username, kaggle_competition_id, board, team_name, place, teams, score, counted_by, weight, "
        "trim_scale(points) FROM kaggle.event_results WHERE event_slug = 'night' ORDER BY 1, 2"
    ).fetchall()
    assert [(*row[:6], *map(str, row[6:])) for row in rows] == [
        ("ann", "a", "public", "duo", 1, 3, "8", "place", "1.0", "100"),
        ("ann", "b", "public", "ANN", 1, 1, "3", "score", "2", "150"),
        ("bo", "a", "public", "duo", 1, 3, "8", "place", "1.0", "100"),
        ("cy", "a", "public", "cy", 2, 3, "7", "place", "1.0", "50"),
    ]
    assert standing(db) == [(1, "ann", "250"), (2, "bo", "100"), (3, "cy", "50"), (4, "absent", "0")]
    summed = db.execute(
        "SELECT count(*) FROM (SELECT kaggle_username, round(sum(points), 6) AS points FROM kaggle.event_results "
        "GROUP BY 1) r JOIN kaggle.event_standings s USING (kaggle_username, points)"
    ).fetchone()
    assert summed == (3,)
    seen = db.execute("SELECT max(observed_at) FROM kaggle.boards").fetchone()
    assert seen is not None
    assert db.execute(
        "SELECT count(*), count(DISTINCT observed_at) FROM kaggle.event_results_as_of('NIGHT', %s)", (seen[0],)
    ).fetchone() == (4, 2)
    with pytest.raises(psycopg.errors.NoDataFound, match="no event 'day'"):
        db.execute("SELECT * FROM kaggle.event_results_as_of('day', now())")
