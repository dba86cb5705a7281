-- Kaggle's points over many competitions: what a person earned in each that is completed, and the standing of a season.
-- docs/ratings.md has the rules with an example.

-- A body that is parsed when it is created needs no search_path, and is expanded into the query that calls it.
CREATE OR REPLACE FUNCTION kaggle.points(rank bigint, teams bigint, members integer, age interval DEFAULT '0')
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN rank BETWEEN 1 AND teams AND members >= 1 AND age IS NOT NULL
    THEN 100000 / sqrt(members::double precision) * power(rank::double precision, -0.75)
         * log10(1 + log10(teams::double precision))
         -- Beyond 600 half a millennium of doubles is left, and exp would raise an underflow soon after.
         * exp(-least(greatest(extract(epoch FROM age)::double precision, 0) / 86400 / 500, 600))
END;
COMMENT ON FUNCTION kaggle.points(bigint, bigint, integer, interval) IS 'Kaggle''s points for a rank among so many teams, for each of so many members, so long after the end: 100000 / √members × rank^-0.75 × log10(1 + log10(teams)) × e^(-days/500). The formula is the one that Kaggle published in 2015 and may have changed since. A single team earns 0. Null where rank, teams or members are not at least 1, or rank is greater than teams; a negative age counts as 0.';

CREATE OR REPLACE VIEW kaggle_internal.earned_points AS
-- Who stands in two teams of one board has the better placed one's points.
SELECT DISTINCT ON (r.kaggle_username, r.competition_id)
       r.kaggle_username, r.display_name, r.competition_id, r.kaggle_competition_id, r.ended_at, r.team_id, r.rank, r.teams,
       cardinality(r.member_usernames) AS members, r.rating_weight AS weight,
       r.rating_weight::double precision * kaggle.points(r.rank, r.teams, cardinality(r.member_usernames)) AS points,
       r.last_submission_at
FROM kaggle.participant_results r
WHERE r.ended_at IS NOT NULL AND r.score IS NOT NULL
ORDER BY r.kaggle_username, r.competition_id, r.rank;
COMMENT ON VIEW kaggle_internal.earned_points IS 'What kaggle.participant_points shows, and what else a season''s standing needs.';
COMMENT ON COLUMN kaggle_internal.earned_points.kaggle_username IS 'As in kaggle.participant_points.';
COMMENT ON COLUMN kaggle_internal.earned_points.display_name IS 'As in kaggle.participants.';
COMMENT ON COLUMN kaggle_internal.earned_points.competition_id IS 'As in kaggle.participant_points.';
COMMENT ON COLUMN kaggle_internal.earned_points.kaggle_competition_id IS 'As in kaggle.participant_points.';
COMMENT ON COLUMN kaggle_internal.earned_points.ended_at IS 'As in kaggle.participant_points.';
COMMENT ON COLUMN kaggle_internal.earned_points.team_id IS 'As in kaggle.participant_points.';
COMMENT ON COLUMN kaggle_internal.earned_points.rank IS 'As in kaggle.participant_points.';
COMMENT ON COLUMN kaggle_internal.earned_points.teams IS 'As in kaggle.participant_points.';
COMMENT ON COLUMN kaggle_internal.earned_points.members IS 'As in kaggle.participant_points.';
COMMENT ON COLUMN kaggle_internal.earned_points.weight IS 'As in kaggle.participant_points.';
COMMENT ON COLUMN kaggle_internal.earned_points.points IS 'As in kaggle.participant_points.';
COMMENT ON COLUMN kaggle_internal.earned_points.last_submission_at IS 'When the team submitted last.';

CREATE OR REPLACE VIEW kaggle.participant_points AS
SELECT e.kaggle_username, e.competition_id, e.kaggle_competition_id, e.ended_at, e.team_id, e.rank, e.teams, e.members,
       e.weight, e.points
FROM kaggle_internal.earned_points e;
COMMENT ON VIEW kaggle.participant_points IS 'What each participant earned in each completed competition, by kaggle.points without its decay, times rating_weight. Rank and teams are those of the whole board, the private one once it is there, in Kaggle''s order, which also ranks equal scores. No row where the participant''s team has no score, and for a competition without a board. Who stands in two teams of a board has the better placed one''s points. An exclusion from an event (event_participants.excluded) does not act here.';
COMMENT ON COLUMN kaggle.participant_points.kaggle_username IS 'The participant.';
COMMENT ON COLUMN kaggle.participant_points.competition_id IS 'kaggle.competitions.id.';
COMMENT ON COLUMN kaggle.participant_points.kaggle_competition_id IS 'The competition''s slug.';
COMMENT ON COLUMN kaggle.participant_points.ended_at IS 'The competition''s end_date; where there is none, when it was completed.';
COMMENT ON COLUMN kaggle.participant_points.team_id IS 'Kaggle''s TeamId.';
COMMENT ON COLUMN kaggle.participant_points.rank IS 'The team''s rank, as in kaggle.leaderboard.';
COMMENT ON COLUMN kaggle.participant_points.teams IS 'Ranked teams on the board.';
COMMENT ON COLUMN kaggle.participant_points.members IS 'Members of the team.';
COMMENT ON COLUMN kaggle.participant_points.weight IS 'rating_weight of the competition.';
COMMENT ON COLUMN kaggle.participant_points.points IS 'weight times kaggle.points(rank, teams, members).';

CREATE OR REPLACE FUNCTION kaggle.season_standings(since timestamptz, until timestamptz, best integer DEFAULT NULL)
RETURNS TABLE (place bigint, kaggle_username text, display_name text, points double precision, competitions bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 100 SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    IF best < 1 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('best is %s', best),
            HINT = 'Give how many competitions of each person count, at least 1; null = all.';
    END IF;
    RETURN QUERY
    SELECT rank() OVER (ORDER BY s.points DESC, s.competitions DESC, s.last_submission_at NULLS LAST),
           s.name, s.display_name, s.points, s.competitions
    FROM (SELECT e.kaggle_username AS name, min(e.display_name) AS display_name, count(*) AS competitions,
                 -- In one order, so that equal points add up to equal sums.
                 sum(e.points ORDER BY e.nth) FILTER (WHERE (e.nth <= best) IS NOT FALSE) AS points,
                 max(e.last_submission_at) AS last_submission_at
          FROM (SELECT o.*, row_number() OVER (PARTITION BY o.kaggle_username ORDER BY o.points DESC) AS nth
                FROM earned_points o
                WHERE o.ended_at >= coalesce(since, '-infinity') AND o.ended_at < coalesce(until, 'infinity')) e
          GROUP BY 1) s
    ORDER BY 1, lower(s.name COLLATE "C");
END $$;
COMMENT ON FUNCTION kaggle.season_standings(timestamptz, timestamptz, integer) IS 'Who earned most in the competitions that ended from since (null = ever) until just before until (null = no end): the sum of kaggle.participant_points, without decay, of the best N competitions of each person; null = of all. competitions: how many the person entered, whether they count or not. Order: more points, more competitions, the earlier last submission; who is equal in all shares the place. Who entered none is not listed. Raises where best is less than 1.';
