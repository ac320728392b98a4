"""What holds of every place for artifacts: a folder, memory, and S3 where a server is given.

S3: ``DRIFTLOOP_TEST_S3=s3://bucket/prefix`` with AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY set, and
s3fs installed. It is not part of the suite: a server (moto) and s3fs take 330 MB.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from driftloop.cli.doctor import examine
from driftloop.events.decisions import RetrainCommand
from driftloop.registry import ArtifactError, ArtifactRef, ArtifactStore, NewVersion, Registry, RegistryError, RunStore
from driftloop.registry.artifact_files import ArtifactFiles
from driftloop.registry.garbage import find_garbage, remove_garbage
from driftloop.registry.remote_files import RemoteFiles, url_problem
from driftloop.settings import Settings
from support.own_settings import own_settings

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


TEST_S3 = os.environ.get("DRIFTLOOP_TEST_S3")


@pytest.fixture(params=["folder", "memory", *(["s3"] if TEST_S3 else [])])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ArtifactStore]:
    own = uuid.uuid4().hex
    if request.param == "folder":
        yield ArtifactStore(tmp_path / "artifacts")
        return
    store = ArtifactStore(f"{TEST_S3}/{own}" if request.param == "s3" else f"memory://{own}/prefix")
    yield store
    for name, _ in list(store.files.entries()):
        _fs(store).rm_file(f"{_files(store)._root}/{name}")


@pytest.fixture
def registry(engine: Engine, store: ArtifactStore) -> Registry:
    registry = Registry(engine, store)
    registry.ensure_model("late", "binary", "digest-1")
    return registry


def _files(store: ArtifactStore) -> RemoteFiles:
    assert isinstance(store.files, RemoteFiles)
    return store.files


def _fs(store: ArtifactStore) -> Any:
    return _files(store)._fs


def _overwrite(store: ArtifactStore, uri: str, data: bytes) -> None:
    store.files.write(uri, data)


def _entries(files: ArtifactFiles) -> dict[str, bool]:
    return {name: entry is not None for name, entry in files.entries()}


def test_what_is_put_is_read(store: ArtifactStore) -> None:
    data = bytes(range(256)) * 40_000
    for content, suffix in ((b"model", ".skops"), (b"", ""), (data, ".parquet")):
        reference = store.put_bytes(content, suffix)
        assert reference == store.put_bytes(content, suffix)
        assert store.read(reference) == store.read(reference.uri) == content
        store.check(reference)
        store.expect(reference)
        assert store.open(reference).read_bytes() == content
    assert len(_entries(store.files)) == 3
    assert all(_entries(store.files).values())


def test_another_store_at_the_same_place_reads_it(store: ArtifactStore) -> None:
    assert list(store.files.entries()) == []
    reference = store.put_bytes(b"model", ".skops")
    again = ArtifactStore(store.files.where)
    assert again.read(reference) == b"model"
    assert list(again.files.entries()) == list(store.files.entries())
    later = store.put_bytes(b"later")
    assert again.read(later) == b"later"
    assert later.uri in _entries(again.files)


@pytest.mark.parametrize("content", [b"mode1", b"", b"model and more"])
def test_damage_is_found_and_mended_by_putting_again(store: ArtifactStore, content: bytes) -> None:
    reference = store.put_bytes(b"model", ".skops")
    _overwrite(store, reference.uri, content)
    for use in (store.read, store.check, store.open):
        for name in (reference, reference.uri):
            with pytest.raises(ArtifactError, match="is damaged"):
                use(name)
    assert store.put_bytes(b"model", ".skops") == reference
    assert store.read(reference) == b"model"


@pytest.mark.parametrize("uri", ["../secret", "/etc/passwd", "ab/../../secret", "00/" + "ab" * 32, ""])
def test_names_that_are_no_digests_are_refused(store: ArtifactStore, uri: str) -> None:
    for use in (store.read, store.check, store.open, store.expect, store.path, store.location):
        with pytest.raises(ArtifactError):
            use(uri)


def test_a_missing_file_is_told(store: ArtifactStore, registry: Registry) -> None:
    reference = ArtifactRef("00/" + "0" * 64, "0" * 64, 1)
    for use in (store.read, store.check, store.open, store.expect):
        with pytest.raises(ArtifactError, match=r"is not in .*DRIFTLOOP_ARTIFACTS"):
            use(reference)
    with pytest.raises(ArtifactError, match="is not in"):
        registry.register_version(NewVersion(model_id="late", artifact=reference))


def test_a_note_beside_a_file(store: ArtifactStore) -> None:
    reference = store.put_bytes(b"rows", ".parquet")
    uri = store.put_beside(reference, ".dvc", b"outs: []\n")
    assert uri == f"{reference.uri}.dvc"
    assert store.files.read(uri) == b"outs: []\n"


def test_only_what_nothing_refers_to_goes(store: ArtifactStore, registry: Registry) -> None:
    model = store.put_bytes(b"model", ".skops")
    rows = store.put_bytes(b"rows", ".parquet")
    manifest = store.put_bytes(b'{"sha256": "%s"}' % rows.sha256.encode(), ".json")
    registry.register_version(NewVersion(model_id="late", artifact=model, lineage={"manifest_uri": manifest.uri}))
    left = store.put_bytes(b"nobody's", ".skops")
    _overwrite(store, "notes.txt", b"mine")
    put_s = next(entry.put_s for name, entry in store.files.entries() if entry is not None and name == left.uri)
    assert abs(put_s - datetime.now(UTC).timestamp()) < 60
    young = find_garbage(registry, now_s=put_s + HOUR - 10, grace_s=HOUR)
    assert (young.files, young.young, young.referred, young.foreign) == ([], 1, 3, ["notes.txt"])
    now_s = put_s + 2 * HOUR
    found = find_garbage(registry, now_s=now_s, grace_s=HOUR)
    assert [(file.uri, file.size) for file in found.files] == [(left.uri, len(b"nobody's"))]
    assert store.read(left) == b"nobody's"
    assert [file.uri for file in remove_garbage(registry, now_s=now_s, grace_s=HOUR)] == [left.uri]
    assert _entries(store.files) == {model.uri: True, rows.uri: True, manifest.uri: True, "notes.txt": False}
    assert remove_garbage(registry, now_s=now_s, grace_s=HOUR) == []


def test_a_file_put_since_it_was_found_stays(store: ArtifactStore) -> None:
    reference = store.put_bytes(b"again")
    put_s = next(entry.put_s for _, entry in store.files.entries() if entry is not None)
    assert store.files.remove(reference.uri, put_s - 1) is None
    assert store.read(reference) == b"again"
    assert store.files.remove(reference.uri, put_s + 10) == 5
    assert store.files.remove(reference.uri, put_s + 10) is None
    with pytest.raises(ArtifactError):
        store.expect(reference)


def test_in_an_object_store_nothing_is_removed_during_a_training(store: ArtifactStore, registry: Registry) -> None:
    """It cannot see a file that the training puts again at the moment when it is removed."""
    registry.register_version(NewVersion(model_id="late", artifact=store.put_bytes(b"model", ".skops")))
    left = store.put_bytes(b"nobody's", ".skops")
    now_s = datetime.now(UTC).timestamp() + 10 * HOUR
    runs = RunStore(registry.engine)
    # So late that its start protects no file.
    runs.lease(COMMAND, "o", 1, now_s + 10 * HOUR)
    if store.files.sees_puts_while_removing:
        assert len(remove_garbage(registry, now_s=now_s, grace_s=HOUR)) == 1
        return
    with pytest.raises(RegistryError, match="a training goes on"):
        remove_garbage(registry, now_s=now_s, grace_s=HOUR)
    assert store.read(left) == b"nobody's"
    runs.finish(COMMAND.command_id, "failed", None, "")
    assert [file.uri for file in remove_garbage(registry, now_s=now_s, grace_s=HOUR)] == [left.uri]


def test_every_place_says_when_it_cannot_be_used(store: ArtifactStore) -> None:
    assert store.files.problem() is None
    store.put_bytes(b"model")
    assert store.files.problem() is None


def test_a_place_that_is_away_is_no_missing_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing file fails a training for good; a place that is away is asked again."""
    store = ArtifactStore("memory://away")
    reference = store.put_bytes(b"model")

    class Gone(Exception):
        pass

    def fail(*arguments: Any, **more: Any) -> None:
        raise Gone("no route")

    for name in ("info", "cat_file", "pipe_file", "find", "ls"):
        monkeypatch.setattr(_fs(store), name, fail)
    for use in (lambda: store.read(reference), lambda: store.put_bytes(b"x"), lambda: list(store.files.entries())):
        with pytest.raises(OSError, match=r"memory://away cannot be used: Gone: no route"):
            use()
    assert "no route" in str(store.files.problem())


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("s3://KEY:geheim@bucket/x", "without a password"),
        ("az://user:geheim@account/x", "without a password"),
        ("s3://bucket/x?secret=geheim", "without parameters"),
        ("s3://bucket/x#geheim", "without parameters"),
        ("simplecache::s3://geheim", "expected a path, or one URL"),
        ("s3://bucket/../geheim", "without '..'"),
        ("s3:///geheim", "expected the bucket"),
        ("file:///geheim", "expected a path instead"),
    ],
)
def test_urls_that_are_refused_are_not_shown(url: str, says: str) -> None:
    assert says in str(url_problem(url))
    with pytest.raises(ArtifactError) as refused:
        ArtifactStore(url)
    with pytest.raises(ValueError, match=says) as invalid:
        Settings(_env_file=None, artifacts=url)  # type: ignore[call-arg]
    assert "geheim" not in str(refused.value) + str(invalid.value)


