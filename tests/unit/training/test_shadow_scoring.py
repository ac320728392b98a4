"""Scores of two model files: what a process of its own says is what this one would, to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from driftloop.training.artifacts import dump
from driftloop.training.child import TrainingProcesses
from driftloop.training.dataset import TrainingSet, cut
from driftloop.training.estimators import fit, predict
from driftloop.training.shadow_scores import Scored, WindowScores
from driftloop.training.shadow_scoring import ScoringProcess
from support.model_scoring import score_here
from support.training_rows import DAY_MS, make_labeled, make_rows, make_spec

ESTIMATORS = {
    "binary": "sklearn.ensemble.HistGradientBoostingClassifier",
    "multiclass": "sklearn.linear_model.LogisticRegression",
    "regression": "sklearn.ensemble.RandomForestRegressor",
}


def windows_of(task: str) -> list[TrainingSet]:
    """Three days, the second of them with rows that the champion v1 served, the others by another version."""
    spec = make_spec(task)
    frame, labels, times = make_rows(task, rows=720, seed=5)
    rows = make_labeled(spec, frame, labels, times, version="v0")
    rows[240:300] = make_labeled(
        spec, frame.iloc[240:300].reset_index(drop=True), labels[240:300], times[240:300], prefix="q"
    )
    return [cut(rows, spec, day * DAY_MS, (day + 1) * DAY_MS) for day in range(3)]


def asked(scorer: Any, task: str, champion_file: bytes | None, challenger_file: bytes) -> Scored:
    found: Scored = scorer(
        make_spec(task),
        windows_of(task),
        champion="v1",
        champion_file=champion_file,
        challenger="v2",
        challenger_file=challenger_file,
        cancelled=lambda: False,
    )
    return found


def bits(scores: WindowScores) -> tuple[Any, ...]:
    champion = scores.champion
    return (
        scores.challenger.dtype, scores.challenger.shape, scores.challenger.tobytes(),
        None if champion is None else (champion.dtype, champion.shape, champion.tobytes()),
    )  # fmt: skip


@pytest.mark.parametrize("task", list(ESTIMATORS))
def test_a_process_says_what_the_models_say_here(task: str, tmp_path: Path) -> None:
    few = {"binary": {"max_iter": 10}, "regression": {"n_estimators": 10}}
    spec = make_spec(task, estimator=ESTIMATORS[task], training={"parameters": few.get(task, {})})
    models = [fit(spec, *make_rows(task, seed=seed)[:2]) for seed in (1, 2)]
    with TrainingProcesses() as processes:
        apart = asked(ScoringProcess(tmp_path, processes), task, *map(dump, models))
    assert (apart.problem, apart.champion_error) == (None, None)
    for data, scores in zip(windows_of(task), apart.windows, strict=True):
        theirs = np.asarray(data.versions != "v1", bool)
        champion = predict(models[0], spec, data.frame[theirs].reset_index(drop=True))
        assert bits(scores) == bits(WindowScores(predict(models[1], spec, data.frame), champion))
    assert len(apart.windows[1].champion) == 180  # type: ignore[arg-type]


def test_without_a_champions_model_only_rows_that_it_served_are_scored(tmp_path: Path) -> None:
    models = [dump(fit(make_spec(), *make_rows(seed=seed)[:2])) for seed in (1, 2)]
    apart = asked(ScoringProcess(tmp_path), "binary", b"nothing that can be loaded", models[1])
    assert "not a skops archive" in str(apart.champion_error)
    absent = asked(score_here, "binary", None, models[1])
    assert [bits(scores) for scores in apart.windows] == [bits(scores) for scores in absent.windows]
    assert [(len(scores.challenger), scores.champion) for scores in absent.windows] == [
        (0, None),
        (60, None),
        (0, None),
    ]


def test_a_model_that_refuses_the_rows_says_why(tmp_path: Path) -> None:
    spec = make_spec()
    model = fit(spec, *make_rows()[:2])
    narrow = fit(make_spec(), *make_rows()[:2])
    narrow[-1].coef_ = narrow[-1].coef_[:, :2]
    apart = asked(ScoringProcess(tmp_path), "binary", dump(model), dump(narrow))
    assert apart.windows == []
    assert "the challenger's model file cannot score the recorded features (ValueError: " in str(apart.problem)
    assert apart.problem == asked(score_here, "binary", dump(model), dump(narrow)).problem
