"""A server with a template database, and a pytest that waits for mutants beside it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from pgleaderboard.database import embedded, migrate
from tests.mutants.sites import ROOT, Statement

LIMIT = 60  # seconds for a test; one that takes longer hangs
_OPTIONS = {"fsync": "off", "max_connections": "200", "track_functions": "all", "temp_file_limit": "1GB"}
TESTS = ("tests/sql", "tests/unit", "tests/e2e")

# Functions that are inlined are not counted, and those that set something are not inlined.
_PIN = """
SELECT format('ALTER FUNCTION %s SET search_path = kaggle, kaggle_internal, pg_temp', oid::regprocedure)
FROM pg_proc WHERE pronamespace IN ('kaggle'::regnamespace, 'kaggle_internal'::regnamespace) AND proconfig IS NULL
"""


@dataclass
class Result:
    """What became of some tests."""

    notes: list[dict[str, Any]] = field(default_factory=list)
    is_ended: bool = True  # False for a test that hung, or tests that took far too long together

    @property
    def failure(self) -> tuple[str, str] | None:
        """The first test that did not pass, and why; None if all did."""
        for note in self.notes:
            if note.get("outcome") == "failed":
                return note["test"], note["why"]
        begun = [note["begun"] for note in self.notes if "begun" in note]
        return None if self.is_ended else (begun[-1] if begun else "no test", "hangs")


class Slot:
    """Runs tests on a template database. Not for several threads."""

    def __init__(self, home: Path, url: str, pytest: subprocess.Popen[bytes], requests: int, answers: int) -> None:
        self._home, self._url, self._pytest = home, url, pytest
        self._requests, self._answers = os.fdopen(requests, "w"), os.fdopen(answers)
        if not (line := self._answers.readline()):
            raise SystemExit((home / "pytest.log").read_text())
        self.tests: list[str] = json.loads(line)
        self._admin = psycopg.connect(url, autocommit=True)
        self._own = self._databases()
        self._roles = self._names("SELECT rolname FROM pg_roles")

    def refusal(self, mutant: str) -> str | None:
        """Why the server refuses a statement; None if it takes it."""
        with psycopg.connect(self._url, dbname="original") as db:
            try:
                db.execute(mutant.encode())
            except psycopg.Error as error:
                return str(error)
            finally:
                db.rollback()
        return None

    def try_mutant(self, mutant: str, tests: Iterable[str], seconds: float) -> Result:
        """Run tests, the first ones first, until one fails, where a statement of sql/ is replaced."""
        try:
            self._admin.execute("CREATE DATABASE mutant TEMPLATE original STRATEGY file_copy")
            with psycopg.connect(self._url, dbname="mutant") as db:
                db.execute(mutant.encode())
            return self._run("mutant", tests, seconds, is_noting=False)
        finally:
            self.clean()

    def note(self, tests: Iterable[str], template: str) -> Result:
        """Run all of these tests, and note what they call. template: noted, or original, which tells less."""
        left, notes = list(tests), list[dict[str, Any]]()
        while left:  # again without those that have begun, where one hangs
            result = self._run(template, left, LIMIT * len(left), is_noting=True)
            self.clean()
            begun = {note["begun"] for note in result.notes if "begun" in note}
            left = [name for name in left if name not in begun] if begun else []
            notes += result.notes
        return Result(notes)

    def _run(self, template: str, tests: Iterable[str], seconds: float, *, is_noting: bool) -> Result:
        notes = self._home / "notes"
        notes.write_text("")
        request = {"template": template, "tests": list(tests), "seconds": seconds, "notes": str(notes)}
        print(json.dumps(request | {"is_noting": is_noting}), file=self._requests, flush=True)
        if not (line := self._answers.readline()):
            raise SystemExit(f"pytest has ended: {(self._home / 'pytest.log').read_text()[-2000:]}")
        lines = [json.loads(each) for each in notes.read_text().splitlines()]
        begun, ended = ({note[key] for note in lines if key in note} for key in ("begun", "ended"))
        return Result(lines, json.loads(line) is not None and begun == ended)

    def clean(self) -> None:
        """Remove the databases and roles that a test may have left when it was ended."""
        for name in self._databases() - self._own:
            self._admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        for name in self._names("SELECT rolname FROM pg_roles") - self._roles:
            self._admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))

    def _databases(self) -> set[str]:
        return self._names("SELECT datname FROM pg_database")

    def _names(self, query: str) -> set[str]:
        return {name for (name,) in self._admin.execute(query.encode())}

    def close(self) -> None:
        """End pytest, and what it runs."""
        self._admin.close()
        self._requests.close()
        try:
            with suppress(subprocess.TimeoutExpired):
                self._pytest.wait(1)
            self._pytest.terminate()  # it ends its child
            self._pytest.wait(LIMIT)
        finally:
            self._pytest.kill()
            self._answers.close()


@contextmanager
def slot(statements: Iterable[Statement], tests: Iterable[str] = TESTS) -> Iterator[Slot]:
    """A slot that lives for the length of a block. tests: folders or files."""
    memory = Path("/dev/shm")  # noqa: S108 - a file system in memory, where there is one
    home = Path(tempfile.mkdtemp(prefix="pgl-", dir=memory if os.access(memory, os.W_OK) else None))
    home.chmod(0o755)  # as root, PostgreSQL runs as another user and must pass through
    try:
        with embedded.running(home, extra_options=_OPTIONS) as server:
            _make_templates(server, list(statements))
            requests, answers = os.pipe(), os.pipe()
            pytest = _pytest(home, server.url(), requests[0], answers[1], tests)
            os.close(requests[0])
            os.close(answers[1])
            made = Slot(home, server.url(), pytest, requests[1], answers[0])
            try:
                yield made
            finally:
                made.close()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _make_templates(server: embedded.Server, statements: list[Statement]) -> None:
    """`original`, and `noted`, in which every function and every view that is used is counted."""
    embedded.ensure_database(server, "original")
    migrate.migrate(server.url("original"))
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute("CREATE DATABASE noted TEMPLATE original")
    with psycopg.connect(server.url("noted")) as db:
        for (pin,) in db.execute(_PIN).fetchall():
            db.execute(pin)
        db.execute("CREATE SCHEMA mutants; GRANT USAGE ON SCHEMA mutants TO PUBLIC")
        for view in (each for each in statements if each.kind == "VIEW"):
            begin, body = view.text.rstrip(";").split(" AS\n", 1)
            db.execute(
                f'CREATE FUNCTION mutants."{view.name}"() RETURNS boolean LANGUAGE plpgsql STABLE '
                f"AS 'BEGIN RETURN true; END'".encode()
            )
            db.execute(f'{begin} AS SELECT * FROM ({body}) AS v WHERE mutants."{view.name}"()'.encode())


def _pytest(home: Path, url: str, requests: int, answers: int, tests: Iterable[str]) -> subprocess.Popen[bytes]:
    options = ["-p", "tests.mutants.plugin", "-p", "no:xdist", "-p", "no:cacheprovider", "-q", "-o", "addopts="]
    hangs = ["-o", f"faulthandler_timeout={LIMIT}", "-o", "faulthandler_exit_on_timeout=true"]
    given = {"TEST_DATABASE_URL": url, "MUTANTS_PIPES": f"{requests} {answers}"}
    given["HYPOTHESIS_STORAGE_DIRECTORY"] = str(home / "hypothesis")  # what fails with a mutant says nothing later
    with open(home / "pytest.log", "wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", *options, *hangs, *tests],
            cwd=ROOT,
            env=os.environ | given,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[requests, answers],
        )
