"""``training.validation`` and ``training.expectations``: what is refused when a spec is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from driftloop.spec import SpecError, load_spec, parse_spec, spec_digest
from driftloop.spec.expectation_kinds import KINDS
from driftloop.training.validation.suite import _DECIDE

BASE = """
model: churn
task: {task}
features:
  age: {{kind: numeric}}
  colour: {{kind: categorical}}
  emb: {{kind: vector, length: 2}}
training: {training}
"""


def spec_text(training: Any, task: str = "binary") -> str:
    return BASE.format(training=json.dumps(training), task=task)


def problems(training: Any, task: str = "binary") -> str:
    with pytest.raises(SpecError) as refused:
        parse_spec(spec_text(training, task))
    return str(refused.value)


def suite(kind: str, more: dict[str, Any] | None = None, **kwargs: Any) -> dict[str, Any]:
    return {"expectations": {"name": "s", "expectations": [{"type": kind, "kwargs": kwargs, **(more or {})}]}}


def test_every_expectation_that_is_read_can_be_decided() -> None:
    assert set(KINDS) == set(_DECIDE)


def test_bounds_are_read_and_null_switches_a_check_off() -> None:
    rules = {"missing": {"warn": 0.1, "fail": 0.3}, "duplicates": None, "known_in_advance": ["age"], "schema": False}
    found = parse_spec(spec_text({"validation": rules})).training.validation
    assert found.missing is not None
    assert (found.missing.warn, found.missing.fail, found.duplicates) == (0.1, 0.3, None)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (
            {"missing": {"warn": 0.5, "fail": 0.1}},
            "training.validation.missing.warn: expected at most the bound of fail",
        ),
        ({"missing": {"warn": 5}}, "missing.warn: expected a number between 0 and 1, got 5"),
        ({"rows_per_class": {"fail": -1}}, "rows_per_class.fail: expected a number of rows from 0 on"),
        ({"rows_per_class": {"warn": 5, "fail": 9}}, "rows_per_class.warn: expected at least the bound of fail, 9"),
        ({"known_in_advance": ["agee"]}, "the spec has no feature 'agee', did you mean 'age'?"),
        ({"mising": {"warn": 0.5}}, "unknown key 'mising', did you mean 'missing'?"),
    ],
)
def test_bounds_that_make_no_sense(rules: dict[str, Any], expected: str) -> None:
    assert expected in problems({"validation": rules})


def test_a_file_is_read_and_its_content_is_what_counts(tmp_path: Path) -> None:
    older = {
        "expectation_suite_name": "old",
        "data_asset_type": None,
        "ge_cloud_id": None,
        "expectations": [
            {
                "expectation_type": "expect_column_values_to_be_between",
                "kwargs": {"column": "age", "min_value": 0, "max_value": None, "result_format": "SUMMARY",
                           "parse_strings_as_datetimes": False, "row_condition": None},
                "meta": {"notes": {"content": "x"}},
            }
        ],
        "meta": {"great_expectations_version": "0.18.21"},
    }  # fmt: skip
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "old.json").write_text(json.dumps(older))
    path = tmp_path / "churn.yaml"
    path.write_text(spec_text({"expectations": "suites/old.json"}))
    spec = load_spec(path)
    assert spec.training.expectations == older
    before = spec_digest(spec)
    older["expectations"][0]["kwargs"]["min_value"] = 1  # type: ignore[index]
    (tmp_path / "suites" / "old.json").write_text(json.dumps(older))
    assert spec_digest(load_spec(path)) != before


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, "there is no file"), ("{", "expected the JSON of a suite"), ("[]", "expected a JSON object")],
)
def test_files_that_hold_no_suite(tmp_path: Path, content: str | None, expected: str) -> None:
    if content is not None:
        (tmp_path / "suite.json").write_text(content)
    path = tmp_path / "churn.yaml"
    path.write_text(spec_text({"expectations": "suite.json"}))
    with pytest.raises(SpecError, match=expected):
        load_spec(path)


@pytest.mark.parametrize(
    ("training", "expected"),
    [
        (suite("expect_column_values_to_be_betwen", column="age"), "mean 'expect_column_values_to_be_between'?"),
        (suite("expect_column_kl_divergence_to_be_less_than", column="age"), "driftloop cannot check"),
        (suite("expect_column_values_to_be_unique", column="agee"), "no column 'agee', did you mean 'age'?"),
        (suite("expect_column_mean_to_be_between", column="colour", min_value=1), "needs numbers, and the"),
        (suite("expect_column_values_to_be_between", column="colour", min_value=1), "needs numbers"),
        (suite("expect_column_values_to_be_unique", column="emb"), "whose values are lists of numbers"),
        (suite("expect_column_mean_to_be_between", column="age"), "expected min_value, max_value or both"),
        (suite("expect_column_mean_to_be_between", column="age", min_value=2, max_value=1), "at most max_value, 1"),
        (suite("expect_column_values_to_be_unique", column="age", mostly=1.2), "kwargs.mostly: expected a number"),
        (suite("expect_column_values_to_be_unique", column="age", row_condition="x>1"), "'row_condition' is not"),
        (suite("expect_column_values_to_be_in_set", column="colour", value_set={"$PARAMETER": "s"}), "$PARAMETER"),
        (suite("expect_column_values_to_match_regex", column="colour", regex="("), "regular expression of Python"),
        (suite("expect_column_values_to_be_of_type", column="age", type_="BIGINT"), "expected types among"),
        (suite("expect_column_values_to_be_in_set", column="colour"), "value_set: this key is missing"),
        (suite("expect_column_values_to_be_unique", {"severity": "bad"}, column="age"), "of critical, warning, info"),
        (suite("expect_column_values_to_be_unique", {"mety": 1}, column="age"), "unknown key of an expectation"),
        (
            suite("expect_column_quantile_values_to_be_between", column="age",
                  quantile_ranges={"quantiles": [0.5, 0.1], "value_ranges": [[0, 1]]}),
            "as many value_ranges as quantiles",
        ),
        ({"expectations": {"name": "s", "expectations": []}}, "expected a list of one or more expectations"),
        ({"expectations": {"expectations": [{"type": "expect_column_to_exist", "kwargs": {"column": "z"}}]}}, "name"),
        ({"expectations": {"name": "s", "expectations": [7]}}, "expected a mapping with type and kwargs"),
        ({"expectations": {"name": "s", "suite_parameters": {"a": 1}, "expectations": []}}, "parameters of a suite"),
    ],
)  # fmt: skip
def test_suites_that_cannot_be_checked(training: dict[str, Any], expected: str) -> None:
    assert expected in problems(training)


def test_columns_of_the_data_set_itself_can_be_named() -> None:
    for column in ("@label", "@predicted_at_ms", "@labeled_at_ms", "@prediction"):
        parse_spec(spec_text(suite("expect_column_mean_to_be_between", column=column, min_value=0)))
    parse_spec(spec_text(suite("expect_column_to_exist", column="not there")))
    parse_spec(spec_text(suite("expect_column_values_to_not_be_null", column="emb")))
