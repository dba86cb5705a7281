"""The steps of a reveal, over any two standings."""

from __future__ import annotations

from collections import namedtuple
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from pgleaderboard.reading.reveal import Reveal

Row = namedtuple("Row", "place kaggle_username display_name points competitions_entered last_submission_at")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def standing(rows: list[tuple[str, int, int, int]]) -> list[Row]:
    """As kaggle.event_standings ranks them: points, competitions entered, the earlier last submission; then names."""
    keys = {name: (-points, -entered, minutes) for name, points, entered, minutes in rows}
    return sorted(
        (
            Row(
                1 + sum(keys[other] < keys[name] for other in keys),
                name,
                None,
                Decimal(points),
                entered,
                NOON + timedelta(minutes=minutes),
            )
            for name, points, entered, minutes in rows
        ),
        key=lambda row: (row.place, row.kaggle_username.lower()),
    )


STANDINGS = st.lists(
    st.tuples(st.sampled_from("aBcDeFgH"), st.integers(0, 3), st.integers(0, 2), st.integers(0, 2)),
    unique_by=lambda row: row[0],
).map(standing)


@settings(deadline=None)
@given(frozen=STANDINGS, unfrozen=STANDINGS)
def test_one_person_a_step_until_it_is_the_unfrozen_standing(frozen: list[Row], unfrozen: list[Row]) -> None:
    """Before the first step it is the frozen one; each step changes what one person is shown with, and no other."""
    reveal = Reveal(frozen, unfrozen)
    steps = list(reveal.left([]))
    assert [p.kaggle_username for p in reveal.after([])] == [row.kaggle_username for row in frozen]
    assert [p.place for p in reveal.after([])] == [row.place for row in frozen]
    late = len(steps) - len(frozen)
    assert steps[late:] == [row.kaggle_username.lower() for row in reversed(frozen)]
    final = {row.kaggle_username.lower(): row.points for row in unfrozen}
    for position, who in enumerate(steps):
        assert reveal.left(steps[:position])[0] == who
        before, after = (
            {p.kaggle_username.lower(): (p.points, p.is_revealed) for p in reveal.after(steps[:at])}
            for at in (position, position + 1)
        )
        assert {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} <= {who}
        assert after.get(who) == ((final[who], True) if who in final else None)
    end = reveal.after(steps)
    assert [(p.place, p.kaggle_username) for p in end] == [(row.place, row.kaggle_username) for row in unfrozen]


@settings(deadline=None)
@given(frozen=STANDINGS, unfrozen=STANDINGS, later=STANDINGS, position=st.integers(0, 8))
def test_a_sync_reveals_nobody(frozen: list[Row], unfrozen: list[Row], later: list[Row], position: int) -> None:
    """Whatever comes during the reveal: those who were revealed stay so, and nobody else is."""
    so_far = list(Reveal(frozen, unfrozen).left([]))[:position]
    after = Reveal(frozen, later)
    ranked = {row.kaggle_username.lower() for row in later}
    assert {p.kaggle_username.lower() for p in after.after(so_far) if p.is_revealed} == set(so_far) & ranked
    assert not set(after.left(so_far)) & set(so_far)
