"""What is still to do in a database, or was left behind there."""

from __future__ import annotations

from typing import LiteralString

# A row for each, in words. No row = quiet. Jobs of dead workers are not counted.
UNDONE: LiteralString = """
SELECT format('a request (%s) of competition %s is left, run %s, tried %s',
              reason, competition_id, run_id, tried) FROM kaggle_internal.sync_requests
UNION ALL
SELECT format('competition %s is running under %s worker %s', competition_id, CASE
              WHEN running_worker_id IN (SELECT worker_id FROM kaggle.workers)
              THEN 'live' ELSE 'dead' END,
              running_worker_id)
FROM kaggle_internal.sync_state WHERE running_run_id IS NOT NULL
UNION ALL
SELECT format('competition %s waits for a retry at %s: %s', competition_id, retry_at, last_error)
FROM kaggle_internal.sync_state WHERE retry_at IS NOT NULL
UNION ALL
SELECT format('a job (%s %s) waits', task_name, args)
FROM procrastinate.procrastinate_jobs WHERE status = 'todo'
UNION ALL
SELECT format('%s of the deleted competition %s is left', l.what, l.competition_id)
FROM (SELECT 'a board' AS what, competition_id FROM kaggle.boards
      UNION ALL SELECT 'the state', competition_id FROM kaggle_internal.sync_state
      UNION ALL SELECT DISTINCT 'a run', competition_id FROM kaggle.sync_runs) AS l
WHERE l.competition_id NOT IN (SELECT id FROM kaggle.competitions)
UNION ALL
SELECT format('board %s of a deleted competition is left', id)
FROM kaggle.boards WHERE competition_id IS NULL
UNION ALL
SELECT format('entries of board %s are left, which is gone', board_id)
FROM kaggle.leaderboard_entries WHERE board_id NOT IN (SELECT id FROM kaggle.boards) GROUP BY board_id
UNION ALL
SELECT format('history of board %s is left, which is gone', board_id)
FROM (SELECT board_id FROM kaggle_internal.packs
      UNION SELECT board_id FROM kaggle_internal.past_names) AS h
WHERE board_id NOT IN (SELECT id FROM kaggle.boards)
"""
