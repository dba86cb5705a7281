"""Looks at everything a sync rests on, and says of each thing whether it is well and what to do if not.

Each check is a small function that gives findings. It changes nothing but one grant of Kaggle's budget, which its one
request to Kaggle takes like any other.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import version as installed_version
from typing import Literal, LiteralString

import psycopg
from psycopg import sql

from pgleaderboard import __version__
from pgleaderboard.database import release
from pgleaderboard.database.connect import Connection, column, connect, message_of, rows, value
from pgleaderboard.errors import NeedsPerson, PgleaderboardError, SchemaTooNew, SchemaTooOld, Transient
from pgleaderboard.kaggle.client import Kaggle
from pgleaderboard.kaggle.credential import Credential
from pgleaderboard.sync.store import take_grant

Level = Literal["ok", "warning", "problem"]
Findings = Iterator["Finding"]

TESTED_SERVERS = range(15, 19)
TESTED_QUEUE = "3.10."
LOCKED_FOR = "5s"  # that a check waits for a lock
HEARD_WITHIN = 5.0  # seconds that a notification may take
STUCK_AFTER = timedelta(minutes=10)  # a worker sweeps every 4 s, and a sync has its deadline
CLOCK_WARNING, CLOCK_PROBLEM = 5.0, 60.0  # seconds; from a few minutes on TLS refuses Kaggle's certificate
SHOWN = 20  # failing competitions that are listed one by one


@dataclass(frozen=True)
class Finding:
    """What one check found. remedy: what to do, None where there is nothing to do."""

    check: str
    level: Level
    said: str
    remedy: str | None = None


@dataclass(frozen=True)
class Patient:
    """What is looked at.

    url: the database, perhaps through a pooler. direct_url: the same one without; has_direct_url: it was given.
    kaggle: None where credential_error says why there is none. clock: seconds since 1970 on this machine.
    """

    url: str
    direct_url: str
    has_direct_url: bool
    kaggle: Kaggle | None
    which_kaggle: str
    credential: Credential | None
    credential_error: str | None
    needs_credential: bool
    requests_per_minute: int
    clock: Callable[[], float] = time.time


def examine(patient: Patient) -> Findings:
    """All checks, in the order in which things rest on one another."""
    try:
        connection: Connection = connect(patient.direct_url, "doctor")
    except psycopg.Error as error:
        yield Finding("database", "problem", message_of(error), _remedy_for_connecting(str(error)))
        yield from kaggle(patient, None)
        return
    with connection:
        if not _is_pooled(connection):  # else it would stay there for somebody else
            connection.execute("SELECT set_config('lock_timeout', %s, false)", (LOCKED_FOR,))
        yield from server(connection)
        yield from clock(connection, patient.clock)
        yield from listen(connection, patient)
        installed = True
        yield from row_security(connection)
        for found in _guarded(connection, schema(connection)):
            installed = installed and found.level == "ok"
            yield found
        if not installed:
            yield from kaggle(patient, None)
            return
        fingerprint = patient.kaggle.fingerprint if patient.kaggle else ""
        for findings in (
            rights(connection),
            search_path(connection),
            triggers(connection),
            sequences(connection),
            queue(connection),
            workers(connection, fingerprint),
            jobs(connection, fingerprint),
            kaggle(patient, connection),
            syncs(connection),
            missing(connection),
            ahead(connection),
            condition(connection),
        ):
            yield from _guarded(connection, findings)


def _guarded(connection: Connection, findings: Findings) -> Findings:
    """The findings; what ends a check early is one, too."""
    try:
        yield from findings
    except psycopg.errors.InsufficientPrivilege as error:
        yield Finding("rights", "problem", message_of(error), _grant_worker(connection))
    except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled) as error:
        yield Finding("locks", "problem", message_of(error), f"end the transaction in the way: {_holders(connection)}")
    except psycopg.ProgrammingError as error:
        yield Finding(
            "schema",
            "problem",
            message_of(error),
            "run pgleaderboard migrate --again; a table comes back from a backup",
        )


def server(connection: Connection) -> Findings:
    """The server's version and the database's encoding."""
    info = connection.info
    number, shown = info.server_version // 10000, info.parameter_status("server_version")
    said = f'PostgreSQL {shown}, database "{info.dbname}", role "{info.user}"'
    if number < release.MINIMUM_SERVER:
        yield Finding("database", "problem", said, f"PostgreSQL {release.MINIMUM_SERVER} or newer is needed")
    elif (encoding := info.parameter_status("server_encoding")) != "UTF8":
        yield Finding(
            "database", "problem", f"{said}, encoded in {encoding}", "make a database with ENCODING 'UTF8' and use that"
        )
    elif number not in TESTED_SERVERS:
        yield Finding("database", "warning", said, f"this version was not tested with pgleaderboard {__version__}")
    else:
        yield Finding("database", "ok", said)
    if value(connection, "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean"):
        yield Finding(
            "database",
            "problem",
            "the database cannot be written to: it is a standby or read-only",
            "name the primary server in DATABASE_URL",
        )


def clock(connection: Connection, here: Callable[[], float]) -> Findings:
    """The difference between the two clocks: schedules run by the database's, TLS by this machine's."""
    before = here()
    there: float = value(connection, "SELECT extract(epoch FROM clock_timestamp())::float8")
    ahead = there - (before + here()) / 2
    level: Level = "ok" if abs(ahead) < CLOCK_WARNING else "warning" if abs(ahead) < CLOCK_PROBLEM else "problem"
    if level == "ok":
        yield Finding("clock", level, "the database and this machine agree on the time")
    else:
        yield Finding(
            "clock",
            level,
            f"the database's clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} ours",
            "set both by NTP: dates act by the database's clock, secure connections need a right one here",
        )


def listen(connection: Connection, patient: Patient) -> Findings:
    """Whether a notification sent through DATABASE_URL arrives on the direct connection, as the worker needs it."""
    name = "PGLEADERBOARD_DIRECT_URL" if patient.has_direct_url else "DATABASE_URL"
    channel = f"pgleaderboard_doctor_{secrets.token_hex(4)}"
    connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
    identity: LiteralString = (
        "SELECT oid, datname, pg_postmaster_start_time() FROM pg_database WHERE datname = current_database()"
    )
    try:
        with connect(patient.url, "doctor") as other:
            is_other = other.execute(identity).fetchone() != connection.execute(identity).fetchone()
            other.execute("SELECT pg_notify(%s, '')", (channel,))
    except psycopg.Error as error:
        yield Finding("listen", "problem", f"DATABASE_URL: {message_of(error)}", _remedy_for_connecting(str(error)))
        return
    if is_other:
        yield Finding(
            "listen",
            "problem",
            "DATABASE_URL and PGLEADERBOARD_DIRECT_URL name different databases",
            "name the same database in both, with the pooler in the first only",
        )
        return
    heard = any(True for _ in connection.notifies(timeout=HEARD_WITHIN, stop_after=1))
    if heard:
        yield Finding("listen", "ok", "a notification sent through DATABASE_URL arrived")
    elif _is_pooled(connection):
        yield Finding(
            "listen",
            "problem",
            f"{name} leads to a pooler in transaction mode: LISTEN does not work there",
            "set PGLEADERBOARD_DIRECT_URL to the database itself; DATABASE_URL may stay the pooler",
        )
    else:
        yield Finding(
            "listen",
            "problem",
            f"a notification did not arrive within {HEARD_WITHIN:g} s on {name}",
            "name the primary server itself in PGLEADERBOARD_DIRECT_URL, without anything in between",
        )


def _is_pooled(connection: Connection) -> bool:
    # A pooler makes up the process number that a client is told when it connects.
    return bool(connection.info.backend_pid != value(connection, "SELECT pg_backend_pid()"))


def row_security(connection: Connection) -> Findings:
    """Whether row level security hides rows from this role, or from the owner, in whose name triggers and views act."""
    for name, role, is_forced in connection.execute(
        """
        SELECT c.oid::regclass::text, r.rolname, c.relforcerowsecurity
        FROM pg_class c JOIN pg_roles r ON r.rolname = current_user OR r.oid = c.relowner
        WHERE c.relkind = 'r' AND c.relrowsecurity
          AND c.relnamespace::regnamespace::text IN ('kaggle', 'kaggle_internal', 'procrastinate')
          AND NOT (r.rolsuper OR r.rolbypassrls OR r.oid = c.relowner AND NOT c.relforcerowsecurity)
          AND (r.rolname <> current_user OR row_security_active(c.oid))
        ORDER BY 1, 2
        """
    ).fetchall():
        instead = "" if is_forced else f'; or ALTER TABLE {name} OWNER TO "{role}"'
        yield Finding(
            "rights",
            "problem",
            f'row level security hides rows of {name} from role "{role}"'
            + (": those that are hidden are not synced" if name == "kaggle.competitions" else ": nothing is synced"),
            f'ALTER ROLE "{role}" BYPASSRLS{instead}',
        )


def schema(connection: Connection) -> Findings:
    """Whether the schemas are there, and of this version."""
    try:
        release.check(connection)
    except SchemaTooOld as error:
        yield Finding("migrations", "problem", str(error), "run pgleaderboard migrate")
    except SchemaTooNew as error:
        yield Finding("migrations", "problem", str(error), "install the newer pgleaderboard here, too")
    except Transient as error:
        yield Finding("migrations", "problem", f"what is installed cannot be told: {error}", "mend that first")
    except NeedsPerson as error:
        if isinstance(error.__cause__, psycopg.errors.InsufficientPrivilege):
            yield Finding("rights", "problem", str(error), _grant_worker(connection))
            return
        may: LiteralString = "SELECT has_database_privilege(current_database(), 'CREATE')"
        database, role = connection.info.dbname, connection.info.user
        yield Finding(
            "migrations",
            "problem",
            str(error),
            "run pgleaderboard migrate"
            if value(connection, may)
            else f'have the owner run GRANT CREATE ON DATABASE "{database}" TO "{role}"; then pgleaderboard migrate',
        )
    else:
        yield Finding("migrations", "ok", f"the tables and functions are those of pgleaderboard {__version__}")


def rights(connection: Connection) -> Findings:
    """Whether the role may do what a worker does."""
    missing = connection.execute(
        """
        SELECT format('%s.%s', relnamespace::regnamespace, relname) FROM pg_class
        WHERE relnamespace::regnamespace::text IN ('kaggle', 'kaggle_internal', 'procrastinate')
          AND relkind = 'r' AND relname NOT IN ('sync_condition', 'applied_files')
          AND NOT (has_schema_privilege(relnamespace, 'USAGE') AND has_table_privilege(oid, 'SELECT')
               AND has_table_privilege(oid, 'INSERT') AND has_table_privilege(oid, 'UPDATE')
               AND has_table_privilege(oid, 'DELETE'))
        UNION ALL
        SELECT 'temporary tables' WHERE NOT has_database_privilege(current_database(), 'TEMPORARY')
        UNION ALL
        SELECT 'the functions of kaggle'
        WHERE EXISTS (SELECT FROM pg_proc p WHERE p.proname = 'sweep' AND NOT has_function_privilege(p.oid, 'EXECUTE')
                         AND p.pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'kaggle_internal'))
        ORDER BY 1
        """
    ).fetchall()
    if missing:
        names = ", ".join(name for (name,) in missing[:3]) + (f" and {len(missing) - 3} more" if missing[3:] else "")
        yield Finding(
            "rights", "problem", f'role "{connection.info.user}" may not use {names}', _grant_worker(connection)
        )
    else:
        yield Finding("rights", "ok", f'role "{connection.info.user}" may do what a worker does')


def _grant_worker(connection: Connection) -> str:
    return f'have the owner run GRANT pgleaderboard_worker TO "{connection.info.user}"'


def search_path(connection: Connection) -> Findings:
    """Whether each function still pins its search_path, whatever a session sets."""
    loose = column(
        connection,
        """
        SELECT oid::regprocedure::text FROM pg_proc
        WHERE pronamespace::regnamespace::text IN ('kaggle', 'kaggle_internal')
          AND prosqlbody IS NULL    -- a RETURN was bound when it was made
          AND NOT EXISTS (SELECT FROM unnest(proconfig) AS setting WHERE setting ~ '^search_path=.*pg_temp"?$')
        ORDER BY 1
        """,
    )
    if loose:
        yield Finding(
            "search_path",
            "problem",
            f"{_few(loose)} would find other people's tables: no search_path is pinned",
            "run pgleaderboard migrate --again; functions of your own belong into a schema of your own",
        )
    else:
        yield Finding("search_path", "ok", "every function pins its own")


def triggers(connection: Connection) -> Findings:
    """Whether the triggers fire."""
    off = column(
        connection,
        "SELECT format('%s on %s', tgname, tgrelid::regclass) FROM pg_trigger "
        "WHERE tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'kaggle'::regnamespace) "
        "AND NOT tgisinternal AND tgenabled NOT IN ('O', 'A') ORDER BY 1",
    )
    missing = column(
        connection,
        "SELECT name FROM unnest(ARRAY['competitions_inserted', 'competitions_updated', 'competitions_deleted', "
        "'competitions_truncated']) AS name WHERE NOT EXISTS (SELECT FROM pg_trigger "
        "WHERE tgrelid = 'kaggle.competitions'::regclass AND tgname = name)",
    )
    if off:
        yield Finding(
            "triggers",
            "problem",
            f"switched off: {_few(off)}",
            "as the owner: ALTER TABLE kaggle.… ENABLE TRIGGER USER",
        )
    if missing:
        yield Finding("triggers", "problem", f"missing: {_few(missing)}", "run pgleaderboard migrate --again")
    if value(connection, "SELECT current_setting('session_replication_role')") != "origin":
        yield Finding(
            "triggers",
            "problem",
            "session_replication_role is not origin: no trigger fires in this role's sessions",
            "ALTER ROLE … or ALTER DATABASE … RESET session_replication_role",
        )
        return
    if not off and not missing:
        yield Finding("triggers", "ok", "they are there and switched on")


def sequences(connection: Connection) -> Findings:
    """Whether a sequence would issue a number that is in use, as after an upgrade by logical replication."""
    behind = rows(connection, "SELECT sequence, last_value, highest FROM kaggle_internal.sequences_behind()")
    for row in behind:
        yield Finding(
            "sequences",
            "problem",
            f"{row.sequence} is at {row.last_value}, and {row.highest} is in use",
            "run pgleaderboard migrate --again, which sets it forward",
        )
    if not behind:
        yield Finding("sequences", "ok", "none is behind its table")


def queue(connection: Connection) -> Findings:
    """procrastinate's package against what the database has of it."""
    package = installed_version("procrastinate")
    missing = column(
        connection,
        "SELECT name FROM unnest(ARRAY['procrastinate_defer_jobs_v1', 'procrastinate_fetch_job_v2', "
        "'procrastinate_finish_job_v1']) AS name WHERE NOT EXISTS (SELECT FROM pg_proc "
        "WHERE pronamespace = to_regnamespace('procrastinate') AND proname = name)",
    )
    if missing:
        yield Finding(
            "queue",
            "problem",
            f"procrastinate {package} misses {_few(missing)} in its schema",
            "restore schema procrastinate from a backup, or see `pgleaderboard uninstall --help`",
        )
    elif not package.startswith(TESTED_QUEUE):
        yield Finding(
            "queue",
            "warning",
            f"procrastinate {package} is installed, not {TESTED_QUEUE}x",
            "install what pgleaderboard asks for: pip install --upgrade pgleaderboard",
        )
    else:
        yield Finding("queue", "ok", f"procrastinate {package} fits its schema")


