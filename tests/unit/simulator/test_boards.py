"""The simulator's boards, and how they move."""

from __future__ import annotations

import cProfile
import csv
import io
import json
import re
import subprocess
import sys
import unicodedata
from collections import Counter
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from pgleaderboard.simulator.boards import EPOCH, STEP_SECONDS, SimulatedBoards
from tests.support.faults import Simulator
from tests.support.simulators import SMALL_BOARD, ask, rows, unzip


class TestBoards:
    """Invented boards, in the form of real ones."""

    def test_ranks_count_without_gaps(self, simulator: Simulator) -> None:
        """Ranks are 1..N in the file's order, ties included; benchmarks have 0, between ranked teams."""
        board = rows(ask(simulator).content)
        ranks = [int(row["Rank"]) for row in board if row["Rank"] != "0"]
        benchmarks = [place for place, row in enumerate(board) if row["Rank"] == "0"]

        assert ranks == list(range(1, 1745))
        assert 1 <= len(benchmarks) <= 3
        assert 0 < benchmarks[0] < len(board) - 1

    @pytest.mark.parametrize(
        ("slug", "decimals", "best_first"),
        [
            ("titanic", 5, max),
            ("house-prices-advanced-regression-techniques", 5, min),
            ("orbit-wars", 1, max),
            ("whale-songs-2026", 2, max),
            ("crater-counting", 3, max),
            ("coral-reef-detection", 3, min),
        ],
    )
    def test_scores(self, simulator: Simulator, slug: str, decimals: int, best_first: Any) -> None:
        """Best first, benchmarks included, one number of decimals in a file, in either direction."""
        scores = [row["Score"] for row in rows(ask(simulator, slug).content)]
        values = [int(score.replace(".", "")) for score in scores]

        assert {len(score.partition(".")[2]) for score in scores} == {decimals}
        assert values == sorted(values, reverse=best_first is max)
        assert Counter(scores).most_common(1)[0][1] >= len(scores) * 0.05

    def test_an_absurd_score(self, simulator: Simulator) -> None:
        """Where lower is better, the last score can be larger than a double holds exactly."""
        board = rows(ask(simulator, "house-prices-advanced-regression-techniques").content)

        assert board[-1]["Score"] == "239426808406486000.00000"

    def test_quoting(self, simulator: Simulator) -> None:
        """A field is quoted if and only if it holds a space, comma or quote."""
        lines = unzip(ask(simulator).content)[1].decode("utf-8-sig").split("\n")[1:-1]
        assert len(lines) > 1744
        for line, row in zip(lines, csv.reader(io.StringIO("\n".join(lines), newline="")), strict=True):
            expected = ",".join(
                '"' + field.replace('"', '""') + '"' if re.search('[ ,"]', field) else field for field in row
            )
            assert line == expected

    def test_names_have_every_oddity(self, simulator: Simulator) -> None:
        """All that was seen in names of real teams stands on an invented board."""
        names = [row["TeamName"] for row in rows(ask(simulator).content)]
        everything = "".join(names)

        assert {"NaN", "null", "None", "n/a", "=1+1", "<blank> #2", "==>(AL)<==", ",5579"} <= set(names)
        assert {"\x01", "\x08", "\x7f"} <= set(everything)
        assert {"R", "AL"} <= {unicodedata.bidirectional(character) for character in everything}
        assert any(name.startswith(" ") for name in names)
        assert any(name.endswith(" ") for name in names)
        assert any('"' in name for name in names)
        assert any(unicodedata.normalize("NFC", name) != name for name in names)
        assert any(ord(character) > 0xFFFF for character in everything)
        assert max(map(len, names)) == 77
        assert names.count("[Deleted]") > 1
        assert any(
            re.fullmatch(r"\[Deleted\] [0-9a-f-]{36}", name) and count > 1 for name, count in Counter(names).items()
        )

    def test_members(self, simulator: Simulator) -> None:
        """Teams of up to five, capitals, deleted accounts, 22 characters; nobody is in two teams."""
        board = rows(ask(simulator).content)
        teams = [row["TeamMemberUserNames"].split(",") for row in board if row["TeamMemberUserNames"]]
        users = [user for team in teams for user in team]

        assert {len(team) for team in teams} == {1, 2, 3, 4, 5}
        assert len({user.lower() for user in users}) == len(users)
        assert len({row["TeamId"] for row in board}) == len(board)
        assert max(map(len, users)) == 22
        assert any(user != user.lower() for user in users)
        assert any(re.fullmatch("del=[0-9a-f]{16}", user) for user in users)
        assert all(row["TeamMemberUserNames"] for row in board if row["Rank"] != "0")

    def test_benchmarks_with_and_without_a_username(self) -> None:
        """Most benchmark rows have no username, some have one."""
        boards = SimulatedBoards()
        slugs = ("titanic", "orbit-wars", "leaf-shapes", "whale-songs-2026", "crater-counting")
        names = {
            row["TeamMemberUserNames"] for slug in slugs for row in rows(boards.download(slug, 0)) if row["Rank"] == "0"
        }

        assert names == {"", "SimulatedHost"}

    def test_the_same_people_meet_in_several_competitions(self, simulator: Simulator) -> None:
        """Boards share users, so that an event's standings have something to add up."""
        first, second = (
            {row["TeamMemberUserNames"].lower() for row in rows(ask(simulator, slug).content)} - {""}
            for slug in ("titanic", "digit-recognizer")
        )

        assert len(first & second) > 20

    @pytest.mark.parametrize("teams", [0, 1, 2, 7, 15000])
    def test_a_board_of_a_given_size(self, simulator: Simulator, teams: int) -> None:
        """`simulated-<N>-teams` has N ranked teams at every step; none at all is the header alone."""
        slug = f"simulated-{teams}-teams"
        for _ in range(3):
            board = rows(ask(simulator, slug).content)
            assert len([row for row in board if row["Rank"] != "0"]) == teams
            assert bool(board) == bool(teams)
            simulator.advance(steps=5)

    def test_titanic_is_made_with_few_calls(self) -> None:
        """A hundred calls of functions a team make a board, and thirty its next step."""
        boards = SimulatedBoards()
        for step, most in ((0, 100), (1, 30)):
            profile = cProfile.Profile()
            made = rows(profile.runcall(boards.download, "titanic", step))
            assert sum(entry.callcount for entry in profile.getstats()) <= most * len(made)


