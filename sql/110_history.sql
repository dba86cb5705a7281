-- The past: what a board was at any moment, and what changed since. A board at a moment is the versions of entries
-- valid then, by order_key: exactly what Kaggle showed.

CREATE OR REPLACE FUNCTION kaggle.find_board(kaggle_competition_id text, at timestamptz DEFAULT 'infinity')
RETURNS kaggle.boards
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = kaggle, pg_temp AS $$
DECLARE
    wanted constant text := slug_of(find_board.kaggle_competition_id);
    board boards;
BEGIN
    -- The competition that is linked to the slug now comes first; the private board, once it is there, before the public.
    SELECT b.* INTO board FROM boards b JOIN competitions c ON c.id = b.competition_id
    WHERE lower(b.slug) = lower(wanted) AND b.observed_from <= find_board.at
    ORDER BY lower(c.kaggle_competition_id) IS NOT DISTINCT FROM lower(wanted) DESC, b.kind, b.observed_at DESC LIMIT 1;
    IF NOT FOUND THEN
        IF NOT EXISTS (SELECT FROM boards b WHERE lower(b.slug) = lower(wanted)) THEN
            PERFORM find_competition(wanted);       -- raises if nobody knows the slug
        END IF;
        RETURN NULL;
    END IF;
    IF find_board.at < board.history_from THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found',
            MESSAGE = format('the history of %s begins at %s: what was before is pruned', wanted, board.history_from),
            HINT = 'Ask for a later moment. PGLEADERBOARD_HISTORY_DAYS says how long history is kept.';
    END IF;
    RETURN board;
END $$;
COMMENT ON FUNCTION kaggle.find_board(text, timestamptz) IS
    'The board that a slug (or URL) showed at a moment: the private one once it was there. Null before the first sync; raises no_data_found for an unknown slug and for a moment that was pruned.';


CREATE OR REPLACE FUNCTION kaggle.versions(board_id bigint, at timestamptz)
RETURNS TABLE (team_id bigint, order_key bigint, valid_from timestamptz, first_seen_at timestamptz,
               last_submission_at timestamptz, submission_count bigint, is_benchmark boolean, score numeric,
               team_name text, member_usernames text[], rank bigint)
LANGUAGE sql STABLE ROWS 1000 SET search_path = kaggle, pg_temp AS $$
    SELECT v.*, CASE WHEN NOT v.is_benchmark
                     THEN row_number() OVER (PARTITION BY v.is_benchmark ORDER BY v.order_key, v.team_id) END
    FROM (SELECT e.team_id, e.order_key, e.valid_from, e.first_seen_at, e.last_submission_at, e.submission_count,
                 e.is_benchmark, e.score, e.team_name, e.member_usernames
          FROM leaderboard_entries e
          WHERE e.board_id = versions.board_id AND e.valid_from <= versions.at
          UNION ALL
          SELECT h.team_id, h.order_key, h.valid_from, h.first_seen_at, h.last_submission_at, h.submission_count,
                 h.is_benchmark, h.score, h.team_name, h.member_usernames
          FROM leaderboard_history h
          WHERE h.board_id = versions.board_id AND h.valid_until > versions.at AND h.valid_from <= versions.at) v
$$;
COMMENT ON FUNCTION kaggle.versions(bigint, timestamptz) IS
    'The entries of a board that held at a moment, with their rank then; a benchmark has none.';


CREATE OR REPLACE FUNCTION kaggle.leaderboard_as_of(kaggle_competition_id text, at timestamptz)
RETURNS SETOF kaggle.leaderboard
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1000 SET search_path = kaggle, pg_temp AS $$
#variable_conflict use_column
DECLARE
    b constant boards := find_board($1, $2);
    seen_at constant timestamptz := (SELECT max(r.observed_at) FROM sync_runs r
                                     WHERE r.competition_id = b.competition_id AND r.board_id = b.id AND r.observed_at <= $2);
BEGIN
    RETURN QUERY
    SELECT b.competition_id, b.slug, v.rank, v.team_id, v.team_name, v.score, v.submission_count,
           v.last_submission_at, v.member_usernames, v.is_benchmark, b.kind, v.first_seen_at, v.valid_from, seen_at
    FROM versions(b.id, $2) v ORDER BY v.order_key, v.team_id;
END $$;
COMMENT ON FUNCTION kaggle.leaderboard_as_of(text, timestamptz) IS
    'The board as Kaggle showed it at a moment, in Kaggle''s order, benchmarks in their place; the columns of kaggle.leaderboard. Empty before the first sync.';


