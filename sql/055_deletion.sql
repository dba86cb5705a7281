-- A competition that was deleted, or a board that was dropped: what hung on it goes, in chunks, and only that.
--
--   DELETE    notes the link revision that the row had, in sync_requests
--   TRUNCATE  notes one revision for all competitions
--   neither   (a row that is missing) is noted in sync_state, and believed an hour later
--
-- A row that is inserted again under the same id has a later revision, and so nothing of the one before. The boards are
-- detached first: nobody sees them from then on, and the row that comes next begins boards of its own.

CREATE OR REPLACE FUNCTION kaggle_internal.deleted_until(competition_id bigint) RETURNS bigint
LANGUAGE sql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT max(r.link_revision) FROM sync_requests r
    WHERE r.reason = 'deleted' AND (r.competition_id = deleted_until.competition_id OR r.competition_id IS NULL)
$$;
COMMENT ON FUNCTION kaggle_internal.deleted_until(bigint) IS 'The link revision up to which rows with this id were deleted, as far as that is still to be acted on; null = none was.';

CREATE OR REPLACE FUNCTION kaggle_internal.grace_for_missing() RETURNS interval
LANGUAGE sql IMMUTABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$ SELECT interval '1 hour' $$;
COMMENT ON FUNCTION kaggle_internal.grace_for_missing() IS 'How long a competition may be missing, without a trigger that saw its deletion, before it counts as deleted.';

CREATE OR REPLACE FUNCTION kaggle_internal.is_deleted(state kaggle_internal.sync_state) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    until constant bigint := deleted_until(state.competition_id);
    -- The row that has the id now; a later revision than a deleted one is another row, the same is back, as by a restore.
    revision constant bigint := (SELECT c.link_revision FROM competitions c WHERE c.id = state.competition_id);
    is_gone constant boolean := revision IS NULL AND NOT row_security_active('kaggle.competitions');
BEGIN
    IF until >= coalesce(state.link_revision, 0) THEN
        RETURN is_gone OR coalesce(revision > until, false);
    END IF;
    RETURN is_gone AND coalesce(state.missing_since + grace_for_missing() < clock_timestamp(), false);
END $$;
COMMENT ON FUNCTION kaggle_internal.is_deleted(kaggle_internal.sync_state) IS 'Whether the competition that this state belongs to was deleted: a trigger saw it, or the row has been missing for an hour. There may be another row with its id by now; the same row is back where its revision was deleted.';

CREATE OR REPLACE FUNCTION kaggle_internal.remove_deleted(competition_id bigint, at_most integer DEFAULT 10000)
RETURNS boolean
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    state sync_state;
    requests bigint[];       -- of the deleted row
    has_runs boolean;
BEGIN
    SELECT * INTO state FROM sync_state s WHERE s.competition_id = remove_deleted.competition_id FOR UPDATE;
    requests := ARRAY(
        SELECT r.id FROM sync_requests r
        WHERE r.competition_id = remove_deleted.competition_id
          AND coalesce(r.link_revision <= deleted_until(r.competition_id), true));
    IF state.competition_id IS NULL OR state.running_run_id IS NOT NULL OR NOT is_deleted(state) THEN
        RETURN false;
    END IF;
    UPDATE boards b SET competition_id = NULL WHERE b.competition_id = remove_deleted.competition_id;
    DELETE FROM sync_runs WHERE id = ANY (ARRAY(
        SELECT r.id FROM sync_runs r WHERE r.competition_id = remove_deleted.competition_id LIMIT at_most));
    has_runs := EXISTS (SELECT FROM sync_runs r WHERE r.competition_id = remove_deleted.competition_id);
    PERFORM refuse_hidden_rows();
    IF has_runs THEN
        RETURN true;
    END IF;
    DELETE FROM sync_requests r WHERE r.id = ANY (requests);
    DELETE FROM sync_state s WHERE s.competition_id = remove_deleted.competition_id;
    PERFORM queue_job('remove', NULL, -5);
    IF EXISTS (SELECT FROM competitions c WHERE c.id = remove_deleted.competition_id) THEN
        PERFORM queue_job('sync', remove_deleted.competition_id, 5);       -- another row with the same id
    END IF;
    RETURN false;
END $$;
COMMENT ON FUNCTION kaggle_internal.remove_deleted(bigint, integer) IS 'Detaches the boards of a deleted competition, and removes at most so many of its runs, at last its state and requests. True: call it again. The boards are left to kaggle_internal.remove_detached.';

CREATE OR REPLACE FUNCTION kaggle_internal.remove_detached(at_most integer DEFAULT 10000) RETURNS boolean
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    target bigint;
    removed bigint;
BEGIN
    SELECT b.id INTO target FROM boards b WHERE b.competition_id IS NULL ORDER BY b.id LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE sync_runs SET board_id = NULL WHERE id = ANY (ARRAY(
        SELECT r.id FROM sync_runs r WHERE r.board_id = target LIMIT at_most));
    DELETE FROM packs WHERE ctid = ANY (ARRAY(
        SELECT p.ctid FROM packs p WHERE p.board_id = target LIMIT greatest(1, at_most / 100)));     -- a pack may hold a whole board
    DELETE FROM past_names WHERE ctid = ANY (ARRAY(
        SELECT n.ctid FROM past_names n WHERE n.board_id = target LIMIT at_most));
    GET DIAGNOSTICS removed = ROW_COUNT;
    DELETE FROM leaderboard_entries WHERE ctid = ANY (ARRAY(
        SELECT e.ctid FROM leaderboard_entries e WHERE e.board_id = target LIMIT at_most - removed));
    DELETE FROM boards b
    WHERE b.id = target
      AND NOT EXISTS (SELECT FROM sync_runs r WHERE r.board_id = target)
      AND NOT EXISTS (SELECT FROM packs p WHERE p.board_id = target)
      AND NOT EXISTS (SELECT FROM past_names n WHERE n.board_id = target)
      AND NOT EXISTS (SELECT FROM leaderboard_entries e WHERE e.board_id = target);
    PERFORM refuse_hidden_rows();
    RETURN true;
