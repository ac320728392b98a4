"""Golden values for tests/parity/test_estimated_parity.py. Run with a Python that has nannyml and statsmodels."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

try:
    import nannyml
    import statsmodels
    from statsmodels.duration.survfunc import SurvfuncRight
except ImportError:  # collected by pytest, or run by the wrong Python
    nannyml = None

sys.path.insert(0, str(Path(__file__).parents[1]))
from parity.estimated_worlds import binary_world, delays_world, multiclass_world, regression_world


def binary(name: str) -> dict[str, Any]:
    reference, window = binary_world(name)
    frame = pd.DataFrame({"p": reference["scores"], "y": reference["labels"]})
    frame["hat"] = (frame.p >= 0.5).astype(int)
    analysis = pd.DataFrame({"p": window["scores"]})
    analysis["hat"] = (analysis.p >= 0.5).astype(int)
    metrics = ["accuracy", "precision", "recall", "f1", "roc_auc"]
    cbpe = nannyml.CBPE(
        metrics=metrics, y_pred_proba="p", y_pred="hat", y_true="y",
        problem_type="classification_binary", chunk_size=len(analysis),
    )  # fmt: skip
    cbpe.fit(frame)
    result = cbpe.estimate(analysis).filter(period="analysis").to_df()
    return {
        "needs_calibration": bool(cbpe.needs_calibration),
        "estimates": {metric: float(result[(metric, "value")].iloc[0]) for metric in metrics},
    }


def multiclass() -> dict[str, Any]:
    reference, window = multiclass_world()
    names = ["a", "b", "c"]
    columns = {name: f"p_{name}" for name in names}

    def frame_of(world: dict[str, np.ndarray]) -> pd.DataFrame:
        frame = pd.DataFrame({columns[name]: world["scores"][:, k] for k, name in enumerate(names)})
        frame["hat"] = [names[k] for k in world["scores"].argmax(axis=1)]
        return frame

    fitted = frame_of(reference)
    fitted["y"] = [names[k] for k in reference["labels"]]
    cbpe = nannyml.CBPE(
        metrics=["accuracy", "f1"], y_pred_proba=columns, y_pred="hat", y_true="y",
        problem_type="classification_multiclass", chunk_size=len(window["scores"]),
    )  # fmt: skip
    cbpe.fit(fitted)
    result = cbpe.estimate(frame_of(window)).filter(period="analysis").to_df()
    return {"estimates": {m: float(result[(m, "value")].iloc[0]) for m in ("accuracy", "f1")}}


def regression() -> dict[str, Any]:
    reference, window = regression_world()
    fitted = pd.DataFrame({"x": reference["x"], "z": reference["z"], "hat": reference["hat"], "y": reference["y"]})
    analysis = pd.DataFrame({"x": window["x"], "z": window["z"], "hat": window["hat"]})
    dle = nannyml.DLE(
        feature_column_names=["x", "z"], y_pred="hat", y_true="y", metrics=["mae", "mse", "rmse"],
        chunk_size=len(analysis),
    )  # fmt: skip
    dle.fit(fitted)
    result = dle.estimate(analysis).filter(period="analysis").to_df()
    return {"estimates": {m: float(result[(m, "value")].iloc[0]) for m in ("mae", "mse", "rmse")}}


def survival() -> dict[str, Any]:
    delays, arrived = delays_world()
    fitted = SurvfuncRight(delays, arrived)
    return {"times": fitted.surv_times.tolist(), "survival": fitted.surv_prob.tolist(),
            "standard_errors": fitted.surv_prob_se.tolist()}  # fmt: skip


def main() -> None:
    if nannyml is None:
        sys.exit("this needs a Python that has nannyml and statsmodels")
    warnings.filterwarnings("ignore")
    golden = {
        "versions": {"nannyml": nannyml.__version__, "statsmodels": statsmodels.__version__},
        "binary": {name: binary(name) for name in ("calibrated", "overconfident", "grid")},
        "multiclass": multiclass(),
        "regression": regression(),
        "survival": survival(),
    }
    Path(__file__).with_name("golden_estimated.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
