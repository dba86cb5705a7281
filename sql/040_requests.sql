-- Which change asks for a sync. One statement-level trigger an event, with transition tables: a statement
-- on ten thousand rows asks once, with one job that fans out (kaggle_internal.sweep). A change that means nothing
-- here finds no row in the comparison and costs nothing more.

CREATE OR REPLACE FUNCTION kaggle_internal.queue_syncs(competition_ids bigint[], priority integer) RETURNS void
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    IF cardinality(competition_ids) = 1 THEN
        PERFORM queue_job('sync', competition_ids[1], priority);
    ELSIF cardinality(competition_ids) > 1 THEN
        PERFORM queue_job('sweep', NULL, priority);
    END IF;
END $$;
COMMENT ON FUNCTION kaggle_internal.queue_syncs(bigint[], integer) IS 'Makes sure that a job comes for the requests of these competitions; null or an empty array is none.';

CREATE OR REPLACE FUNCTION kaggle_internal.ask_for_sync(competition_ids bigint[], reasons text[], priority integer)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    INSERT INTO sync_requests (competition_id, reason, link_revision)
    SELECT a.id, a.reason, c.link_revision
    FROM unnest(competition_ids, reasons) AS a (id, reason) LEFT JOIN competitions c ON c.id = a.id ORDER BY a.id;
    PERFORM queue_syncs(competition_ids, priority);
END $$;
COMMENT ON FUNCTION kaggle_internal.ask_for_sync(bigint[], text[], integer) IS 'Appends a request for each competition, each with its reason, and makes sure that a job comes for them.';

CREATE OR REPLACE FUNCTION kaggle_internal.ask_for_boards_at_end(competition_ids bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    ids constant bigint[] := ARRAY(SELECT c.id FROM competitions c
                                   WHERE c.id = ANY (competition_ids) AND request_holds('event_ended', c) ORDER BY c.id);
BEGIN
    PERFORM ask_for_sync(ids, array_fill('event_ended'::text, ARRAY[cardinality(ids)]), 8);
END $$;
COMMENT ON FUNCTION kaggle_internal.ask_for_boards_at_end(bigint[]) IS 'Asks for the boards of the competitions of an event that has ended, ahead of all that was not asked for by hand.';

CREATE OR REPLACE FUNCTION kaggle_internal.notice_if_no_worker() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM live_workers()) THEN
        RAISE NOTICE USING MESSAGE = 'no pgleaderboard worker is running',
            DETAIL = 'What was asked for is kept and done when one starts.',
            HINT = 'Start one: pgleaderboard work';
    END IF;
END $$;
COMMENT ON FUNCTION kaggle_internal.notice_if_no_worker() IS 'Says so, where nobody is there to sync.';

CREATE OR REPLACE FUNCTION kaggle_internal.competitions_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    ids bigint[];
    reasons text[];
BEGIN
    INSERT INTO event_competitions (event_id, competition_id)
    SELECT n.event_id, n.id FROM new_rows n WHERE n.event_id IS NOT NULL
    ON CONFLICT DO NOTHING;

    SELECT array_agg(n.id ORDER BY n.id),
           array_agg(CASE n.status WHEN 'ongoing' THEN 'inserted' ELSE 'completed' END ORDER BY n.id)
    INTO ids, reasons FROM new_rows n
    WHERE n.kaggle_competition_id IS NOT NULL AND n.status IN ('ongoing', 'completed') AND n.auto_sync;
    IF ids IS NOT NULL THEN
        PERFORM ask_for_sync(ids, reasons, 5);
        PERFORM notice_if_no_worker();
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION kaggle_internal.competitions_inserted() IS 'Trigger: a competition with a Kaggle id that is ongoing or completed is synced at once.';

CREATE OR REPLACE TRIGGER competitions_inserted AFTER INSERT ON kaggle.competitions
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION kaggle_internal.competitions_inserted();
COMMENT ON TRIGGER competitions_inserted ON kaggle.competitions IS 'Asks for the first sync; links the event.';

CREATE OR REPLACE FUNCTION kaggle_internal.competitions_updated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp
-- The plan is kept from a session's first call, often for one row; a nested loop would compare all with all later.
SET enable_nestloop = off AS $$
DECLARE
    ids bigint[];
    reasons text[];
    relinked bigint;
