"""What the registry raises."""

from __future__ import annotations

__all__ = [
    "AbsentDatabaseError",
    "ArtifactError",
    "ComparisonOpenError",
    "RegistryError",
    "StaleStateError",
    "UnknownModelError",
]


class RegistryError(Exception):
    """The registry refuses; the message says what, where, and what to do."""


class ArtifactError(RegistryError):
    """A model file or data set is missing, damaged, or named in a way that is not allowed."""


class AbsentDatabaseError(RegistryError):
    """There is no such SQLite file, and whoever wants to read or change it does not make one."""


class UnknownModelError(RegistryError):
    """The registry holds no model of this name."""

    def __init__(self, model_id: str) -> None:
        super().__init__(f"the registry holds no model {model_id!r}; see 'driftloop models list'")


class StaleStateError(RegistryError):
    """Somebody else has written the state of a model since it was loaded: this process no longer owns it."""


class ComparisonOpenError(RegistryError):
    """Another version of the model is compared with the champion, and this one must not take its place."""
