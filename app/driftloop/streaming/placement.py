"""Where a model's records lie."""

from __future__ import annotations

from aiokafka.partitioner import murmur2

__all__ = ["model_partition"]


def model_partition(model_id: str, partitions: int) -> int:
    """The partition of a model in topics keyed by model id: murmur2, like Kafka's own default partitioner."""
    return int(murmur2(model_id.encode()) & 0x7FFFFFFF) % partitions
