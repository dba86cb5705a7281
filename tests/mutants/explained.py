"""tests/mutants.md: the mutants that nobody could notice, and why."""

from __future__ import annotations

import re
from pathlib import Path

from tests.mutants.sites import ROOT, Mutant

PAGE = ROOT / "tests" / "mutants.md"
_ENTRY = re.compile(r"^- `(?P<name>[^`]+)`: `(?P<before>[^`]*)` → `(?P<after>[^`]*)`\. (?P<why>\S.*)", re.MULTILINE)


def entry(mutant: Mutant) -> str:
    """The beginning of its line on the page."""
    before, after = mutant.lines
    return f"- `{mutant.statement.name}`: `{before}` → `{after}`."


def explained(page: Path = PAGE) -> dict[str, str]:
    """Entries with their reasons. A line that is changed in sql/ has lost its entry, and is looked at anew."""
    return {match[0].removesuffix(f" {match['why']}"): match["why"] for match in _ENTRY.finditer(page.read_text())}
