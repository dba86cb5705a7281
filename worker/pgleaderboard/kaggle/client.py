"""Kaggle's side: the only module that knows the `kaggle` package.

Requests go through its SDK (`kagglesdk`), which sets no time-out at all and can be interrupted by nothing; an
adapter below its session adds both. `import kaggle` itself would authenticate, print and perhaps exit at import
time, so only the SDK is imported, and lazily: it takes half a second.
"""

from __future__ import annotations

import base64
import email.utils
import errno
import hashlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError as TransportError
from urllib3.exceptions import NameResolutionError
from urllib3.util.connection import allowed_gai_family

from pgleaderboard.errors import NeedsPerson, PgleaderboardError, Transient
from pgleaderboard.sync.board import CHUNK

if TYPE_CHECKING:
    from kagglesdk import KaggleClient

    from pgleaderboard.settings import Settings

# What a request can end with. ValueError and its like: the SDK read an answer that is not in Kaggle's form.
_FAILURES = (requests.RequestException, TransportError, OSError, ValueError, TypeError, AttributeError, LookupError)

WITHOUT_RETRY_AFTER = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=24)  # a Retry-After beyond it is taken for nonsense


@dataclass(frozen=True)
class Credential:
    """What shows Kaggle who asks.

    source: where it was found, for people. fingerprint: tells two credentials apart without giving them away.
    refresh_token: what stays in oauth_file, whose access token the SDK renews.
    """

    source: str
    token: str | None = field(default=None, repr=False)
    username: str | None = None
    key: str | None = field(default=None, repr=False)
    oauth_file: Path | None = None
    refresh_token: str | None = field(default=None, repr=False)

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of a hash."""
        secret = self.token or self.refresh_token or f"{self.username}:{self.key}"
        return hashlib.sha256(secret.encode()).hexdigest()[:16]

    def hidden_in(self, text: str, access_token: str | None = None) -> str:
        """The text without the secret in any form that was sent, should somebody have echoed it."""
        basic = base64.b64encode(f"{self.username}:{self.key}".encode("latin-1", "replace")).decode()
        for secret in (basic, self.token, self.key, self.refresh_token, access_token):
            if secret:
                text = text.replace(secret, "***")
        return text


def find_credential(settings: Settings) -> Credential | None:
    """Look for a credential in Kaggle's own order of precedence, None where there is none.

    The order: KAGGLE_API_TOKEN (a token, or a file that holds one), ~/.kaggle/access_token, KAGGLE_USERNAME with
    KAGGLE_KEY, kaggle.json, the OAuth file that `kaggle auth login` writes. Source: kaggle 2.2.4, `authenticate`.
    """
    folder = Path("~/.kaggle").expanduser()
    if settings.kaggle_api_token:
        given = settings.kaggle_api_token.get_secret_value()
        if not os.path.isfile(given):
            return Credential("KAGGLE_API_TOKEN", token=given.strip())
        if token := Path(given).read_text().strip():
            return Credential(f"the file in KAGGLE_API_TOKEN, {given}", token=token)
    for name in ("access_token", "access_token.txt"):
        if (folder / name).is_file() and (token := (folder / name).read_text().strip()):
            return Credential(str(folder / name), token=token)
    if settings.kaggle_username and settings.kaggle_key:
        return Credential(
            "KAGGLE_USERNAME and KAGGLE_KEY",
            username=settings.kaggle_username,
            key=settings.kaggle_key.get_secret_value(),
        )
    config = settings.kaggle_config_dir or folder
    if config == folder and not config.exists() and sys.platform.startswith("linux"):
        config = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "kaggle"
    if (config / "kaggle.json").is_file():
        return _from_kaggle_json(config / "kaggle.json")
    if (folder / "credentials.json").is_file():
        return _from_oauth_file(folder / "credentials.json")
    return None


def _from_kaggle_json(file: Path) -> Credential:
    try:
        stored = json.loads(file.read_text())
        username, key = stored["username"], stored["key"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NeedsPerson(f"cannot read the Kaggle credential in {file}: {type(error).__name__}") from None
    if not (isinstance(username, str) and isinstance(key, str) and username and key):
        raise NeedsPerson(f"cannot read the Kaggle credential in {file}: username and key must be text")
    return Credential(str(file), username=username, key=key)


def _from_oauth_file(file: Path) -> Credential:
    try:
        refresh_token = json.loads(file.read_text())["refresh_token"]
    except (OSError, ValueError, KeyError, TypeError):
        refresh_token = None
    if not (isinstance(refresh_token, str) and refresh_token):
        raise NeedsPerson(f"cannot use {file}: run `kaggle auth login` again")
    return Credential(str(file), oauth_file=file, refresh_token=refresh_token)


@dataclass(frozen=True)
class Description:
    """What Kaggle says about a competition beside its board. Dates are UTC."""

    title: str | None
    description: str | None
    enabled_date: datetime | None
    deadline: datetime | None
    evaluation_metric: str | None
    max_daily_submissions: int | None


@dataclass(frozen=True)
class Found:
    """A competition as Kaggle lists it. teams: None where Kaggle does not say. The deadline is UTC."""

    slug: str
    title: str
    deadline: datetime | None
    teams: int | None


class Kaggle:
    """Requests to Kaggle, from any number of threads at once.

    url: base URL. timeout: seconds without a byte before a request is given up. deadline: seconds for a whole
    request with its connecting, TLS, headers, redirects and body. limit: the most bytes of a download.
    answered: told the status of each answer, "none" where none came.
    """

    def __init__(
        self,
        url: str,
        credential: Credential | None,
        *,
        timeout: float,
        deadline: float,
        limit: int,
        answered: Callable[[str], object] | None = None,
    ) -> None:
        self._url = url
        self._credential = credential
        self._timeout = timeout
        self._deadline = deadline
        self._limit = limit
        self._answered = answered or (lambda _: None)
        self._idle: list[_Line] = []

    @property
    def fingerprint(self) -> str:
        """Of the credential; empty without one."""
        return self._credential.fingerprint if self._credential else ""

    def download_leaderboard(self, slug: str, into: IO[bytes]) -> None:
        """Fetch the ZIP of a competition's whole board into an open file.

        Raises Transient for what passes by itself, NeedsPerson for what does not; the message says what to do.
        """
        from kagglesdk.competitions.types.competition_api_service import ApiDownloadLeaderboardRequest

        request = ApiDownloadLeaderboardRequest()
        request.competition_name = slug
        with self._line(slug) as line:
            response: requests.Response = line.ask(lambda kaggle: kaggle.download_leaderboard(request))
            received = 0
            with response:
                for chunk in response.iter_content(CHUNK):
                    received += len(chunk)
                    if received > self._limit:
                        raise NeedsPerson(
                            f"Kaggle's download for {slug} exceeds {self._limit // 2**20} MB; "
                            "PGLEADERBOARD_MAX_DOWNLOAD_MB allows more"
                        )
                    into.write(chunk)
            if received == 0:
                raise Transient("Kaggle answered with nothing at all")
            if response.headers.get("Content-Type", "").startswith("text/html"):
                raise Transient("Kaggle answered with a web page instead of a leaderboard; it may be under maintenance")

    def describe(self, slug: str) -> Description:
        """Ask for a competition's title, dates and the like. Raises as `download_leaderboard` does."""
        from kagglesdk.competitions.types.competition_api_service import ApiGetCompetitionRequest

        request = ApiGetCompetitionRequest()
        request.competition_name = slug
        with self._line(slug) as line:
            answer = line.ask(lambda kaggle: kaggle.get_competition(request))
            return Description(
                title=_text(answer.title),
                description=_text(answer.description),
                enabled_date=_utc(answer.enabled_date),
                deadline=_utc(answer.deadline),
                evaluation_metric=_text(answer.evaluation_metric),
                max_daily_submissions=answer.max_daily_submissions or None,
            )

    def search(self, text: str) -> tuple[list[Found], bool]:
        """Ask for the first page of the competitions that match, in Kaggle's order.

        Returns them, and whether there are more. Raises as `download_leaderboard` does.
        """
        from kagglesdk.competitions.types.competition_api_service import ApiListCompetitionsRequest

        request = ApiListCompetitionsRequest()
        request.search = text
        with self._line(None) as line:
            answer = line.ask(lambda kaggle: kaggle.list_competitions(request))
            found = [
                Found(
                    # Kaggle names a competition by its URL here.
                    slug=str(each.ref or each.url).rstrip("/").rsplit("/", 1)[-1],
                    title=_text(each.title) or "",
                    deadline=_utc(each.deadline),
                    teams=each.team_count,
                )
                for each in answer.competitions or ()
            ]
            return found, bool(answer.next_page_token)

    @contextmanager
    def _line(self, slug: str | None) -> Iterator[_Line]:
        """Lend a connection under the deadline, and turn what goes wrong on it into our errors.

        slug: of the competition that is asked about, None for a question about no single one.
        """
        if self._credential is None:
            raise NeedsPerson(
                "no Kaggle credential was found: set KAGGLE_API_TOKEN, or KAGGLE_USERNAME and KAGGLE_KEY, "
                "or put kaggle.json into ~/.kaggle (https://www.kaggle.com/settings, API)"
            )
        try:
            line = self._idle.pop()
        except IndexError:
            line = _Line(self._url, self._credential, self._timeout, self._answered)
        line.begin(self._deadline)
        watch = threading.Timer(self._deadline, line.cut)
        watch.daemon = True
        watch.start()
        try:
            line.sign_in()
            yield line
        except (PgleaderboardError, *_FAILURES) as error:
            known = (
                error if isinstance(error, PgleaderboardError) else explain(error, slug, self._timeout, line.hidden_in)
            )
            line.close()
            if line.is_late:
                raise Transient(f"Kaggle did not finish within {self._deadline:g} s") from error
            raise known from error.__cause__ if known is error else error
        except BaseException:
            line.close()
            raise
        finally:
            watch.cancel()
        if line.is_late:  # a body without a length ends without an error when it is cut
            line.close()
            raise Transient(f"Kaggle did not finish within {self._deadline:g} s")
        self._idle.append(line)


