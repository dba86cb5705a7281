-- A row of kaggle.competitions or kaggle.events as it is stored: defaults, slugs, the status that follows
-- from the dates, and which columns Kaggle may fill. These triggers see one row and write nothing else.

-- A body that is parsed when it is created needs no search_path, and is expanded where it is called: for each row.
CREATE OR REPLACE FUNCTION kaggle_internal.status_by_dates(start_date timestamptz, end_date timestamptz) RETURNS text
LANGUAGE sql VOLATILE
RETURN CASE WHEN end_date <= clock_timestamp() THEN 'completed'
            WHEN start_date > clock_timestamp() THEN 'upcoming'
            ELSE 'ongoing' END;
COMMENT ON FUNCTION kaggle_internal.status_by_dates(timestamptz, timestamptz) IS 'The status that these dates give now: completed after the end, upcoming before the start, else ongoing.';

CREATE OR REPLACE FUNCTION kaggle_internal.settled_status(
    status text, before text, before_by text, start_date timestamptz, start_acts boolean, end_date timestamptz,
    end_acts boolean) RETURNS text
LANGUAGE sql VOLATILE
RETURN CASE
    WHEN status IS NULL OR status = before AND before_by = 'dates' THEN kaggle_internal.status_by_dates(start_date, end_date)
    -- A person's, until a date says otherwise.
    WHEN status = before AND end_acts AND end_date <= clock_timestamp() THEN 'completed'
    WHEN status = before AND start_acts AND status = 'upcoming' AND start_date <= clock_timestamp() THEN 'ongoing'
    ELSE status END;
COMMENT ON FUNCTION kaggle_internal.settled_status(text, text, text, timestamptz, boolean, timestamptz, boolean) IS 'The status of a row that is written. status: as it is written; the one from before sets nothing, null gives it back to the dates. before, before_by: of the row until now, null = it is new. acts: whether the date has moved, or passed, so that it overrules what a person set.';

CREATE OR REPLACE FUNCTION kaggle_internal.status_is_by(
    status text, before text, before_by text, start_date timestamptz, end_date timestamptz, is_given_back boolean,
    has_moved boolean) RETURNS text
LANGUAGE sql VOLATILE
-- An upsert with a null status and new dates cannot be told from a repetition: EXCLUDED holds what the dates say.
RETURN CASE WHEN status = before AND before_by = 'person' AND NOT is_given_back AND (status = 'completed' OR NOT has_moved)
                THEN 'person'
            WHEN status = kaggle_internal.status_by_dates(start_date, end_date) THEN 'dates'
            ELSE 'person' END;
COMMENT ON FUNCTION kaggle_internal.status_is_by(text, text, text, timestamptz, timestamptz, boolean, boolean) IS 'Whether dates or a person set the status that is written; see settled_status. A person''s stays one: completed until it is given back, another one until dates that move say the same.';

