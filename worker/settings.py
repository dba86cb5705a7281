"""The settings, and the only place that reads the environment and `.env`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from worker.conninfo import parts_of
from worker.errors import NeedsPerson


def _default_home() -> Path:
    # PostgreSQL refuses to run as root and must reach its data as another user, which /root forbids.
    if os.geteuid() == 0:
        return Path("/var/lib/pgleaderboard")
    return Path(platformdirs.user_data_dir("pgleaderboard"))


class Settings(BaseSettings):
    """Everything that can be set, by environment variable or in `.env`; the environment wins."""

    model_config = SettingsConfigDict(env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True)

    database_url: SecretStr | None = Field(None, validation_alias="DATABASE_URL")
    direct_url: SecretStr | None = Field(None, validation_alias="PGLEADERBOARD_DIRECT_URL")
    home: Path = Field(default_factory=_default_home, validation_alias="PGLEADERBOARD_HOME")
    postgres_bin: Path | None = Field(None, validation_alias="PGLEADERBOARD_POSTGRES_BIN")

    kaggle_api_token: SecretStr | None = Field(None, validation_alias="KAGGLE_API_TOKEN")
    kaggle_username: str | None = Field(None, validation_alias="KAGGLE_USERNAME")
    kaggle_key: SecretStr | None = Field(None, validation_alias="KAGGLE_KEY")
    kaggle_config_dir: Path | None = Field(None, validation_alias="KAGGLE_CONFIG_DIR")
    kaggle_url: str = Field("https://api.kaggle.com", validation_alias="PGLEADERBOARD_KAGGLE_URL")

    concurrency: int = Field(4, ge=1, le=64, validation_alias="PGLEADERBOARD_CONCURRENCY")
    http_timeout: float = Field(30, gt=0, le=3600, validation_alias="PGLEADERBOARD_HTTP_TIMEOUT")
    download_deadline: float = Field(300, gt=0, le=86400, validation_alias="PGLEADERBOARD_DOWNLOAD_DEADLINE")
    max_download_mb: int = Field(512, ge=1, validation_alias="PGLEADERBOARD_MAX_DOWNLOAD_MB")
    requests_per_minute: int = Field(30, ge=0, le=60000, validation_alias="PGLEADERBOARD_REQUESTS_PER_MINUTE")
    runs_days: float = Field(30, ge=0, le=36500, validation_alias="PGLEADERBOARD_RUNS_DAYS")
    history_days: float | None = Field(None, ge=0, le=36500, validation_alias="PGLEADERBOARD_HISTORY_DAYS")
    after_end_hours: float = Field(2, ge=0, le=876000, validation_alias="PGLEADERBOARD_AFTER_END_HOURS")
    after_end_hourly_days: float = Field(1, ge=0, le=36500, validation_alias="PGLEADERBOARD_AFTER_END_HOURLY_DAYS")
    after_end_daily_days: float = Field(30, ge=0, le=36500, validation_alias="PGLEADERBOARD_AFTER_END_DAILY_DAYS")
    log_format: Literal["text", "json"] = Field("text", validation_alias="PGLEADERBOARD_LOG_FORMAT")

    @field_validator("database_url", "direct_url")
    @classmethod
    def _readable(cls, value: SecretStr | None) -> SecretStr | None:
        if value:
            try:
                parts_of(value.get_secret_value())
            except NeedsPerson as error:
                raise ValueError(str(error)) from None
        return value

    @field_validator("kaggle_url")
    @classmethod
    def _no_trailing_slash(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value.rstrip("/")

    @classmethod
    def load(cls) -> Settings:
        """Read the environment and `.env`.

        Raises NeedsPerson, naming each variable that cannot be used, never its value.
        """
        try:
            return cls()
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise NeedsPerson(f"cannot use the settings: {wrong}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise NeedsPerson(f"cannot read .env: {type(error).__name__}") from None

    @property
    def url(self) -> str | None:
        """The user's own database, None for the embedded one."""
        return self.database_url.get_secret_value() if self.database_url else None


def pager() -> str | None:
    """What PAGER says: a command, nothing for no pager, None where it is not set."""
    return os.environ.get("PAGER")
