"""A metric of the challenger against the champion's on the same rows."""

from __future__ import annotations

import math

from driftloop.events.decisions import GateResult, GateVerdict
from driftloop.spec.gates import GateSpec
from driftloop.training.comparison import DEFAULT_METRIC, Comparison, compare
from driftloop.training.gates.fair_rows import FairRows
from driftloop.training.gates.trial import Trial, unusable
from driftloop.training.gates.verdicts import finite

__all__ = ["judge_metric"]


def judge_metric(trial: Trial, gate: GateSpec) -> GateResult:
    """Paired bootstrap on rows that the champion has not learned; undecided if they are too few."""
    spec, champion = trial.spec, trial.champion
    metric = gate.metric or DEFAULT_METRIC[spec.task]
    margin = gate.margin or 0.0
    bound = -margin if gate.mode == "non_inferiority" else margin

    def result(passed: bool, verdict: GateVerdict, sentence: str, found: Comparison | None = None) -> GateResult:
        return GateResult(
            gate=f"metric:{metric}",
            passed=passed,
            value=None if found is None else finite(found.difference),
            bound=bound,
            low=None if found is None else finite(found.low),
            high=None if found is None else finite(found.high),
            sentence=sentence,
            verdict=verdict,
        )

    if champion is None:
        return result(True, "passed", "no champion to compare with")
    broken = unusable(spec, trial.candidate.scores)
    if broken is not None:
        return result(False, "failed", f"the challenger's predictions cannot be compared: {broken}")
    fair = trial.fair_rows(champion)
    if fair.too_few(trial.minimum_rows(gate)):
        return result(False, "insufficient", _too_few(fair, champion.version, trial.minimum_rows(gate)))
    rows = fair.chosen
    found = compare(
        spec.task,
        metric,
        trial.labels[rows],
        trial.candidate.scores[rows],
        champion.scores[rows],
        seed=trial.seed,
        confidence=gate.confidence,
        decision_threshold=spec.performance.decision_threshold,
    )
    decisive = found.difference if gate.mode == "better" else found.low
    passed = math.isfinite(decisive) and decisive > bound
    verdict: GateVerdict = "passed" if passed else "failed" if math.isfinite(decisive) else "insufficient"
    return result(passed, verdict, _sentence(gate, found, champion.version, bound, passed, fair.learned), found)


def _too_few(fair: FairRows, version: str, minimum: int) -> str:
    return (
        f"insufficient: only {int(fair.chosen.sum()):,} of {fair.known:,} holdout rows are later than what champion "
        f"{version} has learned, and {min(minimum, fair.known):,} are needed (minimum_rows); wait for labels of later "
        "predictions (policy.warm_up leaves a new champion alone until they are there)"
    )


def _sentence(gate: GateSpec, result: Comparison, version: str, bound: float, passed: bool, seen: int) -> str:
    if not math.isfinite(result.difference):
        return (
            f"{result.metric} is undefined on the {result.rows:,} holdout rows that champion {version} has scores for"
        )
    what = "the difference" if gate.mode == "better" else "the interval's lower end"
    note = f"; {seen:,} of these rows were in the champion's training data, too few are later" if seen else ""
    return (
        f"{result.metric} on {result.rows:,} later rows: challenger {result.challenger:.4f}, champion {version} "
        f"{result.champion:.4f}; better by {result.difference:+.4f} "
        f"[{result.low:+.4f}, {result.high:+.4f}] at {gate.confidence:.0%}; "
        f"{what} {'is' if passed else 'is not'} above {bound:+.4f} ({gate.mode.replace('_', '-')}){note}"
    )
