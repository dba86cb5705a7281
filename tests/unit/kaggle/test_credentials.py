"""Which credential is found, and that none is shown."""

from __future__ import annotations

import io
import json
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pgleaderboard.errors import NeedsPerson
from pgleaderboard.kaggle.client import Kaggle
from pgleaderboard.kaggle.credential import Credential, find_credential
from pgleaderboard.settings import Settings
from tests.support.faults import Simulator
from tests.support.kaggle_clients import downloaded, found, make_kaggle


def login() -> dict[str, Any]:
    """What `kaggle auth login` stores."""
    in_an_hour = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    return {"refresh_token": "r", "access_token": "a", "access_token_expiration": in_an_hour, "scopes": []}


KAGGLE_JSON = '{"username": "file-user", "key": "file-key"}'


OAUTH = '{"refresh_token": "oauth-refresh", "access_token": "oauth-access"}'


def shown(credential: Credential | None) -> str | None:
    """Which one it is."""
    if credential is None:
        return None
    if credential.oauth_file:
        return f"oauth {credential.oauth_file.name}"
    return credential.token or f"{credential.username}:{credential.key}"


USER = {"KAGGLE_USERNAME": "env-user", "KAGGLE_KEY": "env-key"}


EVERYWHERE = {
    ".kaggle/access_token": "file-token\n",
    ".kaggle/kaggle.json": KAGGLE_JSON,
    ".kaggle/credentials.json": OAUTH,
}


WITHOUT_TOKEN = {name: content for name, content in EVERYWHERE.items() if "token" not in name}


OTHER_JSON = '{"username": "other", "key": "other-key"}'


PRECEDENCE: dict[str, tuple[dict[str, str], dict[str, str], str | None]] = {
    "nothing anywhere": ({}, {}, None),
    "the variable wins over everything": ({"KAGGLE_API_TOKEN": "env-token", **USER}, EVERYWHERE, "env-token"),
    "the variable may name a file": ({"KAGGLE_API_TOKEN": "HOME/secret"}, {"secret": " in-file\n"}, "in-file"),
    "a path that is no file is a token": ({"KAGGLE_API_TOKEN": "HOME/none"}, {}, "HOME/none"),
    "a token may be long": ({"KAGGLE_API_TOKEN": "ey" + "J" * 900}, {}, "ey" + "J" * 900),
    "a token may be very long": ({"KAGGLE_API_TOKEN": "x" * 9000}, {}, "x" * 9000),
    "an empty variable is none": ({"KAGGLE_API_TOKEN": ""}, WITHOUT_TOKEN, "file-user:file-key"),
    "an empty file is none": ({"KAGGLE_API_TOKEN": "HOME/e"}, {"e": "\n", **WITHOUT_TOKEN}, "file-user:file-key"),
    "the token file wins over user and key": (USER, EVERYWHERE, "file-token"),
    "the token file may end in .txt": (USER, {".kaggle/access_token.txt": "txt-token"}, "txt-token"),
    "an empty token file is none": (USER, {".kaggle/access_token": " \n"}, "env-user:env-key"),
    "user and key win over kaggle.json": (USER, WITHOUT_TOKEN, "env-user:env-key"),
    "a user of one's own with the file's key": ({"KAGGLE_USERNAME": "u"}, WITHOUT_TOKEN, "u:file-key"),
    "a key of one's own for the file's user": ({"KAGGLE_KEY": "own-key"}, WITHOUT_TOKEN, "file-user:own-key"),
    "a user without a key is none": (
        {"KAGGLE_USERNAME": "u"},
        {".kaggle/credentials.json": OAUTH},
        "oauth credentials.json",
    ),
    "a file without a key is passed by": (
        {},
        {".kaggle/kaggle.json": '{"competition": "titanic"}', ".kaggle/credentials.json": OAUTH},
        "oauth credentials.json",
    ),
    "kaggle.json wins over OAuth": ({}, WITHOUT_TOKEN, "file-user:file-key"),
    "OAuth comes last": ({}, {".kaggle/credentials.json": OAUTH}, "oauth credentials.json"),
    "a folder of one's own": (
        {"KAGGLE_CONFIG_DIR": "HOME/own"},
        {"own/kaggle.json": OTHER_JSON, ".kaggle/kaggle.json": KAGGLE_JSON},
        "other:other-key",
    ),
    "XDG's folder": ({"XDG_CONFIG_HOME": "HOME/xdg"}, {"xdg/kaggle/kaggle.json": OTHER_JSON}, "other:other-key"),
    "XDG's default folder": ({}, {".config/kaggle/kaggle.json": OTHER_JSON}, "other:other-key"),
    "XDG's folder only where ~/.kaggle is missing": (
        {},
        {".config/kaggle/kaggle.json": OTHER_JSON, ".kaggle/other": ""},
        None,
    ),
    "XDG's folder never instead of one's own": (
        {"KAGGLE_CONFIG_DIR": "HOME/own"},
        {".config/kaggle/kaggle.json": OTHER_JSON},
        None,
    ),
    ".env counts": ({}, {".env": "KAGGLE_API_TOKEN=dot-token\n"}, "dot-token"),
    ".env may name a user and a key": ({}, {".env": "KAGGLE_USERNAME=u\nKAGGLE_KEY='k e'\n"}, "u:k e"),
    "the environment wins over .env": (
        {"KAGGLE_API_TOKEN": "env-token"},
        {".env": "KAGGLE_API_TOKEN=dot-token"},
        "env-token",
    ),
}


