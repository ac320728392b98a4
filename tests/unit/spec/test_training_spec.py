from __future__ import annotations

import re
from pathlib import Path

import pytest

from driftloop.spec.load import parse_spec
from driftloop.spec.problems import SpecError
from driftloop.spec.training import parse_bytes

BASE = """
model: m
task: {task}
features: {{x: {{kind: numeric}}}}
{more}
training: {training}
"""
DETECTOR = "concept: {detectors: [{detector: adwin}]}"


def parse(training: str, task: str = "binary", more: str = DETECTOR) -> None:
    parse_spec(BASE.format(task=task, training=training, more=more))


@pytest.mark.parametrize(
    "training",
    [
        "{candidates: [{candidate: window, last: 30d}, {candidate: window, rows: 100}]}",
        "{candidates: [{candidate: since_change}, {candidate: everything}]}",
        "{candidates: [{candidate: decayed, half_life: 7d, last: 60d}]}",
        "{candidates: [{candidate: reservoir, rows: 10, stratum: 1d, seed: 0, last: 60d}]}",
        "{candidates: [{candidate: everything}], choice: {metric: log_loss, share: 0.3}}",
        "{search: {parameters: {C: [1, 2]}, split: forward, share: 0.5}}",
        "{search: {method: random, n: 5, parameters: {C: {low: 0.1, high: 1, log: true}, k: [a, null]}}}",
        "{river: {model: river.linear_model.LogisticRegression, parameters: {l2: 0.1}}}",
        "{memory_limit: 2GiB, threads: 2, most_rows: 500}",
        "{estimator: 'package.module:function'}",
    ],
)
def test_what_is_fine(training: str) -> None:
    parse(training)


@pytest.mark.parametrize(
    ("training", "key", "message"),
    [
        ("{candidates: [{candidate: window}]}", "candidates", "needs one of 'last'"),
        ("{candidates: [{candidate: window, last: 3d, rows: 9}]}", "candidates", "needs one of 'last'"),
        ("{candidates: [{candidate: decayed}]}", "half_life", "needs 'half_life'"),
        ("{candidates: [{candidate: reservoir}]}", "rows", "needs 'rows'"),
        ("{candidates: [{candidate: everything, rows: 5}]}", "rows", "has no key beside it; leave 'rows' out"),
        ("{candidates: [{candidate: window, rows: 5, seed: 1}]}", "seed", "has last, rows; leave 'seed' out"),
        ("{candidates: [{candidate: window, last: 0s}]}", "last", "longer than nothing"),
        ("{candidates: [{candidate: decayed, half_life: soon}]}", "half_life", "soon"),
        ("{candidates: [{candidate: windows}]}", "candidate", "did you mean 'window'"),
        ("{candidates: [{candidate: since_change}]}", "candidates", "needs another candidate beside it"),
        (
            "{candidates: [{candidate: everything}, {candidate: everything}]}",
            "candidates",
            "the same candidate is listed twice",
        ),
        (
            "{since_change: true, candidates: [{candidate: everything}]}",
            "since_change",
            "list {candidate: since_change} there",
        ),
        (
            "{river: {model: river.linear_model.PAClassifier}, candidates: [{candidate: everything}]}",
            "candidates",
            "learns on from the champion",
        ),
        (
            "{candidates: [{candidate: everything}], choice: {metric: base_rate}}",
            "metric",
            "can be better or worse (roc_auc",
        ),
        ("{candidates: [{candidate: everything}], choice: {metric: nonsense}}", "metric", "can be better or worse"),
        ("{choice: {share: 1.0}}", "share", "less than 1"),
        ("{search: {parameters: {}}}", "parameters", "of length 1 or more"),
        ("{search: {parameters: {C: 3}}}", "C", "expected a list of values"),
        ("{search: {parameters: {C: {low: 1, high: 2}}}}", "C", "a grid has lists of values only"),
        ("{search: {method: random, parameters: {C: {low: 2, high: 1}}}}", "C", "expected numbers low < high"),
        ("{search: {method: random, parameters: {C: {low: 0, high: 1, log: true}}}}", "low", "begins above 0"),
        (
            "{search: {method: random, parameters: {C: {low: 0, high: 1, step: 1}}}}",
            "step",
            "low, high, log and integer",
        ),
        ("{search: {method: random, parameters: {C: {low: 0, high: 1, integer: 1}}}}", "integer", "true or false"),
        (
            f"{{search: {{parameters: {{a: {list(range(30))}, b: {list(range(30))}}}}}}}",
            "parameters",
            "has 900 combinations",
        ),
        ("{search: {parameters: {C: [1]}, metric: bias}}", "metric", "can be better or worse"),
        ("{river: {model: sklearn.svm.SVC}}", "model", "such as 'river.linear_model.LogisticRegression'"),
        (
            "{estimator: sklearn.svm.SVC, river: {model: river.linear_model.PAClassifier}}",
            "river",
            "is trained, not both",
        ),
        (
            "{search: {parameters: {C: [1]}}, river: {model: river.linear_model.PAClassifier}}",
            "search",
            "nothing can be searched",
        ),
        ("{memory_limit: 2 apples}", "memory_limit", "expected a size such as '2GiB'"),
        ("{memory_limit: 1MiB}", "memory_limit", "expected 64MiB or more"),
        ("{most_rows: 499}", "most_rows", "expected at least training.minimum_rows, which is 500"),
        ("{most_rows: 600, candidates: [{candidate: window, rows: 601}]}", "rows", "more than training.most_rows"),
        ("{threads: 0}", "threads", "at least 1"),
        ("{threads: 2, parameters: {n_jobs: 4}}", "n_jobs", "more than training.threads, which is 2"),
    ],
)
def test_what_is_wrong_is_named(training: str, key: str, message: str) -> None:
    with pytest.raises(SpecError) as refused:
        parse(training)
    assert len(refused.value.problems) == 1
    assert message in str(refused.value)
    assert key in str(refused.value)


def test_since_change_needs_a_detector() -> None:
    with pytest.raises(SpecError, match="only a concept detector dates a change"):
        parse("{candidates: [{candidate: since_change}, {candidate: everything}]}", more="concept: {detectors: []}")


def test_ranking_models_are_not_trained() -> None:
    with pytest.raises(SpecError, match="watched but not trained here"):
        parse("{river: {model: river.linear_model.PAClassifier}}", task="ranking")


def test_sizes() -> None:
    assert [parse_bytes(text) for text in ("64MiB", "2 GiB", "1.5GB", "3MB")] == [
        2**26,
        2**31,
        1_500_000_000,
        3_000_000,
    ]
    with pytest.raises(ValueError, match="expected a size"):
        parse_bytes("2")


def test_the_documented_pieces_are_specs() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "training.md").read_text(encoding="utf-8")
    pieces = re.findall(r"```yaml\n(training:\n.*?)```", page, re.DOTALL)
    assert len(pieces) >= 4
    for piece in pieces:
        parse_spec(f"model: m\ntask: binary\nfeatures: {{x: {{kind: numeric}}}}\n{piece}")
