"""Boards as Kaggle's files, and back."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pgleaderboard.archives import files as board_files
from pgleaderboard.archives.backfill import ArchiveStore
from pgleaderboard.archives.export import export
from pgleaderboard.archives.files import Overrides
from pgleaderboard.database import migrate
from pgleaderboard.errors import NeedsPerson
from pgleaderboard.simulator.boards import zip_board
from pgleaderboard.simulator.names import ODD_TEAM_NAMES
from pgleaderboard.sync import board
from tests.support.aliases import Connection
from tests.support.boards import BOARDS, Entry, csv_of, teams

LIMIT = 2**28
START = datetime(2026, 1, 1, 12, 30, 15, 123456, tzinfo=UTC)


def at(minutes: int) -> datetime:
    """A moment of the tests' calendar, with a fraction of a second as a sync's has one."""
    return START + timedelta(minutes=minutes)


def fill(url: str, slug: str, *files: Path, overrides: Overrides = Overrides()) -> list[str | None]:  # noqa: B008 - frozen
    """Backfill files. Returns what became of each."""
    outcomes: list[str | None] = []
    with Connection.connect(url, autocommit=True) as connection:
        board_files.backfill(
            ArchiveStore(connection),
            slug,
            files,
            overrides,
            LIMIT,
            lambda _, a: outcomes.append(a.outcome),
            lambda *_: None,
        )
    return outcomes


def written(db: Connection, slug: str, folder: Path, *, every: bool = True) -> list[Path]:
    """Export into a folder. Returns the files."""
    count = export(db, slug, folder, every=every, advance=lambda *_: None)
    files = sorted(folder.iterdir())
    assert len(files) == count
    return files


def member(file: Path) -> tuple[str, bytes]:
    """Name and content of a ZIP's one member."""
    with zipfile.ZipFile(file) as opened:
        (name,) = opened.namelist()
        return name, opened.read(name)


def quoted(entries: list[Entry]) -> bytes:
    """A CSV by Python's rule for quoting, which knows line ends in names; Kaggle's has never shown one."""
    rows = list(csv.reader(io.StringIO(csv_of([entry.but(team_name="") for entry in entries]).decode())))
    for row, entry in zip(rows[1:], entries, strict=True):
        row[2] = entry.team_name
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)
    return text.getvalue().encode()


def learned(connection: Connection, slug: str) -> dict[str, Any]:
    """What can be asked about the past of a slug, at each moment at which a board changed, and just before."""
    moments = [
        moment
        for (changed,) in connection.execute(
            "SELECT observed_at FROM kaggle.sync_runs WHERE outcome = 'changed' ORDER BY 1"
        ).fetchall()
        for moment in (changed - timedelta(microseconds=1), changed)
    ]
    return {
        "moments": moments,
        "as of": [
            connection.execute(
                "SELECT kaggle_competition_id, rank, team_id, team_name, score::text, submission_count, "
                "last_submission_at, member_usernames, is_benchmark, board, first_seen_at, entry_changed_at "
                "FROM kaggle.leaderboard_as_of(%s, %s)",
                (slug, moment),
            ).fetchall()
            for moment in moments
        ],
        "history": connection.execute(
            "SELECT * FROM kaggle.rank_history(%s, VARIADIC "
            "ARRAY(SELECT DISTINCT team_id FROM kaggle.leaderboard_entries UNION SELECT team_id "
            "FROM kaggle.leaderboard_history))",
            (slug,),
        ).fetchall(),
        "movers": [connection.execute("SELECT * FROM kaggle.movers(%s, %s)", (slug, m)).fetchall() for m in moments],
    }


@pytest.fixture
def elsewhere(db: Connection, server_url: str) -> Iterator[Callable[[str], str]]:
    """Makes another, fresh database that follows a slug; its URL."""
    made: list[str] = []

    def fresh(slug: str) -> str:
        name = f"{db.info.dbname}_other_{len(made)}"
        with Connection.connect(server_url, autocommit=True) as admin:
            admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(sql.Identifier(name)))
        made.append(name)
        url = make_conninfo(server_url, dbname=name)
        migrate.migrate(url)
        with Connection.connect(url, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO kaggle.competitions (kaggle_competition_id, auto_sync) VALUES (%s, false)", (slug,)
            )
        return url

    yield fresh
    with Connection.connect(server_url, autocommit=True) as admin:
        for name in made:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def slug(db: Connection) -> str:
    """A competition that is synced by hand only, with capitals in its slug."""
    db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id, auto_sync) VALUES ('MLSP2023-Night_01', false)")
    return "MLSP2023-Night_01"


