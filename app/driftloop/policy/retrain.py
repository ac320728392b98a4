"""From judged windows to retrain commands: triggers make a retraining due, guards may hold it.

A pure state machine over final window reports in order of time; a replay issues the very same commands. Commands are
issued on outcome reports alone, when labels up to the window's end are there to train on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Literal

import msgspec
from msgspec import Struct, field

from driftloop.events.decisions import PolicyDecision, RetrainCommand
from driftloop.events.reports import WindowReport
from driftloop.events.time import format_time
from driftloop.policy.breaks import Break, after_inputs, change_of_the_world_ms, has_part
from driftloop.policy.drifting import drifting
from driftloop.policy.guards import Guarded, what_holds
from driftloop.policy.schedule import schedule_reason
from driftloop.policy.since_change import training_start
from driftloop.policy.streaks import Streaks
from driftloop.spec.model import ModelSpec
from driftloop.spec.policy import TriggerSpec

__all__ = ["PolicyState", "decide", "trigger_names"]


class PolicyState(Struct, frozen=True, kw_only=True):
    """What the policy remembers of a model between windows.

    ``streaks`` has, for each trigger but schedules and volumes, how many windows in a row spoke for it; ``pending`` the
    reasons of drift triggers that are due and wait for an outcome window, ``held`` those of them that a guard has held
    since.
    ``changed_at_ms`` is when the model's losses last rose, as a change detector has dated it, ``champion_windows`` how
    many outcome windows it has had since ``champion_since_ms``, the start of the first. All of them belong to
    ``champion_version`` and start anew with another one. ``broken``: the newest input windows with broken data, and
    ``broken_windows``, of triggers that such windows spoke for, which of the last ones they were
    (:class:`~driftloop.policy.streaks.Streaks`). ``commands_ms`` are the window ends of the commands that
    ``policy.at_most`` counts.
    """

    champion_version: str = ""
    first_window_start_ms: int | None = None
    last_command_ms: int | None = None
    last_input_end_ms: int | None = None
    last_outcome_end_ms: int | None = None
    streaks: dict[str, int] = field(default_factory=dict)
    pending: dict[str, str] = field(default_factory=dict)
    held: tuple[str, ...] = ()
    broken_windows: dict[str, list[bool]] = field(default_factory=dict)
    broken: Break | None = None
    changed_at_ms: int | None = None
    champion_since_ms: int | None = None
    champion_windows: int = 0
    commands_ms: tuple[int, ...] = ()


def trigger_names(spec: ModelSpec) -> list[str]:
    """Names of the spec's triggers in order: what they are on, with ``#2`` and so on where that comes again."""
    names: list[str] = []
    for trigger in spec.policy.triggers:
        same = sum(earlier.on == trigger.on for earlier in spec.policy.triggers[: len(names)])
        names.append(trigger.on if not same else f"{trigger.on}#{same + 1}")
    return names


def decide(
    spec: ModelSpec,
    state: PolicyState,
    report: WindowReport,
    *,
    champion_version: str,
    labeled_rows_since: int,
) -> tuple[PolicyState, list[PolicyDecision], RetrainCommand | None]:
    """Take in one report and say what follows: the next state, a decision for every trigger that is due, a command.

    Only final reports of the champion over all rows count, each window once and in order; others, and those of sliding
    windows, change nothing.
    ``labeled_rows_since`` are the labeled rows since the champion was trained (or since the last command, what the
    caller can tell). Input reports feed the triggers on drift and estimates, outcome reports the
    others. At most one command follows, from the first due trigger in the order of the spec.

    A trigger that is due and that a guard holds (:mod:`driftloop.policy.guards`) says so in every outcome window until
    it may go, or its reason is gone.
    """
    if report.status != "final" or report.segment or report.sliding or report.model_version != champion_version:
        return state, [], None
    seen_ms = state.last_input_end_ms if report.kind == "input" else state.last_outcome_end_ms
    if seen_ms is not None and report.window_end_ms <= seen_ms:
        return state, [], None
    if state.champion_version != champion_version:
        state = msgspec.structs.replace(
            state,
            champion_version=champion_version,
            streaks={},
            broken_windows={},
            pending={},
            held=(),
            changed_at_ms=None,
            champion_since_ms=None,
            champion_windows=0,
        )
    if state.first_window_start_ms is None:
        state = msgspec.structs.replace(state, first_window_start_ms=report.window_start_ms)
    triggers = dict(zip(trigger_names(spec), spec.policy.triggers, strict=True))
    if report.kind == "input":
        return _hear_inputs(triggers, state, report), [], None
    return _hear_outcomes(spec, triggers, state, report, labeled_rows_since)


