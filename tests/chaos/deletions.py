"""Faults about rows that are gone, and about rows that only look so: what is deleted goes, and nothing else."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Sequence
from typing import Any

import psycopg

from tests.chaos.tally import Tally
from tests.chaos.world import WORKER_ROLE, World
from tests.support.processes import Worker, wait_for

# Row level security

WORKERS_TABLES = (
    "kaggle_internal.sync_state",
    "kaggle_internal.sync_requests",
    "kaggle.sync_runs",
    "kaggle.boards",
    "kaggle.leaderboard_entries",
    "kaggle_internal.packs",
    "kaggle_internal.past_names",
    "kaggle_internal.worker_processes",
    "kaggle_internal.kaggle_budget",
)
NO_POLICY = ""
FOR_ANOTHER_ROLE = "CREATE POLICY chaos ON {} TO pgleaderboard_reader USING (true)"
FOR_INSERTS = "CREATE POLICY chaos ON {} FOR INSERT WITH CHECK (true)"
FOR_SOME_ROWS = f"CREATE POLICY chaos ON {{}} TO {WORKER_ROLE} USING (id % 2 = 0)"
# What must stay as long as its competition does. A version of an entry is closed some day, and else the same for ever.
_PAST = """
    SELECT competition_id, 'board', id::text FROM kaggle.boards
    UNION ALL SELECT competition_id, 'run', id::text FROM kaggle.sync_runs
    UNION ALL SELECT competition_id, 'state', '' FROM kaggle_internal.sync_state
    UNION ALL SELECT b.competition_id, 'version', format('%s of team %s from %s', v.board_id, v.team_id, v.valid_from)
    FROM (SELECT board_id, team_id, valid_from FROM kaggle.leaderboard_entries
          UNION ALL SELECT board_id, team_id, valid_from FROM kaggle.leaderboard_history) AS v
    JOIN kaggle.boards b ON b.id = v.board_id
