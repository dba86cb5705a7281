"""Rows 4 to 7: one sync, from bytes on disk to its commit, beside COPY of the same CSV."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.report import Figure, at_most, within
from tests.bench.timing import exponent, in_turns, median
from tests.bench.world import Database, World

COPY = "COPY"


def first_sync(world: World) -> Iterator[Figure]:
    """Row 4: a board that is new, into empty tables."""
    sizes = [world.scale.of(15_000, 1_500), world.scale.of(100_000, 10_000), world.scale.of(1_000_000, 30_000)]
    taken = []
    for teams, limit in zip(sizes, (7, 9, 10), strict=True):
        served = world.serve(f"first{teams}", world.board(teams).csv())
        with world.database() as database:
            database.make_floor()

            def ours(database: Database = database, served=served) -> float:  # type: ignore[no-untyped-def]
                database.empty()
                competition_id, _ = database.insert(served.name)
                return database.sync(competition_id, served.zip, "changed")

            synced, copied = in_turns(
                world.scale.of(5 if teams >= 500_000 else 9, 5), ours, lambda d=database, s=served: d.copy(s.csv)
            )
        taken.append(median(synced))
        yield at_most(4, f"first sync of {teams:,} teams", COPY, synced, copied, limit)
    yield growth(4, "first sync", sizes, taken)


def unchanged(world: World) -> Iterator[Figure]:
    """Row 5: the same bytes again."""
    teams = world.scale.of(15_000, 1_500)
    served = world.serve("unchanged", world.board(teams).csv())
    with world.database() as database:
        database.make_floor()
        competition_id, _ = database.insert(served.name)
        database.sync(competition_id, served.zip, "changed")
        synced, copied = in_turns(
            world.scale.of(15, 5),
            lambda: database.sync(competition_id, served.zip, "unchanged"),
            lambda: database.copy(served.csv),
        )
        yield at_most(5, f"sync of an unchanged board of {teams:,}", COPY, synced, copied, 0.5)
        written, wal = costs(database, 5, lambda: database.sync(competition_id, served.zip, "unchanged"))
        entries = written.get("leaderboard_entries", 0) + written.get("packs", 0)
        yield within(5, "… entries written", entries, 0, "rows", tables=written)
        yield within(5, "… WAL, full_page_writes off", wal / 1024, 16, "KiB")


def few_changes(world: World) -> Iterator[Figure]:
    """Row 6: 20 teams changed score and place, one of them from last to first."""
    sizes = [world.scale.of(1_744, 500), world.scale.of(15_000, 1_500), world.scale.of(100_000, 5_000)]
    changes = 20
    trials = world.scale.of(9, 5)
    taken = []
    for teams in sizes:
        board = world.board(teams)
        with world.database() as database:
            database.make_floor()
            served = world.serve("changing", board.csv())
            competition_id, _ = database.insert(served.name)
            database.sync(competition_id, served.zip, "changed")

            def ours(database=database, board=board, competition_id=competition_id) -> float:  # type: ignore[no-untyped-def]
                board.nudge(changes)
                return database.sync(competition_id, world.serve("changing", board.csv()).zip, "changed")

            synced, copied = in_turns(trials, ours, lambda d=database, s=served: d.copy(s.csv))
            taken.append(median(synced))
            middle = teams == sizes[1]
            figure = at_most(
                6,
                f"sync in which {changes} of {teams:,} changed",
                COPY,
                synced,
                copied,
                4 if teams == sizes[-1] else 3.5,
            )
            yield figure
            if middle:
                written, wal = costs(database, 5, ours)
                yield within(6, "… rows written in logged tables", sum(written.values()), 60, "rows", tables=written)
                yield within(6, "… WAL, full_page_writes off", wal / 1024, 100, "KiB")
    yield growth(6, f"sync with {changes} changes", sizes, taken)


def every_score(world: World) -> Iterator[Figure]:
    """Row 7: every score changed, and with them nearly every place."""
    teams = world.scale.of(15_000, 1_500)
    board = world.board(teams)
    with world.database() as database:
        database.make_floor()
        served = world.serve("shaken", board.csv())
        competition_id, _ = database.insert(served.name)
        database.sync(competition_id, served.zip, "changed")

        def ours() -> float:
            board.shake()
            return database.sync(competition_id, world.serve("shaken", board.csv()).zip, "changed")

        synced, copied = in_turns(world.scale.of(9, 5), ours, lambda: database.copy(served.csv))
        yield at_most(7, f"sync in which every score of {teams:,} changed", COPY, synced, copied, 17)

    teams, syncs = world.scale.of(5_000, 500), world.scale.of(300, 30)
    board = world.board(teams)
    with world.database() as database:
        competition_id, _ = database.insert(world.serve("shaken", board.csv()).name)
        taken = []
        for _ in range(syncs + 1):
            taken.append(database.sync(competition_id, world.serve("shaken", board.csv()).zip, "changed"))
            board.shake()
    early, late = taken[6:16], taken[-10:]
    work = f"the last ten of {syncs} such syncs in a row, {teams:,} teams"
    yield at_most(7, work, "the tenth", late, early, 1.2)


def growth(row: int, work: str, sizes: list[int], taken: list[float]) -> Figure:
    """How the time grows with the number of teams."""
    found = exponent(sizes, taken)
    ours = f"n^{found:.2f}"
    spread = f"{sizes[0]:,} to {sizes[-1]:,} teams"
    return Figure(row, f"growth of {work}, {spread}", ours=ours, target="≤ n^1.1", met=found <= 1.1)


def costs(database: Database, times: int, sync) -> tuple[dict[str, int], float]:  # type: ignore[no-untyped-def]
    """What one sync writes: rows in each logged table, rounded up, and bytes of WAL without full pages (median)."""
    database.db.execute("ALTER SYSTEM SET full_page_writes = off")
    database.db.execute("SELECT pg_reload_conf()")
    database.close_store()
    sync()  # opens a connection and makes its staging tables
    before = _written(database)
    wal = []
    for _ in range(times):
        at = database.one("SELECT pg_current_wal_insert_lsn()::text")
        sync()
        wal.append(float(database.one("SELECT pg_current_wal_insert_lsn() - %s::pg_lsn", at)))
    database.close_store()  # tells its statistics
    after = _written(database)
    database.db.execute("ALTER SYSTEM RESET full_page_writes")
    database.db.execute("SELECT pg_reload_conf()")
    rows = {name: -(-(count - before.get(name, 0)) // times) for name, count in after.items()}
    return {name: count for name, count in rows.items() if count}, median(wal)


def _written(database: Database) -> dict[str, int]:
    database.db.execute("SELECT pg_stat_force_next_flush()")
    database.db.execute("SELECT pg_stat_clear_snapshot()")
    found = database.db.execute(
        "SELECT relname, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables"
        " WHERE schemaname IN ('kaggle', 'kaggle_internal', 'procrastinate')"
    ).fetchall()
    return {name: int(count) for name, count in found}
