-- Ratings: how strong each registered person is, as the completed competitions tell, one after the other. They are
-- replayed from the boards for each question; nothing is stored. docs/ratings.md has the rules with an example.

-- A body that is parsed when it is created needs no search_path, and is expanded into the query that calls it.
CREATE OR REPLACE FUNCTION kaggle_internal.expected_places(ratings double precision[]) RETURNS double precision[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    -- 1 / (1 + 10^((own - other) / 400)) with a power for each team instead of each pair. Bounded, since one beyond a
    -- double's range is an error; of teams 60,000 from the mean, nobody asks how they would play against each other.
    WITH strength AS MATERIALIZED (
        SELECT r.nth, power(10, least(greatest((r.rating - avg(r.rating) OVER ()) / 400, -150), 150)) AS power
        FROM unnest(expected_places.ratings) WITH ORDINALITY r (rating, nth)
    )
    -- Against itself, a team has a half.
    SELECT array_agg(0.5 + (SELECT sum(o.power / (s.power + o.power)) FROM strength o) ORDER BY s.nth) FROM strength s;
END;
COMMENT ON FUNCTION kaggle_internal.expected_places(double precision[]) IS 'The expected place of each team among teams of these ratings: 1 + the sum over the others of the probability that they do better, 1 / (1 + 10^((own - other) / 400)).';

CREATE OR REPLACE FUNCTION kaggle_internal.rated_competitions(names text[], at timestamptz)
RETURNS TABLE (competition_id bigint, kaggle_competition_id text, ended_at timestamptz, weight double precision,
               people integer[], team_of integer[], places double precision[])
LANGUAGE sql STABLE ROWS 100 SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    WITH member AS (
        -- Who stands in two teams of one board counts in the better placed one.
        SELECT DISTINCT ON (p.number, e.competition_id) p.number::integer AS person, e.*
        FROM participant_entries e JOIN unnest(names) WITH ORDINALITY p (name, number) ON p.name = e.kaggle_username
        WHERE NOT e.is_benchmark AND e.score IS NOT NULL AND e.ended_at <= rated_competitions.at
        ORDER BY p.number, e.competition_id, e.order_key
    ), ordered AS (
        SELECT m.*, dense_rank() OVER (PARTITION BY m.competition_id ORDER BY m.order_key)::integer AS team FROM member m
    ), team AS (
        SELECT o.competition_id, o.team, avg(o.team) OVER (PARTITION BY o.competition_id, o.score) AS place
        FROM ordered o GROUP BY o.competition_id, o.team, o.score
    )
    SELECT o.competition_id, o.slug, o.ended_at, least(o.weight, 4)::double precision, o.people, o.team_of, t.places
    FROM (SELECT m.competition_id, min(m.kaggle_competition_id) AS slug, min(m.ended_at) AS ended_at, min(m.rating_weight) AS weight,
                 array_agg(m.person ORDER BY m.person) AS people, array_agg(m.team ORDER BY m.person) AS team_of
          FROM ordered m GROUP BY m.competition_id) o
    JOIN (SELECT m.competition_id, array_agg(m.place::double precision ORDER BY m.team) AS places
          FROM team m GROUP BY m.competition_id) t ON t.competition_id = o.competition_id
    ORDER BY o.ended_at, o.competition_id
$$;
COMMENT ON FUNCTION kaggle_internal.rated_competitions(text[], timestamptz) IS 'The completed competitions that ended by a moment, in the order of their ends, then ids: which of the people (numbers into names) stood on the board, the team of each (numbered in the order of the board), and the place of each team among these teams, of equal scores the mean one.';

CREATE OR REPLACE FUNCTION kaggle_internal.rating_steps(at timestamptz, k numeric, start numeric)
RETURNS TABLE (kaggle_username text, competition_id bigint, kaggle_competition_id text, ended_at timestamptz,
               place double precision, teams bigint, expected_place double precision, rating_before double precision,
               change double precision)
LANGUAGE plpgsql STABLE ROWS 1000 SET search_path = kaggle, kaggle_internal, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
    speed constant numeric := coalesce(rating_steps.k, 32);
    first constant numeric := coalesce(rating_steps.start, 1500);
    names constant text[] := ARRAY(SELECT p.kaggle_username FROM participants p ORDER BY lower(p.kaggle_username COLLATE "C"));
    ratings double precision[] := array_fill(first::double precision, ARRAY[cardinality(names)]);
    step record;
    of_teams double precision[];
    expected double precision[];
BEGIN
    IF NOT speed BETWEEN 0 AND 1000 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('k is %s', k),
            HINT = 'Give a number from 0 to 1000, e.g. 32.';
    ELSIF NOT first BETWEEN -100000 AND 100000 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('start is %s', start),
            HINT = 'Give a number from -100000 to 100000, e.g. 1500.';
    END IF;
    FOR step IN SELECT * FROM rated_competitions(names, coalesce(rating_steps.at, statement_timestamp())) LOOP
        teams := cardinality(step.places);
        SELECT array_agg(t.rating ORDER BY t.team) INTO of_teams
        FROM (SELECT m.team, avg(ratings[m.person]) AS rating
              FROM unnest(step.people, step.team_of) m (person, team) GROUP BY m.team) t;
        expected := expected_places(of_teams);
        competition_id := step.competition_id;
        kaggle_competition_id := step.kaggle_competition_id;
        ended_at := step.ended_at;
        FOR nth IN 1 .. cardinality(step.people) LOOP
            kaggle_username := names[step.people[nth]];
            place := step.places[step.team_of[nth]];
            expected_place := expected[step.team_of[nth]];
            rating_before := ratings[step.people[nth]];
            change := 2 * speed::double precision * step.weight / teams * (expected_place - place);
            ratings[step.people[nth]] := rating_before + change;
            RETURN NEXT;
        END LOOP;
    END LOOP;
END $$;
COMMENT ON FUNCTION kaggle_internal.rating_steps(timestamptz, numeric, numeric) IS 'Each step of each registered person''s rating, replayed from the boards: a row for each person and completed competition, in the order of the competitions. The rules are in the comment of kaggle.ratings.';

CREATE OR REPLACE FUNCTION kaggle.ratings(at timestamptz DEFAULT now(), k numeric DEFAULT 32, start numeric DEFAULT 1500)
RETURNS TABLE (place bigint, kaggle_username text, display_name text, rating double precision, competitions bigint,
               last_change double precision)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 100 SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT rank() OVER (ORDER BY r.rating DESC), r.kaggle_username,
           (SELECT p.display_name FROM participants p WHERE p.kaggle_username = r.kaggle_username),
           r.rating, r.competitions, r.change
    FROM (SELECT DISTINCT ON (s.kaggle_username) s.kaggle_username, s.rating_before + s.change AS rating, s.change,
                 count(*) OVER (PARTITION BY s.kaggle_username) AS competitions
          FROM rating_steps(ratings.at, ratings.k, ratings.start) s
          ORDER BY s.kaggle_username, s.ended_at DESC, s.competition_id DESC) r
    ORDER BY 1, lower(r.kaggle_username COLLATE "C")
$$;
COMMENT ON FUNCTION kaggle.ratings(timestamptz, numeric, numeric) IS $$The rating of each registered person (kaggle.participants) after the completed competitions that ended by at: Elo for fields of many, replayed from the boards at each call. Nothing is stored, so that registering somebody later, or a board of before, changes past ratings.

Everybody begins at start. Each competition is one step, in the order of their ends (end_date; where there is none, when it was completed), then ids. It is played among the teams with a score and with a registered member; a team's rating is the mean of its registered members'. Expected place = 1 + the sum over the other teams of 1 / (1 + 10^((own - other) / 400)); change = 2 k × least(rating_weight, 4) / teams × (expected place - place); equal scores share the mean of their places. Each registered member gets the team's change, which is zero in sum over the teams.
A team alone, and a weight of 0, are a step of 0. Who stands in two teams of a board counts in the better placed one. A competition without a board is no step, nor is one for whom has not submitted; who has no step is not listed. An exclusion from an event (event_participants.excluded) does not act here.
Order: the higher rating; who is equal shares the place. A parameter that is null is its default. Raises where k is not from 0 to 1000, or start not from -100000 to 100000.$$;

CREATE OR REPLACE FUNCTION kaggle.rating_history(kaggle_username text, k numeric DEFAULT 32, start numeric DEFAULT 1500)
RETURNS TABLE (competition_id bigint, kaggle_competition_id text, ended_at timestamptz, place double precision, teams bigint,
               expected_place double precision, rating_before double precision, change double precision,
               rating double precision)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 100 SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    SELECT s.competition_id, s.kaggle_competition_id, s.ended_at, s.place, s.teams, s.expected_place, s.rating_before,
           s.change, s.rating_before + s.change
    FROM rating_steps(NULL, rating_history.k, rating_history.start) s
    WHERE lower(s.kaggle_username COLLATE "C") = lower(rating_history.kaggle_username COLLATE "C")
    ORDER BY s.ended_at, s.competition_id
$$;
COMMENT ON FUNCTION kaggle.rating_history(text, numeric, numeric) IS 'How a registered person''s rating came about, a row for each step: place among the rated teams, of how many, the place that was expected, the rating before and after, and the change. Capitals do not matter. The rules are in the comment of kaggle.ratings. Empty for who is not registered.';
