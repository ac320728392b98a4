from __future__ import annotations

import io
import pickle
import zipfile

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


def test_does_not_write_what_it_would_not_load() -> None:
    with pytest.raises(EstimatorError, match="Foreign"):
        dump(Pipeline([("foreign", Foreign())]))
