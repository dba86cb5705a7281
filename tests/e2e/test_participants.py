"""`pgleaderboard participants add`: lists of people as organisers have them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support import program
from tests.support.aliases import Connection
from tests.support.asking import rows


def add(url: str, event: str, file: Path | str, content: bytes = b"") -> subprocess.CompletedProcess[str]:
    """Register the people of a file, or of stdin."""
    return program.run("participants", "add", event, file, stdin=content, DATABASE_URL=url)


@pytest.fixture
def night(db: Connection) -> str:
    """An event."""
    db.execute("INSERT INTO kaggle.events (slug, title) VALUES ('night', 'Night')")
    return "night"


def test_a_form_s_answers(url: str, db: Connection, night: str, tmp_path: Path) -> None:
    """The column is found by its head, whatever stands before it; bad lines are told with their numbers, status 1."""
    file = tmp_path / "answers.csv"
    file.write_bytes(
        "\ufeffTime;Username;Display_Name\r\n1;ann;Ann Äpfel\r\n2;@bo;\r\n\r\n3;ANN;other\r\n4;cy@example.org;Cy\r\n"
        "5;\r\n".encode()
    )
    ended = add(url, night, file)
    assert ended.returncode == 1
    assert [" ".join(line.split()) for line in ended.stdout.splitlines()] == [
        "line 2 ann created",
        "line 3 bo created",
        "line 5 ann already there",
        "line 6 cy@example.org rejected: 'cy@example.org' is an e-mail address: "
        "give the name in the URL of the profile",
        "line 7 rejected: nothing was given",
    ]
    assert rows(db, "SELECT kaggle_username, display_name FROM kaggle.participants ORDER BY 1") == [
        ("ann", "Ann Äpfel"),
        ("bo", None),
    ]


def test_names_alone_from_stdin(url: str, db: Connection, night: str) -> None:
    """Without a head the first column has the names."""
    ended = add(url, night, "-", b"ann,x\nkaggle.com/bo\n")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert rows(db, "SELECT kaggle_username FROM kaggle.event_participants ORDER BY 1") == [("ann",), ("bo",)]


@pytest.mark.parametrize(
    ("content", "registered"),
    [
        (
            b'kaggle_username,display_name\nann,"Ann\nbo,Bo\ncy,"Cy, the third"\n',
            [("bo", "Bo"), ("cy", "Cy, the third")],
        ),
        (b"kaggle_username\rann\rbo\r", [("ann", None), ("bo", None)]),
        (b"\nkaggle_username;display_name\nann;Ann\n", [("ann", "Ann")]),
        (b"Your name (first, last);username\nAnn, A;ann\n", [("ann", None)]),
        (b"person,display_name\nann,Ann\n", [("ann", "Ann")]),
        (b"display_name,person\nAnn,ann\n", [("ann", "Ann")]),
    ],
)
def test_a_list_in_every_form(
    url: str, db: Connection, night: str, content: bytes, registered: list[tuple[str, str | None]]
) -> None:
    """One bad line is told and spoils no other; line ends, blank lines and separators are as they come."""
    ended = add(url, night, "-", content)
    assert "itself failed" not in ended.stderr
    assert ("rejected" in ended.stdout) == (b'"Ann\n' in content)
    query = "SELECT kaggle_username, display_name FROM kaggle.participants ORDER BY 1"
    assert rows(db, query) == registered


def test_a_later_list_fills_in_the_names_to_show(url: str, db: Connection, night: str) -> None:
    """Of those who have none; a name that somebody has given stays."""
    add(url, night, "-", b"ann\nbo\n")
    db.execute("UPDATE kaggle.participants SET display_name = 'B.' WHERE kaggle_username = 'bo'")
    add(url, night, "-", b"username,display_name\nANN,Ann\nbo,Bo\n")
    assert rows(db, "SELECT kaggle_username, display_name FROM kaggle.participants ORDER BY 1") == [
        ("ann", "Ann"),
        ("bo", "B."),
    ]


@pytest.mark.parametrize(
    ("event", "file", "content", "words"),
    [
        ("day", "-", b"ann", "no event 'day'"),
        ("night", "/nowhere/x.csv", b"", "cannot read /nowhere/x.csv: No such file or directory"),
        ("night", "-", "ann\nbö".encode("latin-1"), "line 2 is not UTF-8"),
        ("night", "-", "ann\r\nbo\rcé".encode("latin-1"), "line 3 is not UTF-8"),
        ("night", "-", b"\xef\xbb\xbfann\nb\xf6", "line 2 is not UTF-8"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    url: str, night: str, event: str, file: str, content: bytes, words: str
) -> None:
    """Nothing is registered."""
    ended = add(url, event, file, content)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert words in ended.stderr
    assert ended.stderr.count("\n") == 1
