"""Concept drift of one outcome window: which version's detectors hear of it, and what the window makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from driftloop.concept.watch import ConceptState, advance
from driftloop.events.reports import ConceptReport, Decision
from driftloop.performance.losses import loss_reference
from driftloop.performance.outcomes import OutcomeStats
from driftloop.profiles.inputs import InputStats
from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec.model import ModelSpec

__all__ = ["Part", "judge_concept", "with_concept"]


class Part(Protocol):
    """What is needed of :class:`driftloop.judging.report.MergedPart`."""

    version: str
    segment: str
    stats: InputStats | OutcomeStats
    profile: ReferenceProfile


def judge_concept(
    serves: Part | None, state: ConceptState, spec: ModelSpec, window_start_ms: int
) -> dict[tuple[str, str], list[ConceptReport]]:
    """The detectors' reports, by version and segment: for ``serves``, all rows of the version that serves. Changes
    ``state``. Empty for input windows and without detectors."""
    if serves is None or not isinstance(serves.stats, OutcomeStats) or not spec.concept.detectors:
        return {}
    losses = serves.stats.losses
    bins = losses.of_window(window_start_ms) if losses is not None and losses.consistent else None
    reference = loss_reference(spec.task, serves.profile)
    reports = advance(state, serves.version, bins, spec.concept.detectors, reference)
    return {(serves.version, serves.segment): reports}


def with_concept(decision: Decision, sentence: str, concept: Sequence[ConceptReport]) -> tuple[Decision, str]:
    """A window's decision and sentence once its detectors have spoken: their drift is the window's, too."""
    drifted = [report for report in concept if report.state == "drift"]
    if not drifted:
        return decision, sentence
    return "drift", sentence if decision == "drift" else f"{drifted[0].sentence}. {sentence}"
