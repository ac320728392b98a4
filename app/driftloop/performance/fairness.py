"""Gaps between groups of people (or of anything else): how differently a binary model decides on them.

Each group is a segment with outcome statistics of its own. Rates are those of the labeled rows; a rate has Wilson's
limits, two groups' difference Newcombe's (ratio: Donner and Zou's), and because the widest gap is looked for among many
pairs, each pair's limits are at the confidence divided over all of them (Bonferroni). The gap's limits are the largest
ones of any pair: they hold the true widest gap with at least the stated confidence.

References: M. Hardt, E. Price, N. Srebro, "Equality of opportunity in supervised learning", NeurIPS 2016; R. G.
Newcombe, Statistics in Medicine 17, 1998 (method 10); A. Donner, G. Y. Zou, Statistical Methods in Medical Research
21, 2012.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Final

from driftloop.events.reports import Decision, MetricReport
from driftloop.performance.intervals import Estimate, difference_interval, ratio_interval, wilson_interval
from driftloop.performance.outcomes import OutcomeStats
from driftloop.profiles.segments import MISSING_SEGMENT, OTHER_SEGMENT, is_pair_key, segment_names
from driftloop.spec.model import FairnessSpec, ModelSpec

__all__ = ["Gap", "Group", "judge_fairness", "widest_gap"]


@dataclass(frozen=True)
class Group:
    """One group's confusion matrix."""

    name: str
    true_negatives: int
    false_positives: int
    false_negatives: int
    true_positives: int

    @property
    def rows(self) -> int:
        return self.true_negatives + self.false_positives + self.false_negatives + self.true_positives


@dataclass(frozen=True)
class Gap:
    """The widest gap between any two groups, with its limits."""

    value: float
    low: float
    high: float
    groups: tuple[str, str]  # the higher rate first


#: A rate of a group as part and whole.
_Rate = Callable[[Group], tuple[int, int]]


def _selected(group: Group) -> tuple[int, int]:
    return group.true_positives + group.false_positives, group.rows


def _true_positive(group: Group) -> tuple[int, int]:
    return group.true_positives, group.true_positives + group.false_negatives


def _false_positive(group: Group) -> tuple[int, int]:
    return group.false_positives, group.false_positives + group.true_negatives


_RATES: Final[dict[str, tuple[_Rate, ...]]] = {
    "demographic_parity_difference": (_selected,),
    "demographic_parity_ratio": (_selected,),
    "equal_opportunity_difference": (_true_positive,),
    "equalized_odds_difference": (_true_positive, _false_positive),
}


def judge_fairness(segments: Mapping[str, OutcomeStats], spec: ModelSpec) -> list[MetricReport]:
    """Reports of every fairness metric of the spec, called ``metric/column``; ``segments`` are the outcome statistics
    of one window and version by segment key.

    Groups with fewer labeled rows than the spec's ``minimum_rows`` take no part, nor do the rows of all rare values
    together and those without a value. ``insufficient`` with fewer than two groups, or a rate that is undefined. With a
    bound the decision is ``drift`` if the gap has come to it *and* its interval excludes equality.
    """
    reports: list[MetricReport] = []
    for fairness in spec.performance.fairness:
        groups = _groups(segments, fairness.column, spec)
        reports += [_report(metric, fairness, groups, spec.minimum_rows) for metric in fairness.metrics]
    return reports


def _groups(segments: Mapping[str, OutcomeStats], column: str, spec: ModelSpec) -> list[Group]:
    found = []
    for key in sorted(segments):
        if any(is_pair_key(key, segment_names(declared)) for declared in spec.segments):
            continue
        name, _, value = key.partition("=")
        matrix = segments[key].confusion
        if name != column or value in (OTHER_SEGMENT, MISSING_SEGMENT) or matrix is None:
            continue
        group = Group(value, *matrix[0], *matrix[1])
        if group.rows >= spec.minimum_rows:
            found.append(group)
    return found


