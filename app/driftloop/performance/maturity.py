"""How mature a window's labels are, and its metrics corrected for the labels that are still to come.

Every labeled row counts as many as it stands for: one over the chance that a label like its own had come by now, at the
age of its prediction, as earlier windows tell.

References: D. G. Horvitz, D. J. Thompson, JASA 47, 1952 (inverse probability weights); J. Hájek, 1971 (their ratio);
L. Kish, "Survey Sampling", 1965 (effective sample size).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftloop.events.reports import AgeShare, LabelReport, MetricReport
from driftloop.performance.arrivals import LOSS_NAMES, SLOTS, Arrivals
from driftloop.performance.delays import DelayHistogram
from driftloop.performance.intervals import wilson_interval, z_value
from driftloop.performance.kaplan_meier import kaplan_meier
from driftloop.performance.outcomes import OutcomeStats
from driftloop.performance.sparse import to_sparse

__all__ = ["CORRECTED", "DelayHistory", "corrected_metrics", "label_report"]

#: Suffix of a provisional metric that is corrected for labels still to come.
CORRECTED: Final = "~corrected"
#: Windows whose delays tell what is to be expected.
HISTORY_WINDOWS: Final = 8
#: A stratum with fewer labels in those windows takes the delays of all.
_STRATUM_LABELS: Final = 30
#: Rows whose label had come with less chance than this stand for too many others: they are left out, and said so.
_LEAST_CHANCE: Final = 0.05
_AGES_MS: Final = (
    *(60_000, 300_000, 900_000, 3_600_000, 6 * 3_600_000, 86_400_000),
    *(3 * 86_400_000, 7 * 86_400_000, 14 * 86_400_000, 30 * 86_400_000, 90 * 86_400_000),
)
_MOST_AGES: Final = 6


class DelayHistory(msgspec.Struct, frozen=True):
    """Label delays of a model's last final windows, oldest first: by stratum, as DelayHistogram on the wire."""

    windows: list[list[list[list[int]]]] = msgspec.field(default_factory=list)

    def after(self, arrivals: Sequence[Arrivals]) -> DelayHistory:
        """With one more final window, of which these are the versions."""
        if not arrivals:
            return self
        strata = [delays.copy() for delays in arrivals[0].delays]
        for other in arrivals[1:]:
            for mine, theirs in zip(strata, other.delays, strict=True):
                mine.merge(theirs)
        return DelayHistory([*self.windows, [to_sparse(delays.counts) for delays in strata]][-HISTORY_WINDOWS:])

    def strata(self) -> list[DelayHistogram]:
        """All windows together, by stratum."""
        total: list[DelayHistogram] = []
        for window in self.windows:
            for index, wire in enumerate(window):
                if index == len(total):
                    total.append(DelayHistogram())
                delays = DelayHistogram()
                delays.load(wire)
                total[index].merge(delays)
        return total


def label_report(
    stats: OutcomeStats,
    *,
    start_ms: int,
    horizon_ms: int,
    watermark_ms: int | None,
    history: DelayHistory | None = None,
) -> LabelReport:
    """Delays, coverage by age and maturity. ``watermark_ms``: up to where labels have been read; None once final.

    In an open window the shares are Kaplan and Meier's: a prediction whose label has not come is censored at its age.
    The latest age for which the window can speak is that of its first prediction.
    """
    arrivals = stats.arrivals
    shares: list[AgeShare] = []
    never: float | None = None
    ages_ms = np.array([horizon_ms], np.int64)
    predicted, labeled = np.array([stats.predicted], np.int64), np.array([stats.labeled], np.int64)
    if watermark_ms is not None and arrivals is not None:
        ages_ms = _ages(arrivals, start_ms, horizon_ms, watermark_ms)
        predicted, labeled = arrivals.predicted, arrivals.labeled.sum(axis=0)
    if stats.predicted > 0 and (watermark_ms is None or arrivals is not None):
        curve = kaplan_meier(*stats.delays.table(), ages_ms, predicted - labeled)
        known_ms = int(ages_ms[predicted > 0].max(initial=0))
        for age_ms in _shown_ages(horizon_ms):
            if age_ms <= known_ms:
                share, half = curve.arrived(age_ms), z_value(0.95) * curve.standard_error(age_ms)
                low, high = max(0.0, share - half), min(1.0, share + half)
                shares.append(AgeShare(age_ms=age_ms, share=share, low=low, high=high))
        if int(ages_ms[predicted > 0].min(initial=horizon_ms)) >= horizon_ms:
            never = 1.0 - curve.arrived(horizon_ms)
    maturity, effective = 1.0 if watermark_ms is None else None, float(max(0, stats.labeled))
    if arrivals is not None and watermark_ms is not None:
        weights = _weights(arrivals, start_ms, horizon_ms, watermark_ms, history)
        if weights is not None:
            maturity = _maturity(arrivals, weights)
            effective = _effective(arrivals.labeled, weights)
    return LabelReport(
        delay_p50_ms=stats.delay_quantile_ms(0.5),
        delay_p90_ms=stats.delay_quantile_ms(0.9),
        delay_p99_ms=stats.delay_quantile_ms(0.99),
        coverage_by_age=shares,
        never_share=never,
        maturity=maturity,
        effective_rows=effective,
    )


