"""Faults against real processes: workers are killed, frozen and cut off, PostgreSQL goes away, Kaggle fails.

world.py      what is broken: a PostgreSQL, a simulated Kaggle, workers, a few competitions; and whether it is whole
scale.py      how much of everything is tried
tally.py      what one kind of fault did, and the table of all of them
faults.py     the faults, one function a kind
deletions.py  those about rows that are gone, or only look so
viewing.py    those around the live page
run.py        runs them, several worlds at once
freezing.py   a worker that stops itself at a chosen point of a sync

`python -m tests.chaos` (make chaos) runs them all in minutes; `--short`, and the test beside, each once.
"""
