-- Names people type: slugs, pasted URLs, and how a function finds a competition by one.

CREATE OR REPLACE FUNCTION kaggle_internal.refuse(rule text, what text, wanted text) RETURNS void
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = rule, MESSAGE = what, HINT = wanted,
        SCHEMA = 'kaggle';
END $$;
COMMENT ON FUNCTION kaggle_internal.refuse(text, text, text) IS 'Refuses bad input as the named constraint would, with a hint that says what is wanted.';

CREATE OR REPLACE FUNCTION kaggle.slug_of(given text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    slug text := given;
    place constant text := '^(https?://)?(www\.)?kaggle\.com/';
BEGIN
    IF slug ~ '^[A-Za-z0-9][A-Za-z0-9_-]{0,199}$' THEN
        RETURN slug;
    END IF;
    IF slug COLLATE "C" ~* (place || '(competitions|c)/') THEN
        slug := substring(slug FROM '(?i)kaggle\.com/(?:competitions|c)/([^/?#]*)');
    ELSIF slug COLLATE "C" ~* (place || 't/') THEN
        PERFORM refuse('kaggle_competition_id_is_a_slug',
            'an invitation link does not name its competition: ' || left(given, 80),
            'Open the invitation in a browser, then give the URL of the competition it leads to.');
    END IF;
    IF slug !~ '^[A-Za-z0-9][A-Za-z0-9_-]{0,199}$' THEN
        PERFORM refuse('kaggle_competition_id_is_a_slug',
            format('not a Kaggle competition: %L', left(given, 80)),
            'Give the slug in the competition''s URL, e.g. titanic, or the URL itself: https://www.kaggle.com/competitions/titanic');
    END IF;
    RETURN slug;
END $$;
COMMENT ON FUNCTION kaggle.slug_of(text) IS 'The slug of a competition given as its slug or its URL (kaggle.com/competitions/SLUG/..., kaggle.com/c/SLUG); capitals are kept. Raises check_violation on anything else.';

CREATE OR REPLACE FUNCTION kaggle.find_competition(kaggle_competition_id text) RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    wanted constant text := slug_of(find_competition.kaggle_competition_id);
    found_id bigint;
BEGIN
    SELECT c.id INTO found_id FROM competitions c
    WHERE lower(c.kaggle_competition_id COLLATE "C") = lower(wanted COLLATE "C");
    IF found_id IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found',
            MESSAGE = format('no competition %L in kaggle.competitions', wanted),
            HINT = CASE WHEN row_security_active('kaggle.competitions')
                        THEN 'Row level security hides rows from the owner of the functions of schema kaggle.'
                        ELSE format('INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES (%L);', wanted) END;
    END IF;
    RETURN found_id;
END $$;
COMMENT ON FUNCTION kaggle.find_competition(text) IS 'The id of the competition with this slug (without regard to case) or URL; raises no_data_found.';

CREATE OR REPLACE FUNCTION kaggle_internal.find_event(event_slug text) RETURNS kaggle.events
LANGUAGE plpgsql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    event events;
BEGIN
    SELECT * INTO event FROM events e WHERE e.slug = lower(find_event.event_slug COLLATE "C");
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('no event %L in kaggle.events', event_slug),
            DETAIL = 'SELECT slug FROM kaggle.events; lists those that are there.',
            HINT = format('INSERT INTO kaggle.events (slug, title) VALUES (%L, %L);',
                          lower(event_slug COLLATE "C"), event_slug);
    END IF;
    RETURN event;
END $$;
COMMENT ON FUNCTION kaggle_internal.find_event(text) IS 'The event of a slug, capitals do not matter. Raises no_data_found for an unknown one.';
