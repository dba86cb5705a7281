"""What the pytest of a slot does: collects once, then runs what it is told, each time in a child of its own.

Collecting takes longer than most mutants. Requests come as lines of JSON on one pipe, answers go back on another; what
happens meanwhile is appended to a file, so that it is known of a child that was ended, too.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from tests.support import databases

MARK = "MUTANTS_CHILD"  # in the environment of all that a child starts
_PIPES = os.environ.pop("MUTANTS_PIPES")

_CALLED = """
SELECT CASE schemaname WHEN 'mutants' THEN funcname ELSE schemaname || '.' || funcname END
FROM pg_stat_user_functions WHERE schemaname IN ('kaggle', 'kaggle_internal', 'mutants')
"""
_OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


class Child:
    """What this child was asked to do."""

    template = ""
    notes: Path | None = None
    is_noting = False
    running: str | None = None
    open_copies: tuple[set[str], ...] = ()  # the tests that ran while a copy of the template was there


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The others cannot meet a mutant."""
    items[:] = [item for item in items if "template" in getattr(item, "fixturenames", ())]


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Answer requests; in a child, run its tests as ever."""
    reading, writing = map(int, _PIPES.split())
    for pipe in (reading, writing):
        os.set_inheritable(pipe, False)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    by_id = {item.nodeid: item for item in session.items}
    with open(reading, closefd=False) as requests, open(writing, "w", closefd=False) as answers:
        print(json.dumps(list(by_id)), file=answers, flush=True)
        for line in requests:
            request: dict[str, Any] = json.loads(line)
            sys.stdout.flush()
            if (pid := os.fork()) == 0:
                _become_child(session, by_id, request)
                return None
            print(json.dumps(_result(pid, request["seconds"])), file=answers, flush=True)
    return True


def _become_child(session: pytest.Session, by_id: dict[str, pytest.Item], request: dict[str, Any]) -> None:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ |= {MARK: str(os.getpid()), "TEST_TEMPLATE": request["template"]}
    Child.template, Child.notes, Child.is_noting = request["template"], Path(request["notes"]), request["is_noting"]
    session.items = [by_id[name] for name in request["tests"]]
    session.config.option.maxfail = 0 if Child.is_noting else 1


def _result(pid: int, seconds: float) -> int | None:
    """Wait for a child, and end what it left. None if it took longer than so many seconds."""
    try:
        return psutil.Process(pid).wait(seconds)
    except psutil.TimeoutExpired:
        return None
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(MARK) == str(pid):
                    process.kill()


def _note(**what: Any) -> None:
    if Child.notes:
        with Child.notes.open("a") as file:
            print(json.dumps(what), file=file)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Note when a test begins and how long it takes, with its fixtures."""
    _note(begun=item.nodeid)
    Child.running = item.nodeid
    for tests in Child.open_copies:
        tests.add(item.nodeid)
    begun = time.monotonic()
    try:
        return (yield)
    finally:
        _note(ended=item.nodeid, seconds=round(time.monotonic() - begun, 3))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note what failed, and what was skipped."""
    if report.outcome != "passed":
        lines = [line for line in report.longreprtext.splitlines() if line.startswith("E ")] or [report.longreprtext]
        _note(outcome=report.outcome, test=report.nodeid, why=lines[0].removeprefix("E ").strip()[:200])


_copy_of = databases.copy_of


@contextmanager
def _noting_copy(template: str, server_url: str) -> Iterator[str]:
    """`copy_of`, which notes before the end what was called in the copy."""
    with _copy_of(template, server_url) as dsn:
        if not Child.is_noting or template != Child.template:
            yield dsn
            return
        tests = {Child.running} if Child.running else set()
        Child.open_copies += (tests,)
        try:
            yield dsn
        finally:
            Child.open_copies = tuple(each for each in Child.open_copies if each is not tests)
            _note(calls=_calls(dsn), tests=sorted(tests))


def _calls(dsn: str) -> list[str]:
    """The functions that were called. A session tells the server what it called when it ends, at the latest."""
    with suppress(psycopg.OperationalError), psycopg.connect(dsn, autocommit=True) as db:
        until = time.monotonic() + 2
        while db.execute(_OTHERS).fetchone() != (0,) and time.monotonic() < until:
            time.sleep(0.01)
        return [str(name) for (name,) in db.execute(_CALLED)]
    return []


databases.copy_of = _noting_copy  # before anything imports it by name
