"""Where the SQL and the migrations lie: inside the package of an installed wheel, beside it in a checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def _beside(name: str) -> Path:
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parents[1] / name


SQL = _beside("sql")
MIGRATIONS = _beside("migrations")
