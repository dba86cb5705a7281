"""That it runs, and that what follows follows; no time is looked at."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tests.bench.world import Scale
from tests.scale.__main__ import printed
from tests.scale.follows import follows, measured
from tests.scale.measure import Measured, Watched, measure


@pytest.fixture(scope="module")
def quick() -> Measured:
    """A quick run."""
    return measure(Scale(quick=True))[0]


def test_everything_is_synced_and_every_number_is_printed(quick: Measured) -> None:
    """A quick run syncs the boards, each competition in its time, some with changes; the page's viewers see one."""
    size = quick.size
    assert size.boards <= quick.first.syncs == quick.first.changed <= size.competitions
    assert 0 < quick.steady.changed < quick.steady.syncs
    assert set(quick.steady.cores) == {"server", "simulator", "workers", "others"}
    assert isinstance(quick.page, Watched), quick.page
    assert set(quick.page.used.cores) == {"server", "simulator", "workers", "page", "viewers", "others"}
    assert quick.steady.wal > 0
    assert len(quick.page.shown) == size.news

    said = printed(quick, "a server", 1.0)

    for line in (*measured(quick), *follows(quick, 2)):
        assert re.search(rf"^{re.escape(line.what)} .*{re.escape(line.value)}", said, re.MULTILINE) or not line.value
    assert max(map(len, said.splitlines())) <= 160


def test_what_follows_is_computed_from_what_was_measured(quick: Measured) -> None:
    """Twice the WAL in the same time is twice the WAL a day; the budget is Kaggle's, whatever was measured."""
    twice = replace(quick, steady=replace(quick.steady, wal=10**9 * quick.steady.syncs))
    lines = {line.what.strip(): line for line in follows(twice, 2)}

    assert lines["WAL"].how.startswith("1,000,000.00 kB × 33.3") or quick.size.competitions != 10_000
    assert lines["What one credential allows, every five minutes"].value == "150 competitions"
    assert lines["30,000 competitions with one: a sync every"].value == "16.7 h"
    assert [line.value for line in follows(quick, 2) if "credentials for five minutes" in line.what][-1] == "200"
