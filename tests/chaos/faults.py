"""The faults, one function a kind: it breaks a world that is whole, a few times, and has it looked at afterwards."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg

from tests.chaos.deletions import deleted_again_and_again, rows_hidden
from tests.chaos.freezing import POINTS
from tests.chaos.tally import Tally
from tests.chaos.viewing import PAGE_FAULTS
from tests.chaos.world import BIG, PASSWORD_ROLE, SLUGS, World
from tests.support.faults import Drip, Half, Page, Reset, Silent, Status
from tests.support.faults import Fault as Wrong
from tests.support.processes import Broken, wait_for

STOP_BOUND = 12.0  # containers are killed after 10; the rest is what a busy machine takes
RETRY_BOUND = 20.0  # a sync that lost its connection is tried again after at most 15 s


@dataclass(frozen=True)
class Fault:
    """One kind. bound: seconds to recover."""

    name: str
    bound: float
    play: Callable[[World, Tally], None]


# Workers that are killed, frozen, stopped


def _maybe_big(world: World) -> None:
    """Sometimes one large board is among them, so that staging takes its time."""
    ids = {slug: competition_id for competition_id, slug in world.competitions.items()}
    if world.scale.short:
        return
    if BIG not in ids:
        if world.random.random() < 0.3:
            world.insert(BIG)
    elif world.random.random() < 0.3:
        world.delete(ids[BIG])


def _stir_and_wait(world: World) -> None:
    """Get syncs going, some of them held, and come to a random moment of them."""
    _maybe_big(world)
    world.stretch(world.random.randrange(3))
    world.stir()
    time.sleep(world.random.uniform(0, 0.8))
    if world.random.random() < 0.3:
        world.stir()
        time.sleep(world.random.uniform(0, 0.3))


def one_of_two_killed(world: World, tally: Tally) -> None:
    """SIGKILL at a random moment; another is started at once, and edits come meanwhile."""
    for _ in range(world.scale.of(50, 2)):
        world.staff(2)
        _stir_and_wait(world)
        world.take(world.random.choice(world.workers)).kill()
        since = time.monotonic()
        world.start()
        world.stir()
        world.release()
        tally.tries += 1
        tally.recovered(world.settle(tally, since=since, bound=tally.bound))


def only_one_killed(world: World, tally: Tally) -> None:
    """SIGKILL of the only worker; another is started a second later."""
    for _ in range(world.scale.of(8)):
        world.staff(1)
        _stir_and_wait(world)
        world.take(world.workers[0]).kill()
        since = time.monotonic()
        world.stir()
        time.sleep(1)
        world.start()
        world.release()
        tally.tries += 1
        tally.recovered(world.settle(tally, since=since, bound=tally.bound))


def frozen(world: World, tally: Tally, *, freezes: int, waits_for_heartbeat: bool = False) -> None:
    """SIGSTOP with a sync at each stage; another worker takes over; then SIGCONT, and its boards are not taken."""
    for _ in range(world.scale.of(freezes)):
        world.staff(0)
        world.simulator.advance(25)
        chosen = world.random.sample(sorted(world.competitions.items()), 1 + len(POINTS))
        held = world.simulator.faults.hold(chosen[0][1], "DownloadLeaderboard")
        victim = world.start(freeze_at=POINTS)
        for competition_id, _ in chosen:
            world.edit(competition_id, "sync_now")
        held.arrived.wait(30)
        victim.wait_until_frozen()
        since = time.monotonic()
        tally.tries += len(chosen)
        _expect_no_locks(world, tally)
        world.stir("sync_now", "rename")  # Kaggle has newer boards, which must stay
        if not waits_for_heartbeat:
            world.sql("UPDATE kaggle_internal.worker_processes SET seen_at = seen_at - interval '1 minute'")
        other = world.start()
        tally.recovered(world.settle(tally, since=since, bound=tally.bound))
        _expect_nobody_waits(world, tally)

        held.release()
        victim.signal(signal.SIGCONT)
        # An attempt that comes to its end after the lost session was closed cannot even ask.
        victim.wait_until_it_says("sync superseded|a sync could not begin or end", len(chosen))
        world.compare(tally)
        tally.expect(not world.undone(), "the thawed worker left something to do")
        status, _ = world.take(other).terminate()
        tally.expect(status == 0, f"the other worker ended with {status}")
        world.stir()  # the thawed worker is as good as any
        world.settle(tally, since=time.monotonic(), bound=RETRY_BOUND)


def _expect_no_locks(world: World, tally: Tally) -> None:
    """Nobody else waits for a frozen worker: every table of ours can be locked against everything."""
    tables = world.sql(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables "
        "WHERE schemaname IN ('kaggle', 'kaggle_internal', 'procrastinate')"
    )
    with world.session() as session:
        for (name,) in tables:
            try:
                session.execute(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE NOWAIT".encode())
            except psycopg.errors.LockNotAvailable:
                tally.complaints.append(f"a frozen worker holds a lock on {name}")
            session.rollback()
    _expect_nobody_waits(world, tally)


def _expect_nobody_waits(world: World, tally: Tally) -> None:
    waiting = world.sql(
        "SELECT application_name, query FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0"
    )
    tally.expect(not waiting, f"somebody waits for a lock: {waiting}")


def stopped(world: World, tally: Tally) -> None:
    """SIGTERM at a random moment: exit status 0, and another does what it ran."""
    for _ in range(world.scale.of(6)):
        world.staff(2)
        _stir_and_wait(world)
        _stop_one(world, tally)
        world.release()
        world.settle(tally, since=time.monotonic(), bound=RETRY_BOUND)


def stopped_while_kaggle_is_silent(world: World, tally: Tally) -> None:
    """SIGTERM while requests hang: it does not wait for them, and another does what it ran."""
    for _ in range(world.scale.of(2)):
        world.staff(1)
        silent = [
            world.simulator.faults.put(slug, Silent(), method="DownloadLeaderboard")
            for slug in world.random.sample(sorted(world.competitions.values()), 4)
        ]
        world.stir("sync_now")
        wait_for(lambda: all(fault.arrived.is_set() for fault in silent), 30, "four requests hang")  # noqa: B023
        world.start()
        _stop_one(world, tally)
        world.settle(tally, since=time.monotonic(), bound=RETRY_BOUND)
        for fault in silent:
            fault.release()


def stopped_as_connections_end(world: World, tally: Tally) -> None:
    """SIGTERM just after every connection was ended, with syncs under way: no less quiet than any other end."""
    for _ in range(world.scale.of(6)):
        world.staff(1)
        world.stretch(2)
        world.stir()
        time.sleep(world.random.uniform(0, 0.4))
        world.terminate_backends()
        time.sleep(world.random.uniform(0, 0.6))
        _stop_one(world, tally)
        world.release()
        world.staff(1)
        world.settle(tally, since=time.monotonic(), bound=RETRY_BOUND)


def _stop_one(world: World, tally: Tally) -> None:
    victim = world.take(world.workers[0])
    status, seconds = victim.terminate()
    tally.tries += 1
    tally.recovered(seconds)
    tally.expect(status == 0, f"a worker that was asked to stop ended with {status}: {victim.said[-2000:]}")


# The database goes away


def postgres_away(world: World, tally: Tally, *, how: signal.Signals, seconds: float, times: tuple[int, int]) -> None:
    """The server is stopped, or dies, and comes back; recovered is when a sync that is asked for then has ended."""
    for _ in range(world.scale.of(*times)):
        world.staff(2)
        world.stretch(2)
        world.stir()
        time.sleep(world.random.uniform(0, 0.5))
        world.lose_postgres(how)
        if world.random.random() < 0.5:  # else a fetch is held until after the server is back
            world.release()
        time.sleep(seconds)
        world.start_postgres()
        since = time.monotonic()
        tally.tries += 1
        tally.recovered(world.probe())
        world.release()
        world.settle(tally, since=since, bound=RETRY_BOUND, hurry=world.scale.short)


def postgres_frozen(world: World, tally: Tally) -> None:
    """The server stops answering, and the kernel goes on to acknowledge; SIGTERM meanwhile is heard all the same."""
    for _ in range(world.scale.of(2)):
        world.staff(2)
        world.stretch(2)
        world.stir()
        time.sleep(world.random.uniform(0, 0.5))
        with world.frozen_postgres():
            time.sleep(world.random.uniform(0, 9))
            _stop_one(world, tally)
        world.release()
        since = time.monotonic()
        tally.recovered(world.probe())
        world.settle(tally, since=since, bound=RETRY_BOUND)


def first_host_silent(world: World, tally: Tally) -> None:
    """The first of two hosts accepts connections and says nothing; a worker starts, and is killed, and another one."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(100)
        url = world.url_behind(silent.getsockname())
        for _ in range(world.scale.of(2)):
            since = time.monotonic()
            world.staff(1, DATABASE_URL=url)
            world.stir()
            tally.tries += 1
            tally.recovered(world.settle(tally, since=since, bound=tally.bound))
            world.take(world.workers[0]).kill()
        world.staff(1)


