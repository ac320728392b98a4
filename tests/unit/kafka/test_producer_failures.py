"""Failures without a broker: nothing listens on the address."""

from __future__ import annotations

import pytest

from driftloop.kafka.admin import BrokerError, wait_for_broker
from driftloop.kafka.embedded import free_port
from driftloop.kafka.log_reader import LogReadError, partition_count, read_partition
from driftloop.kafka.producer import MAX_MESSAGE_BYTES, DeliveryError, Producer


def nowhere() -> dict[str, object]:
    return {"bootstrap.servers": f"127.0.0.1:{free_port()}", "log_level": 0}


def test_flush_tells_when_records_are_not_written_in_time() -> None:
    producer = Producer(nowhere())
    producer.produce("t", b"1")
    producer.produce("t", b"2")
    with pytest.raises(DeliveryError, match=r"2 records are not written after 0.2 s; check that the broker") as raised:
        producer.flush(0.2)
    assert raised.value.failed == 2


def test_flush_names_topic_and_reason_once() -> None:
    producer = Producer({**nowhere(), "message.timeout.ms": 100})
    producer.produce("t.x", b"1", key=b"k")
    with pytest.raises(DeliveryError, match=r"1 records were not written; the first: t\.x\[.*timed out"):
        producer.flush(10)
    producer.flush(1)


def test_a_full_queue_waits_until_records_expire_or_raises_if_told_so() -> None:
    producer = Producer({**nowhere(), "message.timeout.ms": 300, "queue.buffering.max.messages": 2})
    producer.produce("t", b"1")
    producer.produce("t", b"2")
    with pytest.raises(DeliveryError, match="queue is full"):
        producer.produce("t", b"3", wait=False)
    producer.produce("t", b"3")
    with pytest.raises(DeliveryError) as raised:
        producer.flush(10)
    assert raised.value.failed == 3


def test_too_large_is_refused_at_once() -> None:
    with pytest.raises(DeliveryError, match="too large") as raised:
        Producer(nowhere()).produce("t", b"x" * (MAX_MESSAGE_BYTES + 1))
    assert (raised.value.refused, raised.value.broken) == (True, False)


def test_no_broker_is_a_sentence_that_says_what_to_do() -> None:
    with pytest.raises(BrokerError, match="DRIFTLOOP_BOOTSTRAP"):
        wait_for_broker(nowhere(), 0.3)
    with pytest.raises(LogReadError, match="DRIFTLOOP_BOOTSTRAP"):
        partition_count(nowhere(), "t", 0.3)


def test_empty_ranges_need_no_broker_and_negative_offsets_are_refused() -> None:
    assert list(read_partition(nowhere(), "t", 0, 5, 5)) == []
    with pytest.raises(ValueError, match="offsets start at 0"):
        list(read_partition(nowhere(), "t", 0, -1))
