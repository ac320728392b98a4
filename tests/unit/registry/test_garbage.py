"""Which files are unreferenced, and that none goes that somebody is about to refer to."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine

from driftloop.events.decisions import RetrainCommand
from driftloop.registry import ArtifactRef, ArtifactStore, NewVersion, Registry, RegistryError, RunStore
from driftloop.registry.database import reading
from driftloop.registry.files_lock import holding_still
from driftloop.registry.garbage import find_garbage, remove_garbage
from driftloop.registry.references import REFERRING, damaged_files
from driftloop.registry.tables import metadata

NOW = 1_800_000_000.0
HOUR = 3600.0
COMMAND = RetrainCommand(
    command_id="c" * 64,
    model_id="late",
    champion_version="v1",
    trigger="drift",
    reason="x",
    window_end_ms=5,
    from_ms=0,
    to_ms=5,
    spec_digest="",
)


def _put(store: ArtifactStore, data: bytes, hours_ago: float = 48, suffix: str = ".skops") -> ArtifactRef:
    reference = store.put_bytes(data, suffix)
    _age(store, reference, hours_ago)
    return reference


def _age(store: ArtifactStore, reference: ArtifactRef, hours_ago: float) -> None:
    put_s = NOW - hours_ago * HOUR
    os.utime(store.folder / reference.uri, (put_s, put_s))


def _found(registry: Registry) -> list[str]:
    return [file.uri for file in find_garbage(registry, now_s=NOW, grace_s=24 * HOUR).files]


def _removed(registry: Registry) -> list[str]:
    return [file.uri for file in remove_garbage(registry, now_s=NOW, grace_s=24 * HOUR)]


def _there(store: ArtifactStore) -> set[str]:
    return {str(path.relative_to(store.folder)) for path in store.folder.rglob("*") if path.is_file()}


@pytest.fixture
def model(registry: Registry, store: ArtifactStore) -> ArtifactRef:
    """A registered version's file."""
    reference = _put(store, b"registered model")
    registry.register_version(NewVersion(model_id="late", artifact=reference))
    return reference


def test_only_what_nothing_refers_to_goes(registry: Registry, store: ArtifactStore, model: ArtifactRef) -> None:
    rows = _put(store, b"rows of a data set", suffix=".parquet")
    further = _put(store, b"named by the manifest only", suffix=".parquet")
    manifest = _put(store, json.dumps({"sha256": further.sha256}).encode(), suffix=".json")
    lineage = {"dataset": {"uri": rows.uri, "manifest_uri": manifest.uri}}
    registry.register_version(NewVersion(model_id="late", lineage=lineage))
    in_command = _put(store, b"named by a command")
    RunStore(registry.engine).lease(msgspec.structs.replace(COMMAND, reason=in_command.sha256), "o", 1, NOW)
    RunStore(registry.engine).finish(COMMAND.command_id, "failed", None, "")
    left = _put(store, b"nobody's")
    orphan = _put(store, b'{"sha256": "' + b"0" * 64 + b'"}', suffix=".json")
    assert _found(registry) == sorted([left.uri, orphan.uri])
    assert left.uri in _there(store)
    assert _removed(registry) == sorted([left.uri, orphan.uri])
    assert _there(store) == {file.uri for file in (model, rows, further, manifest, in_command)}
    assert _removed(registry) == []


def test_young_files_stay(registry: Registry, store: ArtifactStore, model: ArtifactRef) -> None:
    _put(store, b"young", hours_ago=23.9)
    old = _put(store, b"old", hours_ago=24.1)
    assert _found(registry) == [old.uri]
    assert find_garbage(registry, now_s=NOW, grace_s=24 * HOUR).young == 1


def test_files_of_a_training_that_goes_on_stay(registry: Registry, store: ArtifactStore, model: ArtifactRef) -> None:
    RunStore(registry.engine).lease(COMMAND, "o", 1, NOW - 50 * HOUR)
    before = _put(store, b"before the training", hours_ago=51)
    _put(store, b"a data set of the training", hours_ago=49)
    found = find_garbage(registry, now_s=NOW, grace_s=24 * HOUR)
    assert [file.uri for file in found.files] == [before.uri]
    assert (found.young, found.waits_for) == (1, NOW - 50 * HOUR)
    assert _removed(registry) == [before.uri]
    RunStore(registry.engine).finish(COMMAND.command_id, "failed", None, "")
    assert len(_removed(registry)) == 1


