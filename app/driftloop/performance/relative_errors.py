"""Errors in relation to the size of what was predicted, row by row; the operations give the same bits everywhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from driftloop.performance.logarithm import natural_log

__all__ = ["even_shares", "label_shares", "squared_log_ratios"]

_Floats = NDArray[np.float64]


def squared_log_ratios(predictions: _Floats, labels: _Floats, out: _Floats) -> int:
    """(log(1 + prediction) - log(1 + label))² of each row, shape (n,), into ``out``; 0 where either is -1 or less.

    Returns for how many rows it is defined.
    """
    defined = (predictions > -1.0) & (labels > -1.0)
    difference = np.zeros(predictions.size)
    difference[defined] = _log_of_one_plus(predictions[defined]) - _log_of_one_plus(labels[defined])
    np.multiply(difference, difference, out=out)
    return int(np.count_nonzero(defined))


def _log_of_one_plus(values: _Floats) -> _Floats:
    """log(1 + x) for x > -1. What rounding takes from 1 + x is given back (W. Kahan's formula)."""
    sums = 1.0 + values
    moved = sums - 1.0
    logs = natural_log(sums)
    return np.where(moved == 0.0, values, logs * np.divide(values, moved, out=np.ones_like(values), where=moved != 0.0))


def label_shares(absolute_errors: _Floats, labels: _Floats, out: _Floats) -> int:
    """|error| / |label| of each row, shape (n,), into ``out``; 0 where the label is 0. Returns how many are not."""
    sizes = np.abs(labels)
    nonzero = sizes > 0.0
    out[:] = 0.0
    np.divide(absolute_errors, sizes, out=out, where=nonzero)
    return int(np.count_nonzero(nonzero))


def even_shares(predictions: _Floats, labels: _Floats, out: _Floats) -> None:
    """2 |prediction - label| / (|prediction| + |label|) of each row, shape (n,), into ``out``; 0 for 0 / 0."""
    # Halves, so that the largest numbers do not overflow.
    half_predictions, half_labels = predictions / 2.0, labels / 2.0
    both = np.abs(half_predictions) + np.abs(half_labels)
    out[:] = 0.0
    np.divide(np.abs(half_predictions - half_labels), both, out=out, where=both > 0.0)
    out *= 2.0
