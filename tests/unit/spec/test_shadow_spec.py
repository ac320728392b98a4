"""The keys ``promotion`` and ``shadow``: every error names its key and what was expected."""

from __future__ import annotations

import pytest

from driftloop.spec import SpecError, parse_spec

BASE = "model: m\ntask: binary\nfeatures: {x: {kind: numeric}}\n"


def test_modes_and_defaults() -> None:
    spec = parse_spec(f"{BASE}promotion: shadow\n")
    assert (spec.promotion, spec.shadow.then, spec.shadow.loss_of("binary")) == ("shadow", "promote", "brier")
    assert spec.shadow.loss_of("regression") == "absolute_error"
    canary = parse_spec(
        f"{BASE}promotion: canary\nshadow: {{canary: {{champion: control, challenger: canary, share: 0.1}}}}"
    )
    assert canary.shadow.canary is not None
    assert canary.shadow.canary.mismatch == 0.001


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("promotion: canary", "shadow.canary: promotion: canary needs the variants of the two arms"),
        ("shadow: {canary: {champion: a, challenger: a, share: 0.5}}", "shadow.canary.challenger: expected another"),
        ("shadow: {canary: {champion: a, challenger: b, share: 1.0}}", "shadow.canary.share: expected a number, more"),
        ("shadow: {loss: squared_error}", "shadow.loss: expected a loss of binary models, one of 'brier', 'log_loss'"),
        ("shadow: {longest: soon}", "shadow.longest: expected a duration"),
        ("shadow: {longest: 0s}", "shadow.longest: expected a duration longer than nothing"),
        ("shadow: {most_rows: 10}", "shadow.most_rows: expected at least shadow.minimum_rows (500), got 10"),
        ("shadow: {margin: .inf}", "shadow.margin: expected a finite number"),
        ("shadow: {alpha: 0}", "shadow.alpha: expected a number, more than 0"),
        ("shadow: {then: wait}", "shadow.then: expected one of 'promote', 'approval'"),
        ("shadow: {lost: error}", "shadow"),
    ],
)
def test_what_is_wrong_is_said_with_its_key(text: str, expected: str) -> None:
    with pytest.raises(SpecError) as error:
        parse_spec(BASE + text)
    assert expected in str(error.value)


def test_rankings_are_not_compared() -> None:
    with pytest.raises(SpecError, match="ranking models are watched, but not compared"):
        parse_spec("model: m\ntask: ranking\nfeatures: {x: {kind: numeric}}\npromotion: shadow\n")