@pytest.mark.parametrize(("scheme", "extra"), [("gs", "gcs"), ("az", "azure"), ("abfs", "azure")])
def test_a_missing_library_names_the_extra(scheme: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(protocol: str) -> None:
        raise ImportError(f"no {protocol}")

    monkeypatch.setattr("fsspec.get_filesystem_class", missing)
    with pytest.raises(ArtifactError, match=rf"install driftloop\[{extra}\]"):
        ArtifactStore(f"{scheme}://bucket/prefix")


def test_a_scheme_that_nobody_knows() -> None:
    with pytest.raises(ArtifactError, match="knows no nonsense://"):
        ArtifactStore("nonsense://bucket")


def test_settings_keep_paths_and_urls_apart(tmp_path: Path) -> None:
    given = [
        Settings(_env_file=None, artifacts=place).resolved_artifacts  # type: ignore[call-arg]
        for place in (str(tmp_path), tmp_path, "s3://bucket/a//b", "")
    ]
    assert given == [tmp_path, tmp_path, "s3://bucket/a//b", Path(".driftloop/artifacts")]
    digest = hashlib.sha256(b"").hexdigest()
    assert ArtifactStore(tmp_path).location(f"{digest[:2]}/{digest}") == f"{tmp_path}/{digest[:2]}/{digest}"


def test_doctor_looks_at_the_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place, result in (("memory://x", "ok"), (tmp_path / "none yet", "ok"), (tmp_path / "file", "failed")):
        settings = own_settings("127.0.0.1:1", "t", tmp_path, artifacts=place)
        found = {finding.check: finding for finding in examine(settings, timeout_s=0.1)}["artifacts"]
        assert found.result == result, found.text