def corrected_metrics(
    stats: OutcomeStats,
    *,
    start_ms: int,
    horizon_ms: int,
    watermark_ms: int,
    history: DelayHistory,
    confidence: float = 0.95,
) -> list[MetricReport]:
    """Metrics of an open window as they would be with every label there, called ``<metric>~corrected``.

    Right if a label's delay hangs on nothing but what it says (and the age of its prediction), and labels take as long
    as in the windows before. Proportions have Wilson's interval for the effective rows. Nothing without a final window
    before, or where no label has come.
    """
    arrivals = stats.arrivals
    if arrivals is None:
        return []
    weights = _weights(arrivals, start_ms, horizon_ms, watermark_ms, history)
    labeled = np.maximum(arrivals.labeled, 0)
    if weights is None:
        return []
    total = float((labeled * weights).sum())
    if total <= 0.0:
        return []
    effective = _effective(labeled, weights)
    maturity = _maturity(arrivals, weights)
    values: dict[str, tuple[float, float | None]] = {}  # value, the share of the effective rows it is a proportion of
    if arrivals.task != "regression":
        right = float((arrivals.right * weights).sum())
        values["accuracy"] = (right / total, 1.0)
    if arrivals.task == "binary":
        by_label = (labeled * weights).sum(axis=1)
        right_by_label = (arrivals.right * weights).sum(axis=1)
        hits, misses = float(right_by_label[1]), float(by_label[1] - right_by_label[1])
        alarms = float(by_label[0] - right_by_label[0])
        values["base_rate"] = (float(by_label[1]) / total, 1.0)
        if hits + alarms > 0.0:
            values["precision"] = (hits / (hits + alarms), (hits + alarms) / total)
        if hits + misses > 0.0:
            values["recall"] = (hits / (hits + misses), (hits + misses) / total)
        if 2.0 * hits + alarms + misses > 0.0:
            values["f1"] = (2.0 * hits / (2.0 * hits + alarms + misses), None)
    for index, name in enumerate(LOSS_NAMES[arrivals.task]):
        # A mean per cell before it is weighed: what was left out is left out of both.
        values[name] = (float((arrivals.loss_sums(index) * weights).sum()) / total, None)
    if "mse" in values:
        values["rmse"] = (math.sqrt(max(0.0, values["mse"][0])), None)
    reports = []
    for name, (value, part) in values.items():
        if not math.isfinite(value):
            continue
        bounded = min(1.0, max(0.0, value)) if part is not None else value
        low, high = (None, None) if part is None else wilson_interval(bounded, max(1.0, effective * part), confidence)
        share = "unknown" if maturity is None else f"{maturity:.0%}"
        reports.append(
            MetricReport(
                metric=f"{name}{CORRECTED}",
                value=bounded,
                low=low,
                high=high,
                reference=None,
                rows=stats.labeled,
                sentence=f"{name} would be {bounded:.4g} with every label; {share} of those that will come are there, "
                f"worth {effective:.0f} rows",
            )
        )
    return reports


def _ages(arrivals: Arrivals, start_ms: int, horizon_ms: int, watermark_ms: int) -> NDArray[np.int64]:
    """Age of the predictions of each slot (of its middle), no more than the horizon; 0 for those still ahead."""
    middles = start_ms + (2 * np.arange(SLOTS, dtype=np.int64) + 1) * arrivals.window_ms // (2 * SLOTS)
    return np.clip(watermark_ms - middles, 0, horizon_ms)


def _shown_ages(horizon_ms: int) -> list[int]:
    return [*[age for age in _AGES_MS if age < horizon_ms][-_MOST_AGES:], horizon_ms]


def _weights(
    arrivals: Arrivals, start_ms: int, horizon_ms: int, watermark_ms: int, history: DelayHistory | None
) -> NDArray[np.float64] | None:
    """One over the chance that a label that will come has come, by stratum and slot; 0 where that is next to none."""
    strata = history.strata() if history is not None else []
    if len(strata) != len(arrivals.delays) or not any((delays.counts > 0).any() for delays in strata):
        return None
    pooled = DelayHistogram()
    for delays in strata:
        pooled.merge(delays)
    ages_ms = _ages(arrivals, start_ms, horizon_ms, watermark_ms)
    weights = np.zeros(arrivals.labeled.shape)
    for stratum, delays in enumerate(strata):
        times_ms, counts = (delays if int(delays.counts.sum()) >= _STRATUM_LABELS else pooled).table()
        reached = np.concatenate([[0], np.cumsum(np.maximum(counts, 0))])
        chance = reached[times_ms.searchsorted(ages_ms, side="right")] / reached[-1]
        likely = chance >= _LEAST_CHANCE
        weights[stratum, likely] = 1.0 / chance[likely]
    return weights


def _maturity(arrivals: Arrivals, weights: NDArray[np.float64]) -> float | None:
    """Share of the labels that will come which have come, over the whole window.

    Slots that are too young are taken to get as many labels for each prediction as the others.
    """
    labeled = np.maximum(arrivals.labeled, 0)
    seen = (weights > 0.0).any(axis=0)
    predicted_seen = int(arrivals.predicted[seen].sum())
    expected = float((labeled * weights).sum())
    if not predicted_seen or expected <= 0.0:
        return None
    expected *= int(arrivals.predicted.sum()) / predicted_seen
    return min(1.0, float(labeled.sum()) / expected) if expected > 0.0 else None


def _effective(labeled: NDArray[np.int64], weights: NDArray[np.float64]) -> float:
    counts = np.maximum(labeled, 0)
    second = float((counts * weights * weights).sum())
    return float((counts * weights).sum()) ** 2 / second if second > 0.0 else 0.0