CREATE OR REPLACE FUNCTION kaggle_internal.derived_date(
    of_event timestamptz, of_kaggle timestamptz, not_before timestamptz, not_after timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE
RETURN CASE WHEN of_event IS NOT NULL AND (of_event < not_before OR of_event > not_after) IS NOT TRUE THEN of_event
            WHEN (of_kaggle < not_before OR of_kaggle > not_after) IS NOT TRUE THEN of_kaggle END;
COMMENT ON FUNCTION kaggle_internal.derived_date(timestamptz, timestamptz, timestamptz, timestamptz) IS 'A date that nobody gave: the event''s, else Kaggle''s, as far as it contradicts neither bound; a bound that is null is none.';

CREATE OR REPLACE FUNCTION kaggle_internal.complete_competition() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp
SET enable_seqscan = off AS $$         -- a plan is kept from when the table was small
DECLARE
    event events;
    there competitions;        -- what an INSERT ... ON CONFLICT DO UPDATE meets
    is_given_back constant boolean := coalesce(NEW.status, '') = '';        -- the status, to the dates
    start_is_given boolean;    -- by a person
    end_is_given boolean;
    rest_moves boolean;        -- what dates that nobody gave follow
    refusal text[];            -- the rule that is broken, how, and what is wanted
BEGIN
    -- NULL or '' is the default: ORMs send every column.
    NEW.kaggle_competition_id := nullif(NEW.kaggle_competition_id, '');
    NEW.title := nullif(NEW.title, '');
    NEW.status := nullif(NEW.status, '');
    NEW.rating_weight := coalesce(NEW.rating_weight, 1.0);
    NEW.is_featured := coalesce(NEW.is_featured, false);
    NEW.auto_sync := coalesce(NEW.auto_sync, true);
    NEW.sync_interval := coalesce(NEW.sync_interval, '5 minutes');
    NEW.points_for_perfect_score := coalesce(NEW.points_for_perfect_score, 100);
    NEW.filled_by_kaggle := coalesce(NEW.filled_by_kaggle, '');
    NEW.created_at := coalesce(NEW.created_at, now());

    IF NEW.kaggle_competition_id IS NOT NULL THEN
        NEW.kaggle_competition_id := slug_of(NEW.kaggle_competition_id);
    ELSIF NEW.title IS NULL THEN
        PERFORM refuse('title_is_required_without_kaggle_competition_id',
            'a competition that is not on Kaggle yet needs a title',
            'Give kaggle_competition_id (the slug in the URL) or title.');
    END IF;

    IF TG_OP = 'INSERT' THEN
        NEW.id := coalesce(NEW.id, nextval(pg_get_serial_sequence('kaggle.competitions', 'id')));
        NEW.link_revision := nextval('link_revisions');
        NEW.updated_at := coalesce(NEW.updated_at, now());
        -- EXCLUDED holds what is made of the row here: a status that is null is what the dates of the row that is there say.
        IF is_given_back THEN
            SELECT * INTO there FROM competitions c
            WHERE c.id = NEW.id OR lower(c.kaggle_competition_id COLLATE "C") = lower(NEW.kaggle_competition_id COLLATE "C");
        END IF;
    ELSE
        IF NEW.id <> OLD.id THEN
            RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',
                MESSAGE = 'the id of a competition cannot change',
                HINT = 'Boards and history belong to it. Insert another competition instead.';
        END IF;
        NEW.updated_at := now();
        NEW.link_revision := OLD.link_revision;
        IF NEW.kaggle_competition_id IS DISTINCT FROM OLD.kaggle_competition_id
           OR OLD.filled_by_kaggle || NEW.filled_by_kaggle <> '' THEN
            NEW := forget_what_kaggle_filled(OLD, NEW);
        END IF;
        NEW.start_date_filled := OLD.start_date_filled;
        NEW.end_date_filled := OLD.end_date_filled;
    END IF;

    -- A date that nobody gave is the event's, else Kaggle's: determined anew where either moves, or it is null.
    start_is_given := NEW.start_date IS DISTINCT FROM NEW.start_date_filled AND NEW.start_date IS NOT NULL;
    end_is_given := NEW.end_date IS DISTINCT FROM NEW.end_date_filled AND NEW.end_date IS NOT NULL;
    rest_moves := TG_OP = 'INSERT' OR (NEW.event_id, NEW.kaggle_start, NEW.kaggle_deadline)
                                      IS DISTINCT FROM (OLD.event_id, OLD.kaggle_start, OLD.kaggle_deadline);
    IF NEW.event_id IS NOT NULL THEN
        SELECT * INTO event FROM events WHERE id = NEW.event_id;
    END IF;
    IF event.id IS DISTINCT FROM NEW.event_id THEN                   -- row level security hides it
        NEW.start_date := coalesce(NEW.start_date, OLD.start_date);
        NEW.end_date := coalesce(NEW.end_date, OLD.end_date);
    ELSE
        IF end_is_given THEN
            NEW.end_date_filled := NULL;
        ELSIF NEW.end_date IS NULL OR rest_moves OR NEW.start_date IS DISTINCT FROM OLD.start_date THEN
            NEW.end_date := derived_date(event.end_date, NEW.kaggle_deadline,
                                         CASE WHEN start_is_given THEN NEW.start_date END, NULL);
            NEW.end_date_filled := NEW.end_date;
        END IF;
        IF start_is_given THEN
            NEW.start_date_filled := NULL;
        ELSIF NEW.start_date IS NULL OR rest_moves OR NEW.end_date IS DISTINCT FROM OLD.end_date THEN
            NEW.start_date := derived_date(event.start_date, NEW.kaggle_start, NULL, NEW.end_date);
            NEW.start_date_filled := NEW.start_date;
        END IF;
    END IF;
    NEW.status := settled_status(
        NEW.status, OLD.status, OLD.status_by,
        coalesce(NEW.start_date, there.start_date), NEW.start_date > OLD.dates_checked_at
            -- A past start that nobody gave says nothing against a status of upcoming.
            OR start_is_given AND NEW.start_date IS DISTINCT FROM OLD.start_date,
        coalesce(NEW.end_date, there.end_date),
        NEW.end_date > OLD.dates_checked_at OR NEW.end_date IS DISTINCT FROM OLD.end_date);
    NEW.status_by := status_is_by(NEW.status, OLD.status, OLD.status_by, NEW.start_date, NEW.end_date, is_given_back,
                                  (NEW.start_date, NEW.end_date) IS DISTINCT FROM (OLD.start_date, OLD.end_date));
    NEW.dates_checked_at := clock_timestamp();
    NEW.completed_at := CASE WHEN NEW.status = 'completed'
                             THEN coalesce(NEW.completed_at, OLD.completed_at, there.completed_at, NEW.dates_checked_at) END;

    -- The same rules stand as CHECK constraints, for rows that come without triggers; a constraint cannot hint.
    refusal := CASE
        WHEN NEW.sync_interval < '1 minute' THEN
            ARRAY['sync_interval_is_at_least_a_minute', format('sync_interval is %s', NEW.sync_interval),
                  'Kaggle is asked at most once a minute for one competition: give 1 minute or more.']
        WHEN NEW.sync_interval > '36525 days' THEN
            ARRAY['sync_interval_is_at_most_a_century', format('sync_interval is %s', NEW.sync_interval),
                  'Set auto_sync to false to have no sync by the clock.']
        WHEN extract(year FROM NEW.sync_interval) <> 0 OR extract(month FROM NEW.sync_interval) <> 0 THEN
            ARRAY['sync_interval_has_no_months', format('sync_interval is %s', NEW.sync_interval),
                  'The length of a month varies: give days, hours and minutes.']
        WHEN NEW.history_interval < '0' THEN
            ARRAY['history_interval_is_not_negative', format('history_interval is %s', NEW.history_interval),
                  'Give null to keep every board.']
        WHEN NEW.history_interval > '36525 days' THEN
            ARRAY['history_interval_is_at_most_a_century', format('history_interval is %s', NEW.history_interval),
                  'Give days or less.']
        WHEN extract(year FROM NEW.history_interval) <> 0 OR extract(month FROM NEW.history_interval) <> 0 THEN
            ARRAY['history_interval_has_no_months', format('history_interval is %s', NEW.history_interval),
                  'The length of a month varies: give days, hours and minutes.']
        WHEN NEW.end_date < NEW.start_date THEN
            ARRAY['competition_does_not_end_before_it_starts',
                  format('end_date %s lies before start_date %s', NEW.end_date, NEW.start_date),
                  'Give an end_date that is not before start_date.']
        WHEN NEW.status NOT IN ('upcoming', 'ongoing', 'completed') THEN
            ARRAY['status_is_known', format('status is %L', NEW.status),
                  'Give upcoming, ongoing or completed; null = by the dates.']
        WHEN NEW.max_submissions_per_day < 0 THEN
            ARRAY['max_submissions_per_day_is_not_negative', format('max_submissions_per_day is %s', NEW.max_submissions_per_day),
                  'Give null if it is unknown.']
        WHEN NOT (NEW.rating_weight >= 0 AND NEW.rating_weight < 'Infinity') THEN
            ARRAY['rating_weight_is_not_negative', format('rating_weight is %s', NEW.rating_weight),
                  'Give 0 or a positive number.']
        WHEN NOT (NEW.points_for_perfect_score >= 0 AND NEW.points_for_perfect_score < 'Infinity') THEN
            ARRAY['points_for_perfect_score_is_not_negative',
                  format('points_for_perfect_score is %s', NEW.points_for_perfect_score), 'Give 0 or a positive number.']
        WHEN (NEW.metric_min_value IS NULL) <> (NEW.metric_max_value IS NULL)
             OR NOT (NEW.metric_min_value < NEW.metric_max_value
                     AND NEW.metric_min_value > '-Infinity' AND NEW.metric_max_value < 'Infinity') THEN
            ARRAY['metric_values_come_together_and_ascend',
                  format('metric_min_value is %s and metric_max_value %s',
                         coalesce(NEW.metric_min_value::text, 'null'), coalesce(NEW.metric_max_value::text, 'null')),
                  'Give both, the lower one first, or neither.'] END;
    IF refusal IS NOT NULL THEN
        PERFORM refuse(refusal[1], refusal[2], refusal[3]);
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION kaggle_internal.complete_competition() IS 'Trigger: fills defaults, turns a URL into its slug, lets the dates act on the status, and refuses bad values with a hint.';

CREATE OR REPLACE FUNCTION kaggle_internal.forget_what_kaggle_filled(before kaggle.competitions, after kaggle.competitions)
RETURNS kaggle.competitions
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    is_another constant boolean := lower(after.kaggle_competition_id COLLATE "C") IS DISTINCT FROM lower(before.kaggle_competition_id COLLATE "C");
    untouched constant text[] := ARRAY(
        SELECT name FROM unnest(string_to_array(before.filled_by_kaggle, ',')) AS name
        WHERE to_jsonb(after) -> name IS NOT DISTINCT FROM to_jsonb(before) -> name);
BEGIN
    IF is_another THEN
        after.link_revision := nextval('link_revisions');
    END IF;
    IF current_setting('kaggle.filling', true) = 'on' THEN
        RETURN after;                     -- no user's edit: kaggle_internal.fill_from_kaggle is writing
    ELSIF NOT is_another OR after.kaggle_competition_id IS NULL THEN
        after.filled_by_kaggle := array_to_string(untouched, ',');
        RETURN after;
    END IF;
    -- Another Kaggle competition: what the former one had filled in goes with it.
    after.kaggle_start := NULL;
    after.kaggle_deadline := NULL;
    after.filled_by_kaggle := '';
    RETURN jsonb_populate_record(after, (SELECT jsonb_object_agg(name, NULL) FROM unnest(untouched) AS name));
END $$;
COMMENT ON FUNCTION kaggle_internal.forget_what_kaggle_filled(kaggle.competitions, kaggle.competitions) IS 'The row after an update: a column that the user edited no longer follows Kaggle; under another Kaggle id what Kaggle had said is reset.';

CREATE OR REPLACE TRIGGER complete_competition BEFORE INSERT OR UPDATE ON kaggle.competitions
    FOR EACH ROW EXECUTE FUNCTION kaggle_internal.complete_competition();
COMMENT ON TRIGGER complete_competition ON kaggle.competitions IS 'Fills defaults, turns a URL into its slug, lets the dates act on the status.';

CREATE OR REPLACE FUNCTION kaggle_internal.complete_event() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp
SET enable_seqscan = off AS $$         -- a plan is kept from when the table was small
DECLARE
    there events;              -- what an INSERT ... ON CONFLICT DO UPDATE meets
    is_given_back constant boolean := coalesce(NEW.status, '') = '';        -- the status, to the dates
    refusal text[];            -- the rule that is broken, how, and what is wanted
BEGIN
    NEW.id := coalesce(NEW.id, nextval(pg_get_serial_sequence('kaggle.events', 'id')));
    NEW.slug := trimmed(NEW.slug);
    NEW.status := nullif(NEW.status, '');
    NEW.is_featured := coalesce(NEW.is_featured, false);
    NEW.only_since_start := coalesce(NEW.only_since_start, false);
    NEW.counts_private := coalesce(NEW.counts_private, true);
    NEW.points_by_place := nullif(NEW.points_by_place, '{}');
    NEW.created_at := coalesce(NEW.created_at, now());
    NEW.updated_at := now();
    IF current_setting('kaggle.finalizing', true) IS DISTINCT FROM 'on' THEN
        IF NEW.final_at IS DISTINCT FROM OLD.final_at THEN
            PERFORM refuse('final_at_is_set_by_finalize_event', 'final_at cannot be given',
                           format('SELECT * FROM kaggle.finalize_event(%L); or SELECT kaggle.reopen_event(%1$L);', NEW.slug));
        ELSIF OLD.final_at IS NOT NULL AND (NEW.start_date IS DISTINCT FROM OLD.start_date
                                            OR NEW.end_date IS DISTINCT FROM OLD.end_date) THEN
            PERFORM refuse('dates_of_a_final_event_stay', format('event %L is final: its dates cannot change', OLD.slug),
                           format('SELECT kaggle.reopen_event(%L); first.', OLD.slug));
        END IF;
    END IF;
    IF TG_OP = 'INSERT' AND is_given_back THEN      -- as of a competition
        SELECT * INTO there FROM events e WHERE e.id = NEW.id OR e.slug = NEW.slug;
    END IF;
    NEW.status := settled_status(
        NEW.status, OLD.status, OLD.status_by,
        coalesce(NEW.start_date, there.start_date),
        NEW.start_date > OLD.dates_checked_at OR NEW.start_date IS DISTINCT FROM OLD.start_date,
        coalesce(NEW.end_date, there.end_date),
        NEW.end_date > OLD.dates_checked_at OR NEW.end_date IS DISTINCT FROM OLD.end_date);
    NEW.status_by := status_is_by(NEW.status, OLD.status, OLD.status_by, NEW.start_date, NEW.end_date, is_given_back,
                                  (NEW.start_date, NEW.end_date) IS DISTINCT FROM (OLD.start_date, OLD.end_date));
    NEW.dates_checked_at := clock_timestamp();
    refusal := CASE
        WHEN NEW.end_date < NEW.start_date THEN
            ARRAY['event_does_not_end_before_it_starts',
                  format('end_date %s lies before start_date %s', NEW.end_date, NEW.start_date),
                  'Give an end_date that is not before start_date.']
        WHEN (NEW.slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$' AND length(NEW.slug) <= 100) IS NOT TRUE THEN
            ARRAY['event_slug_is_lower_case_words_joined_by_hyphens', format('slug is %L', left(NEW.slug, 120)),
                  'Give lower-case words joined by hyphens, e.g. neural-night.']
        WHEN NEW.title IS NULL THEN
            ARRAY['event_has_a_title', 'title is missing', 'Give a name for people, e.g. Neural Night.']
        WHEN NEW.status NOT IN ('upcoming', 'ongoing', 'completed') THEN
            ARRAY['event_status_is_known', format('status is %L', NEW.status),
                  'Give upcoming, ongoing or completed; null = by the dates.']
        WHEN NOT (array_ndims(NEW.points_by_place) = 1 AND array_lower(NEW.points_by_place, 1) = 1
                  AND array_position(NEW.points_by_place, NULL) IS NULL
                  AND 0 <= ALL (NEW.points_by_place) AND 'Infinity'::numeric > ALL (NEW.points_by_place)) THEN
            ARRAY['points_by_place_are_a_list_of_numbers_that_are_not_negative',
                  format('points_by_place is %s', left(NEW.points_by_place::text, 120)),
                  'Give a list like {10,8,6,5,4,3,2,1}; null = points by score or place.'] END;
    IF refusal IS NOT NULL THEN
        PERFORM refuse(refusal[1], refusal[2], refusal[3]);
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION kaggle_internal.complete_event() IS 'Trigger: fills defaults, lets the dates act on the status, keeps a final event from being moved, and refuses bad values with a hint.';

CREATE OR REPLACE TRIGGER complete_event BEFORE INSERT OR UPDATE ON kaggle.events
    FOR EACH ROW EXECUTE FUNCTION kaggle_internal.complete_event();
COMMENT ON TRIGGER complete_event ON kaggle.events IS 'Fills defaults and lets the dates give the status.';

CREATE OR REPLACE FUNCTION kaggle_internal.complete_event_competition() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    refusal constant text[] := CASE
        WHEN NEW.event_id IS NULL THEN
            ARRAY['counted_in_an_existing_event', 'event_id is missing', 'SELECT id, slug FROM kaggle.events lists them.']
        WHEN NEW.competition_id IS NULL THEN
            ARRAY['counts_an_existing_competition', 'competition_id is missing',
                  'SELECT id, kaggle_competition_id FROM kaggle.competitions lists them.']
        WHEN NOT (NEW.rating_weight >= 0 AND NEW.rating_weight < 'Infinity') THEN
            ARRAY['counted_rating_weight_is_not_negative', format('rating_weight is %s', NEW.rating_weight),
                  'Give 0 or a positive number; null = the competition''s.']
        WHEN NOT (NEW.points_for_perfect_score >= 0 AND NEW.points_for_perfect_score < 'Infinity') THEN
            ARRAY['counted_points_for_perfect_score_is_not_negative',
                  format('points_for_perfect_score is %s', NEW.points_for_perfect_score),
                  'Give 0 or a positive number; null = the competition''s.']
        WHEN (NEW.metric_min_value IS NULL) <> (NEW.metric_max_value IS NULL)
             OR NOT (NEW.metric_min_value < NEW.metric_max_value
                     AND NEW.metric_min_value > '-Infinity' AND NEW.metric_max_value < 'Infinity') THEN
            ARRAY['counted_metric_values_come_together_and_ascend',
                  format('metric_min_value is %s and metric_max_value %s',
                         coalesce(NEW.metric_min_value::text, 'null'), coalesce(NEW.metric_max_value::text, 'null')),
                  'Give both, the lower one first, or neither.'] END;
BEGIN
    IF refusal IS NOT NULL THEN
        PERFORM refuse(refusal[1], refusal[2], refusal[3]);
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION kaggle_internal.complete_event_competition() IS 'Trigger: refuses bad values with a hint.';

CREATE OR REPLACE TRIGGER complete_event_competition BEFORE INSERT OR UPDATE ON kaggle.event_competitions
    FOR EACH ROW EXECUTE FUNCTION kaggle_internal.complete_event_competition();
COMMENT ON TRIGGER complete_event_competition ON kaggle.event_competitions IS 'Refuses bad values with a hint.';
