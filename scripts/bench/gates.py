"""What the gates let pass: equal challengers, honest ones, and ones made worse on purpose.

    .venv/bin/python scripts/bench/gates.py --seeds 200

First table: two models of the same worth that err on different rows, 1,000 seeds each. `superiority` may pass, and
`slices` with margin 0 may refuse, by chance alone: at most (1 - confidence) / 2 is wanted. Second table: gradient
boosting fitted on 1,000 rows against a champion fitted on 150, judged on 600 later rows by the gates in GATES; how
often each gate refuses each kind of challenger. The champion is honest and dull, so most of the bad ones are better
than it in total. About 0.5 s of a core for each challenger; OMP_NUM_THREADS=1 keeps many small fits from waiting for
each other.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.pipeline import Pipeline

from driftloop.spec.basics import Task
from driftloop.spec.gates import GateSpec
from driftloop.spec.model import FeatureSpec, ModelSpec
from driftloop.spec.training import TrainingSpec
from driftloop.training.artifacts import dump
from driftloop.training.comparison import compare
from driftloop.training.estimators import feature_frame, fit, predict
from driftloop.training.gates import Candidate, Predict, Reference, Rival, run_gates

Floats = NDArray[np.float64]
COLOURS = ["red", "green", "blue", "grey"]
GATES = [
    GateSpec(gate="sanity"),
    GateSpec(gate="schema"),
    GateSpec(gate="metric", margin=0.02),
    GateSpec(gate="slices", columns=["colour"], margin=0.03),
    GateSpec(
        gate="fairness",
        columns=["colour"],
        bounds={"demographic_parity_difference": 0.3, "equal_opportunity_difference": 0.35},
    ),
    GateSpec(gate="robustness", metric="brier", bound=0.03, each_missing=0.12),
    GateSpec(gate="calibration", bounds={"ece": 0.1, "slope": 0.5}),
]
SPEC = ModelSpec(
    model="bench",
    task="binary",
    features={
        "x": FeatureSpec(kind="numeric"),
        "y": FeatureSpec(kind="numeric"),
        "hint": FeatureSpec(kind="numeric"),
        "colour": FeatureSpec(kind="categorical"),
    },
    training=TrainingSpec(
        estimator="sklearn.ensemble.HistGradientBoostingClassifier",
        parameters={"max_iter": 40, "learning_rate": 0.07, "max_leaf_nodes": 6, "early_stopping": False},
    ),
    gates=GATES,
)


def sigmoid(values: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-values)))


def rows(count: int, rng: np.random.Generator) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    x, y = rng.normal(size=(2, count))
    frame = pd.DataFrame(
        {"x": x, "y": y, "hint": rng.normal(size=count), "colour": rng.choice(COLOURS, count).astype(object)}
    )
    labels = (rng.random(count) < sigmoid(1.4 * x + 0.8 * y)).astype(np.int64)
    frame.loc[rng.random(count) < 0.03, "x"] = np.nan
    return feature_frame(SPEC, frame), labels


def wrapped(model: Pipeline, change: Callable[[pd.DataFrame, Floats], Floats]) -> Predict:
    def say(data: object) -> Floats:
        frame = feature_frame(SPEC, data)  # type: ignore[arg-type]
        return change(frame, predict(model, SPEC, frame))

    return say


def crash(frame: pd.DataFrame, said: Floats) -> Floats:
    unknown = set(frame["colour"]) - {*COLOURS, None}
    if unknown:
        raise ValueError(f"Found unknown categories {sorted(unknown)}")
    return said


def logit(said: Floats) -> Floats:
    inside = np.clip(said, 1e-6, 1.0 - 1e-6)
    return np.asarray(np.log(inside / (1.0 - inside)))


WRAPPERS: dict[str, Callable[[pd.DataFrame, Floats], Floats]] = {
    "constant in one group": lambda frame, said: np.where(frame["colour"] == "red", 0.05, said),
    "NaN on missing input": lambda frame, said: np.where(frame["x"].isna(), np.nan, said),
    "crash on a new category": crash,
    "overconfident": lambda frame, said: sigmoid(4.0 * logit(said)),
}
KINDS = ["honest", "shuffled labels", "leaked column", "broken slice", *WRAPPERS]


def refusals(kind: str, seed: int) -> list[str]:
    """Names of the gates that refuse a challenger of this kind."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    (old, old_labels), (earlier, labels), (later, truth) = rows(150, rng), rows(1000, rng), rows(600, rng)
    champion = fit(SPEC, old, old_labels)
    if kind == "shuffled labels":
        labels = rng.permutation(labels)
    elif kind == "leaked column":  # the label with one row in ten wrong; no service will have it
        for frame, known in ((earlier, labels), (later, truth)):
            wrong = rng.random(len(known)) < 0.1
            frame["hint"] = np.where(wrong, 1 - known, known).astype(np.float64)
    elif kind == "broken slice":
        labels = np.where(earlier["colour"] == "red", 1 - labels, labels)
    model = fit(SPEC, earlier, labels)
    say: Predict = wrapped(model, WRAPPERS.get(kind, lambda _, said: said))
    said = say(later)
    candidate = Candidate(said, said, dump(model), judged=say, served=say)
    every = np.ones(len(truth), np.bool_)
    rival = Rival("v1", predict(champion, SPEC, later), every, every, predictor(champion), tuple(SPEC.features))
    results = run_gates(SPEC, candidate, rival, later, truth, seed=seed, reference=Reference(earlier, labels))
    return [result.gate for result in results if not result.passed]


