"""Golden results of Great Expectations for tests/parity/test_expectations_parity.py.

    python tests/parity/make_expectations.py    # in an environment with great_expectations

Tables are written beside the results. ``kinds``: numeric columns are float64, texts objects, as in a training set.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import logging
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

Kwargs = dict[str, Any]

_RANGE_LESS = {"column": "x"}


def tables() -> dict[str, dict[str, list[Any]]]:
    """Numbers are multiples of 1/64, so that JSON holds them exactly and sums are exact in any order."""
    rng = np.random.default_rng(7)
    x = np.round(rng.normal(3.0, 2.0, 60) * 64) / 64
    y = np.round((x + rng.normal(0.0, 1.0, 60)) * 64) / 64
    steps = np.sort(np.round(rng.random(60) * 512) / 64)
    colour = rng.choice(["red", "green", "blue", "ochre"], 60, p=[0.5, 0.3, 0.15, 0.05]).tolist()
    code = [
        f"{letter}{number:03d}"
        for letter, number in zip(rng.choice(list("ABc"), 60), rng.integers(0, 999, 60), strict=True)
    ]
    main: dict[str, list[Any]] = {
        "x": x.tolist(),
        "y": y.tolist(),
        "steps": steps.tolist(),
        "few": [float(value) for value in rng.integers(0, 3, 60)],
        "colour": colour,
        "paint": [name if index % 4 else "red" for index, name in enumerate(colour)],
        "code": code,
        "id": [f"p{index}" for index in range(60)],
    }
    for name, places in (("x", (3, 17, 40)), ("y", (3, 20)), ("colour", (5, 6)), ("paint", (5, 30)), ("code", (9,))):
        for place in places:
            main[name][place] = None
    nothing = {name: [None] * 6 for name in main}
    one = {name: values[:1] for name, values in main.items()}
    return {"main": main, "nothing": nothing, "one": one, "empty": {name: [] for name in main}}


def cases() -> list[tuple[str, Kwargs]]:
    """For each expectation at least one that the main table meets and one that it does not."""
    every: list[tuple[str, list[Kwargs]]] = [
        (
            "expect_table_row_count_to_be_between",
            [{"min_value": 1, "max_value": 60}, {"max_value": 59}, {"max_value": 60, "strict_max": True}],
        ),
        ("expect_table_row_count_to_equal", [{"value": 60}, {"value": 1}]),
        ("expect_table_column_count_to_be_between", [{"min_value": 8, "max_value": 8}, {"min_value": 9}]),
        ("expect_table_column_count_to_equal", [{"value": 8}, {"value": 7}]),
        (
            "expect_table_columns_to_match_ordered_list",
            [
                {"column_list": ["x", "y", "steps", "few", "colour", "paint", "code", "id"]},
                {"column_list": ["y", "x", "steps", "few", "colour", "paint", "code", "id", "more"]},
            ],
        ),
        (
            "expect_table_columns_to_match_set",
            [
                {"column_set": ["y", "x", "steps", "few", "colour", "paint", "code", "id"]},
                {"column_set": ["x", "colour", "other"]},
                {"column_set": ["x", "colour"], "exact_match": False},
                {"column_set": ["x", "other"], "exact_match": False},
            ],
        ),
        (
            "expect_column_to_exist",
            [{"column": "x"}, {"column": "z"}, {"column": "x", "column_index": 0}, {"column": "x", "column_index": 1}],
        ),
        (
            "expect_column_values_to_not_be_null",
            [{"column": "id"}, {"column": "x"}, {"column": "x", "mostly": 0.95}, {"column": "x", "mostly": 0.96}],
        ),
        ("expect_column_values_to_be_null", [{"column": "x", "mostly": 0.05}, {"column": "x"}]),
        (
            "expect_column_values_to_be_between",
            [
                {"column": "x", "min_value": -10, "max_value": 20},
                {"column": "x", "min_value": 0.5},
                {"column": "x", "max_value": 5, "mostly": 0.7},
                {"column": "few", "min_value": 0, "strict_min": True, "max_value": 2, "strict_max": True},
            ],
        ),
        (
            "expect_column_values_to_be_in_set",
            [
                {"column": "colour", "value_set": ["red", "green", "blue", "ochre"]},
                {"column": "colour", "value_set": ["red", "green"], "mostly": 0.7},
                {"column": "few", "value_set": [0, 1]},
            ],
        ),
        (
            "expect_column_values_to_not_be_in_set",
            [{"column": "colour", "value_set": ["pink"]}, {"column": "colour", "value_set": ["ochre", "red"]}],
        ),
        (
            "expect_column_values_to_be_unique",
            [{"column": "id"}, {"column": "code", "mostly": 0.9}, {"column": "colour"}],
        ),
        (
            "expect_column_values_to_be_of_type",
            [
                {"column": "x", "type_": "float64"},
                {"column": "x", "type_": "float"},
                {"column": "x", "type_": "int"},
                {"column": "colour", "type_": "str"},
                {"column": "colour", "type_": "object"},
                {"column": "colour", "type_": "float64"},
            ],
        ),
        (
            "expect_column_values_to_be_in_type_list",
            [
                {"column": "x", "type_list": ["int64", "float64"]},
                {"column": "x", "type_list": ["int", "str"]},
                {"column": "colour", "type_list": ["str", "int"]},
                {"column": "colour", "type_list": ["int", "float"]},
            ],
        ),
        (
            "expect_column_values_to_match_regex",
            [
                {"column": "code", "regex": "^[ABc][0-9]{3}$"},
                {"column": "code", "regex": "^A"},
                {"column": "code", "regex": "^[AB]", "mostly": 0.5},
            ],
        ),
        (
            "expect_column_values_to_not_match_regex",
            [{"column": "code", "regex": "z"}, {"column": "code", "regex": "^c"}],
        ),
        (
            "expect_column_values_to_match_regex_list",
            [
                {"column": "code", "regex_list": ["^A", "^B", "^c"]},
                {"column": "code", "regex_list": ["^A", "1$"]},
                {"column": "code", "regex_list": ["^.", "[0-9]$"], "match_on": "all"},
            ],
        ),
        (
            "expect_column_values_to_not_match_regex_list",
            [{"column": "code", "regex_list": ["z", "q"]}, {"column": "code", "regex_list": ["^A", "1$"]}],
        ),
        (
            "expect_column_value_lengths_to_be_between",
            [
                {"column": "code", "min_value": 4, "max_value": 4},
                {"column": "colour", "min_value": 4},
                {"column": "colour", "max_value": 4, "strict_max": True, "mostly": 0.4},
            ],
        ),
        ("expect_column_value_lengths_to_equal", [{"column": "code", "value": 4}, {"column": "colour", "value": 3}]),
        (
            "expect_column_values_to_be_increasing",
            [{"column": "steps"}, {"column": "x"}, {"column": "steps", "strictly": True}],
        ),
        (
            "expect_column_values_to_be_decreasing",
            [{"column": "steps", "mostly": 0.01}, {"column": "x"}, {"column": "x", "strictly": True, "mostly": 0.4}],
        ),
        (
            "expect_column_value_z_scores_to_be_less_than",
            [
                {"column": "x", "threshold": 9, "double_sided": True},
                {"column": "x", "threshold": 1, "double_sided": True},
                {"column": "x", "threshold": 1, "double_sided": False},
            ],
        ),
        (
            "expect_column_mean_to_be_between",
            [
                {"column": "x", "min_value": 2, "max_value": 4},
                {"column": "x", "max_value": 2},
                {"column": "few", "min_value": 0, "strict_min": True},
            ],
        ),
        (
            "expect_column_median_to_be_between",
            [{"column": "x", "min_value": 2, "max_value": 4}, {"column": "x", "max_value": 2}],
        ),
        (
            "expect_column_stdev_to_be_between",
            [{"column": "x", "min_value": 1, "max_value": 4}, {"column": "x", "max_value": 1}],
        ),
        ("expect_column_sum_to_be_between", [{"column": "x", "min_value": 100}, {"column": "x", "max_value": 100}]),
        (
            "expect_column_min_to_be_between",
            [
                {"column": "few", "min_value": 0},
                {"column": "few", "min_value": 0, "strict_min": True},
                {"column": "steps", "max_value": -1},
            ],
        ),
        (
            "expect_column_max_to_be_between",
            [{"column": "few", "max_value": 2}, {"column": "few", "max_value": 2, "strict_max": True}],
        ),
        (
            "expect_column_unique_value_count_to_be_between",
            [{"column": "colour", "min_value": 4, "max_value": 4}, {"column": "colour", "max_value": 3}],
        ),
        (
            "expect_column_proportion_of_unique_values_to_be_between",
            [{"column": "id", "min_value": 1}, {"column": "colour", "min_value": 0.5}],
        ),
        (
            "expect_column_proportion_of_non_null_values_to_be_between",
            [{"column": "x", "min_value": 0.95}, {"column": "x", "min_value": 0.95, "strict_min": True}],
        ),
        (
            "expect_column_distinct_values_to_be_in_set",
            [{"column": "few", "value_set": [0, 1, 2, 3]}, {"column": "colour", "value_set": ["red"]}],
        ),
        (
            "expect_column_distinct_values_to_contain_set",
            [{"column": "colour", "value_set": ["red", "blue"]}, {"column": "colour", "value_set": ["red", "pink"]}],
        ),
        (
            "expect_column_distinct_values_to_equal_set",
            [
                {"column": "colour", "value_set": ["red", "green", "blue", "ochre"]},
                {"column": "colour", "value_set": ["red", "pink"]},
            ],
        ),
        (
            "expect_column_most_common_value_to_be_in_set",
            [
                {"column": "colour", "value_set": ["red"]},
                {"column": "colour", "value_set": ["blue"]},
                {"column": "id", "value_set": ["p1"]},
                {"column": "id", "value_set": ["p1"], "ties_okay": True},
            ],
        ),
        (
            "expect_column_quantile_values_to_be_between",
            [
                {
                    "column": "x",
                    "quantile_ranges": {"quantiles": [0.1, 0.5, 0.9], "value_ranges": [[-2, 2], [2, 4], [4, None]]},
                },
                {"column": "x", "quantile_ranges": {"quantiles": [0.25, 0.75], "value_ranges": [[None, -5], [2, 9]]}},
                {
                    "column": "x",
                    "quantile_ranges": {"quantiles": [0.33], "value_ranges": [[0, 5]]},
                    "allow_relative_error": "linear",
                },
            ],
        ),
        (
            "expect_column_pair_values_a_to_be_greater_than_b",
            [
                {"column_A": "steps", "column_B": "few", "mostly": 0.1},
                {"column_A": "x", "column_B": "y"},
                {"column_A": "x", "column_B": "x", "or_equal": True},
                {"column_A": "x", "column_B": "y", "ignore_row_if": "either_value_is_missing", "mostly": 0.3},
                {"column_A": "x", "column_B": "y", "ignore_row_if": "neither"},
            ],
        ),
        (
            "expect_column_pair_values_to_be_equal",
            [
                {"column_A": "colour", "column_B": "paint", "mostly": 0.6},
                {"column_A": "colour", "column_B": "paint"},
                {"column_A": "id", "column_B": "id"},
            ],
        ),
        (
            "expect_column_pair_values_to_be_in_set",
            [
                {
                    "column_A": "colour",
                    "column_B": "few",
                    "value_pairs_set": [[c, f] for c in ("red", "green", "blue", "ochre") for f in (0, 1, 2)],
                    "mostly": 0.9,
                },
                {"column_A": "colour", "column_B": "few", "value_pairs_set": [["red", 0], ["green", 1], [None, 1]]},
            ],
        ),
        (
            "expect_compound_columns_to_be_unique",
            [
                {"column_list": ["id", "colour"]},
                {"column_list": ["few", "colour"]},
                {"column_list": ["colour", "paint"], "ignore_row_if": "any_value_is_missing", "mostly": 0.02},
            ],
        ),
        (
            "expect_multicolumn_sum_to_equal",
            [{"column_list": ["few", "few2"], "sum_total": 2}, {"column_list": ["x", "few"], "sum_total": 3}],
        ),
        (
            "expect_multicolumn_values_to_be_equal",
            [{"column_list": ["colour", "paint"], "mostly": 0.5}, {"column_list": ["colour", "paint"]}],
        ),
        (
            "expect_select_column_values_to_be_unique_within_record",
            [
                {"column_list": ["id", "colour", "code"]},
                {"column_list": ["colour", "paint"]},
                {"column_list": ["colour", "paint"], "ignore_row_if": "never", "mostly": 0.1},
            ],
        ),
    ]
    # The twin of a column, so that there is a sum that always comes out.
    return [
        (name, kwargs) for name, several in every for kwargs in several if "few2" not in kwargs.get("column_list", [])
    ] + [
        ("expect_multicolumn_sum_to_equal", {"column_list": ["few", "steps"], "sum_total": 2, "mostly": 0.0}),
    ]


def main() -> None:
    warnings.simplefilter("ignore")
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    gx = importlib.import_module("great_expectations")
    configuration = importlib.import_module("great_expectations.expectations.expectation_configuration")
    logging.disable(logging.CRITICAL)
    context = gx.get_context(mode="ephemeral")
    source = context.data_sources.add_pandas("tables")
    found: dict[str, Any] = {}
    for name, columns in tables().items():
        frame = pd.DataFrame(
            {
                column: pd.Series(values, dtype="float64" if column in ("x", "y", "steps", "few") else object)
                for column, values in columns.items()
            }
        )
        batch = (
            source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
        )
        results: list[Any] = []
        # Each alone: in one suite Great Expectations 1.24 takes the quantiles of one expectation for another's.
        for kind, kwargs in cases():
            config = configuration.ExpectationConfiguration(type=kind, kwargs=dict(kwargs))
            result = batch.validate(config.to_domain_obj()).to_json_dict()
            info = result["exception_info"]
            assert info.get("raised_exception") is False, f"{name}: {kind} {kwargs}: {info}"
            results.append({"success": result["success"], "result": result["result"], "keys": sorted(result)})
        suite = gx.ExpectationSuite(
            name=name, expectations=[gx.expectations.ExpectColumnToExist(column=column) for column in ("x", "z")]
        )
        found[name] = {"results": results, "suite": batch.validate(suite).to_json_dict()}
    golden = {
        "great_expectations": importlib.metadata.version("great_expectations"),
        "tables": tables(),
        "cases": [{"type": kind, "kwargs": kwargs} for kind, kwargs in cases()],
        "found": found,
    }
    text = json.dumps(golden, default=lambda value: value.item() if hasattr(value, "item") else str(value))
    Path(__file__).with_name("golden_expectations.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
