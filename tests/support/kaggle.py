"""Clients of Kaggle for the tests."""

from __future__ import annotations

from typing import Any

from pgleaderboard.kaggle.client import Kaggle
from pgleaderboard.kaggle.credential import Credential


def make_kaggle(kaggle_url: str, **changes: Any) -> Kaggle:
    """A client with a credential, whose time-outs no healthy request comes near."""
    chosen: dict[str, Any] = {
        "credential": Credential("the test", token="test-token"),
        "timeout": 30,
        "deadline": 60,
        "limit": 2**28,
    } | changes
    return Kaggle(kaggle_url, chosen.pop("credential"), **chosen)


def close(kaggle: Kaggle) -> None:
    """Close the connections that a client keeps for later."""
    while kaggle._idle:
        kaggle._idle.pop().close()
