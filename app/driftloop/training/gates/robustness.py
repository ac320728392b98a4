"""How much of the metric is lost when the input is worse than it was: noise, missing values, unseen categories."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from driftloop.events.decisions import GateDetail, GateResult, GateVerdict
from driftloop.spec.gates import GateSpec
from driftloop.training.comparison import DEFAULT_METRIC, Comparison, compare
from driftloop.training.gates.perturbations import Perturbation, perturbations
from driftloop.training.gates.trial import Floats, Predict, Rival, Trial, attempt, unusable
from driftloop.training.gates.verdicts import CRITERION_WORDS, finite, gate_result, listed, refused, undecided, within

__all__ = ["MAX_ROWS", "judge_robustness"]

#: Rows of the holdout that are perturbed, chosen by the seed; each perturbation predicts that many.
MAX_ROWS = 5_000

Rows = NDArray[np.intp]


def judge_robustness(trial: Trial, gate: GateSpec) -> GateResult:
    """The metric falls by at most ``bound`` (``each_missing``) under each perturbation, and by at most ``margin`` more
    than the champion's does on the same perturbed rows. Predictions stay finite and in range whatever the bounds; a
    model that raises an error fails. Default criterion: ``point``."""
    spec = trial.spec
    metric = gate.metric or DEFAULT_METRIC[spec.task]
    name = f"robustness:{metric}"
    judged = trial.candidate.judged
    if judged is None:
        return undecided(name, gate, "there is no model here to predict perturbed rows with")
    broken = unusable(spec, trial.candidate.scores)
    if broken is not None:
        return refused(name, f"the challenger's predictions cannot be judged: {broken}")
    chosen = _chosen(trial)
    details = list(_details(trial, gate, metric, judged, chosen))
    if not details:
        return undecided(name, gate, "no feature of the model can be perturbed in the ways that the gate names")
    failed = [detail for detail in details if detail.verdict == "failed"]
    numbers = [detail for detail in failed or details if detail.value is not None]
    worst = max(numbers, key=_excess) if numbers else None
    sentence = _sentence(metric, details, failed, worst, gate)
    if gate.margin is not None and trial.champion is None:
        sentence += "; no champion to compare with"
    return gate_result(name, gate, details, sentence, worst)


def _excess(detail: GateDetail) -> float:
    return (detail.value or 0.0) - (detail.bound or 0.0)


def _sentence(
    metric: str, details: list[GateDetail], failed: list[GateDetail], worst: GateDetail | None, gate: GateSpec
) -> str:
    ends = [detail for detail in failed if detail.value is None]
    if ends:
        sentence = f"{ends[0].name}: {ends[0].note}"
    elif worst is None:
        sentence = f"nothing can be judged: {details[0].name}: {details[0].note}"
    else:
        limits = "" if worst.low is None or worst.high is None else f" [{worst.low:+.4f}, {worst.high:+.4f}]"
        bound = ", no bound" if worst.bound is None else f", bound {worst.bound:.4g}"
        sentence = (
            f"{metric} on {worst.rows:,} rows falls most, against its bound, with {worst.name}: by "
            f"{worst.value:+.4f}{limits}{bound}"
        )
    sentence += (
        f"; {len(failed)} of {len(details)} results beyond bounds ({CRITERION_WORDS[gate.criterion or 'point']})"
    )
    return sentence + (f": {listed([detail.name for detail in failed])}" if len(failed) > 1 else "")


def _chosen(trial: Trial) -> Rows:
    rows = len(trial.labels)
    if rows <= MAX_ROWS:
        return np.arange(rows, dtype=np.intp)
    return np.sort(np.random.default_rng([trial.seed, 3]).choice(rows, MAX_ROWS, replace=False)).astype(np.intp)


def _details(trial: Trial, gate: GateSpec, metric: str, judged: Predict, chosen: Rows) -> Iterator[GateDetail]:
    frame = trial.frame.iloc[chosen].reset_index(drop=True)
    champion = trial.champion
    if gate.margin is not None and champion is not None and champion.predict is None:
        note = "it has no model file, so its own fall is unknown"
        yield GateDetail(name=f"against {champion.version}", verdict="insufficient", bound=gate.margin, note=note)
    for change in perturbations(trial.spec, gate, frame, trial.reference.frame, trial.seed):
        said, why = attempt(trial.spec, judged, change.frame)
        if said is None:
            yield GateDetail(name=change.name, verdict="failed", rows=len(frame), note=why)
            continue
        few = len(chosen) < trial.minimum_rows(gate)
        fall = _fall(trial, gate, metric, trial.candidate.scores[chosen], said, chosen)
        yield _absolute(trial, gate, change, fall, few)
        if gate.margin is not None and champion is not None and champion.predict is not None:
            yield _against(trial, gate, metric, change, said, champion, chosen)


def _fall(
    trial: Trial,
    gate: GateSpec,
    metric: str,
    clean: Floats,
    perturbed: Floats,
    chosen: Rows,
) -> Comparison:
    """Clean against perturbed on the same rows: the difference is how much the metric falls."""
    return compare(
        trial.spec.task,
        metric,
        trial.labels[chosen],
        clean,
        perturbed,
        seed=trial.seed,
        confidence=gate.confidence,
        decision_threshold=trial.spec.performance.decision_threshold,
    )


def _absolute(trial: Trial, gate: GateSpec, change: Perturbation, fall: Comparison, few: bool) -> GateDetail:
    """Against the bound; without one the fall is told, and decides nothing."""
    bound = change.bound
    if few or not math.isfinite(fall.difference):
        note = f"{trial.minimum_rows(gate)} rows are needed" if few else f"{fall.metric} is undefined"
        verdict: GateVerdict | Literal["info"] = "info" if bound is None else "insufficient"
        return GateDetail(name=change.name, verdict=verdict, bound=bound, rows=fall.rows, note=note)
    low, high = finite(fall.low), finite(fall.high)
    verdict = "info" if bound is None else within(gate.criterion or "point", fall.difference, low, high, bound)
    return GateDetail(
        name=change.name, verdict=verdict, value=fall.difference, bound=bound, low=low, high=high, rows=fall.rows,
        note=f"{fall.metric} {fall.challenger:.4f} to {fall.champion:.4f}",
    )  # fmt: skip


def _against(
    trial: Trial,
    gate: GateSpec,
    metric: str,
    change: Perturbation,
    perturbed: Floats,
    champion: Rival,
    chosen: Rows,
) -> GateDetail:
    """How much further the metric falls than the champion's on the same perturbed rows, of those that it has not
    learned: on the others it falls from a height that it does not have in production, which would excuse the
    challenger. The limits take the two falls for independent: wider than need be where both models suffer from the same
    rows.
    """
    assert champion.predict is not None
    assert gate.margin is not None
    name = f"{change.name}, against {champion.version}"
    fair = np.arange(len(chosen))
    if not trial.spec.training.compare_on_learned:
        fair = np.flatnonzero(trial.fair_rows(champion).chosen[chosen])
    rows = chosen[fair]
    said, why = attempt(trial.spec, champion.predict, change.frame)
    if said is None:
        return GateDetail(
            name=name, verdict="info", rows=len(rows), note=f"the champion fails here, the challenger does not: {why}"
        )
    fall = _fall(trial, gate, metric, trial.candidate.scores[rows], perturbed[fair], rows)
    mine = _fall(trial, gate, metric, champion.scores[rows], said[fair], rows)
    value = fall.difference - mine.difference
    few = len(rows) < trial.minimum_rows(gate)
    if few or not math.isfinite(value):
        note = f"{trial.minimum_rows(gate)} rows are needed" if few else f"{metric} is undefined"
        return GateDetail(name=name, verdict="insufficient", bound=gate.margin, rows=fall.rows, note=note)
    below = math.hypot(fall.difference - fall.low, mine.high - mine.difference)
    above = math.hypot(fall.high - fall.difference, mine.difference - mine.low)
    low, high = (value - below, value + above) if math.isfinite(below + above) else (None, None)
    return GateDetail(
        name=name, verdict=within(gate.criterion or "point", value, low, high, gate.margin), value=value,
        bound=gate.margin, low=low, high=high, rows=fall.rows, challenger=fall.difference, champion=mine.difference,
    )  # fmt: skip
