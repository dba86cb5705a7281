-- The past: what a board was at any moment, and what changed since. A board at a moment is the versions of entries
-- valid then, by order_key: exactly what Kaggle showed.

CREATE OR REPLACE FUNCTION kaggle_internal.boards_through_time(kaggle_competition_id text)
RETURNS TABLE (board kaggle.boards, shown_until timestamptz)
LANGUAGE sql STABLE ROWS 2 SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    -- Each is shown from the moment it was first seen until one that goes before it was: that of the competition which
    -- is linked to the slug now goes before those of others, the private board before the public.
    SELECT f.board, f.shown_until
    FROM (SELECT b AS board, coalesce(min(b.observed_from) OVER (precedence ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING),
                                      'infinity') AS shown_until
          FROM boards b JOIN competitions c ON c.id = b.competition_id
          WHERE lower(b.slug) = lower(boards_through_time.kaggle_competition_id) AND b.observed_from IS NOT NULL
          WINDOW precedence AS (
              ORDER BY lower(c.kaggle_competition_id) IS NOT DISTINCT FROM lower(b.slug) DESC, b.kind, b.observed_at DESC)
         ) f
    WHERE (f.board).observed_from < f.shown_until
$$;
COMMENT ON FUNCTION kaggle_internal.boards_through_time(text) IS 'The boards that a slug has shown, one after another without overlap: each from its observed_from until just before shown_until.';

CREATE OR REPLACE FUNCTION kaggle_internal.refuse_pruned(board kaggle.boards, at timestamptz) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    IF at < board.history_from THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found',
            MESSAGE = format('the history of %s begins at %s: what was before is pruned', board.slug, board.history_from),
            HINT = 'Ask for a later moment. PGLEADERBOARD_HISTORY_DAYS says how long history is kept.';
    END IF;
END $$;
COMMENT ON FUNCTION kaggle_internal.refuse_pruned(kaggle.boards, timestamptz) IS 'Raises no_data_found, naming the horizon, for a moment of a board that was pruned.';

CREATE OR REPLACE FUNCTION kaggle_internal.find_board(kaggle_competition_id text, at timestamptz DEFAULT 'infinity')
RETURNS kaggle.boards
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    wanted constant text := slug_of(find_board.kaggle_competition_id);
    board boards;
BEGIN
    SELECT (s.board).* INTO board FROM boards_through_time(wanted) s
    WHERE (s.board).observed_from <= find_board.at AND (s.shown_until > find_board.at OR s.shown_until = 'infinity');
    IF NOT FOUND THEN
        IF NOT EXISTS (SELECT FROM boards_through_time(wanted)) THEN
            PERFORM find_competition(wanted);       -- raises if nobody knows the slug
        END IF;
        RETURN NULL;
    END IF;
    PERFORM refuse_pruned(board, find_board.at);
    RETURN board;
END $$;
COMMENT ON FUNCTION kaggle_internal.find_board(text, timestamptz) IS 'The board that a slug (or URL) showed at a moment: the private one once it was there. Null before the first sync; raises no_data_found for an unknown slug and for a moment that was pruned.';

CREATE OR REPLACE FUNCTION kaggle_internal.versions(board_id bigint, at timestamptz)
RETURNS TABLE (team_id bigint, order_key bigint, valid_from timestamptz, first_seen_at timestamptz,
               last_submission_at timestamptz, submission_count bigint, is_benchmark boolean, score numeric,
               team_name text, member_usernames text[], rank bigint)