def test_putting_a_file_again_makes_it_young(registry: Registry, store: ArtifactStore, model: ArtifactRef) -> None:
    again = _put(store, b"again")
    assert _found(registry) == [again.uri]
    store.put_bytes(b"again", ".skops")
    assert (store.folder / again.uri).stat().st_mtime != NOW - 48 * HOUR
    found = find_garbage(registry, now_s=(store.folder / again.uri).stat().st_mtime + 1, grace_s=24 * HOUR)
    assert again.uri not in [file.uri for file in found.files]


def test_a_file_that_is_put_again_while_it_is_removed_stays(
    registry: Registry, store: ArtifactStore, model: ArtifactRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The moment between looking at a file's age and taking it away."""
    again = _put(store, b"again")
    rename = Path.rename

    def put_first(path: Path, target: Path) -> Path:
        if path.name == Path(again.uri).name:
            _age(store, again, 0)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", put_first)
    assert _removed(registry) == []
    assert store.read(again) == b"again"
    assert not list(store.folder.rglob(".removing-*"))


def test_a_file_removed_just_after_it_was_found_is_written_anew(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = store.put_bytes(b"model")
    utime = os.utime

    def remove_after(path: Any, *arguments: Any) -> None:
        utime(path, *arguments)
        Path(path).unlink()

    monkeypatch.setattr(os, "utime", remove_after)
    assert store.put_bytes(b"model") == reference
    assert store.read(reference) == b"model"


def test_a_registration_waits_for_the_removal_and_then_finds_its_file_or_says_so(
    registry: Registry, engine: Engine, store: ArtifactStore, model: ArtifactRef
) -> None:
    reference = _put(store, b"about to be registered")
    ended: list[str] = []

    def register() -> None:
        try:
            registry.register_version(NewVersion(model_id="late", artifact=reference))
            ended.append("registered")
        except RegistryError as error:
            ended.append(str(error))

    thread = threading.Thread(target=register)
    with holding_still(engine):
        thread.start()
        thread.join(0.5)
        assert ended == []
        (store.folder / reference.uri).unlink()
    thread.join(30)
    assert len(ended) == 1
    assert "is not in" in ended[0]
    assert len(registry.versions("late")) == 1


def test_while_files_are_removed_only_who_refers_to_files_waits(
    registry: Registry, engine: Engine, store: ArtifactStore, model: ArtifactRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Removing from an object store may take long. Nobody else who writes is kept waiting for it."""
    left = _put(store, b"nobody's")
    runs = RunStore(engine)
    removing, go_on = threading.Event(), threading.Event()
    remove = store.files.remove

    def slowly(uri: str, before_s: float) -> int | None:
        removing.set()
        assert go_on.wait(60)
        return remove(uri, before_s)

    monkeypatch.setattr(store.files, "remove", slowly)
    done: list[str] = []

    def wait_for(name: str, action: Callable[[], object]) -> threading.Thread:
        thread = threading.Thread(target=lambda: (action(), done.append(name)))
        thread.start()
        return thread

    threads = [wait_for("removed", lambda: _removed(registry))]
    try:
        assert removing.wait(60)
        threads += [
            wait_for("registered", lambda: registry.register_version(NewVersion(model_id="late"))),
            wait_for("leased", lambda: runs.lease(COMMAND, "o", 1, NOW)),
        ]
        registry.ensure_model("another", "binary", "0" * 64)
        registry.promote("late", "v1", "good", 1)
        assert not runs.renew("unknown", "o", 1, NOW)
        threads[1].join(0.3)
        threads[2].join(0.1)
        assert done == []
        assert store.read(left)
    finally:
        go_on.set()
        for thread in threads:
            thread.join(60)
    assert sorted(done) == ["leased", "registered", "removed"]
    assert left.uri not in _there(store)


def test_who_is_killed_while_removing_keeps_nobody_waiting(
    registry: Registry, database_url: str, store: ArtifactStore, model: ArtifactRef
) -> None:
    script = """
import sys, time
from driftloop.registry.database import open_engine
from driftloop.registry.files_lock import holding_still
with holding_still(open_engine(sys.argv[1])):
    print("holding", flush=True)
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", script, database_url], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "holding\n"
        finally:
            holder.kill()
    assert registry.register_version(NewVersion(model_id="late")) == "v2"


def test_what_is_referred_to_after_the_first_look_stays(
    registry: Registry, store: ArtifactStore, model: ArtifactRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = _put(store, b"registered between look and removal")

    def register_then_hold(engine: Engine) -> Any:
        registry.register_version(NewVersion(model_id="late", lineage={"uri": late.uri}))
        return holding_still(engine)

    monkeypatch.setattr("driftloop.registry.garbage.holding_still", register_then_hold)
    assert _removed(registry) == []
    assert store.read(late)


def test_another_registrys_folder_is_left_alone(registry: Registry, store: ArtifactStore) -> None:
    _put(store, b"somebody else's model")
    assert len(_found(registry)) == 1
    with pytest.raises(RegistryError, match="most likely another folder's"):
        _removed(registry)
    assert len(_there(store)) == 1


def test_what_is_not_the_stores_is_never_touched(
    registry: Registry, store: ArtifactStore, model: ArtifactRef, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    digest = hashlib.sha256(b"outside").hexdigest()
    (outside / digest).write_bytes(b"outside")
    os.utime(outside / digest, (0, 0))
    (store.folder / "readme.txt").write_text("mine")
    (store.folder / "notes").mkdir()
    taken = {path.name for path in store.folder.iterdir()}
    linked = next(name for name in ("00", "01", "02") if name not in taken)
    (store.folder / linked).symlink_to(outside)
    inner = store.folder / model.uri[:2]
    (inner / digest).symlink_to(outside / digest)
    (inner / "x.skops").write_bytes(b"")
    (inner / ("f" * 64 if model.uri[:2] != "ff" else "e" * 64)).write_bytes(b"in the wrong folder")
    found = find_garbage(registry, now_s=NOW, grace_s=HOUR)
    assert len(found.foreign) == 6
    assert found.files == []
    assert _removed(registry) == []
    assert (outside / digest).read_bytes() == b"outside"


def test_what_a_killed_writer_left_goes_too(registry: Registry, store: ArtifactStore, model: ArtifactRef) -> None:
    left = store.folder / model.uri[:2] / ".writing-abc"
    left.write_bytes(b"half")
    os.utime(left, (0, 0))
    assert _removed(registry) == [f"{model.uri[:2]}/.writing-abc"]


def test_no_folder_yet(registry: Registry) -> None:
    assert _found(registry) == _removed(registry) == []


def test_columns_that_name_files_are_looked_at() -> None:
    """A new column whose name says that it names a file must be in REFERRING."""
    #: Digests of other things: they never are names of files.
    others = {
        "model_versions.artifact_size",
        "model_versions.profile_sha256",
        "alias_history.version_sha256",
        "alias_history.previous_sha256",
        "alias_history.row_sha256",
        "history_head.sha256",
        "policy_decisions.body_sha256",
        "models.spec_digest",
        "window_reports.content_digest",
    }
    words = ("uri", "sha256", "digest", "path", "file", "artifact", "dataset", "lineage", "manifest")
    naming = {
        f"{table.name}.{column.name}"
        for table in metadata.tables.values()
        for column in table.columns
        if any(word in column.name.split("_") for word in words)
    }
    assert naming - others <= {f"{column.table.name}.{column.name}" for column in REFERRING}


def test_damaged_files_are_named(registry: Registry, store: ArtifactStore, model: ArtifactRef) -> None:
    rows = store.put_bytes(b"rows", ".parquet")
    registry.register_version(NewVersion(model_id="late", lineage={"dataset": {"uri": rows.uri}}))
    with reading(registry.engine) as connection:
        assert damaged_files(connection, store) == []
    (store.folder / model.uri).write_bytes(b"registered modeL")
    (store.folder / rows.uri).unlink()
    with reading(registry.engine) as connection:
        first, second = damaged_files(connection, store)
    assert first.startswith("late v1: the artifact ")
    assert "is damaged" in first
    assert second.startswith(f"late v2: the artifact '{rows.uri}' is not in")
