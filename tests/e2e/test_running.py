"""Running it for good: the Procfile under honcho, the unit file, and what the log says meanwhile."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.aliases import Connection
from tests.support.asking import OTHER, SLUG, insert, synced, value
from tests.support.faults import Simulator, Status

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(sys.executable).parent
HONCHO = (sys.executable, "-m", "honcho")


def environment(url: str, simulator: Simulator, **more: str) -> dict[str, str]:
    """The tests' environment with the venv's programs first, a database and a Kaggle."""
    given = {
        "DATABASE_URL": url,
        "PGLEADERBOARD_KAGGLE_URL": simulator.url,
        "PGLEADERBOARD_REQUESTS_PER_MINUTE": "0",
        "PYTHONUNBUFFERED": "1",
        "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
    }
    return os.environ | given | more


def read_until(lines: Any, text: str) -> list[str]:
    """Read lines until one has this text."""
    seen = []
    for line in lines:
        seen.append(line)
        if text in line:
            return seen
    raise AssertionError(f"{text!r} not in:\n{''.join(seen)}")


def test_the_procfile_under_honcho(empty_database: str, simulator: Simulator, tmp_path: Path) -> None:
    """The release runs, then two workers; SIGTERM ends both with 0 after they have said goodbye."""
    given = environment(empty_database, simulator)
    ours = (ROOT / "Procfile").read_text()
    release = re.search(r"^release: (.*)$", ours, re.MULTILINE)
    assert release is not None
    subprocess.run([*HONCHO, "run", *release[1].split()], check=True, env=given, cwd=ROOT, capture_output=True)
    # honcho starts a shell for each line, and would report how the shell ended.
    (tmp_path / "Procfile").write_text(ours.replace("worker: ", "worker: exec "))
    honcho = subprocess.Popen(
        [*HONCHO, "-f", str(tmp_path / "Procfile"), "-d", str(ROOT), "start", "-c", "worker=2", "worker"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=given,
        cwd=ROOT,
    )
    try:
        read_until(honcho.stdout, "worker ready")
        read_until(honcho.stdout, "worker ready")
        with Connection.connect(empty_database, autocommit=True) as db:
            insert(db)
            assert synced(db) == ("inserted", "changed")
            assert value(db, "SELECT count(*) FROM kaggle.workers") == 2
            honcho.send_signal(signal.SIGTERM)
            rest, _ = honcho.communicate(timeout=60)
            ended = sorted(re.findall(r"worker\.(\d) stopped \(rc=(-?\d+)\)", rest))
            assert (ended, rest.count("info    worker stopped")) == ([("1", "0"), ("2", "0")], 2)
            assert value(db, "SELECT count(*) FROM kaggle_internal.worker_processes") == 0
    finally:
        if honcho.poll() is None:
            honcho.kill()
            honcho.communicate()


def test_the_log_has_one_line_an_event(url: str, db: Connection, simulator: Simulator) -> None:
    """A sync that changed or failed is a line with what it did; one that found nothing new is none."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pgleaderboard", "work"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(url, simulator, PGLEADERBOARD_LOG_FORMAT="json"),
        cwd=ROOT,
    )
    simulator.faults.put(OTHER, Status(503), times=None, method="DownloadLeaderboard")
    try:
        lines = read_until(process.stderr, "worker ready")
        insert(db)
        assert synced(db) == ("inserted", "changed")
        db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
        assert synced(db) == ("manual", "unchanged")
        insert(db, OTHER)
        assert synced(db, OTHER) == ("inserted", "failed")
    finally:
        process.send_signal(signal.SIGTERM)
        lines += process.communicate(timeout=60)[1].splitlines()
    assert process.returncode == 0
    which, *told = [json.loads(line) for line in lines]
    assert which["event"].startswith("PostgreSQL of DATABASE_URL; Kaggle at ")
    assert [line["event"] for line in told] == [
        "worker ready",
        "sync changed",
        "sync failed: Kaggle failed with status 503: Simulated 503",
        "worker stopped",
    ]
    changed, failed = told[1], told[2]
    assert {"time", "level", "event", "competition", "run", "reason", "seconds", "teams"} <= changed.keys()
    assert (changed["level"], changed["competition"], changed["teams"], changed["moved"]) == ("info", SLUG, 1, 0)
    assert (failed["level"], failed["competition"], failed["kind"]) == ("warning", OTHER, "transient")
    run = value(db, "SELECT max(id) FROM kaggle.sync_runs WHERE outcome = 'failed'")
    assert failed["run"] == run


@pytest.mark.parametrize("name", ["pgleaderboard.service", "pgleaderboard-page.service"])
def test_the_unit_file_is_one(tmp_path: Path, name: str) -> None:
    """systemd-analyze finds nothing wrong with the unit, its program put where it is here."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("there is no systemd-analyze here")
    unit = tmp_path / name
    text = (ROOT / "deploy" / name).read_text()
    unit.write_text(text.replace("/opt/pgleaderboard/.venv/bin/pgleaderboard", str(PROGRAMS / "pgleaderboard")))
    verified = subprocess.run([program, "verify", str(unit)], capture_output=True, text=True, check=False)
    about_it = [line for line in verified.stderr.splitlines() if "pgleaderboard" in line]
    assert (verified.returncode, about_it) == (0, [])
