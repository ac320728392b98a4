"""The events of the workload: everything that may go wrong with events, at seeded places, each with its known fate.

On top of :func:`support.world.history` (duplicates, lateness within what is allowed, corrections, labels first, labels
that never come, some poison): rows later than allowed, by hours and by days, clocks that run ahead of the others and
out of all bounds, labels corrected twice and out of order, labels before their prediction, after the horizon, after
their window was final and without a prediction, and poison of every kind.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from support import world
from support.world import DAY, HOUR, START, Event

__all__ = ["MAX_MESSAGE_BYTES", "Sent", "history"]

#: What the workload's settings allow, so that a huge record need not be huge.
MAX_MESSAGE_BYTES = 20_000

#: An event, and the reason for which it must become a dead letter when that is decided by the record alone.
Sent = tuple[Event, str | None]

_LATE_BY_HOURS = (2, 5, 20, 30, 70)
_KINDS = ("twice", "out of order", "same rank", "early", "too early", "too late", "restates", "nobody's")
_FAR_FUTURE_MS = 4_102_444_800_000  # the year 2100: no broker's clock is near it
_DEEP = b'{"a":' * 2_000 + b"1" + b"}" * 2_000


def history(days: int, per_day: int, *, seed: int = 1, drift_from_day: int | None = None) -> list[Sent]:
    """In the order in which they arrive."""
    chance = random.Random(seed)
    base = world.history(days, per_day, seed=seed, drift_from_day=drift_from_day)
    events: list[Sent] = [((_late(chance, event)), _BASE_POISON.get(event[3])) for event in base]
    good = [json.loads(event[3]) | {"topic": event[1]} for event, fate in events if event[3] and fate is None]
    predictions = [event for event in good if event.pop("topic") == "predictions"]
    for prediction in chance.sample(predictions, days * 12):
        events += _odd_labels(chance, prediction)
    # Not on the last day, whose end must stay the end of the history.
    for prediction in chance.sample([event for event in predictions if event["event_time_ms"] < START + 9 * DAY], days):
        ahead = {**prediction, "prediction_id": f"a{prediction['prediction_id']}"}
        ahead["event_time_ms"] += 3 * HOUR
        events.append(_sent(prediction["event_time_ms"], "predictions", ahead))
    for prediction in chance.sample(predictions, days * 8):
        events.append(_poison(chance, prediction))
    events.sort(key=lambda sent: sent[0][0])
    return events


_BASE_POISON: dict[bytes | None, str] = {None: "null_value", b"{": "malformed_json", b"[]": "invalid_event"}


def _sent(arrives: int, topic: str, event: dict[str, Any], fate: str | None = None) -> Sent:
    return (arrives, topic, event["prediction_id"], json.dumps(event).encode()), fate


def _late(chance: random.Random, event: Event) -> Event:
    """A few arrive later than anybody allows: their window may be final, or forgotten."""
    if chance.random() < 0.015:
        return (_arrival(event[0], event[0] + chance.choice(_LATE_BY_HOURS) * HOUR), *event[1:])
    return event


def _arrival(soonest_ms: int, wanted_ms: int) -> int:
    """What a training learns from is what was labeled when it began. For runs to be alike to the last bit, nothing may
    reach its four days afterwards."""
    trained_from_ms, trained_to_ms = START + 4 * DAY, START + 8 * DAY
    if trained_from_ms <= soonest_ms < trained_to_ms + 10 * HOUR and wanted_ms > trained_to_ms + 12 * HOUR:
        return soonest_ms
    return wanted_ms


def _odd_labels(chance: random.Random, prediction: dict[str, Any]) -> list[Sent]:
    made_ms = prediction["event_time_ms"]
    known_ms = made_ms + chance.randrange(HOUR, 8 * HOUR)

    def label(at_ms: int, revision: int = 0, *, arrives: int | None = None, **changes: Any) -> Sent:
        event = {
            "prediction_id": prediction["prediction_id"],
            "model_id": "credit",
            "event_time_ms": at_ms,
            "label": chance.random() < 0.5,
            "revision": revision,
            **changes,
        }
        return _sent(at_ms if arrives is None else arrives, "labels", event)

    kind = chance.choice(
        ["twice", "out of order", "same rank", "early", "too early", "too late", "restates", "nobody's"]
    )
    if kind == "twice":
        return [label(known_ms, 1), label(known_ms + HOUR, 2)]
    if kind == "out of order":
        return [label(known_ms + HOUR, 2, arrives=known_ms), label(known_ms, 1, arrives=known_ms + HOUR)]
    if kind == "same rank":
        return [label(known_ms, 3), label(known_ms, 3)]
    if kind == "early":
        return [label(made_ms - HOUR // 2)]
    if kind == "too early":
        return [label(made_ms - 2 * HOUR)]
    if kind == "too late":
        return [label(made_ms + 20 * HOUR)]
    if kind == "restates":
        return [label(known_ms, 4, arrives=_arrival(known_ms, made_ms + 38 * HOUR))]
    return [label(known_ms, prediction_id=f"nobody{prediction['prediction_id']}")]


def _poison(chance: random.Random, prediction: dict[str, Any]) -> Sent:
    """One record that nobody can take in, under the key of a good one."""
    event = {**prediction, "prediction_id": f"p{prediction['prediction_id']}"}
    label = {key: event[key] for key in ("prediction_id", "model_id", "event_time_ms")} | {"label": True}
    topic, event = ("predictions", event) if chance.random() < 0.6 else ("labels", label)
    text = json.dumps(event).encode()
    makers: list[Callable[[], tuple[bytes, str]]] = [
        lambda: (text[: chance.randrange(len(text))], "malformed_json"),
        lambda: (text.replace(b"credit", b"cr\xff\xfeit"), "malformed_json"),
        lambda: (text[:-1] + b', "note": "\xc3("}', "malformed_json"),
        lambda: (text[:-1] + b', "note": ' + _DEEP + b"}", "malformed_json"),
        lambda: (b"[" * 10_000, "malformed_json"),
        lambda: (text[:-1] + b', "note": "' + b"x" * MAX_MESSAGE_BYTES + b'"}', "oversized"),
        lambda: (text[:-1] + b', "revision": NaN, "prediction": NaN}', "malformed_json"),
        lambda: (text.replace(b'"credit"', b"17"), "invalid_event"),
        lambda: (json.dumps({**event, "event_time_ms": "yesterday"}).encode(), "invalid_event"),
        lambda: (json.dumps({**event, "event_time_ms": _FAR_FUTURE_MS}).encode(), "absurd_time"),
        lambda: (json.dumps({**event, "event_time_ms": 86_400_000}).encode(), "absurd_time"),
        lambda: (json.dumps({**event, "event_time_ms": 10**30}).encode(), "absurd_time"),
        lambda: (json.dumps({**event, "model_id": "somebody else's"}).encode(), "unknown_model"),
        # The last of several keys with one name counts, here and in every reader.
        lambda: (text[:-1] + b', "prediction_id": "", "prediction_id": 5}', "invalid_event"),
    ]
    if topic == "predictions":
        makers += [
            lambda: (json.dumps({**event, "model_version": "v77"}).encode(), "unknown_version"),
            lambda: (json.dumps({**event, "prediction": 1.5}).encode(), "invalid_event"),
            lambda: (json.dumps({**event, "features": {"income": "much"}}).encode(), "invalid_event"),
            lambda: (json.dumps({**event, "features": {"age": 1}}).encode().replace(b"1}", b"1e999}"), "invalid_event"),
        ]
    value, fate = chance.choice(makers)()
    return (prediction["event_time_ms"], topic, str(prediction["prediction_id"]), value), fate