def _hear_inputs(triggers: Mapping[str, TriggerSpec], state: PolicyState, report: WindowReport) -> PolicyState:
    streaks, pending, held = Streaks(state.streaks, state.broken_windows), dict(state.pending), list(state.held)
    newest = after_inputs(state.broken, report, state.last_input_end_ms)
    broken = newest is not None and newest.end_ms == report.window_end_ms
    for name, trigger in triggers.items():
        if trigger.on == "estimated_performance":
            _hear_estimates(name, trigger, report, streaks, pending, held, broken=broken)
        if trigger.on != "drift" or not report.judged_features:
            continue
        drifted, enough = drifting(trigger, report)
        if enough:
            if streaks.speaks(name, trigger.windows_in_a_row, broken=broken):
                how = "drift critically" if trigger.severity == "critical" else "drift"
                pending[name] = (
                    f"{drifted} of {report.judged_features} features {how} in the window up to "
                    f"{format_time(report.window_end_ms)}, for {_windows(streaks.rows[name])} in a row"
                )
            continue
        streaks.ends(name)
        if name in held:  # held back for so long that the drift is over
            held.remove(name)
            del pending[name]
    return msgspec.structs.replace(
        state,
        last_input_end_ms=report.window_end_ms,
        streaks=streaks.rows,
        broken_windows=streaks.broken,
        pending=pending,
        held=tuple(held),
        broken=newest,
    )


def _hear_estimates(
    name: str,
    trigger: TriggerSpec,
    report: WindowReport,
    streaks: Streaks,
    pending: dict[str, str],
    held: list[str],
    *,
    broken: bool,
) -> None:
    """As for drift: due from an input window on, and waiting for an outcome window."""
    decisions = {metric.decision for metric in report.estimated}
    if "drift" in decisions:
        if streaks.speaks(name, trigger.windows_in_a_row, broken=broken):
            dropped = [metric.sentence for metric in report.estimated if metric.decision == "drift"]
            pending[name] = f"{'; '.join(dropped)}; for {_windows(streaks.rows[name])} in a row"
    elif "ok" in decisions:
        streaks.ends(name)
        if name in held:  # held back for so long that the estimates have recovered
            held.remove(name)
            del pending[name]


def _hear_outcomes(
    spec: ModelSpec,
    triggers: Mapping[str, TriggerSpec],
    state: PolicyState,
    report: WindowReport,
    labeled_rows_since: int,
) -> tuple[PolicyState, list[PolicyDecision], RetrainCommand | None]:
    streaks = Streaks(state.streaks, state.broken_windows)
    reasons: dict[str, str] = {}
    for name, trigger in triggers.items():
        if trigger.on in ("performance", "concept"):
            # A window with too few labels keeps the streak, but is no reason of its own.
            bad, good = _performance(report) if trigger.on == "performance" else _concept(report)
            if bad:
                broken = has_part(state.broken, trigger, report)
                if streaks.speaks(name, trigger.windows_in_a_row, broken=broken):
                    reasons[name] = f"{'; '.join(bad)}; for {_windows(streaks.rows[name])} in a row"
            elif good:
                streaks.ends(name)
        elif trigger.on in ("drift", "estimated_performance"):
            if name in state.pending:
                reasons[name] = state.pending[name]
        else:
            reason = _plain_reason(trigger, state, report.window_end_ms, labeled_rows_since)
            if reason is not None:
                reasons[name] = reason
    since_ms = report.window_start_ms if state.champion_since_ms is None else state.champion_since_ms
    state = msgspec.structs.replace(
        state,
        last_outcome_end_ms=report.window_end_ms,
        streaks=streaks.rows,
        broken_windows=streaks.broken,
        changed_at_ms=change_of_the_world_ms(state.broken, spec, report, state.changed_at_ms),
        champion_since_ms=since_ms,
        champion_windows=state.champion_windows + 1,
    )
    known = Guarded(
        last_command_ms=state.last_command_ms,
        commands_ms=state.commands_ms,
        champion_since_ms=since_ms,
        champion_windows=state.champion_windows,
        labeled_rows=labeled_rows_since,
        broken=state.broken,
        newest_input_end_ms=state.last_input_end_ms,
    )
    decisions: list[PolicyDecision] = []
    command: RetrainCommand | None = None
    for name, reason in reasons.items():
        unsound = streaks.unsound(name, triggers[name].windows_in_a_row)
        obstacle = what_holds(spec.policy, triggers[name].on, known, report, unsound=unsound)
        if obstacle is None and command is None:
            command = _command(spec, state, report, name, reason, triggers[name])
            decisions.append(_decision(report, name, "retrain", reason, command.command_id))
        else:
            asked = command.trigger if command is not None else ""
            because = obstacle or f"trigger {asked!r} has asked for it in this window already"
            decisions.append(_decision(report, name, "hold", f"held, because {because}; due, because {reason}"))
    if command is not None:
        state = msgspec.structs.replace(
            state,
            last_command_ms=report.window_end_ms,
            commands_ms=_counted(spec, state.commands_ms, report.window_end_ms),
            streaks={},
            broken_windows={},
            pending={},
            held=(),
        )
    else:
        state = msgspec.structs.replace(state, held=tuple(sorted(state.pending)))
    return state, decisions, command


