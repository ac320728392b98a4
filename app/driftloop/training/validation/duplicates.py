"""The share of rows that say again what an earlier row says."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from driftloop.spec.model import ModelSpec
from driftloop.training.dataset import TrainingSet
from driftloop.training.validation.result import CheckResult, above

__all__ = ["duplicate_checks"]


def duplicate_checks(spec: ModelSpec, data: TrainingSet) -> Iterator[CheckResult]:
    """Rows with all features and the label of an earlier one (predictions of one id are one row already)."""
    bounds = spec.training.validation.duplicates
    if bounds is None or not len(data):
        return
    rows = data.frame.assign(**{"@label": data.labels})
    for name, feature in spec.features.items():
        if feature.kind == "vector":  # lists have no hash
            texts = [None if value is None else repr(value) for value in rows[name]]
            rows[name] = pd.Series(texts, index=rows.index, dtype=object)
    count = int(rows.duplicated().sum())
    share = count / len(data)
    sentence = f"{count:,} of {len(data):,} rows ({share:.1%}) repeat all features and the label of an earlier row"
    yield above("duplicates", share, bounds, sentence)
