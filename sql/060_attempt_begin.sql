-- The beginning of an attempt to sync a competition; its end stands in 075_attempt_end.sql. An attempt has a number that
-- the database issues, and a random token: as long as sync_state holds both (the fence), this attempt alone may apply a board.
--
--            request or due                  grant                     fetched
--   idle ───────────────────► queued ───────────────────► running ───────────────► idle (or failing)
--                                ▲                           │ worker lost
--                                └───────────────────────────┘
--
-- These functions are called by the worker only; they lock one row of sync_state and never one of competitions.

CREATE OR REPLACE FUNCTION kaggle_internal.save_state(state kaggle_internal.sync_state) RETURNS void
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    UPDATE sync_state s
    SET running_run_id = state.running_run_id, running_worker_id = state.running_worker_id,
        running_token = state.running_token, running_since = state.running_since,
        running_reason = state.running_reason, link_revision = state.link_revision, last_run_id = state.last_run_id,
        due_at = state.due_at, due_interval = state.due_interval, retry_at = state.retry_at,
        retry_interval = state.retry_interval, describe_at = state.describe_at,
        last_attempt_at = state.last_attempt_at, last_success_at = state.last_success_at, success_gap = state.success_gap,
        consecutive_failures = state.consecutive_failures, failing_since = state.failing_since,
        last_error = state.last_error, last_error_kind = state.last_error_kind,
        tried_credentials = state.tried_credentials, completed_at = state.completed_at,
        condition_says = state.condition_says, missing_since = state.missing_since
    WHERE s.competition_id = state.competition_id AND s IS DISTINCT FROM state;
END $$;
COMMENT ON FUNCTION kaggle_internal.save_state(kaggle_internal.sync_state) IS 'Writes the state of a competition whose row the caller holds.';

-- By name: an administrator may have added columns.
CREATE OR REPLACE FUNCTION kaggle_internal.store_run(run kaggle.sync_runs) RETURNS void
LANGUAGE sql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    INSERT INTO sync_runs (id, competition_id, reason, observed_at, started_at, finished_at, outcome, board, teams, added,
                           removed, updated, moved, error, error_kind, board_id, replaced_characters, higher_is_better, note)
    VALUES (run.id, run.competition_id, run.reason, run.observed_at, run.started_at, run.finished_at, run.outcome,
            run.board, run.teams, run.added, run.removed, run.updated, run.moved, run.error, run.error_kind,
            run.board_id, coalesce(run.replaced_characters, 0), run.higher_is_better,
            nullif(current_setting('kaggle.note', true), ''))
$$;
COMMENT ON FUNCTION kaggle_internal.store_run(kaggle.sync_runs) IS 'Writes the run of an attempt that ends now.';

CREATE OR REPLACE FUNCTION kaggle_internal.hold_state(competition_id bigint) RETURNS kaggle_internal.sync_state
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    state sync_state;
BEGIN
    INSERT INTO sync_state (competition_id) SELECT hold_state.competition_id
    WHERE NOT EXISTS (SELECT FROM sync_state s WHERE s.competition_id = hold_state.competition_id)
    ON CONFLICT DO NOTHING;
    SELECT * INTO state FROM sync_state s WHERE s.competition_id = hold_state.competition_id FOR UPDATE;
    PERFORM refuse_hidden_rows();
    IF state.link_revision IS NULL THEN
        SELECT c.link_revision INTO state.link_revision FROM competitions c WHERE c.id = state.competition_id;
        PERFORM save_state(state);
    END IF;
    RETURN state;
END $$;
COMMENT ON FUNCTION kaggle_internal.hold_state(bigint) IS 'Locks the state of a competition until commit, and makes it where there is none. So whatever hangs on a competition hangs on a link revision.';

CREATE OR REPLACE FUNCTION kaggle_internal.begin_sync(
    competition_id bigint, worker_id bigint, condition_says text DEFAULT NULL, token uuid DEFAULT NULL,
    OUT action text, OUT run_id bigint, OUT slug text, OUT reason text,
    OUT sync_interval interval, OUT failures integer, OUT failing_for interval, OUT wake_at timestamptz)
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    worker constant worker_processes := registered_worker(begin_sync.worker_id);
    state sync_state;
    competition competitions;
    seen_requests bigint[];
    asked text;          -- the strongest reason among the requests that still hold
    pace interval;       -- between syncs by the clock; null = none
    retry_now boolean;
    has_condition boolean;
    granted boolean;
