"""The reconstruction error by principal components against NannyML's, on the same rows."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from driftloop.multivariate.reconstruction import Reconstruction
from driftloop.profiles.columns import Columns

GOLDEN = json.loads(Path(__file__).with_name("golden_multivariate.json").read_text())


def columns_of(cells: dict[str, list[Any]]) -> Columns:
    return {
        name: values if name == "k" else np.array([math.nan if value is None else value for value in values])
        for name, values in cells.items()
    }


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=["numeric", "numeric-missing", "mixed", "mixed-missing"])
def test_the_mean_reconstruction_error_is_nannymls(case: dict[str, Any]) -> None:
    reference, window = columns_of(case["reference"]), columns_of(case["window"])
    kinds = {name: "categorical" if name == "k" else "numeric" for name in reference}
    error = Reconstruction.fit(reference, kinds).errors(window).mean()
    assert error == pytest.approx(case["error"], rel=1e-9)
