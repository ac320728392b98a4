"""Which feature a refused prediction failed at, and how: read off msgspec's error, which names path and types."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from driftloop.profiles.columns import PREDICTION

__all__ = ["ALL_FEATURES", "refusal_of_features", "refusal_of_prediction"]

#: The "feature" of a ``features`` value that is no object at all.
ALL_FEATURES = "@features"

_PATH = re.compile(r" - at `\$\.(.*)`$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(.*)`$", re.DOTALL)
_GOT = re.compile(r"got `(\w+)`")


def refusal_of_features(error: msgspec.MsgspecError, names: Iterable[str]) -> tuple[str, str]:
    """Feature and kind of error of a ``features`` value that does not fit the schema.

    The kind is ``missing`` (a required feature), ``got str`` and the like (a value of another type), ``out of range``
    (a number beyond float64) or ``invalid``. Of several errors in one record the first counts: msgspec stops there.

    >>> refusal_of_features(msgspec.ValidationError("Expected `float`, got `str` - at `$.age`"), ["age"])
    ('age', 'got str')
    """
    text = str(error)
    missing = _MISSING.match(text)
    if missing:
        return missing.group(1), "missing"
    path = _PATH.search(text)
    feature = path.group(1) if path and path.group(1) in set(names) else ALL_FEATURES
    return feature, _kind(text)


def refusal_of_prediction(error: msgspec.MsgspecError) -> tuple[str, str]:
    """The same for a ``prediction`` that does not fit the task; the feature is :data:`PREDICTION`.

    >>> refusal_of_prediction(msgspec.ValidationError("Expected `float` <= 1.0"))
    ('@prediction', 'out of range')
    """
    return PREDICTION, _kind(str(error))


def _kind(text: str) -> str:
    got = _GOT.search(text)
    if got:
        return f"got {got.group(1)}"
    if "out of range" in text or "<=" in text or ">=" in text:
        return "out of range"
    return "unknown class" if "unknown class" in text else "invalid"
