-- A downloaded board becomes the current one, in one transaction: staged rows are compared with the entries,
-- what changed is written, what it replaced goes to the history, the run is recorded.
--
-- The staged rows are a temporary table of the worker's own session: COPY into it needs no lock that anybody
-- else wants, and a worker that freezes there holds nothing. The functions run with the worker's rights, since
-- a SECURITY DEFINER could not read that table.

CREATE OR REPLACE FUNCTION kaggle_internal.prepare_staging(extra_columns integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
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
        last_submission_at timestamptz CONSTRAINT date_is_finite CHECK (isfinite(last_submission_at)),
        score              numeric CONSTRAINT score_is_a_finite_number
                           CHECK (score > '-1e1000'::numeric AND score < '1e1000'::numeric),
        submission_count   bigint,
        members            text
    ) ON COMMIT DELETE ROWS;
    CREATE TEMPORARY TABLE placed_rows_1 (
        position  bigint NOT NULL,
        order_key bigint NOT NULL
    ) ON COMMIT DELETE ROWS;
    EXECUTE (SELECT 'ALTER TABLE staged_rows_1 ' || string_agg(format('ADD COLUMN extra_%s text', n), ', ')
             FROM generate_series(1, extra_columns) n);
END $$;
COMMENT ON FUNCTION kaggle_internal.prepare_staging(integer) IS 'Makes this session''s staging tables where they are missing: the rows of the file, with room for columns of it that are not known, and the places that were given to rows that moved. Their names end in the version of their shape.';

CREATE OR REPLACE FUNCTION kaggle_internal.check_staging(ranked boolean, key_gap bigint) RETURNS text
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    wrong record;
    is_doubled boolean;
    first_position bigint;
    last_position bigint;
    benchmarks bigint[];       -- their positions
BEGIN
    SELECT count(*) > count(DISTINCT team_id), min(position), max(position),
           coalesce(array_agg(position ORDER BY position) FILTER (WHERE rank = 0), '{}')
    INTO is_doubled, first_position, last_position, benchmarks FROM pg_temp.staged_rows_1;
    -- An order key is the place in the file times key_gap, and a bigint.
    IF last_position - first_position > 9223372036854775807 / key_gap THEN
        RETURN format('the leaderboard has more than %s rows', 9223372036854775807 / key_gap + 1);
    END IF;
    IF NOT ranked THEN
        -- Files without ranks may hold a row for each improvement: a team's last row counts.
        IF is_doubled THEN
            WITH every AS (DELETE FROM pg_temp.staged_rows_1 RETURNING *)
            INSERT INTO pg_temp.staged_rows_1
                (rank, team_id, team_name, last_submission_at, score, submission_count, members)
            SELECT rank, team_id, team_name, last_submission_at, score, submission_count, members
            FROM (SELECT *, row_number() OVER (PARTITION BY team_id ORDER BY position DESC) AS from_last FROM every) e
            WHERE from_last = 1 ORDER BY position;
        END IF;
        RETURN NULL;
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
COMMENT ON FUNCTION kaggle_internal.check_staging(boolean, bigint) IS 'What is wrong with the staged rows as a whole, null = nothing: a TeamId twice, ranks with gaps, too many rows. Without ranks, keeps each team''s last row.';

CREATE OR REPLACE FUNCTION kaggle_internal.linked_board(competition kaggle.competitions, kind text) RETURNS kaggle.boards
LANGUAGE sql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT b FROM boards b
    WHERE b.competition_id = competition.id AND lower(b.slug) = lower(competition.kaggle_competition_id)
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

CREATE OR REPLACE FUNCTION kaggle_internal.staged_order(board_id bigint) RETURNS bytea
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    is_there constant boolean := EXISTS (SELECT FROM leaderboard_entries e WHERE e.board_id = staged_order.board_id);
BEGIN
    PERFORM refuse_hidden_rows();        -- our lock keeps them as they are now
    IF NOT is_there THEN
        RETURN NULL;
    END IF;
    RETURN (SELECT string_agg(int8send(coalesce(e.order_key, '-9223372036854775808'::bigint)), '' ORDER BY s.position)
            FROM pg_temp.staged_rows_1 s
            LEFT JOIN leaderboard_entries e ON e.board_id = staged_order.board_id AND e.team_id = s.team_id);
END $$;
COMMENT ON FUNCTION kaggle_internal.staged_order(bigint) IS 'The present order keys of the staged teams in the file''s order, eight bytes each, big-endian; the smallest bigint for a team that is new. Null where the board has no entries yet.';

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
    RETURN board;
