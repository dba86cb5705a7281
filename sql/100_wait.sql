-- Waiting in SQL for a sync that was asked for.

CREATE OR REPLACE FUNCTION kaggle.wait_for_sync(kaggle_competition_id text, timeout interval DEFAULT '60 seconds')
RETURNS kaggle.sync_runs
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    wanted constant bigint := find_competition(wait_for_sync.kaggle_competition_id);
    patience constant interval := coalesce(timeout, '60 seconds');
    until constant timestamptz := clock_timestamp() + patience;
    first_run bigint;          -- the first attempt that covers what was asked
    asked boolean;
    running bigint;
    is_another boolean;        -- runs are left of a row that had this id before
    answer sync_runs;
    waiting record;            -- a session that an exclusive lock would be given to, but for us
    rounds integer := 0;
BEGIN
    IF patience > interval '10 minutes' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'wait_for_sync waits for ten minutes at most',
            DETAIL = 'Its snapshot keeps VACUUM from removing dead rows in the whole database.',
            HINT = 'Call it again in a new transaction.';
    END IF;
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_transaction_state',
            MESSAGE = 'wait_for_sync sees nothing new above READ COMMITTED',
            HINT = 'Call it in a READ COMMITTED transaction.';
    END IF;
    IF EXISTS (SELECT FROM sync_requests r
               WHERE r.competition_id = wanted AND r.asked_in = pg_current_xact_id_if_assigned()) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_transaction_state',
            MESSAGE = 'the sync was asked for in this transaction and cannot begin before it ends',
            HINT = 'COMMIT first, then call wait_for_sync.';
    END IF;

    -- One statement, one snapshot: what is asked, and which attempt could cover it.
    SELECT coalesce(bool_or(NOT r.tried AND NOT coalesce(r.run_id = s.running_run_id, false)
                            AND request_holds(r.reason, c)), false),
           min(r.run_id) FILTER (WHERE r.run_id = s.running_run_id),
           coalesce(max(s.last_run_id), 0), coalesce(max(s.link_revision) <= deleted_until(wanted), false)
    INTO asked, running, first_run, is_another
    FROM competitions c
    LEFT JOIN sync_state s ON s.competition_id = c.id
    LEFT JOIN sync_requests r ON r.competition_id = c.id
    WHERE c.id = wanted;
    IF asked OR is_another THEN
        first_run := first_run + 1;
    ELSIF running IS NOT NULL THEN
        first_run := running;
    ELSE
        SELECT * INTO answer FROM sync_runs r WHERE r.competition_id = wanted AND r.reason <> 'backfill'
        ORDER BY r.id DESC LIMIT 1;
        IF FOUND THEN
            RETURN answer;
        END IF;
    END IF;

    LOOP
        SELECT * INTO answer FROM sync_runs r
        WHERE r.competition_id = wanted AND r.id >= first_run AND r.reason <> 'backfill' ORDER BY r.id LIMIT 1;
        IF FOUND THEN
            RETURN answer;
        END IF;
        IF clock_timestamp() >= until THEN
            RAISE EXCEPTION USING ERRCODE = 'query_canceled',
                MESSAGE = format('no sync of %L finished within %s', wait_for_sync.kaggle_competition_id, patience),
                DETAIL = (SELECT format('sync_state is %s', s.sync_state)
                          FROM sync_status s WHERE s.competition_id = wanted),
                HINT = coalesce((SELECT s.problem FROM sync_status s WHERE s.competition_id = wanted),
                                'See kaggle.sync_status.');
        END IF;
        -- The sync would wait for that session, that session for us, and we for the sync.
        rounds := rounds + 1;
        IF rounds % 10 = 0 THEN
            SELECT l.pid, a.usename, format('%s.%s', c.relnamespace::regnamespace, c.relname) AS relation INTO waiting
            FROM pg_locks l JOIN pg_class c ON c.oid = l.relation LEFT JOIN pg_stat_activity a ON a.pid = l.pid
            WHERE NOT l.granted AND l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'
              AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
              AND l.relation IN (SELECT o.relation FROM pg_locks o
                                 WHERE o.pid = pg_backend_pid() AND o.locktype = 'relation' AND o.granted)
            LIMIT 1;
            IF FOUND THEN
                RAISE EXCEPTION USING ERRCODE = 'lock_not_available',
                    MESSAGE = format('process %s (%s) waits for an exclusive lock on %s, and every sync for that process',
                                     waiting.pid, waiting.usename, waiting.relation),
                    HINT = 'Call wait_for_sync again in a new transaction.';
            END IF;
        END IF;
        PERFORM pg_sleep(least(0.02, greatest(0, extract(epoch FROM until - clock_timestamp()))));
    END LOOP;
END $$;
COMMENT ON FUNCTION kaggle.wait_for_sync(text, interval) IS 'Waits for the first finished run, failed or not, that covers what was asked before the call, and returns it; at once if there is one. It waits for ten minutes at most. Raises on time-out, where a session waits for an exclusive lock on a table that this one reads, on an unknown slug, above READ COMMITTED, and in the transaction that made the request: COMMIT first.';
