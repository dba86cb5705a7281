"""Finds the credential for Kaggle, as Kaggle's own client does."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pgleaderboard.errors import NeedsPerson

if TYPE_CHECKING:
    from pgleaderboard.settings import Settings


@dataclass(frozen=True)
class Credential:
    """A token, a user name with its key, or the OAuth file whose access token the SDK renews.

    source: where it comes from, for people. refresh_token: the part of oauth_file that stays the same.
    """

    source: str
    token: str | None = field(default=None, repr=False)
    username: str | None = None
    key: str | None = field(default=None, repr=False)
    oauth_file: Path | None = None
    refresh_token: str | None = field(default=None, repr=False)

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of a hash: tell two credentials apart without giving them away."""
        secret = self.token or self.refresh_token or f"{self.username}:{self.key}"
        return hashlib.sha256(secret.encode()).hexdigest()[:16]

    def redact(self, text: str, access_token: str | None = None) -> str:
        """Replace the secret in a text that Kaggle may have echoed, in every form in which it is sent."""
        basic = base64.b64encode(f"{self.username}:{self.key}".encode("latin-1", "replace")).decode()
        for secret in (basic, self.token, self.key, self.refresh_token, access_token):
            if secret:
                text = text.replace(secret, "***")
        return text


def find_credential(settings: Settings) -> Credential | None:
    """Look for a credential in Kaggle's own order of precedence. None if there is none.

    The order: KAGGLE_API_TOKEN (a token, or the path of a file with one), ~/.kaggle/access_token, KAGGLE_USERNAME
    with KAGGLE_KEY, kaggle.json, the OAuth file of `kaggle auth login`. Source: kaggle 2.2.4, `authenticate`.
    Raises NeedsPerson if kaggle.json or the OAuth file cannot be used.
    """
    folder = Path(os.path.expanduser("~/.kaggle"))  # as it stands for a user without a home
    if settings.kaggle_api_token:
        token_or_path = settings.kaggle_api_token.get_secret_value()
        if not os.path.isfile(token_or_path):
            return Credential("KAGGLE_API_TOKEN", token=token_or_path.strip())
        if token := Path(token_or_path).read_text().strip():
            return Credential(f"the file in KAGGLE_API_TOKEN, {token_or_path}", token=token)
    for file in (folder / "access_token", folder / "access_token.txt"):
        if file.is_file() and (token := file.read_text().strip()):
            return Credential(str(file), token=token)
    if settings.kaggle_username and settings.kaggle_key:
        key = settings.kaggle_key.get_secret_value()
        return Credential("KAGGLE_USERNAME and KAGGLE_KEY", username=settings.kaggle_username, key=key)
    config = settings.kaggle_config_dir or folder
    if config == folder and not config.exists() and sys.platform.startswith("linux"):
        config = Path(os.path.expanduser(os.environ.get("XDG_CONFIG_HOME") or "~/.config")) / "kaggle"
    if (file := config / "kaggle.json").is_file():
        if not (values := _strings(file, "username", "key")):
            raise NeedsPerson(f"cannot read the Kaggle credential in {file}: it must be JSON with username and key")
        return Credential(str(file), username=values[0], key=values[1])
    if (file := folder / "credentials.json").is_file():
        if not (values := _strings(file, "refresh_token")):
            raise NeedsPerson(f"cannot use {file}: run `kaggle auth login` again")
        return Credential(str(file), oauth_file=file, refresh_token=values[0])
    return None


def _strings(file: Path, *names: str) -> list[str] | None:
    """The values of these keys in a JSON file. None unless all are strings with something in them.

    The error is dropped: its text may quote a secret.
    """
    try:
        stored = json.loads(file.read_text())
        values = [stored[name] for name in names]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return values if all(isinstance(value, str) and value for value in values) else None
