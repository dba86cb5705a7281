-- What people read. Columns are only ever added at a view's end: users build views on these.

CREATE OR REPLACE VIEW kaggle_internal.shown_boards AS
SELECT c.id AS competition_id, c.kaggle_competition_id, b.id AS board_id, b.kind, b.teams, b.observed_at
FROM kaggle.competitions c
CROSS JOIN LATERAL (
    SELECT p.id, p.kind, p.teams, p.observed_at FROM kaggle.boards p
    WHERE p.competition_id = c.id AND lower(p.slug COLLATE "C") = lower(c.kaggle_competition_id COLLATE "C")
      AND (p.shown_from > statement_timestamp()) IS NOT TRUE
    ORDER BY p.kind LIMIT 1) AS b;    -- private, once it is shown, before public
COMMENT ON VIEW kaggle_internal.shown_boards IS 'The board that each competition shows now.';
COMMENT ON COLUMN kaggle_internal.shown_boards.competition_id IS 'kaggle.competitions.id.';
COMMENT ON COLUMN kaggle_internal.shown_boards.kaggle_competition_id IS 'The competition''s slug.';
COMMENT ON COLUMN kaggle_internal.shown_boards.board_id IS 'kaggle.boards.id.';
COMMENT ON COLUMN kaggle_internal.shown_boards.kind IS 'public or private.';
COMMENT ON COLUMN kaggle_internal.shown_boards.teams IS 'Ranked teams on it.';
COMMENT ON COLUMN kaggle_internal.shown_boards.observed_at IS 'The board is known to be right as of then.';

CREATE OR REPLACE VIEW kaggle.leaderboard AS
SELECT b.competition_id, b.kaggle_competition_id, e.rank, e.team_id, e.team_name, e.score,
       e.submission_count, e.last_submission_at, e.member_usernames, e.is_benchmark, b.kind AS board,
       e.first_seen_at, e.valid_from AS entry_changed_at, b.observed_at AS synced_at
FROM kaggle_internal.shown_boards b
CROSS JOIN LATERAL (
    -- Two arms with a bare row_number: a CASE around it would rank the whole board to find its top ten.
    SELECT row_number() OVER (ORDER BY r.order_key) AS rank, r.team_id, r.team_name, r.score, r.submission_count,
           r.last_submission_at, r.member_usernames, false AS is_benchmark, r.first_seen_at, r.valid_from
    FROM kaggle.leaderboard_entries r WHERE r.board_id = b.board_id AND NOT r.is_benchmark
    UNION ALL
    SELECT NULL::bigint, r.team_id, r.team_name, r.score, r.submission_count,
           r.last_submission_at, r.member_usernames, true, r.first_seen_at, r.valid_from
    FROM kaggle.leaderboard_entries r WHERE r.board_id = b.board_id AND r.is_benchmark) AS e;
COMMENT ON VIEW kaggle.leaderboard IS 'The boards now, one row a team, as Kaggle shows them.';
COMMENT ON COLUMN kaggle.leaderboard.competition_id IS 'kaggle.competitions.id.';
COMMENT ON COLUMN kaggle.leaderboard.kaggle_competition_id IS 'The competition''s slug.';
COMMENT ON COLUMN kaggle.leaderboard.rank IS 'Kaggle''s rank, 1 to N without gaps, ties in Kaggle''s order; null for a benchmark.';
COMMENT ON COLUMN kaggle.leaderboard.team_id IS 'Kaggle''s TeamId: the identity, names change.';
COMMENT ON COLUMN kaggle.leaderboard.team_name IS 'The team''s name, byte for byte.';
COMMENT ON COLUMN kaggle.leaderboard.score IS 'Exact, with the decimals Kaggle shows.';
COMMENT ON COLUMN kaggle.leaderboard.submission_count IS 'How often the team has submitted.';
COMMENT ON COLUMN kaggle.leaderboard.last_submission_at IS 'When it submitted last.';
COMMENT ON COLUMN kaggle.leaderboard.member_usernames IS 'Kaggle usernames of its members.';
COMMENT ON COLUMN kaggle.leaderboard.is_benchmark IS 'A host''s benchmark, not a competitor.';
COMMENT ON COLUMN kaggle.leaderboard.board IS 'public or private.';
COMMENT ON COLUMN kaggle.leaderboard.first_seen_at IS 'When the team was first seen on this board.';
COMMENT ON COLUMN kaggle.leaderboard.entry_changed_at IS 'When a fact or the place of this entry changed last; where history_interval left out the board at which it did, the next one that is kept counts.';
COMMENT ON COLUMN kaggle.leaderboard.synced_at IS 'The board is known to be right as of then.';

