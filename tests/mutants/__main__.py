"""`python -m tests.mutants`: changes one thing at a time in sql/, and shows which changes no test notices."""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from tests.mutants.covering import Cover
from tests.mutants.explained import entry, explained
from tests.mutants.run import Run, Verdict
from tests.mutants.sites import Mutant, mutants, statements
from tests.mutants.slot import LIMIT, TESTS, slot


def main() -> int:
    """Run from the command line. Exit status 1 if a mutant survives that is not explained."""
    given = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    drawn = _draw(given.file, given.at, given.seed)
    wanted = len(drawn) if given.at else given.n
    print(f"{wanted} of {len(drawn)} changes, seed {given.seed}", flush=True)
    cover, reasons, begun = Cover.read(), explained(), time.monotonic()
    run = Run(cover, drawn, wanted, given.seconds)
    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        slots = list(pool.map(stack.enter_context, [slot(statements(), given.tests) for _ in range(given.slots)]))
        try:
            run.note(
                slots, cover.to_note(slots[0].tests, is_stale=given.stale), tell=lambda line: print(line, flush=True)
            )
            run.try_all(slots, tell=lambda verdict: print(_line(verdict, reasons), flush=True))
        finally:
            cover.write()
    return _summary(run.verdicts, reasons, time.monotonic() - begun)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--n", type=int, default=60, help="how many mutants (%(default)s)")
    parser.add_argument("--seed", type=int, default=random.randrange(10000), help="which ones")
    parser.add_argument("--file", default="", metavar="PREFIX", help="only of these files, as in sql/060")
    parser.add_argument("--at", default="", metavar="FILE:LINE", help="all mutants of this line")
    parser.add_argument("--seconds", type=float, default=LIMIT, help="of tests for a mutant, at most (%(default)s)")
    parser.add_argument("--slots", type=int, default=2, help="mutants at a time (%(default)s)")
    parser.add_argument("--tests", nargs="+", default=TESTS, metavar="PATH", help="those that count (all)")
    parser.add_argument("--stale", action="store_true", help="rely on what is noted, also with another sql/")
    return parser.parse_args()


def _draw(prefix: str, at: str, seed: int) -> list[Mutant]:
    """All mutants that may be tried, in a random order; of a line, in theirs."""
    drawn = mutants(prefix=(at or prefix).removeprefix("sql/").partition(":")[0])
    if at:
        return [mutant for mutant in drawn if mutant.line == int(at.rpartition(":")[2])]
    random.Random(seed).shuffle(drawn)
    return drawn


def _line(verdict: Verdict, reasons: dict[str, str]) -> str:
    mutant, (before, after) = verdict.mutant, verdict.mutant.lines
    if verdict.failure:
        fate = "noticed by {}: {}".format(*verdict.failure)
    elif entry(mutant) in reasons:
        fate = "survives, explained"
    else:
        fate = f"SURVIVES {verdict.tests}"
    return f"{mutant.place} {mutant.statement.name}, {verdict.seconds:.1f} s: {fate}\n  - {before}\n  + {after}"


def _summary(verdicts: list[Verdict], reasons: dict[str, str], seconds: float) -> int:
    survivors = [verdict.mutant for verdict in verdicts if not verdict.failure]
    unexplained = [mutant for mutant in survivors if entry(mutant) not in reasons]
    if unexplained:
        print(
            "\nSurvivors: write the test that a user would miss, delete what is not needed, or explain it in mutants.md"
        )
    for mutant in sorted(unexplained, key=lambda mutant: (mutant.statement.file, mutant.line)):
        print(entry(mutant))
    noticed = len(verdicts) - len(survivors)
    share = 100 * noticed / max(1, len(verdicts))
    print(
        f"\n{noticed} of {len(verdicts)} noticed ({share:.0f} %), {len(survivors) - len(unexplained)} more explained; "
        f"{seconds:.0f} s, {seconds / max(1, len(verdicts)):.0f} s a mutant"
    )
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
