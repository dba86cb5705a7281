"""Answers requests: which address is which page, whom the page is for, and what a browser may do with it."""

from __future__ import annotations

import gzip
import ipaddress
import logging
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from pgleaderboard.database.connect import ConnectionLost, explained
from pgleaderboard.errors import NeedsPerson, Transient
from pgleaderboard.web.hub import Hub, Viewer
from pgleaderboard.web.page import ASSETS, RELEASE, TYPES, Elsewhere, File, Page, Refusal, tag_of
from pgleaderboard.web.pages import boards, events, past, people, screens, seasons, teams
from pgleaderboard.web.reader import Busy
from pgleaderboard.web.request import Asked
from pgleaderboard.web.reveals import Reveals
from pgleaderboard.web.source import Source

log = logging.getLogger(__name__)

RENDERED = 512  # documents that are kept
RETRY_AFTER = 2  # seconds
_CONTENT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; require-trusted-types-for 'script'; trusted-types live; frame-ancestors "
)
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
]
_ALONE = [*_HEADERS, (b"content-security-policy", f"{_CONTENT}'none'".encode()), (b"x-frame-options", b"DENY")]
_FRAMED = [*_HEADERS, (b"content-security-policy", f"{_CONTENT}*".encode())]

_STEP = re.compile("/e/(?P<slug>[^/]+)/reveal")

Make = Callable[[Source, Asked], Awaitable[Page | File]]

PAGES: dict[str, Make] = {
    "/": boards.index,
    "/c/{slug}.csv": boards.csv,
    "/c/{slug}.json": boards.json,
    "/c/{slug}": boards.board,
    "/c/{slug}/at": past.step,
    "/c/{slug}/at/{moment}": past.board,
    "/c/{slug}/teams/{team}": teams.team,
    "/c/{slug}/rows": teams.rows,
    "/c/{slug}/chart": teams.chart_of,
    "/c/{slug}/movers": past.movers,
    "/c/{slug}/shakeup": past.shakeup,
    "/people/{name}": people.person,
    "/season.csv": seasons.season_as_csv,
    "/season.json": seasons.season_as_json,
    "/season": seasons.season,
    "/ratings.csv": seasons.ratings_as_csv,
    "/ratings.json": seasons.ratings_as_json,
    "/ratings": seasons.ratings,
    "/e/{slug}.csv": events.csv,
    "/e/{slug}.json": events.json,
    "/e/{slug}": events.event,
    "/e/{slug}/at/{moment}": events.event_at,
    "/embed/c/{slug}": boards.board,
    "/embed/e/{slug}": events.event,
}


@dataclass(frozen=True)
class _Document:
    """A rendered page."""

    basis: Hashable
    plain: bytes
    packed: bytes
    tag: str


