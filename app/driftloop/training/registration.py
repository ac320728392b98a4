"""A trained challenger into the registry: files, name, profile under that name."""

from __future__ import annotations

from typing import Any

import msgspec

from driftloop.profiles.reference import ReferenceProfile
from driftloop.registry.errors import RegistryError
from driftloop.registry.models import Registry
from driftloop.registry.rows import NewVersion
from driftloop.spec.model import ModelSpec
from driftloop.training.artifacts import SUFFIX
from driftloop.training.train import Trained

__all__ = ["named_profile", "register"]

_NAME_ATTEMPTS = 20


def register(
    registry: Registry,
    spec: ModelSpec,
    trained: Trained,
    *,
    lineage: dict[str, Any],
    event_time_ms: int,
    reason: str,
    actor: str,
    command_id: str | None = None,
    version: str | None = None,
) -> str:
    """Register the version, the next free ``v1``, ``v2``, ... unless named. Returns its name.

    The reference profile carries the version's name, so the name is chosen here; if another process takes it meanwhile,
    the next one is tried. Raises :class:`~driftloop.registry.errors.RegistryError`.
    """
    artifact = registry.store.put_bytes(trained.artifact, SUFFIX)
    for _ in range(_NAME_ATTEMPTS):
        name = version or registry.next_version(spec.model)
        profile = named_profile(trained.profile, name)
        try:
            return registry.register_version(
                NewVersion(
                    model_id=spec.model,
                    version=name,
                    artifact=artifact,
                    profile=profile.encode(),
                    lineage=lineage,
                    metrics=trained.metrics,
                    gates=trained.gates,
                    command_id=command_id,
                    trained_from_ms=trained.seen_from_ms,
                    trained_to_ms=trained.seen_to_ms,
                    event_time_ms=event_time_ms,
                    reason=reason,
                    actor=actor,
                )
            )
        except RegistryError:
            if version is not None or registry.version(spec.model, name) is None:
                raise
    raise RegistryError(f"no free version name found for model {spec.model!r} in {_NAME_ATTEMPTS} attempts; try again")


def named_profile(profile: ReferenceProfile, version: str) -> ReferenceProfile:
    """The profile with the version's name, which it gets when it is registered."""
    segments = {key: named_profile(part, version) for key, part in profile.segments.items()}
    return msgspec.structs.replace(profile, model_version=version, segments=segments)
