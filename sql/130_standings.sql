-- The standing of an event: what its competitions earn a user, by the rules of docs/standings.md, now or at a moment.

CREATE OR REPLACE FUNCTION kaggle_internal.known_board(competition kaggle.competitions, at timestamptz) RETURNS kaggle.boards
LANGUAGE sql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT b FROM boards b
    WHERE b.competition_id = competition.id AND lower(b.slug COLLATE "C") = lower(competition.kaggle_competition_id COLLATE "C")
      AND coalesce(b.observed_from, '-infinity') <= known_board.at
    ORDER BY b.kind LIMIT 1               -- private, once it is there, before public
$$;
COMMENT ON FUNCTION kaggle_internal.known_board(kaggle.competitions, timestamptz) IS 'The board that a competition showed at a moment: the private one once it was there; null before the first sync.';

CREATE OR REPLACE FUNCTION kaggle_internal.is_pruned(board kaggle.boards, at timestamptz) RETURNS boolean
LANGUAGE sql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT at < board.history_from AND at <> ALL (board.kept_at)
       AND EXISTS (SELECT FROM sync_runs r WHERE r.board_id = board.id AND r.outcome = 'changed'
                   AND r.observed_at > at AND r.observed_at <= board.history_from)
$$;
COMMENT ON FUNCTION kaggle_internal.is_pruned(kaggle.boards, timestamptz) IS 'Whether a board at a moment is gone: it lies before the horizon, the board changed until there, and it was not kept.';

CREATE OR REPLACE FUNCTION kaggle_internal.known_direction(
    competition kaggle.competitions, board kaggle.boards, at timestamptz) RETURNS boolean
LANGUAGE sql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    -- A board may tell another direction later, or tell it later only: what the last run until then knew counts.
    SELECT CASE
        WHEN competition.higher_is_better IS NOT NULL THEN competition.higher_is_better
        WHEN board.observed_at <= at THEN board.higher_is_better
        ELSE (SELECT r.higher_is_better FROM sync_runs r
              WHERE r.board_id = board.id AND r.observed_at <= at AND r.higher_is_better IS NOT NULL
              ORDER BY r.observed_at DESC LIMIT 1)
    END
$$;
COMMENT ON FUNCTION kaggle_internal.known_direction(kaggle.competitions, kaggle.boards, timestamptz) IS 'Whether higher scores are better, as far as that was known at a moment: said by the competition, else read off the board; null = unknown then.';

CREATE OR REPLACE FUNCTION kaggle_internal.results(event_id bigint, at timestamptz)
RETURNS TABLE (kaggle_username text, competition_id bigint, kaggle_competition_id text, board text, team_id bigint,
               team_name text, place bigint, teams bigint, score numeric, last_submission_at timestamptz,
               observed_at timestamptz, counted_by text, weight numeric, points numeric)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1000 SET search_path = kaggle, kaggle_internal, pg_temp AS $$
#variable_conflict use_column
DECLARE
    event events;
    has_roster constant boolean := EXISTS (SELECT FROM event_participants r
                                           WHERE r.event_id = results.event_id AND NOT r.excluded);
