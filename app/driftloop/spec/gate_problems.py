"""Checks of a gate in a model's spec: which keys it has, and whether the model can be judged by it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from driftloop.spec.basics import Task, is_default
from driftloop.spec.gates import GateKind, GateSpec
from driftloop.spec.metrics import FAIRNESS_METRICS
from driftloop.spec.model import ModelSpec
from driftloop.spec.problems import KeyPath, did_you_mean

__all__ = ["CALIBRATION_BOUNDS", "gate_problems"]

Found = Iterator[tuple[KeyPath, str]]

_JUDGED: Final = ("confidence", "insufficient", "criterion", "minimum_rows", "margin")
#: The keys of each kind of gate.
_KEYS: Final[dict[GateKind, tuple[str, ...]]] = {
    "metric": ("metric", "mode", "margin", "confidence"),
    "sanity": ("largest_share", "range"),
    "loadable": (),
    "schema": ("added", "removed"),
    "slices": ("metric", "columns", "correction", *_JUDGED),
    "fairness": ("columns", "bounds", *_JUDGED),
    "robustness": ("metric", "bound", "noise", "missing", "unseen", "each_missing", *_JUDGED),
    "calibration": ("bounds", *_JUDGED),
}

#: What a calibration gate can bound, by task.
CALIBRATION_BOUNDS: Final[dict[Task, tuple[str, ...]]] = {
    "binary": ("ece", "brier_reliability", "slope", "intercept"),
    "multiclass": ("ece",),
    "regression": ("bias", "slope"),
    "ranking": (),
}


def gate_problems(spec: ModelSpec, path: KeyPath, gate: GateSpec) -> Found:
    """Problems of one gate but those of its metric and confidence."""
    # A spec without the key has the default gates; those run whenever a model is trained, which a ranking one is not.
    if spec.task == "ranking" and gate.gate in ("slices", "fairness", "robustness", "calibration"):
        yield (*path, "gate"), f"ranking models are watched, but not trained here, so no {gate.gate} gate can judge one"
        return
    yield from _foreign_keys(path, gate)
    if gate.margin is not None and gate.margin < 0.0:
        yield (*path, "margin"), f"expected a number from 0 on, got {gate.margin:g}"
    if gate.gate in ("slices", "fairness"):
        yield from _columns(spec, path, gate)
    if gate.gate == "fairness":
        yield from _fairness(spec, path, gate)
    elif gate.gate == "robustness":
        yield from _robustness(path, gate)
    elif gate.gate == "calibration":
        yield from _calibration(spec, path, gate)
    elif gate.gate == "schema":
        yield from _schema(spec, path, gate)


def _foreign_keys(path: KeyPath, gate: GateSpec) -> Found:
    for field in msgspec.structs.fields(gate):
        name = field.name
        if name == "gate" or name in _KEYS[gate.gate] or is_default(gate, name):
            continue
        kinds = " and ".join(repr(kind) for kind, keys in _KEYS.items() if name in keys)
        yield (*path, name), f"{name!r} is a key of gates of the kind {kinds}, and this is {gate.gate!r}"


def _columns(spec: ModelSpec, path: KeyPath, gate: GateSpec) -> Found:
    if not gate.columns and not (spec.segments if gate.gate == "slices" else spec.performance.fairness):
        other = "segments" if gate.gate == "slices" else "performance.fairness"
        yield (*path, "columns"), f"expected categorical features to look into, and the spec has no {other} either"
    for index, declared in enumerate(gate.columns):
        names = [declared] if isinstance(declared, str) else declared
        place: KeyPath = (*path, "columns", index)
        if not isinstance(declared, str) and (gate.gate == "fairness" or len(names) != 2 or names[0] == names[1]):
            pair = "" if gate.gate == "fairness" else " or a pair of two"
            yield place, f"expected a categorical feature{pair}, got {declared!r}"
            continue
        for name in names:
            feature = spec.features.get(name)
            if feature is None:
                hint = did_you_mean(name, spec.features)
                yield place, f"expected one of the model's categorical features, got {name!r}{hint}"
            elif feature.kind != "categorical":
                yield place, f"expected a categorical feature, and {name!r} is {feature.kind}"


def _fairness(spec: ModelSpec, path: KeyPath, gate: GateSpec) -> Found:
    if spec.task != "binary":
        yield path, f"gaps between groups are those of a binary model's decisions, and the task is {spec.task!r}"
        return
    yield from _bounds(path, gate, tuple(FAIRNESS_METRICS), largest=1.0)


def _calibration(spec: ModelSpec, path: KeyPath, gate: GateSpec) -> Found:
    largest = None if spec.task == "regression" else 1.0
    yield from _bounds(path, gate, CALIBRATION_BOUNDS[spec.task], largest=largest)


def _bounds(path: KeyPath, gate: GateSpec, known: tuple[str, ...], *, largest: float | None) -> Found:
    if not gate.bounds and gate.margin is None:
        yield (
            (*path, "bounds"),
            f"expected a bound for one of {', '.join(known)}, or a margin against the champion, got neither",
        )
    for name, bound in gate.bounds.items():
        if name not in known:
            yield (*path, "bounds", name), f"expected one of {', '.join(known)}{did_you_mean(name, known)}"
        elif bound < 0.0 or (largest is not None and bound > largest and name not in ("slope", "intercept")):
            most = "on" if largest is None else f"to {largest:g}"
            yield (*path, "bounds", name), f"expected a number from 0 {most}, got {bound:g}"


def _robustness(path: KeyPath, gate: GateSpec) -> Found:
    if gate.bound is None and gate.margin is None and gate.each_missing is None:
        yield (
            (*path, "bound"),
            "expected how far the metric may fall, or a margin against the champion's own fall, got neither",
        )
    if not (gate.noise or gate.missing or gate.unseen) and gate.each_missing is None:
        yield path, "all perturbations are switched off; give one of noise, missing, unseen, each_missing"


def _schema(spec: ModelSpec, path: KeyPath, gate: GateSpec) -> Found:
    for index, name in enumerate(gate.added):
        if name not in spec.features:
            hint = did_you_mean(name, spec.features)
            yield (*path, "added", index), f"expected one of the model's features, got {name!r}{hint}"
    for index, name in enumerate(gate.removed):
        if name in spec.features:
            yield (*path, "removed", index), f"{name!r} is one of the model's features, so it is not removed"
