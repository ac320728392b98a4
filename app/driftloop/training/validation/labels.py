"""Checks of the labels: are there enough of each class, and has the base rate changed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec.model import ModelSpec
from driftloop.training.dataset import TrainingSet
from driftloop.training.validation.result import CheckResult, above, below

__all__ = ["label_checks"]


def label_checks(spec: ModelSpec, data: TrainingSet, reference: ReferenceProfile | None) -> Iterator[CheckResult]:
    """Classes by their rows; a regression whose labels are all one number fails."""
    rules = spec.training.validation
    if not len(data):
        return
    if spec.task == "regression":
        distinct = len(np.unique(data.labels))
        constant = distinct < 2
        yield CheckResult(
            check="labels",
            value=float(distinct),
            bound=2.0,
            verdict="fail" if constant else "pass",
            sentence=f"all {len(data):,} labels are {float(data.labels[0]):g}: there is nothing to learn"
            if constant
            else f"the labels have {distinct:,} distinct values",
        )
        return
    names = spec.classes or ["0", "1"]
    counts = np.bincount(data.labels.astype(np.int64), minlength=len(names))
    rarest = int(counts.argmin())
    share = float(counts[rarest] / len(data))
    if rules.rarest_class is not None:
        sentence = f"{share:.2%} of the rows have the rarest label, {names[rarest]!r}"
        yield below("rarest_class", share, rules.rarest_class, sentence)
    if rules.rows_per_class is not None:
        for name, count in zip(names, counts.tolist(), strict=True):
            sentence = f"{count:,} rows have the label {name!r}"
            yield below("rows_per_class", float(count), rules.rows_per_class, sentence, column=name, percent=False)
    if rules.label_shift is not None and reference is not None and spec.task == "binary":
        now, before = float(data.labels.mean()), reference.label_mean
        if 0.0 < before < 1.0:  # 0.0 is also what a profile without labels says
            sentence = f"{now:.1%} of the labels are 1, of the champion's training data {before:.1%}"
            yield above("label_shift", abs(now - before), rules.label_shift, sentence)
