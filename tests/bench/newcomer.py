"""Row 20: a newcomer's way from `git clone` to the first board."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.report import Figure, within
from tests.bench.world import World

ROOT = Path(__file__).resolve().parents[2]
_LEFT_OUT = (
    "DATABASE_URL",
    "VIRTUAL_ENV",
    "PYTHONPATH",
    "MAKEFLAGS",
    "MAKEOVERRIDES",
    "MAKELEVEL",
    "ARGS",
    "PGLEADERBOARD_HOME",
)
_PATIENCE = 600.0  # seconds
_INSERT = "INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('titanic')"
_WAIT = "SELECT outcome FROM kaggle.wait_for_sync('titanic')"


def newcomer(world: World) -> Iterator[Figure]:
    """The commands of the README's first screen, with an empty HOME and without a package cache.

    The quick run begins behind the installation.
    """
    with tempfile.TemporaryDirectory(prefix="pgleaderboard-newcomer-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        home.chmod(0o755)  # as root, PostgreSQL runs as another user and must pass through
        given = {name: text for name, text in os.environ.items() if name not in _LEFT_OUT}
        given |= {"HOME": folder, "PGLEADERBOARD_HOME": f"{folder}/data", "PIP_NO_CACHE_DIR": "1"}
        checkout, program = home / "pgleaderboard", [sys.executable, "-m", "pgleaderboard"]
        begun = time.perf_counter()
        if world.scale.quick:
            checkout, up = ROOT, [*program, "up"]
        else:
            subprocess.run(["git", "clone", "--quiet", str(ROOT), str(checkout)], check=True)  # noqa: S607
            program, up = [str(checkout / ".venv/bin/pgleaderboard")], ["make", "up"]
        said = home / "said"
        with said.open("w") as out, subprocess.Popen(
            up, cwd=checkout, env=given, stdout=out, stderr=out, start_new_session=True
        ) as running:  # fmt: skip
            try:
                _until(said, "worker ready", running)
                for statement in (_INSERT, _WAIT):
                    done = subprocess.run(
                        [*program, "psql", "-c", statement],
                        cwd=checkout,
                        env=given,
                        capture_output=True,
                        text=True,
                        check=True,
                    )
                took = time.perf_counter() - begun
                assert "changed" in done.stdout, done.stdout
            finally:
                os.killpg(running.pid, signal.SIGINT)
                running.wait(60)
    what = "up to the first board" if world.scale.quick else "git clone to the first board, no package cached"
    yield within(20, f"a newcomer's way: {what}", took, 90, "s")


def _until(said: Path, words: str, running: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _PATIENCE
    while words not in said.read_text():
        assert running.poll() is None, said.read_text()
        assert time.monotonic() < until, said.read_text()
        time.sleep(0.1)
