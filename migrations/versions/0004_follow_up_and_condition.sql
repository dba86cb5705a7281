-- What a completed competition's board is asked for after the final sync, and a condition for automatic syncs.

ALTER TABLE kaggle.sync_state ADD COLUMN completed_at timestamptz, ADD COLUMN condition_says text;
COMMENT ON COLUMN kaggle.sync_state.completed_at IS 'When the final sync, the one after the completion, began; from then on it is asked again, ever less often. Null = not completed, or never synced as such.';
COMMENT ON COLUMN kaggle.sync_state.condition_says IS 'Why the sync condition let no automatic sync begin last: no, or the error it raised; null = it did, or there is none.';

ALTER TABLE kaggle.worker_processes
    ADD COLUMN follow_up interval[],
    ADD CONSTRAINT follow_up_has_three_phases CHECK (cardinality(follow_up) = 3);
COMMENT ON COLUMN kaggle.worker_processes.follow_up IS 'How long after its final sync a completed competition is asked every sync_interval, then hourly, then daily; null = the default of kaggle.sync_pace.';


CREATE TABLE kaggle.sync_condition (
    function text    NOT NULL,
    is_only  boolean NOT NULL DEFAULT true,
    CONSTRAINT sync_condition_pkey PRIMARY KEY (is_only),
    CONSTRAINT there_is_one_condition CHECK (is_only)
);
COMMENT ON TABLE kaggle.sync_condition IS 'The condition that is asked beside the built-in rule before an automatic sync; no row = none. Written by kaggle.set_sync_condition.';
COMMENT ON COLUMN kaggle.sync_condition.function IS 'The function with its schema; as text, since a regprocedure column blocks pg_upgrade.';
COMMENT ON COLUMN kaggle.sync_condition.is_only IS 'Always true: there is one row at most.';

-- Their arguments grew: CREATE OR REPLACE would leave these beside the new ones.
DROP FUNCTION IF EXISTS kaggle.begin_sync(bigint, bigint, text, integer);
DROP FUNCTION IF EXISTS kaggle.register_worker(text, text);
DROP FUNCTION IF EXISTS kaggle.let_go(bigint, bigint, interval);