def read_only(world: World, tally: Tally) -> None:
    """The server is set to read-only for a while: sessions from that time go on afterwards."""
    for _ in range(world.scale.of(2)):
        world.sql("ALTER SYSTEM SET default_transaction_read_only = on")
        world.sql("SELECT pg_reload_conf()")
        world.staff(1)
        world.terminate_backends()
        time.sleep(world.random.uniform(0.5, 2))
        world.sql("SET default_transaction_read_only = off")
        world.sql("ALTER SYSTEM RESET default_transaction_read_only")
        world.sql("SELECT pg_reload_conf()")
        since = time.monotonic()
        tally.tries += 1
        tally.recovered(world.probe())
        world.settle(tally, since=since, bound=RETRY_BOUND)


def backends_terminated(world: World, tally: Tally, *, which: tuple[str, ...], rounds: int = 1) -> None:
    """The worker's connections are ended by somebody; recovered is when a sync that is asked for then has ended."""
    for _ in range(world.scale.of(4)):
        world.staff(1)
        world.stretch(1)
        world.stir()
        ended = 0
        for _ in range(rounds):
            time.sleep(world.random.uniform(0, 0.4))
            ended += world.terminate_backends(*which)
        since = time.monotonic()
        tally.expect(ended > 0, "there was no such connection")
        tally.tries += 1
        # What runs ends before, or goes on until after others were to be synced.
        if world.random.random() < 0.5:
            world.release()
            world.settle(tally, since=since, bound=RETRY_BOUND, hurry=world.scale.short)
        tally.recovered(world.probe())
        world.release()
        world.settle(tally, since=time.monotonic(), bound=RETRY_BOUND, hurry=world.scale.short)
        _expect_no_job_under_the_living(world, tally)


