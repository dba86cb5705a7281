"""An OAuth token is renewed when Kaggle refuses it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pgleaderboard.errors import NeedsPerson
from tests.support.faults import Simulator
from tests.support.kaggle_clients import Raw, downloaded, make_kaggle, oauth, raw, whole

REFUSED = whole(b'{"code": 401, "message": "Unauthenticated"}', "401 Unauthorized", Content_Type="application/json")


RENEWED = whole(b'{"token": "second", "expiresIn": 43200}', Content_Type="application/json")


@contextmanager
def answering(*answers: bytes) -> Iterator[Raw]:
    """A server that gives these answers one after the other."""
    with raw(lambda connection, number: connection.sendall(answers[number - 1])) as server:
        yield server


def test_an_access_token_that_expired_is_renewed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that has worked for hours asks for a new token when Kaggle refuses the old one, and then again."""
    with answering(whole(b"board"), REFUSED, RENEWED, whole(b"board"), whole(b"board")) as server:
        kaggle = make_kaggle(server.url, credential=oauth(home, monkeypatch, "first"))
        assert [downloaded(kaggle) for _ in range(3)] == [b"board"] * 3

    assert server.asked == [
        ("DownloadLeaderboard", "Bearer first"),
        ("DownloadLeaderboard", "Bearer first"),
        ("GenerateAccessToken", None),
        ("DownloadLeaderboard", "Bearer second"),
        ("DownloadLeaderboard", "Bearer second"),
    ]
    assert json.loads((home / ".kaggle/credentials.json").read_text())["access_token"] == "second"


def test_a_token_that_somebody_else_renewed_is_taken_from_the_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each connection learns by itself that the token expired; one of them asks for a new one."""
    with answering(whole(b"board"), REFUSED, whole(b"board")) as server:
        kaggle = make_kaggle(server.url, credential=oauth(home, monkeypatch, "first"))
        downloaded(kaggle)
        oauth(home, monkeypatch, "second")
        assert downloaded(kaggle) == b"board"

    assert [authorization for _, authorization in server.asked] == ["Bearer first", "Bearer first", "Bearer second"]


def test_a_new_token_that_is_refused_needs_a_person(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One renewal, one more request, and that is all."""
    with answering(REFUSED, RENEWED, REFUSED) as server:
        kaggle = make_kaggle(server.url, credential=oauth(home, monkeypatch, "first"))
        with pytest.raises(NeedsPerson, match="401"):
            downloaded(kaggle)

    assert len(server.asked) == 3


def test_a_token_that_cannot_be_renewed_is_asked_with_once(simulator: Simulator) -> None:
    """Without an OAuth file a 401 needs a person at once."""
    simulator.auth_required = "Bearer another"
    with pytest.raises(NeedsPerson, match="401"):
        downloaded(make_kaggle(simulator.url))
    assert len(simulator.requests) == 1
