"""A worker's monitors over a faked broker: memory is bounded, state comes back, and a bad disk ends nothing."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from driftloop.events.batch import RecordBatch
from driftloop.events.messages import SourceProgress
from driftloop.joining.store import StoreDamaged, StoreError
from driftloop.monitoring.source import SourceMonitor
from driftloop.observability.metrics import Metrics
from driftloop.settings import Settings
from driftloop.streaming import local_state, monitor, recovery
from driftloop.streaming.monitor import MonitorService
from support.own_settings import own_settings
from support.wide_rows import SPEC, WideCatalog, label_of, prediction_of, record_batch

ROWS = 3_000  # of each of two partitions
BATCH = 250


class FakeKafka:
    """Logs of two partitions, and what was produced. It is also the producer."""

    def __init__(self) -> None:
        self.produced: dict[str, dict[tuple[bytes, int | None], bytes]] = defaultdict(dict)
        self.dead: list[bytes] = []
        self.read = 0
        self.logs: dict[tuple[str, int], list[bytes]] = {}
        for partition in range(2):
            numbers = range(partition, 2 * ROWS, 2)
            self.logs["t.predictions", partition] = [prediction_of(at) for at in numbers]
            self.logs["t.labels", partition] = [label_of(at, 2 * ROWS) for at in numbers]

    def produce(self, topic: str, value: bytes, key: bytes, partition: int | None = None, **_: Any) -> None:
        self.produced[topic][key, partition] = value
        if topic == "t.dead-letters":
            self.dead.append(value)

    def flush(self) -> None: ...

    def batches(
        self, _: Any, topic: str, partition: int, start: int = 0, stop: int | None = None, batch: int = BATCH
    ) -> Iterator[RecordBatch]:
        log = self.logs[topic, partition]
        stop = len(log) if stop is None else min(stop, len(log))
        for at in range(start, stop, batch):
            values = log[at : min(stop, at + batch)]
            self.read += len(values)
            yield record_batch(topic, partition, at, values)

    def progress(self, *_: Any) -> dict[int, SourceProgress]:
        found = (
            msgspec.json.decode(value, type=SourceProgress) for value in self.produced["t.monitor-progress"].values()
        )
        return {progress.source_partition: progress for progress in found}


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> FakeKafka:
    fake = FakeKafka()
    monkeypatch.setattr(recovery, "read_batches", fake.batches)
    monkeypatch.setattr(monitor, "read_batches", fake.batches)
    monkeypatch.setattr(monitor, "latest_progress", fake.progress)
    monkeypatch.setattr(local_state, "log_ids", lambda *_: ("fake",))
    monkeypatch.setattr(local_state, "_RETRY_S", 0.0)
    return fake


def service(kafka: FakeKafka, folder: Path, **overrides: Any) -> MonitorService:
    options: dict[str, Any] = {"pending_in_memory": 1_000, "publish_interval_ms": 0, "source_partitions": 2}
    settings: Settings = own_settings("none", "t", folder, **{**options, **overrides})
    return MonitorService(settings, WideCatalog(), kafka, Metrics(), "w", [SPEC])  # type: ignore[arg-type]


def monitors(worker: MonitorService) -> list[Any]:
    return [source.monitor for source in worker._sources.values()]


async def feed(
    worker: MonitorService, kafka: FakeKafka, topic: str, start: int, stop: int, most: list[int] | None = None
) -> None:
    for at in range(start, stop, BATCH):
        for partition in range(2):
            values = kafka.logs[topic, partition][at : at + BATCH]
            await worker.take(record_batch(topic, partition, at, values))
            if most is not None:
                most.append(sum(one.rows_in_memory for one in monitors(worker)))


async def whole(worker: MonitorService, kafka: FakeKafka) -> dict[str, dict[Any, bytes]]:
    await worker.assign([0, 1])
    await feed(worker, kafka, "t.predictions", 0, ROWS)
    await feed(worker, kafka, "t.labels", 0, ROWS)
    await worker.revoke([0, 1])
    return said(kafka)


def said(kafka: FakeKafka) -> dict[str, dict[Any, bytes]]:
    """What readers end with; progress names nothing that differs."""
    return {topic: dict(kafka.produced[topic]) for topic in ("t.window-partials", "t.labeled", "t.monitor-progress")}


@pytest.fixture(scope="module")
def expected() -> dict[str, dict[Any, bytes]]:
    """Of a worker that keeps everything in memory and saves nothing."""
    patch = pytest.MonkeyPatch()
    fake = FakeKafka()
    patch.setattr(monitor, "latest_progress", fake.progress)
    patch.setattr(local_state, "open_partition", lambda *_, **__: None)
    patch.setattr(local_state, "log_ids", lambda *_: ("fake",))
    found = asyncio.run(whole(service(fake, Path("nowhere")), fake))
    patch.undo()
    assert len(found["t.labeled"]) == 2 * ROWS
    return found


async def test_rows_in_memory_stay_within_their_bound(
    kafka: FakeKafka, tmp_path: Path, expected: dict[str, dict[Any, bytes]]
) -> None:
    worker = service(kafka, tmp_path)
    await worker.assign([0, 1])
    most: list[int] = []
    await feed(worker, kafka, "t.predictions", 0, ROWS, most)
    assert sum(one.pending_rows for one in monitors(worker)) == 2 * ROWS
    await feed(worker, kafka, "t.labels", 0, ROWS, most)
    assert max(most) <= 1_000
    await worker.revoke([0, 1])
    assert said(kafka) == expected


async def test_a_clean_end_leaves_all_to_the_next_worker(
    kafka: FakeKafka, tmp_path: Path, expected: dict[str, dict[Any, bytes]]
) -> None:
    worker = service(kafka, tmp_path)
    await worker.assign([0, 1])
    await feed(worker, kafka, "t.predictions", 0, ROWS)
    await worker.revoke([0, 1])
    kafka.read = 0
    worker = service(kafka, tmp_path)
    with capture_logs() as logs:
        await worker.assign([0, 1])
    ready = next(line for line in logs if line["event"] == "partitions ready")
    assert (ready["from_checkpoint"], ready["records_read"], kafka.read) == ([0, 1], 0, 0)
    await feed(worker, kafka, "t.labels", 0, ROWS)
    await worker.revoke([0, 1])
    assert said(kafka) == expected


async def test_with_an_empty_disk_the_logs_are_read_within_the_bound(
    kafka: FakeKafka, tmp_path: Path, expected: dict[str, dict[Any, bytes]]
) -> None:
    worker = service(kafka, tmp_path / "one")
    await worker.assign([0, 1])
    await feed(worker, kafka, "t.predictions", 0, ROWS)
    await worker.revoke([0, 1])
    worker = service(kafka, tmp_path / "other")
    with capture_logs() as logs:
        await worker.assign([0, 1])
    ready = next(line for line in logs if line["event"] == "partitions ready")
    assert (ready["from_checkpoint"], ready["records_read"]) == ([], 2 * ROWS)
    assert sum(one.rows_in_memory for one in monitors(worker)) <= 1_000
    await feed(worker, kafka, "t.labels", 0, ROWS)
    await worker.revoke([0, 1])
    assert said(kafka) == expected


async def test_what_came_after_the_last_checkpoint_is_read_again(
    kafka: FakeKafka, tmp_path: Path, expected: dict[str, dict[Any, bytes]]
) -> None:
    killed = service(kafka, tmp_path, checkpoint_interval_ms=1)
    await killed.assign([0, 1])
    await feed(killed, kafka, "t.predictions", 0, 2_000)
    await asyncio.sleep(0.01)
    await killed.publish()
    killed._settings.checkpoint_interval_ms = 10**9
    killed._settings.pending_in_memory = 10**9
    await feed(killed, kafka, "t.predictions", 2_000, ROWS)
    await killed.publish()
    for source in killed._sources.values():
        assert source.store is not None
        source.store.close()  # as the end of the process would
    worker = service(kafka, tmp_path)
    with capture_logs() as logs:
        await worker.assign([0, 1])
    ready = next(line for line in logs if line["event"] == "partitions ready")
    assert (ready["from_checkpoint"], ready["records_read"]) == ([0, 1], 2 * (ROWS - 2_000))
    await feed(worker, kafka, "t.labels", 0, ROWS)
    await worker.revoke([0, 1])
    assert said(kafka) == expected


@pytest.mark.parametrize("times", [1, 5])
async def test_a_store_that_cannot_be_read_is_rebuilt_from_the_logs(
    kafka: FakeKafka, tmp_path: Path, expected: dict[str, dict[Any, bytes]], monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    worker = service(kafka, tmp_path)
    await worker.assign([0, 1])
    await feed(worker, kafka, "t.predictions", 0, ROWS)
    left = [times]
    real = type(worker._sources[0].store).get_many

    def damaged(store: Any, keys: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise StoreDamaged("a block does not match its checksum")
        return real(store, keys)

    monkeypatch.setattr(type(worker._sources[0].store), "get_many", damaged)
    with capture_logs() as logs:
        await feed(worker, kafka, "t.labels", 0, ROWS)
    assert left == [0]
    assert sum(line["event"].startswith("local state was lost") for line in logs) >= 1
    await worker.revoke([0, 1])
    assert said(kafka) == expected


async def test_a_disk_that_takes_nothing_ends_no_worker(
    kafka: FakeKafka, tmp_path: Path, expected: dict[str, dict[Any, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = service(kafka, tmp_path)
    await worker.assign([0, 1])

    def full(*_: Any) -> None:
        raise StoreError("no space left on device")

    monkeypatch.setattr(type(worker._sources[0].store), "write", full)
    with capture_logs() as logs:
        assert await whole(worker, kafka) == expected
    refused = [line for line in logs if line["event"] == "state was not saved, going on without"]
    assert refused
    assert refused[-1]["reason"] == "no space left on device"


async def test_a_folder_that_is_a_file_ends_no_worker(
    kafka: FakeKafka, tmp_path: Path, expected: dict[str, dict[Any, bytes]]
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "monitor").write_text("")
    assert await whole(service(kafka, tmp_path), kafka) == expected


async def test_a_checkpoint_that_needs_what_retention_removed_is_ignored(
    kafka: FakeKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is behind the restart offset of predictions, and ahead of that of labels."""
    worker = service(kafka, tmp_path)
    await worker.assign([0, 1])
    await feed(worker, kafka, "t.labels", 0, ROWS)
    await worker.revoke([0, 1])
    for (key, at), value in kafka.produced["t.monitor-progress"].items():
        progress = msgspec.json.decode(value, type=SourceProgress)
        further = msgspec.structs.replace(
            progress, predictions_offset=10, restart_predictions_offset=5, restart_labels_offset=0
        )
        kafka.produced["t.monitor-progress"][key, at] = msgspec.json.encode(further)
    for first, ignored in ((0, 0), (3, 2)):
        monkeypatch.setattr(recovery, "start_offsets", lambda _, __, at, first=first: dict.fromkeys(at, first))
        worker = service(kafka, tmp_path)
        with capture_logs() as logs:
            await worker.assign([0, 1])
        reasons = [line["reason"] for line in logs if line["event"] == "checkpoint ignored"]
        assert len(reasons) == ignored
        assert all("retention has removed what is before offset 3" in reason for reason in reasons)
        for source in worker._sources.values():
            assert source.store is not None
            source.store.close()


