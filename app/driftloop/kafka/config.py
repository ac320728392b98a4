"""Client configuration for confluent-kafka from the process settings."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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
    Raises ``ValueError`` if SASL is asked for without a user name or password.
    """
    config: dict[str, Any] = {
        "bootstrap.servers": settings.bootstrap,
        "security.protocol": settings.security_protocol,
        "client.id": "driftloop",
        # What librdkafka has to say goes where the process logs, not past it to standard error.
        "logger": logging.getLogger("driftloop.kafka.client"),
    }
    if settings.security_protocol.startswith("SASL"):
        if not settings.sasl_username or settings.sasl_password is None:
            raise ValueError(
                f"security protocol {settings.security_protocol} needs DRIFTLOOP_SASL_USERNAME and "
                "DRIFTLOOP_SASL_PASSWORD: set both, or set DRIFTLOOP_SECURITY_PROTOCOL to one without SASL"
            )
        config["sasl.mechanism"] = settings.sasl_mechanism
        config["sasl.username"] = settings.sasl_username
        config["sasl.password"] = settings.sasl_password.get_secret_value()
    if settings.ssl_ca_file is not None:
        config["ssl.ca.location"] = str(settings.ssl_ca_file)
    config.update({key if key.endswith("_cb") else key.replace("_", "."): value for key, value in extra.items()})
    return config


def without_secrets(config: ClientConfig) -> dict[str, Any]:
    """The configuration as it may be shown: secrets masked."""
    return {key: "***" if key in _SECRET_KEYS else value for key, value in config.items() if key != "logger"}
