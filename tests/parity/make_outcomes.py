"""Writes golden_outcomes.json: what Evidently and statsmodels say about small sets of outcomes.

Run it by a Python that has both: python tests/parity/make_outcomes.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandas.core.dtypes.common as pandas_common

if not hasattr(pandas_common, "infer_dtype_from_object"):  # Evidently 0.7.23 imports it; pandas 3 has it no more
    pandas_common.infer_dtype_from_object = lambda dtype: dtype

import evidently
import evidently.metrics as m
import statsmodels
from evidently import (
    BinaryClassification,
    DataDefinition,
    Dataset,
    MulticlassClassification,
    Recsys,
    Regression,
    Report,
)
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint


def values_of(frame: pd.DataFrame, definition: DataDefinition, metrics: dict[str, Any]) -> dict[str, float]:
    """Each metric in a report of its own: some of Evidently's share settings with others in one report."""
    found = {}
    for name, metric in metrics.items():
        report = Report([metric]).run(Dataset.from_pandas(frame, data_definition=definition), None)
        (result,) = report.dict()["metrics"]
        value = result["value"]
        if isinstance(value, dict):  # a mean with its deviation, or values by cutoff, from the cutoff 1 on
            value = value["mean"] if "mean" in value else value["value"][metric.k - 1]
        found[name] = float(value)
    return found


def regression(rng: np.random.Generator) -> dict[str, Any]:
    labels = rng.lognormal(size=80)
    predictions = labels * rng.lognormal(0.1, 0.3, 80)
    metrics = {
        "mae": m.MAE(),
        "mape_percent": m.MAPE(),
        "rmse": m.RMSE(),
        "r2": m.R2Score(),
        "max_error": m.AbsMaxError(),
        "mean_error": m.MeanError(),
    }
    frame = pd.DataFrame({"target": labels, "prediction": predictions})
    definition = DataDefinition(regression=[Regression(target="target", prediction="prediction")])
    return {
        "predictions": predictions.tolist(),
        "labels": labels.tolist(),
        "evidently": values_of(frame, definition, metrics),
    }


def binary(rng: np.random.Generator) -> dict[str, Any]:
    scores = rng.random(120)
    labels = (rng.random(120) < scores).astype(int)
    metrics = {
        "accuracy": m.Accuracy(probas_threshold=0.4),
        "precision": m.Precision(probas_threshold=0.4),
        "recall": m.Recall(probas_threshold=0.4),
        "f1": m.F1Score(probas_threshold=0.4),
        "specificity": m.TNR(probas_threshold=0.4),
        "roc_auc": m.RocAuc(),
        "log_loss": m.LogLoss(),
    }
    frame = pd.DataFrame({"target": labels, "score": scores})
    task = BinaryClassification(target="target", prediction_probas="score", pos_label=1)
    definition = DataDefinition(classification=[task])
    return {
        "scores": scores.tolist(),
        "labels": labels.tolist(),
        "threshold": 0.4,
        "evidently": values_of(frame, definition, metrics),
    }


def multiclass(rng: np.random.Generator) -> dict[str, Any]:
    classes = ["a", "b", "c"]
    probabilities = rng.dirichlet([1.0, 2.0, 1.0], 150)
    labels = (rng.random(150)[:, None] > probabilities.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    metrics = {
        "accuracy": m.Accuracy(),
        "macro_precision": m.Precision(),
        "macro_recall": m.Recall(),
        "macro_f1": m.F1Score(),
        "log_loss": m.LogLoss(),
    }
    frame = pd.DataFrame(probabilities, columns=classes)
    frame["target"] = [classes[label] for label in labels]
    task = MulticlassClassification(target="target", prediction_probas=classes)
    definition = DataDefinition(classification=[task], categorical_columns=["target"])
    return {
        "probabilities": probabilities.tolist(),
        "labels": labels.tolist(),
        "evidently": values_of(frame, definition, metrics),
    }


def ranking(rng: np.random.Generator) -> dict[str, Any]:
    lists, relevant, rows = [], [], []
    for user in range(40):
        items = rng.permutation(12)[:8]
        wanted = [int(item) for item in items if rng.random() < 0.3] or [int(items[int(rng.integers(8))])]
        lists.append([str(item) for item in items])
        relevant.append([str(item) for item in wanted])
        for place, item in enumerate(items):
            score = float(len(items) - place)
            rows.append({"user": user, "item": int(item), "score": score, "target": int(item in wanted)})
    definition = DataDefinition(
        ranking=[Recsys(user_id="user", item_id="item", target="target", prediction="score")],
        numerical_columns=["score", "target"],
    )
    metrics = {
        "ndcg_3": m.NDCG(k=3),
        "mrr_8": m.MRR(k=8),
        "hit_rate_3": m.HitRate(k=3),
        "map_3": m.MAP(k=3),
        "precision_3": m.PrecisionTopK(k=3),
        "recall_3": m.RecallTopK(k=3),
    }
    return {"lists": lists, "relevant": relevant, "evidently": values_of(pd.DataFrame(rows), definition, metrics)}


def intervals() -> dict[str, Any]:
    pairs = [(40, 100, 120, 200), (0, 30, 5, 40), (9, 10, 10, 10), (512, 1024, 100, 300)]
    tables = [[[50, 10], [5, 30]], [[20, 3, 1], [4, 30, 6], [0, 2, 9]]]
    return {
        "newcombe": [
            [*pair, *map(float, confint_proportions_2indep(*pair, method="newcomb", compare="diff", alpha=0.05))]
            for pair in pairs
        ],
        "wilson": [
            [hits, rows, *map(float, proportion_confint(hits, rows, alpha=0.1, method="wilson"))]
            for hits, rows, _, _ in pairs
        ],
        "kappa": [
            {"matrix": table, "kappa": float(found.kappa), "variance": float(found.var_kappa)}
            for table in tables
            for found in [cohens_kappa(np.array(table))]
        ],
    }


def main() -> None:
    rng = np.random.default_rng(20261125)
    golden = {
        "versions": {"evidently": evidently.__version__, "statsmodels": statsmodels.__version__},
        "regression": regression(rng),
        "binary": binary(rng),
        "multiclass": multiclass(rng),
        "ranking": ranking(rng),
        "intervals": intervals(),
    }
    path = Path(__file__).with_name("golden_outcomes.json")
    path.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
