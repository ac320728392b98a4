"""Whether a router splits predictions between the two arms of a canary as planned: a test that holds at all times."""

from __future__ import annotations

import math

from driftloop.concept.batch import finite_exp

__all__ = ["ratio_e_value", "ratio_log_e_value"]


def ratio_log_e_value(champion_rows: int, challenger_rows: int, share: float) -> float:
    """ln of the evidence against "each row goes to the challenger with probability ``share``".

    The Bayes factor of a uniform prior over all shares against the planned one,
    B(1 + c, 1 + k) / (share^k (1 - share)^c) with the beta function B and the arms' rows c and k. If the plan holds, it
    is a nonnegative martingale that starts at 1, so it reaches 1 / alpha with probability at most ``alpha`` over all
    time (Ville), however often one looks. It depends on the counts alone, not on the rows' order.

    Reference: M. Lindon, A. Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022 (arXiv
    2011.03567), the multinomial test with a flat Dirichlet prior, for two arms.

    >>> ratio_log_e_value(0, 0, 0.1)
    0.0
    >>> ratio_log_e_value(500, 500, 0.5) < 0.0 < ratio_log_e_value(600, 400, 0.5)
    True
    """
    rows = champion_rows + challenger_rows
    if not rows:
        return 0.0
    beta = math.lgamma(1.0 + champion_rows) + math.lgamma(1.0 + challenger_rows) - math.lgamma(2.0 + rows)
    return beta - challenger_rows * math.log(share) - champion_rows * math.log1p(-share)


def ratio_e_value(champion_rows: int, challenger_rows: int, share: float) -> float:
    """:func:`ratio_log_e_value` as the evidence itself, never infinite."""
    return finite_exp(ratio_log_e_value(champion_rows, challenger_rows, share))
