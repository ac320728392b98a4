"""Reading, tailing and producing on the embedded broker and on Apache Kafka."""

from __future__ import annotations

import time
from collections.abc import Iterable

import confluent_kafka
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from conftest import Broker, SettingsFor
from driftloop.kafka.admin import BrokerError, check_topics, create_topics
from driftloop.kafka.config import ClientConfig, client_config
from driftloop.kafka.dead_letters import dead_letter, origin_of
from driftloop.kafka.log_reader import (
    LogReadError,
    Record,
    at_their_ends,
    end_offset,
    end_offsets,
    partition_count,
    read_batches,
    read_partition,
    read_topic,
)
from driftloop.kafka.producer import DeliveryError, Producer
from driftloop.kafka.tail_reader import TailReader
from support.apache_kafka import ApacheKafka


@pytest.fixture
def config(any_broker: Broker, settings_for: SettingsFor) -> ClientConfig:
    return client_config(settings_for(any_broker))


def make_topic(config: ClientConfig, name: str, partitions: int = 1, **topic_config: str) -> str:
    settings = {key.replace("_", "."): value for key, value in topic_config.items()}
    admin = AdminClient(dict(config))  # must outlive its futures
    admin.create_topics([NewTopic(name, partitions, 1, config=settings)])[name].result(20)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if partition_count(config, name) == partitions:
                return name
        except LogReadError:
            time.sleep(0.05)
    raise AssertionError(f"{name} did not appear")


def write(config: ClientConfig, topic: str, values: Iterable[int], partition: int = 0) -> None:
    # For the id of an idempotent producer a new one waits half a second.
    with Producer({**config, "enable.idempotence": False}) as producer:
        for value in values:
            producer.produce(topic, str(value).encode(), key=b"k%d" % value, partition=partition)


def values(batches: Iterable[list[Record]]) -> list[int]:
    return [int(record.value or b"-1") for batch in batches for record in batch]


def test_reads_what_was_written_with_everything_on_it(config: ClientConfig, topic_prefix: str) -> None:
    topic = make_topic(config, f"{topic_prefix}.a", 2)
    before_ms = time.time_ns() // 1_000_000
    with Producer(config) as producer:
        producer.produce(topic, b"v", key=b"k", partition=1, headers=[("h", b"1"), ("h", b"2"), ("none", None)])
        producer.produce(topic, None, key=b"gone", partition=1)
        producer.produce(topic, b"", partition=1)
    ((first, second, third),) = list(read_partition(config, topic, 1))
    assert first[:2] == (1, 0)
    assert first[3:] == (b"k", b"v", [("h", b"1"), ("h", b"2"), ("none", None)], topic)
    assert before_ms - 1000 <= first.timestamp_ms <= time.time_ns() // 1_000_000 + 1000
    assert (second.offset, second.key, second.value, second.headers) == (1, b"gone", None, [])
    assert (third.offset, third.key, third.value) == (2, None, b"")
    assert list(read_partition(config, topic, 0)) == []
    assert values(read_topic(config, topic, [0])) == []


def test_every_range_is_exact(config: ClientConfig, topic_prefix: str) -> None:
    topic = make_topic(config, f"{topic_prefix}.a")
    for start in range(0, 3000, 500):  # several batches in the log, so that a range begins and ends inside of them
        write(config, topic, range(start, start + 500))
    for start, stop in [(0, None), (0, 3000), (1, 2999), (499, 501), (2500, None), (2999, None), (700, 701), (0, 1)]:
        expected = list(range(start, 3000 if stop is None else stop))
        assert values(read_partition(config, topic, 0, start, stop, batch=128)) == expected, (start, stop)
    assert values(read_partition(config, topic, 0, 2990, 9999)) == list(range(2990, 3000))
    for start in (3000, 3001, 10**9):
        assert values(read_partition(config, topic, 0, start)) == [], start
        assert values(read_partition(config, topic, 0, start, start + 5)) == [], start


