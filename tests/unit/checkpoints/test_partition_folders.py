"""Folders of source partitions: whose they are, what a damaged one leads to, and that a bad disk ends nothing."""

from __future__ import annotations

import os
import random
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from driftloop.checkpoints.folders import PartitionStore, open_partition
from driftloop.checkpoints.identity import Identity
from driftloop.events.messages import SourceProgress
from driftloop.joining.store import StoreDamaged, StoreError, StoreWrite
from driftloop.monitoring.intake import Limits
from driftloop.monitoring.saved import UnusableState
from driftloop.monitoring.source import SourceMonitor
from support.one_source import SPEC, OneModel, batch, label, prediction

IDENTITY = Identity.of(logs=("abc", "1", "2"), topic_prefix="t", partition=3, specs=[SPEC], limits=(1, 2, 3))


def write(store: PartitionStore, number: int = 0) -> None:
    store.write(
        StoreWrite(
            rows=[(b"key%d" % number, b"row")],
            entries=[(b"cohort1%d" % number, b"key%d" % number)],
            parts=[(b"head", b"x")],
        )
    )


def opened(root: Path, identity: Identity = IDENTITY, **options: bool) -> PartitionStore:
    store = open_partition(root, identity, **options)
    assert store is not None
    return store


def test_what_was_written_is_there_again(tmp_path: Path) -> None:
    store = opened(tmp_path)
    write(store)
    store.close()
    store = opened(tmp_path)
    assert store.get_many([b"key0", b"key1"]) == [b"row", None]
    assert list(store.parts()) == [(b"head", b"x")]
    assert tmp_path.stat().st_mode & 0o777 == 0o700
    store.write(StoreWrite(dropped=[b"cohort1"], dropped_parts=[b"he"]))
    assert store.get_many([b"key0"]) == [None]
    assert list(store.parts()) == []
    store.close()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"logs": ("other", "1", "2")}, "another Kafka cluster"),
        ({"logs": ("abc", "1", "3")}, "topics that were made anew"),
        ({"topic_prefix": "other"}, "another topic prefix"),
        ({"partition": 4}, "another partition"),
        ({"driftloop": "0.0.1"}, "another version of driftloop"),
        ({"specs": "other"}, "other model specs"),
        ({"limits": (1, 2, 4)}, "other limits"),
        ({"partition": 4, "specs": "other"}, "another partition and other model specs"),
    ],
)
def test_a_foreign_one_is_ignored_with_its_reason(tmp_path: Path, changes: dict[str, object], reason: str) -> None:
    store = opened(tmp_path, msgspec.structs.replace(IDENTITY, **changes))
    write(store)
    store.close()
    folder = tmp_path / f"{changes.get('partition', 3)}"
    if folder.name != "3":
        folder.rename(tmp_path / "3")
    with capture_logs() as logs:
        store = opened(tmp_path)
    assert [line["event"] for line in logs] == ["checkpoint ignored"]
    assert reason in logs[0]["reason"]
    assert store.get_many([b"key0"]) == [None]
    assert list(store.parts()) == []
    store.close()


def test_a_spec_more_or_less_makes_it_foreign() -> None:
    none = Identity.of(logs=("abc", "1", "2"), topic_prefix="t", partition=3, specs=[], limits=(1, 2, 3))
    assert IDENTITY.difference(none.encode()) == "it was made with other model specs"
    assert IDENTITY.difference(IDENTITY.encode()) is None
    assert "does not say" in (IDENTITY.difference(b"{") or "")


def test_two_owners_never_use_the_same_folder(tmp_path: Path) -> None:
    first, second = opened(tmp_path), opened(tmp_path)
    assert first.folder != second.folder
    write(first)
    assert second.get_many([b"key0"]) == [None]
    first.close()
    third = opened(tmp_path)
    assert third.folder == first.folder
    assert third.get_many([b"key0"]) == [b"row"]
    second.close()
    third.close()


def test_a_killed_process_leaves_its_folder_to_the_next(tmp_path: Path) -> None:
    script = f"""
import os
from pathlib import Path
from driftloop.checkpoints.folders import open_partition
from driftloop.checkpoints.identity import Identity
from driftloop.joining.store import StoreWrite
import msgspec
store = open_partition(Path({str(tmp_path)!r}), msgspec.json.decode({IDENTITY.encode()!r}, type=Identity))
store.write(StoreWrite(rows=[(b"key0", b"row")], parts=[(b"head", b"x")]))
os.kill(os.getpid(), 9)
"""
    run = subprocess.run([sys.executable, "-c", script], timeout=60, env={**os.environ})
    assert run.returncode == -9
    store = opened(tmp_path)
    assert store.folder == tmp_path / "3"
    assert store.get_many([b"key0"]) == [b"row"]
    store.close()


def test_without_checkpoints_nothing_is_left(tmp_path: Path) -> None:
    store = opened(tmp_path)
    write(store)
    store.close()
    store = opened(tmp_path, keep=False)
    assert store.get_many([b"key0"]) == [None]
    write(store)
    store.close()
    assert not store.folder.exists()


