"""The answers of GetCompetition and ListCompetitions, as far as our client reads them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from pgleaderboard.simulator.boards import EPOCH, Profile

_SLUGS: Final = str.split(
    "titanic house-prices-advanced-regression-techniques spaceship-titanic digit-recognizer orbit-wars "
    "store-sales-forecasting nlp-with-disaster-reports gan-landscape-painting connect-four-agents "
    "bicycle-demand-by-the-hour forest-cover-from-above leaf-shapes bird-calls-at-dawn whale-songs-2026 "
    "coral-reef-detection glacier-melt-prediction river-level-nowcasting wind-turbine-faults solar-yield-tomorrow "
    "warehouse-routing-challenge parcel-arrival-times fraud-in-small-payments handwritten-recipes-ocr "
    "reading-ease-scoring protein-folding-lite retina-vessel-segmentation asteroid-light-curves crater-counting "
    "playground-series-s6e1 playground-series-s6e2 Robot-Arena-2026 Stat101-Spring2026"
)
_GETTING_STARTED: Final = frozenset(_SLUGS[:4])
_COMMUNITY: Final = frozenset({"Stat101-Spring2026"})  # the general list leaves it out
_PAGE: Final = 20


def competition(slug: str) -> dict[str, Any]:
    """An `ApiCompetition`. It opened before the boards begin, and stays open."""
    profile = Profile.of(slug)
    offset = timedelta(days=profile.seed % 300)
    title = slug.replace("-", " ").replace("_", " ").title()
    return {
        "ref": f"https://www.kaggle.com/competitions/{slug}",
        "title": f"{title} (simulated)",
        "description": f"{title}: invented by the Kaggle simulator.",
        "enabledDate": (datetime(EPOCH.year - 1, 1, 1) + offset).isoformat() + "Z",
        "deadline": (datetime(2099, 1, 1, 23, 59) + offset).isoformat() + "Z",
        "teamCount": profile.teams,
        "maxDailySubmissions": 5,
        "evaluationMetric": profile.metric.name,
        "category": _category(slug),
    }


def _category(slug: str) -> str:
    if slug in _GETTING_STARTED:
        return "Getting Started"
    if slug in _COMMUNITY:
        return "Community"
    return "Playground" if slug.startswith("playground-series-") else "Featured"


def search(text: str, group: str) -> dict[str, Any]:
    """The first page of the competitions of a group, a CompetitionListTab, whose slug contains all words of a text."""
    words = text.lower().replace("-", " ").split()
    listed = _SLUGS if group.endswith("EVERYTHING") else [slug for slug in _SLUGS if slug not in _COMMUNITY]
    matches = [slug for slug in listed if all(word in slug.lower() for word in words)]
    return {
        "competitions": [competition(slug) for slug in matches[:_PAGE]],
        "nextPageToken": str(_PAGE) if len(matches) > _PAGE else "",
    }
