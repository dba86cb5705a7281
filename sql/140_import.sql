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
        SELECT * INTO event FROM events e WHERE e.slug = lower($2 COLLATE "C");
        IF NOT FOUND THEN
            RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('no event %L in kaggle.events', $2),
                HINT = format('INSERT INTO kaggle.events (slug, title) VALUES (%L, %L);', lower($2 COLLATE "C"), $2);
        END IF;
    END IF;

    -- What is new goes in with one statement, and so asks for all syncs with one job; in an order that all sessions
    -- share, since each waits for a slug that another has inserted.
    WITH created AS (
        INSERT INTO competitions (kaggle_competition_id, event_id, status)
        SELECT n.slug, event.id, event.status
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
COMMENT ON FUNCTION kaggle.import_competitions(text[], text) IS 'Follows every competition of a list of slugs or URLs, and counts them in an event if one is given, with its dates and status. A row for each in the order given; outcome: created, linked (was there, now counts in the event too), already there, or rejected: why. Raises on an unknown event.';
