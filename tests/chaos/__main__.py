"""`python -m tests.chaos`: runs the faults and prints the table. Exit status 1 if anything was wrong."""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from pathlib import Path

from rich.console import Console

from tests.chaos.run import is_clean, run
from tests.chaos.scale import Scale
from tests.chaos.tally import Tally, complaints, table


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--short", action="store_true", help="each fault once or so")
    parser.add_argument("--seed", type=int, default=None, help="of all that is random; printed")
    parser.add_argument("--only", default="", metavar="WORDS", help="the faults whose names contain them")
    parser.add_argument("--worlds", type=int, default=2, help="how many run at once, each with a server of its own")
    parser.add_argument("--patience", type=float, default=1.0, help="what the bounds are multiplied by")
    parser.add_argument(
        "--postgres-bin",
        type=Path,
        default=os.environ.get("PGLEADERBOARD_POSTGRES_BIN"),
        help="another PostgreSQL's bin folder",
    )
    given = parser.parse_args()
    seed = random.randrange(10**6) if given.seed is None else given.seed
    scale = Scale(given.short, given.patience, given.postgres_bin and Path(given.postgres_bin))
    out = Console(highlight=False, width=max(110, Console().width))
    out.print(f"seed {seed}")

    def report(tally: Tally, seconds: float) -> None:
        what = "clean" if tally.is_clean else f"[bold red]{len(tally.complaints)} complaints[/]"
        out.print(f"{seconds:6.1f} s  {tally.fault}: {what}")

    begun = time.monotonic()
    tallies = run(scale, seed=seed, worlds=given.worlds, only=given.only, report=report)
    out.print(table(tallies))
    for line in complaints(tallies):
        out.print(line, style="red", soft_wrap=True)
    out.print(f"seed {seed}, {sum(tally.tries for tally in tallies)} faults in {time.monotonic() - begun:.0f} s")
    return 0 if is_clean(tallies) else 1


if __name__ == "__main__":
    sys.exit(main())
