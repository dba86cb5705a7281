-- A row of kaggle.competitions or kaggle.events as it is stored: defaults, slugs, the status that follows
-- from the dates, and which columns Kaggle may fill. These triggers see one row and write nothing else.

CREATE OR REPLACE FUNCTION kaggle_internal.status_by_dates(start_date timestamptz, end_date timestamptz) RETURNS text
LANGUAGE sql VOLATILE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT CASE WHEN end_date <= clock_timestamp() THEN 'completed'
                WHEN start_date > clock_timestamp() THEN 'upcoming'
                ELSE 'ongoing' END
$$;
COMMENT ON FUNCTION kaggle_internal.status_by_dates(timestamptz, timestamptz) IS 'The status that these dates give now: completed after the end, upcoming before the start, else ongoing.';

CREATE OR REPLACE FUNCTION kaggle_internal.status_after_dates_moved(
    status text, start_date timestamptz, start_moved boolean, end_date timestamptz, end_moved boolean)
RETURNS text
LANGUAGE sql VOLATILE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT CASE
        WHEN end_moved AND status <> 'completed' AND end_date <= clock_timestamp() THEN 'completed'
        WHEN start_moved AND status = 'upcoming' AND start_date <= clock_timestamp() THEN 'ongoing'
        ELSE status END
$$;
COMMENT ON FUNCTION kaggle_internal.status_after_dates_moved(text, timestamptz, boolean, timestamptz, boolean) IS 'The status after a date was moved or passed: a passed end completes, a passed start begins; a date that did not move says nothing.';

CREATE OR REPLACE FUNCTION kaggle_internal.complete_competition() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    event events;
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
    NEW.filled_by_kaggle := coalesce(NEW.filled_by_kaggle, '{}');
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
        NEW.dates_checked_at := clock_timestamp();
        NEW.updated_at := coalesce(NEW.updated_at, now());
        IF NEW.event_id IS NOT NULL AND (NEW.start_date IS NULL OR NEW.end_date IS NULL) THEN
            SELECT * INTO event FROM events WHERE id = NEW.event_id;
            NEW.start_date := coalesce(NEW.start_date, event.start_date);
            NEW.end_date := coalesce(NEW.end_date, event.end_date);
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
           OR cardinality(OLD.filled_by_kaggle) > 0 THEN
            NEW := forget_what_kaggle_filled(OLD, NEW);
        END IF;
        IF NEW.status IS NOT DISTINCT FROM OLD.status THEN
            NEW.status := status_after_dates_moved(NEW.status,
                NEW.start_date, NEW.start_date > OLD.dates_checked_at
                    -- A past start that Kaggle fills in says nothing against a status of upcoming.
                    OR NEW.start_date IS DISTINCT FROM OLD.start_date
                       AND current_setting('kaggle.filling', true) IS DISTINCT FROM 'on',
                NEW.end_date, NEW.end_date IS DISTINCT FROM OLD.end_date OR NEW.end_date > OLD.dates_checked_at);
        END IF;
        IF NEW.status IS DISTINCT FROM OLD.status OR NEW.start_date IS DISTINCT FROM OLD.start_date
           OR NEW.end_date IS DISTINCT FROM OLD.end_date THEN
            NEW.dates_checked_at := clock_timestamp();
        END IF;
    END IF;
    IF NEW.status IS NULL THEN
        NEW.status := status_by_dates(NEW.start_date, NEW.end_date);
    END IF;

    -- The same rules stand as CHECK constraints, for rows that come without triggers; a constraint cannot hint.
    IF NEW.sync_interval < '1 minute' THEN
        PERFORM refuse('sync_interval_is_at_least_a_minute',
            format('sync_interval is %s', NEW.sync_interval),
            'Kaggle is asked at most once a minute for one competition: give 1 minute or more.');
    ELSIF NEW.sync_interval > '36525 days' THEN
        PERFORM refuse('sync_interval_is_at_most_a_century', format('sync_interval is %s', NEW.sync_interval),
            'Set auto_sync to false to have no sync by the clock.');
    ELSIF extract(year FROM NEW.sync_interval) <> 0 OR extract(month FROM NEW.sync_interval) <> 0 THEN
        PERFORM refuse('sync_interval_has_no_months', format('sync_interval is %s', NEW.sync_interval),
            'The length of a month varies: give days, hours and minutes.');
    ELSIF extract(year FROM NEW.history_interval) <> 0 OR extract(month FROM NEW.history_interval) <> 0 THEN
        PERFORM refuse('history_interval_has_no_months', format('history_interval is %s', NEW.history_interval),
            'The length of a month varies: give days, hours and minutes.');
    ELSIF NEW.end_date < NEW.start_date THEN
        PERFORM refuse('competition_does_not_end_before_it_starts',
            format('end_date %s lies before start_date %s', NEW.end_date, NEW.start_date),
            'Give an end_date that is not before start_date; dates that are not given are the event''s.');
    ELSIF NOT (NEW.rating_weight >= 0 AND NEW.rating_weight < 'Infinity') THEN
        PERFORM refuse('rating_weight_is_not_negative',
            format('rating_weight is %s', NEW.rating_weight), 'Give 0 or a positive number.');
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
        SELECT name FROM unnest(before.filled_by_kaggle) AS name
        WHERE to_jsonb(after) -> name IS NOT DISTINCT FROM to_jsonb(before) -> name);
