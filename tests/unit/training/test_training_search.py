from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from driftloop.cli._how_trained import how_trained
from driftloop.spec.training import CandidateSpec, SearchSpec
from driftloop.training import artifacts
from driftloop.training.dataset import TrainingSet, from_frame
from driftloop.training.digest import model_digest
from driftloop.training.errors import EstimatorError
from driftloop.training.estimators import fit
from driftloop.training.search import folds_of, search, settings_of
from driftloop.training.train import lineage_of, train
from support.training_rows import make_rows, make_spec

C = {"C": [1e-6, 1.0]}


def data_of(rows: int = 400, instants: int | None = None) -> TrainingSet:
    frame, labels, times = make_rows(rows=rows)
    return from_frame(make_spec(), frame, labels, times if instants is None else times % instants)


def test_a_grid_has_every_combination_and_a_random_search_distinct_ones() -> None:
    grid = SearchSpec(parameters={"C": [1, 2], "tol": [3, 4, 5]})
    assert len(settings_of(grid)) == 6
    assert settings_of(grid)[:2] == [{"C": 1, "tol": 3}, {"C": 1, "tol": 4}]
    ranges: dict[str, Any] = {"C": {"low": 0.01, "high": 100, "log": True}, "k": {"low": 2, "high": 4, "integer": True}}
    drawn = settings_of(SearchSpec(method="random", n=40, seed=3, parameters=ranges))
    assert len(drawn) == 40
    assert all(0.01 <= one["C"] <= 100 and one["k"] in (2, 3, 4) for one in drawn)
    assert 0.2 < np.mean([one["C"] < 1.0 for one in drawn]) < 0.8, "half of a logarithmic range lies below 1"
    assert settings_of(SearchSpec(method="random", n=40, seed=3, parameters=ranges)) == drawn
    assert settings_of(SearchSpec(method="random", n=40, seed=4, parameters=ranges)) != drawn
    assert len(settings_of(SearchSpec(method="random", n=40, parameters={"k": [1, 2, 3]}))) == 3


@pytest.mark.parametrize("split", ["time_series", "forward"])
@pytest.mark.parametrize("step", [1, 7, 90])
def test_folds_go_forward_in_time(split: str, step: int) -> None:
    """Also with many rows of one instant."""
    frame, labels, times = make_rows(rows=300)
    data = from_frame(make_spec(), frame, labels, times // (360_000 * step) * 360_000 * step)
    folds = folds_of(SearchSpec(split=split, parameters=C, folds=4), data)  # type: ignore[arg-type]
    assert folds
    for earlier, later in folds:
        assert data.predicted_at_ms[earlier].max() < data.predicted_at_ms[later].min()
    if split == "time_series" and step == 1:
        assert [(one.stop, two.stop) for one, two in folds] == [(60, 120), (120, 180), (180, 240), (240, 300)]


def test_rows_of_one_instant_cannot_be_split() -> None:
    data = data_of(instants=1)
    with pytest.raises(EstimatorError, match="400 rows cannot be split in time"):
        folds_of(SearchSpec(parameters=C), data)


@pytest.mark.parametrize("split", ["time_series", "forward"])
def test_the_better_setting_is_taken_and_told(split: str) -> None:
    spec = make_spec(training={"search": SearchSpec(parameters=C, metric="log_loss", split=split)})  # type: ignore[arg-type]
    data = data_of()
    trained = train(spec, data, None, seed=0)
    assert trained.parameters == {"C": 1.0}
    assert trained.search is not None
    assert trained.search.parameters == {"C": 1.0}
    worse, better = trained.search.tried
    assert worse.mean is not None
    assert better.mean is not None
    assert better.mean < worse.mean - 0.1, "lower is better"
    plain = make_spec(training={"parameters": {"C": 1.0}})
    assert model_digest(artifacts.load(trained.artifact), spec) == trained.model_digest
    assert trained.model_digest == model_digest(fit(plain, data.frame, data.labels), spec)
    lineage = msgspec.json.decode(msgspec.json.encode(lineage_of(spec, trained, {})))
    assert lineage["parameters"] == {"C": 1.0}
    assert lineage["search"]["tried"][0]["parameters"] == {"C": 1e-6}
    lines = list(how_trained(lineage))
    assert lines[0].startswith(f"grid search: 2 settings on {3 if split == 'time_series' else 1} splits in time")
    assert lines[1].endswith(" C 1.0; taken")


def test_the_search_never_sees_the_holdout() -> None:
    """Labels of the holdout that say the opposite change nothing about what is chosen."""
    data = data_of()
    spec = make_spec(training={"search": SearchSpec(parameters={"C": [1e-6, 0.01, 1.0]})})
    turned = from_frame(spec, data.frame, data.labels.copy(), data.predicted_at_ms)
    turned.labels[320:] = 1 - turned.labels[320:]
    assert train(spec, data, None, seed=0).search == train(spec, turned, None, seed=0).search


def test_a_search_on_the_chosen_candidate() -> None:
    spec = make_spec(
        training={
            "search": SearchSpec(parameters=C),
            "candidates": [CandidateSpec(candidate="window", rows=200), CandidateSpec(candidate="everything")],
        }
    )
    trained = train(spec, data_of(), None, seed=0)
    assert trained.search is not None
    assert trained.choice is not None
    learned = 200 if trained.choice.chosen == "window of 200 rows" else 320
    assert trained.search.folds[-1] == (learned - learned // 4, learned // 4)
    assert trained.train_rows == learned


def test_a_setting_that_does_not_work_is_told_and_none_at_all_is_an_error() -> None:
    data = data_of()
    found = search(make_spec(training={"search": SearchSpec(parameters={"C": [-1.0, 1.0]})}), data, None)
    assert found.parameters == {"C": 1.0}
    assert "could not be fitted" in str(found.tried[0].error)
    with pytest.raises(EstimatorError, match=r"found no setting that works: .*could not be fitted"):
        search(make_spec(training={"search": SearchSpec(parameters={"C": [-1.0]})}), data, None)
