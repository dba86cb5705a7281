"""That the harness runs and its table can be read; no time is looked at."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from tests.bench import report
from tests.bench.report import BEGIN, END, Figure
from tests.bench.run import ROWS, run
from tests.bench.timing import exponent
from tests.bench.world import Scale


def test_one_row_is_measured_and_shown(tmp_path: Path) -> None:
    """A quick run of one row gives its figures, for the terminal, as Markdown between the markers, and as JSON."""
    measured = run(Scale(quick=True), only=["every score"])

    assert measured.failures == []
    figure, growth = measured.figures
    assert growth.against == "the tenth"
    assert (figure.row, figure.target) == (7, "≤ 17 ×")
    assert figure.ratio is not None
    assert figure.met == (figure.ratio <= 17)
    assert len(figure.samples["ours"]) == len(figure.samples["floor"]) >= 5

    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(report.table(measured.figures))
    assert figure.work in console.export_text()

    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    report.write_markdown(page, report.markdown(measured.figures, measured.about, quick=True))
    written = page.read_text()
    assert written.startswith(f"before\n{BEGIN}\n*A trial run")
    assert written.endswith(f"{END}\nafter\n")
    assert "| 7 | sync in which every score" in written
    assert "old" not in written

    file = tmp_path / "bench.json"
    report.write_json(file, measured.figures, measured.about)
    assert json.loads(file.read_text())["figures"][0]["samples"] == figure.samples


def test_a_page_without_markers_is_left_alone(tmp_path: Path) -> None:
    """The table is put between its markers or nowhere."""
    page = tmp_path / "page.md"
    page.write_text("a page\n")
    with pytest.raises(SystemExit, match="lacks the markers"):
        report.write_markdown(page, "a table")
    assert page.read_text() == "a page\n"


def test_every_row_of_the_table_is_there() -> None:
    """Each once; 15 and 18, the history on disk, are measured with 16."""
    assert [row.number for row in ROWS] == [n for n in range(1, 25) if n not in (15, 18)]


def test_a_missed_target_shows() -> None:
    """What is over its limit says no, in the unit it was given in."""
    assert report.within(5, "work", 17, 16, "KiB").cells[-2:] == ("≤ 16 KiB", "no")
    assert report.at_most(4, "work", "COPY", [5.0], [1.0], 4).cells[-3:] == ("5.00 ×", "≤ 4 ×", "no")
    assert report.at_least(9, "work", "a loop", [1.0], [60.0], 50).cells[-3:] == ("60 ×", "≥ 50 ×", "yes")
    assert Figure(15, "work", target="reported").cells[-1] == "–"


def test_the_exponent_is_that_of_the_growth() -> None:
    """Ten times the teams in ten times the time is 1, in a hundred times 2."""
    assert exponent([10, 100, 1000], [3.0, 30.0, 300.0]) == pytest.approx(1)
    assert exponent([10, 100], [1.0, 100.0]) == pytest.approx(2)
