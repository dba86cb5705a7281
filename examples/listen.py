#!/usr/bin/env python3
"""Says who moved, at each sync that changed a board: LISTEN while it runs, and what it missed when it comes back.

    python examples/listen.py postgresql://me@localhost/mine seen.json

Needs nothing but psycopg, and the rights of pgleaderboard_reader. The notification only wakes it: what there is to
tell is read from kaggle.sync_runs, so one that was lost costs nothing. Behind a pooler in transaction mode LISTEN
does not work: give the database's own address. Of several servers, host=one,two,three, it finds the primary, and the
next one when another is promoted.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row

Mark = tuple[int, str]  # a run, and when its board was seen

LOOK_EVERY = 60  # seconds; a connection may die without a word
PAUSE = 1  # seconds before a lost connection is made again
SHOWN = 10  # moves of one run
# What the URL says goes before. LISTEN needs the primary; a server that vanishes closes no connection.
DEFAULTS = {
    "target_session_attrs": "primary",
    "connect_timeout": 3,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "application_name": "listen.py",
}

# Numbers of runs are given when a sync begins and committed when it ends: those of different competitions may
# commit out of order, so that a single "highest number seen" would skip some. Those of one competition never do: one
# sync ends before the next begins. So a mark is kept for each: the run told last, and when its board was seen. A
# server that was promoted without the last transactions, or restored, lacks that run: the moment tells what is new.
UNSEEN = """
    WITH mark AS MATERIALIZED (
        SELECT m.key::bigint AS competition_id, (m.value ->> 0)::bigint AS run_id,
               (m.value ->> 1)::timestamptz AS observed_at, r.id IS NOT NULL AS stands
        FROM jsonb_each(%s::jsonb) m
        LEFT JOIN kaggle.sync_runs r ON r.id = (m.value ->> 0)::bigint AND r.observed_at = (m.value ->> 1)::timestamptz)
    SELECT r.id, c.id AS competition_id, c.kaggle_competition_id AS slug, r.observed_at,
           r.teams, r.added, r.removed, r.moved
    FROM kaggle.competitions c LEFT JOIN mark m ON m.competition_id = c.id
    CROSS JOIN LATERAL (
        SELECT * FROM kaggle.sync_runs r
        WHERE r.competition_id = c.id AND r.id > CASE WHEN m.stands THEN m.run_id ELSE 0 END
          AND (m.stands IS NOT FALSE OR r.id > m.run_id OR r.observed_at > m.observed_at)
          AND r.outcome = 'changed' AND r.reason <> 'backfill') AS r   -- a backfill tells of the past: no news
    ORDER BY r.id
"""
LATEST = """
    SELECT DISTINCT ON (competition_id) competition_id, id, observed_at FROM kaggle.sync_runs
    WHERE outcome = 'changed' AND reason <> 'backfill' ORDER BY competition_id, id DESC
"""
CHANGES = """
    SELECT team_name, rank_before, rank_after FROM kaggle.changes(%s)
    WHERE rank_before IS DISTINCT FROM rank_after ORDER BY least(rank_before, rank_after), team_name
"""


def load(file: Path) -> dict[str, Mark] | None:
    """The mark of each competition; None: this is the first start."""
    return json.loads(file.read_text()) if file.exists() else None


def mark(run: dict[str, Any]) -> dict[str, Mark]:
    """Of the competition of this run."""
    return {str(run["competition_id"]): (run["id"], run["observed_at"].isoformat())}


def save(file: Path, seen: dict[str, Mark]) -> None:
    """Replace the file in one step: whoever reads it finds the old marks or the new ones."""
    new = file.with_name(file.name + ".new")
    with new.open("w") as opened:
        json.dump(seen, opened)
        opened.flush()
        os.fsync(opened.fileno())
    new.replace(file)


def tell(connection: psycopg.Connection[Any], run: dict[str, Any]) -> None:
    """Print one run and who moved in it. Names are other people's text: a terminal must not obey them."""
    moves = connection.execute(CHANGES, (run["id"],)).fetchall()  # first: what a lost connection cuts off is told again
    print("{slug} run {id}: {teams} teams, {added} new, {removed} gone, {moved} moved".format(**run))
    for move in moves[:SHOWN]:
        name = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in move["team_name"])
        print(f"  {name}: {move['rank_before'] or 'new'} -> {move['rank_after'] or 'gone'}")
    if len(moves) > SHOWN:
        print(f"  and {len(moves) - SHOWN} more")
    sys.stdout.flush()


def catch_up(connection: psycopg.Connection[Any], file: Path) -> None:
    """Tell every run that was not told, in order, once.

    Killed between the two lines it would tell that one run again. Whoever may not do a thing twice does it in the
    transaction that stores the mark: a table of one's own in place of the file.
    """
    seen = load(file)
    if seen is None:  # what was before the first start is no news
        seen = {}
        for run in connection.execute(LATEST):
            seen |= mark(run)
        save(file, seen)
    for run in connection.execute(UNSEEN, (json.dumps(seen),)).fetchall():
        tell(connection, run)
        save(file, seen := seen | mark(run))


def listen(url: str, file: Path) -> None:
    """Tell what was missed, then what comes, until the connection is lost."""
    dsn = make_conninfo(**(DEFAULTS | conninfo_to_dict(url)))
    with psycopg.connect(dsn, autocommit=True, row_factory=dict_row) as connection:
        connection.execute("LISTEN kaggle_leaderboard")  # before looking: nothing falls between
        while True:
            catch_up(connection, file)
            for _ in connection.notifies(timeout=LOOK_EVERY, stop_after=1):
                pass


def main(url: str, file: Path) -> None:
    """Go on until Ctrl-C. A server that has become a standby is a lost connection: it hears nothing."""
    while True:
        try:
            listen(url, file)
        except (psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction) as error:
            print(f"connection lost, again in {PAUSE} s: {' '.join(str(error).split())}", file=sys.stderr)
            time.sleep(PAUSE)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        main(sys.argv[1], Path(sys.argv[2]))
    except KeyboardInterrupt:
        sys.exit(0)
