"""Which rows of the holdout are fair to compare a challenger with the champion on.

A model's metric on rows that it was fitted on says nothing about new ones, and flatters it. So both models are compared
out of sample and out of time: on rows later than what either has learned. The challenger's are the holdout by
construction; after a promotion the champion, fitted on all rows of its day, has learned the older part of the holdout.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["FairRows", "fair_rows"]


@dataclass(frozen=True, eq=False)
class FairRows:
    """``chosen`` (n,) marks the rows to compare on. ``known`` counts the holdout's rows that the champion has scores
    for, ``learned`` the chosen ones that it was trained on (0 but where the spec allows them), and ``left_out`` the
    rows that were not chosen because it was."""

    chosen: NDArray[np.bool_]
    known: int
    learned: int
    left_out: int

    def too_few(self, minimum: int) -> bool:
        """Whether rows were left out and fewer than ``minimum`` are there; of a smaller holdout all are enough, so that
        waiting always helps."""
        return self.left_out > 0 and int(self.chosen.sum()) < min(minimum, self.known)


def fair_rows(
    known: NDArray[np.bool_], unseen: NDArray[np.bool_], *, learned_if_fewer_than: int | None = None
) -> FairRows:
    """``known`` (n,): the champion has finite scores; ``unseen`` (n,): later than what it has learned.

    ``learned_if_fewer_than``: with fewer unseen rows all known ones are chosen (``training.compare_on_learned``).

    >>> fair = fair_rows(np.array([True] * 5), np.array([False, False, False, True, True]))
    >>> fair.chosen.tolist(), fair.left_out, fair.too_few(3), fair.too_few(2)
    ([False, False, False, True, True], 3, True, False)
    """
    later = unseen & known
    if learned_if_fewer_than is not None:
        chosen = later if int(later.sum()) >= learned_if_fewer_than else known
        return FairRows(chosen, int(known.sum()), int((chosen & ~unseen).sum()), 0)
    return FairRows(later, int(known.sum()), 0, int((known & ~unseen).sum()))
