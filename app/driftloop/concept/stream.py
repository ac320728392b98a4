"""From a window's loss bins to what detectors take: numbers in order, with the times at which they were predicted.

Windows are merged from partials, so the order of rows inside a bin is not known, and none is made up from it: a stream
of losses gives one number a bin, its mean; a stream of errors gives the bin's zeros and ones spread evenly. Both are a
function of the bins alone. The price is that what varies faster than a bin is not seen, and that evenly spread errors
vary less than real ones, which makes detectors that live on that (EDDM) quieter or later.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from driftloop.performance.loss_bins import LossBin

__all__ = ["Stream", "deviations_of", "evenly", "values_of"]

Stream = Literal["error", "loss"]


def evenly(rows: int, ones: int) -> NDArray[np.float64]:
    """``ones`` ones among ``rows`` numbers, as evenly as integers allow, the first half a step in.

    >>> evenly(8, 2).tolist()
    [0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0]
    """
    steps = (np.arange(rows + 1, dtype=np.int64) * ones + rows // 2) // max(rows, 1)
    return np.diff(steps).astype(np.float64)


def values_of(part: LossBin, stream: Stream) -> NDArray[np.float64]:
    """A bin's numbers in [0, 1]: shape (rows,) of zeros and ones for errors, (1,) for losses."""
    if stream == "error":
        return evenly(part.rows, part.errors)
    return np.array([part.total / part.rows])


def deviations_of(part: LossBin, stream: Stream, mean: float, deviation: float) -> NDArray[np.float64]:
    """The same less the reference's ``mean`` and in its standard deviations; a bin's mean in those of a mean of so many
    rows, sqrt(rows) times as many. Where nothing has changed the numbers have mean 0 and deviation 1, whatever the
    unit of the loss and the size of the bin."""
    scale = 1.0 if stream == "error" else math.sqrt(part.rows)
    return (values_of(part, stream) - mean) * (scale / deviation)
