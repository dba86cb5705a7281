-- Boards from files of before, put where they belong in time. Afterwards everything answers as if each had been
-- synced at its moment.
--
--   hold_board     keeps syncs away, and finds the moment behind the file at which the board was seen next
--   append_board   there is none: the file is made the board like a sync's
--   stage_base     else the board that was known at the file's moment is what the file is compared with,
--   insert_board   which gives the file's pack; then the file is what the next board is compared with,
--   amend_board    which gives the pack of that moment anew. Nothing behind it changes, but since when a version holds.
--
-- history_interval leaves boards out of the past by the same way: merge_boards, then pack_anew.
--
-- Like a sync these run with the rights of whoever calls them, who needs those of the worker.

CREATE OR REPLACE FUNCTION kaggle_internal.begin_backfill(
    kaggle_competition_id text, OUT competition_id bigint, OUT slug text, OUT link_revision bigint)
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp SET lock_timeout = '2s' AS $$
BEGIN
    PERFORM refuse_hidden_rows();
    competition_id := find_competition(begin_backfill.kaggle_competition_id);
    SELECT c.kaggle_competition_id, c.link_revision INTO slug, begin_backfill.link_revision
    FROM competitions c WHERE c.id = begin_backfill.competition_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found',
            MESSAGE = format('row level security hides %s from role "%s"', begin_backfill.kaggle_competition_id, current_user);
    END IF;
    -- Waited for a moment: the session of one that has ended may still be closing.
    PERFORM pg_advisory_lock(hashtextextended('kaggle_internal.begin_backfill', competition_id));
EXCEPTION WHEN lock_not_available THEN
    RAISE EXCEPTION USING ERRCODE = 'object_in_use',
        MESSAGE = format('another backfill of %s is running', slug);
END $$;
COMMENT ON FUNCTION kaggle_internal.begin_backfill(text) IS 'Finds the competition and keeps other backfills of it away for as long as this session lives. Raises no_data_found for an unknown slug, object_in_use while another one runs.';

CREATE OR REPLACE FUNCTION kaggle_internal.known_moments(board_id bigint)
RETURNS TABLE (at timestamptz, is_merged boolean)
LANGUAGE sql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT r.observed_at, r.is_merged FROM sync_runs r
    WHERE r.board_id = known_moments.board_id AND r.outcome IN ('changed', 'unchanged')
    UNION
    -- The run that confirmed it last may have been pruned.
    SELECT b.observed_at, false FROM boards b WHERE b.id = known_moments.board_id
$$;
COMMENT ON FUNCTION kaggle_internal.known_moments(bigint) IS 'When a board was seen, by a sync or a file, and whether history_interval has merged what was seen.';

CREATE OR REPLACE FUNCTION kaggle_internal.hold_board(
    competition_id bigint, link_revision bigint, kind text, at timestamptz,
    OUT board kaggle.boards, OUT behind timestamptz)
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    state constant sync_state := hold_state(hold_board.competition_id);
    competition competitions;
BEGIN
    SELECT * INTO competition FROM competitions c WHERE c.id = hold_board.competition_id;
    IF competition.link_revision IS DISTINCT FROM hold_board.link_revision OR is_deleted(state) THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found',
            MESSAGE = 'the competition was deleted or linked elsewhere meanwhile';
    END IF;
    IF hold_board.at > clock_timestamp() THEN
        RAISE EXCEPTION USING ERRCODE = 'datetime_field_overflow', MESSAGE = format('%s lies in the future', hold_board.at);
    END IF;
    PERFORM keep_board_at_freeze(e, competition)
    FROM event_competitions x JOIN events e ON e.id = x.event_id WHERE x.competition_id = competition.id;
    board := board_for(competition, hold_board.kind);
    IF hold_board.at < board.history_from THEN
        RAISE EXCEPTION USING ERRCODE = 'object_in_use',
            MESSAGE = 'the history was pruned meanwhile', HINT = 'Run it again.';
    ELSIF EXISTS (SELECT FROM known_moments(board.id) m WHERE m.at = hold_board.at) THEN
        RAISE EXCEPTION USING ERRCODE = 'object_in_use',
            MESSAGE = 'a sync has just stored a board of the same time', HINT = 'Run it again.';
    END IF;
    behind := (SELECT min(m.at) FROM known_moments(board.id) m WHERE m.at > hold_board.at AND NOT m.is_merged);
    IF behind IS NULL AND state.running_run_id IS NOT NULL THEN
        PERFORM abandon_run(state);      -- it may have read order keys that will change
    END IF;
