"""An e-detector: raises an alarm on a stream that is well once in 1 / alpha batches at most, in the long run."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from msgspec import field
from numpy.typing import NDArray

from driftloop.concept.batch import BatchDetector, finite_exp
from driftloop.concept.bets import BETS, LOG_WEIGHTS, log_sum

__all__ = ["EDetector"]


class EDetector(BatchDetector, kw_only=True, tag="e_detector"):
    """Sums (``sr``, Shiryaev-Roberts) or maxima (``cusum``) of e-processes that begin at every batch.

    With L_k the factor of bet k in a batch: M_k = L_k (M_k + 1) for ``sr``, L_k max(M_k, 1) for ``cusum``, and M the
    mean of the M_k by the bets' shares of the capital. As long as every batch has a risk of at most ``bound``, the
    expected number of batches up to the first M >= 1 / ``alpha`` is at least 1 / ``alpha``: the average run length.
    Unlike a confidence sequence, it does not lose power by a long good past. It starts anew after an alarm. ``sr`` is
    never below ``cusum``, so its alarms come first, true and false ones: its M grows by about 1 a batch while nothing
    happens, that of ``cusum`` stays where it is. O(1) memory and time a batch.

    Reference: J. Shin, A. Ramdas, A. Rinaldo, "E-detectors: a nonparametric framework for sequential change detection",
    NEJSDS 2, 2024 (arXiv 2203.03532): e-SR and e-CUSUM procedures and mixtures of e-detectors.

    >>> detector = EDetector(alpha=0.001, bound=0.25, reference=0.2)
    >>> detector.update([0.0, 0.0, 1.0, 0.0, 0.0] * 1000)
    []
    >>> alarms = detector.update([1.0, 0.0] * 50)
    >>> len(alarms) > 0, 4985 <= detector.changed_at
    (True, True)
    """

    alpha: float = 0.0001
    kind: Literal["sr", "cusum"] = "cusum"

    stakes: list[float] = field(default_factory=lambda: [0.0] * BETS)  # ln of M_k + 1, or of max(M_k, 1)
    level: float | None = None  # ln of M

    def fresh_state(self) -> dict[str, Any]:
        return {**BatchDetector.fresh_state(self), "stakes": [0.0] * BETS, "level": None}

    def _settle(self, factors: NDArray[np.float64], at: int) -> bool:
        raised = np.asarray(self.stakes) + factors
        self.level = max(log_sum(LOG_WEIGHTS + raised), -700.0)
        if self.kind == "sr":
            self.stakes = np.logaddexp(0.0, raised).tolist()
        else:
            self.stakes = np.maximum(0.0, raised).tolist()
        line = math.log(1.0 / self.alpha)
        alarm = self.level >= line
        self.warning = not alarm and self.level >= line - math.log(10.0)
        return alarm

    @property
    def statistic(self) -> float | None:
        return None if self.level is None else finite_exp(self.level)

    @property
    def threshold(self) -> float | None:
        return 1.0 / self.alpha
