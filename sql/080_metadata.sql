-- What Kaggle says about a competition beside its board: title, dates and the like. Asked once for a slug, then
-- daily, apart from the board, and before and at an end: hosts extend on the last day. A failure here never stops a sync.

CREATE OR REPLACE VIEW kaggle_internal.ends_ahead AS
SELECT c.id AS competition_id, c.end_date AS at FROM kaggle.competitions c
WHERE c.auto_sync AND c.end_date > c.dates_checked_at AND c.end_date > statement_timestamp()
UNION ALL
SELECT x.competition_id, e.end_date FROM kaggle.events e
JOIN kaggle.event_competitions x ON x.event_id = e.id JOIN kaggle.competitions c ON c.id = x.competition_id
WHERE c.auto_sync AND e.end_date > e.dates_checked_at AND e.end_date > statement_timestamp();
COMMENT ON VIEW kaggle_internal.ends_ahead IS 'The ends of competitions, and of the events in which they count, that lie ahead.';
COMMENT ON COLUMN kaggle_internal.ends_ahead.competition_id IS 'The competition.';
COMMENT ON COLUMN kaggle_internal.ends_ahead.at IS 'The end.';

CREATE OR REPLACE VIEW kaggle_internal.to_describe AS
SELECT s.competition_id, -5 AS priority, s.describe_at AS since, s.last_success_at FROM kaggle_internal.sync_state s
WHERE s.describe_at <= statement_timestamp()
UNION ALL
SELECT s.competition_id, 1, e.at - interval '1 hour', s.last_success_at
FROM kaggle_internal.ends_ahead e JOIN kaggle_internal.sync_state s ON s.competition_id = e.competition_id
WHERE e.at <= statement_timestamp() + interval '1 hour' AND s.described_at < e.at - interval '1 hour';
COMMENT ON VIEW kaggle_internal.to_describe IS 'The competitions about which Kaggle is asked now: once for a slug, then daily; and in the hour before an end, ahead of syncs that are due.';
COMMENT ON COLUMN kaggle_internal.to_describe.competition_id IS 'The competition.';
COMMENT ON COLUMN kaggle_internal.to_describe.priority IS 'Of the job.';
COMMENT ON COLUMN kaggle_internal.to_describe.since IS 'Since when it is due.';
COMMENT ON COLUMN kaggle_internal.to_describe.last_success_at IS 'As in kaggle_internal.sync_state; what was never synced is asked about after its first sync.';

CREATE OR REPLACE FUNCTION kaggle_internal.begin_describe(
    competition_id bigint, worker_id bigint,
    OUT action text, OUT slug text, OUT link_revision bigint, OUT wake_at timestamptz)
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    worker constant worker_processes := registered_worker(begin_describe.worker_id);
    urgency integer;
    granted boolean;
BEGIN
    action := 'none';
    SELECT c.kaggle_competition_id, c.link_revision INTO slug, begin_describe.link_revision
    FROM competitions c WHERE c.id = begin_describe.competition_id AND c.kaggle_competition_id IS NOT NULL;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    PERFORM FROM sync_state s WHERE s.competition_id = begin_describe.competition_id FOR UPDATE;
    SELECT max(d.priority) INTO urgency FROM to_describe d WHERE d.competition_id = begin_describe.competition_id;
    IF urgency IS NULL THEN
        RETURN;
    END IF;
    IF worker.requests_per_minute > 0
       AND EXISTS (SELECT FROM wanted(worker.id, false) w WHERE w.task = 'sync' AND w.priority > urgency) THEN
        action := 'wait';          -- boards come before titles
        RETURN;
    END IF;
    SELECT g.granted, g.wake_at INTO granted, begin_describe.wake_at
    FROM take_grant(worker.credential, worker.requests_per_minute) g;
    IF NOT granted THEN
        action := 'wait';
        RETURN;
    END IF;
    -- If this attempt is lost, it is made again in an hour.
    UPDATE sync_state s SET describe_at = clock_timestamp() + interval '1 hour', described_at = clock_timestamp()
    WHERE s.competition_id = begin_describe.competition_id;
    action := 'describe';
END $$;
COMMENT ON FUNCTION kaggle_internal.begin_describe(bigint, bigint) IS 'Begins asking Kaggle about a competition if that is due. action: describe (slug is given), none, or wait (no grant before wake_at).';