@pytest.mark.parametrize(("environment", "files", "expected"), PRECEDENCE.values(), ids=PRECEDENCE)
def test_credentials_are_looked_for_in_kaggle_s_own_order(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    files: dict[str, str],
    expected: str | None,
) -> None:
    """Whoever has set up Kaggle's own client has set up this one, with the same credential."""
    credential = found(home, monkeypatch, environment, files)
    assert shown(credential) == (expected.replace("HOME/", f"{home}/") if expected else None)


@pytest.mark.parametrize(("environment", "files", "expected"), PRECEDENCE.values(), ids=PRECEDENCE)
def test_no_secret_shows_where_a_credential_is_printed(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    files: dict[str, str],
    expected: str | None,
) -> None:
    """Neither the credential's repr nor its fingerprint, nor that of the settings or the client gives it away."""
    credential = found(home, monkeypatch, environment, files)
    if credential is None:
        return
    kaggle = make_kaggle("http://127.0.0.1:9", credential=credential)
    printed = f"{credential!r} {credential} {credential.fingerprint} {Settings.load()!r} {kaggle!r}"
    secrets = [credential.token, credential.key, "oauth-refresh", "oauth-access"]
    if expected != "HOME/none":  # a mistyped path is no secret; its folder is in the other settings
        assert not [secret for secret in secrets if secret and secret in printed]
    assert len(credential.fingerprint) == 16


def test_fingerprints_tell_credentials_apart() -> None:
    """Another token, key or user is another credential; the same one from another place is the same."""
    given = [
        Credential("a", token="one"),
        Credential("a", token="two"),
        Credential("a", username="one", key="two"),
        Credential("a", username="one", key="one"),
        Credential("a", username="two", key="two"),
    ]
    assert len({each.fingerprint for each in given}) == len(given)
    assert Credential("elsewhere", token="one").fingerprint == given[0].fingerprint
    assert Kaggle("http://127.0.0.1:9", None, timeout=1, deadline=1, limit=1).fingerprint == ""


