"""Boards, standings and the state of the sync at a terminal and in files, as the program prints them."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
import typer
from psycopg.conninfo import make_conninfo
from rich.cells import cell_len

from pgleaderboard.cli.main import cli
from tests.support.aliases import Connection, MakeWorker
from tests.support.boards import Entry, csv_of, teams, zip_of
from tests.support.faults import Simulator, Status
from tests.support.syncs import Syncs
from tests.support.terminal import Terminal

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]
NASTY = "\u202eevil\x1b[2J"
BOARD = [
    Entry(1, "数据猫", Decimal("0.980"), members=("cat",)),
    Entry(9, "the benchmark", Decimal("0.97"), is_benchmark=True),
    Entry(2, NASTY, Decimal("0.9700000000000000001"), members=("evil",)),
    Entry(3, "פריק הנתונים", Decimal("0.5"), members=("rtl",)),
    Entry(4, "🦀🚀 crew, " + "long " * 20, None, submission_count=None, members=("Crab", "rust")),
]


def said(finished: subprocess.CompletedProcess[str]) -> str:
    """The one line with which a command failed."""
    assert finished.returncode == 1, finished.stdout + finished.stderr
    assert finished.stderr.startswith("pgleaderboard: "), finished.stderr
    assert finished.stderr.count("\n") == 1, finished.stderr
    return finished.stderr.removeprefix("pgleaderboard: ").rstrip()


def cells(lines: str) -> int:
    """The widest line."""
    return max(cell_len(line) for line in lines.splitlines())


def below(header: str, lines: str) -> list[str]:
    """The lines below the one that begins with a header."""
    (start,) = (n for n, line in enumerate(lines.splitlines()) if line.lstrip().startswith(header))
    return lines.splitlines()[start + 1 :]


def test_terminal_and_sql_go_on_and_say_that_the_page_is_frozen(run: Run, db: Connection, syncs: Syncs) -> None:
    """Of two freezes the first that has come; one that is planned is none."""
    syncs.sync(zip_of(BOARD))
    db.execute(
        """
        INSERT INTO kaggle.events (slug, title, frozen_at)
        VALUES ('night', 'Night', '2026-01-02 03:00+00'), ('day', 'Day', '2026-01-02 02:00+00'),
               ('live', 'Live', NULL), ('later', 'Later', '2999-01-01 00:00+00')
        """
    )
    db.execute("INSERT INTO kaggle.event_competitions SELECT id, %s FROM kaggle.events", (syncs.competition,))
    assert db.execute("SELECT page_frozen_at::text FROM kaggle.sync_status").fetchall() == [("2026-01-02 02:00:00+00",)]
    shown = run("board", "a-board", TZ="UTC").stdout
    assert "the page is frozen since 2026-01-02 02:00:00 UTC" in shown
    assert "数据猫" in shown
    assert "the page is frozen since 2026-01-02 02:00:00 UTC" in run("standings", "live", TZ="UTC").stdout
    db.execute("UPDATE kaggle.events SET frozen_at = NULL WHERE slug IN ('night', 'day')")
    assert "the page" not in run("board", "a-board").stdout


# --- board --------------------------------------------------------------------------------------------------------


def test_a_board_is_aligned_and_harmless_at_80_columns(run: Run, db: Connection, syncs: Syncs) -> None:
    """Wide, right-to-left and control characters, a benchmark, no score: scores end at one cell and are whole."""
    db.execute("INSERT INTO kaggle.participants VALUES ('CRAB', 'Ferris')")
    syncs.sync(zip_of(BOARD))
    shown = run("board", "A-Board", COLUMNS="80")
    assert shown.returncode == 0, shown.stderr
    lines = below("RANK", shown.stdout)
    assert cells(shown.stdout) <= 80
    assert all(line.isprintable() for line in lines), lines
    assert "\\u202eevil\\x1b[2J" in shown.stdout
    scores = [re.match(r".*?(0\.\d+)(?=\s|$)", line) for line in lines]
    ends = {cell_len(found[0]) for found in scores if found}
    assert len(ends) == 1, shown.stdout
    assert [line.split()[0] for line in lines] == ["1", "-", "2", "3", "4"]
    assert "…" in lines[-1]
    assert "★ Ferris" in lines[-1]
    assert "benchmark" in lines[1]
    assert "0.9700000000000000001" in shown.stdout
    assert "long " * 19 in run("board", "a-board").stdout  # nobody's window: nothing is cut


def test_what_a_reader_wants_to_know_of_a_board(run: Run, url: str, db: Connection, syncs: Syncs) -> None:
    """Benchmarks apart, local time beside UTC, and on a screen that is too small how many more there are."""
    syncs.sync(zip_of([*teams(*range(1, 1762)), *(Entry(9000 + n, "base", is_benchmark=True) for n in range(3))]))
    title = run("board", "a-board", TZ="Europe/Berlin").stdout.splitlines()[0]
    assert "1,761 teams and 3 benchmarks" in title
    assert "1,761 teams and 3 benchmarks" in run("board", "a-board", "--top", "5").stdout  # none of them is listed
    assert re.search(r"\d\d:\d\d:\d\d UTC \(\d\d:\d\d CES?T\)", title)
    assert " UTC (" not in run("board", "a-board", "--at", "2999-01-01", TZ="UTC").stdout
    with Terminal("board", "a-board", "--watch", url=url, lines=12) as shown:
        shown.until("1,759 more: pgleaderboard board a-board")
        shown.resize(80, 14)
        shown.until("1,757 more: pgleaderboard board a-board")


def test_what_shows_the_rest_is_what_was_asked_for(url: str, db: Connection, night: Syncs) -> None:
    """With its options, whole though it takes two lines; nothing is pushed out of the window."""
    slug = "a-competition-whose-slug-is-as-long-as-kaggle-makes-them"
    db.execute("UPDATE kaggle.competitions SET kaggle_competition_id = %s", (slug,))
    night.sync(zip_of(teams(*range(1, 100)), slug=slug))
    with Terminal("board", slug, "--event", "NIGHT", "--top", "50", "--watch", url=url, lines=12) as shown:
        text = shown.until("more: pgleaderboard")
        lines = [line.strip() for line in text.splitlines()]
        assert f"46 more: pgleaderboard board {slug} --event NIGHT --top 50" in " ".join(lines), text
        assert lines[0].startswith(slug)
        assert any(line.startswith("Ctrl-C to quit") for line in lines)
    with Terminal("standings", "night", "--top", "50", "--watch", url=url, lines=12) as shown:
        shown.until("43 more: pgleaderboard standings night --top 50")


def test_a_watched_status_that_is_cut_off_says_so(url: str, db: Connection) -> None:
    """How many lines more there are, and what shows them."""
    db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id, status) "
               "SELECT format('board-%s', n), 'upcoming' FROM generate_series(10, 59) n")  # fmt: skip
    with Terminal("status", "--watch", url=url, lines=12) as shown:
        shown.until("more lines: pgleaderboard status")
        assert "board-10" in shown.text


@pytest.mark.parametrize("command", ["board", "plot", "sync", "status"])
def test_the_slug_of_an_event_is_told_from_a_typo(run: Run, db: Connection, command: str) -> None:
    """In the place of a competition's: what it is, and what shows it."""
    db.execute("INSERT INTO kaggle.events (slug, title) VALUES ('night', 'Night')")
    more = ("-o", "x.svg") if command == "plot" else ()
    assert said(run(command, "Night", *more)).endswith("it is an event, try `pgleaderboard standings night`")