"""


def rows_hidden(world: World, tally: Tally) -> None:
    """Row level security comes and goes under the workers while boards change: nothing is concluded from what it hides.

    Their role owns nothing. Each time some tables are hidden from it one by one, and shown again in another order; at
    first it is the competitions alone.
    """
    world.staff(2, DATABASE_URL=world.url_of(WORKER_ROLE))
    reader = world.session()
    for number in range(world.scale.of(5, 2)):
        before = _past(world)
        world.stretch(world.random.randrange(1, 4))
        world.stir()
        hidden = world.random.sample(WORKERS_TABLES, world.random.randrange(3) if number else 0)
        if not hidden or world.random.random() < 0.3:
            hidden.append("kaggle.competitions")
        world.random.shuffle(hidden)
        for table in hidden:
            _pause(world)
            _hide(world, table, reader)
        world.stir()
        _pause(world)
        world.release()
        if hidden == ["kaggle.competitions"] and (number == 0 or world.random.random() < 0.5):
            world.terminate_backends("pgleaderboard worker")  # it begins anew, with a thorough look around
            time.sleep(0.5)
        _pause(world)
        _expect_kept(world, tally, before)
        world.random.shuffle(hidden)
        for table in hidden:
            world.sql(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
            world.sql(f"DROP POLICY IF EXISTS chaos ON {table}")
            if table != hidden[-1]:
                _pause(world)
        since = time.monotonic()
        tally.tries += 1
        tally.recovered(world.settle(tally, since=since, bound=tally.bound, hurry=True))
        _expect_kept(world, tally, before)
        if tally.stuck:
            return  # it would be found again and again


def _hide(world: World, table: str, reader: psycopg.Connection[Any]) -> None:
    """Sometimes somebody reads: then the change waits, and workers that have looked around before it wait behind it."""
    policy = world.random.choice(
        (NO_POLICY, FOR_ANOTHER_ROLE, FOR_SOME_ROWS if table == "kaggle.competitions" else FOR_INSERTS)
    )
    if policy:
        world.sql(policy.format(table))
    reading = world.random.choice((0, world.random.uniform(0, 0.3)))
    reader.execute(f"SELECT FROM {table} LIMIT 1".encode())
    end_of_reading = threading.Timer(reading, reader.rollback)
    end_of_reading.start()
    world.sql(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    end_of_reading.join()


def _pause(world: World) -> None:
    """Some time, perhaps none, and perhaps with a sweep in it."""
    if world.random.random() < 0.3:
        world.sql("SELECT kaggle_internal.queue_job('sweep', NULL, 20)")
    time.sleep(world.random.choice((0, world.random.uniform(0, 0.1), world.random.uniform(0, 0.5))))


def _past(world: World) -> set[tuple[int, str, str]]:
    return set(world.sql(_PAST))


def _expect_kept(world: World, tally: Tally, before: set[tuple[int, str, str]]) -> None:
    """Of the competitions that are there, nothing is gone that was there before, nor about to go."""
    present = world.competitions
    lost = sorted(row for row in before - _past(world) if row[0] in present)
    tally.expect(not lost, f"{len(lost)} rows of competitions that are there were removed: {lost[:10]}")
    missing = world.sql(
        "SELECT competition_id FROM kaggle_internal.sync_state s JOIN kaggle.competitions c ON c.id = s.competition_id"
        " WHERE s.missing_since IS NOT NULL"
    )
    tally.expect(not missing, f"these are there, and noted as missing: {missing}")


# Deleted, inserted again under the same id, deleted again


def deleted_again_and_again(world: World, tally: Tally) -> None:
    """Competitions come and go under their ids and slugs, one of them with a long past, and the worker that removes it
    is killed. Jobs are doubled. In the end what is there has a board of its own, and of the others nothing is left.
    """
    staff = _Staff(world)
    _removed_late(world, tally, staff)
    rounds = ((3, world.scale.of(8, 4)), (1, 1))  # so many competitions, so many times; the last is left to the workers
    for count, times in rounds[: world.scale.of(2)]:
        again = dict(world.random.sample(sorted(world.competitions.items()), count))
        with_past = next(iter(again))
        versions = world.scale.of(200_000, 50_000)
        board_id = _write_past(world, with_past, versions)
        sessions = [world.session() for _ in range(3)]

        goes_at = world.random.randrange(times)
        for number in range(times):
            for competition_id in world.random.sample(sorted(again), count):
                if competition_id != with_past or number > goes_at:
                    _come_or_go(world, competition_id, again[competition_id], sessions)
                elif number == goes_at:
                    world.delete(competition_id)
            if number == goes_at:
                staff.kill_who_removes(board_id, versions)
                tally.tries += 1
            world.release()
            world.stretch(world.random.randrange(3))
            time.sleep(world.random.uniform(0, 0.3))
        stay = set(world.random.sample(sorted(again), world.random.choice((1, 2) if count > 1 else (0, 1))))
        for competition_id in again.keys() & (stay ^ world.competitions.keys()):
            _come_or_go(world, competition_id, again[competition_id], sessions, in_one=False)
        world.release()
        since = time.monotonic()
        tally.tries += 1
        tally.recovered(world.settle(tally, since=since, bound=tally.bound))
        _expect_their_own(world, tally, stay)
        for session in sessions:
            session.close()
        for competition_id in again.keys() - stay:
            world.insert(again[competition_id], competition_id)
        world.settle(tally, since=time.monotonic(), bound=tally.bound)


def _removed_late(world: World, tally: Tally, staff: _Staff) -> None:
    """A worker freezes between being told of a deletion and acting on it. Meanwhile the row is inserted again, and
    another worker removes and syncs; what the first one does when it is thawed is too late to do harm.
    """
    competition_id, slug = world.random.choice(sorted(world.competitions.items()))
    late = staff.hire(freeze_at=("remove",))
    world.delete(competition_id)
    late.wait_until_frozen()
    world.insert(slug, competition_id)
    staff.hire()
    tally.tries += 1
    tally.recovered(world.settle(tally, since=time.monotonic(), bound=tally.bound))
    before = _past(world)
    late.signal(signal.SIGCONT)
    wait_for(
        lambda: not world.sql("SELECT 1 FROM procrastinate.procrastinate_jobs"),
        10 * world.scale.patience,
        "the thawed worker ends its job",
    )
    world.compare(tally)
    _expect_kept(world, tally, before)
    _expect_their_own(world, tally, {competition_id})


class _Staff:
    """Workers, known by the numbers under which they take jobs."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._by_number: dict[int, Worker] = {}
        world.staff(0)
        self._newest = self._read_newest()

    def hire(self, *, freeze_at: Sequence[str] = ()) -> Worker:
        """Start another worker, and wait until it takes jobs."""
        worker = self._world.start(freeze_at=freeze_at)
        self._meet_newcomers()
        return worker

    def _read_newest(self) -> int:
        newest: int = self._world.sql("SELECT coalesce(max(id), 0) FROM procrastinate.procrastinate_workers")[0][0]
        return newest

    def _meet_newcomers(self) -> None:
        """Note the number of a worker that was started; the others are known."""
        for worker in self._world.workers:
            if worker not in self._by_number.values():
                worker.wait_until_it_says("worker ready")
                wait_for(lambda: self._read_newest() > self._newest, 30, "a worker takes jobs")
                self._newest = self._read_newest()
                self._by_number[self._newest] = worker

    def kill_who_removes(self, board_id: int, versions: int) -> None:
        """SIGKILL of the worker that is removing this board, with some of it gone and some not; another is started."""
        self._meet_newcomers()
        removing: list[tuple[int]] = []

        def is_half_gone() -> bool:
            removing[:] = self._world.sql(
                "SELECT worker_id FROM procrastinate.procrastinate_jobs, "
                "(SELECT count(*) AS left FROM kaggle_internal.past_names WHERE board_id = %s) AS board"
                " WHERE task_name = 'remove' AND status = 'doing' AND worker_id = ANY (%s)"
                " AND board.left BETWEEN 1 AND %s",
                board_id,
                list(self._by_number),
                versions - 1,
            )
            return bool(removing)

        wait_for(is_half_gone, 10 * self._world.scale.patience, lambda: f"a past is removed: {self._world.undone()}")
        self._world.take(self._by_number.pop(removing[0][0])).kill()
        self._world.start()


