"""`python -m tests.scale`: measures what one server holds, prints it, and what follows from it."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

from tests.bench import report
from tests.bench.world import Scale
from tests.scale.follows import follows, measured, text
from tests.scale.measure import Measured, measure

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "scale.md"
BEGIN, END = "<!-- make scale: begin -->", "<!-- make scale: end -->"


def printed(found: Measured, server: str, seconds: float) -> str:
    """All of it, as it is printed and as it stands in docs/scale.md."""
    about = report.machine(server)
    cores = int(about["cores"])
    return "\n".join((
        f"Measured {about['date']} in {seconds:.0f} s on {cores} cores with {about['memory']}, {about['system']},",
        f"Python {about['python']}, {about['postgresql']}.",
        "Workers, server, simulator, page and viewers share the cores; “others” is what else ran on the machine.",
        "", text(list(measured(found))),
        "", "What follows from it:", "", text(list(follows(found, cores))),
    ))  # fmt: skip


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.scale", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers, to try it out; they mean nothing")
    parser.add_argument("--write", action="store_true", help="also put it into docs/scale.md")
    parser.add_argument("--json", type=Path, default=ROOT / "scale.json", metavar="FILE", help="where all samples go")
    given = parser.parse_args()
    begun, load = time.monotonic(), os.getloadavg()[0]
    found, server = measure(Scale(given.quick))
    given.json.write_text(json.dumps(asdict(found), indent=1) + "\n")
    said = printed(found, server, time.monotonic() - begun)
    print(said)
    print("\nStatements of the steady time, those first that the server worked longest for:\n", file=sys.stderr)
    for each in found.statements[:12]:
        print(
            f"{each.share:5.1f} %  {each.calls:7,} × {each.mean:8.2f} ms (most {each.slowest:8.1f})  {each.text[:140]}",
            file=sys.stderr,
        )
    print(f"load average {load:.1f} before, {os.getloadavg()[0]:.1f} after", file=sys.stderr)
    if given.write and not isinstance(found.page, str):
        report.write_markdown(PAGE, f"```text\n{said}\n```", (BEGIN, END))
    return 1 if isinstance(found.page, str) else 0


if __name__ == "__main__":
    sys.exit(main())
