"""Real downloads, served unchanged from a folder, which is read again at each request."""

from __future__ import annotations

import io
import re
import threading
import zipfile
from pathlib import Path
from typing import Final

# Greedy: the slug ends before the last such word.
_FILE: Final = re.compile(
    r"(?P<slug>.+)(?:-(?:public|private)leaderboard|_(?:public|private)_leaderboard)(?P<rest>.*)\.zip",
    re.IGNORECASE,
)
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d[:_]\d\d[:_]\d\d")


class FolderBoards:
    """The boards of a folder: the newest one of a slug or, in a replay, the next one with each download."""

    def __init__(self, folder: Path, *, replay: bool = False) -> None:
        self._folder = folder
        self._replay = replay
        self._lock = threading.Lock()
        self._served: dict[str, tuple[str, str]] = {}

    def slugs(self) -> list[str]:
        """All slugs in the folder."""
        slugs = {match["slug"].lower(): match["slug"] for match, _ in self._files()}
        return sorted(slugs.values())

    def team_count(self, slug: str, step: int) -> int | None:
        """The rows of the file that was served last, or else is next. 0 if it cannot be read."""
        with self._lock:
            path = self._choose(slug, advance=False)
        if path is None:
            return None
        try:
            with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
                return max(0, archive.read(archive.namelist()[0]).count(b"\n") - 1)
        except (OSError, zipfile.BadZipFile, IndexError, ValueError):
            return 0

    def download(self, slug: str, step: int) -> bytes | None:
        """The bytes of the file."""
        with self._lock:
            path = self._choose(slug, advance=True)
        return None if path is None else path.read_bytes()

    def _choose(self, slug: str, *, advance: bool) -> Path | None:
        files = sorted((_age(m), path) for m, path in self._files() if m["slug"].lower() == slug.lower())
        if not files:
            return None
        if not self._replay:
            return files[-1][1]
        served = self._served.get(slug.lower())
        if not advance and served is not None:
            earlier = [path for age, path in files if age <= served]
            return (earlier or [files[0][1]])[-1]
        # By age, not by number, because files may be added and removed.
        age, path = next((file for file in files if served is None or file[0] > served), files[-1])
        if advance:
            self._served[slug.lower()] = age
        return path

    def _files(self) -> list[tuple[re.Match[str], Path]]:
        if not self._folder.is_dir():
            return []
        return [(match, path) for path in self._folder.iterdir() if (match := _FILE.fullmatch(path.name))]


def _age(match: re.Match[str]) -> tuple[str, str]:
    # A name without a time says nothing about its age: it counts as the oldest.
    time = _TIME.search(match["rest"])
    return (time[0].replace(":", "_") if time else "", match.string)
