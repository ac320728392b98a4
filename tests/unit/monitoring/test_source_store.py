"""Where rows are kept, when the state is saved, and what a restart begins with change nothing of what comes out."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from driftloop.checkpoints.rocks import RocksStore
from driftloop.events.messages import Labeled, SourceProgress
from driftloop.joining.store import StateStore, StoreError
from driftloop.monitoring.intake import Limits
from driftloop.monitoring.saved import FORMAT, UnusableState
from driftloop.monitoring.source import SourceMonitor
from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec import ModelSpec, parse_spec
from support.memory_store import MemoryStore
from support.one_source import PROFILE, SPEC, OneModel, batch, label, logs, prediction

SEEDS = st.integers(0, 2**32 - 1)
ROWS = st.integers(1, 120)
Logs = tuple[list[bytes | None], list[bytes | None]]


def monitor(
    store: StateStore | None = None,
    restart: SourceProgress | None = None,
    *,
    go_on: bool = False,
    catalog: Any = None,
) -> SourceMonitor:
    return SourceMonitor(
        0,
        catalog or OneModel(),
        Limits(),
        predictions_topic="p",
        labels_topic="l",
        restart=restart,
        store=store,
        go_on=go_on,
    )


def take(source: SourceMonitor, both: Logs, side: int, start: int, stop: int) -> None:
    (source.take_predictions, source.take_labels)[side](batch("pl"[side], both[side], start, stop))


def flooded(seed: int, rows: int) -> Logs:
    """The same with many more labels: of ids that no prediction has, of one id for all, of ids that come later."""
    chance = random.Random(seed)
    predictions, labels = logs(seed, rows)
    for _ in range(chance.choice([0, rows, 3 * rows])):
        pid = chance.choice(["null", f"ID{chance.randrange(rows)}", f"id{chance.randrange(rows)}"])
        hour = chance.choice([chance.uniform(0, 40), chance.randrange(8) * 5])
        extra = label(pid, hour, chance.randrange(2), revision=chance.randrange(3))
        labels.insert(chance.randrange(len(labels)), extra)
    return predictions, labels


def without_prediction(both: Logs) -> set[int]:
    """Offsets of labels of ids that no prediction has."""
    known = set()
    for value in both[0]:
        with suppress(TypeError, ValueError):
            known.add(json.loads(value or b"")["prediction_id"])
    return {offset for offset, value in enumerate(both[1]) if json.loads(value or b"")["prediction_id"] not in known}


def steps(both: Logs, seed: int) -> Iterator[tuple[int, int, int]]:
    """Both logs in random pieces, interleaved at random, often with labels far ahead: side, start, stop."""
    chance = random.Random(seed)
    at = [0, 0]
    labels_share = chance.choice([0.1, 0.5, 0.9])
    while at[0] < len(both[0]) or at[1] < len(both[1]):
        side = int(chance.random() < labels_share)
        stop = min(len(both[side]), at[side] + chance.choice([1, 2, 5, 30]))
        if stop > at[side]:
            yield side, at[side], stop
            at[side] = stop


def published(source: SourceMonitor) -> tuple[list[Any], SourceProgress]:
    """All that a worker would publish now, as bytes, and the progress that it would publish after that."""
    out = source.drain()
    said: list[Any] = [
        out.labeled,
        out.dead_letters,
        out.predictions,
        out.labels,
        out.joined,
        out.late,
        out.duplicates,
        out.corrections,
        out.delays_ms,
        [msgspec.json.encode(partial) for partial in source.take_partials()],
        source.pending_rows,
        source.waiting_labels,
        dict(source.latest_ms),
    ]
    progress = source.progress()
    return [*said, progress], progress


def undisturbed(both: Logs, seed: int) -> list[Any]:
    source = monitor()
    said = []
    for side, start, stop in steps(both, seed):
        take(source, both, side, start, stop)
        said.append(published(source)[0])
    return said


def disturbed(both: Logs, seed: int, store: StateStore, store_seed: int) -> tuple[list[Any], int]:
    """The same with rows evicted, saves that fail, and clean restarts from what was saved. Also how many there were."""
    chance = random.Random(store_seed)
    source, said, restarts = monitor(store), [], 0
    for side, start, stop in steps(both, seed):
        take(source, both, side, start, stop)
        now, progress = published(source)
        said.append(now)
        if chance.random() < 0.5:
            if isinstance(store, MemoryStore) and chance.random() < 0.2:
                store.fail_next, store.fail_late = True, chance.random() < 0.5
                with pytest.raises(StoreError):
                    source.save()
                continue
            source.save()
            in_memory = source.rows_in_memory
            wanted = chance.choice([0, 3, in_memory])
            assert source.evict(wanted) == min(wanted, in_memory)
            assert source.rows_in_memory == in_memory - min(wanted, in_memory)
            if chance.random() < 0.4:
                source = monitor(store, progress, go_on=True)
                assert source.went_on
                assert not source.rebuilding
                assert source.rows_in_memory == 0
                restarts += 1
    return said, restarts


@given(SEEDS, ROWS, SEEDS, SEEDS)
@settings(max_examples=60, deadline=None)
def test_what_comes_out_is_the_same_wherever_rows_are(log_seed: int, rows: int, seed: int, store_seed: int) -> None:
    both = flooded(log_seed, rows)
    said, _ = disturbed(both, seed, MemoryStore(), store_seed)
    assert said == undisturbed(both, seed)


@given(SEEDS, SEEDS, SEEDS)
@settings(max_examples=4, deadline=None)
def test_a_disk_gives_the_same(log_seed: int, seed: int, store_seed: int) -> None:
    both = flooded(log_seed, 100)
    with TemporaryDirectory() as folder:
        store = RocksStore(Path(folder) / "state")
        said, restarts = disturbed(both, seed, store, store_seed)
        store.close()
    assume(restarts)
    assert said == undisturbed(both, seed)


@given(SEEDS, ROWS, SEEDS, SEEDS, st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_labels_are_given_up_in_pieces_of_any_size(
    log_seed: int, rows: int, seed: int, store_seed: int, at_once: int
) -> None:
    """With a save, an eviction or a restart between any two of them."""
    both = flooded(log_seed, rows)
    chance = random.Random(store_seed)
    store = MemoryStore()
    whole, pieces = monitor(), monitor(store)
    for side, start, stop in steps(both, seed):
        take(whole, both, side, start, stop)
        expected = whole.drain().dead_letters
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("driftloop.monitoring.sweep._GIVEN_UP_AT_ONCE", at_once)
            take(pieces, both, side, start, stop)
            letters = pieces.drain().dead_letters
            while pieces.sweeping:
                progress = pieces.progress()
                assert progress.settled_ms is not None
                assert progress.settled_ms <= pieces.predictions_max_ms
                match chance.randrange(4):
                    case 0:
                        pieces.save()
                        pieces.evict(chance.choice([1, pieces.rows_in_memory]))
                    case 1:
                        pieces.save()
                        pieces = monitor(store, progress, go_on=True)
                        assert pieces.sweeping
                pieces.sweep()
                more = pieces.drain().dead_letters
                assert len(more) <= at_once
                letters += more
        assert letters == expected
        found, wanted = ([msgspec.json.encode(part) for part in one.take_partials()] for one in (pieces, whole))
        assert found == wanted
        assert pieces.progress() == whole.progress()


class Published:
    """What readers of the topics end with: upserts by key, labeled rows and dead letters once."""

    def __init__(self) -> None:
        self.partials: dict[Any, bytes] = {}
        self.labeled: dict[Any, bytes] = {}
        self.given_up: set[int] = set()

    def take(self, source: SourceMonitor) -> SourceProgress:
        outputs = source.drain()
        self.given_up |= {letter.offset for letter in outputs.dead_letters if letter.code == "no_prediction"}
        for _, value in outputs.labeled:
            row = msgspec.json.decode(value, type=Labeled)
            self.labeled[row.prediction_id, row.revision, row.labeled_at_ms] = value
        for part in source.take_partials():
            key = (part.model_version, part.kind, part.segment, part.window_start_ms, part.late)
            self.partials[key] = msgspec.json.encode(part)
        return source.progress()


def crash_and_go_on(both: Logs, seed: int) -> tuple[Published, int]:
    """Published at random, saved at some of those, killed anywhere: begun again from what was saved, with what was
    published read silently. Saved now and then while that is being read, and killed there too."""
    chance = random.Random(seed)
    store, readers = MemoryStore(), Published()
    source = monitor(store)
    progress: SourceProgress | None = None
    at, went_on, crashes = [0, 0], 0, 5
    refused: list[str] = []
    while at[0] < len(both[0]) or at[1] < len(both[1]):
        side = chance.randrange(2)
        stop = min(len(both[side]), at[side] + chance.choice([1, 2, 5, 30]))
        take(source, both, side, at[side], stop)
        at[side] = stop
        if chance.random() < 0.4:
            progress = readers.take(source)
            if chance.random() < 0.4:
                source.save()
                source.evict(chance.choice([0, source.rows_in_memory]))
        while crashes and chance.random() < 0.15:
            crashes -= 1
            try:
                source = monitor(store, progress, go_on=True)
            except UnusableState as error:
                refused.append(str(error))
                store = MemoryStore()
                source = monitor(store, progress)
            went_on += source.went_on
            if progress is None:
                at = [0, 0]
                continue
            for topic in (0, 1):
                start = (source.predictions_offset, source.labels_offset)[topic]
                end = (progress.predictions_offset, progress.labels_offset)[topic]
                while start < end:
                    stop = min(end, start + chance.choice([1, 10, 50]))
                    take(source, both, topic, start, stop)
                    start = stop
                    if chance.random() < 0.2:
                        source.save()
                        source.evict(source.rows_in_memory)
                    if chance.random() < 0.05:
                        source = monitor(store.copy(), progress, go_on=True)
                        break
            if source.rebuilding:
                take(source, both, 0, source.predictions_offset, progress.predictions_offset)
                take(source, both, 1, source.labels_offset, progress.labels_offset)
            assert not source.rebuilding
            at = [progress.predictions_offset, progress.labels_offset]
    while source.sweeping:
        source.sweep()
    readers.take(source)
    assert all("too old" in reason for reason in refused)
    return readers, went_on


@given(SEEDS, ROWS, SEEDS, st.sampled_from([1, 3, 10_000]))
@settings(max_examples=60, deadline=None)
def test_a_kill_at_any_place_changes_nothing(log_seed: int, rows: int, seed: int, at_once: int) -> None:
    both = flooded(log_seed, rows)
    whole, source = Published(), monitor()
    for side in (0, 1):
        take(source, both, side, 0, len(both[side]))
    whole.take(source)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("driftloop.monitoring.sweep._GIVEN_UP_AT_ONCE", at_once)
        broken, _ = crash_and_go_on(both, seed)
    nobody = without_prediction(both)
    assert broken.given_up & nobody == whole.given_up & nobody
    finals = {key: part for key, part in whole.partials.items() if msgspec.json.decode(part)["final"]}
    assert {key: broken.partials.get(key) for key in finals} == finals
    for key, value in whole.labeled.items():
        row = msgspec.json.decode(value, type=Labeled)
        if not row.late:  # which late ones find their prediction hangs on how the topics interleave
            assert broken.labeled.get(key) == value
            assert row.label_offset not in broken.given_up


def saved_state(store: StateStore | None = None) -> tuple[StateStore, SourceProgress]:
    """Two predictions, one of them labeled, and a label that waits; published and saved."""
    store = store or MemoryStore()
    source = monitor(store)
    source.take_predictions(batch("p", [prediction("a", 1), prediction("b", 2)], 0, 2))
    source.take_labels(batch("l", [label("a", 3), label("c", 3)], 0, 2))
    _, progress = published(source)
    source.save()
    return store, progress


def test_a_restart_begins_where_the_state_was_saved() -> None:
    store, progress = saved_state()
    source = monitor(store, progress, go_on=True)
    assert (source.pending_rows, source.rows_in_memory, source.waiting_labels) == (2, 0, 1)
    assert source.progress() == progress
    source.take_labels(batch("l", [None, None, label("b", 4)], 2, 3))
    source.take_predictions(batch("p", [None, None, prediction("a", 1), prediction("c", 3)], 2, 4))
    out = source.drain()
    assert [key for key, _ in out.labeled] == [b"b", b"c"]
    assert out.duplicates["m"] == 1
    assert (source.pending_rows, source.pending_in_memory, source.waiting_labels) == (3, 2, 0)


@pytest.mark.parametrize("from_disk", [False, True])
def test_a_rebuild_gives_up_what_was_not_given_up_yet(from_disk: bool) -> None:
    """Without another batch: labels due by the last sweep were given up then, others were not."""
    labels = [label("x", 1), label("y", 7), label("z", 11), label("last", 30)]
    predictions = [prediction("a", 10), prediction("b", 12.5), prediction("c", 20)]
    store = MemoryStore()
    source = monitor(store)
    take(source, (predictions, labels), 1, 0, 4)
    for at in range(2):
        take(source, (predictions, labels), 0, at, at + 1)
    assert [letter.offset for letter in source.drain().dead_letters] == [0, 1]
    if from_disk:
        early = source.progress()
        source.save()
        source.evict(100)
        assert monitor(store.copy(), early, go_on=True).progress() == early
    # A label later than the others, so that no sweep is due when the third prediction comes.
    source._sweep.next_ms = 2**62
    take(source, (predictions, labels), 0, 2, 3)
    assert source.drain().dead_letters == []
    progress = source.progress()
    again = monitor(store if from_disk else MemoryStore(), progress, go_on=from_disk)
    if from_disk:
        assert again.labels_offset == 4
        take(again, (predictions, labels), 0, 2, 3)
    else:
        take(again, (predictions, labels), 0, progress.restart_predictions_offset, 3)
        again.take_labels(batch("l", labels, progress.restart_labels_offset, 4))
    again.end_rebuild()
    assert again.drain().dead_letters == []
    while again.sweeping:
        again.sweep()
    assert [(letter.offset, letter.code) for letter in again.drain().dead_letters] == [(2, "no_prediction")]
    assert again.waiting_labels == 1


class Changed(OneModel):
    """The same model with one thing changed."""

    def __init__(self, spec: ModelSpec | None = None, profile: ReferenceProfile | None = None) -> None:
        self._spec, self._profile = spec or SPEC, profile

    def spec(self, model_id: str) -> ModelSpec | None:
        return self._spec

    def profile(self, model_id: str, model_version: str) -> ReferenceProfile | None:
        return self._profile


def other_profile() -> ReferenceProfile:
    return msgspec.structs.replace(PROFILE, label_mean=0.75)


@pytest.mark.parametrize(
    ("catalog", "reason"),
    [
        (Changed(profile=None), "m v1 is not known any more"),
        (Changed(profile=other_profile()), "m v1 has another reference profile now"),
        (
            Changed(parse_spec("model: m\ntask: binary\nfeatures: {x: {kind: numeric}}"), PROFILE),
            "spec of m has changed",
        ),
    ],
)
def test_a_state_of_another_spec_or_profile_is_not_gone_on_from(catalog: Changed, reason: str) -> None:
    store, progress = saved_state()
    with pytest.raises(UnusableState, match=reason):
        monitor(store, progress, go_on=True, catalog=catalog)


def test_a_state_that_does_not_fit_the_published_progress_is_not_gone_on_from() -> None:
    store, progress = saved_state()
    with pytest.raises(UnusableState, match=r"ahead of what was published: .* published is nothing"):
        monitor(store, None, go_on=True)
    behind = msgspec.structs.replace(progress, labels_offset=1)
    with pytest.raises(UnusableState, match=r"ahead of what was published: .* published is 2 and 1"):
        monitor(store, behind, go_on=True)
    far = msgspec.structs.replace(
        progress, predictions_offset=90, labels_offset=90, restart_predictions_offset=80, restart_labels_offset=2
    )
    with pytest.raises(UnusableState, match="too old to save any reading"):
        monitor(store, far, go_on=True)


def test_a_state_of_another_format_is_not_gone_on_from() -> None:
    store, progress = saved_state()
    assert isinstance(store, MemoryStore)
    head = msgspec.msgpack.decode(store._parts[b"head"])
    store._parts[b"head"] = msgspec.msgpack.encode({**head, "format": FORMAT + 1, "cohorts": "as nobody knows them"})
    with pytest.raises(UnusableState, match=f"format {FORMAT + 1}, this version reads {FORMAT}"):
        monitor(store, progress, go_on=True)


@pytest.mark.parametrize("missing", [b"head", b"pane/", b"label/"])
def test_a_state_with_a_part_missing_is_not_gone_on_from(missing: bytes) -> None:
    store, progress = saved_state()
    assert isinstance(store, MemoryStore)
    del store._parts[next(name for name, _ in store.parts(missing))]
    with pytest.raises(UnusableState, match=r"missing|damaged"):
        monitor(store, progress, go_on=True)


def test_a_state_saved_while_rebuilding_needs_the_progress_it_was_rebuilt_for() -> None:
    both: Logs = ([prediction(f"a{index}", index / 10) for index in range(40)], [label("a1", 2)])
    source = monitor()
    take(source, both, 0, 0, 40)
    take(source, both, 1, 0, 1)
    _, progress = published(source)
    store = MemoryStore()
    again = monitor(store, progress)
    take(again, both, 0, 0, 20)
    assert again.rebuilding
    again.save()
    earlier = msgspec.structs.replace(progress, predictions_offset=30)
    with pytest.raises(UnusableState, match="ahead of what was published"):
        monitor(store.copy(), earlier, go_on=True)
    third = monitor(store, progress, go_on=True)
    assert third.predictions_offset == 20
    take(third, both, 0, 20, 40)
    take(third, both, 1, 0, 1)
    assert not third.rebuilding
    assert third.progress() == progress
    assert list(third.take_partials()) == []


def test_expiry_frees_memory_and_disk() -> None:
    store = MemoryStore()
    source = monitor(store)
    take(source, ([prediction(f"a{index}", index / 100) for index in range(400)], []), 0, 0, 400)
    published(source)
    source.save()
    source.evict(300)
    assert (source.pending_rows, source.rows_in_memory, len(store.rows), len(store.entries)) == (400, 100, 400, 400)
    # Both watermarks pass the window's end by horizon, retention and one window.
    later = [None] * 400 + [prediction("end30", 30), prediction("end60", 60)]
    labels = [label("nobody", 30), label("nobody", 60)]
    for index in range(2):
        take(source, (later, labels), 0, 400 + index, 401 + index)
        take(source, (later, labels), 1, index, index + 1)
        published(source)
    source.save()
    # The last two windows are there still.
    assert (source.pending_rows, source.pending_in_memory, len(store.rows), len(store.entries)) == (2, 2, 2, 2)
    assert {name[5:13] for name, _ in store.parts(b"pane/")} == {bytes(7) + bytes([number]) for number in (1, 2)}


def test_an_id_used_again_long_after_survives_the_first_one_s_expiry() -> None:
    """The first one has expired by its partition's order, but its cohort is still there when the second one comes."""
    store = MemoryStore()
    source = monitor(store)
    predictions = [
        prediction("a", 1),
        prediction("b", 2),
        prediction("c", 60),
        prediction("a", 60.5),
        prediction("d", 70),
    ]
    labels = [label("nobody", 60), label("nobody", 64), label("a", 65)]
    for start, stop in ((0, 2), (2, 4)):
        take(source, (predictions, labels), 0, start, stop)
        published(source)
        source.save()
        source.evict(2)
    assert (source.pending_rows, source.rows_in_memory, len(store.rows), len(store.entries)) == (3, 0, 3, 3)
    for side, at in ((1, 0), (0, 4), (1, 1)):
        take(source, (predictions, labels), side, at, at + 1)
        published(source)
    source.save()
    # The first window is forgotten, with "b" alone: the second "a" is not its row.
    assert (source.pending_rows, len(store.rows), len(store.entries)) == (3, 3, 3)
    take(source, (predictions, labels), 1, 2, 3)
    assert [key for key, _ in source.drain().labeled] == [b"a"]
