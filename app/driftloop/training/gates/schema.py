"""Would the released model answer what a service sends it?

Rows are encoded as JSON as a producer of ``predictions`` would, decoded by the model's own feature decoder, and given
to the model that is in the artifact.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from driftloop.events.decisions import GateDetail, GateResult
from driftloop.profiles.columns import FeatureDecoder
from driftloop.spec.gates import GateSpec
from driftloop.training import artifacts
from driftloop.training.estimators import predict
from driftloop.training.gates.perturbations import UNSEEN
from driftloop.training.gates.trial import Floats, Predict, Trial, attempt
from driftloop.training.gates.verdicts import listed

__all__ = ["judge_schema"]

_ROWS = 200
_ALONE = 20
#: Sums of another order (a batch of one, of 200) may differ in their last bits.
_TOLERANCE = 1e-9

Row = dict[str, Any]


def judge_schema(trial: Trial, gate: GateSpec) -> GateResult:
    """The features are the champion's (or the change is declared), and rows as served give the same predictions as in
    training: whole numbers as integers, missing values as null or left out, one row at a time, categories that training
    never saw. The value is the number of checks that failed."""
    details = [*_feature_set(trial, gate), *_served(trial)]
    failed = [detail for detail in details if detail.verdict == "failed"]
    sentence = f"{len(details)} checks of rows as a service sends them: all as in training"
    if failed:
        sentence = f"{failed[0].name}: {failed[0].note}"
        if len(failed) > 1:
            sentence += f"; also {listed([detail.name for detail in failed[1:]])}"
    return GateResult(
        gate="schema",
        passed=not failed,
        value=float(len(failed)),
        bound=0.0,
        sentence=sentence,
        verdict="failed" if failed else "passed",
        details=[*failed, *(detail for detail in details if detail.verdict != "failed")],
    )


def _feature_set(trial: Trial, gate: GateSpec) -> Iterator[GateDetail]:
    champion = trial.champion
    if champion is None or champion.features is None:
        return
    mine, theirs = set(trial.spec.features), set(champion.features)
    added, removed = sorted(mine - theirs - set(gate.added)), sorted(theirs - mine - set(gate.removed))
    notes = []
    if added:
        notes.append(f"new since champion {champion.version}, and not declared under added: {listed(added)}")
    if removed:
        notes.append(f"gone since champion {champion.version}, and not declared under removed: {listed(removed)}")
    yield GateDetail(
        name="features of the champion", verdict="failed" if notes else "passed",
        value=float(len(added) + len(removed)), bound=0.0, note="; ".join(notes),
    )  # fmt: skip


def _served(trial: Trial) -> Iterator[GateDetail]:
    try:
        model = artifacts.load(trial.candidate.artifact) if trial.candidate.served is None else None
    except artifacts.ArtifactError as error:
        yield GateDetail(name="model file", verdict="failed", note=str(error))
        return
    serve: Predict = trial.candidate.served or (lambda frame: predict(model, trial.spec, frame))
    rows = [_as_sent(trial, at) for at in range(min(_ROWS, len(trial.frame)))]
    if not rows:
        yield GateDetail(name="rows as sent", verdict="failed", note="there are no holdout rows to send")
        return
    expected = trial.candidate.released[: len(rows)]
    yield _same(trial, serve, "rows as sent", rows, expected)
    left_out = [{name: value for name, value in row.items() if value is not None} for row in rows]
    yield _same(trial, serve, "missing values left out", left_out, expected)
    yield _alone(trial, serve, rows[:_ALONE], expected[:_ALONE])
    for name, feature in trial.spec.features.items():
        if not feature.required and feature.kind in ("numeric", "categorical"):
            yield _answers(trial, serve, f"{name} null", [{**row, name: None} for row in rows])
        if feature.kind == "categorical":
            yield _answers(trial, serve, f"{name} unseen", [{**row, name: UNSEEN} for row in rows])
    nothing = {name: None for name, feature in trial.spec.features.items() if not feature.required}
    if nothing:
        yield _answers(trial, serve, "all that is not required null", [{**row, **nothing} for row in rows])


def _as_sent(trial: Trial, at: int) -> Row:
    """A row as JSON has it: whole numbers without a fraction, missing values as null."""
    row: Row = {}
    for name in trial.spec.features:
        value = trial.frame[name].iloc[at]
        if isinstance(value, float | np.floating):
            number = float(value)
            whole = number.is_integer() and abs(number) < 2**53
            row[name] = None if math.isnan(number) else int(number) if whole else number
        else:
            row[name] = value
    return row


def _predicted(trial: Trial, serve: Predict, rows: list[Row]) -> tuple[Floats | None, str]:
    columns, bad = FeatureDecoder(trial.spec).decode([msgspec.json.encode(row) for row in rows])
    if bad:
        return None, f"the spec's features do not accept the row: {bad[0][1]}"
    said, why = attempt(trial.spec, serve, columns)
    if said is not None and len(said) != len(rows):
        return None, f"the model gives {len(said):,} predictions for {len(rows):,} rows"
    return said, why


def _answers(trial: Trial, serve: Predict, name: str, rows: list[Row]) -> GateDetail:
    said, why = _predicted(trial, serve, rows)
    return GateDetail(name=name, verdict="passed" if said is not None else "failed", rows=len(rows), note=why)


def _same(trial: Trial, serve: Predict, name: str, rows: list[Row], expected: Floats) -> GateDetail:
    said, why = _predicted(trial, serve, rows)
    return _compared(name, said, why, expected)


def _alone(trial: Trial, serve: Predict, rows: list[Row], expected: Floats) -> GateDetail:
    """One row at a time, as a service with one request at a time has them."""
    parts = []
    for row in rows:
        said, why = _predicted(trial, serve, [row])
        if said is None:
            return GateDetail(name="one row at a time", verdict="failed", rows=len(rows), note=why)
        parts.append(said)
    return _compared("one row at a time", np.concatenate(parts), "", expected)


def _compared(name: str, said: Floats | None, why: str, expected: Floats) -> GateDetail:
    if said is None:
        return GateDetail(name=name, verdict="failed", rows=len(expected), note=why)
    scale = np.maximum(np.abs(expected), 1.0)
    worst = float(np.max(np.abs(said - expected) / scale))
    same = worst <= _TOLERANCE  # not if it is NaN
    note = "" if same else f"predictions differ from those in training by up to {worst:.3g}"
    return GateDetail(
        name=name, verdict="passed" if same else "failed", value=worst if math.isfinite(worst) else None,
        bound=_TOLERANCE, rows=len(expected), note=note,
    )  # fmt: skip
