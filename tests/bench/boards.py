"""Invented boards of any size in the form of today's downloads, and how they change; quick to make."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from random import Random

from pgleaderboard.simulator.boards import HEADER, zip_board

DECIMALS = 100_000  # scores are whole numbers of the fifth decimal
BYTE_ORDER_MARK = "\ufeff"


@dataclass
class Team:
    """A team. score: a whole number of the last decimal, higher is better. when: day, hour, minute, second."""

    team_id: int
    name: str
    members: str
    score: int
    count: int
    when: tuple[int, int, int, int]
    is_benchmark: bool


class Board:
    """A board, best first. Every change is drawn from its own random numbers. first_user: the least of its members."""

    def __init__(self, teams: int, *, seed: int = 1, first_user: int = 0) -> None:
        self._random = Random(seed)
        draw = self._random.random
        # Not in the order of the teams: that would flatter an index.
        users = self._random.sample(range(first_user, first_user + teams), teams)
        self.teams = [
            Team(
                10_000_000_000 + n * 7,
                # As on real boards: half of the names hold a space and are quoted, one team in twenty has two members.
                f'"Team {n:06}"' if n % 2 == 0 else f"team{n:07}",
                f'"user{users[n]:07},friend{n:05}"' if n % 20 == 0 else f"user{users[n]:07}",
                int(draw() * DECIMALS),
                1 + int(draw() * 40),
                self._moment(),
                n in (1, teams // 2),
            )
            for n in range(teams)
        ]
        self._sort()

    def _moment(self) -> tuple[int, int, int, int]:
        draw = self._random.random
        return (1 + int(draw() * 28), int(draw() * 24), int(draw() * 60), int(draw() * 60))

    def _sort(self) -> None:
        self.teams.sort(key=lambda team: -team.score)

    def _submit(self, team: Team, score: int) -> None:
        team.score = score
        team.count += 1
        team.when = self._moment()

    def nudge(self, teams: int) -> None:
        """So many teams get another score and place, one of them climbs from last to first."""
        last, *others = [self.teams[-1], *self._random.sample(self.teams[:-1], teams - 1)]
        for team in others:
            self._submit(team, int(self._random.random() * DECIMALS))
        self._submit(last, self.teams[0].score + 1)
        self._sort()

    def shake(self) -> None:
        """Every team gets another score near its old one: nearly every place changes, too."""
        for team in self.teams:
            # Never by nothing: every score changes.
            self._submit(team, team.score + 1 + int(self._random.random() * DECIMALS / 20))
        self._sort()

    def csv(self) -> bytes:
        """The download's CSV."""
        lines = [BYTE_ORDER_MARK + HEADER]
        ranks = itertools.count(1)
        for team in self.teams:
            rank = 0 if team.is_benchmark else next(ranks)
            whole, decimals = divmod(team.score, DECIMALS)
            day, hour, minute, second = team.when
            lines.append(
                f'{rank},{team.team_id},{team.name},"2026-05-{day:02} {hour:02}:{minute:02}:{second:02}",'
                f"{whole}.{decimals:05},{team.count},{team.members}"
            )
        lines.append("")
        return "\n".join(lines).encode()


def write_zip(file: Path, csv: bytes, kind: str = "public") -> Path:
    """A download with this CSV, put in its place at once."""
    aside = file.with_suffix(".aside")
    aside.write_bytes(zip_board(csv, f"bench-{kind}leaderboard-2026-05-05T15:36:33.csv"))
    return aside.replace(file)
