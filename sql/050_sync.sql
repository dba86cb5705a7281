-- One attempt to sync a competition: it begins, it ends. An attempt has a number that the database issues;
-- as long as sync_state holds that number, the attempt alone may apply a board.
--
--            request or due                  grant                     fetched
--   idle ───────────────────► queued ───────────────────► running ───────────────► idle (or failing)
--                                ▲                           │ worker lost
--                                └───────────────────────────┘
--
-- These functions are called by the worker only; they lock one row of sync_state and never one of competitions.

CREATE OR REPLACE FUNCTION kaggle_internal.grant_spacing(requests_per_minute integer) RETURNS interval
LANGUAGE sql IMMUTABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    -- 60.5 s instead of 60: grants at the exact spacing would put one too many into some 60 s.
    SELECT CASE WHEN requests_per_minute > 0 THEN make_interval(secs => 60.5 / requests_per_minute) END
$$;
COMMENT ON FUNCTION kaggle_internal.grant_spacing(integer) IS
    'Time between two requests to Kaggle at so many a minute; null without a limit.';


CREATE OR REPLACE FUNCTION kaggle_internal.next_grant(credential text, requests_per_minute integer) RETURNS timestamptz
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    spacing constant interval := grant_spacing(requests_per_minute);
BEGIN
    -- A moment further ahead than it can have been set was set by a clock that was ahead.
    UPDATE kaggle_budget b
    SET next_grant_at = least(b.next_grant_at, clock_timestamp() + coalesce(b.grant_spacing, spacing)),
        blocked_until = least(b.blocked_until, clock_timestamp() + b.blocked_for)
    WHERE b.credential = next_grant.credential
      AND (b.next_grant_at > clock_timestamp() + coalesce(b.grant_spacing, spacing)
           OR b.blocked_until > clock_timestamp() + b.blocked_for);
    RETURN (SELECT greatest(CASE WHEN spacing IS NOT NULL THEN b.next_grant_at END, b.blocked_until)
            FROM kaggle_budget b WHERE b.credential = next_grant.credential);
END $$;
COMMENT ON FUNCTION kaggle_internal.next_grant(text, integer) IS
    'When the next request of this credential may go out; null where none ever has. It is at most one spacing away, or the pause that Kaggle asked for, though the clock may have been ahead for a while.';


CREATE OR REPLACE FUNCTION kaggle_internal.take_grant(
    credential text, requests_per_minute integer, OUT granted boolean, OUT wake_at timestamptz)
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    IF requests_per_minute > 0 THEN
        INSERT INTO kaggle_budget (credential) SELECT take_grant.credential
        WHERE NOT EXISTS (SELECT FROM kaggle_budget b WHERE b.credential = take_grant.credential)
        ON CONFLICT DO NOTHING;
        UPDATE kaggle_budget b
        SET next_grant_at = clock_timestamp() + grant_spacing(requests_per_minute),
            grant_spacing = grant_spacing(requests_per_minute)
        WHERE b.credential = take_grant.credential
          AND greatest(b.next_grant_at, b.blocked_until) <= clock_timestamp();
        granted := FOUND;
    ELSE
        granted := NOT EXISTS (SELECT FROM kaggle_budget b
                               WHERE b.credential = take_grant.credential AND b.blocked_until > clock_timestamp());
    END IF;
    IF NOT granted THEN
        wake_at := next_grant(credential, requests_per_minute);
    END IF;
END $$;
COMMENT ON FUNCTION kaggle_internal.take_grant(text, integer) IS
    'One request to Kaggle may go out now, or wake_at says when to ask again. Grants of all workers are evenly spaced, without a burst; 0 a minute = no limit. A pause after a 429 holds for all.';


CREATE OR REPLACE FUNCTION kaggle_internal.block_budget(credential text, block_for interval) RETURNS void
LANGUAGE sql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    INSERT INTO kaggle_budget AS b (credential, blocked_until, blocked_for)
    VALUES (block_budget.credential, clock_timestamp() + block_for, block_for)
    ON CONFLICT ON CONSTRAINT kaggle_budget_pkey
    DO UPDATE SET blocked_until = excluded.blocked_until, blocked_for = excluded.blocked_for
    WHERE b.blocked_until < excluded.blocked_until
$$;
COMMENT ON FUNCTION kaggle_internal.block_budget(text, interval) IS
    'Kaggle asks for a pause (429): no request of this credential goes out for so long.';


