"""Which keys have no effect in a spec, because of what its other keys say.

Keys that belong to another kind of item (a trigger's, a gate's, a candidate's) or that another key forbids are refused
where that item is checked; here is the rest, section by section.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, NamedTuple

from driftloop.events.time import parse_duration_ms
from driftloop.spec.gates import GateSpec
from driftloop.spec.metrics import VALUE_METRICS, reported_metrics
from driftloop.spec.model import ModelSpec
from driftloop.spec.problems import KeyPath
from driftloop.spec.training import SearchSpec

__all__ = ["Unused", "trains", "unused_keys"]

#: Metrics of a binary model that are read off the scores, and so gain from ``performance.exact_rows``.
_OF_SCORES: Final = (
    "roc_auc",
    "gini",
    "average_precision",
    "ece",
    "lift_10pct",
    "brier_reliability",
    "brier_resolution",
    "brier_uncertainty",
    "brier_within",
)
_NOT_TRAINED: Final = "ranking models are watched but not trained here"


class Unused(NamedTuple):
    """A key without effect, whether or not the spec gives it: why, and what to do if it was meant.

    ``mistake``: no later change of other keys than the task or the item itself could give it one, so that it is an
    error to give it another value than it has by itself. ``beside``: keys below it that do have an effect.
    """

    path: KeyPath
    why: str
    remedy: str = "leave it out"
    mistake: bool = False
    beside: frozenset[str] = frozenset()


Found = Iterator[Unused]


def unused_keys(spec: ModelSpec) -> Found:
    """Every key without effect. The spec's types are right; durations may be unreadable."""
    for section in (_feature_rules, _drift, _performance, _concept, _quality, _alerts, _policy, _training, _shadow):
        yield from section(spec)


def trains(spec: ModelSpec) -> bool:
    """Whether the spec names anything that a challenger could be made by."""
    training = spec.training
    named = training.estimator is not None or training.river is not None or training.handover is not None
    return named and spec.task != "ranking"


def _columns(spec: ModelSpec) -> set[str]:
    """The kinds of columns that windows are judged by: those of features, of what is made from vectors and texts, and
    of the prediction."""
    kinds = {"numeric" if feature.kind in ("vector", "text") else feature.kind for feature in spec.features.values()}
    return kinds | {"categorical" if spec.task in ("multiclass", "ranking") else "numeric"}


def _feature_rules(spec: ModelSpec) -> Found:
    if spec.quality.enabled or trains(spec):
        return
    why = "quality.enabled is false, and nothing is trained, so nothing is checked for violations"
    for name in spec.features:
        for rule in ("minimum", "maximum", "pattern", "categories", "max_violations"):
            yield Unused(("features", name, rule), why, "switch quality on, or leave the rule out")


def _drift(spec: ModelSpec) -> Found:
    columns, kinds = _columns(spec), {feature.kind for feature in spec.features.values()}
    if "numeric" not in columns:
        yield Unused(("drift", "numeric"), "neither a feature nor the prediction is numeric")
    if "categorical" not in columns:
        for key in ("categorical", "unseen"):
            yield Unused(("drift", key), "neither a feature nor the prediction is categorical")
    for kind in ("vector", "text"):
        if kind not in kinds:
            yield Unused(("drift", "multivariate", kind), f"there is no {kind} feature")
    if not spec.drift.multivariate.methods and not kinds & {"vector", "text"}:
        why = "no rows are sampled without drift.multivariate.methods and without vector and text features"
        for key in ("sample_rows", "seed"):
            yield Unused(("drift", "multivariate", key), why, "list a method there, or leave it out")


def _performance(spec: ModelSpec) -> Found:
    rules, path = spec.performance, ("performance",)
    if spec.task != "binary":
        why = f"only a binary model decides by a threshold, and the task is {spec.task!r}"
        yield Unused((*path, "decision_threshold"), why, mistake=True)
    if spec.task != "ranking":
        why = f"only the metrics of a ranking model have cutoffs, and the task is {spec.task!r}"
        yield Unused((*path, "cutoffs"), why, mistake=True)
    reported = set(reported_metrics(spec))
    if rules.value is not None and not reported & set(VALUE_METRICS):
        why = "neither 'value' nor 'mean_value' is among performance.metrics or named by a rule, so no report has it"
        yield Unused((*path, "value"), why, "add one of them, or leave it out")
    if rules.exact_rows and not reported & set(_OF_SCORES):
        why = "none of the metrics that reports hold is read off the scores"
        yield Unused((*path, "exact_rows"), why, f"list one of {', '.join(_OF_SCORES[:5])}, or leave it out")


