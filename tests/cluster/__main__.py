"""`python -m tests.cluster`: runs the faults and prints the table. Exit status 1 if a row breaks its bounds."""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import time
from collections.abc import Sequence

from rich.console import Console

from tests.cluster import tally
from tests.cluster.faults import FAULTS, SHORT
from tests.cluster.needs import missing
from tests.cluster.run import URLS, run
from tests.cluster.site import HOSTS

REPLICATIONS = ("asynchronous", "synchronous")


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__, epilog=tally.__doc__)
    parser.add_argument("--short", action="store_true", help="a switchover and a SIGKILL, asynchronous")
    parser.add_argument("--only", default="", metavar="WORDS", help="the faults whose names contain them")
    parser.add_argument("--replication", choices=REPLICATIONS, help="this kind only")
    parser.add_argument("--url", action="append", choices=HOSTS, help="this kind; may be repeated")
    parser.add_argument("--competitions", type=int, default=200, help="in each database")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON instead of the table")
    parser.add_argument("--seed", type=int, default=None, help="of all that is random; printed")
    given = parser.parse_args()
    if lacking := missing():
        print(f"make cluster needs {lacking}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    seed = random.randrange(10**6) if given.seed is None else given.seed
    faults = [each for each in FAULTS if given.only in each.name and not (given.short and each.name not in SHORT)]
    replications = (given.replication,) if given.replication else REPLICATIONS[:1] if given.short else REPLICATIONS
    says = Console(highlight=False, stderr=True)

    def report(line: str, rows: Sequence[tally.Row]) -> None:
        says.print(line)
        for complaint in tally.complaints(rows):
            says.print(f"  {complaint}", style="red", soft_wrap=True)

    begun = time.monotonic()
    size, urls = given.competitions, given.url or URLS
    rows = run(faults, replications, seed=seed, competitions=size, urls=urls, report=report)
    if given.json:
        print(json.dumps([row.as_json for row in rows], indent=2))
    else:
        out = Console(highlight=False, width=max(176, Console().width))
        out.print(tally.table(rows))
    says.print(f"seed {seed}, {time.monotonic() - begun:.0f} s")
    return 1 if not rows or any(row.broken for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