def workers(connection: Connection, fingerprint: str) -> Findings:
    """Whether somebody is there to sync, and beats its heart."""
    found = rows(
        connection,
        """
        SELECT w.id, w.version, w.credential, extract(epoch FROM clock_timestamp() - w.seen_at)::float8 AS silent,
               EXISTS (SELECT FROM kaggle.workers a WHERE a.id = w.id) AS alive
        FROM kaggle_internal.worker_processes w ORDER BY w.id
        """,
    )
    alive = [row for row in found if row.alive]
    for row in found:
        if not row.alive:
            yield Finding(
                "workers",
                "warning",
                f"worker {row.id} was last heard {row.silent:.0f} s ago: killed or cut off",
                "what it ran is begun anew by the next worker; look into its log",
            )
        elif row.version != __version__:
            yield Finding(
                "workers",
                "warning",
                f"worker {row.id} is pgleaderboard {row.version}, this program is {__version__}",
                "restart it when you have upgraded",
            )
        elif row.credential != fingerprint:
            yield Finding(
                "workers",
                "warning",
                f"worker {row.id} uses another Kaggle credential than was found here",
                "restart it after changing a credential; it reads it at its start",
            )
    if alive:
        yield Finding("workers", "ok", f"{len(alive)} running, heard {min(row.silent for row in alive):.0f} s ago")
        return
    waiting = value(
        connection, "SELECT count(DISTINCT competition_id) FROM kaggle_internal.wanted(%s, true)", fingerprint
    )
    yield Finding(
        "workers",
        "problem" if waiting else "warning",
        "no worker is running"
        + (f"; competitions that wait for one: {waiting}" if waiting else "; nothing waits for one"),
        "start one: pgleaderboard work (or work --once, from cron)",
    )


