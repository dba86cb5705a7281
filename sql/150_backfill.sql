-- Boards from files of before, put where they belong in time. Afterwards everything answers as if each had been
-- synced at its moment.
--
-- Where a board goes on behind all that is known, it is made like a sync's (append_board). Where a file lies before
-- something that is known, the history behind it is other than it was: who moved, since when a version holds, what
-- a run changed. Then the board is written anew under another id, in one transaction, which nobody sees before the end:
--
--   open_rebuild      copies what lies before the first file
--   stage_known       stages a moment that was known ─┐ in the order of time
--   or COPY           stages a file                  ─┴► replay_run, append_board
--   close_rebuild     puts it in the place of the old board
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

CREATE OR REPLACE FUNCTION kaggle_internal.known_moments(board_id bigint, after timestamptz)
RETURNS TABLE (at timestamptz, run_id bigint, changed boolean)
LANGUAGE sql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT r.observed_at, r.id, r.outcome = 'changed'
    FROM boards b JOIN sync_runs r ON r.competition_id = b.competition_id AND r.board_id = b.id
    WHERE b.id = known_moments.board_id AND r.outcome IN ('changed', 'unchanged') AND r.observed_at > after
    UNION ALL
    -- The run that confirmed it last may have been pruned.
    SELECT b.observed_at, NULL, false FROM boards b
    WHERE b.id = known_moments.board_id AND b.observed_at > after
      AND NOT EXISTS (SELECT FROM sync_runs r WHERE r.competition_id = b.competition_id AND r.board_id = b.id
                      AND r.outcome IN ('changed', 'unchanged') AND r.observed_at = b.observed_at)
    ORDER BY 1
$$;
COMMENT ON FUNCTION kaggle_internal.known_moments(bigint, timestamptz) IS 'When the board was seen after a moment, by which run, and whether it had changed.';

