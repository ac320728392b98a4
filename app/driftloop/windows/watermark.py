"""Watermarks: how far a log has come in event time.

The watermark of a topic partition is the largest event time seen in it less the model's allowed lateness. Whether a
record is late is decided against the maximum *before* it, so it depends on that partition's order alone, and not on
how its records were cut into batches.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["maxima_before"]


def maxima_before(times_ms: NDArray[np.int64], maximum_ms: int) -> tuple[NDArray[np.int64], int]:
    """For each record the largest event time before it, and the largest after all of them.

    ``times_ms``: int64 (n,) in log order; ``maximum_ms``: the largest before the first.

    >>> before, after = maxima_before(np.array([5, 3, 9]), 4)
    >>> before.tolist(), after
    ([4, 5, 5], 9)
    """
    running = np.empty(len(times_ms) + 1, np.int64)
    running[0] = maximum_ms
    running[1:] = times_ms
    np.maximum.accumulate(running, out=running)
    return running[:-1], int(running[-1])