BEGIN
    -- One pass over both tables: an EXISTS would be planned for its first row, and compare every row with every other.
    SELECT array_agg(id ORDER BY id) FILTER (WHERE reason IS NOT NULL),
           array_agg(reason ORDER BY id) FILTER (WHERE reason IS NOT NULL),
           count(*) FILTER (WHERE has_other_event)
    INTO ids, reasons, relinked
    FROM (SELECT n.id, n.event_id IS DISTINCT FROM o.event_id AS has_other_event, CASE
              WHEN n.kaggle_competition_id IS NULL OR NOT n.auto_sync THEN NULL
              WHEN n.status = 'ongoing' AND n.link_revision <> o.link_revision THEN 'linked'
              WHEN n.status = 'ongoing' AND o.status <> 'ongoing' THEN 'ongoing'
              WHEN n.status = 'ongoing' AND NOT o.auto_sync THEN 'auto_sync'
              -- Kaggle tells an end that lies before the last sync, which saw the board of after it.
              WHEN n.status = 'completed' AND current_setting('kaggle.filling', true) = 'on'
                   AND n.end_date IS DISTINCT FROM o.end_date
                   AND EXISTS (SELECT FROM sync_state s
                               WHERE s.competition_id = n.id AND s.link_revision = n.link_revision
                                 AND s.last_attempt_at >= n.end_date AND s.last_success_at >= s.last_attempt_at) THEN NULL
              WHEN n.status = 'completed'
                   AND (o.status <> 'completed' OR n.link_revision <> o.link_revision OR NOT o.auto_sync) THEN 'completed'
              WHEN n.status = 'ongoing' AND n.sync_interval <> o.sync_interval THEN 'interval'
              WHEN n.status = 'ongoing' AND current_setting('kaggle.filling', true) IS DISTINCT FROM 'on'
                   AND EXISTS (SELECT FROM sync_state s
                               WHERE s.competition_id = n.id AND s.consecutive_failures > 0) THEN 'edited'
              -- An event that has ended waits for the board of one that is not synced by itself.
              WHEN (n.link_revision <> o.link_revision OR NOT o.auto_sync)
                   AND n.id IN (SELECT x.competition_id FROM event_competitions x JOIN events e ON e.id = x.event_id
                                WHERE e.end_date <= clock_timestamp()) THEN 'event_ended'
          END AS reason
          FROM new_rows n JOIN old_rows o USING (id)) AS change;
    IF relinked > 0 THEN
        DELETE FROM event_competitions e USING new_rows n JOIN old_rows o USING (id)
        WHERE e.competition_id = n.id AND e.event_id = o.event_id
          AND n.event_id IS DISTINCT FROM o.event_id;
        INSERT INTO event_competitions (event_id, competition_id)
        SELECT n.event_id, n.id FROM new_rows n JOIN old_rows o USING (id)
        WHERE n.event_id IS DISTINCT FROM o.event_id AND n.event_id IS NOT NULL
        ON CONFLICT DO NOTHING;
    END IF;
    PERFORM keep_board_at_freeze(e, o::competitions)
    FROM old_rows o JOIN new_rows n USING (id)
    JOIN event_competitions x ON x.competition_id = o.id JOIN events e ON e.id = x.event_id
    WHERE n.kaggle_deadline IS DISTINCT FROM o.kaggle_deadline;
    PERFORM ask_for_sync(ids, reasons, 5);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION kaggle_internal.competitions_updated() IS 'Trigger: notes what frozen events show before Kaggle''s deadline moves; asks for a sync when a competition becomes ongoing, is linked, switched on or completed, gets another interval, or was failing and is edited; of an upcoming one when it is linked or switched on in an event that has ended. What is switched off is dropped when its job comes.';

CREATE OR REPLACE TRIGGER competitions_updated AFTER UPDATE ON kaggle.competitions
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION kaggle_internal.competitions_updated();
COMMENT ON TRIGGER competitions_updated ON kaggle.competitions IS 'Asks for a sync where the change wants one; keeps the event link.';

