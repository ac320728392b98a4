"""Publishing at once what a command has put into the outbox, if a broker answers."""

from __future__ import annotations

from sqlalchemy import Engine

from driftloop.registry import Relay, kafka_sender
from driftloop.registry.outbox import MESSAGE_TIMEOUT_MS
from driftloop.settings import Settings

__all__ = ["publish_outbox"]


def publish_outbox(engine: Engine, settings: Settings, broker_timeout_s: float = 2.0) -> str | None:
    """Publish what waits in the outbox; else why not: a worker or trainer does it later then."""
    from driftloop.kafka.admin import BrokerError, wait_for_broker
    from driftloop.kafka.config import client_config
    from driftloop.kafka.producer import DeliveryError, Producer

    try:
        config = client_config(settings, message_timeout_ms=MESSAGE_TIMEOUT_MS)
        wait_for_broker(config, broker_timeout_s)
        relay = Relay(engine, kafka_sender(Producer(config), settings.topics))
        relay.publish_pending()
        return None if relay.pending() == 0 else "another process is publishing"
    except (BrokerError, DeliveryError, ValueError) as error:
        return str(error)
