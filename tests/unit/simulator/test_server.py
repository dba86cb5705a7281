"""The simulated Kaggle, over the socket."""

from __future__ import annotations

import csv
import io
import logging
import re
import threading
import time
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from kagglesdk import KaggleClient
from kagglesdk.competitions.types.competition_api_service import (
    ApiDownloadLeaderboardRequest,
    ApiGetCompetitionRequest,
    ApiListCompetitionsRequest,
)
from kagglesdk.kaggle_env import KaggleEnv

from pgleaderboard.simulator import (
    Drip,
    Fault,
    Half,
    Page,
    Redirect,
    Reset,
    Silent,
    Simulator,
    Status,
    Zipped,
    zip_board,
)
from pgleaderboard.simulator.boards import HEADER, SimulatedBoards

SERVICE = "/v1/competitions.CompetitionApiService/"
SMALL_BOARD = (
    HEADER,
    '1,8680210366022,"Shallow Hedgehogs","2026-01-01 00:00:40",4.378,15,"del=422ba3554a9a823d,metivoti806"',
    '0,8680218309663,"Sample Submission Benchmark","2025-11-01 23:59:59",5.045,1,',
    '0,8680214196963,benchmark.csv,"2025-11-01 23:59:59",6.025,1,SimulatedHost',
    '2,8680212140613,ConvexKernels71,"2026-01-01 00:00:56",6.746,9,dimilibo',
    '0,8680216253313,"Host Baseline","2025-11-01 23:59:59",10.150,1,',
    "",
)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """A frozen simulator."""
    with Simulator(speed=0) as running:
        yield running


@pytest.fixture
def background() -> Iterator[Callable[..., Future[Any]]]:
    """Calls something in a thread of its own."""
    with ThreadPoolExecutor() as pool:
        yield pool.submit


def ask(
    simulator: Simulator,
    slug: str = "titanic",
    method: str = "DownloadLeaderboard",
    *,
    headers: dict[str, str] | None = None,
    timeout: float = 10,
) -> requests.Response:
    """One request as the SDK makes it, on a connection of its own."""
    url = simulator.url + SERVICE + method
    return requests.post(url, json={"competitionName": slug}, headers=headers, timeout=timeout)


def sdk(simulator: Simulator) -> Any:
    """Kaggle's own client, pointed at the simulator."""
    client = KaggleClient(env=KaggleEnv.PROD, api_token="not-a-secret")
    client.http_client()._endpoint = simulator.url
    return client


def unzip(data: bytes) -> tuple[str, bytes]:
    """The one member's name and content."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        (member,) = archive.infolist()
        assert member.compress_type == zipfile.ZIP_DEFLATED
        return member.filename, archive.read(member)


def rows(data: bytes) -> list[dict[str, str]]:
    """The board's rows."""
    text = unzip(data)[1].decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