END $$;
COMMENT ON FUNCTION kaggle_internal.board_for(kaggle.competitions, text) IS 'The public or private board of a competition under its present slug; begun where there is none. The caller holds the row of sync_state.';

CREATE OR REPLACE FUNCTION kaggle_internal.merged_after(
    competition_id bigint, observed_at timestamptz, history_interval interval) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    -- What a standing was frozen at is kept, however close the next version comes; where events may be hidden, all is.
    SELECT CASE WHEN history_interval IS NOT NULL AND NOT row_security_active('kaggle.events')
                     AND NOT row_security_active('kaggle.event_competitions') THEN
        greatest(merged_after.observed_at - history_interval,
                 (SELECT max(m.at) FROM event_competitions x JOIN events e ON e.id = x.event_id
                  CROSS JOIN LATERAL (VALUES (e.frozen_at), (e.end_date)) AS m (at)
                  WHERE x.competition_id = merged_after.competition_id AND m.at < merged_after.observed_at)) END
$$;
COMMENT ON FUNCTION kaggle_internal.merged_after(bigint, timestamptz, interval) IS 'Versions that began after this moment are overwritten by the board as of observed_at, since history_interval merges what lies closer together, but not across the end or the frozen_at of an event; null = none are.';

CREATE OR REPLACE FUNCTION kaggle_internal.make_board(
    board kaggle.boards, at timestamptz, history_interval interval, digest bytea, replaced_characters bigint,
    key_gap bigint)
RETURNS kaggle.sync_runs
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
#variable_conflict use_column
DECLARE
    run sync_runs;
    first_position bigint;
    last_position bigint;
    best numeric;
    worst numeric;
BEGIN
    run.observed_at := make_board.at;
    run.board := board.kind;
    run.board_id := board.id;
    run.replaced_characters := make_board.replaced_characters;

    IF NOT EXISTS (SELECT FROM leaderboard_entries WHERE board_id = board.id) THEN
        SELECT min(position) INTO first_position FROM pg_temp.staged_rows_1;
        INSERT INTO leaderboard_entries (board_id, team_id, order_key, valid_from, first_seen_at,
            last_submission_at, submission_count, is_benchmark, score, team_name, member_usernames)
        SELECT board.id, s.team_id, (s.position - first_position) * key_gap, run.observed_at,
               CASE WHEN board.digest IS NULL THEN run.observed_at
                    ELSE first_seen(board.id, s.team_id, run.observed_at) END,
               s.last_submission_at, s.submission_count, s.rank IS NOT DISTINCT FROM 0, s.score, s.team_name,
               coalesce(string_to_array(nullif(s.members, ''), ','), '{}')
        FROM pg_temp.staged_rows_1 s;     -- as they were staged, which is the file's order: no sort is needed
        GET DIAGNOSTICS run.added = ROW_COUNT;
        run.removed := 0; run.updated := 0; run.moved := 0;
    ELSE
        SELECT d.added, d.removed, d.updated, d.moved INTO run.added, run.removed, run.updated, run.moved
        FROM write_differences(board.id, run.observed_at,
                               merged_after(board.competition_id, run.observed_at, make_board.history_interval)) d;
    END IF;

    SELECT count(*) FILTER (WHERE rank IS DISTINCT FROM 0),
           min(position) FILTER (WHERE score IS NOT NULL), max(position) FILTER (WHERE score IS NOT NULL)
    INTO run.teams, first_position, last_position FROM pg_temp.staged_rows_1;
    SELECT score INTO best FROM pg_temp.staged_rows_1 WHERE position = first_position;
    SELECT score INTO worst FROM pg_temp.staged_rows_1 WHERE position = last_position;
    UPDATE boards b
    SET observed_at = run.observed_at, observed_from = coalesce(b.observed_from, run.observed_at),
        digest = make_board.digest, teams = run.teams,
        higher_is_better = CASE WHEN best > worst THEN true WHEN best < worst THEN false
                                ELSE b.higher_is_better END
    WHERE b.id = board.id
    RETURNING b.higher_is_better INTO run.higher_is_better;
    run.outcome := CASE WHEN run.added + run.removed + run.updated + run.moved > 0 OR board.digest IS NULL
                        THEN 'changed' ELSE 'unchanged' END;
    RETURN run;
