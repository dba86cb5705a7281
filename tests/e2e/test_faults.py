"""Whatever Kaggle answers: the last good board stays, the row says what happened, and healing is noticed at once.

FAULTS below is to be read as documentation.
"""

from __future__ import annotations

import logging
import re
import struct
import zipfile
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from io import BytesIO
from typing import Any

import pytest
from psycopg import sql

from pgleaderboard.kaggle.credential import Credential
from tests.support.aliases import Connection, MakeWorker
from tests.support.faults import Drip, Fault, Half, Page, Redirect, Reset, Silent, Simulator, Status, Zipped
from tests.support.kaggle import close, make_kaggle
from tests.support.stage import FIRST, HEADER, MEMBER, SECOND, Broken, Client, Stage, Switched, csv, numbers, text

# How long until the next try, in seconds: the bounds, and a little for what the database does between two clocks.
SOON = (11.25, 20.0)


PATIENTLY = (299.9, 305.0)


def first(old: str, new: str) -> Callable[[], Fault]:
    """Kaggle answers with a board whose first row is changed so."""
    assert old in FIRST
    return csv(FIRST.replace(old, new), SECOND)


def second(old: str, new: str) -> Callable[[], Fault]:
    """Kaggle answers with a board whose second row is changed so."""
    assert old in SECOND
    return csv(FIRST, SECOND.replace(old, new))


def archive(*names: str, flags: int = 0) -> bytes:
    """A ZIP with a board under each of these names; flags: bits that both of its headers get."""
    made = BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name in names:
            zipped.writestr(name, text(FIRST, SECOND))
    patched = bytearray(made.getvalue())
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)) if flags else ():
        at = patched.index(signature) + offset
        patched[at : at + 2] = struct.pack("<H", flags)
    return bytes(patched)


def misplaced() -> bytes:
    """A ZIP whose directory claims to be larger than the file: one byte was hurt on the way."""
    whole = bytearray(archive(MEMBER))
    whole[whole.index(b"PK\5\6") + 18] ^= 1
    return bytes(whole)


def zipped(body: bytes) -> Callable[[], Fault]:
    """Kaggle answers with these bytes as a ZIP."""
    return lambda: Page(body, content_type="application/zip")


HASTY = {"timeout": 30.0, "deadline": 0.5}


IMPATIENT = {"timeout": 0.3, "deadline": 30.0}


