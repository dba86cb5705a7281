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
    '1,8680210366022,"Shallow Hedgehogs","2026-01-01 00:00:40",4.378,15,"del=422ba3554a9a823d,metivoti806"',
    '0,8680218309663,"Sample Submission Benchmark","2025-11-01 23:59:59",5.045,1,',
    '0,8680214196963,benchmark.csv,"2025-11-01 23:59:59",6.025,1,SimulatedHost',
    '2,8680212140613,ConvexKernels71,"2026-01-01 00:00:56",6.746,9,dimilibo',
    '0,8680216253313,"Host Baseline","2025-11-01 23:59:59",10.150,1,',
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
