"""docs/reference.md says what the comments in the database say."""

from __future__ import annotations

from tests.support.aliases import Connection
from tools import reference


def test_the_reference_is_current(db: Connection) -> None:
    """Every table, view, column and function of the database as it is made now, in its place."""
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page(db), "docs/reference.md is old: make docs"


def test_whoever_reads_it_finds_what_a_reader_and_an_editor_may_use(db: Connection) -> None:
    """The schema that they see holds what the page names, and nothing else."""
    page = reference.page(db)
    for role, right in (("reader", "SELECT"), ("editor", "INSERT")):
        names = db.execute(
            "SELECT oid::regclass::text FROM pg_class WHERE relnamespace::regnamespace::text ~ '^kaggle' "
            "AND relkind IN ('r', 'v') AND has_table_privilege(%s, oid, %s)",
            (f"pgleaderboard_{role}", right),
        ).fetchall()
        assert names != []
        assert [name for (name,) in names if f"\n### {name}\n" not in page] == []