def test_a_competition_that_gives_no_medals(run: Run, db: Connection, syncs: Syncs) -> None:
    """Getting started, playground, community: no zone is shown, neither on the board nor for a person."""
    syncs.sync(zip_of(teams(*range(1, 21))))
    db.execute("INSERT INTO kaggle.participants VALUES ('user1')")
    zones = "SELECT medal_zone FROM kaggle.participant_results"
    assert " gold " in run("board", "a-board").stdout
    assert db.execute(zones).fetchone() == ("gold",)
    db.execute("UPDATE kaggle.competitions SET category = 'Getting Started'")
    assert " gold " not in run("board", "a-board").stdout
    assert db.execute(zones).fetchone() == (None,)


def test_movement_and_medals(run: Run, db: Connection, syncs: Syncs) -> None:
    """Who climbed, fell and is new since the first board of the last day; the zones are kaggle.medal's."""
    syncs.sync(zip_of(teams(*range(1, 21))))
    syncs.sync(zip_of(teams(3, 1, 2, 99, *range(4, 21))))
    shown = [line.split() for line in below("RANK", run("board", "a-board", "--top", "5").stdout)]
    assert [line[:5] for line in shown] == [
        ["1", "▲", "2", "gold", "team"],
        ["2", "▼", "1", "gold", "team"],
        ["3", "▼", "1", "silver", "team"],
        ["4", "new", "silver", "team", "99"],
        ["5", "▼", "1", "bronze", "team"],
    ]
    document = json.loads(run("board", "a-board", "--json").stdout)
    assert [each["movement"] for each in document["entries"][:5]] == [2, -1, -1, None, -1]
    assert [each["medal"] for each in document["entries"]] == [
        medal for (medal,) in db.execute("SELECT kaggle.medal(n, 21) FROM generate_series(1, 21) n")
    ]


def test_csv_is_kaggles_file_and_json_is_exact(run: Run, syncs: Syncs) -> None:
    """--csv: the file as it was downloaded, to the byte; --json: one document, ASCII, ISO times, scores as strings."""
    syncs.sync(zip_of(BOARD))
    assert run("board", "a-board", "--csv").stdout.encode() == csv_of(BOARD).removeprefix(b"\xef\xbb\xbf")
    shown = run("board", "a-board", "--json").stdout
    assert shown.isascii()
    document = json.loads(shown)
    assert [each["score"] for each in document["entries"]] == ["0.980", "0.97", "0.9700000000000000001", "0.5", None]
    assert document["entries"][2]["team_name"] == NASTY
    assert document["entries"][0]["last_submission_at"] == "2026-01-02T03:04:05+00:00"
    assert [each["rank"] for each in json.loads(run("board", "a-board", "--json", "--top", "2").stdout)["entries"]] == [
        1,
        None,
        2,
    ]


def test_a_board_at_a_time(run: Run, syncs: Syncs) -> None:
    """--at: as it was, in the spelling people type; before the first: one line."""
    syncs.sync(zip_of(teams(1, 2)))
    then = syncs.run()[6]
    syncs.sync(zip_of(teams(2, 1)))
    past = run("board", "a-board", "--csv", "--at", then.isoformat(sep=" "))
    assert [row["TeamId"] for row in csv.DictReader(io.StringIO(past.stdout))] == ["1", "2"]
    assert said(run("board", "a-board", "--at", "2001-01-01")) == "a-board had no board yet at 2001-01-01"
    assert "is not a time; write it like" in said(run("board", "a-board", "--at", "yesterday"))


def test_only_an_events_people(run: Run, db: Connection, syncs: Syncs) -> None:
    """--event: the teams that take part, as in its standing, ranked as on the board; where it does not count: a line.

    Without a roster all but the excluded, whether a board of before tells their members or not.
    """
    without_score = Entry(6, "no score", None, members=("user6",))
    syncs.sync(zip_of([*teams(1, 2, 3, 4), Entry(5, "of nobody"), Entry(9, "base", is_benchmark=True), without_score]))
    db.execute("INSERT INTO kaggle.events (slug, title) VALUES ('night', 'Night'), ('day', 'Day')")
    db.execute("INSERT INTO kaggle.event_competitions (event_id, competition_id) VALUES (1, %s)", (syncs.competition,))
    db.execute(
        "INSERT INTO kaggle.event_participants (event_id, kaggle_username, excluded) "
        "VALUES (1, 'user2', false), (1, 'user3', true), (1, 'user4', false), (1, 'user6', false)"
    )
    shown = csv.DictReader(io.StringIO(run("board", "a-board", "--event", "night", "--csv").stdout))
    assert [row["Rank"] for row in shown] == ["2", "4"]
    db.execute("UPDATE kaggle.event_participants SET excluded = true")  # nobody is registered: all others take part
    shown = csv.DictReader(io.StringIO(run("board", "a-board", "--event", "night", "--csv").stdout))
    assert [row["Rank"] for row in shown] == ["1", "5"]
    db.execute("UPDATE kaggle.events SET only_since_start = true, start_date = '2026-02-01'")
    assert run("board", "a-board", "--event", "night", "--csv").stdout.count("\n") == 1
    assert said(run("board", "a-board", "--event", "day")) == "a-board does not count in event day"
    assert said(run("board", "a-board", "--event", "nihgt")) == "no event 'nihgt': did you mean night?"


