"""Process settings from environment variables ``DRIFTLOOP_*`` and a ``.env`` file.

What belongs to a model is in its spec (:mod:`driftloop.spec`); what belongs to a process is here.
"""

from __future__ import annotations

import contextlib
import os
import re
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self, get_args
from urllib.parse import quote, unquote

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from driftloop.events.topics import DEFAULT_PREFIX, Topics

__all__ = ["Settings", "SettingsError", "secret_settings"]

#: Secrets that clients of MLflow and of object stores read from the environment by themselves.
_OF_CLIENTS = (
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "DATABRICKS_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_CONNECTION_STRING",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_CLIENT_SECRET",
)


class SettingsError(ValueError):
    """A setting that is refused: the variable and what is wrong with it, never its value, which may be a secret."""


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

    def __init__(self, **values: Any) -> None:
        """Raises :class:`SettingsError`."""
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise SettingsError("; ".join(map(_sentence, error.errors()))) from None

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
    min_insync_replicas: int | None = Field(
        default=None, ge=1, description="copies that a write waits for; default: one less than replication_factor"
    )

    specs: Path = Field(default=Path("models"), description="folder of model specs (*.yaml), or one of them")
    data_dir: Path = Field(default=Path(".driftloop"), description="where SQLite, artifacts and worker state live")
    database_url: SecretStr | None = Field(default=None, description="SQLAlchemy URL; default: SQLite in data_dir")
    database_url_file: Path | None = Field(default=None, description="file that holds the URL instead")
    artifacts: Path | str | None = Field(
        default=None, description="folder (or URL, s3://...) of model files and data sets; default: in data_dir"
    )
    mlflow_tracking_uri: str | None = Field(default=None, description="MLflow server that versions go to as well")
    mlflow_experiment: str = Field(default="driftloop/{model}", description="experiment in MLflow of a model")
    mlflow_model: str = Field(default="{model}", description="name of a model in MLflow's registry")

    commit: str = Field(default="", description="commit of the code, where no repository tells, as in an image")
    app_id: str = Field(default="driftloop", description="consumer group prefix")
    web_host: str = "127.0.0.1"
    web_port: int = Field(default=6066, ge=1, le=65535)
    metrics_port: int = Field(default=9464, ge=0, le=65535, description="/metrics, /livez, /readyz; 0 switches it off")
    web_token: SecretStr | None = Field(default=None, description="lets who sends it decide (docs/security.md)")
    web_token_file: Path | None = Field(default=None, description="file that holds the token instead")
    handover_token: SecretStr | None = Field(default=None, description="bearer token of Airflow or Argo")
    handover_token_file: Path | None = Field(default=None, description="file that holds the token instead")
    handover_username: str | None = Field(default=None, description="user of Airflow, instead of a token")
    handover_password: SecretStr | None = None
    handover_password_file: Path | None = Field(default=None, description="file that holds the password instead")
    handover_key: SecretStr | None = Field(default=None, description="whsec_...: signs webhooks, and results")
    handover_key_file: Path | None = Field(default=None, description="file that holds the key instead")
    handover_secrets: Path | None = Field(default=None, description="folder of NAME.token, NAME.key, ... for specs")
    handover_report_url: str | None = Field(
        default=None, pattern=r"^https?://[^@\s]+$", description="where the trainer's port is reached from outside"
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"

    batch_records: int = Field(default=4000, ge=1, description="records in one batch of the hot path")
    publish_interval_ms: int = Field(
        default=500, ge=0, description="open windows and progress are published this often at most"
    )
    idle_timeout_ms: int = Field(
        default=60_000,
        ge=0,
        description="a source partition from which nothing came for this long is idle, if nothing is there to be read",
    )
    max_clock_ahead_ms: int = Field(
        default=3_600_000, ge=0, description="event time may be ahead of the record's time by this"
    )
    oldest_event_ms: int = Field(default=946_684_800_000, description="event times before this (2000-01-01) are absurd")
    max_message_bytes: int = Field(default=1_000_000, ge=1_000)
    pending_in_memory: int = Field(
        default=250_000,
        ge=1_000,
        description="pending predictions and waiting labels that a worker keeps in memory; the rest is on disk",
    )
    checkpoint_interval_ms: int = Field(
        default=30_000, ge=0, description="state of source partitions is saved in data_dir this often; 0: never"
    )
    file_tries: int = Field(
        default=8, ge=1, description="a command whose files cannot be read or written is tried so often by the trainer"
    )
    file_retry_ms: int = Field(
        default=5_000, ge=100, description="the first pause between these tries; each one after it is twice as long"
    )
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
        "handover_token_file",
        "handover_password_file",
        "handover_key_file",
        "handover_secrets",
        "handover_report_url",
        mode="before",
    )
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        """An empty variable switches off one that a ``.env`` file sets."""
        return None if value == "" else value

    @field_validator("artifacts", mode="before")
    @classmethod
    def _path_or_url(cls, value: object) -> object:
        """A URL stays text; credentials have no place in it."""
        if not isinstance(value, str) or value == "":
            return value or None
        if "://" not in value:
            return Path(value)
        from driftloop.registry.remote_files import url_problem

        problem = url_problem(value)
        if problem:
            raise ValueError(problem)
        return value

    @field_validator("mlflow_tracking_uri")
    @classmethod
    def _server_without_password(cls, value: str | None) -> str | None:
        if not value:
            return None
        if not re.match(r"https?://[^/]|databricks(://|$)|databricks-uc(://|$)", value):
            raise ValueError("expected http://host:port or https://... of an MLflow server, or databricks")
        if "@" in value or "?" in value:
            raise ValueError(
                "expected a URL without user, password or parameters; MLflow reads them from "
                "MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD or MLFLOW_TRACKING_TOKEN"
            )
        return value.rstrip("/")

    @field_validator("mlflow_experiment", "mlflow_model")
    @classmethod
    def _names_the_model(cls, value: str) -> str:
        if "{model}" not in value or set(re.findall(r"[{][^}]*[}]?|[}]", value)) != {"{model}"}:
            raise ValueError("expected a text with {model}, which stands for the model's name, and no other braces")
        return value

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
        up; also those that the clients of MLflow and object stores have from the environment."""
        found: set[str] = set()
        for name in secret_settings():
            value: SecretStr | None = getattr(self, name)
            if value is None:
                continue
            if name == "database_url":
                found.update(_secrets_of_url(value.get_secret_value()))
            else:
                found.add(value.get_secret_value())
        found.update(_secrets_in(self.handover_secrets))
        found.update({os.environ.get(name, "") for name in _OF_CLIENTS} - {""})
        return sorted(found | {quote(secret, safe="") for secret in found}, key=len, reverse=True)

    @model_validator(mode="after")
    def _enough_replicas(self) -> Self:
        if self.min_insync_replicas is not None and self.min_insync_replicas > self.replication_factor:
            raise ValueError(
                f"DRIFTLOOP_MIN_INSYNC_REPLICAS is {self.min_insync_replicas}, more than the "
                f"{self.replication_factor} copies of DRIFTLOOP_REPLICATION_FACTOR: nothing could ever be written"
            )
        return self

    @property
    def resolved_min_insync_replicas(self) -> int:
        """One broker may be away, and what was written is with another."""
        return self.min_insync_replicas or max(1, self.replication_factor - 1)

    @cached_property
    def topics(self) -> Topics:
        return Topics(self.topic_prefix, self.source_partitions, self.model_partitions)

    @property
    def resolved_database_url(self) -> str:
        if self.database_url is None:
            return f"sqlite:///{self.data_dir / 'driftloop.db'}"
        return self.database_url.get_secret_value()

    @property
    def resolved_artifacts(self) -> Path | str:
        return self.artifacts or self.data_dir / "artifacts"


def _sentence(problem: Any) -> str:
    said = problem["msg"].removeprefix("Value error, ")
    return said if not problem["loc"] else f"DRIFTLOOP_{str(problem['loc'][0]).upper()}: {said[0].lower()}{said[1:]}"


def secret_settings() -> list[str]:
    """Names of the settings that hold secrets; each has one with ``_file`` beside it."""
    return [name for name, field in Settings.model_fields.items() if SecretStr in get_args(field.annotation)]


def _secrets_in(folder: Path | None) -> set[str]:
    """The contents of a folder of secrets; what cannot be read is said when it is wanted."""
    found: set[str] = set()
    for path in [] if folder is None else [*folder.glob("*.token"), *folder.glob("*.password"), *folder.glob("*.key")]:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            found.add(path.read_text(encoding="utf-8").rstrip("\r\n"))
    return found - {""}


def _secrets_of_url(url: str) -> set[str]:
    """The password of a URL, written as it is or as it is meant, and its parameters that may be secret."""
    written = re.findall(r"://[^/?#]*?:(.*)@", url)
    written += re.findall(r"[?&][^=&]*(?:password|secret|token|key)[^=&]*=([^&#]+)", url, re.IGNORECASE)
    return {form for text in written for form in (text, unquote(text)) if form}