@dataclass
class Site:
    """The ASGI application. url: under which people open it. public: where phones find it, None = nowhere.

    hosts: the names under which it is served. takes_numbers: also under any address in numbers, which no foreign site
    can pretend to have.
    """

    source: Source
    hosts: frozenset[str]
    takes_numbers: bool
    url: str
    reveals: Reveals
    public: str | None
    hub: Hub = field(init=False)
    requests: int = 0
    hits: int = 0

    def __post_init__(self) -> None:
        self.hub = Hub(self.source, f"retry: 2000\nevent: release\ndata: {RELEASE}\n\n")
        self._documents: OrderedDict[Hashable, _Document] = OrderedDict()
        pages: dict[str, Make] = PAGES | {
            "/c/{slug}/screen": partial(screens.board, public=self.public),
            "/e/{slug}/screen": partial(screens.event, public=self.public),
            "/e/{slug}/reveal": partial(events.reveal, reveals=self.reveals),
        }
        self._routes = [Route(path, endpoint=make, methods=None) for path, make in pages.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return
        self.requests += 1
        has_begun = False

        async def send_safely(message: Any) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                safe = _FRAMED if scope["path"].startswith("/embed/") else _ALONE
                message["headers"] = [*message.get("headers", ()), *safe]
            await send(message)

        try:
            response = await self._response(scope, receive, send_safely, send)
        except Exception:
            if has_begun:
                raise
            log.exception("a page failed: %s", scope["path"])
            response = self._refused(500, "This page failed: that is a fault of the program.")
        if response is not None:
            await response(scope, receive, send_safely)

    async def _response(self, scope: Scope, receive: Receive, send: Send, send_on: Send) -> Response | None:
        # send_on: once the headers are sent
        request = Request(scope)
        host = request.headers.get("host", "")
        if not self._is_ours(host):
            return PlainTextResponse(
                f"This page is not served as {host!r}; pgleaderboard serve --allowed-host NAME allows a name.\n", 421
            )
        if scope["method"] == "POST" and (step := _STEP.fullmatch(scope["path"])):
            return await self._stepped(Request(scope, receive), step["slug"])
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("Only GET and HEAD are answered.\n", 405, {"Allow": "GET, HEAD"})
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            return self._refused(400, "An address holds no null characters.")
        if scope["path"].startswith("/live/"):
            return await self._stream(scope, request, send, send_on)
        return await self._answer(scope, request)

    def _is_ours(self, host: str) -> bool:
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        name = name.strip("[]").lower().removesuffix(".")
        return name in self.hosts or (self.takes_numbers and _is_number(name))

    async def _stepped(self, request: Request, slug: str) -> Response:
        """The presenter's step: the only request that changes something, which is not in the database."""
        if not self.reveals.is_key(request.query_params.get("key", "")):
            return PlainTextResponse("Only the presenter's key can do that.\n", 403)
        body = b""
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > 100:
                    return PlainTextResponse("Too long.\n", 413)
        except ClientDisconnect:
            return PlainTextResponse("Too short.\n", 400)
        form = parse_qs(body.decode("ascii", "replace"))
        asked = Asked(request.url.path, {"slug": slug})
        try:
            event, told = await events.revealed(self.source, asked)
            begun, to = (_position(form[name][0]) for name in ("from", "to"))
        except (LookupError, ValueError):
            return PlainTextResponse("A step goes from a position to the next one, or back.\n", 400)
        except Refusal as error:
            return self._refused(404, str(error))
        except NeedsPerson as error:
            return self._unshown(error)
        except Elsewhere:
            return self._refused(404, "The standing is not frozen: there is nothing to reveal.")
        except (Busy, Transient, ConnectionLost):
            return self._refused(503, "The database is out of reach: try again in a moment.")
        assert event.frozen_at is not None
        so_far = list(self.reveals.of(event.id, event.frozen_at))
        left = told.left(so_far)
        # A second press of the same button goes nowhere.
        if begun == len(so_far):
            if to == begun + 1 and left:
                self.reveals.keep(event.id, event.frozen_at, [*so_far, left[0]])
            elif to == begun - 1:
                self.reveals.keep(event.id, event.frozen_at, so_far[:-1])
            self.source.changed.set()
        return RedirectResponse(f"{request.url.path}?key={self.reveals.key}", 303)

    async def _answer(self, scope: Scope, request: Request) -> Response:
        path: str = scope["path"]
        if path == "/healthz":
            return PlainTextResponse("alive\n")
        if path == "/readyz":
            away = self.source.reach.since
            return PlainTextResponse("ready\n" if not away else "the database is out of reach\n", 503 if away else 200)
        if path.startswith("/static/"):
            return _asset(path)
        page, key = self._page(scope, path)
        try:
            return self._rendered(request, key, await self._made(page))
        except Elsewhere as elsewhere:
            return RedirectResponse(elsewhere.address, 302)
        except Refusal as refusal:
            return self._refused(refusal.status, str(refusal), refusal.instead)
        except NeedsPerson as error:
            return self._unshown(error)
        except (Busy, Transient):
            return self._refused(503, "Too many people ask for this at once: try again in a moment.")
        except ConnectionLost as error:
            log.debug("a page was not read: %s", explained(error))  # that the database is away is told once
            return self._refused(503, "The database is out of reach: try again in a moment.")

    def _unshown(self, error: NeedsPerson) -> Response:
        log.info("a page cannot be shown: %s", error)  # what it says is for those who run this
        return self._refused(404, "This cannot be shown: it is gone, or its past was pruned.")

    async def _made(self, page: Callable[[], Awaitable[Page | File]]) -> Page | File:
        """The page. What seems unknown may have been inserted a moment ago."""
        try:
            return await page()
        except Refusal:
            if not await self.source.catch_up():
                raise
            return await page()

    def _page(self, scope: Scope, path: str) -> tuple[Callable[[], Awaitable[Page | File]], Hashable]:
        """What makes the page of an address, and what tells the address from others."""
        query = Request(scope).query_params
        for route in self._routes:
            match, child = route.matches({"type": "http", "path": path, "method": "GET"} | {"root_path": ""})
            if match is Match.FULL:
                asked = Asked(path, child["path_params"], {k: v for k, v in query.items() if k != "have"})
                make: Make = route.endpoint
                return partial(make, self.source, asked), (path, tuple(sorted(asked.query.items())))

        async def unknown() -> Page:
            raise Refusal(404, "There is no such page.")

        return unknown, path

    def _rendered(self, request: Request, key: Hashable, page: Page | File) -> Response:
        document = self._documents.get(key)
        if document is None or document.basis != page.basis:
            html = page.html()
            document = _Document(page.basis, html.encode(), gzip.compress(html.encode(), 6, mtime=0), tag_of(html))
            self._documents[key] = document
        else:
            self.hits += 1
        self._documents.move_to_end(key)
        if len(self._documents) > RENDERED:
            self._documents.popitem(last=False)
        packed = _takes_gzip(request)
        tag = f'"{document.tag}-gzip"' if packed else f'"{document.tag}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        known = request.headers.get("if-none-match", "")
        if tag in known or known.strip() == "*":
            return Response(status_code=304, headers=headers)
        if packed:
            headers["Content-Encoding"] = "gzip"
            return Response(document.packed, 200, headers, page.media)
        return Response(document.plain, 200, headers, page.media)

    def _refused(self, status: int, message: str, instead: tuple[str, str] | None = None) -> Response:
        context = {"message": message, "instead": instead, "layout": "page", "watched": None}
        headers = {"Cache-Control": "no-store"} | ({"Retry-After": str(RETRY_AFTER)} if status == 503 else {})
        html = Page("refusal.html", None, lambda: context).html()
        return Response(html, status, headers, "text/html; charset=utf-8")

    async def _stream(self, scope: Scope, request: Request, send: Send, send_on: Send) -> Response | None:
        path = scope["path"].removeprefix("/live")
        page, key = self._page(scope, path)

        async def watched() -> Page:
            made = await self._made(page)
            if isinstance(made, File):
                raise Refusal(404, "A file is not watched.")
            return made

        try:
            await watched()
        except (Refusal, Elsewhere, NeedsPerson):
            return PlainTextResponse("There is no such page to watch.\n", 404)
        except (Busy, Transient, ConnectionLost):
            return PlainTextResponse("Try again in a moment.\n", 503, {"Retry-After": str(RETRY_AFTER)})
        packed = _takes_gzip(request)
        headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
            *([(b"content-encoding", b"gzip")] if packed else []),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return None
        connection = scope["state"]["connection"]
        shown = request.headers.get("last-event-id") or request.query_params.get("have", "")
        viewer = Viewer(shown, connection.transport.abort)
        connection.when_lost = viewer.leave
        await self.hub.watch(key, watched, viewer, packed=packed, send=send_on)
        return None


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _asset(path: str) -> Response:
    name = path.rpartition("/")[2]
    content = ASSETS.get(name)
    if content is None or path != f"/static/{RELEASE}/{name}":
        return PlainTextResponse("There is no such file.\n", 404)
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(content, 200, headers, TYPES[name[name.rindex(".") :]])


def _position(text: str) -> int:
    """A position in a reveal. Raises ValueError."""
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise ValueError(text)
    return int(text)


def _takes_gzip(request: Request) -> bool:
    return bool(re.search(r"\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))", request.headers.get("accept-encoding", "")))
