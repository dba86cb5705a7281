-- Which change asks for a sync. One statement-level trigger an event, with transition tables: a statement
-- on ten thousand rows asks once, with one job that fans out (kaggle.sweep). A change that means nothing
-- here finds no row in the comparison and costs nothing more.

CREATE OR REPLACE FUNCTION kaggle.ask_for_sync(competition_ids bigint[], reasons text[], priority integer)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kaggle, pg_temp AS $$
BEGIN
    IF coalesce(cardinality(competition_ids), 0) = 0 THEN
        RETURN;
    END IF;
    INSERT INTO sync_requests (competition_id, reason)
    SELECT * FROM unnest(competition_ids, reasons);
    IF cardinality(competition_ids) = 1 THEN
        PERFORM queue_job('sync', competition_ids[1], priority);
    ELSE
        PERFORM queue_job('sweep', NULL, priority);
    END IF;
END $$;
COMMENT ON FUNCTION kaggle.ask_for_sync(bigint[], text[], integer) IS
    'Appends a request for each competition and makes sure that a job comes for them.';


CREATE OR REPLACE FUNCTION kaggle.notice_if_no_worker() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kaggle, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM live_workers()) THEN
        RAISE NOTICE USING MESSAGE = 'no pgleaderboard worker is running',
            DETAIL = 'What was asked for is kept and done when one starts.',
            HINT = 'Start one: pgleaderboard work';
    END IF;
END $$;
COMMENT ON FUNCTION kaggle.notice_if_no_worker() IS 'Says so, where nobody is there to sync.';


CREATE OR REPLACE FUNCTION kaggle.competitions_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kaggle, pg_temp AS $$
DECLARE
    ids bigint[];
BEGIN
    INSERT INTO event_competitions (event_id, competition_id)
    SELECT n.event_id, n.id FROM new_rows n WHERE n.event_id IS NOT NULL
    ON CONFLICT DO NOTHING;

    SELECT array_agg(n.id ORDER BY n.id) INTO ids FROM new_rows n
    WHERE n.kaggle_competition_id IS NOT NULL AND n.status = 'ongoing' AND n.auto_sync;
    IF ids IS NOT NULL THEN
        PERFORM ask_for_sync(ids, array_fill('inserted'::text, ARRAY[cardinality(ids)]), 5);
        PERFORM notice_if_no_worker();
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION kaggle.competitions_inserted() IS
    'Trigger: a competition with a Kaggle id that is ongoing is synced at once.';

CREATE OR REPLACE TRIGGER competitions_inserted AFTER INSERT ON kaggle.competitions
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION kaggle.competitions_inserted();
COMMENT ON TRIGGER competitions_inserted ON kaggle.competitions IS 'Asks for the first sync; links the event.';


CREATE OR REPLACE FUNCTION kaggle.competitions_updated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kaggle, pg_temp
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
              WHEN n.status = 'completed' AND o.status <> 'completed' THEN 'completed'
              WHEN n.status = 'ongoing' AND n.sync_interval <> o.sync_interval THEN 'interval'
              WHEN n.status = 'ongoing' AND current_setting('kaggle.filling', true) IS DISTINCT FROM 'on'
                   AND EXISTS (SELECT FROM sync_state s
                               WHERE s.competition_id = n.id AND s.consecutive_failures > 0) THEN 'edited'
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
    PERFORM ask_for_sync(ids, reasons, 5);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION kaggle.competitions_updated() IS
    'Trigger: asks for a sync when a competition becomes ongoing, is linked, switched on or completed, gets another interval, or was failing and is edited. What is switched off is dropped when its job comes.';

CREATE OR REPLACE TRIGGER competitions_updated AFTER UPDATE ON kaggle.competitions
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION kaggle.competitions_updated();
COMMENT ON TRIGGER competitions_updated ON kaggle.competitions IS 'Asks for a sync where the change wants one; keeps the event link.';


CREATE OR REPLACE FUNCTION kaggle.competitions_deleted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kaggle, pg_temp AS $$
DECLARE
    ids bigint[];
BEGIN
    SELECT array_agg(o.id ORDER BY o.id) INTO ids FROM old_rows o;
    PERFORM ask_for_sync(ids, array_fill('deleted'::text, ARRAY[cardinality(ids)]), 5);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION kaggle.competitions_deleted() IS
    'Trigger: has the worker remove the board, history and runs of what was deleted.';

CREATE OR REPLACE TRIGGER competitions_deleted AFTER DELETE ON kaggle.competitions
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION kaggle.competitions_deleted();
COMMENT ON TRIGGER competitions_deleted ON kaggle.competitions IS 'Has the worker remove what hangs on them.';


CREATE OR REPLACE FUNCTION kaggle.competitions_truncated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kaggle, pg_temp AS $$
BEGIN
    TRUNCATE sync_state, sync_requests, sync_runs, boards, leaderboard_entries, leaderboard_history;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION kaggle.competitions_truncated() IS
    'Trigger: removes everything that hangs on competitions at once; with RESTART IDENTITY their numbers come again.';

CREATE OR REPLACE TRIGGER competitions_truncated AFTER TRUNCATE ON kaggle.competitions
    FOR EACH STATEMENT EXECUTE FUNCTION kaggle.competitions_truncated();
COMMENT ON TRIGGER competitions_truncated ON kaggle.competitions IS 'Removes everything that hangs on them.';


CREATE OR REPLACE FUNCTION kaggle.tell_status() RETURNS void
LANGUAGE sql SET search_path = kaggle, pg_temp AS $$
    SELECT pg_notify('kaggle_status', '{"type": "status"}')
$$;
COMMENT ON FUNCTION kaggle.tell_status() IS
    'Tells who watches kaggle.sync_status, on the channel kaggle_status, that something else than a board has changed.';

CREATE OR REPLACE FUNCTION kaggle.competitions_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kaggle, pg_temp AS $$
BEGIN
    PERFORM tell_status();
    RETURN NULL;
END $$;
COMMENT ON FUNCTION kaggle.competitions_changed() IS 'Trigger: tells who watches the status.';

CREATE OR REPLACE TRIGGER competitions_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON kaggle.competitions
    FOR EACH STATEMENT EXECUTE FUNCTION kaggle.competitions_changed();
COMMENT ON TRIGGER competitions_changed ON kaggle.competitions IS 'Tells who watches the status.';


CREATE OR REPLACE FUNCTION kaggle.sync_now(kaggle_competition_id text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kaggle, pg_temp AS $$
BEGIN
    PERFORM ask_for_sync(ARRAY[find_competition(sync_now.kaggle_competition_id)], ARRAY['manual'], 10);
    PERFORM notice_if_no_worker();
END $$;
COMMENT ON FUNCTION kaggle.sync_now(text) IS
    'Asks for a sync now, whatever the status, ahead of what was not asked for by hand. Takes a slug or a URL; begins when the caller commits.';
