"""Benchmarks: each figure beside its floor or rival, measured in the same run. They are no tests and assert nothing.

report.py     a figure, its target, the table, the JSON, the Markdown
timing.py     measuring in turns, percentiles, the exponent of growth
boards.py     invented boards of any size, and how they change
world.py      the PostgreSQL, the databases, a Kaggle and workers in processes of their own, syncs in this one
kaggle.py     that Kaggle: whatever ZIP lies in its folder, over the simulator's HTTP
latency.py    rows 1 to 3: from an INSERT to a job, and to a whole board
sync.py       rows 4 to 7: one sync beside COPY
footprint.py  rows 8, 14 and 15: memory, idling, history on disk
rivals.py     rows 9 and 10: a loop row by row, dlt
readers.py    row 11: what people read, beside a table that stores the rank
sweep.py      rows 12 and 13: ten thousand competitions

`python -m tests.bench` (make bench) measures all of it in under 20 minutes on two cores.
"""
