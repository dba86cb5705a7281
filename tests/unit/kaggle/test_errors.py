"""What an answer of Kaggle means: its status, its Retry-After, its message."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
import requests

from pgleaderboard.errors import NeedsPerson, PgleaderboardError, Transient
from pgleaderboard.kaggle.errors import explain, retry_after, status_of

MINUTE = timedelta(minutes=1)


def answer(status: int, body: object = None, **headers: str) -> requests.Response:
    """An answer of Kaggle."""
    made = requests.Response()
    made.status_code = status
    made._content = b"" if body is None else json.dumps(body).encode()
    made.headers.update({name.replace("_", "-"): text for name, text in headers.items()})
    return made


def explained(response: requests.Response, slug: str | None = "titanic", about: str = "") -> PgleaderboardError:
    """The error for the user."""
    return explain(requests.HTTPError(response=response), slug, 30, lambda text: text, about)


@pytest.mark.parametrize("status", [408, 425, 500, 502, 503, 599])
def test_a_status_that_passes_by_itself(status: int) -> None:
    """It is tried again, no sooner than Kaggle asks; other requests go on."""
    error = explained(answer(status, {"message": "busy"}, Retry_After="90"))
    assert isinstance(error, Transient)
    assert str(error) == f"Kaggle failed with status {status}: busy"
    assert (error.retry_after, error.throttled) == (timedelta(seconds=90), False)


@pytest.mark.parametrize(("asked", "pause"), [("120", 2 * MINUTE), ("0", MINUTE), ("soon", MINUTE), ("", MINUTE)])
def test_too_many_requests_pause_all_of_them(asked: str, pause: timedelta) -> None:
    """As long as Kaggle asks for, else a minute."""
    error = explained(answer(429, Retry_After=asked))
    assert isinstance(error, Transient)
    assert (error.retry_after, error.throttled) == (pause, True)


@pytest.mark.parametrize(
    ("status", "slug", "says"),
    [
        (401, "titanic", "Kaggle does not accept the credential (401): it may have expired; make a new one (KEY)"),
        (400, None, "Kaggle refused the request (status 400): no"),
        (403, "titanic", "https://www.kaggle.com/competitions/titanic/rules; Kaggle says: no"),
        (404, "titanic", "Kaggle knows no competition titanic (404): check the slug in its URL; Kaggle says: no"),
        (418, "titanic", "Kaggle refused the request for titanic (status 418): no"),
    ],
)
def test_a_status_that_needs_a_person(status: int, slug: str | None, says: str) -> None:
    """The message says who must do what, with Kaggle's own words."""
    error = explained(answer(status, {"message": "no"}), slug, "KEY")
    assert isinstance(error, NeedsPerson)
    assert str(error).endswith(says)


@pytest.mark.parametrize(
    ("response", "status"),
    [(answer(400, {"code": 500}), 400), (answer(200, {"code": 404}), 404), (answer(200, []), 500), (answer(200), 500)],
)
def test_a_status_may_be_in_the_body(response: requests.Response, status: int) -> None:
    """Of an answer that is none by its own status; without one it is taken for a failure of Kaggle's."""
    assert status_of(response) == status


@pytest.mark.parametrize(
    ("header", "pause"),
    [
        (None, None),
        ("0", timedelta(0)),
        (" 7 ", timedelta(seconds=7)),
        ("86400", timedelta(days=1)),
        ("86401", None),
        ("-1", None),
        ("Mon, 01 Jan 2001 00:00:00 GMT", timedelta(0)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", None),
        ("9" * 30, None),
    ],
)
def test_how_long_kaggle_asks_to_wait(header: str | None, pause: timedelta | None) -> None:
    """Seconds or a date; a day at most, since more is a mistake."""
    assert retry_after(header) == pause
