"""What came true of a prediction, when that became known, and how wrong the prediction was."""

from __future__ import annotations

import math
from typing import Any

from msgspec import Raw, Struct, field

from driftloop.audit.find import Trace
from driftloop.events.decoding import UNDECODABLE
from driftloop.profiles.columns import LabelDecoder, LabelValue, PredictionValue
from driftloop.spec.model import ModelSpec

__all__ = ["LabelAccount", "Outcome", "outcome_of"]


class LabelAccount(Struct, frozen=True, kw_only=True):
    """A label as it came, at an offset of the labels topic. ``counts``: it has the highest (revision, time)."""

    label: Raw
    revision: int
    known_at_ms: int
    offset: int
    counts: bool


class Outcome(Struct, frozen=True, kw_only=True):
    """``delay_ms``: from the prediction to the label that counts. ``joined``: whether the monitor has put the pair on
    the labeled topic, ``late``: after its window had closed. ``sentence`` says how wrong the prediction was, ``errors``
    has the numbers."""

    labels: list[LabelAccount]
    delay_ms: int
    joined: bool
    late: bool
    sentence: str
    errors: dict[str, float] = field(default_factory=dict)


def outcome_of(
    spec: ModelSpec | None, trace: Trace, predicted_at_ms: int, said: PredictionValue | None
) -> Outcome | None:
    """None: no label has come."""
    came: dict[tuple[int, int, int], Raw] = {
        (one.event.revision, one.event.event_time_ms, one.offset): one.event.label for one in trace.labels
    }
    for one in trace.labeled:  # what is gone from the labels topic
        came.setdefault((one.event.revision, one.event.labeled_at_ms, one.event.label_offset), one.event.label)
    if not came:
        return None
    best = max(came)
    labels = [
        LabelAccount(label=came[key], revision=key[0], known_at_ms=key[1], offset=key[2], counts=key == best)
        for key in sorted(came)
    ]
    sentence, errors = "", dict[str, float]()
    if spec is not None and said is not None:
        try:
            sentence, errors = _wrong(spec, said, LabelDecoder(spec).decode(came[best]))
        except UNDECODABLE as error:
            sentence = f"the label does not fit the spec: {error}"
    joined = trace.joined
    return Outcome(
        labels=labels,
        delay_ms=best[1] - predicted_at_ms,
        joined=joined is not None,
        late=joined is not None and joined.event.late,
        sentence=sentence,
        errors=errors,
    )


def _wrong(spec: ModelSpec, said: Any, label: LabelValue) -> tuple[str, dict[str, float]]:
    """In words and in numbers.

    Natural logarithm; an infinite log loss is one of a probability of 0.
    """
    if spec.task == "regression":
        error = float(said) - float(label)  # type: ignore[arg-type]
        way = "too high" if error > 0 else "too low" if error < 0 else "exact"
        return f"{way} by {abs(error):.6g}" if error else "exact", {"error": error, "absolute_error": abs(error)}
    if spec.task == "binary":
        probability = float(said) if label == 1 else 1.0 - float(said)
        decided = float(said) >= spec.performance.decision_threshold
        right = decided == (label == 1)
        words = f"decided {int(decided)} at the threshold {spec.performance.decision_threshold:g}, which was "
        words += f"{'right' if right else 'wrong'}; it gave what came true a probability of {probability:.4g}"
        return words, {"log_loss": _log_loss(probability), "squared_error": (float(said) - float(label)) ** 2}  # type: ignore[arg-type]
    if spec.task == "multiclass":
        place = int(label)  # type: ignore[arg-type]
        likeliest = max(range(len(said)), key=lambda at: said[at])
        words = f"the likeliest class was {spec.classes[likeliest]}, and {spec.classes[place]} came true: "
        words += f"{'right' if likeliest == place else 'wrong'}; it gave it a probability of {said[place]:.4g}"
        squares = sum((value - (at == place)) ** 2 for at, value in enumerate(said)) / 2
        return words, {"log_loss": _log_loss(said[place]), "half_squared_error": squares}
    gains = label if isinstance(label, dict) else {}
    relevant = {item for item, gain in gains.items() if gain > 0}
    places = [at + 1 for at, item in enumerate(said) if item in relevant]
    if not places:
        return f"none of {len(relevant)} relevant items was in the list of {len(said)}", {"reciprocal_rank": 0.0}
    return f"the first relevant item was at place {places[0]} of {len(said)}", {"reciprocal_rank": 1.0 / places[0]}


def _log_loss(probability: float) -> float:
    return -math.log(probability) if probability > 0 else math.inf
