"""What a monitor knows of the models: specs and reference profiles, and what is made from them once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from driftloop.performance.estimated.estimator import estimator_of
from driftloop.performance.loss_bins import LossSettings
from driftloop.performance.losses import loss_reference
from driftloop.performance.outcomes import OutcomeStats
from driftloop.performance.score_bands import band_edges
from driftloop.profiles.columns import FeatureDecoder, LabelDecoder, PredictionDecoder
from driftloop.profiles.inputs import InputStats
from driftloop.profiles.reference import ReferenceProfile
from driftloop.profiles.rules import RuleBook
from driftloop.profiles.segments import segment_key
from driftloop.spec.model import ModelSpec

__all__ = ["Catalog", "ModelContext", "VersionContext", "new_outcomes"]


class Catalog(Protocol):
    """Where specs and profiles come from. A version's profile never changes."""

    def spec(self, model_id: str) -> ModelSpec | None: ...

    def profile(self, model_id: str, model_version: str) -> ReferenceProfile | None: ...


class ModelContext:
    """A model's spec with its decoders."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.features = FeatureDecoder(spec)
        self.prediction = PredictionDecoder(spec)
        self.label = LabelDecoder(spec)
        self.rules = RuleBook(spec)
        self.feature_names = frozenset(spec.features)
        #: The feature that a row's value is multiplied with, if there is one.
        self.weight_column = None if spec.performance.value is None else spec.performance.value.column
        self.window_ms = spec.window_ms
        self.horizon_ms = spec.label_horizon_ms
        self.retention_ms = spec.late_retention_ms
        self.lateness_ms = spec.allowed_lateness_ms
        #: A label waits for its prediction until predictions have come so far after it.
        self.wait_ms = self.window_ms + self.lateness_ms
        #: From a window's end until both watermarks have passed this, its cohort is kept. One window more than horizon
        #: and retention, so that a waiting label is known to have no prediction before its cohort could be forgotten.
        self.keep_ms = self.horizon_ms + self.retention_ms + self.window_ms


class VersionContext:
    """A model version: its model and its reference profile."""

    def __init__(self, model: ModelContext, version: str, profile: ReferenceProfile) -> None:
        self.model = model
        self.version = version
        self.profile = profile
        self.estimator = estimator_of(model.spec, profile)
        self._segment_keys = frozenset(profile.segments)

    def segment(self, names: Sequence[str], values: Sequence[str | None]) -> str:
        """The segment key of a row. Bounded: values beyond the reference's most frequent ones share one segment."""
        return segment_key(names, values, self._segment_keys)

    def new_inputs(self, segment: str) -> InputStats:
        return InputStats(self.profile.for_segment(segment), self.estimator)

    def new_outcomes(self, segment: str) -> OutcomeStats:
        return new_outcomes(self.model.spec, self.profile, segment)


def new_outcomes(spec: ModelSpec, profile: ReferenceProfile, segment: str = "") -> OutcomeStats:
    """Empty outcome statistics of a version; statistics merge only if they were made with the same settings.

    Those of all rows also keep which labels have come, for open windows, losses by time, if there is a concept
    detector to look at them, and for which scores labels come.
    """
    losses = None if segment else _loss_settings(spec, profile)
    wanted = not segment and spec.quality.enabled and spec.quality.label_coverage is not None
    bands = band_edges(spec.task, profile) if wanted else ()
    return OutcomeStats.of_spec(spec, center=profile.label_mean, arrivals=not segment, losses=losses, bands=bands)


def _loss_settings(spec: ModelSpec, profile: ReferenceProfile) -> LossSettings | None:
    if not spec.concept.detectors or spec.task == "ranking":
        return None
    reference = loss_reference(spec.task, profile)
    if reference is None and spec.task == "regression":
        return None  # without a reference nobody knows how large an error is
    return LossSettings(spec.concept.bins, spec.window_ms, 1.0 if reference is None else reference.scale)
