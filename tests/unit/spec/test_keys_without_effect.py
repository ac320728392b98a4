"""Keys that are given and have no effect: an error where that is a mistake, a warning where it may be meant."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from driftloop.spec import ModelSpec, SpecError, parse_spec
from driftloop.spec.document import read_document
from driftloop.spec.load import read_specs
from driftloop.spec.unused_keys import unused_keys
from driftloop.spec.without_effect import spec_warnings

NUMERIC, CATEGORICAL = "x: {kind: numeric}", "c: {kind: categorical}"
TRAINED = "estimator: sklearn.linear_model.LogisticRegression"


def _text(more: str, task: str, features: str = f"{NUMERIC}, {CATEGORICAL}") -> str:
    classes = "classes: [a, b]\n" if task == "multiclass" else ""
    return f"model: m\ntask: {task}\nfeatures: {{{features}}}\n{classes}{more}"


def _errors(more: str, task: str = "binary") -> list[str]:
    with pytest.raises(SpecError) as refused:
        parse_spec(_text(more, task))
    return [f"{problem.key}: {problem.text}" for problem in refused.value.problems]


def _warnings(more: str, task: str = "binary", features: str = f"{NUMERIC}, {CATEGORICAL}") -> dict[str, str]:
    text = _text(more, task, features)
    document = read_document(text, "m.yaml")
    found = [document.problem(key, said) for key, said in spec_warnings(parse_spec(text), document.value)]
    assert all(problem.line is not None for problem in found)
    assert len({problem.key for problem in found}) == len(found)
    return {problem.key: problem.text for problem in found}


@pytest.mark.parametrize(
    ("task", "more", "key", "said"),
    [
        (
            "binary",
            "training: {choice: {metric: log_loss}}",
            "training.choice.metric",
            "training.candidates lists none",
        ),
        ("binary", "training: {choice: {share: 0.3}}", "training.choice.share", "or leave training.choice out"),
        ("binary", "training: {search: {parameters: {C: [1]}, n: 5}}", "training.search.n", "use method: random"),
        ("binary", "training: {search: {parameters: {C: [1]}, seed: 5}}", "training.search.seed", "draws none"),
        (
            "binary",
            "training: {search: {parameters: {C: [1]}, share: 0.5}}",
            "training.search.share",
            "goes by 'folds'",
        ),
        (
            "binary",
            "training: {search: {parameters: {C: [1]}, split: forward, folds: 4}}",
            "training.search.folds",
            "split: forward goes by 'share'; use split: time_series",
        ),
        ("regression", "performance: {decision_threshold: 0.4}", "performance.decision_threshold", "'regression'"),
        ("binary", "performance: {cutoffs: [5]}", "performance.cutoffs", "only the metrics of a ranking model"),
        ("ranking", "concept: {bins: 12}", "concept.bins", "no loss to be watched"),
        ("ranking", "concept: {detectors: [{detector: adwin}]}", "concept.detectors", "no loss to be watched"),
        ("multiclass", "gates: [{gate: sanity, range: 2}]", "gates[0].range", "the task is 'multiclass'"),
        (
            "binary",
            "gates: [{gate: robustness, noise: 0, missing: 0, unseen: 0, each_missing: 0.2, bound: 0.1}]",
            "gates[0].bound",
            "each_missing is a bound of its own",
        ),
        (
            "binary",
            "gates: [{gate: loadable}, {gate: calibration, bounds: {slope: 0.2}, margin: 0.01}]",
            "gates[1].margin",
            "bound ece or brier_reliability too",
        ),
        (
            "multiclass",
            "training: {validation: {label_shift: {warn: 0.1}}}",
            "training.validation.label_shift",
            "a binary model's base rate",
        ),
        (
            "regression",
            "training: {validation: {rows_per_class: {fail: 3}}}",
            "training.validation.rows_per_class",
            "about classes",
        ),
    ],
)
def test_what_can_only_be_a_mistake_is_refused(task: str, more: str, key: str, said: str) -> None:
    (error,) = _errors(more, task)
    assert error.startswith(f"{key}: it has no effect: ")
    assert said in error


@pytest.mark.parametrize(
    ("task", "more"),
    [
        ("binary", "training: {candidates: [{candidate: everything}], choice: {metric: log_loss, share: 0.3}}"),
        ("binary", "training: {search: {parameters: {C: [1]}, split: forward, share: 0.5}}"),
        ("binary", "training: {search: {method: random, parameters: {C: [1, 2]}, n: 5, seed: 5, folds: 4}}"),
        ("binary", "performance: {decision_threshold: 0.4}"),
        ("ranking", "performance: {cutoffs: [5]}"),
        ("regression", "gates: [{gate: sanity, range: 2}]"),
        ("binary", "gates: [{gate: sanity, range: null}]"),
        ("binary", "gates: [{gate: robustness, noise: 0, missing: 0, bound: 0.1}]"),
        ("binary", "gates: [{gate: calibration, bounds: {slope: 0.2, ece: 0.1}, margin: 0.01}]"),
        ("regression", "gates: [{gate: calibration, bounds: {slope: 0.2}, margin: 0.01}]"),
        ("regression", "training: {validation: {label_shift: null, rows_per_class: null}}"),
        ("ranking", "concept: {detectors: []}"),
    ],
)
def test_what_has_an_effect_or_switches_off_is_fine(task: str, more: str) -> None:
    parse_spec(_text(more, task))


@pytest.mark.parametrize(
    ("task", "more", "key", "said"),
    [
        ("binary", "shadow: {alpha: 0.01, then: promote}", "shadow", "alpha, then have no effect: promotion is 'autom"),
        ("binary", "promotion: manual\nshadow: {margin: 0.1}", "shadow", "margin has no effect: promotion is 'manual'"),
        (
            "binary",
            "promotion: shadow\nshadow: {canary: {champion: a, challenger: b, share: 0.1}}",
            "shadow.canary",
            "set promotion: canary, or leave it out",
        ),
        ("binary", "gates: []", "gates", "every challenger passes, however bad it is"),
        ("binary", "alerts: {open_within: 3}", "alerts.open_within", "raise alerts.open_after"),
        (
            "binary",
            "policy: {cooldown: 3d, breaker: {failures: 2}}",
            "policy",
            "cooldown, breaker have no effect: there",
        ),
        ("ranking", "policy: {cooldown: 3d}", "policy", "watched but not trained here; leave the keys out"),
        (
            "binary",
            "quality: {enabled: false, volume: 3, infinite: null}",
            "quality",
            "volume has no effect: quality.en",
        ),
        ("ranking", "quality: {label_coverage: 0.3}", "quality.label_coverage", "no scores to compare by"),
        (
            "multiclass",
            "quality: {infinite: 0.1}",
            "quality.infinite",
            "neither a feature nor the prediction is numeric",
        ),
        ("binary", "concept: {detectors: [], bins: 12}", "concept.bins", "list a detector"),
        (
            "binary",
            "drift: {multivariate: {vector: [{method: mmd}]}}",
            "drift.multivariate.vector",
            "no vector feature",
        ),
        (
            "binary",
            "drift: {multivariate: {sample_rows: 100}}",
            "drift.multivariate.sample_rows",
            "no rows are sampled",
        ),
        ("multiclass", "drift: {numeric: [{method: ks}]}", "drift.numeric", "neither a feature nor the prediction"),
        (
            "binary",
            "performance: {metrics: [f1], value: {tp: 1}}",
            "performance.value",
            "neither 'value' nor 'mean_value' is among performance.metrics",
        ),
        ("binary", "performance: {metrics: [f1], exact_rows: 50}", "performance.exact_rows", "list one of roc_auc"),
        ("binary", "training: {choice: {share: 0.2}}", "training.choice.share", "training.candidates lists none"),
        (
            "binary",
            "training: {validation: {enabled: false, missing: {warn: 0.1}}}",
            "training.validation",
            "missing has no effect: training.validation.enabled is false",
        ),
        (
            "binary",
            "training: {validation: {rule_violations: {warn: 0.1}}}",
            "training.validation.rule_violations",
            "no feature has a minimum",
        ),
        (
            "binary",
            "training: {validation: {leakage: null, label_delay: null, time_after_prediction: null, "
            "known_in_advance: [x]}}",
            "training.validation.known_in_advance",
            "switched off",
        ),
        (
            "binary",
            "training: {last: 30d, candidates: [{candidate: everything}]}",
            "training.last",
            "each candidate says which rows it takes",
        ),
        (
            "binary",
            "training: {candidates: [{candidate: everything}, {candidate: window, rows: 100}]}",
            "training.candidates[1]",
            "fewer rows than training.minimum_rows (500)",
        ),
        (
            "binary",
            "segments: [c]\ngates: [{gate: slices, criterion: proven, correction: bonferroni}]",
            "gates[0].correction",
            "the intervals of all slices hold at once",
        ),
        (
            "binary",
            "policy: {triggers: [{on: volume, rows: 100}]}",
            "policy.triggers[0].rows",
            "policy.minimum_labeled_rows holds the trigger up to 500 rows",
        ),
        (
            "binary",
            "policy: {triggers: [{on: schedule, every: 1d}]}",
            "policy.triggers[0].every",
            "after the first command the longer policy.cooldown of 7d decides",
        ),
        (
            "binary",
            "policy: {triggers: [{on: concept}], at_most: {retrains: 2, per: 14d}}",
            "policy.at_most",
            "the cooldown of 7d alone allows no more than 2 in 14d",
        ),
        (
            "binary",
            "policy: {triggers: [{on: concept}], hold_on_broken_data: true}",
            "policy.hold_on_broken_data",
            "it holds triggers on drift, and there is none",
        ),
        (
            "binary",
            "quality: {label_coverage: null}\npolicy: {triggers: [{on: concept}], hold_on_label_shift: true}",
            "policy.hold_on_label_shift",
            "no shift of labels is ever found",
        ),
    ],
)
def test_what_may_be_meant_is_a_warning(task: str, more: str, key: str, said: str) -> None:
    features = {"quality.infinite": CATEGORICAL, "drift.numeric": CATEGORICAL}.get(key, f"{NUMERIC}, {CATEGORICAL}")
    if task != "ranking" and "training:" not in more:
        more += f"\ntraining: {{{TRAINED}}}"
    elif task != "ranking":
        more = more.replace("training: {", f"training: {{{TRAINED}, ")
    warnings = _warnings(more, task, features)
    assert list(warnings) == [key]
    assert said in warnings[key]


@pytest.mark.parametrize(
    "more",
    [
        "promotion: shadow\nshadow: {alpha: 0.01}",
        "promotion: canary\nshadow: {canary: {champion: a, challenger: b, share: 0.1}}",
        "alerts: {open_after: 2, open_within: 3}",
        "quality: {enabled: false}",
        "policy: {triggers: [{on: drift}], hold_on_broken_data: true, hold_on_label_shift: true}",
        "policy: {triggers: [{on: concept}], at_most: {retrains: 2, per: 15d}, hold_on_broken_data: false}",
        "policy: {triggers: [{on: volume, rows: 500}, {on: schedule, every: 7d}]}",
        "performance: {metrics: [f1, value], value: {tp: 1}}",
        "drift: {unseen: 0.1, multivariate: {methods: [{method: mmd}], sample_rows: 100}}",
        "shadow: {}\ngates: [{gate: sanity}]",
    ],
)
def test_what_has_an_effect_is_not_warned_about(more: str) -> None:
    assert _warnings(f"{more}\ntraining: {{{TRAINED}}}") == {}


def test_settings_of_a_training_that_nothing_names() -> None:
    warnings = _warnings("training: {last: 30d, choice: {share: 0.2}}\ngates: [{gate: sanity}]\npromotion: manual")
    assert list(warnings) == ["training", "gates"]
    assert warnings["training"].startswith("last, choice have no effect: nothing is trained without training.estimator")
    handed_over = "training: {last: 30d, seed: 3, handover: {to: webhook, url: 'https://x.example'}}"
    assert _warnings(f"{handed_over}\ngates: [{{gate: sanity}}]") == {}
    river = "training: {seed: 3, river: {model: river.linear_model.PAClassifier}}"
    assert list(_warnings(river)) == ["training.seed"]


def test_rules_of_features_that_nothing_looks_at() -> None:
    features = "x: {kind: numeric, minimum: 0}"
    assert list(_warnings("quality: {enabled: false}", features=features)) == ["features.x.minimum"]
    assert _warnings(f"quality: {{enabled: false}}\ntraining: {{{TRAINED}}}", features=features) == {}


@pytest.mark.parametrize(
    "kind", ["{kind: vector, length: 3, pattern: a}", "{kind: vector, length: 3, categories: [a]}"]
)
def test_a_vector_has_no_rules_of_texts(kind: str) -> None:
    with pytest.raises(SpecError, match="is a rule for categorical features, and 'v' is vector"):
        parse_spec(_text("", "binary", f"v: {kind}"))


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression", "ranking"])
def test_a_spec_that_was_written_out_with_its_defaults_is_read_again(task: str) -> None:
    spec = parse_spec(_text("", task))
    assert parse_spec(msgspec.json.encode(spec).decode()) == spec


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression", "ranking"])
@pytest.mark.parametrize("features", [CATEGORICAL, "v: {kind: vector, length: 2}"])
def test_every_key_that_is_told_is_a_key(task: str, features: str) -> None:
    more = [
        "",
        "quality: {enabled: false}\ntraining: {validation: {enabled: false}}",
        "concept: {detectors: []}\nperformance: {metrics: []}",
        "policy: {triggers: [{on: schedule, every: 1d}], at_most: {retrains: 9, per: 1d}}",
        "training: {candidates: [{candidate: window, rows: 5}], search: {parameters: {C: [1]}}}",
        "training: {search: {parameters: {C: [1]}, split: forward}}",
        "training: {river: {model: river.linear_model.PAClassifier}}",
    ]
    for text in more:
        if task == "ranking" and ("policy" in text or "river" in text):
            continue
        spec = parse_spec(_text(text, task, features))
        for unused in unused_keys(spec):
            _look_up(spec, unused.path)


def _look_up(spec: ModelSpec, path: tuple[str | int, ...]) -> None:
    at: object = spec
    for part in path:
        at = at[part] if isinstance(at, dict | list) else getattr(at, str(part))  # type: ignore[index]


def test_warnings_name_file_and_line_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(_text(f"shadow: {{alpha: 0.1}}\ngates: []\ntraining: {{{TRAINED}}}", "binary"))
    (file,) = read_specs(tmp_path)
    said = [str(problem) for problem in file.warnings()]
    assert [text.split(": ")[:2] for text in said] == [
        [f"{tmp_path / 'm.yaml'}, line 4", "shadow"],
        [f"{tmp_path / 'm.yaml'}, line 5", "gates"],
    ]
