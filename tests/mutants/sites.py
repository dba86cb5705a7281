"""The statements of sql/, and all mutants of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.mutants.changes import Change, changes
from tests.mutants.tokens import Token, Words, tokens

ROOT = Path(__file__).resolve().parents[2]
SQL = ROOT / "sql"


@dataclass(frozen=True)
class Statement:
    """A CREATE OR REPLACE of a file in sql/."""

    file: str
    sql: str  # of the whole file
    words: Words

    @property
    def kind(self) -> str:
        """FUNCTION, VIEW or TRIGGER."""
        return self.words.text(3)

    @cached_property
    def name(self) -> str:
        """The function or view, with its schema; of a trigger the function that it calls."""
        first = 4
        if self.kind == "TRIGGER":
            first = 2 + next(at for at, token in enumerate(self.words.all) if token.text == "EXECUTE")
        return "".join(token.text for token in self.words.all[first : first + 3])

    @property
    def text(self) -> str:
        """As it stands in the file, with its semicolon."""
        return self.sql[self.words.all[0].start : self.words.all[-1].end]


@dataclass(frozen=True)
class Mutant:
    """A statement with one change."""

    statement: Statement
    change: Change

    @property
    def sql(self) -> str:
        """The statement to run."""
        begin, end = self.statement.words.all[0].start, self.statement.words.all[-1].end
        sql, change = self.statement.sql, self.change
        return sql[begin : change.start] + change.new + sql[change.end : end]

    @property
    def line(self) -> int:
        """The line of the file, from 1."""
        return self.statement.sql.count("\n", 0, self.change.start) + 1

    @property
    def place(self) -> str:
        """File and line, for people."""
        return f"sql/{self.statement.file}:{self.line}"

    @property
    def lines(self) -> tuple[str, str]:
        """The lines around the change, before and after, on one line each."""
        sql, change = self.statement.sql, self.change
        begin = sql.rfind("\n", 0, change.start) + 1
        end = sql.find("\n", change.end)
        before, after = sql[begin:end], sql[begin : change.start] + change.new + sql[change.end : end]
        return " ".join(before.split()), " ".join(after.split())


def statements(folder: Path = SQL) -> Iterator[Statement]:
    """All that can be replaced; neither grants nor what a DO does."""
    for path in sorted(folder.glob("*.sql")):
        sql = path.read_text()
        for words in _split(tokens(sql)):
            if [token.text for token in words[:3]] == ["CREATE", "OR", "REPLACE"]:
                yield Statement(path.name, sql, Words(words))


def _split(words: list[Token]) -> Iterator[list[Token]]:
    begin, is_atomic = 0, False
    for at, token in enumerate(words):
        if token.text == "ATOMIC" and not token.is_text:
            is_atomic = not token.in_body
        if token.text == ";" and not token.in_body and (not is_atomic or words[at - 1].text == "END"):
            yield words[begin : at + 1]
            begin, is_atomic = at + 1, False


def mutants(folder: Path = SQL, prefix: str = "") -> list[Mutant]:
    """Every mutant of the files that begin with a prefix, each once, in their order."""
    found = {
        (statement.file, change): Mutant(statement, change)
        for statement in statements(folder)
        if statement.file.startswith(prefix)
        for change in changes(statement.words)
    }
    return [mutant for mutant in found.values() if mutant.lines[0] != mutant.lines[1]]
