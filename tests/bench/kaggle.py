"""`python -m tests.bench.kaggle FOLDER`: the simulator's HTTP in front of the ZIPs of a folder.

NAME.zip is served for the slug NAME and for every NAME-1, NAME-2, …: a thousand competitions with one board.
"""

from __future__ import annotations

import re
import sys
import threading
from pathlib import Path

from pgleaderboard.simulator.boards import SimulatedBoards
from tests.support.faults import Simulator


class Folder(SimulatedBoards):
    """The ZIPs of a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._read: dict[Path, tuple[int, bytes]] = {}

    def download(self, slug: str, step: int) -> bytes | None:  # type: ignore[override]
        """The ZIP, read once."""
        file = self._file(slug)
        if file is None:
            return None
        changed = file.stat().st_mtime_ns
        if self._read.get(file, (0, b""))[0] != changed:
            self._read[file] = (changed, file.read_bytes())
        return self._read[file][1]

    def _file(self, slug: str) -> Path | None:
        for name in (slug, re.sub(r"-\d+$", "", slug)):
            if (file := self._folder / f"{name}.zip").exists():
                return file
        return None


def main() -> None:
    """Serve until killed."""
    with Simulator() as simulator:
        simulator.boards = Folder(Path(sys.argv[1]))
        print(f"serving {simulator.url}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
