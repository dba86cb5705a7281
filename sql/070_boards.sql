-- A downloaded board becomes the current one, in one transaction: staged rows are compared with the entries,
-- what changed is written, what it replaced goes to the history, the run is recorded.
--
-- The staged rows are a temporary table of the worker's own session: COPY into it needs no lock that anybody
-- else wants, and a worker that freezes there holds nothing. The functions run with the worker's rights, since
-- a SECURITY DEFINER could not read that table.

CREATE OR REPLACE FUNCTION kaggle_internal.prepare_staging(extra_columns integer) RETURNS void
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    -- Kept for the session and emptied at each commit: making it for each sync would write the catalogue.
    IF to_regclass('pg_temp.staged_rows_1') IS NOT NULL THEN
        RETURN;
    END IF;
    CREATE TEMPORARY TABLE staged_rows_1 (
        position           bigint GENERATED ALWAYS AS IDENTITY (CACHE 1000),
        rank               bigint,
        team_id            bigint NOT NULL,
        team_name          text   NOT NULL,
        -- As it is written: what PostgreSQL would read it as is no question of this session's DateStyle. Nearly all have
        -- the first form, with digits alone between its separators, which costs a tenth of the second.
        last_submission_at text CONSTRAINT "date is like 2026-01-31 23:59:59"
                           CHECK (last_submission_at LIKE '____-__-__ __:__:__' AND last_submission_at !~ '[^-0-9: ]|[-: ].?[-: ]|^.?[-: ]|[-: ]$'
                                  OR last_submission_at ~ '^\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{1,7})?Z?$'),
        score              numeric CONSTRAINT score_is_a_finite_number
                           CHECK (score > '-1e1000'::numeric AND score < '1e1000'::numeric),
        submission_count   bigint,
        members            text,
        order_key          bigint,          -- of a board that is known; a file has none
        changed_at         timestamptz
    ) ON COMMIT DELETE ROWS;
    CREATE TEMPORARY TABLE placed_rows_1 (
        position  bigint,
        team_id   bigint,
        order_key bigint,
        ended     "char" NOT NULL
    ) ON COMMIT DELETE ROWS;
    -- As the entries, of board 0; LIKE would lock them for as long as the download is copied.
    CREATE TEMPORARY TABLE base_rows_1 (
        board_id bigint, team_id bigint, order_key bigint, valid_from timestamptz, first_seen_at timestamptz,
        last_submission_at timestamptz, submission_count bigint, is_benchmark boolean, score numeric, team_name text,
        member_usernames text[]
    ) ON COMMIT DELETE ROWS;
    EXECUTE (SELECT 'ALTER TABLE staged_rows_1 ' || string_agg(format('ADD COLUMN extra_%s text', n), ', ')
             FROM generate_series(1, extra_columns) n);
END $$;
COMMENT ON FUNCTION kaggle_internal.prepare_staging(integer) IS 'Makes this session''s staging tables where they are missing: the rows of the file, with room for columns of it that are not known; what became of the entries that differ; and a board of the past, if that is what the file is compared with. Their names end in the version of their shape.';

