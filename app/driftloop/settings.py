"""Process settings from environment variables ``DRIFTLOOP_*`` and a ``.env`` file.

What belongs to a model is in its spec (:mod:`driftloop.spec`); what belongs to a process is here.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Literal, Self, get_args
from urllib.parse import quote, unquote

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from driftloop.events.topics import DEFAULT_PREFIX, Topics

__all__ = ["Settings", "secret_settings"]


class Settings(BaseSettings):
    """Every setting has a default that works on one machine with a broker on localhost:9092."""

    model_config = SettingsConfigDict(
        env_prefix="DRIFTLOOP_",
        env_file=".env",
        extra="ignore",
        frozen=False,
        # A value that is refused may be a secret in the wrong place.
        hide_input_in_errors=True,
    )

    bootstrap: str = Field(default="localhost:9092", description="Kafka bootstrap servers, host:port[,host:port]")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    sasl_password_file: Path | None = Field(default=None, description="file that holds the password instead")
    ssl_ca_file: Path | None = None
    ssl_cert_file: Path | None = Field(default=None, description="client certificate, PEM")
    ssl_key_file: Path | None = Field(default=None, description="private key of the client certificate, PEM")
    ssl_key_password: SecretStr | None = None
    ssl_key_password_file: Path | None = Field(default=None, description="file that holds the key's password instead")

    topic_prefix: str = Field(default=DEFAULT_PREFIX, pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,99}$")
    source_partitions: int = Field(default=4, ge=1, description="partitions of predictions, labels and labeled")
    model_partitions: int = Field(default=2, ge=1, description="partitions of the topics keyed by model")
    replication_factor: int = Field(default=1, ge=1)

    specs: Path = Field(default=Path("models"), description="folder of model specs (*.yaml)")
    data_dir: Path = Field(default=Path(".driftloop"), description="where SQLite, artifacts and worker state live")
    database_url: SecretStr | None = Field(default=None, description="SQLAlchemy URL; default: SQLite in data_dir")
    database_url_file: Path | None = Field(default=None, description="file that holds the URL instead")
    artifacts: Path | None = Field(
        default=None, description="folder of model files and data sets; default: in data_dir"
    )

    commit: str = Field(default="", description="commit of the code, where no repository tells (training/provenance)")
    app_id: str = Field(default="driftloop", description="consumer group prefix")
    web_host: str = "127.0.0.1"
    web_port: int = Field(default=6066, ge=1, le=65535)
    metrics_port: int = Field(default=9464, ge=0, le=65535, description="/metrics, /livez, /readyz; 0 switches it off")
    web_token: SecretStr | None = Field(default=None, description="lets who sends it promote, approve, reject")
    web_token_file: Path | None = Field(default=None, description="file that holds the token instead")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"

    batch_records: int = Field(default=4000, ge=1, description="records in one batch of the hot path")
    publish_interval_ms: int = Field(
        default=500, ge=0, description="open windows and progress are published this often at most"
    )
    idle_timeout_ms: int = Field(
        default=60_000, ge=0, description="a source partition without events is idle after this long"
    )
    max_clock_ahead_ms: int = Field(
        default=3_600_000, ge=0, description="event time may be ahead of the record's time by this"
    )
    oldest_event_ms: int = Field(default=946_684_800_000, description="event times before this (2000-01-01) are absurd")
    max_message_bytes: int = Field(default=1_000_000, ge=1_000)
    session_timeout_ms: int = Field(default=30_000, ge=1_000)
    rebalance_timeout_ms: int = Field(default=30_000, ge=1_000)

    @field_validator(
        "sasl_password_file",
        "ssl_ca_file",
        "ssl_cert_file",
        "ssl_key_file",
        "ssl_key_password_file",
        "database_url_file",
        "web_token_file",
        mode="before",
    )
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        """An empty variable switches off one that a ``.env`` file sets."""
        return None if value == "" else value

    @model_validator(mode="after")
    def _read_secret_files(self) -> Self:
        """Every secret may be in a file, as container platforms hand them out."""
        for name in secret_settings():
            file: Path | None = getattr(self, f"{name}_file")
            if file is None:
                continue
            variable = f"DRIFTLOOP_{name.upper()}"
            if getattr(self, name) is not None:
                raise ValueError(f"{variable} and {variable}_FILE are both set; keep one of them")
            try:
                content = file.read_text(encoding="utf-8").rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
                raise ValueError(f"{variable}_FILE {file} cannot be read: {reason}") from None
            if not content:
                raise ValueError(f"{variable}_FILE {file} is empty")
            setattr(self, name, SecretStr(content))
        return self

    def secrets(self) -> list[str]:
        """Texts that must not be shown: passwords, and database URLs with one, in the forms in which they may turn
        up."""
        found: set[str] = set()
        for name in secret_settings():
            value: SecretStr | None = getattr(self, name)
            if value is None:
                continue
            if name == "database_url":
                found.update(_secrets_of_url(value.get_secret_value()))
            else:
                found.add(value.get_secret_value())
        return sorted(found | {quote(secret, safe="") for secret in found}, key=len, reverse=True)

    @cached_property
    def topics(self) -> Topics:
        return Topics(self.topic_prefix, self.source_partitions, self.model_partitions)

    @property
    def resolved_database_url(self) -> str:
        if self.database_url is None:
            return f"sqlite:///{self.data_dir / 'driftloop.db'}"
        return self.database_url.get_secret_value()

    @property
    def resolved_artifacts(self) -> Path:
        return self.artifacts or self.data_dir / "artifacts"


def secret_settings() -> list[str]:
    """Names of the settings that hold secrets; each has one with ``_file`` beside it."""
    return [name for name, field in Settings.model_fields.items() if SecretStr in get_args(field.annotation)]


def _secrets_of_url(url: str) -> set[str]:
    """The password of a URL, written as it is or as it is meant, and its parameters that may be secret."""
    written = re.findall(r"://[^/?#]*?:(.*)@", url)
    written += re.findall(r"[?&][^=&]*(?:password|secret|token|key)[^=&]*=([^&#]+)", url, re.IGNORECASE)
    return {form for text in written for form in (text, unquote(text)) if form}
