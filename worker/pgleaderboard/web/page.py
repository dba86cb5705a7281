"""A page before it is rendered, and the rendering."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from pgleaderboard.logs import harmless
from pgleaderboard.reading.formats import explained, number

_STATIC = Path(__file__).parent / "static"
ASSETS = {path.name: path.read_bytes() for path in sorted(_STATIC.iterdir()) if path.is_file()}
TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}


@dataclass(frozen=True)
class Page:
    """A page. basis: what it is made of; two pages of one address with the same basis are equal.

    context: makes the values of the template. The template's block `live` is what a stream sends.
    """

    template: str
    basis: Hashable
    context: Callable[[], dict[str, Any]]
    media: str = "text/html; charset=utf-8"

    def html(self) -> str:
        """The whole document."""
        template = _templates.get_template(self.template)
        context = self.context()
        live = _live(self.template, context)
        return template.render(context | {"live_part": live, "tag": tag_of(live)})

    def live(self) -> tuple[str, str]:
        """The part that changes, and its tag."""
        live = _live(self.template, self.context())
        return live, tag_of(live)


@dataclass(frozen=True)
class File:
    """A document for programs. basis: as that of a page. text: makes it."""

    basis: Hashable
    text: Callable[[], str]
    media: str

    def html(self) -> str:
        """The whole document."""
        return self.text()


class Refusal(Exception):
    """A request that has no page: 400 or 404. instead: an address that may be meant, and its name."""

    def __init__(self, status: int, message: str, instead: tuple[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.instead = status, instead


class Elsewhere(Exception):
    """The page stands at another address."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.address = address


def tag_of(html: str) -> str:
    """What tells one version from another."""
    return hashlib.blake2b(html.encode(), digest_size=9).hexdigest()


def _live(name: str, context: dict[str, Any]) -> str:
    template = _templates.get_template(name)
    return "".join(template.blocks["live"](template.new_context(context))).strip()


# The filters of the templates.


def clean(text: Any) -> str:
    """Text from outside, without control and direction-changing characters."""
    text = str(text)
    return text if text.isascii() and text.isprintable() else harmless(text)


def digits(places: Sequence[Any]) -> int:
    """How many decimals the points of a standing need, so that they stand below one another and are exact."""
    texts = (format(place.points, "f").rstrip("0") for place in places)
    return max((len(text.partition(".")[2]) for text in texts if "." in text), default=0)


def points(value: Decimal, decimals: int) -> str:
    """Points with so many decimals."""
    return format(value, f".{decimals}f")


def count(value: int, noun: str = "") -> str:
    """With separators, and its noun in the plural unless it is 1."""
    return f"{value:,}" + (f" {noun}{'s' * (value != 1)}" if noun else "")


def tenths(value: float) -> str:
    """Points or a rating, to a tenth."""
    return f"{value:,.1f}"


def signed(change: float) -> str:
    """A change of a rating, to a tenth."""
    text = f"{change:+,.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "\u2212")


def people(number: int) -> str:
    """So many persons."""
    return "1 person" if number == 1 else f"{number:,} people"


def iso(at: datetime) -> str:
    """A moment as the attribute of a time element."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def moment(at: datetime) -> str:
    """A moment to read."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def lasting(length: timedelta) -> str:
    """A length of time in its largest unit."""
    minutes = int(length.total_seconds() // 60)
    if minutes < 1:
        return "less than a minute"
    for size, unit in ((1440, "day"), (60, "hour")):
        if minutes >= 2 * size:
            return count(minutes // size, unit)
    return f"{minutes} min"


def address(text: Any) -> str:
    """A part of a path."""
    return quote(str(text), safe="")


RELEASE = tag_of("".join(f"{name}{content!r}" for name, content in ASSETS.items()))[:10]

_templates = Environment(
    loader=PackageLoader("pgleaderboard.web"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
_templates.filters.update(
    clean=clean,
    number=number,
    points=points,
    digits=digits,
    people=people,
    tenths=tenths,
    signed=signed,
    explained=explained,
    count=count,
    iso=iso,
    moment=moment,
    lasting=lasting,
    part=address,
)
_templates.globals.update(release=RELEASE, static=lambda name: f"/static/{RELEASE}/{name}")
_templates.globals["parts"] = _templates.get_template("parts.html").module
