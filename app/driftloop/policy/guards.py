"""What holds a trigger back that is due: each guard is a sentence, or None.

Every guard is a function of the final reports before it, as the triggers are, so a replay holds what was held. The one
that is not, since nobody knows from the logs when a training ended, is the breaker of the trainer
(:mod:`driftloop.policy.breaker`).
"""

from __future__ import annotations

from dataclasses import dataclass

from driftloop.events.reports import WindowReport
from driftloop.events.time import duration_text, format_time, parse_duration_ms
from driftloop.policy.breaks import Break
from driftloop.spec.policy import PolicySpec

__all__ = ["LABEL_SHIFT", "Guarded", "what_holds"]

#: The data-quality check that says that labels come for other scores than before.
LABEL_SHIFT = "label_coverage"
#: Triggers that are due whatever the windows say.
_ASKS_NOTHING = ("schedule", "volume")


@dataclass(frozen=True, kw_only=True)
class Guarded:
    """What guards ask about when an outcome window has been heard. ``commands_ms`` are the window ends of the last
    commands, ``labeled_rows`` the labeled rows since the last of them; ``champion_windows`` counts this window too;
    ``broken`` are the newest input windows with broken data."""

    last_command_ms: int | None
    commands_ms: tuple[int, ...]
    champion_since_ms: int
    champion_windows: int
    labeled_rows: int
    broken: Break | None
    newest_input_end_ms: int | None


def what_holds(policy: PolicySpec, on: str, known: Guarded, report: WindowReport, *, unsound: bool) -> str | None:
    """Why a trigger on ``on`` must wait in the outcome window of ``report``, or None: the first guard that says so.
    ``unsound``: windows with broken data are among those that make it due."""
    now_ms = report.window_end_ms
    return (
        _cooldown(policy, known, now_ms)
        or _at_most(policy, known, now_ms)
        or _warm_up(policy, known, now_ms)
        or _too_few_rows(policy, known)
        or _label_shift(policy, report)
        or _broken_data(policy, on, known, unsound)
    )


def _cooldown(policy: PolicySpec, known: Guarded, now_ms: int) -> str | None:
    if known.last_command_ms is None or now_ms - known.last_command_ms >= policy.cooldown_ms:
        return None
    passed = duration_text(now_ms - known.last_command_ms)
    return f"the last command was {passed} ago and the cooldown is {policy.cooldown}"


def _at_most(policy: PolicySpec, known: Guarded, now_ms: int) -> str | None:
    if policy.at_most is None:
        return None
    per_ms, most = policy.at_most.per_ms, policy.at_most.retrains
    counted = [at_ms for at_ms in known.commands_ms if now_ms - at_ms < per_ms]
    if len(counted) < most:
        return None
    free_ms = sorted(counted)[-most] + per_ms
    were, are = ("was" if len(counted) == 1 else "were"), ("is" if most == 1 else "are")
    return (
        f"there {were} {_counted(len(counted), 'command')} in the last {policy.at_most.per} and at most {most} {are} "
        f"allowed, until {format_time(free_ms)}"
    )


def _warm_up(policy: PolicySpec, known: Guarded, now_ms: int) -> str | None:
    if policy.warm_up is None:
        return None
    if isinstance(policy.warm_up, int):
        if known.champion_windows > policy.warm_up:
            return None
        return f"the champion warms up: this is window {known.champion_windows} of {policy.warm_up}"
    passed_ms = now_ms - known.champion_since_ms
    if passed_ms > parse_duration_ms(policy.warm_up):
        return None
    return f"the champion warms up: {duration_text(passed_ms)} of {policy.warm_up} are over"


def _too_few_rows(policy: PolicySpec, known: Guarded) -> str | None:
    if known.labeled_rows >= policy.minimum_labeled_rows:
        return None
    return f"there are {known.labeled_rows} new labeled rows and at least {policy.minimum_labeled_rows} are wanted"


def _label_shift(policy: PolicySpec, report: WindowReport) -> str | None:
    if not policy.hold_on_label_shift:
        return None
    for check in report.quality:
        if check.check == LABEL_SHIFT and check.decision == "broken":
            return f"labels come for other scores than before, so a model would learn from a part: {check.sentence}"
    return None


def _broken_data(policy: PolicySpec, on: str, known: Guarded, unsound: bool) -> str | None:
    """Schedules and volumes ask for nothing of the windows."""
    broken = known.broken
    if on in _ASKS_NOTHING or not policy.hold_on_broken_data or broken is None:
        return None
    if broken.end_ms == known.newest_input_end_ms:
        return f"the data of the newest input window is broken: {broken.data}"
    if not unsound:
        return None
    return (
        f"the data of the window up to {format_time(broken.end_ms)} was broken, which has a part in it: {broken.data}"
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
