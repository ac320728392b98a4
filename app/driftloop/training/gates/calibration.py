"""Do the challenger's numbers mean what they say? Against bounds, and against the champion's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from driftloop.events.decisions import GateDetail, GateResult
from driftloop.spec.gates import GateSpec
from driftloop.training.comparison import compare, resampled
from driftloop.training.gates.calibration_measures import (
    Measured,
    measure_binary,
    measure_regression,
    measure_top_label,
    regression_deviations,
)
from driftloop.training.gates.trial import Floats, Rival, Trial, unusable
from driftloop.training.gates.verdicts import CRITERION_WORDS, finite, gate_result, listed, refused, undecided, within

__all__ = ["judge_calibration"]

#: Compared with the champion where the gate has a margin and no bounds.
_USUAL: Final = {"binary": ("ece",), "multiclass": ("ece",), "regression": ("bias",)}
_DRAWS = 50_000_000


def judge_calibration(trial: Trial, gate: GateSpec) -> GateResult:
    """Each bounded measure within its bound, and not worse than the champion's by more than the margin.

    Default criterion: ``not_refuted``, because chance alone gives an expected calibration error above 0. ``slope`` is
    judged by its distance from 1, ``intercept`` and ``bias`` by their distance from 0. Binary slopes and intercepts are
    not compared with the champion's.
    """
    spec = trial.spec
    broken = unusable(spec, trial.candidate.scores)
    if broken is not None:
        return refused("calibration", f"the challenger's predictions cannot be judged: {broken}")
    rows, minimum = len(trial.labels), trial.minimum_rows(gate)
    if rows < minimum:
        return undecided("calibration", gate, f"{rows:,} holdout rows, {minimum} are needed")
    details = [*_absolute(trial, gate), *_against_champion(trial, gate)]
    judged = [detail for detail in details if detail.verdict in ("passed", "failed")]
    if not judged:
        notes = listed([f"{detail.name}: {detail.note}" for detail in details if detail.verdict == "insufficient"])
        return gate_result("calibration", gate, details, notes or "no champion to compare with")
    failed = [detail for detail in judged if detail.verdict == "failed"]
    worst = max(failed or judged, key=lambda detail: (detail.value or 0.0) / max(detail.bound or 0.0, 1e-12))
    limits = "" if worst.low is None or worst.high is None else f" [{worst.low:.4f}, {worst.high:.4f}]"
    sentence = (
        f"{worst.name} is {worst.value:.4f}{limits} on {worst.rows:,} rows, bound {worst.bound:.4g}; {len(failed)} of "
        f"{len(judged)} results beyond bounds ({CRITERION_WORDS[gate.criterion or 'not_refuted']})"
    )
    if len(failed) > 1:
        sentence += f": {listed([detail.name for detail in failed])}"
    undefined = [f"{detail.name} ({detail.note})" for detail in details if detail.verdict == "insufficient"]
    if undefined:
        sentence += f"; not judged: {listed(undefined)}"
    return gate_result("calibration", gate, details, sentence, worst)


def _measures(trial: Trial, gate: GateSpec) -> Mapping[str, Measured]:
    scores, labels = trial.candidate.scores, trial.labels
    if trial.spec.task == "binary":
        return measure_binary(scores, labels, gate.confidence)
    if trial.spec.task == "multiclass":
        return measure_top_label(scores, labels, gate.confidence)
    return measure_regression(scores, labels, gate.confidence)


def _absolute(trial: Trial, gate: GateSpec) -> Iterator[GateDetail]:
    rows = len(trial.labels)
    for name, found in _measures(trial, gate).items():
        bound = gate.bounds.get(name)
        if found.value is None:
            yield GateDetail(
                name=name,
                verdict="info" if bound is None else "insufficient",
                bound=bound,
                rows=rows,
                note=found.why,
            )
            continue
        if bound is None:
            yield GateDetail(name=name, verdict="info", value=found.value, low=found.low, high=found.high, rows=rows)
            continue
        # What is bounded is the distance from the ideal value; an interval about that value folds over.
        value = abs(found.value - found.ideal)
        low, high = _folded(found)
        ideal = f"distance from {found.ideal:g}: {name} is {found.value:.4f}" if name in ("slope", "intercept") else ""
        yield GateDetail(
            name=name, verdict=within(gate.criterion or "not_refuted", value, low, high, bound), value=value,
            bound=bound, low=low, high=high, rows=rows, note=ideal,
        )  # fmt: skip


def _folded(found: Measured) -> tuple[float | None, float | None]:
    if found.low is None or found.high is None:
        return None, None
    low, high = found.low - found.ideal, found.high - found.ideal
    return max(low, -high, 0.0), max(abs(low), abs(high))


def _against_champion(trial: Trial, gate: GateSpec) -> Iterator[GateDetail]:
    champion, margin, task = trial.champion, gate.margin, trial.spec.task
    if margin is None or champion is None or task == "ranking":
        return
    fair = np.flatnonzero(trial.fair_rows(champion).chosen)
    names = gate.bounds or _USUAL[task]
    for metric in names:
        if task == "binary" and metric in ("slope", "intercept"):
            continue
        name = f"{metric} worse than {champion.version}"
        if len(fair) < trial.minimum_rows(gate):
            note = f"{len(fair):,} rows, {trial.minimum_rows(gate)} are needed"
            yield GateDetail(name=name, verdict="insufficient", bound=margin, rows=len(fair), note=note)
            continue
        yield _against(trial, gate, champion, metric, fair, name, margin)


def _against(
    trial: Trial, gate: GateSpec, champion: Rival, metric: str, fair: NDArray[np.intp], name: str, margin: float
) -> GateDetail:
    labels, challenger, mine = trial.labels[fair], trial.candidate.scores[fair], champion.scores[fair]
    if trial.spec.task == "regression":
        values, low, high = _regression_difference(metric, labels, challenger, mine, gate.confidence, trial.seed)
    else:
        found = compare(trial.spec.task, metric, labels, challenger, mine, seed=trial.seed, confidence=gate.confidence)
        values, low, high = (found.challenger, found.champion), -found.high, -found.low
    difference = finite(values[0] - values[1])
    limits = finite(low), finite(high)
    return GateDetail(
        name=name, verdict=within(gate.criterion or "not_refuted", difference, *limits, margin), value=difference,
        bound=margin, low=limits[0], high=limits[1], rows=len(fair), challenger=finite(values[0]),
        champion=finite(values[1]),
    )  # fmt: skip


def _regression_difference(
    metric: str, labels: Floats, challenger: Floats, champion: Floats, confidence: float, seed: int
) -> tuple[tuple[float, float], float, float]:
    """|bias| or |slope - 1| of both, and limits of how much larger the challenger's is (paired bootstrap)."""
    first, second = (regression_deviations(metric, scores, labels) for scores in (challenger, champion))
    once = np.ones((1, len(labels)))
    values = float(first(once)[0]), float(second(once)[0])
    drawn = resampled(len(labels), seed, _DRAWS, lambda weights: first(weights) - second(weights))
    defined = drawn[np.isfinite(drawn)]
    if 2 * len(defined) < len(drawn):
        return values, float("nan"), float("nan")
    tail = (1.0 - confidence) / 2.0
    low, high = (float(limit) for limit in np.quantile(defined, [tail, 1.0 - tail]))
    return values, low, high