# what Kaggle does: (how, error_kind, words that a user finds in last_error, seconds until the next try)
FORM = "the rule 'date is like 2026-01-31 23:59:59' does not hold"
FAULTS: dict[str, tuple[Any, str, str, tuple[float, float]]] = {
    # The line. All of it passes by itself.
    "no answer": (Client(fault=Silent, limits=IMPATIENT), "transient", "did not answer for 0.3 s", SOON),
    "half an answer": (Half, "transient", "broke off", SOON),
    "half an answer without a length": (lambda: Half(declare_length=False), "transient", "may have been cut", SOON),
    "half an answer, then reset": (lambda: Half(reset=True), "transient", "broke off", SOON),
    "a drip in the body": (Client(fault=Drip, limits=HASTY), "transient", "did not finish within 0.5 s", SOON),
    "a drip in the headers": (
        Client(fault=lambda: Drip(headers=True), limits=HASTY),
        "transient",
        "did not finish within 0.5 s",
        SOON,
    ),
    "refused": (Client(url="http://127.0.0.1:{closed}"), "transient", "refused (127.0.0.1)", SOON),
    "reset": (Reset, "transient", "broke off", SOON),
    "no such host": (Client(url="http://nonexistent.invalid"), "transient", "cannot be resolved (nonexist", SOON),
    "no TLS there": (Client(url="https://127.0.0.1:{port}"), "transient", "proxy and CA certificates", SOON),
    "a redirect to nowhere": (lambda: Redirect("http://nonexistent.invalid/x"), "transient", "resolved", SOON),
    "redirects in a circle": (Client(fault=lambda: Redirect("/signed/circle.zip")), "transient", "too often", SOON),
    # What Kaggle says.
    "400": (lambda: Status(400, message="no way"), "person", "status 400): no way", PATIENTLY),
    "401": (lambda: Status(401), "person", "make a new one", PATIENTLY),
    "403": (lambda: Status(403), "person", "/{slug}/rules", PATIENTLY),
    "404": (
        lambda: Status(404),
        "person",
        "exists and has no leaderboard (yet); Kaggle says: Simulated 404",
        PATIENTLY,
    ),
    "403 under 200": (
        lambda: Page('{"code": 403, "message": "x"}', content_type="application/json"),
        "person",
        "/{slug}/rules",
        PATIENTLY,
    ),
    "500": (lambda: Status(500), "transient", "status 500: Simulated 500", SOON),
    "502": (lambda: Status(502, body="<html>bad gateway", content_type="text/html"), "transient", "status 502", SOON),
    "503": (lambda: Status(503), "transient", "status 503", SOON),
    "503 for ten minutes": (lambda: Status(503, {"Retry-After": "600"}), "transient", "status 503", (600, 605)),
    # What is no board, and may be one next time.
    "a web page": (lambda: Page("<html>back soon"), "transient", "web page instead of a leaderboard", SOON),
    "an empty body": (lambda: Page(b""), "transient", "Kaggle's answer is empty", SOON),
    "JSON": (lambda: Page("{}", content_type="application/json"), "transient", "not a valid ZIP", SOON),
    "a cut ZIP": (zipped(archive(MEMBER)[:-30]), "transient", "not a valid ZIP", SOON),
    "a hurt ZIP": (zipped(misplaced()), "transient", "not a valid ZIP", SOON),
    "an empty file": (lambda: Zipped(b"", MEMBER), "transient", "is empty", SOON),
    # What is no board, and will be none next time.
    "two members": (zipped(archive(MEMBER, f"y{MEMBER}")), "person", "holds 2 files", PATIENTLY),
    "a path in the name": (zipped(archive(f"../{MEMBER}")), "person", "has a path in its name", PATIENTLY),
    "encrypted": (zipped(archive(MEMBER, flags=1)), "person", "is encrypted", PATIENTLY),
    "neither public nor private": (zipped(archive("x.csv")), "person", "cannot tell from the file name", PATIENTLY),
    "a ZIP bomb": (
        lambda: Zipped(text(FIRST) + b"0" * 2**24, MEMBER),
        "person",
        "more than 1 MB; PGLEADERBOARD_MAX_DOWNLOAD_MB allows more",
        PATIENTLY,
    ),
    "a large download": (Client(limits={"limit": 10}), "person", "PGLEADERBOARD_MAX_DOWNLOAD_MB", PATIENTLY),
    # What contradicts itself. Line and column are named where there is one.
    "not UTF-8": (lambda: Zipped(text(FIRST).replace(b"Otters", b"\xffx"), MEMBER), "person", "line 2", PATIENTLY),
    "a column is missing": (
        csv("1,11,x", header="Rank,TeamId,TeamName"),
        "person",
        "lacks the column Score",
        PATIENTLY,
    ),
    "a column twice": (csv(header=f"{HEADER},Score"), "person", "column 'Score' twice", PATIENTLY),
    "a team twice": (second(",12,", ",11,"), "person", "TeamId 11 stands there 2 times", PATIENTLY),
    "a row too short": (second(",cleo", ""), "person", "line 3: missing data", PATIENTLY),
    "a row too long": (second("cleo", "cleo,more"), "person", "line 3: extra data", PATIENTLY),
    "ranks with a gap": (second("2,12", "3,12"), "person", "rank 3 stands where rank 2 was expected", PATIENTLY),
    "a rank twice": (second("2,12", "1,12"), "person", "rank 1 stands where rank 2 was expected", PATIENTLY),
    "a negative rank": (first("1,11", "-1,11"), "person", "rank -1 stands where rank 1 was expected", PATIENTLY),
    "no rank": (first("1,11", ",11"), "person", "rank (empty) stands where rank 1 was expected", PATIENTLY),
    "a rank in words": (second("2,12", "two,12"), "person", "line 3, column rank: ", PATIENTLY),
    "no TeamId": (second(",12,", ",,"), "person", "line 3: ", PATIENTLY),
    "a TeamId too large": (second(",12,", f",{2**63},"), "person", "line 3, column team_id: ", PATIENTLY),
    "score NaN": (second("0.85", "NaN"), "person", "line 3: ", PATIENTLY),
    "score Infinity": (second("0.85", "Infinity"), "person", "line 3: ", PATIENTLY),
    "score -Infinity": (second("0.85", "-Infinity"), "person", "line 3: ", PATIENTLY),
    "score 1e1000": (second("0.85", "1e1000"), "person", "line 3: ", PATIENTLY),
    "score 1e200000": (second("0.85", "1e200000"), "person", "line 3, column score: ", PATIENTLY),
    "score in words": (second("0.85", "best"), "person", "line 3, column score: ", PATIENTLY),
    "a day that is none": (first("2026-01-31", "2026-13-45"), "person", "line 2, column last_sub", PATIENTLY),
    "a date in words": (second("2026-01-30 00:00:00", "yesterday-ish"), "person", f"line 3: {FORM}", PATIENTLY),
    "a date in words first": (first("2026-01-31 23:59:59", "yesterday-ish"), "person", f"line 2: {FORM}", PATIENTLY),
    "a word that is a date": (second("2026-01-30 00:00:00", "now"), "person", f"line 3: {FORM}", PATIENTLY),
    "a month in words": (second("2026-01-30 00:00:00", "Jan 5 2026"), "person", f"line 3: {FORM}", PATIENTLY),
    "a date with dots": (second("2026-01-30 00:00:00", "5.6.2026"), "person", f"line 3: {FORM}", PATIENTLY),
    "a date in another order": (second("2026-01-30 00:00:00", "03/04/2026"), "person", f"line 3: {FORM}", PATIENTLY),
    "letters in a date": (second("2026-01-30 00:00:00", "2026-01-3x 00:00:00"), "person", f"line 3: {FORM}", PATIENTLY),
    "date infinity": (second("2026-01-30 00:00:00", "infinity"), "person", "line 3: ", PATIENTLY),
    "another form of date": (first("2026-01-31 23:59:59", "31/12/2026"), "person", f"line 2: {FORM}", PATIENTLY),
    "a count in words": (second(",3,", ",many,"), "person", "line 3, column submission_count: ", PATIENTLY),
    # Ours.
    "a fault of ours": (Broken, "ours", "pgleaderboard itself failed (RuntimeError); its log has", SOON),
}


