-- Who may do what. The roles are made where the migrating user may make roles; where not, grant the same by hand
-- (docs/architecture.md, "Rights").
--
--   pgleaderboard_reader   sees boards, competitions, events, runs and how the sync stands
--   pgleaderboard_editor   also writes events and competitions, and asks for syncs
--   pgleaderboard_worker   runs pgleaderboard work
--
-- Neither reader nor editor sees the queue. Nothing is granted to PUBLIC.

DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['pgleaderboard_reader', 'pgleaderboard_editor', 'pgleaderboard_worker'] LOOP
        CONTINUE WHEN to_regrole(wanted) IS NOT NULL;      -- they belong to the whole server
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;
            WHEN insufficient_privilege THEN
                RAISE WARNING 'the role % was not made: this user may not create roles', wanted;
        END;
    END LOOP;
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA kaggle, kaggle_internal FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA kaggle, kaggle_internal FROM PUBLIC;

DO $$
DECLARE
    wanted record;
BEGIN
    -- An administrator may have made the schemas: then only their owner, or who got USAGE with its grant option, grants.
    FOR wanted IN
        SELECT s.name AS schema, r.oid AS role, format('GRANT USAGE ON SCHEMA %I TO %I', s.name, r.rolname) AS statement
        FROM (VALUES ('kaggle', 'pgleaderboard_reader'), ('kaggle', 'pgleaderboard_editor'),
                     ('kaggle', 'pgleaderboard_worker'), ('kaggle_internal', 'pgleaderboard_worker'),
                     ('procrastinate', 'pgleaderboard_worker')) s (name, role)
        JOIN pg_roles r ON r.rolname = s.role
    LOOP
        IF has_schema_privilege(wanted.schema, 'USAGE WITH GRANT OPTION') THEN
            EXECUTE format('REVOKE ALL ON SCHEMA %I FROM PUBLIC', wanted.schema);
            EXECUTE wanted.statement;
        ELSIF NOT has_schema_privilege(wanted.role, wanted.schema, 'USAGE') THEN
            RAISE WARNING 'this user may not grant it, the owner of the schema must: %', wanted.statement;
        END IF;
    END LOOP;
END $$;

DO $$
DECLARE
    wanted text;
BEGIN
    IF to_regrole('pgleaderboard_reader') IS NULL OR to_regrole('pgleaderboard_editor') IS NULL
       OR to_regrole('pgleaderboard_worker') IS NULL THEN
        RETURN;
    END IF;

    GRANT SELECT ON ALL TABLES IN SCHEMA kaggle TO pgleaderboard_reader, pgleaderboard_editor;
    GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA kaggle TO pgleaderboard_reader, pgleaderboard_editor;
    REVOKE EXECUTE ON FUNCTION kaggle.sync_now(text), kaggle.import_competitions(text[], text),
        kaggle.import_participants(text[], text, text[]), kaggle.drop_board(text, text),
        kaggle.finalize_event(text, boolean), kaggle.reopen_event(text),
        kaggle.prune_history(interval, integer) FROM pgleaderboard_reader;
    REVOKE EXECUTE ON FUNCTION kaggle.prune_history(interval, integer) FROM pgleaderboard_editor;
    -- What a view calls is checked against whoever reads it, though nobody can name it without USAGE on its schema.
    GRANT EXECUTE ON FUNCTION kaggle_internal.live_workers(), kaggle_internal.request_holds(text, kaggle.competitions),
        kaggle_internal.standing(bigint, timestamptz), kaggle_internal.results(bigint, timestamptz),
        kaggle_internal.basis_of_standing(bigint, timestamptz), kaggle_internal.changed_since_final(bigint),
        kaggle_internal.lower_all(text[]),
        kaggle_internal.ranks_a_day_ago(bigint) TO pgleaderboard_reader, pgleaderboard_editor;

    GRANT INSERT, UPDATE, DELETE ON kaggle.events, kaggle.competitions, kaggle.event_competitions,
        kaggle.participants, kaggle.event_participants
        TO pgleaderboard_editor;

    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA kaggle, kaggle_internal, procrastinate TO pgleaderboard_worker;
    GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA kaggle, kaggle_internal, procrastinate TO pgleaderboard_worker;
    GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA kaggle, kaggle_internal, procrastinate TO pgleaderboard_worker;
    REVOKE INSERT, UPDATE, DELETE ON kaggle_internal.sync_condition, kaggle_internal.applied_files
        FROM pgleaderboard_worker;
    REVOKE EXECUTE ON FUNCTION kaggle.set_sync_condition(regprocedure)
        FROM pgleaderboard_reader, pgleaderboard_editor, pgleaderboard_worker;
    -- A trigger needs no right of whoever fires it; on a table of the worker's own it would act with the owner's rights.
    FOR wanted IN SELECT p.oid::regprocedure FROM pg_proc p
                  WHERE p.pronamespace = 'kaggle_internal'::regnamespace AND p.prorettype = 'trigger'::regtype LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM pgleaderboard_worker', wanted);
    END LOOP;
    -- The staging tables are temporary.
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO pgleaderboard_worker', current_database());
END $$;