BEGIN
    SELECT * INTO event FROM events e WHERE e.id = results.event_id;
    RETURN QUERY
    -- One pass from the entries to the users, without a join: the planner knows nothing of how many there are.
    WITH roster AS MATERIALIZED (
        SELECT lower(r.kaggle_username COLLATE "C") AS who
        FROM event_participants r WHERE r.event_id = event.id AND NOT r.excluded
    ), excluded AS MATERIALIZED (
        SELECT lower(r.kaggle_username COLLATE "C") AS who
        FROM event_participants r WHERE r.event_id = event.id AND r.excluded
    ), counted AS MATERIALIZED (
        SELECT c.id AS competition_id, (b.board).slug, (b.board).kind, (b.board).id AS board_id,
               observed(b.board, results.at) AS observed_at,
               coalesce(x.rating_weight, c.rating_weight) AS weight,
               coalesce(x.points_for_perfect_score, c.points_for_perfect_score) AS perfect,
               coalesce(x.metric_min_value, c.metric_min_value) AS lowest,
               coalesce(x.metric_max_value, c.metric_max_value) AS highest,
               known_direction(c, b.board, results.at) AS higher_is_better
        FROM event_competitions x
        JOIN competitions c ON c.id = x.competition_id
        CROSS JOIN LATERAL (SELECT known_board(c, results.at) AS board OFFSET 0) b
        WHERE x.event_id = event.id AND (b.board).id IS NOT NULL
    ), taking_part AS (
        SELECT k.*, v.team_id, v.team_name, v.order_key, v.score, v.last_submission_at, v.member_usernames,
               row_number() OVER (PARTITION BY k.competition_id ORDER BY v.order_key) AS nth,
               count(*) OVER (PARTITION BY k.competition_id) AS teams
        FROM counted k CROSS JOIN LATERAL versions(k.board_id, results.at) v
        WHERE NOT v.is_benchmark AND v.score IS NOT NULL
          AND (event.only_since_start AND v.last_submission_at < event.start_date) IS NOT TRUE
          AND CASE WHEN has_roster THEN EXISTS (SELECT FROM unnest(v.member_usernames) AS name
                                                WHERE lower(name COLLATE "C") IN (SELECT o.who FROM roster o))
                   ELSE v.member_usernames = '{}'
                        OR EXISTS (SELECT FROM unnest(v.member_usernames) AS name
                                   WHERE lower(name COLLATE "C") NOT IN (SELECT x.who FROM excluded x)) END
    ), ranked AS (
        SELECT t.*, min(t.nth) OVER (PARTITION BY t.competition_id, t.score) AS best,
               count(*) OVER (PARTITION BY t.competition_id, t.score) AS equals,
               least(greatest(t.score, t.lowest), t.highest) AS bounded,
               CASE WHEN event.points_by_place IS NOT NULL THEN 'table'
                    WHEN t.lowest IS NOT NULL AND t.higher_is_better IS NOT NULL THEN 'score' ELSE 'place' END AS counted_by
        FROM taking_part t
    ), earned AS (
        -- Multiplied first and divided last, with decimals to spare: what comes out even is exact.
        SELECT r.*, r.weight * CASE r.counted_by
                   WHEN 'table' THEN
                       coalesce((SELECT sum(p) FROM unnest(event.points_by_place[r.best:r.best + r.equals - 1]) p), 0)
                       * 1.000000000000000000000000 / r.equals
                   WHEN 'score' THEN
                       r.perfect * (CASE WHEN r.higher_is_better THEN r.bounded - r.lowest ELSE r.highest - r.bounded END)
                       * 1.000000000000000000000000 / (r.highest - r.lowest)
                   ELSE CASE r.teams WHEN 1 THEN r.perfect
                             ELSE r.perfect * (r.teams - r.best) * 1.000000000000000000000000 / (r.teams - 1) END
               END AS points
        FROM ranked r
    )
    SELECT coalesce(p.kaggle_username, min(d.name COLLATE "C") OVER (PARTITION BY d.who)), d.competition_id, d.slug, d.kind,
           d.team_id, d.team_name, d.best, d.teams, d.score, d.last_submission_at, d.observed_at, d.counted_by, d.weight,
           d.points
    FROM (
        -- Who stands in two teams of one board has the better placed one's points.
        SELECT DISTINCT ON (lower(m.name COLLATE "C"), e.competition_id) lower(m.name COLLATE "C") AS who, m.name, e.*
        FROM earned e CROSS JOIN LATERAL unnest(e.member_usernames) AS m (name)
        WHERE m.name <> '' AND CASE WHEN has_roster THEN lower(m.name COLLATE "C") IN (SELECT o.who FROM roster o)
                                    ELSE lower(m.name COLLATE "C") NOT IN (SELECT x.who FROM excluded x) END
        ORDER BY lower(m.name COLLATE "C"), e.competition_id, e.order_key, m.name COLLATE "C") d
    LEFT JOIN participants p ON lower(p.kaggle_username COLLATE "C") = d.who;
END $$;
COMMENT ON FUNCTION kaggle_internal.results(bigint, timestamptz) IS 'What each person earns in each competition of an event, as the boards were at a moment; infinity = now. place: the best rank of the score among those who take part. The rules are in the comment of kaggle.event_standings.';

