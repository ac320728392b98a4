"""Metrics of confusion matrices, of scores by group, of value and of gaps between groups, against scikit-learn."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

from driftloop.performance.average_precision import average_precision_bounds
from driftloop.performance.calibration import calibration_groups
from driftloop.performance.confusion import Confusion
from driftloop.performance.outcomes import OutcomeStats
from driftloop.performance.pointwise import evaluate
from driftloop.performance.ranking import score_bins

CLASSES = ("a", "b", "c", "d")


def stats_of(scores: Any, labels: Any, **settings: Any) -> OutcomeStats:
    stats = OutcomeStats("binary", **settings)
    stats.update(np.asarray(scores), np.asarray(labels), np.zeros(len(labels), np.int64))
    return stats


def sample(seed: int, rows: int, scale: float = 1.0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    scores = rng.beta(0.7, 2.0, rows) * scale
    return scores, (rng.random(rows) < scores / scale).astype(np.int64)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("rows", [20, 500])
def test_binary_agreement_equals_scikit_learn(seed: int, rows: int) -> None:
    scores, labels = sample(seed, rows)
    found = evaluate("binary", scores, labels, decision_threshold=0.3)
    said = (scores >= 0.3).astype(int)
    expected = {
        "specificity": sk.recall_score(labels, said, pos_label=0),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, said),
        "mcc": sk.matthews_corrcoef(labels, said),
        "cohen_kappa": sk.cohen_kappa_score(labels, said),
    }
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, abs=1e-12), name
    assert stats_of(scores, labels, decision_threshold=0.3).confusion == sk.confusion_matrix(labels, said).tolist()


@pytest.mark.parametrize("rows", [3, 40, 3000])
@pytest.mark.parametrize("seed", [4, 5])
def test_multiclass_metrics_equal_scikit_learn(seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet([1.0, 2.0, 0.5, 0.2], rows)
    labels = (rng.random(rows)[:, None] > probabilities.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    names = ["accuracy", "top_2_accuracy", "top_3_accuracy", "brier"]
    names += [f"{how}_{what}" for how in ("macro", "micro", "weighted") for what in ("precision", "recall", "f1")]
    names += ["balanced_accuracy", "mcc", "cohen_kappa"]
    found = evaluate("multiclass", probabilities, labels, CLASSES, names=names)
    said = probabilities.argmax(axis=1)
    all_labels = [0, 1, 2, 3]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = {
            "accuracy": sk.accuracy_score(labels, said),
            "balanced_accuracy": sk.balanced_accuracy_score(labels, said),
            "cohen_kappa": sk.cohen_kappa_score(labels, said),
            "top_2_accuracy": sk.top_k_accuracy_score(labels, probabilities, k=2, labels=all_labels),
            "top_3_accuracy": sk.top_k_accuracy_score(labels, probabilities, k=3, labels=all_labels),
            "brier": sk.brier_score_loss(labels, probabilities, labels=all_labels, scale_by_half=False),
        }
        for how in ("macro", "micro", "weighted"):
            for what in ("precision", "recall", "f1"):
                score = getattr(sk, f"{what}_score")
                expected[f"{how}_{what}"] = score(labels, said, average=how, zero_division=0)
    if len(np.unique(labels)) > 1 and len(np.unique(said)) > 1:
        expected["mcc"] = sk.matthews_corrcoef(labels, said)
    for name, value in expected.items():
        if not math.isnan(value):
            assert found[name].value == pytest.approx(value, abs=1e-12), name


def test_areas_one_against_the_rest_are_within_their_bound() -> None:
    rng = np.random.default_rng(6)
    probabilities = rng.dirichlet([1.0, 2.0, 0.5], 2000)
    labels = (rng.random(2000)[:, None] > probabilities.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    found = evaluate("multiclass", probabilities, labels, CLASSES[:3])
    for how in ("macro", "weighted"):
        exact = sk.roc_auc_score(labels, probabilities, multi_class="ovr", average=how)
        metric = found[f"{how}_roc_auc"]
        assert metric.value is not None
        assert metric.error_bound is not None
        assert abs(metric.value - exact) <= metric.error_bound + 1e-12
        assert metric.error_bound < 2e-3
        assert metric.low is not None
        assert metric.low < metric.value
    many = evaluate("multiclass", np.full((60, 60), 1 / 60), np.arange(60), [str(i) for i in range(60)])
    assert many["macro_roc_auc"].value is None
    assert many["accuracy"].value == pytest.approx(1 / 60)


def numeric_variance(matrix: Any, metric: Any) -> float:
    """The delta method with slopes by central differences."""
    counts = np.asarray(matrix, np.float64)
    rows = counts.sum()
    slopes = np.zeros_like(counts)
    step = 1e-5
    for cell in np.ndindex(*counts.shape):
        up, down = counts / rows, counts / rows
        up[cell] += step
        down[cell] -= step
        slopes[cell] = (metric(up) - metric(down)) / (2 * step)
    share = counts / rows
    return float(((share * slopes**2).sum() - (share * slopes).sum() ** 2) / rows)


def _kappa(p: Any) -> float:
    p = p / p.sum()
    chance = p.sum(0) @ p.sum(1)
    return float((np.trace(p) - chance) / (1 - chance))


def _mcc(p: Any) -> float:
    p = p / p.sum()
    said, truth = p.sum(0), p.sum(1)
    return float((np.trace(p) - said @ truth) / math.sqrt((1 - said @ said) * (1 - truth @ truth)))


def _averaged(by: str, weighted: bool) -> Any:
    def metric(p: Any) -> float:
        p = p / p.sum()
        said, truth, hits = p.sum(0), p.sum(1), p.diagonal()
        whole = {"precision": said, "recall": truth, "f1": (said + truth) / 2}[by]
        return float((hits / whole) @ truth if weighted else (hits / whole).mean())

    return metric


@pytest.mark.parametrize("matrix", [[[50, 10], [5, 30]], [[20, 3, 1], [4, 30, 6], [0, 2, 9]]])
def test_variances_are_those_of_the_delta_method(matrix: Any) -> None:
    table = Confusion(np.array(matrix, np.int64))
    cases = [(table.kappa(), _kappa), (table.mcc(), _mcc)]
    cases += [(table.macro(by), _averaged(by, False)) for by in ("precision", "recall", "f1")]
    cases += [(table.weighted(by), _averaged(by, True)) for by in ("precision", "f1")]
    for found, metric in cases:
        assert found is not None
        assert found[0] == pytest.approx(metric(np.array(matrix, np.float64)), abs=1e-12)
        assert found[1] == pytest.approx(numeric_variance(matrix, metric), rel=1e-5)


@pytest.mark.parametrize("scale", [1.0, 1e-3])
@pytest.mark.parametrize("seed", [1, 2])
def test_average_precision_of_binned_scores_is_within_its_bound(seed: int, scale: float) -> None:
    scores, labels = sample(seed, 5000, scale)
    metric = evaluate("binary", scores, labels)["average_precision"]
    exact = sk.average_precision_score(labels, scores)
    assert metric.value is not None
    assert metric.error_bound is not None
    assert abs(metric.value - exact) <= metric.error_bound
    assert 0 < metric.error_bound < 0.02


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=6),
    st.randoms(use_true_random=False),
)
def test_no_scores_within_the_bins_leave_the_bounds(counts: list[tuple[int, int]], random: Any) -> None:
    scores, labels = [], []
    for index, (positives, negatives) in enumerate(counts):
        places = [random.choice([0.1, 0.3, 0.5, 0.7]) for _ in range(positives + negatives)]
        scores += [(8 * index + place) / 1024 + 0.25 for place in places]
        labels += [1] * positives + [0] * negatives
    if not sum(labels):
        return
    stats = stats_of(scores, labels)
    low, high = average_precision_bounds(stats._sums.score_table())  # type: ignore[union-attr]
    assert low - 1e-12 <= sk.average_precision_score(labels, scores) <= high + 1e-12
    lift = stats.metrics(names=["lift_10pct"])["lift_10pct"]
    exact = stats_of(scores, labels, exact_rows=1000).metrics(names=["lift_10pct"])["lift_10pct"]
    assert lift.value is not None
    assert lift.error_bound is not None
    assert exact.value is not None
    assert abs(lift.value - exact.value) <= lift.error_bound + 1e-12


def test_lift_by_its_meaning() -> None:
    scores, labels = sample(9, 1000)
    top = np.argsort(-scores, kind="stable")[:100]
    found = stats_of(scores, labels, exact_rows=1000).metrics(names=["lift_10pct"])["lift_10pct"]
    assert found.value == pytest.approx(labels[top].mean() / labels.mean(), rel=1e-12)
    assert found.error_bound == 0.0
    constant = evaluate("binary", np.full(50, 0.5), np.arange(50) % 2, names=["lift_10pct"])["lift_10pct"]
    assert constant.value == pytest.approx(1.0)


def test_calibration_by_its_definition() -> None:
    scores, labels = sample(7, 4000)
    names = ["ece", "brier", "brier_reliability", "brier_resolution", "brier_uncertainty", "brier_within"]
    exact = stats_of(scores, labels, exact_rows=4000)
    binned = stats_of(scores, labels)
    order = np.argsort(scores)
    parts = np.array_split(order, 10)
    gaps = np.array([scores[part].mean() - labels[part].mean() for part in parts])
    shares = np.array([labels[part].mean() for part in parts])
    expected = {
        "ece": np.abs(gaps).mean(),
        "brier_reliability": (gaps**2).mean(),
        "brier_resolution": ((shares - labels.mean()) ** 2).mean(),
        "brier_uncertainty": labels.mean() * (1 - labels.mean()),
    }
    found = exact.metrics(names=names)
    near = binned.metrics(names=names)
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, abs=1e-12), name
        assert found[name].error_bound == 0.0
    # The histogram's groups end at bins and so differ by a few rows; their own means are within the stated bound.
    groups = calibration_groups(binned._sums.score_table())  # type: ignore[union-attr]
    cuts = groups.rows.cumsum()[:-1]
    for part, mean, slack in zip(np.split(np.sort(scores), cuts), groups.mean_scores, groups.slack, strict=True):
        assert abs(part.mean() - mean) <= slack + 1e-15
    for metrics in (found, near):
        value = {name: metric.value for name, metric in metrics.items()}
        whole = value["brier_reliability"] - value["brier_resolution"] + value["brier_uncertainty"]  # type: ignore[operator]
        assert whole + value["brier_within"] == pytest.approx(value["brier"], abs=1e-15)
    assert near["ece"].error_bound < 6e-4  # type: ignore[operator]


def test_score_bins_know_their_edges() -> None:
    bins = score_bins(2048)
    rng = np.random.default_rng(1)
    scores = np.concatenate([rng.random(5000), 10.0 ** rng.uniform(-12, 0, 5000), [0.0, 1.0]])
    scores = np.concatenate([scores, 1.0 - scores])
    index = bins.index(scores)
    assert bins.edges.size == 2049
    assert (np.diff(bins.edges) > 0).all()
    assert ((bins.edges[index] <= scores) & (scores <= bins.edges[index + 1])).all()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_kept_scores_give_exact_areas(seed: int) -> None:
    scores, labels = sample(seed, 300, 0.01)
    metrics = stats_of(scores, labels, exact_rows=300).metrics(names=["roc_auc", "average_precision", "gini"])
    area = sk.roc_auc_score(labels, scores)
    assert metrics["roc_auc"].value == pytest.approx(area, abs=1e-12)
    assert metrics["gini"].value == pytest.approx(2 * area - 1, abs=1e-12)
    assert metrics["average_precision"].value == pytest.approx(sk.average_precision_score(labels, scores), abs=1e-12)
    assert [metric.error_bound for metric in metrics.values()] == [0.0, 0.0, 0.0]
    over = stats_of(scores, labels, exact_rows=299)
    assert over.metrics() == stats_of(scores, labels).metrics()
    assert over.metrics(names=["roc_auc"])["roc_auc"].error_bound != 0.0


def test_undefined_agreement_is_none() -> None:
    constant = evaluate("binary", np.full(20, 0.9), np.arange(20) % 2)
    assert constant["mcc"].value is None  # scikit-learn says 0 here
    assert constant["cohen_kappa"].value == 0.0
    one_class = evaluate("multiclass", np.tile([0.7, 0.2, 0.1], (5, 1)), np.zeros(5, np.int64), CLASSES[:3])
    assert one_class["cohen_kappa"].value is None
    assert one_class["macro_roc_auc"].value is None
    perfect = evaluate("binary", np.repeat([0.1, 0.9], 20), np.repeat([0, 1], 20))
    for name in ("mcc", "cohen_kappa", "balanced_accuracy", "average_precision"):
        assert perfect[name].value == 1.0
        assert perfect[name].low is not None
        assert 0.5 < perfect[name].low < 1.0, name  # never so sure with 40 rows


def test_a_metric_that_the_task_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="a binary task has no metric 'mae'"):
        OutcomeStats("binary").metrics(names=["mae"])
