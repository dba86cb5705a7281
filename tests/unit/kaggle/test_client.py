"""What the client sends to Kaggle, and what it makes of the answers."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from pgleaderboard.errors import NeedsPerson, Transient
from pgleaderboard.kaggle.client import Description
from pgleaderboard.kaggle.credential import Credential
from pgleaderboard.kaggle.errors import retry_after
from pgleaderboard.simulator.catalog import competition
from tests.support.faults import Page, Redirect, Simulator, Status
from tests.support.kaggle_clients import CREDENTIALS, METHOD, downloaded, make_kaggle, oauth


@pytest.mark.parametrize(("credential", "header"), CREDENTIALS, ids=["Bearer", "Basic"])
def test_each_kind_of_credential_is_sent_as_kaggle_wants_it(
    simulator: Simulator, credential: Credential, header: str
) -> None:
    """A token as Bearer, a key as Basic; for the board and for the metadata, under our own name."""
    simulator.auth_required = header
    kaggle = make_kaggle(simulator.url, credential=credential)

    assert downloaded(kaggle) == simulator.download("titanic")
    assert kaggle.describe("titanic").title == "Titanic (simulated)"

    assert [request.headers["Authorization"] for request in simulator.requests] == [header] * 2
    assert all(request.headers["User-Agent"].startswith("pgleaderboard/") for request in simulator.requests)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(("credential", "header"), CREDENTIALS, ids=["Bearer", "Basic"])
def test_a_redirect_to_another_host_never_carries_the_credential(
    simulator: Simulator, credential: Credential, header: str, status: int
) -> None:
    """Kaggle redirects downloads to storage elsewhere: the board comes, the credential stays."""
    with Simulator() as storage:
        target = storage.signed_url("titanic") if status < 307 else storage.url + METHOD  # 307 and 308 keep the POST
        simulator.faults.put("titanic", Redirect(target, status))
        kaggle = make_kaggle(simulator.url, credential=credential)

        assert downloaded(kaggle) == simulator.download("titanic")

        (first,) = simulator.requests
        (second,) = storage.requests
    assert first.headers["Authorization"] == header
    assert "Authorization" not in second.headers
    assert "geheim" not in str(second.headers)


def test_redirects_without_end_are_given_up(simulator: Simulator) -> None:
    """A circle passes by itself, one hopes."""
    simulator.faults.put(None, Redirect(simulator.signed_url("titanic")), times=None)
    with pytest.raises(Transient, match="redirected too often"):
        downloaded(make_kaggle(simulator.url))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("7", timedelta(seconds=7)),
        (" 7 ", timedelta(seconds=7)),
        ("0", timedelta(0)),
        ("86400", timedelta(days=1)),
        ("86401", None),
        ("-1", None),
        ("", None),
        ("soon", None),
        ("1.5", None),
        ("1e3", None),
        ("NaN", None),
        ("9" * 30, None),
        ("9" * 5000, None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", timedelta(0)),
        ("Wed, 21 Oct 9999 07:28:00 GMT", None),
        ("Wed, 32 Oct 2026 07:28:00 GMT", None),
        ("Wed, 21 Oct 99999999999 07:28:00 GMT", None),
        ("Wed, 21 Oct 2026 07:28:00 +" + "9" * 20, None),
        ("Wed, 21 Oct 2026 07:28:00", None),
        ("Mon, (", None),
    ],
)
def test_every_form_of_retry_after(header: str | None, expected: timedelta | None) -> None:
    """Seconds or a date; what is missing, negative, nonsense or more than a day is as good as nothing."""
    assert retry_after(header) == expected


def test_a_date_in_retry_after_counts_from_now() -> None:
    """A moment in two minutes is a pause of at most two minutes."""
    pause = retry_after(format_datetime(datetime.now(UTC) + timedelta(minutes=2), usegmt=True))
    assert pause is not None
    assert timedelta(0) < pause <= timedelta(minutes=2)


def test_a_date_in_another_zone_is_the_same_moment() -> None:
    """As RFC 9110 wants it, and as it comes."""
    moment = datetime.now(UTC) + timedelta(hours=2)
    shifted = moment.strftime("%a, %d %b %Y %H:%M:%S ") + "+0000"
    pause = retry_after(shifted)
    assert pause is not None
    assert timedelta(hours=1) < pause <= timedelta(hours=2)


@pytest.mark.parametrize("slug", ["titanic", "orbit-wars", "Stat101-Spring2026"])
def test_describe_maps_what_kaggle_says(simulator: Simulator, slug: str) -> None:
    """Title, text, dates (UTC), metric and the daily limit, each where it belongs."""
    said = make_kaggle(simulator.url).describe(slug)

    real = competition(slug)
    assert (said.title, said.description) == (real["title"], real["description"])
    assert (said.evaluation_metric, said.max_daily_submissions) == (real["evaluationMetric"], 5)
    assert said.deadline == datetime.fromisoformat(real["deadline"])
    assert said.enabled_date == datetime.fromisoformat(real["enabledDate"])
    assert said.deadline is not None
    assert said.deadline.utcoffset() == timedelta(0)


def answered(simulator: Simulator, answer: Any) -> Any:
    """What `describe` makes of this JSON."""
    simulator.faults.put("titanic", Page(json.dumps(answer), content_type="application/json"))
    return make_kaggle(simulator.url).describe("titanic")


def test_describe_says_nothing_where_kaggle_says_nothing(simulator: Simulator) -> None:
    """Fields that are missing or empty are None; NUL, which PostgreSQL cannot hold, is replaced."""
    said = answered(simulator, {"title": "a\0b", "description": "", "maxDailySubmissions": 0})
    assert (said.title, said.description, said.enabled_date) == ("a\ufffdb", None, None)
    assert (said.deadline, said.evaluation_metric, said.max_daily_submissions) == (None, None, None)


@pytest.mark.parametrize("answer", [7, None, {"deadline": "tomorrow"}, {"title": 7}, {"code": "x"}, {"title": ["a"]}])
def test_metadata_in_another_form_is_never_a_fault_of_ours(simulator: Simulator, answer: Any) -> None:
    """Whatever JSON comes, it is refused in words for the user."""
    with pytest.raises(Transient, match="cannot be understood"):
        answered(simulator, answer)


@pytest.mark.parametrize("answer", [{}, [], "x"])
def test_metadata_without_a_field_that_we_know_says_nothing(simulator: Simulator, answer: Any) -> None:
    """Nothing is filled in then."""
    assert answered(simulator, answer) == Description(None, None, None, None, None, None, None, is_simulated=True)


def test_an_error_under_status_200_is_an_error(simulator: Simulator) -> None:
    """Kaggle says some of its refusals so."""
    with pytest.raises(NeedsPerson, match="404"):
        answered(simulator, {"code": 404, "message": "Competition not found"})


@pytest.mark.parametrize("status", [429, 503])
def test_a_download_that_is_unknown_while_kaggle_is_busy(simulator: Simulator, status: int) -> None:
    """Whether the competition exists was not answered: it is no wrong slug."""
    simulator.faults.put("titanic", Status(404))
    simulator.faults.put("titanic", Status(status))
    with pytest.raises(Transient, match=str(status)):
        downloaded(make_kaggle(simulator.url))


def test_a_message_of_kaggle_is_shown_on_one_short_line(simulator: Simulator) -> None:
    """However long and wild it is."""
    simulator.faults.put("titanic", Status(400, message="bad\n\x1b[31m request " * 50))
    with pytest.raises(NeedsPerson, match="bad") as caught:
        downloaded(make_kaggle(simulator.url))
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("credential", "header"), CREDENTIALS, ids=["Bearer", "Basic"])
def test_a_header_that_kaggle_echoes_is_hidden(simulator: Simulator, credential: Credential, header: str) -> None:
    """The key as it is and as Basic sends it; half of one that the end of a long message cuts, too."""
    secret = header.split()[1]
    for before in ("got ", "x" * 188 + " "):
        simulator.faults.put("titanic", Status(400, message=f"{before}{header} geheim"))
        with pytest.raises(NeedsPerson, match="400") as caught:
            downloaded(make_kaggle(simulator.url, credential=credential))
        assert secret[:4] not in str(caught.value)
        assert "geheim" not in str(caught.value)


def test_an_access_token_that_kaggle_echoes_is_hidden(
    simulator: Simulator, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although it stands in the file alone; so is the token that it is renewed with."""
    simulator.faults.put("titanic", Status(400, message="no Bearer oauth-access, no refresh-geheim"))
    credential = replace(oauth(home, monkeypatch, "oauth-access"), refresh_token="refresh-geheim")
    with pytest.raises(NeedsPerson, match=r": no Bearer \*\*\*, no \*\*\*$"):
        downloaded(make_kaggle(simulator.url, credential=credential))


def test_a_download_beyond_the_limit_is_given_up(simulator: Simulator) -> None:
    """Its message names the setting that allows more."""
    with pytest.raises(NeedsPerson, match="exceeds 0 MB; PGLEADERBOARD_MAX_DOWNLOAD_MB allows more"):
        downloaded(make_kaggle(simulator.url, limit=1000))
