"""Reading specs: what is accepted, the digest, and errors that say file, line, key and what was expected."""

# ruff: noqa: E501  (one case a line reads better in the table of errors)

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from driftloop.performance.metrics import METRIC_DIRECTION
from driftloop.performance.outcomes import OutcomeStats
from driftloop.spec import ModelSpec, SpecError, load_spec, load_specs, parse_spec, spec_digest
from driftloop.spec.methods import METHODS, method_names
from driftloop.spec.metrics import DEFAULT_METRICS, TASK_METRICS, direction_of, reported_metrics

BINARY = (
    "roc_auc, log_loss, accuracy, brier, precision, recall, f1, gini, average_precision, specificity, "
    "balanced_accuracy, mcc, cohen_kappa, ece, brier_reliability, brier_resolution, lift_10pct, value, mean_value"
)

SMALL = """\
model: late
task: binary
features:
  temp: {kind: numeric}
  origin: {kind: categorical, required: true}
"""


def _messages(text: str, source: str = "late.yaml") -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse_spec(text, source)
    assert str(caught.value) == "\n".join(str(problem) for problem in caught.value.problems)
    return str(caught.value).split("\n")


def test_a_small_spec_has_defaults() -> None:
    spec = parse_spec(SMALL)
    assert (spec.model, spec.task, list(spec.features)) == ("late", "binary", ["temp", "origin"])
    assert (spec.window_ms, spec.label_horizon_ms) == (86_400_000, 7 * 86_400_000)
    assert spec.features["origin"].required
    assert [gate.gate for gate in spec.gates] == ["sanity", "loadable", "schema", "metric"]


def test_everything_that_can_be_written_is_read() -> None:
    spec = parse_spec(
        SMALL
        + """
description: flights
window: 12h
segments: [origin]
minimum_rows: 50
drift:
  significance: 1e-3
  correction: bonferroni
  numeric: [{method: ks, threshold: 0.1}, {method: wasserstein}]
  categorical: [{method: chi_square}, {method: psi, threshold: 1}]
performance:
  rules: [{metric: roc_auc, drop: 0.05, windows: 7}, {metric: log_loss, drop: 0.1, relative: true}]
alerts: {open_after: 2, open_within: 3}
policy:
  triggers:
    - on: performance
      consecutive: 3
    - {on: drift, share: 0.5}
    - {on: schedule, every: 30d}
  cooldown: 14d
training:
  estimator: sklearn.ensemble.HistGradientBoostingClassifier
  parameters: {max_iter: 100, learning_rate: 5e-2, categorical_features: from_dtype, early_stopping: false, x: null}
  last: 60d
gates: [{gate: metric, metric: roc_auc, mode: better, margin: 0}]
promotion: manual
"""
    )
    assert spec.drift.significance == 0.001
    assert spec.policy.triggers[0].on == "performance"
    assert spec.policy.triggers[2].every_ms == 30 * 86_400_000
    assert spec.training.parameters == {
        "max_iter": 100,
        "learning_rate": 0.05,
        "categorical_features": "from_dtype",
        "early_stopping": False,
        "x": None,
    }


def test_on_no_and_dates_are_texts_as_in_yaml_1_2() -> None:
    text = "{model: m, task: multiclass, features: {on: {kind: numeric}}, classes: [no, yes, 2013-01-01, 1:30, off]}"
    spec = parse_spec(text)
    assert spec.classes == ["no", "yes", "2013-01-01", "1:30", "off"]
    assert list(spec.features) == ["on"]