def predictor(model: Pipeline) -> Predict:
    return lambda frame: predict(model, SPEC, frame)


def equal(task: Task, metric: str, count: int, seed: int) -> tuple[NDArray[np.generic], Floats, Floats]:
    """Labels, and predictions of two models of the same worth that err on different rows."""
    rng = np.random.default_rng([seed, count])
    if task == "regression":
        truth = rng.standard_t(4, count)
        first, second = (truth + rng.standard_t(4, count) for _ in range(2))
        return truth, first, second
    labels = (rng.random(count) < 0.3).astype(np.int64)
    first, second = (np.clip(0.35 + 0.2 * labels + 0.2 * rng.normal(size=count), 0.0, 1.0) for _ in range(2))
    return labels, first, second


def chance(seeds: int) -> Table:
    table = Table("equal challengers", "rows", "confidence", "wrong", "wanted at most", box=None)
    for task, metric, count in (
        ("binary", "roc_auc", 200), ("binary", "roc_auc", 1000), ("binary", "brier", 200), ("binary", "f1", 200),
        ("regression", "mae", 200), ("regression", "rmse", 1000),
    ):  # fmt: skip
        passed = 0
        for seed in range(seeds):
            truth, first, second = equal(task, metric, count, seed)  # type: ignore[arg-type]
            passed += compare(task, metric, truth, first, second, seed=seed).low > 0.0  # type: ignore[arg-type]
        table.add_row(f"superiority, {metric}", f"{count:,}", "95%", f"{passed / seeds:.1%}", "2.5%")
    for metric, slices in (("roc_auc", 5), ("brier", 20)):
        refused = 0
        gate = GateSpec(gate="slices", columns=["colour"], metric=metric)
        spec = ModelSpec(model="m", task="binary", features={"colour": FeatureSpec(kind="categorical")}, gates=[gate])
        count = 100 * slices
        for seed in range(seeds):
            truth, first, second = equal("binary", metric, count, seed)
            frame = pd.DataFrame({"colour": pd.Series([f"c{index % slices}" for index in range(count)], dtype=object)})
            every = np.ones(count, np.bool_)
            rival = Rival("v1", second, every, every)
            (result,) = run_gates(spec, Candidate(first, first, b""), rival, frame, truth, seed=seed)
            refused += not result.passed
        table.add_row(f"slices ({slices} of 100 rows), {metric}", f"{count:,}", "95%", f"{refused / seeds:.1%}", "2.5%")
    return table


def challengers(seeds: int) -> Table:
    names = ["sanity", "schema", "metric:roc_auc", "slices:roc_auc", "fairness", "robustness:brier", "calibration"]
    table = Table("challenger", "refused", *(f"{name.partition(':')[0]}" for name in names), box=None)
    for kind in KINDS:
        counts: Counter[str] = Counter()
        refused = 0
        for seed in range(seeds):
            found = refusals(kind, seed)
            refused += bool(found)
            counts.update(found)
        table.add_row(kind, f"{refused / seeds:.1%}", *(f"{counts[name] / seeds:.1%}" for name in names))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200, help="challengers of each kind; 0: none")
    parser.add_argument("--equal", type=int, default=1000, help="pairs of equal models of each kind; 0: none")
    chosen = parser.parse_args()
    console = Console(width=140)
    if chosen.equal:
        console.print(f"{chosen.equal:,} seeds")
        console.print(chance(chosen.equal))
    if chosen.seeds:
        console.print(f"{chosen.seeds:,} seeds")
        console.print(challengers(chosen.seeds))


if __name__ == "__main__":
    main()
