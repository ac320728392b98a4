"""What is wrong with what a spec trains, without rows: each with its key, and what was expected."""

# ruff: noqa: E501  (specs are written as they are)

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

from driftloop.spec import parse_spec
from driftloop.spec.model import ModelSpec
from driftloop.training.buildable import build_problems

LOGISTIC = "sklearn.linear_model.LogisticRegression"
FOREST = "sklearn.ensemble.RandomForestClassifier"


def spec_of(
    training: str, task: str = "binary", features: str = "x: {kind: numeric}, c: {kind: categorical}"
) -> ModelSpec:
    classes = "classes: [a, b, d]\n" if task == "multiclass" else ""
    return parse_spec(f"model: m\ntask: {task}\nfeatures: {{{features}}}\n{classes}training: {training}")


def said(training: str, task: str = "binary", **more: Any) -> list[tuple[str, str, bool]]:
    problems = list(build_problems(spec_of(training, task, **more)))
    return [(".".join(map(str, problem.key)), problem.text, problem.fatal) for problem in problems]


@pytest.mark.parametrize(
    ("task", "training"),
    [
        ("binary", f"{{estimator: {LOGISTIC}, parameters: {{C: 0.5, class_weight: balanced}}}}"),
        ("multiclass", "{estimator: sklearn.ensemble.HistGradientBoostingClassifier, parameters: {max_iter: 50}}"),
        ("regression", "{estimator: sklearn.ensemble.HistGradientBoostingRegressor}"),
        ("binary", f"{{estimator: {LOGISTIC}, candidates: [{{candidate: decayed, half_life: 3d}}]}}"),
        (
            "binary",
            "{estimator: sklearn.pipeline.Pipeline, parameters: {steps: [[select, {class: "
            "sklearn.feature_selection.SelectPercentile, percentile: 50}], [model, {class: "
            "sklearn.linear_model.LogisticRegression, C: 0.1}]]}}",
        ),
        (
            "binary",
            f"{{estimator: {LOGISTIC}, search: {{method: random, parameters: {{C: {{low: 0.01, high: 100, log: true}}, "
            "class_weight: [null, balanced], max_iter: {low: 10, high: 50.5, integer: true}}}}",
        ),
        # What the search sets need not be there, or right, before.
        (
            "binary",
            "{estimator: sklearn.calibration.CalibratedClassifierCV, parameters: {method: none}, "
            "search: {parameters: {method: [sigmoid, isotonic]}}}",
        ),
        (
            "binary",
            "{estimator: sklearn.ensemble.VotingClassifier, parameters: {voting: soft}, search: {parameters: {estimators: "
            "[[[a, {class: sklearn.linear_model.LogisticRegression}]]]}}}",
        ),
        ("binary", "{river: {model: river.linear_model.PAClassifier, parameters: {C: 0.1}}}"),
        (
            "binary",
            "{river: {model: river.linear_model.LogisticRegression, parameters: {l2: 0.001, "
            "optimizer: {class: river.optim.Adam, lr: 0.01}}}}",
        ),
        ("multiclass", "{river: {model: river.linear_model.SoftmaxRegression}}"),
        ("multiclass", "{river: {model: river.tree.HoeffdingTreeClassifier, parameters: {grace_period: 50}}}"),
        ("regression", "{river: {model: river.linear_model.LinearRegression}}"),
        ("regression", "{river: {model: river.linear_model.PARegressor}}"),
        ("regression", "{river: {model: river.tree.HoeffdingTreeRegressor}}"),
        ("binary", "{estimator: nowhere.at_all:f, handover: {to: webhook, url: 'https://x.example'}}"),
        ("ranking", "{last: 3d}"),
        ("binary", "{last: 3d}"),
    ],
)
def test_what_can_be_made_is_fine(task: str, training: str) -> None:
    assert said(training, task) == []