def _write_past(world: World, competition_id: int, versions: int) -> int:
    """Write closed versions, each under another name, and runs under a competition's board. Returns the board's id.

    A pack holds a hundred versions, so that they are removed in as many chunks as the names.
    """
    ((board_id,),) = world.sql(
        "SELECT id FROM kaggle.boards WHERE competition_id = %s ORDER BY id DESC LIMIT 1", competition_id
    )
    world.sql(
        "WITH version AS ("
        " SELECT n %% 100 AS team_id, n, moment, moment + interval '1 hour' AS until FROM generate_series(1, %s) AS n,"
        " LATERAL (SELECT timestamptz '2020-01-01Z' + n / 100 * interval '1 hour') AS m (moment)"
        "), packed AS ("
        " INSERT INTO kaggle_internal.packs (board_id, until, is_whole, since_whole, ranked, ended, team_ids,"
        " order_keys, changed_at, last_submission_at, submission_count, score)"
        " SELECT %s, until, false, 0, count(*), array_agg('u'::\"char\"), array_agg(team_id), array_agg(n::bigint),"
        " array_agg(moment), array_agg(moment), array_agg(1::bigint), array_agg(n::numeric) FROM version GROUP BY until"
        ") INSERT INTO kaggle_internal.past_names"
        " (board_id, team_id, until, first_seen_at, team_name, member_usernames)"
        " SELECT %s, team_id, until, moment, 'team ' || n, '{}' FROM version",
        versions,
        board_id,
        board_id,
    )
    world.sql(
        "INSERT INTO kaggle.sync_runs (id, competition_id, reason, observed_at, started_at, finished_at, outcome,"
        " board, board_id)"
        " SELECT nextval('kaggle_internal.run_ids'), %s, 'scheduled', moment, moment, moment, 'changed', 'public', %s"
        " FROM generate_series(1, %s) AS n,"
        " LATERAL (SELECT timestamptz '2020-01-01Z' + n * interval '1 hour') AS m (moment)",
        competition_id,
        board_id,
        versions // 8,
    )
    return int(board_id)


def _come_or_go(
    world: World, competition_id: int, slug: str, sessions: list[psycopg.Connection[Any]], *, in_one: bool | None = None
) -> None:
    """Delete a competition that is there, or insert it; or both in one transaction. Jobs of it are doubled meanwhile.

    Each session holds the job that it finds, so the next one has to queue another.
    """
    doubling = world.random.sample(sessions, world.random.randrange(len(sessions) + 1))
    for session in doubling:
        session.execute("SELECT kaggle_internal.queue_job('sync', %s, 5)", (competition_id,))
    let_go_first = world.random.sample(doubling, len(doubling) // 2)
    for session in let_go_first:
        session.commit()
    if competition_id not in world.competitions:
        world.insert(slug, competition_id)
    elif in_one if in_one is not None else world.random.random() < 0.3:
        world.insert_again(competition_id, slug)
    else:
        world.delete(competition_id)
    for session in doubling:
        session.commit()


def _expect_their_own(world: World, tally: Tally, competition_ids: set[int]) -> None:
    """Each has one board, and nothing from before it was inserted; its state follows its link."""
    wrong = world.sql(
        """
        WITH boards AS (SELECT * FROM kaggle.boards WHERE competition_id = ANY (%s)),
        since AS (
            SELECT competition_id, format('run %%s', id) AS what, started_at AS at FROM kaggle.sync_runs
            UNION ALL SELECT competition_id, format('board %%s', id), observed_from FROM boards
            UNION ALL SELECT competition_id, format('an entry of board %%s', id), e.first_seen_at
                      FROM boards JOIN kaggle.leaderboard_entries e ON e.board_id = id
            UNION ALL SELECT competition_id, format('a version of board %%s', id), h.first_seen_at
                      FROM boards JOIN kaggle.leaderboard_history h ON h.board_id = id
        )
        SELECT DISTINCT format('%%s of competition %%s is from before its row was inserted', s.what, c.id)
        FROM kaggle.competitions c JOIN since s ON s.competition_id = c.id AND s.at < c.created_at
        UNION ALL
        SELECT format('competition %%s has %%s boards', competition_id, count(*))
        FROM boards GROUP BY competition_id HAVING count(*) <> 1
        UNION ALL
        SELECT format('the state of competition %%s is another link''s', c.id)
        FROM kaggle.competitions c JOIN kaggle_internal.sync_state s ON s.competition_id = c.id
        WHERE s.link_revision IS DISTINCT FROM c.link_revision
        """,
        sorted(competition_ids),
    )
    tally.stuck += len(wrong)
    tally.complaints += [line for (line,) in wrong]
