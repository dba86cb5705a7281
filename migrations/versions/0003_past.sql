-- Indexes that find the past.

-- What held at a moment: versions of like lifetime that ended after it, and before it by no more than that lifetime.
-- So a search reads what it finds and little else, however long the history. The class is the logarithm of the seconds.
CREATE INDEX leaderboard_history_lifetime ON kaggle.leaderboard_history
    (board_id, (floor(ln(greatest(date_part('epoch', valid_until - valid_from), 1)))), valid_until);

-- Up to when a board was known to be right at a moment.
CREATE INDEX sync_runs_board ON kaggle.sync_runs (board_id, observed_at) WHERE board_id IS NOT NULL;
