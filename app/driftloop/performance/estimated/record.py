"""What an estimate was worth: kept when the input window closes, compared when the labels are there.

A pure state: windows in order in, the next state and the comparisons out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct, field

from driftloop.events.reports import EstimateComparison, MetricReport
from driftloop.performance.metrics import MetricValue

__all__ = ["EstimateRecord", "EstimateState", "HeldEstimate", "compare_estimates", "hold_estimates"]

#: Records of so many model versions are kept, those seen last.
_MAX_VERSIONS = 4


class HeldEstimate(Struct, frozen=True, kw_only=True):
    """Estimates of one input window that wait for its outcome window, by metric: value, low, high, reference."""

    end_ms: int
    metrics: dict[str, tuple[float, float | None, float | None, float | None]]


class EstimateRecord(Struct, frozen=True, kw_only=True):
    """How one metric's estimates of one version have fared, over windows whose labels have come."""

    windows: int = 0
    absolute_error: float = 0.0
    judged: int = 0  # windows with an interval
    covered: int = 0
    referenced: int = 0  # windows with a reference value
    reference_error: float = 0.0


class EstimateState(Struct, frozen=True, kw_only=True):
    """By model version: what waits, and what is known. ``seen_ms`` is the last window's end."""

    held: dict[str, list[HeldEstimate]] = field(default_factory=dict)
    records: dict[str, dict[str, EstimateRecord]] = field(default_factory=dict)
    seen_ms: dict[str, int] = field(default_factory=dict)


def hold_estimates(state: EstimateState, version: str, end_ms: int, reports: Sequence[MetricReport]) -> EstimateState:
    """Keep an input window's estimates until its outcome window is judged.

    As many wait as predictions are ahead of labels: a bound of its own would make the record hang on how the two were
    read.
    """
    metrics = {
        report.metric: (report.value, report.low, report.high, report.reference)
        for report in reports
        if report.value is not None
    }
    if not metrics:
        return state
    held = [*state.held.get(version, []), HeldEstimate(end_ms=end_ms, metrics=metrics)]
    return msgspec.structs.replace(state, held={**state.held, version: held})


def compare_estimates(
    state: EstimateState, version: str, end_ms: int, realised: Mapping[str, MetricValue]
) -> tuple[EstimateState, list[EstimateComparison]]:
    """The estimates of the window that ends then beside what was realised; the record takes them in and is told."""
    waiting = state.held.get(version, [])
    found = next((held for held in waiting if held.end_ms == end_ms), None)
    kept = {
        name: rest
        for name, windows in state.held.items()
        if (rest := [held for held in windows if held.end_ms > end_ms or (name != version and held.end_ms == end_ms)])
    }
    records = dict(state.records.get(version, {}))
    comparisons: list[EstimateComparison] = []
    for metric, (estimate, low, high, reference) in found.metrics.items() if found else ():
        truth = realised.get(metric.split("~")[0])
        if truth is None or truth.value is None:
            continue
        covered = None if low is None or high is None else low <= truth.value <= high
        before = records.get(metric, EstimateRecord())
        record = records[metric] = EstimateRecord(
            windows=before.windows + 1,
            absolute_error=before.absolute_error + abs(truth.value - estimate),
            judged=before.judged + (covered is not None),
            covered=before.covered + bool(covered),
            referenced=before.referenced + (reference is not None),
            reference_error=before.reference_error + (0.0 if reference is None else abs(truth.value - reference)),
        )
        half = None if low is None or high is None else (high - low) / 2.0
        comparisons.append(
            EstimateComparison(
                metric=metric,
                estimate=estimate,
                low=low,
                high=high,
                realised=truth.value,
                labeled_rows=truth.rows,
                difference=truth.value - estimate,
                half_widths=abs(truth.value - estimate) / half if half else None,
                covered=covered,
                windows=record.windows,
                mean_absolute_error=record.absolute_error / record.windows,
                covered_share=record.covered / record.judged if record.judged else None,
                reference_error=record.reference_error / record.referenced if record.referenced else None,
            )
        )
    if not comparisons:
        return msgspec.structs.replace(state, held=kept), []
    seen_ms = {**state.seen_ms, version: end_ms}
    latest = set(sorted(seen_ms, key=lambda name: (seen_ms[name], name))[-_MAX_VERSIONS:])
    all_records = {**state.records, version: records}
    return (
        EstimateState(
            held=kept,
            records={name: known for name, known in all_records.items() if name in latest},
            seen_ms={name: at for name, at in seen_ms.items() if name in latest},
        ),
        comparisons,
    )
