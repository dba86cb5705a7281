-- What a rank is counted by, without a look at the table: the order of the teams, and since when each version holds.

DROP INDEX kaggle.leaderboard_entries_order, kaggle.leaderboard_entries_benchmarks;
CREATE INDEX leaderboard_entries_order ON kaggle.leaderboard_entries (board_id, order_key) INCLUDE (valid_from)
    WHERE NOT is_benchmark;
CREATE INDEX leaderboard_entries_benchmarks ON kaggle.leaderboard_entries (board_id, order_key) WHERE is_benchmark;
