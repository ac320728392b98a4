"""Corrections and lines of calibration against statsmodels (golden values, made by make_gates.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from driftloop.drift.multiple_testing import bonferroni, holm
from driftloop.performance.intervals import z_value
from driftloop.training.gates.calibration_measures import measure_binary, measure_regression

GOLDEN: dict[str, Any] = json.loads(Path(__file__).with_name("golden_gates.json").read_text(encoding="utf-8"))


def test_corrected_p_values_are_statsmodels() -> None:
    assert holm(GOLDEN["p_values"]) == pytest.approx(GOLDEN["holm"], rel=1e-12)
    assert bonferroni(GOLDEN["p_values"]) == pytest.approx(GOLDEN["bonferroni"], rel=1e-12)


@pytest.mark.parametrize("name", ["slope", "intercept"])
def test_logistic_recalibration_is_statsmodels_glm(name: str) -> None:
    found = measure_binary(np.array(GOLDEN["scores"]), np.array(GOLDEN["labels"]), 0.95)[name]
    value, deviation = GOLDEN[name]
    assert found.value == pytest.approx(value, rel=1e-8)
    assert found.high == pytest.approx(value + z_value(0.95) * deviation, rel=1e-8)


def test_the_line_of_labels_on_predictions_is_statsmodels_ols_with_hc1() -> None:
    found = measure_regression(np.array(GOLDEN["values"]), np.array(GOLDEN["truth"]), 0.95)["slope"]
    value, deviation = GOLDEN["line"]
    assert found.value == pytest.approx(value, rel=1e-9)
    assert found.low == pytest.approx(value - z_value(0.95) * deviation, rel=1e-9)