CREATE OR REPLACE FUNCTION kaggle_internal.stacked_boards(unknown_columns text[]) RETURNS text
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    told record;
BEGIN
    FOR nth IN 1..cardinality(unknown_columns) LOOP
        -- Each team once at each value, and several teams at most of them. The values are times, or each is that of one
        -- block of rows, and most teams of a block stand in the next one, too. A line may be repeated, a value missing. A
        -- value that repeats the row's date, or begins as it does, is that of an improvement.
        WITH lines AS (
            SELECT to_jsonb(s) - 'position' AS line, min(s.position) AS position, count(*) OVER () AS lines
            FROM pg_temp.staged_rows_1 s GROUP BY 1
        ), valued AS (
            SELECT l.line ->> 'team_id' AS team_id, l.line ->> 'last_submission_at' AS date, v.value, l.position, l.lines,
                   v.value IS DISTINCT FROM lag(v.value) OVER (ORDER BY l.position) AS begins
            FROM lines l CROSS JOIN LATERAL (SELECT l.line ->> format('extra_%s', nth) AS value) v WHERE v.value ~ '\S'
        ), blocks AS (
            SELECT *, count(*) FILTER (WHERE begins) OVER (ORDER BY position) AS block FROM valued
        ), followed AS (
            SELECT *, max(block) OVER () AS last, lead(block) OVER (PARTITION BY team_id ORDER BY block) AS next FROM blocks
        )
        SELECT count(*) AS rows, count(DISTINCT value) AS boards, count(DISTINCT (team_id, value)) AS pairs,
               count(*) * 2 > max(lines) AS are_most, bool_and(starts_with(date, value)) IS TRUE AS are_dates,
               bool_and(value ~ ('^(\d{4}[-/.]\d|\d\d?[-/.]\d\d?[-/.]\d|(19|20)\d{6}([_T ]?\d{4,6})?Z?$'
                                 || '|\d{9,13}(\.\d+)?$|(\d\d? )?[A-Z][a-z]{2,8}\.? \d)')) AS are_times,
               max(block) AS blocks,
               count(*) FILTER (WHERE next = block + 1) * 3 >= count(*) FILTER (WHERE block < last) * 2 AS are_followed
        INTO told FROM followed;
        IF told.boards > 1 AND told.pairs = told.rows AND told.boards * 3 <= told.rows * 2 AND told.are_most
           AND NOT told.are_dates AND (told.are_times OR told.blocks = told.boards AND told.are_followed) THEN
            RETURN format('%s boards stacked, told apart by column %s: split the file by it', told.boards, unknown_columns[nth]);
        END IF;
    END LOOP;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION kaggle_internal.stacked_boards(text[]) IS 'What tells apart several boards that were staged as one, of columns that are not known; null = nothing.';

-- Files without ranks are sorted by score, by date or by TeamId, and may hold a row for each improvement. The dates of a
-- team's rows tell which came later; where they are equal, or missing, the file's order, which may be newest first.
CREATE OR REPLACE FUNCTION kaggle_internal.order_unranked(higher_is_better boolean) RETURNS text
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    higher boolean := order_unranked.higher_is_better;
    is_doubled boolean;
    is_falling boolean;        -- or level, without a score last; is_rising: alike
    is_rising boolean;
    improving boolean;         -- whether the improvements are to higher scores
    are_dated boolean;         -- whether dates tell each of them
    onwards integer;           -- 1, or -1 where the newest stands first
    ups bigint;                -- rows of a team that has one before, with a higher score; downs: a lower one
    downs bigint;
