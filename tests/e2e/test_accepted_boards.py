"""What is accepted as a board: each form of file, name and member.

ACCEPTED below is to be read as documentation."""

from __future__ import annotations

from typing import Any

import pytest

from pgleaderboard.simulator.names import ODD_TEAM_NAMES
from tests.support.faults import Zipped
from tests.support.stage import FIRST, HEADER, MEMBER, SECOND, Stage, csv, numbers, text

Row = tuple[Any, ...]


OTTERS: Row = (1, 11, "Otters", "2026-01-31 23:59:59", "0.90", 5, ["ann", "Bob"], False)


BADGERS: Row = (2, 12, "Badgers", "2026-01-30 00:00:00", "0.85", 3, ["cleo"], False)


OLD = "TeamId,TeamName,SubmissionDate,Score"


def but(row: Row, **changed: Any) -> Row:
    """The same row with another rank, name, score, count, members or benchmark."""
    names = ("rank", "team_id", "name", "date", "score", "count", "members", "benchmark")
    return tuple(changed.get(name, value) for name, value in zip(names, row, strict=True))


# what is accepted: (the file, the board)
ACCEPTED: dict[str, tuple[bytes, list[Row]]] = {
    "as Kaggle writes it": (text(FIRST, SECOND), [OTTERS, BADGERS]),
    "dates as other tools write them": (
        text(FIRST.replace("31 23:59:59", "31T23:59:59Z"), SECOND.replace("30 00:00:00", "30T00:00:00.0000000")),
        [OTTERS, BADGERS],
    ),
    "CRLF": (text(FIRST, SECOND, end="\r\n"), [OTTERS, BADGERS]),
    "no byte-order mark": (text(FIRST, SECOND, mark=""), [OTTERS, BADGERS]),
    "no newline at the end": (text(FIRST, SECOND)[:-1], [OTTERS, BADGERS]),
    "another order of columns": (
        text(
            '"ann,Bob",5,0.90,"2026-01-31 23:59:59",Otters,11,1',
            'cleo,3,0.85,"2026-01-30 00:00:00",Badgers,12,2',
            header=",".join(reversed(HEADER.split(","))),
        ),
        [OTTERS, BADGERS],
    ),
    "columns of later years": (
        text(f"gold,{FIRST},", f',{SECOND},"a ""b"""', header=f"Medal,{HEADER},Note"),
        [OTTERS, BADGERS],
    ),
    "NUL in a name": (
        text(FIRST.replace("Otters", "Ot\0ters\0"), SECOND),
        [but(OTTERS, name="Ot\ufffdters\ufffd"), BADGERS],
    ),
    "empty score": (text(FIRST, SECOND.replace("0.85", "")), [OTTERS, but(BADGERS, score=None)]),
    "negative score": (text(FIRST.replace("0.90", "-0.10"), SECOND), [but(OTTERS, score="-0.10"), BADGERS]),
    "score with an exponent": (text(FIRST, SECOND.replace("0.85", "1e-5")), [OTTERS, but(BADGERS, score="0.00001")]),
    "a long score": (
        text(FIRST.replace("0.90", "239426808406486000.00000"), SECOND),
        [but(OTTERS, score="239426808406486000.00000"), BADGERS],
    ),
    "empty date, count and members": (
        text(FIRST, "2,12,Badgers,,0.85,,"),
        [OTTERS, but(BADGERS, date=None, count=None, members=[])],
    ),
    "benchmarks, one with a username": (
        text('0,98,"Host Baseline",,0.95,1,', FIRST, "0,99,benchmark.csv,,0.88,1,TheHost", SECOND),
        [
            (None, 98, "Host Baseline", None, "0.95", 1, [], True),
            OTTERS,
            (None, 99, "benchmark.csv", None, "0.88", 1, ["TheHost"], True),
            BADGERS,
        ],
    ),
    "ties in the file's order": (
        text(FIRST, SECOND.replace("0.85", "0.90"), '3,7,Zebras,"2025-01-01 00:00:00",0.90,1,deb'),
        [OTTERS, but(BADGERS, score="0.90"), (3, 7, "Zebras", "2025-01-01 00:00:00", "0.90", 1, ["deb"], False)],
    ),
    "a deleted member": (
        text(FIRST.replace("Bob", "del=0123456789abcdef"), SECOND),
        [but(OTTERS, members=["ann", "del=0123456789abcdef"]), BADGERS],
    ),
    "the header of before 2023": (
        text('11,Otters,"2026-01-31 23:59:59",0.90', '12,Badgers,"2026-01-30 00:00:00",0.85', header=OLD),
        [but(OTTERS, count=None, members=[]), but(BADGERS, count=None, members=[])],
    ),
    "the header of before 2020, a row an improvement": (
        text(
            '11,Otter,"2026-01-01 00:00:00",0.50',
            '12,Badgers,"2026-01-30 00:00:00",0.85',
            '11,Ott,"2026-01-02 00:00:00",0.60',
            '13,Cats,"2026-01-30 00:00:00",0.70',
            '11,Otters,"2026-01-31 23:59:59",0.90',
            header=OLD,
            end="\r\n",
        ),
        [
            but(OTTERS, rank=1, count=None, members=[]),
            but(BADGERS, rank=2, count=None, members=[]),
            (3, 13, "Cats", "2026-01-30 00:00:00", "0.70", None, [], False),
        ],
    ),
    "the header alone": (text(), []),
}


