-- How much of the past is kept.

CREATE OR REPLACE FUNCTION kaggle_internal.has_board_at(competition kaggle.competitions, at timestamptz) RETURNS boolean
LANGUAGE sql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT EXISTS (SELECT FROM boards b
                   WHERE b.competition_id = competition.id
                     AND lower(b.slug COLLATE "C") = lower(competition.kaggle_competition_id COLLATE "C")
                     AND b.observed_from <= has_board_at.at)
$$;
COMMENT ON FUNCTION kaggle_internal.has_board_at(kaggle.competitions, timestamptz) IS 'Whether a board of a competition''s present slug was known at a moment.';

CREATE OR REPLACE FUNCTION kaggle_internal.moment_at_end(event kaggle.events, competition kaggle.competitions)
RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    -- As it was noted; else within two minutes, just before, or, of one that was not known before, the first moment of all.
    SELECT coalesce((SELECT k.at FROM boards_at_end k
                     WHERE k.event_id = event.id AND k.competition_id = competition.id AND k.end_date = event.end_date
                       AND k.counts_private = event.counts_private AND has_board_at(competition, k.at)),
                    min(f.at), CASE WHEN bool_or(b.observed_from < event.end_date) THEN event.end_date ELSE min(b.observed_from) END)
    FROM boards b
    LEFT JOIN LATERAL (
        SELECT min(s.at) AS at
        FROM (SELECT r.observed_at AS at FROM sync_runs r
              WHERE r.board_id = b.id AND r.outcome IN ('changed', 'unchanged') AND NOT r.is_merged
                AND r.observed_at BETWEEN event.end_date AND event.end_date + interval '2 minutes'
              UNION ALL SELECT b.observed_at) s       -- the run of which may have been pruned
        WHERE s.at BETWEEN event.end_date AND event.end_date + interval '2 minutes') f ON true
    WHERE b.competition_id = competition.id AND lower(b.slug COLLATE "C") = lower(competition.kaggle_competition_id COLLATE "C")
      AND (b.shown_from > statement_timestamp()) IS NOT TRUE
      AND (event.counts_private OR b.kind = 'public' OR (linked_board(competition, 'public')).id IS NULL)
$$;
COMMENT ON FUNCTION kaggle_internal.moment_at_end(kaggle.events, kaggle.competitions) IS 'The moment whose board stands for the end of an event, of a competition that goes on; null while it has no board.';

CREATE OR REPLACE FUNCTION kaggle_internal.keep_boards_at_end() RETURNS void
LANGUAGE sql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    DELETE FROM boards_at_end k
    WHERE NOT EXISTS (SELECT FROM event_competitions x JOIN competitions c ON c.id = x.competition_id
                      WHERE x.event_id = k.event_id AND x.competition_id = k.competition_id AND has_board_at(c, k.at))
      AND NOT row_security_active('kaggle.event_competitions') AND NOT row_security_active('kaggle.competitions')
      AND NOT row_security_active('kaggle.boards');
    WITH ended AS MATERIALIZED (
        SELECT e AS event, c AS competition
        FROM events e
        JOIN event_competitions x ON x.event_id = e.id
        JOIN competitions c ON c.id = x.competition_id
        WHERE e.end_date < statement_timestamp() - interval '2 minutes'
          AND NOT EXISTS (SELECT FROM boards_at_end k
                          WHERE k.event_id = e.id AND k.competition_id = c.id AND k.end_date = e.end_date
                            AND k.counts_private = e.counts_private)
          -- A sync that began before and runs still may bring it.
          AND NOT EXISTS (SELECT FROM sync_state s
                          WHERE s.competition_id = c.id AND s.running_since <= e.end_date + interval '2 minutes')
    )
    INSERT INTO boards_at_end (event_id, competition_id, end_date, counts_private, at)
    SELECT (n.event).id, (n.competition).id, (n.event).end_date, (n.event).counts_private, n.at
    FROM (SELECT *, moment_at_end(event, competition) AS at FROM ended OFFSET 0) n WHERE n.at IS NOT NULL
    ON CONFLICT ON CONSTRAINT boards_at_end_pkey DO UPDATE
    SET end_date = excluded.end_date, counts_private = excluded.counts_private, at = excluded.at
