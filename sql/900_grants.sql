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

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA kaggle FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA kaggle FROM PUBLIC;

DO $$
DECLARE
    wanted record;
BEGIN
    -- An administrator may have made the schemas: then only their owner, or who got USAGE with its grant option, grants.
    FOR wanted IN
        SELECT s.name AS schema, r.oid AS role, format('GRANT USAGE ON SCHEMA %I TO %I', s.name, r.rolname) AS statement
        FROM (VALUES ('kaggle', 'pgleaderboard_reader'), ('kaggle', 'pgleaderboard_editor'),
                     ('kaggle', 'pgleaderboard_worker'), ('procrastinate', 'pgleaderboard_worker')) s (name, role)
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

    GRANT SELECT ON kaggle.leaderboard, kaggle.sync_status, kaggle.workers, kaggle.budget, kaggle.events, kaggle.competitions,
        kaggle.event_competitions, kaggle.sync_runs, kaggle.boards, kaggle.leaderboard_entries,
        kaggle.leaderboard_history, kaggle.participants, kaggle.event_participants,
        kaggle.participant_results, kaggle.unmatched_participants, kaggle.event_standings TO pgleaderboard_reader, pgleaderboard_editor;
    -- What the views call is checked against whoever reads them.
    GRANT EXECUTE ON FUNCTION kaggle.slug_of(text), kaggle.refuse(text, text, text), kaggle.find_competition(text),
        kaggle.wait_for_sync(text, interval), kaggle.live_workers(), kaggle.presence_key(),
        kaggle.request_holds(text, kaggle.competitions), kaggle.find_board(text, timestamptz),
        kaggle.leaderboard_as_of(text, timestamptz), kaggle.team_rank(text, bigint),
        kaggle.rank_history(text, bigint[]), kaggle.rank_history(text, text),
        kaggle.movers(text, timestamptz), kaggle.movers(text, interval), kaggle.changes(bigint),
        kaggle.medal(bigint, bigint), kaggle.shakeup(text),
        kaggle.event_standings_as_of(text, timestamptz), kaggle.standing(bigint, timestamptz),
        kaggle.check_standing(bigint, timestamptz), kaggle.lower_all(text[]) TO pgleaderboard_reader, pgleaderboard_editor;

    GRANT INSERT, UPDATE, DELETE ON kaggle.events, kaggle.competitions, kaggle.event_competitions,
        kaggle.participants, kaggle.event_participants
        TO pgleaderboard_editor;
    GRANT EXECUTE ON FUNCTION kaggle.sync_now(text), kaggle.import_competitions(text[], text)
        TO pgleaderboard_editor;

    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA kaggle, procrastinate TO pgleaderboard_worker;
    GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA kaggle, procrastinate TO pgleaderboard_worker;
    GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA kaggle, procrastinate TO pgleaderboard_worker;
    REVOKE INSERT, UPDATE, DELETE ON kaggle.sync_condition, kaggle.applied_files, kaggle.alembic_version
        FROM pgleaderboard_worker;
    REVOKE EXECUTE ON FUNCTION kaggle.set_sync_condition(regprocedure) FROM pgleaderboard_worker;
    -- A trigger needs no right of whoever fires it; on a table of the worker's own it would act with the owner's rights.
    FOR wanted IN SELECT p.oid::regprocedure FROM pg_proc p
                  WHERE p.pronamespace = 'kaggle'::regnamespace AND p.prorettype = 'trigger'::regtype LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM pgleaderboard_worker', wanted);
    END LOOP;
    -- The staging tables are temporary.
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO pgleaderboard_worker', current_database());
END $$;
