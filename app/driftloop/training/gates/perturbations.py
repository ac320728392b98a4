"""Rows as they come on a bad day: noise on numbers, values missing, categories that training never saw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from driftloop.spec.gates import GateSpec
from driftloop.spec.model import ModelSpec

__all__ = ["UNSEEN", "Perturbation", "perturbations", "spread"]

#: A category that no training data has: driftloop keeps names that begin with '@' to itself.
UNSEEN: Final = "@unseen"
#: A normal distribution's interquartile range in standard deviations.
_QUARTILES = 1.3489795003921634


@dataclass(frozen=True, eq=False)
class Perturbation:
    """A perturbed copy of the rows, what was done to them, and by how much the metric may fall (None: any)."""

    name: str
    frame: pd.DataFrame
    bound: float | None


def perturbations(
    spec: ModelSpec, gate: GateSpec, frame: pd.DataFrame, reference: pd.DataFrame, seed: int
) -> Iterator[Perturbation]:
    """Every perturbation that the gate asks for and that changes something, each with chance of its own.

    A required feature is never missing: such rows are refused before a model sees them.
    """
    numeric = [name for name, feature in spec.features.items() if feature.kind == "numeric"]
    categorical = [name for name, feature in spec.features.items() if feature.kind == "categorical"]
    optional = [name for name in (*numeric, *categorical) if not spec.features[name].required]
    if gate.noise and numeric:
        chance = np.random.default_rng([seed, 0])
        changed = {name: _noisy(spec, name, frame, reference, gate.noise, chance) for name in numeric}
        yield Perturbation(f"noise of {gate.noise:g} spreads", frame.assign(**changed), gate.bound)
    if gate.missing and optional:
        chance = np.random.default_rng([seed, 1])
        lost = {name: _replaced(frame[name], chance.random(len(frame)) < gate.missing, None) for name in optional}
        yield Perturbation(f"{gate.missing:.0%} of values missing", frame.assign(**lost), gate.bound)
    if gate.unseen and categorical:
        chance = np.random.default_rng([seed, 2])
        new = {name: _replaced(frame[name], chance.random(len(frame)) < gate.unseen, UNSEEN) for name in categorical}
        yield Perturbation(f"{gate.unseen:.0%} of categories unseen", frame.assign(**new), gate.bound)
    if gate.each_missing is not None:
        every = np.ones(len(frame), np.bool_)
        for name in optional:
            lost = {name: _replaced(frame[name], every, None)}
            yield Perturbation(f"{name} missing", frame.assign(**lost), gate.each_missing)


def spread(values: NDArray[np.float64]) -> float:
    """Standard deviation of a feature, or its interquartile range / 1.349 if that is smaller and not 0 (Silverman,
    Density Estimation, 1986, formula 3.30): outliers must not blow up the noise. 0 without two finite values."""
    finite = values[np.isfinite(values)]
    if len(finite) < 2:
        return 0.0
    # Divided by its largest value, so that squares do not overflow.
    scale = float(np.abs(finite).max()) or 1.0
    low, high = np.quantile(finite / scale, [0.25, 0.75])
    deviation, quartiles = float(np.std(finite / scale)), float(high - low) / _QUARTILES
    return scale * (min(deviation, quartiles) if quartiles > 0.0 else deviation)


def _noisy(
    spec: ModelSpec, name: str, frame: pd.DataFrame, reference: pd.DataFrame, share: float, chance: np.random.Generator
) -> pd.Series[float]:
    """Normal noise. Whole numbers stay whole, and within the feature's bounds in the spec: what is tried can occur."""
    known = reference[name].to_numpy(np.float64)
    values = frame[name].to_numpy(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        noisy = values + share * spread(known) * chance.standard_normal(len(values))
    seen = known[np.isfinite(known)]
    if seen.size and (seen == np.round(seen)).all():
        noisy = np.round(noisy)
    feature = spec.features[name]
    if feature.minimum is not None or feature.maximum is not None:
        noisy = np.clip(noisy, feature.minimum, feature.maximum)
    return pd.Series(noisy, index=frame.index)


def _replaced(values: pd.Series[float] | pd.Series[str], where: NDArray[np.bool_], by: str | None) -> pd.Series[float]:
    if values.dtype != object:
        return pd.Series(np.where(where, np.nan, values.to_numpy(np.float64)), index=values.index)
    changed = values.to_numpy(object).copy()
    changed[where] = by
    return pd.Series(changed, index=values.index, dtype=object)
