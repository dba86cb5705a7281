-- Kaggle's budget: requests of all workers with one credential, evenly spaced, and the pauses that Kaggle asks for.

CREATE OR REPLACE FUNCTION kaggle_internal.grant_spacing(requests_per_minute integer) RETURNS interval
LANGUAGE sql IMMUTABLE SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    -- 60.5 s instead of 60: grants at the exact spacing would put one too many into some 60 s.
    SELECT CASE WHEN requests_per_minute > 0 THEN make_interval(secs => 60.5 / requests_per_minute) END
$$;
COMMENT ON FUNCTION kaggle_internal.grant_spacing(integer) IS 'Time between two requests to Kaggle at so many a minute; null without a limit.';

CREATE OR REPLACE FUNCTION kaggle_internal.next_grant(credential text, requests_per_minute integer) RETURNS timestamptz
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
DECLARE
    spacing constant interval := grant_spacing(requests_per_minute);
BEGIN
    -- A moment further ahead than it can have been set was set by a clock that was ahead.
    UPDATE kaggle_budget b
    SET next_grant_at = least(b.next_grant_at, clock_timestamp() + coalesce(b.grant_spacing, spacing)),
        blocked_until = least(b.blocked_until, clock_timestamp() + b.blocked_for)
    WHERE b.credential = next_grant.credential
      AND (b.next_grant_at > clock_timestamp() + coalesce(b.grant_spacing, spacing)
           OR b.blocked_until > clock_timestamp() + b.blocked_for);
    RETURN (SELECT greatest(CASE WHEN spacing IS NOT NULL THEN b.next_grant_at END, b.blocked_until)
            FROM kaggle_budget b WHERE b.credential = next_grant.credential);
END $$;
COMMENT ON FUNCTION kaggle_internal.next_grant(text, integer) IS 'When the next request of this credential may go out; null where none ever has. It is at most one spacing away, or the pause that Kaggle asked for, though the clock may have been ahead for a while.';

CREATE OR REPLACE FUNCTION kaggle_internal.take_grant(
    credential text, requests_per_minute integer, OUT granted boolean, OUT wake_at timestamptz)
LANGUAGE plpgsql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
BEGIN
    IF requests_per_minute > 0 THEN
        INSERT INTO kaggle_budget (credential) SELECT take_grant.credential
        WHERE NOT EXISTS (SELECT FROM kaggle_budget b WHERE b.credential = take_grant.credential)
        ON CONFLICT DO NOTHING;
        UPDATE kaggle_budget b
        SET next_grant_at = clock_timestamp() + grant_spacing(requests_per_minute),
            grant_spacing = grant_spacing(requests_per_minute)
        WHERE b.credential = take_grant.credential
          AND greatest(b.next_grant_at, b.blocked_until) <= clock_timestamp();
        granted := FOUND;
    ELSE
        granted := NOT EXISTS (SELECT FROM kaggle_budget b
                               WHERE b.credential = take_grant.credential AND b.blocked_until > clock_timestamp());
    END IF;
    IF NOT granted THEN
        wake_at := next_grant(credential, requests_per_minute);
    END IF;
END $$;
COMMENT ON FUNCTION kaggle_internal.take_grant(text, integer) IS 'One request to Kaggle may go out now, or wake_at says when to ask again. Grants of all workers are evenly spaced, without a burst; 0 a minute = no limit. A pause after a 429 holds for all.';

CREATE OR REPLACE FUNCTION kaggle_internal.block_budget(credential text, block_for interval) RETURNS void
LANGUAGE sql SET search_path = kaggle, kaggle_internal, pg_temp AS $$
    INSERT INTO kaggle_budget AS b (credential, blocked_until, blocked_for)
    VALUES (block_budget.credential, clock_timestamp() + block_for, block_for)
    ON CONFLICT ON CONSTRAINT kaggle_budget_pkey
    DO UPDATE SET blocked_until = excluded.blocked_until, blocked_for = excluded.blocked_for
    WHERE b.blocked_until < excluded.blocked_until
$$;
COMMENT ON FUNCTION kaggle_internal.block_budget(text, interval) IS 'Kaggle asks for a pause (429): no request of this credential goes out for so long.';
