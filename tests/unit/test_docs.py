"""The pages under docs/ say what is so: settings, metrics, commands, links."""

from __future__ import annotations

import re
from pathlib import Path

from typer.testing import CliRunner

from pgleaderboard import app
from pgleaderboard.cli.main import cli
from pgleaderboard.process.metrics import DatabaseValues, Metrics
from pgleaderboard.settings import Settings
from pgleaderboard.web import server
from pgleaderboard.web.metrics import Values
from tools import settings_page

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
OPERATING = (ROOT / "docs" / "operating.md").read_text()


def test_the_page_of_settings_is_current() -> None:
    """docs/settings.md is what `make docs` would write, and describes each setting."""
    assert (ROOT / "docs" / "settings.md").read_text() == settings_page.page()
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_the_metrics_are_those_that_are_served(url: str) -> None:
    """The table of docs/operating.md names each metric, and no other."""
    with server.bound("127.0.0.1", 0) as listener:
        site = app.page(Settings.load(), app.Database(url, url, ""), listener, url=None, only=(), names=())
    served = [*Metrics().registry.collect(), *DatabaseValues(url, "", 30).collect(), *Values(site).collect()]
    names = {family.name + ("_total" if family.type == "counter" else "") for family in served}
    assert set(re.findall(r"^\| `(pgleaderboard_\w+)", OPERATING, re.MULTILINE)) == names


def test_commands_of_the_walk_throughs_exist() -> None:
    """Each `pgleaderboard COMMAND --OPTION` in a console block is one."""
    pages = "\n".join(page.read_text() for page in PAGES)
    blocks = "\n".join(re.findall(r"```console\n(.*?)```", pages, re.DOTALL))
    commands = set(re.findall(r"pgleaderboard (up|migrate|work|url|doctor)((?: --[a-z-]+)*)", blocks))
    assert {("migrate", " --again"), ("doctor", ""), ("work", "")} <= commands
    for name, options in commands:
        shown = CliRunner().invoke(cli, [name, "--help"]).stdout
        assert [option for option in options.split() if option not in shown] == [], name
        assert "Example:" in shown, name


def test_links_lead_somewhere() -> None:
    """Each link to a file of this repository finds it."""
    links = [(page, link) for page in PAGES for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())]
    assert len(links) > 20
    assert [(page.name, link) for page, link in links if not (page.parent / link).exists()] == []


def test_the_files_that_pages_name_exist() -> None:
    """A path in backticks, in CONTRIBUTING or docs/operating.md, is one."""
    text = OPERATING + (ROOT / "CONTRIBUTING.md").read_text()
    paths = set(re.findall(r"`((?:sql|worker|tools|tests|migrations|docs|deploy)/[\w./]*\w/?)`", text))
    assert len(paths) > 8
    assert sorted(path for path in paths if not (ROOT / path).exists()) == []


def test_the_set_ups_are_those_that_are_run() -> None:
    """The blocks of docs/scale.md are the files with which the cluster of the tests runs, word for word."""
    page = (ROOT / "docs" / "scale.md").read_text()
    blocks = set(re.findall(r"```(?:yaml|haproxy|ini)\n(.*?)```", page, re.DOTALL))
    files = {
        file.read_text() for kind in ("yml", "cfg", "ini") for file in (ROOT / "tests" / "cluster").glob(f"*.{kind}")
    }
    assert len(files) == 3
    assert files <= blocks
