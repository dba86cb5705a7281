"""Finds the credential for Kaggle, as Kaggle's own client does."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pgleaderboard.errors import NeedsPerson

if TYPE_CHECKING:
    from pgleaderboard.settings import Settings

Look = Callable[["Settings"], "Credential | None"]
_VARIABLES = {"username": "KAGGLE_USERNAME", "key": "KAGGLE_KEY"}  # which go before the same keys of kaggle.json


@dataclass(frozen=True)
class Credential:
    """A token, a user name with its key, or the OAuth file whose access token the SDK renews.

    source: where it comes from, for people. refresh_token: the part of oauth_file that stays the same. others: the
    sources of those that were found, too, and are not used. unusable: why others cannot be used.
    """

    source: str
    token: str | None = field(default=None, repr=False)
    username: str | None = None
    key: str | None = field(default=None, repr=False)
    oauth_file: Path | None = None
    refresh_token: str | None = field(default=None, repr=False)
    others: tuple[str, ...] = ()
    unusable: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of a hash: tell two credentials apart without giving them away."""
        secret = self.token or self.refresh_token or f"{self.username}:{self.key}"
        return hashlib.sha256(secret.encode()).hexdigest()[:16]

    @property
    def about(self) -> str:
        """Which one is used, which ones are not, and what may be wrong with it; for whoever Kaggle refuses."""
        parts = [f"used: {self.source}"]
        if self.others:
            parts.append(f"also found: {', '.join(self.others)}")
        given = {"it": self.token or "", "the username": self.username or "", "the key": self.key or ""}
        bare = {what: text.strip("'\"") for what, text in given.items()}
        if quoted := [what for what in given if given[what] != bare[what]]:
            parts.append(f"there are quotes around {' and '.join(quoted)}: remove them")
        if re.fullmatch("[0-9a-f]{32}", bare["it"]):
            parts.append("it is a key of 32 digits and no token: set it as KAGGLE_KEY, with KAGGLE_USERNAME")
        if bare["the key"].startswith("KGAT_"):
            parts.append("its key is an access token (KGAT_…): set it as KAGGLE_API_TOKEN")
        return "; ".join((*parts, *self.unusable))

    def redact(self, text: str, access_token: str | None = None) -> str:
        """Replace the secret in a text that Kaggle may have echoed, in every form in which it is sent."""
        basic = base64.b64encode(f"{self.username}:{self.key}".encode("latin-1", "replace")).decode()
        for secret in (basic, self.token, self.key, self.refresh_token, access_token):
            if secret:
                text = text.replace(secret, "***")
        return text


def find_credential(settings: Settings) -> Credential | None:
    """Look for a credential in Kaggle's own order of precedence. None if there is none.

    The order: KAGGLE_API_TOKEN (a token, or the path of a file with one), ~/.kaggle/access_token, KAGGLE_USERNAME and
    KAGGLE_KEY, kaggle.json (one of these two variables goes before what it has), the OAuth file of `kaggle auth login`.
    A file without them is passed by. Source: kaggle 2.2.4, `authenticate`.
    Raises NeedsPerson where none can be used, naming the file that cannot.
    """
    usable: list[Credential] = []
    refusals: list[NeedsPerson] = []
    token_files = [partial(_token_file, _folder() / name) for name in ("access_token", "access_token.txt")]
    looks: list[Look] = [_given_token, *token_files, _given_name_and_key, _kaggle_json, _login]
    for look in looks:
        try:
            credential = look(settings)
        except NeedsPerson as refusal:
            if look is _given_token:  # which goes before everything
                raise
            refusals.append(refusal)
        else:
            usable += [credential] if credential else []
    if not usable and refusals:
        raise refusals[0]
    others, unusable = tuple(other.source for other in usable[1:]), tuple(map(str, refusals))
    return replace(usable[0], others=others, unusable=unusable) if usable else None


