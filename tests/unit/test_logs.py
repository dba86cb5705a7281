"""How the log looks."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pgleaderboard import logs

FOREIGN = "one\ntwo\r\x1b[31mred\x07\0 \u202eevil\u2028line\x85next \ud800 \U0001f980 naïve"


@pytest.fixture(autouse=True)
def _loggers_as_before() -> Iterator[None]:
    """Puts back what `configure` changes for the whole process."""
    names = ("", "pgleaderboard", "procrastinate", "psycopg.pool", "urllib3")
    levels = {name: logging.getLogger(name).level for name in names}
    handlers = logging.getLogger().handlers[:]
    yield
    logging.getLogger().handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What was logged; split at newlines only, as a terminal and a log shipper do."""
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err == "" or written.err.endswith("\n")
    return written.err.split("\n")[:-1]


def test_text_is_one_line_an_event(capsys: pytest.CaptureFixture[str]) -> None:
    """Time, level, words, and what belongs to them; what is None is left out."""
    logs.configure("text")
    logging.getLogger("pgleaderboard.sync.attempt").info(
        "%s %s", "titanic", "changed", extra={"teams": 3, "moved": None, "run": 7}
    )
    logging.getLogger("pgleaderboard.sync.attempt").warning("second")
    first, second = lines(capsys)
    assert first[19:] == " info    titanic changed teams=3 run=7"
    assert second[19:] == " warning second"


def test_json_is_one_object_an_event(capsys: pytest.CaptureFixture[str]) -> None:
    """The same as fields; the time says that it is UTC."""
    logs.configure("json")
    logging.getLogger("pgleaderboard.sync.attempt").info(
        "%s %s", "titanic", "changed", extra={"teams": 3, "moved": None, "run": 7}
    )
    (line,) = lines(capsys)
    event = json.loads(line)
    assert event.pop("time").endswith("+00:00")
    assert event == {"level": "info", "event": "titanic changed", "teams": 3, "run": 7}


@pytest.mark.parametrize("form", ["text", "json"])
def test_foreign_text_never_breaks_a_line_or_a_screen(form: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters, line separators, characters that turn the direction and broken ones are escaped."""
    logs.configure(form)
    logging.getLogger("pgleaderboard").info("team %s", FOREIGN, extra={"name_of_team": FOREIGN})
    (line,) = lines(capsys)
    assert line.isprintable()
    assert len(line.splitlines()) == 1
    if form == "json":
        assert json.loads(line)["event"] == f"team {FOREIGN}"
        assert json.loads(line)["name_of_team"] == FOREIGN
    else:
        assert "\\x1b[31mred" in line
        assert "\U0001f980 naïve" in line


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_traceback_belongs_to_its_event(form: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A fault of ours comes with its traceback; in JSON inside the line. Foreign text in it is escaped too."""
    logs.configure(form)
    try:
        raise RuntimeError(FOREIGN)
    except RuntimeError:
        logging.getLogger("pgleaderboard").exception("it failed")
    written = lines(capsys)
    assert all(line.isprintable() for line in written)
    if form == "json":
        (line,) = written
        assert json.loads(line)["event"] == "it failed"
        assert "RuntimeError: one" in json.loads(line)["traceback"]
    else:
        assert written[0][19:] == " error   it failed"
        assert any("RuntimeError: one" in line for line in written[1:])


@settings(max_examples=200, deadline=None)
@given(st.text())
@example("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645")
def test_harmless_text_prints_on_one_line_and_keeps_its_letters(text: str) -> None:
    """Nothing is lost: printable characters and the joiners of letters stay; the others are written out."""
    shown = logs.harmless(text)
    without_joiners = text.replace("\u200c", "").replace("\u200d", "")
    assert shown.replace("\u200c", "").replace("\u200d", "").isprintable()
    if without_joiners.isprintable():
        assert shown == text


def test_only_what_matters_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """The libraries below say nothing at INFO; ours do; `verbose` brings ours from DEBUG on, `quiet` only warnings."""
    names = ("pgleaderboard", "procrastinate", "psycopg.pool", "urllib3", "other")

    def told(level: int) -> list[str]:
        for name in names:
            logging.getLogger(name).log(level, name)
        return [line.split()[-1] for line in lines(capsys)]

    logs.configure("text")
    assert told(logging.DEBUG) == []
    assert told(logging.INFO) == ["pgleaderboard"]
    assert told(logging.WARNING) == ["pgleaderboard", "other"]
    logs.configure("text", verbose=True)
    assert told(logging.DEBUG) == ["pgleaderboard"]
    assert told(logging.INFO) == ["pgleaderboard", "procrastinate", "urllib3"]
    logs.configure("text")
    logs.quiet()
    assert told(logging.INFO) == []
    assert told(logging.WARNING) == ["pgleaderboard", "other"]


def test_configuring_twice_logs_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Handlers do not add up."""
    logs.configure("text")
    logs.configure("json")
    assert [handler.stream for handler in logging.getLogger().handlers] == [sys.stderr]  # type: ignore[attr-defined]
    logging.getLogger("pgleaderboard").info("once")
    assert len(lines(capsys)) == 1
