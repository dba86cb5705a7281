"""Invented boards: the same bytes for the same slug and step, in the form of today's downloads.

The slug and the step, 20 seconds each since a fixed epoch, decide all of it. A board at a step is computed from them
alone, so any number of processes, restarts and days tell one story. Two neighbouring places form a pair, which lives
through one generation of teams after another; each team submits in turn, improves ever more rarely, and may take
another name. In some generations the second team of a pair merges into the first, and another one comes in its
place.
"""

from __future__ import annotations

import hashlib
import io
import re
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import count
from math import gcd, log
from random import Random
from typing import Final
from uuid import UUID

from pgleaderboard.simulator.names import ODD_TEAM_NAMES, Users, deleted_user, team_name

HEADER: Final = "Rank,TeamId,TeamName,LastSubmissionDate,Score,SubmissionCount,TeamMemberUserNames"
EPOCH: Final = datetime(2026, 1, 1)  # UTC, as all times on a board
STEP_SECONDS: Final = 20  # of the board's own calendar

_BENCHMARKS: Final = ("Sample Submission Benchmark", "Host Baseline", "benchmark.csv")
_ID_SPACE: Final = 999_999_999_989  # a prime: a walk in steps of any size visits every number once, in centuries
_TIE_BITS: Final = 32
_MASK: Final = 2**64 - 1
_SUBMIT: Final = 600  # of so many teams one submits at each step, and one more
_TWO_DAYS: Final = 2 * 86400 // STEP_SECONDS  # steps
_RECORDS: Final = 1.25  # each improvement takes so many times the submissions of the one before
_GAP: Final = 0.7  # of the way to its best score that a team has left after an improvement
_BOARDS_KEPT: Final = 512
_ZIPS_KEPT: Final = 8
_EXACT: Final = re.compile(r"simulated-(\d{1,6}|1000000)-teams")


@dataclass(frozen=True, slots=True)
class Metric:
    """The distribution of the scores of a kind of competition, in the metric's unit."""

    name: str
    decimals: int
    higher_is_better: bool
    typical: float
    spread: float
    limit: float | None = None
    grid: int | None = None  # scores are multiples of 1/grid, as with few test rows
    both_ways: bool = False  # a rating: submissions move it up and down


_ACCURACY: Final = Metric("Categorization Accuracy", 5, True, 0.765, 0.05, limit=1.0, grid=418)
_RMSLE: Final = Metric("Root Mean Squared Logarithmic Error", 5, False, 0.118, 0.06)
_RATING: Final = Metric("Skill Rating", 1, True, 600.0, 250.0, both_ways=True)
_SOLVED: Final = Metric("Accuracy", 2, True, 0.7, 0.12, limit=1.0)
_F1: Final = Metric("Macro F1 Score", 3, True, 0.62, 0.1, limit=1.0)
_MAE: Final = Metric("Mean Absolute Error", 3, False, 4.2, 2.5)
_METRICS: Final = (_ACCURACY, _RMSLE, _RATING, _SOLVED, _F1, _MAE)

# Well-known competitions, near their real size. All others follow from the hash of their slug.
_KNOWN: Final = {
    "titanic": (1744, _ACCURACY),
    "spaceship-titanic": (912, _ACCURACY),
    "digit-recognizer": (438, _ACCURACY),
    "house-prices-advanced-regression-techniques": (1260, _RMSLE),
    "orbit-wars": (675, _RATING),
}


@dataclass(frozen=True, slots=True)
class Profile:
    """The seed, size and metric of a board. The slug decides all of them."""

    slug: str
    seed: int
    teams: int
    metric: Metric

    @classmethod
    def of(cls, slug: str) -> Profile:
        """The profile of a slug. Its case does not matter."""
        slug = slug.lower()
        seed = int.from_bytes(hashlib.sha256(slug.encode()).digest()[:8])
        share = (seed >> 16) % 10_000 / 10_000
        # Most boards have a few hundred teams, some have two thousand.
        teams, metric = _KNOWN.get(slug, (50 + int(1950 * share**2.5), _METRICS[seed % len(_METRICS)]))
        if exact := _EXACT.fullmatch(slug):
            teams = int(exact[1])
        return cls(slug, seed, teams, metric)