def test_batches_are_bounded_and_hold_the_same_as_columns(config: ClientConfig, topic_prefix: str) -> None:
    topic = make_topic(config, f"{topic_prefix}.a")
    write(config, topic, range(1000))
    lists = list(read_partition(config, topic, 0, 10, batch=300))
    assert max(len(batch) for batch in lists) <= 300
    columns = list(read_batches(config, topic, 0, 10, batch=300))
    assert [offset for batch in columns for offset in batch.offsets] == list(range(10, 1000))
    rows = [row for batch in columns for row in zip(batch.keys, batch.values, batch.timestamps_ms, strict=True)]
    assert rows == [(record.key, record.value, record.timestamp_ms) for batch in lists for record in batch]


def test_end_offsets_are_the_next_offsets(config: ClientConfig, topic_prefix: str) -> None:
    """Tansu's ListOffsets gives the base offset of the last batch plus one."""
    topic = make_topic(config, f"{topic_prefix}.a", 3)
    write(config, topic, range(3000), partition=0)
    write(config, topic, range(7), partition=2)
    assert end_offsets(config, topic) == {0: 3000, 1: 0, 2: 7}
    write(config, topic, range(2), partition=0)
    assert end_offset(config, topic, 0) == 3002


def test_reading_ends_although_others_write(config: ClientConfig, topic_prefix: str) -> None:
    topic = make_topic(config, f"{topic_prefix}.a")
    write(config, topic, range(400))
    read: list[int] = []
    producer = Producer(config)
    for batch in read_partition(config, topic, 0, batch=10):
        for _ in range(10):
            producer.produce(topic, b"1000", partition=0)
        producer.flush()
        read += values([batch])
    assert read[:400] == list(range(400))
    assert len(read) < 500


def test_what_is_not_there_is_said(config: ClientConfig, topic_prefix: str) -> None:
    with pytest.raises(LogReadError, match=r"no such topic; `driftloop topics create`"):
        list(read_partition(config, f"{topic_prefix}.nothing", 0))
    topic = make_topic(config, f"{topic_prefix}.a")
    with pytest.raises(LogReadError, match="the topic has 1 partitions"):
        list(read_partition(config, topic, 1))


@pytest.mark.kafka
def test_writing_to_no_topic_is_an_error(apache_kafka: Broker, settings_for: SettingsFor, topic_prefix: str) -> None:
    """Not on the embedded broker: it makes topics that are written to, whatever it is told."""
    config = client_config(settings_for(apache_kafka))
    with pytest.raises(DeliveryError, match=topic_prefix):
        write({**config, "topic.metadata.propagation.max.ms": 500}, f"{topic_prefix}.nothing", [1])


def test_tail_from_the_beginning_the_end_and_offsets(config: ClientConfig, topic_prefix: str) -> None:
    first, second = make_topic(config, f"{topic_prefix}.a", 2), make_topic(config, f"{topic_prefix}.b")
    for start in range(0, 300, 100):
        write(config, first, range(start, start + 100), partition=1)
    with (
        TailReader(config, [first, second]) as everything,
        TailReader(config, [first, second], "end") as news,
        TailReader(config, [first], {(first, 1): 290}) as some,
    ):
        assert sorted(values([drain(everything)])) == list(range(300))
        assert values([drain(some)]) == list(range(290, 300))
        assert drain(news) == []
        write(config, first, [1000], partition=0)
        write(config, second, [2000])
        got = drain(news, until=2)
        assert sorted((record.topic, record.partition, record.offset) for record in got) == [
            (first, 0, 0),
            (second, 0, 0),
        ]


def drain(reader: TailReader, until: int = 0, timeout_s: float = 20.0) -> list[Record]:
    """Records until the end is reached and at least ``until`` came."""
    deadline = time.monotonic() + timeout_s
    records: list[Record] = []
    while not (reader.caught_up and len(records) >= until):
        assert time.monotonic() < deadline, "the end was not reached"
        records += reader.poll(0.1)
    return records