@pytest.mark.parametrize(
    ("training", "key", "text"),
    [
        (
            "{estimator: sklearn.ensemble.RandomForestClasifier}",
            "training.estimator",
            "'sklearn.ensemble.RandomForestClasifier' does not exist in this scikit-learn, did you mean "
            "'RandomForestClassifier'?",
        ),
        (
            "{estimator: sklearn.ensembel.RandomForestClassifier}",
            "training.estimator",
            "'sklearn.ensembel.RandomForestClassifier' does not exist in this scikit-learn, did you mean "
            "'sklearn.ensemble'?",
        ),
        (
            "{estimator: sklearn.linear_model.Ridge}",
            "training.estimator",
            "the task is binary, but sklearn.linear_model.Ridge is not a classifier",
        ),
        (
            f"{{estimator: {FOREST}, parameters: {{n_estimator: 5}}}}",
            "training.parameters",
            f"training.parameters do not fit {FOREST}: it has no 'n_estimator', did you mean 'n_estimators'?",
        ),
        (
            f"{{estimator: {FOREST}, parameters: {{n_estimators: many}}}}",
            "training.parameters.n_estimators",
            "The 'n_estimators' parameter of RandomForestClassifier must be an int in the range [1, inf). Got 'many' "
            "instead.",
        ),
        (
            "{estimator: sklearn.ensemble.AdaBoostClassifier, parameters: {estimator: {class: "
            "sklearn.tree.DecisionTreeClassifier, max_depth: -3}}}",
            "training.parameters",
            "The 'max_depth' parameter of DecisionTreeClassifier must be an int in the range [1, inf) or None. Got -3 "
            "instead.",
        ),
        (
            "{estimator: sklearn.ensemble.AdaBoostClassifier, parameters: {estimator: {class: sklearn.tree.Tree}}}",
            "training.parameters",
            "'sklearn.tree.Tree' does not exist in this scikit-learn",
        ),
        (
            "{estimator: sklearn.pipeline.Pipeline}",
            "training.parameters",
            "training.parameters do not fit sklearn.pipeline.Pipeline: Pipeline.__init__() missing 1 required "
            "positional argument: 'steps'",
        ),
        (
            "{estimator: sklearn.neighbors.KNeighborsClassifier, candidates: [{candidate: everything}, "
            "{candidate: decayed, half_life: 3d}]}",
            "training.candidates.1",
            "takes no sample_weight, so it cannot be trained on a candidate with weights",
        ),
        (
            f"{{estimator: {LOGISTIC}, search: {{parameters: {{c: [1, 2]}}}}}}",
            "training.search.parameters.c",
            f"{LOGISTIC} has no parameter 'c'; it has ",
        ),
        (
            f"{{estimator: {LOGISTIC}, search: {{parameters: {{max_itr: [10]}}}}}}",
            "training.search.parameters.max_itr",
            f"{LOGISTIC} has no parameter 'max_itr', did you mean 'max_iter'?",
        ),
        (
            "{estimator: sklearn.pipeline.Pipeline, parameters: {steps: [[m, {class: "
            "sklearn.linear_model.LogisticRegression}]]}, search: {parameters: {m__C: [1]}}}",
            "training.search.parameters.m__C",
            "parameters of an object inside cannot be searched",
        ),
        (
            f"{{estimator: {LOGISTIC}, search: {{parameters: {{C: [-1, 0]}}}}}}",
            "training.search.parameters.C",
            "no value can be used: The 'C' parameter of LogisticRegression must be a float in the range (0.0, inf]",
        ),
        (
            "{river: {model: river.linear_model.LogisticRegresion}}",
            "training.river.model",
            "did you mean 'river.linear_model.LogisticRegression'?",
        ),
        (
            "{river: {model: river.linear_model.LinearRegression}}",
            "training.river.model",
            "river.linear_model.LinearRegression is for regression models, and the task is binary",
        ),
        (
            "{river: {model: river.linear_model.LogisticRegression, parameters: {l22: 0.1}}}",
            "training.river.parameters",
            "the parameters do not fit river.linear_model.LogisticRegression: it has no 'l22', did you mean 'l2'?",
        ),
        (
            "{river: {model: river.tree.HoeffdingTreeClassifier, parameters: {grace_period: many}}}",
            "training.river.parameters",
            "river.tree.HoeffdingTreeClassifier cannot learn a row with these parameters: TypeError",
        ),
        (
            "{estimator: 'nowhere.at_all:f'}",
            "training.estimator",
            "'nowhere.at_all:f': the module 'nowhere.at_all' cannot be imported (ModuleNotFoundError: No module named "
            "'nowhere'); install it where trainings run, or add its folder to PYTHONPATH there; on a machine that "
            "trains nothing, leave this out with --no-trainer",
        ),
    ],
)
def test_what_would_end_a_training_is_told(training: str, key: str, text: str) -> None:
    ((where, sentence, fatal),) = said(training)
    assert (where, fatal) == (key, True)
    assert text in sentence