def jobs(connection: Connection, fingerprint: str) -> Findings:
    """What should have begun or ended long ago."""
    is_well = True
    for row in rows(
        connection,
        """
        SELECT s.running_run_id, s.competition_id, clock_timestamp() - s.running_since AS since
        FROM kaggle_internal.sync_state s WHERE s.running_since < clock_timestamp() - %s::interval
        ORDER BY s.running_since
        """,
        STUCK_AFTER,
    ):
        is_well = False
        yield Finding(
            "jobs",
            "problem",
            f"run {row.running_run_id} of competition {row.competition_id} has been running for {_minutes(row.since)}",
            "restart its worker: the attempt is taken from it and begun anew",
        )
    ((paused_until, alive),) = rows(
        connection,
        "SELECT (SELECT max(blocked_until) FROM kaggle_internal.kaggle_budget WHERE credential = %s "
        "AND blocked_until > clock_timestamp()), EXISTS (SELECT FROM kaggle.workers)",
        fingerprint,
    )
    ((waiting, oldest),) = rows(
        connection,
        "SELECT count(DISTINCT competition_id), clock_timestamp() - min(since) FROM kaggle_internal.wanted(%s, false) "
        "WHERE task = 'sync' AND since < clock_timestamp() - %s::interval",
        fingerprint,
        STUCK_AFTER,
    )
    lost = value(
        connection,
        "SELECT count(*) FROM procrastinate.procrastinate_jobs j WHERE j.queue_name = 'kaggle' AND j.status = 'doing' "
        "AND NOT EXISTS (SELECT FROM procrastinate.procrastinate_workers p WHERE p.id = j.worker_id "
        "AND p.last_heartbeat > now() - interval '1 minute')",
    )
    if waiting and alive and not paused_until:
        is_well = False
        yield Finding(
            "jobs",
            "problem",
            f"competitions that wait: {waiting}, the oldest for {_minutes(oldest)}, though a worker is running",
            "raise PGLEADERBOARD_REQUESTS_PER_MINUTE or sync_interval if the budget is too small for so many boards; "
            "else restart the worker and report its log",
        )
    if lost:
        is_well = False
        yield Finding(
            "jobs",
            "warning",
            f"held by a worker that is gone: {lost} jobs",
            "nothing: the next worker takes them away and does what they were for",
        )
    if is_well:
        yield Finding("jobs", "ok", "nothing is stuck")