BEGIN
    action := 'none';
    state := hold_state(begin_sync.competition_id);
    IF state.running_run_id IS NOT NULL THEN
        RETURN;          -- the end of that attempt looks for requests again, under this row lock
    END IF;

    -- Requests first, then the row: whoever's request is seen, that edit is seen too. Then what was deleted: whoever's
    -- row is seen, the deletion of the row that had its id before is seen too.
    SELECT array_agg(r.id) INTO seen_requests
    FROM sync_requests r WHERE r.competition_id = begin_sync.competition_id;
    SELECT * INTO competition FROM competitions c WHERE c.id = begin_sync.competition_id;
    has_condition := EXISTS (SELECT FROM sync_condition);
    PERFORM refuse_hidden_rows();
    IF is_deleted(state) THEN
        action := 'remove';
        RETURN;
    ELSIF competition.id IS NULL THEN          -- hidden, missing for less than an hour, or removed by another job
        DELETE FROM sync_requests r            -- of a deletion that was acted on
        WHERE r.id = ANY (seen_requests) AND r.reason = 'deleted' AND r.link_revision < state.link_revision;
        DELETE FROM sync_state s
        WHERE s.competition_id = begin_sync.competition_id AND s.link_revision IS NULL AND seen_requests IS NULL;
        RETURN;
    END IF;

    -- After a failure, what was tried waits for the retry; what was asked since does not.
    retry_now := coalesce(state.retry_at, '-infinity') <= clock_timestamp()
                 OR (state.last_error_kind = 'person' AND NOT worker.credential = ANY (state.tried_credentials));
    SELECT r.reason INTO asked FROM sync_requests r
    WHERE r.id = ANY (seen_requests) AND request_holds(r.reason, competition) AND (retry_now OR NOT r.tried)
    ORDER BY r.tried, r.reason = 'manual' DESC, r.id DESC LIMIT 1;

    IF competition.status <> 'completed' OR state.link_revision <> competition.link_revision THEN
        state.completed_at := NULL;
    END IF;
    pace := sync_pace(competition, state.completed_at, worker.follow_up);
    IF pace IS NULL THEN
        state.due_at := NULL;
    ELSIF state.due_interval <> pace THEN
        state.due_at := state.due_at - state.due_interval + pace;
        state.due_interval := pace;
    END IF;
    IF asked IS NULL AND pace IS NOT NULL THEN
        asked := CASE WHEN state.link_revision <> competition.link_revision THEN 'linked'
                      WHEN state.retry_at IS NOT NULL AND retry_now
                          THEN CASE WHEN state.consecutive_failures > 0 THEN 'retry' ELSE 'scheduled' END
                      WHEN state.retry_at IS NULL AND coalesce(state.due_at, '-infinity') <= clock_timestamp()
                          THEN 'scheduled' END;
    END IF;

    IF asked IS NULL THEN
        DELETE FROM sync_requests r
        WHERE r.id = ANY (seen_requests) AND NOT request_holds(r.reason, competition);
        IF pace IS NULL AND NOT EXISTS (SELECT FROM sync_requests r WHERE r.id = ANY (seen_requests)) THEN
            state.retry_at := NULL;
        END IF;
        PERFORM save_state(state);
        RETURN;
    END IF;

    IF state.link_revision IS DISTINCT FROM competition.link_revision THEN
        state.consecutive_failures := 0;
        state.failing_since := NULL;
        state.last_error := NULL;
        state.last_error_kind := NULL;
        state.tried_credentials := '{}';
        state.describe_at := '-infinity';
        state.retry_at := NULL;
    END IF;
    state.link_revision := competition.link_revision;
    state.missing_since := NULL;
    IF NOT worker.credential = ANY (state.tried_credentials) THEN
        state.tried_credentials := state.tried_credentials || worker.credential;
    END IF;
    IF asked <> 'manual' AND has_condition THEN
        IF condition_says IS NULL THEN
            action := 'ask';
            RETURN;
        ELSIF condition_says <> 'yes' THEN      -- nothing is dropped: it is asked again as if it were due then
            UPDATE sync_requests r SET tried = true WHERE r.id = ANY (seen_requests) AND NOT r.tried;
            state.condition_says := begin_sync.condition_says;
            state.retry_interval := make_interval(secs => extract(epoch FROM competition.sync_interval)::float8);
            state.retry_at := clock_timestamp() + state.retry_interval;
            PERFORM save_state(state);
            RETURN;
        END IF;
    END IF;

    SELECT g.granted, g.wake_at INTO granted, begin_sync.wake_at
    FROM take_grant(worker.credential, worker.requests_per_minute) g;
    IF NOT granted THEN
        action := 'wait';
        RETURN;
    END IF;

    IF state.describe_at = 'infinity' AND pace IS NOT NULL THEN
        state.describe_at := clock_timestamp();       -- it is followed again
    END IF;
    action := 'sync';
    run_id := nextval('run_ids');
    slug := competition.kaggle_competition_id;
    reason := asked;
    sync_interval := competition.sync_interval;
    failures := state.consecutive_failures;
    failing_for := clock_timestamp() - state.failing_since;
    UPDATE sync_requests r SET run_id = begin_sync.run_id WHERE r.id = ANY (seen_requests);
    state.running_run_id := begin_sync.run_id;
    state.running_worker_id := worker.id;
    state.running_token := begin_sync.token;
    state.running_since := clock_timestamp();
    state.running_reason := asked;
    state.last_run_id := begin_sync.run_id;
    state.last_attempt_at := state.running_since;
    state.condition_says := NULL;
    PERFORM save_state(state);
END $$;
COMMENT ON FUNCTION kaggle_internal.begin_sync(bigint, bigint, text, uuid) IS 'Begins an attempt if one is wanted now. condition_says: what kaggle_internal.ask_condition said: yes, no, or an error; null = not asked. token: a random one of the caller, by which it knows the attempt. action: sync (run_id and slug are given), none (nothing to do, or one is running), ask (ask the condition and call again), wait (no grant before wake_at; nothing was consumed), remove (the row was deleted, see kaggle_internal.remove_deleted).';
