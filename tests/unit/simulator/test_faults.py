"""The faults that the simulator can be told to have."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
import requests

from pgleaderboard.simulator.boards import zip_board
from tests.support.faults import Drip, Half, Page, Redirect, Reset, Silent, Simulator, Status, Zipped
from tests.support.simulators import ask, unzip


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
        with Simulator(auth_required="Bearer never") as storage:
            simulator.faults.put("titanic", Redirect(storage.signed_url("titanic") + "?signature=x"))
            answer = ask(simulator, headers={"Authorization": "Bearer secret"})

        assert answer.content == ask(simulator).content
        assert [r.status_code for r in answer.history] == [302]
        assert [(seen.method, seen.slug) for seen in storage.requests] == [("GET", "/signed/titanic.zip?signature=x")]
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
