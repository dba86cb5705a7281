"""The short run: each fault at least once, against real processes."""

from __future__ import annotations

import os
from pathlib import Path

from tests.chaos.faults import FAULTS, ONLY_IN_FULL
from tests.chaos.run import run
from tests.chaos.scale import Scale
from tests.chaos.tally import Tally, complaints

BIN = os.environ.get("PGLEADERBOARD_POSTGRES_BIN")  # read here: the tests themselves run without any setting


def test_nothing_is_wrong_lost_or_stuck_after_any_fault() -> None:
    """Whatever is killed, frozen, cut off or answered wrongly, every board ends up right and every edit is followed."""
    # Patient, since a busy machine is no fault; `make chaos` holds the bounds.
    scale = Scale(short=True, patience=4, postgres_bin=Path(BIN) if BIN else None)

    tallies = run(scale, seed=1, worlds=3)

    assert complaints(tallies) == []
    assert [tally.fault for tally in tallies if not tally.is_clean] == []
    assert {tally.fault for tally in tallies} == {fault.name for fault in FAULTS} - ONLY_IN_FULL
    without_boards = {"wrong password", "schema newer than the program"}  # there the program does not come to work
    assert {tally.fault for tally in tallies if tally.boards == 0} == without_boards


def test_a_fault_that_leaves_something_is_told() -> None:
    """The table is not clean by itself: what was never tried, wrong, lost, stuck or late shows."""
    spoilt = [
        Tally("never tried", 1),
        Tally("wrong", 1, tries=1, boards=2, right=1),
        Tally("lost", 1, tries=1, lost=1),
        Tally("stuck", 1, tries=1, stuck=1),
        Tally("late", 1, tries=1),
    ]
    spoilt[-1].recovered(1.1)
    fine = Tally("fine", 1, tries=1, boards=2, right=2)
    fine.recovered(0.9)

    assert [tally.fault for tally in (*spoilt, fine) if tally.is_clean] == ["fine"]
