-- How much of the past is kept.

-- What events rest on is neither merged nor pruned: where events may be hidden, nothing is known of it.
CREATE OR REPLACE FUNCTION kaggle_internal.moments_of_events(competition_id bigint) RETURNS timestamptz[]
LANGUAGE sql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT CASE WHEN NOT row_security_active('kaggle.events') AND NOT row_security_active('kaggle.event_competitions')
                THEN ARRAY(SELECT DISTINCT m.at FROM event_competitions x JOIN events e ON e.id = x.event_id
                           CROSS JOIN LATERAL (VALUES (e.frozen_at), (e.end_date)) AS m (at)
                           WHERE x.competition_id = moments_of_events.competition_id AND m.at <= clock_timestamp()
                           ORDER BY m.at) END
$$;
COMMENT ON FUNCTION kaggle_internal.moments_of_events(bigint) IS 'The moments at which the standings of events rest on the boards of a competition, ascending: their ends, and when they were frozen. Null where row level security may hide events.';

CREATE OR REPLACE FUNCTION kaggle_internal.kept_moments(board kaggle.boards) RETURNS timestamptz[]
LANGUAGE sql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT CASE WHEN e.moments IS NOT NULL THEN
        ARRAY(SELECT m FROM unnest(e.moments) AS m
              WHERE m >= board.observed_from AND (m >= board.history_from) IS NOT FALSE OR m = ANY (board.kept_at)) END
    FROM (SELECT moments_of_events(board.competition_id) AS moments OFFSET 0) e
$$;
COMMENT ON FUNCTION kaggle_internal.kept_moments(kaggle.boards) IS 'The moments at which events rest on this board, as far as it has not been pruned. Null where row level security may hide events.';

CREATE OR REPLACE FUNCTION kaggle_internal.prunable_packs(board kaggle.boards, horizon timestamptz)
RETURNS TABLE (until timestamptz, versions integer)
LANGUAGE sql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    -- A kept board is told by the packs behind it as far as the first whole one.
    SELECT p.until, cardinality(p.team_ids)
    FROM (SELECT kept_moments(board) AS kept OFFSET 0) e
    CROSS JOIN packs p
    WHERE p.board_id = board.id AND p.until <= horizon AND e.kept IS NOT NULL
      AND NOT EXISTS (SELECT FROM unnest(e.kept) AS m
                      WHERE p.until > m
                        AND NOT EXISTS (SELECT FROM packs w WHERE w.board_id = board.id AND w.is_whole
                                        AND w.until > m AND w.until < p.until))
$$;
COMMENT ON FUNCTION kaggle_internal.prunable_packs(kaggle.boards, timestamptz) IS 'The packs of a board up to a horizon that no event rests on, and how many versions each lists.';

CREATE OR REPLACE FUNCTION kaggle.prune_history(older_than interval, at_most integer DEFAULT 10000) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    horizon constant timestamptz := clock_timestamp() - CASE WHEN older_than < '0' THEN '0' ELSE older_than END;
    target boards;
    doomed timestamptz[];
    pruned bigint := 0;
    versions bigint;
BEGIN
    LOCK TABLE events IN ACCESS SHARE MODE;     -- first of all, as TRUNCATE ... CASCADE takes them
    target.id := 0;
    -- The horizon is moved in the transaction of the first removal, so that no reader finds a moment half there. That
    -- takes the row of boards that a sync writes at its end: one that a sync holds is left for the next time, and a
    -- sync waits at most until a chunk commits.
    WHILE pruned < at_most LOOP
        SELECT b.* INTO target FROM boards b
        WHERE b.id > target.id AND EXISTS (SELECT FROM prunable_packs(b, horizon))
        ORDER BY b.id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
        EXIT WHEN NOT FOUND;
        UPDATE boards b
        SET history_from = greatest(b.history_from, horizon),
            kept_at = ARRAY(SELECT m FROM unnest(kept_moments(b)) AS m WHERE m < horizon)
        WHERE b.id = target.id;
        SELECT array_agg(d.until), sum(d.versions) INTO doomed, versions
        FROM (SELECT p.until, p.versions, sum(p.versions) OVER (ORDER BY p.until) - p.versions AS before
              FROM prunable_packs(target, horizon) p) d
        WHERE d.before < at_most - pruned;
        DELETE FROM packs p WHERE p.board_id = target.id AND p.until = ANY (doomed);
        DELETE FROM past_names n
        WHERE n.board_id = target.id AND n.until <= (SELECT max(d) FROM unnest(doomed) AS d)
          AND n.until <= coalesce((SELECT min(m) FROM unnest(kept_moments(target)) AS m), 'infinity');
        pruned := pruned + versions;
    END LOOP;
    PERFORM refuse_hidden_rows();
    RETURN pruned;
END $$;
COMMENT ON FUNCTION kaggle.prune_history(interval, integer) IS 'Removes versions that ended longer ago than this, at most that many, rounded up to what one sync replaced; call again, in a transaction of its own, until it returns 0. Asking for a moment before the pruned horizon raises and names it; rank_history begins there. The boards that the standings of events rest on are kept. Waits for nobody: what others hold is left for the next time.';

CREATE OR REPLACE FUNCTION kaggle_internal.intervals_to_thin()
RETURNS TABLE (board_id bigint, moments timestamptz[])
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    LOCK TABLE events IN ACCESS SHARE MODE;     -- first of all, as TRUNCATE ... CASCADE takes them
    RETURN QUERY
    SELECT b.id, t.moments
    FROM boards b JOIN competitions c ON c.id = b.competition_id
    CROSS JOIN LATERAL (SELECT moments_of_events(c.id) AS protected OFFSET 0) e
    CROSS JOIN LATERAL (
        SELECT array_agg(m.at ORDER BY m.at) AS moments
        FROM (SELECT p.until AS at FROM packs p WHERE p.board_id = b.id UNION SELECT b.observed_from) m
        WHERE m.at >= coalesce(b.history_from, '-infinity')
        -- An event rests on the last board until its moment, which begins another interval.
        GROUP BY date_bin(c.history_interval, m.at, '2000-01-01 00:00:00+00'),
                 width_bucket(m.at - interval '1 microsecond', e.protected)
        HAVING count(*) > 1
           AND date_bin(c.history_interval, min(m.at), '2000-01-01 00:00:00+00') + c.history_interval
               < clock_timestamp() - interval '1 hour') t
    WHERE c.history_interval > '0' AND e.protected IS NOT NULL
    ORDER BY b.id, t.moments;
END $$;
COMMENT ON FUNCTION kaggle_internal.intervals_to_thin() IS 'The moments at which a board changed within one history_interval that ended more than an hour ago; the intervals are counted from 2000-01-01 UTC. Where row level security may hide events there are none.';
