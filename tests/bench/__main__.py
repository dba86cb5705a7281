"""`python -m tests.bench`: measures and prints the table."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from rich.console import Console

from tests.bench import report
from tests.bench.run import run
from tests.bench.world import Scale

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Run from the command line. Exit status 1 if something could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="WORD", help="rows with this number, or with it in their name"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, to try it out; the figures mean nothing")
    parser.add_argument("--json", type=Path, default=ROOT / "bench.json", metavar="FILE", help="where all samples go")
    parser.add_argument("--write", action="store_true", help="also put the table into docs/performance.md")
    given = parser.parse_args()
    out = Console(highlight=False, width=max(150, Console().width))
    begun = time.monotonic()

    def tell(name: str, seconds: float) -> None:
        Console(stderr=True, highlight=False).print(f"{seconds:6.1f} s  {name}")

    measured = run(Scale(given.quick), only=given.only, tell=tell)
    out.print(report.table(measured.figures))
    for line in measured.failures:
        out.print(line, style="red", soft_wrap=True)
    out.print(f"{measured.about['postgresql']}; {time.monotonic() - begun:.0f} s", soft_wrap=True)
    report.write_json(given.json, measured.figures, measured.about)
    if given.write:
        text = report.markdown(measured.figures, measured.about, given.quick)
        report.write_markdown(ROOT / "docs" / "performance.md", text)
    return 1 if measured.failures else 0


if __name__ == "__main__":
    sys.exit(main())
