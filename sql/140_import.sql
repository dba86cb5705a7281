-- Many competitions in one statement.

CREATE OR REPLACE FUNCTION kaggle_internal.try_slug(given text, OUT slug text, OUT refusal text)
LANGUAGE plpgsql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    IF given IS NULL OR given = '' THEN
        refusal := 'nothing was given';
    ELSE
        slug := slug_of(given);
    END IF;
EXCEPTION WHEN check_violation THEN
    refusal := SQLERRM;
END $$;
COMMENT ON FUNCTION kaggle_internal.try_slug(text) IS 'The slug of what was given, or why it is refused.';

CREATE OR REPLACE FUNCTION kaggle.import_competitions(kaggle_competition_ids text[], event_slug text DEFAULT NULL)
RETURNS TABLE (competition_id bigint, kaggle_competition_id text, outcome text)
LANGUAGE plpgsql SECURITY DEFINER ROWS 100 SET search_path = kaggle, kaggle_internal, pg_temp AS $$
#variable_conflict use_column
DECLARE
    event events;
    created_ids bigint[];
    linked_ids bigint[];
BEGIN
    IF $2 IS NOT NULL THEN
        event := find_event($2);
    END IF;

    -- What is new goes in with one statement, and so asks for all syncs with one job; in an order that all sessions
    -- share, since each waits for a slug that another has inserted.
    WITH created AS (
        INSERT INTO competitions (kaggle_competition_id, event_id)
        SELECT n.slug, event.id
        FROM (SELECT DISTINCT ON (lower(t.slug COLLATE "C")) t.slug
              FROM unnest($1) WITH ORDINALITY AS g (text, place), try_slug(g.text) t
              WHERE t.slug IS NOT NULL
                AND NOT EXISTS (SELECT FROM competitions c WHERE lower(c.kaggle_competition_id COLLATE "C") = lower(t.slug COLLATE "C"))
              ORDER BY lower(t.slug COLLATE "C"), g.place) n
        ORDER BY lower(n.slug COLLATE "C")
        ON CONFLICT DO NOTHING
        RETURNING id
    ) SELECT array_agg(id) INTO created_ids FROM created;

    -- One that is in another event already counts in both.
    WITH linked AS (
        INSERT INTO event_competitions (event_id, competition_id)
        SELECT DISTINCT event.id, c.id
        FROM unnest($1) AS g (text), try_slug(g.text) t
        JOIN competitions c ON lower(c.kaggle_competition_id COLLATE "C") = lower(t.slug COLLATE "C")
        WHERE event.id IS NOT NULL
        ORDER BY c.id
        ON CONFLICT DO NOTHING
        RETURNING competition_id
    ) SELECT array_agg(competition_id) INTO linked_ids FROM linked;

    RETURN QUERY
    SELECT c.id, coalesce(c.kaggle_competition_id, left(g.text, 200)),
           CASE WHEN t.slug IS NULL THEN 'rejected: ' || t.refusal
                WHEN g.place > min(g.place) OVER (PARTITION BY lower(t.slug COLLATE "C")) THEN 'already there'
                WHEN c.id = ANY (created_ids) THEN 'created'
                WHEN c.id = ANY (linked_ids) THEN 'linked'
                ELSE 'already there' END
    FROM unnest($1) WITH ORDINALITY AS g (text, place)
    CROSS JOIN LATERAL try_slug(g.text) t
    LEFT JOIN competitions c ON lower(c.kaggle_competition_id COLLATE "C") = lower(t.slug COLLATE "C")
    ORDER BY g.place;
END $$;
COMMENT ON FUNCTION kaggle.import_competitions(text[], text) IS 'Follows every competition of a list of slugs or URLs, and counts them in an event if one is given, with its dates. A row for each in the order given; outcome: created, linked (was there, now counts in the event too), already there, or rejected: why. Raises on an unknown event.';

CREATE OR REPLACE FUNCTION kaggle_internal.try_username(given text, is_first boolean, OUT username text, OUT refusal text)
LANGUAGE plpgsql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    name constant text := trimmed(given);
BEGIN
    IF coalesce(name, '') = '' THEN
        refusal := 'nothing was given';
    ELSIF is_first AND lower(name COLLATE "C") IN ('kaggle_username', 'kaggle username', 'username', 'kaggle', 'name') THEN
        refusal := 'the header of a list';
    ELSIF name ~ '^[^@/[:space:]]+@[^@/[:space:]]+$' THEN
        refusal := format('%L is an e-mail address: give the name in the URL of the profile', left(name, 80));
    ELSE
        username := username_of(name);
    END IF;