def test_anchors_may_be_reused() -> None:
    spec = parse_spec("{model: m, task: binary, features: {a: &n {kind: numeric}, b: *n}}")
    assert spec.features["a"] == spec.features["b"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("drift: {numeric: [{method: ks, threshold: high}]}", "drift.numeric[0].threshold: expected a number or a mapping with spread, quantile, false_alarms, times, at_least or null, got 'high'"),
        ("drift: {numeric: [{method: kss}]}", f"drift.numeric[0].method: expected one of {', '.join(map(repr, METHODS))}, got 'kss', did you mean 'ks'?"),
        ("drift: {numeric: [{method: chi_square}]}", f"drift.numeric[0].method: expected a method for numeric features ({', '.join(method_names('numeric'))}), got 'chi_square'"),
        ("drift: {categorical: [{method: ks}]}", f"drift.categorical[0].method: expected a method for categorical features ({', '.join(method_names('categorical'))}), got 'ks'"),
        ("drift: {numeric: [{method: ks}, {method: ks}]}", "drift.numeric[1].method: the method 'ks' is listed twice"),
        ("drift: {numeric: [{method: ks, threshold: 1.5}]}", "drift.numeric[0].threshold: ks is never above 1, so 1.5 would never decide; lower it"),
        ("drift: {numeric: [{method: psi, threshold: 0}]}", "drift.numeric[0].threshold: expected a number above 0 (or null), got 0"),
        ("drift: {missing: 2}", "drift.missing: expected a number, at least 0, at most 1, got 2"),
        ("drift: {significance: 0}", "drift.significance: expected a number between 0 and 1, got 0"),
        ("drift: 3", "drift: expected a mapping of keys to values, got 3"),
        ("segments: [[a, 3]]", "segments[0][1]: expected a text, got 3"),
        ("drift: {numeric: ks}", "drift.numeric: expected a list (a mapping with method, threshold, critical each), got 'ks'"),
        ("windw: 1d", "windw: unknown key 'windw', did you mean 'window'?"),
        ("policy: {triggers: [{on: drift, consecutve: 2}]}", "policy.triggers[0].consecutve: unknown key 'consecutve', did you mean 'consecutive'?"),
        ("window: 1 day", "window: expected a duration such as '1d', '36h' or '1h30m', got '1 day'"),
        ("window: 0s", "window: expected a duration longer than nothing, got '0s'"),
        ("window: 86400", "window: expected a text, of length 2 or more, got 86400"),
        ("policy: {cooldown: soon}", "policy.cooldown: expected a duration such as '1d', '36h' or '1h30m', got 'soon'"),
        ("policy: {triggers: [{on: schedule}]}", "policy.triggers[0].every: a schedule trigger needs 'every', such as every: 30d, or 'cron', such as '0 6 * * mon'"),
        ("policy: {triggers: [{on: schedule, every: 0d}]}", "policy.triggers[0].every: expected a duration longer than nothing, got '0d'"),
        ("policy: {triggers: [{on: drift, every: 1d}]}", "policy.triggers[0].every: 'every' is a key of a trigger on schedule, and this one is on drift; leave it out"),
        ("policy: {triggers: [{on: drift, share: 0}]}", "policy.triggers[0].share: expected a number above 0: with 0 every window would count"),
        ("policy: {triggers: [{on: drift}, {on: drift}]}", "policy.triggers[1]: the same trigger is listed twice"),
        ("policy: {triggers: [{on: performance}]}", "policy.triggers[0].on: a performance trigger needs a rule under performance.rules, and there is none"),
        ("performance: {rules: [{metric: auc, drop: 0.1}]}", "performance.rules[0].metric: expected a metric of a binary model (" + BINARY + "), got 'auc', did you mean 'roc_auc'?"),
        ("performance: {rules: [{metric: base_rate, drop: 0.1}]}", "performance.rules[0].metric: 'base_rate' is reported but is neither better high nor low; choose one of " + BINARY),
        ("performance: {metrics: [roc_auc, roc_auk]}", "performance.metrics[1]: expected a metric of a binary model (roc_auc, log_loss, accuracy, brier, precision, recall, f1, base_rate, mean_score, gini, average_precision, specificity, balanced_accuracy, mcc, cohen_kappa, ece, brier_reliability, brier_resolution, brier_uncertainty, brier_within, lift_10pct, value, mean_value), got 'roc_auk', did you mean 'roc_auc'?"),
        ("performance: {metrics: [ece, ece]}", "performance.metrics[1]: the metric 'ece' is listed twice"),
        ("performance: {metrics: [value]}", "performance.metrics[0]: 'value' needs performance.value (what each outcome is worth), and there is none"),
        ("performance: {exact_rows: -1}", "performance.exact_rows: expected an integer, at least 0, at most 50000, got -1"),
        ("performance: {cutoffs: []}", "performance.cutoffs: expected a list (an integer, at least 1, at most 1000 each), of length 1 or more, got a list"),
        ("performance: {value: {}}", "performance.value: expected what at least one of tp, fp, fn and tn is worth; all are 0"),
        ("performance: {value: {tp: 1, column: tmp}}", "performance.value.column: expected one of the model's numeric features, got 'tmp', did you mean 'temp'?"),
        ("performance: {value: {tp: 1, column: origin}}", "performance.value.column: expected a numeric feature, and 'origin' is categorical"),
        ("performance: {fairness: [{column: origin}]}", "performance.fairness[0].column: expected one of the spec's segments, got 'origin'"),
        ("segments: [origin]\nperformance: {fairness: [{column: origin, metrics: []}]}", "performance.fairness[0].metrics: expected at least one of demographic_parity_difference, demographic_parity_ratio, equal_opportunity_difference, equalized_odds_difference"),
        ("segments: [origin]\nperformance: {fairness: [{column: origin, bounds: {demographic_parity_difference: 1.5}}]}", "performance.fairness[0].bounds.demographic_parity_difference: expected a number between 0 and 1, got 1.5"),
        ("gates: [{gate: metric, metric: value}]", "gates[0].metric: 'value' is no metric of a gate: compare models by another one"),
        ("performance: {rules: [{metric: roc_auc, drop: -0.1}]}", "performance.rules[0].drop: expected a number above 0 (how much worse counts), got -0.1"),
        ("performance: {rules: [{metric: roc_auc}]}", "performance.rules[0].drop: this key is missing; expected a number"),
        ("performance: {rules: [{metric: f1, drop: 1, confidence: 1}]}", "performance.rules[0].confidence: expected a number between 0 and 1, such as 0.95, got 1"),
        ("performance: {rules: [{metric: f1, drop: 1}, {metric: f1, drop: 2}]}", "performance.rules[1]: there is another rule for 'f1' over 1 window(s); keep one"),
        ("segments: [temp]", "segments[0]: expected a categorical feature, and 'temp' is numeric; add a categorical one made from it"),
        ("segments: [orign]", "segments[0]: expected one of the model's categorical features, got 'orign', did you mean 'origin'?"),
        ("drift: {numeric: [{method: ks, threshold: {spread: 0}}]}", "drift.numeric[0].threshold.spread: expected a number of standard deviations above 0, such as 3, got 0"),
        ("drift: {numeric: [{method: ks, threshold: {spred: 3}}]}", "drift.numeric[0].threshold.spred: unknown key 'spred', did you mean 'spread'?"),
        ("drift: {numeric: [{method: ks, threshold: {spread: 3, quantile: 0.9}}]}", "drift.numeric[0].threshold: expected a number or a mapping with exactly one of spread, quantile, false_alarms; got ['spread', 'quantile']"),
        ("drift: {numeric: [{method: ks, threshold: {times: 2}}]}", "drift.numeric[0].threshold: expected a number or a mapping with exactly one of spread, quantile, false_alarms; got ['times']"),
        ("drift: {numeric: [{method: ks, threshold: {false_alarms: 0}}]}", "drift.numeric[0].threshold.false_alarms: expected a probability from 0.001 to 0.5, such as 0.01, got 0"),
        ("drift: {numeric: [{method: ks, threshold: {quantile: 1}}]}", "drift.numeric[0].threshold.quantile: expected a share from 0.5 to below 1, such as 0.99, got 1"),
        ("drift: {numeric: [{method: ks, threshold: 0.3, critical: 0.2}]}", "drift.numeric[0].critical: expected a number from the threshold of 0.3 on, got 0.2"),
        ("drift: {numeric: [{method: ks, critical: 0.2}]}", "drift.numeric[0].critical: a method without threshold never decides, so it has no critical value; give it a threshold"),
        ("drift: {numeric: [{method: ks, threshold: {spread: 3, at_least: 0}}]}", "drift.numeric[0].threshold.at_least: expected a number above 0, got 0"),
        ("drift: {numeric: [{method: ks, threshold: {at_least: 0.1}}]}", "drift.numeric[0].threshold: expected a number or a mapping with exactly one of spread, quantile, false_alarms; got none"),
        ("drift: {critical_times: 0.5}", "drift.critical_times: expected a number, at least 1 or null, got 0.5"),
        ("drift: {references: []}", "drift.references: expected at least one reference, such as {name: training}"),
        ("drift: {references: [{name: rolling}]}", "drift.references[0].windows: a rolling reference needs 'windows', such as windows: 28"),
        ("drift: {references: [{name: seasonal, period: 7h, periods: 4}]}", "drift.references[0].period: expected a multiple of the window, so that the same slot comes again, got '7h'"),
        ("drift: {references: [{name: training, period: 7d}]}", "drift.references[0].period: a training reference has no 'period'; leave it out"),
        ("drift: {references: [{name: training}, {name: training}]}", "drift.references[1].name: the reference 'training' is listed twice"),
        ("drift: {references: [{name: training, decides: true}, {name: rolling, windows: 2, decides: true}]}", "drift.references[1].decides: only one reference decides; leave the key out of the others"),
        ("sliding: [36h]", "sliding[0]: expected a multiple of the window of 1d (2 to 400 times), got '36h'"),
        ("sliding: [1d]", "sliding[0]: expected a multiple of the window of 1d (2 to 400 times), got '1d'"),
        ("sliding: [7d, 7d]", "sliding[1]: a sliding window as long as '7d' is listed twice"),
        ("sliding: [48h, 2d]", "sliding[1]: a sliding window as long as '2d' is listed twice"),
        ("performance: {exact_rows: 50000, rules: [{metric: roc_auc, drop: 0.1, windows: 7}]}", "performance.exact_rows: the scores of the 6 windows before are kept for a rule over 7 windows, at most 200,000 together: at most 33333 rows of each"),
        ("segments: [[origin, origin]]", "segments[0]: expected a feature or a pair of two features, got ['origin', 'origin']"),
        ("segments: [[origin, temp]]", "segments[0]: expected a categorical feature, and 'temp' is numeric; add a categorical one made from it"),
        ("performance: {rules: [{metric: f1, drop: 0.1, critical: 0.05}]}", "performance.rules[0].critical: expected a drop of at least 0.1, the rule's own, got 0.05"),
        ("segments: [origin, origin]", "segments[1]: the segment 'origin' is listed twice"),
        ("classes: [a, b]", "classes: only a multiclass model has classes, and the task is 'binary'; leave the key out"),
        ("alerts: {open_after: 2}", "alerts.open_after: 2 bad windows never fit into the last 1; raise alerts.open_within"),
        ("training: {estimator: sklearn}", "training.estimator: expected an import path such as 'sklearn.ensemble.HistGradientBoostingClassifier', got 'sklearn'"),
        ("training: {holdout: 1.0}", "training.holdout: expected a number, more than 0, less than 1, got 1.0"),
        ("training: {parameters: {max_iter: .inf}}", "training.parameters.max_iter: expected a finite number, got .inf"),
        ("training: {seed: 99999999999999999999}", "training.seed: expected an integer of at most 64 bits, got 99999999999999999999"),
        ("gates: [{gate: metric, metric: mae}]", "gates[0].metric: expected a metric of a binary model (" + BINARY + "), got 'mae'"),
        ("gates: [{gate: sanity, metric: f1}]", "gates[0].metric: 'metric' is a key of gates of the kind 'metric' and 'slices' and 'robustness', and this is 'sanity'"),
        ("gates: [{gate: metric, margin: -1}]", "gates[0].margin: expected a number from 0 on, got -1"),
        ("gates: [{gate: sanity}, {gate: sanity}]", "gates[1]: the same gate is listed twice"),
        ("minimum_rows: 0", "minimum_rows: expected an integer, at least 1, got 0"),
        ("minimum_rows: true", "minimum_rows: expected an integer, at least 1, got true"),
        ("promotion: auto", "promotion: expected one of 'automatic', 'shadow', 'canary', 'approval', 'manual', got 'auto', did you mean 'automatic'?"),
        ("description: ", "description: expected a text, got nothing (null)"),
        ("description: !!binary aGk=", "description: the YAML tag tag:yaml.org,2002:binary is not allowed here; write a plain value"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_file_line_and_key(text: str, expected: str) -> None:
    line = 6 + text.count("\n")
    assert _messages(SMALL + text) == [f"late.yaml, line {line}: {expected}"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "late.yaml: the spec is empty; it needs at least model, task and features"),
        ("# nothing\n", "late.yaml: the spec is empty; it needs at least model, task and features"),
        ("- a", "late.yaml, line 1: expected a mapping of keys to values, got a list"),
        ("a: [", "late.yaml, line 1: this is not YAML that can be read"),
        ("a: 1\n---\nb: 2", "late.yaml, line 2: this is not YAML that can be read: expected a single document"),
        ("a: 1\nb: 2\na: 3", "late.yaml, line 3: a: the key 'a' is here twice (lines 1 and 3); keep one"),
        ("a: &a {b: *a}", "late.yaml, line 1: too large or too deep for a spec; look for an alias inside itself"),
        ("? [a]\n: 1", "late.yaml, line 1: keys must be texts"),
        ("a: \x01", "late.yaml: this is not YAML that can be read"),
    ],
)
def test_texts_that_are_no_spec(text: str, expected: str) -> None:
    (message,) = [line for line in _messages(text) if line.startswith("late.yaml")]
    assert message.startswith(expected)


