"""Client configuration for confluent-kafka from the process settings."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from driftloop.kafka.security import broker_security

if TYPE_CHECKING:
    from driftloop.settings import Settings

__all__ = ["ClientConfig", "client_config", "without_secrets"]

#: Keys and values as librdkafka takes them.
ClientConfig = Mapping[str, Any]

_SECRET_KEYS = frozenset(
    {"sasl.password", "ssl.key.password", "ssl.keystore.password", "sasl.oauthbearer.client.secret"}
)


def client_config(settings: Settings, **extra: Any) -> dict[str, Any]:
    """Configuration of a confluent-kafka client: brokers, security, and ``extra`` on top.

    Keys of ``extra`` are librdkafka's with underscores for dots (``client_id="trainer"`` is ``client.id``).
    Raises ``ValueError`` if SASL is asked for without a user name or password, or a certificate is not there.
    """
    config: dict[str, Any] = {
        "bootstrap.servers": settings.bootstrap,
        **broker_security(settings).librdkafka(),
        "client.id": "driftloop",
        # What librdkafka has to say goes where the process logs, not past it to standard error.
        "logger": logging.getLogger("driftloop.kafka.client"),
    }
    config.update({key if key.endswith("_cb") else key.replace("_", "."): value for key, value in extra.items()})
    return config


def without_secrets(config: ClientConfig) -> dict[str, Any]:
    """The configuration as it may be shown: secrets masked."""
    return {key: "***" if key in _SECRET_KEYS else value for key, value in config.items() if key != "logger"}
