"""Whether labels come for other scores than before: the share labeled by score band against earlier windows.

With p_b the share labeled in band b before, and n_k predictions now in band k, the share to be expected now is
e_b = min(1, c p_b), where c = (labels now in all other bands) / (sum over them of n_k p_k): what the other bands do,
all labels coming late or an outage of half of them, is no shift. The effect is the fall 1 - (labels now / n_b) / e_b;
it counts from ``quality.label_coverage`` on, if z = (e_b - observed) / s is significant one-sided at
``quality.significance``, Bonferroni-corrected over the bands. s² is the sum of the binomial variance of e_b at n_b
rows, of c p_b through p_b, and through c by the delta method for a ratio.

Reference: W. G. Cochran, "Sampling Techniques", 1977, chapter 6 (the variance of a ratio).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from scipy.special import ndtr

from driftloop.events.reports import QualityReport
from driftloop.performance.score_bands import ScoreBands
from driftloop.spec.model import QualityRules

__all__ = ["CHECK", "SUBJECT", "CoverageHistory", "judge_coverage"]

CHECK: Final = "label_coverage"
SUBJECT: Final = "@labels/coverage_by_score"
#: Earlier windows that are compared with, and how many of them there must be.
_WINDOWS: Final = 8
_WINDOWS_TO_KNOW: Final = 3
#: A band with fewer predictions now or before, or in which fewer labels are to be expected now, is left out.
_ROWS: Final = 30
_EXPECTED: Final = 10.0


class CoverageHistory(msgspec.Struct, frozen=True):
    """Predictions and labels by score band of a model's last final windows that were sound, oldest first."""

    windows: list[tuple[list[int], list[int]]] = msgspec.field(default_factory=list)

    def after(self, bands: ScoreBands | None, report: QualityReport | None) -> CoverageHistory:
        """With one more final window; one whose labels had shifted is not learned, one without rows tells nothing."""
        if bands is None or report is None or report.decision == "broken" or not int(bands.predicted.sum()):
            return self
        return CoverageHistory([*self.windows, (bands.predicted.tolist(), bands.labeled.tolist())][-_WINDOWS:])


@dataclass(frozen=True)
class _Fall:
    band: int
    observed: float
    expected: float
    p_value: float

    @property
    def share(self) -> float:
        return 1.0 - self.observed / self.expected


def judge_coverage(bands: ScoreBands | None, history: CoverageHistory, rules: QualityRules) -> QualityReport | None:
    """The check of one version's final outcome window, all rows; None if it is off or scores have no bands."""
    bound = rules.label_coverage
    if bands is None or bound is None or not rules.enabled:
        return None
    counts = len(bands.edges) + 1
    alike = [window for window in history.windows if len(window[0]) == counts]
    falls: list[_Fall] = []
    if len(alike) >= _WINDOWS_TO_KNOW:
        before = [[sum(window[part][band] for window in alike) for band in range(counts)] for part in (0, 1)]
        falls = _falls(bands.predicted.tolist(), bands.labeled.tolist(), *before)
    rows = int(bands.predicted.sum())
    if not falls:
        return _report("insufficient", None, bound, None, rows, "too few earlier windows or rows to tell for which "
                       "scores labels come")  # fmt: skip
    corrected = [min(1.0, fall.p_value * len(falls)) for fall in falls]
    shifted = [
        (fall.share, -fall.band, p)
        for fall, p in zip(falls, corrected, strict=True)
        if fall.share >= bound and p < rules.significance
    ]
    largest = max(falls, key=lambda fall: (fall.share, -fall.band))
    if shifted:
        _, place, _ = max(shifted)
        largest = next(fall for fall in falls if fall.band == -place)
    p_value = corrected[falls.index(largest)]
    sentence = (
        f"of the predictions with {_band_text(bands.edges, largest.band)} {largest.observed:.1%} have a label, and "
        f"{largest.expected:.1%} are to be expected from {len(alike)} earlier windows and the other scores"
    )
    return _report("broken" if shifted else "ok", max(0.0, largest.share), bound, p_value, rows, sentence)


def _falls(
    predicted: Sequence[int], labeled: Sequence[int], before: Sequence[int], labeled_before: Sequence[int]
) -> list[_Fall]:
    """Each band that can be judged against what the others would have it."""
    usable = [band for band, n in enumerate(predicted) if n >= _ROWS and before[band] >= _ROWS]
    shares = {band: labeled_before[band] / before[band] for band in usable}
    found = []
    for band in usable:
        others = [other for other in usable if other != band]
        labels = sum(labeled[other] for other in others)
        wanted = math.fsum(predicted[other] * shares[other] for other in others)
        if labels < _EXPECTED or wanted < _EXPECTED:
            continue
        ratio = labels / wanted
        expected = min(1.0, ratio * shares[band])
        n = predicted[band]
        if n * expected < _EXPECTED:
            continue
        variance = _binomial(n * expected, n) + ratio * ratio * _binomial(labeled_before[band], before[band])
        spread = math.fsum(predicted[other] ** 2 * _binomial(labeled[other], predicted[other]) for other in others)
        earlier = math.fsum(
            predicted[other] ** 2 * _binomial(labeled_before[other], before[other]) for other in others
        )  # fmt: skip
        variance += (shares[band] * ratio) ** 2 * (spread / labels**2 + earlier / wanted**2)
        observed = labeled[band] / n
        p_value = float(ndtr((observed - expected) / math.sqrt(variance)))
        found.append(_Fall(band, observed, expected, p_value))
    return found


def _binomial(hits: float, rows: int) -> float:
    """Variance of a share, with one hit and one miss more: none or all of few rows are not certain."""
    share = (hits + 1.0) / (rows + 2.0)
    return share * (1.0 - share) / rows


def _band_text(edges: tuple[float, ...], band: int) -> str:
    if band == 0:
        return f"scores up to {edges[0]:.4g}"
    if band == len(edges):
        return f"scores above {edges[-1]:.4g}"
    return f"scores above {edges[band - 1]:.4g} up to {edges[band]:.4g}"


def _report(
    decision: str, statistic: float | None, bound: float, p_value: float | None, rows: int, sentence: str
) -> QualityReport:
    return msgspec.convert(
        {
            "check": CHECK,
            "subject": SUBJECT,
            "statistic": statistic,
            "threshold": bound,
            "p_value": p_value,
            "rows": rows,
            "decision": decision,
            "sentence": sentence,
        },
        QualityReport,
    )
