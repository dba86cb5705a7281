"""docs/reference.md, out of the comments in the database: `make docs`.

What is written here is the order and the words between; all else is asked of the catalogue. Schema kaggle holds nothing
that is not named here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psycopg

from pgleaderboard.database import embedded, migrate

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference.md"

# Where a reader looks for what: the heading, a line about it, and the names in the order of use.
WRITTEN = ("events", "competitions", "event_competitions", "participants", "event_participants")
READ = (
    "leaderboard",
    "sync_status",
    "budget",
    "sync_runs",
    "board_source",
    "workers",
    "participant_results",
    "participant_points",
    "unmatched_participants",
    "event_standings",
    "event_results",
    "event_states",
)
ASKING = ("sync_now", "wait_for_sync", "import_competitions", "import_participants", "drop_board")
PAST = (
    "leaderboard_as_of",
    "rank_history",
    "rank_history_between",
    "movers",
    "changes",
    "board_runs",
    "team_rank",
    "shakeup",
    "medal",
)
STANDINGS = ("finalize_event", "reopen_event", "event_standings_as_of", "event_results_as_of", "unfrozen_standings")
SEASONS = ("points", "season_standings", "ratings", "rating_history")
NAMES = ("find_competition", "slug_of", "username_of")
OWNING = ("set_sync_condition", "prune_history")
KNOWN = ("boards", "leaderboard_entries", "leaderboard_history", "participant_entries")

HEAD = """\
# Reference

Everything in schema `kaggle`, as its comments in the database say it; in psql `\\d+ kaggle.competitions` and
`\\df+ kaggle.movers` show the same. Made by `make docs`: to change a word here, change the comment in `sql/`.