def _expect_no_job_under_the_living(world: World, tally: Tally) -> None:
    """Nobody else ever removes a job that a living worker does not end; the one worker is the last that registered."""
    query = (
        "SELECT task_name, args FROM procrastinate.procrastinate_jobs WHERE status = 'doing'"
        " AND worker_id = (SELECT max(id) FROM procrastinate.procrastinate_workers)"
    )
    try:
        wait_for(lambda: not world.sql(query), 5 * world.scale.patience, "no job is left under a living worker")
    except Broken:
        left = world.sql(query)
        tally.stuck += len(left)
        tally.complaints.append(f"jobs are left under a living worker: {left}")


# Kaggle fails


def kaggle_fails(world: World, tally: Tally) -> None:
    """Wrong answers at random; the next try has the board right. Retries come at once, as time would have it."""
    world.staff(world.scale.of(2), PGLEADERBOARD_HTTP_TIMEOUT="1")
    kinds: tuple[Callable[[], Wrong], ...] = (
        lambda: Status(500),
        lambda: Status(503, {"Retry-After": "1"}),
        lambda: Status(429, {"Retry-After": "1"}),
        lambda: Status(502, body="<html>Bad Gateway</html>", content_type="text/html"),
        lambda: Half(),
        lambda: Half(reset=True),
        lambda: Half(declare_length=False),
        lambda: Reset(),
        lambda: Drip(interval=0.0005),
        lambda: Silent(),
        lambda: Page(b"PK\x03\x04 is how a ZIP begins", content_type="application/zip"),
        lambda: Page(b"", content_type="application/zip"),
        lambda: Page("<html>down for maintenance</html>"),
    )
    rounds = world.scale.of(12)
    order = [kind for _ in range(rounds) for kind in world.random.sample(kinds, len(kinds))]
    for at in range(0, len(order), world.scale.of(5, len(kinds))):
        chosen = order[at : at + world.scale.of(5, len(kinds))]
        faults = [world.simulator.faults.put(None, kind(), method="DownloadLeaderboard") for kind in chosen]
        world.stir()
        since = time.monotonic()
        tally.tries += len(faults)
        tally.recovered(world.settle(tally, since=since, bound=tally.bound, hurry=True))
        unmet = [fault for fault in faults if not fault.arrived.is_set()]
        tally.expect(not unmet, f"no request met {unmet}")
        for fault in faults:
            fault.release()