def _concept(spec: ModelSpec) -> Found:
    if spec.task == "ranking":
        for key in ("detectors", "bins"):
            yield Unused(("concept", key), "lists of a ranking model have no loss to be watched", mistake=True)
    elif not spec.concept.detectors:
        yield Unused(("concept", "bins"), "concept.detectors is empty", "list a detector, or leave it out")


def _quality(spec: ModelSpec) -> Found:
    if not spec.quality.enabled:
        why = "quality.enabled is false, so nothing is checked"
        yield Unused(("quality",), why, "switch it on, or leave the other keys out", beside=frozenset({"enabled"}))
        return
    if spec.task == "ranking":
        yield Unused(("quality", "label_coverage"), "lists of a ranking model have no scores to compare by")
    columns = _columns(spec)
    if "numeric" not in columns:
        yield Unused(("quality", "infinite"), "neither a feature nor the prediction is numeric")
    if "categorical" not in columns:
        yield Unused(("quality", "lost_categories"), "neither a feature nor the prediction is categorical")


def _alerts(spec: ModelSpec) -> Found:
    if spec.alerts.open_after == 1:
        why = "one bad window opens an alert (alerts.open_after is 1), however many are looked at"
        yield Unused(("alerts", "open_within"), why, "raise alerts.open_after, or leave it out")


def _policy(spec: ModelSpec) -> Found:
    policy, path = spec.policy, ("policy",)
    if not policy.triggers:
        why = _NOT_TRAINED if spec.task == "ranking" else "there is no trigger under policy.triggers to be held"
        remedy = "leave the keys out" if spec.task == "ranking" else "list a trigger, or leave the keys out"
        yield Unused(path, why, remedy, beside=frozenset({"triggers"}))
        return
    if policy.hold_on_broken_data:
        why = ""
        if all(trigger.on != "drift" for trigger in policy.triggers):
            why = "it holds triggers on drift, and there is none"
        elif not spec.quality.enabled:
            why = "quality.enabled is false, so no data is ever found broken"
        if why:
            yield Unused((*path, "hold_on_broken_data"), why)
    if policy.hold_on_label_shift and (not spec.quality.enabled or spec.quality.label_coverage is None):
        why = "quality.label_coverage is switched off, so no shift of labels is ever found"
        yield Unused((*path, "hold_on_label_shift"), why)
    cooldown_ms = _ms(policy.cooldown)
    at_most = policy.at_most
    # The oldest of so many commands, which are a cooldown apart, has left the stretch before another one is due.
    if at_most is not None and cooldown_ms * at_most.retrains >= (_ms(at_most.per) or math.inf):
        why = f"the cooldown of {policy.cooldown} alone allows no more than {at_most.retrains} in {at_most.per}"
        yield Unused((*path, "at_most"), why, "lower one of them, or leave it out")
    for index, trigger in enumerate(policy.triggers):
        place: KeyPath = (*path, "triggers", index)
        if trigger.on == "volume" and trigger.rows is not None and trigger.rows < policy.minimum_labeled_rows:
            why = f"policy.minimum_labeled_rows holds the trigger up to {policy.minimum_labeled_rows} rows"
            yield Unused((*place, "rows"), why, "lower that, or ask for no fewer here")
        if trigger.every is not None and 0 < _ms(trigger.every) < cooldown_ms:
            why = f"after the first command the longer policy.cooldown of {policy.cooldown} decides"
            yield Unused((*place, "every"), why, "lower that, or ask for no less here")


def _ms(text: str) -> int:
    """A duration, 0 for one that cannot be read, which is said elsewhere."""
    try:
        return parse_duration_ms(text)
    except ValueError:
        return 0


