"""What is kept beside a data set: manifest, column statistics, pointer for DVC."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from driftloop.registry.artifacts import ArtifactStore
from driftloop.registry.errors import ArtifactError
from driftloop.spec.load import spec_digest
from driftloop.training.column_statistics import QUANTILES, TOP_CATEGORIES, column_statistics
from driftloop.training.dataset import TrainingSet, cut
from driftloop.training.dataset_files import dvc_pointer, keep_dataset
from driftloop.training.dataset_manifest import DatasetQuery, OffsetRange, TrainingManifest
from support.training_rows import make_labeled, make_rows, make_spec

QUERY = DatasetQuery(model="m", from_ms=0, to_ms=10**12)


def test_a_numeric_columns_statistics_by_hand() -> None:
    found = column_statistics("x", np.array([3.0, np.nan, 1.0, 2.0, 2.0]))
    assert (found.count, found.missing, found.distinct) == (4, 1, 3)
    assert (found.minimum, found.maximum, found.mean) == (1.0, 3.0, 2.0)
    assert found.quantiles == {"0.01": 1.0, "0.05": 1.0, "0.25": 1.0, "0.5": 2.0, "0.75": 2.0, "0.95": 3.0, "0.99": 3.0}


@given(st.lists(st.floats(allow_nan=True, allow_infinity=False), max_size=40), st.randoms(use_true_random=False))
def test_statistics_do_not_depend_on_the_order(values: list[float], chance: object) -> None:
    shuffled = list(values)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    first, second = (column_statistics("x", np.array(part, dtype=np.float64)) for part in (values, shuffled))
    assert msgspec.json.encode(first) == msgspec.json.encode(second)
    known = np.array([value for value in values if value == value])
    if known.size:
        assert list(first.quantiles.values()) == np.quantile(known, QUANTILES, method="inverted_cdf").tolist()


def test_extreme_columns() -> None:
    huge = column_statistics("x", np.array([1e308, 1e308, -1e308]))
    assert huge.mean == pytest.approx(1e308 / 3)
    assert column_statistics("x", np.full(3, np.nan)).distinct == 0
    assert column_statistics("x", np.empty(0)).count == 0
    assert column_statistics("c", np.array([None, None], dtype=object)).missing == 2


def test_categories_and_vectors() -> None:
    names = np.array(["b", "a", "b", None, "x" * 500, *(f"c{number:03}" for number in range(40))], dtype=object)
    found = column_statistics("colour", names)
    assert (found.count, found.missing, found.distinct) == (44, 1, 43)
    assert found.top[:3] == [("b", 2), ("a", 1), ("c000", 1)]
    assert len(found.top) == TOP_CATEGORIES
    vectors = np.empty(2, dtype=object)
    vectors[0] = [1.0, 2.0]
    assert column_statistics("v", vectors).kind == "vector"


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_manifest_says_where_from_and_what(tmp_path: Path, task: str) -> None:
    spec = make_spec(task)
    rows = make_labeled(spec, *make_rows(task))
    store = ArtifactStore(tmp_path)
    data = cut(rows, spec, 0, 10**12, [OffsetRange(partition=0, first=3, end=403)])
    parquet, lineage = keep_dataset(store, spec, data, topic="t.labeled", query=QUERY)
    manifest = msgspec.json.decode(store.read(lineage["manifest_uri"]), type=TrainingManifest)
    assert lineage["uri"] == f"{manifest.sha256[:2]}/{hashlib.sha256(parquet).hexdigest()}.parquet"
    assert (manifest.size, manifest.spec_digest) == (len(parquet), spec_digest(spec))
    assert manifest.query is not None
    assert (manifest.query.model, manifest.query.to_ms) == ("m", 10**12)
    assert manifest.query.code_version.startswith("driftloop")
    assert [column.name for column in manifest.statistics] == ["@label", "x", "colour", "noise"]
    assert manifest.statistics[1].missing == int(data.frame["x"].isna().sum())
    assert "statistics" not in lineage
    assert lineage["sources"] == [{"partition": 0, "first": 3, "end": 403}]
    again = TrainingSet.from_parquet(spec, store.read(lineage["uri"]))
    assert again.labeled_at_ms is not None
    assert (again.labeled_at_ms - again.predicted_at_ms == 3_600_000).all()


def test_manifests_of_earlier_releases_are_read() -> None:
    old = {"model_id": "m", "topic": "t", "sources": [], "from_ms": 0, "to_ms": 1, "rows": 0, "superseded": 0,
           "unreadable": 0, "first_predicted_ms": 0, "last_predicted_ms": 0, "columns": []}  # fmt: skip
    assert msgspec.json.decode(msgspec.json.encode(old), type=TrainingManifest).query is None


def test_the_pointer_for_dvc_is_what_dvc_writes(tmp_path: Path) -> None:
    """``dvc add`` of a file with this content: RFC 1321 has its MD5."""
    pointer = dvc_pointer(b"message digest", "data.txt")
    assert pointer == (b"outs:\n- md5: f96b697d7cb7938d525a2f31aaf161d0\n  size: 14\n  hash: md5\n  path: data.txt\n")
    spec = make_spec(training={"dvc": True})
    store = ArtifactStore(tmp_path)
    data = cut(make_labeled(spec, *make_rows()), spec, 0, 10**12)
    parquet, lineage = keep_dataset(store, spec, data, topic="t", query=QUERY)
    beside = tmp_path / f"{lineage['uri']}.dvc"
    (out,) = yaml.safe_load(beside.read_text())["outs"]
    assert out == {
        "md5": hashlib.md5(parquet).hexdigest(), "size": len(parquet), "hash": "md5",
        "path": Path(lineage["uri"]).name,
    }  # fmt: skip
    assert (beside.parent / out["path"]).read_bytes() == parquet
    assert lineage["dvc"] is True
    keep_dataset(store, spec, data, topic="t", query=QUERY)
    assert sorted(path.name for path in beside.parent.iterdir() if path.suffix == ".dvc") == [beside.name]


def test_without_the_request_there_is_no_pointer(tmp_path: Path) -> None:
    spec = make_spec()
    keep_dataset(
        ArtifactStore(tmp_path), spec, cut(make_labeled(spec, *make_rows()), spec, 0, 10**12), topic="t", query=QUERY
    )
    assert list(tmp_path.rglob("*.dvc")) == []


def test_a_note_beside_a_file_needs_room_in_its_name(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    reference = store.put_bytes(b"x", ".tar.gz")
    with pytest.raises(ArtifactError, match="with at most one"):
        store.put_beside(reference, ".dvc", b"y")
