"""psql as a reader of the docs runs it, and what it prints."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from pgleaderboard.database import cluster


def printed(url: str, script: str, folder: Path | None = None) -> str:
    """What psql prints for a script (SQL and its own commands), trailing spaces taken off.

    folder: where the files of \\copy are. Times are shown in UTC. An error is printed like a result.
    """
    run = subprocess.run(
        [cluster.psql(), url, "-X", "-P", "pager=off"],
        input=script,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env=os.environ | {"PGTZ": "UTC", "PGCLIENTENCODING": "UTF8"},
        encoding="utf-8",
        check=False,
    )
    return "".join(line.rstrip() + "\n" for line in run.stdout.removesuffix("\n").split("\n"))