def test_why_somebody_stands_where(run: Run, db: Connection, compete: Callable[..., Syncs]) -> None:
    """--explain: a line for each competition, those too that were not entered or have no board."""
    db.execute("INSERT INTO kaggle.events (slug, title) VALUES ('night', 'Night')")
    compete("a-board", event_id=1).sync(zip_of(teams(1, 2, 3)))
    compete("b-board", event_id=1).sync(zip_of(teams(2, 3)))
    compete("c-board", event_id=1)
    shown = run("standings", "night", "--explain", "@USER1").stdout.splitlines()
    assert shown[0].startswith("user1 \u00b7 place 3 with 100.000000 points \u00b7 Night \u00b7 live, boards at most ")
    cells = [re.split(r"  +", line.strip()) for line in shown[2:]]
    assert cells[0] == ["COMPETITION", "PLACE", "SCORE", "COUNTED BY", "WEIGHT", "POINTS", "TEAM", "BOARD (UTC)"]
    assert [line[:2] + line[3:6] for line in cells[1:2]] == [["a-board", "1 of 3", "place", "1.0", "100.000000"]]
    assert cells[2:] == [["b-board", "not entered", "0"], ["c-board", "no board yet", "0"]]
    told = json.loads(run("standings", "night", "--explain", "user1", "--json").stdout)
    assert (told["person"]["place"], told["not_entered"]) == (3, ["b-board", "c-board"])
    assert said(run("standings", "night", "--explain", "user11")) == (
        "nobody called 'user11' is ranked in night: did you mean user1 or user3 or user2?"
    )


def test_a_final_standing_is_explained_though_a_slug_has_changed(
    run: Run, db: Connection, compete: Callable[..., Syncs]
) -> None:
    """What was entered under the former slug is not listed as missing under the new one."""
    db.execute("INSERT INTO kaggle.events (slug, title) VALUES ('night', 'Night')")
    compete("a-board", event_id=1).sync(zip_of(teams(1, 2)))
    db.execute("UPDATE kaggle.events SET end_date = clock_timestamp()")
    db.execute("SELECT kaggle.finalize_event('night', true)")
    db.execute("UPDATE kaggle.competitions SET kaggle_competition_id = 'renamed'")
    told = json.loads(run("standings", "night", "--explain", "user1", "--json").stdout)
    assert [result["kaggle_competition_id"] for result in told["results"]] == ["a-board"]
    assert told["not_entered"] == []


def test_a_board_that_is_not_there_yet(run: Run, syncs: Syncs) -> None:
    """One line that says why; a misspelt slug is told the right one; --watch shows no file."""
    assert said(run("board", "a-board")) == "a-board has no board yet: its sync is off"
    assert said(run("board", "a-bord")) == "no competition 'a-bord' is followed: did you mean a-board?"
    assert said(run("board", "xyz")) == "no competition 'xyz' is followed: follow it with `pgleaderboard add xyz`"
    wrong = run("board", "a-board", "--watch", "--json")
    assert (wrong.returncode, "--watch and --json cannot be combined" in wrong.stderr) == (2, True)


def test_a_long_board_is_paged_a_short_one_is_not(url: str, syncs: Syncs) -> None:
    """On a terminal through less, which waits if it fills more than a page, or PAGER; colours come through."""
    syncs.sync(zip_of(teams(*range(1, 3001))))
    with Terminal("board", "a-board", url=url) as shown:
        assert "team 3000" not in shown.until("team 15")
        shown.type("q")  # most of it was not even taken by the pager
        assert shown.end() == 0
        assert b"Error" not in shown.raw
    with Terminal("board", "a-board", "--top", "3", url=url) as shown:
        assert shown.end() == 0
        assert "team 3" in shown.text
        assert b"\x1b[1;33mgold" in shown.raw
    with Terminal("board", "a-board", url=url, PAGER="sed s/team/group/", NO_COLOR="1") as shown:
        assert shown.end() == 0
        assert "group 3000" in shown.text
        assert b"\x1b[" not in shown.raw
    with Terminal("board", "a-board", url=url, PAGER="no-such-pager") as shown:
        assert shown.end() == 0
        assert "team 3000" in shown.text


def test_a_watched_board_follows_the_syncs(url: str, db: Connection, syncs: Syncs) -> None:
    """Drawn in place at each change and in each size of the window, and gone with Ctrl-C."""
    with Terminal("board", "a-board", "--watch", url=url) as shown:
        shown.until("a-board has no board yet")
        syncs.sync(zip_of(teams(1, 2)))
        shown.until("team 2")
        syncs.sync(zip_of(teams(2, 1, 3)))
        text = shown.until("▲ 1")
        assert text.index("team 2") < text.index("team 1") < text.index("team 3")
        assert text.count("RANK") == 1
        shown.resize(34, 10)
        text = shown.until(lambda text: "SCORE" in text and "SUBS" not in text)
        assert text.startswith("a-board")
        shown.type("\x03")
        assert shown.end() == 130
        assert b"\x1b[?1049l" in shown.raw
        assert b"Traceback" not in shown.raw


def test_a_watched_board_survives_a_lost_connection(url: str, db: Connection, syncs: Syncs) -> None:
    """It says that it connects again, and shows what came meanwhile and afterwards."""
    syncs.sync(zip_of(teams(1, 2)))
    with Terminal("board", "a-board", "-w", url=url) as shown:
        shown.until("team 1")
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgleaderboard'"
        assert db.execute(f"{cut} AND datname = current_database()").fetchone() == (True,)
        shown.until("reconnected")
        syncs.sync(zip_of(teams(1, 2, 77)))
        assert "reconnected" in shown.until("team 77")
        shown.process.send_signal(signal.SIGTERM)
        assert shown.end() == 143
        assert b"\x1b[?1049l" in shown.raw


# --- standings ----------------------------------------------------------------------------------------------------