class _Line:
    """One client of the SDK with its connections, which can be cut from outside."""

    _oauth = threading.Lock()  # the SDK does not write its file in one piece

    def __init__(self, url: str, credential: Credential, timeout: float, answered: Callable[[str], object]) -> None:
        self._url = url
        self._credential = credential
        self._timeout = timeout
        self._answered = answered
        self._wires = _Wires()
        self._client: KaggleClient | None = None
        self._token: str | None = None

    def begin(self, deadline: float) -> None:
        """Count the seconds of a request from now."""
        self._wires.until = time.monotonic() + deadline

    def sign_in(self, refused: str | None = None) -> None:
        """Make the client, once. An OAuth credential asks for a new token where its own expired or was refused."""
        if self._client is not None:
            return
        self._token = self._credential.token
        if self._credential.oauth_file:
            with self._oauth:
                self._token = self._oauth_token(self._credential.oauth_file, refused)
        self._client = self._made(self._credential.username, self._credential.key, self._token)

    def _oauth_token(self, file: Path, refused: str | None) -> str:
        from kagglesdk import KaggleCredentials

        self._client = self._made(None, None, None)
        stored = KaggleCredentials.load(self._client, str(file))
        token: str | None = stored.get_access_token() if stored else None
        if token and token == refused:
            stored.refresh_access_token()
            token = stored.get_access_token()
        self.close()
        if not token:
            raise NeedsPerson(f"cannot use {file}: run `kaggle auth login` again")
        return token

    def ask(self, question: Callable[[Any], Any]) -> Any:
        """Put a question to the SDK; once more under a new token where Kaggle refuses that of an OAuth credential."""
        try:
            return question(self._competitions)
        except requests.HTTPError as error:
            if not (self._credential.oauth_file and error.response is not None and _status(error.response) == 401):
                raise
        self.close()
        self.sign_in(refused=self._token)
        return question(self._competitions)

    def _made(self, username: str | None, key: str | None, token: str | None) -> KaggleClient:
        from kagglesdk import KaggleClient, KaggleEnv

        from pgleaderboard import __version__

        made = KaggleClient(
            env=KaggleEnv.PROD,
            username=username,
            password=key,
            api_token=token,
            user_agent=f"pgleaderboard/{__version__}",
        )
        http = made.http_client()
        http._endpoint = self._url  # the SDK knows only its own hosts
        http._init_session()
        adapter = _Adapter(self._timeout, self._wires, self._answered)
        http._session.mount("https://", adapter)
        http._session.mount("http://", adapter)
        return made

    @property
    def _competitions(self) -> Any:
        assert self._client is not None
        return self._client.competitions.competition_api_client

    @property
    def is_late(self) -> bool:
        return self._wires.cut or time.monotonic() >= self._wires.until

    def hidden_in(self, text: str) -> str:
        """The text without what this client signs in with."""
        return self._credential.hidden_in(text, self._token)

    def cut(self) -> None:
        self._wires.shut_down()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        if self._client is not None:
            self._client.http_client()._session.close()
            self._client = None
        self._wires.close()


