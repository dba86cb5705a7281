-- The past: what a board was at any moment, and what changed since. A board at a moment is what the packs after it say
-- of the teams they list, the nearest one first, and the entries of all others, by order_key: what Kaggle showed.

CREATE OR REPLACE FUNCTION kaggle_internal.boards_through_time(kaggle_competition_id text)
RETURNS TABLE (board kaggle.boards, shown_from timestamptz, shown_until timestamptz)
LANGUAGE sql STABLE ROWS 2 SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    -- Each is shown from the moment it was first seen, or from the end, until one that goes before it is: that of the competition which
    -- is linked to the slug now goes before those of others, the private board before the public.
    SELECT f.board, f.shown_from, f.shown_until
    FROM (SELECT b AS board, coalesce(b.shown_from, b.observed_from) AS shown_from,
                 coalesce(min(coalesce(b.shown_from, b.observed_from))
                              OVER (precedence ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 'infinity') AS shown_until
          FROM boards b JOIN competitions c ON c.id = b.competition_id
          WHERE lower(b.slug COLLATE "C") = lower(boards_through_time.kaggle_competition_id COLLATE "C") AND b.observed_from IS NOT NULL
            AND (b.shown_from > statement_timestamp()) IS NOT TRUE
          WINDOW precedence AS (
              ORDER BY lower(c.kaggle_competition_id COLLATE "C") IS NOT DISTINCT FROM lower(b.slug COLLATE "C") DESC, b.kind, b.observed_at DESC)
         ) f
    WHERE f.shown_from < f.shown_until
$$;
COMMENT ON FUNCTION kaggle_internal.boards_through_time(text) IS 'The boards that a slug has shown, one after another without overlap: each from shown_from until just before shown_until.';

CREATE OR REPLACE FUNCTION kaggle_internal.refuse_pruned(board kaggle.boards, at timestamptz) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    IF at < board.history_from AND at <> ALL (board.kept_at) THEN
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
    WHERE s.shown_from <= find_board.at AND (s.shown_until > find_board.at OR s.shown_until = 'infinity');
    IF NOT FOUND THEN
        IF NOT EXISTS (SELECT FROM boards_through_time(wanted)) THEN
            PERFORM find_competition(wanted);       -- raises if nobody knows the slug
        END IF;
        RETURN NULL;
    END IF;
    PERFORM refuse_pruned(board, find_board.at);
    RETURN board;
END $$;
COMMENT ON FUNCTION kaggle_internal.find_board(text, timestamptz) IS 'The board that a slug (or URL) showed at a moment: the private one once it was shown. Null before the first sync; raises no_data_found for an unknown slug and for a moment that was pruned.';

-- A body that is parsed when it is created needs no search_path, and is expanded into the query that calls it. Callers
-- set enable_nestloop = off, since the planner does not know how many versions an array holds.
CREATE OR REPLACE FUNCTION kaggle_internal.versions(board_id bigint, at timestamptz)
RETURNS TABLE (team_id bigint, order_key bigint, valid_from timestamptz, first_seen_at timestamptz,
               last_submission_at timestamptz, submission_count bigint, is_benchmark boolean, score numeric,
               team_name text, member_usernames text[], rank bigint)
LANGUAGE sql STABLE ROWS 1000
BEGIN ATOMIC
    WITH whole AS (
        -- The nearest pack that lists everybody: what lies behind it need not be read.
        SELECT min(p.until) AS until
        FROM (SELECT w.until FROM kaggle_internal.packs w
              WHERE w.board_id = versions.board_id AND w.until > versions.at AND w.is_whole
              ORDER BY w.until LIMIT 1) p
    ), listed AS (
        SELECT DISTINCT ON (u.team_id) u.*
        FROM (SELECT p.until, p.ranked, generate_subscripts(p.team_ids, 1) AS nth, unnest(p.team_ids) AS team_id,
                     unnest(p.order_keys) AS order_key, unnest(p.changed_at) AS changed_at,
                     unnest(p.last_submission_at) AS last_submission_at,
                     unnest(p.submission_count) AS submission_count, unnest(p.score) AS score
              FROM kaggle_internal.packs p
              WHERE p.board_id = versions.board_id AND p.until > versions.at
                AND p.until <= coalesce((SELECT w.until FROM whole w), 'infinity')) u
        ORDER BY u.team_id, u.until
    ), named AS (
        SELECT DISTINCT ON (n.team_id) n.* FROM kaggle_internal.past_names n
        WHERE n.board_id = versions.board_id AND n.until > versions.at
        ORDER BY n.team_id, n.until
    ), version AS (
        SELECT coalesce(i.team_id, e.team_id) AS team_id, coalesce(i.order_key, e.order_key) AS order_key,
               coalesce(i.changed_at, e.valid_from) AS valid_from,
               coalesce(e.first_seen_at, n.first_seen_at) AS first_seen_at,
               CASE WHEN i.team_id IS NULL THEN e.last_submission_at ELSE i.last_submission_at END AS last_submission_at,
               CASE WHEN i.team_id IS NULL THEN e.submission_count ELSE i.submission_count END AS submission_count,
               coalesce(i.nth > i.ranked, e.is_benchmark) AS is_benchmark,
               CASE WHEN i.team_id IS NULL THEN e.score ELSE i.score END AS score,
               coalesce(n.team_name, e.team_name) AS team_name,
               coalesce(n.member_usernames, e.member_usernames) AS member_usernames
        FROM listed i
        FULL JOIN (SELECT * FROM kaggle.leaderboard_entries o WHERE o.board_id = versions.board_id) e
            ON e.team_id = i.team_id
        LEFT JOIN named n ON n.team_id = coalesce(i.team_id, e.team_id)
        WHERE CASE WHEN i.team_id IS NULL THEN (SELECT w.until IS NULL FROM whole w)
                   ELSE i.order_key IS NOT NULL END        -- null: the team was not there
    )
    SELECT v.*, CASE WHEN NOT v.is_benchmark
                     THEN count(*) FILTER (WHERE NOT v.is_benchmark) OVER (ORDER BY v.order_key ROWS UNBOUNDED PRECEDING) END
    FROM version v;
END;
COMMENT ON FUNCTION kaggle_internal.versions(bigint, timestamptz) IS 'The entries of a board that held at a moment, with their rank then; a benchmark has none. The moment must not lie before the board''s first.';

CREATE OR REPLACE VIEW kaggle.leaderboard_history AS
SELECT p.board_id, v.team_id, v.changed_at AS valid_from, p.until AS valid_until,
       coalesce(e.first_seen_at, n.first_seen_at) AS first_seen_at, v.last_submission_at, v.submission_count,
       v.nth > p.ranked AS is_benchmark, v.score, coalesce(n.team_name, e.team_name) AS team_name,
       coalesce(n.member_usernames, e.member_usernames) AS member_usernames
FROM kaggle_internal.packs p
CROSS JOIN LATERAL (
    SELECT generate_subscripts(p.team_ids, 1) AS nth, unnest(p.team_ids) AS team_id, unnest(p.ended) AS ended,
           unnest(p.changed_at) AS changed_at, unnest(p.last_submission_at) AS last_submission_at,
           unnest(p.submission_count) AS submission_count, unnest(p.score) AS score) AS v
LEFT JOIN kaggle.leaderboard_entries e ON e.board_id = p.board_id AND e.team_id = v.team_id
LEFT JOIN LATERAL (
    SELECT o.first_seen_at, o.team_name, o.member_usernames FROM kaggle_internal.past_names o
    WHERE o.board_id = p.board_id AND o.team_id = v.team_id AND o.until >= p.until
    ORDER BY o.until LIMIT 1) AS n ON true
WHERE v.ended IN ('m', 'u', 'M', 'l');
COMMENT ON VIEW kaggle.leaderboard_history IS 'Versions of entries that held before: from valid_from until just before valid_until, a row for each that ended. For the places they stood at, ask kaggle.leaderboard_as_of and kaggle.rank_history.';
COMMENT ON COLUMN kaggle.leaderboard_history.board_id IS 'The board.';
COMMENT ON COLUMN kaggle.leaderboard_history.team_id IS 'Kaggle''s TeamId.';
COMMENT ON COLUMN kaggle.leaderboard_history.valid_from IS 'This version held from then on.';
COMMENT ON COLUMN kaggle.leaderboard_history.valid_until IS 'It held until just before then.';
COMMENT ON COLUMN kaggle.leaderboard_history.first_seen_at IS 'When the team was first seen on this board.';
COMMENT ON COLUMN kaggle.leaderboard_history.last_submission_at IS 'Kaggle''s LastSubmissionDate.';
COMMENT ON COLUMN kaggle.leaderboard_history.submission_count IS 'Kaggle''s SubmissionCount.';
COMMENT ON COLUMN kaggle.leaderboard_history.is_benchmark IS 'A host''s benchmark.';
COMMENT ON COLUMN kaggle.leaderboard_history.score IS 'Exact, with the decimals of the file.';
COMMENT ON COLUMN kaggle.leaderboard_history.team_name IS 'The name the team had then.';
COMMENT ON COLUMN kaggle.leaderboard_history.member_usernames IS 'The members it had then.';

CREATE OR REPLACE FUNCTION kaggle_internal.observed(board kaggle.boards, at timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT CASE WHEN board.observed_at <= observed.at THEN board.observed_at
                ELSE (SELECT max(r.observed_at) FROM sync_runs r
                      WHERE r.board_id = board.id AND r.observed_at <= observed.at AND NOT r.is_merged) END
$$;
COMMENT ON FUNCTION kaggle_internal.observed(kaggle.boards, timestamptz) IS 'When a board was seen last, until a moment.';

CREATE OR REPLACE FUNCTION kaggle.leaderboard_as_of(kaggle_competition_id text, at timestamptz)
RETURNS SETOF kaggle.leaderboard
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1000 SET search_path = kaggle, kaggle_internal, pg_temp
SET enable_nestloop = off AS $$
#variable_conflict use_column
DECLARE
    b constant boards := find_board($1, $2);
    seen_at constant timestamptz := observed(b, $2);
BEGIN
    RETURN QUERY
    SELECT b.competition_id, b.slug, v.rank, v.team_id, v.team_name, v.score, v.submission_count,
           v.last_submission_at, v.member_usernames, v.is_benchmark, b.kind, v.first_seen_at, v.valid_from, seen_at
    FROM versions(b.id, $2) v ORDER BY v.order_key;
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
    -- The names in one text are searched before they are compared one by one.
    SELECT ARRAY(
        SELECT e.team_id FROM leaderboard_entries e
        WHERE e.board_id = teams_of.board_id
          AND strpos(lower(array_to_string(e.member_usernames, ',') COLLATE "C"), teams_of.name) > 0
          AND lower_all(e.member_usernames) @> ARRAY[teams_of.name COLLATE "C"]
        UNION
        SELECT n.team_id FROM past_names n
        WHERE n.board_id = teams_of.board_id
          AND strpos(lower(array_to_string(n.member_usernames, ',') COLLATE "C"), teams_of.name) > 0
          AND lower_all(n.member_usernames) @> ARRAY[teams_of.name COLLATE "C"])
$$;
COMMENT ON FUNCTION kaggle_internal.teams_of(bigint, text) IS 'The teams of a board that a user (in lower case) is or was a member of.';

-- States of a board are numbered by the packs that end them; the entries are the last one. Where a pack lists everybody,
-- a rank is counted there. The other states belong to the frame that the next such pack, or the entries, close. Within a
-- frame only the keys that the asked teams had there matter: they cut the board into stretches, numbered from 0, and
-- how many teams stand in which stretch changes by what the packs say.
CREATE OR REPLACE FUNCTION kaggle_internal.rank_history_of(
    board kaggle.boards, since timestamptz, until timestamptz, team_ids bigint[], username text)
RETURNS TABLE (at timestamptz, team_id bigint, team_name text, rank bigint, score numeric, submission_count bigint,
               teams bigint)
LANGUAGE plpgsql STABLE SET search_path = kaggle, kaggle_internal, pg_temp
SET work_mem = '32MB' SET enable_nestloop = off SET jit = off SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
    known_from constant timestamptz := greatest(board.observed_from, board.history_from, since);
    name constant text := lower(left(username, 100) COLLATE "C");
    asked constant bigint[] := CASE WHEN name IS NULL THEN ARRAY(SELECT DISTINCT unnest(team_ids)) ELSE teams_of(board.id, name) END;
    closed_by constant timestamptz := coalesce(
        (SELECT p.until FROM packs p WHERE p.board_id = board.id AND p.until > rank_history_of.until AND p.is_whole
         ORDER BY p.until LIMIT 1), 'infinity');
BEGIN
    IF cardinality(asked) = 0 OR known_from > rank_history_of.until THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH pack AS MATERIALIZED (
        SELECT p.*, row_number() OVER ascending AS state, lag(p.until, 1, known_from) OVER ascending AS begins_at,
               coalesce(min(p.until) FILTER (WHERE p.is_whole) OVER (ORDER BY p.until DESC), 'infinity') AS frame
        FROM packs p
        WHERE p.board_id = board.id AND p.until > known_from AND p.until <= closed_by
        WINDOW ascending AS (ORDER BY p.until)
    ), state AS MATERIALIZED (
        SELECT p.state, p.begins_at, p.until, p.frame, p.is_whole FROM pack p
        UNION ALL
        SELECT count(*) + 1, coalesce(max(p.until), known_from), 'infinity', 'infinity', false FROM pack p
        HAVING closed_by = 'infinity'
    ), mention AS MATERIALIZED (
        SELECT m.*, lag(m.state, 1, 0::bigint) OVER (PARTITION BY m.team_id ORDER BY m.state) AS after
        FROM (SELECT f.state, f.until, f.team_id, f.place <= f.ranked AS is_ranked, f.order_keys[f.place] AS order_key,
                     f.score[f.place] AS score, f.submission_count[f.place] AS submission_count,
                     f.last_submission_at[f.place] AS last_submission_at
              FROM (SELECT t.*, array_position(t.team_ids, t.team_id) AS place
                    FROM (SELECT p.*, unnest(asked) AS team_id
                          -- || unpacks an array once, and not again for each team.
                          FROM (SELECT p.state, p.until, p.ranked, p.team_ids || '{}' AS team_ids, p.order_keys || '{}' AS order_keys,
                                       p.score || '{}' AS score, p.submission_count || '{}' AS submission_count,
                                       p.last_submission_at || '{}' AS last_submission_at
                                FROM pack p OFFSET 0) p) t
                    OFFSET 0) f
              WHERE f.place IS NOT NULL
              UNION ALL
              SELECT s.state, s.until, e.team_id, NOT e.is_benchmark, e.order_key, e.score, e.submission_count,
                     e.last_submission_at
              FROM leaderboard_entries e CROSS JOIN state s
              WHERE e.board_id = board.id AND e.team_id = ANY (asked) AND s.until = 'infinity') m
    ), mine AS MATERIALIZED (
        SELECT s.state, s.begins_at, s.frame, s.is_whole, m.team_id, m.order_key, m.score, m.submission_count,
               coalesce(n.team_name, e.team_name) AS team_name,
               ROW (m.score, m.submission_count, m.last_submission_at, coalesce(n.team_name, e.team_name),
                    coalesce(n.member_usernames, e.member_usernames)) AS facts
        FROM mention m
        LEFT JOIN leaderboard_entries e ON e.board_id = board.id AND e.team_id = m.team_id
        LEFT JOIN LATERAL (
            SELECT o.team_name, o.member_usernames FROM past_names o
            WHERE o.board_id = board.id AND o.team_id = m.team_id AND o.until >= m.until
            ORDER BY o.until LIMIT 1) n ON true
        CROSS JOIN LATERAL generate_series(m.after + 1, m.state) AS covered (state)
        JOIN state s ON s.state = covered.state
        WHERE m.is_ranked AND s.begins_at <= rank_history_of.until
          AND (name IS NULL OR lower_all(coalesce(n.member_usernames, e.member_usernames)) @> ARRAY[name COLLATE "C"])
    ), frame AS MATERIALIZED (
        SELECT m.frame, array_agg(DISTINCT m.order_key ORDER BY m.order_key) AS keys
        FROM mine m WHERE NOT m.is_whole GROUP BY m.frame
    ), listed AS (
        SELECT p.frame, p.state, p.team_id, CASE WHEN p.nth <= p.ranked THEN p.order_key END AS order_key
        FROM (SELECT p.frame, p.state, p.ranked, generate_subscripts(p.team_ids, 1) AS nth,
                     unnest(p.team_ids) AS team_id, unnest(p.order_keys) AS order_key
              FROM pack p JOIN frame f ON f.frame = p.frame) p
        UNION ALL
        SELECT s.frame, s.state, e.team_id, CASE WHEN NOT e.is_benchmark THEN e.order_key END
        FROM leaderboard_entries e CROSS JOIN state s
        WHERE e.board_id = board.id AND s.until = 'infinity'
    ), change AS (
        -- Before a pack, a team stood where the pack says, and not where the next one to list it does.
        SELECT l.frame, l.state, l.order_key, 1 AS teams FROM listed l
        UNION ALL
        SELECT l.frame, l.state, lead(l.order_key) OVER (PARTITION BY l.frame, l.team_id ORDER BY l.state), -1 FROM listed l
    ), counted AS MATERIALIZED (
        SELECT c.frame, c.state, width_bucket(c.order_key, f.keys) AS stretch, sum(c.teams) AS teams
        FROM change c JOIN frame f ON f.frame = c.frame
        WHERE c.order_key IS NOT NULL
        GROUP BY 1, 2, 3
    ), filled AS (
        SELECT s.frame, s.state, n.stretch,
               sum(coalesce(c.teams, 0)) OVER (PARTITION BY s.frame, n.stretch ORDER BY s.state DESC) AS teams
        FROM frame f
        JOIN state s ON s.frame = f.frame
        CROSS JOIN LATERAL generate_series(0, cardinality(f.keys)) AS n (stretch)
        LEFT JOIN counted c ON c.frame = s.frame AND c.state = s.state AND c.stretch = n.stretch
    ), summed AS (
        SELECT f.state, f.stretch, sum(f.teams) OVER (PARTITION BY f.state ORDER BY f.stretch) AS above,
               sum(f.teams) OVER (PARTITION BY f.state) AS teams
        FROM filled f
    ), everybody AS MATERIALIZED (
        SELECT p.state, p.ranked, ARRAY(SELECT k.order_key FROM (SELECT unnest(p.order_keys[:p.ranked]) AS order_key) k
                                        ORDER BY k.order_key) AS keys
        FROM pack p WHERE p.is_whole AND p.state IN (SELECT m.state FROM mine m)
    ), told AS MATERIALIZED (
        SELECT m.*, coalesce(p.ranked, u.teams) AS teams, coalesce(width_bucket(m.order_key, p.keys), 1 + u.above) AS rank
        FROM mine m
        LEFT JOIN everybody p ON p.state = m.state AND m.is_whole
        LEFT JOIN frame f ON f.frame = m.frame AND NOT m.is_whole
        LEFT JOIN summed u ON u.state = m.state AND u.stretch = width_bucket(m.order_key, f.keys) - 1
    )
    SELECT t.begins_at, t.team_id, t.team_name, t.rank::bigint, t.score, t.submission_count, t.teams::bigint
    FROM (SELECT o.*, lag(o.state) OVER w IS DISTINCT FROM o.state - 1 OR lag(o.rank) OVER w <> o.rank
                      OR lag(o.facts) OVER w *<> o.facts AS is_news
          FROM told o WINDOW w AS (PARTITION BY o.team_id ORDER BY o.state)) t
    WHERE t.is_news ORDER BY t.begins_at, t.rank;
END $$;
COMMENT ON FUNCTION kaggle_internal.rank_history_of(kaggle.boards, timestamptz, timestamptz, bigint[], text) IS 'One board''s part of rank_history, from a moment until another, both included.';

CREATE OR REPLACE FUNCTION kaggle_internal.rank_history_through(
    kaggle_competition_id text, since timestamptz, until timestamptz, team_ids bigint[], username text)
RETURNS TABLE (at timestamptz, team_id bigint, team_name text, rank bigint, score numeric, submission_count bigint,
               teams bigint)
LANGUAGE plpgsql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM find_board($1);
    RETURN QUERY
    SELECT r.* FROM boards_through_time(slug_of($1)) s
    CROSS JOIN LATERAL rank_history_of(s.board, greatest(since, s.shown_from), least(until, s.shown_until - interval '1 microsecond'), team_ids, username) r
    ORDER BY r.at, r.rank;
END $$;
COMMENT ON FUNCTION kaggle_internal.rank_history_through(text, timestamptz, timestamptz, bigint[], text) IS 'What rank_history tells, of teams or of a user, through all boards that a slug has shown.';

CREATE OR REPLACE FUNCTION kaggle.rank_history(kaggle_competition_id text, VARIADIC team_ids bigint[])
RETURNS TABLE (at timestamptz, team_id bigint, team_name text, rank bigint, score numeric, submission_count bigint,
               teams bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT * FROM rank_history_through($1, '-infinity', 'infinity', $2, NULL)
$$;
COMMENT ON FUNCTION kaggle.rank_history(text, bigint[]) IS 'Rank and facts of teams at each sync that changed them; teams is how many were ranked then. The public board''s past up to the private one, which begins with a row for each of its teams, as leaderboard_as_of has it. A team that is gone has no row until it is back. After pruning, the first row of a team tells how it stood at the horizon.';

CREATE OR REPLACE FUNCTION kaggle.rank_history(kaggle_competition_id text, kaggle_username text)
RETURNS TABLE (at timestamptz, team_id bigint, team_name text, rank bigint, score numeric, submission_count bigint,
               teams bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT * FROM rank_history_through($1, '-infinity', 'infinity', NULL, $2);
    IF NOT FOUND AND $2 ~ '^\d{1,18}$' THEN             -- a driver has sent the number of a team as text
        RETURN QUERY SELECT * FROM rank_history_through($1, '-infinity', 'infinity', ARRAY[$2::bigint], NULL);
    END IF;
END $$;
COMMENT ON FUNCTION kaggle.rank_history(text, text) IS 'Rank and facts of the teams that a user was a member of, while that was so, following the user from team to team; capitals do not matter. A number that is nobody''s name is a TeamId. Otherwise as rank_history of teams.';

CREATE OR REPLACE FUNCTION kaggle.rank_history_between(
    kaggle_competition_id text, team_ids bigint[], since timestamptz, until timestamptz)
RETURNS TABLE (at timestamptz, team_id bigint, team_name text, rank bigint, score numeric, submission_count bigint,
               teams bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT * FROM rank_history_through($1, $3, $4, $2, NULL)
$$;
COMMENT ON FUNCTION kaggle.rank_history_between(text, bigint[], timestamptz, timestamptz) IS 'rank_history of teams from a moment until another, both included; the first row of a team tells how it stood at since. Only that part of the past is read.';

CREATE OR REPLACE FUNCTION kaggle.movers(kaggle_competition_id text, since timestamptz, until timestamptz DEFAULT NULL)
RETURNS TABLE (team_id bigint, team_name text, rank_then bigint, rank_now bigint, places_climbed bigint,
               score_then numeric, score_now numeric, what text)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1000 SET search_path = kaggle, kaggle_internal, pg_temp
SET enable_nestloop = off AS $$
#variable_conflict use_column
DECLARE
    last_moment constant timestamptz := coalesce($3, 'infinity');
    shown_now constant boards := find_board($1, last_moment);
    shown_then constant boards := find_board($1, $2);
BEGIN
    RETURN QUERY
    SELECT coalesce(n.team_id, t.team_id), coalesce(n.team_name, t.team_name), t.rank, n.rank, t.rank - n.rank,
           t.score, n.score,
           CASE WHEN t.team_id IS NULL THEN 'new' WHEN n.team_id IS NULL THEN 'gone'
                WHEN n.rank < t.rank THEN 'climbed' ELSE 'fell' END
    FROM (SELECT * FROM versions(shown_then.id, $2) WHERE NOT is_benchmark) t
    FULL JOIN (SELECT * FROM versions(shown_now.id, last_moment) WHERE NOT is_benchmark) n USING (team_id)
    WHERE t.rank IS DISTINCT FROM n.rank
    ORDER BY t.rank - n.rank DESC NULLS LAST, n.rank, t.rank;
END $$;
COMMENT ON FUNCTION kaggle.movers(text, timestamptz, timestamptz) IS 'Whose rank now, or at until, is another than at since: climbed, fell, new or gone; places_climbed is positive upwards. The greatest climbers first. The board shown then is compared with the one shown now, so the private one with the public where it came in between. For scores that changed at the same rank, see rank_history and changes.';

-- Those that follow read a span in each way in which people and drivers write it: since and until are each a time, an
-- interval or a text. What has no type is taken for a text.
CREATE OR REPLACE FUNCTION kaggle.movers(kaggle_competition_id text, during interval, until timestamptz DEFAULT NULL)
RETURNS TABLE (team_id bigint, team_name text, rank_then bigint, rank_now bigint, places_climbed bigint,
               score_then numeric, score_now numeric, what text)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 1000 SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT * FROM movers($1, coalesce($3, statement_timestamp()) - greatest($2, -$2), $3)      -- '1 day ago' is a negative one
$$;
COMMENT ON FUNCTION kaggle.movers(text, interval, timestamptz) IS 'Who moved during the while before a moment, null = now; see movers(text, timestamptz, timestamptz).';

CREATE OR REPLACE FUNCTION kaggle_internal.moment_of(given text, before timestamptz) RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    RETURN given::timestamptz;
EXCEPTION WHEN data_exception THEN
    BEGIN
        RETURN before - greatest(given::interval, -given::interval);
    EXCEPTION WHEN data_exception THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_datetime_format',
            MESSAGE = format('%L is neither a time nor an interval', given),
            HINT = 'Write it like 2026-01-31 18:00+00 or like 24 hours.';
    END;
END $$;
COMMENT ON FUNCTION kaggle_internal.moment_of(text, timestamptz) IS 'The moment that a text names: a time, or how long before a moment.';

CREATE OR REPLACE FUNCTION kaggle.movers(kaggle_competition_id text, since text, until timestamptz)
RETURNS TABLE (team_id bigint, team_name text, rank_then bigint, rank_now bigint, places_climbed bigint,
               score_then numeric, score_now numeric, what text)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 1000 SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT * FROM movers($1, moment_of($2, coalesce($3, statement_timestamp())), $3)
$$;
COMMENT ON FUNCTION kaggle.movers(text, text, timestamptz) IS 'As movers(text, text, text).';

CREATE OR REPLACE FUNCTION kaggle.movers(kaggle_competition_id text, since text, until text DEFAULT NULL)
RETURNS TABLE (team_id bigint, team_name text, rank_then bigint, rank_now bigint, places_climbed bigint,
               score_then numeric, score_now numeric, what text)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 1000 SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT * FROM movers($1, $2, moment_of($3, statement_timestamp()))
$$;
COMMENT ON FUNCTION kaggle.movers(text, text, text) IS 'Who moved since a time (''2026-08-10'') or during an interval (''24 hours''), until now or another one; an interval counts from now, that of since from until. Each of the two may also be given as timestamptz or interval. See movers(text, timestamptz, timestamptz).';

CREATE OR REPLACE FUNCTION kaggle.movers(kaggle_competition_id text, since timestamptz, until text)
RETURNS TABLE (team_id bigint, team_name text, rank_then bigint, rank_now bigint, places_climbed bigint,
               score_then numeric, score_now numeric, what text)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 1000 SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT * FROM movers($1, $2, moment_of($3, statement_timestamp()))
$$;
COMMENT ON FUNCTION kaggle.movers(text, timestamptz, text) IS 'As movers(text, text, text).';

CREATE OR REPLACE FUNCTION kaggle.movers(kaggle_competition_id text, during interval, until text)
RETURNS TABLE (team_id bigint, team_name text, rank_then bigint, rank_now bigint, places_climbed bigint,
               score_then numeric, score_now numeric, what text)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 1000 SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT * FROM movers($1, $2, moment_of($3, statement_timestamp()))
$$;
COMMENT ON FUNCTION kaggle.movers(text, interval, text) IS 'As movers(text, text, text).';

CREATE OR REPLACE FUNCTION kaggle.movers(kaggle_competition_id text, since timestamptz, until interval)
RETURNS TABLE (team_id bigint, team_name text, rank_then bigint, rank_now bigint, places_climbed bigint,
               score_then numeric, score_now numeric, what text)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 1000 SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT * FROM movers($1, $2, statement_timestamp() - greatest($3, -$3))
$$;
COMMENT ON FUNCTION kaggle.movers(text, timestamptz, interval) IS 'As movers(text, text, text).';

CREATE OR REPLACE FUNCTION kaggle.movers(kaggle_competition_id text, during interval, until interval)
RETURNS TABLE (team_id bigint, team_name text, rank_then bigint, rank_now bigint, places_climbed bigint,
               score_then numeric, score_now numeric, what text)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 1000 SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT * FROM movers($1, $2, statement_timestamp() - greatest($3, -$3))
$$;
COMMENT ON FUNCTION kaggle.movers(text, interval, interval) IS 'As movers(text, text, text).';

CREATE OR REPLACE FUNCTION kaggle.movers(kaggle_competition_id text, since text, until interval)
RETURNS TABLE (team_id bigint, team_name text, rank_then bigint, rank_now bigint, places_climbed bigint,
               score_then numeric, score_now numeric, what text)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 1000 SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT * FROM movers($1, $2, statement_timestamp() - greatest($3, -$3))
$$;
COMMENT ON FUNCTION kaggle.movers(text, text, interval) IS 'As movers(text, text, text).';

CREATE OR REPLACE FUNCTION kaggle.board_runs(kaggle_competition_id text)
RETURNS TABLE (run_id bigint, at timestamptz, board text, teams bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1000 SET search_path = kaggle, kaggle_internal, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM find_board($1);
    RETURN QUERY
    SELECT r.id, greatest(r.observed_at, s.known_from), (s.board).kind, r.teams
    FROM (SELECT t.board, t.shown_until, greatest(t.shown_from, (t.board).history_from) AS known_from
          FROM boards_through_time(slug_of($1)) t) s
    CROSS JOIN LATERAL (
        SELECT o.id, o.observed_at, o.teams, lead(o.observed_at) OVER (ORDER BY o.observed_at, o.id) AS next_at
        FROM sync_runs o WHERE o.board_id = (s.board).id AND o.outcome = 'changed' AND NOT o.is_merged) r
    -- What was seen before a board was shown, or before what is kept of it, is asked for by its last state.
    WHERE s.known_from < s.shown_until AND r.observed_at < s.shown_until AND (r.next_at <= s.known_from) IS NOT TRUE
    ORDER BY 2;
END $$;
COMMENT ON FUNCTION kaggle.board_runs(text) IS 'The runs that changed the board which a slug showed, the first one first: from at until the next one, leaderboard_as_of tells the board of the run. Those of boards that are not kept are left out; the board that held where the history begins counts from there.';

CREATE OR REPLACE FUNCTION kaggle.changes(run_id bigint)
RETURNS TABLE (team_id bigint, team_name text, what text, rank_before bigint, rank_after bigint,
               score_before numeric, score_after numeric, submission_count_before bigint,
               submission_count_after bigint, team_name_before text, member_usernames_before text[],
               member_usernames_after text[], is_benchmark boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 100 SET search_path = kaggle, kaggle_internal, pg_temp
SET enable_nestloop = off AS $$
#variable_conflict use_column
DECLARE
    run sync_runs;
    board boards;
    just_before timestamptz;
BEGIN
    SELECT * INTO run FROM sync_runs r WHERE r.id = $1;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('no run %s in kaggle.sync_runs', $1),
            HINT = 'SELECT id FROM kaggle.sync_runs WHERE outcome = ''changed''; lists those that changed a board.';
    ELSIF run.is_merged THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found',
            MESSAGE = format('the board of run %s is not kept: history_interval keeps the last one of each interval', $1),
            HINT = 'The next run of the same board that is not merged tells the changes since the last board that is kept.';
    END IF;
    SELECT * INTO board FROM boards b WHERE b.id = run.board_id AND b.competition_id IS NOT NULL;
    IF NOT FOUND AND run.outcome IN ('changed', 'unchanged') THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('the board of run %s was dropped', $1);
    END IF;
    just_before := run.observed_at - interval '1 microsecond';
    PERFORM refuse_pruned(board, just_before);
    RETURN QUERY
    SELECT c.team_id, c.team_name, c.what, c.rank_before, c.rank_after, c.score_before, c.score_after, c.count_before,
           c.count_after, c.name_before, c.members_before, c.members_after, c.is_benchmark
    FROM (SELECT coalesce(a.team_id, b.team_id) AS team_id, coalesce(a.team_name, b.team_name) AS team_name,
                 CASE WHEN b.team_id IS NULL THEN 'added' WHEN a.team_id IS NULL THEN 'removed'
                      WHEN a.facts *= b.facts           -- byte for byte: 0.80 is not 0.8
                          THEN CASE WHEN p.ended IN ('m', 'M') THEN 'moved' END
                      ELSE CASE WHEN p.ended IN ('m', 'M') THEN 'updated and moved' ELSE 'updated' END END AS what,
                 b.rank AS rank_before, a.rank AS rank_after, b.score AS score_before, a.score AS score_after,
                 b.submission_count AS count_before, a.submission_count AS count_after, b.team_name AS name_before,
                 b.member_usernames AS members_before, a.member_usernames AS members_after,
                 coalesce(a.is_benchmark, b.is_benchmark) AS is_benchmark, a.order_key AS key_after, b.order_key AS key_before
          FROM (SELECT v.*, ROW (v.team_name, v.score, v.submission_count, v.last_submission_at, v.member_usernames,
                                 v.is_benchmark) AS facts FROM versions(run.board_id, run.observed_at) v) a
          FULL JOIN (SELECT v.*, ROW (v.team_name, v.score, v.submission_count, v.last_submission_at, v.member_usernames,
                                      v.is_benchmark) AS facts FROM versions(run.board_id, just_before) v
                     WHERE run.observed_at > board.observed_from) b USING (team_id)
          LEFT JOIN (SELECT unnest(o.team_ids) AS team_id, unnest(o.ended) AS ended FROM packs o
                     WHERE o.board_id = run.board_id AND o.until = run.observed_at) p USING (team_id)) c
    WHERE c.what IS NOT NULL
    ORDER BY c.key_after NULLS LAST, c.key_before;
END $$;
COMMENT ON FUNCTION kaggle.changes(bigint) IS 'What one sync changed, an entry a row: added, removed, updated (facts), moved (place in the order), or updated and moved. Ranks that only shifted are not listed. Raises no_data_found for a run whose board history_interval does not keep; the one that is kept tells what changed since the last kept board.';

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

CREATE OR REPLACE FUNCTION kaggle.medal(rank bigint, teams bigint, category text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN lower(regexp_replace(category, '[^A-Za-z]', '', 'g') COLLATE "C")
                 IN ('gettingstarted', 'playground', 'community', 'inclass') THEN NULL
            ELSE kaggle.medal(rank, teams) END;
COMMENT ON FUNCTION kaggle.medal(bigint, bigint, text) IS 'As medal(rank, teams); null in the categories in which Kaggle gives no medals: Getting Started, Playground, Community, InClass.';

CREATE OR REPLACE FUNCTION kaggle.shakeup(kaggle_competition_id text)
RETURNS TABLE (team_id bigint, team_name text, public_rank bigint, private_rank bigint, places_climbed bigint,
               public_score numeric, private_score numeric)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1000 SET search_path = kaggle, kaggle_internal, pg_temp
SET enable_nestloop = off AS $$
#variable_conflict use_column
DECLARE
    private constant boards := find_board($1);
    public_board bigint;
BEGIN
    IF private.kind IS DISTINCT FROM 'private' THEN
        RETURN;                                     -- the private board has not come
    END IF;
    SELECT b.id INTO public_board FROM boards b
    WHERE b.competition_id = private.competition_id AND lower(b.slug COLLATE "C") = lower(private.slug COLLATE "C") AND b.kind = 'public';
    RETURN QUERY
    SELECT coalesce(n.team_id, t.team_id), coalesce(n.team_name, t.team_name), t.rank, n.rank, t.rank - n.rank,
           t.score, n.score
    FROM (SELECT * FROM versions(public_board, 'infinity') WHERE NOT is_benchmark) t
    FULL JOIN (SELECT * FROM versions(private.id, 'infinity') WHERE NOT is_benchmark) n USING (team_id)
    ORDER BY n.rank NULLS LAST, t.rank;
END $$;
COMMENT ON FUNCTION kaggle.shakeup(text) IS 'Each team''s last public and its private rank, once the private board has come; places_climbed is positive upwards.';
