"""Expectations about each value or row of a table, as Great Expectations' pandas engine decides them.

An expectation's *domain* is the rows that it looks at: for one column those with a value, for several columns those
that ``ignore_row_if`` leaves. It holds if at least ``mostly`` of the domain is as expected, or if the domain is empty.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from driftloop.spec.expectation_kinds import (
    Between,
    Columns,
    ColumnsSum,
    InSet,
    LengthEquals,
    NoRegexes,
    OfType,
    OfTypes,
    OfValues,
    Ordered,
    Pair,
    PairGreater,
    PairInSet,
    Regex,
    Regexes,
    ZScores,
)
from driftloop.training.validation.gx_result import Outcome, plain, rows_outcome

__all__ = ["ROW_EXPECTATIONS"]

Mask = NDArray[np.bool_]
Series = Any  # pd.Series of any type; pandas' stubs want one

_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (float,),
    "str": (str,),
    "string_types": (str,),
}


def _in_order(values: Series, low: Any, high: Any, strict_min: bool | None, strict_max: bool | None) -> Mask:
    good = np.ones(len(values), np.bool_)
    if low is not None:
        good &= np.asarray((operator.gt if strict_min else operator.ge)(values, low), np.bool_)
    if high is not None:
        good &= np.asarray((operator.lt if strict_max else operator.le)(values, high), np.bool_)
    return good


def _between(values: Series, kwargs: Between) -> Mask:
    return _in_order(values, kwargs.min_value, kwargs.max_value, kwargs.strict_min, kwargs.strict_max)


def _lengths_between(values: Series, kwargs: Between) -> Mask:
    return _between(values.astype(str).str.len(), kwargs)


def _lengths_equal(values: Series, kwargs: LengthEquals) -> Mask:
    return np.asarray(values.astype(str).str.len() == kwargs.value, np.bool_)


def _in_set(values: Series, kwargs: InSet) -> Mask:
    return np.asarray(values.isin(kwargs.value_set), np.bool_)


def _not_in_set(values: Series, kwargs: InSet) -> Mask:
    return ~_in_set(values, kwargs)


def _unique(values: Series, kwargs: OfValues) -> Mask:
    return ~np.asarray(values.duplicated(keep=False), np.bool_)


def _matches(values: Series, pattern: str) -> Mask:
    return np.asarray(values.astype(str).str.contains(pattern), np.bool_)


def _regex(values: Series, kwargs: Regex) -> Mask:
    return _matches(values, kwargs.regex)


def _not_regex(values: Series, kwargs: Regex) -> Mask:
    return ~_matches(values, kwargs.regex)


def _regexes(values: Series, kwargs: Regexes) -> Mask:
    found = np.array([_matches(values, pattern) for pattern in kwargs.regex_list])
    return np.asarray(found.any(axis=0) if kwargs.match_on == "any" else found.all(axis=0), np.bool_)


def _no_regexes(values: Series, kwargs: NoRegexes) -> Mask:
    return np.asarray(~np.array([_matches(values, pattern) for pattern in kwargs.regex_list]).any(axis=0), np.bool_)


def _increasing(values: Series, kwargs: Ordered) -> Mask:
    steps = values.diff()
    return np.asarray((steps > 0 if kwargs.strictly else steps >= 0) | steps.isna(), np.bool_)


def _decreasing(values: Series, kwargs: Ordered) -> Mask:
    steps = values.diff()
    return np.asarray((steps < 0 if kwargs.strictly else steps <= 0) | steps.isna(), np.bool_)


def _z_scores(values: Series, kwargs: ZScores) -> Mask:
    deviation = values.std()
    if deviation == 0:
        return np.ones(len(values), np.bool_)
    scores = (values - values.mean()) / deviation
    good = scores.abs() < abs(kwargs.threshold) if kwargs.double_sided else scores < kwargs.threshold
    return np.asarray(good | scores.isna(), np.bool_)


_VALUES: dict[str, Callable[[Series, Any], Mask]] = {
    "expect_column_values_to_be_between": _between,
    "expect_column_values_to_be_in_set": _in_set,
    "expect_column_values_to_not_be_in_set": _not_in_set,
    "expect_column_values_to_be_unique": _unique,
    "expect_column_values_to_match_regex": _regex,
    "expect_column_values_to_not_match_regex": _not_regex,
    "expect_column_values_to_match_regex_list": _regexes,
    "expect_column_values_to_not_match_regex_list": _no_regexes,
    "expect_column_value_lengths_to_be_between": _lengths_between,
    "expect_column_value_lengths_to_equal": _lengths_equal,
    "expect_column_values_to_be_increasing": _increasing,
    "expect_column_values_to_be_decreasing": _decreasing,
    "expect_column_value_z_scores_to_be_less_than": _z_scores,
}


@dataclass(frozen=True)
class _OfValues:
    """An expectation about the values of one column that are not missing."""

    good: Callable[[Series, Any], Mask]

    def __call__(self, table: pd.DataFrame, kwargs: Any) -> Outcome:
        column = table[kwargs.column]
        present = np.asarray(column.notna(), np.bool_)
        good = self.good(column[present], kwargs)
        where = np.flatnonzero(present)[~good]
        return rows_outcome(
            rows=len(table),
            looked_at=int(present.sum()),
            unexpected=plain(column.iloc[where].tolist()),
            where=where.tolist(),
            mostly=kwargs.mostly,
        )


def _not_null(table: pd.DataFrame, kwargs: OfValues) -> Outcome:
    """Its domain is all rows; missing values are not listed."""
    return _null_outcome(table, kwargs, np.asarray(table[kwargs.column].isna(), np.bool_))


def _null(table: pd.DataFrame, kwargs: OfValues) -> Outcome:
    return _null_outcome(table, kwargs, np.asarray(table[kwargs.column].notna(), np.bool_))


def _null_outcome(table: pd.DataFrame, kwargs: OfValues, unexpected: Mask) -> Outcome:
    where = np.flatnonzero(unexpected)
    values = plain(table[kwargs.column].iloc[where].tolist())
    return rows_outcome(rows=len(table), looked_at=None, unexpected=values, where=where.tolist(), mostly=kwargs.mostly)


def _types(names: list[str]) -> tuple[type, ...]:
    found: list[type] = []
    for name in names:
        if name != "string_types":
            found.append(np.dtype(name).type)
        found.extend(_PYTHON_TYPES.get(name, ()))
    return tuple(found)


def _of_type(table: pd.DataFrame, kwargs: OfType) -> Outcome:
    column: Series = table[kwargs.column]
    if column.dtype == object and kwargs.type_ not in ("object", "object_", "O"):
        return _typed_values(table, kwargs, [kwargs.type_])
    observed = np.dtype(column.dtype).type
    return Outcome(observed in _types([kwargs.type_]), {"observed_value": observed.__name__})


def _of_types(table: pd.DataFrame, kwargs: OfTypes) -> Outcome:
    column: Series = table[kwargs.column]
    if column.dtype == object:
        return _typed_values(table, kwargs, kwargs.type_list)
    observed = np.dtype(column.dtype).type
    return Outcome(observed in _types(kwargs.type_list), {"observed_value": observed.__name__})


def _typed_values(table: pd.DataFrame, kwargs: OfValues, names: list[str]) -> Outcome:
    types = _types(names)
    return _OfValues(lambda values, _: np.array([isinstance(value, types) for value in values], np.bool_))(
        table, kwargs
    )


@dataclass(frozen=True)
class _OfPairs:
    """An expectation about two values of each row."""

    good: Callable[[Series, Series, Any], Mask]

    def __call__(self, table: pd.DataFrame, kwargs: Pair) -> Outcome:
        first: Series = table[kwargs.column_A]
        second: Series = table[kwargs.column_B]
        missing = np.stack([first.isna(), second.isna()])
        ignored = {"both_values_are_missing": missing.all(axis=0), "either_value_is_missing": missing.any(axis=0)}
        present = ~ignored.get(kwargs.ignore_row_if, np.zeros(len(table), np.bool_))
        good = self.good(first[present], second[present], kwargs)
        where = np.flatnonzero(present)[~good]
        values = list(zip(plain(first.iloc[where].tolist()), plain(second.iloc[where].tolist()), strict=True))
        return rows_outcome(
            rows=len(table),
            looked_at=int(present.sum()),
            unexpected=[list(pair) for pair in values],
            where=where.tolist(),
            mostly=kwargs.mostly,
        )


def _pair_greater(first: Series, second: Series, kwargs: PairGreater) -> Mask:
    return np.asarray(first >= second if kwargs.or_equal else first > second, np.bool_)


def _pair_equal(first: Series, second: Series, kwargs: Pair) -> Mask:
    return np.asarray(first == second, np.bool_)


def _pair_in_set(first: Series, second: Series, kwargs: PairInSet) -> Mask:
    allowed = {tuple(pair) for pair in kwargs.value_pairs_set}
    pairs = zip(plain(first.tolist()), plain(second.tolist()), strict=True)
    return np.array([pair in allowed for pair in pairs], np.bool_)


@dataclass(frozen=True)
class _OfColumns:
    """An expectation about several values of each row."""

    good: Callable[[pd.DataFrame, Any], Mask]

    def __call__(self, table: pd.DataFrame, kwargs: Columns) -> Outcome:
        rows: Any = table[kwargs.column_list]
        missing = np.asarray(rows.isna(), np.bool_)
        ignored = {"all_values_are_missing": missing.all(axis=1), "any_value_is_missing": missing.any(axis=1)}
        present = ~ignored.get(kwargs.ignore_row_if, np.zeros(len(table), np.bool_))
        good = self.good(rows[present], kwargs)
        where = np.flatnonzero(present)[~good]
        bad = {name: plain(rows[name].iloc[where].tolist()) for name in kwargs.column_list}
        return rows_outcome(
            rows=len(table),
            looked_at=int(present.sum()),
            unexpected=[dict(zip(bad, values, strict=True)) for values in zip(*bad.values(), strict=True)],
            where=where.tolist(),
            mostly=kwargs.mostly,
        )


def _compound_unique(rows: pd.DataFrame, kwargs: Columns) -> Mask:
    return ~np.asarray(rows.duplicated(keep=False), np.bool_)


def _sum_equal(rows: pd.DataFrame, kwargs: ColumnsSum) -> Mask:
    return np.asarray(rows.sum(axis=1, skipna=False) == kwargs.sum_total, np.bool_)


def _all_equal(rows: pd.DataFrame, kwargs: Columns) -> Mask:
    return np.asarray(rows.nunique(dropna=False, axis=1) == 1, np.bool_)


def _unique_in_row(rows: pd.DataFrame, kwargs: Columns) -> Mask:
    return np.asarray(rows.nunique(dropna=False, axis=1) >= len(kwargs.column_list), np.bool_)


#: What each gives for a table and its arguments.
ROW_EXPECTATIONS: dict[str, Callable[[pd.DataFrame, Any], Outcome]] = {
    **{name: _OfValues(good) for name, good in _VALUES.items()},
    "expect_column_values_to_not_be_null": _not_null,
    "expect_column_values_to_be_null": _null,
    "expect_column_values_to_be_of_type": _of_type,
    "expect_column_values_to_be_in_type_list": _of_types,
    "expect_column_pair_values_a_to_be_greater_than_b": _OfPairs(_pair_greater),
    "expect_column_pair_values_to_be_equal": _OfPairs(_pair_equal),
    "expect_column_pair_values_to_be_in_set": _OfPairs(_pair_in_set),
    "expect_compound_columns_to_be_unique": _OfColumns(_compound_unique),
    "expect_multicolumn_sum_to_equal": _OfColumns(_sum_equal),
    "expect_multicolumn_values_to_be_equal": _OfColumns(_all_equal),
    "expect_select_column_values_to_be_unique_within_record": _OfColumns(_unique_in_row),
}