CREATE OR REPLACE FUNCTION kaggle.team_rank(kaggle_competition_id text, team_id bigint) RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = kaggle, pg_temp AS $$
DECLARE
    board constant boards := find_board(team_rank.kaggle_competition_id);
BEGIN
    RETURN (SELECT 1 + (SELECT count(*) FROM leaderboard_entries o
                        WHERE o.board_id = board.id AND NOT o.is_benchmark AND o.order_key < e.order_key)
            FROM leaderboard_entries e
            WHERE e.board_id = board.id AND e.team_id = team_rank.team_id AND NOT e.is_benchmark);
END $$;
COMMENT ON FUNCTION kaggle.team_rank(text, bigint) IS
    'One team''s rank now, without ranking the board. Null for a team that is not there and for a benchmark.';


CREATE OR REPLACE FUNCTION kaggle.rank_history_of(board_id bigint, team_ids bigint[], username text)
RETURNS TABLE (at timestamptz, team_id bigint, team_name text, rank bigint, score numeric, submission_count bigint,
               teams bigint)
LANGUAGE plpgsql STABLE SET search_path = kaggle, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH version AS (
        SELECT e.team_id, e.order_key, e.valid_from, 'infinity'::timestamptz AS valid_until, e.is_benchmark
        FROM leaderboard_entries e WHERE e.board_id = rank_history_of.board_id
        UNION ALL
        SELECT h.team_id, h.order_key, h.valid_from, h.valid_until, h.is_benchmark
        FROM leaderboard_history h WHERE h.board_id = rank_history_of.board_id
    ), mine AS (
        SELECT e.team_id, e.order_key, e.valid_from, 'infinity'::timestamptz AS valid_until, e.team_name, e.score,
               e.submission_count
        FROM leaderboard_entries e
        WHERE e.board_id = rank_history_of.board_id AND NOT e.is_benchmark
          AND (e.team_id = ANY (team_ids) OR lower(username) = ANY (lower(e.member_usernames::text)::text[]))
        UNION ALL
        SELECT h.team_id, h.order_key, h.valid_from, h.valid_until, h.team_name, h.score, h.submission_count
        FROM leaderboard_history h
        WHERE h.board_id = rank_history_of.board_id AND NOT h.is_benchmark
          AND (h.team_id = ANY (team_ids) OR lower(username) = ANY (lower(h.member_usernames::text)::text[]))
    ), step AS (
        -- Whoever comes or goes above one of my versions moves it by one place; at its own beginning, all at once.
        SELECT m.team_id, m.valid_from AS since, greatest(c.moment, m.valid_from) AS moment,
               sum(c.change) FILTER (WHERE c.order_key < m.order_key) AS above, sum(c.change) AS there
        FROM mine m
        JOIN (SELECT v.valid_from AS moment, v.order_key, 1 AS change FROM version v WHERE NOT v.is_benchmark
              UNION ALL
              SELECT v.valid_until, v.order_key, -1 FROM version v
              WHERE NOT v.is_benchmark AND v.valid_until < 'infinity') c ON c.moment < m.valid_until
        GROUP BY m.team_id, m.valid_from, greatest(c.moment, m.valid_from)
    ), placed AS (
        SELECT s.team_id, s.since, s.moment,
               1 + sum(coalesce(s.above, 0)) OVER so_far AS rank, sum(s.there) OVER so_far AS teams
        FROM step s WINDOW so_far AS (PARTITION BY s.team_id, s.since ORDER BY s.moment)
    ), told AS (
        SELECT p.moment, m.team_id, m.team_name, p.rank::bigint AS rank, m.score, m.submission_count,
               p.teams::bigint AS teams,
               p.moment = p.since OR p.rank IS DISTINCT FROM lag(p.rank) OVER (
                   PARTITION BY p.team_id, p.since ORDER BY p.moment) AS is_news,
               m.valid_from, m.valid_until
        FROM placed p JOIN mine m ON m.team_id = p.team_id AND m.valid_from = p.since
    )
    SELECT t.moment, t.team_id, t.team_name, t.rank, t.score, t.submission_count, t.teams
    FROM told t WHERE t.is_news ORDER BY t.moment, t.rank;
END $$;
COMMENT ON FUNCTION kaggle.rank_history_of(bigint, bigint[], text) IS
    'A row for each sync that changed the rank or the facts of one of these teams, or of the teams that this user was a member of then.';


