"""A session of Kaggle's SDK: one client with its connections, which can be aborted from another thread.

`import kaggle` would authenticate, print and perhaps exit, so only `kagglesdk` is imported; and lazily, because
that takes half a second.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import requests

from pgleaderboard import __version__
from pgleaderboard.errors import NeedsPerson
from pgleaderboard.kaggle.credential import Credential
from pgleaderboard.kaggle.errors import status_of
from pgleaderboard.kaggle.transport import Adapter, Sockets

if TYPE_CHECKING:
    from kagglesdk import KaggleClient

_SIMULATED = "X-Simulated-Kaggle"  # a header of all answers of pgleaderboard.simulator.server
_oauth_file = threading.Lock()  # the SDK does not write the file in one piece


@dataclass(eq=False)
class Session:
    """Signs in once, then serves any number of requests, one at a time. Fields as of `client.Kaggle`."""

    url: str
    credential: Credential
    timeout: float
    answered: Callable[[str], object] | None
    sockets: Sockets = field(default_factory=Sockets, init=False)
    _client: KaggleClient | None = field(default=None, init=False)
    _token: str | None = field(default=None, init=False)
    _adapter: Adapter = field(init=False)

    def sign_in(self, refused_token: str | None = None) -> None:
        """Make the client unless there is one. Renews an OAuth token that has expired or was refused."""
        if self._client is not None:
            return
        self._token = self.credential.token
        if self.credential.oauth_file:
            with _oauth_file:
                self._token = self._oauth_token(str(self.credential.oauth_file), refused_token)
        self._client = self._new_client(self.credential.username, self.credential.key, self._token)

    def _oauth_token(self, file: str, refused_token: str | None) -> str:
        from kagglesdk import KaggleCredentials

        unusable = NeedsPerson(f"cannot use {file}: run `kaggle auth login` again")
        self._client = self._new_client(None, None, None)
        try:
            stored = KaggleCredentials.load(self._client, file)
            token: str | None = stored.get_access_token() if stored else None
            if token and token == refused_token:
                stored.refresh_access_token()
                token = stored.get_access_token()
        except requests.RequestException:
            raise
        except (ValueError, TypeError, AttributeError, LookupError):  # whose text may quote a secret
            raise unusable from None
        finally:
            self.close()
        if not (token and token.isascii() and token.isprintable()):
            raise unusable
        return token

    def call(self, method: Callable[[Any], Any]) -> Any:
        """Call a method of the SDK's API of competitions; again with a new token if the OAuth token is refused."""
        try:
            return method(self._api)
        except requests.HTTPError as error:
            if not (self.credential.oauth_file and error.response is not None and status_of(error.response) == 401):
                raise
        self.close()
        self.sign_in(refused_token=self._token)
        return method(self._api)

    def _new_client(self, username: str | None, key: str | None, token: str | None) -> KaggleClient:
        from kagglesdk import KaggleClient, KaggleEnv

        agent = f"pgleaderboard/{__version__}"
        client = KaggleClient(env=KaggleEnv.PROD, username=username, password=key, api_token=token, user_agent=agent)
        http = client.http_client()
        http._endpoint = self.url  # the SDK knows only its own hosts
        http._signed_in = True  # it would look for a credential of its own, in files that nobody has checked
        http._init_session()
        http._session.auth = http.BearerAuth(token) if token else (username, key) if username and key else None
        self._adapter = Adapter(self.timeout, self.sockets, self.answered)
        http._session.mount("https://", self._adapter)
        http._session.mount("http://", self._adapter)
        return client

    @property
    def is_simulated(self) -> bool:
        """Whether the last answer came from the simulator."""
        return _SIMULATED in self._adapter.headers

    @property
    def _api(self) -> Any:
        assert self._client is not None
        return self._client.competitions.competition_api_client

    def redact(self, text: str) -> str:
        """Replace the secrets of this session in a text."""
        return self.credential.redact(text, self._token)

    def close(self) -> None:
        """Close the connections and drop the client."""
        if self._client is not None:
            self._client.http_client()._session.close()
            self._client = None
        self.sockets.close()

    def __del__(self) -> None:
        self.close()