CREATE OR REPLACE FUNCTION kaggle_internal.sync_pace(
    competition kaggle.competitions, completed_at timestamptz, worker_id bigint) RETURNS interval
LANGUAGE sql VOLATILE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    -- In seconds: a day of an interval is not always 24 hours where the session's time zone has summer time.
    SELECT make_interval(secs => extract(epoch FROM CASE
        WHEN NOT competition.auto_sync OR competition.kaggle_competition_id IS NULL THEN NULL
        WHEN competition.status = 'ongoing' THEN competition.sync_interval
        WHEN competition.status = 'completed' THEN CASE
            WHEN since < phases[1] THEN competition.sync_interval
            WHEN since < phases[1] + phases[2] THEN greatest(competition.sync_interval, '1 hour')
            WHEN since < phases[1] + phases[2] + phases[3] THEN greatest(competition.sync_interval, '1 day') END
    END)::float8)
    FROM (SELECT clock_timestamp() - completed_at AS since,
                 coalesce((SELECT w.follow_up FROM worker_processes w WHERE w.id = worker_id),
                          ARRAY['2 hours', '1 day', '30 days']::interval[]) AS phases) AS follow_up
$$;
COMMENT ON FUNCTION kaggle_internal.sync_pace(kaggle.competitions, timestamptz, bigint) IS
    'Time between syncs by the clock: sync_interval while ongoing; after the final sync as often for 2 hours, then hourly for a day, then daily for 30 days, as that worker was told, since the private board and removals follow; null = none.';


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
        IF FOUND THEN
            UPDATE sync_state s SET link_revision = state.link_revision WHERE s.competition_id = state.competition_id;
        END IF;
    END IF;
    RETURN state;
END $$;
COMMENT ON FUNCTION kaggle_internal.hold_state(bigint) IS
    'Locks the state of a competition until commit, and makes it where there is none. So whatever hangs on a competition hangs on a link revision.';


CREATE OR REPLACE FUNCTION kaggle_internal.begin_sync(
    competition_id bigint, worker_id bigint, credential text, requests_per_minute integer,
    condition_says text DEFAULT NULL, job_id bigint DEFAULT NULL,
    OUT action text, OUT run_id bigint, OUT slug text, OUT reason text,
    OUT sync_interval interval, OUT failures integer, OUT failing_for interval, OUT wake_at timestamptz)
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    state sync_state;
    competition competitions;
    seen_requests bigint[];
    asked text;          -- the strongest reason among the requests that still hold
    pace interval;       -- between syncs by the clock; null = none
    put_off interval;
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
                 OR (state.last_error_kind = 'person' AND NOT credential = ANY (state.tried_credentials));
    SELECT r.reason INTO asked FROM sync_requests r
    WHERE r.id = ANY (seen_requests) AND request_holds(r.reason, competition) AND (retry_now OR NOT r.tried)
    ORDER BY r.tried, r.reason = 'manual' DESC, r.id DESC LIMIT 1;

    IF competition.status <> 'completed' OR state.link_revision <> competition.link_revision THEN
        state.completed_at := NULL;
    END IF;
    pace := sync_pace(competition, state.completed_at, begin_sync.worker_id);
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
        UPDATE sync_state s
        SET due_at = state.due_at, due_interval = state.due_interval, retry_at = state.retry_at,
            completed_at = state.completed_at
        WHERE s.competition_id = begin_sync.competition_id
          AND (s.due_at, s.due_interval, s.retry_at, s.completed_at)
              IS DISTINCT FROM (state.due_at, state.due_interval, state.retry_at, state.completed_at);
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
    IF NOT credential = ANY (state.tried_credentials) THEN
        state.tried_credentials := state.tried_credentials || credential;
    END IF;
    IF asked <> 'manual' AND has_condition THEN
        IF condition_says IS NULL THEN
            action := 'ask';
            RETURN;
        ELSIF condition_says <> 'yes' THEN      -- nothing is dropped: it is asked again as if it were due then
            put_off := make_interval(secs => extract(epoch FROM competition.sync_interval)::float8);
            UPDATE sync_requests r SET tried = true WHERE r.id = ANY (seen_requests) AND NOT r.tried;
            UPDATE sync_state s
            SET condition_says = begin_sync.condition_says,
                retry_at = clock_timestamp() + put_off, retry_interval = put_off, completed_at = state.completed_at,
                missing_since = NULL, link_revision = competition.link_revision, tried_credentials = state.tried_credentials,
                describe_at = state.describe_at, consecutive_failures = state.consecutive_failures,
                failing_since = state.failing_since, last_error = state.last_error,
                last_error_kind = state.last_error_kind
            WHERE s.competition_id = begin_sync.competition_id;
            RETURN;
        END IF;
    END IF;

    SELECT g.granted, g.wake_at INTO granted, begin_sync.wake_at
    FROM take_grant(credential, requests_per_minute) g;
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
    UPDATE sync_state s
    SET running_run_id = begin_sync.run_id, running_worker_id = begin_sync.worker_id,
        running_job_id = begin_sync.job_id, running_since = clock_timestamp(), running_reason = asked,
        link_revision = competition.link_revision, last_run_id = begin_sync.run_id,
        last_attempt_at = clock_timestamp(), tried_credentials = state.tried_credentials, missing_since = NULL,
        due_at = state.due_at, due_interval = state.due_interval, retry_at = state.retry_at,
        describe_at = state.describe_at, completed_at = state.completed_at, condition_says = NULL,
        consecutive_failures = state.consecutive_failures, failing_since = state.failing_since, last_error = state.last_error, last_error_kind = state.last_error_kind
    WHERE s.competition_id = begin_sync.competition_id;
