"""How much of everything is tried."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Scale:
    """How much of it: a short run tries each fault once or so. patience: what every bound is multiplied by."""

    short: bool = False
    patience: float = 1.0
    postgres_bin: Path | None = None

    def of(self, in_full: int, in_short: int = 1) -> int:
        """How many times."""
        return in_short if self.short else in_full
