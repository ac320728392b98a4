from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from driftloop.cli._how_trained import how_trained
from driftloop.spec.load import parse_spec
from driftloop.spec.model import ModelSpec
from driftloop.spec.training import CandidateSpec, ChoiceSpec
from driftloop.training import artifacts, choice
from driftloop.training.choice import choose, make_plan
from driftloop.training.dataset import TrainingSet, from_frame
from driftloop.training.errors import EstimatorError
from driftloop.training.estimators import fit, predict
from driftloop.training.train import lineage_of, train
from support.training_rows import make_rows, make_spec

EVERYTHING = CandidateSpec(candidate="everything")
SINCE = CandidateSpec(candidate="since_change")
WINDOW = CandidateSpec(candidate="window", rows=150)
DECAYED = CandidateSpec(candidate="decayed", half_life="10h")
RESERVOIR = CandidateSpec(candidate="reservoir", rows=200, stratum="12h")
ALL = [EVERYTHING, SINCE, WINDOW, DECAYED, RESERVOIR]


def spec_of(*candidates: CandidateSpec, task: str = "binary", **training: Any) -> ModelSpec:
    return make_spec(task, training={"candidates": list(candidates), **training})


def world(change_row: int, rows: int = 800, seed: int = 0, task: str = "binary") -> tuple[TrainingSet, int]:
    """Rows whose relation turns round at ``change_row``; and the time of that."""
    before, after = (make_rows(task, rows=rows, seed=seed, sign=sign) for sign in (-1.0, 1.0))
    frame = pd.concat([before[0].iloc[:change_row], after[0].iloc[change_row:]], ignore_index=True)
    labels = np.concatenate([before[1][:change_row], after[1][change_row:]])
    return from_frame(make_spec(task), frame, labels, before[2]), int(before[2][min(change_row, rows - 1)])


@pytest.mark.parametrize("task", ["binary", "regression", "multiclass"])
def test_after_a_change_the_rows_since_then_win(task: str) -> None:
    spec = spec_of(EVERYTHING, SINCE, task=task)
    data, changed_at_ms = world(350, task=task)
    trained = train(spec, data, None, seed=1, changed_at_ms=changed_at_ms)
    assert trained.choice is not None
    assert trained.choice.chosen == "since the change"
    everything, since = trained.choice.candidates
    assert everything.behind_low is not None
    assert everything.behind_low > 0.0, "the difference is no chance"
    assert (since.behind, since.left_out) == (None, None)
    assert trained.seen_from_ms == changed_at_ms
    expected = data.rows(slice(350, None))
    released = artifacts.load(trained.artifact)
    np.testing.assert_array_equal(
        predict(released, spec, data.frame), predict(fit(spec, expected.frame, expected.labels), spec, data.frame)
    )
    assert trained.profile.rows == 450, "the reference is of the rows that were learned, and of the holdout"
    assert trained.choice.selected_rows == 450


def test_without_a_change_the_chosen_candidate_is_not_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    """On stationary rows the chosen one is as good as training on everything: over six worlds, within the noise."""
    monkeypatch.setattr(choice, "_behind", lambda spec, metric, later, result, *more: result)
    lost = []
    for seed in range(6):
        data = from_frame(make_spec(), *make_rows(rows=600, seed=seed))
        fresh = make_rows(rows=3000, seed=100 + seed)
        both = []
        for candidates in ([EVERYTHING], ALL):
            plan = make_plan(spec_of(*candidates), data, int(data.predicted_at_ms[300]), seed=0)
            chosen = plan.select(data)
            rows = data.rows(chosen.places)
            said = predict(fit(plan.spec, rows.frame, rows.labels, chosen.weights), plan.spec, fresh[0])
            both.append(choice.metric_value("binary", "roc_auc", fresh[1], said))
        lost.append(both[0] - both[1])
    assert np.mean(lost) < 0.005
    assert max(lost) < 0.03