@pytest.fixture
def night(db: Connection, syncs: Syncs) -> Syncs:
    """An event with one competition."""
    db.execute("INSERT INTO kaggle.events (slug, title) VALUES ('night', 'The Night')")
    db.execute("INSERT INTO kaggle.event_competitions (event_id, competition_id) VALUES (1, %s)", (syncs.competition,))
    return syncs


def test_standings_in_every_form(run: Run, db: Connection, night: Syncs) -> None:
    """On the screen, as CSV, JSON and Markdown, whose signs a name cannot misuse; at a time; unknown: a line."""
    db.execute("INSERT INTO kaggle.participants VALUES ('user1', 'One | \x1b[2J *two*')")
    night.sync(zip_of([e.but(score=Decimal(s)) for e, s in zip(teams(1, 2, 3), ("0.9", "0.8", "0.7"), strict=True)]))
    then = night.run()[6]
    night.sync(zip_of([e.but(score=Decimal(s)) for e, s in zip(teams(2, 1, 3), ("0.95", "0.9", "0.7"), strict=True)]))
    shown = run("standings", "night", COLUMNS="80")
    assert cells(shown.stdout) <= 80
    assert re.search(r"The Night · ongoing · live, boards at most \d+ s old · 1 competition", shown.stdout)
    assert [line.split()[0] for line in below("PLACE", shown.stdout)] == ["1", "2", "3"]
    assert "One | \\x1b[2J *two*" in shown.stdout
    table = run("standings", "night", "--md", "--top", "2").stdout.splitlines()
    assert table[2:] == ["| 1 | user2 | 100.000000 | 1 |", r"| 2 | One \| \\x1b\[2J \*two\* | 50.000000 | 1 |"]
    document = json.loads(run("standings", "NIGHT", "--json", "--at", str(then)).stdout)
    assert [(each["kaggle_username"], each["points"]) for each in document["standing"]] == [
        ("user1", "100.000000"),
        ("user2", "50.000000"),
        ("user3", "0.000000"),
    ]
    rows = list(csv.DictReader(io.StringIO(run("standings", "night", "--csv").stdout)))
    assert [(row["Place"], row["KaggleUsername"]) for row in rows] == [("1", "user2"), ("2", "user1"), ("3", "user3")]
    assert said(run("standings", "knight")) == "no event 'knight': did you mean night?"


def test_watched_standings_follow_the_syncs(url: str, night: Syncs) -> None:
    """A sync of one of the event's competitions shows at once."""
    with Terminal("standings", "night", "--watch", url=url) as shown:
        shown.until("PLACE")
        night.sync(zip_of(teams(1, 2)))
        shown.until("user2")
        shown.type("\x03")
        assert shown.end() == 130


def test_watched_standings_show_every_edit(url: str, db: Connection, night: Syncs) -> None:
    """A freeze, a reveal, an exclusion, a weight and a name, though no board changes."""
    night.sync(zip_of(teams(1, 2, 3)))
    with Terminal("standings", "night", "--watch", url=url) as shown:
        shown.until("user3")
        for edit, shows in (
            ("UPDATE kaggle.events SET frozen_at = now()", "frozen as of"),
            ("UPDATE kaggle.events SET frozen_at = NULL", "live"),
            ("UPDATE kaggle.event_competitions SET rating_weight = 7", "700.000000"),
            ("INSERT INTO kaggle.participants VALUES ('user2', 'Two')", "Two"),
            ("UPDATE kaggle.participants SET display_name = 'Zwei'", "Zwei"),
            ("UPDATE kaggle.competitions SET rating_weight = 1", "700.000000"),
            ("INSERT INTO kaggle.event_participants VALUES (1, 'user2')", lambda text: "user1" not in text),
        ):
            db.execute(edit)
            shown.until(shows)
        shown.type("\x03")
        assert shown.end() == 130


def test_a_watched_board_shows_a_sync_without_changes_and_a_deletion(url: str, db: Connection, syncs: Syncs) -> None:
    """The time of the board moves; the program ends where its competition is gone."""
    syncs.sync(zip_of(teams(1)))
    with Terminal("board", "a-board", "--watch", url=url) as shown:
        shown.until("team 1")
        syncs.sync_at(datetime(2999, 1, 1, tzinfo=UTC), zip_of(teams(1)))
        shown.until("2999-01-01 00:00:00 UTC")
        db.execute("DELETE FROM kaggle.competitions")
        shown.until("no competition 'a-board' is followed")
        assert shown.end() == 1


def test_a_watched_board_shows_what_backfill_brings(
    run: Run, url: str, db: Connection, syncs: Syncs, tmp_path: Path
) -> None:
    """A private board is shown at once, though no sync brought it."""
    syncs.sync(zip_of(teams(1, 2)))
    private = tmp_path / "a-board-privateleaderboard.csv"
    private.write_bytes(csv_of(teams(2, 1)))
    with Terminal("board", "a-board", "--watch", url=url) as shown:
        shown.until("public board")
        assert run("backfill", "a-board", str(private), "--at", "2026-01-01").returncode == 0
        shown.until("private board")


def test_a_standing_says_which_boards_are_not_current(run: Run, db: Connection, night: Syncs) -> None:
    """Why, once for all that have the same problem; a board says it, too."""
    night.sync(zip_of(teams(1)))
    db.execute(
        "INSERT INTO kaggle.competitions (kaggle_competition_id, event_id) VALUES ('b-board', 1), ('c-board', 1)"
    )
    db.execute("UPDATE kaggle.competitions SET auto_sync = true")
    db.execute("UPDATE kaggle.boards SET observed_at = observed_at - interval '3 hours'")
    db.execute("DELETE FROM kaggle_internal.worker_processes")
    lines = run("standings", "night").stdout.splitlines()
    assert "live, boards at most 3 h old" in lines[0]
    why = "no worker is running: start one with pgleaderboard work"
    assert lines[1] == f"not current: a-board, b-board, c-board: {why}"
    assert run("board", "a-board").stdout.splitlines()[1] == why
    assert "not current" not in run("standings", "night", "--at", "2026-01-01").stdout


