"""What a worker tells a monitor, asked as Prometheus and an orchestrator ask."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from psycopg.conninfo import make_conninfo

from pgleaderboard.process.metrics import DEAD_AFTER, DatabaseValues, Metrics, serving
from pgleaderboard.process.session import Configuration
from pgleaderboard.process.supervisor import Health, State, Supervisor, running
from tests.support.aliases import Connection, MakeWorker
from tests.support.asking import OTHER, SLUG, eventually, insert, synced
from tests.support.faults import Simulator, Status
from tests.support.kaggle import make_kaggle

HEALTHY = Health(State.WORKING, "", 0.0)
OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


def scrape(url: str) -> dict[str, float]:
    """All samples, read by the strict parser; labels behind the name."""
    answer = requests.get(f"{url}/metrics", headers=OPENMETRICS, timeout=30)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    found = {}
    for family in text_string_to_metric_families(answer.text):
        assert family.documentation
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


@pytest.fixture
def watched(url: str) -> Iterator[tuple[str, Health]]:
    """A server beside a worker that a test plays."""
    health = Health(State.WORKING, "")
    with serving("127.0.0.1", 0, Metrics(), DatabaseValues(url, "", 30), health) as metrics_url:
        yield metrics_url, health


def test_a_worker_counts_and_the_database_tells(url: str, db: Connection, simulator: Simulator) -> None:
    """Syncs by outcome, durations, Kaggle's answers, boards, queue, budget: as it really was."""
    metrics = Metrics()
    kaggle = make_kaggle(simulator.url, answered=metrics.answered)
    simulator.faults.put(OTHER, Status(503), times=None, method="DownloadLeaderboard")
    supervisor = Supervisor(
        Configuration(
            url,
            url,
            kaggle,
            concurrency=4,
            requests_per_minute=600,
            limit=2**28,
            runs_for=timedelta(days=30),
            ended=metrics.ended,
        )
    )
    values = DatabaseValues(url, kaggle.fingerprint, 600)
    with serving("127.0.0.1", 0, metrics, values, supervisor.health) as metrics_url, running(supervisor):
        for slug in (SLUG, OTHER):
            insert(db, slug)
            synced(db, slug)
        db.execute("SELECT kaggle.sync_now(%s)", (SLUG,))
        assert synced(db) == ("manual", "unchanged")
        eventually(db, True, "SELECT bool_or(title IS NOT NULL) FROM kaggle.competitions")
        found = scrape(metrics_url)
    for line in kaggle._idle:
        line.close()
    expected = {
        "pgleaderboard_syncs_total{outcome=changed}": 1,
        "pgleaderboard_syncs_total{outcome=unchanged}": 1,
        "pgleaderboard_syncs_total{outcome=failed}": 1,
        "pgleaderboard_syncs_total{outcome=skipped}": 0,
        "pgleaderboard_sync_duration_seconds_count": 3,
        "pgleaderboard_kaggle_requests_total{status=200}": 3,
        "pgleaderboard_kaggle_requests_total{status=503}": 1,
        "pgleaderboard_kaggle_budget_per_minute": 600,
        "pgleaderboard_kaggle_pause_seconds": 0,
        "pgleaderboard_competitions{sync_state=idle}": 1,
        "pgleaderboard_competitions{sync_state=failing}": 1,
        "pgleaderboard_workers": 1,
        "pgleaderboard_database_up": 1,
        "pgleaderboard_queue_jobs": 0,
        "pgleaderboard_oldest_wait_seconds": 0,
    }
    assert {name: found.get(name) for name in expected} == expected
    assert 0 < found["pgleaderboard_oldest_board_age_seconds"] < 60


def test_what_the_database_tells_without_a_worker(watched: tuple[str, Health], db: Connection) -> None:
    """A board that should be there and is not ages; a wish waits; a pause is told."""
    insert(db)
    insert(db, OTHER, auto_sync=False)
    db.execute("UPDATE kaggle.competitions SET created_at = now() - interval '1 hour'")
    db.execute("UPDATE kaggle_internal.sync_requests SET asked_at = now() - interval '10 minutes'")
    db.execute(
        "INSERT INTO kaggle_internal.kaggle_budget (credential, blocked_until) VALUES ('', now() + interval '5 min')"
    )
    found = scrape(watched[0])
    assert found["pgleaderboard_oldest_board_age_seconds"] == pytest.approx(3600, abs=60)
    assert found["pgleaderboard_oldest_wait_seconds"] == pytest.approx(600, abs=60)
    assert found["pgleaderboard_kaggle_pause_seconds"] == pytest.approx(300, abs=60)
    assert found["pgleaderboard_competitions{sync_state=off}"] == 1
    assert (found["pgleaderboard_workers"], found["pgleaderboard_queue_jobs"]) == (0, 1)