BEGIN
    IF is_another THEN
        after.link_revision := nextval('link_revisions');
    END IF;
    IF current_setting('kaggle.filling', true) = 'on' THEN
        RETURN after;                     -- no user's edit: kaggle_internal.fill_from_kaggle is writing
    ELSIF NOT is_another OR after.kaggle_competition_id IS NULL THEN
        after.filled_by_kaggle := untouched;
        RETURN after;
    END IF;
    -- Another Kaggle competition: what the former one had filled in goes with it.
    IF 'end_date' = ANY (untouched) AND before.status = 'completed' AND after.status = 'completed'
       AND before.end_date <= clock_timestamp() THEN
        after.status := NULL;             -- it was the former competition that had ended
    END IF;
    after.filled_by_kaggle := '{}';
    RETURN jsonb_populate_record(after, (SELECT jsonb_object_agg(name, NULL) FROM unnest(untouched) AS name));
END $$;
COMMENT ON FUNCTION kaggle_internal.forget_what_kaggle_filled(kaggle.competitions, kaggle.competitions) IS 'The row after an update: a column that the user edited no longer follows Kaggle; under another Kaggle id what Kaggle had filled in is reset.';

CREATE OR REPLACE TRIGGER complete_competition BEFORE INSERT OR UPDATE ON kaggle.competitions
    FOR EACH ROW EXECUTE FUNCTION kaggle_internal.complete_competition();
COMMENT ON TRIGGER complete_competition ON kaggle.competitions IS 'Fills defaults, turns a URL into its slug, lets the dates act on the status.';

CREATE OR REPLACE FUNCTION kaggle_internal.complete_event() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    NEW.id := coalesce(NEW.id, nextval(pg_get_serial_sequence('kaggle.events', 'id')));
    NEW.status := nullif(NEW.status, '');
    NEW.is_featured := coalesce(NEW.is_featured, false);
    NEW.only_since_start := coalesce(NEW.only_since_start, false);
    NEW.points_by_place := nullif(NEW.points_by_place, '{}');
    NEW.created_at := coalesce(NEW.created_at, now());
    NEW.updated_at := now();
    IF TG_OP = 'UPDATE' AND NEW.status IS NOT DISTINCT FROM OLD.status
       AND (NEW.start_date IS DISTINCT FROM OLD.start_date OR NEW.end_date IS DISTINCT FROM OLD.end_date) THEN
        NEW.status := NULL;
    END IF;
    IF NEW.status IS NULL THEN
        NEW.status := status_by_dates(NEW.start_date, NEW.end_date);
    END IF;
    IF TG_OP = 'INSERT' OR NEW.status IS DISTINCT FROM OLD.status
       OR NEW.start_date IS DISTINCT FROM OLD.start_date OR NEW.end_date IS DISTINCT FROM OLD.end_date THEN
        NEW.dates_checked_at := clock_timestamp();
    END IF;
    IF NEW.end_date < NEW.start_date THEN
        PERFORM refuse('event_does_not_end_before_it_starts',
            format('end_date %s lies before start_date %s', NEW.end_date, NEW.start_date),
            'Give an end_date that is not before start_date.');
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION kaggle_internal.complete_event() IS 'Trigger: fills defaults and lets the dates give the status, unless the same statement sets another.';

CREATE OR REPLACE TRIGGER complete_event BEFORE INSERT OR UPDATE ON kaggle.events
    FOR EACH ROW EXECUTE FUNCTION kaggle_internal.complete_event();
COMMENT ON TRIGGER complete_event ON kaggle.events IS 'Fills defaults and lets the dates give the status.';
