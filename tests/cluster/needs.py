"""What this machine lacks."""

from __future__ import annotations

import os

from tests.cluster import network, node


def missing() -> str | None:
    """What is missing to run a cluster here, in words; None: nothing."""
    if os.geteuid() != 0:
        return "root"
    return node.missing() or network.missing()
