"""Trying mutants, several at a time, each slot with the next one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.mutants.covering import Cover
from tests.mutants.sites import Mutant
from tests.mutants.slot import LIMIT, Result, Slot

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant."""

    mutant: Mutant
    failure: tuple[str, str] | None  # the test that noticed it, and how; None for a survivor
    tests: str  # how many were to be run
    seconds: float


class Run:
    """Draws mutants until there are enough that the server takes."""

    def __init__(self, cover: Cover, drawn: list[Mutant], wanted: int, budget: float) -> None:
        self._cover, self._drawn, self._budget = cover, iter(drawn), budget
        self._wanted = wanted
        self._lock = threading.Lock()
        self.is_stopped = False
        self.verdicts: list[Verdict] = []

    def note(self, slots: list[Slot], to_note: dict[str, list[str]], tell: Tell) -> None:
        """Note what the tests call, a file at a time."""
        files: Iterator[tuple[str, list[str]]] = iter(sorted(to_note.items(), key=lambda item: -len(item[1])))

        def work(slot: Slot) -> None:
            while not self.is_stopped:
                with self._lock:
                    file, tests = next(files, ("", []))
                if not file:
                    return
                self._cover.note(slot, file, tests)
                failing = [name for name in tests if self._cover.tests[name].outcome == "failed"]
                tell(f"noted {file}" + (f"; {len(failing)} fail, the first: {failing[0]}" if failing else ""))

        self._in_threads(work, slots)

    def try_all(self, slots: list[Slot], tell: Callable[[Verdict], None]) -> None:
        """Try mutants in all slots."""

        def work(slot: Slot) -> None:
            while not self.is_stopped and (mutant := self._next(slot)):
                verdict = self._tried(slot, mutant)
                with self._lock:
                    self.verdicts.append(verdict)
                    if verdict.failure:
                        self._cover.noticed[mutant.statement.name][verdict.failure[0]] += 1
                    tell(verdict)

        self._in_threads(work, slots)

    def _next(self, slot: Slot) -> Mutant | None:
        """The next one that is SQL."""
        while True:
            with self._lock:
                mutant = next(self._drawn, None) if self._wanted else None
            if mutant is None or slot.refusal(mutant.sql) is None:
                break
        with self._lock:
            self._wanted -= 1
            return mutant if self._wanted >= 0 else None

    def _tried(self, slot: Slot, mutant: Mutant) -> Verdict:
        covering = self._cover.covering(mutant.statement, slot.tests)
        tests = self._cover.within(covering, self._budget)
        begun = time.monotonic()
        result = slot.try_mutant(mutant.sql, tests, 3 * self._budget + LIMIT) if tests else Result()
        return Verdict(mutant, result.failure, f"{len(tests)} of {len(covering)} tests", time.monotonic() - begun)

    def _in_threads(self, work: Callable[[Slot], None], slots: list[Slot]) -> None:
        errors: list[BaseException] = []

        def guarded(slot: Slot) -> None:
            try:
                work(slot)
            except BaseException as error:  # noqa: BLE001 - raised again below, in the thread that waits
                errors.append(error)
                self.is_stopped = True

        threads = [threading.Thread(target=guarded, args=(each,)) for each in slots]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except BaseException:
            self.is_stopped = True  # a mutant that is being tried is tried to its end
            raise
        if errors:
            raise errors[0]
