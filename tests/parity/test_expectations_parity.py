"""Expectations against golden results of Great Expectations, made by make_expectations.py."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from driftloop.spec.expectation_kinds import KINDS
from driftloop.spec.expectations import parse_suite
from driftloop.training.validation.suite import check_suite

GOLDEN: dict[str, Any] = json.loads(Path(__file__).with_name("golden_expectations.json").read_text())
NUMERIC = ("x", "y", "steps", "few")


def frame(table: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            name: pd.Series(values, dtype="float64" if name in NUMERIC else object)
            for name, values in GOLDEN["tables"][table].items()
        }
    )


def check(table: str) -> dict[str, Any]:
    suite, problems = parse_suite({"name": "golden", "expectations": GOLDEN["cases"]})
    assert problems == []
    return check_suite(suite, frame(table), asset=table)


def same(ours: Any, theirs: Any) -> bool:
    """Equal, numbers to twelve digits."""
    if isinstance(theirs, float) and isinstance(ours, int | float):
        return math.isclose(ours, theirs, rel_tol=1e-12) or (math.isnan(ours) and math.isnan(theirs))
    if isinstance(theirs, list) and isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(theirs, dict) and isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(same(ours[key], theirs[key]) for key in theirs)
    return bool(ours == theirs)


def comparable(result: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """Great Expectations lists what a set lacks in no order. Values that are missing are each a value of their own to
    it when it counts the listed ones, and it gives no counts where they leave values without an order."""
    result = {key: sorted(value, key=str) if key == "partial_missing_list" else value for key, value in result.items()}
    counts = theirs.get("partial_unexpected_counts")
    if counts is None or any(item["value"] is None or None in _list(item["value"]) for item in counts):
        result.pop("partial_unexpected_counts", None)
    return result


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize("table", sorted(GOLDEN["tables"]))
def test_every_result_is_that_of_great_expectations(table: str) -> None:
    different = []
    for case, our, theirs in zip(
        GOLDEN["cases"], check(table)["results"], GOLDEN["found"][table]["results"], strict=True
    ):
        result, expected = (comparable(part["result"], theirs["result"]) for part in (our, theirs))
        if our["success"] != theirs["success"] or not same(result, expected) or sorted(our) != theirs["keys"]:
            different.append((case, our["success"], result, theirs["success"], expected))
    assert different == []


def test_every_expectation_is_compared_when_it_is_met_and_when_it_is_not() -> None:
    found = {(case["type"], result["success"]) for table in ("main", "one") for case, result in _results(table)}
    assert found == {(kind, success) for kind in KINDS for success in (True, False)}


def _results(table: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    return zip(GOLDEN["cases"], GOLDEN["found"][table]["results"], strict=True)


def test_the_whole_result_has_the_same_form() -> None:
    theirs = GOLDEN["found"]["main"]["suite"]
    exist = [{"type": "expect_column_to_exist", "kwargs": {"column": column}} for column in ("x", "z")]
    ours = check_suite(parse_suite({"name": "main", "expectations": exist})[0], frame("main"), asset="main")
    assert sorted(ours) == sorted(theirs)
    assert ours["statistics"] == theirs["statistics"]
    assert [ours["suite_name"], ours["success"]] == [theirs["suite_name"], theirs["success"]]
    by_column = {item["expectation_config"]["kwargs"]["column"]: item for item in theirs["results"]}
    for result in ours["results"]:
        expected = by_column[result["expectation_config"]["kwargs"]["column"]]
        expected["expectation_config"]["kwargs"].pop("batch_id")
        assert result == expected
