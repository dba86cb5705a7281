"""What one server holds, and what follows from it. It is no test and asserts nothing.

measure.py  ten thousand ongoing competitions: their first syncs, all due at once, five minutes as they are, the page
meter.py    processor time of each part, WAL, and syncs between two moments
follows.py  what follows: formulas of what was measured, and of nothing else

`python -m tests.scale` (make scale) takes at most 15 minutes.
"""