def _training(spec: ModelSpec) -> Found:
    training, path = spec.training, ("training",)
    if not trains(spec):
        why = _NOT_TRAINED
        remedy = "leave the keys out"
        if spec.task != "ranking":
            why = "nothing is trained without training.estimator, training.river or training.handover"
            remedy = "name one of these, or leave the keys out"
        yield Unused(path, why, remedy)
        yield Unused(("gates",), why, remedy)
    if spec.task == "ranking":
        return
    if training.candidates:
        why = "with training.candidates each candidate says which rows it takes"
        yield Unused((*path, "last"), why, "give the candidates a 'last', or leave it out")
        for index, candidate in enumerate(training.candidates):
            if candidate.rows is not None and candidate.rows < training.minimum_rows:
                why = f"fewer rows than training.minimum_rows ({training.minimum_rows}) are always left out"
                yield Unused((*path, "candidates", index), why, "give it more rows, or lower that")
    else:
        why = "candidates are compared by it, and training.candidates lists none"
        for key in ("metric", "share"):
            yield Unused((*path, "choice", key), why, "list them, or leave training.choice out", mistake=True)
    if training.search is not None:
        yield from _search(training.search)
    if training.river is not None:
        why = "no chance of driftloop's has a part in a River model"
        yield Unused((*path, "seed"), why, "give the model its own under training.river.parameters, or leave it out")
    yield from _validation(spec)
    for index, gate in enumerate(spec.gates):
        yield from _gate(spec, ("gates", index), gate)


def _search(search: SearchSpec) -> Found:
    path: KeyPath = ("training", "search")
    if search.method == "grid":
        why = "a grid tries every combination, and draws none"
        for key in ("n", "seed"):
            yield Unused((*path, key), why, "use method: random, or leave it out", mistake=True)
    if search.split == "forward":
        why = "split: forward goes by 'share'"
        yield Unused((*path, "folds"), why, "use split: time_series, or leave it out", mistake=True)
    else:
        why = "split: time_series goes by 'folds'"
        yield Unused((*path, "share"), why, "use split: forward, or leave it out", mistake=True)


def _validation(spec: ModelSpec) -> Found:
    rules, path = spec.training.validation, ("training", "validation")
    if not rules.enabled:
        why = "training.validation.enabled is false, so nothing is checked"
        yield Unused(path, why, "switch it on, or leave the other keys out", beside=frozenset({"enabled"}))
        return
    of_task = {"binary": (), "multiclass": ("label_shift",)}.get(
        spec.task, ("label_shift", "rarest_class", "rows_per_class")
    )
    for key in of_task:
        whose = "a binary model's base rate" if key == "label_shift" else "classes"
        yield Unused((*path, key), f"it is about {whose}, and the task is {spec.task!r}", mistake=True)
    kinds = {feature.kind for feature in spec.features.values()}
    if "numeric" not in kinds:
        yield Unused((*path, "out_of_range"), "there is no numeric feature")
    if "categorical" not in kinds:
        yield Unused((*path, "new_categories"), "there is no categorical feature")
    rules_of = ((f.minimum, f.maximum, f.pattern, f.categories) for f in spec.features.values())
    if all(rule is None for given in rules_of for rule in given):
        yield Unused((*path, "rule_violations"), "no feature has a minimum, maximum, pattern or categories")
    if rules.leakage is rules.time_after_prediction is rules.label_delay is None:
        why = "leakage, time_after_prediction and label_delay, which it is for, are switched off"
        yield Unused((*path, "known_in_advance"), why)


def _gate(spec: ModelSpec, path: KeyPath, gate: GateSpec) -> Found:
    if gate.gate == "sanity" and spec.task != "regression":
        why = f"only predictions of a regression have a range to keep to, and the task is {spec.task!r}"
        yield Unused((*path, "range"), why, mistake=True)
    if gate.gate == "robustness" and not (gate.noise or gate.missing or gate.unseen):
        why = "it is for noise, missing and unseen, which are all 0; each_missing is a bound of its own"
        yield Unused((*path, "bound"), why, mistake=True)
    bounds = set(gate.bounds)
    if gate.gate == "calibration" and spec.task == "binary" and bounds and bounds <= {"slope", "intercept"}:
        why = "slopes and intercepts of a binary model are not compared with the champion's"
        yield Unused((*path, "margin"), why, "bound ece or brier_reliability too, or leave it out", mistake=True)
    if gate.gate == "slices" and gate.criterion == "proven":
        yield Unused((*path, "correction"), "with criterion: proven the intervals of all slices hold at once")


def _shadow(spec: ModelSpec) -> Found:
    if spec.promotion not in ("shadow", "canary"):
        why = f"promotion is {spec.promotion!r}, so no new challenger is compared in shadow or as a canary"
        remedy = (
            "leave the keys out"
            if spec.task == "ranking"
            else "set promotion: shadow (or canary), or leave the keys out"
        )
        yield Unused(("shadow",), why, remedy)
    elif spec.promotion == "shadow":
        why = "promotion is 'shadow', and only a canary has arms"
        yield Unused(("shadow", "canary"), why, "set promotion: canary, or leave it out")
