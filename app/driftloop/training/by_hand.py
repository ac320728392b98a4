"""A training that a person asks for, from the command line or over HTTP."""

from __future__ import annotations

import uuid

from driftloop.events.decisions import PolicyDecision, RetrainCommand
from driftloop.policy.manual import manual_command
from driftloop.registry.assessments import AssessmentStore
from driftloop.spec.load import spec_digest
from driftloop.spec.model import ModelSpec

__all__ = ["give_command", "prepare_command"]


def prepare_command(
    store: AssessmentStore,
    spec: ModelSpec,
    *,
    reason: str,
    actor: str,
    from_ms: int | None = None,
    to_ms: int | None = None,
) -> tuple[RetrainCommand, PolicyDecision, int]:
    """The command, its decision and the number of labeled rows, by the windows that were judged. Nothing is written.

    Raises ``ValueError`` as :func:`~driftloop.policy.manual.manual_command` does.
    """
    reports = store.reports(spec.model, kind="outcome", segment="", limit=1)
    if reports and not spec.training.candidates:
        last_ms = reports[0].window_end_ms
        start_ms = (last_ms if to_ms is None else to_ms) - spec.training.last_ms if from_ms is None else from_ms
        start_ms = min(start_ms, last_ms - 1)
        reports = store.reports(spec.model, kind="outcome", segment="", from_ms=start_ms, limit=None)
    elif reports:
        reports = store.reports(spec.model, kind="outcome", segment="", limit=None)
    return manual_command(
        spec,
        reports,
        spec_digest=spec_digest(spec),
        reason=reason,
        actor=actor,
        nonce=uuid.uuid4().hex,
        from_ms=from_ms,
        to_ms=to_ms,
    )


def give_command(store: AssessmentStore, command: RetrainCommand, decision: PolicyDecision) -> None:
    """Write both, with their events, in one transaction."""
    store.commit(commands=[command], decisions=[decision])