END $$;
COMMENT ON FUNCTION kaggle_internal.begin_sync(bigint, bigint, text, integer, text, bigint) IS
    'Begins an attempt if one is wanted now. condition_says: what kaggle_internal.ask_condition said: yes, no, or an error; null = not asked. job_id: the job of the queue that begins it. action: sync (run_id and slug are given), none (nothing to do, or one is running), ask (ask the condition and call again), wait (no grant before wake_at; nothing was consumed), remove (the row was deleted, see kaggle_internal.remove_deleted).';


CREATE OR REPLACE FUNCTION kaggle_internal.request_holds(reason text, competition kaggle.competitions) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT (competition).kaggle_competition_id IS NOT NULL AND CASE reason
        WHEN 'manual' THEN true
        WHEN 'completed' THEN (competition).auto_sync AND (competition).status = 'completed'
        WHEN 'interval' THEN false            -- only the due time is counted anew
        WHEN 'deleted' THEN false
        ELSE (competition).auto_sync AND (competition).status = 'ongoing' END
$$;
COMMENT ON FUNCTION kaggle_internal.request_holds(text, kaggle.competitions) IS
    'Whether a request is still wanted as the row stands now: switching off cancels what has not begun, except what was asked for by hand.';


CREATE OR REPLACE FUNCTION kaggle_internal.hold_fence(
    run_id bigint, OUT state kaggle_internal.sync_state, OUT competition kaggle.competitions, OUT standing text)
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    SELECT * INTO state FROM sync_state s WHERE s.running_run_id = hold_fence.run_id FOR UPDATE;
    PERFORM refuse_hidden_rows();
    IF state.competition_id IS NULL THEN
        standing := 'superseded';
        RETURN;
    END IF;
    -- Events first, as TRUNCATE ... CASCADE takes them: the board's history asks for their ends later.
    LOCK TABLE events IN ACCESS SHARE MODE;
    SELECT * INTO competition FROM competitions c WHERE c.id = state.competition_id;
    standing := CASE WHEN competition.id IS NULL AND row_security_active('kaggle.competitions')
                         THEN 'hidden by row level security'
                     WHEN competition.id IS NULL THEN 'deleted'
                     WHEN competition.link_revision <> state.link_revision THEN 'linked elsewhere'
                     ELSE 'held' END;
END $$;
COMMENT ON FUNCTION kaggle_internal.hold_fence(bigint) IS
    'Locks the state of the competition that this attempt syncs, until commit. standing: held; superseded (another attempt took over: write nothing); deleted, hidden by row level security, or linked elsewhere (the download is discarded).';


CREATE OR REPLACE FUNCTION kaggle_internal.end_run(
    state kaggle_internal.sync_state, competition kaggle.competitions, run kaggle.sync_runs, retry_in interval)
RETURNS void
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    failed constant boolean := run.outcome = 'failed';
    succeeded constant boolean := run.outcome IN ('changed', 'unchanged');
    due timestamptz := state.due_at;
    pace interval;
