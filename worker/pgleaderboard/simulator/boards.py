"""Invented boards: the same bytes for the same slug and step, in the form of today's downloads.

A board starts from a seed derived from its slug and moves step by step: submissions, new teams, renames, merges.
Each step has a seed of its own, so a board does not depend on which steps were requested before.
"""

from __future__ import annotations

import hashlib
import io
import re
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from operator import attrgetter
from random import Random
from typing import Final
from uuid import UUID

from pgleaderboard.simulator.names import ODD_TEAM_NAMES, Users, deleted_user, team_name

HEADER: Final = "Rank,TeamId,TeamName,LastSubmissionDate,Score,SubmissionCount,TeamMemberUserNames"
EPOCH: Final = datetime(2026, 1, 1)  # UTC, as all times on a board
STEP_SECONDS: Final = 20  # of the board's own calendar

_BENCHMARKS: Final = ("Sample Submission Benchmark", "Host Baseline", "benchmark.csv")
_MEMBERS_AT_MOST: Final = 5
_SECONDS_BEFORE: Final = 60 * 24 * 3600  # the oldest submission is two months older than step 0
_ID_SPACE: Final = 9_999_991  # a prime: a walk in steps of any size visits every number once
_HALF_INTEREST: Final = 500  # steps
_TIE_BITS: Final = 32
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
    exact: bool  # the number of teams never changes

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
        return cls(slug, seed, teams, metric, bool(exact))


@dataclass(slots=True)
class _Team:
    id: int
    name: str
    members: tuple[str, ...]
    key: int  # sorts best first: the score, and random bits that decide a tie
    count: int
    submitted: int  # seconds after the epoch
    ranked: bool = True


