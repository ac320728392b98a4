"""Types that many parts of a spec share."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

__all__ = [
    "Duration",
    "Fraction",
    "PositiveInt",
    "Task",
    "is_default",
]

Task = Literal["binary", "multiclass", "regression", "ranking"]
Fraction = Annotated[float, Meta(ge=0.0, le=1.0)]
PositiveInt = Annotated[int, Meta(ge=1)]
Duration = Annotated[str, Meta(min_length=2)]


def is_default(struct: Struct, name: str) -> bool:
    """Whether a key has the value that it has when it is left out."""
    field = next(field for field in msgspec.structs.fields(struct) if field.name == name)
    usual = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    return bool(getattr(struct, name) == usual)
