"""What follows from judged windows: decisions of the policy, retrain commands, gates, and what became of versions.

Times are event times in milliseconds (``_ms``), as in :mod:`driftloop.events.messages`.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

from driftloop.events.messages import SCHEMA_VERSION

__all__ = [
    "GateDetail",
    "GateResult",
    "GateVerdict",
    "ModelEvent",
    "ModelEventKind",
    "PolicyDecision",
    "RetrainCommand",
    "ShadowLook",
]

#: ``insufficient``: too few rows (or a metric that is undefined on them) to say either.
GateVerdict = Literal["passed", "failed", "insufficient"]
ModelEventKind = Literal[
    "registered",
    "awaiting_approval",
    "promoted",
    "rejected",
    "failed",
    "held",
    "rolled_back",
    "shadow_started",
    "shadow_passed",
    "shadow_stopped",
    "canary_started",
    "canary_advance",
    "canary_hold",
    "canary_abort",
]


class PolicyDecision(Struct, frozen=True, kw_only=True):
    """What the policy made of a window: a command, or why not. ``outcome`` is ``retrain``, ``hold`` or ``quiet``.

    What a person asked for has the trigger ``manual``, is no decision of the policy, and names its ``actor``.
    """

    model_id: str
    window_end_ms: int
    trigger: str
    outcome: Literal["retrain", "hold", "quiet"]
    reason: str
    command_id: str | None = None
    actor: str = ""
    schema_version: int = SCHEMA_VERSION


class RetrainCommand(Struct, frozen=True, kw_only=True):
    """Train a challenger on the labeled predictions of [from_ms, to_ms). The id hashes model, trigger and window.

    With the trigger ``manual`` a person, ``actor``, asked for it, and the id is another one each time.
    ``changed_at_ms``: the newest change for the worse that a concept detector has dated, None if there is none.
    """

    command_id: str
    model_id: str
    champion_version: str
    trigger: str
    reason: str
    window_end_ms: int
    from_ms: int
    to_ms: int
    spec_digest: str = ""
    actor: str = ""
    changed_at_ms: int | None = None
    schema_version: int = SCHEMA_VERSION


class GateDetail(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One slice, group gap, perturbation or check of a gate. ``info``: told, but it decides nothing.

    ``value`` is judged against ``bound``; ``challenger`` and ``champion`` are the numbers it was made from, where it
    compares two models. ``rows`` are those behind it.
    """

    name: str
    verdict: GateVerdict | Literal["info"]
    value: float | None = None
    bound: float | None = None
    low: float | None = None
    high: float | None = None
    rows: int | None = None
    challenger: float | None = None
    champion: float | None = None
    note: str = ""


class GateResult(Struct, frozen=True, kw_only=True):
    """One gate's value against its bound, with the interval where there is one, and a sentence.

    ``verdict`` is null where an older trainer wrote it; ``insufficient`` may pass or not, as the model's spec says.
    ``details``: what the gate looked at one by one; its own numbers are those of the worst. ``left_out``: so many rows
    of the holdout were not compared on, because the champion has learned them; given where the gate is ``insufficient``
    and such rows are a reason, so that a later challenger may be judged.
    """

    gate: str
    passed: bool
    value: float | None
    bound: float | None
    sentence: str
    low: float | None = None
    high: float | None = None
    verdict: GateVerdict | None = None
    details: list[GateDetail] = field(default_factory=list)
    left_out: int | None = None


class ShadowLook(Struct, frozen=True, kw_only=True):
    """What a comparison of challenger and champion says after a matured window, over all windows since its start.

    ``improvement`` is the champion's mean loss less the challenger's, in the unit of ``loss``: positive is better. It
    lies in [``low``, ``high``] at all looks together but for a probability of ``alpha`` for each limit. ``verdict``
    ``hold``: the arms of a canary are not split as planned, so nothing is decided. ``champion_rows`` and
    ``challenger_rows`` are those that each mean loss is of; ``recorded_rows`` of the champion's are what it said
    itself, the others were scored again. ``left_out`` counts rows that could not be compared, by reason.
    ``ratio_e_value``: evidence against the planned split of the arms, None for a shadow.
    """

    model_id: str
    champion: str
    challenger: str
    number: int
    window_start_ms: int
    window_end_ms: int
    verdict: Literal["watch", "hold", "promote", "stop"]
    reason: str
    sentence: str
    loss: str
    margin: float
    alpha: float
    windows: int
    rows: int
    champion_rows: int
    challenger_rows: int
    champion_loss: float | None
    challenger_loss: float | None
    improvement: float | None
    low: float | None
    high: float | None
    recorded_rows: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    ratio_e_value: float | None = None
    challenger_share: float | None = None


class ModelEvent(Struct, frozen=True, kw_only=True):
    """Something happened to a model version. ``artifact`` is the path or URI of the model file, named by its digest.

    ``actor``: who did it. ``history_sha256``: the head of the registry's hash-chained history after it. ``look``: what
    a comparison in shadow or as a canary said last, in the events of its verdict.
    """

    event_id: str
    kind: ModelEventKind
    model_id: str
    model_version: str
    event_time_ms: int
    previous_version: str | None = None
    artifact: str | None = None
    artifact_sha256: str | None = None
    command_id: str | None = None
    reason: str = ""
    gates: list[GateResult] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    actor: str = ""
    history_sha256: str | None = None
    look: ShadowLook | None = None
    schema_version: int = SCHEMA_VERSION
