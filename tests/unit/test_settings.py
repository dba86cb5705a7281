"""What can be set, and what happens when it is set wrongly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import platformdirs
import pytest
from pydantic import SecretStr

from pgleaderboard.errors import NeedsPerson
from pgleaderboard.settings import Settings, _default_home

# name: (attribute, default, accepted [(text, value)], refused)
CONTRACT: dict[str, tuple[str, Any, list[tuple[str, Any]], list[str]]] = {
    "DATABASE_URL": ("database_url", None, [("postgresql://u:geheim@h/d", SecretStr("postgresql://u:geheim@h/d"))], []),
    "PGLEADERBOARD_DIRECT_URL": (
        "direct_url",
        None,
        [("host=h password=geheim", SecretStr("host=h password=geheim"))],
        [],
    ),
    "PGLEADERBOARD_READ_URL": (
        "read_url",
        None,
        [("postgresql://u:geheim@standby/d", SecretStr("postgresql://u:geheim@standby/d"))],
        ["postgresql://u:geheim@standby/d"],
    ),
    "PGLEADERBOARD_HOME": ("home", _default_home, [("/srv/boards", Path("/srv/boards"))], []),
    "PGLEADERBOARD_POSTGRES_BIN": (
        "postgres_bin",
        None,
        [("/usr/lib/postgresql/17/bin", Path("/usr/lib/postgresql/17/bin"))],
        [],
    ),
    "KAGGLE_API_TOKEN": ("kaggle_api_token", None, [("geheim", SecretStr("geheim"))], []),
    "KAGGLE_USERNAME": ("kaggle_username", None, [("somebody", "somebody")], []),
    "KAGGLE_KEY": ("kaggle_key", None, [("geheim", SecretStr("geheim"))], []),
    "KAGGLE_CONFIG_DIR": ("kaggle_config_dir", None, [("/srv/kaggle", Path("/srv/kaggle"))], []),
    "PGLEADERBOARD_KAGGLE_URL": (
        "kaggle_url",
        "https://api.kaggle.com",
        [("http://localhost:7777/api/", "http://localhost:7777/api"), ("https://k.example", "https://k.example")],
        ["ftp://k.example", "k.example", "geheim"],
    ),
    "PGLEADERBOARD_CONCURRENCY": ("concurrency", 4, [("1", 1), ("64", 64)], ["0", "-1", "65", "four", "1.5", "nan"]),
    "PGLEADERBOARD_HTTP_TIMEOUT": (
        "http_timeout",
        30,
        [("0.5", 0.5), ("3600", 3600)],
        ["0", "-1", "3601", "x", "nan", "inf"],
    ),
    "PGLEADERBOARD_DOWNLOAD_DEADLINE": (
        "download_deadline",
        300,
        [("0.5", 0.5), ("86400", 86400)],
        ["0", "-1", "86401", "x", "nan", "inf"],
    ),
    "PGLEADERBOARD_MAX_DOWNLOAD_MB": (
        "max_download_mb",
        512,
        [("1", 1), ("4096", 4096)],
        ["0", "-1", "0.5", "x", "inf"],
    ),
    "PGLEADERBOARD_REQUESTS_PER_MINUTE": (
        "requests_per_minute",
        30,
        [("0", 0), ("1", 1), ("60000", 60000)],
        ["-1", "60001", "x", "1.5"],
    ),
    "PGLEADERBOARD_RUNS_DAYS": (
        "runs_days",
        30,
        [("0", 0), ("0.5", 0.5), ("3650", 3650)],
        ["-1", "x", "nan", "inf", "1e12"],
    ),
    "PGLEADERBOARD_HISTORY_DAYS": (
        "history_days",
        None,
        [("0.5", 0.5), ("3650", 3650)],
        ["-1", "x", "nan", "inf", "1e12"],
    ),
    "PGLEADERBOARD_AFTER_END_HOURS": (
        "after_end_hours",
        2,
        [("0", 0), ("0.5", 0.5), ("876000", 876000)],
        ["-1", "x", "nan", "inf", "876001"],
    ),
    "PGLEADERBOARD_AFTER_END_HOURLY_DAYS": (
        "after_end_hourly_days",
        1,
        [("0", 0), ("0.5", 0.5), ("36500", 36500)],
        ["-1", "x", "nan", "inf", "36501"],
    ),
    "PGLEADERBOARD_AFTER_END_DAILY_DAYS": (
        "after_end_daily_days",
        30,
        [("0", 0), ("0.5", 0.5), ("36500", 36500)],
        ["-1", "x", "nan", "inf", "36501"],
    ),
    "PGLEADERBOARD_AFTER_END_WEEKLY_DAYS": (
        "after_end_weekly_days",
        365,
        [("0", 0), ("0.5", 0.5), ("36500", 36500)],
        ["-1", "x", "nan", "inf", "36501"],
    ),
    "PGLEADERBOARD_LOG_FORMAT": ("log_format", "text", [("text", "text"), ("json", "json")], ["xml", "JSON "]),
    "PGLEADERBOARD_METRICS_PORT": ("metrics_port", None, [("0", 0), ("65535", 65535)], ["-1", "65536", "http", "1.5"]),
    "PORT": ("port", None, [("5000", 5000)], ["-1", "65536", "http"]),
    "PGLEADERBOARD_PAGE_URL": (
        "page_url",
        None,
        [("https://boards.example.org/", "https://boards.example.org")],
        ["boards.example.org", "ftp://boards.example.org", "https://boards.example.org/?a=b"],
    ),
    "PGLEADERBOARD_PAGE_HOSTS": (
        "page_hosts",
        "",
        [("a.example.org,b.example.org", "a.example.org,b.example.org")],
        [],
    ),
    "PGLEADERBOARD_METRICS_HOST": ("metrics_host", "127.0.0.1", [("::1", "::1"), ("10.0.0.7", "10.0.0.7")], []),
}


REFUSED = [(name, text) for name, (_, _, _, refused) in CONTRACT.items() for text in refused]


def test_each_setting_is_listed() -> None:
    """The table above forgets none."""
    assert {attribute for attribute, *_ in CONTRACT.values()} == set(Settings.model_fields)


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PGLEADERBOARD_HOME", raising=False)


@pytest.mark.parametrize("name", CONTRACT)
def test_each_setting_has_its_default(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without anything set, and with an empty value, the default of the contract holds."""
    attribute, default, _, _ = CONTRACT[name]
    default = default() if callable(default) else default
    assert getattr(Settings.load(), attribute) == default
    monkeypatch.setenv(name, "")
    assert getattr(Settings.load(), attribute) == default


