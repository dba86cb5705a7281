"""Real downloads, served unchanged from a folder, which is read again at each request."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from pgleaderboard.simulator.boards import SimulatedBoards

# Greedy: the slug ends before the last such word.
_FILE: Final = re.compile(
    r"(?P<slug>.+)(?:-(?:public|private)leaderboard|_(?:public|private)_leaderboard)(?P<rest>.*)\.zip",
    re.IGNORECASE,
)
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d[:_]\d\d[:_]\d\d")


class FolderBoards(SimulatedBoards):
    """The boards of a folder: the newest one of a slug or, in a replay, the next one with each download."""

    def __init__(self, folder: Path, *, replay: bool = False) -> None:
        super().__init__()
        self._folder = folder
        self._replay = replay
        self._served: dict[str, tuple[str, str]] = {}

    def download(self, slug: str, step: int) -> bytes | None:  # type: ignore[override]
        """The bytes of the file."""
        files = sorted(
            (_age(match), path)
            for path in self._folder.iterdir()
            if (match := _FILE.fullmatch(path.name)) and match["slug"].lower() == slug.lower()
        )
        if not files:
            return None
        age, path = files[-1]
        if self._replay:
            with self._lock:
                # By age, not by number, because files may be added and removed.
                served = self._served.get(slug.lower())
                age, path = next((file for file in files if served is None or file[0] > served), files[-1])
                self._served[slug.lower()] = age
        return path.read_bytes()


def _age(match: re.Match[str]) -> tuple[str, str]:
    # A name without a time says nothing about its age: it counts as the oldest.
    time = _TIME.search(match["rest"])
    return (time[0].replace(":", "_") if time else "", match.string)
