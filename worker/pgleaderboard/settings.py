"""The settings, and the only place that reads the environment and `.env`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from pgleaderboard.database.connect import parts_of
from pgleaderboard.errors import NeedsPerson

_UNPREFIXED = ("port", "database_url", "kaggle_api_token", "kaggle_username", "kaggle_key", "kaggle_config_dir")


def _variable(field: str) -> str:
    return field.upper() if field in _UNPREFIXED else f"PGLEADERBOARD_{field.upper()}"


def _default_home() -> Path:
    # PostgreSQL refuses to run as root and must reach its data as another user, which /root forbids.
    if os.geteuid() == 0:
        return Path("/var/lib/pgleaderboard")
    from platformdirs import user_data_dir

    try:
        return Path(user_data_dir("pgleaderboard"))
    except RuntimeError:  # a user without a home; it is told what to set where this folder is needed
        return Path("/var/lib/pgleaderboard")


class Settings(BaseSettings):
    """All settings, from environment variables and `.env`; the environment wins."""

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True, alias_generator=_variable
    )

    database_url: SecretStr | None = Field(
        None,
        description="your own PostgreSQL, as a URL or a libpq DSN; may be a pooler in transaction mode. "
        "Not set: the embedded PostgreSQL",
    )
    direct_url: SecretStr | None = Field(
        None, description="the same database without a pooler, for LISTEN and migrations. Not set: `DATABASE_URL`"
    )
    read_url: SecretStr | None = Field(
        None,
        description="the same database on a hot standby, for `status`, `board`, `standings`, `season`, "
        "`ratings`, `person`, `plot`, `export` and the live page. Not set: `DATABASE_URL`",
    )
    home: Path = Field(
        default_factory=_default_home,
        description="where the embedded PostgreSQL keeps its data. Not set: the user's data folder, "
        "`/var/lib/pgleaderboard` for root",
    )
    postgres_bin: Path | None = Field(
        None, description="folder of the embedded PostgreSQL's binaries. Not set: the Python package's"
    )

    kaggle_api_token: SecretStr | None = Field(None, description="Kaggle's token, or a file that holds one")
    kaggle_username: str | None = Field(None, description="with `KAGGLE_KEY`, without a token")
    kaggle_key: SecretStr | None = Field(None, description="with `KAGGLE_USERNAME`, without a token")
    kaggle_config_dir: Path | None = Field(
        None, description="the folder of `kaggle.json`, read if none of the three above is set. Not set: `~/.kaggle`"
    )
    kaggle_url: str = Field("https://api.kaggle.com", description="base URL of Kaggle")

    concurrency: int = Field(4, ge=1, le=64, description="syncs at once in one worker")
    http_timeout: float = Field(30, gt=0, le=3600, description="seconds without a byte after which a request fails")
    download_deadline: float = Field(300, gt=0, le=86400, description="seconds for one whole download")
    max_download_mb: int = Field(512, ge=1, description="largest board, unpacked, in MB")
    requests_per_minute: int = Field(30, ge=0, le=60000, description="all workers' Kaggle requests; 0 = no limit")
    runs_days: float = Field(30, ge=0, le=36500, description="days that runs without a change are kept")
    history_days: float | None = Field(
        None, ge=0, le=36500, description="days that closed versions of entries are kept. Not set: for ever"
    )
    after_end_hours: float = Field(2, ge=0, le=876000, description="hours at `sync_interval` after the end")
    after_end_hourly_days: float = Field(1, ge=0, le=36500, description="days of hourly syncs after that")
    after_end_daily_days: float = Field(30, ge=0, le=36500, description="days of daily syncs after that")
    after_end_weekly_days: float = Field(365, ge=0, le=36500, description="days of weekly syncs after that")
    log_format: Literal["text", "json"] = Field("text", description="format of the log")
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="port of `/metrics`, `/healthz` and `/readyz`; 0 = any free one. Not set: none",
    )
    metrics_host: str = Field("127.0.0.1", description="address of that port; no password protects it")

    port: int | None = Field(
        None, ge=0, le=65535, description="port of the live page, then on all addresses, as platforms set it"
    )
    page_url: str | None = Field(
        None, description="the address under which people open the live page; as `serve --url`"
    )
    page_hosts: str = Field(
        "", description="further names under which it is served, with commas between; as `serve --allowed-host`"
    )

    @field_validator("database_url", "direct_url", "read_url")
    @classmethod
    def _readable(cls, value: SecretStr | None) -> SecretStr | None:
        if value:
            try:
                parts_of(value.get_secret_value())
            except NeedsPerson as error:
                raise ValueError(str(error)) from None
        return value

    @field_validator("read_url")
    @classmethod
    def _beside_a_primary(cls, value: SecretStr | None, known: ValidationInfo) -> SecretStr | None:
        if value and known.data.get("database_url", value) is None:
            raise ValueError("set DATABASE_URL to its primary, too")
        return value

    @field_validator("kaggle_url")
    @classmethod
    def _no_trailing_slash(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value.rstrip("/")

    @field_validator("page_url")
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        return value and address(value)

    @classmethod
    def load(cls) -> Settings:
        """Read the environment and `.env`.

        Raises NeedsPerson, which names each invalid variable, never its value.
        """
        try:
            return cls()
        except ValidationError as error:
            wrong = "; ".join(
                f"{'.'.join(map(str, e['loc']))}: {e['msg'].removeprefix('Value error, ')}" for e in error.errors()
            )
            raise NeedsPerson(f"cannot use the settings: {wrong}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise NeedsPerson(f"cannot read .env: {type(error).__name__}") from None

    @property
    def url(self) -> str | None:
        """The user's own database, None for the embedded one."""
        return self.database_url.get_secret_value() if self.database_url else None


def address(text: str) -> str:
    """The address of a site, without a slash at its end. Raises ValueError where it is none."""
    try:
        is_one = bool(re.fullmatch(r"https?://[^/\s?#]+(/[^\s?#]*)?", text) and urlsplit(text).hostname)
    except ValueError:
        is_one = False
    if not is_one:
        raise ValueError(f"{text!r} is not an address; write it like https://boards.example.org")
    return text.rstrip("/")


def pager() -> str | None:
    """PAGER: a command, empty for no pager, None if it is not set."""
    return os.environ.get("PAGER")