# Users hold on


def idle_sessions(world: World, tally: Tally) -> None:
    """Six sessions idle in a transaction with an edit each; the others sync, and theirs do after COMMIT or ROLLBACK."""
    for _ in range(world.scale.of(4)):
        world.staff(1)  # four syncs at once, by default
        world.stir("sync_now")
        world.settle(tally, since=time.monotonic(), bound=RETRY_BOUND)
        world.simulator.advance(25)
        competitions = list(world.competitions.items())
        world.random.shuffle(competitions)
        idle, others = competitions[:6], competitions[6:]
        sessions = [world.session() for _ in idle]
        kinds = ["insert", "rename", "edit", "edit", "delete", "rename"]
        world.random.shuffle(kinds)
        spare = world.random.sample(sorted(set(SLUGS) - set(world.competitions.values())), len(idle))
        world.given_away.update(spare)  # whoever takes such a name waits for its session, as it should
        for session, (competition_id, slug), kind, other in zip(sessions, idle, kinds, spare, strict=True):
            _edit_and_idle(session, competition_id, slug, kind, other)

        since = time.monotonic()
        for competition_id, _ in others:
            world.edit(competition_id, "sync_now", "rename")
        inserted = world.insert()
        for competition_id in (*(competition_id for competition_id, _ in others), inserted):
            wait_for(
                lambda i=competition_id: world.sql(  # type: ignore[misc]
                    "SELECT 1 FROM kaggle_internal.sync_state WHERE competition_id = %s AND running_run_id IS NULL AND"
                    " last_success_at > clock_timestamp() - interval '1 minute' AND NOT EXISTS"
                    " (SELECT FROM kaggle_internal.sync_requests r WHERE r.competition_id = %s)",
                    i,
                    i,
                ),
                30 * world.scale.patience,
                lambda i=competition_id: (  # type: ignore[misc]
                    f"competition {i} is synced while six sessions idle: {world.undone()}"
                ),
            )
        tally.tries += 1
        tally.recovered(time.monotonic() - since)

        since = time.monotonic()
        rolled_back = world.random.sample(range(len(sessions)), 2)
        for index, session in enumerate(sessions):
            if index in rolled_back:
                session.rollback()
            else:
                session.commit()
        world.given_away.clear()
        for index in rolled_back:  # nothing was asked for there; Kaggle has moved on
            world.edit(idle[index][0], "sync_now")
        tally.recovered(world.settle(tally, since=since, bound=tally.bound))


def _edit_and_idle(session: psycopg.Connection[Any], competition_id: int, slug: str, kind: str, other: str) -> None:
    session.execute("SELECT kaggle.sync_now(%s)", (slug,))
    if kind == "insert":
        session.execute(
            "INSERT INTO kaggle.competitions (kaggle_competition_id, sync_interval) VALUES (%s, '6 hours')", (other,)
        )
        session.execute("SELECT kaggle.sync_now(%s)", (other,))
    elif kind == "rename":
        session.execute(
            "UPDATE kaggle.competitions SET kaggle_competition_id = %s WHERE id = %s", (other, competition_id)
        )
        session.execute("SELECT kaggle.sync_now(%s)", (other,))
    elif kind == "edit":
        session.execute("UPDATE kaggle.competitions SET title = 'held' WHERE id = %s", (competition_id,))
    else:
        session.execute("DELETE FROM kaggle.competitions WHERE id = %s", (competition_id,))


# What only a person mends


def wrong_password(world: World, tally: Tally) -> None:
    """One clear line and exit status 1."""
    url = f"{world.url}&password=wrong".replace("postgres@", f"{PASSWORD_ROLE}@")
    _expect_one_line(world, tally, "password", DATABASE_URL=url)


def schema_too_new(world: World, tally: Tally) -> None:
    """One clear line and exit status 1."""
    ours = world.sql("SELECT digest FROM kaggle_internal.applied_files WHERE name = 'pgleaderboard'")[0][0]
    change = "UPDATE kaggle_internal.applied_files SET digest = %s WHERE name = 'pgleaderboard'"
    world.sql(change, "99.0.0")
    _expect_one_line(world, tally, "older than the database")
    world.sql(change, ours)


