"""What can be changed in a statement, and into what.

A change may turn out not to be SQL (`SET a <> b`); the server refuses it then, and it is no mutant.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.mutants.tokens import Words


@dataclass(frozen=True)
class Change:
    """Characters from `start` to `end` of the file are replaced."""

    start: int
    end: int
    new: str


_COMPARISONS = {
    "=": ["<>"],
    "<>": ["="],
    "<": ["<=", ">="],
    "<=": ["<", ">"],
    ">": [">=", "<="],
    ">=": [">", "<"],
    "~": ["!~"],
    "!~": ["~"],
    "~*": ["!~*"],
}
_CLOCKS = {"clock_timestamp", "statement_timestamp", "now"}
_ARITHMETIC = {"+": "-", "-": "+", "*": "/", "/": "*"}
_FUNCTIONS = {
    "min": "max",
    "max": "min",
    "least": "greatest",
    "greatest": "least",
    "bool_and": "bool_or",
    "bool_or": "bool_and",
    "lag": "lead",
    "lead": "lag",
    "first_value": "last_value",
    "last_value": "first_value",
    "floor": "ceil",
    "ceil": "floor",
}
# Where a condition, or a list of expressions, comes to its end.
_CLAUSES = frozenset(
    {"SELECT", "INTO", "FROM", "WHERE", "ON", "HAVING", "GROUP", "ORDER", "ASC", "DESC", "NULLS", "LIMIT", "OFFSET"}
    | {"WINDOW", "ROWS", "RANGE", "UNION", "EXCEPT", "INTERSECT", "JOIN", "LEFT", "CROSS", "FULL", "FOR", "AS", "USING"}
    | {"SET", "VALUES", "RETURNING", "DO", "WHEN", "THEN", "ELSE", "IF", "ELSIF", "WHILE", "EXIT", "LOOP", "RETURN"}
    | {"PERFORM", ":=", ",", ";"}
)
_OR = _CLAUSES | {"OR"}
_AND = _OR | {"AND"}
_STATEMENTS = {"PERFORM", "INSERT", "UPDATE", "DELETE", "RAISE", "LOCK", "WITH", "TRUNCATE", "CALL"}
_JOINED_BY = {"LEFT", "RIGHT", "FULL", "CROSS", "INNER", "OUTER", "NATURAL"}


def changes(words: Words) -> Iterator[Change]:
    """All changes of one statement; of a function, in its body only, and in its defaults."""
    for index in range(_body(words), len(words.all)):
        if words.all[index].is_text:
            yield from _of_text(words, index)
        else:
            yield from _of_words(words, index)
            yield from _of_conditions(words, index)
            yield from _of_lists(words, index)
            yield from _of_statements(words, index)
    for index in range(_body(words)):
        if words.text(index - 1) == "DEFAULT":
            yield from _of_constants(words, index)


def _body(words: Words) -> int:
    """The first token that is no declaration."""
    if words.text(3) != "FUNCTION":
        return 4
    tokens = enumerate(words.all)
    return next((at for at, token in tokens if token.in_body or token.text in ("RETURN", "BEGIN")), len(words.all))


def _swap(words: Words, first: int, last: int, new: str) -> Change:
    """The tokens from first to last, both included, become `new`."""
    return Change(words.all[first].start, words.all[last].end, new)


def _of_text(words: Words, index: int) -> Iterator[Change]:
    if words.text(index - 1) == "interval":
        yield _swap(words, index, index, words.all[index].text + " * 2")


def _of_constants(words: Words, index: int) -> Iterator[Change]:
    text = words.text(index)
    if text.isdecimal():
        yield _swap(words, index, index, str(int(text) + 1))
    elif text in ("true", "false"):
        yield _swap(words, index, index, "false" if text == "true" else "true")


def _of_words(words: Words, index: int) -> Iterator[Change]:
    """Comparisons, NULL tests, EXISTS, joins, locks, arithmetic, functions, constants."""
    text, before, after = words.text(index), words.text(index - 1), words.text(index + 1)
    yield from _of_constants(words, index)
    if text in _COMPARISONS:
        yield from _of_comparison(words, index)
    elif text in _ARITHMETIC and _is_operand(words, index - 1):
        yield _swap(words, index, index, _ARITHMETIC[text])
    elif text in _FUNCTIONS and after == "(" and before != ".":
        yield _swap(words, index, index, _FUNCTIONS[text])
    elif text == "coalesce":
        end = words.end_of(index + 2, [","])
        if words.text(end) == ",":
            yield Change(words.all[end].start, words.all[words.end_of(index + 2, [])].start, "")
    elif text == "IS" and after in ("NULL", "DISTINCT", "TRUE", "FALSE"):
        yield _swap(words, index, index, "IS NOT")
    elif text == "NOT":
        yield Change(words.all[index].start, words.all[index + 1].start, "")
    elif text == "EXISTS" and before not in ("NOT", "IF"):
        yield _swap(words, index, index, "NOT EXISTS")
    elif text == "IN" and after == "(" and before != "NOT" and words.text(index - 2) != "FOR":
        yield _swap(words, index, index, "NOT IN")
    elif text == "DISTINCT" and before in ("SELECT", "(") and after != "ON":
        yield Change(words.all[index].start, words.all[index + 1].start, "")
    elif text == "JOIN" and before not in _JOINED_BY:
        yield _swap(words, index, index, "LEFT JOIN")
    elif text == "LEFT" and after == "JOIN":
        yield _swap(words, index, index + 1, "JOIN")
    elif text == "FULL" and after == "JOIN":
        yield _swap(words, index, index, "LEFT")
    elif text == "UNION":
        yield _swap(words, index, index + (after == "ALL"), "UNION" if after == "ALL" else "UNION ALL")
    elif text == "FOR":
        yield from _of_lock(words, index)
    elif text == "CONFLICT" and words.text(index + 1) == "DO" and words.text(index + 2) == "NOTHING":
        yield _swap(words, index - 1, index + 2, "")


def _of_comparison(words: Words, index: int) -> Iterator[Change]:
    if words.text(index) == "=" and words.text(index + 1) == "ANY":
        yield _swap(words, index, index + 1, "<> ALL")
        return
    beside = words.all[words.begin_of(index, _AND) : words.end_of(index, _AND)]
    # Nothing happens in the very microsecond of the clock.
    with_clock = any(token.text in _CLOCKS for token in beside)
    yield from (_swap(words, index, index, new) for new in _COMPARISONS[words.text(index)][with_clock and -1 :])


def _is_operand(words: Words, index: int) -> bool:
    """Whether an operator behind this token has a left side; `*` alone means all columns."""
    text = words.all[index].text if index >= 0 else ""
    return text.isdecimal() or text in (")", "]", "END") or text.islower() or words.all[index].is_text


def _of_lock(words: Words, index: int) -> Iterator[Change]:
    last = index + 1
    while words.text(last) in ("NO", "KEY"):
        last += 1
    if words.text(last) not in ("UPDATE", "SHARE"):
        return
    clause = last
    if words.text(clause + 1) == "OF":
        clause = words.end_of(clause + 2, _CLAUSES | {"SKIP", "NOWAIT"}) - 1
    if words.text(clause + 1) == "NOWAIT":
        clause += 1
    elif words.text(clause + 1) == "SKIP":
        yield _swap(words, clause + 1, clause + 2, "")
        clause += 2
    yield _swap(words, index, clause, "")
    if words.text(last) == "UPDATE":
        yield _swap(words, index, last, "FOR SHARE")


def _of_conditions(words: Words, index: int) -> Iterator[Change]:
    """AND and OR, a condition left out, and the opposite of one."""
    text = words.text(index)
    if text in ("AND", "OR") and not words.is_of_between(index):
        begin = words.begin_of(index, _AND if text == "AND" else _OR)
        end = words.end_of(index + 1, _AND if text == "AND" else _OR)
        yield _swap(words, index, index, "OR" if text == "AND" else "AND")
        yield _swap(words, index, end - 1, "")
        if words.text(begin - 1) != text:
            yield _swap(words, begin, index, "")
    elif text in ("WHERE", "HAVING"):
        end = words.end_of(index + 1, _AND)
        if words.text(end) not in ("AND", "OR"):
            yield _swap(words, index + 1, end - 1, "true")
    elif text in ("IF", "ELSIF", "WHEN") and words.text(index - 1) != "END":
        end = words.end_of(index + 1, _CLAUSES)
        inside = {words.text(at) for at in range(index + 1, end)}
        if words.text(end) == "THEN" and not inside & {"AND", "OR", "NOT", "IS", "EXISTS", "IN", "", *_COMPARISONS}:
            yield Change(words.all[index + 1].start, words.all[end - 1].end, f"NOT ({_plain(words, index + 1, end)})")


def _plain(words: Words, begin: int, end: int) -> str:
    """Tokens as text; spaces between them do not matter, but there are none around dots."""
    return " ".join(token.text for token in words.all[begin:end]).replace(" . ", ".")


def _of_lists(words: Words, index: int) -> Iterator[Change]:
    """The direction of an ORDER BY, and a column of an UPDATE left out."""
    if words.text(index) == "BY" and words.text(index - 1) == "ORDER":
        at = index
        while words.text(at) in ("BY", ","):
            at = words.end_of(at + 1, _CLAUSES)
            if words.text(at) == "DESC":
                yield _swap(words, at, at, "")
                at += 1
            elif words.text(at) != "ASC":
                yield Change(words.all[at - 1].end, words.all[at - 1].end, " DESC")
    if words.text(index) == "SET" and words.text(index - 1) not in (";", "BEGIN", ""):
        at, items = index, []
        while words.text(at) in ("SET", ","):
            items.append((at, words.end_of(at + 1, _CLAUSES)))
            at = items[-1][1]
        if len(items) > 1:
            yield Change(words.all[index + 1].start, words.all[items[1][0] + 1].start, "")
            yield from (_swap(words, comma, end - 1, "") for comma, end in items[1:])


def _of_statements(words: Words, index: int) -> Iterator[Change]:
    """A statement of PL/pgSQL left out."""
    if words.text(index - 1) not in (";", "BEGIN", "THEN", "ELSE", "LOOP") or words.all[index].depth:
        return
    is_declared = not any(words.text(at) == "BEGIN" for at in range(index))
    is_statement = words.text(index) in _STATEMENTS or words.text(index + 1) == ":=" or words.text(index + 3) == ":="
    if is_statement and not is_declared and words.all[index].in_body:
        yield _swap(words, index, words.end_of(index, [";"]) - 1, "NULL")
