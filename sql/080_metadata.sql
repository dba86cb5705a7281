-- What Kaggle says about a competition beside its board: title, dates and the like. Asked once for a slug, then
-- daily, apart from the board; a failure here never stops a sync.

CREATE OR REPLACE FUNCTION kaggle_internal.begin_describe(
    competition_id bigint, worker_id bigint,
    OUT action text, OUT slug text, OUT link_revision bigint, OUT wake_at timestamptz)
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    worker constant worker_processes := registered_worker(begin_describe.worker_id);
    due timestamptz;
    granted boolean;
BEGIN
    action := 'none';
    SELECT c.kaggle_competition_id, c.link_revision INTO slug, begin_describe.link_revision
    FROM competitions c WHERE c.id = begin_describe.competition_id AND c.kaggle_competition_id IS NOT NULL;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT s.describe_at INTO due FROM sync_state s
    WHERE s.competition_id = begin_describe.competition_id FOR UPDATE;
    IF due IS NULL OR due > clock_timestamp() THEN
        RETURN;
    END IF;
    IF worker.requests_per_minute > 0 AND EXISTS (SELECT FROM wanted(worker.id, false) w WHERE w.task = 'sync') THEN
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
    UPDATE sync_state s SET describe_at = clock_timestamp() + interval '1 hour'
    WHERE s.competition_id = begin_describe.competition_id;
    action := 'describe';
END $$;
COMMENT ON FUNCTION kaggle_internal.begin_describe(bigint, bigint) IS 'Begins asking Kaggle about a competition if that is due. action: describe (slug is given), none, or wait (no grant before wake_at).';

CREATE OR REPLACE FUNCTION kaggle_internal.fill_from_kaggle(
    competition_id bigint, link_revision bigint, title text, description text, enabled_date timestamptz,
    deadline timestamptz, evaluation_metric text, max_daily_submissions integer)
RETURNS text
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    c competitions;
    filling jsonb;         -- columns and their values, but for the dates
    filled text[];
BEGIN
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
        'evaluation_metric', nullif(evaluation_metric, ''),
        'max_submissions_per_day', CASE WHEN max_daily_submissions > 0 THEN max_daily_submissions END)))
    WHERE key = ANY (c.filled_by_kaggle) OR to_jsonb(c) -> key = 'null';
    c := jsonb_populate_record(c, filling);
    filled := ARRAY(SELECT jsonb_object_keys(filling) UNION SELECT unnest(c.filled_by_kaggle));
    -- A date that would contradict the other one is not filled.
    IF (c.end_date IS NULL OR 'end_date' = ANY (filled)) AND deadline IS NOT NULL
       AND (c.start_date IS NULL OR 'start_date' = ANY (filled) OR deadline >= c.start_date) THEN
        c.end_date := deadline;
        filled := array_append(array_remove(filled, 'end_date'), 'end_date');
    END IF;
    IF (c.start_date IS NULL OR 'start_date' = ANY (filled)) AND enabled_date IS NOT NULL
       AND (c.end_date IS NULL OR enabled_date <= c.end_date) THEN
        c.start_date := enabled_date;
        filled := array_append(array_remove(filled, 'start_date'), 'start_date');
    ELSIF 'start_date' = ANY (filled) AND c.start_date > c.end_date THEN
        c.start_date := NULL;
        filled := array_remove(filled, 'start_date');
    END IF;

    PERFORM set_config('kaggle.filling', 'on', true);
    UPDATE competitions p
    SET title = c.title, description = c.description, start_date = c.start_date, end_date = c.end_date,
        evaluation_metric = c.evaluation_metric, max_submissions_per_day = c.max_submissions_per_day,
        filled_by_kaggle = filled
    WHERE p.id = c.id
      AND (p.title, p.description, p.start_date, p.end_date, p.evaluation_metric, p.max_submissions_per_day)
          IS DISTINCT FROM (c.title, c.description, c.start_date, c.end_date, c.evaluation_metric, c.max_submissions_per_day);
    PERFORM set_config('kaggle.filling', 'off', true);
    UPDATE sync_state s
    SET describe_at = CASE WHEN s.due_at IS NULL THEN 'infinity' ELSE clock_timestamp() + interval '1 day' END
    WHERE s.competition_id = c.id;
    RETURN 'filled';
END $$;
COMMENT ON FUNCTION kaggle_internal.fill_from_kaggle(bigint, bigint, text, text, timestamptz, timestamptz, text, integer) IS 'Writes what Kaggle says into columns that are empty or follow Kaggle, unless somebody''s transaction holds the row (then later). The dates act as if a user had set them.';
