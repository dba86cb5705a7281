"""A Kaggle of our own: built into `up` and `demo`, alone as `pgleaderboard simulate`, the tests' other side.

server.py   HTTP: the three methods, the clock that moves the boards, the log of requests
boards.py   invented boards, the same bytes for the same slug and step
names.py    what teams and users are called there, every oddity of real boards included
folder.py   real downloads from a folder instead
catalog.py  what GetCompetition and ListCompetitions tell
faults.py   wrong answers on demand, down to the raw socket
"""

from __future__ import annotations

from pgleaderboard.simulator.boards import zip_board
from pgleaderboard.simulator.faults import (
    Answer,
    Drip,
    Fault,
    Faults,
    Half,
    Hold,
    Page,
    Redirect,
    Reset,
    Silent,
    Status,
    Zipped,
)
from pgleaderboard.simulator.server import Request, Simulator

__all__ = [
    "Answer",
    "Drip",
    "Fault",
    "Faults",
    "Half",
    "Hold",
    "Page",
    "Redirect",
    "Request",
    "Reset",
    "Silent",
    "Simulator",
    "Status",
    "Zipped",
    "zip_board",
]