END $$;
COMMENT ON FUNCTION kaggle_internal.hold_board(bigint, bigint, text, timestamptz) IS 'Keeps syncs of a competition, and the pruning of the board, away until commit. behind: the next moment at which the board was seen; null = the file goes on behind all that is known, and an attempt that runs loses its fence and is begun anew. Raises no_data_found where the competition is gone or has another link revision, object_in_use where the moment is known or pruned by now.';

CREATE OR REPLACE FUNCTION kaggle_internal.insert_run(run kaggle.sync_runs, competition_id bigint) RETURNS kaggle.sync_runs
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    run.id := nextval('run_ids');
    run.competition_id := insert_run.competition_id;
    run.reason := 'backfill';
    run.started_at := statement_timestamp();
    run.finished_at := clock_timestamp();
    PERFORM store_run(run);
    -- It may be the one that counts.
    DELETE FROM boards_at_end k
    WHERE k.competition_id = run.competition_id AND run.observed_at <= k.end_date + interval '2 minutes';
    PERFORM tell_status();
    RETURN run;
END $$;
COMMENT ON FUNCTION kaggle_internal.insert_run(kaggle.sync_runs, bigint) IS 'Writes the run of a board that no sync has brought. It tells who watches a screen, and changes nothing of the sync''s state.';

CREATE OR REPLACE FUNCTION kaggle_internal.append_board(
    board kaggle.boards, at timestamptz, digest bytea, replaced_characters bigint, key_gap bigint)
RETURNS kaggle.sync_runs
LANGUAGE sql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT insert_run(make_board(board, at, digest, replaced_characters, key_gap), board.competition_id)
$$;
COMMENT ON FUNCTION kaggle_internal.append_board(kaggle.boards, timestamptz, bytea, bigint, bigint) IS 'Makes the staged rows the board as of a moment behind all it knows, with a run of its own.';