class TestProtocol:
    """What Kaggle's client relies on."""

    def test_download_is_a_zip_with_one_csv(self, simulator: Simulator) -> None:
        """The answer is a ZIP whose member says slug, public board and time, with colons."""
        answer = ask(simulator)

        name, content = unzip(answer.content)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/zip")
        assert re.fullmatch(r"titanic-publicleaderboard-\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.csv", name)
        assert content.startswith(b"\xef\xbb\xbf" + HEADER.encode() + b"\n")
        assert content.endswith(b"\n")
        assert b"\r" not in content

    def test_the_sdk_downloads_describes_and_lists(self, simulator: Simulator) -> None:
        """Kaggle's own client understands all three methods, dates included."""
        asked = ApiDownloadLeaderboardRequest()
        asked.competition_name = "titanic"
        about = ApiGetCompetitionRequest()
        about.competition_name = "house-prices-advanced-regression-techniques"
        with sdk(simulator) as client:
            api = client.competitions.competition_api_client
            with api.download_leaderboard(asked) as download:
                board = rows(download.content)
            competition = api.get_competition(about)

        now = datetime.now(UTC).replace(tzinfo=None)
        assert len([row for row in board if row["Rank"] != "0"]) == 1744
        assert competition.title == "House Prices Advanced Regression Techniques (simulated)"
        assert competition.enabled_date < now < competition.deadline
        assert competition.max_daily_submissions == 5
        assert competition.evaluation_metric == "Root Mean Squared Logarithmic Error"
        assert competition.ref == "https://www.kaggle.com/competitions/house-prices-advanced-regression-techniques"
        assert competition.team_count == 1260
        assert [request.method for request in simulator.requests] == ["DownloadLeaderboard", "GetCompetition"]
        assert simulator.requests[0].headers["Authorization"] == "Bearer not-a-secret"

    def test_the_sdk_searches_and_pages(self, simulator: Simulator) -> None:
        """A search filters, and page tokens lead through everything once."""
        with sdk(simulator) as client:
            api = client.competitions.competition_api_client
            search = ApiListCompetitionsRequest()
            search.search = "Titanic"
            found = [c.ref.rpartition("/")[2] for c in api.list_competitions(search).competitions]

            everything, pages, token = [], 0, None
            while token != "":
                asked = ApiListCompetitionsRequest()
                asked.page_size = 12
                if token:
                    asked.page_token = token
                answer = api.list_competitions(asked)
                everything += [c.ref for c in answer.competitions]
                token, pages = answer.next_page_token, pages + 1

        assert found == ["titanic", "spaceship-titanic"]
        assert len(everything) == len(set(everything)) == 32
        assert pages == 3

    def test_page_numbers_work_too(self, simulator: Simulator) -> None:
        """The older `page` gives the same pages as the tokens; a bad token is refused."""
        url = simulator.url + SERVICE + "ListCompetitions"
        by_token = requests.post(url, json={"pageToken": "20"}, timeout=10).json()
        by_number = requests.post(url, json={"page": 2}, timeout=10).json()

        assert by_number == by_token
        assert requests.post(url, json={"pageToken": "x"}, timeout=10).status_code == 400

    @pytest.mark.parametrize("slug", ["unknown-contest", "Gone-For-Good", "", "../etc", "two words"])
    @pytest.mark.parametrize("method", ["DownloadLeaderboard", "GetCompetition"])
    def test_unknown_slugs(self, slug: str, method: str) -> None:
        """A slug Kaggle does not know is a 404 in Kaggle's shape."""
        with Simulator(unknown={"gone-for-good"}) as simulator:
            answer = ask(simulator, slug, method)

        assert (answer.status_code, answer.json()["code"]) == (404, 404)
        assert answer.json()["message"]

    def test_unknown_methods_and_bad_bodies(self, simulator: Simulator) -> None:
        """What is not Kaggle's protocol is an error, never a dropped connection."""
        url = simulator.url + SERVICE + "DownloadLeaderboard"

        assert ask(simulator, method="DropLeaderboard").status_code == 404
        assert requests.post(simulator.url + "/v2/other", json={}, timeout=10).status_code == 404
        assert requests.get(simulator.url + "/", timeout=10).status_code == 404
        assert requests.post(url, data=b"{", timeout=10).status_code == 400
        assert requests.post(url, data=b"[]", timeout=10).status_code == 400
        assert requests.post(url, headers={"Content-Length": "1e9"}, timeout=10).status_code == 400

    def test_the_path_may_have_a_prefix(self, simulator: Simulator) -> None:
        """`KaggleEnv.TEST` asks below /api."""
        url = f"{simulator.url}/api{SERVICE}GetCompetition"
        answer = requests.post(url, json={"competitionName": "titanic"}, timeout=10)

        assert answer.json()["teamCount"] == 1744

    def test_a_connection_serves_several_requests(self, simulator: Simulator) -> None:
        """HTTP/1.1 keep-alive: the session's connection is used again, also after an error."""
        with requests.Session() as session:
            for slug in ("titanic", "unknown-x", "digit-recognizer"):
                session.post(simulator.url + SERVICE + "GetCompetition", json={"competitionName": slug})
            (pool,) = (session.get_adapter(simulator.url).poolmanager.pools[k] for k in _keys(session, simulator))

            assert (pool.num_connections, pool.num_requests) == (1, 3)

    def test_authorization(self) -> None:
        """With `auth_required` any other credential, or none, is a 401."""
        with Simulator(auth_required="Bearer right") as simulator:
            assert ask(simulator).status_code == 401
            assert ask(simulator, headers={"Authorization": "Bearer wrong"}).json()["code"] == 401
            assert ask(simulator, headers={"Authorization": "Bearer right"}).status_code == 200

    def test_the_log_of_requests(self, simulator: Simulator) -> None:
        """Every request is kept with its time, method, slug and headers."""
        before = time.monotonic()
        ask(simulator, "Some-Slug", "GetCompetition", headers={"User-Agent": "me"})

        (seen,) = simulator.requests
        assert before <= seen.time <= time.monotonic()
        assert (seen.method, seen.slug, seen.headers["User-Agent"]) == ("GetCompetition", "Some-Slug", "me")

    def test_it_says_nothing(
        self, simulator: Simulator, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        """Neither requests, errors nor broken connections write to stdout, stderr or above DEBUG."""
        caplog.set_level(logging.DEBUG, logger="pgleaderboard")
        simulator.faults.put(None, Reset())
        with pytest.raises(requests.ConnectionError):
            ask(simulator)
        ask(simulator, "unknown-x")
        requests.request("PATCH", simulator.url, timeout=10)
        simulator.stop()

        assert capfd.readouterr() == ("", "")
        assert {r.levelno for r in caplog.records if r.name.startswith("pgleaderboard")} == {logging.DEBUG}


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
            row["TeamMemberUserNames"]
            for slug in slugs
            for row in rows(boards.download(slug, 0) or b"")
            if row["Rank"] == "0"
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

    def test_titanic_is_made_quickly(self) -> None:
        """A board and its next step take less than a tenth of a second each."""
        boards = SimulatedBoards()
        for step in (0, 1):
            spent = []
            for made in (boards, SimulatedBoards()):
                begun = time.process_time()
                made.download("titanic", step)
                spent.append(time.process_time() - begun)
            assert min(spent) < 0.1


class TestMovement:
    """How boards change from step to step."""

    def test_the_same_step_is_the_same_bytes(self) -> None:
        """A slug and a step decide every byte, whichever server is asked, in whichever order."""
        with Simulator(speed=0) as one, Simulator(speed=0) as other:
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
        csv_bytes = unzip(SimulatedBoards().download("simulated-2-teams", 3) or b"")[1]

        assert csv_bytes.decode("utf-8-sig").split("\n") == list(SMALL_BOARD)

    def test_case_does_not_change_a_board(self, simulator: Simulator) -> None:
        """A slug in capitals is the same competition; the member's name is as it was asked for."""
        name, content = unzip(ask(simulator, "TITANIC").content)

        assert name.startswith("TITANIC-publicleaderboard-")
        assert content == unzip(ask(simulator).content)[1]

    def test_time_moves_the_boards(self) -> None:
        """Every `speed` seconds of the clock is a step, counted from the start."""
        now = 1000.0
        with Simulator(speed=20, clock=lambda: now) as simulator:
            first = ask(simulator).content
            now += 19
            assert (simulator.step, ask(simulator).content) == (0, first)
            now += 1
            second = ask(simulator).content
            now += 200
            assert simulator.step == 11
        assert unzip(first)[0] < unzip(second)[0]
        assert second == SimulatedBoards().download("titanic", 1)

    def test_every_step_changes_something(self) -> None:
        """Also the smallest board moves with each step."""
        boards = SimulatedBoards()
        for slug in ("titanic", "simulated-1-teams"):
            steps = [unzip(boards.download(slug, step) or b"")[1] for step in range(10)]
            assert len(set(steps)) == 10

    def test_teams_climb_come_rename_and_merge(self) -> None:
        """Better scores, newcomers, new names, and TeamIds that vanish while their members move."""
        boards = SimulatedBoards()
        before, after = (
            {row["TeamId"]: row for row in rows(boards.download("titanic", step) or b"")} for step in (0, 30)
        )
        gone, new, stayed = (
            before.keys() - after.keys(),
            after.keys() - before.keys(),
            before.keys() & after.keys(),
        )
        users_after = {user for row in after.values() for user in row["TeamMemberUserNames"].split(",")}

        assert new
        assert gone
        assert {user for id in gone for user in before[id]["TeamMemberUserNames"].split(",")} <= users_after
        assert any(float(after[id]["Score"]) > float(before[id]["Score"]) for id in stayed)
        assert not any(float(after[id]["Score"]) < float(before[id]["Score"]) for id in stayed)
        assert any(after[id]["TeamName"] != before[id]["TeamName"] for id in stayed)
        assert any(int(after[id]["SubmissionCount"]) > int(before[id]["SubmissionCount"]) for id in stayed)
        assert max(row["LastSubmissionDate"] for row in after.values()) <= "2026-01-01 00:10:00"

    def test_ratings_move_both_ways(self) -> None:
        """Where the score is a rating, some fall."""
        boards = SimulatedBoards()
        before, after = (
            {row["TeamId"]: float(row["Score"]) for row in rows(boards.download("orbit-wars", step) or b"")}
            for step in (0, 10)
        )
        changes = [after[id] - before[id] for id in before.keys() & after.keys()]

        assert min(changes) < 0 < max(changes)

    def test_the_calendar_can_start_elsewhere(self) -> None:
        """`epoch` is what step 0 shows, so that dates can be today's."""
        with Simulator(speed=0, epoch=datetime(2030, 5, 1, 12)) as simulator:
            answer = ask(simulator).content

        assert unzip(answer)[0] == "titanic-publicleaderboard-2030-05-01T12:00:00.csv"
        assert max(row["LastSubmissionDate"] for row in rows(answer)) < "2030-05-01 12:00:00"


class TestFolder:
    """Real downloads, served from a folder."""

    def test_the_newest_file_untouched(self, tmp_path: Path) -> None:
        """The newest by the time in the name wins, public or private, `:` or `_`; bytes stay."""
        (tmp_path / "My-Contest-publicleaderboard-2026-05-05T15_36_33.zip").write_bytes(b"first")
        (tmp_path / "My-Contest-privateleaderboard-2026-06-07T06:21:22.zip").write_bytes(b"not even a ZIP")
        (tmp_path / "My-Contest-publicleaderboard.zip").write_bytes(b"undated")
        (tmp_path / "notes.txt").write_text("no board")
        with Simulator(boards_dir=tmp_path) as simulator:
            assert ask(simulator, "my-contest").content == b"not even a ZIP"
            assert ask(simulator, "my-contest", "GetCompetition").json()["teamCount"] == 0
            assert ask(simulator, "titanic").status_code == 404
            assert ask(simulator, "titanic", "GetCompetition").status_code == 404
            listed = ask(simulator, method="ListCompetitions").json()["competitions"]
            assert [c["ref"] for c in listed] == ["https://www.kaggle.com/competitions/My-Contest"]

    def test_slugs_with_the_word_in_them_and_the_old_form(self, tmp_path: Path) -> None:
        """The slug is what stands before the last such word; `_public_leaderboard` is one too."""
        board = zip_board(f"{HEADER}\n1,2,a,,1,1,b\n".encode(), "x.csv")
        (tmp_path / "a-publicleaderboard-b-publicleaderboard-2026-01-01T00_00_00 (1).zip").write_bytes(board)
        (tmp_path / "old-one_public_leaderboard.zip").write_bytes(b"old")
        with Simulator(boards_dir=str(tmp_path)) as simulator:
            assert ask(simulator, "a-publicleaderboard-b").content == board
            assert ask(simulator, "a-publicleaderboard-b", "GetCompetition").json()["teamCount"] == 1
            assert ask(simulator, "old-one").content == b"old"

    def test_the_folder_is_read_again(self, tmp_path: Path) -> None:
        """A file that comes or goes counts at the next request."""
        with Simulator(boards_dir=tmp_path) as simulator:
            assert ask(simulator, "new").status_code == 404
            file = tmp_path / "new-publicleaderboard-2026-01-01T00_00_00.zip"
            file.write_bytes(b"1")
            assert ask(simulator, "new").content == b"1"
            file.unlink()
            assert ask(simulator, "new").status_code == 404

    def test_replay(self, tmp_path: Path) -> None:
        """Oldest first, one further each download of that slug, staying at the last; only downloads count."""
        for slug, day in (("one", 3), ("one", 1), ("one", 2), ("two", 1)):
            name = f"{slug}-publicleaderboard-2026-01-0{day}T00_00_00.zip"
            (tmp_path / name).write_bytes(b"%s %d" % (slug.encode(), day))
        with Simulator(boards_dir=tmp_path, replay=True) as simulator:
            assert ask(simulator, "one").content == b"one 1"
            assert ask(simulator, "two").content == b"two 1"
            ask(simulator, "one", "GetCompetition")
            simulator.faults.put("one", Status(503))
            assert ask(simulator, "one").status_code == 503
            seen = [ask(simulator, "ONE").content for _ in range(3)]
            assert seen == [b"one 2", b"one 3", b"one 3"]
            (tmp_path / "one-publicleaderboard-2026-01-04T00_00_00.zip").write_bytes(b"one 4")
            assert ask(simulator, "one").content == b"one 4"

    def test_a_missing_folder(self, tmp_path: Path) -> None:
        """A folder that is not there is refused before anything is served."""
        with pytest.raises(NotADirectoryError):
            Simulator(boards_dir=tmp_path / "nowhere")


class TestFaults:
    """Wrong answers on demand."""

    @pytest.mark.parametrize("code", [400, 401, 403, 404, 429, 500, 502, 503])
    def test_status_codes(self, simulator: Simulator, code: int) -> None:
        """Any status, in Kaggle's shape, once; then the right answer again."""
        simulator.faults.put("titanic", Status(code, message="no"))
        answer = ask(simulator)

        assert (answer.status_code, answer.json()) == (code, {"code": code, "message": "no"})
        assert ask(simulator).status_code == 200

    @pytest.mark.parametrize("retry_after", ["7", "-1", "soon", "Wed, 21 Oct 2037 07:28:00 GMT", "", None])
    def test_too_many_requests(self, simulator: Simulator, retry_after: str | None) -> None:
        """429 with any Retry-After or none."""
        headers = {} if retry_after is None else {"Retry-After": retry_after}
        simulator.faults.put(None, Status(429, headers))
        answer = ask(simulator)

        assert (answer.status_code, answer.headers.get("Retry-After")) == (429, retry_after)

    def test_a_status_with_a_page(self, simulator: Simulator) -> None:
        """A proxy's 502 comes as HTML."""
        simulator.faults.put(None, Status(502, body="<h1>Bad gateway</h1>", content_type="text/html"))
        answer = ask(simulator)

        assert (answer.status_code, answer.text, answer.headers["Content-Type"]) == (
            502,
            "<h1>Bad gateway</h1>",
            "text/html",
        )

    @pytest.mark.parametrize(
        ("fault", "content", "content_type"),
        [
            (Page("<html>Sign in</html>"), b"<html>Sign in</html>", "text/html; charset=utf-8"),
            (Page(b"", "application/zip"), b"", "application/zip"),
            (Page(b"PK\x03\x04broken", "application/zip"), b"PK\x03\x04broken", "application/zip"),
            (Page(b"x", None), b"x", None),
        ],
    )
    def test_other_bodies(self, simulator: Simulator, fault: Page, content: bytes, content_type: str | None) -> None:
        """200 with a web page, nothing, or a broken ZIP, under any content type."""
        simulator.faults.put(None, fault)
        answer = ask(simulator)

        assert (answer.status_code, answer.content) == (200, content)
        assert answer.headers.get("Content-Type") == content_type

    def test_a_board_of_the_tests_own(self, simulator: Simulator) -> None:
        """A CSV given as text, zipped under the given name, the same bytes each time."""
        simulator.faults.put("titanic", Zipped("a,b\n", "x-privateleaderboard.csv"))
        answer = ask(simulator)

        assert unzip(answer.content) == ("x-privateleaderboard.csv", b"a,b\n")
        assert answer.content == zip_board(b"a,b\n", "x-privateleaderboard.csv")

    def test_a_redirect_to_signed_storage(self, simulator: Simulator) -> None:
        """The signed URL needs no credential, and its log shows which came along."""
        with Simulator(speed=0, auth_required="Bearer never") as storage:
            simulator.faults.put("titanic", Redirect(storage.signed_url("titanic") + "?signature=x"))
            answer = ask(simulator, headers={"Authorization": "Bearer secret"})

        assert answer.content == ask(simulator).content
        assert [r.status_code for r in answer.history] == [302]
        assert [(seen.method, seen.slug) for seen in storage.requests] == [("GET", "titanic")]
        assert "Authorization" not in storage.requests[0].headers

    def test_a_gate(self, simulator: Simulator, background: Callable[..., Future[Any]]) -> None:
        """A held request says that it arrived, and is answered with the board of then, when released."""
        old = ask(simulator).content
        gate = simulator.faults.hold("titanic")
        held = background(ask, simulator)
        assert gate.arrived.wait(5)
        simulator.advance()
        new = ask(simulator).content
        assert not held.done()
        gate.release()

        assert held.result(5).content == old != new

    def test_silence(self, simulator: Simulator, background: Callable[..., Future[Any]]) -> None:
        """Nothing comes; after the release the connection ends without an answer."""
        silence = simulator.faults.put("titanic", Silent())
        asked = background(ask, simulator)
        assert silence.arrived.wait(5)
        simulator.faults.put("titanic", Silent())
        with pytest.raises(requests.ReadTimeout):
            ask(simulator, timeout=0.05)
        assert not asked.done()
        silence.release()

        assert isinstance(asked.exception(5), requests.ConnectionError)

    @pytest.mark.parametrize(
        ("fault", "error"),
        [(Half(), "IncompleteRead"), (Half(body=b"x" * 100_000, reset=True), "reset|IncompleteRead")],
    )
    def test_half_an_answer(self, simulator: Simulator, fault: Half, error: str) -> None:
        """Half the promised bytes, then the end of the connection, by FIN or by RST."""
        simulator.faults.put(None, fault)

        with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError), match=error):
            ask(simulator)

    def test_half_an_answer_that_promised_nothing(self, simulator: Simulator) -> None:
        """Without a length the client cannot see it: half a ZIP comes as a success."""
        simulator.faults.put("titanic", Half(declare_length=False))
        half = ask(simulator).content
        whole = ask(simulator).content

        assert half == whole[: len(whole) // 2]

    @pytest.mark.parametrize("headers", [False, True])
    def test_dripping(self, simulator: Simulator, background: Callable[..., Future[Any]], headers: bool) -> None:
        """Byte by byte, in the body or in the headers; the rest comes at once after the release."""
        drip = simulator.faults.put("titanic", Drip(3600, headers=headers))
        asked = background(ask, simulator)
        assert drip.arrived.wait(5)
        assert not asked.done()
        drip.release()
        slow = asked.result(5).content
        simulator.faults.put("titanic", Drip(0.0001, headers=headers, body=b"slowly"))

        assert ask(simulator).content == b"slowly"
        assert ask(simulator).content == slow

    def test_reset(self, simulator: Simulator) -> None:
        """The connection is reset instead of answered."""
        simulator.faults.put("titanic", Reset())

        with pytest.raises(requests.ConnectionError, match="reset by peer"):
            ask(simulator)

    def test_who_meets_a_fault(self, simulator: Simulator) -> None:
        """Slug, method and number of times decide, the first in line is taken, `clear` ends the rest."""
        simulator.faults.put("TITANIC", Status(500), times=2, method="DownloadLeaderboard")
        simulator.faults.put(None, Status(503), times=None, method="GetCompetition")
        assert ask(simulator, "digit-recognizer").status_code == 200
        assert [ask(simulator, "titanic", "GetCompetition").status_code for _ in range(3)] == [503] * 3
        assert [ask(simulator).status_code for _ in range(3)] == [500, 500, 200]
        assert len(simulator.faults) == 1
        simulator.faults.clear()
        assert ask(simulator, "titanic", "GetCompetition").status_code == 200


class TestLife:
    """Start and stop."""

    @pytest.mark.parametrize("fault", [Silent(), Drip(3600), Drip(3600, headers=True)])
    def test_stop_ends_what_hangs(self, fault: Fault, background: Callable[..., Future[Any]]) -> None:
        """Stopping is prompt while a client waits for an answer and others keep idle connections."""
        simulator = Simulator(speed=0)
        simulator.start()
        with requests.Session() as idle:
            idle.post(simulator.url + SERVICE + "GetCompetition", json={"competitionName": "titanic"})
            simulator.faults.put(None, fault)
            asked = background(ask, simulator)
            assert fault.arrived.wait(5)
            begun = time.monotonic()
            simulator.stop()

            assert time.monotonic() - begun < 1
            assert isinstance(asked.exception(5), requests.RequestException)

    def test_a_held_answer_is_never_given_after_stop(self, background: Callable[..., Future[Any]]) -> None:
        """Stopping does not open a gate."""
        with Simulator(speed=0) as simulator:
            gate = simulator.faults.hold()
            asked = background(ask, simulator)
            assert gate.arrived.wait(5)

        assert isinstance(asked.exception(5), requests.ConnectionError)

    def test_down_and_up_again(self) -> None:
        """Stopped, it refuses connections; started again, it goes on where it was, at the same address."""
        simulator = Simulator(speed=0)
        with pytest.raises(RuntimeError, match="port"):
            _ = simulator.url
        with simulator:
            simulator.advance()
            before, url = ask(simulator).content, simulator.url
            with pytest.raises(RuntimeError, match="already"):
                simulator.start()
        simulator.stop()
        with pytest.raises(requests.ConnectionError):
            ask(simulator)
        with simulator:
            assert (simulator.url, ask(simulator).content) == (url, before)

    def test_no_thread_stays(self) -> None:
        """After stop nothing of it runs any more."""
        before = set(threading.enumerate())
        with Simulator() as simulator:
            ask(simulator)

        assert set(threading.enumerate()) == before

    def test_a_port_in_use(self, simulator: Simulator) -> None:
        """A taken port is an OSError for the caller to explain."""
        with pytest.raises(OSError, match="in use"):
            Simulator(port=simulator.port).start()

    def test_many_at_once(self, simulator: Simulator) -> None:
        """Requests side by side get the same board."""
        with ThreadPoolExecutor(16) as pool:
            boards = set(pool.map(lambda _: ask(simulator).content, range(48)))

        assert len(boards) == 1


def _keys(session: requests.Session, simulator: Simulator) -> list[Any]:
    return list(session.get_adapter(simulator.url).poolmanager.pools.keys())  # type: ignore[attr-defined]
