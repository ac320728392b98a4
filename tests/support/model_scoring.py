"""Scoring without a process of its own, and model files that no process survives."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import PolynomialFeatures
from sklearn.tree._tree import Tree

from driftloop.spec.model import ModelSpec
from driftloop.training.artifacts import ArtifactError, dump, load
from driftloop.training.child import TrainingProcesses
from driftloop.training.dataset import TrainingSet
from driftloop.training.estimators import fit
from driftloop.training.shadow_scores import ComparisonImpossible, Scored, WindowScores, score_windows
from support.training_rows import make_rows, make_spec

__all__ = ["BROKEN", "broken_model", "score_here", "started"]

#: What kinds there are, and what is said about them.
BROKEN = {
    "crashes": "process was ended by signal 11 (SIGSEGV: a crash in native code)",
    "hangs": "took longer than its time limit of 3s",
    "takes too much": "took more than 700 MiB of memory; raise training.memory_limit",
}


def score_here(
    spec: ModelSpec,
    windows: Sequence[TrainingSet],
    *,
    champion: str,
    champion_file: bytes | None,
    challenger: str,
    challenger_file: bytes,
    cancelled: Callable[[], bool],
) -> Scored:
    """What :class:`~driftloop.training.shadow_scoring.ScoringProcess` does, without the seconds of a process."""
    champion_model, champion_error = None, None
    if champion_file is not None:
        try:
            champion_model = load(champion_file)
        except ArtifactError as error:
            champion_error = str(error)
    found: list[WindowScores] = []
    try:
        found.extend(score_windows(spec, windows, champion, champion_model, load(challenger_file)))
    except (ArtifactError, ComparisonImpossible) as error:
        return Scored(found, str(error), champion_error)
    return Scored(found, None, champion_error)


def started(processes: TrainingProcesses) -> None:
    """Have a process that has imported what it needs, and waits for a job: it sleeps after a second of work or more."""
    processes.warm()
    assert processes._spare is not None
    stat = Path(f"/proc/{processes._spare.pid}/stat")
    deadline = time.monotonic() + 120.0
    while time.monotonic() < deadline:
        fields = stat.read_text().rpartition(")")[2].split()
        if fields[0] == "S" and int(fields[11]) + int(fields[12]) >= os.sysconf("SC_CLK_TCK"):
            return
        time.sleep(0.2)
    raise AssertionError("the process has not started within two minutes")


@functools.cache
def broken_model(how: str) -> bytes:
    """A model file of trusted types that loads, for rows of :func:`~support.training_rows.make_rows`.

    ``crashes``: rows with x above -5, or without it, lead a tree to a node far outside of its memory; others get a
    probability. ``hangs``: every row walks a tree in a circle. ``takes too much``: every row becomes millions.
    """
    frame, labels, _ = make_rows(rows=100)
    if how == "takes too much":
        pipeline = fit(make_spec(), frame, labels)
        many = PolynomialFeatures(degree=24).fit(pipeline[:-1].transform(frame)[:1])
        model = LogisticRegression().fit(np.zeros((2, 1)), [0, 1])
        return dump(Pipeline([*pipeline.steps[:-1], ("many", many), ("model", model)]))
    pipeline = fit(make_spec(estimator="sklearn.tree.DecisionTreeClassifier"), frame, labels)
    tree: Any = pipeline[-1]
    state = tree.tree_.__getstate__()
    nodes = state["nodes"].copy()
    features = pipeline[:-1].transform(frame).shape[1]
    if how == "crashes":
        nodes["feature"][0] = list(pipeline[:-1].get_feature_names_out()).index("numeric__x")
        nodes["threshold"][0] = -5.0
        nodes["left_child"][0], nodes["right_child"][0] = int(np.flatnonzero(nodes["left_child"] == -1)[0]), 2**40
    else:
        nodes["left_child"][0] = nodes["right_child"][0] = 0
    tree.tree_ = Tree(features, np.array([2], dtype=np.intp), 1)
    tree.tree_.__setstate__({**state, "nodes": nodes})
    return dump(pipeline)