END $$;
COMMENT ON FUNCTION kaggle_internal.make_board(kaggle.boards, timestamptz, interval, bytea, bigint, bigint) IS 'Makes the staged rows the board as of a moment that lies behind all it knows. Returns what a run says of the board; who asked and when is for the caller to fill in.';

CREATE OR REPLACE FUNCTION kaggle_internal.first_seen(board_id bigint, team_id bigint, otherwise timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT coalesce((SELECT min(h.first_seen_at) FROM leaderboard_history h
                     WHERE h.board_id = first_seen.board_id AND h.team_id = first_seen.team_id), otherwise)
$$;
COMMENT ON FUNCTION kaggle_internal.first_seen(bigint, bigint, timestamptz) IS 'When a team that appears now was first seen on this board: it may have been there before.';

CREATE OR REPLACE FUNCTION kaggle_internal.write_differences(
    board_id bigint, observed_at timestamptz, merged_after timestamptz,
    OUT added bigint, OUT removed bigint, OUT updated bigint, OUT moved bigint)
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp
-- Temporary tables have no statistics; a merge join would sort the whole board to find the few that were placed.
SET enable_mergejoin = off AS $$
#variable_conflict use_column
BEGIN
    WITH staged AS (
        SELECT position, team_id, last_submission_at, submission_count, rank IS NOT DISTINCT FROM 0 AS is_benchmark,
               score, team_name, members
        FROM pg_temp.staged_rows_1
    ), present AS (
        SELECT * FROM leaderboard_entries WHERE board_id = write_differences.board_id
    ), compared AS (
        SELECT s.*, e.team_id AS old_team_id, e.order_key AS old_key, e.valid_from, e.first_seen_at,
               e.last_submission_at AS old_submission_at, e.submission_count AS old_count,
               e.is_benchmark AS old_benchmark, e.score AS old_score, e.team_name AS old_name,
               e.member_usernames AS old_members,
               -- Byte for byte, 0.80 is not 0.8; column by column, which costs half of comparing rows by their image.
               (s.last_submission_at, s.submission_count, s.is_benchmark, s.score, scale(s.score))
               IS DISTINCT FROM (e.last_submission_at, e.submission_count, e.is_benchmark, e.score, scale(e.score))
               OR s.team_name COLLATE "C" IS DISTINCT FROM e.team_name COLLATE "C"
               OR coalesce(s.members, '') COLLATE "C"
                  IS DISTINCT FROM array_to_string(e.member_usernames, ',') COLLATE "C" AS has_new_facts
        FROM staged s FULL JOIN present e ON e.team_id = s.team_id
    ), difference AS MATERIALIZED (
        SELECT coalesce(c.team_id, c.old_team_id) AS team_id, c.old_team_id IS NULL AS is_new,
               c.team_id IS NULL AS is_gone, c.has_new_facts, p.order_key AS new_key,
               c.last_submission_at, c.submission_count, c.is_benchmark, c.score, c.team_name,
               coalesce(string_to_array(nullif(c.members, ''), ','), '{}') AS member_usernames,
               c.old_key, c.valid_from, c.first_seen_at, c.old_submission_at, c.old_count, c.old_benchmark,
               c.old_score, c.old_name, c.old_members
        FROM compared c LEFT JOIN pg_temp.placed_rows_1 p ON p.position = c.position
        WHERE p.order_key IS NOT NULL OR c.team_id IS NULL OR c.old_team_id IS NULL OR c.has_new_facts
    ), closed AS (
        INSERT INTO leaderboard_history (board_id, team_id, order_key, valid_from, valid_until, first_seen_at,
            last_submission_at, submission_count, is_benchmark, score, team_name, member_usernames)
        SELECT write_differences.board_id, team_id, old_key, valid_from, write_differences.observed_at,
               first_seen_at, old_submission_at, old_count, old_benchmark, old_score, old_name, old_members
        FROM difference
        WHERE NOT is_new
          AND (is_gone OR merged_after IS NULL OR valid_from <= merged_after)
    ), gone AS (
        DELETE FROM leaderboard_entries e USING difference d
        WHERE e.board_id = write_differences.board_id AND e.team_id = d.team_id AND d.is_gone
    ), changed AS (
        UPDATE leaderboard_entries e
        SET order_key = coalesce(d.new_key, e.order_key),
            valid_from = CASE WHEN merged_after IS NULL OR e.valid_from <= merged_after
                              THEN write_differences.observed_at ELSE e.valid_from END,
            last_submission_at = d.last_submission_at, submission_count = d.submission_count,
            is_benchmark = d.is_benchmark, score = d.score, team_name = d.team_name,
            member_usernames = d.member_usernames
        FROM difference d
        WHERE e.board_id = write_differences.board_id AND e.team_id = d.team_id
          AND NOT d.is_gone AND NOT d.is_new
    ), appeared AS (
        INSERT INTO leaderboard_entries (board_id, team_id, order_key, valid_from, first_seen_at,
            last_submission_at, submission_count, is_benchmark, score, team_name, member_usernames)
        SELECT write_differences.board_id, team_id, new_key, write_differences.observed_at,
               first_seen(write_differences.board_id, team_id, write_differences.observed_at),
               last_submission_at, submission_count, is_benchmark, score, team_name, member_usernames
        FROM difference WHERE is_new
    )
    SELECT count(*) FILTER (WHERE is_new), count(*) FILTER (WHERE is_gone),
           count(*) FILTER (WHERE NOT is_new AND NOT is_gone AND has_new_facts),
           count(*) FILTER (WHERE NOT is_new AND NOT is_gone AND new_key IS NOT NULL)
    INTO write_differences.added, write_differences.removed, write_differences.updated, write_differences.moved
    FROM difference;
END $$;
COMMENT ON FUNCTION kaggle_internal.write_differences(bigint, timestamptz, timestamptz) IS 'Compares the staged rows with the board, writes only what differs, and closes the versions it replaces. placed_rows_1 says who moved and where to. Versions that began after merged_after are overwritten.';

CREATE OR REPLACE FUNCTION kaggle_internal.spread_keys(board_id bigint, low bigint, needed bigint) RETURNS void
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    reach bigint := 32;
    all_keys bigint;
    below bigint[];
    above bigint[];
    keys bigint[];
    lowest bigint;
    spacing bigint;
BEGIN
    SELECT count(*) INTO all_keys FROM (
        SELECT order_key FROM leaderboard_entries e WHERE e.board_id = spread_keys.board_id
        UNION SELECT order_key FROM leaderboard_history h WHERE h.board_id = spread_keys.board_id) AS every;
    -- A window of neighbouring keys around the gap, grown until its keys can stand far enough apart.
    LOOP
        below := ARRAY(SELECT DISTINCT k FROM (
            SELECT order_key AS k FROM leaderboard_entries e WHERE e.board_id = spread_keys.board_id AND order_key <= low
            UNION SELECT order_key FROM leaderboard_history h WHERE h.board_id = spread_keys.board_id AND order_key <= low
            ) AS all_below ORDER BY k DESC LIMIT reach);
        above := ARRAY(SELECT DISTINCT k FROM (
            SELECT order_key AS k FROM leaderboard_entries e WHERE e.board_id = spread_keys.board_id AND order_key > low
            UNION SELECT order_key FROM leaderboard_history h WHERE h.board_id = spread_keys.board_id AND order_key > low
            ) AS all_above ORDER BY k LIMIT reach);
        IF cardinality(below) = 0 OR cardinality(above) = 0 THEN
            reach := NULL;                -- an end of the board: only all keys together can make way
            CONTINUE WHEN cardinality(below || above) < all_keys;
        END IF;
        keys := ARRAY(SELECT k FROM unnest(below || above) AS k ORDER BY k);
        IF cardinality(keys) = all_keys THEN
            spacing := least(1::bigint << 40, (1::bigint << 61) / all_keys);   -- far apart, around zero
            lowest := -(all_keys / 2) * spacing;
            EXIT;
        END IF;
        lowest := keys[1];
        spacing := (keys[cardinality(keys)] - lowest) / cardinality(keys);
        EXIT WHEN spacing > needed << 12;
        reach := reach * 4;
    END LOOP;

    -- One order-preserving map for open and closed versions alike: every past board stays as it was.
    UPDATE leaderboard_history h SET order_key = lowest + (m.n - 1) * spacing
    FROM unnest(keys) WITH ORDINALITY AS m (old_key, n)
    WHERE h.board_id = spread_keys.board_id AND h.order_key = m.old_key;
    UPDATE leaderboard_entries e SET order_key = lowest + (m.n - 1) * spacing
    FROM unnest(keys) WITH ORDINALITY AS m (old_key, n)
    WHERE e.board_id = spread_keys.board_id AND e.order_key = m.old_key;
END $$;
COMMENT ON FUNCTION kaggle_internal.spread_keys(bigint, bigint, bigint) IS 'Makes room for that many entries behind the order key low by spreading a window of keys around them, in the board and its history alike. No order changes.';