BEGIN
    SELECT coalesce(bool_or(s.before IS NOT NULL), false),
           CASE WHEN count(*) FILTER (WHERE s.date < s.date_before) > count(*) FILTER (WHERE s.date > s.date_before)
                THEN -1 ELSE 1 END
    INTO is_doubled, onwards
    FROM (SELECT last_submission_at::timestamptz AS date, lag(position) OVER team AS before,
                 lag(last_submission_at::timestamptz) OVER team AS date_before
          FROM pg_temp.staged_rows_1 WINDOW team AS (PARTITION BY team_id ORDER BY position)) s;
    SELECT count(*) FILTER (WHERE s.score > s.score_before), count(*) FILTER (WHERE s.score < s.score_before),
           bool_and(s.date > s.date_before) FILTER (WHERE s.score <> s.score_before) IS TRUE
    INTO ups, downs, are_dated
    FROM (SELECT score, lag(score) OVER team AS score_before, last_submission_at::timestamptz AS date,
                 lag(last_submission_at::timestamptz) OVER team AS date_before
          FROM pg_temp.staged_rows_1
          WINDOW team AS (PARTITION BY team_id ORDER BY last_submission_at::timestamptz NULLS FIRST, position * onwards)) s;
    IF is_doubled THEN
        WITH every AS (DELETE FROM pg_temp.staged_rows_1 RETURNING *)
        INSERT INTO pg_temp.staged_rows_1
            (rank, team_id, team_name, last_submission_at, score, submission_count, members)
        SELECT rank, team_id, team_name, last_submission_at, score, submission_count, members
        FROM (SELECT *, row_number() OVER (PARTITION BY team_id ORDER BY last_submission_at::timestamptz DESC NULLS LAST,
                                           position * onwards DESC) AS from_last FROM every) e
        WHERE from_last = 1 ORDER BY position;
    END IF;
    SELECT coalesce(bool_and(s.falls), true), coalesce(bool_and(s.rises), true) INTO is_falling, is_rising
    FROM (SELECT coalesce(score, '-Infinity') <= lag(coalesce(score, '-Infinity')) OVER file AS falls,
                 coalesce(score, 'Infinity') >= lag(coalesce(score, 'Infinity')) OVER file AS rises
          FROM pg_temp.staged_rows_1 WINDOW file AS (ORDER BY position)) s;
    improving := CASE WHEN ups > 0 AND downs = 0 THEN true WHEN downs > 0 AND ups = 0 THEN false END;
    -- Scores may be monotone by chance: dated improvements show it. Without dates the improvements only follow the order.
    IF is_falling AND (NOT are_dated OR improving IS NOT FALSE) OR is_rising AND (NOT are_dated OR improving IS NOT TRUE) THEN
        RETURN NULL;
    END IF;
    higher := coalesce(higher, improving);
    IF higher IS NULL THEN
        RETURN 'the leaderboard has no ranks, and is not sorted by score: set higher_is_better';
    END IF;
    WITH every AS (DELETE FROM pg_temp.staged_rows_1 RETURNING *)
    INSERT INTO pg_temp.staged_rows_1 (rank, team_id, team_name, last_submission_at, score, submission_count, members)
    SELECT rank, team_id, team_name, last_submission_at, score, submission_count, members FROM every
    ORDER BY CASE WHEN higher THEN -score ELSE score END NULLS LAST, last_submission_at::timestamptz NULLS LAST, position;
    PERFORM set_config('kaggle.note', 'order reconstructed', true);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION kaggle_internal.order_unranked(boolean) IS 'Brings staged rows without ranks into the order of a board: each team''s last row; as the file has them where the scores are monotone, with those without a score last, and no dates of a team''s further rows, which are improvements, contradict them; else by score, ties by the earlier date, in the direction that is given or that the improvements tell. Returns why that cannot be done. The run notes where the order was reconstructed.';

CREATE OR REPLACE FUNCTION kaggle_internal.check_staging(
    ranked boolean, key_gap bigint, unknown_columns text[], higher_is_better boolean) RETURNS text
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    wrong record;
    is_doubled boolean;
    first_position bigint;
    last_position bigint;
    benchmarks bigint[];       -- their positions
    stacked text;