def test_a_new_access_token_makes_no_other_credential(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The budget and a pause are kept by fingerprint: they outlive the renewal of a token, not another login."""

    def fingerprint(refresh_token: str, access_token: str) -> str:
        stored = json.dumps({"refresh_token": refresh_token, "access_token": access_token})
        credential = found(home, monkeypatch, {}, {".kaggle/credentials.json": stored})
        assert credential is not None
        return credential.fingerprint

    first = fingerprint("refresh", "one")
    assert fingerprint("refresh", "two") == first
    assert fingerprint("another", "two") != first


def test_an_oauth_file_that_vanishes_is_named(
    simulator: Simulator, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fingerprint stays what it was; the next request that needs the file says what to do."""
    kaggle = make_kaggle(simulator.url, credential=found(home, monkeypatch, {}, {".kaggle/credentials.json": OAUTH}))
    before = kaggle.fingerprint
    (home / ".kaggle/credentials.json").unlink()

    assert kaggle.fingerprint == before
    with pytest.raises(NeedsPerson, match=r"\.kaggle/credentials\.json: run `kaggle auth login` again"):
        downloaded(kaggle)


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfegeheim", b'"geheim"', b'{"access_token": "geheim"}', b'{"refresh_token": ["geheim"]}'],
)
def test_a_broken_oauth_file_is_named_and_not_shown(
    home: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    """As kaggle.json is."""
    (home / ".kaggle").mkdir()
    (home / ".kaggle/credentials.json").write_bytes(content)

    with pytest.raises(NeedsPerson, match=r"\.kaggle/credentials\.json: run `kaggle auth login` again") as caught:
        find_credential(Settings.load())

    assert "geheim" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "content",
    [
        b'{"username": "somebody", "key": "geheim"',
        b"geheim",
        b'["geheim"]',
        b'"geheim"',
        b'{"username": "geheim"}',
        b'{"key": "geheim"}',
        b"",
        b"\xff\xfegeheim",
        b'{"username": "somebody", "key": null, "note": "geheim"}',
        b'{"username": "", "key": "", "note": "geheim"}',
        b'{"username": ["geheim"], "key": {"geheim": 1}}',
    ],
)
def test_a_broken_kaggle_json_is_named_and_not_shown(
    home: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    """One line with the file's name; what stands in it is shown nowhere, not in a traceback either."""
    (home / ".kaggle").mkdir()
    (home / ".kaggle/kaggle.json").write_bytes(content)

    with pytest.raises(NeedsPerson) as caught:
        find_credential(Settings.load())

    assert str(home / ".kaggle/kaggle.json") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "geheim" not in "".join(traceback.format_exception(caught.value)) + repr(caught.value)


def test_without_a_credential_nothing_is_sent(simulator: Simulator) -> None:
    """The message names every way to give one."""
    kaggle = make_kaggle(simulator.url, credential=None)
    for ask in (lambda: kaggle.describe("titanic"), lambda: kaggle.download_leaderboard("titanic", io.BytesIO())):
        with pytest.raises(NeedsPerson) as caught:
            ask()
        assert all(name in str(caught.value) for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "kaggle.json"))
    assert simulator.requests == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("\ufefftoken".encode(), None),
        ("token\r\n".encode("utf-16"), None),
        ("tökén".encode("latin-1"), "is not text in UTF-8"),
        ("tökén".encode(), "holds characters that no credential"),
        (b"token\nanother\n", "holds 2 lines instead of one"),
    ],
)
def test_a_token_file_in_every_encoding(
    home: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, words: str | None
) -> None:
    """What editors and shells write is read; what cannot be a token is one line that names the file."""
    (home / ".kaggle").mkdir()
    (home / ".kaggle/access_token").write_bytes(content)
    if words is None:
        credential = find_credential(Settings.load())
        assert credential is not None
        assert credential.token == "token"
        return
    with pytest.raises(NeedsPerson, match=words) as caught:
        find_credential(Settings.load())
    assert str(home / ".kaggle/access_token") in str(caught.value)
    assert "t" + "\u00f6" not in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "hint"),
    [
        ({"KAGGLE_API_TOKEN": "0123456789abcdef0123456789abcdef"}, "it is a key of 32 digits and no token"),
        ({"KAGGLE_USERNAME": "u", "KAGGLE_KEY": "KGAT_x"}, "its key is an access token (KGAT_…)"),
        ({"KAGGLE_API_TOKEN": '"quoted"'}, "there are quotes around it: remove them"),
        ({"KAGGLE_USERNAME": "'u'", "KAGGLE_KEY": "a-key"}, "there are quotes around the username: remove them"),
        (
            {"KAGGLE_USERNAME": '"u"', "KAGGLE_KEY": '"KGAT_x"'},
            "there are quotes around the username and the key: remove them; its key is an access token (KGAT_…)",
        ),
    ],
)
def test_a_credential_that_kaggle_refuses(
    simulator: Simulator, home: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], hint: str
) -> None:
    """The message names what was used, what was found besides, and where a secret belongs that stands elsewhere."""
    credential = found(home, monkeypatch, environment, {".kaggle/credentials.json": OAUTH})
    simulator.auth_required = "Bearer another"
    with pytest.raises(NeedsPerson) as caught:
        downloaded(make_kaggle(simulator.url, credential=credential))
    told = str(caught.value)
    assert f"used: {' and '.join(environment)}; also found: {home}/.kaggle/credentials.json; {hint}" in told
    assert not [secret for secret in environment.values() if len(secret) > 1 and secret in told]