def test_keys_live_where_java_clients_put_them(config: ClientConfig, topic_prefix: str) -> None:
    from aiokafka.partitioner import murmur2

    topic = make_topic(config, f"{topic_prefix}.a", 5)
    keys = [b"flight-%d" % number for number in range(200)] + ["schlüssel".encode(), b"\x00\xff", b"x"]
    with Producer(config) as producer:
        for key in keys:
            producer.produce(topic, key, key=key)
    placed = {record.value: record.partition for batch in read_topic(config, topic) for record in batch}
    assert placed == {key: (murmur2(key) & 0x7FFFFFFF) % 5 for key in keys}


def test_topics_are_created_once_and_checked(any_broker: Broker, settings_for: SettingsFor) -> None:
    settings = settings_for(any_broker)
    assert all(check.found is None and check.problem for check in check_topics(settings))
    created = create_topics(settings)
    assert (len(created.created), created.existing) == (11, [])
    again = create_topics(settings)
    assert (again.created, sorted(again.existing)) == ([], sorted(created.created))
    assert [check.problem for check in check_topics(settings)] == [None] * 11
    with pytest.raises(BrokerError, match=r"predictions has 4 partitions, .* ask for 6: set DRIFTLOOP_SOURCE"):
        create_topics(settings_for(any_broker, source_partitions=6))


def test_the_largest_record_fits_into_dead_letters(any_broker: Broker, settings_for: SettingsFor) -> None:
    settings = settings_for(any_broker)
    create_topics(settings)
    value = b"\xff" * 1_048_000
    fields = {"code": "malformed_json", "message": "x" * 5000, "stage": "decode"}
    key, value, headers = dead_letter(  # type: ignore[assignment]
        topic=settings.topics.labels, partition=2, offset=9, key=b"k", value=value, **fields
    )
    with Producer(client_config(settings)) as producer:
        producer.produce(settings.topics.dead_letters, value, key, headers=headers)
    ((record,),) = list(read_partition(client_config(settings), settings.topics.dead_letters, 0))
    assert (record.key, record.value) == (b"k", value)
    origin = origin_of(record.headers)
    assert origin is not None
    assert (origin.topic, origin.partition, origin.offset) == (settings.topics.labels, 2, 9)


@pytest.mark.kafka
def test_transaction_markers_and_aborted_records_do_not_confuse_the_reader(
    apache_kafka: Broker, settings_for: SettingsFor, topic_prefix: str
) -> None:
    config = client_config(settings_for(apache_kafka))
    topic = make_topic(config, f"{topic_prefix}.a")
    producer = confluent_kafka.Producer({**config, "transactional.id": topic_prefix})
    producer.init_transactions(20)
    for first, commit in ((0, True), (10, False), (20, True)):
        producer.begin_transaction()
        for value in range(first, first + 10):
            producer.produce(topic, str(value), partition=0)
        producer.flush(20)
        if commit:
            producer.commit_transaction(20)
        else:
            producer.abort_transaction(20)
    # Offsets: 0-9 committed, 10 marker, 11-20 aborted, 21 marker, 22-31 committed, 32 marker.
    assert end_offset(config, topic, 0) == 33
    assert values(read_partition(config, topic, 0)) == [*range(10), *range(20, 30)]
    assert values(read_partition(config, topic, 0, 5, 15)) == [5, 6, 7, 8, 9]
    assert values(read_partition(config, topic, 0, 10, 21)) == []
    assert values(read_partition(config, topic, 0, 10, 23)) == [20]
    assert values(read_partition(config, topic, 0, 32)) == []