END $$;
COMMENT ON FUNCTION kaggle_internal.remove_detached(integer) IS 'Removes at most so many rows of a board that was dropped, or whose competition was deleted, a hundredth of them packs, and the board itself when it is empty. True: call it again. Boards that another session removes are passed over.';

CREATE OR REPLACE FUNCTION kaggle_internal.drop_at_commit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    -- A sync that runs meanwhile begins the board anew (kaggle_internal.board_for).
    UPDATE boards b SET competition_id = NULL WHERE b.id = NEW.board_id;
    DELETE FROM boards_to_drop d WHERE d.board_id = NEW.board_id AND d.asked_in = NEW.asked_in;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION kaggle_internal.drop_at_commit() IS 'Trigger: detaches a board that is to be dropped.';

DROP TRIGGER IF EXISTS drop_at_commit ON kaggle_internal.boards_to_drop;
CREATE CONSTRAINT TRIGGER drop_at_commit AFTER INSERT ON kaggle_internal.boards_to_drop
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION kaggle_internal.drop_at_commit();
COMMENT ON TRIGGER drop_at_commit ON kaggle_internal.boards_to_drop IS 'Detaches the board at the commit.';

CREATE OR REPLACE FUNCTION kaggle.drop_board(kaggle_competition_id text, kind text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    competition competitions;
    board boards;
BEGIN
    SELECT * INTO STRICT competition FROM competitions c WHERE c.id = find_competition(drop_board.kaggle_competition_id);
    board := linked_board(competition, drop_board.kind);
    IF board.id IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found',
            MESSAGE = format('%s has no board of kind %L', competition.kaggle_competition_id, drop_board.kind),
            HINT = 'A board is public or private.';
    END IF;
    INSERT INTO boards_to_drop (board_id) VALUES (board.id) ON CONFLICT DO NOTHING;
    PERFORM queue_job('remove', NULL, -5);
    PERFORM tell_status();
END $$;
COMMENT ON FUNCTION kaggle.drop_board(text, text) IS 'Takes a mistaken board of a competition out, with its past, at the commit: nobody sees it from then on, and the worker removes its rows. kind: public or private. Runs stay, final standings keep what they rest on. While Kaggle still sends that board, the next sync brings it again.';

-- Plans are kept from a session's first calls, when little was there; nested loops would compare all with all later.
CREATE OR REPLACE FUNCTION kaggle_internal.truncated_states() RETURNS TABLE (competition_id bigint)
LANGUAGE sql STABLE ROWS 10 SET search_path = kaggle, kaggle_internal, pg_temp SET enable_nestloop = off AS $$
    WITH truncation AS MATERIALIZED (
        SELECT max(r.link_revision) AS until FROM sync_requests r
        WHERE r.reason = 'deleted' AND r.competition_id IS NULL
    )
    SELECT s.competition_id FROM sync_state s LEFT JOIN competitions c ON c.id = s.competition_id
    WHERE coalesce(s.link_revision, 0) <= (SELECT until FROM truncation)
      AND (c.link_revision > (SELECT until FROM truncation)
           OR c.id IS NULL AND (SELECT NOT row_security_active('kaggle.competitions')))
$$;
COMMENT ON FUNCTION kaggle_internal.truncated_states() IS 'States that are left from before kaggle.competitions was truncated, whose rows have not been brought back.';

CREATE OR REPLACE FUNCTION kaggle_internal.note_missing() RETURNS SETOF bigint
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp SET enable_nestloop = off AS $$
BEGIN
    -- A truncation has been acted on when no state is left from before it.
    DELETE FROM sync_requests r
    WHERE r.competition_id IS NULL AND NOT EXISTS (SELECT FROM truncated_states() s)
      AND NOT row_security_active('kaggle.competitions');
    RETURN QUERY
    WITH changed AS (
        SELECT s.competition_id FROM sync_state s LEFT JOIN competitions c ON c.id = s.competition_id
        WHERE (c.id IS NULL) <> (s.missing_since IS NOT NULL)
          AND NOT EXISTS (SELECT FROM sync_requests r WHERE r.reason = 'deleted' AND r.competition_id = s.competition_id)
          AND NOT EXISTS (SELECT FROM sync_requests r WHERE r.reason = 'deleted' AND r.competition_id IS NULL)
          AND (SELECT NOT row_security_active('kaggle.competitions'))
        FOR UPDATE OF s SKIP LOCKED
    ), noted AS (
        UPDATE sync_state s SET missing_since = CASE WHEN s.missing_since IS NULL THEN clock_timestamp() END
        FROM changed c WHERE s.competition_id = c.competition_id
        RETURNING s.competition_id, s.missing_since, s.link_revision
    )
    SELECT n.competition_id FROM noted n WHERE n.missing_since IS NOT NULL AND n.link_revision IS NOT NULL;
END $$;
COMMENT ON FUNCTION kaggle_internal.note_missing() IS 'Notes since when competitions are missing whose deletion no trigger saw, takes the note back where they are there again, and returns those newly noted.';