def kaggle(patient: Patient, connection: Connection | None) -> Findings:
    """The credential: which one, from where, and whether Kaggle takes it, by one small request."""
    remedy = "make one at https://www.kaggle.com/settings (API) and set KAGGLE_API_TOKEN"
    if patient.credential_error:
        yield Finding("credential", "problem", patient.credential_error, f"mend or remove that file, or {remedy}")
        return
    if patient.credential is None and patient.needs_credential:
        yield Finding("credential", "problem", "no Kaggle credential was found", remedy)
        return
    assert patient.kaggle is not None
    if connection is not None:
        wake_at = take_grant(connection, patient.kaggle.fingerprint, patient.requests_per_minute)
        until: datetime | None = value(
            connection,
            "SELECT blocked_until FROM kaggle_internal.kaggle_budget "
            "WHERE credential = %s AND blocked_until > clock_timestamp()",
            patient.kaggle.fingerprint,
        )
        if until:
            yield Finding(
                "kaggle",
                "warning",
                f"Kaggle asked for a pause of all requests until {until:%Y-%m-%d %H:%M:%S %Z}",
                "nothing, it passes; if it comes again, lower PGLEADERBOARD_REQUESTS_PER_MINUTE",
            )
            return
        if wake_at is not None:  # a busy worker has the grants, and so knows whether the credential is valid
            yield Finding("kaggle", "ok", f"{patient.which_kaggle}; not asked, the budget is used by the worker")
            return
    try:
        patient.kaggle.search("titanic")
    except Transient as error:
        level: Level = "warning" if error.throttled else "problem"
        yield Finding(
            "kaggle", level, f"{patient.which_kaggle}: {error}", "it may pass by itself; see PGLEADERBOARD_KAGGLE_URL"
        )
    except PgleaderboardError as error:
        yield Finding("credential", "problem", f"{patient.which_kaggle}: {error}", remedy)
    else:
        yield Finding("kaggle", "ok", f"{patient.which_kaggle}; it answers")


