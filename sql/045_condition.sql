-- A condition of one's own, asked beside the built-in rule before an automatic sync. It is somebody else's code: only
-- the owner of the schema sets it, only the worker calls it, in a transaction of its own with a time-out.

CREATE OR REPLACE FUNCTION kaggle.set_sync_condition(condition regprocedure) RETURNS void
LANGUAGE plpgsql SET search_path = kaggle, pg_temp AS $$
DECLARE
    given record;
BEGIN
    DELETE FROM sync_condition;
    -- What another condition has put off is considered anew.
    UPDATE sync_state SET condition_says = NULL, retry_at = clock_timestamp() WHERE condition_says IS NOT NULL;
    PERFORM queue_job('sweep', NULL, 20);
    IF condition IS NULL THEN
        RETURN;
    END IF;
    SELECT format('%I.%I(kaggle.competitions)', n.nspname, p.proname) AS name,
           p.prokind = 'f' AND p.proargtypes::text = 'competitions'::regtype::oid::text
               AND p.prorettype = 'boolean'::regtype AND NOT p.proretset AS fits,
           p.prosecdef OR p.proowner = (SELECT s.nspowner FROM pg_namespace s WHERE s.nspname = 'kaggle') AS is_safe
    INTO given
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.oid = condition;
    IF NOT given.fits THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_function_definition',
            MESSAGE = format('%s cannot be a sync condition', condition),
            HINT = 'It takes a kaggle.competitions and returns a boolean, true = sync.';
    ELSIF NOT given.is_safe THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_function_definition',
            MESSAGE = format('%s would run with the rights of the owner of schema kaggle', condition),
            HINT = 'Make it SECURITY DEFINER, so that it runs as its own owner, or have the owner of schema kaggle own it.';
    END IF;
    INSERT INTO sync_condition (function) VALUES (given.name);
END $$;
COMMENT ON FUNCTION kaggle.set_sync_condition(regprocedure) IS
    'Has this function asked before every automatic sync, beside the built-in rule; null = none. It takes a kaggle.competitions and returns a boolean. It runs as its owner, with search_path = kaggle: let it pin its own. What it writes is taken back. kaggle.sync_now does not ask it. Only for the owner of schema kaggle.';


CREATE OR REPLACE FUNCTION kaggle.ask_condition(competition_id bigint) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kaggle, pg_temp AS $$
DECLARE
    name constant text := (SELECT c.function FROM sync_condition c);
    found constant regprocedure := to_regprocedure(name);
    allows boolean;
BEGIN
    IF name IS NULL THEN
        RETURN 'yes';
    ELSIF found IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_function', MESSAGE = format('%s does not exist', name);
    ELSIF NOT (SELECT p.prosecdef OR p.proowner = current_user::regrole FROM pg_proc p WHERE p.oid = found) THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = format('%s is SECURITY DEFINER no longer', name);
    END IF;
    EXECUTE format('SELECT %s(c) FROM kaggle.competitions c WHERE c.id = $1', found::regproc)
    INTO allows USING competition_id;
    RETURN CASE WHEN allows THEN 'yes' ELSE 'no' END;
END $$;
COMMENT ON FUNCTION kaggle.ask_condition(bigint) IS
    'What the sync condition says of a competition: yes or no (null is no); raises what it raises. For the worker, which gives it a time-out.';