class TestMovement:
    """How boards change from step to step."""

    def test_the_same_step_is_the_same_bytes(self) -> None:
        """A slug and a step decide every byte, whichever server is asked, in whichever order."""
        with Simulator() as one, Simulator() as other:
            start = ask(one).content
            assert ask(one).content == start == ask(other).content
            for _ in range(7):
                one.advance()
                later = ask(one).content
            other.advance(steps=7)

            assert ask(other).content == later != start
        boards = SimulatedBoards()
        assert boards.download("titanic", 7) == later
        assert boards.download("titanic", 0) == start

    def test_the_bytes_are_these(self) -> None:
        """Nothing of this process gets in: the CSV is the same everywhere, at all times."""
        csv_bytes = unzip(SimulatedBoards().download("simulated-2-teams", 3))[1]

        assert csv_bytes.decode("utf-8-sig").split("\n") == list(SMALL_BOARD)

    @pytest.mark.parametrize("years", [1, 25])
    def test_no_team_id_stands_there_twice(self, years: int) -> None:
        """However many teams have come and gone by then."""
        download = SimulatedBoards().download("simulated-20000-teams", years * 365 * 86400 // STEP_SECONDS)
        ids = [row["TeamId"] for row in rows(download)]
        assert len(set(ids)) == len(ids)

    def test_case_does_not_change_a_board(self, simulator: Simulator) -> None:
        """A slug in capitals is the same competition; the member's name is as it was asked for."""
        name, content = unzip(ask(simulator, "TITANIC").content)

        assert name.startswith("TITANIC-publicleaderboard-")
        assert content == unzip(ask(simulator).content)[1]

    def test_time_moves_the_boards(self) -> None:
        """Every 20 seconds of the clock are a step, since an epoch that is the same for all."""
        now = EPOCH + timedelta(seconds=19)
        with Simulator(clock=lambda: now) as simulator:
            first = ask(simulator).content
            assert (simulator.step, first) == (0, SimulatedBoards().download("titanic", 0))
            now += timedelta(seconds=1)
            second = ask(simulator).content
            now += timedelta(seconds=200)
            assert simulator.step == 11
        assert unzip(first)[0] < unzip(second)[0]
        assert second == SimulatedBoards().download("titanic", 1)

    def test_two_processes_and_a_restart_tell_one_story(self) -> None:
        """What one shows step by step, another shows that is asked for the last moment only; after a year, too."""
        code = (
            "import sys, zlib\n"
            "from pgleaderboard.simulator.boards import SimulatedBoards\n"
            "boards = SimulatedBoards()\n"
            "print([zlib.crc32(boards.download('titanic', int(step))) for step in sys.argv[1:]])"
        )

        def told(*steps: int) -> list[int]:
            done = subprocess.run(
                [sys.executable, "-c", code, *map(str, steps)], capture_output=True, text=True, check=True
            )
            return list(json.loads(done.stdout))

        year = 365 * 86400 // STEP_SECONDS
        whole = told(*range(40), year, year + 1)
        assert [*told(20, 39, year), *told(year + 1)] == [whole[20], whole[39], whole[40], whole[41]]

    def test_nothing_jumps(self) -> None:
        """From step to step, over days, only a few teams come and go, and the number of teams stays."""
        boards = SimulatedBoards()
        for start in (0, 4315, 1_400_000):
            ids = [
                {row["TeamId"] for row in rows(boards.download("titanic", start + step)) if row["Rank"] != "0"}
                for step in range(0, 30, 3)
            ]
            assert {len(each) for each in ids} == {1744}
            assert max(len(b - a) for a, b in pairwise(ids)) < 40

    def test_every_step_changes_something(self) -> None:
        """Also the smallest board moves with each step."""
        boards = SimulatedBoards()
        for slug in ("titanic", "simulated-1-teams"):
            steps = [unzip(boards.download(slug, step))[1] for step in range(10)]
            assert len(set(steps)) == 10

    def test_teams_climb_come_rename_and_merge(self) -> None:
        """Better scores, newcomers, new names, and TeamIds that vanish while their members move."""
        boards = SimulatedBoards()
        before, after = ({row["TeamId"]: row for row in rows(boards.download("titanic", step))} for step in (0, 30))
        gone, new, stayed = (
            before.keys() - after.keys(),
            after.keys() - before.keys(),
            before.keys() & after.keys(),
        )
        users = {user: id for id, row in after.items() for user in row["TeamMemberUserNames"].split(",")}

        assert new
        assert gone
        assert any(
            {users.get(user) for user in before[id]["TeamMemberUserNames"].split(",")} & stayed for id in gone
        )  # who was in it is in another team
        assert any(float(after[id]["Score"]) > float(before[id]["Score"]) for id in stayed)
        assert not any(float(after[id]["Score"]) < float(before[id]["Score"]) for id in stayed)
        assert any(after[id]["TeamName"] != before[id]["TeamName"] for id in stayed)
        assert any(int(after[id]["SubmissionCount"]) > int(before[id]["SubmissionCount"]) for id in stayed)
        assert max(row["LastSubmissionDate"] for row in after.values()) <= "2026-01-01 00:10:00"

    def test_ratings_move_both_ways(self) -> None:
        """Where the score is a rating, some fall."""
        boards = SimulatedBoards()
        before, after = (
            {row["TeamId"]: float(row["Score"]) for row in rows(boards.download("orbit-wars", step))}
            for step in (0, 10)
        )
        changes = [after[id] - before[id] for id in before.keys() & after.keys()]

        assert min(changes) < 0 < max(changes)

    def test_dates_are_those_of_the_clock(self) -> None:
        """So that submissions look current."""
        with Simulator(clock=lambda: datetime(2030, 5, 1, 12)) as simulator:
            answer = ask(simulator).content

        assert unzip(answer)[0] == "titanic-publicleaderboard-2030-05-01T12:00:00.csv"
        assert "2030-05-01 11:50" < max(row["LastSubmissionDate"] for row in rows(answer)) < "2030-05-01 12:00:00"
