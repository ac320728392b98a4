"""Upper tails of sums of squared normals, sum_k c_k Z_k**2: the null distributions of Cramér-von Mises and
Anderson-Darling statistics.

N. V. Smirnov's formula (1937; J. Durbin, "Distribution theory for tests based on the sample distribution function",
SIAM 1973, section 4.3), with m_k = 1 / c_k in ascending order:

    P(sum > x) = 1/pi sum_j (-1)**(j+1) integral from m_{2j-1} to m_{2j} of f(y) dy,
    f(y) = exp(-x y / 2) / (y sqrt|prod_k (1 - y / m_k)|)

It adds small terms only, so small probabilities keep their digits. The inverse square roots at both ends of each
integral are the weight of Gauss-Chebyshev quadrature.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfc

__all__ = ["anderson_darling_tail", "cramer_von_mises_tail", "quadratic_form_tail"]

_NODES = 96
_INTERVALS = 16
_MAX_COEFFICIENTS = 32  # even
_NEGLIGIBLE = 1e-9

# Below these values the first 16 intervals do not suffice, and the probability is 1 to nine digits.
_SMALLEST_CVM = 0.006
_SMALLEST_AD = 0.05

Floats = NDArray[np.float64]


class _Rule(NamedTuple):
    """P(sum > x) = sum of weights * exp(-x nodes / 2)."""

    nodes: Floats
    weights: Floats

    def tail(self, x: float) -> float:
        return min(max(float(self.weights @ np.exp(-0.5 * x * self.nodes)), 0.0), 1.0)


def cramer_von_mises_tail(x: float) -> float:
    """P(W**2 > x) of the limit W**2 = sum Z_k**2 / (k pi)**2, to about ten digits, for any x."""
    return 1.0 if x < _SMALLEST_CVM else _cramer_von_mises_rule().tail(x)


def anderson_darling_tail(x: float) -> float:
    """P(A**2 > x) of the limit A**2 = sum Z_k**2 / (k (k + 1)), to about ten digits, for any x."""
    return 1.0 if x < _SMALLEST_AD else _anderson_darling_rule().tail(x)


@cache
def _cramer_von_mises_rule() -> _Rule:
    k: Floats = np.arange(1.0, 2 * _INTERVALS + 1)
    nodes, halves = _chebyshev(np.square(k * math.pi))
    # prod (1 - y / (k pi)**2) = sin(sqrt y) / sqrt y
    root = np.sqrt(nodes)
    return _rule(nodes, halves, np.abs(np.sin(root)) / root)


@cache
def _anderson_darling_rule() -> _Rule:
    k: Floats = np.arange(1.0, 2 * _INTERVALS + 1)
    nodes, halves = _chebyshev(k * (k + 1))
    # prod (1 - y / (k (k + 1))) = -cos(pi/2 sqrt(1 + 4y)) / (pi y)
    return _rule(nodes, halves, np.abs(np.cos(math.pi / 2 * np.sqrt(1 + 4 * nodes))) / (math.pi * nodes))


def quadratic_form_tail(x: float, coefficients: Floats) -> float:
    """P(sum_k c_k Z_k**2 > x) for positive coefficients, shape (k,).

    To about six digits for distinct coefficients. Of more than 32 coefficients the smaller ones are taken at their
    mean, which changes hardly anything where they are small.
    """
    c = np.sort(coefficients)[::-1]
    c = c[c > _NEGLIGIBLE * c[:1].sum()]  # what is left of zeros by rounding
    if not c.size:
        return 1.0 if x < 0 else 0.0
    x -= float(c[_MAX_COEFFICIENTS:].sum())
    c = c[:_MAX_COEFFICIENTS]
    if x <= 0:
        return 1.0
    if c.size == 1:
        return float(erfc(math.sqrt(x / (2 * float(c[0])))))
    zeros = 1 / c
    paired = zeros[: c.size // 2 * 2]
    nodes, _ = _chebyshev(paired)
    total = 0.0
    for j, y in enumerate(nodes):
        # The factors of an interval's own two ends are what the quadrature has for its weight.
        others = np.delete(zeros, [2 * j, 2 * j + 1])
        product = np.abs(np.prod(1 - y[:, None] / others, axis=1))
        terms = np.exp(-0.5 * x * y) / (y * np.sqrt(product))
        total += (-1) ** j * math.sqrt(paired[2 * j] * paired[2 * j + 1]) * float(terms.mean())
    if c.size % 2:
        total += (-1) ** (c.size // 2) * _last_interval(x, zeros)
    return min(max(total, 0.0), 1.0)


def _last_interval(x: float, zeros: Floats) -> float:
    """The integral from the last of an odd number of zeros to infinity, y = last + 2 v**2 / x, by Gauss-Hermite."""
    last = float(zeros[-1])
    v, weights = _hermite_rule()
    y = last + 2 * v**2 / x
    product = np.abs(np.prod(1 - y[:, None] / zeros[:-1], axis=1))
    integral = float((weights / (y * np.sqrt(product))).sum()) / 2
    return math.exp(-0.5 * x * last) * 4 / x * math.sqrt(x * last / 2) * integral / math.pi


@cache
def _hermite_rule() -> tuple[Floats, Floats]:
    return np.polynomial.hermite.hermgauss(_NODES)


def _chebyshev(zeros: Floats) -> tuple[Floats, Floats]:
    """Nodes of shape (intervals, nodes) between the first and second zero, third and fourth, ..., and at each node the
    square root of its distances to both ends of its interval multiplied."""
    low, high = zeros[0::2, None], zeros[1::2, None]
    angles = (np.arange(_NODES) + 0.5) * (math.pi / _NODES)
    middle, half = (low + high) / 2, (high - low) / 2
    return middle + half * np.cos(angles), half * np.sin(angles)


def _rule(nodes: Floats, halves: Floats, product: Floats) -> _Rule:
    signs = (-1.0) ** np.arange(nodes.shape[0])[:, None]
    weights = signs * halves / (_NODES * nodes * np.sqrt(product))
    return _Rule(nodes.ravel(), weights.ravel())
