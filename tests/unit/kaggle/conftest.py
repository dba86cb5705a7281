"""Fixtures of the tests of pgleaderboard.kaggle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kaggle import close
from tests.support.kaggle_clients import made


@pytest.fixture(autouse=True)
def _close_clients() -> Iterator[None]:
    yield
    while made:
        close(made.pop())


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder, which is also where the program runs."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path