def syncs(connection: Connection) -> Findings:
    """The last error of each failing competition."""
    found = rows(
        connection,
        """
        SELECT coalesce(v.kaggle_competition_id, v.title) AS name, v.consecutive_failures AS times,
               v.last_error, v.next_sync_at, s.last_error_kind AS kind
        FROM kaggle.sync_status v JOIN kaggle_internal.sync_state s USING (competition_id)
        WHERE v.consecutive_failures > 0
        ORDER BY s.last_error_kind = 'transient', v.competition_id
        """,
    )
    for row in found[:SHOWN]:
        again = f", next try {row.next_sync_at:%H:%M:%S %Z}" if row.next_sync_at else ""
        yield Finding(
            "syncs",
            "warning" if row.kind == "transient" else "problem",
            f"{row.name} fails ({row.times} in a row{again}): {row.last_error}",
            {
                "transient": "nothing: it is tried again by itself",
                "person": f"when that is mended: SELECT kaggle.sync_now('{row.name}')",
            }.get(row.kind, "please report it with the worker's log"),
        )
    if len(found) > SHOWN:
        yield Finding(
            "syncs",
            "warning",
            f"{len(found) - SHOWN} more fail",
            "SELECT * FROM kaggle.sync_status",
        )
    if not found:
        total = value(connection, "SELECT count(*) FROM kaggle.competitions")
        yield Finding("syncs", "ok", f"none of {total} competitions fails")


