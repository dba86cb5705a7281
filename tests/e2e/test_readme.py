"""The README's commands and outputs are real."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.aliases import Connection, MakeWorker
from tests.support.asking import eventually
from tests.support.psql import printed

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()
MAKEFILE = (Path(__file__).resolve().parents[2] / "Makefile").read_text()


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_psql_session_prints_what_the_readme_shows(url: str, db: Connection, worker: MakeWorker) -> None:
    """Each statement of the session gives its printed output, to the letter but for trailing spaces."""
    (session,) = blocks("psql")
    steps = re.findall(r"^=> (.*)\n((?:(?!=> ).*\n)*)", session, re.MULTILINE)
    assert len(steps) == 6
    with worker():
        eventually(db, 1, "SELECT count(*) FROM kaggle.workers")
        for statement, expected in steps:
            assert printed(url, statement) == expected


def test_every_console_command_exists() -> None:
    """The commands in the console blocks are targets of the Makefile or commands of the program; tests run each."""
    commands = [line[2:] for block in blocks("console") for line in block.splitlines() if line.startswith("$ ")]
    assert len(commands) >= 6
    for command in commands:
        if command.startswith("make "):
            assert re.search(rf"^{command.split()[1]}:", MAKEFILE, re.MULTILINE), command
        elif command.startswith(".venv/bin/pgleaderboard "):
            shown = subprocess.run(
                [sys.executable, "-m", "pgleaderboard", *command.split()[1:], "--help"],
                capture_output=True,
                check=False,
            )
            assert shown.returncode == 0, command
        else:
            assert command.startswith("export DATABASE_URL="), command


def test_the_django_recipe_writes_and_reads(url: str, db: Connection, worker: MakeWorker, tmp_path: Path) -> None:
    """An unmanaged model inserts a competition, sending every column, and reads its board."""
    pytest.importorskip("django")
    parts = db.info
    (recipe,) = blocks("python")
    script = tmp_path / "recipe.py"
    script.write_text(
        f"""
import django
from django.conf import settings
settings.configure(DATABASES={{"default": {{"ENGINE": "django.db.backends.postgresql",
    "NAME": {parts.dbname!r}, "USER": {parts.user!r}, "HOST": {parts.host!r}, "PORT": {str(parts.port)!r},
    "PASSWORD": {parts.password!r}}}}}, DEFAULT_AUTO_FIELD="django.db.models.BigAutoField", USE_TZ=True)
django.setup()
{recipe}
from django.db import connection
made = Competition.objects.create(kaggle_competition_id="spaceship-titanic")
with connection.cursor() as cursor:
    cursor.execute("SELECT outcome FROM kaggle.wait_for_sync('spaceship-titanic')")
    print(cursor.fetchone()[0])
made.refresh_from_db()
print(made.status)
top = Entry.objects.filter(kaggle_competition_id="spaceship-titanic", rank__lte=3).order_by("rank")
print([entry.rank for entry in top], top[1].score)
"""
    )
    with worker():
        run = subprocess.run([sys.executable, "-I", str(script)], capture_output=True, text=True, check=False)
    assert run.stderr == ""
    assert run.stdout.splitlines() == ["changed", "ongoing", "[1, 2, 3] 0.89952"]


def test_the_sql_examples_run(db: Connection) -> None:
    """Each statement of the plain SQL blocks is accepted on a database that has what it asks about."""
    db.execute("INSERT INTO kaggle.events (slug, title) VALUES ('neural-night', 'Neural Night')")
    db.execute("INSERT INTO kaggle.competitions (kaggle_competition_id) VALUES ('titanic')")
    statements = [line for block in blocks("sql") for line in block.splitlines() if line]
    assert len(statements) >= 3
    for statement in statements:
        db.execute(statement)
