"""Mostly empty count vectors in JSON: the indices of the counts that are not zero, as steps, and the counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["load_sparse", "to_sparse"]


def to_sparse(counts: NDArray[np.int64]) -> list[list[int]]:
    """``[steps between indices, counts]`` of the non-zero entries of shape (n,). Equal vectors give equal lists.

    >>> to_sparse(np.array([0, 3, 0, 0, -1]))
    [[1, 3], [3, -1]]
    """
    indices = np.flatnonzero(counts)
    return [np.diff(indices, prepend=0).tolist(), counts[indices].tolist()]


def load_sparse(wire: object, size: int) -> NDArray[np.int64]:
    """The int64 vector of shape (size,) that :func:`to_sparse` described. Raises ``ValueError`` if it does not fit."""
    if not isinstance(wire, list) or len(wire) != 2 or len(wire[0]) != len(wire[1]):
        raise ValueError(f"expected sparse counts as [steps, counts], got {str(wire)[:80]}")
    counts = np.zeros(size, np.int64)
    indices = np.cumsum(np.asarray(wire[0], np.int64))
    if indices.size and (indices[0] < 0 or indices[-1] >= size or (np.diff(indices) <= 0).any()):
        raise ValueError(f"sparse counts do not fit a vector of {size}: the indices must rise and stay below it")
    counts[indices] = wire[1]
    return counts