NAMES = (
    *ODD_TEAM_NAMES,
    "two\nlines",
    "DOS\r\nlines",
    '"',
    '""',
    'all "quoted"',
    "\\.",
    "\\.x",
    "a\n\\.\nb",
    "\\",
    "\\n",
    "''",
    " ",
    "",
    "NULL",
    "true",
    "1e5",
    "[Deleted]",
    "[Deleted]",
    "\ufeffmark",
    "\u2028",
    "\u0085",
    "tab\there",
    "%s %(x)s {} $1",
    "'; DROP TABLE kaggle.competitions; --",
)


@pytest.mark.parametrize(("file", "expected"), ACCEPTED.values(), ids=ACCEPTED)
def test_what_is_accepted(stage: Stage, file: bytes, expected: list[Row]) -> None:
    """The board is the file: over no board, over another one, and over itself."""
    slug = f"simulated-{next(numbers)}-teams"

    def shown() -> list[Row]:
        return stage.all(
            "SELECT l.rank, l.team_id, l.team_name, to_char(l.last_submission_at AT TIME ZONE 'UTC',"
            " 'YYYY-MM-DD HH24:MI:SS'), l.score::text, l.submission_count, l.member_usernames, l.is_benchmark"
            " FROM kaggle.leaderboard l JOIN kaggle.boards b ON b.slug = l.kaggle_competition_id"
            " JOIN kaggle.leaderboard_entries e ON e.board_id = b.id AND e.team_id = l.team_id"
            " WHERE l.kaggle_competition_id = %s ORDER BY e.order_key",
            slug,
        )

    with stage.fault(slug, lambda: Zipped(file, MEMBER)):
        run = stage.synced(slug, "INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES (%s)")
        assert (run.outcome, run.error, run.board) == ("changed", None, "public")
        assert (run.teams, run.added) == (len([row for row in expected if not row[7]]), len(expected))
        assert run.replaced_characters == file.count(0)
        assert shown() == expected
        assert stage.synced(slug).outcome == "unchanged"

    other = stage.synced(slug)
    assert (other.outcome, other.removed) == ("changed", len(expected))
    with stage.fault(slug, lambda: Zipped(file, MEMBER)):
        run = stage.synced(slug)
    assert (run.outcome, run.added, run.removed) == ("changed", len(expected), other.added)
    assert run.replaced_characters == file.count(0)
    assert shown() == expected
    assert stage.status(slug).last_error is None


def test_names_are_kept_byte_for_byte(stage: Stage) -> None:
    """Spaces, control characters, emoji, quotes, line ends and the words of databases: nothing is mended."""

    def quoted(name: str) -> str:
        special = any(character in name for character in ' ,"\n\r')
        return '"' + name.replace('"', '""') + '"' if special else name

    rows = [f'{n},{n},{quoted(name)},"2026-01-31 23:59:59",1.0,1,u{n}' for n, name in enumerate(NAMES, start=1)]
    slug = f"simulated-{next(numbers)}-teams"
    with stage.fault(slug, csv(*rows)):
        run = stage.synced(slug, "INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES (%s)")
    assert (run.outcome, run.error, run.teams) == ("changed", None, len(NAMES))
    got = stage.all("SELECT team_name FROM kaggle.leaderboard WHERE kaggle_competition_id = %s ORDER BY rank", slug)
    assert [name for (name,) in got] == list(NAMES)


@pytest.mark.parametrize(
    ("member", "board"),
    [
        ("MLSP2023-Volunteers-01-publicleaderboard.csv", "public"),
        ("X_Private_Leaderboard.CSV", "private"),
        ("x-privateleaderboard-2026-05-05T15:36:33.csv", "private"),
        ("private-equity_public_leaderboard.csv", "public"),
    ],
)
def test_every_form_of_member_name_is_accepted(stage: Stage, member: str, board: str) -> None:
    """Capitals, both kinds, with and without a time; the competition's own capitals are kept too."""
    slug = f"Simulated-{next(numbers)}-Teams"
    with stage.fault(slug, lambda: Zipped(text(FIRST, SECOND), member)):
        run = stage.synced(slug, "INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES (%s)")
    assert (run.outcome, run.board, run.teams) == ("changed", board, 2)
    status = stage.status(slug)
    assert (status.kaggle_competition_id, status.board) == (slug, board)
