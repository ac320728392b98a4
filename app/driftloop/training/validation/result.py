"""What the checks of a training set have found."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from driftloop.spec.validation import Bounds

__all__ = ["CheckResult", "ValidationResult", "Verdict", "above", "below"]

Verdict = Literal["pass", "warn", "fail"]


class CheckResult(Struct, frozen=True, kw_only=True):
    """One check of the whole set, or of one ``column``. ``value`` None: there is nothing to measure, and the sentence
    says why. ``bound``: the one that the value is beyond; if it is within all of them, the first that it would meet."""

    check: str
    column: str | None = None
    value: float | None
    bound: float | None = None
    verdict: Verdict = "pass"
    sentence: str


class ValidationResult(Struct, frozen=True, kw_only=True):
    """All checks of a training set, kept beside its manifest. ``reference_version``: the champion whose reference
    profile the rows were compared with. ``expectations``: how many of the suite's were checked and not met."""

    model_id: str
    rows: int
    verdict: Verdict
    checks: list[CheckResult]
    reference_version: str | None = None
    expectations: int = 0
    unmet_expectations: int = 0
    data_sha256: str = ""

    def of(self, verdict: Verdict) -> list[CheckResult]:
        """The checks with this verdict."""
        return [check for check in self.checks if check.verdict == verdict]

    def to_builtins(self) -> dict[str, Any]:
        """What a version's lineage keeps of it: the verdict and the sentences of what was not as it should be."""
        found = [f"{check.check}: {check.sentence}" for check in self.checks if check.verdict != "pass"]
        return {"verdict": self.verdict, "checks": len(self.checks), "found": found}


def above(
    check: str, value: float | None, bounds: Bounds, sentence: str, *, column: str | None = None, percent: bool = True
) -> CheckResult:
    """A check whose value must not be above its bounds."""
    verdict: Verdict = "pass"
    first = bounds.fail if bounds.warn is None else bounds.warn
    bound = first
    if value is not None and bounds.fail is not None and value > bounds.fail:
        verdict, bound = "fail", bounds.fail
    elif value is not None and bounds.warn is not None and value > bounds.warn:
        verdict, bound = "warn", bounds.warn
    return _result(check, column, value, bound, verdict, sentence, "at most", percent)


def below(
    check: str, value: float | None, bounds: Bounds, sentence: str, *, column: str | None = None, percent: bool = True
) -> CheckResult:
    """A check whose value must not be below its bounds."""
    verdict: Verdict = "pass"
    bound = bounds.fail if bounds.warn is None else bounds.warn
    if value is not None and bounds.fail is not None and value < bounds.fail:
        verdict, bound = "fail", bounds.fail
    elif value is not None and bounds.warn is not None and value < bounds.warn:
        verdict, bound = "warn", bounds.warn
    return _result(check, column, value, bound, verdict, sentence, "at least", percent)


def _result(
    check: str,
    column: str | None,
    value: float | None,
    bound: float | None,
    verdict: Verdict,
    sentence: str,
    side: str,
    percent: bool,
) -> CheckResult:
    if verdict != "pass" and bound is not None:
        shown = f"{bound:.1%}" if percent else f"{bound:g}"
        sentence = f"{sentence}; the bound is {side} {shown}"
    return CheckResult(check=check, column=column, value=value, bound=bound, verdict=verdict, sentence=sentence)
