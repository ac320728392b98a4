"""What to train, and on what."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct, field

from driftloop.events.time import parse_duration_ms
from driftloop.spec.basics import Duration, PositiveInt

__all__ = [
    "TrainingSpec",
]


class TrainingSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What to train and on what: ``last`` so long before the command's window end; the last ``holdout`` share of the
    rows, later in time than the rest, is kept for the gates. ``since_change``: not before the change that a concept
    detector has dated, if so many rows are expected since then as ``minimum_rows``."""

    estimator: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    last: Duration = "60d"
    since_change: bool = False
    holdout: Annotated[float, Meta(gt=0.0, lt=1.0)] = 0.2
    minimum_rows: PositiveInt = 500
    refit_on_all: bool = True
    time_limit: Duration = "10m"

    @property
    def last_ms(self) -> int:
        return parse_duration_ms(self.last)

    @property
    def time_limit_ms(self) -> int:
        return parse_duration_ms(self.time_limit)