CREATE OR REPLACE FUNCTION kaggle_internal.competitions_deleted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    INSERT INTO sync_requests (competition_id, reason, link_revision)
    SELECT o.id, 'deleted', o.link_revision FROM old_rows o ORDER BY o.id;
    PERFORM queue_syncs(array_agg(o.id), 5) FROM old_rows o;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION kaggle_internal.competitions_deleted() IS 'Trigger: notes the link revisions that were deleted, and has the worker remove the boards, history and runs of them.';

CREATE OR REPLACE TRIGGER competitions_deleted AFTER DELETE ON kaggle.competitions
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION kaggle_internal.competitions_deleted();
COMMENT ON TRIGGER competitions_deleted ON kaggle.competitions IS 'Has the worker remove what hangs on them.';

CREATE OR REPLACE FUNCTION kaggle_internal.competitions_truncated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    INSERT INTO sync_requests (reason, link_revision) VALUES ('deleted', nextval('link_revisions'));
    PERFORM queue_job('sweep', NULL, 5);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION kaggle_internal.competitions_truncated() IS 'Trigger: notes in one row the link revision up to which everything was deleted, and has the worker remove it. It takes no lock that a sync could hold; ids that come again (RESTART IDENTITY) come with later revisions.';

CREATE OR REPLACE TRIGGER competitions_truncated AFTER TRUNCATE ON kaggle.competitions
    FOR EACH STATEMENT EXECUTE FUNCTION kaggle_internal.competitions_truncated();
COMMENT ON TRIGGER competitions_truncated ON kaggle.competitions IS 'Has the worker remove what hangs on them.';

CREATE OR REPLACE FUNCTION kaggle_internal.event_competitions_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    PERFORM ask_for_boards_at_end(ARRAY(
        SELECT DISTINCT n.competition_id FROM new_rows n JOIN events e ON e.id = n.event_id
        WHERE e.end_date <= clock_timestamp()));
    RETURN NULL;
END $$;
COMMENT ON FUNCTION kaggle_internal.event_competitions_inserted() IS 'Trigger: a competition that is linked to an event that has ended is synced.';

CREATE OR REPLACE TRIGGER event_competitions_inserted AFTER INSERT ON kaggle.event_competitions
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION kaggle_internal.event_competitions_inserted();
COMMENT ON TRIGGER event_competitions_inserted ON kaggle.event_competitions IS 'Asks for a sync where the event has ended.';

CREATE OR REPLACE FUNCTION kaggle_internal.event_competitions_updated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    PERFORM ask_for_boards_at_end(ARRAY(
        SELECT DISTINCT l.competition_id
        FROM (SELECT n.event_id, n.competition_id FROM new_rows n EXCEPT SELECT o.event_id, o.competition_id FROM old_rows o) l
        JOIN events e ON e.id = l.event_id
        WHERE e.end_date <= clock_timestamp()));
    RETURN NULL;
END $$;
COMMENT ON FUNCTION kaggle_internal.event_competitions_updated() IS 'Trigger: a competition whose link is moved to an event that has ended is synced.';

CREATE OR REPLACE TRIGGER event_competitions_updated AFTER UPDATE ON kaggle.event_competitions
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION kaggle_internal.event_competitions_updated();
COMMENT ON TRIGGER event_competitions_updated ON kaggle.event_competitions IS 'Asks for a sync where a link is moved to an event that has ended.';

CREATE OR REPLACE FUNCTION kaggle_internal.events_updated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    PERFORM keep_board_at_freeze(o::events, c)
    FROM old_rows o JOIN new_rows n USING (id)
    JOIN event_competitions x ON x.event_id = o.id JOIN competitions c ON c.id = x.competition_id
    WHERE (n.end_date, n.counts_private) IS DISTINCT FROM (o.end_date, o.counts_private);
    DELETE FROM boards_at_freeze k USING old_rows o JOIN new_rows n USING (id)
    WHERE k.event_id = o.id AND n.frozen_at IS DISTINCT FROM o.frozen_at;
    UPDATE competitions c
    SET start_date = nullif(c.start_date, c.start_date_filled), end_date = nullif(c.end_date, c.end_date_filled)
    FROM new_rows n JOIN old_rows o USING (id)
    WHERE (n.start_date, n.end_date) IS DISTINCT FROM (o.start_date, o.end_date)
      AND c.event_id = n.id
      AND (c.start_date IS NOT DISTINCT FROM c.start_date_filled OR c.end_date IS NOT DISTINCT FROM c.end_date_filled);
    PERFORM ask_for_boards_at_end(ARRAY(
        SELECT DISTINCT x.competition_id
        FROM new_rows n JOIN old_rows o USING (id) JOIN event_competitions x ON x.event_id = n.id
        WHERE n.end_date <= n.dates_checked_at
          AND (n.end_date > o.dates_checked_at OR n.end_date IS DISTINCT FROM o.end_date)));
    RETURN NULL;
