-- Worker processes: what each was configured with, and whether it is alive.

CREATE OR REPLACE FUNCTION kaggle_internal.presence_key() RETURNS integer
LANGUAGE sql IMMUTABLE SET search_path = kaggle, kaggle_internal, pg_temp AS 'SELECT 1801545580';
COMMENT ON FUNCTION kaggle_internal.presence_key() IS 'First half of the advisory lock that a worker''s direct connection holds; the second half is its id.';

CREATE OR REPLACE FUNCTION kaggle_internal.heard_until() RETURNS timestamptz
LANGUAGE sql VOLATILE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    -- While WAL comes in and all of it is replayed, silence means that the primary has written nothing.
    SELECT CASE WHEN pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn() AND EXISTS (SELECT FROM pg_stat_wal_receiver)
           THEN clock_timestamp() ELSE coalesce(pg_last_xact_replay_timestamp(), clock_timestamp()) END
$$;
COMMENT ON FUNCTION kaggle_internal.heard_until() IS 'Up to when a standby knows what its primary did: the moment of the last transaction that it has replayed, now where it has replayed all that it received and receives more.';

CREATE OR REPLACE FUNCTION kaggle_internal.is_alive(worker kaggle_internal.worker_processes) RETURNS boolean
LANGUAGE sql VOLATILE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    -- A standby has no locks of the primary's sessions.
    SELECT CASE WHEN pg_is_in_recovery() THEN worker.seen_at > heard_until() - interval '30 seconds'
           ELSE worker.seen_at > clock_timestamp() - interval '30 seconds'
                AND EXISTS (SELECT FROM pg_locks l
                            WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
                              AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                              AND l.classid = presence_key()::oid AND l.objid = worker.id::oid) END
$$;
COMMENT ON FUNCTION kaggle_internal.is_alive(kaggle_internal.worker_processes) IS 'Whether a worker''s connection holds its lock and its heartbeat is younger than 30 s; on a standby, whether its heartbeat was as of what the standby has heard.';

CREATE OR REPLACE FUNCTION kaggle_internal.live_workers()
RETURNS TABLE (id bigint, version text, started_at timestamptz, seen_at timestamptz, problem text)
LANGUAGE sql VOLATILE SECURITY DEFINER ROWS 5 SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    WITH alive AS MATERIALIZED (SELECT * FROM worker_processes w WHERE is_alive(w))
    SELECT w.id, w.version, w.started_at, w.seen_at, coalesce(
        (SELECT format('PGLEADERBOARD_REQUESTS_PER_MINUTE is %s here and %s at worker %s, which has the same credential',
                       w.requests_per_minute, o.requests_per_minute, o.id)
         FROM alive o WHERE o.credential = w.credential AND o.requests_per_minute <> w.requests_per_minute
         ORDER BY o.id LIMIT 1),
        (SELECT format('the settings PGLEADERBOARD_AFTER_END_… are others than those of worker %s', o.id)
         FROM alive o WHERE o.follow_up <> w.follow_up ORDER BY o.id LIMIT 1))
    FROM alive w
$$;
COMMENT ON FUNCTION kaggle_internal.live_workers() IS 'The workers that are alive; for people, who see no credential here. problem: what a worker was configured with contradicts another one.';

CREATE OR REPLACE FUNCTION kaggle_internal.timeline() RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    -- pg_control_checkpoint() tells the old one until the first checkpoint after a promotion.
    RETURN left(pg_walfile_name(pg_current_wal_insert_lsn()), 8);
EXCEPTION WHEN feature_not_supported OR insufficient_privilege OR undefined_function THEN
    RETURN '';         -- managed databases on storage of their own, which loses nothing
END $$;
COMMENT ON FUNCTION kaggle_internal.timeline() IS 'The timeline of this server''s WAL. A standby that is promoted begins another one.';

CREATE OR REPLACE FUNCTION kaggle_internal.is_on_known_timeline() RETURNS boolean
LANGUAGE sql VOLATILE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT EXISTS (SELECT FROM known_timeline k WHERE k.timeline = timeline())
$$;
COMMENT ON FUNCTION kaggle_internal.is_on_known_timeline() IS 'Whether a worker has registered since this server became the primary. Until then no attempt begins or ends.';