# what Retry-After says on a 429: seconds that every request of the credential waits
PAUSES: dict[str, tuple[Callable[[], str | None], tuple[float, float]]] = {
    "seconds": (lambda: "120", (119.9, 125)),
    "a date": (lambda: format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True), (3500, 3605)),
    "nonsense": (lambda: "soon", (59.9, 65)),
    "a date that is none": (lambda: "Wed, 21 Oct 99999999999 07:28:00 GMT", (59.9, 65)),
    "more than a day": (lambda: "99999999", (59.9, 65)),
    "zero": (lambda: "0", (59.9, 65)),
    "nothing": (lambda: None, (59.9, 65)),
}


@pytest.mark.parametrize(("how", "kind", "words", "again"), FAULTS.values(), ids=FAULTS)
def test_a_fault(stage: Stage, how: Any, kind: str, words: str, again: tuple[float, float]) -> None:
    """The run and the row say what happened and when it is tried again; the board stays as it was.

    A try by hand, or after the row was edited, is made at once, and its success clears the failure.
    """
    slug = stage.competition()
    board, before = stage.board(slug), stage.status(slug)

    for heal, reason in (
        ("UPDATE kaggle.competitions SET is_featured = true WHERE kaggle_competition_id = %s", "edited"),
        ("SELECT kaggle.sync_now(%s)", "manual"),
    ):
        with stage.fault(slug, how):
            run = stage.synced(slug)
        assert (run.outcome, run.error_kind, run.reason) == ("failed", kind, "manual")
        assert words.replace("{slug}", slug) in run.error
        assert_readable(run.error)
        assert (run.board, run.teams, run.added, run.removed, run.updated, run.moved) == (None,) * 6
        status = stage.status(slug)
        assert (status.sync_state, status.consecutive_failures, status.last_error) == ("failing", 1, run.error)
        assert status.problem == (None if kind == "transient" else run.error)
        assert again[0] <= (status.next_sync_at - run.finished_at).total_seconds() <= again[1]
        assert status.blocked_until is None
        assert (status.last_success_at, status.synced_at) == (before.last_success_at, before.synced_at)
        assert stage.board(slug) == board

        healed = stage.synced(slug, heal)
        assert (healed.outcome, healed.error, healed.reason) == ("unchanged", None, reason)
        before, board = stage.status(slug), stage.board(slug)
        assert (before.sync_state, before.consecutive_failures, before.last_error) == ("idle", 0, None)
        assert before.problem is None
        assert before.synced_at == healed.observed_at


def assert_readable(error: str) -> None:
    """One line of plain words: no name of ours that means nothing to a user, no control character."""
    assert error.isprintable()
    assert "staged" not in error
    assert not re.search(r"\b(of|for) violates", error), error
    assert len(error) <= 500