END $$;
COMMENT ON FUNCTION kaggle_internal.events_updated() IS 'Trigger: a freeze shows what it did before dates move; competitions follow dates that were moved; at an end all are synced.';

CREATE OR REPLACE TRIGGER events_updated AFTER UPDATE ON kaggle.events
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION kaggle_internal.events_updated();
COMMENT ON TRIGGER events_updated ON kaggle.events IS 'Has competitions follow the dates, and asks for their boards at the end.';

CREATE OR REPLACE FUNCTION kaggle_internal.tell_status() RETURNS void
LANGUAGE sql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT pg_notify('kaggle_status', '{"type": "status"}')
$$;
COMMENT ON FUNCTION kaggle_internal.tell_status() IS 'Tells who watches a screen, on the channel kaggle_status, that something else than a board has changed.';

CREATE OR REPLACE FUNCTION kaggle_internal.tell_changes() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    PERFORM tell_status();
    RETURN NULL;
END $$;
COMMENT ON FUNCTION kaggle_internal.tell_changes() IS 'Trigger: tells who watches a screen.';

CREATE OR REPLACE TRIGGER tell_changes AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON kaggle.competitions
    FOR EACH STATEMENT EXECUTE FUNCTION kaggle_internal.tell_changes();
COMMENT ON TRIGGER tell_changes ON kaggle.competitions IS 'Tells who watches a screen.';

CREATE OR REPLACE TRIGGER tell_changes AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON kaggle.events
    FOR EACH STATEMENT EXECUTE FUNCTION kaggle_internal.tell_changes();
COMMENT ON TRIGGER tell_changes ON kaggle.events IS 'Tells who watches a screen.';

CREATE OR REPLACE TRIGGER tell_changes AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON kaggle.event_competitions
    FOR EACH STATEMENT EXECUTE FUNCTION kaggle_internal.tell_changes();
COMMENT ON TRIGGER tell_changes ON kaggle.event_competitions IS 'Tells who watches a screen.';

CREATE OR REPLACE TRIGGER tell_changes AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON kaggle.participants
    FOR EACH STATEMENT EXECUTE FUNCTION kaggle_internal.tell_changes();
COMMENT ON TRIGGER tell_changes ON kaggle.participants IS 'Tells who watches a screen.';

CREATE OR REPLACE TRIGGER tell_changes AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON kaggle.event_participants
    FOR EACH STATEMENT EXECUTE FUNCTION kaggle_internal.tell_changes();
COMMENT ON TRIGGER tell_changes ON kaggle.event_participants IS 'Tells who watches a screen.';

CREATE OR REPLACE FUNCTION kaggle_internal.refuse_standby() RETURNS void
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION USING ERRCODE = 'read_only_sql_transaction',
            MESSAGE = format('%s is a standby, which takes no writes',
                             coalesce(host(inet_server_addr()) || ':' || inet_server_port(), 'this server')),
            HINT = 'Connect to the primary.';
    END IF;
END $$;
COMMENT ON FUNCTION kaggle_internal.refuse_standby() IS 'Names the server, where it cannot be written to.';

CREATE OR REPLACE FUNCTION kaggle.sync_now(kaggle_competition_id text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    PERFORM refuse_standby();
    PERFORM ask_for_sync(ARRAY[find_competition(sync_now.kaggle_competition_id)], ARRAY['manual'], 10);
    PERFORM notice_if_no_worker();
END $$;
COMMENT ON FUNCTION kaggle.sync_now(text) IS 'Asks for a sync now, whatever the status, ahead of what was not asked for by hand. Takes a slug or a URL; begins when the caller commits.';
