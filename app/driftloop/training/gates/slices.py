"""Is the challenger worse than the champion in any segment, whatever it is in total?

Every slice has its own paired bootstrap. The difference of a slice is taken as normal with the resamples' standard
error (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13), because the tails that a correction
for twenty slices asks for are not to be had from 1,000 resamples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import NormalDist

import numpy as np
from msgspec import structs

from driftloop.drift.multiple_testing import bonferroni, holm
from driftloop.events.decisions import GateDetail, GateResult
from driftloop.performance.intervals import z_value
from driftloop.performance.pointwise import MEAN_METRICS
from driftloop.profiles.segments import segment_names, segment_rows
from driftloop.spec.gates import GateSpec
from driftloop.training.comparison import DEFAULT_METRIC, Comparison, compare
from driftloop.training.gates.trial import Rival, Trial, seed_from, unusable
from driftloop.training.gates.verdicts import finite, gate_result, listed, no_champion, refused, undecided, within

__all__ = ["judge_slices"]

#: A metric that weighs the classes against each other is not judged on fewer rows of either.
LEAST_OF_A_CLASS = 10


def judge_slices(trial: Trial, gate: GateSpec) -> GateResult:
    """No slice worse than the champion by more than the margin; differences above 0 are in the challenger's favour.

    ``not_refuted`` (the default): a slice fails if it is worse by more than the margin at the one-sided level
    (1 - confidence) / 2, corrected for the number of judged slices. ``proven``: the lower end of its interval must not
    be below the margin. Intervals are simultaneous (Bonferroni). Slices with too few rows are listed as insufficient.
    """
    spec, champion = trial.spec, trial.champion
    metric = gate.metric or DEFAULT_METRIC[spec.task]
    name = f"slices:{metric}"
    if champion is None:
        return no_champion(name)
    broken = unusable(spec, trial.candidate.scores)
    if broken is not None:
        return refused(name, f"the challenger's predictions cannot be compared: {broken}")
    margin = gate.margin or 0.0
    found = list(_compared(trial, gate, champion, metric))
    few = [detail for detail, comparison in found if comparison is None]
    judged = [(detail, comparison) for detail, comparison in found if comparison is not None]
    columns = ", ".join("&".join(segment_names(declared)) for declared in gate.columns or spec.segments)
    if not judged:
        sentence = f"{metric}: none of the {len(few)} slices of {columns} has enough rows to be judged"
        return undecided(name, gate, f"{sentence}: {listed([_rows(detail) for detail in few])}", few)
    details = _decided(gate, judged, margin)
    failed = sorted((d for d in details if d.verdict == "failed"), key=_value)
    worst = failed[0] if failed else min(details, key=_value)
    sentence = (
        f"{metric} in {len(details)} slices of {columns}: worst is {worst.name}, where the challenger is better by "
        f"{worst.value:+.4f} [{worst.low:+.4f}, {worst.high:+.4f}] ({worst.rows:,} rows, intervals simultaneous at "
        f"{gate.confidence:.0%}); {_verdict(gate, failed, margin, champion)}"
    )
    if few:
        sentence += f"; too few rows to judge: {listed([_rows(detail) for detail in few])}"
    return gate_result(name, gate, [*failed, *(d for d in details if d.verdict != "failed"), *few], sentence, worst)


def _verdict(gate: GateSpec, failed: Sequence[GateDetail], margin: float, champion: Rival) -> str:
    criterion = gate.criterion or "not_refuted"
    words = {
        "not_refuted": (f"shown to be worse by more than {margin:g}", gate.correction.capitalize()),
        "proven": (f"not shown to be at most {margin:g} worse", "Bonferroni"),
        "point": (f"worse by more than {margin:g}", "estimates, no correction"),
    }
    said, how = words[criterion]
    names = listed([detail.name for detail in failed]) if failed else "none"
    return f"{said} than champion {champion.version} ({how}): {names}"


def _compared(
    trial: Trial, gate: GateSpec, champion: Rival, metric: str
) -> Iterator[tuple[GateDetail, Comparison | None]]:
    """Each slice with its comparison, None if there are too few rows or the metric is undefined on them."""
    spec = trial.spec
    fair = np.flatnonzero(trial.fair_rows(champion).chosen)
    minimum = trial.minimum_rows(gate)
    for declared in gate.columns or spec.segments:
        columns = {name: trial.frame[name].iloc[fair].tolist() for name in segment_names(declared)}
        for key, positions in sorted(segment_rows(declared, columns).items()):
            rows = fair[positions]
            detail = GateDetail(name=key, verdict="insufficient", rows=len(rows))
            if len(rows) < minimum:
                yield structs.replace(detail, note=f"{minimum} rows are needed"), None
                continue
            labels = trial.labels[rows]
            if spec.task == "binary" and metric not in MEAN_METRICS["binary"]:
                positives = int(labels.sum())
                if min(positives, len(rows) - positives) < LEAST_OF_A_CLASS:
                    note = f"{positives:,} of the labels are 1; {LEAST_OF_A_CLASS} of either class are needed"
                    yield structs.replace(detail, note=note), None
                    continue
            comparison = compare(
                spec.task,
                metric,
                labels,
                trial.candidate.scores[rows],
                champion.scores[rows],
                seed=seed_from(f"{trial.seed}\n{key}"),
                confidence=gate.confidence,
                decision_threshold=spec.performance.decision_threshold,
            )
            if not math.isfinite(comparison.standard_error):
                yield structs.replace(detail, note=f"{metric} is undefined on these rows"), None
            else:
                yield detail, comparison


def _decided(gate: GateSpec, judged: Sequence[tuple[GateDetail, Comparison]], margin: float) -> list[GateDetail]:
    criterion = gate.criterion or "not_refuted"
    # Each side of every interval errs at level / slices: together they hold at the stated confidence.
    z = z_value(1.0 - (1.0 - gate.confidence) / len(judged))
    adjust = holm if gate.correction == "holm" else bonferroni
    p_values = adjust([_p_value(comparison, margin) for _, comparison in judged])
    details = []
    for (detail, comparison), p_value in zip(judged, p_values, strict=True):
        half = z * comparison.standard_error
        low, high = comparison.difference - half, comparison.difference + half
        if criterion == "not_refuted":
            refuted = p_value <= (1.0 - gate.confidence) / 2.0
        else:
            refuted = within(criterion, comparison.difference, low, high, -margin, at_least=True) == "failed"
        details.append(
            structs.replace(
                detail,
                verdict="failed" if refuted else "passed",
                value=comparison.difference,
                bound=-margin,
                low=low,
                high=high,
                challenger=finite(comparison.challenger),
                champion=finite(comparison.champion),
                note=f"corrected p = {p_value:.2g}" if criterion == "not_refuted" else "",
            )
        )
    return details


def _p_value(comparison: Comparison, margin: float) -> float:
    """How probable so low a difference is for a slice that is worse by the margin exactly."""
    distance = comparison.difference + margin
    if comparison.standard_error == 0.0:
        return 0.0 if distance < 0.0 else 1.0
    return NormalDist().cdf(distance / comparison.standard_error)


def _value(detail: GateDetail) -> float:
    return math.inf if detail.value is None else detail.value


def _rows(detail: GateDetail) -> str:
    return f"{detail.name} ({detail.rows or 0:,} rows)"
