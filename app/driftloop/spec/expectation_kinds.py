"""The expectations of Great Expectations that driftloop can check, and what each takes.

Names, arguments and defaults are those of Great Expectations 1.x (its ``expectations/core``); 0.x has the same ones for
these. Arguments that only its own machinery needs (``result_format`` and the like) are accepted and without effect.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from driftloop.spec.basics import Fraction

__all__ = ["KINDS", "TYPE_NAMES", "Kwargs"]

Scalar = str | bool | int | float | None
Number = int | float
Names = Annotated[list[str], Meta(min_length=1)]

#: Names of types for ``type_``: numpy's of the columns, and Python's of the values in columns of texts.
TYPE_NAMES = (
    "float", "float64", "float32", "int", "int64", "int32", "bool", "str", "string_types", "object", "object_", "O",
)  # fmt: skip


class Kwargs(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every expectation takes: nothing."""


class OfColumn(Kwargs, frozen=True, kw_only=True):
    column: str


class Exists(OfColumn, frozen=True, kw_only=True):
    column_index: int | None = None


class OfValues(OfColumn, frozen=True, kw_only=True):
    """Of each value that is not missing; ``mostly``: of at least this share of them."""

    mostly: Fraction = 1.0


class Between(OfValues, frozen=True, kw_only=True):
    min_value: Number | None = None
    max_value: Number | None = None
    strict_min: bool | None = None
    strict_max: bool | None = None


class Aggregate(OfColumn, frozen=True, kw_only=True):
    min_value: Number | None = None
    max_value: Number | None = None
    strict_min: bool | None = None
    strict_max: bool | None = None


class InSet(OfValues, frozen=True, kw_only=True):
    value_set: list[Scalar]


class OfType(OfValues, frozen=True, kw_only=True):
    type_: str


class OfTypes(OfValues, frozen=True, kw_only=True):
    type_list: Names


class Regex(OfValues, frozen=True, kw_only=True):
    regex: str


class Regexes(OfValues, frozen=True, kw_only=True):
    regex_list: Names
    match_on: Literal["any", "all"] = "any"


class NoRegexes(OfValues, frozen=True, kw_only=True):
    regex_list: Names


class LengthEquals(OfValues, frozen=True, kw_only=True):
    value: Number


class Ordered(OfValues, frozen=True, kw_only=True):
    strictly: bool | None = None


class ZScores(OfValues, frozen=True, kw_only=True):
    threshold: Number
    double_sided: bool = True


class Distinct(OfColumn, frozen=True, kw_only=True):
    value_set: list[Scalar]


class MostCommon(OfColumn, frozen=True, kw_only=True):
    value_set: list[Scalar]
    ties_okay: bool | None = None


class QuantileRanges(Kwargs, frozen=True, kw_only=True):
    quantiles: Annotated[list[Fraction], Meta(min_length=1)]
    value_ranges: list[tuple[Number | None, Number | None]]


class Quantiles(OfColumn, frozen=True, kw_only=True):
    quantile_ranges: QuantileRanges
    allow_relative_error: bool | Literal["linear", "lower", "higher", "midpoint", "nearest"] = False


class Pair(Kwargs, frozen=True, kw_only=True):
    column_A: str  # noqa: N815  (the name in the suite)
    column_B: str  # noqa: N815
    mostly: Fraction = 1.0
    ignore_row_if: Literal["both_values_are_missing", "either_value_is_missing", "neither"] = "both_values_are_missing"


class PairGreater(Pair, frozen=True, kw_only=True):
    or_equal: bool | None = None


class PairInSet(Pair, frozen=True, kw_only=True):
    value_pairs_set: list[tuple[Scalar, Scalar]]


class Columns(Kwargs, frozen=True, kw_only=True):
    column_list: Annotated[list[str], Meta(min_length=2)]
    mostly: Fraction = 1.0
    ignore_row_if: Literal["all_values_are_missing", "any_value_is_missing", "never"] = "all_values_are_missing"


class ColumnsSum(Columns, frozen=True, kw_only=True):
    sum_total: Number


class OrderedList(Kwargs, frozen=True, kw_only=True):
    column_list: list[str]


class ColumnSet(Kwargs, frozen=True, kw_only=True):
    column_set: list[str] = field(default_factory=list)
    exact_match: bool = True


class Count(Kwargs, frozen=True, kw_only=True):
    value: int


class CountRange(Kwargs, frozen=True, kw_only=True):
    min_value: int | None = None
    max_value: int | None = None
    strict_min: bool | None = None
    strict_max: bool | None = None


#: What each expectation takes, by its name.
KINDS: dict[str, type[Kwargs]] = {
    "expect_table_row_count_to_be_between": CountRange,
    "expect_table_row_count_to_equal": Count,
    "expect_table_column_count_to_be_between": CountRange,
    "expect_table_column_count_to_equal": Count,
    "expect_table_columns_to_match_ordered_list": OrderedList,
    "expect_table_columns_to_match_set": ColumnSet,
    "expect_column_to_exist": Exists,
    "expect_column_values_to_not_be_null": OfValues,
    "expect_column_values_to_be_null": OfValues,
    "expect_column_values_to_be_between": Between,
    "expect_column_values_to_be_in_set": InSet,
    "expect_column_values_to_not_be_in_set": InSet,
    "expect_column_values_to_be_unique": OfValues,
    "expect_column_values_to_be_of_type": OfType,
    "expect_column_values_to_be_in_type_list": OfTypes,
    "expect_column_values_to_match_regex": Regex,
    "expect_column_values_to_not_match_regex": Regex,
    "expect_column_values_to_match_regex_list": Regexes,
    "expect_column_values_to_not_match_regex_list": NoRegexes,
    "expect_column_value_lengths_to_be_between": Between,
    "expect_column_value_lengths_to_equal": LengthEquals,
    "expect_column_values_to_be_increasing": Ordered,
    "expect_column_values_to_be_decreasing": Ordered,
    "expect_column_value_z_scores_to_be_less_than": ZScores,
    "expect_column_mean_to_be_between": Aggregate,
    "expect_column_median_to_be_between": Aggregate,
    "expect_column_stdev_to_be_between": Aggregate,
    "expect_column_sum_to_be_between": Aggregate,
    "expect_column_min_to_be_between": Aggregate,
    "expect_column_max_to_be_between": Aggregate,
    "expect_column_unique_value_count_to_be_between": Aggregate,
    "expect_column_proportion_of_unique_values_to_be_between": Aggregate,
    "expect_column_proportion_of_non_null_values_to_be_between": Aggregate,
    "expect_column_distinct_values_to_be_in_set": Distinct,
    "expect_column_distinct_values_to_contain_set": Distinct,
    "expect_column_distinct_values_to_equal_set": Distinct,
    "expect_column_most_common_value_to_be_in_set": MostCommon,
    "expect_column_quantile_values_to_be_between": Quantiles,
    "expect_column_pair_values_a_to_be_greater_than_b": PairGreater,
    "expect_column_pair_values_to_be_equal": Pair,
    "expect_column_pair_values_to_be_in_set": PairInSet,
    "expect_compound_columns_to_be_unique": Columns,
    "expect_multicolumn_sum_to_equal": ColumnsSum,
    "expect_multicolumn_values_to_be_equal": Columns,
    "expect_select_column_values_to_be_unique_within_record": Columns,
}