$$;
COMMENT ON FUNCTION kaggle_internal.keep_boards_at_end() IS 'Notes which moments of competitions stand for the ends of events, two minutes after them. Runs that told it may be pruned from then on, and their boards may not.';

CREATE OR REPLACE FUNCTION kaggle_internal.forget_boards_at_freeze() RETURNS void
LANGUAGE sql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    DELETE FROM boards_at_freeze d
    WHERE d.id IN (SELECT k.id FROM boards_at_freeze k
                   WHERE NOT EXISTS (SELECT FROM event_competitions x JOIN events e ON e.id = x.event_id
                                     WHERE x.event_id = k.event_id AND x.competition_id = k.competition_id
                                       AND e.frozen_at = k.frozen_at)
                   FOR UPDATE SKIP LOCKED)
      AND NOT row_security_active('kaggle.event_competitions') AND NOT row_security_active('kaggle.events')
$$;
COMMENT ON FUNCTION kaggle_internal.forget_boards_at_freeze() IS 'Removes what was noted of freezes that are over.';

-- What events rest on is neither merged nor pruned: where events may be hidden, nothing is known of it.
CREATE OR REPLACE FUNCTION kaggle_internal.moments_of_events(competition_id bigint) RETURNS timestamptz[]
LANGUAGE sql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT CASE WHEN NOT row_security_active('kaggle.events') AND NOT row_security_active('kaggle.event_competitions')
                THEN ARRAY(SELECT DISTINCT m.at FROM event_competitions x JOIN events e ON e.id = x.event_id
                           JOIN competitions c ON c.id = x.competition_id
                           LEFT JOIN boards_at_freeze k ON k.event_id = e.id AND k.competition_id = c.id
                           CROSS JOIN LATERAL (VALUES (e.frozen_at), (e.end_date), (x.counts_at), (k.at),
                                                      (CASE WHEN e.end_date <= statement_timestamp() THEN moment_at_end(e, c) END)
                                              ) AS m (at)
                           WHERE x.competition_id = moments_of_events.competition_id AND m.at <= clock_timestamp()
                           ORDER BY m.at) END
$$;
COMMENT ON FUNCTION kaggle_internal.moments_of_events(bigint) IS 'The moments at which the standings of events rest on the boards of a competition, ascending: their ends, when they were frozen, and what counts after their ends. Null where row level security may hide events.';

CREATE OR REPLACE FUNCTION kaggle_internal.has_changed(
    board_id bigint, since timestamptz, until timestamptz) RETURNS boolean
LANGUAGE sql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT EXISTS (SELECT FROM sync_runs r WHERE r.board_id = has_changed.board_id AND r.outcome = 'changed'
                   AND r.observed_at > since AND r.observed_at <= until)
$$;
COMMENT ON FUNCTION kaggle_internal.has_changed(bigint, timestamptz, timestamptz) IS 'Whether a board changed after one moment and until another.';

CREATE OR REPLACE FUNCTION kaggle_internal.is_pruned(board kaggle.boards, at timestamptz) RETURNS boolean
LANGUAGE sql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT at < board.history_from AND has_changed(board.id, at, board.history_from)
       AND NOT EXISTS (SELECT FROM unnest(board.kept_at) AS kept
                       WHERE kept <= at AND (kept = at OR NOT has_changed(board.id, kept, at)))
$$;
COMMENT ON FUNCTION kaggle_internal.is_pruned(kaggle.boards, timestamptz) IS 'Whether a board at a moment is gone: it lies before the horizon, the board changed until there, and it was not kept.';

CREATE OR REPLACE FUNCTION kaggle_internal.kept_moments(board kaggle.boards) RETURNS timestamptz[]
LANGUAGE sql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT CASE WHEN e.moments IS NOT NULL THEN
        ARRAY(SELECT m FROM unnest(e.moments) AS m
              WHERE m >= board.observed_from AND is_pruned(board, m) IS NOT TRUE) END
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
