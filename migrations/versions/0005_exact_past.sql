-- What a rank is counted by, without a look at the table: the order of the teams, and since when each version holds.
DROP INDEX kaggle.leaderboard_entries_order, kaggle.leaderboard_entries_benchmarks;
CREATE INDEX leaderboard_entries_order ON kaggle.leaderboard_entries (board_id, order_key) INCLUDE (valid_from)
    WHERE NOT is_benchmark;
CREATE INDEX leaderboard_entries_benchmarks ON kaggle.leaderboard_entries (board_id, order_key) WHERE is_benchmark;

-- Likewise for the versions that ended since a moment.
DROP INDEX kaggle.leaderboard_history_validity;
CREATE INDEX leaderboard_history_validity ON kaggle.leaderboard_history (board_id, valid_until)
    INCLUDE (order_key, valid_from, is_benchmark);


ALTER TABLE kaggle.sync_runs ADD COLUMN higher_is_better boolean;
COMMENT ON COLUMN kaggle.sync_runs.higher_is_better IS 'Whether higher scores are better, as far as the board has told it by this run; null = it did not tell, or the run changed nothing.';
UPDATE kaggle.sync_runs r SET higher_is_better = b.higher_is_better
FROM kaggle.boards b WHERE b.id = r.board_id AND r.outcome = 'changed';


-- A competition that is deleted and inserted again under the same id must not repeat a revision.
CREATE SEQUENCE kaggle.link_revisions AS bigint;
COMMENT ON SEQUENCE kaggle.link_revisions IS 'Revisions of links between a competition and a board on Kaggle; none is ever repeated.';
SELECT setval('kaggle.link_revisions', (SELECT coalesce(max(c.link_revision), 0) + 1 FROM kaggle.competitions c));

-- Its last argument has another meaning.
DROP FUNCTION IF EXISTS kaggle.write_differences(bigint, timestamptz, interval);
