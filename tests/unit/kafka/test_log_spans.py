"""Start and end of a partition: asked again while its leader is not known, and an error at once for what stays."""

from __future__ import annotations

import time
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from driftloop.kafka.log_reader import LogReadError, _claimed_span


class Asked:
    """A consumer that answers with these errors first."""

    def __init__(self, *codes: int) -> None:
        self.codes = list(codes)
        self.times = 0

    def get_watermark_offsets(self, place: TopicPartition, timeout: float, cached: bool) -> tuple[int, int]:
        self.times += 1
        assert timeout > 0
        assert not cached
        if self.codes:
            raise KafkaException(KafkaError(self.codes.pop(0)))
        return 3, 17


def span(consumer: Any, timeout_s: float = 5.0) -> tuple[int, int]:
    return _claimed_span(consumer, TopicPartition("alerts", 1), timeout_s)


def test_a_partition_whose_leader_is_not_known_yet_is_waited_for() -> None:
    consumer = Asked(KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION)
    assert span(consumer) == (3, 17)
    assert consumer.times == 3


def test_without_a_leader_in_time_it_is_an_error() -> None:
    consumer = Asked(*[KafkaError.NOT_LEADER_FOR_PARTITION] * 1_000)
    began_s = time.monotonic()
    with pytest.raises(LogReadError, match=r"start and end of alerts\[1\]"):
        span(consumer, 0.2)
    assert 0.2 <= time.monotonic() - began_s < 5
    assert consumer.times > 1


@pytest.mark.parametrize("code", [KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED])
def test_what_does_not_pass_is_said_at_once(code: int) -> None:
    consumer = Asked(code)
    with pytest.raises(LogReadError):
        span(consumer)
    assert consumer.times == 1
