-- The one door to the queue.

CREATE OR REPLACE FUNCTION kaggle_internal.queue_job(task text, competition_id bigint, priority integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kaggle, kaggle_internal, procrastinate, pg_temp AS $$
DECLARE
    waiting bigint;
    args constant jsonb := jsonb_strip_nulls(jsonb_build_object('competition_id', competition_id));
BEGIN
    -- A waiting job that we lock cannot be fetched before we commit, so it will see what we write now.
    -- One that somebody else has locked may be fetched earlier: then another job is put beside it. So it is above
    -- READ COMMITTED, where a job that was fetched since would end the user's transaction.
    IF current_setting('transaction_isolation') IN ('read committed', 'read uncommitted') THEN
        SELECT job.id INTO waiting FROM procrastinate_jobs job
        WHERE job.status = 'todo' AND job.task_name = task AND job.scheduled_at IS NULL
          AND coalesce((job.args ->> 'competition_id')::bigint, 0) = coalesce(queue_job.competition_id, 0)
        LIMIT 1 FOR UPDATE SKIP LOCKED;
    END IF;

    IF waiting IS NULL THEN
        PERFORM procrastinate_defer_jobs_v1(ARRAY[
            ROW('kaggle', task, priority, NULL, NULL, args, NULL)::procrastinate_job_to_defer_v1]);
    ELSE
        UPDATE procrastinate_jobs job SET priority = queue_job.priority
        WHERE job.id = waiting AND job.priority < queue_job.priority;
        -- A fetch may pass the job by while we hold it, and procrastinate notifies on INSERT only.
        PERFORM pg_notify('procrastinate_queue_v1#kaggle',
            json_build_object('type', 'job_inserted', 'job_id', waiting)::text);
    END IF;
END $$;
COMMENT ON FUNCTION kaggle_internal.queue_job(text, bigint, integer) IS 'The only way into the queue: makes sure that a job of this task (sync, describe, remove, sweep) for this competition (null for the last two) starts after the caller has committed.';
