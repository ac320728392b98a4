"""What the registry raises."""

from __future__ import annotations

__all__ = ["ArtifactError", "ComparisonOpenError", "RegistryError", "StaleStateError"]


class RegistryError(Exception):
    """The registry refuses; the message says what, where, and what to do."""


class ArtifactError(RegistryError):
    """A model file or data set is missing, damaged, or named in a way that is not allowed."""


class StaleStateError(RegistryError):
    """Somebody else has written the state of a model since it was loaded: this process no longer owns it."""


class ComparisonOpenError(RegistryError):
    """Another version of the model is compared with the champion, and this one must not take its place."""