@given(
    rows=st.integers(150, 400),
    distinct=st.integers(5, 400),
    share=st.sampled_from([0.1, 0.2, 0.5]),
    holdout=st.sampled_from([0.1, 0.3]),
    candidates=st.lists(st.sampled_from(ALL), min_size=1, max_size=3, unique=True),
    changed=st.integers(0, 400),
)
@settings(max_examples=40, deadline=None)
def test_slice_and_holdout_are_later_than_every_row_that_was_learned(
    rows: int, distinct: int, share: float, holdout: float, candidates: list[CandidateSpec], changed: int
) -> None:
    """Whatever is fitted on the way to the gates, also with many rows of one instant."""
    spec = spec_of(*candidates, choice=ChoiceSpec(share=share), minimum_rows=20)
    frame, labels, times = make_rows(rows=rows)
    data = from_frame(spec, frame, labels, times // max(1, rows // distinct) * max(1, rows // distinct))
    learned: list[int] = []
    changed_at_ms = int(data.predicted_at_ms[min(changed, rows - 1)])
    with pytest.MonkeyPatch.context() as patch:
        real = choice._one

        def watching(
            spec: ModelSpec, candidate: CandidateSpec, pool: TrainingSet, later: TrainingSet, *more: Any
        ) -> Any:
            assert set(pool.ids) & set(later.ids) == set()
            result, said = real(spec, candidate, pool, later, *more)
            if result.last_predicted_ms is not None:
                learned.append(result.last_predicted_ms)
                assert result.last_predicted_ms < int(later.predicted_at_ms[0])
            return result, said

        patch.setattr(choice, "_one", watching)
        patch.setattr(choice, "_behind", lambda spec, metric, later, result, *more: result)  # intervals cost most
        earlier, later = data.split(holdout)
        try:
            plan = make_plan(spec, earlier, changed_at_ms, seed=0)
        except EstimatorError:
            reject()  # too few instants to split
    assert plan.choice is not None
    assert learned
    assert max(learned) < plan.choice.slice_from_ms < plan.choice.slice_to_ms <= int(later.predicted_at_ms[0])
    assert set(earlier.rows(plan.select(earlier).places).ids) & set(later.ids) == set()


def test_a_candidate_that_cannot_be_compared_is_left_out_with_its_reason() -> None:
    data, _ = world(0)
    small = CandidateSpec(candidate="window", rows=10)
    _, found = choose(spec_of(small, SINCE, EVERYTHING), data, None, seed=0)
    assert [result.left_out for result in found.candidates] == [
        "10 rows before the slice, and training.minimum_rows is 50",
        "no change has been dated",
        None,
    ]
    assert found.chosen == "everything"
    with pytest.raises(
        EstimatorError, match=r"none of training.candidates could be .* window of 10 rows: 10 rows before"
    ):
        choose(spec_of(small, SINCE), data, None, seed=0)


def test_a_candidate_of_one_class_is_left_out() -> None:
    frame, labels, times = make_rows(rows=400)
    labels[200:300] = 1
    data = from_frame(make_spec(), frame, labels, times)
    # The slice is the last 100 rows, and the window the 60 before.
    narrow = CandidateSpec(candidate="window", rows=60)
    _, found = choose(spec_of(narrow, EVERYTHING, choice=ChoiceSpec(share=0.25)), data, None, seed=0)
    assert found.candidates[0].left_out == "all of its labels are of one class"


def test_of_equals_the_first_is_chosen() -> None:
    data, _ = world(0)
    same = CandidateSpec(candidate="window", last="300d")
    for pair in ([EVERYTHING, same], [same, EVERYTHING]):
        _, found = choose(spec_of(*pair), data, None, seed=0)
        assert found.chosen == pair[0].name
        assert found.candidates[1].behind == 0.0


def test_weights_reach_the_estimator_through_pipelines() -> None:
    data, _ = world(400)
    plain = train(spec_of(DECAYED), data, None, seed=0)
    steps = [["scale", {"class": "sklearn.preprocessing.StandardScaler"}], ["last", {"class": LOGISTIC}]]
    nested = make_spec(
        estimator="sklearn.pipeline.Pipeline",
        training={"candidates": [DECAYED], "parameters": {"steps": steps}},
    )
    for trained in (plain, train(nested, data, None, seed=0)):
        assert trained.metrics["roc_auc"] > 0.8, "with equal weights the old rows would cancel the new ones"
    assert train(spec_of(EVERYTHING), data, None, seed=0).metrics["roc_auc"] < 0.8


LOGISTIC = "sklearn.linear_model.LogisticRegression"


def test_an_estimator_that_takes_no_weights_is_named() -> None:
    data, _ = world(0)
    spec = make_spec(estimator="sklearn.neighbors.KNeighborsClassifier", training={"candidates": [EVERYTHING, DECAYED]})
    with pytest.raises(EstimatorError, match=r"KNeighborsClassifier takes no sample_weight.*leave 'decayed' out"):
        train(spec, data, None, seed=0)


def test_the_choice_is_in_the_lineage_and_can_be_made_again() -> None:
    spec = spec_of(*ALL)
    data, changed_at_ms = world(350)
    trained = train(spec, data, None, seed=5, changed_at_ms=changed_at_ms)
    lineage = msgspec.json.decode(msgspec.json.encode(lineage_of(spec, trained, {"uri": "x"})))
    kept = TrainingSet.from_parquet(spec, data.to_parquet())
    again = train(
        msgspec.structs.replace(spec, training=msgspec.convert(lineage["training"], type(spec.training))),
        kept,
        None,
        seed=5,
        changed_at_ms=lineage["choice"]["changed_at_ms"],
    )
    assert again.model_digest == lineage["model_digest"] == trained.model_digest
    assert msgspec.to_builtins(again.choice) == lineage["choice"]
    assert len(lineage["choice"]["selection_sha256"]) == 64
    lines = list(how_trained(lineage))
    assert len(lines) == 5
    chosen = [line for line in lines if line.endswith("; chosen")]
    assert len(chosen) == 1
    assert f"candidate {lineage['choice']['chosen']}: roc_auc 0." in chosen[0]
    assert sum("the chosen one is better by +" in line for line in lines) == 4


def test_without_candidates_nothing_is_chosen() -> None:
    data, changed_at_ms = world(350)
    spec = make_spec()
    trained = train(spec, data, None, seed=1, changed_at_ms=changed_at_ms)
    assert (trained.choice, trained.search, trained.learned_on, trained.parameters) == (None, None, None, None)
    assert trained.train_rows == 640
    lineage = lineage_of(spec, trained, {})
    assert not {"choice", "search", "learned_on"} & set(lineage)
    assert list(how_trained(lineage)) == []


def test_a_spec_of_candidates_is_read() -> None:
    spec = parse_spec(
        """{model: m, task: binary, features: {x: {kind: numeric}}, concept: {detectors: [{detector: adwin}]},
        training: {estimator: sklearn.linear_model.LogisticRegression, choice: {metric: log_loss, share: 0.1},
        candidates: [{candidate: since_change}, {candidate: window, last: 30d}, {candidate: everything},
        {candidate: decayed, half_life: 14d}, {candidate: reservoir, rows: 1000, stratum: 1d, seed: 3}]}}"""
    )
    assert [candidate.name for candidate in spec.training.candidates] == [
        "since the change",
        "window of 30d",
        "everything",
        "decayed by 14d",
        "reservoir of 1,000 rows",
    ]
