"""`python -m tests.bench.listener DSN`: the least that reacts to an INSERT, the floor of row 1.

It is notified by a trigger, claims a row and commits, and writes down when that was done.
"""

from __future__ import annotations

import sys
import time

import psycopg

SETUP = """
CREATE TABLE floor_jobs (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, claimed boolean NOT NULL DEFAULT false);
CREATE INDEX ON floor_jobs (id) WHERE NOT claimed;
CREATE FUNCTION floor_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('floor', NEW.id::text);
    RETURN NULL;
END $$;
CREATE TRIGGER floor_notify AFTER INSERT ON floor_jobs FOR EACH ROW EXECUTE FUNCTION floor_notify();
"""
CLAIM = """
UPDATE floor_jobs SET claimed = true
WHERE id = (SELECT id FROM floor_jobs WHERE NOT claimed ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id
"""


def main() -> None:
    """Claim until killed. Prints the id and the time (Unix, seconds) of each claim."""
    with psycopg.connect(sys.argv[1], autocommit=True) as connection:
        connection.execute("LISTEN floor")
        print("listening", flush=True)
        while True:
            for _ in connection.notifies(stop_after=1):
                pass
            while row := connection.execute(CLAIM).fetchone():
                print(row[0], time.time(), flush=True)


if __name__ == "__main__":
    main()