@pytest.mark.parametrize("name", CONTRACT)
def test_each_setting_is_read_from_the_environment_and_from_env_files(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ways give the same value, up to the bounds; the environment wins."""
    attribute, default, accepted, _ = CONTRACT[name]
    default = default() if callable(default) else default
    if attribute == "read_url":
        monkeypatch.setenv("DATABASE_URL", "postgresql://primary/d")
    for text, value in accepted:
        (tmp_path / ".env").write_text(f"{name}='{text}'\n")
        assert getattr(Settings.load(), attribute) == value
        (tmp_path / ".env").write_text(f"{name}=\n")
        assert getattr(Settings.load(), attribute) == default
        monkeypatch.setenv(name, text)
        assert getattr(Settings.load(), attribute) == value
        (tmp_path / ".env").write_text(f"{name}=other\n")
        assert getattr(Settings.load(), attribute) == value
        monkeypatch.delenv(name)


@pytest.mark.parametrize(("name", "text"), REFUSED)
@pytest.mark.parametrize("where", ["environment", ".env"])
def test_a_wrong_value_is_one_clear_line(
    name: str, text: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the variable and what is wanted, never the value: that may be a secret in the wrong place."""
    if where == ".env":
        (tmp_path / ".env").write_text(f"{name}='{text}'\n")
    else:
        monkeypatch.setenv(name, text)

    with pytest.raises(NeedsPerson) as caught:
        Settings.load()

    said = str(caught.value)
    assert name in said
    assert "\n" not in said
    assert "geheim" not in said
    assert "pydantic" not in said
    assert caught.value.__cause__ is None


def test_all_wrong_values_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has to mend them one by one."""
    monkeypatch.setenv("PGLEADERBOARD_CONCURRENCY", "many")
    monkeypatch.setenv("PGLEADERBOARD_LOG_FORMAT", "xml")
    with pytest.raises(NeedsPerson, match=r"PGLEADERBOARD_CONCURRENCY.*PGLEADERBOARD_LOG_FORMAT"):
        Settings.load()


def test_an_env_file_that_is_no_text_is_one_clear_line(tmp_path: Path) -> None:
    """A picture by the name of .env is no traceback."""
    (tmp_path / ".env").write_bytes(b"\xff\xfe\x00KAGGLE_KEY=geheim")
    with pytest.raises(NeedsPerson, match=r"\.env"):
        Settings.load()


def test_secrets_are_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by repr nor by str: settings end up in logs."""
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_KEY"):
        monkeypatch.setenv(name, "geheim")
    for name in ("DATABASE_URL", "PGLEADERBOARD_DIRECT_URL", "PGLEADERBOARD_READ_URL"):
        monkeypatch.setenv(name, "postgresql://me:geheim@localhost/mine")
    loaded = Settings.load()
    assert "geheim" not in f"{loaded!r} {loaded} {loaded.model_dump_json()}"
    assert loaded.url == "postgresql://me:geheim@localhost/mine"


def test_unknown_variables_do_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A .env belongs to other programs too."""
    (tmp_path / ".env").write_text("OTHER=1\nPGLEADERBOARD_NEWER=2\nexport KAGGLE_USERNAME=somebody # a note\n")
    monkeypatch.setenv("PGLEADERBOARD_NEWER", "3")
    assert Settings.load().kaggle_username == "somebody"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOME", "/somewhere"),
        ("CONCURRENCY", "7"),
        ("HTTP_TIMEOUT", "7"),
        ("LOG_FORMAT", "json"),
        ("DIRECT_URL", "postgresql://elsewhere"),
        ("POSTGRES_BIN", "/elsewhere"),
        ("RUNS_DAYS", "1"),
    ],
)
def test_only_our_own_names_count(name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HOME and other programs' LOG_FORMAT are not ours, in the environment or in .env."""
    monkeypatch.delenv(name, raising=False)

    def loaded() -> dict[str, Any]:
        found = Settings.load()
        assert found.home != Path(value)
        return found.model_dump(exclude={"home"})  # the platform's data folder may lie below HOME

    expected = loaded()
    monkeypatch.setenv(name, value)
    assert loaded() == expected
    monkeypatch.delenv(name)
    (tmp_path / ".env").write_text(f"{name}={value}\n")
    assert loaded() == expected


def test_settings_stand_still() -> None:
    """Nobody changes them on the way."""
    with pytest.raises(ValueError, match="frozen"):
        Settings.load().concurrency = 5  # type: ignore[misc]


def test_the_home_of_root_is_one_that_another_user_can_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL does not run as root; others have the platform's user data folder."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert _default_home() == Path("/var/lib/pgleaderboard")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert _default_home() == Path(platformdirs.user_data_dir("pgleaderboard"))