class _Wires:
    """The sockets of one client, as copies of their descriptors: TLS takes the originals over."""

    def __init__(self) -> None:
        self.cut = False
        self.until = 0.0  # as time.monotonic() counts
        self._copies: list[socket.socket] = []
        self._lock = threading.Lock()

    def time_left(self) -> float:
        left = self.until - time.monotonic()
        if left <= 0:
            raise ConnectionAbortedError("cut at the deadline")
        return left

    def note(self, made: socket.socket) -> None:
        with self._lock:
            if self.cut:
                made.close()
                raise ConnectionAbortedError("cut at the deadline")
            self._copies.append(made.dup())
            while len(self._copies) > 4:  # Kaggle's host and one it redirects to, each perhaps renewed
                self._copies.pop(0).close()

    def shut_down(self) -> None:
        """Whoever reads from one of these gets an error at once."""
        with self._lock:
            self.cut = True
            for each in self._copies:
                try:
                    each.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # closed already

    def close(self) -> None:
        with self._lock:
            for each in self._copies:
                each.close()
            self._copies.clear()


class _Adapter(HTTPAdapter):
    """Sets the time-out that the SDK leaves out, and keeps account of the open sockets and of the answers."""

    def __init__(self, timeout: float, wires: _Wires, answered: Callable[[str], object]) -> None:
        self._timeout = timeout
        self._answered = answered
        self._wires = wires
        super().__init__(pool_connections=2, pool_maxsize=1)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Have every connection that is opened noted before TLS and headers, which may drip."""
        super().init_poolmanager(*args, **kwargs)
        wires = self._wires

        def noted(connection: type[HTTPConnection]) -> type[HTTPConnection]:
            class Noted(connection):  # type: ignore[misc, valid-type]
                timeout: float

                def _new_conn(self) -> socket.socket:
                    try:
                        addresses = socket.getaddrinfo(self.host, self.port, allowed_gai_family(), socket.SOCK_STREAM)
                    except socket.gaierror as error:
                        raise NameResolutionError(self.host, self, error) from error
                    self.timeout = min(self.timeout, wires.time_left() / len(addresses))  # it tries each
                    made: socket.socket = super()._new_conn()
                    wires.note(made)
                    return made

            return Noted

        class Plain(HTTPConnectionPool):
            ConnectionCls = noted(HTTPConnection)

        class Secure(HTTPSConnectionPool):
            ConnectionCls = noted(HTTPSConnection)  # type: ignore[assignment]

        self.poolmanager.pool_classes_by_scheme = {"http": Plain, "https": Secure}

    def close(self) -> None:
        """Close the connections now: the manager only forgets them, and an error's traceback may keep them alive."""
        pools = self.poolmanager.pools
        for key in list(pools.keys()):
            pools[key].close()
        super().close()

    def send(self, request: Any, *args: Any, **kwargs: Any) -> requests.Response:
        """Send with the time-out."""
        kwargs["timeout"] = self._timeout
        status = "none"
        try:
            answer = super().send(request, *args, **kwargs)
            status = str(answer.status_code)
            return answer
        finally:
            self._answered(status)


