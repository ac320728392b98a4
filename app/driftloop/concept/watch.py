"""Running a model version's detectors over its final outcome windows, in window order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct, field

from driftloop.concept.batch import BatchDetector
from driftloop.concept.build import AnyDetector, ReferenceRisk, build_detector, reference_risk
from driftloop.concept.confidence_sequence import ConfidenceSequence
from driftloop.concept.kswin import KSWIN
from driftloop.concept.page_hinkley import PageHinkley
from driftloop.concept.sentences import concept_sentence
from driftloop.concept.stream import deviations_of, values_of
from driftloop.events.reports import ConceptReport
from driftloop.performance.loss_bins import LossBin
from driftloop.profiles.reference import LossReference
from driftloop.spec.concept import ConceptDetector

__all__ = ["ConceptState", "Watch", "advance", "feed", "start"]


class Watch(Struct, kw_only=True):
    """One detector at work. ``detector`` None: it can't run, and ``obstacle`` says why. ``rows`` and ``total`` (their
    losses or errors) count since ``since_ms``, where the detector last started."""

    rules: ConceptDetector
    detector: AnyDetector | None = None
    obstacle: str = ""
    rows: int = 0
    total: float = 0.0
    since_ms: int | None = None


class ConceptState(Struct, kw_only=True):
    """The detectors of the version that serves, as they are kept in the model's state."""

    version: str = ""
    watches: list[Watch] = field(default_factory=list)


def advance(
    state: ConceptState,
    version: str,
    bins: Sequence[LossBin] | None,
    detectors: Sequence[ConceptDetector],
    losses: LossReference | None,
) -> list[ConceptReport]:
    """Take in a final window of the version that serves; one report for each detector. Changes ``state``.

    ``bins`` in order; None: the window's losses were not kept. With another version than before all detectors start
    anew, with other settings of a detector that one.
    """
    if state.version != version:
        state.version, state.watches = version, []
    kept = {watch.rules: watch for watch in state.watches}
    state.watches = [kept.get(rules) or start(rules, losses) for rules in detectors]
    names = _names(detectors)
    return [
        _report(name, watch, bins, reference_risk(losses, watch.rules.stream))
        for name, watch in zip(names, state.watches, strict=True)
    ]


def start(rules: ConceptDetector, losses: LossReference | None) -> Watch:
    """The detector at its start."""
    made = build_detector(rules, reference_risk(losses, rules.stream))
    return Watch(rules=rules, obstacle=made) if isinstance(made, str) else Watch(rules=rules, detector=made)


def _names(detectors: Sequence[ConceptDetector]) -> list[str]:
    """What reports call them: detector and stream, with ``#2`` and so on where that comes again."""
    names: list[str] = []
    for rules in detectors:
        plain = f"{rules.detector}:{rules.stream}"
        same = sum(name.split("#")[0] == plain for name in names)
        names.append(plain if not same else f"{plain}#{same + 1}")
    return names


def _report(name: str, watch: Watch, bins: Sequence[LossBin] | None, reference: ReferenceRisk | None) -> ConceptReport:
    expected = None if reference is None else reference.mean
    detector = watch.detector
    obstacle = watch.obstacle or ("" if bins is not None else "the losses of this window were not kept by time")
    if detector is None or bins is None:
        report = ConceptReport(detector=name, state="insufficient", rows=watch.rows, reference=expected)
        return _worded(report, watch, obstacle)
    rose, fell, changed_at, evidence = False, False, None, None
    for part in bins:
        if feed(watch, detector, part, reference):
            # The first change for the worse is the news of the window, else the first one for the better.
            if changed_at is None or (detector.rose and not rose):
                changed_at = detector.changed_at
            if detector.rose and not rose:
                # What raised the alarm: the next bin may be the first of a new start, with little to show.
                evidence = _evidence(watch, detector)
            rose, fell = rose or detector.rose, fell or not detector.rose
    holding = isinstance(detector, ConfidenceSequence) and detector.holding
    if holding and changed_at is None:
        changed_at = detector.changed_at
    report = msgspec.structs.replace(
        ConceptReport(detector=name, state="ok", rows=0, reference=expected),
        **(evidence or _evidence(watch, detector)),
        state="drift" if rose or holding else "warning" if detector.warning else "ok",
        changed_at_ms=changed_at,
        fell=fell and not rose,
    )
    return _worded(report, watch, "")


def _evidence(watch: Watch, detector: AnyDetector) -> dict[str, Any]:
    """What speaks for or against a change at this moment: fields of the report."""
    low, high = detector.interval() if isinstance(detector, ConfidenceSequence) else (None, None)
    return {
        "rows": watch.rows,
        "statistic": detector.statistic,
        "threshold": detector.threshold,
        "e_value": detector.e_value() if isinstance(detector, BatchDetector) else None,
        "p_value": detector.p_value if isinstance(detector, KSWIN) else None,
        "risk": watch.total / watch.rows if watch.rows else None,
        "low": low,
        "high": high,
        "bound": detector.bound if isinstance(detector, BatchDetector) else None,
        "since_ms": watch.since_ms,
    }


def feed(watch: Watch, detector: AnyDetector, part: LossBin, reference: ReferenceRisk | None) -> bool:
    """Hand a bin to the detector; whether it raised an alarm."""
    stream = watch.rules.stream
    errors = float(part.errors)
    if detector.n == 0 or detector.detected:
        watch.rows, watch.total, watch.since_ms = 0, 0.0, part.start_ms
    watch.rows += part.rows
    watch.total += errors if stream == "error" else part.total
    if isinstance(detector, BatchDetector):
        # Sums of losses are rounded to 2**-50 a row; the excess of a rounding over the rows must not be an error.
        total = errors if stream == "error" else min(part.total, float(part.rows))
        squares = errors if stream == "error" else min(part.squares, total)
        return bool(detector.update_batches([part.rows], [total], [squares], [part.start_ms]))
    if isinstance(detector, PageHinkley) and watch.rules.settings["unit"] == "deviations":
        assert reference is not None, "checked when it was built"
        assert reference.deviation is not None, "checked when it was built"
        values = deviations_of(part, stream, reference.mean, reference.deviation)
    else:
        values = values_of(part, stream)
    return bool(detector.update(values, [part.start_ms] * values.size))


def _worded(report: ConceptReport, watch: Watch, obstacle: str) -> ConceptReport:
    return msgspec.structs.replace(report, sentence=concept_sentence(report, watch.rules, obstacle))
