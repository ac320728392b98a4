"""Gaps between groups in the challenger's decisions: against a bound, and against the champion's own gaps.

Definitions, and the intervals of a gap, are those of :mod:`driftloop.performance.fairness`. A gap is compared with the
champion's on the same rows by resampling the rows within each group (stratified paired bootstrap, percentile
interval; Efron and Tibshirani, 1993, chapter 13): a resample is one multinomial draw of the group's cells (label,
challenger's decision, champion's decision), so it costs nothing per row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from driftloop.events.decisions import GateDetail, GateResult
from driftloop.performance.fairness import Group, widest_gap
from driftloop.profiles.segments import MISSING_SEGMENT, OTHER_SEGMENT, segment_rows
from driftloop.spec.gates import GateSpec
from driftloop.training.gates.trial import Rival, Trial, seed_from, unusable
from driftloop.training.gates.verdicts import (
    CRITERION_WORDS,
    gate_result,
    listed,
    no_champion,
    refused,
    undecided,
    within,
)

__all__ = ["gap_differences", "judge_group_gaps"]

_RESAMPLES: Final = 2000
#: Compared with the champion where the gate has a margin and no bounds.
_USUAL: Final = ("demographic_parity_difference", "equal_opportunity_difference")

Rows = NDArray[np.intp]


def judge_group_gaps(trial: Trial, gate: GateSpec) -> GateResult:
    """Each metric of each group column within its bound, and not worse than the champion's by more than the margin.

    The default criterion is ``point``: a gap's estimate is too large rather than too small, because the widest of many
    is looked for. Groups are the values of a column; rare ones taken together and the missing ones are none.
    """
    if trial.spec.task != "binary":
        return undecided("fairness", gate, f"gaps are those of binary decisions, and the task is {trial.spec.task}")
    broken = unusable(trial.spec, trial.candidate.scores)
    if broken is not None:
        return refused("fairness", f"the challenger's predictions cannot be judged: {broken}")
    details = [detail for column in _columns(trial, gate) for detail in _of_column(trial, gate, column)]
    judged = [detail for detail in details if detail.value is not None and detail.bound is not None]
    few = [f"{detail.name} ({detail.note})" for detail in details if detail.verdict == "insufficient"]
    if not gate.bounds and trial.champion is None:
        return no_champion("fairness", details)
    if not judged:
        return undecided("fairness", gate, f"no gap can be judged: {listed(few)}", details)
    failed = [detail for detail in judged if detail.verdict == "failed"]
    worst = max(failed or judged, key=_excess)
    sentence = (
        f"{_said(worst)}; {len(failed)} of {len(judged)} gaps beyond their bounds "
        f"({CRITERION_WORDS[gate.criterion or 'point']})"
    )
    if few:
        sentence += f"; not judged: {listed(few)}"
    return gate_result("fairness", gate, details, sentence, worst)


def _columns(trial: Trial, gate: GateSpec) -> list[str]:
    chosen = [column for column in gate.columns if isinstance(column, str)]
    return chosen or list(dict.fromkeys(fairness.column for fairness in trial.spec.performance.fairness))


def _excess(detail: GateDetail) -> float:
    """How far beyond its bound, whichever way that is."""
    assert detail.value is not None
    assert detail.bound is not None
    return detail.bound - detail.value if _at_least(detail.name) else detail.value - detail.bound


def _at_least(name: str) -> bool:
    return "_ratio/" in name and " worse than " not in name


def _said(detail: GateDetail) -> str:
    limits = "" if detail.low is None or detail.high is None else f" [{detail.low:.4f}, {detail.high:.4f}]"
    note = f" ({detail.note})" if detail.note else ""
    return f"{detail.name} is {detail.value:.4f}{limits}{note}, bound {detail.bound:.4g}"


def _of_column(trial: Trial, gate: GateSpec, column: str) -> Iterator[GateDetail]:
    minimum = trial.minimum_rows(gate)
    every = np.arange(len(trial.labels), dtype=np.intp)
    rows, few = _groups(trial, column, every, minimum)
    groups = [_group(trial, name, chosen) for name, chosen in rows.items()]
    for metric, bound in gate.bounds.items():
        name = f"{metric}/{column}"
        gap = widest_gap(metric, groups, gate.confidence)
        if gap is None:
            yield GateDetail(name=name, verdict="insufficient", bound=bound, note=_why(groups))
            continue
        verdict = within(
            gate.criterion or "point", gap.value, gap.low, gap.high, bound, at_least=metric.endswith("_ratio")
        )
        yield GateDetail(
            name=name, verdict=verdict, value=gap.value, bound=bound, low=gap.low, high=gap.high,
            rows=sum(group.rows for group in groups), note=f"{gap.groups[0]} against {gap.groups[1]}",
        )  # fmt: skip
    if gate.margin is not None and trial.champion is not None:
        fair = np.flatnonzero(trial.fair_rows(trial.champion).chosen)
        rows, _ = _groups(trial, column, fair, minimum)
        for metric in gate.bounds or _USUAL:
            yield _against(trial, gate, trial.champion, column, metric, rows, gate.margin)
    for name, count in few.items():
        yield GateDetail(
            name=f"{column}={name}", verdict="insufficient", rows=count, note=f"{count} of {minimum} rows needed"
        )


def _why(groups: list[Group]) -> str:
    if len(groups) < 2:
        return f"{len(groups)} groups have enough rows, two are needed"
    bare = [
        group.name
        for group in groups
        if not (group.true_positives + group.false_negatives and group.true_negatives + group.false_positives)
    ]
    return f"a rate is undefined: one class only in {listed(bare)}" if bare else "no group has a positive decision"


def _groups(trial: Trial, column: str, rows: Rows, minimum: int) -> tuple[dict[str, Rows], dict[str, int]]:
    """Rows of each group that is large enough, and the numbers of rows of the others."""
    found: dict[str, Rows] = {}
    few: dict[str, int] = {}
    values = {column: trial.frame[column].iloc[rows].tolist()}
    for key, positions in sorted(segment_rows(column, values).items()):
        value = key.partition("=")[2]
        if value in (OTHER_SEGMENT, MISSING_SEGMENT):
            continue
        if len(positions) >= minimum:
            found[value] = rows[positions]
        else:
            few[value] = len(positions)
    return found, few


def _decisions(trial: Trial, scores: NDArray[np.float64]) -> NDArray[np.intp]:
    return np.asarray(scores >= trial.spec.performance.decision_threshold, np.intp)


def _group(trial: Trial, name: str, rows: Rows) -> Group:
    said = _decisions(trial, trial.candidate.scores[rows])
    cells = np.bincount(2 * trial.labels[rows].astype(np.intp) + said, minlength=4).tolist()
    return Group(name, *cells)


def _against(
    trial: Trial, gate: GateSpec, champion: Rival, column: str, metric: str, rows: Mapping[str, Rows], margin: float
) -> GateDetail:
    """How much worse the gap is than the champion's on the same rows; positive: the challenger is less fair."""
    name = f"{metric}/{column} worse than {champion.version}"
    cells = np.array([_cells(trial, champion, chosen) for chosen in rows.values()]).reshape(len(rows), 8)
    used = int(cells.sum())
    if len(rows) < 2:
        note = f"{len(rows)} groups have enough rows, two are needed"
        return GateDetail(name=name, verdict="insufficient", bound=margin, rows=used, note=note)
    values, resampled = gap_differences(metric, cells, seed_from(f"{trial.seed}\n{name}"))
    challenger, mine, difference = values
    defined = resampled[np.isfinite(resampled)]
    if not np.isfinite(difference) or 2 * len(defined) < len(resampled):
        note = "a rate is undefined: one class only in a group, or no positive decision"
        return GateDetail(name=name, verdict="insufficient", bound=margin, rows=used, note=note)
    tail = (1.0 - gate.confidence) / 2.0
    low, high = (float(limit) for limit in np.quantile(defined, [tail, 1.0 - tail]))
    verdict = within(gate.criterion or "point", difference, low, high, margin)
    return GateDetail(
        name=name, verdict=verdict, value=difference, bound=margin, low=low, high=high, rows=used,
        challenger=challenger, champion=mine,
    )  # fmt: skip


