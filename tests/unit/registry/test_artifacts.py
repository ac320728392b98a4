"""The store of files named by their digest."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from driftloop.registry import ArtifactError, ArtifactRef, ArtifactStore


def test_put_and_read(store: ArtifactStore) -> None:
    reference = store.put_bytes(b"model", ".skops")
    digest = hashlib.sha256(b"model").hexdigest()
    assert reference == ArtifactRef(f"{digest[:2]}/{digest}.skops", digest, 5)
    assert store.read(reference) == store.read(reference.uri) == b"model"
    assert store.open(reference).read_bytes() == b"model"


def test_the_same_data_is_the_same_file_and_nothing_else_is_left(store: ArtifactStore) -> None:
    assert store.put_bytes(b"x" * 10_000, ".parquet") == store.put_bytes(b"x" * 10_000, ".parquet")
    assert [path.name for path in store.folder.rglob("*") if path.is_file()] == [
        hashlib.sha256(b"x" * 10_000).hexdigest() + ".parquet"
    ]


def test_no_data_and_no_suffix(store: ArtifactStore) -> None:
    assert store.read(store.put_bytes(b"")) == b""


def test_damage_is_found_and_mended_by_putting_again(store: ArtifactStore) -> None:
    reference = store.put_bytes(b"model", ".skops")
    store.path(reference).write_bytes(b"mode1")
    with pytest.raises(ArtifactError, match="is damaged"):
        store.read(reference)
    with pytest.raises(ArtifactError, match="is damaged"):
        store.open(reference)
    store.put_bytes(b"model", ".skops")
    assert store.read(reference) == b"model"


def test_a_reference_with_another_digest_is_refused(store: ArtifactStore) -> None:
    reference = store.put_bytes(b"model", ".skops")
    with pytest.raises(ArtifactError, match="was expected to have"):
        store.read(ArtifactRef(reference.uri, "0" * 64, 5))


@pytest.mark.parametrize(
    "uri",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "ab/../../secret",
        "ab/" + "0" * 64,
        "00/" + "0" * 63,
        "00/" + "0" * 64 + "/../x",
        "00/" + "0" * 64 + ".a.b.c",
        "00/" + "0" * 64 + "\n",
        "",
    ],
)
def test_names_that_are_no_digests_are_refused(store: ArtifactStore, uri: str) -> None:
    with pytest.raises(ArtifactError, match="expected the name of an artifact"):
        store.read(uri)


def test_links_out_of_the_folder_are_refused(store: ArtifactStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    digest = hashlib.sha256(b"secret").hexdigest()
    link = store.folder / digest[:2] / digest
    link.parent.mkdir(parents=True)
    link.symlink_to(secret)
    with pytest.raises(ArtifactError, match="is a link out of"):
        store.read(f"{digest[:2]}/{digest}")


def test_a_folder_that_links_out_is_not_written_to(store: ArtifactStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    store.folder.mkdir()
    (store.folder / hashlib.sha256(b"model").hexdigest()[:2]).symlink_to(outside)
    with pytest.raises(ArtifactError, match="is a link out of"):
        store.put_bytes(b"model")
    (outside / hashlib.sha256(b"model").hexdigest()).write_bytes(b"model")
    with pytest.raises(ArtifactError, match="is a link out of"):
        store.put_bytes(b"model")
    with pytest.raises(ArtifactError, match="is a link out of"):
        store.read(f"{hashlib.sha256(b'model').hexdigest()[:2]}/{hashlib.sha256(b'model').hexdigest()}")


def test_a_swapped_file_is_refused(store: ArtifactStore) -> None:
    """Two files of the same size, each a good one, exchanged."""
    first, second = store.put_bytes(b"first", ".skops"), store.put_bytes(b"other", ".skops")
    store.path(first).write_bytes(b"other")
    store.path(second).write_bytes(b"first")
    for reference in (first, second, first.uri, second.uri):
        for use in (store.read, store.check, store.open):
            with pytest.raises(ArtifactError, match=r"is damaged: its SHA-256 is [0-9a-f]{64}"):
                use(reference)


@pytest.mark.parametrize("kept", [0, 1, 4, 6])
def test_a_file_that_was_cut_or_grew_is_refused(store: ArtifactStore, kept: int) -> None:
    reference = store.put_bytes(b"model", ".skops")
    store.path(reference).write_bytes(b"model!"[:kept])
    with pytest.raises(ArtifactError, match=f"it has {kept} bytes instead of 5"):
        store.read(reference)
    with pytest.raises(ArtifactError, match="its SHA-256 is"):
        store.read(reference.uri)


def test_a_missing_file_says_which_setting_to_check(store: ArtifactStore) -> None:
    with pytest.raises(ArtifactError, match="DRIFTLOOP_ARTIFACTS"):
        store.read("00/" + "0" * 64 + ".skops")


@pytest.mark.parametrize("suffix", ["skops", "./x", ".a/b", ".a.b.c", ". "])
def test_suffixes_that_would_make_other_names_are_refused(store: ArtifactStore, suffix: str) -> None:
    with pytest.raises(ArtifactError, match="expected a file suffix"):
        store.put_bytes(b"x", suffix)
