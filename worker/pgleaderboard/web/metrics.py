"""What the page shows to a monitor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from pgleaderboard import monitor
from pgleaderboard.web.site import Site


@dataclass(frozen=True, eq=False)
class Values(Collector):
    """What the site has counted."""

    site: Site

    def collect(self) -> Iterator[Metric]:
        """Yield all of it; nothing is asked of the database."""
        source = self.site.source
        yield monitor.build()
        yield monitor.gauge("page_database_up", "Whether the page is in touch with its database.", _is_up(self.site))
        yield monitor.gauge("page_viewers", "Streams that are open.", self.site.hub.viewers)
        for name, documentation, value in (
            ("requests", "Requests, those for streams included.", self.site.requests),
            ("cache_hits", "Requests that a document answered which was there.", self.site.hits),
            ("events", "Versions of pages that were sent to viewers.", self.site.hub.pushed),
            ("reads", "Reads of the database.", source.current.count + source.past.count),
        ):
            yield CounterMetricFamily(f"pgleaderboard_page_{name}", documentation, value=value)


def _is_up(site: Site) -> bool:
    return site.source.reach.since is None


@contextmanager
def serving(host: str, port: int, site: Site) -> Iterator[str]:
    """Serve them as `monitor.serving` does."""
    registry = CollectorRegistry()
    registry.register(Values(site))
    away = "the database is out of reach"
    with monitor.serving(host, port, registry, lambda: "", lambda: "" if _is_up(site) else away) as url:
        yield url