def explain(error: Exception, slug: str | None, timeout: float, hidden_in: Callable[[str], str]) -> PgleaderboardError:
    """Decide what a failed request means: passes by itself, or needs a person.

    The messages hold nothing of the error's own text but Kaggle's short answer, the secrets hidden in it: URLs there
    may be signed.
    """
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return Transient("this machine has no space left for the download")
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return _explain_status(error.response, slug, hidden_in)
    if isinstance(error, requests.exceptions.SSLError):
        return Transient(
            "no secure connection to Kaggle: its certificate was not accepted, or TLS broke off; "
            "check this machine's clock, proxy and CA certificates if it stays so"
        )
    if isinstance(error, requests.exceptions.Timeout):
        return Transient(f"Kaggle did not answer for {timeout:g} s")
    if isinstance(error, requests.exceptions.ChunkedEncodingError | requests.exceptions.ContentDecodingError):
        return Transient("Kaggle's answer broke off half-way")
    if isinstance(error, requests.ConnectionError):
        text = str(error)
        if "Name or service not known" in text or "NameResolutionError" in text or "getaddrinfo" in text:
            return Transient(f"the name of Kaggle's host cannot be resolved ({_host(error)}); check DNS and network")
        if "refused" in text:
            return Transient(f"the connection to Kaggle was refused ({_host(error)})")
        if "timed out" in text:
            return Transient(f"Kaggle did not answer for {timeout:g} s")
        return Transient("the connection to Kaggle broke off")
    if isinstance(error, requests.TooManyRedirects):
        return Transient("Kaggle redirected too often")
    if isinstance(error, requests.RequestException | TransportError | OSError):
        return Transient(f"the request to Kaggle failed ({type(error).__name__})")
    return Transient("Kaggle's answer cannot be understood; it may be under maintenance")


