"""What a feature's measurement means, in a sentence for a person."""

from __future__ import annotations

from driftloop.drift.distances import category_counts, scaled_wasserstein
from driftloop.drift.measure import Measurement
from driftloop.events.reports import MethodResult
from driftloop.profiles.categorical import CategoricalSummary
from driftloop.profiles.columns import PREDICTION
from driftloop.profiles.numeric import NumericSummary

__all__ = ["change_text", "evidence_text", "feature_text", "missing_text", "number_text", "percent_text", "unseen_text"]

# Below this many reference deviations a change of the mean is not what a person would call the change.
_NOTABLE_SHIFT = 0.1
_NOTABLE_SPREAD = 1.2
_NAMES_SHOWN = 3
_NAME_LENGTH = 40


def feature_text(feature: str) -> str:
    """The feature's name; for the model's output words."""
    return "the prediction" if feature == PREDICTION else feature


def number_text(value: float) -> str:
    """Three significant digits: ``0.25``, ``1,230``, ``1.2e+12``."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.3g}"


def percent_text(rate: float) -> str:
    return f"{100 * rate:.3g} %"


def change_text(feature: str, summary: NumericSummary | CategoricalSummary) -> str:
    """How the distribution of the values changed."""
    name = feature_text(feature)
    if isinstance(summary, NumericSummary):
        return _numeric_change(name, summary)
    reference, current = category_counts(summary.reference, summary)
    changes = current / max(int(current.sum()), 1) - reference / max(int(reference.sum()), 1)
    largest = int(abs(changes).argmax())
    names = summary.reference.names
    label = _quoted(names[largest]) if largest < len(names) else "what the reference has not"
    return (
        f"{name}: {label} makes up {percent_text(current[largest] / max(int(current.sum()), 1))} of the rows, "
        f"{percent_text(reference[largest] / max(int(reference.sum()), 1))} in the reference"
    )


def _numeric_change(name: str, summary: NumericSummary) -> str:
    reference = summary.reference
    mean = summary.mean()
    if mean is None or reference.mean is None:
        return f"{name} has no values to compare"
    if not reference.std:
        share = scaled_wasserstein(reference, summary) or 0.0
        return f"{name} was always {number_text(reference.mean)} in the reference, {percent_text(share)} of rows differ"
    shift = mean / reference.std - reference.mean / reference.std
    if abs(shift) >= _NOTABLE_SHIFT:
        direction = "higher" if shift > 0 else "lower"
        return (
            f"{name} is {number_text(abs(shift))} reference deviations {direction} than the reference "
            f"(mean {number_text(mean)} against {number_text(reference.mean)})"
        )
    spread = summary.std()
    ratio = None if spread is None else spread / reference.std
    if ratio is not None and (ratio >= _NOTABLE_SPREAD or ratio <= 1 / _NOTABLE_SPREAD):
        return f"{name} varies {number_text(ratio)} times as much as in the reference, about the same mean"
    return f"{name} has another shape than the reference, about the same mean and spread"


def missing_text(measurement: Measurement, infinite: int) -> str:
    """How much is missing, now and in the reference."""
    missing = measurement.missing
    also = f" ({infinite:,} rows are infinite)" if infinite else ""
    return (
        f"{feature_text(measurement.feature)} is missing in {percent_text(missing.rate)} of the rows{also}, "
        f"{percent_text(missing.reference_rate)} in the reference"
    )


def unseen_text(measurement: Measurement, summary: CategoricalSummary) -> str:
    """How many rows have categories that the reference has not, and the most frequent of those."""
    ranked = sorted(summary.unseen_names.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(_quoted(name) for name, _ in ranked[:_NAMES_SHOWN])
    more = ", ..." if len(ranked) > _NAMES_SHOWN else ""
    rate = measurement.unseen.rate if measurement.unseen else 0.0
    return (
        f"{percent_text(rate)} of the rows of {feature_text(measurement.feature)} have a category that the reference "
        f"has not ({shown}{more})"
    )


def evidence_text(results: list[MethodResult], adjusted_p_value: float | None) -> str:
    """The statistics that exceed their thresholds and the corrected p-value."""
    parts = [
        f"{result.method} {number_text(result.statistic)}, threshold {number_text(result.threshold)}"
        + (f" ({result.basis})" if result.basis else "")
        for result in results
        if result.exceeded and result.statistic is not None and result.threshold is not None
    ]
    if adjusted_p_value is not None:
        small = adjusted_p_value < 1e-6
        parts.append("adjusted p < 0.000001" if small else f"adjusted p = {number_text(adjusted_p_value)}")
    return "; ".join(parts)


def _quoted(name: str) -> str:
    return repr(name if len(name) <= _NAME_LENGTH else name[:_NAME_LENGTH] + "...")
