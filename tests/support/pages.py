"""Pages of docs/ whose SQL is run: what is printed is compared with what stands there, or written there.

```sql               is given to psql; what it prints is the ```text block that follows
```csv NAME          a file: made if it is not there, else (a statement wrote it) compared
<!-- something -->   happens meanwhile: the test knows how
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.support.psql import printed

BASH = shutil.which("bash") or "/bin/sh"
DOCS = Path(__file__).resolve().parents[2] / "docs"
REWRITE = "REWRITE_DOCS"

_PART = re.compile(
    r"^```sql\n(?P<sql>.*?)^```\n(?:\n```text\n.*?^```\n)?"
    r"|^```csv (?P<file>[\w.-]+)\n(?P<content>.*?)^```\n"
    r"|^<!-- (?P<event>[^\n]+) -->\n",
    re.MULTILINE | re.DOTALL,
)


def files(page: str) -> dict[str, str]:
    """The csv blocks of a page, by name."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return {part["file"]: part["content"] for part in _PART.finditer(text) if part["file"]}


def check(page: str, url: str, folder: Path, events: Mapping[str, Callable[[], None]] = {}) -> None:
    """Run a page from top to bottom and compare. With REWRITE_DOCS set, write what was printed instead.

    folder: where its files are made. events: what happens at each of its comments.
    """

    def run(part: re.Match[str]) -> str:
        if part["sql"] is not None:
            output = printed(url, part["sql"], folder)
            return f"```sql\n{part['sql']}```\n\n```text\n{output.rstrip()}\n```\n"
        if part["file"] is not None:
            file = folder / part["file"]
            if not file.exists():
                file.write_text(part["content"], encoding="utf-8")
            return f"```csv {part['file']}\n{file.read_text(encoding='utf-8')}```\n"
        events[part["event"]]()
        return part[0]

    stands = (DOCS / page).read_text(encoding="utf-8")
    found = [part for part in _PART.finditer(stands) if part["sql"] is not None]
    assert len(found) == stands.count("```sql") > 0, f"not every SQL block of docs/{page} can be run"
    is_so = _PART.sub(run, stands)
    if os.environ.get(REWRITE):
        (DOCS / page).write_text(is_so, encoding="utf-8")
    else:
        assert stands == is_so, f"docs/{page} is not what happens; {REWRITE}=1 writes it anew"


_CONSOLE = re.compile(
    r"^```console\n(?P<session>.*?)^```\n|^```csv (?P<file>[\w.-]+)\n(?P<content>.*?)^```\n", re.MULTILINE | re.DOTALL
)
_PASSES = (  # what is another at each run
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"), "2026-11-29 20:00:00"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d(?!:)"), "2026-11-29 19:30"),
    (re.compile(r"\b\d+ (?:s|min) (old|ago)"), r"2 s \1"),
    (re.compile(r" +$", re.MULTILINE), ""),
)


def check_console(page: str, url: str, folder: Path) -> None:
    """Run the commands of a page in a shell, from top to bottom. Compare what they print, but for moments and ages."""
    shell = os.environ | {
        "DATABASE_URL": url,
        "HOME": str(folder),
        "LC_ALL": "C",
        "COLUMNS": "110",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }

    def run(part: re.Match[str]) -> str:
        if part["file"] is not None:
            (folder / part["file"]).write_text(part["content"], encoding="utf-8")
            return part[0]
        told = ""
        for command in re.findall(r"^\$ (.*)$", part["session"], re.MULTILINE):
            done = subprocess.run(
                [BASH, "-c", command], capture_output=True, text=True, check=False, env=shell, cwd=folder, timeout=60
            )
            assert done.returncode == 0, (command, done.stdout, done.stderr)
            printed = done.stdout
            for passes, by in _PASSES:
                printed = passes.sub(by, printed)
            told += f"$ {command}\n{printed.rstrip()}\n"
        return f"```console\n{told}```\n"

    stands = (DOCS / page).read_text(encoding="utf-8")
    is_so = _CONSOLE.sub(run, stands)
    if os.environ.get(REWRITE):
        (DOCS / page).write_text(is_so, encoding="utf-8")
    else:
        assert stands == is_so, f"docs/{page} is not what happens; {REWRITE}=1 writes it anew"
