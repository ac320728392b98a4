"""What the registry says to the policy's breaker, asked before a training."""

from __future__ import annotations

from driftloop.events.decisions import RetrainCommand
from driftloop.policy.breaker import MANUAL, Attempt, what_broke
from driftloop.registry.models import Registry
from driftloop.registry.rows import VersionRow
from driftloop.spec.model import ModelSpec

__all__ = ["why_held"]


def why_held(registry: Registry, spec: ModelSpec, command: RetrainCommand) -> str | None:
    """Why the command must not be carried out, or None. What a person asked for is never held."""
    breaker = spec.policy.breaker
    if breaker is None or command.trigger == MANUAL:
        return None
    attempts = [_attempt(row) for row in registry.versions(spec.model) if row.gates]
    return what_broke(attempts, breaker.failures)


def _attempt(row: VersionRow) -> Attempt:
    command = row.lineage.get("command")
    refused = [gate for gate in row.gates if not gate.passed]
    return Attempt(
        version=row.version,
        failed_gates=frozenset(gate.gate for gate in refused if gate.left_out is None),
        undecided_gates=frozenset(gate.gate for gate in refused if gate.left_out is not None),
        promoted=row.status in ("promoted", "rolled_back"),
        trigger=str(command.get("trigger", "")) if isinstance(command, dict) else "",
    )