LANGUAGE sql STABLE ROWS 1000 SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT v.*, CASE WHEN NOT v.is_benchmark
                     THEN row_number() OVER (PARTITION BY v.is_benchmark ORDER BY v.order_key, v.team_id) END
    FROM (SELECT e.team_id, e.order_key, e.valid_from, e.first_seen_at, e.last_submission_at, e.submission_count,
                 e.is_benchmark, e.score, e.team_name, e.member_usernames
          FROM leaderboard_entries e
          WHERE e.board_id = versions.board_id AND e.valid_from <= versions.at
          UNION ALL
          -- A version of class n lived less than exp(n + 1) seconds, and so ended no later than that after the moment.
          -- OFFSET 0: each class is a search of its own in the index; joined, they would have the whole past read.
          SELECT h.*
          FROM (SELECT n::float8 AS class, CASE WHEN n < 23 AND versions.at < '10000-01-01'
                                                THEN versions.at + make_interval(secs => exp(n + 1.001))
                                                ELSE 'infinity' END AS ends_by
                FROM generate_series(0, 30) n) lifetime
          CROSS JOIN LATERAL (
              SELECT h.team_id, h.order_key, h.valid_from, h.first_seen_at, h.last_submission_at, h.submission_count,
                     h.is_benchmark, h.score, h.team_name, h.member_usernames
              FROM leaderboard_history h
              WHERE h.board_id = versions.board_id
                AND floor(ln(greatest(date_part('epoch', h.valid_until - h.valid_from), 1))) = lifetime.class
                AND h.valid_until > versions.at AND h.valid_until <= lifetime.ends_by AND h.valid_from <= versions.at
              OFFSET 0) h) v
$$;
COMMENT ON FUNCTION kaggle_internal.versions(bigint, timestamptz) IS 'The entries of a board that held at a moment, with their rank then; a benchmark has none.';

CREATE OR REPLACE FUNCTION kaggle.leaderboard_as_of(kaggle_competition_id text, at timestamptz)
RETURNS SETOF kaggle.leaderboard
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1000 SET search_path = kaggle, kaggle_internal, pg_temp AS $$
#variable_conflict use_column
DECLARE
    b constant boards := find_board($1, $2);
    seen_at constant timestamptz := CASE WHEN b.observed_at <= $2 THEN b.observed_at ELSE
        (SELECT max(r.observed_at) FROM sync_runs r WHERE r.board_id = b.id AND r.observed_at <= $2) END;
BEGIN
    RETURN QUERY
    SELECT b.competition_id, b.slug, v.rank, v.team_id, v.team_name, v.score, v.submission_count,
           v.last_submission_at, v.member_usernames, v.is_benchmark, b.kind, v.first_seen_at, v.valid_from, seen_at
    FROM versions(b.id, $2) v ORDER BY v.order_key, v.team_id;
END $$;
COMMENT ON FUNCTION kaggle.leaderboard_as_of(text, timestamptz) IS 'The board as Kaggle showed it at a moment, in Kaggle''s order, benchmarks in their place; the columns of kaggle.leaderboard. Empty before the first sync.';

CREATE OR REPLACE FUNCTION kaggle.team_rank(kaggle_competition_id text, team_id bigint) RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    board constant boards := find_board(team_rank.kaggle_competition_id);
BEGIN
    RETURN (SELECT 1 + (SELECT count(*) FROM leaderboard_entries o
                        WHERE o.board_id = board.id AND NOT o.is_benchmark AND o.order_key < e.order_key)
            FROM leaderboard_entries e
            WHERE e.board_id = board.id AND e.team_id = team_rank.team_id AND NOT e.is_benchmark);
END $$;
COMMENT ON FUNCTION kaggle.team_rank(text, bigint) IS 'One team''s rank now, without ranking the board. Null for a team that is not there and for a benchmark.';

CREATE OR REPLACE FUNCTION kaggle_internal.teams_of(board_id bigint, name text) RETURNS bigint[]
LANGUAGE sql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    -- The names in one text are searched before they are compared one by one. No index: the past of the board is about
    -- to be read anyway, and every version of an entry would have to be kept in it.
    SELECT ARRAY(
        SELECT e.team_id FROM leaderboard_entries e
        WHERE e.board_id = teams_of.board_id
          AND strpos(lower(array_to_string(e.member_usernames, ',') COLLATE "C"), teams_of.name) > 0
          AND lower_all(e.member_usernames) @> ARRAY[teams_of.name COLLATE "C"]
        UNION
        SELECT h.team_id FROM leaderboard_history h
        WHERE h.board_id = teams_of.board_id
          AND strpos(lower(array_to_string(h.member_usernames, ',') COLLATE "C"), teams_of.name) > 0
          AND lower_all(h.member_usernames) @> ARRAY[teams_of.name COLLATE "C"])