CREATE OR REPLACE FUNCTION kaggle_internal.follow_timeline() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    INSERT INTO known_timeline (timeline) SELECT timeline() WHERE NOT EXISTS (SELECT FROM known_timeline)
    ON CONFLICT DO NOTHING;
    UPDATE known_timeline k SET timeline = timeline() WHERE k.timeline <> timeline();
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- Two servers that are promoted one after the other, neither knowing of the other, both take the same timeline:
    -- the milliseconds of the clock give the later one other, and but for one second in a thousand larger, numbers.
    PERFORM setval(s.name, nextval(s.name) + 1000000 + (extract(epoch FROM clock_timestamp()) * 1000)::bigint % 1000000)
    FROM unnest(ARRAY['run_ids', 'link_revisions', pg_get_serial_sequence('kaggle.boards', 'id'),
                      pg_get_serial_sequence('kaggle_internal.sync_requests', 'id'),
                      pg_get_serial_sequence('kaggle_internal.worker_processes', 'id')]::regclass[]) AS s (name);
    RETURN true;
END $$;
COMMENT ON FUNCTION kaggle_internal.follow_timeline() IS 'On a new timeline moves the numbers of runs, requests, link revisions, workers and boards ahead by 1,000,000 and the milliseconds of the clock, modulo 1,000,000: the server may have been promoted without the transactions that took the last ones, which clients have seen. Returns whether it is a new one.';

CREATE OR REPLACE FUNCTION kaggle_internal.register_worker(
    version text, credential text, requests_per_minute integer DEFAULT 0, follow_up interval[] DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    new_id bigint;
BEGIN
    IF follow_timeline() THEN
        PERFORM abandon_runs(NULL);
    END IF;
    INSERT INTO worker_processes (version, credential, requests_per_minute, follow_up)
    VALUES (register_worker.version, register_worker.credential, register_worker.requests_per_minute,
            register_worker.follow_up) RETURNING id INTO new_id;
    PERFORM pg_advisory_lock(presence_key(), new_id::integer);
    PERFORM tell_status();
    RETURN new_id;
END $$;
COMMENT ON FUNCTION kaggle_internal.register_worker(text, text, integer, interval[]) IS 'Announces a worker with what it was configured with, gives up every attempt that was begun on another timeline, and takes the lock that shows that it is alive, for as long as this session lives. Returns its id.';

CREATE OR REPLACE FUNCTION kaggle_internal.registered_worker(worker_id bigint) RETURNS kaggle_internal.worker_processes
LANGUAGE plpgsql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    worker worker_processes;
BEGIN
    SELECT * INTO worker FROM worker_processes w WHERE w.id = registered_worker.worker_id;
    PERFORM refuse_hidden_rows();
    IF worker.id IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'admin_shutdown',
            MESSAGE = format('worker %s was away so long that it was taken off the list', worker_id);
    ELSIF NOT is_on_known_timeline() THEN
        RAISE EXCEPTION USING ERRCODE = 'admin_shutdown',
            MESSAGE = format('worker %s registered before this server was promoted', worker_id);
    END IF;
    RETURN worker;
END $$;
COMMENT ON FUNCTION kaggle_internal.registered_worker(bigint) IS 'What a worker was configured with. Raises admin_shutdown for a worker that is no longer registered, or registered on another timeline: it registers anew.';

CREATE OR REPLACE FUNCTION kaggle_internal.beat(worker_id bigint) RETURNS void
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    PERFORM registered_worker(beat.worker_id);
    UPDATE worker_processes w SET seen_at = clock_timestamp() WHERE w.id = beat.worker_id;
END $$;
COMMENT ON FUNCTION kaggle_internal.beat(bigint) IS 'The heartbeat of a worker. Raises admin_shutdown for one that is no longer registered.';

CREATE OR REPLACE FUNCTION kaggle_internal.unregister_worker(worker_id bigint) RETURNS void
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    DELETE FROM worker_processes w WHERE w.id = unregister_worker.worker_id;
    PERFORM abandon_runs(unregister_worker.worker_id);
    PERFORM tell_status();
END $$;
COMMENT ON FUNCTION kaggle_internal.unregister_worker(bigint) IS 'Removes a worker that ends; what it still ran is begun anew by others.';
