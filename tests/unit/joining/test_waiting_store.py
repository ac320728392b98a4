"""Waiting labels come back, and leave in the same order, wherever they are kept."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftloop.checkpoints.rocks import RocksStore
from driftloop.joining.label_rows import (
    BY_OFFSET,
    decode_label,
    due_name,
    due_of,
    label_parts,
    offset_name,
    offset_of,
)
from driftloop.joining.pending import WaitingLabel
from driftloop.joining.store import StateStore, StoreDamaged, StoreError, StoreWrite
from driftloop.joining.waiting_store import WaitingStore
from support.memory_store import MemoryStore


def waiting(offset: int, pid: str, due_ms: int) -> WaitingLabel:
    return WaitingLabel(
        key=("m", pid),
        event_time_ms=due_ms - 5,
        due_ms=due_ms,
        revision=offset % 3,
        value=offset % 2,
        raw=msgspec.Raw(b"%d" % (offset % 2)),
        offset=offset,
        max_before_ms=due_ms - 7,
        record_key=None if offset % 4 else b"key",
        record_value=b'{"label": %d}' % offset,
    )


def comparable(label: WaitingLabel | None) -> object:
    return None if label is None else (*msgspec.structs.astuple(label)[:5], bytes(label.raw), label.offset)


class Reference:
    """What a store does that has no memory to spare: everything in one dictionary."""

    def __init__(self) -> None:
        self.labels: dict[int, WaitingLabel] = {}

    def claim(self, key: tuple[str, str]) -> list[WaitingLabel]:
        found = [label for label in self.labels.values() if label.key == key]
        return [self.labels.pop(label.offset) for label in found]

    def take_due(self, until_ms: int, count: int) -> list[WaitingLabel]:
        due = sorted((label.due_ms, label.offset) for label in self.labels.values() if label.due_ms <= until_ms)
        return [self.labels.pop(offset) for _, offset in due[:count]]


class Labels:
    """A waiting store whose state is saved as a monitor saves it."""

    def __init__(self, store: StateStore) -> None:
        self.store = store
        self.labels = WaitingStore(store)
        self.end = 0

    def save(self) -> bool:
        write = StoreWrite()
        self.labels.changes(write)
        try:
            self.store.write(write)
        except StoreError:
            return False
        self.labels.saved()
        assert self.labels.to_remove == 0
        return True

    def restart(self) -> None:
        count = len(self.labels)
        first = next((decode_label(offset_of(name), data) for name, data in self.store.parts(BY_OFFSET)), None)
        self.labels = WaitingStore(self.store)
        self.labels.restore(count, first, self.end)
        assert (self.labels.in_memory, len(self.labels)) == (0, count)


def disturb(store: StateStore, seed: int, steps: int) -> int:
    """Adds, claims, gives up at random, with evictions, failing saves and restarts that must not show. Returns how many
    labels were taken from disk."""
    chance = random.Random(seed)
    mine, expected = Labels(store), Reference()
    now_ms, from_disk = 0, 0
    names = [f"id{number}" for number in range(chance.choice([1, 3, 40]))]
    for _ in range(steps):
        match chance.randrange(7):
            case 0 | 1:
                for _ in range(chance.choice([1, 2, 10])):
                    label = waiting(mine.end, chance.choice(names), now_ms + chance.randint(1, 60))
                    mine.labels.add(label)
                    expected.labels[label.offset] = label
                    mine.end += chance.choice([1, 1, 3])
            case 2:
                keys = [("m", chance.choice(names)) for _ in range(chance.choice([1, 2, 10]))]
                mine.labels.load(keys)
                for key in keys[: chance.choice([0, 1, len(keys)])]:
                    assert list(map(comparable, mine.labels.claim(key))) == list(map(comparable, expected.claim(key)))
                mine.labels.settle()
            case 3:
                now_ms += chance.choice([0, 5, 20])
                count = chance.choice([1, 2, 1_000])
                while True:
                    on_disk = len(mine.labels) - mine.labels.in_memory
                    found = mine.labels.take_due(now_ms, count)
                    from_disk += on_disk - (len(mine.labels) - mine.labels.in_memory)
                    assert list(map(comparable, found)) == list(map(comparable, expected.take_due(now_ms, count)))
                    if len(found) < count:
                        break
            case 4 | 5:
                if isinstance(store, MemoryStore) and chance.random() < 0.3:
                    store.fail_next, store.fail_late = True, chance.random() < 0.5
                if mine.save() and chance.random() < 0.2:
                    mine.restart()
            case _:
                in_memory, count = mine.labels.in_memory, chance.choice([0, 1, 5, 1_000])
                evicted = mine.labels.evict(count)
                assert evicted <= count
                assert mine.labels.in_memory == in_memory - evicted
        assert len(mine.labels) == len(expected.labels)
        assert comparable(mine.labels.first()) == comparable(next(iter(expected.labels.values()), None))
    assert mine.save()
    mine.labels.evict(1_000_000)
    assert mine.labels.in_memory == 0
    stored = [offset_of(name) for name, _ in store.parts(BY_OFFSET)]
    assert stored == list(expected.labels)
    assert len(list(store.parts(b"label/"))) == 3 * len(stored)
    return from_disk


@given(st.integers(0, 2**32 - 1), st.integers(1, 150))
@settings(max_examples=150, deadline=None)
def test_nothing_shows_where_labels_are(seed: int, steps: int) -> None:
    disturb(MemoryStore(), seed, steps)


def test_nor_with_a_disk(tmp_path: Path) -> None:
    from_disk = 0
    for seed in range(5):
        store = RocksStore(tmp_path / str(seed))
        from_disk += disturb(store, seed, 150)
        store.close()
    assert from_disk > 50


def test_a_label_is_written_once_and_removed_once() -> None:
    """Eviction writes nothing again; what came and went between two saves is never written."""
    store, written = MemoryStore(), []

    def save(labels: WaitingStore) -> None:
        write = StoreWrite()
        labels.changes(write)
        written.append((len(write.parts), len(write.removed_parts)))
        store.write(write)
        labels.saved()

    labels = WaitingStore(store)
    for offset in range(4):
        labels.add(waiting(offset, f"id{offset}", 100))
    assert [label.offset for label in labels.claim(("m", "id0"))] == [0]
    save(labels)
    save(labels)
    assert labels.evict(2) == 2
    labels.add(waiting(4, "id4", 100))
    save(labels)
    assert [label.offset for label in labels.take_due(100, 10)] == [1, 2, 3, 4]
    save(labels)
    save(labels)
    assert written == [(9, 0), (0, 0), (3, 0), (0, 12), (0, 0)]
    assert list(store.parts()) == []


def test_only_what_is_saved_is_evicted() -> None:
    labels = WaitingStore(MemoryStore())
    for offset in range(3):
        labels.add(waiting(offset, "id", 100))
    assert labels.evict(3) == 0
    assert WaitingStore().evict(1) == 0


def test_giving_up_reads_no_more_than_it_gives_up() -> None:
    """Of a thousand labels on disk that are due later, none is looked at."""

    class Counting(MemoryStore):
        looked = 0

        def parts(self, prefix: bytes = b"", start: bytes = b"") -> object:  # type: ignore[override]
            for part in super().parts(prefix, start):
                self.looked += 1
                yield part

    store = Counting()
    mine = Labels(store)
    for offset in range(1_100):
        mine.labels.add(waiting(offset, f"id{offset}", 1_000 if offset % 11 else 10))
    mine.save()
    assert mine.labels.evict(1_100) == 1_100
    store.looked = 0
    assert len(mine.labels.take_due(10, 60)) == 60
    assert len(mine.labels.take_due(10, 60)) == 40
    assert mine.labels.take_due(10, 60) == []
    # Each once, with one to know where to stop; what begins where the last one ended; and the first offset, twice.
    assert store.looked < 120
    mine.save()
    store.looked = 0
    for now_ms in range(10, 1_000, 10):
        assert mine.labels.take_due(now_ms, 60) == []
    assert store.looked == 99


@pytest.mark.parametrize("due_ms", [-(2**62), -1, 0, 1, 2**62])
def test_due_times_sort_as_their_names(due_ms: int) -> None:
    assert due_of(due_name(due_ms, 3)) == due_ms
    assert offset_of(due_name(due_ms, 2**60)) == 2**60
    assert due_name(due_ms - 1, 9) < due_name(due_ms, 0) < due_name(due_ms, 1) < due_name(due_ms + 1, 0)


def test_a_label_that_is_missing_is_damage() -> None:
    store = MemoryStore()
    mine = Labels(store)
    for offset in range(2):
        mine.labels.add(waiting(offset, f"id{offset}", 10))
    mine.save()
    mine.labels.evict(2)
    store.write(StoreWrite(removed_parts=[offset_name(1)]))
    with pytest.raises(StoreDamaged, match="label of offset 1 is missing"):
        mine.labels.load([("m", "id1")])
    with pytest.raises(StoreDamaged, match="label of offset 1 is missing"):
        mine.labels.take_due(10, 5)


def test_a_label_that_is_garbage_is_damage() -> None:
    store = MemoryStore()
    mine = Labels(store)
    mine.labels.add(waiting(0, "id", 10))
    mine.save()
    mine.labels.evict(1)
    (name, _), *_ = label_parts(waiting(0, "id", 10))
    store.write(StoreWrite(parts=[(name, b"\xc1")]))
    with pytest.raises(StoreDamaged, match="label of offset 0 cannot be read"):
        mine.labels.take_due(10, 5)
