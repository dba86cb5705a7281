-- What no trigger can see: a date that passed, a sync that is due, a worker that died, a request whose job was lost,
-- rows that arrived or left without triggers, a clock that was ahead. Correctness rests on this; the queue only makes it
-- fast.

CREATE OR REPLACE FUNCTION kaggle_internal.let_dates_act_on(competition_ids bigint[], event_ids bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    -- A row that somebody's transaction holds is left for the next time: nobody waits for it here.
    UPDATE competitions c SET dates_checked_at = clock_timestamp()
    WHERE c.id IN (SELECT p.id FROM competitions p WHERE p.id = ANY (competition_ids) FOR NO KEY UPDATE SKIP LOCKED);
    UPDATE events e SET dates_checked_at = clock_timestamp()
    WHERE e.id IN (SELECT p.id FROM events p WHERE p.id = ANY (event_ids) FOR NO KEY UPDATE SKIP LOCKED);
    -- What the user's constraints say is heard here, and not at COMMIT.
    SET CONSTRAINTS ALL IMMEDIATE;
END $$;
COMMENT ON FUNCTION kaggle_internal.let_dates_act_on(bigint[], bigint[]) IS 'The dates of these competitions and events act on their status; the triggers do the rest.';

CREATE OR REPLACE FUNCTION kaggle_internal.let_dates_act(at_most integer DEFAULT 1000) RETURNS boolean
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    -- Events first, as TRUNCATE ... CASCADE takes them. In no order: those that are refused time and again must not
    -- stand in the way of the others.
    event_ids constant bigint[] := ARRAY(
        SELECT d.id FROM (
            SELECT id FROM events WHERE start_date > dates_checked_at AND start_date <= clock_timestamp()
            UNION
            SELECT id FROM events WHERE end_date > dates_checked_at AND end_date <= clock_timestamp()) d
        ORDER BY random() LIMIT at_most);
    competition_ids constant bigint[] := ARRAY(
        SELECT d.id FROM (
            SELECT id FROM competitions WHERE start_date > dates_checked_at AND start_date <= clock_timestamp()
            UNION
            SELECT id FROM competitions WHERE end_date > dates_checked_at AND end_date <= clock_timestamp()) d
        ORDER BY random() LIMIT at_most);
    one record;
BEGIN
    IF competition_ids || event_ids = '{}' THEN
        RETURN false;
    END IF;
    BEGIN
        PERFORM let_dates_act_on(competition_ids, event_ids);
    EXCEPTION WHEN OTHERS THEN
        -- A constraint or a trigger of the user's refuses one: the others, and all syncs, go on.
        FOR one IN SELECT ARRAY[c] AS competition, '{}'::bigint[] AS event FROM unnest(competition_ids) c
                   UNION ALL SELECT '{}', ARRAY[e] FROM unnest(event_ids) e LOOP
            BEGIN
                PERFORM let_dates_act_on(one.competition, one.event);
            EXCEPTION WHEN OTHERS THEN
                RAISE LOG 'a date that passed cannot act on % %: %', CASE one.event WHEN '{}' THEN 'competition'
                    ELSE 'event' END, (one.competition || one.event)[1], SQLERRM;
            END;
        END LOOP;
    END;
    RETURN greatest(cardinality(competition_ids), cardinality(event_ids)) = at_most;
END $$;
COMMENT ON FUNCTION kaggle_internal.let_dates_act(integer) IS 'Dates that passed since they were last checked act on the status, once. One that something of the user''s refuses is tried again by a later sweep; the server''s log says why. At most that many at once, since triggers of the user''s may take their time; returns whether there may be more.';

CREATE OR REPLACE FUNCTION kaggle_internal.rescue() RETURNS bigint
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, procrastinate, pg_temp AS $$
DECLARE
    lost bigint;
    rescued bigint := 0;
BEGIN
    FOR lost IN SELECT DISTINCT s.running_worker_id FROM sync_state s
                WHERE s.running_run_id IS NOT NULL
                  AND s.running_worker_id NOT IN (SELECT w.id FROM worker_processes w WHERE is_alive(w)) LOOP
        rescued := rescued + abandon_runs(lost);
    END LOOP;
    DELETE FROM worker_processes w
    WHERE w.seen_at < clock_timestamp() - interval '1 hour' AND NOT is_alive(w);
    -- A job of a dead worker stays 'doing' for ever in procrastinate. The requests are the truth: it can go.
    DELETE FROM procrastinate_jobs j
    WHERE j.queue_name = 'kaggle' AND j.status <> 'todo'
      AND (j.status <> 'doing' OR j.worker_id IS NULL OR EXISTS (
           SELECT FROM procrastinate_workers p
           WHERE p.id = j.worker_id AND p.last_heartbeat < now() - interval '30 seconds'));
    RETURN rescued;
END $$;
COMMENT ON FUNCTION kaggle_internal.rescue() IS 'Begins anew what dead workers ran and removes their jobs. Returns how many attempts were rescued.';

-- statement_timestamp() where clock_timestamp() would do: an index can be searched for it. Plans are kept from a quiet
-- time: nested loops would compare all with all when ten thousand are wanted.
CREATE OR REPLACE FUNCTION kaggle_internal.wanted(worker_id bigint, thorough boolean)
RETURNS TABLE (task text, competition_id bigint, priority integer, since timestamptz, asks_kaggle boolean)
LANGUAGE sql VOLATILE SET search_path = kaggle, kaggle_internal, pg_temp SET enable_nestloop = off AS $$
    -- What asks Kaggle, of the competitions that are seen. At an event's end a retry is as urgent as the first try.
    SELECT w.task, w.competition_id,
           CASE WHEN w.task = 'sync' AND EXISTS (SELECT FROM sync_requests r
                                                 WHERE r.competition_id = w.competition_id AND r.reason = 'event_ended')
                THEN greatest(w.priority, 8) ELSE w.priority END,
           w.since, true
    FROM (
        -- asked for, and not taken by an attempt
        SELECT 'sync' AS task, r.competition_id, CASE WHEN bool_or(r.reason = 'manual') THEN 10 ELSE 5 END AS priority,
               min(r.asked_at) AS since
        FROM sync_requests r
        WHERE NOT r.tried
          AND NOT EXISTS (SELECT FROM sync_state s
                          WHERE s.competition_id = r.competition_id AND s.running_run_id IS NOT NULL)
        GROUP BY r.competition_id
        UNION ALL
        -- due by the clock
        SELECT 'sync', s.competition_id, 0, s.next_sync_at FROM sync_state s
        WHERE s.running_run_id IS NULL AND s.next_sync_at <= statement_timestamp()
        UNION ALL
        -- failing, and not tried with the credential of this worker
        SELECT 'sync', s.competition_id, 0, s.next_sync_at FROM sync_state s
        WHERE thorough AND s.running_run_id IS NULL AND s.last_error_kind = 'person'
          AND NOT (SELECT w.credential FROM worker_processes w WHERE w.id = wanted.worker_id)
                  = ANY (s.tried_credentials) AND s.next_sync_at > clock_timestamp()
        UNION ALL
        -- arrived, or was switched on, without triggers (a restore, a replica)
        SELECT 'sync', c.id, 0, c.updated_at FROM competitions c
        LEFT JOIN sync_state s ON s.competition_id = c.id
        WHERE thorough AND c.status = 'ongoing' AND c.auto_sync AND c.kaggle_competition_id IS NOT NULL
          AND s.running_run_id IS NULL
          AND (s.next_sync_at IS NULL OR s.link_revision <> c.link_revision)
        UNION ALL
        SELECT 'describe', d.competition_id, d.priority, d.since FROM to_describe d WHERE d.last_success_at IS NOT NULL) w
    WHERE EXISTS (SELECT FROM competitions c WHERE c.id = w.competition_id)
    UNION ALL
    -- What hangs on competitions that were deleted, one by one, together, or unseen by a trigger.
    SELECT 'sync', r.competition_id, 5, r.asked_at, false FROM sync_requests r
    WHERE r.reason = 'deleted' AND r.competition_id IS NOT NULL
      AND ((SELECT NOT row_security_active('kaggle.competitions'))
           OR EXISTS (SELECT FROM competitions c WHERE c.id = r.competition_id))
      AND NOT EXISTS (SELECT FROM sync_state s
                      WHERE s.competition_id = r.competition_id AND s.running_run_id IS NOT NULL)
    UNION ALL
    SELECT 'sync', t.competition_id, 5, NULL, false FROM truncated_states() t
    WHERE NOT EXISTS (SELECT FROM sync_state s
                      WHERE s.competition_id = t.competition_id AND s.running_run_id IS NOT NULL)
    UNION ALL
    SELECT 'sync', s.competition_id, 5, s.missing_since, false FROM sync_state s
    WHERE thorough AND s.running_run_id IS NULL AND s.missing_since IS NOT NULL AND is_deleted(s)
    UNION ALL
    SELECT 'remove', NULL, -5, NULL, false WHERE thorough AND EXISTS (SELECT FROM boards b WHERE b.competition_id IS NULL)
$$;
COMMENT ON FUNCTION kaggle_internal.wanted(bigint, boolean) IS 'Everything there is to do now, whether or not a job waits for it. thorough: also what arrived without triggers. asks_kaggle: it needs a request to Kaggle.';

CREATE OR REPLACE FUNCTION kaggle_internal.pull_back_schedules() RETURNS void
LANGUAGE sql SET search_path = kaggle, kaggle_internal, pg_temp SET enable_nestloop = off AS $$
    UPDATE worker_processes w SET seen_at = clock_timestamp() WHERE w.seen_at > clock_timestamp() + interval '1 second';
    UPDATE events e SET dates_checked_at = clock_timestamp()
    WHERE e.id IN (SELECT p.id FROM events p WHERE p.dates_checked_at > clock_timestamp() + interval '1 second'
                   FOR NO KEY UPDATE SKIP LOCKED);
    UPDATE competitions c SET dates_checked_at = clock_timestamp()
    WHERE c.id IN (SELECT p.id FROM competitions p WHERE p.dates_checked_at > clock_timestamp() + interval '1 second'
                   FOR NO KEY UPDATE SKIP LOCKED);
    -- Dates that do not follow their event: both were written at once.
    UPDATE competitions c
    SET start_date = nullif(c.start_date, c.start_date_filled), end_date = nullif(c.end_date, c.end_date_filled)
    WHERE c.id IN (SELECT p.id FROM competitions p JOIN events e ON e.id = p.event_id
                   WHERE p.end_date IS NOT DISTINCT FROM p.end_date_filled AND p.end_date IS DISTINCT FROM derived_date(
                             e.end_date, p.kaggle_deadline, nullif(p.start_date, p.start_date_filled), NULL)
                      OR p.start_date IS NOT DISTINCT FROM p.start_date_filled AND p.start_date IS DISTINCT FROM derived_date(
                             e.start_date, p.kaggle_start, NULL, p.end_date)
                   FOR NO KEY UPDATE OF p SKIP LOCKED);
    UPDATE sync_state s
    SET missing_since = least(s.missing_since, clock_timestamp()),
        due_at = least(s.due_at, clock_timestamp() + s.due_interval),
        retry_at = least(s.retry_at, clock_timestamp() + s.retry_interval),
        describe_at = CASE WHEN s.describe_at < 'infinity'
                           THEN least(s.describe_at, clock_timestamp() + interval '1 day') ELSE 'infinity' END
    WHERE s.competition_id IN (
        SELECT p.competition_id FROM sync_state p
        WHERE p.running_run_id IS NULL
          AND (p.due_at > clock_timestamp() + p.due_interval OR p.retry_at > clock_timestamp() + p.retry_interval
               OR p.missing_since > clock_timestamp()
               OR p.describe_at > clock_timestamp() + interval '1 day' AND p.describe_at < 'infinity')
        FOR UPDATE SKIP LOCKED)
$$;
COMMENT ON FUNCTION kaggle_internal.pull_back_schedules() IS 'What a clock that was ahead has set: a due time and a retry lie at most as far ahead as when they were set, a question for metadata at most a day, and what has happened lies not ahead.';

-- A plan that is kept from a quiet time reads all jobs for each one, and so does that of procrastinate's foreign key.
CREATE OR REPLACE FUNCTION kaggle_internal.queue_wanted(
    worker_id bigint, thorough boolean, places bigint, OUT queued bigint, OUT has_rest boolean)
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, procrastinate, pg_temp SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    WITH every AS MATERIALIZED (
        SELECT w.task, w.competition_id, max(w.priority) AS priority, min(w.since) AS since,
               bool_and(w.asks_kaggle) AS asks_kaggle
        FROM wanted(queue_wanted.worker_id, thorough) w
        GROUP BY w.task, w.competition_id
    ), idle AS (
        SELECT * FROM every w
        WHERE NOT EXISTS (SELECT FROM procrastinate_jobs j
                          WHERE j.status = 'todo' AND j.task_name = w.task
                            AND coalesce((j.args ->> 'competition_id')::bigint, 0) = coalesce(w.competition_id, 0)
                            -- One that another session holds (it asked again, and idles) cannot be fetched.
                            AND j.xmax NOT IN (SELECT l.transactionid FROM pg_locks l
                                               WHERE l.locktype = 'transactionid' AND l.granted
                                                 AND l.pid <> pg_backend_pid()))
    ), chosen AS (
        (SELECT * FROM idle WHERE asks_kaggle ORDER BY idle.priority DESC, idle.since, idle.competition_id LIMIT places)
        UNION ALL
        (SELECT * FROM idle WHERE NOT asks_kaggle LIMIT 10000)
    ), raised AS (
        -- What has become more urgent than the job that waits for it.
        UPDATE procrastinate_jobs j SET priority = u.priority
        FROM (SELECT j.id, w.priority FROM every w
              JOIN procrastinate_jobs j ON j.status = 'todo' AND j.task_name = w.task
                   AND coalesce((j.args ->> 'competition_id')::bigint, 0) = coalesce(w.competition_id, 0)
              WHERE w.priority > 0 AND w.priority > j.priority FOR UPDATE OF j SKIP LOCKED) u
        WHERE j.id = u.id
    ), jobs AS (
        SELECT procrastinate_defer_jobs_v1(array_agg(
            ROW('kaggle', c.task, c.priority, NULL, NULL,
                jsonb_strip_nulls(jsonb_build_object('competition_id', c.competition_id)), NULL)::procrastinate_job_to_defer_v1
            ORDER BY c.priority DESC, c.since, c.competition_id)) AS ids
        FROM chosen c HAVING count(*) > 0
    )
    SELECT coalesce((SELECT cardinality(ids) FROM jobs), 0),
           (SELECT count(*) FROM idle) > (SELECT count(*) FROM chosen)
    INTO queued, has_rest;
END $$;
COMMENT ON FUNCTION kaggle_internal.queue_wanted(bigint, boolean, bigint) IS 'Queues a job for everything that is wanted and has none: of what asks Kaggle the most urgent, as many as there are places. has_rest: something was left for the next time.';

CREATE OR REPLACE FUNCTION kaggle_internal.sweep(
    worker_id bigint, thorough boolean,
    OUT queued bigint, OUT wake_at timestamptz, OUT missing bigint[])
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, procrastinate, pg_temp AS $$
DECLARE
    worker constant worker_processes := registered_worker(sweep.worker_id);
    moment constant timestamptz := clock_timestamp();
    grant_at timestamptz;
    places bigint;             -- how many jobs that ask Kaggle may be queued
    has_more boolean;
BEGIN
    queued := 0;
    IF NOT pg_try_advisory_xact_lock(presence_key(), 0) THEN
        wake_at := moment + interval '1 second';      -- another worker sweeps
        RETURN;
    END IF;
    has_more := let_dates_act();
    PERFORM rescue();
    IF thorough THEN
        PERFORM keep_boards_at_end();
        PERFORM forget_boards_at_freeze();
        PERFORM pull_back_schedules();
        missing := ARRAY(SELECT note_missing());
    END IF;

    -- With a budget, jobs beyond the next grant would come only to be sent away.
    grant_at := coalesce(next_grant(worker.credential, worker.requests_per_minute), '-infinity');
    places := CASE WHEN grant_at > moment THEN 0 WHEN worker.requests_per_minute > 0 THEN 1 ELSE 10000 END;

    SELECT q.queued, CASE WHEN q.has_rest THEN greatest(grant_at, moment) END INTO queued, wake_at
    FROM queue_wanted(worker.id, thorough, places) q;

    -- A date that passed and could not act (somebody holds the row, or refuses it) is for the next sweep.
    wake_at := least(wake_at, CASE WHEN has_more THEN moment + interval '0.1 seconds' END,
        (SELECT min(s.next_sync_at) FROM sync_state s WHERE s.running_run_id IS NULL AND s.next_sync_at > moment),
        (SELECT min(c.start_date) FROM competitions c
         WHERE c.start_date > c.dates_checked_at AND c.start_date > moment AND c.start_date < 'infinity'),
        (SELECT min(c.end_date) FROM competitions c
         WHERE c.end_date > c.dates_checked_at AND c.end_date > moment AND c.end_date < 'infinity'),
        (SELECT min(e.start_date) FROM events e
         WHERE e.start_date > e.dates_checked_at AND e.start_date > moment AND e.start_date < 'infinity'),
        (SELECT min(e.end_date) FROM events e
         WHERE e.end_date > e.dates_checked_at AND e.end_date > moment AND e.end_date < 'infinity'),
        -- An hour before an end Kaggle is asked about it. Of an end that nobody waits for, one sweep more.
        (SELECT min(c.end_date) - interval '1 hour' FROM competitions c
         WHERE c.end_date > c.dates_checked_at AND c.end_date > moment + interval '1 hour' AND c.end_date < 'infinity'),
        (SELECT min(e.end_date) - interval '1 hour' FROM events e
         WHERE e.end_date > e.dates_checked_at AND e.end_date > moment + interval '1 hour' AND e.end_date < 'infinity'));
    PERFORM refuse_hidden_rows();
END $$;
COMMENT ON FUNCTION kaggle_internal.sweep(bigint, boolean) IS 'Lets dates act, rescues what dead workers ran, and queues a job for everything that is wanted and has none: the most urgent one where a budget allows no more. wake_at: when there will be something to do, null = nothing known. missing: competitions newly noted as missing, see kaggle_internal.note_missing.';

CREATE OR REPLACE FUNCTION kaggle_internal.prune_runs(older_than interval, at_most integer DEFAULT 10000) RETURNS bigint
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    pruned bigint;
BEGIN
    DELETE FROM sync_runs WHERE id = ANY (ARRAY(
        -- The runs that saw a board last until a moment on which a standing rests.
        WITH resting AS MATERIALIZED (
            SELECT b.id AS board_id, observed(b, m) AS at FROM boards b CROSS JOIN unnest(moments_of_events(b.competition_id)) AS m
            WHERE b.competition_id IN (
                SELECT x.competition_id FROM event_competitions x JOIN events e ON e.id = x.event_id
                LEFT JOIN boards_at_freeze k ON k.event_id = e.id AND k.competition_id = x.competition_id
                WHERE least(e.frozen_at, e.end_date, x.counts_at, k.at) <= clock_timestamp())  -- else it has no moment yet
        )
        SELECT r.id FROM sync_runs r
        WHERE r.outcome <> 'changed' AND r.finished_at < clock_timestamp() - older_than
          AND NOT EXISTS (SELECT FROM resting k WHERE k.board_id = r.board_id AND k.at = r.observed_at)
          AND NOT EXISTS (SELECT FROM sync_state s
                          WHERE s.competition_id = r.competition_id AND s.last_run_id = r.id)
        ORDER BY r.finished_at LIMIT at_most
        FOR UPDATE OF r SKIP LOCKED));        -- a backfill may be about to find that one changed something
    GET DIAGNOSTICS pruned = ROW_COUNT;
    PERFORM refuse_hidden_rows();
    RETURN pruned;
END $$;
COMMENT ON FUNCTION kaggle_internal.prune_runs(interval, integer) IS 'Removes at most that many old runs that changed nothing, never a competition''s last one, nor one whose moment the standing of an event names. Returns how many.';