CREATE OR REPLACE FUNCTION kaggle.rank_history(kaggle_competition_id text, VARIADIC team_ids bigint[])
RETURNS TABLE (at timestamptz, team_id bigint, team_name text, rank bigint, score numeric, submission_count bigint,
               teams bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = kaggle, pg_temp AS $$
    SELECT * FROM rank_history_of((find_board($1)).id, $2, NULL)
$$;
COMMENT ON FUNCTION kaggle.rank_history(text, bigint[]) IS
    'Rank and facts of teams at each sync that changed them; teams is how many were ranked then.';

CREATE OR REPLACE FUNCTION kaggle.rank_history(kaggle_competition_id text, kaggle_username text)
RETURNS TABLE (at timestamptz, team_id bigint, team_name text, rank bigint, score numeric, submission_count bigint,
               teams bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = kaggle, pg_temp AS $$
    SELECT * FROM rank_history_of((find_board($1)).id, '{}', $2)
$$;
COMMENT ON FUNCTION kaggle.rank_history(text, text) IS
    'Rank and facts of the teams that a user was a member of, following the user from team to team; capitals do not matter.';


CREATE OR REPLACE FUNCTION kaggle.movers(kaggle_competition_id text, since timestamptz)
RETURNS TABLE (team_id bigint, team_name text, rank_then bigint, rank_now bigint, places_climbed bigint,
               score_then numeric, score_now numeric, what text)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1000 SET search_path = kaggle, pg_temp AS $$
#variable_conflict use_column
DECLARE
    board constant boards := find_board($1);
BEGIN
    IF $2 < board.history_from THEN
        PERFORM find_board($1, $2);                 -- raises, and names the horizon
    END IF;
    RETURN QUERY
    SELECT coalesce(n.team_id, t.team_id), coalesce(n.team_name, t.team_name), t.rank, n.rank, t.rank - n.rank,
           t.score, n.score,
           CASE WHEN t.team_id IS NULL THEN 'new' WHEN n.team_id IS NULL THEN 'gone'
                WHEN n.rank < t.rank THEN 'climbed' WHEN n.rank > t.rank THEN 'fell' ELSE 'stayed' END
    FROM (SELECT * FROM versions(board.id, $2) WHERE NOT is_benchmark) t
    FULL JOIN (SELECT * FROM versions(board.id, 'infinity') WHERE NOT is_benchmark) n USING (team_id)
    WHERE t.rank IS DISTINCT FROM n.rank OR t.score IS DISTINCT FROM n.score
    ORDER BY t.rank - n.rank DESC NULLS LAST, n.rank, t.rank;
END $$;
COMMENT ON FUNCTION kaggle.movers(text, timestamptz) IS
    'Who moved since a moment: climbed, fell, new, gone, or stayed with another score; places_climbed is positive upwards. The greatest climbers first.';

CREATE OR REPLACE FUNCTION kaggle.movers(kaggle_competition_id text, during interval)
RETURNS TABLE (team_id bigint, team_name text, rank_then bigint, rank_now bigint, places_climbed bigint,
               score_then numeric, score_now numeric, what text)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 1000 SET search_path = kaggle, pg_temp AS $$
    SELECT * FROM movers($1, statement_timestamp() - $2)
$$;
COMMENT ON FUNCTION kaggle.movers(text, interval) IS 'Who moved during the last while; see movers(text, timestamptz).';


CREATE OR REPLACE FUNCTION kaggle.changes(run_id bigint)
RETURNS TABLE (team_id bigint, team_name text, what text, rank_before bigint, rank_after bigint,
               score_before numeric, score_after numeric, submission_count_before bigint,
               submission_count_after bigint, team_name_before text, member_usernames_before text[],
               member_usernames_after text[], is_benchmark boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 100 SET search_path = kaggle, pg_temp AS $$
#variable_conflict use_column
DECLARE
    run sync_runs;
BEGIN
    SELECT * INTO run FROM sync_runs r WHERE r.id = $1;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('no run %s in kaggle.sync_runs', $1);
    END IF;
    RETURN QUERY
    SELECT coalesce(a.team_id, b.team_id), coalesce(a.team_name, b.team_name),
           CASE WHEN b.team_id IS NULL THEN 'added' WHEN a.team_id IS NULL THEN 'removed'
                WHEN a.order_key = b.order_key THEN 'updated'
                WHEN (a.team_name, a.score, a.submission_count, a.last_submission_at, a.member_usernames, a.is_benchmark)
                     IS NOT DISTINCT FROM
                     (b.team_name, b.score, b.submission_count, b.last_submission_at, b.member_usernames, b.is_benchmark)
                    THEN 'moved'
                ELSE 'updated and moved' END,
           b.rank, a.rank, b.score, a.score, b.submission_count, a.submission_count, b.team_name,
           b.member_usernames, a.member_usernames, coalesce(a.is_benchmark, b.is_benchmark)
    FROM versions(run.board_id, run.observed_at) a
    FULL JOIN versions(run.board_id, run.observed_at - interval '1 microsecond') b USING (team_id)
    WHERE a.valid_from = run.observed_at OR a.team_id IS NULL
    ORDER BY a.order_key NULLS LAST, b.order_key;
END $$;
COMMENT ON FUNCTION kaggle.changes(bigint) IS
    'What one sync changed, an entry a row: added, removed, updated (facts), moved (place in the order), or updated and moved. Ranks that only shifted are not listed.';


-- A body that is parsed when it is created needs no search_path, and is expanded into the query that calls it.
CREATE OR REPLACE FUNCTION kaggle.medal(rank bigint, teams bigint) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN rank IS NULL OR teams IS NULL OR rank < 1 OR rank > teams THEN NULL
    WHEN CASE WHEN teams < 100 THEN rank * 10 <= teams WHEN teams < 250 THEN rank <= 10
              ELSE (rank - 10) * 500 <= teams END THEN 'gold'
    WHEN CASE WHEN teams < 250 THEN rank * 5 <= teams WHEN teams < 1000 THEN rank <= 50
              ELSE rank * 20 <= teams END THEN 'silver'
    WHEN CASE WHEN teams < 250 THEN rank * 5 <= teams * 2 WHEN teams < 1000 THEN rank <= 100
              ELSE rank * 10 <= teams END THEN 'bronze'
END;
COMMENT ON FUNCTION kaggle.medal(bigint, bigint) IS
    'gold, silver, bronze or null for a rank among so many teams, by the cut-offs Kaggle publishes (https://www.kaggle.com/progression). On a public board it is only an indication.';


CREATE OR REPLACE FUNCTION kaggle.shakeup(kaggle_competition_id text)
RETURNS TABLE (team_id bigint, team_name text, public_rank bigint, private_rank bigint, places_climbed bigint,
               public_score numeric, private_score numeric)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1000 SET search_path = kaggle, pg_temp AS $$
#variable_conflict use_column
DECLARE
    private constant boards := find_board($1);
    public_board bigint;
BEGIN
    IF private.kind IS DISTINCT FROM 'private' THEN
        RETURN;                                     -- the private board has not come
    END IF;
    SELECT b.id INTO public_board FROM boards b
    WHERE b.competition_id = private.competition_id AND lower(b.slug) = lower(private.slug) AND b.kind = 'public';
    RETURN QUERY
    SELECT coalesce(n.team_id, t.team_id), coalesce(n.team_name, t.team_name), t.rank, n.rank, t.rank - n.rank,
           t.score, n.score
    FROM (SELECT * FROM versions(public_board, 'infinity') WHERE NOT is_benchmark) t
    FULL JOIN (SELECT * FROM versions(private.id, 'infinity') WHERE NOT is_benchmark) n USING (team_id)
    ORDER BY n.rank NULLS LAST, t.rank;
END $$;
COMMENT ON FUNCTION kaggle.shakeup(text) IS
    'Each team''s last public and its private rank, once the private board has come; places_climbed is positive upwards.';


CREATE OR REPLACE FUNCTION kaggle.prune_history(older_than interval, at_most integer DEFAULT 10000) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kaggle, pg_temp AS $$
DECLARE
    horizon constant timestamptz := clock_timestamp() - older_than;
    pruned bigint;
BEGIN
    WITH chunk AS (
        DELETE FROM leaderboard_history WHERE ctid = ANY (ARRAY(
            SELECT h.ctid FROM leaderboard_history h
            WHERE h.valid_until <= horizon LIMIT at_most FOR UPDATE SKIP LOCKED))
        RETURNING board_id
    ), horizons AS (
        UPDATE boards b SET history_from = horizon
        WHERE b.id IN (SELECT board_id FROM chunk) AND (b.history_from < horizon OR b.history_from IS NULL)
    )
    SELECT count(*) INTO pruned FROM chunk;
    RETURN pruned;
END $$;
COMMENT ON FUNCTION kaggle.prune_history(interval, integer) IS
    'Removes at most that many versions that ended longer ago than this; call again until it returns 0. Asking for a moment before the pruned horizon raises.';
