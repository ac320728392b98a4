"""All checks of a training set, in order, and what comes of them."""

from __future__ import annotations

import itertools
from typing import Any

import pandas as pd

from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec.expectations import column_kinds, parse_suite
from driftloop.spec.model import ModelSpec
from driftloop.training.dataset import TrainingSet
from driftloop.training.validation.columns import (
    category_checks,
    missing_checks,
    range_checks,
    rule_checks,
    schema_checks,
)
from driftloop.training.validation.duplicates import duplicate_checks
from driftloop.training.validation.labels import label_checks
from driftloop.training.validation.leakage import leakage_checks
from driftloop.training.validation.result import CheckResult, ValidationResult, Verdict, above
from driftloop.training.validation.suite import check_suite
from driftloop.training.validation.times import time_checks

__all__ = ["as_table", "reason_of", "validate"]

#: So many checks are named in the reason of a failed run.
_NAMED = 3


def validate(
    spec: ModelSpec,
    data: TrainingSet,
    reference: ReferenceProfile | None,
    *,
    unreadable: int = 0,
    asset: str = "",
    meta: dict[str, Any] | None = None,
) -> tuple[ValidationResult, dict[str, Any] | None]:
    """The checks that the spec asks for, and the suite's result in the JSON of Great Expectations (None: no suite).

    ``reference``: the champion's profile, None if there is none: then nothing is compared with it. ``unreadable``: how
    many rows did not fit the spec and are not in ``data``. ``asset``: the data set's SHA-256, ``meta`` is added to the
    suite's result. A pure function of these.
    """
    rules = spec.training.validation
    checks: list[CheckResult] = []
    if rules.enabled:
        checks = [
            *_unreadable(spec, data, unreadable),
            *itertools.chain(
                schema_checks(spec, data.frame, reference),
                missing_checks(spec, data.frame, reference),
                range_checks(spec, data.frame, reference),
                rule_checks(spec, data.frame),
                category_checks(spec, data.frame, reference),
                label_checks(spec, data, reference),
                duplicate_checks(spec, data),
                leakage_checks(spec, data),
                time_checks(spec, data),
            ),
        ]
    content = spec.training.expectations
    suite_result = None
    unmet = 0
    if isinstance(content, dict):
        suite_result = check_suite(parse_suite(content)[0], as_table(spec, data), asset=asset, meta=meta)
        unmet = suite_result["statistics"]["unsuccessful_expectations"]
        checks += [_of_expectation(result) for result in suite_result["results"]]
    verdicts = {check.verdict for check in checks}
    verdict: Verdict = "fail" if "fail" in verdicts else "warn" if "warn" in verdicts else "pass"
    result = ValidationResult(
        model_id=spec.model,
        rows=len(data),
        verdict=verdict,
        checks=checks,
        reference_version=None if reference is None else reference.model_version,
        expectations=0 if suite_result is None else len(suite_result["results"]),
        unmet_expectations=unmet,
        data_sha256=asset,
    )
    return result, suite_result


def _unreadable(spec: ModelSpec, data: TrainingSet, unreadable: int) -> list[CheckResult]:
    bounds = spec.training.validation.unreadable
    total = len(data) + unreadable
    if bounds is None or not total:
        return []
    share = unreadable / total
    sentence = f"{unreadable:,} of {total:,} labeled rows ({share:.1%}) do not fit the spec and are left out"
    return [above("unreadable", share, bounds, sentence)]


def _of_expectation(result: dict[str, Any]) -> CheckResult:
    """One expectation as a check: unmet ones fail, or warn if the suite gives them another severity than critical."""
    config, found = result["expectation_config"], result["result"]
    kind, kwargs = config["type"], config["kwargs"]
    about = {key: value for key, value in kwargs.items() if not isinstance(value, list | dict)}
    said = ", ".join(f"{key}={value!r}" for key, value in about.items())
    value = found.get("unexpected_percent", found.get("observed_value"))
    met = result["success"]
    if met:
        told = "is met"
    elif result["exception_info"]["exception_message"]:
        told = f"could not be checked: {result['exception_info']['exception_message']}"
    elif "unexpected_count" in found and "element_count" in found:
        told = f"is not met: {found['unexpected_count']:,} of {found['element_count']:,} rows are unexpected"
    else:
        told = f"is not met: observed {value!r}"
    verdict: Verdict = "pass" if met else "fail" if config["severity"] == "critical" else "warn"
    return CheckResult(
        check=kind,
        column=kwargs.get("column"),
        value=float(value) if isinstance(value, int | float) else None,
        verdict=verdict,
        sentence=f"{kind}({said}) {told}"[:500],
    )


def as_table(spec: ModelSpec, data: TrainingSet) -> pd.DataFrame:
    """The data set as its Parquet file has it: driftloop's own columns, then the features. Texts are objects."""
    known = data.labeled_at_ms
    own: dict[str, Any] = {
        "@prediction_id": pd.Series(data.ids, dtype=object),
        "@predicted_at_ms": data.predicted_at_ms,
        "@labeled_at_ms": pd.Series([None] * len(data), dtype=object) if known is None else known,
        "@model_version": pd.Series(data.versions, dtype=object),
        "@label": data.labels,
        "@prediction": data.said if data.said.ndim == 1 else pd.Series(data.said.tolist(), dtype=object),
    }
    table = pd.DataFrame({**own, **{name: data.frame[name] for name in data.frame.columns}})
    return table[list(column_kinds(spec))]


def reason_of(result: ValidationResult) -> str:
    """Why a run ends here, as a sentence: the checks that failed."""
    failed = result.of("fail")
    shown = "; ".join(f"{check.check}: {check.sentence}" for check in failed[:_NAMED])
    more = f"; and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
    return f"the data does not pass validation: {shown}{more}"
