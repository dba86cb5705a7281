"""Checks of the competitions: failing syncs, missing rows, boards of the future, and the sync condition."""

from __future__ import annotations

from pgleaderboard.database.connect import Connection, column, row, rows, value
from pgleaderboard.doctor.database import CLOCK_WARNING
from pgleaderboard.doctor.finding import Finding, Findings, ok, problem, warning

SHOWN = 20  # competitions with a line of their own


def syncs(connection: Connection) -> Findings:
    """The last error of each failing competition."""
    failing = rows(
        connection,
        """
        SELECT coalesce(v.kaggle_competition_id, v.title) AS name, v.consecutive_failures AS times,
               v.last_error, v.next_sync_at, s.last_error_kind AS kind
        FROM kaggle.sync_status v JOIN kaggle_internal.sync_state s USING (competition_id)
        WHERE v.consecutive_failures > 0
        ORDER BY s.last_error_kind = 'transient', v.competition_id
        """,
    )
    remedies = {
        "transient": "nothing: it is retried automatically",
        "person": "when that is fixed: SELECT kaggle.sync_now('{}')",
    }
    for competition in failing[:SHOWN]:
        retry = f", next try {competition.next_sync_at:%H:%M:%S %Z}" if competition.next_sync_at else ""
        yield Finding(
            "syncs",
            "warning" if competition.kind == "transient" else "problem",
            f"{competition.name} is failing ({competition.times} in a row{retry}): {competition.last_error}",
            remedies.get(competition.kind, "please report it with the worker's log").format(competition.name),
        )
    if len(failing) > SHOWN:
        yield warning("syncs", f"{len(failing) - SHOWN} more are failing", "SELECT * FROM kaggle.sync_status")
    if not failing:
        yield ok("syncs", "no competition is failing")
    for source in column(connection, "SELECT source FROM kaggle.board_source"):
        yield ok("boards", f"they come from {'Kaggle' if source == 'Kaggle' else 'the simulator, which invents them'}")


def missing(connection: Connection) -> Findings:
    """Competitions whose row is gone though no trigger saw its deletion."""
    remedy = "insert its row again under the same id before then; nothing, if it was deleted on purpose"
    for message in column(
        connection,
        """
        SELECT format('competition %s (%s) has been missing since %s, and no trigger saw its deletion: '
                      'its boards, history and runs are removed at %s', s.competition_id,
                      coalesce((SELECT string_agg(DISTINCT b.slug, ', ') FROM kaggle.boards b
                                WHERE b.competition_id = s.competition_id), 'without a board'),
                      to_char(s.missing_since, 'YYYY-MM-DD HH24:MI:SS TZ'),
                      to_char(s.missing_since + kaggle_internal.grace_for_missing(), 'YYYY-MM-DD HH24:MI:SS TZ'))
        FROM kaggle_internal.sync_state s WHERE s.missing_since IS NOT NULL ORDER BY s.competition_id
        """,
    ):
        yield warning("syncs", message, remedy)


def ahead(connection: Connection) -> Findings:
    """Boards that were synced while the database's clock was ahead."""
    remedy = "nothing: it is right, and so are later syncs; set the database's clock by NTP"
    for kind, slug, at in rows(
        connection,
        "SELECT kind, slug, observed_at FROM kaggle.boards "
        "WHERE observed_at > clock_timestamp() + make_interval(secs => %s) ORDER BY observed_at DESC, slug LIMIT %s",
        CLOCK_WARNING,
        SHOWN,
    ):
        message = f"the {kind} board of {slug} is dated {at:%Y-%m-%d %H:%M:%S %Z}, in the future"
        yield warning("clock", message, remedy)


def condition(connection: Connection) -> Findings:
    """The user's own sync condition."""
    name = value(connection, "SELECT function FROM kaggle_internal.sync_condition")
    if name is None:
        return
    remedy = "correct it, or SELECT kaggle.set_sync_condition(NULL) as the owner of the functions of schema kaggle"
    failures = row(
        connection,
        "SELECT count(*) AS times, min(condition_says) AS error FROM kaggle_internal.sync_state "
        "WHERE condition_says <> 'no'",
    )
    if value(connection, "SELECT kaggle_internal.bound_condition() IS NULL"):
        yield problem("condition", f"{name} does not exist", remedy)
    elif failures.times:
        how_many = f"{failures.times} competition{'s' * (failures.times != 1)}"
        yield problem("condition", f"{name} fails for {how_many}: {failures.error}", remedy)
    else:
        yield ok("condition", f"{name} answers")
