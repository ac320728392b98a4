"""Percentiles and shares of single values in a reference."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import percentileofscore

from driftloop.audit.standing import percentile, standings
from driftloop.profiles.numeric import NumericReference
from driftloop.profiles.reference import ReferenceProfile
from driftloop.training.estimators import columns_of
from support.training_rows import make_rows, make_spec


@pytest.mark.parametrize("rows", [300, 20_000])
def test_percentiles_are_scipys_mid_ranks_or_bounded_by_them(rows: int) -> None:
    rng = np.random.default_rng(rows)
    values = np.round(rng.gamma(2.0, size=rows), 2 if rows < 1000 else 6)
    reference = NumericReference.build(values)
    for value in [*values[:50].tolist(), *rng.gamma(2.0, size=50).tolist(), -1.0, 1e9]:
        share, low, high = percentile(reference, value)
        truth = percentileofscore(values, value, "mean") / 100
        assert low <= share <= high
        assert low - 1e-12 <= truth <= high + 1e-12
        if rows < 1000:  # every distinct value is an anchor
            assert share == pytest.approx(truth, abs=1e-12)
        assert high - low < 0.01


def test_values_that_the_reference_does_not_have_are_said() -> None:
    spec = make_spec()
    frame, _, _ = make_rows()
    profile = ReferenceProfile.build(spec, columns_of(spec, frame), model_version="v1")

    def told(x: float, colour: str | None) -> dict[str, str]:
        row = {"x": np.array([x]), "colour": [colour], "noise": np.array([math.inf])}
        return {one.feature: one.sentence for one in standings(profile, row)}

    assert told(1e9, "red")["x"].startswith("above everything in the reference, whose maximum is ")
    assert told(-1e9, "red")["x"].startswith("below everything in the reference, whose minimum is ")
    share = frame["x"].isna().mean()
    assert told(math.nan, "red")["x"] == f"missing, like {100 * share:.1f} % of the reference"
    assert told(0.0, "pink")["colour"] == "a category that the reference does not have"
    red = (frame["colour"] == "red").mean()
    assert told(0.0, "red")["colour"].startswith(f"{100 * red:.1f} % of the reference, number ")
    assert told(0.0, None)["colour"].startswith("missing, like ")
    assert told(0.0, "red")["noise"] == "infinite"
    assert told(0.0, "red")["x"].startswith("percentile ")