BEGIN
    run.id := state.running_run_id;
    run.competition_id := state.competition_id;
    run.reason := state.running_reason;
    run.observed_at := coalesce(run.observed_at, state.running_since);
    run.started_at := state.running_since;
    run.finished_at := clock_timestamp();
    run.replaced_characters := coalesce(run.replaced_characters, 0);
    INSERT INTO sync_runs VALUES (run.*);

    IF competition.status <> 'completed' THEN
        state.completed_at := NULL;
    ELSIF succeeded AND EXISTS (SELECT FROM sync_requests r WHERE r.competition_id = state.competition_id
                                                             AND r.run_id = run.id AND r.reason = 'completed') THEN
        state.completed_at := state.running_since;
    END IF;
    -- The next due time is counted from the previous one; times that passed unserved are left out.
    pace := CASE WHEN competition.id IS NULL THEN state.due_interval
                 ELSE sync_pace(competition, state.completed_at, state.running_worker_id) END;
    IF state.due_interval <> pace THEN
        due := due - state.due_interval + pace;
    END IF;
    IF pace IS NULL THEN
        due := NULL;
    ELSIF due IS NULL THEN
        due := state.running_since + pace;
    ELSIF due <= state.running_since THEN
        due := due + pace * (1 + floor(extract(epoch FROM state.running_since - due) / extract(epoch FROM pace)));
    END IF;

    UPDATE sync_state s
    SET running_run_id = NULL, running_worker_id = NULL, running_job_id = NULL, running_since = NULL,
        running_reason = NULL, due_at = due, due_interval = pace, completed_at = state.completed_at,
        retry_at = CASE WHEN failed THEN clock_timestamp() + retry_in END,
        retry_interval = CASE WHEN failed THEN retry_in END,
        tried_credentials = CASE WHEN succeeded THEN '{}' ELSE s.tried_credentials END,
        last_success_at = CASE WHEN succeeded THEN run.finished_at ELSE s.last_success_at END,
        consecutive_failures = CASE WHEN failed THEN s.consecutive_failures + 1
                                    WHEN succeeded THEN 0 ELSE s.consecutive_failures END,
        failing_since = CASE WHEN failed THEN coalesce(s.failing_since, run.finished_at)
                             WHEN succeeded THEN NULL ELSE s.failing_since END,
        last_error = CASE WHEN failed THEN run.error WHEN succeeded THEN NULL ELSE s.last_error END,
        last_error_kind = CASE WHEN failed THEN run.error_kind WHEN succeeded THEN NULL ELSE s.last_error_kind END
    WHERE s.competition_id = state.competition_id;

    IF failed THEN
        UPDATE sync_requests r SET run_id = NULL, tried = true
        WHERE r.competition_id = state.competition_id AND r.run_id = run.id;
    ELSIF run.outcome = 'skipped' THEN    -- what was asked is still to do, and was never tried with the other link
        UPDATE sync_requests r SET run_id = NULL, tried = false
        WHERE r.competition_id = state.competition_id AND r.run_id = run.id;
    ELSE
        DELETE FROM sync_requests r WHERE r.competition_id = state.competition_id AND r.run_id = run.id;
    END IF;

    -- Jobs that met this attempt have left the decision to us.
    IF EXISTS (SELECT FROM sync_requests r
               WHERE r.competition_id = state.competition_id AND NOT r.tried) THEN
        PERFORM queue_job('sync', state.competition_id, 5);
    END IF;
    IF succeeded AND state.describe_at <= clock_timestamp() THEN
        PERFORM queue_job('describe', state.competition_id, -5);
    END IF;
    IF run.outcome = 'changed' THEN
        PERFORM pg_notify('kaggle_leaderboard', json_build_object(
            'competition_id', competition.id, 'kaggle_competition_id', competition.kaggle_competition_id,
            'run_id', run.id, 'teams', run.teams, 'added', run.added, 'removed', run.removed,
            'updated', run.updated, 'moved', run.moved)::text);
    END IF;
    PERFORM refuse_hidden_rows();
END $$;
COMMENT ON FUNCTION kaggle_internal.end_run(kaggle_internal.sync_state, kaggle.competitions, kaggle.sync_runs, interval) IS
    'Ends the attempt that holds the fence: writes its run, counts the next due time or the retry, lets go of its requests (kept after a failure), looks for requests that came meanwhile, and tells listeners.';


CREATE OR REPLACE FUNCTION kaggle_internal.fail_run(
    run_id bigint, error text, error_kind text, retry_in interval,
    credential text DEFAULT NULL, block_for interval DEFAULT NULL)
