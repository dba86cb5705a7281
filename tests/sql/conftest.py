"""Fixtures that several modules share."""

from __future__ import annotations

import pytest

from tests.support.aliases import Connect, Connection
from tests.support.hands import IMPATIENT, Hands


@pytest.fixture
def hands(connect: Connect) -> Hands:
    """The worker, played by hand."""
    return Hands(connect())


@pytest.fixture
def editor(connect: Connect) -> Connection:
    """A user's session, not in autocommit, that waits for nobody."""
    made = connect()
    made.execute(IMPATIENT)
    made.commit()
    return made
