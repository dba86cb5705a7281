"""Which test calls which function and reads which view: noted once, kept in a file until sql/ or the test changes."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.mutants.sites import ROOT, SQL, Statement
from tests.mutants.slot import Result, Slot

KEPT = ROOT / ".mutants" / "noted.json"
_EVERY_VIEW = "*"  # in the calls of a test in which views and inlined functions could not be counted


@dataclass
class Test:
    """What is known of a test."""

    seconds: float
    calls: list[str]
    outcome: str  # passed, failed or skipped


@dataclass
class Cover:
    """What is known of all tests, and which of them noticed mutants of a function before."""

    digests: dict[str, str] = field(default_factory=dict)  # of the files whose tests are noted
    tests: dict[str, Test] = field(default_factory=dict)
    noticed: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    @classmethod
    def read(cls, path: Path = KEPT) -> Cover:
        """As it was kept; empty without a file."""
        if not path.exists():
            return cls()
        kept = json.loads(path.read_text())
        noticed = {name: Counter(tests) for name, tests in kept["noticed"].items()}
        tests = {name: Test(**test) for name, test in kept["tests"].items()}
        return cls(kept["digests"], tests, defaultdict(Counter, noticed))

    def write(self, path: Path = KEPT) -> None:
        """Keep it."""
        path.parent.mkdir(exist_ok=True)
        tests = {name: asdict(test) for name, test in self.tests.items()}
        path.write_text(json.dumps({"digests": self.digests, "tests": tests, "noticed": self.noticed}))

    def to_note(self, names: Iterable[str], *, is_stale: bool) -> dict[str, list[str]]:
        """The tests that must be noted (anew), by file. is_stale: only those of which nothing is known."""
        files: dict[str, list[str]] = defaultdict(list)
        for name in names:
            files[name.partition("::")[0]].append(name)
        return {
            file: tests
            for file, tests in files.items()
            if not all(test in self.tests for test in tests)
            or not (is_stale or self.digests.get(file) == digest(file))
            or not (is_stale or all(self.tests[test].outcome != "failed" for test in tests))
        }

    def note(self, slot: Slot, file: str, tests: list[str]) -> None:
        """Run the tests of a file, those that fail again without counting views, and note what they call."""
        self.tests |= _noted(slot.note(tests, "noted"), tests)
        again = [name for name in tests if self.tests[name].outcome == "failed"]
        if again:
            self.tests |= _noted(slot.note(again, "original"), again, [_EVERY_VIEW])
        self.digests[file] = digest(file)

    def covering(self, statement: Statement, among: Iterable[str]) -> list[str]:
        """The tests to run on a mutant: the likeliest first, then the quickest one of each file, and so on."""
        known = {name: self.tests[name] for name in among if self.tests[name].outcome == "passed"}
        is_counted = statement.kind != "VIEW" and "SET search_path" in statement.text
        calls = {statement.name} if is_counted else {statement.name, _EVERY_VIEW}
        before = self.noticed.get(statement.name, Counter())
        found = sorted(
            (name for name, test in known.items() if calls & set(test.calls)), key=lambda name: known[name].seconds
        )
        of_file: Counter[str] = Counter()
        place: dict[str, int] = {}  # among those of its file
        for name in found:
            file = name.partition("::")[0]
            place[name] = of_file[file]
            of_file[file] += 1
        return sorted(found, key=lambda name: (-before[name], place[name], known[name].seconds))

    def within(self, tests: list[str], seconds: float) -> list[str]:
        """The first ones, which take so long together; one at least."""
        spent = itertools.accumulate(self.tests[name].seconds for name in tests)
        return [
            name
            for number, (name, until) in enumerate(zip(tests, spent, strict=True))
            if until <= seconds or not number
        ]


def _noted(result: Result, names: list[str], more: Iterable[str] = ()) -> dict[str, Test]:
    calls: dict[str, set[str]] = defaultdict(lambda: set(more))
    seconds: dict[str, float] = {}
    outcomes: dict[str, str] = {}
    for note in result.notes:
        if "ended" in note:
            seconds[note["ended"]] = note["seconds"]
        for name in note.get("tests", ()):
            calls[name].update(note["calls"])
        if "outcome" in note:
            outcomes[note["test"]] = note["outcome"]
    return {
        name: Test(seconds[name], sorted(calls[name]), outcomes.get(name, "passed"))
        if name in seconds
        else Test(0, [], "failed")  # it hung, or did not begin
        for name in names
    }


def digest(file: str) -> str:
    """A number for all that decides what the tests of a file call."""
    shared = [*SQL.glob("*.sql"), *(ROOT / "migrations").glob("*.sql"), *(ROOT / "tests").glob("**/conftest.py")]
    hashed = hashlib.sha256()
    for path in [*sorted([*shared, *(ROOT / "tests" / "support").glob("*.py")]), ROOT / file]:
        hashed.update(path.read_bytes())
    return hashed.hexdigest()