[What you write](#what-you-write) · [What you read](#what-you-read) · [Functions](#functions) ·
[Channel](#channel) · [Below the views](#below-the-views)
"""
CHANNEL = """\
## Channel

`LISTEN kaggle_leaderboard` gives one notification for each sync that changed a board, a JSON object.
[notifications.md](notifications.md) tells how to use it, and what to do behind a pooler.

| key | meaning |
| --- | --- |
| `competition_id` | `kaggle.competitions.id` |
| `kaggle_competition_id` | the competition's slug |
| `run_id` | `kaggle.sync_runs.id`; `kaggle.changes(run_id)` tells what changed |
| `teams`, `added`, `removed`, `updated`, `moved` | as in `kaggle.sync_runs` |
"""

_RELATIONS = """
    SELECT c.relname, c.oid, CASE c.relkind WHEN 'v' THEN 'view' ELSE 'table' END, obj_description(c.oid, 'pg_class')
    FROM pg_class c WHERE c.relnamespace = 'kaggle'::regnamespace AND c.relkind IN ('r', 'v') ORDER BY 1
"""
_COLUMNS = """
    SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
           CASE WHEN a.attidentity <> '' THEN 'a new number'
                WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END,
           col_description(a.attrelid, a.attnum)
    FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_RULES = """
    SELECT c.conname FROM pg_constraint c WHERE c.conrelid = %s AND c.contype IN ('c', 'f', 'u')
    UNION SELECT i.relname FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
    WHERE x.indrelid = %s AND x.indisunique AND NOT x.indisprimary ORDER BY 1
"""
_FUNCTIONS = r"""
    SELECT p.proname,
           regexp_replace(pg_get_function_arguments(p.oid),
                          '( DEFAULT (''[^'']*''|\w+))::(timestamp with time zone|\w+)(\[\])?', '\1', 'g'),
           pg_get_function_result(p.oid), obj_description(p.oid, 'pg_proc')
    FROM pg_proc p WHERE p.pronamespace = 'kaggle'::regnamespace
    ORDER BY p.proname, pg_get_function_identity_arguments(p.oid) COLLATE "C"
"""
Connection = psycopg.Connection[Any]


def page(db: Connection) -> str:
    """The whole page, as it should be."""
    relations = {name: rest for name, *rest in db.execute(_RELATIONS)}
    functions: dict[str, list[tuple[str, str, str]]] = {}
    for name, arguments, result, comment in db.execute(_FUNCTIONS):
        functions.setdefault(name, []).append((arguments, result, comment))

    def tables(names: Iterable[str], *, rules: bool = False) -> Iterator[str]:
        for name in names:
            oid, kind, comment = relations.pop(name)
            yield f"### kaggle.{name}\n\n*{kind}* — {comment}\n\n{_table(db, oid)}"
            if rules and (names_of_rules := [rule for (rule,) in db.execute(_RULES, (oid, oid))]):
                yield "Rules: " + ", ".join(f"`{rule}`" for rule in names_of_rules) + ".\n"

    def calls(names: Iterable[str]) -> Iterator[str]:
        for name in names:
            for signature in functions.pop(name):
                yield _function(name, *signature)

    parts = [
        HEAD,
        "## What you write\n\nThese are yours: `INSERT`, `UPDATE` and `DELETE` as you like. "
        "The role `pgleaderboard_editor` may.\n",
        *tables(WRITTEN, rules=True),
        "## What you read\n\nThe role `pgleaderboard_reader` may; columns are only ever added, at the end.\n",
        *tables(READ),
        "## Functions\n\nWhere a function takes a `kaggle_competition_id`, it takes the slug, in capitals or not, "
        "or a URL.\n\n### Asking for a sync\n",
        *calls(ASKING),
        "### The past\n",
        *calls(PAST),
        "### The standing of an event\n\nThe view [kaggle.event_standings](#kaggleevent_standings) shows it now.\n",
        *calls(STANDINGS),
        "### Seasons and ratings\n\n[ratings.md](ratings.md) explains both with an example.\n",
        *calls(SEASONS),
        "### Names\n",
        *calls(NAMES),
        "### For the owner of the schema\n",
        *calls(OWNING),
        CHANNEL,
        "## Below the views\n\nThe role `pgleaderboard_reader` may read these, but their shape is not fixed.\n",
        *tables(KNOWN),
    ]
    assert not relations, f"in no list of tools/reference.py: {sorted(relations)}"
    assert not functions, f"in no list of tools/reference.py: {sorted(functions)}"
    whole = "\n".join(part.rstrip("\n") + "\n" for part in parts)
    return whole.replace("timestamp with time zone", "timestamptz")


def _table(db: Connection, oid: int) -> str:
    lines = ["| column | type | default | meaning |", "| --- | --- | --- | --- |"]
    columns = db.execute(_COLUMNS, (oid,)).fetchall()
    if not any(default for *_, default, _ in columns):
        lines = ["| column | type | meaning |", "| --- | --- | --- |"]
        lines += [f"| `{name}` | {kind} | {_cell(comment)} |" for name, kind, _, _, comment in columns]
    else:
        lines += [
            f"| `{name}` | {kind} | {_default(default, not_null)} | {_cell(comment)} |"
            for name, kind, not_null, default, comment in columns
        ]
    return "\n".join(lines) + "\n"


def _default(default: str | None, not_null: bool) -> str:
    if default is None:
        return "" if not_null else "null"
    return default if default == "a new number" else f"`{default.split('::')[0]}`"


def _function(name: str, arguments: str, result: str, comment: str) -> str:
    if result.startswith("TABLE("):
        gives = "rows of `" + result.removeprefix("TABLE(").removesuffix(")") + "`"
    elif result.startswith("SETOF "):
        gives = f"rows as of {_link(result.removeprefix('SETOF '))}"
    elif result == "void":
        gives = "nothing"
    elif result.startswith("kaggle."):
        gives = f"a row as of {_link(result)}"
    else:
        gives = f"`{result}`"
    return f"#### kaggle.{name}({arguments})\n\n{comment}\n\nGives {gives}.\n"


def _link(relation: str) -> str:
    return f"[{relation}](#{relation.replace('.', '')})"


def _cell(comment: str) -> str:
    return " ".join(comment.split()).replace("|", "\\|")


def write() -> None:
    """Make a database, ask it, and write the page."""
    with tempfile.TemporaryDirectory() as made:
        home = Path(made)
        home.chmod(0o755)  # as root, PostgreSQL runs as another user and must pass through
        with embedded.running(home, extra_options={"fsync": "off"}) as server:
            migrate.migrate(server.url())
            with psycopg.connect(server.url()) as db:
                PAGE.write_text(page(db), encoding="utf-8")


if __name__ == "__main__":
    write()
