"""Requests to the simulator, and the boards in its answers."""

from __future__ import annotations

import csv
import io
import zipfile
from typing import Any

import requests
from kagglesdk import KaggleClient
from kagglesdk.kaggle_env import KaggleEnv

from pgleaderboard.simulator.boards import HEADER
from tests.support.faults import Simulator

SERVICE = "/v1/competitions.CompetitionApiService/"


SMALL_BOARD = (
    HEADER,
    '0,6021999040524563,benchmark.csv,"2025-11-02 00:00:00",4.260,1,SimulatedHost',
    '1,6021516812031229,radirani875,"2026-01-01 00:00:42",4.337,1498,radirani875',
    '0,6021757926277896,"Sample Submission Benchmark","2025-11-02 00:00:00",4.337,1,',
    '0,6021378483401235,"Host Baseline","2025-11-02 00:00:00",4.503,1,',
    '2,6021137369154568,Suridedi,"2026-01-01 00:00:30",239426808406486000.000,1498,Suridedi',
    "",
)


def ask(
    simulator: Simulator,
    slug: str = "titanic",
    method: str = "DownloadLeaderboard",
    *,
    headers: dict[str, str] | None = None,
    timeout: float = 10,
) -> requests.Response:
    """One request as the SDK makes it, on a connection of its own."""
    url = simulator.url + SERVICE + method
    return requests.post(url, json={"competitionName": slug}, headers=headers, timeout=timeout)


def sdk(simulator: Simulator) -> Any:
    """Kaggle's own client, pointed at the simulator."""
    client = KaggleClient(env=KaggleEnv.PROD, api_token="not-a-secret")
    client.http_client()._endpoint = simulator.url
    return client


def unzip(data: bytes) -> tuple[str, bytes]:
    """The one member's name and content."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        (member,) = archive.infolist()
        assert member.compress_type == zipfile.ZIP_DEFLATED
        return member.filename, archive.read(member)


def rows(data: bytes) -> list[dict[str, str]]:
    """The board's rows."""
    text = unzip(data)[1].decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))
