"""Golden values of Evidently, NannyML and statsmodels for tests/parity/test_univariate_parity.py.

    python tests/parity/make_univariate.py    # in an environment with evidently, nannyml and statsmodels

Inputs are made from seeds and written beside the values, rounded so that JSON holds them exactly.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pandas.core.dtypes.common as pandas_types

peer = SimpleNamespace()


def load_peers() -> None:
    """Here and not above: pytest imports every module for its doctests, and its environment has no peers."""
    warnings.simplefilter("ignore")
    os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
    # Evidently 0.7.23 imports a private name of pandas that newer releases have not, and does not need it here.
    if not hasattr(pandas_types, "infer_dtype_from_object"):
        pandas_types.infer_dtype_from_object = lambda dtype: dtype
    stattests = "evidently.legacy.calculations.stattests"
    for name, module in (
        ("_energy_dist", "energy_distance"),
        ("_g_stat_test", "g_stattest"),
        ("_hellinger_distance", "hellinger_distance"),
        ("_jensenshannon", "jensenshannon"),
        ("_kl_div", "kl_div"),
        ("_psi", "psi"),
        ("_total_variation_distance", "tvd_stattest"),
        ("_wasserstein_distance_norm", "wasserstein_distance_norm"),
        ("_z_stat_test", "z_stattest"),
    ):
        setattr(peer, name.removeprefix("_"), getattr(importlib.import_module(f"{stattests}.{module}"), name))
    column_type = importlib.import_module("evidently.legacy.core").ColumnType
    peer.categorical, peer.numerical = column_type.Categorical, column_type.Numerical
    peer.methods = importlib.import_module("nannyml.drift.univariate.methods")
    peer.chunker = importlib.import_module("nannyml.chunk").DefaultChunker()
    peer.threshold = importlib.import_module("nannyml.thresholds").ConstantThreshold(upper=0.1)
    peer.proportions_ztest = importlib.import_module("statsmodels.stats.proportion").proportions_ztest
    peer.weightstats = importlib.import_module("statsmodels.stats.weightstats")


def nannyml(method: str, kind: str, reference: pd.Series, window: pd.Series) -> float:
    made = peer.methods.MethodFactory.create(
        key=method,
        feature_type=peer.methods.FeatureType(kind),
        chunker=peer.chunker,
        threshold=peer.threshold,
    )
    made._fit(reference)
    return float(made._calculate(window))


def categorical(seed: int, categories: int, rows: tuple[int, int], unseen: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    names = [f"c{index}" for index in range(categories)]
    shares, others = random.dirichlet(np.ones(categories) * 4, 2)
    reference = [*names, *random.choice(names, rows[0] - categories, p=shares)]
    window = [*names, *random.choice(names, rows[1] - categories - unseen, p=others), *["new"] * unseen]
    a, b = pd.Series(reference), pd.Series(window)
    values: dict[str, float] = {
        "evidently psi": peer.psi(a.copy(), b.copy(), peer.categorical, 0.1)[0],
        "evidently kl_div": peer.kl_div(a.copy(), b.copy(), peer.categorical, 0.1)[0],
        "evidently jensenshannon": peer.jensenshannon(a.copy(), b.copy(), peer.categorical, 0.1)[0],
        "evidently hellinger": peer.hellinger_distance(a.copy(), b.copy(), peer.categorical, 0.1)[0],
        "evidently TVD distance": peer.total_variation_distance(a.copy(), b.copy()),
        "nannyml jensen_shannon": nannyml("jensen_shannon", "categorical", a, b),
        "nannyml hellinger": nannyml("hellinger", "categorical", a, b),
        "nannyml l_infinity": nannyml("l_infinity", "categorical", a, b),
        "nannyml chi2": nannyml("chi2", "categorical", a, b),
    }
    if categories == 2 and not unseen:
        counts = [b.eq("c1").sum(), a.eq("c1").sum()]
        values["statsmodels proportions_ztest p"] = peer.proportions_ztest(counts, [b.size, a.size])[1]
        values["evidently z p"] = peer.z_stat_test(a.copy(), b.copy(), peer.categorical, 0.05)[0]
    if a.size == b.size:
        values["evidently g_test p"] = peer.g_stat_test(a.copy(), b.copy(), peer.categorical, 0.05)[0]
    return {"reference": reference, "window": window, "values": {name: float(value) for name, value in values.items()}}


def numeric(seed: int, rows: tuple[int, int], shift: float, digits: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    reference = random.normal(5, 2, rows[0]).round(digits)
    window = random.choice(reference, rows[1]) if not shift else (random.normal(5 + shift, 2.5, rows[1])).round(digits)
    a, b = pd.Series(reference), pd.Series(window)
    interval = peer.weightstats.CompareMeans(*map(peer.weightstats.DescrStatsW, (window, reference))).tconfint_diff(
        usevar="unequal"
    )
    values = {
        "evidently wasserstein": peer.wasserstein_distance_norm(a.copy(), b.copy(), peer.numerical, 0.1)[0],
        "evidently energy": peer.energy_dist(a.copy(), b.copy(), peer.numerical, 0.1)[0],
        "evidently psi": peer.psi(a.copy(), b.copy(), peer.numerical, 0.1)[0],
        "evidently jensenshannon": peer.jensenshannon(a.copy(), b.copy(), peer.numerical, 0.1)[0],
        "nannyml wasserstein": nannyml("wasserstein", "continuous", a, b),
        "nannyml kolmogorov_smirnov": nannyml("kolmogorov_smirnov", "continuous", a, b),
        "nannyml jensen_shannon": nannyml("jensen_shannon", "continuous", a, b),
        "nannyml hellinger": nannyml("hellinger", "continuous", a, b),
        "statsmodels welch low": interval[0],
        "statsmodels welch high": interval[1],
    }
    return {
        "reference": reference.tolist(),
        "window": window.tolist(),
        "values": {name: float(value) for name, value in values.items()},
    }


def main() -> None:
    load_peers()
    cases = {
        "versions": {name: importlib.metadata.version(name) for name in ("evidently", "nannyml", "statsmodels")},
        "categorical": [
            categorical(1, 5, (900, 400), 0),
            categorical(2, 12, (500, 500), 0),
            categorical(3, 2, (400, 150), 0),
            categorical(4, 8, (600, 300), 25),
        ],
        "numeric": [
            numeric(5, (400, 300), 0.0, 6),
            numeric(6, (600, 300), 0.8, 1),
            numeric(7, (450, 200), 1.5, 6),
        ],
    }
    path = Path(__file__).with_name("golden_univariate.json")
    path.write_text(json.dumps(cases, indent=None, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