def test_aliases_that_multiply_are_stopped() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    assert "too large or too deep" in _messages("\n".join(lines))[0]


def test_all_problems_are_told_at_once() -> None:
    messages = _messages("model: late flights\nfeatures: {temp: {kind: number}, '@x y': {}}\nwindow: 1d\n")
    assert messages == [
        "late.yaml, line 1: model: expected a text, matching ^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$, got 'late flights'",
        "late.yaml, line 2: features.temp.kind: expected one of 'numeric', 'categorical', 'vector', 'text', got "
        "'number', did you mean 'numeric'?",
        "late.yaml, line 2: features['@x y'].kind: this key is missing; expected one of 'numeric', 'categorical', "
        "'vector', 'text'",
        "late.yaml, line 1: task: this key is missing; expected one of 'binary', 'multiclass', 'regression', 'ranking'",
    ]


def test_features_need_names_of_their_own() -> None:
    template = "{model: m, task: binary, features: {%s: {kind: numeric}}}"
    assert "driftloop's own" in _messages(template % "'@prediction'")[0]
    assert "1 to 128 printable characters" in _messages(template % "''")[0]
    assert "of length 1 or more" in _messages("{model: m, task: binary, features: {}}")[0]


def test_classes_of_a_multiclass_model() -> None:
    template = "{model: m, task: multiclass, features: {x: {kind: numeric}}, classes: %s}"
    assert parse_spec(template % "[a, b]").classes == ["a", "b"]
    assert "at least two classes, got 0" in _messages(template % "[]")[0]
    assert "classes[2]: the class 'a' is listed twice" in _messages(template % "[a, b, a]")[0]
    assert "classes[1]: expected the name of a class" in _messages(template % "[a, '']")[0]
    assert "classes[0]: expected a text, got 1" in _messages(template % "[1, 2]")[0]


