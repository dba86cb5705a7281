"""The two tables: what was measured, and what follows from it. Every derived number comes with its formula."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from tests.bench.timing import percentile
from tests.scale.measure import BUDGET, CHANGED, INTERVAL, NUDGED, Measured
from tests.scale.meter import Used

KAGGLE, KAGGLE_ENTRIES = 30_000, 20_000_000  # competitions and entries of all of Kaggle, about
CONCURRENCY, SESSIONS = 4, 6  # of a worker: PGLEADERBOARD_CONCURRENCY, and sessions on the direct URL (operating.md)
SPACED = 60.5  # seconds in which these requests are spaced (architecture.md)
RUNS_DAYS = 30  # PGLEADERBOARD_RUNS_DAYS
FULL = 0.7  # of a part that is more than this busy, another one is needed
DAY = 86_400
KB, MB, GB = 1e3, 1e6, 1e9


@dataclass(frozen=True)
class Line:
    """A number. how: how it was measured, or its formula."""

    what: str
    value: str = ""
    how: str = ""


def text(lines: list[Line]) -> str:
    """A table without borders."""
    wide, number = max(len(line.what) for line in lines), max(len(line.value) for line in lines)
    return "\n".join(f"{line.what:<{wide}}  {line.value:>{number}}  {line.how}".rstrip() for line in lines)


def measured(m: Measured) -> Iterator[Line]:
    """What one server holds."""
    size = m.size
    entries = size.competitions * size.teams
    yield Line("competitions, ongoing, every 5 minutes", f"{size.competitions:,}", f"in {size.events:,} events")
    yield Line("entries", f"{entries:,}", f"{size.teams} teams each")
    yield Line("one INSERT of them all", f"{m.inserted:.1f} s", "with their events; the triggers ask for the syncs")
    others = size.competitions - m.first.syncs
    how = _cores(m.first) + (f"; {others:,} of the boards were copied" if others else "")
    yield Line("first syncs, one worker", _rate(m.first), how)
    yield Line("syncs, all due, one worker", _rate(m.one), _cores(m.one))
    yield Line("syncs, all due, two workers", _rate(m.two), _cores(m.two))
    allowed = f"of {size.credentials * BUDGET / SPACED:.1f}: {size.credentials} × {BUDGET} / {SPACED} s"
    yield Line(
        f"… {size.credentials} workers with a credential each", _rate(m.shared), f"{allowed}; {_cores(m.shared)}"
    )
    changed = f"{size.competitions:,} / {size.steady} s; 1 of {CHANGED} with {NUDGED} changed teams"
    yield Line("syncs, due as they are, one worker", _rate(m.steady), changed)
    yield Line("… processor", f"{sum(m.steady.cores.values()):.2f} cores", _cores(m.steady))
    yield Line("… of a sync: the worker", f"{m.steady.per_sync('workers'):.2f} ms", "of one core")
    yield Line("… of a sync: the server", f"{m.steady.per_sync('server'):.2f} ms", "of one core")
    yield Line("… the sync that was due longest", f"{max(m.waits):.2f} s", f"median {percentile(m.waits, 0.5):.2f} s")
    sweep = m.sweep
    yield Line("… a sweep", f"{sweep.mean:.1f} ms", f"mean of {sweep.calls:,}; the slowest {sweep.slowest:.0f} ms")
    yield Line("… WAL", f"{m.steady.wal / m.steady.syncs / KB:.2f} kB", "a sync; one checkpoint in it")
    yield Line("… the worker's memory", f"{m.worker_memory:.0f} MiB")
    yield Line("an entry on disk", f"{m.entry:.0f} bytes", "with its indexes, after the first sync")
    yield Line("a run on disk", f"{m.run:.0f} bytes", "with its indexes")
    yield Line("the past of a sync with changes", f"{m.pack:.0f} bytes")
    for name, bytes_ in m.tables.items():
        yield Line(f"table {name}", f"{bytes_ / MB:,.0f} MB", "with its indexes and TOAST, at the end")
    yield Line("reading one board in SQL", f"{m.board_read * 1000:.1f} ms", f"{size.teams} teams, median of 100 boards")
    page = m.page
    if isinstance(page, str):
        yield Line("page, viewers", "not measured", page.splitlines()[0])
        return
    yield Line("page, viewers", f"{size.viewers:,}", "a fifth on each of two events and three boards")
    yield Line("… processor", f"{page.used.cores['page']:.2f} cores", _cores(page.used))
    yield Line("… memory", f"{page.memory:.0f} MiB")
    seen = f"at the last of {size.viewers // 5:,} viewers, median of {len(page.shown)}"
    yield Line("… a run's end → the last byte", f"{percentile(page.shown, 0.5) * 1000:.0f} ms", seen)
    yield Line("… its first page (/)", f"{page.index_size / MB:.1f} MB", f"of many; {page.index:.1f} s")


def follows(m: Measured, cores: int) -> Iterator[Line]:
    """What follows from it. cores: of the machine."""
    due, holds = m.size.competitions / INTERVAL, m.one.rate
    kaggle = KAGGLE / INTERVAL
    server, wal = m.steady.per_sync("server"), m.steady.wal / m.steady.syncs
    share = m.steady.changed / m.steady.syncs
    yield Line("syncs a second that are due", f"{due:.1f}", f"{m.size.competitions:,} / {INTERVAL} s")
    yield Line("WAL", f"{wal * due * DAY / GB:.1f} GB a day", f"{wal / KB:.2f} kB × {due:.1f} × {DAY:,} s")
    yield Line(
        "the past grows by", f"{m.pack * share * due * DAY / GB:.2f} GB a day",
        f"{m.pack:.0f} bytes × {share:.2f} × {due:.1f} × {DAY:,} s",
    )  # fmt: skip
    yield Line(
        "runs that are kept", f"{m.run * due * DAY * RUNS_DAYS / GB:.1f} GB",
        f"{m.run:.0f} bytes × {due:.1f} × {DAY:,} s × {RUNS_DAYS} days (PGLEADERBOARD_RUNS_DAYS)",
    )  # fmt: skip
    yield Line(
        "one worker is enough for", f"{FULL * holds * INTERVAL:,.0f} competitions",
        f"{FULL} × {holds:.0f} a second × {INTERVAL} s",
    )  # fmt: skip
    yield Line("All of Kaggle, every five minutes")
    yield Line("  syncs a second", f"{kaggle:.0f}", f"{KAGGLE:,} / {INTERVAL} s")
    yield Line("  workers", f"{ceil(kaggle / (FULL * holds))}", f"{kaggle:.0f} / ({FULL} × {holds:.0f})")
    yield Line("  processor of the server", f"{kaggle * server / 1000:.2f} cores", f"{kaggle:.0f} × {server:.2f} ms")
    yield Line(
        "  entries on disk", f"{KAGGLE_ENTRIES * m.entry / GB:.1f} GB", f"{KAGGLE_ENTRIES:,} × {m.entry:.0f} bytes"
    )
    yield Line("  WAL", f"{wal * kaggle * DAY / GB:.0f} GB a day", f"{wal / KB:.2f} kB × {kaggle:.0f} × {DAY:,} s")
    yield Line(
        "  runs that are kept", f"{m.run * kaggle * DAY * RUNS_DAYS / GB:.0f} GB",
        f"{m.run:.0f} bytes × {kaggle:.0f} × {DAY:,} s × {RUNS_DAYS} days",
    )  # fmt: skip
    yield from _credentials(m)
    yield from _servers(m, cores)


def _credentials(m: Measured) -> Iterator[Line]:
    allows, sessions = BUDGET * INTERVAL // 60, SESSIONS + CONCURRENCY + 3
    one, worker = "What one credential allows, every five minutes", m.steady.per_sync("workers")
    yield Line(one, f"{allows} competitions", f"{BUDGET} a minute × {INTERVAL // 60} min")
    yield Line("  its worker uses", f"{worker * BUDGET / 600:.1f} % of a core", f"{worker:.2f} ms × {BUDGET} / 60 s")
    for number in (m.size.competitions, KAGGLE):
        each, count = f"{number:,} competitions", ceil(number / allows)
        yield Line(
            f"  {each} with one: a sync every", f"{number / BUDGET / 60:.1f} h", f"{number:,} / {BUDGET} a minute"
        )
        yield Line("  … credentials for five minutes", f"{count}", f"{number:,} / {allows}")
        yield Line("  … workers, one for each", f"{count}")
        yield Line(
            "  … their memory", f"{count * m.worker_memory / 1024:.1f} GiB", f"{count} × {m.worker_memory:.0f} MiB"
        )
        how = f"{count} × ({SESSIONS} + {CONCURRENCY} + 3), see operating.md"
        yield Line("  … their sessions", f"{count * sessions:,}", how)


def _servers(m: Measured, cores: int) -> Iterator[Line]:
    due = m.size.competitions / INTERVAL
    server, wal = m.steady.per_sync("server"), m.steady.wal / m.steady.syncs
    left = FULL * cores - due * server / 1000
    yield Line("A standby")
    yield Line("  receives", f"{wal * due * 8 / MB:.1f} Mbit/s", f"{wal / KB:.2f} kB × {due:.1f} × 8")
    yield Line("  boards read a second in SQL before readers need it", f"{left / m.board_read:.0f}",
        f"({FULL} × {cores} cores - {due:.1f} × {server:.2f} ms) / {m.board_read * 1000:.1f} ms")  # fmt: skip
    yield Line("A second database")
    yield Line(
        "  one server's core is enough for",
        f"{FULL * 1000 / server * INTERVAL:,.0f} competitions",
        f"{FULL} × 1000 / {server:.2f} ms × {INTERVAL} s",
    )
    yield Line(
        "  sweeps take 1 s at",
        f"{m.size.competitions * 1000 / m.sweep.mean:,.0f} competitions",
        f"{m.size.competitions:,} × 1000 / {m.sweep.mean:.1f} ms, if they grow as their number",
    )


def _rate(used: Used) -> str:
    return f"{used.rate:.1f} a second"


def _cores(used: Used) -> str:
    return ", ".join(f"{name} {share:.2f}" for name, share in used.cores.items())
