-- The standing of an event: what its competitions earn a user, by the rules of docs/standings.md, now or at a moment.

CREATE OR REPLACE FUNCTION kaggle_internal.known_board(
    competition kaggle.competitions, prefers_private boolean, at timestamptz) RETURNS kaggle.boards
LANGUAGE sql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT b FROM boards b
    WHERE b.competition_id = competition.id AND lower(b.slug COLLATE "C") = lower(competition.kaggle_competition_id COLLATE "C")
      AND coalesce(b.shown_from, b.observed_from, '-infinity') <= known_board.at
      AND (b.shown_from > statement_timestamp()) IS NOT TRUE
    ORDER BY (b.kind = 'private') = prefers_private DESC LIMIT 1
$$;
COMMENT ON FUNCTION kaggle_internal.known_board(kaggle.competitions, boolean, timestamptz) IS 'The board of a competition that was shown at a moment, the private or the public one first; null before the first sync.';

CREATE OR REPLACE FUNCTION kaggle_internal.counting_moment(
    event kaggle.events, link kaggle.event_competitions, competition kaggle.competitions, at timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT CASE
        WHEN (event.end_date <= least(at, statement_timestamp())) IS NOT TRUE THEN at
        WHEN link.counts_at IS NOT NULL THEN least(link.counts_at, at)
        WHEN CASE WHEN competition.kaggle_deadline IS NOT NULL THEN competition.kaggle_deadline <= event.end_date
                  ELSE (known_board(competition, true, at)).kind = 'private' END THEN at
        ELSE least(at, moment_at_end(event, competition)) END
$$;
COMMENT ON FUNCTION kaggle_internal.counting_moment(kaggle.events, kaggle.event_competitions, kaggle.competitions, timestamptz) IS 'The moment as of which a competition counts in an event, as known at another moment, infinity = now: until the event''s end now; then counts_at; where the competition has ended (Kaggle''s deadline, if unknown a private board, says so) now; else that of its board at the end.';

CREATE OR REPLACE FUNCTION kaggle_internal.board_at_freeze(
    event kaggle.events, link kaggle.event_competitions, competition kaggle.competitions)
RETURNS kaggle_internal.boards_at_freeze
LANGUAGE sql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT k FROM boards_at_freeze k
    WHERE k.event_id = event.id AND k.competition_id = competition.id AND k.frozen_at = event.frozen_at
      AND k.counts_at IS NOT DISTINCT FROM link.counts_at
      AND lower(k.slug COLLATE "C") IS NOT DISTINCT FROM lower(competition.kaggle_competition_id COLLATE "C")
      AND (k.board_id IS NULL
           OR EXISTS (SELECT FROM boards b WHERE b.id = k.board_id AND b.competition_id = competition.id))
    ORDER BY k.id LIMIT 1
$$;
COMMENT ON FUNCTION kaggle_internal.board_at_freeze(kaggle.events, kaggle.event_competitions, kaggle.competitions) IS 'What was noted of a competition in an event that is frozen; null = nothing, or a board that was dropped, or for another slug: what counts is told by the dates.';

CREATE OR REPLACE FUNCTION kaggle_internal.keep_board_at_freeze(event kaggle.events, competition kaggle.competitions) RETURNS void
LANGUAGE sql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    INSERT INTO boards_at_freeze (event_id, competition_id, frozen_at, counts_at, slug, board_id, at)
    SELECT event.id, competition.id, event.frozen_at, x.counts_at, competition.kaggle_competition_id, (b.board).id, observed(b.board, m.at)
    FROM event_competitions x
    CROSS JOIN LATERAL (SELECT counting_moment(event, x, competition, event.frozen_at) AS at OFFSET 0) m
    CROSS JOIN LATERAL (SELECT known_board(competition, event.counts_private, m.at) AS board OFFSET 0) b
    WHERE x.event_id = event.id AND x.competition_id = competition.id AND event.frozen_at <= statement_timestamp()
      AND (board_at_freeze(event, x, competition)).id IS NULL
$$;
COMMENT ON FUNCTION kaggle_internal.keep_board_at_freeze(kaggle.events, kaggle.competitions) IS 'Notes which board of a competition a frozen event shows. Whatever moves what tells it, a date or a file of before, notes it first: what readers see stays.';

CREATE OR REPLACE FUNCTION kaggle_internal.counting_boards(event_id bigint, at timestamptz)
RETURNS TABLE (competition_id bigint, board kaggle.boards, moment timestamptz, observed_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 10 SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT c.id, b.board, m.at, observed(b.board, m.at)
    FROM events e
    JOIN event_competitions x ON x.event_id = e.id
    JOIN competitions c ON c.id = x.competition_id
    CROSS JOIN LATERAL (SELECT CASE WHEN e.frozen_at = counting_boards.at THEN board_at_freeze(e, x, c) END AS kept OFFSET 0) k
    CROSS JOIN LATERAL (SELECT CASE WHEN (k.kept).id IS NULL THEN counting_moment(e, x, c, counting_boards.at)
                                    ELSE (k.kept).at END AS at OFFSET 0) m
    CROSS JOIN LATERAL (SELECT CASE WHEN (k.kept).id IS NULL THEN known_board(c, e.counts_private, m.at)
                                    ELSE (SELECT o FROM boards o WHERE o.id = (k.kept).board_id) END AS board OFFSET 0) b
    WHERE e.id = counting_boards.event_id AND (b.board).id IS NOT NULL
$$;
COMMENT ON FUNCTION kaggle_internal.counting_boards(bigint, timestamptz) IS 'The boards that count in an event, as known at a moment, infinity = now: each as of its moment, at which it was observed last. As known at frozen_at: what was noted then.';

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
        SELECT c.id AS competition_id, (b.board).slug, (b.board).kind, (b.board).id AS board_id, b.moment, b.observed_at,
               coalesce(x.rating_weight, c.rating_weight) AS weight,
               coalesce(x.points_for_perfect_score, c.points_for_perfect_score) AS perfect,
               coalesce(x.metric_min_value, c.metric_min_value) AS lowest,
               coalesce(x.metric_max_value, c.metric_max_value) AS highest,
               known_direction(c, b.board, b.moment) AS higher_is_better
        FROM counting_boards(event.id, results.at) b
        JOIN competitions c ON c.id = b.competition_id
        JOIN event_competitions x ON x.event_id = event.id AND x.competition_id = c.id
    ), taking_part AS (
        SELECT k.*, v.team_id, v.team_name, v.order_key, v.score, v.last_submission_at, v.member_usernames,
               row_number() OVER (PARTITION BY k.competition_id ORDER BY v.order_key) AS nth,
               count(*) OVER (PARTITION BY k.competition_id) AS teams
        FROM counted k CROSS JOIN LATERAL versions(k.board_id, k.moment) v
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
COMMENT ON FUNCTION kaggle_internal.results(bigint, timestamptz) IS 'What each person earns in each competition of an event, of the boards that count as known at a moment; infinity = now. place: the best rank of the score among those who take part. The rules are in the comment of kaggle.event_standings.';

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

CREATE OR REPLACE FUNCTION kaggle_internal.basis_of_standing(event_id bigint, at timestamptz, OUT as_of timestamptz, OUT problem text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT min(b.observed_at),
           min(format('the history of %s begins at %s: what was before is pruned', (b.board).slug, (b.board).history_from))
               FILTER (WHERE is_pruned(b.board, b.moment))
    FROM counting_boards(basis_of_standing.event_id, basis_of_standing.at) b
$$;
COMMENT ON FUNCTION kaggle_internal.basis_of_standing(bigint, timestamptz) IS 'as_of: the oldest moment among the boards that count in an event, as known at a moment. problem: why its standing can no longer be told, a board that was pruned; null = it can.';

CREATE OR REPLACE FUNCTION kaggle_internal.changed_since_final(event_id bigint) RETURNS text[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT nullif(ARRAY(
        SELECT coalesce(c.kaggle_competition_id, c.title)
        FROM (SELECT * FROM final_boards f WHERE f.event_id = changed_since_final.event_id) f
        FULL JOIN counting_boards(changed_since_final.event_id, 'infinity') b USING (competition_id)
        JOIN competitions c ON c.id = competition_id
        WHERE f.board_id IS DISTINCT FROM (b.board).id
           OR has_changed(f.board_id, least(f.observed_at, b.observed_at), greatest(f.observed_at, b.observed_at))
        ORDER BY 1), '{}')
$$;
COMMENT ON FUNCTION kaggle_internal.changed_since_final(bigint) IS 'The competitions whose board that counts is another one than when the event was made final, or is gone; null = none.';

CREATE OR REPLACE VIEW kaggle.event_states AS
SELECT v.id AS event_id, v.slug AS event_slug, t.state,
       CASE t.state WHEN 'frozen' THEN v.frozen_at WHEN 'final' THEN v.final_at ELSE b.as_of END AS as_of, b.problem,
       CASE t.state WHEN 'final' THEN kaggle_internal.changed_since_final(v.id) END AS changed_since_final
FROM kaggle.events v
CROSS JOIN LATERAL (
    SELECT CASE WHEN v.frozen_at <= statement_timestamp() THEN 'frozen'
                WHEN v.final_at IS NOT NULL THEN 'final'
                WHEN v.end_date <= statement_timestamp() THEN 'provisional'
                ELSE 'live' END AS state OFFSET 0) AS t
LEFT JOIN LATERAL kaggle_internal.basis_of_standing(
    CASE WHEN t.state <> 'final' THEN v.id END, CASE t.state WHEN 'frozen' THEN v.frozen_at ELSE 'infinity' END) AS b ON true;
COMMENT ON VIEW kaggle.event_states IS 'What readers see of each event: the live standing, a frozen one, after the end a provisional one, or the final one.';
COMMENT ON COLUMN kaggle.event_states.event_id IS 'The event.';
COMMENT ON COLUMN kaggle.event_states.event_slug IS 'Its slug.';
COMMENT ON COLUMN kaggle.event_states.state IS 'The first that holds of frozen (frozen_at has come), final (final_at is set), provisional (end_date has passed), live.';
COMMENT ON COLUMN kaggle.event_states.as_of IS 'frozen_at, final_at, or the oldest moment among the boards that count.';
COMMENT ON COLUMN kaggle.event_states.problem IS 'Why there is no standing: a board on which it rests was pruned; null = there is one.';
COMMENT ON COLUMN kaggle.event_states.changed_since_final IS 'Of a final standing: the competitions whose board that counts has changed since, or is gone; null = none.';

CREATE OR REPLACE VIEW kaggle.event_standings AS
SELECT v.event_id, v.event_slug, s.place, s.kaggle_username, s.display_name, s.is_registered, s.points,
       s.competitions_entered, s.last_submission_at, v.state, v.as_of
FROM kaggle.event_states v
CROSS JOIN LATERAL (
    SELECT * FROM kaggle_internal.standing(v.event_id, CASE v.state WHEN 'frozen' THEN v.as_of ELSE 'infinity' END)
    WHERE v.state <> 'final' AND v.problem IS NULL
    UNION ALL
    SELECT f.place, f.kaggle_username, f.display_name, f.is_registered, f.points, f.competitions_entered, f.last_submission_at
    FROM kaggle_internal.final_standings f WHERE f.event_id = v.event_id AND v.state = 'final') AS s;
COMMENT ON VIEW kaggle.event_standings IS $$The standing of each event, as its state says: frozen (as of frozen_at), final (as kaggle.finalize_event stored it), provisional (after the end) or live (now). Registrations and weights act at once on all but a final one.

Which board of a competition counts: until the event's end the one that is shown. After it the one of event_competitions.counts_at, where that is set; else, if the competition has ended with the event (kaggle_deadline is not later than the event's end; where it is unknown, a private board says so), its latest one, the private one before the public one unless counts_private is false; else, if it goes on, the first one that was observed within two minutes after the end, else the last one before it, else the first one of all. Boards that count are neither pruned nor thinned.

Points of a team in a competition: where metric_min_value and metric_max_value are set, the score's place between them in the direction of the metric (0 to 1), else by place (teams - r) / (teams - 1), where r is the best rank of its score, so that equal scores earn equal points; also where the direction is unknown. A single team earns all. Times points_for_perfect_score, times rating_weight. With points_by_place of the event: what it lists for the place, times rating_weight; equal scores share the mean of their places. The values of event_competitions go before the competition's. A competition not entered earns 0. A user has the points of the user's team, whoever else is in it.
Who takes part: the teams with a score and with a member who is registered and not excluded; where nobody is registered, with a member who is not excluded; with only_since_start, not those whose last submission lies before the event's start. Ranks and numbers of teams are counted among them. Benchmarks never count.
Who is ranked: all who are registered and not excluded, those who entered nothing with 0 points; where nobody is registered, every member of a team who is not excluded.
Order: more points (rounded to 6 decimals at the end), more competitions entered, the earlier last submission; who is equal in all shares the place.
An event whose moment was pruned from the history (PGLEADERBOARD_HISTORY_DAYS) has no rows; kaggle.event_states says which board it was.$$;
COMMENT ON COLUMN kaggle.event_standings.event_id IS 'kaggle.events.id.';
COMMENT ON COLUMN kaggle.event_standings.event_slug IS 'kaggle.events.slug.';
COMMENT ON COLUMN kaggle.event_standings.place IS 'From 1; who is equal in all shares it, and the next place is left out.';
COMMENT ON COLUMN kaggle.event_standings.kaggle_username IS 'In the spelling of kaggle.participants, else of the board.';
COMMENT ON COLUMN kaggle.event_standings.display_name IS 'From kaggle.participants; null = none.';
COMMENT ON COLUMN kaggle.event_standings.is_registered IS 'Whether the user stands in kaggle.participants.';
COMMENT ON COLUMN kaggle.event_standings.points IS 'Sum over the event''s competitions, exact, rounded to 6 decimals.';
COMMENT ON COLUMN kaggle.event_standings.competitions_entered IS 'On how many boards of the event a team of the user takes part.';
COMMENT ON COLUMN kaggle.event_standings.last_submission_at IS 'The latest last submission of the user''s teams.';
COMMENT ON COLUMN kaggle.event_standings.state IS 'As in kaggle.event_states.';
COMMENT ON COLUMN kaggle.event_standings.as_of IS 'As in kaggle.event_states.';

CREATE OR REPLACE FUNCTION kaggle_internal.event_at(event_slug text, at timestamptz) RETURNS kaggle.events
LANGUAGE plpgsql STABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    event constant events := find_event(event_slug);
    pruned constant text := (basis_of_standing(event.id, event_at.at)).problem;
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
           s.competitions_entered, s.last_submission_at,
           CASE WHEN event.end_date <= least($2, statement_timestamp()) THEN 'provisional' ELSE 'live' END, b.as_of
    FROM basis_of_standing(event.id, $2) b CROSS JOIN standing(event.id, $2) s;
END $$;
COMMENT ON FUNCTION kaggle.event_standings_as_of(text, timestamptz) IS 'The standing of an event as it was known at a moment, live or provisional, whatever frozen_at and final_at say; the columns of kaggle.event_standings. Who is registered, and what counts, is as it is now.';

CREATE OR REPLACE VIEW kaggle.event_results AS
SELECT v.event_id, v.event_slug,
       r.kaggle_username, r.competition_id, r.kaggle_competition_id, r.board, r.team_id, r.team_name, r.place, r.teams,
       r.score, r.last_submission_at, r.observed_at, r.counted_by, r.weight, r.points
FROM kaggle.event_states v
CROSS JOIN LATERAL (
    SELECT * FROM kaggle_internal.results(v.event_id, CASE v.state WHEN 'frozen' THEN v.as_of ELSE 'infinity' END)
    WHERE v.state <> 'final' AND v.problem IS NULL
    UNION ALL
    SELECT f.kaggle_username, f.competition_id, f.kaggle_competition_id, f.board, f.team_id, f.team_name, f.place, f.teams,
           f.score, f.last_submission_at, f.observed_at, f.counted_by, f.weight, f.points
    FROM kaggle_internal.final_results f WHERE f.event_id = v.event_id AND v.state = 'final') AS r;
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
COMMENT ON FUNCTION kaggle.event_results_as_of(text, timestamptz) IS 'What each person earned in each competition of an event as it was known at a moment, whatever frozen_at and final_at say; the columns of kaggle.event_results.';

CREATE OR REPLACE FUNCTION kaggle.unfrozen_standings(event_slug text) RETURNS SETOF kaggle.event_standings
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1000 SET search_path = kaggle, kaggle_internal, pg_temp AS $$
#variable_conflict use_column
DECLARE
    event constant events := find_event($1);
BEGIN
    IF event.final_at IS NULL THEN
        RETURN QUERY SELECT * FROM event_standings_as_of($1, 'infinity');
        RETURN;
    END IF;
    RETURN QUERY
    SELECT event.id, event.slug, f.place, f.kaggle_username, f.display_name, f.is_registered, f.points,
           f.competitions_entered, f.last_submission_at, 'final', event.final_at
    FROM final_standings f WHERE f.event_id = event.id
    ORDER BY f.place, lower(f.kaggle_username COLLATE "C");
END $$;
COMMENT ON FUNCTION kaggle.unfrozen_standings(text) IS 'The standing that readers see once frozen_at is null; the columns of kaggle.event_standings.';

CREATE OR REPLACE FUNCTION kaggle.finalize_event(event_slug text, anyway boolean DEFAULT false)
RETURNS TABLE (competition_id bigint, kaggle_competition_id text, board text, observed_at timestamptz, teams bigint)
LANGUAGE plpgsql SECURITY DEFINER ROWS 10 SET search_path = kaggle, kaggle_internal, pg_temp AS $$
#variable_conflict use_column
DECLARE
    event events := find_event($1);
    missing text;
BEGIN
    SELECT * INTO event FROM events e WHERE e.id = event.id FOR NO KEY UPDATE;
    IF event.final_at IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('event %L is final since %s', event.slug, event.final_at),
            HINT = format('SELECT kaggle.reopen_event(%L); takes it back.', event.slug);
    ELSIF (event.end_date <= statement_timestamp()) IS NOT TRUE THEN    -- which the boards that count go by, too
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('event %L has not ended: %s', event.slug, coalesce('its end_date is ' || event.end_date, 'it has no end_date')),
            HINT = format('UPDATE kaggle.events SET end_date = now() WHERE slug = %L;', event.slug);
    END IF;
    SELECT string_agg(coalesce(c.kaggle_competition_id, c.title), ', ' ORDER BY c.id) INTO missing
    FROM event_competitions x JOIN competitions c ON c.id = x.competition_id
    WHERE x.event_id = event.id
      AND (NOT EXISTS (SELECT FROM counting_boards(event.id, 'infinity') k WHERE k.competition_id = c.id)
           OR x.counts_at IS NULL
              AND NOT EXISTS (SELECT FROM boards b
                              WHERE b.competition_id = c.id AND lower(b.slug COLLATE "C") = lower(c.kaggle_competition_id COLLATE "C")
                                AND b.observed_at >= event.end_date AND (b.shown_from > statement_timestamp()) IS NOT TRUE));
    IF missing IS NOT NULL AND NOT coalesce($2, false) THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('no board from the end on: %s', missing),
            DETAIL = format('The event ended at %s; these competitions have not been synced since.', event.end_date),
            HINT = 'Wait for their syncs, or say anyway => true (--anyway on the command line).';
    END IF;
    PERFORM event_at(event.slug, 'infinity');
    PERFORM set_config('kaggle.finalizing', 'on', true);
    -- One statement, one snapshot.
    WITH standing AS (
        INSERT INTO final_standings (event_id, place, kaggle_username, display_name, is_registered, points,
                                     competitions_entered, last_submission_at)
        SELECT event.id, s.place, s.kaggle_username, s.display_name, s.is_registered, s.points, s.competitions_entered,
               s.last_submission_at
        FROM standing(event.id, 'infinity') s
    ), results AS (
        INSERT INTO final_results (event_id, kaggle_username, competition_id, kaggle_competition_id, board, team_id, team_name,
                                   place, teams, score, last_submission_at, observed_at, counted_by, weight, points)
        SELECT event.id, r.* FROM results(event.id, 'infinity') r
    ), boards AS (
        INSERT INTO final_boards (event_id, competition_id, board_id, observed_at)
        SELECT event.id, x.competition_id, (b.board).id, b.observed_at
        FROM event_competitions x
        LEFT JOIN counting_boards(event.id, 'infinity') b ON b.competition_id = x.competition_id
        WHERE x.event_id = event.id
    )
    UPDATE events e SET final_at = clock_timestamp() WHERE e.id = event.id;
    PERFORM set_config('kaggle.finalizing', 'off', true);
    RETURN QUERY
    SELECT f.competition_id, coalesce(c.kaggle_competition_id, c.title), b.kind, f.observed_at,
           CASE WHEN b.id IS NOT NULL THEN (SELECT count(*) FROM versions(b.id, f.observed_at) v WHERE NOT v.is_benchmark) END
    FROM final_boards f JOIN competitions c ON c.id = f.competition_id LEFT JOIN boards b ON b.id = f.board_id
    WHERE f.event_id = event.id ORDER BY f.competition_id;
END $$;
COMMENT ON FUNCTION kaggle.finalize_event(text, boolean) IS 'Makes the standing of an event that has ended final: stores it, its results and the boards on which they rest. Nothing changes it from then on. While frozen_at holds, what is stored is the unfrozen standing, and readers see it once frozen_at is null. A row for each competition. Raises, naming them, where competitions have no board from the end on, unless anyway is true; where the event has not ended, or is final already.';

CREATE OR REPLACE FUNCTION kaggle.reopen_event(event_slug text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    event events := find_event(reopen_event.event_slug);
BEGIN
    PERFORM set_config('kaggle.finalizing', 'on', true);
    UPDATE events e SET final_at = NULL WHERE e.id = event.id AND e.final_at IS NOT NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('event %L is not final', event.slug);
    END IF;
    PERFORM set_config('kaggle.finalizing', 'off', true);
    DELETE FROM final_standings f WHERE f.event_id = event.id;
    DELETE FROM final_results f WHERE f.event_id = event.id;
    DELETE FROM final_boards f WHERE f.event_id = event.id;
END $$;
COMMENT ON FUNCTION kaggle.reopen_event(text) IS 'Takes a final standing back: it is provisional again. Raises where the event is not final.';