$$;
COMMENT ON FUNCTION kaggle_internal.teams_of(bigint, text) IS 'The teams of a board that a user (in lower case) is or was a member of.';

CREATE OR REPLACE FUNCTION kaggle_internal.rank_history_of(board kaggle.boards, shown_until timestamptz, team_ids bigint[], username text)
RETURNS TABLE (at timestamptz, team_id bigint, team_name text, rank bigint, score numeric, submission_count bigint,
               teams bigint)
LANGUAGE plpgsql STABLE SET search_path = kaggle, kaggle_internal, pg_temp
-- The past may be long: it is read once, counted in memory, and what was counted is joined by hash.
SET work_mem = '32MB' SET enable_nestloop = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    known_from constant timestamptz := coalesce(board.history_from, '-infinity');
    name constant text := lower(left(username, 100) COLLATE "C");
    keys bigint[];        -- the order keys that these teams had, ascending
    holders bigint[];     -- the team that had each
BEGIN
    IF name IS NOT NULL THEN
        team_ids := teams_of(board.id, name);
    END IF;
    SELECT array_agg(k.order_key ORDER BY k.order_key, k.team_id), array_agg(k.team_id ORDER BY k.order_key, k.team_id)
    INTO keys, holders
    FROM (SELECT e.order_key, e.team_id FROM leaderboard_entries e
          WHERE e.board_id = board.id AND e.team_id = ANY (team_ids)
          UNION
          SELECT h.order_key, h.team_id FROM leaderboard_history h
          WHERE h.board_id = board.id AND h.team_id = ANY (team_ids)) k;
    IF keys IS NULL THEN
        RETURN;
    END IF;
    -- The places of all others are only told as far as these keys tell them apart: how many of the keys stand before.
    RETURN QUERY
    WITH flat AS MATERIALIZED (
        SELECT keys, holders      -- a variable's array would be copied at each use
    ), mine AS MATERIALIZED (
        SELECT m.*, greatest(m.valid_from, known_from) AS since, k.place,
               count(*) FILTER (WHERE m.has_news) OVER (PARTITION BY m.team_id ORDER BY m.valid_from) AS news
        FROM (SELECT v.*, v.facts *<> lag(v.facts) OVER (PARTITION BY v.team_id ORDER BY v.valid_from) AS has_news
              FROM (SELECT e.team_id, e.order_key, e.valid_from, 'infinity'::timestamptz AS valid_until,
                           e.team_name, e.score, e.submission_count, e.is_benchmark, e.member_usernames,
                           ROW (e.team_name, e.score, e.submission_count, e.last_submission_at, e.member_usernames) AS facts
                    FROM leaderboard_entries e WHERE e.board_id = board.id AND e.team_id = ANY (team_ids)
                    UNION ALL
                    SELECT h.team_id, h.order_key, h.valid_from, h.valid_until,
                           h.team_name, h.score, h.submission_count, h.is_benchmark, h.member_usernames,
                           ROW (h.team_name, h.score, h.submission_count, h.last_submission_at, h.member_usernames)
                    FROM leaderboard_history h WHERE h.board_id = board.id AND h.team_id = ANY (team_ids)) v
              WHERE NOT v.is_benchmark AND v.valid_until > known_from AND v.valid_from < shown_until
                AND (name IS NULL OR lower_all(v.member_usernames) @> ARRAY[name COLLATE "C"])) m
        JOIN unnest(keys, holders) WITH ORDINALITY AS k (order_key, team_id, place) USING (order_key, team_id)
    ), lived AS MATERIALIZED (
        -- How many teams stood at a place from one moment until another.
        SELECT v.since, v.valid_until, v.place, count(*) AS teams
        FROM (SELECT greatest(p.valid_from, known_from) AS since, p.valid_until,
                     -- Where versions were merged a key can be held by several at a time; then the team_id decides.
                     CASE WHEN p.keys[p.place] = p.order_key AND p.holders[p.place] > p.team_id
                          THEN p.place - (SELECT count(*) FROM unnest(p.keys, p.holders) AS k (order_key, team_id)
                                          WHERE k.order_key = p.order_key AND k.team_id > p.team_id)::integer
                          ELSE p.place END AS place
              FROM (SELECT a.*, f.*, width_bucket(a.order_key, f.keys) AS place
                    FROM flat f CROSS JOIN (
                          SELECT e.order_key, e.team_id, e.valid_from, 'infinity'::timestamptz AS valid_until
                          FROM leaderboard_entries e WHERE e.board_id = board.id AND NOT e.is_benchmark
                          UNION ALL
                          SELECT h.order_key, h.team_id, h.valid_from, h.valid_until FROM leaderboard_history h
                          WHERE h.board_id = board.id AND NOT h.is_benchmark AND h.valid_until > known_from) a
                    OFFSET 0) p) v
        GROUP BY v.since, v.valid_until, v.place
    ), counted AS MATERIALIZED (
        -- How many came to a place at each moment, less those that left it.
        SELECT c.moment, c.place, sum(c.change) AS change
        FROM (SELECT l.since AS moment, l.place, l.teams AS change FROM lived l
              UNION ALL
              SELECT l.valid_until, l.place, -l.teams FROM lived l WHERE l.valid_until < shown_until) c
        GROUP BY c.moment, c.place
    ), step AS MATERIALIZED (
        SELECT c.moment, row_number() OVER (ORDER BY c.moment) AS nth
        FROM (SELECT DISTINCT moment FROM counted) c WHERE c.moment < shown_until
    ), filled AS (
        SELECT s.nth, p.place, sum(coalesce(c.change, 0)) OVER (PARTITION BY p.place ORDER BY s.nth) AS there
        FROM step s CROSS JOIN generate_series(0, cardinality(keys)) AS p (place)
        LEFT JOIN counted c ON c.moment = s.moment AND c.place = p.place
    ), summed AS (
        SELECT f.nth, f.place, sum(f.there) OVER (PARTITION BY f.nth ORDER BY f.place) AS above,
               sum(f.there) OVER (PARTITION BY f.nth) AS teams
        FROM filled f
    ), told AS (
        SELECT s.nth, s.moment, m.team_id, m.team_name, m.score, m.submission_count, m.news, u.teams,
               1 + u.above AS rank
        FROM mine m
        JOIN step s ON s.moment >= m.since AND s.moment < m.valid_until
        JOIN summed u ON u.nth = s.nth AND u.place = m.place - 1
    )
    SELECT t.moment, t.team_id, t.team_name, t.rank::bigint, t.score, t.submission_count, t.teams::bigint
    FROM (SELECT o.*, (o.nth - 1, o.rank, o.news) IS DISTINCT FROM
                      (lag(o.nth) OVER w, lag(o.rank) OVER w, lag(o.news) OVER w) AS is_news
          FROM told o WINDOW w AS (PARTITION BY o.team_id ORDER BY o.nth)) t
    WHERE t.is_news ORDER BY t.moment, t.rank;
