"""Writes golden_gates.json: what statsmodels says about corrected p-values and lines of calibration.

Run it by a Python that has it: python tests/parity/make_gates.py
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import statsmodels
import statsmodels.api as sm
from statsmodels.stats.multitest import multipletests


def main() -> None:
    rng = np.random.default_rng(20261125)
    p_values = [*np.round(rng.beta(0.3, 2.0, 12), 6).tolist(), 0.01, 0.01, 1.0]
    scores = np.round(rng.uniform(0.02, 0.98, 120), 4)
    labels = (rng.random(120) < scores**1.5).astype(int)
    logit = np.log(scores) - np.log1p(-scores)
    free = sm.GLM(labels, sm.add_constant(logit), family=sm.families.Binomial()).fit(tol=1e-14)
    held = sm.GLM(labels, np.ones((120, 1)), family=sm.families.Binomial(), offset=logit).fit(tol=1e-14)
    values = np.round(rng.normal(10.0, 3.0, 120), 4)
    truth = np.round(1.0 + 0.9 * values + rng.normal(size=120) * (0.2 + 0.1 * np.abs(values)), 4)
    line = sm.OLS(truth, sm.add_constant(values)).fit(cov_type="HC1")
    golden = {
        "statsmodels": statsmodels.__version__,
        "p_values": p_values,
        "holm": multipletests(p_values, method="holm")[1].tolist(),
        "bonferroni": multipletests(p_values, method="bonferroni")[1].tolist(),
        "scores": scores.tolist(),
        "labels": labels.tolist(),
        "slope": [float(free.params[1]), float(free.bse[1])],
        "intercept": [float(held.params[0]), float(held.bse[0])],
        "values": values.tolist(),
        "truth": truth.tolist(),
        "line": [float(line.params[1]), float(line.bse[1])],
    }
    path = Path(__file__).with_name("golden_gates.json")
    path.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