BEGIN
    SELECT count(*) > count(DISTINCT team_id), min(position), max(position),
           coalesce(array_agg(position ORDER BY position) FILTER (WHERE rank = 0), '{}')
    INTO is_doubled, first_position, last_position, benchmarks FROM pg_temp.staged_rows_1;
    -- An order key is the place in the file times key_gap, and a bigint.
    IF last_position - first_position > 9223372036854775807 / key_gap THEN
        RETURN format('the leaderboard has more than %s rows', 9223372036854775807 / key_gap + 1);
    END IF;
    IF is_doubled THEN
        stacked := stacked_boards(unknown_columns);
        IF stacked IS NOT NULL THEN
            RETURN stacked;
        END IF;
    END IF;
    IF NOT ranked THEN
        RETURN order_unranked(higher_is_better);
    END IF;
    IF is_doubled THEN
        SELECT team_id, count(*) AS times INTO wrong
        FROM pg_temp.staged_rows_1 GROUP BY team_id HAVING count(*) > 1 LIMIT 1;
        RETURN format('the leaderboard contradicts itself: TeamId %s stands there %s times', wrong.team_id, wrong.times);
    END IF;
    -- Positions have no gaps: a rank is the place in the file without the benchmarks before it.
    SELECT s.rank, s.expected INTO wrong
    FROM (SELECT position, rank, position - first_position + 1 - width_bucket(position, benchmarks) AS expected
          FROM pg_temp.staged_rows_1 WHERE rank IS DISTINCT FROM 0) s
    WHERE s.rank IS DISTINCT FROM s.expected ORDER BY s.position LIMIT 1;
    IF FOUND THEN
        RETURN format('the leaderboard contradicts itself: rank %s stands where rank %s was expected',
                      coalesce(wrong.rank::text, '(empty)'), wrong.expected);
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION kaggle_internal.check_staging(boolean, bigint, text[], boolean) IS 'What is wrong with the staged rows as a whole, null = nothing: a TeamId twice, several boards in one file, ranks with gaps, too many rows, no ranks and no order. higher_is_better: as the competition says, null = it does not.';

CREATE OR REPLACE FUNCTION kaggle_internal.unreadable_date(OUT number bigint, OUT wrong text)
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    staged record;
BEGIN
    PERFORM count(s.last_submission_at::timestamptz) FROM pg_temp.staged_rows_1 s;
EXCEPTION WHEN data_exception THEN
    FOR staged IN SELECT s.last_submission_at AS date, row_number() OVER (ORDER BY s.position) AS number
                  FROM pg_temp.staged_rows_1 s ORDER BY s.position LOOP
        BEGIN
            PERFORM staged.date::timestamptz;
        EXCEPTION WHEN data_exception THEN
            number := staged.number;
            wrong := quote_literal(staged.date);
            RETURN;
        END;
    END LOOP;
END $$;
COMMENT ON FUNCTION kaggle_internal.unreadable_date() IS 'The first staged row whose date has the form of one and is none, such as the 31st of February: its number among the rows, and that date; null = all can be read.';

CREATE OR REPLACE FUNCTION kaggle_internal.linked_board(competition kaggle.competitions, kind text) RETURNS kaggle.boards
LANGUAGE sql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT b FROM boards b
    WHERE b.competition_id = competition.id AND lower(b.slug COLLATE "C") = lower(competition.kaggle_competition_id COLLATE "C")
      AND b.kind = linked_board.kind
$$;
COMMENT ON FUNCTION kaggle_internal.linked_board(kaggle.competitions, text) IS 'The public or private board of a competition under its present slug; null where there is none.';

CREATE OR REPLACE FUNCTION kaggle_internal.board_of_run(run_id bigint, kind text) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    competition competitions;
    board boards;
BEGIN
    SELECT c.* INTO competition FROM sync_state s JOIN competitions c ON c.id = s.competition_id
    WHERE s.running_run_id = board_of_run.run_id;
    IF NOT FOUND AND row_security_active('kaggle.competitions') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = 'row level security hides rows of kaggle.competitions';
    END IF;
    board := linked_board(competition, board_of_run.kind);
    PERFORM refuse_hidden_rows();
    RETURN board.id;
END $$;
COMMENT ON FUNCTION kaggle_internal.board_of_run(bigint, text) IS 'The board that a running attempt would change; null if it would be new. Raises insufficient_privilege where the competition is hidden.';

