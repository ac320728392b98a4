"""Process settings from environment variables ``DRIFTLOOP_*`` and a ``.env`` file.

What belongs to a model is in its spec (:mod:`driftloop.spec`); what belongs to a process is here.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from driftloop.events.topics import DEFAULT_PREFIX, Topics

__all__ = ["Settings"]


class Settings(BaseSettings):
    """Every setting has a default that works on one machine with a broker on localhost:9092."""

    model_config = SettingsConfigDict(env_prefix="DRIFTLOOP_", env_file=".env", extra="ignore", frozen=False)

    bootstrap: str = Field(default="localhost:9092", description="Kafka bootstrap servers, host:port[,host:port]")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: str = "PLAIN"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_ca_file: Path | None = None

    topic_prefix: str = Field(default=DEFAULT_PREFIX, pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,99}$")
    source_partitions: int = Field(default=4, ge=1, description="partitions of predictions, labels and labeled")
    model_partitions: int = Field(default=2, ge=1, description="partitions of the topics keyed by model")
    replication_factor: int = Field(default=1, ge=1)

    specs: Path = Field(default=Path("models"), description="folder of model specs (*.yaml)")
    data_dir: Path = Field(default=Path(".driftloop"), description="where SQLite, artifacts and worker state live")
    database_url: str | None = Field(default=None, description="SQLAlchemy URL; default: SQLite in data_dir")
    artifacts: Path | None = Field(
        default=None, description="folder of model files and data sets; default: in data_dir"
    )

    app_id: str = Field(default="driftloop", description="consumer group prefix")
    web_host: str = "127.0.0.1"
    web_port: int = Field(default=6066, ge=1, le=65535)
    metrics_port: int = Field(default=9464, ge=0, le=65535, description="/metrics, /livez, /readyz; 0 switches it off")
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

    @cached_property
    def topics(self) -> Topics:
        return Topics(self.topic_prefix, self.source_partitions, self.model_partitions)

    @property
    def resolved_database_url(self) -> str:
        return self.database_url or f"sqlite:///{self.data_dir / 'driftloop.db'}"

    @property
    def resolved_artifacts(self) -> Path:
        return self.artifacts or self.data_dir / "artifacts"
