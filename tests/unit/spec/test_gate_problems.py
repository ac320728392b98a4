from __future__ import annotations

import pytest

from driftloop.spec import SpecError, parse_spec
from driftloop.spec.gate_problems import _KEYS, CALIBRATION_BOUNDS
from driftloop.spec.gates import GateSpec
from driftloop.spec.metrics import TASK_METRICS

HEAD = (
    "{{model: m, task: {task}, features: {{x: {{kind: numeric}}, sex: {{kind: categorical}}}}, {more}gates: [{gate}]}}"
)


def problems(gate: str, task: str = "binary", more: str = "") -> list[str]:
    if task == "multiclass":
        more += "classes: [a, b, c], "
    try:
        parse_spec(HEAD.format(task=task, gate=gate, more=more))
    except SpecError as error:
        return str(error).splitlines()
    return []


@pytest.mark.parametrize(
    ("gate", "task"),
    [
        ("{gate: slices, columns: [sex]}", "binary"),
        ("{gate: slices, columns: [sex], metric: mae, criterion: proven, correction: bonferroni}", "regression"),
        ("{gate: fairness, columns: [sex], bounds: {demographic_parity_ratio: 0.8}, margin: 0.05}", "binary"),
        ("{gate: robustness, bound: 0.05, noise: 0.2, missing: 0, each_missing: 0.3}", "multiclass"),
        ("{gate: calibration, bounds: {ece: 0.05, slope: 0.2, intercept: 2}}", "binary"),
        ("{gate: calibration, bounds: {bias: 12.5}, margin: 1}", "regression"),
        ("{gate: calibration, margin: 0.01}", "multiclass"),
        ("{gate: schema, added: [x], removed: [old]}", "binary"),
        ("{gate: sanity, largest_share: 0.5, range: null}", "regression"),
        ("{gate: sanity}", "ranking"),
    ],
)  # fmt: skip
def test_what_can_be_said(gate: str, task: str) -> None:
    assert problems(gate, task) == []


WRONG = [
    (
        "{gate: slices}",
        "binary",
        "gates[0].columns: expected categorical features to look into, and the spec has no segments either",
    ),
    (
        "{gate: slices, columns: [six]}",
        "binary",
        "gates[0].columns[0]: expected one of the model's categorical features, got 'six'",
    ),
    (
        "{gate: slices, columns: [x]}",
        "binary",
        "gates[0].columns[0]: expected a categorical feature, and 'x' is numeric",
    ),
    (
        "{gate: slices, columns: [[sex, sex]]}",
        "binary",
        "gates[0].columns[0]: expected a categorical feature or a pair of two",
    ),
    ("{gate: slices, columns: [sex], metric: mae}", "binary", "gates[0].metric: expected a metric of a binary model"),
    ("{gate: slices, columns: [sex], margin: -1}", "binary", "gates[0].margin: expected a number from 0 on, got -1"),
    (
        "{gate: slices, columns: [sex], confidence: 1}",
        "binary",
        "gates[0].confidence: expected a number between 0 and 1",
    ),
    (
        "{gate: slices, columns: [sex], bound: 1}",
        "binary",
        "gates[0].bound: 'bound' is a key of gates of the kind 'robustness', and this is 'slices'",
    ),
    ("{gate: slices, columns: [sex]}", "ranking", "gates[0].gate: ranking models are watched, but not trained here"),
    (
        "{gate: fairness, columns: [sex]}",
        "binary",
        "gates[0].bounds: expected a bound for one of demographic_parity_difference",
    ),
    (
        "{gate: fairness, margin: 0.1}",
        "binary",
        "gates[0].columns: expected categorical features to look into, and the spec has no performance.fairness either",
    ),
    (
        "{gate: fairness, columns: [[sex, x]], margin: 0.1}",
        "binary",
        "gates[0].columns[0]: expected a categorical feature, got",
    ),
    (
        "{gate: fairness, columns: [sex], margin: 0.1}",
        "regression",
        "gates[0]: gaps between groups are those of a binary model's decisions",
    ),
    (
        "{gate: fairness, columns: [sex], bounds: {parity: 0.1}}",
        "binary",
        "gates[0].bounds.parity: expected one of demographic_parity_difference",
    ),
    (
        "{gate: fairness, columns: [sex], bounds: {demographic_parity_ratio: 2}}",
        "binary",
        "gates[0].bounds.demographic_parity_ratio: expected a number from 0 to 1, got 2",
    ),
    ("{gate: robustness}", "binary", "gates[0].bound: expected how far the metric may fall, or a margin"),
    (
        "{gate: robustness, bound: 0.1, noise: 0, missing: 0, unseen: 0}",
        "binary",
        "gates[0]: all perturbations are switched off",
    ),
    ("{gate: robustness, bound: 0.1, missing: 2}", "binary", "gates[0].missing"),
    (
        "{gate: calibration}",
        "binary",
        "gates[0].bounds: expected a bound for one of ece, brier_reliability, slope, intercept",
    ),
    ("{gate: calibration, bounds: {ece: 0.1}}", "regression", "gates[0].bounds.ece: expected one of bias, slope"),
    (
        "{gate: calibration, bounds: {ece: -0.1}}",
        "binary",
        "gates[0].bounds.ece: expected a number from 0 to 1, got -0.1",
    ),
    ("{gate: schema, added: [y]}", "binary", "gates[0].added[0]: expected one of the model's features, got 'y'"),
    ("{gate: schema, removed: [x]}", "binary", "gates[0].removed[0]: 'x' is one of the model's features"),
    (
        "{gate: loadable, largest_share: 0.5}",
        "binary",
        "gates[0].largest_share: 'largest_share' is a key of gates of the kind 'sanity'",
    ),
    (
        "{gate: metric, criterion: point}",
        "binary",
        "gates[0].criterion: 'criterion' is a key of gates of the kind 'slices' and",
    ),
    (
        "{gate: fairness, columns: [sex], margin: .1, metric: f1}",
        "binary",
        "gates[0].metric: 'metric' is a key of gates of the kind 'metric' and 'slices' and 'robustness', and "
        "this is 'fairness'",
    ),
]


@pytest.mark.parametrize(("gate", "task", "expected"), WRONG)
def test_what_cannot(gate: str, task: str, expected: str) -> None:
    found = problems(gate, task)
    assert any(expected in line for line in found), found


def test_segments_and_fairness_of_the_model_stand_for_columns() -> None:
    assert problems("{gate: slices}", more="segments: [sex], ") == []
    more = "segments: [sex], performance: {fairness: [{column: sex}]}, "
    assert problems("{gate: fairness, margin: 0.1}", more=more) == []


def test_every_key_belongs_to_a_kind_of_gate_and_every_task_has_its_bounds() -> None:
    keys = {key for names in _KEYS.values() for key in names}
    assert keys == set(GateSpec.__struct_fields__) - {"gate"}
    assert set(CALIBRATION_BOUNDS) == set(TASK_METRICS)
