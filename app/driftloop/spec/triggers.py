"""What makes no sense in a policy: keys that mean nothing to a trigger, times that never come."""

from __future__ import annotations

from collections.abc import Iterator

from driftloop.events.time import parse_duration_ms
from driftloop.spec.cron import cron_problem, zone_problem
from driftloop.spec.model import ModelSpec
from driftloop.spec.policy import TriggerSpec
from driftloop.spec.problems import KeyPath

__all__ = ["policy_problems"]

Found = Iterator[tuple[KeyPath, str]]

_IN_A_ROW = ("performance", "drift", "concept", "estimated_performance")
#: Key of a trigger to the triggers that it means something to; ``on`` and ``last`` are for all.
_MEANT_FOR = {
    "consecutive": _IN_A_ROW,
    "share": ("drift",),
    "share_weighted": ("drift",),
    "severity": ("drift",),
    "every": ("schedule",),
    "cron": ("schedule",),
    "timezone": ("schedule",),
    "rows": ("volume",),
}


def policy_problems(spec: ModelSpec) -> Found:
    """Every problem of the keys under ``policy`` whose types are right; the cooldown is checked elsewhere."""
    triggers = spec.policy.triggers
    for index, trigger in enumerate(triggers):
        path: KeyPath = ("policy", "triggers", index)
        yield from _keys(path, trigger)
        yield from _trigger(spec, path, trigger)
        if trigger in triggers[:index]:
            yield path, "the same trigger is listed twice"
    if isinstance(spec.policy.warm_up, str):
        yield from _longer_than_nothing(("policy", "warm_up"), spec.policy.warm_up)
    if spec.policy.at_most is not None:
        yield from _longer_than_nothing(("policy", "at_most", "per"), spec.policy.at_most.per)


def _keys(path: KeyPath, trigger: TriggerSpec) -> Found:
    for key, triggers in _MEANT_FOR.items():
        if getattr(trigger, key) is not None and trigger.on not in triggers:
            listed = " and ".join(filter(None, (", ".join(triggers[:-1]), triggers[-1])))
            plural = "a trigger on" if len(triggers) == 1 else "triggers on"
            yield (*path, key), f"{key!r} is a key of {plural} {listed}, and this one is on {trigger.on}; leave it out"


def _trigger(spec: ModelSpec, path: KeyPath, trigger: TriggerSpec) -> Found:
    if trigger.on == "schedule":
        yield from _schedule(path, trigger)
    elif trigger.on == "volume" and trigger.rows is None:
        yield (*path, "rows"), "a volume trigger needs 'rows', such as rows: 10000"
    elif trigger.on == "estimated_performance" and not any(rule.estimated for rule in spec.performance.rules):
        yield (*path, "on"), "a trigger on estimated_performance needs a rule with estimated: true, and there is none"
    elif trigger.on == "performance" and all(rule.estimated for rule in spec.performance.rules):
        yield (*path, "on"), "a performance trigger needs a rule under performance.rules, and there is none"
    elif trigger.on == "concept" and not spec.concept.detectors:
        yield (*path, "on"), "a concept trigger needs a detector under concept.detectors, and there is none"
    elif trigger.on == "drift":
        yield from _drift(spec, path, trigger)
    if trigger.last is not None:
        yield from _longer_than_nothing((*path, "last"), trigger.last)


def _schedule(path: KeyPath, trigger: TriggerSpec) -> Found:
    if trigger.every is None and trigger.cron is None:
        yield (*path, "every"), "a schedule trigger needs 'every', such as every: 30d, or 'cron', such as '0 6 * * mon'"
    if trigger.every is not None:
        yield from _longer_than_nothing((*path, "every"), trigger.every)
    if trigger.every is not None and trigger.cron is not None:
        yield (*path, "cron"), "a schedule has 'every' or 'cron'; for both list two triggers"
    if trigger.cron is not None:
        problem = cron_problem(trigger.cron)
        if problem is not None:
            yield (*path, "cron"), problem
    if trigger.timezone is not None:
        problem = zone_problem(trigger.timezone)
        if trigger.cron is None and trigger.every is not None:
            problem = "only 'cron' has a time zone; leave it out"
        if problem is not None:
            yield (*path, "timezone"), problem


def _drift(spec: ModelSpec, path: KeyPath, trigger: TriggerSpec) -> Found:
    for key in ("share", "share_weighted"):
        if getattr(trigger, key) == 0.0:
            yield (*path, key), "expected a number above 0: with 0 every window would count"
    rules = spec.drift
    methods = [*rules.numeric, *rules.categorical]
    if trigger.severity is not None and rules.critical_times is None and all(m.critical is None for m in methods):
        yield (
            (*path, "severity"),
            "no drift is ever critical without drift.critical_times or a method with 'critical'; set one of them",
        )


def _longer_than_nothing(path: KeyPath, text: str) -> Found:
    try:
        length_ms = parse_duration_ms(text)
    except ValueError as error:
        yield path, str(error)
        return
    if length_ms <= 0:
        yield path, f"expected a duration longer than nothing, got {text!r}"
