"""What the registry raises."""

from __future__ import annotations

__all__ = ["ArtifactError", "RegistryError", "StaleStateError"]


class RegistryError(Exception):
    """The registry refuses; the message says what, where, and what to do."""


class ArtifactError(RegistryError):
    """A model file or data set is missing, damaged, or named in a way that is not allowed."""


class StaleStateError(RegistryError):
    """Somebody else has written the state of a model since it was loaded: this process no longer owns it."""
