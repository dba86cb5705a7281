-- A board as Kaggle's file.

CREATE OR REPLACE FUNCTION kaggle_internal.csv_field(field text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    -- Kaggle quotes for a space, a comma and a quotation mark; line ends, which it has never shown, would break the file.
    SELECT CASE WHEN field ~ '[ ,"\r\n]' THEN '"' || replace(field, '"', '""') || '"' ELSE field END
$$;
COMMENT ON FUNCTION kaggle_internal.csv_field(text) IS 'A field as it stands in Kaggle''s file: quoted where it must be.';

CREATE OR REPLACE FUNCTION kaggle_internal.board_as_csv(board_id bigint, at timestamptz) RETURNS SETOF text
LANGUAGE sql STABLE ROWS 1000 SET search_path = kaggle, kaggle_internal, pg_temp
SET datestyle = 'ISO, MDY' SET enable_nestloop = off AS $$
    SELECT concat_ws(',', coalesce(v.rank, 0), v.team_id, csv_field(v.team_name),
                     coalesce(csv_field((v.last_submission_at AT TIME ZONE 'UTC')::text), ''),
                     coalesce(v.score::text, ''), coalesce(v.submission_count::text, ''),
                     csv_field(array_to_string(v.member_usernames, ',')))
    FROM versions(board_as_csv.board_id, board_as_csv.at) v ORDER BY v.order_key
$$;
COMMENT ON FUNCTION kaggle_internal.board_as_csv(bigint, timestamptz) IS 'The rows of Kaggle''s file for a board as it was at a moment, without the header.';

CREATE OR REPLACE FUNCTION kaggle_internal.boards_to_export(kaggle_competition_id text, every boolean)
RETURNS TABLE (board_id bigint, slug text, kind text, at timestamptz)
LANGUAGE plpgsql STABLE ROWS 100 SET search_path = kaggle, kaggle_internal, pg_temp AS $$
#variable_conflict use_column
DECLARE
    shown constant boards := find_board($1);
BEGIN
    IF NOT every THEN
        RETURN QUERY SELECT shown.id, shown.slug, shown.kind, shown.observed_at WHERE shown.id IS NOT NULL;
        RETURN;
    END IF;
    RETURN QUERY
    SELECT b.id, b.slug, b.kind, m.at
    FROM boards b
    CROSS JOIN LATERAL (
        SELECT r.observed_at AS at FROM sync_runs r
        WHERE r.competition_id = b.competition_id AND r.board_id = b.id AND r.outcome = 'changed' AND NOT r.is_merged
          AND r.observed_at >= coalesce(b.history_from, '-infinity')
        UNION                             -- what held at the pruned horizon began before it
        SELECT b.history_from WHERE b.history_from > b.observed_from) m
    WHERE b.competition_id = shown.competition_id AND lower(b.slug COLLATE "C") = lower(shown.slug COLLATE "C")
    ORDER BY m.at, b.kind DESC;
END $$;
COMMENT ON FUNCTION kaggle_internal.boards_to_export(text, boolean) IS 'The boards of a slug that can be written to files: the one that is shown now, or every one that is known at each moment at which it changed.';