@pytest.mark.parametrize(("header", "pause"), PAUSES.values(), ids=PAUSES)
def test_too_many_requests_pause_everything(
    stage: Stage, header: Callable[[], str | None], pause: tuple[float, float]
) -> None:
    """After a 429 nothing is asked of Kaggle for as long as it wants: not for others, not by hand. Then all go on."""
    slug, other = stage.competition(), stage.competition()
    board = stage.board(slug)
    said = header()
    try:
        with stage.fault(slug, lambda: Status(429, {"Retry-After": said} if said is not None else {})):
            run = stage.synced(slug)
        assert (run.outcome, run.error_kind) == ("failed", "transient")
        assert "429, too many requests" in run.error
        assert stage.board(slug) == board
        for each in (stage.status(slug), stage.status(other)):
            assert pause[0] <= (each.blocked_until - run.finished_at).total_seconds() <= pause[1]
        status = stage.status(slug)
        assert (status.sync_state, status.last_error, status.problem) == ("failing", run.error, None)
        assert status.next_sync_at >= status.blocked_until - timedelta(seconds=1)

        asked = len(stage.simulator.requests)
        runs = stage.all("SELECT count(*) FROM kaggle.sync_runs")
        stage.db.execute("SELECT kaggle.sync_now(%s), kaggle.sync_now(%s)", [slug, other])
        for _ in range(2):  # the jobs that were queued come and go; so does a sweep
            stage.until("NOT EXISTS (SELECT FROM procrastinate.procrastinate_jobs)")
            stage.db.execute("SELECT kaggle_internal.queue_job('sweep', NULL, 20)")
        assert [stage.status(each).sync_state for each in (slug, other)] == ["queued"] * 2
        assert stage.all("SELECT count(*) FROM kaggle.sync_runs") == runs
        assert len(stage.simulator.requests) == asked
    finally:
        stage.db.execute(
            "UPDATE kaggle_internal.kaggle_budget SET blocked_until = clock_timestamp() - interval '1 second'"
        )
        stage.db.execute("SELECT kaggle_internal.queue_job('sweep', NULL, 20)")

    for each in (slug, other):
        assert stage.synced(each, None).outcome == "unchanged"
        status = stage.status(each)
        assert (status.sync_state, status.last_error, status.blocked_until) == ("idle", None, None)


def test_the_delay_grows_and_a_retry_comes_by_itself(stage: Stage) -> None:
    """15 s, 30 s, 60 s; when the time has come nobody needs to ask."""
    slug = stage.competition()
    with stage.fault(slug, lambda: Status(500)):
        for failures, most in enumerate((15, 30, 60), start=1):
            run = stage.synced(slug)
            status = stage.status(slug)
            assert status.consecutive_failures == failures
            assert 0.75 * most <= (status.next_sync_at - run.finished_at).total_seconds() <= most + 5
    state = "FROM kaggle_internal.sync_state s JOIN kaggle.competitions c ON c.id = s.competition_id"
    stage.db.execute(
        f"UPDATE kaggle_internal.sync_state SET retry_at = clock_timestamp() - interval '1 s' WHERE competition_id ="
        f" (SELECT s.competition_id {state} WHERE kaggle_competition_id = %s)",
        [slug],
    )
    stage.db.execute("SELECT kaggle_internal.queue_job('sweep', NULL, 20)")
    stage.until(f"(SELECT consecutive_failures = 0 {state} WHERE kaggle_competition_id = %s)", slug)
    run = stage.synced(slug, None)
    assert (run.outcome, run.reason) == ("unchanged", "manual")  # what was asked for is done, late
    assert stage.status(slug).sync_state == "idle"


def test_a_person_who_does_not_come_is_not_asked_every_five_minutes(stage: Stage) -> None:
    """After an hour of failing it is tried hourly."""
    slug = stage.competition()
    with stage.fault(slug, lambda: Status(403)):
        stage.synced(slug)
        stage.db.execute(
            "UPDATE kaggle_internal.sync_state SET failing_since = failing_since - interval '61 minutes'"
            " WHERE competition_id ="
            " (SELECT id FROM kaggle.competitions WHERE kaggle_competition_id = %s)",
            [slug],
        )
        run = stage.synced(slug)
    status = stage.status(slug)
    assert 3599.9 <= (status.next_sync_at - run.finished_at).total_seconds() <= 3605
    assert status.consecutive_failures == 2


