-- The end of an attempt: its board is applied or confirmed, it fails, or it is taken from a worker that is gone.

CREATE OR REPLACE FUNCTION kaggle_internal.hold_fence(
    run_id bigint, token uuid, OUT state kaggle_internal.sync_state, OUT competition kaggle.competitions, OUT standing text)
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    SELECT * INTO state FROM sync_state s 
    WHERE s.running_run_id = hold_fence.run_id AND s.running_token IS NOT DISTINCT FROM hold_fence.token FOR UPDATE;
    PERFORM refuse_hidden_rows();
    IF state.competition_id IS NULL OR NOT is_on_known_timeline() THEN
        standing := 'superseded';
        RETURN;
    END IF;
    SELECT * INTO competition FROM competitions c WHERE c.id = state.competition_id;
    standing := CASE WHEN competition.id IS NULL AND row_security_active('kaggle.competitions')
                         THEN 'hidden by row level security'
                     WHEN competition.id IS NULL THEN 'deleted'
                     WHEN competition.link_revision <> state.link_revision THEN 'linked elsewhere'
                     ELSE 'held' END;
END $$;
COMMENT ON FUNCTION kaggle_internal.hold_fence(bigint, uuid) IS 'Locks the state of the competition that this attempt syncs, until commit. standing: held; superseded (another attempt took over: write nothing); deleted, hidden by row level security, or linked elsewhere (the download is discarded).';

CREATE OR REPLACE FUNCTION kaggle_internal.release_fence(state kaggle_internal.sync_state, tried boolean) RETURNS void
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    UPDATE sync_requests r SET run_id = NULL, tried = coalesce(release_fence.tried, r.tried)
    WHERE r.competition_id = state.competition_id AND r.run_id = state.running_run_id;
    state.running_run_id := NULL;
    state.running_worker_id := NULL;
    state.running_token := NULL;
    state.running_since := NULL;
    state.running_reason := NULL;
    PERFORM save_state(state);
    -- Jobs that met the attempt have left the decision to its end.
    IF EXISTS (SELECT FROM sync_requests r WHERE r.competition_id = state.competition_id AND NOT r.tried) THEN
        PERFORM queue_job('sync', state.competition_id, 5);
    END IF;
    PERFORM refuse_hidden_rows();
END $$;
COMMENT ON FUNCTION kaggle_internal.release_fence(kaggle_internal.sync_state, boolean) IS 'Ends the attempt that runs, and saves the state without it. What it was asked for is kept: tried (it waits for the retry), not tried (it is begun anew), or as it was (null).';

CREATE OR REPLACE FUNCTION kaggle_internal.end_run(
    state kaggle_internal.sync_state, competition kaggle.competitions, run kaggle.sync_runs, retry_in interval)
RETURNS void
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    failed constant boolean := run.outcome = 'failed';
    succeeded constant boolean := run.outcome IN ('changed', 'unchanged');
    pace interval;
    ended text[];              -- reasons of an end, among what it was asked for
BEGIN
    run.id := state.running_run_id;
    run.competition_id := state.competition_id;
    run.reason := state.running_reason;
    run.observed_at := coalesce(run.observed_at, state.running_since);
    run.started_at := state.running_since;
    run.finished_at := clock_timestamp();
    PERFORM store_run(run);

    ended := ARRAY(SELECT r.reason FROM sync_requests r
                   WHERE succeeded AND r.competition_id = state.competition_id AND r.run_id = run.id
                     AND r.reason IN ('completed', 'event_ended'));
    IF competition.status <> 'completed' THEN
        state.completed_at := NULL;
    ELSIF 'completed' = ANY (ended) AND (competition.end_date IS NOT NULL OR state.last_success_at IS NOT NULL) THEN
        state.completed_at := state.running_since;       -- one that came as completed is followed once its end is known
    END IF;
    IF cardinality(ended) > 0 THEN
        state.describe_at := least(state.describe_at, clock_timestamp());      -- the end may have been moved
    END IF;
    -- The next due time is counted from the previous one; times that passed unserved are left out.
    pace := CASE WHEN competition.id IS NULL THEN state.due_interval
                 ELSE sync_pace(competition, state.completed_at, (SELECT w.follow_up FROM worker_processes w
                                                                  WHERE w.id = state.running_worker_id)) END;
    IF state.due_interval <> pace THEN
        state.due_at := state.due_at - state.due_interval + pace;
    END IF;
    state.due_interval := pace;
    IF pace IS NULL THEN
        state.due_at := NULL;
    ELSIF state.due_at IS NULL THEN
        state.due_at := state.running_since + pace;
    ELSIF state.due_at <= state.running_since THEN
        state.due_at := state.due_at + pace * (1 + floor(extract(epoch FROM state.running_since - state.due_at)
                                                         / extract(epoch FROM pace)));
    END IF;

    state.retry_at := CASE WHEN failed THEN clock_timestamp() + retry_in END;
    state.retry_interval := CASE WHEN failed THEN retry_in END;
    IF failed THEN
        state.consecutive_failures := state.consecutive_failures + 1;
        state.failing_since := coalesce(state.failing_since, run.finished_at);
        state.last_error := run.error;
        state.last_error_kind := run.error_kind;
    ELSIF succeeded THEN
        DELETE FROM sync_requests r WHERE r.competition_id = state.competition_id AND r.run_id = run.id;
        state.success_gap := run.finished_at - state.last_success_at;
        state.last_success_at := run.finished_at;
        state.tried_credentials := '{}';
        state.consecutive_failures := 0;
        state.failing_since := NULL;
        state.last_error := NULL;
        state.last_error_kind := NULL;
    END IF;
    -- What a skipped attempt was asked for was never tried with the other link.
    PERFORM release_fence(state, failed);
    IF succeeded AND state.describe_at <= clock_timestamp() THEN
        PERFORM queue_job('describe', state.competition_id, -5);
    END IF;
    IF run.outcome = 'changed' THEN
        PERFORM pg_notify('kaggle_leaderboard', json_build_object(
            'competition_id', competition.id, 'kaggle_competition_id', competition.kaggle_competition_id,
            'run_id', run.id, 'teams', run.teams, 'added', run.added, 'removed', run.removed,
            'updated', run.updated, 'moved', run.moved)::text);
    ELSE
        PERFORM pg_notify('kaggle_status', json_build_object('type', 'status', 'competition_id', state.competition_id)::text);
    END IF;