CREATE OR REPLACE FUNCTION kaggle_internal.staged_is_known(board_id bigint, at timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    IF (SELECT c.history_interval FROM boards b JOIN competitions c ON c.id = b.competition_id
        WHERE b.id = staged_is_known.board_id) IS NOT NULL THEN
        -- Versions close together were merged: the board may never have stood there as it was.
        RETURN coalesce(
            (SELECT r.teams FROM boards b JOIN sync_runs r ON r.competition_id = b.competition_id AND r.board_id = b.id
             WHERE b.id = staged_is_known.board_id AND r.observed_at = staged_is_known.at
               AND r.outcome IN ('changed', 'unchanged')) =
            (SELECT count(*) FROM pg_temp.staged_rows_1 s WHERE s.rank IS DISTINCT FROM 0), true);
    END IF;
    RETURN NOT EXISTS (
        SELECT FROM (
            SELECT row_number() OVER (ORDER BY s.position) AS place, s.team_id,
                   ROW (s.last_submission_at, s.submission_count, s.rank IS NOT DISTINCT FROM 0, s.score, s.team_name,
                        coalesce(string_to_array(nullif(s.members, ''), ','), '{}')) AS facts
            FROM pg_temp.staged_rows_1 s) s
        FULL JOIN (
            SELECT row_number() OVER (ORDER BY v.order_key, v.team_id) AS place, v.team_id,
                   ROW (v.last_submission_at, v.submission_count, v.is_benchmark, v.score, v.team_name,
                        v.member_usernames) AS facts
            FROM versions(staged_is_known.board_id, staged_is_known.at) v) v USING (place)
        WHERE s.team_id IS DISTINCT FROM v.team_id OR s.facts *<> v.facts);
END $$;
COMMENT ON FUNCTION kaggle_internal.staged_is_known(bigint, timestamptz) IS 'Whether the staged rows are the board as it is known at a moment at which it was seen. Where history_interval merges versions only the number of teams can tell.';

CREATE OR REPLACE FUNCTION kaggle_internal.hold_competition(competition_id bigint, link_revision bigint)
RETURNS kaggle.competitions
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    state constant sync_state := hold_state(hold_competition.competition_id);
    competition competitions;
BEGIN
    SELECT * INTO competition FROM competitions c WHERE c.id = hold_competition.competition_id;
    IF competition.link_revision IS DISTINCT FROM hold_competition.link_revision OR is_deleted(state) THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found',
            MESSAGE = 'the competition was deleted or linked elsewhere meanwhile';
    END IF;
    IF state.running_run_id IS NOT NULL THEN
        PERFORM abandon_run(state);
    END IF;
    RETURN competition;
END $$;
COMMENT ON FUNCTION kaggle_internal.hold_competition(bigint, bigint) IS 'Keeps syncs of a competition away until commit. An attempt that runs loses its fence, since it may have read order keys that will change, and is begun anew. Raises no_data_found where the competition is gone or has another link revision.';

CREATE OR REPLACE FUNCTION kaggle_internal.insert_run(run kaggle.sync_runs, competition_id bigint) RETURNS kaggle.sync_runs
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    run.id := nextval('run_ids');
    run.competition_id := insert_run.competition_id;
    run.reason := 'backfill';
    run.started_at := statement_timestamp();
    run.finished_at := clock_timestamp();
    INSERT INTO sync_runs VALUES (run.*);
    RETURN run;
END $$;
COMMENT ON FUNCTION kaggle_internal.insert_run(kaggle.sync_runs, bigint) IS 'Writes the run of a board that no sync has brought. It tells no listener and changes nothing of the sync''s state.';

CREATE OR REPLACE FUNCTION kaggle_internal.append_board(
    board_id bigint, at timestamptz, digest bytea, replaced_characters bigint, key_gap bigint)
RETURNS kaggle.sync_runs
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    board boards;
BEGIN
    IF append_board.at > clock_timestamp() THEN
        RAISE EXCEPTION USING ERRCODE = 'datetime_field_overflow',
            MESSAGE = format('%s lies in the future', append_board.at);
    END IF;
    SELECT * INTO STRICT board FROM boards b WHERE b.id = append_board.board_id;
    RETURN insert_run(
        make_board(board, append_board.at,
                   (SELECT c.history_interval FROM competitions c WHERE c.id = board.competition_id),
                   append_board.digest, append_board.replaced_characters, key_gap),
        board.competition_id);
END $$;
COMMENT ON FUNCTION kaggle_internal.append_board(bigint, timestamptz, bytea, bigint, bigint) IS 'Makes the staged rows the board as of a moment behind all it knows, with a run of its own.';

CREATE OR REPLACE FUNCTION kaggle_internal.open_rebuild(board_id bigint, at timestamptz) RETURNS bigint
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    old boards;
    is_older constant boolean := (SELECT b.observed_from < open_rebuild.at FROM boards b
                                  WHERE b.id = open_rebuild.board_id);
    new_id bigint;
BEGIN
    SELECT * INTO old FROM boards b WHERE b.id = open_rebuild.board_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = 'the competition was deleted meanwhile';
    END IF;
    -- A slug that none can have, until it takes the old board's.
    INSERT INTO boards (competition_id, slug, kind, higher_is_better, teams, digest, observed_from, history_from)
    VALUES (old.competition_id, old.slug || ' rebuilt', old.kind, CASE WHEN is_older THEN known_direction(NULL, old, open_rebuild.at) END, 0,
            CASE WHEN is_older THEN old.digest END, CASE WHEN is_older THEN old.observed_from END, old.history_from)
    RETURNING id INTO new_id;
    IF is_older THEN
        INSERT INTO leaderboard_history (board_id, team_id, order_key, valid_from, valid_until, first_seen_at,
            last_submission_at, submission_count, is_benchmark, score, team_name, member_usernames)
        SELECT new_id, h.team_id, h.order_key, h.valid_from, h.valid_until, h.first_seen_at,
               h.last_submission_at, h.submission_count, h.is_benchmark, h.score, h.team_name, h.member_usernames
        FROM leaderboard_history h WHERE h.board_id = old.id AND h.valid_until <= open_rebuild.at;
        INSERT INTO leaderboard_entries (board_id, team_id, order_key, valid_from, first_seen_at,
            last_submission_at, submission_count, is_benchmark, score, team_name, member_usernames)
        SELECT new_id, v.team_id, v.order_key, v.valid_from, v.first_seen_at,
               v.last_submission_at, v.submission_count, v.is_benchmark, v.score, v.team_name, v.member_usernames
        FROM versions(old.id, open_rebuild.at) v ORDER BY v.order_key;
    END IF;
    RETURN new_id;
END $$;
COMMENT ON FUNCTION kaggle_internal.open_rebuild(bigint, timestamptz) IS 'Begins to write a board anew: another board with what is known until a moment. Returns its id; nobody else sees it before close_rebuild and COMMIT.';

CREATE OR REPLACE FUNCTION kaggle_internal.clear_staging() RETURNS void
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    TRUNCATE pg_temp.staged_rows_1, pg_temp.placed_rows_1;
END $$;
COMMENT ON FUNCTION kaggle_internal.clear_staging() IS 'Empties the staging tables for the next board of the same transaction.';

CREATE OR REPLACE FUNCTION kaggle_internal.stage_known(board_id bigint, at timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    INSERT INTO pg_temp.staged_rows_1
        (rank, team_id, team_name, last_submission_at, score, submission_count, members)
    SELECT coalesce(v.rank, 0), v.team_id, v.team_name, v.last_submission_at, v.score, v.submission_count,
           array_to_string(v.member_usernames, ',')
    FROM versions(stage_known.board_id, stage_known.at) v ORDER BY v.order_key, v.team_id;
END $$;
COMMENT ON FUNCTION kaggle_internal.stage_known(bigint, timestamptz) IS 'Stages a board as it is known at a moment, as if its file had been read again.';

CREATE OR REPLACE FUNCTION kaggle_internal.replay_run(run_id bigint, board_id bigint, at timestamptz, key_gap bigint)
RETURNS void
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    board boards;
    made sync_runs;
BEGIN
    SELECT * INTO STRICT board FROM boards b WHERE b.id = replay_run.board_id;
    made := make_board(board, replay_run.at,
                       (SELECT c.history_interval FROM competitions c WHERE c.id = board.competition_id),
                       coalesce(board.digest, ''), 0, key_gap);
    IF replay_run.run_id IS NULL THEN
        IF made.outcome = 'changed' THEN
            PERFORM insert_run(made, board.competition_id);
        END IF;
        RETURN;
    END IF;
    UPDATE sync_runs r
    SET outcome = made.outcome, added = made.added, removed = made.removed, updated = made.updated, moved = made.moved,
        higher_is_better = made.higher_is_better
    WHERE r.id = replay_run.run_id
      AND (r.outcome, r.added, r.removed, r.updated, r.moved, r.higher_is_better)
          IS DISTINCT FROM (made.outcome, made.added, made.removed, made.updated, made.moved, made.higher_is_better);
    IF made.outcome = 'changed' AND NOT EXISTS (SELECT FROM sync_runs r WHERE r.id = replay_run.run_id) THEN
        RAISE EXCEPTION USING ERRCODE = 'object_in_use',
            MESSAGE = 'a run was pruned meanwhile', HINT = 'Run it again.';
    END IF;
END $$;
COMMENT ON FUNCTION kaggle_internal.replay_run(bigint, bigint, timestamptz, bigint) IS 'Makes the staged rows the board as of a moment at which a run saw it, and has the run say what it changes now that other boards lie before it. Null for a run that was pruned: it gets another one, if it changes something now.';

CREATE OR REPLACE FUNCTION kaggle_internal.close_rebuild(old_id bigint, new_id bigint, known_history_from timestamptz)
RETURNS void
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    old boards;
BEGIN
    -- History before boards, as prune_history takes them.
    DELETE FROM leaderboard_history h WHERE h.board_id = old_id;
    DELETE FROM leaderboard_entries e WHERE e.board_id = old_id;
    DELETE FROM boards b WHERE b.id = old_id RETURNING * INTO old;
    IF old.id IS NULL OR old.history_from IS DISTINCT FROM known_history_from THEN
        RAISE EXCEPTION USING ERRCODE = 'object_in_use',
            MESSAGE = 'the history was pruned meanwhile', HINT = 'Run it again.';
    END IF;
    UPDATE sync_runs r SET board_id = new_id WHERE r.competition_id = old.competition_id AND r.board_id = old_id;
    -- The file that was synced last is the last one still.
    UPDATE boards b SET slug = old.slug, digest = old.digest, observed_at = old.observed_at WHERE b.id = new_id;
    PERFORM refuse_hidden_rows();
END $$;
COMMENT ON FUNCTION kaggle_internal.close_rebuild(bigint, bigint, timestamptz) IS 'Puts a board that was written anew in the place of the old one. The caller holds the competition and has replayed every run. Raises object_in_use if the history was pruned since it was read.';