ODD = [
    Entry(n, name, Decimal("0.80"), None if n % 3 else n, None if n % 5 == 0 else START.replace(microsecond=0),
          members=(("del=0123456789abcdef",), (), ("one", "Two"))[n % 3], is_benchmark=n % 7 == 3)
    for n, name in enumerate(
        [*ODD_TEAM_NAMES, "", " ", '"', '"a"', ",", "NaN", "null", "\\N", "\\.", "\ufffd", "a\tb", "a\u00a0b",
         "\ufeffx", "'", "line\nend", "line\r\nend", "\r", "e\u0301\u202e"],
        start=1,
    )
]  # fmt: skip
MORE = [
    Entry(501, "no score", None),
    Entry(502, "huge", Decimal("239426808406486000.00000")),
    Entry(503, "tiny", Decimal("-0.00001")),
    Entry(504, "whole", Decimal(0)),
]


def test_the_round_trip(db: Connection, url: str, slug: str, tmp_path: Path, elsewhere: Callable[[str], str]) -> None:
    """Every past board, odd as it may be, public and private, at moments with fractions of a second: exported and
    brought into another database, it gives the same answers, and the same files again."""
    boards = {
        ("public", 0): ODD,
        ("public", 1): [*MORE, *reversed(ODD)],
        ("public", 2): [*MORE, *reversed(ODD)],  # unchanged: no file
        ("public", 3): [],
        ("public", 5): ODD[:10],
        ("private", 4): ODD[5:],
        ("private", 6): [*ODD[9:], *MORE],
    }
    (folder := tmp_path / "given").mkdir()
    for (kind, minute), entries in boards.items():
        (folder / board.name_of(slug, kind, at(minute))).write_bytes(quoted(entries))  # type: ignore[arg-type]
    fill(url, slug, *folder.iterdir())
    files = written(db, slug, tmp_path / "all")
    assert len(files) == 6

    other = elsewhere(slug)
    assert set(fill(other, slug, *reversed(files))) == {"changed"}
    with Connection.connect(other, autocommit=True) as there:
        assert learned(there, slug) == learned(db, slug)
        again = written(there, slug, tmp_path / "again")
    assert [(file.name, *member(file)) for file in again] == [(file.name, *member(file)) for file in files]


def test_the_file_is_kaggles(db: Connection, url: str, slug: str, tmp_path: Path) -> None:
    """Byte-order mark, header, quoting, ranks, line ends: byte for byte what was read, under Kaggle's names."""
    content = csv_of([e for e in ODD if not {"\n", "\r"} & set(e.team_name)])
    moment = datetime(2026, 5, 5, 15, 36, 33, tzinfo=UTC)
    (given := tmp_path / f"{slug}.zip").write_bytes(
        zip_board(content, f"{slug}-publicleaderboard-2026-05-05T15:36:33.csv")
    )
    fill(url, slug, given)
    (file,) = written(db, slug.lower(), tmp_path / "out", every=False)
    assert file.name == f"{slug}-publicleaderboard-2026-05-05T15_36_33.zip"
    assert member(file) == (f"{slug}-publicleaderboard-2026-05-05T15:36:33.csv", content)
    assert board.time_of(file.name) == moment
    assert fill(url, slug, file) == ["skipped"]


def test_a_fraction_of_a_second_is_in_the_name(db: Connection, url: str, slug: str, tmp_path: Path) -> None:
    """No two syncs have one name, and the moment is read back exactly."""
    for n, microsecond in enumerate((0, 1, 120000, 999999)):
        given = tmp_path / f"{n}.csv"
        given.write_bytes(csv_of(teams(*range(1, 2 + n))))
        fill(url, slug, given, overrides=Overrides(START.replace(microsecond=microsecond), "public"))
    files = written(db, slug, tmp_path / "out")
    assert [file.name.partition("T")[2] for file in files] == [
        "12_30_15.000001.zip",
        "12_30_15.120000.zip",
        "12_30_15.999999.zip",
        "12_30_15.zip",
    ]
    assert sorted(board.time_of(member(file)[0]).microsecond for file in files) == [0, 1, 120000, 999999]  # type: ignore[union-attr]