def _explain_status(
    response: requests.Response, slug: str | None, hidden_in: Callable[[str], str]
) -> PgleaderboardError:
    status = _status(response)
    said = _said(response, hidden_in)
    if status == 429:
        pause = retry_after(response.headers.get("Retry-After"))
        return Transient(
            "Kaggle asks to slow down (429, too many requests)",
            retry_after=pause or WITHOUT_RETRY_AFTER,  # 0 after a 429 is nonsense, too
            throttled=True,
        )
    if status in (408, 425) or status >= 500:
        return Transient(
            f"Kaggle failed with status {status}{said}",
            retry_after=retry_after(response.headers.get("Retry-After")),
        )
    if status == 401:
        return NeedsPerson("Kaggle does not accept the credential (401): it may have expired; make a new one")
    if slug is None:
        return NeedsPerson(f"Kaggle refused the request (status {status}){said}")
    if status == 403:
        return NeedsPerson(
            f"Kaggle denies access to {slug} (403): check the slug, and accept the rules in a browser at "
            f"https://www.kaggle.com/competitions/{slug}/rules"
        )
    if status == 404:
        return NeedsPerson(f"Kaggle knows no competition {slug} (404): check the slug in its URL")
    return NeedsPerson(f"Kaggle refused the request for {slug} (status {status}){said}")


def _status(response: requests.Response) -> int:
    if response.status_code >= 400:
        return response.status_code
    try:  # an error in the body of a 200
        return int(response.json()["code"])
    except (ValueError, KeyError, TypeError):
        return 500


def retry_after(header: str | None) -> timedelta | None:
    """Read a Retry-After header (RFC 9110, 10.2.3): seconds or a date; None where it is missing or nonsense."""
    if header is None:
        return None
    try:
        pause = timedelta(seconds=int(header))
    except (ValueError, OverflowError):
        try:
            pause = email.utils.parsedate_to_datetime(header) - datetime.now(UTC)
        except (ValueError, TypeError, OverflowError):
            return None
        pause = max(pause, timedelta(0))
    return pause if timedelta(0) <= pause <= LONGEST_PAUSE else None


def _said(response: requests.Response, hidden_in: Callable[[str], str]) -> str:
    """Kaggle's own short message, where it gave one. Hidden first: a secret cut short would not be recognised."""
    try:
        message = response.json().get("message")
    except (ValueError, AttributeError, requests.RequestException):
        return ""
    return f": {' '.join(hidden_in(str(message)).split())[:200]}" if message else ""


def _host(error: requests.RequestException) -> str:
    url = error.request.url if error.request else None
    return urlsplit(str(url or "")).hostname or "unknown host"


def _text(value: str | None) -> str | None:
    return value.replace("\0", "\ufffd") if value else None


def _utc(value: datetime | None) -> datetime | None:
    return value.replace(tzinfo=UTC) if value else None
