"""The data that the golden values and the tests are both made from: numpy alone, seeded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

World = dict[str, NDArray[np.float64]]


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1.0 / (1.0 + np.exp(-x))


def binary_world(name: str) -> tuple[World, World]:
    """Reference and window. ``grid``: scores that are multiples of 1/250, so that each bin holds one score."""
    chance = np.random.default_rng(11)

    def rows(count: int, shift: float) -> World:
        logits = chance.normal(-0.4 + shift, 1.5, count)
        truth = (chance.random(count) < _sigmoid(logits)).astype(np.int64)
        scores = _sigmoid(logits if name == "calibrated" else 2.0 * logits + 0.3)
        if name == "grid":
            scores = np.round(scores * 250.0) / 250.0
        return {"scores": scores, "labels": truth}

    return rows(5_000, 0.0), rows(2_000, 0.7)


def multiclass_world() -> tuple[World, World]:
    chance = np.random.default_rng(12)

    def rows(count: int, shift: float) -> World:
        logits = chance.normal([0.5 + shift, 0.0, -0.3], 1.2, (count, 3))
        shares = np.exp(logits)
        shares /= shares.sum(axis=1, keepdims=True)
        truth = (shares.cumsum(axis=1) < chance.random((count, 1))).sum(axis=1)
        sharp = shares**1.7
        return {"scores": sharp / sharp.sum(axis=1, keepdims=True), "labels": np.minimum(truth, 2)}

    return rows(5_000, 0.0), rows(2_000, 0.6)


def regression_world() -> tuple[World, World]:
    """Errors grow with x, and the window lies where they are large."""
    chance = np.random.default_rng(13)

    def rows(count: int, shift: float) -> World:
        x = chance.uniform(0.0 + shift, 2.0 + shift, count)
        z = chance.normal(0.0, 1.0, count)
        truth = 3.0 * x + z + chance.normal(0.0, 0.2 + 0.8 * np.clip(x, 0.0, 2.0), count)
        return {"x": x, "z": z, "hat": 3.0 * x, "y": truth}

    return rows(8_000, 0.0), _upper_half(rows(6_000, 0.0))


def _upper_half(world: World) -> World:
    chosen = world["x"] > 1.0
    return {name: column[chosen] for name, column in world.items()}


def delays_world() -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Delays in milliseconds below 32 (where bins are exact) with their censoring: (time, arrived)."""
    chance = np.random.default_rng(14)
    delays, censored_at = chance.geometric(0.12, 400), chance.integers(3, 31, 400)
    return np.minimum(delays, censored_at), delays <= censored_at
