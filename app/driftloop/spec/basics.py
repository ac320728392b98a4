"""Types that many parts of a spec share."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

__all__ = [
    "Duration",
    "Fraction",
    "PositiveInt",
    "Task",
]

Task = Literal["binary", "multiclass", "regression", "ranking"]
Fraction = Annotated[float, Meta(ge=0.0, le=1.0)]
PositiveInt = Annotated[int, Meta(ge=1)]
Duration = Annotated[str, Meta(min_length=2)]
