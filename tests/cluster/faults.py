"""The faults: what happens to the primary, and how it ends.

A fault begins, a server is promoted, and so many seconds after its beginning the fault ends; the primary that it was
about then comes back by itself, as a standby.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.cluster.cluster import Cluster
from tests.cluster.node import Node
from tests.cluster.tally import CLOSED, SILENT
from tests.support.processes import wait_for

PROGRAMS = ("patroni", "postgres", "etcd")


@dataclass(frozen=True)
class Fault:
    """One kind. bound: seconds to the next sync. moves: whether another node must become the primary."""

    name: str
    bound: float
    begin: Callable[[Cluster, Node], None]
    end: Callable[[Cluster, Node], None] = lambda cluster, primary: None
    seconds: float = 0
    moves: bool = True


def _switch_over(cluster: Cluster, primary: Node) -> None:
    """An administrator has another server take over."""
    primary.demand("switchover", "POST", {"leader": primary.name})


def _kill_postgres(cluster: Cluster, primary: Node) -> None:
    """SIGKILL of PostgreSQL's processes. Patroni is alive, and starts it again where it was."""
    primary.kill("postgres")


def _kill_node(cluster: Cluster, primary: Node) -> None:
    """SIGKILL of all that runs there, as when a machine dies: nobody gives up the leader's key, its time runs out."""
    primary.kill(*PROGRAMS)


def _start_node(cluster: Cluster, primary: Node) -> None:
    primary.start_etcd()
    primary.start_patroni()


def _lose_etcd(cluster: Cluster, primary: Node) -> None:
    """etcd ends everywhere. The primary cannot keep its key, and steps down; then etcd is back."""
    for node in cluster.nodes:
        node.kill("etcd")
    wait_for(cluster.is_without_primary, 60, "the primary steps down")
    time.sleep(2)
    for node in cluster.nodes:
        node.start_etcd()


def _cut_off(cluster: Cluster, primary: Node) -> None:
    """The primary's node is cut off from everybody, and runs on."""
    primary.connect(False)


def _join(cluster: Cluster, primary: Node) -> None:
    primary.connect(True)


def _freeze(cluster: Cluster, primary: Node) -> None:
    """SIGSTOP of PostgreSQL and Patroni: connections to it stay, and nobody answers."""
    primary.freeze()


def _thaw(cluster: Cluster, primary: Node) -> None:
    primary.thaw()


FAULTS = (
    Fault("switchover", CLOSED, _switch_over),
    Fault("PostgreSQL killed", CLOSED, _kill_postgres, moves=False),
    Fault("node killed", CLOSED, _kill_node, _start_node),
    Fault("etcd lost and back", CLOSED, _lose_etcd, moves=False),
    Fault("primary cut off", SILENT, _cut_off, _join),
    Fault("primary frozen", SILENT, _freeze, _thaw, seconds=75),
)
SHORT = ("switchover", "PostgreSQL killed")