CREATE OR REPLACE FUNCTION kaggle_internal.standing(event_id bigint, at timestamptz)
RETURNS TABLE (place bigint, kaggle_username text, display_name text, is_registered boolean, points numeric,
               competitions_entered bigint, last_submission_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 1000 SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    WITH total AS (
        SELECT lower(r.kaggle_username COLLATE "C") AS who, r.kaggle_username AS name, sum(r.points) AS points,
               count(*) AS entered, max(r.last_submission_at) AS last_submission_at
        FROM results(standing.event_id, standing.at) r GROUP BY r.kaggle_username
    ), roster AS (
        SELECT lower(r.kaggle_username COLLATE "C") AS who
        FROM event_participants r WHERE r.event_id = standing.event_id AND NOT r.excluded
    ), summed AS (
        SELECT coalesce(p.kaggle_username, t.name) AS kaggle_username, p.display_name,
               p.kaggle_username IS NOT NULL AS is_registered, round(coalesce(t.points, 0), 6) AS points,
               coalesce(t.entered, 0) AS entered, t.last_submission_at
        FROM total t FULL JOIN roster o ON o.who = t.who
        LEFT JOIN participants p ON lower(p.kaggle_username COLLATE "C") = coalesce(o.who, t.who)
    )
    SELECT rank() OVER (ORDER BY s.points DESC, s.entered DESC, s.last_submission_at NULLS LAST) AS place,
           s.kaggle_username, s.display_name, s.is_registered, s.points, s.entered, s.last_submission_at
    FROM summed s
    ORDER BY place, lower(s.kaggle_username COLLATE "C")
$$;
COMMENT ON FUNCTION kaggle_internal.standing(bigint, timestamptz) IS 'The standing of an event as it was at a moment; infinity = now. The rules are in the comment of kaggle.event_standings.';

CREATE OR REPLACE FUNCTION kaggle_internal.check_standing(event_id bigint, at timestamptz) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT min(format('the history of %s begins at %s: what was before is pruned', (b.board).slug, (b.board).history_from))
    FROM event_competitions x
    JOIN competitions c ON c.id = x.competition_id
    CROSS JOIN LATERAL (SELECT known_board(c, check_standing.at) AS board OFFSET 0) b
    WHERE x.event_id = check_standing.event_id AND is_pruned(b.board, check_standing.at)
$$;
COMMENT ON FUNCTION kaggle_internal.check_standing(bigint, timestamptz) IS 'Why the standing of an event at a moment can no longer be told: a board that was pruned beyond it; null = it can.';

CREATE OR REPLACE VIEW kaggle.event_standings AS
SELECT v.id AS event_id, v.slug AS event_slug, s.place, s.kaggle_username, s.display_name, s.is_registered, s.points,
       s.competitions_entered, s.last_submission_at
FROM kaggle.events v
CROSS JOIN LATERAL (
    SELECT coalesce(v.frozen_at, CASE WHEN v.end_date <= statement_timestamp() THEN v.end_date END, 'infinity') AS at
    OFFSET 0) AS shown
CROSS JOIN LATERAL kaggle_internal.standing(v.id, shown.at) AS s
WHERE kaggle_internal.check_standing(v.id, shown.at) IS NULL;
COMMENT ON VIEW kaggle.event_standings IS $$The standing of each event as of frozen_at, else of its end once that has passed, else now. Later syncs never change a final standing.

Points of a team in a competition: where metric_min_value and metric_max_value are set, the score's place between them in the direction of the metric (0 to 1), else by place (teams - r) / (teams - 1), where r is the best rank of its score, so that equal scores earn equal points; also where the direction is unknown. A single team earns all. Times points_for_perfect_score, times rating_weight. With points_by_place of the event: what it lists for the place, times rating_weight; equal scores share the mean of their places. The values of event_competitions go before the competition's. A competition not entered earns 0. A user has the points of the user's team, whoever else is in it.
Who takes part: the teams with a score and with a member who is registered and not excluded; where nobody is registered, with a member who is not excluded; with only_since_start, not those whose last submission lies before the event's start. Ranks and numbers of teams are counted among them. Benchmarks never count.
Who is ranked: all who are registered and not excluded, those who entered nothing with 0 points; where nobody is registered, every member of a team who is not excluded.
Order: more points (rounded to 6 decimals at the end), more competitions entered, the earlier last submission; who is equal in all shares the place.
An event whose moment was pruned from the history (PGLEADERBOARD_HISTORY_DAYS) has no rows; kaggle.event_standings_as_of says which board it was.$$;
COMMENT ON COLUMN kaggle.event_standings.event_id IS 'kaggle.events.id.';
COMMENT ON COLUMN kaggle.event_standings.event_slug IS 'kaggle.events.slug.';
COMMENT ON COLUMN kaggle.event_standings.place IS 'From 1; who is equal in all shares it, and the next place is left out.';
COMMENT ON COLUMN kaggle.event_standings.kaggle_username IS 'In the spelling of kaggle.participants, else of the board.';
COMMENT ON COLUMN kaggle.event_standings.display_name IS 'From kaggle.participants; null = none.';
COMMENT ON COLUMN kaggle.event_standings.is_registered IS 'Whether the user stands in kaggle.participants.';
COMMENT ON COLUMN kaggle.event_standings.points IS 'Sum over the event''s competitions, exact, rounded to 6 decimals.';
COMMENT ON COLUMN kaggle.event_standings.competitions_entered IS 'On how many boards of the event a team of the user takes part.';
COMMENT ON COLUMN kaggle.event_standings.last_submission_at IS 'The latest last submission of the user''s teams.';

CREATE OR REPLACE FUNCTION kaggle_internal.event_at(event_slug text, at timestamptz) RETURNS kaggle.events
LANGUAGE plpgsql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    event constant events := find_event(event_slug);
    pruned constant text := check_standing(event.id, event_at.at);
BEGIN
    IF pruned IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = pruned,
            HINT = 'Ask for a later moment. PGLEADERBOARD_HISTORY_DAYS says how long history is kept.';
    END IF;
    RETURN event;
END $$;
COMMENT ON FUNCTION kaggle_internal.event_at(text, timestamptz) IS 'The event of a slug. Raises no_data_found for an unknown one, and where its boards at a moment were pruned.';

CREATE OR REPLACE FUNCTION kaggle.event_standings_as_of(event_slug text, at timestamptz)
RETURNS SETOF kaggle.event_standings
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1000 SET search_path = kaggle, kaggle_internal, pg_temp AS $$
#variable_conflict use_column
DECLARE
    event constant events := event_at($1, $2);
BEGIN
    RETURN QUERY
    SELECT event.id, event.slug, s.place, s.kaggle_username, s.display_name, s.is_registered, s.points,
           s.competitions_entered, s.last_submission_at
    FROM standing(event.id, $2) s;
END $$;
COMMENT ON FUNCTION kaggle.event_standings_as_of(text, timestamptz) IS 'The standing of an event as the boards were at a moment, whatever frozen_at says; the columns of kaggle.event_standings. Who is registered, and what counts, is as it is now.';

CREATE OR REPLACE VIEW kaggle.event_results AS
SELECT v.id AS event_id, v.slug AS event_slug,
       r.kaggle_username, r.competition_id, r.kaggle_competition_id, r.board, r.team_id, r.team_name, r.place, r.teams,
       r.score, r.last_submission_at, r.observed_at, r.counted_by, r.weight, r.points
FROM kaggle.events v
CROSS JOIN LATERAL (
    SELECT coalesce(v.frozen_at, CASE WHEN v.end_date <= statement_timestamp() THEN v.end_date END, 'infinity') AS at
    OFFSET 0) AS shown
CROSS JOIN LATERAL kaggle_internal.results(v.id, shown.at) AS r
WHERE kaggle_internal.check_standing(v.id, shown.at) IS NULL;
COMMENT ON VIEW kaggle.event_results IS 'Why somebody stands where: what each person earns in each competition of an event, of the same boards as kaggle.event_standings, whose points are round(sum(points), 6).';
COMMENT ON COLUMN kaggle.event_results.event_id IS 'The event.';
COMMENT ON COLUMN kaggle.event_results.event_slug IS 'Its slug.';
COMMENT ON COLUMN kaggle.event_results.kaggle_username IS 'The person.';
COMMENT ON COLUMN kaggle.event_results.competition_id IS 'The competition.';
COMMENT ON COLUMN kaggle.event_results.kaggle_competition_id IS 'Its slug.';
COMMENT ON COLUMN kaggle.event_results.board IS 'public or private.';
COMMENT ON COLUMN kaggle.event_results.team_id IS 'The person''s team; the better placed one of two.';
COMMENT ON COLUMN kaggle.event_results.team_name IS 'Its name.';
COMMENT ON COLUMN kaggle.event_results.place IS 'The best rank of its score among those who take part.';
COMMENT ON COLUMN kaggle.event_results.teams IS 'How many take part.';
COMMENT ON COLUMN kaggle.event_results.score IS 'The team''s score.';
COMMENT ON COLUMN kaggle.event_results.last_submission_at IS 'Its last submission.';
COMMENT ON COLUMN kaggle.event_results.observed_at IS 'The moment of the board.';
COMMENT ON COLUMN kaggle.event_results.counted_by IS 'table (points_by_place of the event), score, or place.';
COMMENT ON COLUMN kaggle.event_results.weight IS 'rating_weight.';
COMMENT ON COLUMN kaggle.event_results.points IS 'What it earns, not rounded.';

CREATE OR REPLACE FUNCTION kaggle.event_results_as_of(event_slug text, at timestamptz)
RETURNS SETOF kaggle.event_results
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1000 SET search_path = kaggle, kaggle_internal, pg_temp AS $$
#variable_conflict use_column
DECLARE
    event constant events := event_at($1, $2);
BEGIN
    RETURN QUERY
    SELECT event.id, event.slug, r.* FROM results(event.id, $2) r;
END $$;
COMMENT ON FUNCTION kaggle.event_results_as_of(text, timestamptz) IS 'What each person earned in each competition of an event as the boards were at a moment, whatever frozen_at says; the columns of kaggle.event_results.';
