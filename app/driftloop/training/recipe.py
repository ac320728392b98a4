"""What a version's lineage says about how to make it again, or why that cannot be tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import structs

from driftloop.registry.errors import RegistryError
from driftloop.registry.models import Registry
from driftloop.registry.rows import VersionRow
from driftloop.spec.load import kept_spec_digest, spec_digest
from driftloop.spec.model import ModelSpec
from driftloop.training.bootstrap import SOURCE, bootstrap_seed
from driftloop.training.child import ChampionFile
from driftloop.training.gates import seed_from

__all__ = ["CannotReproduce", "Recipe", "recipe_of"]


class CannotReproduce(Exception):
    """It cannot be tried; the message says why."""


@dataclass(frozen=True)
class Recipe:
    """Everything that a training of the version depends on, but for the rows and the environment.

    ``validated``: the rows were validated before, as for every command; those of a first version are not. ``brought``:
    the model file, if it was fitted elsewhere and can only be judged again; None: it is fitted again.
    """

    spec: ModelSpec
    spec_digest: str
    seed: int
    champion: ChampionFile | None
    changed_at_ms: int | None
    validated: bool
    brought: bytes | None = None


def recipe_of(registry: Registry, version: VersionRow, today: Mapping[str, ModelSpec]) -> Recipe:
    """From lineage and registry. Of versions that were registered before lineages were complete, ``today``'s specs
    stand in if they have the recorded digest, and the seeds follow from command or model.

    Raises :class:`CannotReproduce` that names everything that is missing.
    """
    lineage = version.lineage
    if "model_digest" not in lineage:
        source = lineage.get("source")
        by = f" by '{source}'" if isinstance(source, str) else ""
        raise CannotReproduce(
            f"{version.model_id} {version.version} was registered{by} without a training: nothing was trained here, so "
            "there is nothing to make again; its model file and profile are compared by `driftloop registry verify "
            "--files`"
        )
    missing: list[str] = []
    spec = _spec(version, today, missing)
    command = lineage.get("command")
    first = not isinstance(command, dict) and (lineage.get("source") == SOURCE or _was_first(registry, version))
    seed = lineage.get("judging_seed")
    if not isinstance(seed, int):
        seed = None
        if isinstance(command, dict) and isinstance(command.get("command_id"), str):
            seed = seed_from(command["command_id"])
        elif first:
            seed = bootstrap_seed(version.model_id)
        else:
            missing.append("the seed of the gates (judging_seed)")
    champion: ChampionFile | None = None
    name = lineage.get("compared_with")
    if name is None and "compared_with" not in lineage and not first:
        missing.append("the champion that it was compared with (compared_with)")
    if name is not None:
        champion = _champion(registry, version.model_id, str(name), missing)
    if not (lineage.get("dataset") or {}).get("uri"):
        missing.append("its data set")
    brought = _brought(registry, version, missing) if lineage.get("handover") else None
    if missing or spec is None or seed is None:
        raise CannotReproduce(
            f"the lineage of {version.model_id} {version.version} is not complete; missing: {'; '.join(missing)}"
        )
    changed = command.get("changed_at_ms") if isinstance(command, dict) else None
    kept = lineage.get("spec")
    digest = spec_digest(spec) if kept is None else kept_spec_digest(kept)
    return Recipe(
        spec=spec,
        spec_digest=digest,
        seed=seed,
        champion=champion,
        changed_at_ms=changed,
        validated=not first,
        brought=brought,
    )


def _was_first(registry: Registry, version: VersionRow) -> bool:
    return any(
        row.subject == version.version and row.action == "registered" and row.actor == SOURCE
        for row in registry.history(version.model_id)
    )


def _spec(version: VersionRow, today: Mapping[str, ModelSpec], missing: list[str]) -> ModelSpec | None:
    kept: Any = version.lineage.get("spec")
    if kept is not None:
        try:
            return _with_rule_of_its_day(msgspec.json.decode(kept, type=ModelSpec), kept)
        except (msgspec.DecodeError, TypeError) as error:
            missing.append(f"a spec that this driftloop can read ({error})")
            return None
    present = today.get(version.model_id)
    if present is not None and spec_digest(present) == version.lineage.get("spec_digest"):
        return present
    missing.append("the spec that it was trained with (spec), and the present spec has another digest")
    return None


def _with_rule_of_its_day(spec: ModelSpec, kept: str | bytes) -> ModelSpec:
    """Before ``training.compare_on_learned`` was a key, gates did what it allows."""
    if "compare_on_learned" in msgspec.json.decode(kept)["training"]:
        return spec
    return structs.replace(spec, training=structs.replace(spec.training, compare_on_learned=True))


def _brought(registry: Registry, version: VersionRow, missing: list[str]) -> bytes | None:
    if version.artifact is None:
        missing.append("its model file, which was fitted elsewhere")
        return None
    try:
        return registry.store.read(version.artifact)
    except (OSError, RegistryError) as error:
        missing.append(f"its model file, which was fitted elsewhere ({error})")
        return None


def _champion(registry: Registry, model_id: str, name: str, missing: list[str]) -> ChampionFile | None:
    row = registry.version(model_id, name)
    if row is None:
        missing.append(f"the version {name} that it was compared with")
        return None
    artifact = None
    if row.artifact is not None:
        try:
            artifact = registry.store.read(row.artifact)
        except (OSError, RegistryError) as error:
            missing.append(f"the model file of {name} that it was compared with ({error})")
    return ChampionFile(name, artifact, row.trained_to_ms, registry.profile(model_id, name))