def test_a_folder_that_cannot_be_made_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "monitor").write_text("a file, where a folder should be")
    with capture_logs() as logs:
        assert open_partition(tmp_path / "monitor", IDENTITY) is None
    assert logs[0]["event"].startswith("no local state")
    assert "File exists" in logs[0]["reason"] or "Not a directory" in logs[0]["reason"]


def test_a_full_disk_changes_nothing_and_the_next_write_works(tmp_path: Path) -> None:
    """The system lets no file grow beyond half a megabyte for a while."""
    store = opened(tmp_path)
    write(store)
    big = StoreWrite(rows=[(b"big%d" % number, os.urandom(2_000)) for number in range(1_000)])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))
    try:
        for _ in range(2):
            with pytest.raises(StoreError, match="cannot be written"):
                store.write(big)
        assert store.get_many([b"key0", b"big0"]) == [b"row", None]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    write(store, 1)
    assert store.get_many([b"key0", b"key1", b"big0"]) == [b"row", b"row", None]
    store.close()


# -- damage ----------------------------------------------------------------------------------------------------------

PREDICTIONS = [prediction(f"id{index}", 1 + index / 200, index % 30, "ab"[index % 2]) for index in range(600)]
LABELS = [label(f"id{index}", 2 + index / 200) for index in range(0, 600, 3)]


def monitor(store: PartitionStore | None, progress: SourceProgress | None, *, go_on: bool) -> SourceMonitor:
    return SourceMonitor(
        0, OneModel(), Limits(), predictions_topic="p", labels_topic="l", restart=progress, store=store, go_on=go_on
    )


def rest(source: SourceMonitor) -> list[object]:
    """What comes of the second half of both logs."""
    source.take_predictions(batch("p", PREDICTIONS, 300, 600))
    source.take_labels(batch("l", LABELS, 100, 200))
    source.take_predictions(batch("p", [None] * 600 + PREDICTIONS[:300], 600, 900))
    out = source.drain()
    return [out.labeled, out.duplicates, out.joined, [msgspec.json.encode(part) for part in source.take_partials()]]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SourceProgress, list[object]]:
    """A folder that was saved in the middle of the logs, twice, its progress, and what has to come after it."""
    root = tmp_path_factory.mktemp("saved")
    store = opened(root)
    source = monitor(store, None, go_on=True)
    for at in range(0, 300, 100):
        source.take_predictions(batch("p", PREDICTIONS, at, at + 100))
        source.take_labels(batch("l", LABELS, at // 3, at // 3 + 34))
        list(source.take_partials())
        source.drain()
        source.save()
        source.evict(100)
        if at == 100:
            store.close()  # so that a part of it is in a table and a part in the log
            store = opened(root)
            source = monitor(store, source.progress(), go_on=True)
    progress = source.progress()
    whole = root.with_name("whole")
    shutil.copytree(root, whole)  # as a kill would leave it
    store.close()
    again = opened(root)
    expected = rest(monitor(again, progress, go_on=True))
    again.close()
    return whole, progress, expected


def go_on(root: Path, progress: SourceProgress) -> list[object]:
    """As a worker does: from the checkpoint if it is of use, else from the logs; also if it turns out later that it
    can't be read."""
    store = opened(root)
    try:
        source = monitor(store, progress, go_on=True)
        return rest(_rebuilt(source, progress))
    except (UnusableState, StoreDamaged):
        store.clear()
        return rest(_rebuilt(monitor(store, progress, go_on=False), progress))
    finally:
        store.close()


def _rebuilt(source: SourceMonitor, progress: SourceProgress) -> SourceMonitor:
    if source.rebuilding:
        source.take_predictions(batch("p", PREDICTIONS, source.predictions_offset, progress.predictions_offset))
        source.take_labels(batch("l", LABELS, source.labels_offset, progress.labels_offset))
    assert not source.rebuilding
    return source


def files_of(root: Path) -> list[Path]:
    return sorted(file for file in (root / "3").iterdir() if file.stat().st_size and not file.name.startswith("LOG"))


@pytest.mark.parametrize("how", ["cut", "changed", "gone"])
def test_a_file_torn_at_any_place_is_noticed(
    saved: tuple[Path, SourceProgress, list[object]], tmp_path: Path, how: str
) -> None:
    root, progress, expected = saved
    chance = random.Random(how)
    names = [file.name for file in files_of(root)]
    assert any(name.endswith(".log") for name in names)
    assert any(name.endswith(".sst") for name in names)
    for name in names:
        for _ in range(1 if how == "gone" else 6):
            copy = tmp_path / "copy"
            shutil.copytree(root, copy)
            file = copy / "3" / name
            at = chance.randrange(file.stat().st_size)
            if how == "gone":
                file.unlink()
            elif how == "cut":
                os.truncate(file, at)
            else:
                content = bytearray(file.read_bytes())
                content[at] ^= 1 << chance.randrange(8)
                file.write_bytes(content)
            assert go_on(copy, progress) == expected, f"{name} {how} at {at}"
            shutil.rmtree(copy)