CREATE OR REPLACE FUNCTION kaggle_internal.direction_of_run(run_id bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT c.higher_is_better FROM sync_state s JOIN competitions c ON c.id = s.competition_id
    WHERE s.running_run_id = direction_of_run.run_id
$$;
COMMENT ON FUNCTION kaggle_internal.direction_of_run(bigint) IS 'Whether higher scores are better, as the competition says that a running attempt syncs; null = it does not.';

CREATE OR REPLACE FUNCTION kaggle_internal.compare_staging(
    board_id bigint, OUT keys bytea, OUT fixed bytea, OUT news bytea, OUT gone bigint[])
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp
SET plan_cache_mode = force_custom_plan SET enable_mergejoin = off AS $$
#variable_conflict use_column
BEGIN
    PERFORM refuse_hidden_rows();        -- our lock keeps them as they are now
    WITH old AS (
        SELECT e.team_id, e.order_key, e.last_submission_at, e.submission_count, e.is_benchmark, e.score, e.team_name,
               e.member_usernames
        FROM leaderboard_entries e WHERE e.board_id = compare_staging.board_id
        UNION ALL
        SELECT b.team_id, b.order_key, b.last_submission_at, b.submission_count, b.is_benchmark, b.score, b.team_name,
               b.member_usernames
        FROM pg_temp.base_rows_1 b WHERE b.board_id = compare_staging.board_id
    ), compared AS (
        SELECT s.position, s.order_key AS fixed_key, o.order_key, o.team_id AS old_team_id,
               -- Byte for byte, 0.80 is not 0.8; column by column, which costs half of comparing rows by their image.
               (s.last_submission_at::timestamptz, s.submission_count, s.rank IS NOT DISTINCT FROM 0, s.score, scale(s.score))
               IS DISTINCT FROM (o.last_submission_at, o.submission_count, o.is_benchmark, o.score, scale(o.score))
               OR s.team_name COLLATE "C" IS DISTINCT FROM o.team_name COLLATE "C"
               OR coalesce(s.members, '') COLLATE "C"
                  IS DISTINCT FROM array_to_string(o.member_usernames, ',') COLLATE "C" AS has_news
        FROM pg_temp.staged_rows_1 s FULL JOIN old o ON o.team_id = s.team_id
        ORDER BY s.position
    )
    SELECT string_agg(int8send(coalesce(c.order_key, '-9223372036854775808'::bigint)), '') FILTER (WHERE c.position IS NOT NULL),
           string_agg(int8send(c.fixed_key), ''),
           string_agg(int8send(c.position), '') FILTER (WHERE c.has_news AND c.position IS NOT NULL AND c.old_team_id IS NOT NULL),
           array_agg(c.old_team_id) FILTER (WHERE c.position IS NULL)
    INTO keys, fixed, news, gone FROM compared c;
END $$;
COMMENT ON FUNCTION kaggle_internal.compare_staging(bigint) IS 'Compares the staged rows with the entries of a board and those of pg_temp.base_rows_1, one of which is empty. keys: the order keys that the staged teams have there, in the file''s order, eight bytes each, big-endian; the smallest bigint for a team that is new. fixed: the staged rows'' own keys, null for a file. news: positions of the teams that were there with other facts, as keys. gone: teams that are not staged.';

CREATE OR REPLACE FUNCTION kaggle_internal.board_for(competition kaggle.competitions, kind text) RETURNS kaggle.boards
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    board boards := linked_board(competition, board_for.kind);
BEGIN
    IF board.id IS NULL THEN
        INSERT INTO boards (competition_id, slug, kind)
        VALUES (competition.id, competition.kaggle_competition_id, board_for.kind)
        RETURNING * INTO board;
    END IF;
    -- Before its entries: thinning, which corrects them, holds this row.
    SELECT * INTO board FROM boards b WHERE b.id = board.id AND b.competition_id IS NOT NULL FOR NO KEY UPDATE;
    RETURN CASE WHEN FOUND THEN board ELSE board_for(competition, kind) END;       -- it was dropped meanwhile
END $$;
COMMENT ON FUNCTION kaggle_internal.board_for(kaggle.competitions, text) IS 'The public or private board of a competition under its present slug, locked until commit; begun where there is none. The caller holds the row of sync_state.';

CREATE OR REPLACE FUNCTION kaggle_internal.write_differences(
    board_id bigint, at timestamptz, observed_from timestamptz, in_past boolean,
    OUT added bigint, OUT removed bigint, OUT updated bigint, OUT moved bigint)
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp
SET plan_cache_mode = force_custom_plan SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
    old_board constant bigint := CASE WHEN in_past THEN 0 ELSE write_differences.board_id END;
    former packs;                -- what was packed for this moment so far
    listed bigint;
    since_whole bigint;
    is_whole boolean;
BEGIN
    SELECT count(*), count(*) FILTER (WHERE ended = 'a'), count(*) FILTER (WHERE ended = 'l'),
           count(*) FILTER (WHERE ended IN ('u', 'M')), count(*) FILTER (WHERE ended IN ('m', 'M'))
    INTO listed, added, removed, updated, moved FROM pg_temp.placed_rows_1;
    IF in_past THEN
        DELETE FROM packs p WHERE p.board_id = write_differences.board_id AND p.until = write_differences.at
        RETURNING * INTO former;
        DELETE FROM past_names n WHERE n.board_id = write_differences.board_id AND n.until = write_differences.at;
    END IF;
    IF listed = 0 THEN
        RETURN;
    END IF;
    -- A reader of the past stops at a whole pack, and so reads about two boards at most.
    since_whole := listed + coalesce(
        (SELECT p.since_whole FROM packs p WHERE p.board_id = write_differences.board_id AND p.until < write_differences.at
         ORDER BY p.until DESC LIMIT 1), 0);
    is_whole := coalesce(former.is_whole, false)
                OR (SELECT listed * 4 >= s.size * 3 OR since_whole >= s.size * 2
                    FROM (SELECT count(*) AS size FROM pg_temp.staged_rows_1) s);
    IF is_whole THEN
        since_whole := 0;
    END IF;

    -- LIMIT leaves nothing out: it tells the planner how many differ. Few are found by the primary key, one by one.
    WITH old AS NOT MATERIALIZED (
        SELECT e.ctid AS place, e.board_id, e.team_id, e.order_key, e.valid_from, e.first_seen_at,
               e.last_submission_at, e.submission_count, e.is_benchmark, e.score, e.team_name, e.member_usernames
        FROM leaderboard_entries e
        UNION ALL
        SELECT NULL::tid, b.board_id, b.team_id, b.order_key, b.valid_from, b.first_seen_at,
               b.last_submission_at, b.submission_count, b.is_benchmark, b.score, b.team_name, b.member_usernames
        FROM pg_temp.base_rows_1 b WHERE in_past
    ), new AS (
        SELECT p.ended, p.order_key AS new_key, coalesce(s.team_id, p.team_id) AS new_team_id,
               s.last_submission_at::timestamptz AS last_submission_at,
               s.submission_count, s.rank IS NOT DISTINCT FROM 0 AS is_benchmark, s.score, s.team_name,
               coalesce(string_to_array(nullif(s.members, ''), ','), '{}') AS member_usernames
        FROM pg_temp.placed_rows_1 p LEFT JOIN pg_temp.staged_rows_1 s ON s.position = p.position
        LIMIT listed
    ), difference AS MATERIALIZED (
        SELECT n.*, o.place, o.team_id, o.order_key AS old_key, o.valid_from, o.first_seen_at,
               o.last_submission_at AS old_submission_at, o.submission_count AS old_count,
               o.is_benchmark AS was_benchmark, o.score AS old_score, o.team_name AS old_name,
               o.member_usernames AS old_members
        FROM new n LEFT JOIN old o ON o.board_id = old_board AND o.team_id = n.new_team_id
    ), packed AS (
        INSERT INTO packs (board_id, until, is_whole, since_whole, ranked, ended, team_ids, order_keys,
                           changed_at, last_submission_at, submission_count, score)
        SELECT write_differences.board_id, write_differences.at, is_whole, since_whole,
               count(*) FILTER (WHERE NOT v.was_benchmark), array_agg(v.ended), array_agg(v.team_id),
               coalesce(array_agg(v.old_key) FILTER (WHERE v.ended <> 'a'), '{}'),
               coalesce(array_agg(v.valid_from) FILTER (WHERE v.ended <> 'a'), '{}'),
               coalesce(array_agg(v.old_submission_at) FILTER (WHERE v.ended <> 'a'), '{}'),
               coalesce(array_agg(v.old_count) FILTER (WHERE v.ended <> 'a'), '{}'),
               coalesce(array_agg(v.old_score) FILTER (WHERE v.ended <> 'a'), '{}')
        FROM (SELECT d.ended, d.new_team_id AS team_id, d.was_benchmark, d.old_key, d.valid_from, d.old_submission_at,
                     d.old_count, d.old_score
              FROM difference d
              UNION ALL
              SELECT '-', o.team_id, o.is_benchmark, o.order_key, o.valid_from, o.last_submission_at,
                     o.submission_count, o.score
              FROM old o
              WHERE o.board_id = old_board AND is_whole
                AND NOT EXISTS (SELECT FROM difference d WHERE d.new_team_id = o.team_id)
              ORDER BY was_benchmark, team_id) v           -- null, of those that were not there, comes last
        WHERE write_differences.at > observed_from
        HAVING count(*) > 0
    ), named AS (
        INSERT INTO past_names (board_id, team_id, until, first_seen_at, team_name, member_usernames)
        SELECT write_differences.board_id, d.team_id, write_differences.at, d.first_seen_at, d.old_name, d.old_members
        FROM difference d
        WHERE d.ended = 'l'
           OR d.ended IN ('u', 'M') AND (d.old_name COLLATE "C", d.old_members) IS DISTINCT FROM (d.team_name COLLATE "C", d.member_usernames)
    ), gone AS (
        DELETE FROM leaderboard_entries e USING (SELECT * FROM difference d WHERE d.ended = 'l' LIMIT listed) d
        WHERE e.ctid = d.place
    ), changed AS (
        UPDATE leaderboard_entries e
        SET order_key = coalesce(d.new_key, e.order_key),
            valid_from = CASE WHEN d.ended = 'w' THEN e.valid_from ELSE write_differences.at END,
            last_submission_at = d.last_submission_at, submission_count = d.submission_count,
            is_benchmark = d.is_benchmark, score = d.score, team_name = d.team_name,
            member_usernames = d.member_usernames
        FROM (SELECT * FROM difference d WHERE d.ended <> 'l' LIMIT listed) d WHERE e.ctid = d.place
    )
    INSERT INTO leaderboard_entries (board_id, team_id, order_key, valid_from, first_seen_at,
        last_submission_at, submission_count, is_benchmark, score, team_name, member_usernames)
    SELECT write_differences.board_id, d.new_team_id, d.new_key, write_differences.at,
           coalesce((SELECT min(n.first_seen_at) FROM past_names n
                     WHERE n.board_id = write_differences.board_id AND n.team_id = d.new_team_id), write_differences.at),
           d.last_submission_at, d.submission_count, d.is_benchmark, d.score, d.team_name, d.member_usernames
    FROM difference d WHERE d.ended = 'a' AND NOT in_past;
END $$;
COMMENT ON FUNCTION kaggle_internal.write_differences(bigint, timestamptz, timestamptz, boolean) IS 'Packs what the staged rows replace from a moment on, and writes it to the entries; in_past: it replaces pg_temp.base_rows_1, and the entries stay as they are. placed_rows_1 says what became of whom. observed_from: the board''s first moment, before which there is nothing to pack.';

CREATE OR REPLACE FUNCTION kaggle_internal.describe_staging(OUT teams bigint, OUT higher_is_better boolean)
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    first_position bigint;
    last_position bigint;
    best numeric;
    worst numeric;
BEGIN
    SELECT count(*) FILTER (WHERE rank IS DISTINCT FROM 0),
           min(position) FILTER (WHERE score IS NOT NULL), max(position) FILTER (WHERE score IS NOT NULL)
    INTO teams, first_position, last_position FROM pg_temp.staged_rows_1;
    SELECT min(score) FILTER (WHERE position = first_position), min(score) FILTER (WHERE position = last_position)
    INTO best, worst FROM pg_temp.staged_rows_1;
    higher_is_better := CASE WHEN best > worst THEN true WHEN best < worst THEN false END;
END $$;
COMMENT ON FUNCTION kaggle_internal.describe_staging() IS 'How many ranked teams are staged, and the direction of their scores: null where all are equal.';

CREATE OR REPLACE FUNCTION kaggle_internal.shown_at_end(board kaggle.boards, at timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    -- A private board hides the public one, for good: one that comes before the end may be a mistake.
    SELECT e.at
    FROM competitions c
    CROSS JOIN LATERAL (SELECT CASE WHEN c.end_date IS DISTINCT FROM c.end_date_filled THEN c.end_date
                                    ELSE coalesce(c.kaggle_deadline, c.end_date) END AS at) e
    WHERE board.kind = 'private' AND c.id = board.competition_id AND e.at > shown_at_end.at
      AND NOT (c.status = 'completed' AND c.status_by = 'person') AND (linked_board(c, 'public')).id IS NOT NULL
$$;
COMMENT ON FUNCTION kaggle_internal.shown_at_end(kaggle.boards, timestamptz) IS 'From when a board is shown whose first moment is this one: a private one beside a public one from the competition''s end, that of a person, else Kaggle''s, else its event''s; null = from that moment on.';

CREATE OR REPLACE FUNCTION kaggle_internal.make_board(
    board kaggle.boards, at timestamptz, digest bytea, replaced_characters bigint, key_gap bigint)
RETURNS kaggle.sync_runs
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    run sync_runs;
    first_position bigint;
BEGIN
    run.observed_at := make_board.at;
    run.board := board.kind;
    run.board_id := board.id;
    run.replaced_characters := make_board.replaced_characters;
    IF board.observed_from IS NULL THEN
        SELECT min(position) INTO first_position FROM pg_temp.staged_rows_1;
        INSERT INTO leaderboard_entries (board_id, team_id, order_key, valid_from, first_seen_at,
            last_submission_at, submission_count, is_benchmark, score, team_name, member_usernames)
        SELECT board.id, s.team_id, (s.position - first_position) * key_gap, run.observed_at, run.observed_at,
               s.last_submission_at::timestamptz, s.submission_count, s.rank IS NOT DISTINCT FROM 0, s.score, s.team_name,
               coalesce(string_to_array(nullif(s.members, ''), ','), '{}')
        FROM pg_temp.staged_rows_1 s;     -- as they were staged, which is the file's order: no sort is needed
        GET DIAGNOSTICS run.added = ROW_COUNT;
        run.removed := 0; run.updated := 0; run.moved := 0;
    ELSE
        SELECT d.added, d.removed, d.updated, d.moved INTO run.added, run.removed, run.updated, run.moved
        FROM write_differences(board.id, run.observed_at, board.observed_from, false) d;
    END IF;
    SELECT d.teams, d.higher_is_better INTO run.teams, run.higher_is_better FROM describe_staging() d;
    UPDATE boards b
    SET observed_at = run.observed_at, observed_from = coalesce(b.observed_from, run.observed_at),
        shown_from = coalesce(b.shown_from, CASE WHEN b.observed_from IS NULL THEN shown_at_end(b, run.observed_at) END), digest = make_board.digest, teams = run.teams,
        higher_is_better = coalesce(run.higher_is_better, b.higher_is_better)
    WHERE b.id = board.id;
    run.outcome := CASE WHEN run.added + run.removed + run.updated + run.moved > 0 OR board.observed_from IS NULL
                        THEN 'changed' ELSE 'unchanged' END;
    RETURN run;
END $$;
COMMENT ON FUNCTION kaggle_internal.make_board(kaggle.boards, timestamptz, bytea, bigint, bigint) IS 'Makes the staged rows the board as of a moment that lies behind all it knows. Returns what a run says of the board; who asked and when is for the caller to fill in.';
