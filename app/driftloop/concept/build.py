"""A detector from its spec and the model version's reference."""

from __future__ import annotations

import math
from typing import Literal

from msgspec import Struct

from driftloop.concept.adwin import ADWIN
from driftloop.concept.confidence_sequence import ConfidenceSequence
from driftloop.concept.ddm import DDM
from driftloop.concept.e_detector import EDetector
from driftloop.concept.eddm import EDDM
from driftloop.concept.hddm_a import HDDMA
from driftloop.concept.hddm_w import HDDMW
from driftloop.concept.kswin import KSWIN
from driftloop.concept.page_hinkley import PageHinkley
from driftloop.concept.source_risk import upper_risk
from driftloop.profiles.reference import LossReference
from driftloop.spec.concept import ConceptDetector

__all__ = ["SOURCE_ALPHA", "AnyDetector", "ReferenceRisk", "build_detector", "reference_risk"]

AnyDetector = ADWIN | ConfidenceSequence | DDM | EDDM | EDetector | HDDMA | HDDMW | KSWIN | PageHinkley

#: An e-detector's bound lies below the reference's true risk with this probability at most.
SOURCE_ALPHA = 0.005

_PLAIN: dict[str, type[ADWIN | DDM | EDDM | HDDMA | HDDMW | KSWIN]] = {
    "adwin": ADWIN,
    "ddm": DDM,
    "eddm": EDDM,
    "hddm_a": HDDMA,
    "hddm_w": HDDMW,
    "kswin": KSWIN,
}


class ReferenceRisk(Struct, frozen=True):
    """Mean and sample variance (None: not known) of one stream's numbers on the reference's rows."""

    mean: float
    variance: float | None
    rows: int

    @property
    def deviation(self) -> float | None:
        """The standard deviation; None if it is not known or nothing varies."""
        return math.sqrt(self.variance) if self.variance else None


def reference_risk(losses: LossReference | None, stream: str) -> ReferenceRisk | None:
    """The reference of a stream; None where there is none."""
    if losses is None:
        return None
    if stream == "error":
        p, rows = losses.error_mean, losses.rows
        return ReferenceRisk(p, p * (1.0 - p) * rows / (rows - 1) if rows > 1 else None, rows)
    if losses.loss_mean is None:
        return None
    return ReferenceRisk(losses.loss_mean, losses.loss_variance, losses.rows)


def build_detector(rules: ConceptDetector, reference: ReferenceRisk | None) -> AnyDetector | str:
    """The detector at its start, or a text that says what it lacks.

    Those with a guarantee get ``bound`` = upper confidence bound of the reference's risk + tolerance. Half of a
    confidence sequence's ``alpha`` is spent on that bound and half on the sequence; an e-detector's bound is good to
    :data:`SOURCE_ALPHA`.
    """
    settings = rules.settings
    if rules.detector in _PLAIN:
        return _PLAIN[rules.detector](**settings)  # type: ignore[arg-type]
    if rules.detector == "page_hinkley":
        unit = settings.pop("unit")
        if unit == "deviations" and (reference is None or reference.deviation is None):
            return "the model version's reference has no spread of this loss to measure in; set unit: value"
        settings["threshold_"] = settings.pop("threshold")
        return PageHinkley(**settings)  # type: ignore[arg-type]
    if reference is None:
        return "the model version has no reference losses to compare with"
    alpha = float(settings["alpha"])
    of_source = alpha / 2.0 if rules.detector == "confidence_sequence" else SOURCE_ALPHA
    tolerance = float(settings["tolerance"]) * (reference.mean if settings["relative"] else 1.0)
    bound = upper_risk(reference.mean, reference.variance, reference.rows, of_source) + tolerance
    if bound >= 1.0:
        return (
            f"no loss can be above the bound of {bound:.4g}: the reference has too few rows, or the tolerance is large"
        )
    if rules.detector == "confidence_sequence":
        return ConfidenceSequence(alpha=alpha / 2.0, bound=bound, reference=reference.mean)
    kind: Literal["sr", "cusum"] = "cusum" if settings["kind"] == "cusum" else "sr"
    return EDetector(alpha=alpha, kind=kind, bound=bound, reference=reference.mean)
