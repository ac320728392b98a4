"""Golden values of NannyML's reconstruction error. Run with a Python that has nannyml:

    python tests/parity/make_multivariate.py

writes tests/parity/golden_multivariate.json: the rows that went in, and the mean error that came out.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd

ROWS, WINDOW = 120, 40


def frame(rows: int, seed: int, *, categories: bool, missing: bool) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    common = rng.normal(size=rows)
    columns = {
        "a": np.round(common + 0.3 * rng.normal(size=rows), 3),
        "b": np.round(2 * common + 0.5 * rng.normal(size=rows), 3),
        "c": np.round(rng.exponential(size=rows), 3),
        "d": np.round(rng.normal(5, 3, size=rows), 3),
    }
    table = pd.DataFrame(columns)
    if missing:
        table.loc[::9, "a"] = np.nan
        table.loc[3::7, "c"] = np.nan
    if categories:
        names = np.array(["red", "green", "blue", "grey"] if seed % 2 else ["red", "green", "blue"], dtype=object)
        table["k"] = rng.choice(names, rows)
        if missing:
            table.loc[::11, "k"] = None
    return table


def main() -> None:
    os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"  # it would report its use otherwise
    import nannyml  # here, since the tests are collected without it

    cases = []
    for categories in (False, True):
        for missing in (False, True):
            reference = frame(ROWS, 2, categories=categories, missing=missing)
            window = frame(WINDOW, 5, categories=categories, missing=missing)
            window["a"] = window["a"] + 1.0
            calculator = nannyml.DataReconstructionDriftCalculator(
                column_names=list(reference.columns), chunk_size=WINDOW
            )
            calculator.fit(reference.copy())
            found = calculator.calculate(window.copy()).filter(period="analysis").to_df()
            cases.append(
                {
                    "reference": json.loads(reference.to_json(orient="columns")),
                    "window": json.loads(window.to_json(orient="columns")),
                    "error": float(found[("reconstruction_error", "value")].iloc[0]),
                }
            )
    for case in cases:
        for side in ("reference", "window"):
            case[side] = {name: list(cells.values()) for name, cells in case[side].items()}
    path = Path(__file__).with_name("golden_multivariate.json")
    path.write_text(json.dumps({"nannyml": nannyml.__version__, "cases": cases}) + "\n")


if __name__ == "__main__":
    main()
