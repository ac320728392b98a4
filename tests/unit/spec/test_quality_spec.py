"""Keys of a spec about data quality: what is accepted, and what an error says."""

from __future__ import annotations

import pytest

from driftloop.spec import SpecError, parse_spec

TEMPLATE = "{model: m, task: binary, features: {x: {kind: numeric%s}, c: {kind: categorical%s}}%s}"


def problem(x: str = "", c: str = "", rest: str = "") -> str:
    with pytest.raises(SpecError) as caught:
        parse_spec(TEMPLATE % (x, c, rest))
    (found,) = caught.value.problems
    return str(found).removeprefix("<text>, line 1: ")


def test_everything_that_can_be_written_is_read() -> None:
    rules = "enabled: true, significance: 1e-4, type_errors: 0, infinite: null, constant: null, stuck_values: 0.5, "
    rules += "lost_categories: null, repeated_ids: 1, duplicate_rows: null, new_keys: 0.2, absent_keys: false, "
    rules += "volume: 3, empty_windows: 0"
    spec = parse_spec(
        TEMPLATE
        % (
            ", minimum: -1, maximum: 1e3, max_violations: 0.01",
            ', pattern: "[A-Z]+", categories: [A, B]',
            f", quality: {{{rules}}}, policy: {{hold_on_broken_data: false}}",
        )
    )
    assert (spec.features["x"].minimum, spec.features["x"].maximum) == (-1.0, 1000.0)
    assert spec.features["c"].categories == ["A", "B"]
    assert (spec.quality.infinite, spec.quality.volume, spec.quality.empty_windows) == (None, 3.0, 0)
    assert not spec.policy.hold_on_broken_data


def test_defaults() -> None:
    spec = parse_spec(TEMPLATE % ("", "", ""))
    assert spec.quality.enabled
    assert spec.policy.hold_on_broken_data
    assert spec.features["x"].max_violations == 0.0


@pytest.mark.parametrize(
    ("x", "c", "rest", "expected"),
    [
        (
            ", pattern: a",
            "",
            "",
            "features.x.pattern: 'pattern' is a rule for categorical features, and 'x' is numeric",
        ),
        (
            "",
            ", maximum: 1",
            "",
            "features.c.maximum: 'maximum' is a rule for numeric features, and 'c' is categorical",
        ),
        (
            ", minimum: 3, maximum: 1",
            "",
            "",
            "features.x.minimum: expected at most the maximum of 1, got 3; no value fits both",
        ),
        (
            "",
            ', pattern: "("',
            "",
            "features.c.pattern: expected a regular expression of Python, got '(': missing ), unterminated subpattern "
            "at position 0",
        ),
        (
            "",
            ", categories: []",
            "",
            "features.c.categories: expected at least one allowed category, got an empty list",
        ),
        ("", ", categories: [a, a]", "", "features.c.categories[1]: the category 'a' is listed twice"),
        (
            ", max_violations: 0.1",
            "",
            "",
            "features.x.max_violations: 'x' has no minimum, maximum, pattern or categories to violate",
        ),
        (", minimum: low", "", "", "features.x.minimum: expected a number or null, got 'low'"),
        ("", "", ", quality: {significance: 1}", "quality.significance: expected a number between 0 and 1, got 1"),
        ("", "", ", quality: {volume: 1}", "quality.volume: expected a number, more than 1 or null, got 1"),
        ("", "", ", quality: {volum: 2}", "quality.volum: unknown key 'volum', did you mean 'volume'?"),
        (
            "",
            "",
            ", quality: {empty_windows: -1}",
            "quality.empty_windows: expected an integer, at least 0, at most 1000, got -1",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_key(x: str, c: str, rest: str, expected: str) -> None:
    assert problem(x, c, rest) == expected