def test_behind_a_pruned_horizon(
    db: Connection, url: str, slug: str, tmp_path: Path, elsewhere: Callable[[str], str]
) -> None:
    """What held at the horizon is exported as of it, and all that came later."""
    for minute, ids in {0: (1, 2), 10: (2, 1), 20: (3, 2, 1), 30: (3, 1, 2)}.items():
        (given := tmp_path / f"{minute}.csv").write_bytes(csv_of(teams(*ids)))
        fill(url, slug, given, overrides=Overrides(at(minute), "public"))
    db.execute("SELECT kaggle.prune_history(clock_timestamp() - %s)", (at(15),))
    (horizon,) = db.execute("SELECT history_from FROM kaggle.boards").fetchone() or (None,)
    files = written(db, slug, tmp_path / "out")
    assert sorted(filter(None, (board.time_of(file.name) for file in files))) == [horizon, at(20), at(30)]
    other = elsewhere(slug)
    fill(other, slug, *files)
    with Connection.connect(other, autocommit=True) as there:
        for moment in (horizon, at(19), at(20), at(30)):
            query = "SELECT rank, team_id FROM kaggle.leaderboard_as_of(%s, %s)"
            assert there.execute(query, (slug, moment)).fetchall() == db.execute(query, (slug, moment)).fetchall() != []


def test_the_board_of_a_former_slug(db: Connection, url: str, slug: str, tmp_path: Path) -> None:
    """A competition that is linked elsewhere keeps its old board, which is exported under its own slug."""
    (given := tmp_path / "old.csv").write_bytes(csv_of(teams(1, 2)))
    fill(url, slug, given, overrides=Overrides(at(0), "public"))
    db.execute("UPDATE kaggle.competitions SET kaggle_competition_id = 'elsewhere'")
    (given := tmp_path / "new.csv").write_bytes(csv_of(teams(3)))
    fill(url, "elsewhere", given, overrides=Overrides(at(1), "public"))
    for each, content in ((slug, csv_of(teams(1, 2))), ("elsewhere", csv_of(teams(3)))):
        (file,) = written(db, each, tmp_path / each)
        assert board.slug_of(file.name) == each
        assert member(file)[1] == content


def test_nothing_to_export(db: Connection, slug: str, tmp_path: Path) -> None:
    """No board yet: no file. An unknown slug and a folder that cannot be one are refused in a line."""
    assert written(db, slug, tmp_path / "out") == written(db, slug, tmp_path / "out", every=False) == []
    with pytest.raises(NeedsPerson, match="no competition 'nobody'"):
        written(db, "nobody", tmp_path / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(NeedsPerson, match="cannot write into"):
        written(db, slug, tmp_path / "file" / "in it")


REAL = sorted(BOARDS.glob("*.zip"))


@pytest.mark.skipif(not REAL, reason="the real boards lie beside the repository only where it was made")
def test_real_boards(db: Connection, url: str, tmp_path: Path, elsewhere: Callable[[str], str]) -> None:
    """Kaggle's own files, untouched: exported byte for byte, and the same past in another database."""
    by_slug: dict[str, list[Path]] = {}
    for file in REAL:
        by_slug.setdefault(str(board.slug_of(file.name)), []).append(file)
    for slug, given in by_slug.items():
        db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id, auto_sync) VALUES (%s, false)", (slug,))
        assert set(fill(url, slug, *reversed(given))) == {"changed"}
        files = written(db, slug, tmp_path / slug)
        assert [file.name for file in files] == [file.name for file in given]
        assert [member(file) for file in files] == [member(file) for file in given]
    slug = "orbit-wars"
    other = elsewhere(slug)
    fill(other, slug, *(tmp_path / slug).iterdir())
    with Connection.connect(other, autocommit=True) as there:
        some = db.execute(
            "SELECT array_agg(team_id) FROM kaggle.leaderboard WHERE kaggle_competition_id = %s AND rank %% 40 = 1",
            (slug,),
        ).fetchone() or ([],)
        query = "SELECT * FROM kaggle.rank_history(%s, VARIADIC %s::bigint[])"
        assert there.execute(query, (slug, *some)).fetchall() == db.execute(query, (slug, *some)).fetchall() != []
        for file in by_slug[slug]:
            as_of = (
                "SELECT rank, team_id, team_name, score::text, submission_count, last_submission_at, "
                "member_usernames, is_benchmark, first_seen_at, entry_changed_at "
                "FROM kaggle.leaderboard_as_of(%s, %s)"
            )
            moment = board.time_of(file.name)
            assert there.execute(as_of, (slug, moment)).fetchall() == db.execute(as_of, (slug, moment)).fetchall() != []