END $$;
COMMENT ON FUNCTION kaggle_internal.end_run(kaggle_internal.sync_state, kaggle.competitions, kaggle.sync_runs, interval) IS 'Ends the attempt that holds the fence: writes its run, counts the next due time or the retry, lets go of its requests (kept after a failure), looks for requests that came meanwhile, and tells listeners.';

CREATE OR REPLACE FUNCTION kaggle_internal.check_source(is_simulated boolean, marks boolean DEFAULT true) RETURNS void
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    is_other boolean;
BEGIN
    IF EXISTS (SELECT FROM marked_source s WHERE s.is_simulated = check_source.is_simulated) THEN
        RETURN;
    END IF;
    IF marks THEN
        -- One that is there waits for one that is being written.
        INSERT INTO marked_source AS s (is_simulated) VALUES (check_source.is_simulated)
        ON CONFLICT ON CONSTRAINT marked_source_pkey DO UPDATE SET is_simulated = excluded.is_simulated
        WHERE s.is_simulated = excluded.is_simulated OR NOT EXISTS (SELECT FROM boards b WHERE b.competition_id IS NOT NULL);
        is_other := NOT FOUND;
    ELSE
        is_other := EXISTS (SELECT FROM board_source);
    END IF;
    IF is_other THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = CASE WHEN check_source.is_simulated
                           THEN 'this database holds boards of Kaggle, and those of the simulator are invented'
                           ELSE 'this database holds boards of the simulator, which are invented, and not Kaggle''s' END,
            HINT = 'use another database, or start over: DELETE FROM kaggle.competitions;';
    END IF;
END $$;
COMMENT ON FUNCTION kaggle_internal.check_source(boolean, boolean) IS 'Raises object_not_in_prerequisite_state where there are boards from the other source, Kaggle or the simulator. marks: else notes that boards come from this one.';