def _given_token(settings: Settings) -> Credential | None:
    if not settings.kaggle_api_token:
        return None
    token_or_path = settings.kaggle_api_token.get_secret_value()
    if not token_or_path.strip():
        return None
    if not os.path.isfile(token_or_path):
        return Credential("KAGGLE_API_TOKEN", token=_one_line("KAGGLE_API_TOKEN", token_or_path))
    source = f"the file in KAGGLE_API_TOKEN, {token_or_path}"
    token = _one_line(source, _text_of(Path(token_or_path)))
    return Credential(source, token=token) if token else None


def _token_file(file: Path, settings: Settings) -> Credential | None:
    if os.path.isfile(file) and (token := _one_line(str(file), _text_of(file))):
        return Credential(str(file), token=token)
    return None


def _given_name_and_key(settings: Settings) -> Credential | None:
    given = _given(settings)
    return _name_and_key(" and ".join(_VARIABLES.values()), given) if len(given) == len(_VARIABLES) else None


def _kaggle_json(settings: Settings) -> Credential | None:
    config = settings.kaggle_config_dir or _folder()
    if config == _folder() and not config.exists() and sys.platform.startswith("linux"):
        config = Path(os.path.expanduser(os.environ.get("XDG_CONFIG_HOME") or "~/.config")) / "kaggle"
    file = config / "kaggle.json"
    if not os.path.isfile(file):
        return None
    given = _given(settings)
    if len(given) == len(_VARIABLES):  # they need no file
        given = {}
    stored = _strings(file, *_VARIABLES) | given
    if len(stored) < len(_VARIABLES):
        raise NeedsPerson(f"cannot read the Kaggle credential in {file}: it must be JSON with username and key")
    return _name_and_key(" with ".join((str(file), *(_VARIABLES[name] for name in given))), stored)


def _given(settings: Settings) -> dict[str, str]:
    key = settings.kaggle_key.get_secret_value() if settings.kaggle_key else None
    return {name: text for name, text in (("username", settings.kaggle_username), ("key", key)) if text}


def _name_and_key(source: str, both: dict[str, str]) -> Credential:
    username, key = (_one_line(source, both[name]) for name in _VARIABLES)
    return Credential(source, username=username, key=key)


def _login(settings: Settings) -> Credential | None:
    file = _folder() / "credentials.json"
    if not os.path.isfile(file):
        return None
    refresh_token = _strings(file, "refresh_token").get("refresh_token")
    if not refresh_token:
        raise NeedsPerson(f"cannot use {file}: run `kaggle auth login` again")
    return Credential(str(file), oauth_file=file, refresh_token=refresh_token)


def _folder() -> Path:
    return Path(os.path.expanduser("~/.kaggle"))  # as it stands for a user without a home


def _text_of(file: Path) -> str:
    """The text of a file, in UTF-8 or, as PowerShell writes it, in UTF-16 with a byte-order mark."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise NeedsPerson(f"cannot read {file}: {error.strerror or error}") from None
    try:
        return content.decode("utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeDecodeError:
        raise NeedsPerson(f"cannot read {file}: it is not text in UTF-8") from None


def _one_line(source: str, text: str) -> str:
    """A secret without the space around it. Raises NeedsPerson where it cannot be one, without a part of it."""
    secret = text.strip()
    if len(lines := secret.splitlines()) > 1:
        raise NeedsPerson(f"{source} holds {len(lines)} lines instead of one")
    if not (secret.isascii() and secret.isprintable()):
        raise NeedsPerson(f"{source} holds characters that no credential of Kaggle's has")
    return secret


def _strings(file: Path, *names: str) -> dict[str, str]:
    """The values of these keys in a JSON file, as far as they are strings with something in them.

    The error is dropped: its text may quote a secret.
    """
    try:
        stored = json.loads(_text_of(file))
    except ValueError:
        return {}
    values = {name: stored.get(name) for name in names} if isinstance(stored, dict) else {}
    return {name: value for name, value in values.items() if isinstance(value, str) and value}
