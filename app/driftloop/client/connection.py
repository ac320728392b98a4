"""How a client names its broker: an address, or a whole librdkafka configuration."""

from __future__ import annotations

import logging
from typing import Any

from driftloop.kafka.config import ClientConfig

__all__ = ["connection"]


def connection(broker: str | ClientConfig) -> dict[str, Any]:
    """Client configuration of ``"host:port[,host:port]"`` or of a mapping with ``bootstrap.servers``.

    Raises ``ValueError`` if there is no address in it.
    """
    config = {"bootstrap.servers": broker} if isinstance(broker, str) else dict(broker)
    if not config.get("bootstrap.servers"):
        raise ValueError("expected a broker address 'host:port' or a configuration with 'bootstrap.servers'")
    return {"client.id": "driftloop-client", "logger": logging.getLogger("driftloop.kafka.client"), **config}
