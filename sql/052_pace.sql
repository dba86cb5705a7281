-- When a competition is synced by the clock, and whether a request still holds as its row stands now.

CREATE OR REPLACE FUNCTION kaggle_internal.sync_pace(
    competition kaggle.competitions, completed_at timestamptz, follow_up interval[]) RETURNS interval
LANGUAGE sql VOLATILE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    -- In seconds: a day of an interval is not always 24 hours where the session's time zone has summer time.
    SELECT make_interval(secs => extract(epoch FROM CASE
        WHEN NOT competition.auto_sync OR competition.kaggle_competition_id IS NULL THEN NULL
        WHEN competition.status = 'ongoing' THEN competition.sync_interval
        WHEN competition.status = 'completed' THEN CASE
            WHEN since < phases[1] THEN competition.sync_interval
            WHEN since < phases[1] + phases[2] THEN greatest(competition.sync_interval, '1 hour')
            WHEN since < phases[1] + phases[2] + phases[3] THEN greatest(competition.sync_interval, '1 day')
            WHEN since < phases[1] + phases[2] + phases[3] + phases[4] THEN greatest(competition.sync_interval, '7 days') END
    END)::float8)
    -- Since the end, where it is known and was before the final sync: what ended years ago is asked once.
    FROM (SELECT clock_timestamp() - CASE WHEN competition.end_date < completed_at THEN competition.end_date
                                          ELSE completed_at END AS since,
                 coalesce(sync_pace.follow_up, ARRAY['2 hours', '1 day', '30 days', '365 days']::interval[]) AS phases)
         AS since_end
$$;
COMMENT ON FUNCTION kaggle_internal.sync_pace(kaggle.competitions, timestamptz, interval[]) IS 'Time between syncs by the clock: sync_interval while ongoing; from the end on as often for 2 hours, then hourly for a day, daily for 30 days and weekly for a year, as worker_processes.follow_up says, since the private board and removals follow; null = none. completed_at: of the final sync.';

CREATE OR REPLACE FUNCTION kaggle_internal.request_holds(reason text, competition kaggle.competitions) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT (competition).kaggle_competition_id IS NOT NULL AND CASE reason
        WHEN 'manual' THEN true
        WHEN 'completed' THEN (competition).auto_sync AND (competition).status = 'completed'
        WHEN 'event_ended' THEN (competition).auto_sync
        WHEN 'interval' THEN false            -- only the due time is counted anew
        WHEN 'deleted' THEN false
        ELSE (competition).auto_sync AND (competition).status = 'ongoing' END
$$;
COMMENT ON FUNCTION kaggle_internal.request_holds(text, kaggle.competitions) IS 'Whether a request is still wanted as the row stands now: switching off cancels what has not begun, except what was asked for by hand.';