CREATE OR REPLACE FUNCTION kaggle_internal.fill_from_kaggle(
    competition_id bigint, link_revision bigint, title text, description text, enabled_date timestamptz,
    deadline timestamptz, evaluation_metric text, max_daily_submissions integer, category text DEFAULT NULL,
    is_simulated boolean DEFAULT false)
RETURNS text
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    c competitions;
    filling jsonb;         -- columns and their values, but for the dates
    filled text;
BEGIN
    PERFORM check_source(is_simulated, marks => false);
    SELECT * INTO c FROM competitions p WHERE p.id = fill_from_kaggle.competition_id
    FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND OR c.link_revision <> fill_from_kaggle.link_revision THEN
        UPDATE sync_state s
        SET describe_at = clock_timestamp() + CASE WHEN row_security_active('kaggle.competitions') THEN interval '1 day'
                                                   ELSE interval '1 minute' END
        WHERE s.competition_id = fill_from_kaggle.competition_id
          AND s.link_revision = fill_from_kaggle.link_revision;     -- another Kaggle id is asked about at once
        RETURN 'later';
    END IF;

    -- A column may be filled while it is empty or follows Kaggle already.
    SELECT coalesce(jsonb_object_agg(key, value), '{}') INTO filling
    FROM jsonb_each(jsonb_strip_nulls(jsonb_build_object(
        'title', replace(nullif(title, ''), chr(65533), ''), 'description', nullif(description, ''),
        'evaluation_metric', nullif(evaluation_metric, ''), 'category', nullif(category, ''),
        'max_submissions_per_day', CASE WHEN max_daily_submissions > 0 THEN max_daily_submissions END)))
    WHERE key = ANY (string_to_array(c.filled_by_kaggle, ',')) OR to_jsonb(c) -> key = 'null';
    c := jsonb_populate_record(c, filling);
    filled := array_to_string(
        ARRAY(SELECT jsonb_object_keys(filling) UNION SELECT unnest(string_to_array(c.filled_by_kaggle, ',')) ORDER BY 1), ',');
    PERFORM set_config('kaggle.filling', 'on', true);
    UPDATE competitions p
    SET title = c.title, description = c.description, evaluation_metric = c.evaluation_metric, category = c.category,
        max_submissions_per_day = c.max_submissions_per_day, filled_by_kaggle = filled,
        kaggle_start = coalesce(enabled_date, p.kaggle_start), kaggle_deadline = coalesce(deadline, p.kaggle_deadline)
    WHERE p.id = c.id
      AND (p.title, p.description, p.evaluation_metric, p.category, p.max_submissions_per_day, p.kaggle_start,
           p.kaggle_deadline)
          IS DISTINCT FROM (c.title, c.description, c.evaluation_metric, c.category, c.max_submissions_per_day,
                            coalesce(enabled_date, p.kaggle_start), coalesce(deadline, p.kaggle_deadline));
    PERFORM set_config('kaggle.filling', 'off', true);
    -- One that was synced after its end is followed from there, now that the end is known.
    UPDATE sync_state s
    SET completed_at = s.last_attempt_at, due_at = s.last_attempt_at + p.pace, due_interval = p.pace
    FROM (SELECT o.id, sync_pace(o, t.last_attempt_at, NULL) AS pace
          FROM competitions o JOIN sync_state t ON t.competition_id = o.id
          WHERE o.id = c.id AND o.status = 'completed' AND o.end_date <= t.last_attempt_at) p
    WHERE s.competition_id = p.id AND s.completed_at IS NULL AND s.running_run_id IS NULL;
    UPDATE sync_state s
    SET describe_at = CASE WHEN s.due_at IS NULL THEN 'infinity' ELSE clock_timestamp() + interval '1 day' END
    WHERE s.competition_id = c.id;
    RETURN 'filled';
END $$;
COMMENT ON FUNCTION kaggle_internal.fill_from_kaggle(bigint, bigint, text, text, timestamptz, timestamptz, text, integer, text, boolean) IS 'Writes what Kaggle says into columns that are empty or follow Kaggle, unless the boards come from elsewhere (kaggle_internal.check_source), or somebody''s transaction holds the row (then later). Dates that nobody gave follow (kaggle_internal.complete_competition).';