@pytest.mark.kafka
def test_a_start_below_the_log_start_begins_there(
    apache_kafka: Broker, settings_for: SettingsFor, topic_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = client_config(settings_for(apache_kafka))
    topic = make_topic(config, f"{topic_prefix}.a")
    write(config, topic, range(100))
    place = confluent_kafka.TopicPartition(topic, 0, 40)
    admin = AdminClient(dict(config))
    admin.delete_records([place])[place].result(20)
    with caplog.at_level("WARNING"):
        assert values(read_partition(config, topic, 0, 10, 60)) == list(range(40, 60))
    assert "asked for offset 10, the first there is 40" in caplog.text
    assert values(read_partition(config, topic, 0, 10, 30)) == []


@pytest.mark.kafka
def test_compaction_leaves_holes_that_the_reader_passes(
    apache_kafka: Broker, settings_for: SettingsFor, topic_prefix: str
) -> None:
    config = client_config(settings_for(apache_kafka))
    topic = make_topic(
        config,
        f"{topic_prefix}.a",
        cleanup_policy="compact",
        segment_ms="100",
        min_cleanable_dirty_ratio="0.01",
        max_compaction_lag_ms="100",
    )
    with Producer(config) as producer:
        for _ in range(20):
            producer.produce(topic, b"7", key=b"k7", partition=0)  # one key again and again
            producer.flush()
            time.sleep(0.15)  # longer than a segment
    deadline = time.monotonic() + 40
    while len(kept := [r.offset for batch in read_partition(config, topic, 0) for r in batch]) == 20:
        assert time.monotonic() < deadline, "Kafka did not compact"
        time.sleep(0.5)
        write(config, topic, [8])
        kept = []
    assert kept == sorted(kept)
    end = end_offset(config, topic, 0)
    hole = next(offset for offset in range(end) if offset not in kept)
    assert values(read_partition(config, topic, 0, hole, hole + 1)) == []
    assert kept[-1] == end - 1


@pytest.mark.kafka
def test_a_restarted_broker_is_waited_for(
    own_apache_kafka: ApacheKafka, settings_for: SettingsFor, topic_prefix: str
) -> None:
    """Records written before, during and after a crash of the broker come once each, in order."""
    broker = own_apache_kafka
    config = client_config(settings_for(broker))
    topic = make_topic(config, f"{topic_prefix}.a")
    producer = Producer(config)
    for value in range(100):
        producer.produce(topic, b"%1000d" % value, partition=0)
        producer.flush()
    # Prefetch a few kilobytes only, so that the reader is in the middle when the broker dies.
    small = {**config, "queued.max.messages.kbytes": 1, "fetch.message.max.bytes": 1000, "fetch.queue.backoff.ms": 10}
    reading = read_partition(small, topic, 0, batch=10)
    with TailReader(config, [topic]) as reader:
        first = next(reading)
        assert values([drain(reader, 100)]) == list(range(100))
        broker.kill()
        for value in range(100, 200):
            producer.produce(topic, b"%1000d" % value, partition=0)
        assert reader.poll(0.5) == []
        broker.start()
        producer.flush(60)
        assert values([drain(reader, 100, timeout_s=60)]) == list(range(100, 200))
        assert values([first, *reading]) == list(range(100))
    assert values(read_partition(config, topic, 0)) == list(range(200))


def test_partitions_at_their_ends(config: ClientConfig, topic_prefix: str) -> None:
    topic, other = make_topic(config, f"{topic_prefix}-ends", 3), make_topic(config, f"{topic_prefix}-ends2")
    write(config, topic, range(5), partition=0)
    write(config, topic, range(2_000), partition=1)
    asked = {(topic, 0): 5, (topic, 1): 1, (topic, 2): 0, (other, 0): 0}
    assert at_their_ends(config, asked) == {(topic, 0), (topic, 2), (other, 0)}
    assert at_their_ends(config, {(topic, 0): 4, (topic, 1): 2_000}) == {(topic, 1)}


def test_markers_of_transactions_are_nothing_to_wait_for(apache_kafka: Broker, settings_for: SettingsFor) -> None:
    config = client_config(settings_for(apache_kafka))
    topic = make_topic(config, "ends-of-transactions")
    producer = confluent_kafka.Producer({**config, "transactional.id": "ends"})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(topic, b"1")
    producer.commit_transaction(20)
    assert end_offset(config, topic, 0) == 2
    assert at_their_ends(config, {(topic, 0): 1}) == {(topic, 0)}
    assert at_their_ends(config, {(topic, 0): 0}) == set()