def _cells(trial: Trial, champion: Rival, rows: Rows) -> NDArray[np.int64]:
    """Rows by (label, challenger's decision, champion's decision), shape (8,)."""
    label = trial.labels[rows].astype(np.intp)
    challenger, mine = (_decisions(trial, scores[rows]) for scores in (trial.candidate.scores, champion.scores))
    return np.bincount(4 * label + 2 * challenger + mine, minlength=8).astype(np.int64)


def gap_differences(
    metric: str, cells: NDArray[np.int64], seed: int
) -> tuple[tuple[float, float, float], NDArray[np.float64]]:
    """The challenger's gap, the champion's, and how much worse the first is; then that difference in each resample.

    ``cells`` (groups, 8): rows by label, challenger's and champion's decision, the last one fastest. NaN where a rate
    is undefined.
    """
    generator = np.random.default_rng(seed)
    drawn = np.stack([generator.multinomial(int(row.sum()), row / row.sum(), size=_RESAMPLES) for row in cells], axis=1)
    challenger, champion = (_gap(metric, cells[None], which) for which in (1, 2))
    sign = -1.0 if metric.endswith("_ratio") else 1.0
    differences = sign * (_gap(metric, drawn, 1) - _gap(metric, drawn, 2))
    values = float(challenger[0]), float(champion[0])
    return (*values, sign * (values[0] - values[1])), differences


def _gap(metric: str, cells: NDArray[Any], which: int) -> NDArray[np.float64]:
    """A gap of (b, groups, 8) cells: (b,). ``which``: axis of the decision, 1 the challenger's and 2 the champion's."""
    by = cells.reshape(*cells.shape[:2], 2, 2, 2).sum(axis=2 + (2 if which == 1 else 1))  # (b, groups, label, said)
    with np.errstate(divide="ignore", invalid="ignore"):
        selected = by[..., 1].sum(axis=2) / by.sum(axis=(2, 3))
        if metric == "demographic_parity_ratio":
            return np.asarray(selected.min(axis=1) / selected.max(axis=1))
        true_positive = by[:, :, 1, 1] / by[:, :, 1].sum(axis=2)
        false_positive = by[:, :, 0, 1] / by[:, :, 0].sum(axis=2)
    rates = {
        "demographic_parity_difference": [selected],
        "equal_opportunity_difference": [true_positive],
        "equalized_odds_difference": [true_positive, false_positive],
    }[metric]
    return np.asarray(np.max([rate.max(axis=1) - rate.min(axis=1) for rate in rates], axis=0))
