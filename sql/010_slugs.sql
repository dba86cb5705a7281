-- Names people type: slugs, pasted URLs, and how a function finds a competition by one.

CREATE OR REPLACE FUNCTION kaggle_internal.refuse(rule text, what text, wanted text) RETURNS void
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = rule, MESSAGE = what, HINT = wanted,
        SCHEMA = 'kaggle';
END $$;
COMMENT ON FUNCTION kaggle_internal.refuse(text, text, text) IS 'Refuses bad input as the named constraint would, with a hint that says what is wanted.';

CREATE OR REPLACE FUNCTION kaggle_internal.trimmed(given text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN btrim(given, E' \t\r\n\u00A0\uFEFF');
COMMENT ON FUNCTION kaggle_internal.trimmed(text) IS 'A name without the blanks, line ends, no-break spaces and byte-order marks around it, which lists of Windows programs have.';

CREATE OR REPLACE FUNCTION kaggle.slug_of(given text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    slug text := trimmed(given);
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

CREATE OR REPLACE FUNCTION kaggle_internal.trigrams(word text) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT ARRAY(SELECT DISTINCT substr(w.word, n, 3) FROM generate_series(1, length(w.word) - 2) AS n)
    FROM (SELECT '  ' || lower(trigrams.word COLLATE "C") || ' ' AS word) w
$$;
COMMENT ON FUNCTION kaggle_internal.trigrams(text) IS 'The sequences of three letters in a word, two blanks before it and one behind, without regard to case.';

CREATE OR REPLACE FUNCTION kaggle_internal.nearest(word text, known text[]) RETURNS text
LANGUAGE sql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT k.word
    FROM (SELECT trigrams(nearest.word) AS mine OFFSET 0) m
    CROSS JOIN (SELECT u.word, trigrams(u.word) AS theirs FROM unnest(known) AS u (word) WHERE u.word IS NOT NULL) k
    CROSS JOIN LATERAL (
        SELECT 2.0 * count(*) / (cardinality(m.mine) + cardinality(k.theirs)) AS share
        FROM unnest(k.theirs) AS t WHERE t = ANY (m.mine)) s
    WHERE s.share >= 0.4 ORDER BY s.share DESC, k.word LIMIT 1
$$;
COMMENT ON FUNCTION kaggle_internal.nearest(text, text[]) IS 'The known word that is most like a mistyped one: by the share of common trigrams (Dice''s coefficient), at least 0.4; null = none is.';

CREATE OR REPLACE FUNCTION kaggle.find_competition(kaggle_competition_id text) RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    wanted constant text := slug_of(find_competition.kaggle_competition_id);
    found_id bigint;
BEGIN
    IF wanted IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = 'the slug of the competition is null',
            HINT = 'Give the slug in its URL, e.g. titanic.';
    END IF;
    SELECT c.id INTO found_id FROM competitions c
    WHERE lower(c.kaggle_competition_id COLLATE "C") = lower(wanted COLLATE "C");
    IF found_id IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found',
            MESSAGE = format('no competition %L in kaggle.competitions', wanted),
            HINT = CASE
                WHEN row_security_active('kaggle.competitions')
                    THEN 'Row level security hides rows from the owner of the functions of schema kaggle.'
                WHEN EXISTS (SELECT FROM events e WHERE e.slug = lower(wanted COLLATE "C"))
                    THEN format('%L is an event: see kaggle.event_standings.', lower(wanted COLLATE "C"))
                ELSE coalesce(
                    'Did you mean ' || quote_literal(nearest(wanted, ARRAY(SELECT c.kaggle_competition_id FROM competitions c))) || '?',
                    format('INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES (%L);', wanted)) END;
    END IF;
    RETURN found_id;
END $$;
COMMENT ON FUNCTION kaggle.find_competition(text) IS 'The id of the competition with this slug (without regard to case) or URL; raises no_data_found.';

CREATE OR REPLACE FUNCTION kaggle_internal.find_event(event_slug text) RETURNS kaggle.events
LANGUAGE plpgsql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    event events;
BEGIN
    IF coalesce(trimmed(event_slug), '') = '' THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found',
            MESSAGE = format('the slug of the event is %s', CASE WHEN event_slug IS NULL THEN 'null' ELSE 'empty' END),
            HINT = 'SELECT slug FROM kaggle.events; lists those that are there.';
    END IF;
    SELECT * INTO event FROM events e WHERE e.slug = lower(trimmed(find_event.event_slug) COLLATE "C");
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('no event %L in kaggle.events', event_slug),
            DETAIL = 'SELECT slug FROM kaggle.events; lists those that are there.',
            HINT = coalesce(
                'Did you mean ' || quote_literal(nearest(event_slug, ARRAY(SELECT e.slug FROM events e))) || '?',
                format('INSERT INTO kaggle.events (slug, title) VALUES (%L, %L);', lower(event_slug COLLATE "C"), event_slug));
    END IF;
    RETURN event;
END $$;
COMMENT ON FUNCTION kaggle_internal.find_event(text) IS 'The event of a slug, capitals do not matter. Raises no_data_found for an unknown one.';
