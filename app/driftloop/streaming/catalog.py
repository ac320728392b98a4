"""Specs from files and profiles from the registry, for the monitor and the assessor."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from sqlalchemy import Engine

from driftloop.profiles.reference import ReferenceProfile
from driftloop.registry.approvals import Approval, approval_of, promotion_of
from driftloop.registry.models import Registry
from driftloop.spec.model import ModelSpec

__all__ = ["RegistryCatalog"]

_ASK_AGAIN_AFTER_S = 2.0


class RegistryCatalog:
    """Looks profiles up in the registry once; they never change. A version that is not there is asked for again only
    after two seconds, so that a flood of foreign events does not become a flood of queries."""

    def __init__(self, specs: Mapping[str, ModelSpec], registry: Registry) -> None:
        self._specs = specs
        self._registry = registry
        self._profiles: dict[tuple[str, str], ReferenceProfile] = {}
        self._absent: dict[tuple[str, str], float] = {}
        self._approved_from_ms: dict[tuple[str, str], int] = {}
        self._promoted_from_ms: dict[tuple[str, str], int] = {}

    def spec(self, model_id: str) -> ModelSpec | None:
        return self._specs.get(model_id)

    def profile(self, model_id: str, model_version: str) -> ReferenceProfile | None:
        key = (model_id, model_version)
        profile = self._profiles.get(key)
        if profile is not None:
            return profile
        if time.monotonic() < self._absent.get(key, 0.0):
            return None
        stored = self._registry.profile(model_id, model_version)
        if stored is None:
            if len(self._absent) > 1000:
                self._absent.clear()
            self._absent[key] = time.monotonic() + _ASK_AGAIN_AFTER_S
            return None
        self._absent.pop(key, None)
        profile = self._profiles[key] = ReferenceProfile.decode(stored)
        return profile

    def approved(self, model_id: str, model_version: str, at_ms: int) -> bool:
        """Whether the version may serve at this event time, by the history of the registry's aliases. That grows, so
        only a yes that nothing takes back is remembered."""
        return self._since(self._approved_from_ms, approval_of, (model_id, model_version), at_ms)

    def promoted(self, model_id: str, model_version: str, at_ms: int) -> bool:
        """Whether the version has been champion by this event time; as :meth:`approved`, without arms of a canary."""
        return self._since(self._promoted_from_ms, promotion_of, (model_id, model_version), at_ms)

    def _since(
        self,
        known: dict[tuple[str, str], int],
        ask: Callable[[Engine, str, str], Approval],
        version: tuple[str, str],
        at_ms: int,
    ) -> bool:
        since_ms = known.get(version)
        if since_ms is None or since_ms > at_ms:
            since_ms, for_good = ask(self._registry.engine, *version)
            if since_ms is not None and for_good:
                known[version] = since_ms
        return since_ms is not None and since_ms <= at_ms

    def known_profile(self, model_id: str, model_version: str) -> ReferenceProfile:
        """Like :meth:`profile`, for a version that partials exist of. Raises ``LookupError`` if it has gone."""
        profile = self.profile(model_id, model_version)
        if profile is None:
            raise LookupError(
                f"the registry has no reference profile of {model_id} {model_version}, but statistics of it exist: "
                "check that worker and assessor use the same DRIFTLOOP_DATABASE_URL"
            )
        return profile
