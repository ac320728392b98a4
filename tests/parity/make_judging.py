"""Golden values of NannyML's thresholds by standard deviation, for tests/parity/test_judging_parity.py.

Run with an interpreter that has nannyml: python tests/parity/make_judging.py
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd

CHUNK = 200
COLUMN = "x"


def column() -> np.ndarray:
    """Whole numbers, few enough for every one of them to be an anchor, with a level of each chunk's own."""
    random = np.random.RandomState(11)
    level = np.repeat(random.randint(-8, 9, 20), CHUNK)
    return (level + random.randint(-40, 41, 20 * CHUNK)).astype(float)


def main() -> None:
    os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
    # Here and not above: pytest imports every module for its doctests, and its environment has no nannyml.
    import nannyml

    calculator = nannyml.UnivariateDriftCalculator(
        column_names=[COLUMN],
        continuous_methods=["kolmogorov_smirnov", "wasserstein"],
        chunk_size=CHUNK,
        thresholds={
            "kolmogorov_smirnov": nannyml.thresholds.StandardDeviationThreshold(std_upper_multiplier=3),
            "wasserstein": nannyml.thresholds.StandardDeviationThreshold(std_upper_multiplier=2),
        },
    )
    frame = pd.DataFrame({COLUMN: column()})
    calculator.fit(frame)
    found = calculator.calculate(frame).filter(period="analysis").to_df()[COLUMN]
    golden: dict[str, object] = {"nannyml": nannyml.__version__, "chunk": CHUNK, "column": frame[COLUMN].tolist()}
    for method in ("kolmogorov_smirnov", "wasserstein"):
        golden[method] = {
            "values": found[method]["value"].tolist(),
            "upper_threshold": float(found[method]["upper_threshold"].iloc[0]),
        }
    target = Path(__file__).with_name("golden_judging.json")
    target.write_text(json.dumps(golden) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
