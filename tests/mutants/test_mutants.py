"""That the tool finds what can be changed, and that a mutant is noticed by a test that covers it, or survives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mutants import explained
from tests.mutants.covering import Cover
from tests.mutants.sites import SQL, Mutant, mutants, statements
from tests.mutants.slot import Slot, slot

FUNCTION = """\
CREATE OR REPLACE FUNCTION f(a integer DEFAULT 3) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_temp AS $$
BEGIN
    -- a < b AND NOT c
    IF a BETWEEN 1 AND 2 AND s <> 'x < y AND z' THEN
        PERFORM g(a);
    END IF;
    RETURN EXISTS (SELECT FROM t LEFT JOIN u USING (id) WHERE t.at < clock_timestamp() ORDER BY t.x, t.y DESC LIMIT 1
                   FOR UPDATE OF t SKIP LOCKED);
END $$;
COMMENT ON FUNCTION f(integer) IS 'a < b AND c';
"""


def _changed(folder: Path) -> set[tuple[str, str]]:
    """What is changed, and into what."""
    return {(each.statement.sql[each.change.start : each.change.end], each.change.new) for each in mutants(folder)}


def test_what_can_be_changed(tmp_path: Path) -> None:
    """Code is changed, one thing at a time; comments, texts and the AND of a BETWEEN are not."""
    (tmp_path / "010_f.sql").write_text(FUNCTION)
    changed = _changed(tmp_path)

    assert changed >= {
        ("3", "4"),
        ("AND", "OR"),
        ("<>", "="),
        ("AND s <> 'x < y AND z'", ""),
        ("a BETWEEN 1 AND 2 AND", ""),
        ("PERFORM g(a)", "NULL"),
        ("EXISTS", "NOT EXISTS"),
        ("LEFT JOIN", "JOIN"),
        ("t.at < clock_timestamp()", "true"),
        ("<", ">="),
        ("", " DESC"),
        ("DESC", ""),
        ("FOR UPDATE", "FOR SHARE"),
        ("SKIP LOCKED", ""),
        ("FOR UPDATE OF t SKIP LOCKED", ""),
    }
    assert ("<", "<=") not in changed  # the microsecond of the clock
    assert sum(each == ("AND", "OR") for each in changed) == 1
    assert {each.line for each in mutants(tmp_path)} == {1, 5, 6, 8, 9}


def test_each_file_of_sql_is_read() -> None:
    """No statement is lost: there are as many as lines that begin one, and all can be changed somewhere but grants."""
    begun = sum(path.read_text().count("\nCREATE OR REPLACE ") for path in SQL.glob("*.sql"))
    assert len(list(statements())) == begun
    assert {each.statement.file for each in mutants()} == {path.name for path in SQL.glob("*.sql")} - {"900_grants.sql"}


def test_an_explanation_is_of_one_change(tmp_path: Path) -> None:
    """An entry of mutants.md names the function and the line as it is; another line is another mutant."""
    (tmp_path / "010_f.sql").write_text(FUNCTION)
    first, second = mutants(tmp_path)[:2]
    page = tmp_path / "mutants.md"
    page.write_text(f"# Mutants\n\n{explained.entry(first)} Nobody calls it.\n{explained.entry(second)}\n")
    assert explained.explained(page) == {explained.entry(first): "Nobody calls it."}


def test_explanations_are_of_changes_that_exist() -> None:
    """A line that was changed in sql/ has lost its explanation."""
    assert explained.explained().keys() <= {explained.entry(each) for each in mutants()}


@pytest.fixture
def one_slot() -> Iterator[Slot]:
    """A slot of our own."""
    with slot(statements()) as made:
        yield made


def _of(name: str, line: str, change: str) -> Mutant:
    return next(each for each in mutants() if each.statement.name == name and each.lines == (line, change))


def test_a_mutant_is_noticed_or_survives(one_slot: Slot, tmp_path: Path) -> None:
    """What a test calls is noted; it fails for a change in that, and passes where the change means nothing to it.

    What it leaves behind is removed, also where it hangs.
    """
    test = "tests/sql/test_import.py::test_a_list_of_slugs_and_urls"
    cover = Cover()
    cover.note(one_slot, "tests/sql/test_import.py", [test])
    assert cover.tests[test].outcome == "passed"
    assert "kaggle.import_competitions" in cover.tests[test].calls
    assert "kaggle.drop_board" not in cover.tests[test].calls

    order = 'ORDER BY lower(t.slug COLLATE "C"), g.place) n'
    last = _of("kaggle.import_competitions", order, order.replace("g.place", "g.place DESC"))
    order = 'ORDER BY lower(n.slug COLLATE "C")'
    inserted = _of("kaggle.import_competitions", order, f"{order} DESC")
    assert cover.covering(last.statement, [test]) == [test]
    noticed = one_slot.try_mutant(last.sql, [test], 60)
    assert noticed.failure
    assert noticed.failure[0] == test
    assert "titanic" in noticed.failure[1]
    assert one_slot.try_mutant(inserted.sql, [test], 60).failure is None

    hanging = last.sql.replace("event events;", "event events := (SELECT NULL::events FROM pg_sleep(3600));")
    assert one_slot.try_mutant(hanging, [test], 1).failure == (test, "hangs")
    assert one_slot.refusal("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELEC'")
    assert one_slot.refusal(last.sql) is None