@pytest.mark.parametrize(
    ("environment", "files", "expected"),
    [
        pytest.param(
            USER,
            {"kaggle.json": KAGGLE_JSON},
            "used: KAGGLE_USERNAME and KAGGLE_KEY; also found: HOME/kaggle.json)",
            id="a file that the environment makes unnecessary",
        ),
        pytest.param(
            {"KAGGLE_API_TOKEN": "token"} | USER,
            {"access_token": "t", "access_token.txt": "u", "kaggle.json": KAGGLE_JSON, "credentials.json": OAUTH},
            "used: KAGGLE_API_TOKEN; also found: HOME/access_token, HOME/access_token.txt, "
            "KAGGLE_USERNAME and KAGGLE_KEY, HOME/kaggle.json, HOME/credentials.json)",
            id="everything",
        ),
        pytest.param(
            {"KAGGLE_KEY": "own-key"},
            {"kaggle.json": KAGGLE_JSON},
            "used: HOME/kaggle.json with KAGGLE_KEY)",
            id="a file and the environment together",
        ),
        pytest.param(
            USER,
            {"access_token": "two\nlines", "kaggle.json": "{", "credentials.json": "[]"},
            "used: KAGGLE_USERNAME and KAGGLE_KEY; HOME/access_token holds 2 lines instead of one; "
            "cannot read the Kaggle credential in HOME/kaggle.json: it must be JSON with username and key; "
            "cannot use HOME/credentials.json: run `kaggle auth login` again)",
            id="broken files",
        ),
        pytest.param(
            {},
            {"kaggle.json": '{"competition": "titanic"}', "access_token": "t"},
            "used: HOME/access_token; "
            "cannot read the Kaggle credential in HOME/kaggle.json: it must be JSON with username and key)",
            id="a file without a key",
        ),
    ],
)
def test_every_source_is_named_where_kaggle_refuses_one(
    simulator: Simulator,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    files: dict[str, str],
    expected: str,
) -> None:
    """Whoever is refused sees which one was used, which others there are, and which files could not be."""
    credential = found(home, monkeypatch, environment, {f".kaggle/{name}": text for name, text in files.items()})
    simulator.auth_required = "Bearer another"
    with pytest.raises(NeedsPerson) as caught:
        downloaded(make_kaggle(simulator.url, credential=credential))
    assert str(caught.value).endswith(expected.replace("HOME", f"{home}/.kaggle"))


def test_no_other_token_is_sent(simulator: Simulator, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK would look for a token of its own, though a name and a key are given."""
    (home / ".kaggle").mkdir()
    (home / ".kaggle/access_token").write_text("of-somebody-else")
    downloaded(make_kaggle(simulator.url, credential=Credential("a test", username="u", key="k")))
    assert {request.headers["Authorization"] for request in simulator.requests} == {"Basic dTpr"}


@pytest.mark.parametrize(
    "files",
    [
        {"access_token": b"t\xf6k"},
        {"kaggle.json": b'["x"]'},
        {"kaggle.json": b"null"},
        {"kaggle.json": b"t\xf6k"},
        {"kaggle.json": '{"username": 1}'.encode("utf-16")},
    ],
)
@pytest.mark.parametrize("environment", [{"KAGGLE_USERNAME": "u", "KAGGLE_KEY": "k"}, {}])
def test_a_bad_file_beside_a_good_credential(
    simulator: Simulator,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, bytes],
    environment: dict[str, str],
) -> None:
    """It is passed by: the SDK reads no file of its own."""
    for name, content in files.items():
        (home / ".kaggle").mkdir(exist_ok=True)
        (home / ".kaggle" / name).write_bytes(content)
    credential = found(home, monkeypatch, environment, {".kaggle/credentials.json": json.dumps(login())})
    downloaded(make_kaggle(simulator.url, credential=credential))
    expected = "Basic dTpr" if environment else "Bearer a"
    assert {request.headers["Authorization"] for request in simulator.requests} == {expected}


@pytest.mark.parametrize(
    "wrong",
    [
        {"access_token_expiration": "soon"},
        {"access_token_expiration": 5},
        {"access_token": "a\nb"},
        {"access_token": "\u20ac"},
    ],
)
def test_a_login_that_cannot_be_used_is_named(
    simulator: Simulator, home: Path, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any]
) -> None:
    """Before any request."""
    credential = found(home, monkeypatch, {}, {".kaggle/credentials.json": json.dumps(login() | wrong)})
    with pytest.raises(NeedsPerson, match=r"\.kaggle/credentials\.json: run `kaggle auth login` again"):
        downloaded(make_kaggle(simulator.url, credential=credential))
    assert simulator.requests == []


def test_a_token_of_blanks_is_none(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not hide the name and key beside it."""
    assert shown(found(home, monkeypatch, USER | {"KAGGLE_API_TOKEN": "  "}, {})) == "env-user:env-key"
