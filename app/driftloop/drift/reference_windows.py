"""The reference cut into windows: how far its own pieces stray from the rest of it, method by method.

Kept in the profile (:class:`driftloop.profiles.reference.WindowStatistics`), they are what thresholds by ``spread`` and
``quantile`` look at. Each piece is compared with the reference less that piece, so that it is not compared with itself.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftloop.drift.statistic import statistic_of
from driftloop.profiles.columns import Columns, select_rows
from driftloop.profiles.counted import recounted, without_rows
from driftloop.profiles.inputs import InputStats
from driftloop.profiles.numeric import NumericSummary
from driftloop.profiles.reference import ReferenceProfile, WindowStatistics
from driftloop.profiles.segments import segment_rows
from driftloop.spec.model import DriftMethod, ModelSpec
from driftloop.spec.thresholds import ThresholdRule

__all__ = ["MAX_PIECES", "with_reference_windows"]

#: The latest so many windows of the reference are kept.
MAX_PIECES = 400

# Bytes of a profile are read by every worker: more digits than this say nothing about a quantile over windows.
_DIGITS = 6


def with_reference_windows(
    profile: ReferenceProfile, spec: ModelSpec, columns: Columns, times_ms: NDArray[np.int64]
) -> ReferenceProfile:
    """The profile with the statistics of its own windows, of every length that the spec judges.

    ``columns`` are those that the profile was built from, ``times_ms`` (n,) int64 the event times of their rows in any
    order. Pieces with fewer usable values than ``spec.minimum_rows``, or with fewer than half of the median piece's
    rows (where the data begins or ends), are left out. For all rows the statistics of every method with a threshold are
    kept, for segments only of those whose thresholds look at them. Raises ``ValueError`` if the times do not fit.
    """
    times = np.asarray(times_ms, dtype=np.int64)
    if times.shape != (profile.rows,):
        raise ValueError(f"the reference has {profile.rows} rows and got {times.shape} event times; give one each")
    whole = _of_rows(profile, spec, columns, times, rules_only=False)
    segments: dict[str, ReferenceProfile] = dict(profile.segments)
    if any(_needs_windows(method) for method in (*spec.drift.numeric, *spec.drift.categorical)):
        for names in spec.segments:
            for key, rows in segment_rows(names, columns).items():
                part = profile.segments[key]
                segments[key] = _of_rows(part, spec, select_rows(columns, rows), times[rows], rules_only=True)
    return msgspec.structs.replace(whole, segments=segments)


def _needs_windows(method: DriftMethod) -> bool:
    return any(isinstance(rule, ThresholdRule) and rule.needs_windows for rule in (method.threshold, method.critical))


def _of_rows(
    profile: ReferenceProfile, spec: ModelSpec, columns: Columns, times: NDArray[np.int64], *, rules_only: bool
) -> ReferenceProfile:
    methods: dict[str, list[str]] = {
        kind: [
            method.method
            for method in listed
            if _needs_windows(method) or (method.threshold is not None and not rules_only)
        ]
        for kind, listed in (("numeric", spec.drift.numeric), ("categorical", spec.drift.categorical))
    }
    lengths_ms = sorted({spec.window_ms, *spec.sliding_ms.values()})
    return msgspec.structs.replace(
        profile,
        windows=[
            WindowStatistics(
                window_ms=length_ms, features=_statistics(profile, spec, columns, times, length_ms, methods)
            )
            for length_ms in lengths_ms
        ],
    )


def _statistics(
    profile: ReferenceProfile,
    spec: ModelSpec,
    columns: Columns,
    times: NDArray[np.int64],
    length_ms: int,
    methods: dict[str, list[str]],
) -> dict[str, dict[str, list[float]]]:
    found: dict[str, dict[str, list[float]]] = {}
    for rows in _pieces(times, length_ms):
        piece = InputStats(profile)
        piece.update(select_rows(columns, rows.tolist()), rows.size)
        rest = msgspec.structs.replace(
            profile, features={name: without_rows(part) for name, part in piece.features.items()}
        )
        for name, summary in recounted(piece, rest).features.items():
            if summary.rows < spec.minimum_rows:
                continue
            for method in methods["numeric" if isinstance(summary, NumericSummary) else "categorical"]:
                statistic = statistic_of(method, summary)
                if statistic is not None and math.isfinite(statistic):
                    found.setdefault(name, {}).setdefault(method, []).append(float(f"{statistic:.{_DIGITS}g}"))
    return found


def _pieces(times: NDArray[np.int64], length_ms: int) -> list[NDArray[np.intp]]:
    """Positions of the rows of each window in order of time. Windows begin at multiples of their length, as live."""
    order = np.argsort(times, kind="stable")
    numbers = times[order] // length_ms
    pieces = np.split(order, np.flatnonzero(np.diff(numbers)) + 1)[-MAX_PIECES:]
    usual = np.median([piece.size for piece in pieces])
    return [piece for piece in pieces if piece.size * 2 >= usual]
