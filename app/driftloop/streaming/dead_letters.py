"""Dead letters of monitors and assessors to their topic."""

from __future__ import annotations

from collections.abc import Iterable

from driftloop.kafka.dead_letters import dead_letter
from driftloop.kafka.producer import Producer
from driftloop.monitoring.outputs import DeadLetter

__all__ = ["produce_dead_letters"]


def produce_dead_letters(producer: Producer, topic: str, letters: Iterable[DeadLetter], stage: str) -> None:
    """Hand the records to the producer, byte for byte; they are written when it is flushed."""
    for letter in letters:
        key, value, headers = dead_letter(
            topic=letter.topic,
            partition=letter.partition,
            offset=letter.offset,
            key=letter.key,
            value=letter.value,
            headers=letter.headers,
            code=letter.code,
            message=letter.message,
            stage=stage,
        )
        producer.produce(topic, value, key, headers=headers)
