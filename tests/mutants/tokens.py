"""The words of a statement, and what encloses them."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

# Not Pygments: it reads a body as a text where LANGUAGE stands more than 100 characters before it. Not pglast: the GPL.
_WORD = re.compile(
    r"""
    (?P<comment> --[^\n]* | /\*.*?\*/ )
    | (?P<text> [eE]?'(?:[^']|'')*' | (?<=\ IS\ )\$\$.*?\$\$ )
    | \$\$ | \$\d+
    | "[^"]*" | [^\W\d]\w*
    | \d+(?:\.\d+)?
    | [-+*/<>=~!@\#%^&|?:]+
    | \S
    """,
    re.VERBOSE | re.DOTALL,
)
_OPENING = {"(": ")", "[": "]", "CASE": "END"}


_AROUND_BETWEEN = {"BETWEEN", "AND", "OR", "WHERE", "ON", "WHEN", "IF", "ELSIF", "SELECT", "THEN", ";"}


@dataclass(frozen=True)
class Token:
    """A word of SQL outside of comments. A text is one token."""

    start: int  # offset in the file, in characters
    text: str
    is_text: bool
    depth: int  # brackets and CASEs around it
    in_body: bool  # between dollar quotes

    @property
    def end(self) -> int:
        """The offset behind it."""
        return self.start + len(self.text)


def tokens(sql: str) -> list[Token]:
    """Read a file of sql/. The body of a function is code; its dollar quotes are no tokens."""
    found: list[Token] = []
    enclosing: list[str] = []
    in_body = False
    for match in _WORD.finditer(sql):
        start, text, is_text = match.start(), match[0], match["text"] is not None
        if match["comment"]:
            continue
        if text == "$$":
            in_body, enclosing = not in_body, []
            continue
        if not is_text and enclosing and text == enclosing[-1]:
            enclosing.pop()
        found.append(Token(start, text, is_text, len(enclosing), in_body))
        if not is_text and text in _OPENING:
            enclosing.append(_OPENING[text])
    return found


@dataclass(frozen=True)
class Words:
    """The tokens of one statement. An index that is out of range is an empty token."""

    all: list[Token]

    def text(self, index: int) -> str:
        """The text of a token; empty for a text in quotes."""
        if not 0 <= index < len(self.all) or self.all[index].is_text:
            return ""
        return self.all[index].text

    def begin_of(self, index: int, ends: Collection[str]) -> int:
        """The first token of the expression before this one, which reaches back to one of `ends` or a bracket."""
        depth, at = self.all[index].depth, index
        while at > 0:
            before = self.all[at - 1]
            if before.depth < depth or (before.depth == depth and self._ends(at - 1, ends)):
                break
            at -= 1
        return at

    def end_of(self, index: int, ends: Collection[str]) -> int:
        """The token after the expression that begins here, which reaches to one of `ends` or a bracket."""
        if index >= len(self.all):
            return index
        depth, at = self.all[index].depth, index
        while at < len(self.all):
            token = self.all[at]
            if token.depth < depth or (token.depth == depth and self._ends(at, ends)):
                break
            at += 1
        return at

    def _ends(self, index: int, ends: Collection[str]) -> bool:
        if self.text(index) == "FROM" and self.text(index - 1) == "DISTINCT":
            return False
        return self.text(index) in ends and not self.is_of_between(index)

    def is_of_between(self, index: int) -> bool:
        """Whether this is the AND of a BETWEEN."""
        if self.text(index) != "AND":
            return False
        before = (token for token in reversed(self.all[:index]) if token.depth <= self.all[index].depth)
        words = (token.text for token in before if not token.is_text)
        return next((word for word in words if word in _AROUND_BETWEEN), "") == "BETWEEN"
