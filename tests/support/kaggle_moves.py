"""What Kaggle could do to a board, drawn by hypothesis."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Any

from hypothesis import strategies as st

from pgleaderboard.simulator.names import ODD_TEAM_NAMES
from tests.support.boards import Entry

_SMALL = st.integers(0, 50)
_NAMES = st.one_of(
    st.sampled_from(ODD_TEAM_NAMES),
    st.sampled_from(["", " ", '"', "NaN", "null", "\\N", "\\.", "é", "e\u0301", "\u202eabc", "a\u0001b", "[Deleted]"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), max_size=20),
)
_MEMBERS = st.lists(st.text("abcXYZ019", min_size=1, max_size=6), max_size=5, unique=True).map(tuple)
_SCORES = st.one_of(
    st.none(),
    st.decimals(-1000, 10**18, places=5).map(lambda score: score + 0),
    st.sampled_from([Decimal(s) for s in ("0", "0.0", "0.8", "0.80", "-0.5", "239426808406486000.00000")]),
)


@dataclass
class Kaggle:
    """What Kaggle could do to a board; each method is one kind of change."""

    entries: list[Entry] = field(default_factory=list)
    gone: list[Entry] = field(default_factory=list)
    kind: str = "public"
    line_end: str = "\n"
    next_id: int = 1

    def move(self, which: int, where: int) -> None:
        """One team climbs or falls."""
        if self.entries:
            entry = self.entries.pop(which % len(self.entries))
            self.entries.insert(where % (len(self.entries) + 1), entry)

    def join(self, where: int, how_many: int, name: str) -> None:
        """Newcomers beside one another."""
        for _ in range(1 + how_many % 6):
            where %= len(self.entries) + 1
            self.entries.insert(where, Entry(self.next_id, name, members=(f"user{self.next_id}",)))
            self.next_id += 1

    def join_second(self, how_many: int) -> None:
        """Newcomers, always at the same place."""
        for _ in range(1 + how_many):
            self.join(1, 0, "second")

    def leave(self, which: int, how_many: int) -> None:
        """Teams vanish."""
        for _ in range(1 + how_many % 4):
            if self.entries:
                self.gone.append(self.entries.pop(which % len(self.entries)))

    def come_back(self, which: int, where: int) -> None:
        """A team that vanished is there again."""
        if self.gone:
            self.entries.insert(where % (len(self.entries) + 1), self.gone.pop(which % len(self.gone)))

    def change(self, which: int, **facts: Any) -> None:
        """Facts of one team change, its place does not."""
        if self.entries:
            at = which % len(self.entries)
            self.entries[at] = self.entries[at].but(**facts)

    def tie(self, which: int) -> None:
        """Two neighbours have one score, and their order is turned round."""
        if len(self.entries) > 1:
            at = which % (len(self.entries) - 1)
            first, second = self.entries[at : at + 2]
            self.entries[at : at + 2] = [second.but(score=first.score), first]

    def rescore(self, seed: int) -> None:
        """Every score and every place is another."""
        Random(seed).shuffle(self.entries)
        self.entries = [
            entry.but(score=Decimal(len(self.entries) - n).scaleb(-2)) for n, entry in enumerate(self.entries)
        ]

    def turn(self) -> None:
        """Lower is better now."""
        self.entries.reverse()

    def decimals(self, how_many: int) -> None:
        """Scores are shown with more or fewer decimals: 0.8 and 0.80."""
        step = Decimal(1).scaleb(-(how_many % 6))
        # + 0: numeric knows no negative zero.
        self.entries = [e if e.score is None else e.but(score=e.score.quantize(step) + 0) for e in self.entries]

    def benchmark(self, where: int) -> None:
        """A benchmark appears."""
        self.entries.insert(
            where % (len(self.entries) + 1), Entry(self.next_id, "Host Baseline", members=(), is_benchmark=True)
        )
        self.next_id += 1

    def toggle_benchmark(self, which: int) -> None:
        """A team becomes a benchmark, or the other way round."""
        if self.entries:
            self.change(which, is_benchmark=not self.entries[which % len(self.entries)].is_benchmark)

    def empty(self) -> None:
        """Nobody is left."""
        self.gone += self.entries
        self.entries = []

    def strangers(self, how_many: int) -> None:
        """Nobody of before is left, others are there."""
        self.empty()
        self.join(0, how_many, "a stranger")

    def close(self) -> None:
        """The private board takes the place of the public one."""
        self.kind = "private"

    def reopen(self) -> None:
        """The public board is served again."""
        self.kind = "public"

    def write_otherwise(self) -> None:
        """The same board in other bytes."""
        self.line_end = "\r\n" if self.line_end == "\n" else "\n"

    def nothing(self) -> None:
        """The same bytes."""


def _of(name: str, *arguments: Any, **facts: Any) -> st.SearchStrategy[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    return st.tuples(st.just(name), st.tuples(*arguments), st.fixed_dictionaries(facts))


_CHANGES = st.one_of(
    _of("move", _SMALL, _SMALL),
    _of("join", _SMALL, _SMALL, _NAMES),
    _of("join_second", st.integers(0, 60)),
    _of("leave", _SMALL, _SMALL),
    _of("come_back", _SMALL, _SMALL),
    _of("change", _SMALL, team_name=_NAMES),
    _of("change", _SMALL, members=_MEMBERS),
    _of("change", _SMALL, score=_SCORES),
    _of(
        "change",
        _SMALL,
        submission_count=st.one_of(st.none(), st.integers(0, 2**40)),
        last_submission_at=st.one_of(
            st.none(), st.datetimes(datetime(2010, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))
        ).map(lambda moment: moment and moment.replace(microsecond=0)),
    ),
    _of("tie", _SMALL),
    _of("rescore", _SMALL),
    _of("turn"),
    _of("decimals", _SMALL),
    _of("benchmark", _SMALL),
    _of("toggle_benchmark", _SMALL),
    _of("empty"),
    _of("strangers", _SMALL),
    _of("close"),
    _of("reopen"),
    _of("write_otherwise"),
    _of("nothing"),
)
# Several changes between two syncs, several syncs.
SEQUENCES_OF_CHANGES = st.lists(st.lists(_CHANGES, min_size=1, max_size=4), min_size=1, max_size=10)