def test_an_unknown_slug_is_mended_in_its_row(stage: Stage) -> None:
    """The mistyped competition has no board and says why; the right slug is synced at once."""
    wrong, right = f"unknown-{next(numbers)}", f"simulated-{next(numbers)}-teams"
    run = stage.synced(wrong, "INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES (%s)")
    status = stage.status(wrong)
    assert (run.outcome, run.error_kind, status.sync_state) == ("failed", "person", "failing")
    assert status.problem == status.last_error == run.error
    assert f"no competition {wrong} (404): check the slug" in run.error
    assert (status.teams, status.synced_at, status.last_success_at) == (None, None, None)

    stage.db.execute(
        "UPDATE kaggle.competitions SET kaggle_competition_id = %s WHERE kaggle_competition_id = %s", [right, wrong]
    )

    assert stage.synced(right, None).outcome == "changed"
    status = stage.status(right)
    assert (status.sync_state, status.last_error, status.problem) == ("idle", None, None)


def test_a_redirect_to_storage_is_followed_without_the_credential(stage: Stage) -> None:
    """As Kaggle does it for downloads: the board comes from another host, which never learns the token."""
    slug = stage.competition()
    with Simulator() as storage, stage.fault(slug, lambda: Redirect(storage.signed_url(slug))):
        assert stage.synced(slug).outcome == "unchanged"
        (request,) = storage.requests
    assert request.method == "GET"
    assert "Authorization" not in request.headers
    close(stage.kaggle.usual)  # before the storage's port may be somebody else's


def test_without_a_credential_boards_fail_until_there_is_one(
    db: Connection, worker: MakeWorker, simulator: Simulator
) -> None:
    """The row names every way to give one; a worker that has one syncs at once, unasked."""
    stage = Stage(db, simulator, Switched(make_kaggle(simulator.url)), 0)
    with worker(kaggle=make_kaggle(simulator.url, credential=None)):
        run = stage.synced("titanic", "INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES (%s)")
        status = stage.status("titanic")
    assert (run.outcome, run.error_kind, status.sync_state) == ("failed", "person", "failing")
    assert status.problem == status.last_error == run.error
    assert all(name in run.error for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "kaggle.json"))
    assert simulator.requests == []

    with worker(kaggle=stage.kaggle):
        stage.until("(SELECT sync_state = 'idle' AND teams > 0 FROM kaggle.sync_status)")
        assert stage.status("titanic").last_error is None
    close(stage.kaggle.usual)


def test_no_secret_is_written_down(
    db: Connection,
    worker: MakeWorker,
    simulator: Simulator,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No credential and no signed URL stands in a table, in the log, or in what the database shows of queries."""
    caplog.set_level(logging.DEBUG, logger="pgleaderboard")
    caplog.set_level(logging.DEBUG, logger="procrastinate")
    kaggle = make_kaggle(simulator.url, credential=Credential("a test", token="geheim-token"))
    basic = make_kaggle(simulator.url, credential=Credential("a test", username="geheim-user", key="geheim-key"))
    stage = Stage(db, simulator, Switched(kaggle), 0)
    signed = "http://nonexistent.invalid/x.zip?signature=geheim-signature"
    queries = ""
    for number, usual in enumerate((kaggle, basic)):
        stage.kaggle.usual = usual
        with worker(kaggle=stage.kaggle):
            slug = f"simulated-{next(numbers)}-teams"
            stage.synced(slug, "INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES (%s)")
            for how in (
                lambda: Status(401),
                lambda: Status(500),
                lambda: Status(400),
                lambda: Redirect(signed),
                lambda: Redirect(signed.replace("http://nonexistent.invalid", simulator.url)),
                Broken,
                lambda: Status(429, {"Retry-After": "120"}),
            ):
                with stage.fault(slug, how):
                    assert stage.synced(slug).outcome == "failed"
            queries += stage.one(
                "SELECT string_agg(query || application_name, ' ') AS shown FROM pg_stat_activity"
                " WHERE datname = current_database()"
            ).shown
        assert len(simulator.requests) > 5 * number
        close(usual)

    dump = ""
    for schema, name in stage.all(
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname IN ('kaggle', 'kaggle_internal', 'procrastinate') AND c.relkind IN ('r', 'v', 'm', 'p')"
    ):
        rows = db.execute(sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(schema, name)))
        dump += "".join(row for (row,) in rows)
    assert "simulated-" in dump
    assert "pgleaderboard worker" in queries
    assert "pgleaderboard itself failed" in caplog.text
    caught = "".join(record.getMessage() + str(vars(record)) for record in caplog.records)
    for secret in ("geheim-token", "geheim-user", "geheim-key", "geheim-signature"):
        assert secret not in dump
        assert secret not in queries
        assert secret not in caught
    with suppress(KeyError):
        del stage.kaggle.instead[slug]