def test_the_digest_is_of_the_content_not_of_the_text() -> None:
    spec = parse_spec(SMALL)
    assert len(spec_digest(spec)) == 64
    same = "task: binary\nmodel: late\nwindow: 1d\n" + SMALL.split("task: binary\n")[1]
    assert spec_digest(parse_spec(same)) == spec_digest(spec)
    parameters = [
        SMALL + "training: {parameters: {a: 1, b: {d: 1, c: 2}}}",
        SMALL + "training: {parameters: {b: {c: 2, d: 1}, a: 1}}",
    ]
    assert len({spec_digest(parse_spec(text)) for text in parameters}) == 1


def test_the_digest_tells_everything_else_apart() -> None:
    other_order = SMALL.replace("  temp: {kind: numeric}\n", "") + "  temp: {kind: numeric}\n"
    texts = [SMALL, SMALL + "window: 2d", SMALL + "minimum_rows: 101", other_order, SMALL + "training: {seed: 1}"]
    assert len({spec_digest(parse_spec(text)) for text in texts}) == len(texts)


def test_a_spec_written_as_json_is_read_back() -> None:
    spec = parse_spec(SMALL)
    assert parse_spec(msgspec.json.encode(spec).decode()) == spec


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "late.yaml"
    path.write_text(SMALL, encoding="utf-8")
    assert load_spec(path) == load_spec(str(path)) == parse_spec(SMALL)
    with pytest.raises(SpecError, match=r"other\.yaml: there is no such file"):
        load_spec(tmp_path / "other.yaml")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SpecError, match="expected text in UTF-8"):
        load_spec(path)
    with pytest.raises(SpecError, match="cannot read the file"):
        load_spec(tmp_path)


