"""Runs the faults on one cluster, with both kinds of replication, and both kinds of URL at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType

from tests.cluster.clients import Kaggle
from tests.cluster.cluster import Cluster
from tests.cluster.faults import Fault
from tests.cluster.site import ROLES, Site, Waits
from tests.cluster.tally import Row
from tests.support.processes import Broken

URLS = ("multi-host", "HAProxy")
CALM = 4.0  # seconds of edits before a fault
AFTERWARDS = 12.0  # seconds of edits after a promotion
PROMOTED_WITHIN = 120.0


class Stage:
    """A cluster, Kaggle, and a site for each kind of URL. patience: what the bounds of times are multiplied by."""

    def __init__(self, seed: int, competitions: int, urls: Sequence[str] = URLS, patience: float = 1.0) -> None:
        self._seed, self._competitions, self._urls, self._patience = seed, competitions, urls, patience
        self._stack = ExitStack()
        self.cluster, self.kaggle = Cluster(), Kaggle()
        self.sites: list[Site] = []

    def __enter__(self) -> Stage:
        try:
            self._stack.enter_context(self.cluster)
            self._stack.enter_context(self.kaggle)  # it listens in the cluster's network
            self.sites = [Site(self.cluster, self.kaggle, url, self._seed) for url in self._urls]
            if "PgBouncer" in self._urls:
                self.cluster.start_pgbouncer(ROLES)
            for site in self.sites:
                self._stack.callback(site.close)
                site.open(self._competitions)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def play(self, fault: Fault, replication: str) -> list[Row]:
        """One fault, to all sites at once."""
        rows = [Row(fault.name, site.url, replication, fault.bound * self._patience) for site in self.sites]
        self.kaggle.moving.set()
        for site in self.sites:
            site.edit(on=True)
        time.sleep(CALM)
        primary, since = self.cluster.primary, time.time()
        try:
            fault.begin(self.cluster, primary)
            moved = {"other_than": primary} if fault.moves else {}
            node, at = self.cluster.promotion_after(since, PROMOTED_WITHIN, **moved)
            waits = [Waits(node, site.database, at) for site in self.sites]
            with ThreadPoolExecutor(len(self.sites)) as pool:
                list(pool.map(lambda site, row: site.follow(row, at, node), self.sites, rows))
            time.sleep(max(0.0, since + fault.seconds - time.time(), at + AFTERWARDS - time.time()))
        finally:
            fault.end(self.cluster, primary)
        for site in self.sites:
            site.edit(on=False)
        self.cluster.wait_until_whole()
        for row in rows:
            row.new_primary_after = at - since
        with ThreadPoolExecutor(len(self.sites)) as pool:
            list(pool.map(lambda site, row, wait: site.inspect(row, since, wait), self.sites, rows, waits))
        return rows


def run(
    faults: Sequence[Fault],
    replications: Sequence[str],
    *,
    seed: int,
    competitions: int,
    urls: Sequence[str] = URLS,
    report: Callable[[str, Sequence[Row]], None],
) -> list[Row]:
    """Run faults with these kinds of replication, and tell `report` of each as it ends, and of its rows."""
    rows: list[Row] = []
    begun = time.monotonic()
    with Stage(seed, competitions, urls) as stage:
        report(f"{time.monotonic() - begun:6.1f} s  the cluster is there", ())
        for replication in replications:
            stage.cluster.replicate(synchronously=replication == "synchronous")
            for fault in faults:
                try:
                    played = stage.play(fault, replication)
                except Broken as error:
                    rows.append(Row(fault.name, "", replication, fault.bound, complaints=[str(error)]))
                    report(f"{time.monotonic() - begun:6.1f} s  {fault.name}: the cluster itself is broken", rows[-1:])
                    return rows
                rows += played
                report(f"{time.monotonic() - begun:6.1f} s  {fault.name}, {replication}", played)
    return rows
