"""Does a feature hold a time that comes after the prediction, or tell how long the label took?

A number is taken for a time if nine in ten of its values, as seconds, milliseconds, microseconds or nanoseconds since
1970, lie within five years of the prediction; a text if nine in ten are dates and times in ISO 8601.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from driftloop.spec.model import ModelSpec
from driftloop.training.dataset import TrainingSet
from driftloop.training.validation.leakage import rank_correlation
from driftloop.training.validation.result import CheckResult, above

__all__ = ["time_checks", "times_of"]

Floats = NDArray[np.float64]

_UNITS_PER_MS = {"seconds": 1e-3, "milliseconds": 1.0, "microseconds": 1e3, "nanoseconds": 1e6}
_NEAR_MS = 5 * 365 * 86_400_000
#: Earlier predictions are of no real clock, and small numbers would be taken for times.
_REAL_CLOCK_MS = 946_684_800_000  # the year 2000
_MOST = 0.9
#: Whole seconds may be rounded up.
_ROUNDING_MS = 1_000
_DATE = r"\d{4}-\d\d-\d\d"


def time_checks(spec: ModelSpec, data: TrainingSet) -> Iterator[CheckResult]:
    """Times after the prediction, and features whose size goes with the time that the label took."""
    rules = spec.training.validation
    predicted = data.predicted_at_ms.astype(np.float64)
    taken = None if data.labeled_at_ms is None else data.labeled_at_ms.astype(np.float64) - predicted
    for name, feature in spec.features.items():
        if feature.kind not in ("numeric", "categorical") or name in rules.known_in_advance or not len(data):
            continue
        values = data.frame[name]
        times = times_of(values, predicted)
        if times is not None and rules.time_after_prediction is not None:
            share = float((times > predicted + _ROUNDING_MS).mean())
            yield above(
                "time_after_prediction",
                share,
                rules.time_after_prediction,
                f"{name!r} holds times, and in {share:.1%} of the rows one after the prediction",
                column=name,
            )
        if taken is None or rules.label_delay is None or (times is None and feature.kind != "numeric"):
            continue
        numbers = values.to_numpy(np.float64) if times is None else times - predicted
        known = np.isfinite(numbers)
        correlation = rank_correlation(numbers[known], taken[known])
        if correlation is not None:
            yield above(
                "label_delay",
                correlation**2,
                rules.label_delay,
                f"{name!r} goes with the time that the label took (squared rank correlation {correlation**2:.3f})",
                column=name,
                percent=False,
            )


def times_of(values: pd.Series[Any], predicted_at_ms: Floats) -> Floats | None:
    """The values as milliseconds since 1970 (NaN: missing), or None if they are no times."""
    if len(values) == 0 or np.median(predicted_at_ms) < _REAL_CLOCK_MS:
        return None
    if values.dtype == object:
        return _text_times(values)
    numbers = values.to_numpy(np.float64)
    known = np.isfinite(numbers)
    if not known.any():
        return None
    for per_ms in _UNITS_PER_MS.values():
        with np.errstate(over="ignore"):
            times = numbers / per_ms
            near = np.abs(times[known] - predicted_at_ms[known]) <= _NEAR_MS
        if near.mean() >= _MOST:
            return times
    return None


def _text_times(values: pd.Series[Any]) -> Floats | None:
    known = values.dropna().astype(str)
    if not len(known) or known.head(100).str.match(_DATE).mean() < _MOST:
        return None
    parsed = pd.to_datetime(values, format="ISO8601", errors="coerce", utc=True)
    if parsed.notna().sum() < _MOST * len(known):
        return None
    times = parsed.astype("datetime64[ms, UTC]").astype(np.int64).to_numpy(np.float64)
    return np.where(parsed.notna(), times, np.nan)