def test_folders(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"holds no \*\.yaml file"):
        load_specs(tmp_path)
    with pytest.raises(SpecError, match=r"no such folder or file; .* DRIFTLOOP_SPECS .* or a single file"):
        load_specs(tmp_path / "no")
    (tmp_path / "b.yaml").write_text(SMALL, encoding="utf-8")
    (tmp_path / "a.yml").write_text(SMALL.replace("late", "delay"), encoding="utf-8")
    (tmp_path / "notes.txt").write_text("no spec", encoding="utf-8")
    assert list(load_specs(tmp_path)) == ["delay", "late"]
    (tmp_path / "c.yaml").write_text(SMALL, encoding="utf-8")
    (tmp_path / "d.yaml").write_text("{}", encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        load_specs(tmp_path)
    problems = caught.value.problems
    assert [Path(problem.source).name for problem in problems] == ["c.yaml", "d.yaml", "d.yaml", "d.yaml"]
    assert problems[0].text == f"the model 'late' is also in {tmp_path / 'b.yaml'}; keep one of the two files"


def test_a_single_file_in_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "late.spec").write_text(SMALL, encoding="utf-8")
    assert load_specs(tmp_path / "late.spec") == {"late": parse_spec(SMALL)}
    (tmp_path / "late.spec").write_text("{}", encoding="utf-8")
    with pytest.raises(SpecError, match=r"late\.spec, line 1: model: this key is missing"):
        load_specs(tmp_path / "late.spec")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SpecError, match="expected a folder of model specs, or a file with one spec"):
        load_specs(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("performance: {rules: [{metric: ndcg_5, drop: 0.1}]}", "'ndcg_5' needs 5 among performance.cutoffs ([10])"),
        (
            "training: {estimator: sklearn.svm.SVC}",
            "ranking models are watched but not trained here; leave the key out",
        ),
        (
            "performance: {exact_rows: 10}",
            "only a binary model keeps scores, and the task is 'ranking'; leave the key out",
        ),
        ("performance: {value: {tp: 1}}", "only a binary model has a cost matrix, and the task is 'ranking'"),
        ("performance: {estimate: true}", "nothing is estimated for a ranking model; leave the key out"),
        ("performance: {cutoffs: [5, 5]}", "performance.cutoffs[1]: the cutoff 5 is listed twice"),
        (
            "policy: {triggers: [{on: drift}]}",
            "ranking models are not trained here, so nothing can trigger it; leave the key out",
        ),
    ],
)
def test_what_a_ranking_model_cannot_have(text: str, expected: str) -> None:
    (message,) = _messages(SMALL.replace("binary", "ranking") + text)
    assert message.endswith(expected)