CREATE OR REPLACE VIEW kaggle.workers AS
SELECT w.id AS worker_id, w.version, w.started_at, w.seen_at, w.problem FROM kaggle_internal.live_workers() w;
COMMENT ON VIEW kaggle.workers IS 'The workers that are alive.';
COMMENT ON COLUMN kaggle.workers.worker_id IS 'A new number for each start and each reconnection.';
COMMENT ON COLUMN kaggle.workers.version IS 'The program''s version.';
COMMENT ON COLUMN kaggle.workers.started_at IS 'When it registered.';
COMMENT ON COLUMN kaggle.workers.seen_at IS 'Its last heartbeat.';
COMMENT ON COLUMN kaggle.workers.problem IS 'A setting in which it differs from another worker; null = none.';

CREATE OR REPLACE VIEW kaggle.sync_status AS
SELECT c.id AS competition_id, c.kaggle_competition_id, c.title, c.status,
       CASE WHEN s.running_run_id IS NOT NULL THEN 'running'
            WHEN q.waiting OR (runs_by_itself AND due.at <= clock_timestamp()) THEN 'queued'
            WHEN failing THEN 'failing'
            WHEN NOT c.auto_sync OR c.kaggle_competition_id IS NULL THEN 'off'
            ELSE 'idle' END AS sync_state,
       b.kind AS board, b.teams, b.observed_at AS synced_at,
       clock_timestamp() - b.observed_at AS board_age,
       s.last_attempt_at, s.last_success_at,
       nullif(least(CASE WHEN runs_by_itself OR failing
                      THEN least(due.at, CASE WHEN c.status = 'ongoing' AND c.end_date > clock_timestamp() THEN c.end_date END)
                  WHEN c.status = 'upcoming' AND c.auto_sync AND c.kaggle_competition_id IS NOT NULL THEN c.start_date
             END, night.ends_at), 'infinity') AS next_sync_at,
       pause.blocked_until,
       CASE WHEN failing THEN s.consecutive_failures ELSE 0 END AS consecutive_failures,
       CASE WHEN failing THEN s.last_error END AS last_error,
       -- What a person must mend; then why what is late is.
       CASE WHEN failing AND s.last_error_kind IN ('person', 'ours') THEN s.last_error
            WHEN s.condition_says <> 'no' THEN 'the sync condition fails, so nothing is synced by itself: ' || s.condition_says
            WHEN is_late AND NOT alive.worker THEN 'no worker is running: start one with pgleaderboard work'
            WHEN is_late AND pause.blocked_until IS NOT NULL THEN 'Kaggle asked for a pause'
            WHEN is_late AND failing THEN s.last_error
            WHEN is_late AND pause.next_grant_at > clock_timestamp()
                THEN 'waiting for the budget of requests to Kaggle (PGLEADERBOARD_REQUESTS_PER_MINUTE)'
            WHEN q.final THEN 'the final sync after the end is outstanding'
            WHEN early.shown_from IS NOT NULL
                THEN format('a private board came before the end: it is shown from %s on', early.shown_from)
       END AS problem,
       is_late, night.frozen_at AS page_frozen_at
FROM kaggle.competitions c
LEFT JOIN kaggle_internal.sync_state s ON s.competition_id = c.id
LEFT JOIN kaggle_internal.shown_boards b ON b.competition_id = c.id
LEFT JOIN kaggle.boards early
    ON early.competition_id = c.id AND lower(early.slug COLLATE "C") = lower(c.kaggle_competition_id COLLATE "C")
       AND early.kind = 'private' AND early.shown_from > statement_timestamp()
CROSS JOIN LATERAL (
    SELECT coalesce(s.consecutive_failures > 0 AND s.link_revision = c.link_revision, false) AS failing,
           c.auto_sync AND c.kaggle_competition_id IS NOT NULL
               AND (c.status = 'ongoing' OR c.status = 'completed' AND s.completed_at IS NOT NULL AND s.due_at IS NOT NULL)
               AS runs_by_itself) AS flags
CROSS JOIN LATERAL (SELECT s.next_sync_at AS at) AS due
CROSS JOIN LATERAL (
    SELECT min(e.end_date) FILTER (WHERE c.auto_sync AND c.kaggle_competition_id IS NOT NULL
                                     AND e.end_date > e.dates_checked_at AND e.end_date > statement_timestamp()) AS ends_at,
           min(e.frozen_at) FILTER (WHERE e.frozen_at <= statement_timestamp()) AS frozen_at
    FROM kaggle.event_competitions x JOIN kaggle.events e ON e.id = x.event_id WHERE x.competition_id = c.id) AS night
