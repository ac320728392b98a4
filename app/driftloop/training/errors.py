"""Why there is no model."""

from __future__ import annotations

__all__ = ["EstimatorError"]


class EstimatorError(ValueError):
    """The spec's estimator cannot be built or cannot be fitted on these rows. The message says what to change."""
