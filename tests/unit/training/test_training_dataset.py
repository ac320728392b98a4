from __future__ import annotations

import random

import msgspec
import numpy as np
import pandas as pd
import pytest

from driftloop.events.messages import Labeled
from driftloop.training.dataset import OffsetRange, SplitError, TrainingSet, cut, from_frame
from driftloop.training.labeled_log import LabeledLog
from support.training_rows import DAY_MS, make_labeled, make_rows, make_spec


def same(first: TrainingSet, second: TrainingSet) -> None:
    pd.testing.assert_frame_equal(first.frame, second.frame)
    for name in ("labels", "predicted_at_ms", "said"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert first.ids.tolist() == second.ids.tolist()
    assert first.versions.tolist() == second.versions.tolist()


@pytest.mark.parametrize("task", ["binary", "regression", "multiclass"])
def test_cut_gives_back_the_rows_in_any_order(task: str) -> None:
    spec = make_spec(task)
    frame, labels, times = make_rows(task)
    rows = make_labeled(spec, frame, labels, times)
    data = cut(rows, spec, 0, int(times[-1]) + 1)
    pd.testing.assert_frame_equal(data.frame, frame)
    np.testing.assert_array_equal(data.labels, labels)
    np.testing.assert_array_equal(data.predicted_at_ms, times)
    assert data.said.shape == ((400, 3) if task == "multiclass" else (400,))
    shuffled = list(rows)
    random.Random(1).shuffle(shuffled)
    same(cut(shuffled, spec, 0, int(times[-1]) + 1), data)


@pytest.mark.parametrize("task", ["binary", "regression", "multiclass"])
def test_parquet_keeps_everything_and_is_repeatable(task: str) -> None:
    spec = make_spec(task)
    rows = make_labeled(spec, *make_rows(task))
    data = cut(rows, spec, 0, 100 * DAY_MS)
    written = data.to_parquet()
    assert cut(list(reversed(rows)), spec, 0, 100 * DAY_MS).to_parquet() == written
    same(TrainingSet.from_parquet(spec, written), data)


def test_takes_only_the_model_and_the_time_asked_for() -> None:
    spec = make_spec()
    frame, labels, times = make_rows()
    rows = make_labeled(spec, frame, labels, times)
    others = make_labeled(make_spec(model="other"), frame, labels, times, prefix="o")
    data = cut([*others, *rows], spec, int(times[10]), int(times[20]))
    assert data.ids.tolist() == [f"p{index}" for index in range(10, 20)]


def test_highest_revision_counts_then_the_later_label() -> None:
    spec = make_spec()
    rows = make_labeled(spec, *make_rows(rows=5))
    row = rows[3]

    def version(label: int, revision: int, labeled_at_ms: int) -> Labeled:
        raw = msgspec.Raw(str(label).encode())
        return msgspec.structs.replace(row, label=raw, revision=revision, labeled_at_ms=labeled_at_ms)

    copies = [version(1, 1, 5), version(0, 0, 99), version(0, 1, 4), version(1, 1, 5)]
    for seed in range(10):
        mixed = [*rows, *copies]
        random.Random(seed).shuffle(mixed)
        data = cut(mixed, spec, 0, DAY_MS)
        assert len(data) == 5
        assert data.superseded == 4
        assert data.labels[data.ids.tolist().index("p3")] == 1


def test_rows_that_the_spec_does_not_allow_are_left_out_and_counted() -> None:
    spec = make_spec()
    rows = make_labeled(spec, *make_rows(rows=6))
    rows[1] = msgspec.structs.replace(rows[1], features=msgspec.Raw(b'{"x": "text"}'))
    rows[2] = msgspec.structs.replace(rows[2], label=msgspec.Raw(b"2"))
    rows[4] = msgspec.structs.replace(rows[4], prediction=msgspec.Raw(b'"high"'))
    data = cut(rows, spec, 0, DAY_MS)
    assert data.ids.tolist() == ["p0", "p3", "p5"]
    assert data.unreadable == 3


def test_no_rows_are_a_data_set_too() -> None:
    for task in ("binary", "multiclass"):
        spec = make_spec(task)
        data = cut([], spec, 0, DAY_MS)
        assert len(data) == 0
        same(TrainingSet.from_parquet(spec, data.to_parquet()), data)
        with pytest.raises(SplitError):
            data.split(0.2)


def test_split_is_by_time_and_never_cuts_an_instant_in_two() -> None:
    spec = make_spec()
    frame, labels, times = make_rows(rows=100)
    earlier, later = from_frame(spec, frame, labels, times).split(0.2)
    assert (len(earlier), len(later)) == (80, 20)
    assert earlier.predicted_at_ms.max() < later.predicted_at_ms.min()
    lumps = np.repeat([1, 2, 3], [30, 60, 10])
    earlier, later = from_frame(spec, frame, labels, lumps).split(0.2)
    assert (len(earlier), len(later)) == (30, 70)
    with pytest.raises(SplitError, match="cannot be split"):
        from_frame(spec, frame, labels, np.zeros(100, dtype=np.int64)).split(0.2)


def test_from_frame_sorts_by_time_and_checks_lengths() -> None:
    spec = make_spec()
    frame, labels, times = make_rows(rows=50)
    order = np.random.default_rng(0).permutation(50)
    data = from_frame(spec, frame.iloc[order], labels[order], times[order])
    pd.testing.assert_frame_equal(data.frame, frame)
    np.testing.assert_array_equal(data.labels, labels)
    with pytest.raises(ValueError, match="equally many"):
        from_frame(spec, frame, labels[:-1], times)


class FakeTopic:
    """Partitions in memory; notes from where each read began."""

    def __init__(self, partitions: int) -> None:
        self.partitions: list[list[tuple[int, bytes | None]]] = [[] for _ in range(partitions)]
        self.starts: list[tuple[int, int]] = []

    def write(self, rows: list[Labeled]) -> None:
        for row in rows:
            partition = self.partitions[int(row.prediction_id[1:]) % len(self.partitions)]
            # Offsets jump now and then, as they do where transactions were.
            offset = partition[-1][0] + (3 if len(partition) % 50 == 0 else 1) if partition else 7
            partition.append((offset, msgspec.json.encode(row)))

    def read(self, partition: int, start: int):  # type: ignore[no-untyped-def]
        self.starts.append((partition, start))
        records = [record for record in self.partitions[partition] if record[0] >= start]
        for index in range(0, len(records), 7):
            yield [FakeRecord(*record) for record in records[index : index + 7]]


class FakeRecord:
    def __init__(self, offset: int, value: bytes | None) -> None:
        self.offset, self.value = offset, value


def test_the_log_reads_only_the_tail_again_and_misses_nothing() -> None:
    spec = make_spec()
    frame, labels, times = make_rows(rows=1000)
    rng = np.random.default_rng(3)
    # Labels come late: the order in the log is not that of the predictions.
    order = np.argsort(times + rng.integers(0, DAY_MS, 1000))
    rows = make_labeled(spec, frame, labels, times)
    rows = [rows[index] for index in order]
    topic = FakeTopic(3)
    log = LabeledLog(topic.read, range(3), stretch_records=40)
    for written in range(100, 1001, 100):
        topic.write(rows[written - 100 : written])
        at = int(times[written - 1])
        for from_ms, to_ms in ((at - DAY_MS, at), (0, at), (at // 2, at // 2 + DAY_MS)):
            found, ranges = log.rows("m", from_ms, to_ms)
            expected = {row.prediction_id for row in rows[:written] if from_ms <= row.predicted_at_ms < to_ms}
            assert {row.prediction_id for row in found} == expected
            assert [source.partition for source in ranges] == [0, 1, 2]
    topic.starts.clear()
    _, ranges = log.rows("m", int(times[-1]) - DAY_MS, int(times[-1]))
    assert all(start > 100 for _, start in topic.starts)
    assert ranges[0] == OffsetRange(partition=0, first=topic.starts[0][1], end=topic.partitions[0][-1][0] + 1)
    topic.starts.clear()
    assert log.rows("unknown model", 0, 10 * DAY_MS)[0] == []
    assert all(start > 200 for _, start in topic.starts)


def test_the_log_skips_tombstones_and_garbage() -> None:
    spec = make_spec()
    topic = FakeTopic(1)
    topic.write(make_labeled(spec, *make_rows(rows=3)))
    topic.partitions[0] += [(50, None), (51, b"{")]
    found, ranges = LabeledLog(topic.read, [0]).rows("m", 0, DAY_MS)
    assert len(found) == 3
    assert ranges == [OffsetRange(partition=0, first=0, end=52)]