class Flood:
    """Labels whose prediction never comes, and a prediction after which nobody waits for it any more."""

    LABELS = 3_000
    PIECE = 100

    def __init__(self, kafka: FakeKafka) -> None:
        for partition in range(2):
            numbers = range(10**9 + partition, 10**9 + partition + 2 * self.LABELS, 2)
            kafka.logs["t.labels", partition] = [label_of(at, 0) for at in numbers]
            kafka.logs["t.predictions", partition] = [prediction_of(2_000_000 + partition)]


@pytest.mark.parametrize("begun_again", ["not", "from a checkpoint", "from the logs"])
async def test_a_flood_of_labels_without_predictions_stays_within_the_bound(
    kafka: FakeKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun_again: str
) -> None:
    flood = Flood(kafka)
    monkeypatch.setattr("driftloop.monitoring.sweep._GIVEN_UP_AT_ONCE", flood.PIECE)
    most: list[int] = []
    sweep = SourceMonitor.sweep

    def watched(one: SourceMonitor) -> None:
        sweep(one)
        most.append(sum(each.rows_in_memory for each in monitors(worker)))
        assert len(one.outputs.dead_letters) <= flood.PIECE

    monkeypatch.setattr(SourceMonitor, "sweep", watched)
    worker = service(kafka, tmp_path / "one")
    await worker.assign([0, 1])
    await feed(worker, kafka, "t.labels", 0, flood.LABELS, most)
    if begun_again != "not":
        await worker.revoke([0, 1])
        worker = service(kafka, tmp_path / ("one" if begun_again == "from a checkpoint" else "other"))
        kafka.read = 0
        await worker.assign([0, 1])
        assert kafka.read == (0 if begun_again == "from a checkpoint" else 2 * flood.LABELS)
        most.append(sum(one.rows_in_memory for one in monitors(worker)))
    assert [one.waiting_labels for one in monitors(worker)] == [flood.LABELS] * 2
    assert kafka.dead == []
    await feed(worker, kafka, "t.predictions", 0, 1, most)
    assert [one.waiting_labels for one in monitors(worker)] == [0, 0]
    assert kafka.dead == [*kafka.logs["t.labels", 0], *kafka.logs["t.labels", 1]]
    assert max(most) <= 1_000 + BATCH
    await worker.revoke([0, 1])
    for partition in range(2):
        store = worker._local.open(partition)
        assert store is not None
        assert list(store.parts(b"label/")) == []
        store.close()


@pytest.mark.parametrize("times", [1, 5])
async def test_waiting_labels_that_cannot_be_read_are_rebuilt_from_the_logs(
    kafka: FakeKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    flood = Flood(kafka)
    worker = service(kafka, tmp_path)
    await worker.assign([0, 1])
    await feed(worker, kafka, "t.labels", 0, flood.LABELS)
    left = [times]
    real = type(worker._sources[0].store).get_parts

    def damaged(store: Any, names: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise StoreDamaged("a block does not match its checksum")
        return real(store, names)

    monkeypatch.setattr(type(worker._sources[0].store), "get_parts", damaged)
    with capture_logs() as logs:
        await feed(worker, kafka, "t.predictions", 0, 1)
    assert sum(line["event"].startswith("local state was lost") for line in logs) >= 1
    assert sorted(set(kafka.dead)) == sorted([*kafka.logs["t.labels", 0], *kafka.logs["t.labels", 1]])
    await worker.revoke([0, 1])