END $$;
COMMENT ON FUNCTION kaggle_internal.rank_history_of(kaggle.boards, timestamptz, bigint[], text) IS 'One board''s part of rank_history, up to the moment at which another took its place.';

CREATE OR REPLACE FUNCTION kaggle.rank_history(kaggle_competition_id text, VARIADIC team_ids bigint[])
RETURNS TABLE (at timestamptz, team_id bigint, team_name text, rank bigint, score numeric, submission_count bigint,
               teams bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM find_board($1);
    RETURN QUERY
    SELECT r.* FROM boards_through_time(slug_of($1)) s CROSS JOIN LATERAL rank_history_of(s.board, s.shown_until, $2, NULL) r
    ORDER BY r.at, r.rank;
END $$;
COMMENT ON FUNCTION kaggle.rank_history(text, bigint[]) IS 'Rank and facts of teams at each sync that changed them; teams is how many were ranked then. The public board''s past up to the private one, which begins with a row for each of its teams, as leaderboard_as_of has it. A team that is gone has no row until it is back. After pruning, the first row of a team tells how it stood at the horizon.';

CREATE OR REPLACE FUNCTION kaggle.rank_history(kaggle_competition_id text, kaggle_username text)
RETURNS TABLE (at timestamptz, team_id bigint, team_name text, rank bigint, score numeric, submission_count bigint,
               teams bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM find_board($1);
    RETURN QUERY
    SELECT r.* FROM boards_through_time(slug_of($1)) s CROSS JOIN LATERAL rank_history_of(s.board, s.shown_until, '{}', $2) r
    ORDER BY r.at, r.rank;
END $$;
COMMENT ON FUNCTION kaggle.rank_history(text, text) IS 'Rank and facts of the teams that a user was a member of, while that was so, following the user from team to team; capitals do not matter. Otherwise as rank_history of teams.';

CREATE OR REPLACE FUNCTION kaggle.movers(kaggle_competition_id text, since timestamptz)
RETURNS TABLE (team_id bigint, team_name text, rank_then bigint, rank_now bigint, places_climbed bigint,
               score_then numeric, score_now numeric, what text)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1000 SET search_path = kaggle, kaggle_internal, pg_temp AS $$
#variable_conflict use_column
DECLARE
    shown_now constant boards := find_board($1);
    shown_then constant boards := find_board($1, $2);
BEGIN
    RETURN QUERY
    SELECT coalesce(n.team_id, t.team_id), coalesce(n.team_name, t.team_name), t.rank, n.rank, t.rank - n.rank,
           t.score, n.score,
           CASE WHEN t.team_id IS NULL THEN 'new' WHEN n.team_id IS NULL THEN 'gone'
                WHEN n.rank < t.rank THEN 'climbed' ELSE 'fell' END
    FROM (SELECT * FROM versions(shown_then.id, $2) WHERE NOT is_benchmark) t
    FULL JOIN (SELECT * FROM versions(shown_now.id, 'infinity') WHERE NOT is_benchmark) n USING (team_id)
    WHERE t.rank IS DISTINCT FROM n.rank
    ORDER BY t.rank - n.rank DESC NULLS LAST, n.rank, t.rank;
END $$;
COMMENT ON FUNCTION kaggle.movers(text, timestamptz) IS 'Whose rank is another than at a moment: climbed, fell, new or gone; places_climbed is positive upwards. The greatest climbers first. The board shown then is compared with the one shown now, so the private one with the public where it came in between. For scores that changed at the same rank, see rank_history and changes.';

CREATE OR REPLACE FUNCTION kaggle.movers(kaggle_competition_id text, during interval)
RETURNS TABLE (team_id bigint, team_name text, rank_then bigint, rank_now bigint, places_climbed bigint,
               score_then numeric, score_now numeric, what text)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 1000 SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT * FROM movers($1, statement_timestamp() - $2)
$$;
COMMENT ON FUNCTION kaggle.movers(text, interval) IS 'Who moved during the last while; see movers(text, timestamptz).';

CREATE OR REPLACE FUNCTION kaggle.changes(run_id bigint)
RETURNS TABLE (team_id bigint, team_name text, what text, rank_before bigint, rank_after bigint,
               score_before numeric, score_after numeric, submission_count_before bigint,
               submission_count_after bigint, team_name_before text, member_usernames_before text[],
               member_usernames_after text[], is_benchmark boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 100 SET search_path = kaggle, kaggle_internal, pg_temp AS $$
#variable_conflict use_column
DECLARE
    run sync_runs;
    just_before timestamptz;
BEGIN
    SELECT * INTO run FROM sync_runs r WHERE r.id = $1;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('no run %s in kaggle.sync_runs', $1);
    END IF;
    just_before := run.observed_at - interval '1 microsecond';
    PERFORM refuse_pruned(b, just_before) FROM boards b WHERE b.id = run.board_id;
    RETURN QUERY
    SELECT coalesce(a.team_id, b.team_id), coalesce(a.team_name, b.team_name),
           CASE WHEN b.team_id IS NULL THEN 'added' WHEN a.team_id IS NULL THEN 'removed'
                WHEN a.order_key = b.order_key THEN 'updated'
                WHEN a.facts *= b.facts THEN 'moved'        -- byte for byte: 0.80 is not 0.8
                ELSE 'updated and moved' END,
           b.rank, a.rank, b.score, a.score, b.submission_count, a.submission_count, b.team_name,
           b.member_usernames, a.member_usernames, coalesce(a.is_benchmark, b.is_benchmark)
    FROM (SELECT v.*, ROW (v.team_name, v.score, v.submission_count, v.last_submission_at, v.member_usernames,
                           v.is_benchmark) AS facts FROM versions(run.board_id, run.observed_at) v) a
    FULL JOIN (SELECT v.*, ROW (v.team_name, v.score, v.submission_count, v.last_submission_at, v.member_usernames,
                                v.is_benchmark) AS facts FROM versions(run.board_id, just_before) v) b USING (team_id)
    WHERE a.valid_from = run.observed_at OR a.team_id IS NULL
    ORDER BY a.order_key NULLS LAST, b.order_key;
END $$;
COMMENT ON FUNCTION kaggle.changes(bigint) IS 'What one sync changed, an entry a row: added, removed, updated (facts), moved (place in the order), or updated and moved. Ranks that only shifted are not listed, nor what history_interval merged into an earlier version.';

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
COMMENT ON FUNCTION kaggle.medal(bigint, bigint) IS 'gold, silver, bronze or null for a rank among so many teams, by the cut-offs Kaggle publishes (https://www.kaggle.com/progression). What Kaggle does with fractions is not published: here a rank must lie within the share, so that of 15 teams the top 10 % is one. On a public board it is only an indication.';

CREATE OR REPLACE FUNCTION kaggle.shakeup(kaggle_competition_id text)
RETURNS TABLE (team_id bigint, team_name text, public_rank bigint, private_rank bigint, places_climbed bigint,
               public_score numeric, private_score numeric)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1000 SET search_path = kaggle, kaggle_internal, pg_temp AS $$
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
COMMENT ON FUNCTION kaggle.shakeup(text) IS 'Each team''s last public and its private rank, once the private board has come; places_climbed is positive upwards.';

CREATE OR REPLACE FUNCTION kaggle.prune_history(older_than interval, at_most integer DEFAULT 10000) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    horizon constant timestamptz := clock_timestamp() - CASE WHEN older_than < '0' THEN '0' ELSE older_than END;
    target bigint := 0;
    pruned bigint := 0;
    of_board bigint;
BEGIN
    -- The horizon is moved in the transaction of the first removal, so that no reader finds a moment half there. That
    -- takes the row of boards that a sync writes at its end: one that a sync holds is left for the next time, and a
    -- sync waits at most until a chunk commits.
    WHILE pruned < at_most LOOP
        SELECT b.id INTO target FROM boards b
        WHERE b.id > target
          AND EXISTS (SELECT FROM leaderboard_history h WHERE h.board_id = b.id AND h.valid_until <= horizon)
        ORDER BY b.id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
        EXIT WHEN NOT FOUND;
        UPDATE boards b SET history_from = horizon
        WHERE b.id = target AND (b.history_from < horizon OR b.history_from IS NULL);
        DELETE FROM leaderboard_history WHERE ctid = ANY (ARRAY(
            SELECT h.ctid FROM leaderboard_history h
            WHERE h.board_id = target AND h.valid_until <= horizon
            ORDER BY h.valid_until LIMIT at_most - pruned FOR UPDATE SKIP LOCKED));
        GET DIAGNOSTICS of_board = ROW_COUNT;
        pruned := pruned + of_board;
    END LOOP;
    PERFORM refuse_hidden_rows();
    RETURN pruned;
END $$;
COMMENT ON FUNCTION kaggle.prune_history(interval, integer) IS 'Removes at most that many versions that ended longer ago than this; call again, in a transaction of its own, until it returns 0. Asking for a moment before the pruned horizon raises and names it; rank_history begins there. Waits for nobody: what others hold is left for the next time.';