def missing(connection: Connection) -> Findings:
    """Competitions that are gone though no trigger saw their deletion."""
    for row in rows(
        connection,
        """
        SELECT s.competition_id, s.missing_since, s.missing_since + kaggle_internal.grace_for_missing() AS removal,
               (SELECT string_agg(DISTINCT b.slug, ', ') FROM kaggle.boards b WHERE b.competition_id = s.competition_id)
               AS slugs
        FROM kaggle_internal.sync_state s WHERE s.missing_since IS NOT NULL ORDER BY s.competition_id
        """,
    ):
        yield Finding(
            "syncs",
            "warning",
            f"competition {row.competition_id} ({row.slugs or 'without a board'}) has been missing since "
            f"{row.missing_since:%Y-%m-%d %H:%M:%S %Z}, and no trigger saw its deletion: its boards, history and runs "
            f"are removed at {row.removal:%Y-%m-%d %H:%M:%S %Z}",
            "bring its row back under the same id before then; where it was deleted on purpose, nothing",
        )


def ahead(connection: Connection) -> Findings:
    """Boards that were synced while the database's clock was ahead."""
    for row in rows(
        connection,
        "SELECT slug, kind, observed_at FROM kaggle.boards "
        "WHERE observed_at > clock_timestamp() + make_interval(secs => %s) ORDER BY observed_at DESC, slug LIMIT %s",
        CLOCK_WARNING,
        SHOWN,
    ):
        yield Finding(
            "clock",
            "warning",
            f"the {row.kind} board of {row.slug} is dated {row.observed_at:%Y-%m-%d %H:%M:%S %Z}, which lies ahead",
            "nothing: it is right, and so are later syncs; set the database's clock by NTP",
        )


