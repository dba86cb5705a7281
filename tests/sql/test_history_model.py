"""Any past, asked for in SQL, against a naive model that keeps every board whole.

HISTORY_SEQUENCES=2000 tries that many sequences of boards, other ones each time.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.boards import COLUMNS, Entry, Shown, counts, csv_of, shown, zip_of
from tests.support.kaggle_moves import Kaggle
from tests.support.syncs import Syncs

SEQUENCES = os.environ.get("HISTORY_SEQUENCES")
_NUMBERS = itertools.count(1)
_MICROSECOND = timedelta(microseconds=1)
_LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)

Key = tuple[str, str]  # slug and kind: a board of its own


@dataclass
class People(Kaggle):
    """Kaggle, where users also go from team to team and the competition is linked to another slug and back."""

    other: bool = False

    def transfer(self, which: int, where: int) -> None:
        """A team's last member joins another team; nobody is left of a team of one."""
        if len(self.entries) < 2:
            return
        at, to = which % len(self.entries), where % len(self.entries)
        if at != to and self.entries[at].members:
            user = self.entries[at].members[-1]
            self.change(at, members=self.entries[at].members[:-1])
            self.change(to, members=(*self.entries[to].members, user))

    def merge(self, which: int, where: int) -> None:
        """A team is gone, its members are in another one."""
        if len(self.entries) > 1:
            gone = self.entries.pop(which % len(self.entries))
            self.gone.append(gone.but(members=()))
            to = where % len(self.entries)
            self.change(to, members=(*self.entries[to].members, *gone.members))

    def link(self) -> None:
        """The row is given the other slug."""
        self.other = not self.other


_SMALL = st.integers(0, 9)