def _performance(report: WindowReport) -> tuple[list[str], bool]:
    """What speaks for a trigger on performance, and, if nothing does, whether anything speaks against it. Gaps between
    groups (``metric/column``) have no say: training again on the same data does not close them."""
    of_rules = [metric for metric in report.metrics if "/" not in metric.metric]
    bad = [metric.sentence for metric in of_rules if metric.decision == "drift"]
    return bad, any(metric.decision == "ok" for metric in of_rules)


def _concept(report: WindowReport) -> tuple[list[str], bool]:
    """The same of a trigger on concept drift."""
    bad = [said.sentence for said in report.concept if said.state == "drift"]
    return bad, any(said.state != "insufficient" for said in report.concept)


def _plain_reason(trigger: TriggerSpec, state: PolicyState, now_ms: int, labeled_rows: int) -> str | None:
    """The reason of a trigger that asks for nothing of the window: a schedule or a volume."""
    if trigger.on == "schedule":
        return schedule_reason(trigger, state.last_command_ms, state.first_window_start_ms, now_ms)
    if trigger.rows is None:
        raise ValueError("a trigger on volume needs 'rows', for instance rows: 10000")
    if labeled_rows < trigger.rows:
        return None
    since = "the first window" if state.last_command_ms is None else "the last command"
    return f"{labeled_rows} new labeled rows since {since}, to be retrained every {trigger.rows}"


def _counted(spec: ModelSpec, commands_ms: tuple[int, ...], now_ms: int) -> tuple[int, ...]:
    """The commands that ``policy.at_most`` still counts, this one included."""
    at_most = spec.policy.at_most
    if at_most is None:
        return ()
    return (*(at_ms for at_ms in commands_ms if now_ms - at_ms < at_most.per_ms), now_ms)


def _command(
    spec: ModelSpec, state: PolicyState, report: WindowReport, trigger: str, reason: str, settings: TriggerSpec
) -> RetrainCommand:
    identity = msgspec.json.encode((spec.model, trigger, report.window_end_ms))
    if settings.last_ms is None:
        from_ms, why = training_start(spec, report, state.changed_at_ms)
    else:
        from_ms, why = report.window_end_ms - settings.last_ms, f"trained on {settings.last}, as the trigger says"
    return RetrainCommand(
        command_id=hashlib.sha256(identity).hexdigest()[:32],
        model_id=spec.model,
        champion_version=state.champion_version,
        trigger=trigger,
        reason=f"{reason}; {why}" if why else reason,
        window_end_ms=report.window_end_ms,
        from_ms=from_ms,
        to_ms=report.window_end_ms,
        spec_digest=report.spec_digest,
        changed_at_ms=state.changed_at_ms,
    )


def _decision(
    report: WindowReport, trigger: str, outcome: Literal["retrain", "hold"], reason: str, command_id: str | None = None
) -> PolicyDecision:
    return PolicyDecision(
        model_id=report.model_id,
        window_end_ms=report.window_end_ms,
        trigger=trigger,
        outcome=outcome,
        reason=reason,
        command_id=command_id,
    )


def _windows(count: int) -> str:
    return "1 window" if count == 1 else f"{count} windows"
