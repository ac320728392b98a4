"""Expectations about a whole table, or about one number of a column, as Great Expectations' pandas engine decides
them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from driftloop.spec.expectation_kinds import (
    Aggregate,
    ColumnSet,
    Count,
    CountRange,
    Distinct,
    Exists,
    MostCommon,
    OrderedList,
    Quantiles,
)
from driftloop.training.validation.gx_result import PARTIAL, Outcome, plain

__all__ = ["TABLE_EXPECTATIONS"]

Series = Any  # pd.Series of any type; pandas' stubs want one

#: As Great Expectations has it: a quantile this close (relative) to a bound is within it.
_QUANTILE_TOLERANCE = 1e-4


def _within(value: Any, kwargs: Aggregate | CountRange) -> bool:
    low, high = kwargs.min_value, kwargs.max_value
    above = low is None or (value > low if kwargs.strict_min else value >= low)
    below = high is None or (value < high if kwargs.strict_max else value <= high)
    return bool(above and below)


def _rows_between(table: pd.DataFrame, kwargs: CountRange) -> Outcome:
    return Outcome(_within(len(table), kwargs), {"observed_value": len(table)})


def _rows_equal(table: pd.DataFrame, kwargs: Count) -> Outcome:
    return Outcome(len(table) == kwargs.value, {"observed_value": len(table)})


def _columns_between(table: pd.DataFrame, kwargs: CountRange) -> Outcome:
    return Outcome(_within(len(table.columns), kwargs), {"observed_value": len(table.columns)})


def _columns_equal(table: pd.DataFrame, kwargs: Count) -> Outcome:
    return Outcome(len(table.columns) == kwargs.value, {"observed_value": len(table.columns)})


def _ordered_list(table: pd.DataFrame, kwargs: OrderedList) -> Outcome:
    found, wanted = list(table.columns), kwargs.column_list
    result: dict[str, Any] = {"observed_value": found}
    if found != wanted:
        pairs = enumerate(itertools.zip_longest(wanted, found))
        result["details"] = {
            "mismatched": [
                {"Expected Column Position": at, "Expected": expected, "Found": column}
                for at, (expected, column) in pairs
                if expected != column
            ]
        }
    return Outcome(found == wanted, result)


def _column_set(table: pd.DataFrame, kwargs: ColumnSet) -> Outcome:
    found, wanted = set(table.columns), set(kwargs.column_set)
    unexpected, missing = sorted(found - wanted), sorted(wanted - found)
    result: dict[str, Any] = {"observed_value": sorted(found)}
    if not unexpected and not missing:
        return Outcome(True, result)
    mismatched = {name: columns for name, columns in (("unexpected", unexpected), ("missing", missing)) if columns}
    result["details"] = {"mismatched": mismatched}
    return Outcome(not kwargs.exact_match and not missing, result)


def _exists(table: pd.DataFrame, kwargs: Exists) -> Outcome:
    columns = list(table.columns)
    there = kwargs.column in columns
    if there and kwargs.column_index is not None:
        there = columns.index(kwargs.column) == kwargs.column_index
    return Outcome(there, {})


def _aggregate(measure: Callable[[Series], Any]) -> Callable[[pd.DataFrame, Aggregate], Outcome]:
    def decide(table: pd.DataFrame, kwargs: Aggregate) -> Outcome:
        values = table[kwargs.column].dropna()
        value = plain([measure(values)])[0]
        if value is None:
            return Outcome(False, {"observed_value": None})
        return Outcome(_within(value, kwargs), {"observed_value": value})

    return decide


def _extreme(name: str) -> Callable[[Series], Any]:
    return lambda values: getattr(values, name)() if len(values) else None


def _unique_share(values: Series) -> Any:
    return values.nunique() / len(values) if len(values) else 0


def _present_share(table: pd.DataFrame, kwargs: Aggregate) -> Outcome:
    share = int(table[kwargs.column].notna().sum()) / len(table) if len(table) else 0
    return Outcome(_within(share, kwargs), {"observed_value": share})


def _quantiles(table: pd.DataFrame, kwargs: Quantiles) -> Outcome:
    ranges = kwargs.quantile_ranges
    interpolation = kwargs.allow_relative_error or "nearest"
    column: Series = table[kwargs.column]
    values = plain(column.quantile(ranges.quantiles, interpolation=interpolation).tolist())
    details = [_in_range(value, *bounds) for value, bounds in zip(values, ranges.value_ranges, strict=True)]
    return Outcome(
        all(details),
        {
            "observed_value": {"quantiles": ranges.quantiles, "values": values},
            "details": {"success_details": details},
        },
    )


def _in_range(value: float | None, low: float | None, high: float | None) -> bool:
    if value is None:
        return False
    low, high = -math.inf if low is None else low, math.inf if high is None else high
    near = any(bool(np.isclose(value, bound, rtol=_QUANTILE_TOLERANCE, atol=1e-8)) for bound in (low, high))
    return near or low <= value <= high


def _distinct(table: pd.DataFrame, column: str) -> list[Any]:
    return plain(table[column].dropna().unique().tolist())


def _distinct_in_set(table: pd.DataFrame, kwargs: Distinct) -> Outcome:
    unexpected = _others(_distinct(table, kwargs.column), kwargs.value_set)
    return Outcome(not unexpected, {"observed_value": None, **_listed("unexpected", unexpected)})


def _distinct_contain(table: pd.DataFrame, kwargs: Distinct) -> Outcome:
    missing = _others(kwargs.value_set, _distinct(table, kwargs.column))
    return Outcome(not missing, {"observed_value": None, **_listed("missing", missing)})


def _distinct_equal(table: pd.DataFrame, kwargs: Distinct) -> Outcome:
    found = _distinct(table, kwargs.column)
    unexpected, missing = _others(found, kwargs.value_set), _others(kwargs.value_set, found)
    listed = {"observed_value": None, **_listed("unexpected", unexpected), **_listed("missing", missing)}
    return Outcome(not unexpected and not missing, listed)


def _others(values: list[Any], known: list[Any]) -> list[Any]:
    return sorted(
        {value for value in values if value is not None} - set(known), key=lambda value: (str(type(value)), value)
    )


def _listed(name: str, values: list[Any]) -> dict[str, Any]:
    return {f"{name}_count": len(values), f"partial_{name}_list": values[:PARTIAL]}


def _most_common(table: pd.DataFrame, kwargs: MostCommon) -> Outcome:
    modes = plain(table[kwargs.column].mode().tolist())
    expected = len(set(kwargs.value_set).intersection(modes))
    success = expected > 0 if kwargs.ties_okay else len(modes) == 1 and expected == 1
    return Outcome(success, {"observed_value": modes})


#: What each gives for a table and its arguments.
TABLE_EXPECTATIONS: dict[str, Callable[[pd.DataFrame, Any], Outcome]] = {
    "expect_table_row_count_to_be_between": _rows_between,
    "expect_table_row_count_to_equal": _rows_equal,
    "expect_table_column_count_to_be_between": _columns_between,
    "expect_table_column_count_to_equal": _columns_equal,
    "expect_table_columns_to_match_ordered_list": _ordered_list,
    "expect_table_columns_to_match_set": _column_set,
    "expect_column_to_exist": _exists,
    "expect_column_mean_to_be_between": _aggregate(lambda values: values.mean()),
    "expect_column_median_to_be_between": _aggregate(lambda values: values.median()),
    "expect_column_stdev_to_be_between": _aggregate(lambda values: values.std()),
    "expect_column_sum_to_be_between": _aggregate(lambda values: values.sum()),
    "expect_column_min_to_be_between": _aggregate(_extreme("min")),
    "expect_column_max_to_be_between": _aggregate(_extreme("max")),
    "expect_column_unique_value_count_to_be_between": _aggregate(lambda values: values.nunique()),
    "expect_column_proportion_of_unique_values_to_be_between": _aggregate(_unique_share),
    "expect_column_proportion_of_non_null_values_to_be_between": _present_share,
    "expect_column_distinct_values_to_be_in_set": _distinct_in_set,
    "expect_column_distinct_values_to_contain_set": _distinct_contain,
    "expect_column_distinct_values_to_equal_set": _distinct_equal,
    "expect_column_most_common_value_to_be_in_set": _most_common,
    "expect_column_quantile_values_to_be_between": _quantiles,
}