EXCEPTION WHEN check_violation THEN
    refusal := SQLERRM;
END $$;
COMMENT ON FUNCTION kaggle_internal.try_username(text, boolean) IS 'The username of what was given, or why it is refused.';

CREATE OR REPLACE FUNCTION kaggle.import_participants(
    kaggle_usernames text[], event_slug text DEFAULT NULL, display_names text[] DEFAULT NULL)
RETURNS TABLE (kaggle_username text, outcome text)
LANGUAGE plpgsql SECURITY DEFINER ROWS 100 SET search_path = kaggle, kaggle_internal, pg_temp AS $$
#variable_conflict use_column
DECLARE
    event events;
    created text[];            -- in lower case
    registered text[];
    first_place constant bigint := (SELECT min(g.place) FROM unnest($1) WITH ORDINALITY AS g (text, place) WHERE trimmed(g.text) <> '');
BEGIN
    IF $2 IS NOT NULL THEN
        event := find_event($2);
    END IF;

    -- In an order that all sessions share, since each waits for a name that another has inserted.
    WITH made AS (
        INSERT INTO participants (kaggle_username, display_name)
        SELECT n.username, n.display_name
        FROM (SELECT DISTINCT ON (lower(t.username COLLATE "C")) t.username, $3[g.place] AS display_name
              FROM unnest($1) WITH ORDINALITY AS g (text, place), try_username(g.text, g.place = first_place) t
              WHERE t.username IS NOT NULL
                AND NOT EXISTS (SELECT FROM participants p
                                WHERE lower(p.kaggle_username COLLATE "C") = lower(t.username COLLATE "C"))
              ORDER BY lower(t.username COLLATE "C"), g.place) n
        ORDER BY lower(n.username COLLATE "C")
        ON CONFLICT DO NOTHING
        RETURNING lower(kaggle_username COLLATE "C") AS who
    ) SELECT array_agg(who) INTO created FROM made;
    UPDATE participants p SET display_name = n.display_name
    FROM (SELECT p.kaggle_username, g.display_name
          FROM participants p
          JOIN (SELECT DISTINCT ON (lower(t.username COLLATE "C")) lower(t.username COLLATE "C") AS who, $3[g.place] AS display_name
                FROM unnest($1) WITH ORDINALITY AS g (text, place), try_username(g.text, g.place = first_place) t
                WHERE t.username IS NOT NULL AND $3[g.place] IS NOT NULL
                ORDER BY lower(t.username COLLATE "C"), g.place) g ON g.who = lower(p.kaggle_username COLLATE "C")
          WHERE p.display_name IS NULL
          ORDER BY g.who FOR NO KEY UPDATE OF p) n
    WHERE p.kaggle_username = n.kaggle_username;

    WITH made AS (
        INSERT INTO event_participants (event_id, kaggle_username)
        SELECT event.id, p.kaggle_username
        FROM participants p
        WHERE event.id IS NOT NULL
          AND lower(p.kaggle_username COLLATE "C") IN (
              SELECT lower(t.username COLLATE "C")
              FROM unnest($1) WITH ORDINALITY AS g (text, place), try_username(g.text, g.place = first_place) t)
        ORDER BY lower(p.kaggle_username COLLATE "C")
        ON CONFLICT DO NOTHING
        RETURNING lower(kaggle_username COLLATE "C") AS who
    ) SELECT array_agg(who) INTO registered FROM made;

    RETURN QUERY
    SELECT coalesce(p.kaggle_username, left(g.text, 200)),
           CASE WHEN t.username IS NULL THEN 'rejected: ' || t.refusal
                WHEN g.place > min(g.place) OVER (PARTITION BY lower(t.username COLLATE "C")) THEN 'already there'
                WHEN lower(t.username COLLATE "C") = ANY (created) THEN 'created'
                WHEN lower(t.username COLLATE "C") = ANY (registered) THEN 'registered'
                ELSE 'already there' END
    FROM unnest($1) WITH ORDINALITY AS g (text, place)
    CROSS JOIN LATERAL try_username(g.text, g.place = first_place) t
    LEFT JOIN participants p ON lower(p.kaggle_username COLLATE "C") = lower(t.username COLLATE "C")
    ORDER BY g.place;
END $$;
COMMENT ON FUNCTION kaggle.import_participants(text[], text, text[]) IS 'Adds the people of a list of usernames or profile URLs, and registers them for an event if one is given; display_names: of the same places, for those who have none. A row for each in the order given; outcome: created, registered (was there, now takes part in the event), already there (who is excluded stays so), or rejected: why. A bad line stops no other. Raises on an unknown event.';