def test_values_that_a_search_would_try_for_nothing() -> None:
    search = "search: {parameters: {C: [1, -1], max_iter: [5, 10]}}"
    ((key, text, fatal),) = said(f"{{estimator: {LOGISTIC}, {search}}}")
    assert (key, fatal) == ("training.search.parameters.C.1", False)
    assert text.startswith("a setting with this value will fail: The 'C' parameter")
    random = "search: {method: random, parameters: {C: {low: 0, high: 2}}}"
    ((key, _, fatal),) = said(f"{{estimator: {LOGISTIC}, {random}}}")
    assert (key, fatal) == ("training.search.parameters.C.low", False)
    losses = "{estimator: sklearn.linear_model.SGDClassifier, parameters: {loss: log_loss}, search: {parameters: {loss: [log_loss, hinge]}}}"
    ((key, text, fatal),) = said(losses)
    assert (key, fatal) == ("training.search.parameters.loss.1", False)
    assert "gives no probabilities" in text


def test_with_candidates_the_parameters_of_the_spec_itself_are_used_too() -> None:
    wrong = f"estimator: {LOGISTIC}, parameters: {{C: -1}}, search: {{parameters: {{C: [1]}}}}"
    assert said(f"{{{wrong}}}") == []
    ((key, _, _),) = said(f"{{{wrong}, candidates: [{{candidate: everything}}]}}")
    assert key == "training.parameters.C"


@pytest.mark.parametrize(
    "training", [f"{{estimator: {LOGISTIC}}}", "{river: {model: river.linear_model.PAClassifier}}"]
)
def test_vectors_and_texts_alone_train_nothing(training: str) -> None:
    ((key, text, _),) = said(training, features="v: {kind: vector, length: 2}, t: {kind: text}")
    assert key == "features"
    assert text == "no feature is numeric or categorical, and models are not trained on vectors and texts"
    both = "v: {kind: vector, length: 2}, t: {kind: text}, x: {kind: numeric}"
    assert said(training, features=both) == []


def test_functions_are_imported_and_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("users_own")

    def train(*, frame: Any, labels: Any, weights: Any, parameters: Any, seed: Any) -> None:
        raise AssertionError("it must not be called")

    module.train = train  # type: ignore[attr-defined]
    module.short = lambda frame, labels: None  # type: ignore[attr-defined]
    module.open = lambda **given: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "users_own", module)
    assert said("{estimator: 'users_own:train'}") == said("{estimator: 'users_own:open'}") == []
    ((_, missing, _),) = said("{estimator: 'users_own:trian'}")
    assert missing == "'users_own:trian': 'users_own' has no function 'trian', did you mean 'train'?"
    ((_, narrow, _),) = said("{estimator: 'users_own:short'}")
    assert "it is called with the keywords frame, labels, weights, parameters, seed, which it does not take" in narrow
    nowhere = spec_of("{estimator: 'nowhere.at_all:f'}")
    assert list(build_problems(nowhere, imports=False)) == []
