"""Predictions of versions that the registry does not hold: dead letters, but counted by version in their window."""

from __future__ import annotations

from typing import Final

from driftloop.profiles.inputs import InputStats
from driftloop.profiles.reference import ReferenceProfile

__all__ = ["UNREGISTERED", "VERSION_NAME", "names_of", "unregistered_profile"]

#: Stands for all of a model's versions that are not registered. No version can have this name.
UNREGISTERED: Final = "@unregistered"
#: What such records are counted under, beside the features that others were refused for.
VERSION_NAME: Final = "@model_version"


def unregistered_profile(model_id: str) -> ReferenceProfile:
    """A reference of nothing: of these records only the number is known."""
    return ReferenceProfile(model_id=model_id, model_version=UNREGISTERED, features={}, rows=0)


def names_of(stats: InputStats) -> dict[str, int]:
    """Records by version's name, complete up to the number of kinds that are kept."""
    return dict(stats.quality.refused.get(VERSION_NAME, {}))