def test_who_is_explained(run: Run, db: Connection, night: Syncs) -> None:
    """A username goes before a name to show that is the same; a name of two people, and none at all, are refused."""
    night.sync(zip_of(teams(1, 2, 3)))
    shown_names = {"user1": "User2", "user2": "Both", "user3": "both"}
    for username, display_name in shown_names.items():
        db.execute(
            "INSERT INTO kaggle.participants (kaggle_username, display_name) VALUES (%s, %s)", (username, display_name)
        )
        db.execute("INSERT INTO kaggle.event_participants (event_id, kaggle_username) VALUES (1, %s)", (username,))
    assert run("standings", "night", "--explain", "user2").stdout.startswith("Both \u00b7 ")
    assert (
        "'both' is the name of user2 and user3: use a username" in run("standings", "night", "--explain", "both").stderr
    )
    assert run("standings", "night", "--explain", "").returncode == 1


def test_who_is_not_ranked_is_told_why(run: Run, db: Connection, night: Syncs) -> None:
    """Somebody excluded, by either name; a member of a team without a score; who is not registered where others are."""
    night.sync(zip_of([*teams(1, 2), Entry(3, "no score", None, members=("Ann",))]))
    db.execute("INSERT INTO kaggle.participants VALUES ('host', 'The Host'), ('user1', NULL)")
    db.execute("INSERT INTO kaggle.event_participants VALUES (1, 'host', true)")
    for name in ("Host", "the host"):
        assert said(run("standings", "night", "--explain", name)) == "host takes no part in night"
    assert said(run("standings", "night", "--explain", "@ann")) == "Ann has no score yet in night"
    db.execute("INSERT INTO kaggle.event_participants VALUES (1, 'user1')")
    assert said(run("standings", "night", "--explain", "ann")) == (
        "nobody called 'ann' is ranked in night: register them"
    )
    assert said(run("standings", "night", "--explain", "host")) == "host takes no part in night"


def test_a_board_of_an_event_shows_those_who_take_part(run: Run, db: Connection, night: Syncs) -> None:
    """Of a team of two, not the one who is excluded; with a roster, those on it."""
    night.sync(zip_of([*teams(1), Entry(2, "both", Decimal("0.5"), members=("host", "ann", "bo"))]))
    db.execute("INSERT INTO kaggle.participants VALUES ('host', NULL), ('ann', 'Ann'), ('bo', NULL)")
    assert "\u2605 host, Ann, bo" in run("board", "a-board").stdout
    db.execute("INSERT INTO kaggle.event_participants VALUES (1, 'host', true)")
    assert "\u2605 Ann, bo" in run("board", "a-board", "--event", "night").stdout
    db.execute("INSERT INTO kaggle.event_participants VALUES (1, 'bo')")
    assert "\u2605 bo" in run("board", "a-board", "--event", "night").stdout


def test_a_standing_says_since_when_nothing_was_synced(url: str, run: Run, db: Connection, night: Syncs) -> None:
    """A worker is there and nothing failed: the sync condition says no, for example. A board says the same."""
    night.sync(zip_of(teams(1)))
    db.execute("UPDATE kaggle.competitions SET auto_sync = true")
    db.execute("UPDATE kaggle.boards SET observed_at = observed_at - interval '3 hours'")
    with Connection.connect(url) as session:
        session.execute("SELECT kaggle_internal.register_worker('test', 'c')")
        session.commit()
        lines = run("standings", "night").stdout.splitlines()
        board = run("board", "a-board").stdout.splitlines()
    assert re.fullmatch(r"not current: a-board: no sync since \d{4}-\d\d-\d\d \d\d:\d\d UTC", lines[1])
    assert lines[1] == f"not current: a-board: {board[1]}"


