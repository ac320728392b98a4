"""What a challenger must pass."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from driftloop.spec.basics import Fraction

__all__ = [
    "GateSpec",
    "default_gates",
]


class GateSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One gate. ``metric``: challenger against champion on the holdout, by ``superiority`` (interval above ``margin``),
    ``non_inferiority`` (interval above ``-margin``) or ``better`` (the point estimate is above ``margin``). ``sanity``:
    not constant, no NaN, in range. ``loadable``: the artifact loads and predicts the same."""

    gate: Literal["metric", "sanity", "loadable"]
    metric: str | None = None
    mode: Literal["superiority", "non_inferiority", "better"] = "non_inferiority"
    margin: float = 0.0
    confidence: Fraction = 0.95


def default_gates() -> list[GateSpec]:
    return [GateSpec(gate="sanity"), GateSpec(gate="loadable"), GateSpec(gate="metric", margin=0.01)]