class Board:
    """A board at one step; `advance` moves it to the next."""

    def __init__(self, profile: Profile) -> None:
        self.step = 0
        self._profile = profile
        self._unit: int = 10**profile.metric.decimals
        self._users = Users(profile.seed, profile.teams)
        self._ids = _team_ids(profile.seed)
        rng = self._rng(0)
        self._baseline = self._typical(rng)
        self._teams = [self._team(rng, -1 - int(rng.random() * _SECONDS_BEFORE)) for _ in range(profile.teams)]
        self._benchmarks = self._hosts(rng) if self._teams else []
        self._oddities(rng)
        if not profile.metric.higher_is_better and len(self._teams) > 1:
            # A team that forgot to undo the logarithm.
            last = self._teams[int(rng.random() * len(self._teams))]
            last.key = self._key(rng, 239_426_808_406_486_000 * self._unit)

    def advance(self) -> None:
        """Apply one step of submissions, new teams, renames and merges."""
        self.step += 1
        if not self._teams:
            return
        rng = self._rng(self.step)
        scale = 1 + len(self._teams) // 1000
        for _ in range(1 + len(self._teams) // 150):
            self._submit(rng, self._any(rng))
        for _ in range(int(rng.random() * 3 * scale)):
            self._any(rng).name = team_name(rng, self._any(rng).members[0])
        # Interest fades: a server may run for months, and the users are limited.
        scale_now = scale / (1 + self.step / _HALF_INTEREST)
        if self._profile.exact:
            # A new team joins only where one has vanished.
            for _ in range(_about(rng, scale_now)):
                if self._users.left and self._merge(rng):
                    self._join(rng)
        else:
            for _ in range(_about(rng, 1.5 * scale_now)):
                if self._users.left and len(self._teams) < self._profile.teams * 3 // 2:
                    self._join(rng)
            for _ in range(_about(rng, 0.7 * scale_now)):
                if len(self._teams) > self._profile.teams:
                    self._merge(rng)
        if rng.random() < 0.1:
            self._change_sides(rng)
        if rng.random() < 0.05:
            team = self._any(rng)
            team.count = max(1, team.count - 1)  # a submission was struck off

    def csv(self, epoch: datetime) -> bytes:
        """The CSV of the download, best first."""
        lines = [HEADER]
        rank, decimals = 0, self._profile.metric.decimals
        for team in sorted(self._teams + self._benchmarks, key=attrgetter("key")):
            rank += team.ranked
            whole, part = divmod(self._score(team), self._unit)
            lines.append(
                f"{rank * team.ranked},{team.id},{_quoted(team.name)},"
                f'"{epoch + timedelta(seconds=team.submitted)}",{whole}.{part:0{decimals}d},{team.count},'
                f"{_quoted(','.join(team.members))}"
            )
        lines.append("")
        return "\n".join(lines).encode("utf-8-sig")

    def _rng(self, step: int) -> Random:
        return Random(f"{self._profile.slug}:{step}")  # noqa: S311 - a game, not a secret

    def _any(self, rng: Random) -> _Team:
        return self._teams[int(rng.random() * len(self._teams))]

    # Scores are integers, in units of the last decimal, so that none is rounded twice.

    def _typical(self, rng: Random) -> int:
        metric = self._profile.metric
        if metric.higher_is_better:
            value = metric.typical + metric.spread * rng.gauss(0, 1)
        else:
            value = metric.typical + metric.spread * rng.expovariate(1)
        value = max(0.0, value if metric.limit is None else min(metric.limit, value))
        if metric.grid:
            value = round(value * metric.grid) / metric.grid
        return round(value * self._unit)

    def _draw(self, rng: Random) -> int:
        dice = rng.random()
        if dice < 0.15:
            return self._baseline  # the starter notebook's score: a long tie
        if dice < 0.16 and self._profile.metric.higher_is_better:
            return 0
        return self._typical(rng)

    def _key(self, rng: Random, score: int) -> int:
        # On real boards, neither score nor date explains the order within a tie. Here it is random.
        signed = -score if self._profile.metric.higher_is_better else score
        return (signed << _TIE_BITS) + rng.getrandbits(_TIE_BITS)

    def _score(self, team: _Team) -> int:
        return abs(team.key >> _TIE_BITS)

    # Changes of teams

    def _team(self, rng: Random, submitted: int) -> _Team:
        members = [self._users.new()]
        dice = rng.random()
        while dice < 0.12 and len(members) < _MEMBERS_AT_MOST and self._users.left:
            members.append(self._users.new())
            dice *= 2.2
        name = team_name(rng, members[0])
        count = 1 + int(rng.expovariate(0.15))
        return _Team(next(self._ids), name, _in_order(members), self._key(rng, self._draw(rng)), count, submitted)

    def _hosts(self, rng: Random) -> list[_Team]:
        hosts: list[_Team] = []
        for name in _BENCHMARKS[: 1 + self._profile.seed % 3]:
            score = self._baseline if not hosts else self._typical(rng)
            hosts.append(_Team(next(self._ids), name, (), self._key(rng, score), 1, -_SECONDS_BEFORE - 1, ranked=False))
        if self._profile.seed // 3 % 2:
            hosts[-1].members = ("SimulatedHost",)
        return hosts

    def _oddities(self, rng: Random) -> None:
        # A small board has no room for all of them.
        odd = rng.sample(range(len(self._teams)), min(len(self._teams) // 2, len(ODD_TEAM_NAMES) + 5))
        names = rng.sample(ODD_TEAM_NAMES, len(ODD_TEAM_NAMES))
        gone = f"[Deleted] {UUID(int=rng.getrandbits(128), version=4)}"
        for place, name in zip(odd, (gone, "[Deleted]", gone, "[Deleted]", None, *names), strict=False):
            team = self._teams[place]
            if name is None:  # one of several accounts is deleted; the team keeps its name
                team.members = _in_order([deleted_user(rng), *team.members[:2]])
                continue
            team.name = name
            if name.startswith("[Deleted]"):
                team.members = (deleted_user(rng),)

    def _submit(self, rng: Random, team: _Team) -> None:
        team.count += 1
        team.submitted = self._moment(rng)
        before, score = self._score(team), self._draw(rng)
        metric = self._profile.metric
        if metric.both_ways:
            team.key = self._key(rng, (3 * before + score) // 4)
        elif score > before if metric.higher_is_better else score < before:
            team.key = self._key(rng, score)

    def _join(self, rng: Random) -> None:
        self._teams.append(self._team(rng, self._moment(rng)))

    def _merge(self, rng: Random) -> bool:
        stays, goes = self._any(rng), int(rng.random() * len(self._teams))
        vanishes = self._teams[goes]
        if stays is vanishes or len(stays.members) + len(vanishes.members) > _MEMBERS_AT_MOST:
            return False
        stays.members = _in_order([*stays.members, *vanishes.members])
        stays.key = min(stays.key, vanishes.key)
        stays.count += vanishes.count
        stays.submitted = max(stays.submitted, vanishes.submitted)
        self._teams[goes] = self._teams[-1]
        self._teams.pop()
        return True

    def _change_sides(self, rng: Random) -> None:
        left, joined = self._any(rng), self._any(rng)
        if left is not joined and len(left.members) > 1 and len(joined.members) < _MEMBERS_AT_MOST:
            joined.members = _in_order([*joined.members, left.members[-1]])
            left.members = left.members[:-1]

    def _moment(self, rng: Random) -> int:
        return self.step * STEP_SECONDS - 1 - int(rng.random() * STEP_SECONDS)


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
        board = self._boards.pop(slug.lower(), None)
        # A board only moves forward: for an earlier step it starts again.
        if board is None or board.step > step:
            board = Board(Profile.of(slug))
        self._boards[slug.lower()] = board
        if len(self._boards) > _BOARDS_KEPT:
            self._boards.popitem(last=False)
        while board.step < step:
            board.advance()
        now = self._epoch + timedelta(seconds=step * STEP_SECONDS)
        return zip_board(board.csv(self._epoch), f"{slug}-publicleaderboard-{now:%Y-%m-%dT%H:%M:%S}.csv")


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


def _about(rng: Random, mean: float) -> int:
    # From 0 to twice the mean; the fraction is rounded at random.
    return int(rng.random() * 2 * mean + rng.random())


def _in_order(members: list[str]) -> tuple[str, ...]:
    return tuple(sorted(members, key=str.lower))


def _team_ids(seed: int) -> Iterator[int]:
    # Larger than 32 bits, in a range for each slug, because a TeamId belongs to one competition.
    base = (1000 + seed % 899_000) * 10_000_000
    at, stride = seed % _ID_SPACE, 1 + (seed >> 8) % (_ID_SPACE - 1)
    while True:
        at = (at + stride) % _ID_SPACE
        yield base + at