def test_a_watch_without_a_terminal_prints_each_change(url: str, syncs: Syncs) -> None:
    """Below one another, without control characters."""
    syncs.sync(zip_of(teams(1)))
    with subprocess.Popen(
        [sys.executable, "-m", "pgleaderboard", "board", "a-board", "--watch"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"DATABASE_URL": url},
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        seen = []
        for line in process.stdout:
            seen.append(line)
            if line == "\n" and seen[-2].startswith("   1"):
                if "team 5" in seen[-2]:
                    break
                syncs.sync(zip_of(teams(5)))
        process.terminate()
        process.stdout.read()
    assert process.returncode == 143
    assert "\x1b" not in "".join(seen)
    assert [re.findall("team [15]", line) for line in seen if line.startswith("   1")] == [["team 1"], ["team 5"]]


# --- status -------------------------------------------------------------------------------------------------------


def test_status_without_a_worker(run: Run, db: Connection) -> None:
    """It says so, with what to do, and which competition waits; nobody is missed where nothing is late."""
    nothing = run("status").stdout
    assert nothing.startswith("0 workers \u00b7 0 competitions")
    assert "no competition is followed: pgleaderboard add titanic" in nothing
    db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('titanic')")
    db.execute("INSERT INTO kaggle.competitions (title) VALUES (%s)", ("Not on Kaggle \x1b[2J yet",))
    shown = run("status", COLUMNS="80").stdout
    assert cells(shown) <= 80
    assert shown.startswith("no worker is running: pgleaderboard work · 2 competitions · 1 queued · 0 running")
    assert re.search(r"^titanic +queued +never +now$", shown, re.M), shown
    assert "Not on Kaggle \\x1b[2J yet" in shown
    assert re.search(r"^next +now$", run("status", "titanic").stdout, re.M)
    document = json.loads(run("status", "--json").stdout)
    assert (document["workers"], document["queued"], document["next_request_at"]) == ([], 1, None)
    assert document["competitions"][0]["problem"] == "no worker is running: start one with pgleaderboard work"


def test_nobody_is_missed_who_syncs_from_cron(run: Run, db: Connection, syncs: Syncs) -> None:
    """Between two runs of `work --once` no worker is there, and nothing is late."""
    syncs.sync(zip_of(teams(1)))
    db.execute("UPDATE kaggle.competitions SET auto_sync = true")
    db.execute("DELETE FROM kaggle_internal.worker_processes")
    assert run("status").stdout.startswith("0 workers \u00b7 1 competition")
    db.execute("UPDATE kaggle.boards SET observed_at = observed_at - interval '3 hours'")
    assert run("status").stdout.startswith("no worker is running: pgleaderboard work \u00b7 1 competition")


def test_a_problem_that_came_again_says_how_often(
    run: Run, db: Connection, worker: MakeWorker, simulator: Simulator
) -> None:
    """Once: the error alone."""
    simulator.faults.put("simulated-1-teams", Status(404), times=None)
    db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('simulated-1-teams')")
    with worker():
        db.execute("SELECT kaggle.wait_for_sync('simulated-1-teams')")
        assert "times)" not in run("status").stdout
        for _ in range(2):
            db.execute("SELECT kaggle.sync_now('simulated-1-teams')")
            db.execute("SELECT kaggle.wait_for_sync('simulated-1-teams')")
        for command in (["status"], ["status", "simulated-1-teams"]):
            assert re.search(
                r"Kaggle knows no competition simulated-1-teams .* \(3 times\)$", run(*command).stdout, re.M
            )


def test_a_competition_in_full_tells_local_times_too(run: Run, db: Connection, syncs: Syncs) -> None:
    """Since when the board holds, and when the next sync comes."""
    syncs.sync(zip_of(teams(1)))
    db.execute("UPDATE kaggle.competitions SET auto_sync = true, status = 'upcoming', start_date = '2999-01-01'")
    shown = run("status", "a-board", TZ="Asia/Tokyo").stdout
    assert re.search(r"^as of .*\d\d:\d\d:\d\d UTC \(\d\d:\d\d JST\) \(", shown, re.M), shown
    assert re.search(r"^next +2999-01-01 00:00:00 UTC \(09:00 JST\) \(in \d+ d\)$", shown, re.M), shown


def test_status_of_what_fails_and_of_what_works(run: Run, db: Connection, worker: MakeWorker) -> None:
    """Leader, age and next sync; the error in words, wrapped; one competition in full with its last runs; a pause."""
    with worker():
        db.execute(
            "INSERT INTO kaggle.competitions (kaggle_competition_id) "
            "VALUES ('titanic'), ('unknown-challenge-of-some-length')"
        )
        for slug in ("titanic", "unknown-challenge-of-some-length"):
            db.execute("SELECT kaggle.wait_for_sync(%s)", (slug,))
        shown = run("status", COLUMNS="80").stdout
        assert cells(shown) <= 80
        told = "1 worker · 2 competitions · 0 queued · 0 running · 1 failing · Kaggle: ready · SIMULATED boards"
        assert " ".join(shown.split()).startswith(told)
        assert shown.index("unknown-challenge-of-some-length") < shown.index("titanic")  # what fails goes first
        assert re.search(r"^titanic +idle +1744 +\S.* +\d+ s +in \d", shown, re.M), shown
        error = "Kaggle knows no competition unknown-challenge-of-some-length (404): check the slug in its URL"
        assert error in " ".join(shown.split())
        one = run("status", "unknown-challenge-of-some-length", COLUMNS="80").stdout
        assert cells(one) <= 80
        assert "titanic" not in one
        assert re.search(r"^state +failing \(ongoing\)$", one, re.M)
        assert re.search(r"^\d{4}-.* inserted +failed", one, re.M)
        db.execute("INSERT INTO kaggle_internal.kaggle_budget VALUES ('x', now(), '2999-01-01')")
        assert "Kaggle asked for a pause until 2999-01-01 00:00:00 UTC" in " ".join(run("status").stdout.split())
        full = json.loads(run("status", "titanic", "--json").stdout)
    assert full["blocked_until"] == "2999-01-01T00:00:00+00:00"
    assert full["competitions"][0]["leader_score"] == str(
        (db.execute("SELECT score FROM kaggle.leaderboard WHERE rank = 1").fetchone() or (None,))[0]
    )
    assert [each["outcome"] for each in full["runs"]] == ["changed"]
    assert [each["version"] for each in full["workers"]] != []


def test_a_watched_status_notices_changes_and_a_worker_that_is_gone(url: str, db: Connection, syncs: Syncs) -> None:
    """A sync shows at once; what passes by the clock alone shows when it does: here a worker's last sign of life."""
    db.execute("UPDATE kaggle_internal.worker_processes SET seen_at = clock_timestamp() - interval '27 seconds'")
    with Terminal("status", "--watch", url=url) as shown:
        shown.until("a-board")
        syncs.sync(zip_of(teams(1, 2)))
        shown.until("team 1")
        shown.until("0 workers")
        shown.type("\x03")
        assert shown.end() == 130


def test_a_watched_status_notices_what_changes_no_board(url: str, db: Connection, worker: MakeWorker) -> None:
    """A competition that is inserted, and a sync of it that fails, though neither changes a board."""
    with Terminal("status", "--watch", url=url) as shown:
        shown.until("no competition is followed")
        shown.until("as of ")
        with worker():
            shown.until("1 worker")
        shown.until("0 workers")
        db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id, auto_sync) VALUES ('unknown-x', false)")
        shown.until("off")
        db.execute("UPDATE kaggle.competitions SET auto_sync = true")
        shown.until("queued")
        with worker():
            shown.until("failing")
            shown.until("1 worker")
            shown.until("Kaggle knows no competition unknown-x")
        shown.type("\x03")
        assert shown.end() == 130


# --- sync, pause, resume, retry ---------------------------------------------------------------------------------------


