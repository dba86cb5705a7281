"""`PYTHON dlt_rival.py DSN CSV`, in dlt's own environment: loads the CSV as told on standard input.

Each line is `STRATEGY DATASET`; the answer is the seconds that the load took. Nothing of ours is imported.
"""

import csv
import sys
import time
from datetime import UTC, datetime
from decimal import Decimal

import dlt


def rows(file):
    """The board's rows, typed."""
    with open(file, encoding="utf-8-sig", newline="") as source:
        for row in csv.DictReader(source):
            yield {
                "rank": int(row["Rank"]),
                "team_id": int(row["TeamId"]),
                "team_name": row["TeamName"],
                "last_submission_at": datetime.fromisoformat(row["LastSubmissionDate"]).replace(tzinfo=UTC),
                "score": Decimal(row["Score"]),
                "submission_count": int(row["SubmissionCount"]),
                "members": row["TeamMemberUserNames"],
            }


def load(dsn, file, strategy, dataset):
    """Load the file once. Returns the seconds from reading it to the end."""
    pipeline = dlt.pipeline(dataset, destination=dlt.destinations.postgres(dsn), dataset_name=dataset)
    board = dlt.resource(
        rows, name="board", write_disposition={"disposition": "merge", "strategy": strategy},
        primary_key="team_id" if strategy == "upsert" else None,
    )  # fmt: skip
    begun = time.perf_counter()
    pipeline.run(board(file))
    return time.perf_counter() - begun


def main():
    """Answer line by line."""
    _, dsn, file = sys.argv
    print("ready", flush=True)
    for line in sys.stdin:
        print(load(dsn, file, *line.split()), flush=True)


main()
