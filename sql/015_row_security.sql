-- A row that row level security hides looks like one that was never there. So nothing is concluded from an absence where
-- rows may be hidden: competitions that are seen are synced and the others are left alone, and of the tables that only
-- the worker writes, a role must see every row. Both are asked after the reading: from then on our lock on a table keeps row
-- level security as it was when we read.

CREATE OR REPLACE FUNCTION kaggle_internal.refuse_hidden_rows() RETURNS void
LANGUAGE plpgsql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    hidden constant text := (
        SELECT t.name FROM unnest(ARRAY[
            'kaggle_internal.sync_requests', 'kaggle_internal.sync_state', 'kaggle.sync_runs', 'kaggle_internal.sync_condition',
            'kaggle_internal.worker_processes', 'kaggle_internal.kaggle_budget', 'kaggle.boards', 'kaggle.leaderboard_entries',
            'kaggle_internal.packs', 'kaggle_internal.past_names', 'procrastinate.procrastinate_jobs', 'procrastinate.procrastinate_workers'
        ]) AS t (name)
        WHERE row_security_active(t.name) LIMIT 1);
BEGIN
    IF hidden IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = format('row level security hides rows of %s from role "%s"', hidden, current_user),
            HINT = format('ALTER ROLE %I BYPASSRLS; or make it the owner of the table, without FORCE ROW LEVEL SECURITY.',
                          current_user);
    END IF;
END $$;
COMMENT ON FUNCTION kaggle_internal.refuse_hidden_rows() IS 'Raises insufficient_privilege where row level security hides rows of a table that the worker relies on from the present role. Call it after the reading, and before anything is concluded.';