@dataclass(slots=True)
class _Team:
    """What does not change in the life of a team. born: its first step. turn: it submits at steps of this remainder."""

    id: int
    members: tuple[str, ...]
    seed: int
    born: int
    turn: int
    first: int  # score, in units of the last decimal
    best: int  # that it ever reaches
    tie: int  # decides among equal scores
    renames: int  # steps between two names, 0 = none
    name: str


@dataclass(slots=True)
class _Pair:
    """A generation of a pair, of two teams or, at the odd end, one. From the step `changes_at` on they are `then`."""

    ends: int
    teams: tuple[_Team, ...]
    changes_at: int
    then: tuple[_Team, ...]


class Board:
    """The board of a slug at any step."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._unit: int = 10**profile.metric.decimals
        self._pairs: dict[int, _Pair] = {}
        self._count = (profile.teams + 1) // 2
        self._users = Users(profile.seed, profile.teams)
        self._team_id = _team_ids(profile.seed)
        self._a_step = 1 + profile.teams // _SUBMIT
        self._turns = max(1, -(-profile.teams // self._a_step))
        teams = max(1, profile.teams)
        self._stride = next(n for n in count(1 + teams * 5 // 8) if gcd(n, teams) == 1)
        rng = Random(profile.slug)  # noqa: S311 - a game, not a secret
        self._baseline = self._typical(rng)
        self._odd = self._oddities(rng)
        self._absurd = rng.randrange(profile.teams) if profile.teams > 1 and not profile.metric.higher_is_better else -1
        self._hosts = self._benchmarks(rng) if profile.teams else []

    def csv(self, step: int, epoch: datetime) -> bytes:
        """The CSV of the download at a step, best first."""
        rows = [self._row(team, step) for pair in range(self._count) for team in self._teams(pair, step)] + self._hosts
        lines = [HEADER]
        rank, decimals = 0, self._profile.metric.decimals
        for key, team_id, name, members, submitted, times, ranked in sorted(rows):
            rank += ranked
            whole, part = divmod(abs(key >> _TIE_BITS), self._unit)
            lines.append(
                f"{rank * ranked},{team_id},{_quoted(name)},"
                f'"{epoch + timedelta(seconds=submitted)}",{whole}.{part:0{decimals}d},{times},{_quoted(members)}'
            )
        lines.append("")
        return "\n".join(lines).encode("utf-8-sig")

    def _row(self, team: _Team, step: int) -> tuple[int, int, str, str, int, int, bool]:
        last = max(team.born, step - (step - team.turn) % self._turns)
        submissions = 1 + (step - team.turn) // self._turns - (team.born - team.turn) // self._turns
        name = team.name
        if team.renames and (changed := (step - team.born) // team.renames):
            name = team_name(Random(team.seed + changed), team.members[0])  # noqa: S311
        submitted = last * STEP_SECONDS - 1 - (team.seed + last) % STEP_SECONDS
        score = self._score(team, submissions)
        signed = -score if self._profile.metric.higher_is_better else score
        return (signed << _TIE_BITS) + team.tie, team.id, name, ",".join(team.members), submitted, submissions, True

    def _score(self, team: _Team, submissions: int) -> int:
        """A team's score after so many submissions, in units of the last decimal."""
        metric = self._profile.metric
        if team.best == team.first or submissions < 2:
            return team.first
        if metric.both_ways:
            drift = Random(team.seed * 31 + submissions).gauss(0, metric.spread / 10)  # noqa: S311
            return max(0, (3 * team.best + team.first) // 4 + round(drift * self._unit))
        left = _GAP ** int(log(submissions) / log(_RECORDS))
        return self._on_grid(team.best + (team.first - team.best) * left)

    # Generations

    def _teams(self, number: int, step: int) -> tuple[_Team, ...]:
        pair = self._pairs.get(number)
        if pair is None or not pair.ends - self._length(number) <= step < pair.ends:
            pair = self._pairs[number] = self._generation(number, step)
        return pair.teams if step < pair.changes_at else pair.then

    def _length(self, number: int) -> int:
        """Steps in a generation: some are short, so that there are always newcomers."""
        random = _mixed(self._profile.seed, number)
        if self._profile.teams >= 20 and number % 7 == 3:
            return 60 + random % 600
        return max(self._turns * (20 + random % 130), _TWO_DAYS + random % _TWO_DAYS)

    def _generation(self, number: int, step: int) -> _Pair:
        length = self._length(number)
        phase = _mixed(number, self._profile.seed) % length
        nth = (step + phase) // length
        born = nth * length - phase
        rng = Random(f"{self._profile.slug}:{number}:{nth}")  # noqa: S311
        teams = [self._team(rng, 2 * number, nth, born)]
        if 2 * number + 1 < self._profile.teams:
            teams.append(self._team(rng, 2 * number + 1, nth, born))
        changes_at, then = born + length, list(teams)
        dice = rng.random()
        if len(teams) == 2 and dice < 0.5:
            changes_at = born + int(length * (0.3 + 0.6 * rng.random()))
            first, second = teams
            if dice < 0.4:  # they merge, and a newcomer has the second place
                members, best = _in_order([*first.members, *second.members]), first.best
                then = [
                    replace(first, members=members, best=best),
                    self._team(rng, 2 * number + 1, nth, changes_at, new=True),
                ]
            elif len(first.members) > 1:  # somebody changes sides
                then = [
                    replace(first, members=first.members[:-1]),
                    replace(second, members=_in_order([*second.members, first.members[-1]])),
                ]
        return _Pair(born + length, tuple(teams), changes_at, tuple(then))

    def _team(self, rng: Random, place: int, nth: int, born: int, *, new: bool = False) -> _Team:
        number, second = divmod(place, 2)
        members = [self._users.name(3 * number + second + new)]
        if not second and number % 5 == 0:
            members += [self._users.name(3 * (self._count + number // 5) + n) for n in range(rng.randrange(4))]
        first, best = self._draw(rng), self._draw(rng)
        stays = 0.6 if first == self._baseline else 0.3
        if (best < first) == self._profile.metric.higher_is_better or rng.random() < stays:
            best = first
        renames = 1000 + rng.randrange(8000) if rng.random() < 0.4 else 0
        name = team_name(rng, members[0])
        if place in self._odd and not new:
            name, gone = self._odd[place]
            renames, members = 0, [gone, *members[1:]] if gone else members
        if place == self._absurd:
            first = best = 239_426_808_406_486_000 * self._unit  # it forgot to undo the logarithm
        return _Team(
            self._team_id(place + 2 * self._count * (2 * nth + new)),
            _in_order(members),
            rng.getrandbits(32),
            born,
            place * self._stride % max(1, self._profile.teams) // self._a_step,
            first,
            best,
            rng.getrandbits(_TIE_BITS),
            renames,
            name,
        )

    def _draw(self, rng: Random) -> int:
        dice = rng.random()
        if dice < 0.15:
            return self._baseline  # the starter notebook's score: a long tie
        if dice < 0.16 and self._profile.metric.higher_is_better:
            return 0
        return self._typical(rng)

    def _typical(self, rng: Random) -> int:
        metric = self._profile.metric
        if metric.higher_is_better:
            value = metric.typical + metric.spread * rng.gauss(0, 1)
        else:
            value = metric.typical + metric.spread * rng.expovariate(1)
        return self._on_grid(max(0.0, value if metric.limit is None else min(metric.limit, value)) * self._unit)

    def _on_grid(self, value: float) -> int:
        grid = self._profile.metric.grid
        return round(round(value * grid / self._unit) * self._unit / grid) if grid else round(value)

    def _benchmarks(self, rng: Random) -> list[tuple[int, int, str, str, int, int, bool]]:
        sign = -1 if self._profile.metric.higher_is_better else 1
        rows = []
        for nth, name in enumerate(_BENCHMARKS[: 1 + self._profile.seed % 3]):
            score = self._typical(rng) if nth else self._baseline
            key = (sign * score << _TIE_BITS) + rng.getrandbits(_TIE_BITS)
            rows.append((key, self._team_id(-1 - nth), name, "", -60 * 86400, 1, False))
        if self._profile.seed // 3 % 2:
            rows[-1] = (*rows[-1][:3], "SimulatedHost", *rows[-1][4:])
        return rows

    def _oddities(self, rng: Random) -> dict[int, tuple[str, str]]:
        """Odd names by place, with the name of the account where it is deleted."""
        # First places, which no newcomer takes; a small board has no room for all of them.
        places = rng.sample(range(0, self._profile.teams, 2), min(self._profile.teams // 4, len(ODD_TEAM_NAMES) + 4))
        gone = f"[Deleted] {UUID(int=rng.getrandbits(128), version=4)}"
        names = [gone, "[Deleted]", gone, "[Deleted]", *rng.sample(ODD_TEAM_NAMES, len(ODD_TEAM_NAMES))]
        return {
            place: (name, deleted_user(rng) if name.startswith("[Deleted]") else "")
            for place, name in zip(places, names, strict=False)
        }


class SimulatedBoards:
    """The boards of all slugs at any step, made on request. The last ones requested are cached."""

    def __init__(self, epoch: datetime = EPOCH) -> None:
        self._epoch = epoch
        self._lock = threading.Lock()
        self._boards: OrderedDict[str, Board] = OrderedDict()
        self._zip = lru_cache(_ZIPS_KEPT)(self._make_zip)

    def download(self, slug: str, step: int) -> bytes:
        """The ZIP at a step."""
        with self._lock:
            return self._zip(slug, step)

    def _make_zip(self, slug: str, step: int) -> bytes:
        board = self._boards.pop(slug.lower(), None) or Board(Profile.of(slug))
        self._boards[slug.lower()] = board
        if len(self._boards) > _BOARDS_KEPT:
            self._boards.popitem(last=False)
        now = self._epoch + timedelta(seconds=step * STEP_SECONDS)
        return zip_board(board.csv(step, self._epoch), f"{slug}-publicleaderboard-{now:%Y-%m-%dT%H:%M:%S}.csv")


def zip_board(csv: bytes, name: str) -> bytes:
    """A ZIP with one DEFLATE member, as Kaggle sends it; the same bytes for the same arguments."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        # ZipInfo's default date is 1980; with the current time every download would be different.
        archive.writestr(zipfile.ZipInfo(name), csv, zipfile.ZIP_DEFLATED, compresslevel=1)
    return buffer.getvalue()


def _quoted(field: str) -> str:
    if " " in field or "," in field or '"' in field:
        return '"' + field.replace('"', '""') + '"'
    return field


def _mixed(first: int, second: int) -> int:
    """A number that two numbers decide, the same on every machine (the finalizer of splitmix64)."""
    mixed = (first + second * 0x9E3779B97F4A7C15) & _MASK
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    return mixed ^ mixed >> 27


def _in_order(members: list[str]) -> tuple[str, ...]:
    return tuple(sorted(members, key=str.lower))


def _team_ids(seed: int) -> Callable[[int], int]:
    """The TeamId of each number: between 2**32 and 2**53, from one of 8,000 ranges."""
    base = (1000 + seed % 8000) * 1_000_000_000_000
    start, stride = seed % _ID_SPACE, 1 + (seed >> 8) % (_ID_SPACE - 1)
    return lambda number: base + (start + number * stride) % _ID_SPACE