def _expect_one_line(world: World, tally: Tally, words: str, **settings: str) -> None:
    begun = time.monotonic()
    ended = world.run("work", **settings)
    tally.tries += 1
    tally.recovered(time.monotonic() - begun)
    # Which database and which Kaggle is said before.
    lines = [line for line in ended.stderr.splitlines() if "PostgreSQL of DATABASE_URL" not in line]
    tally.expect(
        ended.returncode == 1 and len(lines) == 1 and words in lines[0],
        f"exit status {ended.returncode} and not one line with {words!r}: {ended.stderr[-2000:]}",
    )


def schema_too_old(world: World, tally: Tally) -> None:
    """A worker waits and says so; after `migrate` it goes on."""
    world.staff(0)
    world.sql("DELETE FROM kaggle_internal.applied_files WHERE name = 'sql/090_views.sql'")
    world.stir()
    waiting = world.start()
    waiting.wait_until_it_says("waits for `pgleaderboard migrate`")
    migrated = world.run("migrate")
    since = time.monotonic()
    tally.expect(migrated.returncode == 0, f"migrate ended with {migrated.returncode}: {migrated.stderr[-2000:]}")
    tally.tries += 1
    tally.recovered(world.settle(tally, since=since, bound=tally.bound))
    times = waiting.said.count("waits for")
    tally.expect(times == 1, f"it said {times} times that it waits")


def _away(name: str, how: signal.Signals, seconds: float, in_full: int, in_short: int) -> Fault:
    return Fault(name, 2, partial(postgres_away, how=how, seconds=seconds, times=(in_full, in_short)))


# The long ones first: worlds take them in this order.
FAULTS = (
    Fault("one of two workers killed", 15, one_of_two_killed),
    _away("PostgreSQL away for 45 s", signal.SIGINT, 45, 1, 0),
    Fault("frozen until its heartbeat is old", 60, partial(frozen, freezes=1, waits_for_heartbeat=True)),
    _away("PostgreSQL away for 8 s", signal.SIGINT, 8, 1, 0),
    _away("PostgreSQL away for 3 s", signal.SIGINT, 3, 2, 1),
    _away("PostgreSQL stopped immediately", signal.SIGQUIT, 0, 2, 1),
    _away("PostgreSQL's postmaster killed", signal.SIGKILL, 0, 2, 1),
    Fault("PostgreSQL frozen, SIGTERM meanwhile", STOP_BOUND, postgres_frozen),
    Fault("the first of two hosts says nothing", 15, first_host_silent),
    Fault("PostgreSQL read-only for a while", 2, read_only),
    Fault("every connection ended", 2, partial(backends_terminated, which=())),
    Fault("every connection ended, five times", 2, partial(backends_terminated, which=(), rounds=5)),
    Fault(
        "only the direct connection ended", 2, partial(backends_terminated, which=("pgleaderboard worker",), rounds=1)
    ),
    Fault("only the queue's connections ended", 2, partial(backends_terminated, which=("pgleaderboard queue",))),
    Fault("only the pool's connections ended", 2, partial(backends_terminated, which=("pgleaderboard",))),
    Fault("the only worker killed", 15, only_one_killed),
    Fault("frozen at each stage of a sync", 60, partial(frozen, freezes=3)),
    Fault("SIGTERM while syncs run", STOP_BOUND, stopped),
    Fault("SIGTERM as every connection ends", STOP_BOUND, stopped_as_connections_end),
    Fault("SIGTERM while Kaggle is silent", STOP_BOUND, stopped_while_kaggle_is_silent),
    Fault("Kaggle fails", 15, kaggle_fails),
    Fault("row level security on and off", 20, rows_hidden),
    Fault("deleted, inserted again, deleted", 20, deleted_again_and_again),
    Fault("six sessions idle in a transaction", 5, idle_sessions),
    *(Fault(name, 5, play) for name, play in PAGE_FAULTS.items()),
    Fault("wrong password", STOP_BOUND, wrong_password),
    Fault("schema newer than the program", STOP_BOUND, schema_too_new),
    Fault("schema older than the program", 15, schema_too_old),
)
ONLY_IN_FULL = frozenset(("PostgreSQL away for 45 s", "PostgreSQL away for 8 s", "frozen until its heartbeat is old"))