CREATE OR REPLACE FUNCTION kaggle_internal.stage_base(board_id bigint, at timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp SET enable_nestloop = off AS $$
BEGIN
    INSERT INTO pg_temp.base_rows_1 (board_id, team_id, order_key, valid_from, first_seen_at, last_submission_at,
                                     submission_count, is_benchmark, score, team_name, member_usernames)
    SELECT 0, v.team_id, v.order_key, v.valid_from, v.first_seen_at, v.last_submission_at,
           v.submission_count, v.is_benchmark, v.score, v.team_name, v.member_usernames
    FROM versions(stage_base.board_id, stage_base.at) v
    WHERE stage_base.at >= (SELECT b.observed_from FROM boards b WHERE b.id = stage_base.board_id);
END $$;
COMMENT ON FUNCTION kaggle_internal.stage_base(bigint, timestamptz) IS 'Takes the board as it is known at a moment as the one that the staged rows are compared with; before its first moment it is empty.';

CREATE OR REPLACE FUNCTION kaggle_internal.stage_board(board_id bigint, at timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp SET enable_nestloop = off AS $$
BEGIN
    TRUNCATE pg_temp.staged_rows_1, pg_temp.placed_rows_1;
    INSERT INTO pg_temp.staged_rows_1 (rank, team_id, team_name, last_submission_at, score, submission_count, members,
                                       order_key, changed_at)
    SELECT coalesce(v.rank, 0), v.team_id, v.team_name,
           to_char(v.last_submission_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US'), v.score, v.submission_count,
           array_to_string(v.member_usernames, ','), v.order_key, v.valid_from
    FROM versions(stage_board.board_id, stage_board.at) v ORDER BY v.order_key;
END $$;
COMMENT ON FUNCTION kaggle_internal.stage_board(bigint, timestamptz) IS 'Stages the board as it is known at a moment.';

CREATE OR REPLACE FUNCTION kaggle_internal.insert_board(
    board kaggle.boards, at timestamptz, behind timestamptz, digest bytea, replaced_characters bigint)
RETURNS kaggle.sync_runs
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp SET enable_nestloop = off AS $$
DECLARE
    run sync_runs;
BEGIN
    run.observed_at := insert_board.at;
    run.board := board.kind;
    run.board_id := board.id;
    run.replaced_characters := insert_board.replaced_characters;
    SELECT d.teams, d.higher_is_better INTO run.teams, run.higher_is_better FROM describe_staging() d;
    SELECT d.added, d.removed, d.updated, d.moved INTO run.added, run.removed, run.updated, run.moved
    FROM write_differences(board.id, insert_board.at, board.observed_from, true) d;
    run.outcome := CASE WHEN run.added + run.removed + run.updated + run.moved > 0 OR insert_board.at < board.observed_from
                        THEN 'changed' ELSE 'unchanged' END;
    run := insert_run(run, board.competition_id);
    UPDATE boards b
    SET observed_from = least(b.observed_from, insert_board.at),
        shown_from = coalesce(b.shown_from, CASE WHEN insert_board.at < b.observed_from THEN shown_at_end(b, insert_board.at) END),
        higher_is_better = (SELECT r.higher_is_better FROM sync_runs r
                            WHERE r.board_id = board.id AND r.higher_is_better IS NOT NULL
                            ORDER BY r.observed_at DESC LIMIT 1)
    WHERE b.id = board.id;
    UPDATE leaderboard_entries e SET first_seen_at = insert_board.at FROM pg_temp.staged_rows_1 s
    WHERE e.board_id = board.id AND e.team_id = s.team_id AND e.first_seen_at > insert_board.at;
    UPDATE past_names n SET first_seen_at = insert_board.at FROM pg_temp.staged_rows_1 s
    WHERE n.board_id = board.id AND n.team_id = s.team_id AND n.first_seen_at > insert_board.at;

    WITH base AS (
        DELETE FROM pg_temp.base_rows_1 RETURNING *
    )
    INSERT INTO pg_temp.base_rows_1 (board_id, team_id, order_key, valid_from, first_seen_at, last_submission_at,
                                     submission_count, is_benchmark, score, team_name, member_usernames)
    SELECT 0, s.team_id, coalesce(p.order_key, b.order_key),
           CASE WHEN coalesce(p.ended, 'w') = 'w' THEN b.valid_from ELSE insert_board.at END,
           coalesce(b.first_seen_at, least(insert_board.at,
               (SELECT min(n.first_seen_at) FROM past_names n WHERE n.board_id = board.id AND n.team_id = s.team_id),
               (SELECT e.first_seen_at FROM leaderboard_entries e WHERE e.board_id = board.id AND e.team_id = s.team_id))),
           s.last_submission_at::timestamptz, s.submission_count,
           s.rank IS NOT DISTINCT FROM 0, s.score, s.team_name, coalesce(string_to_array(nullif(s.members, ''), ','), '{}')
    FROM pg_temp.staged_rows_1 s
    LEFT JOIN pg_temp.placed_rows_1 p ON p.position = s.position
    LEFT JOIN base b ON b.team_id = s.team_id;
    PERFORM stage_board(board.id, insert_board.behind);
    RETURN run;
END $$;
COMMENT ON FUNCTION kaggle_internal.insert_board(kaggle.boards, timestamptz, timestamptz, bytea, bigint) IS 'Puts the staged rows into the history, with a run of their own. Then they are what is compared with, and the board as it is known behind them is staged: place it, and call amend_board.';

CREATE OR REPLACE FUNCTION kaggle_internal.correct_changed_at(board_id bigint, behind timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    teams bigint[];              -- those of which a version begins at another moment than was known
    known timestamptz[];
    correct timestamptz[];
    pack packs;
BEGIN
    SELECT array_agg(c.team_id), array_agg(c.known), array_agg(c.correct) INTO teams, known, correct
    FROM (SELECT s.team_id, s.changed_at AS known,
                 CASE WHEN coalesce(p.ended, 'w') = 'w' THEN b.valid_from ELSE correct_changed_at.behind END AS correct
          FROM pg_temp.staged_rows_1 s
          LEFT JOIN pg_temp.placed_rows_1 p ON p.position = s.position
          LEFT JOIN pg_temp.base_rows_1 b ON b.team_id = s.team_id) c
    WHERE c.known <> c.correct;
    -- What is said of a version is stored where it ends, and in the whole packs until then.
    FOR pack IN SELECT * FROM packs p
                WHERE p.board_id = correct_changed_at.board_id AND p.until > correct_changed_at.behind ORDER BY p.until LOOP
        EXIT WHEN teams IS NULL;
        UPDATE packs p
        SET changed_at = ARRAY(
            SELECT CASE WHEN v.changed_at = c.known THEN c.correct ELSE v.changed_at END
            FROM (SELECT generate_subscripts(pack.changed_at, 1) AS nth, unnest(pack.team_ids) AS team_id,
                         unnest(pack.changed_at) AS changed_at) v
            LEFT JOIN unnest(teams, known, correct) AS c (team_id, known, correct) ON c.team_id = v.team_id
            WHERE v.nth IS NOT NULL ORDER BY v.nth)
        WHERE p.board_id = pack.board_id AND p.until = pack.until
          AND EXISTS (SELECT FROM unnest(pack.team_ids) AS t JOIN unnest(teams) AS c ON c = t);
        SELECT array_agg(c.team_id), array_agg(c.known), array_agg(c.correct) INTO teams, known, correct
        FROM unnest(teams, known, correct) AS c (team_id, known, correct)
        LEFT JOIN (SELECT unnest(pack.team_ids) AS team_id, unnest(pack.ended) AS ended) v ON v.team_id = c.team_id
        WHERE coalesce(v.ended, '-') IN ('-', 'w');
    END LOOP;
    UPDATE leaderboard_entries e SET valid_from = c.correct
    FROM unnest(teams, known, correct) AS c (team_id, known, correct)
    WHERE e.board_id = correct_changed_at.board_id AND e.team_id = c.team_id AND e.valid_from = c.known;
END $$;
COMMENT ON FUNCTION kaggle_internal.correct_changed_at(bigint, timestamptz) IS 'Corrects since when the versions hold that begin at a moment before which a board was put in: in the packs that list them until they end, or in the entries.';

CREATE OR REPLACE FUNCTION kaggle_internal.pack_anew(
    board_id bigint, at timestamptz, OUT added bigint, OUT removed bigint, OUT updated bigint, OUT moved bigint)
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    SELECT d.* INTO added, removed, updated, moved
    FROM boards b CROSS JOIN LATERAL write_differences(b.id, pack_anew.at, b.observed_from, true) d
    WHERE b.id = pack_anew.board_id;
    PERFORM correct_changed_at(pack_anew.board_id, pack_anew.at);
END $$;
COMMENT ON FUNCTION kaggle_internal.pack_anew(bigint, timestamptz) IS 'Packs what a moment changed, now that another board lies before it: pg_temp.base_rows_1. Returns how many entries it changed.';

CREATE OR REPLACE FUNCTION kaggle_internal.amend_board(board kaggle.boards, behind timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    run sync_runs;
    described record;
BEGIN
    SELECT d.added, d.removed, d.updated, d.moved INTO run.added, run.removed, run.updated, run.moved
    FROM pack_anew(board.id, amend_board.behind) d;
    run.outcome := CASE WHEN run.added + run.removed + run.updated + run.moved > 0 THEN 'changed' ELSE 'unchanged' END;
    UPDATE sync_runs r
    SET outcome = run.outcome, added = run.added, removed = run.removed, updated = run.updated, moved = run.moved
    WHERE r.board_id = board.id AND r.observed_at = amend_board.behind AND r.outcome IN ('changed', 'unchanged');
    IF NOT FOUND AND run.outcome = 'changed' THEN
        -- The run that saw the board then changed nothing, and was pruned.
        run.observed_at := amend_board.behind;
        run.board := board.kind;
        run.board_id := board.id;
        run.replaced_characters := 0;
        SELECT d.teams, d.higher_is_better INTO run.teams, run.higher_is_better FROM describe_staging() d;
        PERFORM insert_run(run, board.competition_id);
    END IF;
END $$;
COMMENT ON FUNCTION kaggle_internal.amend_board(kaggle.boards, timestamptz) IS 'Packs anew what a moment changed, now that another board lies before it, and has its run say so.';

CREATE OR REPLACE FUNCTION kaggle_internal.merge_boards(board_id bigint, moments timestamptz[]) RETURNS boolean
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    kept constant timestamptz := moments[cardinality(moments)];
    board boards;
BEGIN
    -- As for prune_history: what a sync or another session holds is left for the next time.
    SELECT * INTO board FROM boards b
    WHERE b.id = merge_boards.board_id AND (b.history_from <= moments[1]) IS NOT FALSE FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM stage_base(board.id, moments[1] - interval '1 microsecond');
    PERFORM stage_board(board.id, kept);
    DELETE FROM packs p WHERE p.board_id = board.id AND p.until = ANY (moments);
    DELETE FROM past_names n USING pg_temp.base_rows_1 b
    WHERE n.board_id = board.id AND n.until = ANY (moments) AND n.team_id = b.team_id;
    UPDATE boards b SET observed_from = kept WHERE b.id = board.id AND b.observed_from = moments[1];
    UPDATE sync_runs r SET is_merged = true
    WHERE r.board_id = board.id AND r.observed_at >= moments[1] AND r.observed_at < kept
      AND r.outcome IN ('changed', 'unchanged') AND NOT r.is_merged;
    RETURN true;
END $$;
COMMENT ON FUNCTION kaggle_internal.merge_boards(bigint, timestamptz[]) IS 'Keeps, of the boards as of moments that follow one another, the last one only: it is staged, to be compared with the one before them; place it, and call pack_anew. False: another session holds the board.';
