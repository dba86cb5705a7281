"""The answers of GetCompetition and ListCompetitions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pgleaderboard.simulator.boards import Profile
from pgleaderboard.simulator.names import words

SLUGS: Final = words(
    """
    titanic house-prices-advanced-regression-techniques spaceship-titanic digit-recognizer orbit-wars
    store-sales-forecasting nlp-with-disaster-reports gan-landscape-painting connect-four-agents
    bicycle-demand-by-the-hour forest-cover-from-above leaf-shapes bird-calls-at-dawn whale-songs-2026
    coral-reef-detection glacier-melt-prediction river-level-nowcasting wind-turbine-faults solar-yield-tomorrow
    warehouse-routing-challenge parcel-arrival-times fraud-in-small-payments handwritten-recipes-ocr
    reading-ease-scoring protein-folding-lite retina-vessel-segmentation asteroid-light-curves crater-counting
    playground-series-s6e1 playground-series-s6e2 Robot-Arena-2026 Stat101-Spring2026
    """
)
_CATEGORIES: Final = ("Featured", "Research", "Playground", "Community")
_GETTING_STARTED: Final = SLUGS[:4]
_PAGE: Final = 20
_PAGE_AT_MOST: Final = 100


def competition(slug: str, teams: int, now: datetime | None = None) -> dict[str, Any]:
    """An `ApiCompetition`. Its dates depend on the current year, so that it is always open."""
    now = now or datetime.now(UTC)
    seed = int.from_bytes(hashlib.sha256(slug.lower().encode()).digest()[:4])
    beginner = slug.lower() in _GETTING_STARTED
    category = "Getting Started" if beginner else _CATEGORIES[seed % len(_CATEGORIES)]
    enabled = datetime(now.year - 1, 1, 1) + timedelta(days=seed % 300)
    deadline = datetime(now.year + 1, 1, 1, 23, 59) + timedelta(days=seed % 300)
    url = f"https://www.kaggle.com/competitions/{slug}"
    title = slug.replace("-", " ").replace("_", " ").title()
    return {
        "id": 1_000 + seed % 1_000_000,
        "ref": url,
        "title": f"{title} (simulated)",
        "url": url,
        "description": f"{title}: invented by the Kaggle simulator.",
        "organizationName": "Simulated Kaggle",
        "organizationRef": "simulated-kaggle",
        "category": category,
        "reward": "Knowledge" if category != "Featured" else "50,000 Usd",
        "tags": [{"ref": "simulated", "name": "simulated"}],
        "deadline": _time(deadline),
        "mergerDeadline": _time(deadline - timedelta(days=7)),
        "newEntrantDeadline": _time(deadline - timedelta(days=7)),
        "enabledDate": _time(enabled),
        "dateCreated": _time(enabled - timedelta(days=30)),
        "kernelCount": seed % 5_000,
        "teamCount": teams,
        "userHasEntered": False,
        "maxDailySubmissions": 5,
        "maxTeamSize": 5,
        "evaluationMetric": Profile.of(slug).metric.name,
        "awardsPoints": category == "Featured",
        "isKernelsSubmissionsOnly": False,
        "submissionsDisabled": False,
        "hostName": "Simulated Kaggle",
    }


def page(slugs: Iterable[str], request: Mapping[str, object], teams: Callable[[str], int]) -> dict[str, Any] | None:
    """The page for search, pageToken or page, and pageSize of a request. None for a bad token."""
    words = str(request.get("search") or "").lower().replace("-", " ").split()
    matches = [slug for slug in slugs if all(word in slug.lower() for word in words)]
    try:
        size = min(_PAGE_AT_MOST, max(1, int(str(request.get("pageSize") or _PAGE))))
        token = request.get("pageToken")
        start = int(str(token)) if token else (int(str(request.get("page") or 1)) - 1) * size
    except ValueError:
        return None
    if start < 0:
        return None
    end = start + size
    return {
        "competitions": [competition(slug, teams(slug)) for slug in matches[start:end]],
        "nextPageToken": str(end) if end < len(matches) else "",
    }


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}Z"