def _of(name: str, *arguments: Any, **facts: Any) -> st.SearchStrategy[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    return st.tuples(st.just(name), st.tuples(*arguments), st.fixed_dictionaries(facts))


_CHANGES = st.one_of(
    _of("move", _SMALL, _SMALL),
    _of("tie", _SMALL),
    _of("join", st.just(1), st.integers(0, 2), st.sampled_from(["one", "[Deleted]", "é"])),
    _of("leave", _SMALL, st.integers(0, 1)),
    _of("come_back", _SMALL, _SMALL),
    _of("change", _SMALL, team_name=st.sampled_from(["renamed", "one", ""])),
    _of("change", _SMALL, submission_count=st.one_of(st.none(), st.integers(0, 3))),
    _of("transfer", _SMALL, _SMALL),
    _of("merge", _SMALL, _SMALL),
    _of("rescore", _SMALL),
    _of("turn"),
    _of("decimals", st.integers(0, 2)),
    _of("benchmark", _SMALL),
    _of("toggle_benchmark", _SMALL),
    _of("empty"),
    _of("link"),
    _of("close"),
    _of("reopen"),
    _of("nothing"),
)
_GAPS = st.sampled_from([_MICROSECOND, timedelta(seconds=1), timedelta(hours=1), timedelta(days=9)])
_STEPS = st.lists(st.tuples(_GAPS, st.lists(_CHANGES, min_size=1, max_size=3)), min_size=1, max_size=6)


@dataclass
class Model:
    """Every board that was served, whole, by slug and kind."""

    boards: dict[Key, list[tuple[datetime, int, list[Entry]]]] = field(default_factory=dict)

    def shown_as(self, slug: str, at: datetime) -> list[tuple[datetime, int, list[Entry]]]:
        """The board that a slug showed at a moment, with all boards before it of the same kind."""
        for kind in ("private", "public"):
            until_then = [board for board in self.boards.get((slug, kind), ()) if board[0] <= at]
            if until_then:
                return until_then
        return []

    def leaderboard(self, slug: str, at: datetime) -> list[tuple[Any, ...]]:
        """leaderboard_as_of: the rows of COLUMNS, then first_seen_at and synced_at."""
        past = self.shown_as(slug, at)
        if not past:
            return []
        first_seen: dict[int, datetime] = {}
        for moment, _, board in past:
            for entry in board:
                first_seen.setdefault(entry.team_id, moment)
        return [(*row, first_seen[row[1]], past[-1][0]) for row in shown(past[-1][2])]

    def standing(self, slug: str, at: datetime) -> dict[int, Shown]:
        """Ranked teams by team."""
        return _ranked(past[-1][2]) if (past := self.shown_as(slug, at)) else {}

    def movers(self, slug: str, since: datetime) -> list[tuple[Any, ...]]:
        """Teams whose rank is another now: rank then and now, places climbed, what."""
        then, now = self.standing(slug, since), self.standing(slug, datetime.max.replace(tzinfo=UTC))
        told = []
        for team in then.keys() | now.keys():
            before, after = (row[0] if (row := board.get(team)) else None for board in (then, now))
            if before is None or after is None:
                told.append((team, before, after, None, "new" if before is None else "gone"))
            elif before != after:
                told.append((team, before, after, before - after, "climbed" if after < before else "fell"))
        return sorted(told)

    def history(self, slug: str) -> list[tuple[datetime, Shown, int]]:
        """At each sync that changed a team's rank or facts: the moment, the team's row, the number of teams."""
        private = self.boards.get((slug, "private"))
        told = []
        for kind in ("public", "private"):
            before: dict[int, Shown] = {}
            for at, _, board in self.boards.get((slug, kind), ()):
                now = _ranked(board)
                if kind == "private" or private is None or at < private[0][0]:
                    told += [(at, row, len(now)) for team, row in now.items() if row != before.get(team)]
                before = now
        return sorted(told, key=lambda row: (row[0], row[1][0]))


def _ranked(board: list[Entry]) -> dict[int, Shown]:
    return {row[1]: row for row in shown(board) if row[0] is not None}


def _told(rows: list[tuple[datetime, Shown, int]]) -> list[tuple[Any, ...]]:
    """The same as rank_history has it."""
    return [(at, row[1], row[2], row[0], row[3], row[4], teams) for at, row, teams in rows]


def _play(syncs: Syncs, slugs: tuple[str, str], first: int, steps: list[Any]) -> Model:
    """Apply a sequence of boards, each at the moment that it is given, and keep them."""
    kaggle = People()
    for number in range(first):
        kaggle.join(number, 0, f"team {number}")
    model = Model()
    at = _LONG_AGO
    linked = False
    for gap, changes in [(_MICROSECOND, []), *steps]:
        at += gap
        for name, arguments, facts in changes:
            getattr(kaggle, name)(*arguments, **facts)
        if kaggle.other != linked:
            linked = kaggle.other
            syncs.db.execute(
                "UPDATE kaggle.competitions SET kaggle_competition_id = %s WHERE id = %s",
                (slugs[linked], syncs.competition),
            )
        run_id = syncs.begin().run_id
        syncs.db.execute(
            "UPDATE kaggle_internal.sync_state SET running_since = %s WHERE running_run_id = %s", (at, run_id)
        )
        syncs.end(run_id, zip_of(csv_of(kaggle.entries), kind=kaggle.kind))
        model.boards.setdefault((slugs[linked], kaggle.kind), []).append((at, run_id, list(kaggle.entries)))
    return model


_SETTINGS = settings(
    max_examples=int(SEQUENCES or 40),
    derandomize=SEQUENCES is None,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@_SETTINGS
@given(first=st.integers(0, 6), steps=_STEPS)
def test_any_past(compete: Callable[..., Syncs], first: int, steps: list[Any]) -> None:
    """Each board before comes back identical at every moment, and ranks, movers, history and changes follow from it."""
    number = next(_NUMBERS)
    slugs = (f"a-{number}", f"b-{number}")
    syncs = compete(slugs[0])
    model = _play(syncs, slugs, first, steps)
    for slug in {slug for slug, _ in model.boards}:
        moments = [at for (of, _), past in model.boards.items() if of == slug for at, _, _ in past]
        check_boards(syncs, model, slug, moments)
        check_ranks_and_movers(syncs, model, slug, moments)
        check_history(syncs, model, slug)
    for past in model.boards.values():
        check_changes(syncs, past)
        check_versions(syncs, past)
    syncs.db.execute(WITHOUT_CACHE)
    for slug in {slug for slug, _ in model.boards}:
        moments = [at for (of, _), past in model.boards.items() if of == slug for at, _, _ in past]
        check_boards(syncs, model, slug, moments)
        check_history(syncs, model, slug)


@_SETTINGS
@given(first=st.integers(0, 6), steps=_STEPS, seed=st.integers(0, 10**6))
def test_a_past_that_was_thinned_and_pruned(
    compete: Callable[..., Syncs], first: int, steps: list[Any], seed: int
) -> None:
    """The last board of each interval is as it was and the others are not told; what is pruned is, but for what an
    event rests on."""
    number = next(_NUMBERS)
    slugs = (f"a-{number}", f"b-{number}")
    syncs = compete(slugs[0])
    model = _play(syncs, slugs, first, steps)
    random = Random(seed)
    stride = random.choice([timedelta(seconds=1), timedelta(hours=1), timedelta(days=30)])
    syncs.db.execute("UPDATE kaggle.competitions SET history_interval = %s WHERE id = %s", (stride, syncs.competition))
    moments = sorted(at for past in model.boards.values() for at, _, _ in past)
    frozen_at = random.choice(moments) + random.choice([timedelta(0), _MICROSECOND, -_MICROSECOND])
    syncs.db.execute(
        "WITH e AS (INSERT INTO kaggle.events (slug, title, frozen_at) VALUES (%s, 'Night', %s) RETURNING id) "
        "INSERT INTO kaggle.event_competitions (event_id, competition_id) SELECT id, %s FROM e",
        (f"night-{number}", frozen_at, syncs.competition),
    )
    syncs.store.thin_history()
    told = {key: _thinned(past, stride, frozen_at) for key, past in model.boards.items()}
    check_told_boards(syncs, model, told)
    standing = "SELECT place, kaggle_username, points FROM kaggle.event_standings WHERE event_slug = %s"
    before_pruning = syncs.db.execute(standing, (f"night-{number}",)).fetchall()

    horizon = random.choice(moments)
    while syncs.scalar("SELECT kaggle.prune_history(clock_timestamp() - %s, %s)", horizon, random.choice([1, 10000])):
        pass
    check_told_boards(syncs, model, told)
    assert syncs.db.execute(standing, (f"night-{number}",)).fetchall() == before_pruning


Past = list[tuple[datetime, int, list[Entry]]]


def _thinned(past: Past, stride: timedelta, frozen_at: datetime) -> Past:
    """The boards that are kept: of each interval, which the freeze divides, the last one that differs from before."""
    kept: dict[tuple[int, bool], tuple[datetime, int, list[Entry]]] = {}
    before: bytes | None = None
    for at, run_id, board in past:
        if csv_of(board) != before:
            kept[(at - _EPOCH) // stride, at > frozen_at] = (at, run_id, board)
        before = csv_of(board)
    return list(kept.values())


def check_told_boards(syncs: Syncs, model: Model, told: dict[Key, Past]) -> None:
    """At each moment at which a board was seen it is the last kept one until then, unless it was pruned."""
    for (slug, kind), past in model.boards.items():
        board_id, observed_from, history_from = syncs.db.execute(
            "SELECT id, observed_from, history_from FROM kaggle.boards WHERE slug = %s AND kind = %s", (slug, kind)
        ).fetchone() or (None, None, None)
        kept = told[slug, kind]
        assert observed_from == kept[0][0]
        for at, _, _ in past:
            if at >= max(observed_from, history_from or observed_from):
                rows = syncs.db.execute(
                    "SELECT v.rank, v.team_id, v.team_name, v.score::text, v.submission_count, v.last_submission_at, "
                    "v.member_usernames, v.is_benchmark FROM kaggle_internal.versions(%s, %s) v ORDER BY v.order_key",
                    (board_id, at),
                ).fetchall()
                assert rows == shown([board for moment, _, board in kept if moment <= at][-1])
        merged = syncs.db.execute(
            "SELECT observed_at FROM kaggle.sync_runs WHERE board_id = %s AND is_merged", (board_id,)
        ).fetchall()
        assert {at for (at,) in merged}.isdisjoint({at for at, _, _ in kept})


def check_boards(syncs: Syncs, model: Model, slug: str, moments: list[datetime]) -> None:
    """leaderboard_as_of at each sync, just before it, and long before and after all."""
    asked = {moment for at in moments for moment in (at, at - _MICROSECOND)}
    asked |= {_LONG_AGO - timedelta(days=1), max(moments) + timedelta(days=1)}
    rows = syncs.db.execute(
        f"SELECT m, {COLUMNS}, first_seen_at, synced_at FROM unnest(%s::timestamptz[]) m "
        "CROSS JOIN LATERAL kaggle.leaderboard_as_of(%s, m)",
        (sorted(asked), slug),
    ).fetchall()
    for moment in asked:
        assert [row[1:] for row in rows if row[0] == moment] == model.leaderboard(slug, moment)


def check_ranks_and_movers(syncs: Syncs, model: Model, slug: str, moments: list[datetime]) -> None:
    """team_rank of everybody, and movers since each moment, given as such and as the time that has passed."""
    everybody = sorted({e.team_id for past in model.boards.values() for _, _, board in past for e in board})
    ranks = model.standing(slug, max(moments))
    assert syncs.db.execute(
        "SELECT t, kaggle.team_rank(%s, t) FROM unnest(%s::bigint[]) t", (slug, everybody)
    ).fetchall() == [(team, ranks[team][0] if team in ranks else None) for team in everybody]

    asked = [*moments, _LONG_AGO - timedelta(days=1)]
    columns = "team_id, rank_then, rank_now, places_climbed, what"
    rows = syncs.db.execute(
        f"SELECT m, {columns} FROM unnest(%(moments)s::timestamptz[]) m "
        "CROSS JOIN LATERAL kaggle.movers(%(slug)s, m) UNION ALL "
        f"SELECT m, {columns} FROM unnest(%(moments)s::timestamptz[]) m "
        "CROSS JOIN LATERAL kaggle.movers(%(slug)s, (statement_timestamp() - m))",
        {"moments": asked, "slug": slug},
    ).fetchall()
    for moment in asked:
        expected = model.movers(slug, moment)
        assert sorted(row[1:] for row in rows if row[0] == moment) == sorted(expected * 2)


def check_history(syncs: Syncs, model: Model, slug: str, every: int = 1) -> None:
    """rank_history of everybody (or of every nth team) in one call, and of each user."""
    history = [entry for entry in model.history(slug) if entry[1][1] % every == 0]
    select = "SELECT at, team_id, team_name, rank, score::text, submission_count, teams FROM kaggle.rank_history"
    everybody = sorted({row[1] for _, row, _ in history} | {-1})
    assert syncs.db.execute(f"{select}(%s, VARIADIC %s::bigint[])", (slug, everybody)).fetchall() == _told(history)
    users = sorted({user for _, row, _ in history for user in row[6]})[:3]
    rows = syncs.db.execute(
        select.replace("FROM", ", u FROM unnest(%s::text[]) u CROSS JOIN LATERAL") + "(%s, upper(u))", (users, slug)
    ).fetchall()
    for user in users:
        expected = [entry for entry in history if user in entry[1][6]]
        assert [row[:-1] for row in rows if row[-1] == user] == _told(expected)


def check_changes(syncs: Syncs, past: list[tuple[datetime, int, list[Entry]]]) -> None:
    """changes of each run: who came, went or differs, with ranks before and after; as few moved as could be."""
    before: list[Entry] = []
    told = syncs.db.execute(
        "SELECT run, team_id, what, rank_before, rank_after FROM unnest(%s::bigint[]) run "
        "CROSS JOIN LATERAL kaggle.changes(run)",
        ([run_id for _, run_id, _ in past],),
    ).fetchall()
    for _, run_id, board in past:
        old = {row[1]: row for row in shown(before)}
        new = {row[1]: row for row in shown(board)}
        rows = [row[1:] for row in told if row[0] == run_id]
        what = {team: said for team, said, _, _ in rows}
        assert len(what) == len(rows)
        assert {team for team, said in what.items() if said == "added"} == new.keys() - old.keys()
        assert {team for team, said in what.items() if said == "removed"} == old.keys() - new.keys()
        assert {team for team, said in what.items() if "updated" in said} == {
            team for team in old.keys() & new.keys() if old[team][1:] != new[team][1:]
        }
        moved = counts(before, board).moved if before else 0
        assert sum(said in ("moved", "updated and moved") for said in what.values()) == moved
        for team, _, rank_before, rank_after in rows:
            assert rank_before == (old[team][0] if team in old else None)
            assert rank_after == (new[team][0] if team in new else None)
        before = board


WITHOUT_CACHE = """
    -- What is left of each whole pack when it does not list the rest of the board.
    UPDATE kaggle_internal.packs p
    SET is_whole = false, ranked = w.ranked, ended = w.ended, team_ids = w.team_ids, order_keys = w.order_keys,
        changed_at = w.changed_at, last_submission_at = w.last_submission_at, submission_count = w.submission_count,
        score = w.score
    FROM (SELECT v.board_id, v.until, count(*) FILTER (WHERE v.nth <= v.ranked) AS ranked,
                 array_agg(v.ended ORDER BY v.nth) AS ended, array_agg(v.team_id ORDER BY v.nth) AS team_ids,
                 coalesce(array_agg(v.order_key ORDER BY v.nth) FILTER (WHERE v.ended <> 'a'), '{}') AS order_keys,
                 coalesce(array_agg(v.changed_at ORDER BY v.nth) FILTER (WHERE v.ended <> 'a'), '{}') AS changed_at,
                 coalesce(array_agg(v.last_submission_at ORDER BY v.nth) FILTER (WHERE v.ended <> 'a'), '{}')
                     AS last_submission_at,
                 coalesce(array_agg(v.submission_count ORDER BY v.nth) FILTER (WHERE v.ended <> 'a'), '{}')
                     AS submission_count,
                 coalesce(array_agg(v.score ORDER BY v.nth) FILTER (WHERE v.ended <> 'a'), '{}') AS score
          FROM (SELECT o.board_id, o.until, o.ranked, generate_subscripts(o.team_ids, 1) AS nth,
                       unnest(o.ended) AS ended, unnest(o.team_ids) AS team_id, unnest(o.order_keys) AS order_key,
                       unnest(o.changed_at) AS changed_at, unnest(o.last_submission_at) AS last_submission_at,
                       unnest(o.submission_count) AS submission_count, unnest(o.score) AS score
                FROM kaggle_internal.packs o WHERE o.is_whole) v
          WHERE v.ended <> '-'
          GROUP BY v.board_id, v.until) w
    WHERE p.board_id = w.board_id AND p.until = w.until
"""


def check_versions(syncs: Syncs, past: list[tuple[datetime, int, list[Entry]]]) -> None:
    """leaderboard_history has a row for each version that ended, and none for who only made way."""
    (run_id,) = (run_id for _, run_id, _ in past[:1])
    told = syncs.db.execute(
        "SELECT h.team_id, h.valid_from, h.valid_until, h.team_name, h.score::text, h.submission_count, "
        "h.last_submission_at, h.member_usernames, h.is_benchmark, h.first_seen_at "
        "FROM kaggle.leaderboard_history h JOIN kaggle.sync_runs r ON r.board_id = h.board_id WHERE r.id = %s",
        (run_id,),
    ).fetchall()
    changes = {
        (run_id, team): what
        for run_id, team, what in syncs.db.execute(
            "SELECT run, team_id, what FROM unnest(%s::bigint[]) run CROSS JOIN LATERAL kaggle.changes(run)",
            ([run_id for _, run_id, _ in past],),
        ).fetchall()
    }
    expected = []
    open_since: dict[int, datetime] = {}
    first_seen: dict[int, datetime] = {}
    before: dict[int, Shown] = {}
    for at, run_id, board in past:
        for team, row in before.items():
            if (run_id, team) in changes:
                expected.append((team, open_since.pop(team), at, *row[2:], first_seen[team]))
        before = {row[1]: row for row in shown(board)}
        for team in before:
            first_seen.setdefault(team, at)
            open_since.setdefault(team, at)
    assert sorted(told, key=str) == sorted(expected, key=str)


def test_ten_thousand_insertions_at_one_place(compete: Callable[..., Syncs]) -> None:
    """Keys are spread again and again, in the past too: each board, rank and history before stays what it was."""
    syncs = compete()
    entries = [Entry(1), Entry(2)]
    slug, newcomer = "a-board", 10
    model = Model({(slug, "public"): []})
    for number in range(100):
        for _ in range(100):
            entries.insert(1, Entry(newcomer, members=(f"user{newcomer}",)))
            newcomer += 1
        entries[101 + number % 7 : -1] = []  # most of those of before are gone again
        run_id = syncs.begin().run_id
        syncs.end(run_id, zip_of(entries))
        model.boards[(slug, "public")].append((syncs.run()[6], run_id, list(entries)))
    assert newcomer >= 10_000
    check_boards(syncs, model, slug, [at for at, _, _ in model.boards[(slug, "public")]])
    check_history(syncs, model, slug, every=97)
