"""Why there is no model."""

from __future__ import annotations

from driftloop.spec.problems import KeyPath

__all__ = ["EstimatorError"]


class EstimatorError(ValueError):
    """The spec's estimator cannot be built or cannot be fitted on these rows. The message says what to change; ``key``
    is the spec's key that is to be changed, where that is known."""

    def __init__(self, message: str, key: KeyPath | None = None) -> None:
        super().__init__(message)
        self.key = key
