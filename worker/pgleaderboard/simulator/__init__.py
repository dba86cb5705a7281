"""A simulated Kaggle: part of `up` and `demo`, alone as `pgleaderboard simulate`, and the tests' Kaggle.

server.py   HTTP: the three methods, and the clock that moves the boards
boards.py   invented boards, the same bytes for the same slug and step
names.py    names of teams and users, with every oddity of real boards
catalog.py  the answers of GetCompetition and ListCompetitions
"""
