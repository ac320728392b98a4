"""Bets against "the risk is at most m": factors whose running product is a nonnegative supermartingale if that is so.

Losses are in [0, 1]. A bet is settled for a whole batch of rows from their number, sum and sum of squares, with stakes
that were fixed before the batch, so the rows' order inside it plays no part and the guarantee is kept:

- *tilted*, stake a > 0: exp(a S - n ln(1 + m (e^a - 1))), since E exp(a X) <= 1 - m + m e^a for X in [0, 1] with mean
  at most m (W. Hoeffding, JASA 58, 1963, proof of theorem 1). For zeros and ones that is the product of the bets
  1 + b (x - m) of I. Waudby-Smith, A. Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86,
  2024, with b = (e^a - 1) / (1 + m (e^a - 1)).
- *empirical Bernstein*, stake 0 < s < 1: exp(s (S - n m) - psi(s) V) with V the sum of (x - g)^2 around a guess g that
  was fixed before the batch, psi(s) = -ln(1 - s) - s (the empirical Bernstein sequences there, by X. Fan, I. Grama,
  Q. Liu, "Exponential inequalities for martingales with applications", EJP 20, 2015). Sharper for losses that vary
  less than zeros and ones.

Half of the capital is spread over stakes of each kind, which run over powers of two: so no stake has to be chosen.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["BETS", "LOG_WEIGHTS", "log_factors", "log_sum", "spread_around"]

_TILTS: Final = 2.0 ** np.arange(1, -12, -1)
_STAKES: Final = 2.0 ** np.arange(-1, -12, -1)
_EXPM1: Final = np.expm1(_TILTS)
_PSI: Final = -np.log1p(-_STAKES) - _STAKES

#: Number of bets side by side.
BETS: Final = _TILTS.size + _STAKES.size
#: Logarithm of each bet's share of the capital, shape (BETS,).
LOG_WEIGHTS: Final = np.log(np.r_[np.full(_TILTS.size, 0.5 / _TILTS.size), np.full(_STAKES.size, 0.5 / _STAKES.size)])


def log_factors(rows: float, total: float, spread: float, risk: float) -> NDArray[np.float64]:
    """Logarithm of what each bet multiplies its capital by, shape (BETS,), against a risk of at most ``risk``.

    ``rows`` losses in [0, 1] with sum ``total``; ``spread``: their squared deviations from guesses made before, summed.
    """
    tilted = _TILTS * total - rows * np.log1p(risk * _EXPM1)
    bernstein = _STAKES * (total - rows * risk) - _PSI * spread
    return np.concatenate((tilted, bernstein))


def spread_around(guess: float, rows: float, total: float, squares: float) -> float:
    """The sum of (x - guess)^2 over rows with this sum and sum of squares; never negative."""
    return max(0.0, squares - 2.0 * guess * total + rows * guess * guess)


def log_sum(logs: NDArray[np.float64]) -> float:
    """ln of the sum of exp(logs), without overflow.

    >>> round(log_sum(np.log([1.0, 2.0, 5.0])), 12) == round(math.log(8.0), 12)
    True
    """
    largest = float(logs.max())
    return largest + math.log(float(np.exp(logs - largest).sum()))