def condition(connection: Connection) -> Findings:
    """A sync condition of the user's own."""
    name = value(connection, "SELECT function FROM kaggle_internal.sync_condition")
    if name is None:
        return
    remedy = "mend it, or SELECT kaggle.set_sync_condition(NULL) as the owner of the functions of schema kaggle"
    wrong = rows(
        connection,
        "SELECT count(*) AS times, min(condition_says) AS said FROM kaggle_internal.sync_state "
        "WHERE condition_says <> 'no'",
    )[0]
    if value(connection, "SELECT kaggle_internal.bound_condition() IS NULL"):
        yield Finding("condition", "problem", f"{name} does not exist", remedy)
    elif wrong.times:
        yield Finding(
            "condition",
            "problem",
            f"{name} fails for {wrong.times} competitions: {wrong.said}",
            remedy,
        )
    else:
        yield Finding("condition", "ok", f"{name} answers")


def _holders(connection: Connection) -> str:
    """Who holds a table of ours so that nobody can read it."""
    found: str = value(
        connection,
        """
        SELECT coalesce(string_agg(DISTINCT format('process %s (%s), on %s', l.pid, a.usename, l.relation::regclass),
                                   '; '), 'it has ended meanwhile')
        FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_stat_activity a ON a.pid = l.pid
        WHERE l.granted AND l.mode = 'AccessExclusiveLock' AND l.pid <> pg_backend_pid()
          AND c.relnamespace::regnamespace::text IN ('kaggle', 'kaggle_internal', 'procrastinate')
        """,
    )
    return found


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "")


def _minutes(length: timedelta) -> str:
    return f"{length.total_seconds() / 60:.0f} minutes"


def _remedy_for_connecting(said: str) -> str:
    if "password" in said or "pg_hba" in said:
        return "check user and password in the URL, and pg_hba.conf on the server"
    if "does not exist" in said:
        return "create it, or correct its name in the URL"
    if "too many" in said or "remaining connection" in said:
        return "raise max_connections, or put a pooler before the database and name it in DATABASE_URL"
    return "start the server, or correct host and port in DATABASE_URL and PGLEADERBOARD_DIRECT_URL"
