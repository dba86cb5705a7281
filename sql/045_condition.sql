-- A condition of one's own, asked beside the built-in rule before an automatic sync. It runs with the rights of whoever
-- owns our own functions, so only a function of that owner is accepted. kaggle_internal.sync_condition_holds, which is made when
-- a condition is set, binds it by its identity: whoever owns the schema it lives in can neither drop it nor put another in
-- its place. Only the worker asks, in a transaction of its own with a time-out.

CREATE OR REPLACE FUNCTION kaggle_internal.owner_of_functions() RETURNS regrole
LANGUAGE sql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT p.proowner::regrole FROM pg_proc p WHERE p.oid = 'kaggle_internal.owner_of_functions()'::regprocedure
$$;
COMMENT ON FUNCTION kaggle_internal.owner_of_functions() IS 'The role that migrates, and so owns the functions of schema kaggle.';

CREATE OR REPLACE FUNCTION kaggle_internal.bound_condition() RETURNS regprocedure
LANGUAGE plpgsql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    condition constant regprocedure := (
        SELECT min(d.refobjid) FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
        WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_proc'::regclass
          AND d.objid = to_regprocedure('kaggle_internal.sync_condition_holds(kaggle.competitions)')
          AND p.proowner = owner_of_functions()
        HAVING count(*) = 1);
BEGIN
    IF (SELECT p.proowner FROM pg_proc p WHERE p.oid = condition) <> owner_of_functions()::oid THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = format('%s does not belong to %s, with whose rights it would run', condition, owner_of_functions()),
            HINT = format('ALTER FUNCTION %s OWNER TO %s;', condition, owner_of_functions());
    END IF;
    RETURN condition;
END $$;
COMMENT ON FUNCTION kaggle_internal.bound_condition() IS 'The function that kaggle_internal.sync_condition_holds calls; null where none was set, or it was dropped with CASCADE. Raises insufficient_privilege where it belongs to somebody else than our own functions.';

CREATE OR REPLACE FUNCTION kaggle.set_sync_condition(condition regprocedure) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    given record;
BEGIN
    DELETE FROM sync_condition;
    IF to_regprocedure('kaggle_internal.sync_condition_holds(kaggle.competitions)') IS NOT NULL THEN
        DROP FUNCTION sync_condition_holds(competitions);
    END IF;
    -- What another condition has put off is considered anew.
    UPDATE sync_state SET condition_says = NULL, retry_at = clock_timestamp() WHERE condition_says IS NOT NULL;
    PERFORM queue_job('sweep', NULL, 20);
    IF condition IS NULL THEN
        RETURN;
    END IF;
    SELECT format('%I.%I', n.nspname, p.proname) AS name,
           p.prokind = 'f' AND p.proargtypes::text = 'competitions'::regtype::oid::text
               AND p.prorettype = 'boolean'::regtype AND NOT p.proretset AS fits
    INTO given
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.oid = condition;
    IF NOT given.fits THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_function_definition',
            MESSAGE = format('%s cannot be a sync condition', condition),
            HINT = 'It takes a kaggle.competitions and returns a boolean, true = sync.';
    END IF;

    -- The body is parsed now, and holds the function itself, not its name.
    EXECUTE format('CREATE FUNCTION kaggle_internal.sync_condition_holds(competition kaggle.competitions) RETURNS boolean '
                   'LANGUAGE sql BEGIN ATOMIC SELECT %s(competition); END', given.name);
    REVOKE ALL ON FUNCTION sync_condition_holds(competitions) FROM PUBLIC;
    COMMENT ON FUNCTION sync_condition_holds(competitions) IS
        'Calls the sync condition, and keeps it from being dropped; written by kaggle.set_sync_condition.';
    IF bound_condition() IS DISTINCT FROM condition THEN
        RAISE EXCEPTION USING ERRCODE = 'object_in_use',
            MESSAGE = format('%s was replaced meanwhile', condition), HINT = 'Set it again.';
    END IF;
    INSERT INTO sync_condition (function) VALUES (given.name || '(kaggle.competitions)');
END $$;
COMMENT ON FUNCTION kaggle.set_sync_condition(regprocedure) IS 'Has this function asked before every automatic sync, beside the built-in rule; null = none. It takes a kaggle.competitions, returns a boolean, and belongs to the owner of the functions of schema kaggle, who alone may call this. It runs with search_path = kaggle: let it pin its own. What it writes is taken back. kaggle.sync_now does not ask it.';

CREATE OR REPLACE FUNCTION kaggle_internal.ask_condition(competition_id bigint) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    name constant text := (SELECT c.function FROM sync_condition c);
    allows boolean;
BEGIN
    IF name IS NULL THEN
        RETURN 'yes';
    ELSIF bound_condition() IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_function', MESSAGE = format('%s does not exist', name);
    END IF;
    SELECT sync_condition_holds(c) INTO allows FROM competitions c WHERE c.id = ask_condition.competition_id;
    RETURN CASE WHEN allows THEN 'yes' ELSE 'no' END;
END $$;
COMMENT ON FUNCTION kaggle_internal.ask_condition(bigint) IS 'What the sync condition says of a competition: yes or no (null is no); raises what it raises. For the worker, which gives it a time-out.';
