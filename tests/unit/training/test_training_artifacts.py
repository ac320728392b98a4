from __future__ import annotations

import hashlib
import io
import json
import pickle
import zipfile
from pathlib import Path
from random import Random
from typing import Any

import pytest
import skops.io
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from driftloop.training.artifacts import ArtifactError, dump, load
from driftloop.training.estimators import EstimatorError, fit
from support.training_rows import make_rows, make_spec


class Foreign(StandardScaler):  # type: ignore[misc]
    pass


def test_refuses_a_type_that_is_not_trusted_and_names_it() -> None:
    data = skops.io.dumps(Pipeline([("foreign", Foreign())]))
    with pytest.raises(ArtifactError, match=r"Foreign.*not among the trusted types"):
        load(data)


def test_refuses_a_function_that_would_be_called() -> None:
    data = skops.io.dumps(Pipeline([("call", FunctionTransformer(func=print))]))
    with pytest.raises(ArtifactError, match="print"):
        load(data)


@pytest.mark.parametrize("data", [b"", b"not a zip", pickle.dumps({"a": 1})])
def test_refuses_what_is_no_skops_file(data: bytes) -> None:
    with pytest.raises(ArtifactError, match="not a skops archive"):
        load(data)


def test_refuses_an_archive_without_a_schema() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("other.txt", "x")
    with pytest.raises(ArtifactError, match="not a skops archive"):
        load(buffer.getvalue())


def test_refuses_what_is_no_pipeline() -> None:
    with pytest.raises(ArtifactError, match="StandardScaler, expected a scikit-learn Pipeline"):
        load(skops.io.dumps(StandardScaler()))


def test_a_cut_off_file_is_refused() -> None:
    frame, labels, _ = make_rows()
    data = dump(fit(make_spec(), frame, labels))
    with pytest.raises(ArtifactError):
        load(data[: len(data) // 2])


def test_a_swapped_file_is_refused_though_its_types_are_trusted() -> None:
    frame, labels, _ = make_rows()
    registered, other = (dump(fit(make_spec(), frame, truth)) for truth in (labels, 1 - labels))
    digest = hashlib.sha256(registered).hexdigest()
    assert isinstance(load(registered, sha256=digest), Pipeline)
    with pytest.raises(ArtifactError, match=f"the registry has {digest} for it; it was not loaded"):
        load(other, sha256=digest)


class Planted:
    """What a pickle would run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.folder / "was-run",))


def test_a_pickle_is_refused_and_nothing_in_it_runs(tmp_path: Path) -> None:
    data = pickle.dumps(Planted(tmp_path))
    with pytest.raises(ArtifactError, match="not a skops archive"):
        load(data)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("schema.json", data)
        archive.writestr("1.pkl", data)
    with pytest.raises(ArtifactError, match="not a skops archive"):
        load(buffer.getvalue())
    assert list(tmp_path.iterdir()) == []
    pickle.loads(data)
    assert [path.name for path in tmp_path.iterdir()] == ["was-run"], "the pickle of this test is harmless"


def _replaced(node: Any, random: Random) -> Any:
    """The tree with one node somewhere replaced by something else."""
    if isinstance(node, dict | list) and node and random.random() < 0.8:
        key = random.choice(list(node) if isinstance(node, dict) else range(len(node)))
        changed = node.copy()
        changed[key] = _replaced(node[key], random)
        return changed
    planted = {"__module__": "os", "__class__": "system", "__loader__": random.choice(["TypeNode", "FunctionNode"])}
    return random.choice([None, 7, "x", [], {}, "os", "system", planted, "../../etc/passwd"])


def test_an_archive_with_a_damaged_schema_is_refused_or_loaded_and_nothing_else() -> None:
    frame, labels, _ = make_rows()
    good = zipfile.ZipFile(io.BytesIO(dump(fit(make_spec(), frame, labels))))
    schema = json.loads(good.read("schema.json"))
    refused = 0
    for seed in range(150):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name in good.namelist():
                changed = json.dumps(_replaced(schema, Random(seed))).encode()
                archive.writestr(name, changed if name == "schema.json" else good.read(name))
        try:
            assert isinstance(load(buffer.getvalue()), Pipeline), seed
        except ArtifactError:
            refused += 1
    assert refused > 50


def test_does_not_write_what_it_would_not_load() -> None:
    with pytest.raises(EstimatorError, match="Foreign"):
        dump(Pipeline([("foreign", Foreign())]))
