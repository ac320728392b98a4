"""Golden values of Evidently, NannyML and statsmodels for tests/parity/test_univariate_parity.py.

    python tests/parity/make_univariate.py    # in an environment with evidently, nannyml and statsmodels

Inputs are made from seeds and written beside the values, rounded so that JSON holds them exactly.
"""

from __future__ import annotations

import importlib.metadata
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandas.core.dtypes.common as pandas_types

warnings.simplefilter("ignore")
# Evidently 0.7.23 imports a private name of pandas that newer releases have not, and does not need it here.
if not hasattr(pandas_types, "infer_dtype_from_object"):
    pandas_types.infer_dtype_from_object = lambda dtype: dtype

from evidently.legacy.calculations.stattests.energy_distance import _energy_dist  # noqa: E402
from evidently.legacy.calculations.stattests.g_stattest import _g_stat_test  # noqa: E402
from evidently.legacy.calculations.stattests.hellinger_distance import _hellinger_distance  # noqa: E402
from evidently.legacy.calculations.stattests.jensenshannon import _jensenshannon  # noqa: E402
from evidently.legacy.calculations.stattests.kl_div import _kl_div  # noqa: E402
from evidently.legacy.calculations.stattests.psi import _psi  # noqa: E402
from evidently.legacy.calculations.stattests.tvd_stattest import _total_variation_distance  # noqa: E402
from evidently.legacy.calculations.stattests.wasserstein_distance_norm import _wasserstein_distance_norm  # noqa: E402
from evidently.legacy.calculations.stattests.z_stattest import _z_stat_test  # noqa: E402
from evidently.legacy.core import ColumnType  # noqa: E402
from nannyml.drift.univariate.methods import FeatureType, MethodFactory  # noqa: E402
from statsmodels.stats.proportion import proportions_ztest  # noqa: E402
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW  # noqa: E402

CATEGORICAL, NUMERICAL = ColumnType.Categorical, ColumnType.Numerical


def nannyml(method: str, kind: str, reference: pd.Series, window: pd.Series) -> float:
    from nannyml.chunk import DefaultChunker
    from nannyml.thresholds import ConstantThreshold

    made = MethodFactory.create(
        key=method,
        feature_type=FeatureType(kind),
        chunker=DefaultChunker(),
        threshold=ConstantThreshold(upper=0.1),
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
        "evidently psi": _psi(a.copy(), b.copy(), CATEGORICAL, 0.1)[0],
        "evidently kl_div": _kl_div(a.copy(), b.copy(), CATEGORICAL, 0.1)[0],
        "evidently jensenshannon": _jensenshannon(a.copy(), b.copy(), CATEGORICAL, 0.1)[0],
        "evidently hellinger": _hellinger_distance(a.copy(), b.copy(), CATEGORICAL, 0.1)[0],
        "evidently TVD distance": _total_variation_distance(a.copy(), b.copy()),
        "nannyml jensen_shannon": nannyml("jensen_shannon", "categorical", a, b),
        "nannyml hellinger": nannyml("hellinger", "categorical", a, b),
        "nannyml l_infinity": nannyml("l_infinity", "categorical", a, b),
        "nannyml chi2": nannyml("chi2", "categorical", a, b),
    }
    if categories == 2 and not unseen:
        counts = [b.eq("c1").sum(), a.eq("c1").sum()]
        values["statsmodels proportions_ztest p"] = proportions_ztest(counts, [b.size, a.size])[1]
        values["evidently z p"] = _z_stat_test(a.copy(), b.copy(), CATEGORICAL, 0.05)[0]
    if a.size == b.size:
        values["evidently g_test p"] = _g_stat_test(a.copy(), b.copy(), CATEGORICAL, 0.05)[0]
    return {"reference": reference, "window": window, "values": {name: float(value) for name, value in values.items()}}


def numeric(seed: int, rows: tuple[int, int], shift: float, digits: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    reference = random.normal(5, 2, rows[0]).round(digits)
    window = random.choice(reference, rows[1]) if not shift else (random.normal(5 + shift, 2.5, rows[1])).round(digits)
    a, b = pd.Series(reference), pd.Series(window)
    interval = CompareMeans(DescrStatsW(window), DescrStatsW(reference)).tconfint_diff(usevar="unequal")
    values = {
        "evidently wasserstein": _wasserstein_distance_norm(a.copy(), b.copy(), NUMERICAL, 0.1)[0],
        "evidently energy": _energy_dist(a.copy(), b.copy(), NUMERICAL, 0.1)[0],
        "evidently psi": _psi(a.copy(), b.copy(), NUMERICAL, 0.1)[0],
        "evidently jensenshannon": _jensenshannon(a.copy(), b.copy(), NUMERICAL, 0.1)[0],
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
