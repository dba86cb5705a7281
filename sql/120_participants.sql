-- The people whom somebody follows: their names as they are stored, and where they stand.

CREATE OR REPLACE FUNCTION kaggle.username_of(given text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    name text := trimmed(given);
BEGIN
    IF name COLLATE "C" ~* '^(https?://)?(www\.)?kaggle\.com/' THEN
        name := substring(name FROM '(?i)kaggle\.com/([^/?#]*)');
        IF lower(name COLLATE "C") IN ('c', 'code', 'competitions', 'datasets', 'discussions', 'docs', 'host', 'learn', 'me', 'models',
                           'organizations', 'settings', 't', 'work') THEN
            name := '';                  -- a page of Kaggle, no profile
        END IF;
    ELSE
        name := regexp_replace(name, '^@', '');
    END IF;
    IF name IS NULL OR name !~ '^(del=)?[A-Za-z0-9][A-Za-z0-9._-]{0,95}$' THEN
        PERFORM refuse('kaggle_username_is_a_name',
            CASE WHEN coalesce(given, '') = '' THEN 'kaggle_username is missing'
                 ELSE format('not a Kaggle username: %L', left(given, 80)) END,
            'Give the name in the URL of the profile, e.g. gumby, or the URL itself: https://www.kaggle.com/gumby');
    END IF;
    RETURN name;
END $$;
COMMENT ON FUNCTION kaggle.username_of(text) IS 'The Kaggle username given as itself, as @NAME or as the URL of its profile; capitals are kept. Raises check_violation on anything else.';

CREATE OR REPLACE FUNCTION kaggle_internal.complete_participant() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    NEW.kaggle_username := username_of(NEW.kaggle_username);
    NEW.display_name := nullif(btrim(NEW.display_name), '');
    IF TG_OP = 'INSERT' THEN
        -- A name that is there in another spelling meets its row, so that ON CONFLICT (kaggle_username) finds it.
        NEW.kaggle_username := coalesce(
            (SELECT p.kaggle_username FROM participants p
             WHERE lower(p.kaggle_username COLLATE "C") = lower(NEW.kaggle_username COLLATE "C")), NEW.kaggle_username);
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION kaggle_internal.complete_participant() IS 'Trigger: turns a profile''s URL or @NAME into the name, and meets a row that is there in another spelling.';

CREATE OR REPLACE TRIGGER complete_participant BEFORE INSERT OR UPDATE ON kaggle.participants
    FOR EACH ROW EXECUTE FUNCTION kaggle_internal.complete_participant();
COMMENT ON TRIGGER complete_participant ON kaggle.participants IS 'Turns a profile''s URL or @NAME into the name.';

CREATE OR REPLACE FUNCTION kaggle_internal.complete_event_participant() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    wanted constant text := username_of(NEW.kaggle_username);
BEGIN
    IF NEW.event_id IS NULL THEN
        PERFORM refuse('registered_for_an_existing_event', 'event_id is missing', 'SELECT id, slug FROM kaggle.events lists them.');
    END IF;
    NEW.excluded := coalesce(NEW.excluded, false);
    NEW.note := nullif(NEW.note, '');
    SELECT p.kaggle_username INTO NEW.kaggle_username FROM participants p
    WHERE lower(p.kaggle_username COLLATE "C") = lower(wanted COLLATE "C");
    IF NOT FOUND THEN
        INSERT INTO participants (kaggle_username) VALUES (wanted) ON CONFLICT DO NOTHING;
        -- Another session may have been quicker, in another spelling.
        SELECT p.kaggle_username INTO STRICT NEW.kaggle_username FROM participants p
        WHERE lower(p.kaggle_username COLLATE "C") = lower(wanted COLLATE "C");
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION kaggle_internal.complete_event_participant() IS 'Trigger: fills defaults; takes the spelling of kaggle.participants, and adds a name that is not there.';

CREATE OR REPLACE TRIGGER complete_event_participant BEFORE INSERT OR UPDATE ON kaggle.event_participants
    FOR EACH ROW EXECUTE FUNCTION kaggle_internal.complete_event_participant();
COMMENT ON TRIGGER complete_event_participant ON kaggle.event_participants IS 'Takes the spelling of kaggle.participants, and adds a name that is not there.';

-- ORDER BY keeps the subquery as it stands: first the two indexes are asked for a name, then the few entries joined.
CREATE OR REPLACE VIEW kaggle.participant_entries AS
SELECT e.kaggle_username, e.display_name, b.competition_id, c.kaggle_competition_id, e.board_id, e.team_id, e.order_key,
       e.valid_from, e.last_submission_at, e.submission_count, e.is_benchmark, e.score, e.team_name, e.member_usernames,
       c.category, c.rating_weight,
       CASE WHEN c.status = 'completed'
            THEN CASE WHEN isfinite(c.end_date) THEN c.end_date ELSE coalesce(c.completed_at, c.created_at) END END AS ended_at
FROM (SELECT p.kaggle_username, p.display_name, l.*
      FROM kaggle.participants p
      JOIN kaggle.leaderboard_entries l
        ON hashtext(lower(left(l.member_usernames[1], 100) COLLATE "C")) = hashtext(lower(p.kaggle_username COLLATE "C"))
           AND lower(left(l.member_usernames[1], 100) COLLATE "C") = lower(p.kaggle_username COLLATE "C")
        OR cardinality(l.member_usernames) > 1
           AND kaggle_internal.lower_all(l.member_usernames) @> ARRAY[lower(p.kaggle_username COLLATE "C")]
      ORDER BY l.board_id) AS e
JOIN kaggle.boards b ON b.id = e.board_id
JOIN kaggle.competitions c ON c.id = b.competition_id
-- A CASE, since the planner would take its parts for independent, and expect hardly any board.
WHERE CASE WHEN lower(c.kaggle_competition_id COLLATE "C") = lower(b.slug COLLATE "C")
           THEN (b.shown_from > statement_timestamp()) IS NOT TRUE
                AND (b.kind = 'private' OR NOT EXISTS (
                    SELECT FROM kaggle.boards o
                    WHERE o.competition_id = b.competition_id AND lower(o.slug COLLATE "C") = lower(b.slug COLLATE "C")
                      AND o.kind = 'private' AND (o.shown_from > statement_timestamp()) IS NOT TRUE)) END;
COMMENT ON VIEW kaggle.participant_entries IS 'On which of the boards that are shown now each participant stands, and in which team; found through indexes over the members of teams.';
COMMENT ON COLUMN kaggle.participant_entries.kaggle_username IS 'The participant.';
COMMENT ON COLUMN kaggle.participant_entries.display_name IS 'Name for people.';
COMMENT ON COLUMN kaggle.participant_entries.competition_id IS 'kaggle.competitions.id.';
COMMENT ON COLUMN kaggle.participant_entries.kaggle_competition_id IS 'The competition''s slug.';
COMMENT ON COLUMN kaggle.participant_entries.board_id IS 'kaggle.boards.id.';
COMMENT ON COLUMN kaggle.participant_entries.team_id IS 'Kaggle''s TeamId.';
COMMENT ON COLUMN kaggle.participant_entries.order_key IS 'As in kaggle.leaderboard_entries.';
COMMENT ON COLUMN kaggle.participant_entries.valid_from IS 'As in kaggle.leaderboard_entries.';
COMMENT ON COLUMN kaggle.participant_entries.last_submission_at IS 'As in kaggle.leaderboard_entries.';
COMMENT ON COLUMN kaggle.participant_entries.submission_count IS 'As in kaggle.leaderboard_entries.';
COMMENT ON COLUMN kaggle.participant_entries.is_benchmark IS 'As in kaggle.leaderboard_entries.';
COMMENT ON COLUMN kaggle.participant_entries.score IS 'As in kaggle.leaderboard_entries.';
COMMENT ON COLUMN kaggle.participant_entries.team_name IS 'As in kaggle.leaderboard_entries.';
COMMENT ON COLUMN kaggle.participant_entries.member_usernames IS 'As in kaggle.leaderboard_entries.';
COMMENT ON COLUMN kaggle.participant_entries.category IS 'As in kaggle.competitions.';
COMMENT ON COLUMN kaggle.participant_entries.rating_weight IS 'As in kaggle.competitions.';
COMMENT ON COLUMN kaggle.participant_entries.ended_at IS 'When the competition ended: its end_date; where there is none, when it was completed. Null = it is not completed.';

CREATE OR REPLACE FUNCTION kaggle_internal.ranks_a_day_ago(board_id bigint) RETURNS TABLE (team_id bigint, rank bigint)
LANGUAGE sql STABLE ROWS 1000 SECURITY DEFINER SET search_path = kaggle, kaggle_internal, pg_temp SET enable_nestloop = off AS $$
    SELECT v.team_id, v.rank FROM versions(ranks_a_day_ago.board_id, statement_timestamp() - interval '24 hours') v
    WHERE NOT v.is_benchmark
      AND EXISTS (SELECT FROM boards b
                  WHERE b.id = ranks_a_day_ago.board_id
                    AND greatest(b.observed_from, b.history_from) <= statement_timestamp() - interval '24 hours')
$$;
COMMENT ON FUNCTION kaggle_internal.ranks_a_day_ago(bigint) IS 'The ranked teams of a board 24 hours ago; none where the board of then is not known.';

-- A rank is counted once for each board on which somebody stands: its order keys in one list, in which a key is searched.
-- So is the rank a day ago, and only where movement is selected: a LEFT JOIN that nobody asks for is left out.
CREATE OR REPLACE VIEW kaggle.participant_results AS
SELECT m.kaggle_username, m.display_name, m.competition_id, m.kaggle_competition_id,
       width_bucket(m.order_key, n.keys)::bigint AS rank, b.teams, m.team_id, m.team_name, m.score,
       kaggle.medal(width_bucket(m.order_key, n.keys)::bigint, b.teams, m.category) AS medal_zone,
       CASE WHEN d.team_ids[width_bucket(m.team_id, d.team_ids)] = m.team_id
            THEN d.ranks[width_bucket(m.team_id, d.team_ids)] - width_bucket(m.order_key, n.keys)::bigint END AS movement,
       m.submission_count, m.last_submission_at, m.member_usernames, b.kind AS board, b.observed_at AS synced_at,
       m.rating_weight, m.ended_at
FROM (SELECT p.* FROM kaggle.participant_entries p WHERE NOT p.is_benchmark ORDER BY p.board_id) AS m
JOIN kaggle.boards b ON b.id = m.board_id
CROSS JOIN LATERAL (
    SELECT ARRAY(SELECT k.order_key FROM kaggle.leaderboard_entries k
                 WHERE k.board_id = m.board_id AND NOT k.is_benchmark ORDER BY k.order_key) AS keys OFFSET 0) AS n
LEFT JOIN LATERAL (
    SELECT array_agg(v.team_id ORDER BY v.team_id) AS team_ids, array_agg(v.rank ORDER BY v.team_id) AS ranks
    FROM kaggle_internal.ranks_a_day_ago(m.board_id) v) AS d ON true;
COMMENT ON VIEW kaggle.participant_results IS 'Where each participant stands in each competition, found through the members of teams; also who was added after the last sync. Ask for one kaggle_username, one competition_id or for all.';
COMMENT ON COLUMN kaggle.participant_results.kaggle_username IS 'The participant, as kaggle.participants spells it.';
COMMENT ON COLUMN kaggle.participant_results.display_name IS 'Name for people; null = none.';
COMMENT ON COLUMN kaggle.participant_results.competition_id IS 'kaggle.competitions.id.';
COMMENT ON COLUMN kaggle.participant_results.kaggle_competition_id IS 'The competition''s slug.';
COMMENT ON COLUMN kaggle.participant_results.rank IS 'The team''s rank now, as in kaggle.leaderboard.';
COMMENT ON COLUMN kaggle.participant_results.teams IS 'Ranked teams on the board.';
COMMENT ON COLUMN kaggle.participant_results.team_id IS 'Kaggle''s TeamId.';
COMMENT ON COLUMN kaggle.participant_results.team_name IS 'The team''s name.';
COMMENT ON COLUMN kaggle.participant_results.score IS 'The team''s score.';
COMMENT ON COLUMN kaggle.participant_results.medal_zone IS 'gold, silver, bronze or null: the zone of this rank, see kaggle.medal; null also where the competition gives no medals.';
COMMENT ON COLUMN kaggle.participant_results.movement IS 'Places the team climbed over the last 24 hours, negative downwards; null where it, or the board, was not there then.';
COMMENT ON COLUMN kaggle.participant_results.submission_count IS 'How often the team has submitted.';
COMMENT ON COLUMN kaggle.participant_results.last_submission_at IS 'When it submitted last.';
COMMENT ON COLUMN kaggle.participant_results.member_usernames IS 'All members of the team.';
COMMENT ON COLUMN kaggle.participant_results.board IS 'public or private.';
COMMENT ON COLUMN kaggle.participant_results.synced_at IS 'The board is known to be right as of then.';
COMMENT ON COLUMN kaggle.participant_results.rating_weight IS 'As in kaggle.competitions.';
COMMENT ON COLUMN kaggle.participant_results.ended_at IS 'As in kaggle.participant_entries; null = the competition is not completed.';

CREATE OR REPLACE VIEW kaggle.unmatched_participants AS
SELECT v.id AS event_id, v.slug AS event_slug, r.kaggle_username, p.display_name, r.note,
       EXISTS (SELECT FROM kaggle.participant_entries e WHERE e.kaggle_username = r.kaggle_username) AS is_seen
FROM kaggle.event_participants r
JOIN kaggle.events v ON v.id = r.event_id
JOIN kaggle.participants p USING (kaggle_username)
WHERE NOT r.excluded
  AND NOT EXISTS (SELECT FROM kaggle.participant_entries e
                  JOIN kaggle.event_competitions c USING (competition_id)
                  WHERE e.kaggle_username = r.kaggle_username AND c.event_id = r.event_id)
UNION ALL
SELECT NULL, NULL, p.kaggle_username, p.display_name, NULL, false
FROM kaggle.participants p
WHERE NOT EXISTS (SELECT FROM kaggle.event_participants r WHERE r.kaggle_username = p.kaggle_username)
  AND NOT EXISTS (SELECT FROM kaggle.participant_entries e WHERE e.kaggle_username = p.kaggle_username);
COMMENT ON VIEW kaggle.unmatched_participants IS 'Who was looked for in vain, perhaps a misspelt name: registered for an event and not excluded, but on no board of its competitions; and participants of no event who are on no board at all.';
COMMENT ON COLUMN kaggle.unmatched_participants.event_id IS 'The event; null = of no event.';
COMMENT ON COLUMN kaggle.unmatched_participants.event_slug IS 'Its slug.';
COMMENT ON COLUMN kaggle.unmatched_participants.kaggle_username IS 'The name that stands on no board.';
COMMENT ON COLUMN kaggle.unmatched_participants.display_name IS 'Name for people.';
COMMENT ON COLUMN kaggle.unmatched_participants.note IS 'The note of the registration.';
COMMENT ON COLUMN kaggle.unmatched_participants.is_seen IS 'True: the name stands on another board, so it is right, and has not submitted yet. False: on none, so it may be misspelt.';
