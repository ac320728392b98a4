"""Closed loop against frozen model: months, rows that count, and how it is printed."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from sklearn.metrics import roc_auc_score

from driftloop.demo.report import print_result
from driftloop.demo.summary import DemoResult, ModelResult, Swap, compare_months
from driftloop.events.time import parse_time


def test_months_are_compared_on_the_rows_that_have_everything() -> None:
    times = np.array([parse_time("2013-02-28T23:59:59Z"), parse_time("2013-03-01"), parse_time("2013-03-31")])
    metric, months, total = compare_months(
        "regression", times, np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, np.nan]), np.array([3.0, 2.0, 0.0])
    )
    assert metric == "mae"
    assert [(month.month, month.rows, month.closed, month.frozen, month.better) for month in months] == [
        ("2013-02", 1, 0.0, 2.0, True),
        ("2013-03", 1, 0.0, 0.0, False),
    ]
    assert total is not None
    assert (total.rows, total.closed, total.frozen) == (2, 0.0, 1.0)


def test_auc_is_scikit_learns_and_undefined_with_one_class() -> None:
    rng = np.random.default_rng(3)
    times = np.full(400, parse_time("2013-05-05"))
    truth, closed, frozen = (rng.random(400) > 0.7).astype(float), rng.random(400), rng.random(400)
    metric, months, _ = compare_months("binary", times, truth, closed, frozen)
    assert (metric, months[0].closed) == ("roc_auc", pytest.approx(roc_auc_score(truth, closed)))
    assert months[0].better == (months[0].closed > months[0].frozen)
    assert compare_months("binary", times, np.ones(400), closed, frozen)[1:] == ([], None)


def test_the_result_says_who_won_and_which_version_served() -> None:
    times = np.array([parse_time("2013-02-10"), parse_time("2013-03-10")])
    metric, months, total = compare_months("regression", times, np.zeros(2), np.array([2.0, 1.0]), np.array([2.0, 5.0]))
    assert total is not None
    swaps = [
        Swap(model_id="m", version="v1", clock_ms=parse_time("2013-02-01")),
        Swap(model_id="m", version="v2", clock_ms=parse_time("2013-03-04T07:00:00Z")),
    ]
    model = ModelResult(model_id="m", metric=metric, months=months, total=total, versions=swaps)
    result = DemoResult(
        complete=False, predictions=2, labels=2, from_ms=int(times[0]), clock_ms=int(times[1]), models=[model]
    )
    out = StringIO()
    print_result(Console(file=out, width=120), result, Path("here"), seconds=3.0, held=True)
    text = out.getvalue()
    assert "stopped before the end" in text
    assert "m: the closed loop is ahead of the frozen model: 1.50 against 3.50 minutes, better in 1 of 2 months" in text
    assert "v1 → v2 (03-04)" in text
    assert "driftloop replay --from 2013-02-10 --to 2013-03-10" in text
