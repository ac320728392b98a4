"""Are the predictions those of a model at all: finite, in range, not one and the same?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from driftloop.events.decisions import GateDetail, GateResult
from driftloop.spec.gates import GateSpec
from driftloop.training.gates.trial import Trial, unusable

__all__ = ["judge_sanity"]


def judge_sanity(trial: Trial, gate: GateSpec) -> GateResult:
    """The released model's predictions and those it was judged by. The first check that fails gives the sentence.

    With too few rows for a check of the distribution (under 1 / (1 - largest_share)) that check tells and decides
    nothing.
    """
    released = trial.candidate.released
    rows = len(released)
    distinct = len(np.unique(released, axis=0))
    details = list(_checks(trial, gate)) if rows else []
    failed = next((detail.note for detail in details if detail.verdict == "failed"), None)
    if rows == 0:
        failed = "there are no holdout rows to predict"
    sentence = f"{rows:,} predictions, all finite and in range, {distinct:,} of them distinct"
    return GateResult(
        gate="sanity",
        passed=failed is None,
        value=float(distinct),
        bound=2.0,
        sentence=sentence if failed is None else failed,
        verdict="passed" if failed is None else "failed",
        details=details,
    )


def _checks(trial: Trial, gate: GateSpec) -> Iterator[GateDetail]:
    spec, released = trial.spec, trial.candidate.released
    rows = len(released)
    broken = unusable(spec, np.concatenate([trial.candidate.scores, released]))
    yield GateDetail(name="finite and in range", verdict="failed" if broken else "passed", rows=rows, note=broken or "")
    counts = np.unique(released, axis=0, return_counts=True)[1]
    if len(counts) < 2:
        note = f"all {rows:,} predictions are the same: the model has learnt nothing"
        yield GateDetail(name="distinct predictions", verdict="failed", value=1.0, bound=2.0, rows=rows, note=note)
        return
    yield GateDetail(name="distinct predictions", verdict="passed", value=float(len(counts)), bound=2.0, rows=rows)
    share = float(counts.max()) / rows
    much = share > gate.largest_share
    yield GateDetail(
        name="share of one prediction",
        verdict="failed" if much else "passed",
        value=share,
        bound=gate.largest_share,
        rows=rows,
        note=f"{share:.1%} of {rows:,} predictions are the same, at most {gate.largest_share:.1%} may be"
        if much
        else "",
    )
    if spec.task == "regression" and broken is None and gate.range is not None:
        yield _range(trial, gate.range)


def _range(trial: Trial, allowed: float) -> GateDetail:
    """How far predictions leave the range of the labels, in widths of that range: the worst of both sides."""
    labels = np.concatenate([trial.reference.labels, trial.labels]).astype(np.float64)
    low, high = float(labels.min()), float(labels.max())
    released = trial.candidate.released
    beyond = max(low - float(released.min()), float(released.max()) - high, 0.0)
    width = high - low
    value = beyond / width if width > 0.0 else (0.0 if beyond == 0.0 else float("inf"))
    far = value > allowed
    return GateDetail(
        name="range of predictions",
        verdict="failed" if far else "passed",
        value=value if np.isfinite(value) else None,
        bound=allowed,
        rows=len(released),
        note=f"predictions reach from {released.min():.4g} to {released.max():.4g}, labels from {low:.4g} to "
        f"{high:.4g}: further out than {allowed:g} times the labels' range"
        if far
        else "",
    )