RETURNS text
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    held record;
    run sync_runs;
BEGIN
    SELECT * INTO held FROM hold_fence(fail_run.run_id);
    -- The budget after the fence, as begin_sync and begin_describe lock them.
    IF block_for IS NOT NULL THEN
        PERFORM block_budget(fail_run.credential, block_for);
    END IF;
    IF held.standing = 'superseded' THEN
        RETURN held.standing;
    END IF;
    run.outcome := CASE held.standing WHEN 'held' THEN 'failed' ELSE 'skipped' END;
    run.error := CASE held.standing WHEN 'held' THEN fail_run.error ELSE 'the competition was ' || held.standing END;
    run.error_kind := CASE held.standing WHEN 'held' THEN fail_run.error_kind END;
    PERFORM end_run(held.state, held.competition, run, retry_in);
    RETURN run.outcome;
END $$;
COMMENT ON FUNCTION kaggle_internal.fail_run(bigint, text, text, interval, text, interval) IS
    'Ends an attempt that failed: the run says why, retry_in when it is tried again; block_for pauses every request of that credential (429). Returns failed, skipped or superseded.';


CREATE OR REPLACE FUNCTION kaggle_internal.abandon_run(competition_id bigint, run_id bigint) RETURNS void
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    UPDATE sync_state s
    SET running_run_id = NULL, running_worker_id = NULL, running_job_id = NULL, running_since = NULL,
        running_reason = NULL
    WHERE s.competition_id = abandon_run.competition_id;
    UPDATE sync_requests r SET run_id = NULL
    WHERE r.competition_id = abandon_run.competition_id AND r.run_id = abandon_run.run_id;
    PERFORM queue_job('sync', abandon_run.competition_id, 5);
    PERFORM refuse_hidden_rows();
END $$;
COMMENT ON FUNCTION kaggle_internal.abandon_run(bigint, bigint) IS
    'Takes the fence from an attempt and has it begun anew. The caller holds the row of sync_state.';


CREATE OR REPLACE FUNCTION kaggle_internal.abandon_runs(worker_id bigint) RETURNS bigint
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    lost record;
    abandoned bigint := 0;
BEGIN
    FOR lost IN SELECT s.competition_id, s.running_run_id FROM sync_state s
                WHERE s.running_worker_id = abandon_runs.worker_id AND s.running_run_id IS NOT NULL
                FOR UPDATE SKIP LOCKED LOOP
        PERFORM abandon_run(lost.competition_id, lost.running_run_id);
        abandoned := abandoned + 1;
    END LOOP;
    RETURN abandoned;
END $$;
COMMENT ON FUNCTION kaggle_internal.abandon_runs(bigint) IS
    'Takes the fence from every attempt of a worker that is gone and has them begun anew. Returns how many.';


CREATE OR REPLACE FUNCTION kaggle_internal.let_go(competition_id bigint, job_id bigint, retry_in interval, error text)
RETURNS void
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    let_go_of bigint;
BEGIN
    SELECT s.running_run_id INTO let_go_of FROM sync_state s
    WHERE s.competition_id = let_go.competition_id AND s.running_job_id = let_go.job_id FOR UPDATE;
    PERFORM refuse_hidden_rows();
    IF let_go_of IS NULL THEN
        RETURN;
    END IF;
    UPDATE sync_state s
    SET running_run_id = NULL, running_worker_id = NULL, running_job_id = NULL, running_since = NULL,
        running_reason = NULL, retry_at = clock_timestamp() + retry_in, retry_interval = retry_in, consecutive_failures = s.consecutive_failures + 1,
        failing_since = coalesce(s.failing_since, clock_timestamp()),
        last_error = let_go.error, last_error_kind = 'ours'
    WHERE s.competition_id = let_go.competition_id;
    UPDATE sync_requests r SET run_id = NULL, tried = true
    WHERE r.competition_id = let_go.competition_id AND r.run_id = let_go_of;
    IF EXISTS (SELECT FROM sync_requests r WHERE r.competition_id = let_go.competition_id AND NOT r.tried) THEN
        PERFORM queue_job('sync', let_go.competition_id, 5);
    END IF;
    PERFORM refuse_hidden_rows();
END $$;
COMMENT ON FUNCTION kaggle_internal.let_go(bigint, bigint, interval, text) IS
    'A living worker gives up the attempt that one of its jobs began, if it still runs: its end was refused, so that no run could say why, or its number never arrived. It is tried again after a while.';