CREATE OR REPLACE FUNCTION kaggle_internal.confirm_board(
    run_id bigint, kind text, digest bytea, is_simulated boolean DEFAULT false, token uuid DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    held record;
    board boards;
    run sync_runs;
BEGIN
    PERFORM check_source(is_simulated);
    SELECT * INTO board FROM boards b WHERE b.id = board_of_run(confirm_board.run_id, confirm_board.kind);
    IF NOT FOUND OR board.digest IS DISTINCT FROM confirm_board.digest THEN
        RETURN NULL;
    END IF;
    SELECT * INTO held FROM hold_fence(confirm_board.run_id, confirm_board.token);
    IF held.standing = 'superseded' THEN
        RETURN held.standing;
    END IF;
    run.outcome := CASE held.standing WHEN 'held' THEN 'unchanged' ELSE 'skipped' END;
    IF run.outcome = 'unchanged' THEN
        run.observed_at := greatest((held.state).running_since, board.observed_at + interval '1 microsecond');
        UPDATE boards b SET observed_at = run.observed_at WHERE b.id = board.id AND b.competition_id IS NOT NULL;
        IF NOT FOUND THEN
            RETURN NULL;           -- it was dropped meanwhile
        END IF;
        run.board := board.kind;
        run.board_id := board.id;
        run.teams := board.teams;
        run.added := 0; run.removed := 0; run.updated := 0; run.moved := 0;
    ELSE
        run.error := 'the competition was ' || held.standing;
    END IF;
    PERFORM end_run(held.state, held.competition, run, NULL);
    RETURN run.outcome;
END $$;
COMMENT ON FUNCTION kaggle_internal.confirm_board(bigint, text, bytea, boolean, uuid) IS 'Checks where the board comes from, and ends the attempt as unchanged if the file has the bytes that were applied last, without looking at an entry. Null: it has not; stage and apply it.';

CREATE OR REPLACE FUNCTION kaggle_internal.apply_board(
    run_id bigint, kind text, digest bytea, replaced_characters bigint, key_gap bigint, token uuid DEFAULT NULL)
RETURNS kaggle.sync_runs
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    held record;
    board boards;
    run sync_runs;
BEGIN
    SELECT * INTO held FROM hold_fence(apply_board.run_id, apply_board.token);
    IF held.standing = 'superseded' THEN
        RETURN NULL;
    ELSIF held.standing <> 'held' THEN
        run.outcome := 'skipped';
        run.error := 'the competition was ' || held.standing;
        PERFORM end_run(held.state, held.competition, run, NULL);
        RETURN run;
    END IF;

    board := board_for(held.competition, apply_board.kind);
    run := make_board(board, greatest((held.state).running_since, board.observed_at + interval '1 microsecond'),
                      apply_board.digest, apply_board.replaced_characters, key_gap);
    PERFORM end_run(held.state, held.competition, run, NULL);
    RETURN run;
END $$;
COMMENT ON FUNCTION kaggle_internal.apply_board(bigint, text, bytea, bigint, bigint, uuid) IS 'Makes the staged rows the board and ends the attempt. Null: another attempt has taken over and nothing was written. Call it and COMMIT in one round trip: it holds the fence.';

CREATE OR REPLACE FUNCTION kaggle_internal.fail_run(
    run_id bigint, worker_id bigint, error text, error_kind text, retry_in interval, block_for interval DEFAULT NULL,
    token uuid DEFAULT NULL)
RETURNS text
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    held record;
    run sync_runs;
BEGIN
    SELECT * INTO held FROM hold_fence(fail_run.run_id, fail_run.token);
    -- The budget after the fence, as begin_sync and begin_describe lock them.
    IF block_for IS NOT NULL THEN
        PERFORM block_budget((registered_worker(fail_run.worker_id)).credential, block_for);
    END IF;
    IF held.standing = 'superseded' THEN
        -- It may have ended well: the answer to its COMMIT was lost.
        RETURN coalesce((SELECT r.outcome FROM sync_runs r WHERE r.id = fail_run.run_id), held.standing);
    END IF;
    run.outcome := CASE held.standing WHEN 'held' THEN 'failed' ELSE 'skipped' END;
    run.error := CASE held.standing WHEN 'held' THEN fail_run.error ELSE 'the competition was ' || held.standing END;
    run.error_kind := CASE held.standing WHEN 'held' THEN fail_run.error_kind END;
    PERFORM end_run(held.state, held.competition, run, retry_in);
    RETURN run.outcome;
END $$;
COMMENT ON FUNCTION kaggle_internal.fail_run(bigint, bigint, text, text, interval, interval, uuid) IS 'Ends an attempt that failed: the run says why, retry_in when it is tried again; block_for pauses every request with the credential of the worker (429). Returns failed or skipped; what it ended with if it has ended; superseded if another attempt took over.';

CREATE OR REPLACE FUNCTION kaggle_internal.abandon_run(state kaggle_internal.sync_state) RETURNS void
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    PERFORM release_fence(state, NULL);
    PERFORM queue_job('sync', state.competition_id, 5);
END $$;
COMMENT ON FUNCTION kaggle_internal.abandon_run(kaggle_internal.sync_state) IS 'Takes the fence from the attempt that runs and has it begun anew. The caller holds the row of sync_state.';

CREATE OR REPLACE FUNCTION kaggle_internal.abandon_runs(worker_id bigint) RETURNS bigint
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    lost sync_state;
    abandoned bigint := 0;
BEGIN
    FOR lost IN SELECT s.* FROM sync_state s
                WHERE (s.running_worker_id = abandon_runs.worker_id OR abandon_runs.worker_id IS NULL)
                  AND s.running_run_id IS NOT NULL
                FOR UPDATE SKIP LOCKED LOOP
        PERFORM abandon_run(lost);
        abandoned := abandoned + 1;
    END LOOP;
    RETURN abandoned;
END $$;
COMMENT ON FUNCTION kaggle_internal.abandon_runs(bigint) IS 'Takes the fence from every attempt of a worker that is gone, of all workers if it is null, and has them begun anew. Returns how many.';

CREATE OR REPLACE FUNCTION kaggle_internal.let_go(competition_id bigint, token uuid, retry_in interval, error text)
RETURNS void
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    state sync_state;
BEGIN
    SELECT * INTO state FROM sync_state s
    WHERE s.competition_id = let_go.competition_id AND s.running_token = let_go.token FOR UPDATE;
    IF NOT FOUND THEN
        PERFORM refuse_hidden_rows();
        RETURN;
    END IF;
    state.retry_at := clock_timestamp() + retry_in;
    state.retry_interval := retry_in;
    state.consecutive_failures := state.consecutive_failures + 1;
    state.failing_since := coalesce(state.failing_since, clock_timestamp());
    state.last_error := let_go.error;
    state.last_error_kind := 'ours';
    PERFORM release_fence(state, true);
END $$;
COMMENT ON FUNCTION kaggle_internal.let_go(bigint, uuid, interval, text) IS 'A living worker gives up the attempt that one of its jobs began, if it still runs: its end was refused, so that no run could say why, or its number never arrived. It is tried again after a while.';