@pytest.mark.parametrize("task", ["binary", "regression", "multiclass", "ranking"])
def test_the_usual_metrics_are_metrics(task: str) -> None:
    spec = parse_spec(SMALL.replace("binary", task) + ("classes: [a, b]\n" if task == "multiclass" else ""))
    reported = reported_metrics(spec)
    assert reported == list(DEFAULT_METRICS[task])  # type: ignore[index]
    assert all(direction_of(spec.task, name) is not None for name in reported)


def test_what_is_reported_can_be_chosen() -> None:
    text = "performance: {metrics: [mcc, mean_value], value: {tp: 1}, rules: [{metric: f1, drop: 0.1}]}"
    assert reported_metrics(parse_spec(SMALL + text)) == ["mcc", "mean_value", "f1"]
    ranking = parse_spec(SMALL.replace("binary", "ranking") + "performance: {cutoffs: [3]}")
    assert reported_metrics(ranking)[:3] == ["mrr", "ndcg_3", "map_3"]
    assert direction_of("multiclass", "top_0_accuracy") is None
    assert direction_of("regression", "pinball_0.0") is None


@pytest.mark.parametrize("task", ["binary", "regression", "multiclass", "ranking"])
def test_metric_names_are_those_that_are_computed(task: str) -> None:
    directions = METRIC_DIRECTION
    stats = OutcomeStats(task, ("a", "b", "c") if task == "multiclass" else ())  # type: ignore[arg-type]
    assert set(TASK_METRICS[task]) == set(stats.metrics())  # type: ignore[index]
    assert TASK_METRICS[task] == {name: directions[name] for name in TASK_METRICS[task]}  # type: ignore[index]


def test_the_spec_is_what_the_loader_returns() -> None:
    assert isinstance(parse_spec(SMALL), ModelSpec)
