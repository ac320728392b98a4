"""What a production service imports: publish predictions and labels, follow model events and alerts.

Needs only the base install (confluent-kafka and msgspec).
"""

from driftloop.client.publisher import Publisher
from driftloop.client.subscribers import AlertSubscriber, ModelSubscriber
from driftloop.kafka.log_reader import LogReadError
from driftloop.kafka.producer import DeliveryError

__all__ = ["AlertSubscriber", "DeliveryError", "LogReadError", "ModelSubscriber", "Publisher"]
