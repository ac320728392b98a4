"""Checks a suite of expectations against a table. The result is in Great Expectations' JSON for validation results."""

from __future__ import annotations

from typing import Any

import pandas as pd

from driftloop.spec.expectations import Expectation, Suite
from driftloop.training.validation.gx_result import Outcome
from driftloop.training.validation.row_expectations import ROW_EXPECTATIONS
from driftloop.training.validation.table_expectations import TABLE_EXPECTATIONS

__all__ = ["check_suite"]

_DECIDE = {**ROW_EXPECTATIONS, **TABLE_EXPECTATIONS}


def check_suite(suite: Suite, table: pd.DataFrame, *, asset: str, meta: dict[str, Any] | None = None) -> dict[str, Any]:
    """What ``ExpectationSuiteValidationResult.to_json_dict`` gives, with the results in the suite's order.

    ``asset`` names the table. An expectation that cannot be decided has not been met: ``exception_info`` says why.
    """
    results = [_result(expectation, _decide(expectation, table)) for expectation in suite.expectations]
    good = sum(result["success"] for result in results)
    return {
        "success": good == len(results),
        "results": results,
        "suite_name": suite.name,
        "suite_parameters": {},
        "statistics": {
            "evaluated_expectations": len(results),
            "successful_expectations": good,
            "unsuccessful_expectations": len(results) - good,
            "success_percent": good / len(results) * 100 if results else None,
        },
        "meta": {**(meta or {}), "active_batch_definition": {"data_asset_name": asset, "batch_identifiers": {}}},
        "id": None,
    }


def _decide(expectation: Expectation, table: pd.DataFrame) -> Outcome:
    try:
        return _DECIDE[expectation.type](table, expectation.kwargs)
    except (TypeError, ValueError, KeyError, OverflowError, RecursionError) as error:
        return Outcome(False, {}, f"{type(error).__name__}: {error}")


def _result(expectation: Expectation, outcome: Outcome) -> dict[str, Any]:
    config: dict[str, Any] = {
        "type": expectation.type,
        "kwargs": expectation.given,
        "meta": expectation.meta,
        "severity": expectation.severity,
    }
    if expectation.id is not None:
        config["id"] = expectation.id
    return {
        "success": bool(outcome.success),
        "expectation_config": config,
        "result": outcome.result,
        "meta": {},
        "exception_info": {
            "raised_exception": outcome.problem is not None,
            "exception_traceback": None,
            "exception_message": outcome.problem,
        },
    }
