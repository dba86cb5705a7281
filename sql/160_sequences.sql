-- Sequences are not replicated: after an upgrade by logical replication they lie behind the rows that came along, and
-- issue numbers that are in use. They are set forward here whenever `migrate` applies sql/ (migrate --again).

CREATE OR REPLACE FUNCTION kaggle_internal.sequences_behind() RETURNS TABLE (sequence regclass, last_value bigint, highest bigint)
LANGUAGE sql STABLE ROWS 1 SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT s.sequence, s.last_value, s.highest
    FROM (
        SELECT u.name::regclass AS sequence, coalesce(pg_sequence_last_value(u.name::regclass), 0) AS last_value, u.highest
        FROM (VALUES
            ('kaggle_internal.run_ids', greatest((SELECT max(r.id) FROM sync_runs r),
                                        (SELECT max(s.last_run_id) FROM sync_state s))),
            ('kaggle_internal.link_revisions', greatest((SELECT max(c.link_revision) FROM competitions c),
                                               (SELECT max(s.link_revision) FROM sync_state s),
                                               (SELECT max(r.link_revision) FROM sync_requests r))),
            (pg_get_serial_sequence('kaggle.events', 'id'), (SELECT max(e.id) FROM events e)),
            (pg_get_serial_sequence('kaggle.competitions', 'id'), (SELECT max(c.id) FROM competitions c)),
            (pg_get_serial_sequence('kaggle.boards', 'id'), (SELECT max(b.id) FROM boards b)),
            (pg_get_serial_sequence('kaggle_internal.boards_at_freeze', 'id'), (SELECT max(k.id) FROM boards_at_freeze k)),
            (pg_get_serial_sequence('kaggle_internal.sync_requests', 'id'), (SELECT max(r.id) FROM sync_requests r)),
            (pg_get_serial_sequence('kaggle_internal.worker_processes', 'id'),
                greatest((SELECT max(w.id) FROM worker_processes w),
                         (SELECT max(s.running_worker_id) FROM sync_state s))),
            (pg_get_serial_sequence('procrastinate.procrastinate_jobs', 'id'),
                (SELECT max(j.id) FROM procrastinate.procrastinate_jobs j)),
            (pg_get_serial_sequence('procrastinate.procrastinate_workers', 'id'),
                (SELECT max(w.id) FROM procrastinate.procrastinate_workers w)),
            (pg_get_serial_sequence('procrastinate.procrastinate_events', 'id'),
                (SELECT max(e.id) FROM procrastinate.procrastinate_events e)),
            (pg_get_serial_sequence('procrastinate.procrastinate_periodic_defers', 'id'),
                (SELECT max(p.id) FROM procrastinate.procrastinate_periodic_defers p))
        ) AS u (name, highest)) s
    WHERE s.last_value < s.highest
$$;
COMMENT ON FUNCTION kaggle_internal.sequences_behind() IS 'Sequences that would issue a number that is in use: the last one issued (0 = none), and the highest in use. Numbers in rows that this role does not see are not counted.';

DO $$
BEGIN
    PERFORM setval(b.sequence, greatest(b.highest, pg_sequence_last_value(b.sequence))) FROM kaggle_internal.sequences_behind() b;
END $$;
