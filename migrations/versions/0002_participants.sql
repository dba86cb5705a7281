-- Whom people follow: participants, and who is registered for which event.
--
-- participants has exactly the two columns of a list of names, so that COPY needs no column list.

CREATE TABLE kaggle.participants (
    kaggle_username text NOT NULL,
    display_name    text,
    CONSTRAINT participants_pkey PRIMARY KEY (kaggle_username),
    CONSTRAINT kaggle_username_is_a_name
        CHECK (kaggle_username ~ '^(del=)?[A-Za-z0-9][A-Za-z0-9._-]{0,95}$')
);
COMMENT ON TABLE kaggle.participants IS 'People to follow by their Kaggle username, on whatever board they stand. Names are compared without case.';
COMMENT ON COLUMN kaggle.participants.kaggle_username IS 'The name in the URL of the profile, capitals kept; https://www.kaggle.com/NAME and @NAME are stored as NAME.';
COMMENT ON COLUMN kaggle.participants.display_name IS 'Name for people; null or empty = none.';

CREATE UNIQUE INDEX participant_is_one_without_regard_to_case
    ON kaggle.participants (lower(kaggle_username COLLATE "C"));


CREATE TABLE kaggle.event_participants (
    event_id        bigint  NOT NULL,
    kaggle_username text    NOT NULL,
    excluded        boolean NOT NULL DEFAULT false,
    note            text,
    CONSTRAINT event_participants_pkey PRIMARY KEY (event_id, kaggle_username),
    CONSTRAINT registered_for_an_existing_event
        FOREIGN KEY (event_id) REFERENCES kaggle.events (id) ON DELETE CASCADE,
    CONSTRAINT registered_is_an_existing_participant
        FOREIGN KEY (kaggle_username) REFERENCES kaggle.participants (kaggle_username)
        ON UPDATE CASCADE ON DELETE CASCADE
);
COMMENT ON TABLE kaggle.event_participants IS 'Who is registered for an event. An event with rows here ranks only those who are not excluded; one without ranks everybody.';
COMMENT ON COLUMN kaggle.event_participants.event_id IS 'The event.';
COMMENT ON COLUMN kaggle.event_participants.kaggle_username IS 'The participant, in the spelling of kaggle.participants; a name that is not there yet is added to it.';
COMMENT ON COLUMN kaggle.event_participants.excluded IS 'True: registered, but not ranked.';
COMMENT ON COLUMN kaggle.event_participants.note IS 'For yourself, e.g. why someone is excluded.';

CREATE INDEX event_participants_username ON kaggle.event_participants (kaggle_username);


-- An index is computed by this function: its body is stored data too, and never changes. So it stands here, not in sql/.
CREATE FUNCTION kaggle.lower_all(names text[]) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT ARRAY(SELECT lower(left(name, 100) COLLATE "C") FROM unnest(names) AS name)
$$;
COMMENT ON FUNCTION kaggle.lower_all(text[]) IS 'The names in lower case, for the index over the members of teams; the letters beyond the hundredth, which no username has, are left out, since an index entry must be short.';

-- Most teams have one member: a B-tree on the first costs a third of a GIN index on all of them, which is left the teams of several.
CREATE INDEX leaderboard_entries_first_member
    ON kaggle.leaderboard_entries (lower(left(member_usernames[1], 100) COLLATE "C"));
CREATE INDEX leaderboard_entries_members
    ON kaggle.leaderboard_entries USING gin (kaggle.lower_all(member_usernames) COLLATE "C")
    WHERE cardinality(member_usernames) > 1;
