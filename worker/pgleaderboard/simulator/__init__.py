"""A simulated Kaggle: part of `up` and `demo`, alone as `pgleaderboard simulate`, and the tests' Kaggle.

server.py   HTTP: the three methods, the clock that moves the boards, the log of requests
boards.py   invented boards, the same bytes for the same slug and step
names.py    names of teams and users, with every oddity of real boards
folder.py   real downloads from a folder instead
catalog.py  the answers of GetCompetition and ListCompetitions
"""

from __future__ import annotations

from pgleaderboard.simulator.boards import zip_board
from pgleaderboard.simulator.server import Answer, Request, Simulator

__all__ = ["Answer", "Request", "Simulator", "zip_board"]