def _report(metric: str, fairness: FairnessSpec, groups: Sequence[Group], minimum_rows: int) -> MetricReport:
    name = f"{metric}/{fairness.column}"
    rows = sum(group.rows for group in groups)
    bound = fairness.bounds.get(metric)
    gap = widest_gap(metric, groups, fairness.confidence)
    if gap is None:
        few = f"{len(groups)} groups of {fairness.column} have {minimum_rows} labeled rows or more, two are needed"
        why = few if len(groups) < 2 else "a rate has no rows to be one of"
        decision: Decision = "info" if bound is None else "insufficient"
        return MetricReport(
            metric=name, value=None, low=None, high=None, reference=None, rows=rows, threshold=bound,
            decision=decision, sentence=f"{metric}: {why}",
        )  # fmt: skip
    equal = 1.0 if metric.endswith("_ratio") else 0.0
    said = f"{metric} of {fairness.column} is {gap.value:.4g} ({gap.groups[0]} against {gap.groups[1]}, {rows} rows)"
    decision = "info"
    if bound is not None:
        beyond = gap.value <= bound if equal else gap.value >= bound
        significant = gap.high < equal if equal else gap.low > equal
        decision = "drift" if beyond and significant else "ok"
        if beyond and not significant:
            said += f": beyond the bound of {bound:.4g}, but not significantly with so few rows"
        else:
            said += f": {'beyond' if beyond else 'within'} the bound of {bound:.4g}"
    return MetricReport(
        metric=name, value=gap.value, low=gap.low, high=gap.high, reference=None, rows=rows, threshold=bound,
        decision=decision, sentence=said,
    )  # fmt: skip


def widest_gap(metric: str, groups: Sequence[Group], confidence: float) -> Gap | None:
    """A fairness metric of these groups; None with fewer than two, or if a rate has no rows to be one of."""
    if len(groups) < 2:
        return None
    return _ratio(groups, confidence) if metric.endswith("_ratio") else _difference(metric, groups, confidence)


def _estimates(rate: _Rate, groups: Sequence[Group], confidence: float) -> list[tuple[str, Estimate]] | None:
    found = []
    for group in groups:
        part, whole = rate(group)
        if not whole:
            return None
        found.append((group.name, (part / whole, *wilson_interval(part / whole, whole, confidence))))
    return found


def _each_confidence(confidence: float, comparisons: int) -> float:
    return 1.0 - (1.0 - confidence) / comparisons


def _difference(metric: str, groups: Sequence[Group], confidence: float) -> Gap | None:
    """The largest difference of a rate between two groups, over all rates of the metric."""
    rates = _RATES[metric]
    pairs = len(groups) * (len(groups) - 1) // 2
    confidence = _each_confidence(confidence, pairs * len(rates))
    gaps: list[Gap] = []
    for rate in rates:
        estimates = _estimates(rate, groups, confidence)
        if estimates is None:
            return None
        for (first_name, first), (second_name, second) in combinations(estimates, 2):
            if first[0] < second[0]:
                first_name, first, second_name, second = second_name, second, first_name, first
            low, high = difference_interval(first, second)
            # The limits of an absolute difference: an interval about 0 folds over.
            gaps.append(Gap(first[0] - second[0], max(0.0, low), max(high, -low), (first_name, second_name)))
    widest = max(gaps, key=lambda gap: gap.value)
    low, high = max(gap.low for gap in gaps), min(1.0, max(gap.high for gap in gaps))
    return Gap(widest.value, min(low, widest.value), max(high, widest.value), widest.groups)


def _ratio(groups: Sequence[Group], confidence: float) -> Gap | None:
    """The smallest ratio of two groups' rates."""
    pairs = len(groups) * (len(groups) - 1) // 2
    estimates = _estimates(_selected, groups, _each_confidence(confidence, pairs))
    if estimates is None or max(estimate[0] for _, estimate in estimates) <= 0.0:
        return None
    gaps: list[Gap] = []
    for (low_name, numerator), (high_name, denominator) in permutations(estimates, 2):
        if denominator[0] > 0.0:
            low, high = ratio_interval(numerator, denominator)
            gaps.append(Gap(numerator[0] / denominator[0], low, high, (high_name, low_name)))
    smallest = min(gaps, key=lambda gap: gap.value)
    low, high = min(gap.low for gap in gaps), min(1.0, min(gap.high for gap in gaps))
    if not math.isfinite(high):
        high = 1.0
    return Gap(smallest.value, min(low, smallest.value), max(high, smallest.value), smallest.groups)