def test_sync_waits_and_tells(run: Run, db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """Each outcome a line, status 1 if one failed; without --wait it was asked for; one unknown: none was."""
    db.execute(
        "INSERT INTO kaggle.competitions (kaggle_competition_id, auto_sync) VALUES "
        "('simulated-1-teams', false), ('unknown-x', false)"
    )
    asked = run("sync", "simulated-1-teams")
    assert (asked.returncode, asked.stdout) == (0, "simulated-1-teams: sync requested\n")
    assert asked.stderr == "NOTICE: no pgleaderboard worker is running\n"
    late = run("sync", "simulated-1-teams", "--wait", "--timeout", "1")
    assert late.returncode == 1
    assert "no sync of 'simulated-1-teams' finished within" in late.stdout
    assert "no worker is running: start one with pgleaderboard work" in late.stdout
    with worker():
        done = run("sync", "SIMULATED-1-teams", "simulated-1-teams", "unknown-x", "--wait")
        assert done.returncode == 1
        assert re.match(r"simulated-1-teams: (un)?changed, 1 team", done.stdout)
        assert "unknown-x: failed, Kaggle knows no competition unknown-x (404)" in done.stdout
        assert done.stderr == "pgleaderboard: 1 of 2 failed\n"
        good = run("sync", "simulated-1-teams", "--wait")
        assert (good.returncode, good.stderr) == (0, "")
        before = db.execute("SELECT count(*) FROM kaggle.sync_runs").fetchone()
        assert "did you mean simulated-1-teams?" in said(run("sync", "unknown-x", "simulated-1-team"))
        assert db.execute("SELECT count(*) FROM kaggle_internal.sync_requests WHERE NOT tried").fetchone() == (0,)
        assert db.execute("SELECT count(*) FROM kaggle.sync_runs").fetchone() == before


def test_a_bar_shows_how_far_a_wait_is(url: str, db: Connection, worker: MakeWorker) -> None:
    """On a terminal, until it is done."""
    db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id, auto_sync) VALUES ('simulated-1-teams', false)")
    with Terminal("sync", "simulated-1-teams", "--wait", url=url) as shown:
        shown.until("0/1")
        with worker():
            assert shown.end() == 0
        assert "simulated-1-teams: changed" in shown.text
        assert "0/1" not in shown.text


def test_pause_and_resume(run: Run, db: Connection, worker: MakeWorker) -> None:
    """They set auto_sync and say what that means; what is ongoing syncs at once; twice: nothing to do."""
    db.execute(
        "INSERT INTO kaggle.competitions (kaggle_competition_id, start_date) VALUES "
        "('simulated-1-teams', NULL), ('later', '2999-01-01')"
    )
    assert run("pause", "simulated-1-teams", "later").stdout == "simulated-1-teams: paused\nlater: paused\n"
    assert db.execute("SELECT bool_or(auto_sync) FROM kaggle.competitions").fetchone() == (False,)
    assert run("pause", "later").stdout == "later: already paused\n"
    with worker():
        resumed = run("resume", "simulated-1-teams", "later", "--wait")
    assert resumed.stdout.splitlines() == [
        "simulated-1-teams: resumed, syncs now",
        "later: resumed, syncs when it begins (2999-01-01 00:00:00 UTC)",
        "simulated-1-teams: changed, 1 team, 2 added",
    ]
    assert run("resume", "later").stdout == "later: not paused\n"


def test_a_pause_waits_for_what_runs(run: Run, url: str, syncs: Syncs) -> None:
    """With --wait until the running sync has ended, whatever it found; not longer than it was told."""
    running = syncs.begin()
    late = run("pause", "a-board", "--wait", "--timeout", "1")
    assert (late.returncode, said(late)) == (1, "its sync is still running")
    with Terminal("pause", "a-board", "--wait", url=url) as shown:
        shown.until("0/1")
        syncs.end(running.run_id, zip_of(teams(1)))
        assert shown.end() == 0
        assert "a-board: its sync has ended" in shown.text
    assert run("pause", "a-board", "--wait").stdout == "a-board: already paused\n"


def test_retry(run: Run, db: Connection, worker: MakeWorker, simulator: Simulator) -> None:
    """Of what fails, all or some; it says what does not; neither or both of them is wrong usage."""
    assert run("retry").returncode == run("retry", "x", "--failed").returncode == 2
    assert run("retry", "--failed").stdout == "nothing is failing\n"
    simulator.faults.put("simulated-1-teams", Status(404), times=None)
    db.execute(
        "INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('simulated-1-teams'), ('simulated-2-teams')"
    )
    with worker():
        for slug in ("simulated-1-teams", "simulated-2-teams"):
            db.execute("SELECT kaggle.wait_for_sync(%s)", (slug,))
        again = run("retry", "--failed", "--wait")
        assert again.returncode == 1
        assert again.stdout.startswith("simulated-1-teams: failed, Kaggle knows no competition")
        simulator.faults.clear()
        mended = run("retry", "simulated-1-teams", "simulated-2-teams", "--wait")
    assert (mended.returncode, mended.stdout) == (
        0,
        "simulated-2-teams: not failing, nothing to retry\nsimulated-1-teams: changed, 1 team, 2 added\n",
    )


# --- plot ---------------------------------------------------------------------------------------------------------


def labels(svg: Path) -> list[str]:
    """What stands at the ends of the lines of a picture."""
    return [text for text in re.findall(">([^<]*)</text>", svg.read_text()) if "  " in text]


def test_plot_draws_files(run: Run, db: Connection, syncs: Syncs, tmp_path: Path) -> None:
    """PNG and SVG, the same bytes again; lines end with rank and name, odd signs too; the axis is turned."""
    odd = [Entry(1, "$x_1$ \x1b[2J"), Entry(2, "_under"), Entry(3, "数据猫", members=("cat",))]
    syncs.sync(zip_of(odd))
    syncs.sync(zip_of(odd[::-1]))
    svg, png = tmp_path / "a.svg", tmp_path / "b.PNG"
    drawn = run("plot", "a-board", "-o", str(svg))
    assert (drawn.returncode, drawn.stdout) == (0, f"3 lines drawn into {svg}\n"), drawn.stderr
    assert drawn.stderr == ""
    assert labels(svg) == ["1  数据猫", "2  _under", "3  $x_1$ \\x1b[2J"]
    heights = [re.findall(rf'y="([\d.]+)"[^>]*>{rank}</text>', svg.read_text()) for rank in (1, 2, 3)]
    assert [float(height) for ((height,),) in zip(heights, strict=True)] == sorted(float(each[0]) for each in heights)
    assert run("plot", "a-board", "--top", "1", "--score", "-o", str(png)).returncode == 0
    assert png.read_bytes().startswith(b"\x89PNG")
    again = tmp_path / "again.svg"
    run("plot", "a-board", "-o", str(again))
    assert again.read_bytes() == svg.read_bytes()
    run("plot", "a-board", "--participant", "CAT", "--team", "_UNDER", "--team", "1", "-o", str(svg))
    assert labels(svg) == ["2  _under", "3  $x_1$ \\x1b[2J", "1  CAT"]


