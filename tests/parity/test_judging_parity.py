"""Thresholds over reference windows against NannyML's (values made by make_judging.py)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from driftloop.drift.distances import ks_statistic, wasserstein
from driftloop.drift.null_distribution import NullDistribution
from driftloop.drift.thresholds import find_bound
from driftloop.profiles.numeric import NumericReference, NumericSummary
from driftloop.spec.model import ThresholdRule

GOLDEN = json.loads(Path(__file__).with_name("golden_judging.json").read_text(encoding="utf-8"))


def no_draws(draws: int) -> NullDistribution | None:
    raise AssertionError("there are windows enough")


@pytest.mark.parametrize(
    ("name", "statistic", "deviations"),
    [("kolmogorov_smirnov", ks_statistic, 3.0), ("wasserstein", wasserstein, 2.0)],
)
def test_statistics_of_the_pieces_and_the_threshold_over_them(name: str, statistic: object, deviations: float) -> None:
    """NannyML compares each chunk with the whole reference; so does this test. A profile leaves the chunk out."""
    column = np.array(GOLDEN["column"])
    reference = NumericReference.build(column)
    assert reference.exact
    values = []
    for start in range(0, column.size, GOLDEN["chunk"]):
        piece = NumericSummary(reference)
        piece.update(column[start : start + GOLDEN["chunk"]])
        values.append(statistic(reference, piece))  # type: ignore[operator]
    assert values == pytest.approx(GOLDEN[name]["values"], rel=1e-9)
    bound = find_bound(ThresholdRule(spread=deviations), values, no_draws)
    assert bound.value == pytest.approx(GOLDEN[name]["upper_threshold"], rel=1e-9)
