"""A worker that a test plays by hand, one statement at a time, and edits of a competition."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import psycopg
from psycopg.rows import namedtuple_row

from tests.support.aliases import Connection

numbers = itertools.count(1)


# Whoever acts here may wait for nobody: a wait ends as an error at once.
IMPATIENT = "SET lock_timeout = '400ms'; SET statement_timeout = '20s'"


FETCH = (
    "SELECT id, task_name, (args ->> 'competition_id')::bigint AS competition_id"
    " FROM procrastinate_fetch_job_v2(ARRAY['kaggle'], %s)"
)


FINISH = "SELECT procrastinate_finish_job_v1(%s, 'succeeded', true)"


STAGE = "INSERT INTO pg_temp.staged_rows_1 (rank, team_id, team_name) VALUES (1, 1, 'Otters')"


class Hands:
    """A worker played by hand; each of its steps is one statement, `commit` apart where a test wants that."""

    def __init__(self, connection: Connection, *, ending: str = "applied") -> None:
        self.connection = connection
        self.ending = ending
        self.job: psycopg.rows.Row | None = None
        self.run: int | None = None
        self.begun: list[tuple[int, str]] = []  # (competition, slug) of each attempt, in order
        connection.execute(IMPATIENT)
        connection.execute("SET search_path = procrastinate, pg_temp")
        connection.commit()
        connection.autocommit = True
        self.queue_id = connection.execute("SELECT procrastinate_register_worker_v1()").fetchone()[0]
        self.worker_id = connection.execute("SELECT kaggle_internal.register_worker('test', 'cred')").fetchone()[0]
        connection.execute("SELECT kaggle_internal.prepare_staging(1)")

    def fetch(self) -> None:
        """Fetch a job, if there is one."""
        assert self.job is None
        job = self.connection.cursor(row_factory=namedtuple_row).execute(FETCH, (self.queue_id,)).fetchone()
        self.job = job if job.id is not None else None

    def begin(self) -> None:
        """Do what the job says, up to the request to Kaggle."""
        if self.job is None:
            return
        if self.job.task_name == "sweep":
            self.sweep(thorough=False)
        elif self.job.task_name == "remove":
            while self.connection.execute("SELECT kaggle_internal.remove_detached()").fetchone()[0]:
                pass
        elif self.job.task_name == "sync":
            row = self.connection.execute(
                "SELECT action, run_id, slug FROM kaggle_internal.begin_sync(%s, %s)",
                (self.job.competition_id, self.worker_id),
            ).fetchone()
            action, self.run, slug = row
            if action == "sync":
                self.begun.append((self.job.competition_id, slug))
            elif action == "remove":
                while self.connection.execute(
                    "SELECT kaggle_internal.remove_deleted(%s)", (self.job.competition_id,)
                ).fetchone()[0]:
                    pass

    def end(self) -> None:
        """End the attempt, if one runs."""
        if self.run is None:
            return
        if self.ending == "failed":
            self.connection.execute(
                "SELECT kaggle_internal.fail_run(%s, %s, 'it broke', 'transient', interval '1 hour')",
                (self.run, self.worker_id),
            )
        else:
            with self.connection.transaction():
                self.connection.execute(STAGE)
                self.connection.execute(
                    "SELECT kaggle_internal.apply_board(%s, 'public', %s, 0, 1)", (self.run, b"digest")
                )
        self.run = None

    def finish(self) -> None:
        """Put the job away."""
        if self.job is not None:
            self.connection.execute(FINISH, (self.job.id,))
            self.job = None

    def sweep(self, *, thorough: bool) -> None:
        """Sweep."""
        self.connection.execute("SELECT kaggle_internal.sweep(%s, %s)", (self.worker_id, thorough))

    def work_off(self) -> None:
        """End what runs and do every job until none is left; nothing is swept that no job asks for."""
        self.end()
        self.finish()
        for _ in range(1000):
            self.fetch()
            if self.job is None:
                return
            self.begin()
            self.end()
            self.finish()
        raise AssertionError("jobs without end")


@dataclass(frozen=True)
class Edit:
    """What a user does to a competition.

    before: how the row was, as columns and values. does: the edit; %(id)s is the row, %(slug)s its slug, %(new)s
    another one. wants: whether an attempt must begin after it.
    """

    does: str
    before: str = ""
    wants: bool = True
    failing: bool = False


EDITS = {
    "another slug": Edit("UPDATE kaggle.competitions SET kaggle_competition_id = %(new)s WHERE id = %(id)s"),
    "auto_sync on": Edit("UPDATE kaggle.competitions SET auto_sync = true WHERE id = %(id)s", "auto_sync = false"),
    "ongoing": Edit("UPDATE kaggle.competitions SET status = 'ongoing' WHERE id = %(id)s", "status = 'upcoming'"),
    "completed": Edit("UPDATE kaggle.competitions SET status = 'completed' WHERE id = %(id)s"),
    "sync_now": Edit("SELECT kaggle.sync_now(%(slug)s)"),
    "a failing row": Edit("UPDATE kaggle.competitions SET title = 'x' WHERE id = %(id)s", failing=True),
    "interval": Edit(
        "UPDATE kaggle.competitions SET sync_interval = '2 minutes' WHERE id = %(id)s",
        "sync_interval = '1 day'",
        wants=False,
    ),
    "deleted": Edit("DELETE FROM kaggle.competitions WHERE id = %(id)s", wants=False),
    "replaced": Edit(
        "DELETE FROM kaggle.competitions WHERE id = %(id)s; "
        "INSERT INTO kaggle.competitions (id, kaggle_competition_id) VALUES (%(id)s, %(slug)s)"
    ),
}


def make(editor: Connection, edit: Edit, row: dict[str, object]) -> None:
    """Make an edit, statement by statement, without committing it."""
    for statement in edit.does.split("; "):
        editor.execute(statement, row)


def insert(db: Connection, values: str = "") -> dict[str, object]:
    """A competition as some edit left it, without any job or request. Returns id, slug and another slug."""
    slug = f"competition-{next(numbers)}"
    competition_id = db.execute(
        "INSERT INTO kaggle.competitions (kaggle_competition_id, auto_sync) VALUES (%s, false) RETURNING id", (slug,)
    ).fetchone()[0]
    db.execute(f"UPDATE kaggle.competitions SET {values or 'auto_sync = true'} WHERE id = %s", (competition_id,))
    if "auto_sync" not in values and values:
        db.execute("UPDATE kaggle.competitions SET auto_sync = true WHERE id = %s", (competition_id,))
    return {"id": competition_id, "slug": slug, "new": f"{slug}-renamed"}


def once_synced(db: Connection, hands: Hands, edit: Edit) -> dict[str, object]:
    """A competition that was synced before (or is failing), and is asked for by hand again: one job waits."""
    row = insert(db, edit.before)
    db.execute("SELECT kaggle.sync_now(%(slug)s)", row)
    ending, hands.ending = hands.ending, "failed" if edit.failing else "applied"
    hands.work_off()
    hands.ending = ending
    hands.begun.clear()
    db.execute("UPDATE kaggle_internal.sync_state SET describe_at = clock_timestamp() + interval '23 hours'")
    db.execute("SELECT kaggle.sync_now(%(slug)s)", row)
    assert jobs(db) == [("sync", row["id"])]
    return row


def jobs(db: Connection) -> list[tuple[str, int | None]]:
    """What waits in the queue."""
    return db.execute(
        "SELECT task_name, (args ->> 'competition_id')::bigint FROM procrastinate.procrastinate_jobs"
        " WHERE status = 'todo' ORDER BY 1, 2"
    ).fetchall()