def test_plot_says_what_is_wrong(run: Run, syncs: Syncs, tmp_path: Path) -> None:
    """No board, an unknown team or user, no terminal, another suffix."""
    file = str(tmp_path / "a.svg")
    assert said(run("plot", "a-board", "-o", file)) == "a-board has no board yet"
    syncs.sync(zip_of(teams(1, 2)))
    assert "not a terminal, cannot draw" in said(run("plot", "a-board"))
    assert run("plot", "a-board", "-o", "a.gif").returncode == 2
    assert said(run("plot", "a-board", "-o", file, "--team", "taem 1")) == (
        "no team 'taem 1' on a-board: did you mean team 1 or team 2?"
    )
    assert (
        said(run("plot", "a-board", "-o", file, "--participant", "nobody"))
        == "'nobody' has never been on the a-board board"
    )
    assert not Path(file).exists()


def test_plot_without_its_library_and_with_a_fault_of_ours(url: str, syncs: Syncs, tmp_path: Path) -> None:
    """One line in either case."""
    syncs.sync(zip_of(teams(1, 2)))

    def plot() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pgleaderboard", "plot", "a-board", "-o", str(tmp_path / "a.svg")],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"DATABASE_URL": url, "PYTHONPATH": str(tmp_path)},
        )

    (tmp_path / "matplotlib.py").write_text("raise RuntimeError('a fault of\\nours')")
    assert said(plot()).startswith("pgleaderboard itself failed: RuntimeError: a fault of ours; please report it")
    (tmp_path / "matplotlib.py").write_text("raise ImportError")
    assert said(plot()) == "plots need more packages: pip install 'pgleaderboard[plot]'"


def test_plot_in_the_terminal(url: str, syncs: Syncs) -> None:
    """Rank 1 stands on top, and below it which line is whose; it fits the window."""
    syncs.sync(zip_of(teams(1, 2, 3)))
    syncs.sync(zip_of(teams(3, 1, 2)))
    with Terminal("plot", "a-board", url=url) as shown:
        assert shown.end() == 0
        text = shown.text
        assert re.findall(r"(\d)┤", text) == ["1", "2", "3"]
        assert text.replace("\u00a0", " ").rstrip().endswith("━ 1 team 3   ━ 2 team 1   ━ 3 team 2")
        assert "a-board: ranks" in text


# --- rights, errors, completion -----------------------------------------------------------------------------------


def test_a_reader_sees_and_an_editor_asks(run: Run, db: Connection, url: str, night: Syncs) -> None:
    """Each command works for the role that it is for; a reader that asks for a sync is told in a line."""
    night.sync(zip_of(teams(1, 2)))
    login = {}
    for role in ("reader", "editor"):
        name = f"{role}_{os.getpid()}"
        db.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'x' IN ROLE pgleaderboard_{role}")
        login[role] = {"DATABASE_URL": make_conninfo(url, user=name, password="x")}
    try:
        for command in (["status", "a-board"], ["board", "a-board", "--event", "night"], ["standings", "night"]):
            seen = run(*command, **login["reader"])
            assert (seen.returncode, seen.stderr) == (0, ""), command
        assert run("plot", "a-board", "-o", "/dev/null/x.svg", **login["reader"]).returncode == 1
        assert "permission denied" in said(run("sync", "a-board", **login["reader"]))
        for asking in ("sync", "pause", "resume"):
            assert run(asking, "a-board", **login["editor"]).returncode == 0
        assert run("retry", "--failed", **login["editor"]).stdout == "nothing is failing\n"
    finally:
        for role in login:
            db.execute(f"DROP ROLE {role}_{os.getpid()}")


def test_errors_are_one_line(run: Run, empty_database: str) -> None:
    """A misspelt command is told the right one, a bare database what to run; --verbose has the traceback."""
    misspelt = run("stauts")
    assert (misspelt.returncode, "Did you mean 'status'?" in misspelt.stderr) == (2, True)
    bare = {"DATABASE_URL": empty_database}
    assert "run `pgleaderboard migrate`" in said(run("board", "a", **bare))
    assert "Traceback" in run("status", "--verbose", **bare).stderr
    assert "the database is out of reach: connection to server" in said(
        run("board", "a", "--watch", DATABASE_URL="postgresql://127.0.0.1:1/x")
    )
    elsewhere = make_conninfo(empty_database, dbname="nothing_here")
    assert said(run("status", DATABASE_URL=elsewhere)).endswith(
        'cannot connect: database "nothing_here" does not exist'
    )


def test_every_command_has_an_example(run: Run) -> None:
    """In its help, of the command that it explains; help fits 80 columns and says how completion is had."""
    commands = typer.main.get_command(cli).commands  # type: ignore[attr-defined]
    assert {"up", "board"} <= commands.keys()
    for name, command in commands.items():
        assert re.search(rf"Example: .*(pgleaderboard {name}|pgleaderboard url)", command.help or ""), name
    assert "Example: pgleaderboard psql -c" in run("psql", "--help").stdout  # ours, not psql's
    shown = run("board", "--help").stdout
    assert "Example: pgleaderboard board" in shown
    assert cells(shown) <= 80
    assert "pgleaderboard --install-completion" in run("--help").stdout


def test_completion_knows_the_slugs(db: Connection, url: str, syncs: Syncs) -> None:
    """Of competitions and of events, where the database answers; else nothing, not even an error."""
    db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('titanic')")
    db.execute("INSERT INTO kaggle.events (slug, title) VALUES ('night', 'Night')")

    def complete(line: str, **given: str) -> list[str]:
        shell = {"_PGLEADERBOARD_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
        script = Path(sys.executable).with_name("pgleaderboard")  # its name is what the shell completes
        done = subprocess.run(
            [script],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"DATABASE_URL": url} | shell | given,
            timeout=60,
        )
        assert done.stderr == ""
        return done.stdout.split()

    assert complete("pgleaderboard board ") == ["a-board", "titanic"]
    assert complete("pgleaderboard sync a-board ti") == ["titanic"]
    assert complete("pgleaderboard standings n") == ["night"]
    assert complete("pgleaderboard board ", DATABASE_URL="postgresql://127.0.0.1:1/x") == []
    assert complete("pgleaderboard board ", DATABASE_URL="", PGLEADERBOARD_HOME="/nonexistent") == []