def test_a_database_that_does_not_answer(url: str, db: Connection, watched: tuple[str, Health]) -> None:
    """One that is gone, and one where a lock is in the way, are told in a scrape that still succeeds."""
    nowhere = DatabaseValues(make_conninfo(url, dbname="nothing_here"), "", 30)
    with serving("127.0.0.1", 0, Metrics(), nowhere, HEALTHY) as metrics_url:
        found = scrape(metrics_url)
    assert found["pgleaderboard_database_up"] == 0
    assert "pgleaderboard_workers" not in found
    assert found["pgleaderboard_syncs_total{outcome=failed}"] == 0
    with db.transaction():
        db.execute("LOCK TABLE kaggle_internal.sync_state IN ACCESS EXCLUSIVE MODE")
        assert scrape(watched[0])["pgleaderboard_database_up"] == 0
    assert scrape(watched[0])["pgleaderboard_database_up"] == 1


def test_a_scrape_that_hangs_stops_no_sync(db: Connection, worker: MakeWorker) -> None:
    """Clients that say nothing, and a scrape whose database accepts and says nothing, leave a worker at its work."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        values = DatabaseValues(f"postgresql://me@127.0.0.1:{mute.getsockname()[1]}/mine", "", 30)
        with serving("127.0.0.1", 0, Metrics(), values, HEALTHY) as metrics_url, worker():
            host, port = metrics_url.removeprefix("http://").split(":")
            silent = [socket.create_connection((host, int(port))) for _ in range(20)]
            found: list[dict[str, float]] = []
            scraping = threading.Thread(target=lambda: found.append(scrape(metrics_url)))
            scraping.start()
            insert(db)
            assert synced(db) == ("inserted", "changed")
            scraping.join()
            for connection in silent:
                connection.close()
    assert found[0]["pgleaderboard_database_up"] == 0


def test_health(watched: tuple[str, Health]) -> None:
    """Alive as long as it beats; ready as long as it works, else 503 with the reason; nothing else is there."""
    server, health = watched

    def ask(path: str) -> tuple[int, str]:
        answer = requests.get(server + path, timeout=30)
        return answer.status_code, answer.text

    assert ask("/healthz") == (200, "alive\n")
    assert ask("/readyz") == (200, "ready\n")
    health.state, health.reason = State.WAITING, "the database is out of reach:\x1b[2J refused"
    assert ask("/readyz") == (503, "the database is out of reach:\\x1b[2J refused\n")
    health.beat_at -= DEAD_AFTER
    assert ask("/healthz")[0] == 503
    assert ask("/")[0] == 404
    assert requests.post(f"{server}/metrics", timeout=30).status_code == 501


def test_the_worker_process_serves_them(url: str, simulator: Simulator) -> None:
    """Off by default; with a port it listens on loopback, tells where, and SIGTERM still ends it with 0."""
    given = {"DATABASE_URL": url, "PGLEADERBOARD_KAGGLE_URL": simulator.url, "PGLEADERBOARD_METRICS_PORT": "0"}
    process = subprocess.Popen(
        [sys.executable, "-m", "pgleaderboard", "work"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | given,
        cwd=Path(__file__).resolve().parents[2],
    )
    try:
        assert process.stderr is not None
        found = None
        for line in process.stderr:
            found = re.search(r"http://127\.0\.0\.1:\d+(?=/metrics)", line) or found
            if "worker ready" in line:
                break
        assert found is not None
        assert requests.get(f"{found[0]}/readyz", timeout=30).status_code == 200
        assert scrape(found[0])["pgleaderboard_workers"] == 1
        port = found[0].rsplit(":", 1)[1]
        second = subprocess.run(
            [sys.executable, "-m", "pgleaderboard", "work"],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | given | {"PGLEADERBOARD_METRICS_PORT": port},
            cwd=Path(__file__).resolve().parents[2],
            timeout=60,
        )
        assert second.returncode == 1
        assert second.stderr.splitlines()[-1].startswith(f"pgleaderboard: cannot serve metrics on 127.0.0.1:{port}: ")
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0