CROSS JOIN LATERAL (
    SELECT coalesce(bool_or(NOT r.tried), false) AS waiting, coalesce(bool_or(r.reason IN ('completed', 'event_ended')), false) AS final
    FROM kaggle_internal.sync_requests r WHERE r.competition_id = c.id AND kaggle_internal.request_holds(r.reason, c)) AS q
CROSS JOIN LATERAL (
    SELECT (q.waiting OR runs_by_itself OR failing)
           AND (greatest(b.observed_at, early.observed_at)
                > clock_timestamp() - 2 * greatest(c.sync_interval, s.due_interval, s.success_gap)) IS NOT TRUE AS is_late
    ) AS late
CROSS JOIN (SELECT EXISTS (SELECT FROM kaggle_internal.live_workers()) AS worker) AS alive
CROSS JOIN (
    SELECT max(k.blocked_until) FILTER (WHERE k.blocked_until > clock_timestamp()) AS blocked_until,
           max(k.next_grant_at) AS next_grant_at
    FROM kaggle_internal.kaggle_budget k) AS pause;
COMMENT ON VIEW kaggle.sync_status IS 'How the sync of each competition stands, one row each.';
COMMENT ON COLUMN kaggle.sync_status.competition_id IS 'kaggle.competitions.id.';
COMMENT ON COLUMN kaggle.sync_status.kaggle_competition_id IS 'The competition''s slug.';
COMMENT ON COLUMN kaggle.sync_status.title IS 'Its title.';
COMMENT ON COLUMN kaggle.sync_status.status IS 'upcoming, ongoing or completed.';
COMMENT ON COLUMN kaggle.sync_status.sync_state IS 'The first that holds of running, queued, failing, off, idle.';
COMMENT ON COLUMN kaggle.sync_status.board IS 'The board that is shown: public or private.';
COMMENT ON COLUMN kaggle.sync_status.teams IS 'Ranked teams on it.';
COMMENT ON COLUMN kaggle.sync_status.synced_at IS 'The board is known to be right as of then.';
COMMENT ON COLUMN kaggle.sync_status.board_age IS 'How long ago that was.';
COMMENT ON COLUMN kaggle.sync_status.last_attempt_at IS 'When the last attempt began.';
COMMENT ON COLUMN kaggle.sync_status.last_success_at IS 'When the last successful attempt ended.';
COMMENT ON COLUMN kaggle.sync_status.next_sync_at IS 'When it is synced next by itself, at its end and at that of an event in which it counts at the latest; null = not by itself.';
COMMENT ON COLUMN kaggle.sync_status.blocked_until IS 'Kaggle asked for a pause of all requests until then.';
COMMENT ON COLUMN kaggle.sync_status.consecutive_failures IS 'Failed attempts since the last success.';
COMMENT ON COLUMN kaggle.sync_status.last_error IS 'Why the last attempt failed, null after a success.';
COMMENT ON COLUMN kaggle.sync_status.problem IS 'What a person should know or do: what must be mended before a sync can work; else, if it is late, why; null = nothing.';
COMMENT ON COLUMN kaggle.sync_status.is_late IS 'Whether a sync is wanted, and the board is older than twice the longest of sync_interval, the time between syncs after an end, and that between the last two successes.';
COMMENT ON COLUMN kaggle.sync_status.page_frozen_at IS 'The live page shows nothing newer than then: the earliest frozen_at of its events that has come; null = none has. SQL and terminal go on.';

CREATE OR REPLACE VIEW kaggle.board_source AS
SELECT CASE WHEN s.is_simulated THEN 'simulator' ELSE 'Kaggle' END AS source FROM kaggle_internal.marked_source s
WHERE EXISTS (SELECT FROM kaggle.boards b WHERE b.competition_id IS NOT NULL);
COMMENT ON VIEW kaggle.board_source IS 'Where the boards come from, one row; none before the first sync. Boards of the other source are refused.';
COMMENT ON COLUMN kaggle.board_source.source IS 'Kaggle, or the simulator, which invents them.';

CREATE OR REPLACE VIEW kaggle.budget AS
SELECT nullif(max(b.next_grant_at), '-infinity') AS next_request_at,
       nullif(max(b.blocked_until), '-infinity') AS blocked_until
FROM kaggle_internal.kaggle_budget b;
COMMENT ON VIEW kaggle.budget IS 'When Kaggle may be asked next, one row; of several credentials the latest moment.';
COMMENT ON COLUMN kaggle.budget.next_request_at IS 'No request goes out before; in the past = at once, null = none has gone out, or there is no limit.';
COMMENT ON COLUMN kaggle.budget.blocked_until IS 'Kaggle asked for a pause of all requests until then; in the past = it is over, null = it never did.';
