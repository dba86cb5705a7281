"""The simulator's side of the protocol, and its life."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from kagglesdk.competitions.types.competition_api_service import (
    ApiDownloadLeaderboardRequest,
    ApiGetCompetitionRequest,
    ApiListCompetitionsRequest,
)

from pgleaderboard.simulator.boards import EPOCH, HEADER
from tests.support.faults import Drip, Fault, Reset, Silent, Simulator
from tests.support.simulators import SERVICE, ask, rows, sdk, unzip


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

    @pytest.mark.parametrize("moment", [EPOCH, EPOCH + timedelta(days=364), EPOCH + timedelta(days=20_000)])
    def test_the_dates_of_a_competition_stand(self, moment: datetime) -> None:
        """As a competition's do, whatever year it is: it is open at any moment of the simulator's clock."""
        with Simulator(clock=lambda: moment) as simulator:
            said = ask(simulator, method="GetCompetition").json()
            listed = requests.post(simulator.url + SERVICE + "ListCompetitions", json={}, timeout=10).json()
        dates = (said["enabledDate"], said["deadline"])
        assert dates == ("2025-04-06T00:00:00Z", "2099-04-06T23:59:00Z")
        assert (listed["competitions"][0]["enabledDate"], listed["competitions"][0]["deadline"]) == dates
        assert dates[0] < moment.isoformat() < dates[1]

    def test_the_sdk_searches(self, simulator: Simulator) -> None:
        """A search filters; without words the first page comes, and the answer says that there are more."""
        with sdk(simulator) as client:
            api = client.competitions.competition_api_client
            search = ApiListCompetitionsRequest()
            search.search = "Titanic"
            hits = [c.ref.rpartition("/")[2] for c in api.list_competitions(search).competitions]
            first_page = api.list_competitions(ApiListCompetitionsRequest())

        assert hits == ["titanic", "spaceship-titanic"]
        assert (len(first_page.competitions), bool(first_page.next_page_token)) == (20, True)

    @pytest.mark.parametrize("slug", ["unknown-contest", "Unknown-Contest", "", "../etc", "two words"])
    @pytest.mark.parametrize("method", ["DownloadLeaderboard", "GetCompetition"])
    def test_unknown_slugs(self, simulator: Simulator, slug: str, method: str) -> None:
        """A slug Kaggle does not know is a 404 in Kaggle's shape."""
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
        """Every request is kept with its method, slug and headers."""
        ask(simulator, "Some-Slug", "GetCompetition", headers={"User-Agent": "me"})

        (seen,) = simulator.requests
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


class TestLife:
    """Start and stop."""

    @pytest.mark.parametrize("fault", [Silent(), Drip(3600), Drip(3600, headers=True)])
    def test_stop_ends_what_hangs(self, fault: Fault, background: Callable[..., Future[Any]]) -> None:
        """Stopping does not wait for a client that waits for an answer, or for others' idle connections."""
        simulator = Simulator()
        simulator.start()
        with requests.Session() as idle:
            idle.post(simulator.url + SERVICE + "GetCompetition", json={"competitionName": "titanic"})
            simulator.faults.put(None, fault)
            asked = background(ask, simulator, timeout=90)
            assert fault.arrived.wait(5)
            background(simulator.stop).result(30)

            assert isinstance(asked.exception(5), requests.RequestException)

    def test_a_held_answer_is_never_given_after_stop(self, background: Callable[..., Future[Any]]) -> None:
        """Stopping does not open a gate."""
        with Simulator() as simulator:
            gate = simulator.faults.hold()
            asked = background(ask, simulator)
            assert gate.arrived.wait(5)

        assert isinstance(asked.exception(5), requests.ConnectionError)

    def test_down_and_up_again(self) -> None:
        """Stopped, it refuses connections; started again, it goes on where it was, at the same address."""
        simulator = Simulator()
        with simulator:
            simulator.advance()
            before, url = ask(simulator).content, simulator.url
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
