from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from driftloop.profiles.columns import Columns
from driftloop.spec.gates import GateSpec
from driftloop.spec.model import FeatureSpec
from driftloop.training.artifacts import dump
from driftloop.training.estimators import fit, predict
from driftloop.training.gates import Candidate, Reference, Rival, run_gates
from driftloop.training.gates.perturbations import UNSEEN
from support.training_rows import make_rows, make_spec
from support.trials import good, holdout, judge, sigmoid

FRAME, LABELS = holdout(300, seed=1)
SCHEMA = GateSpec(gate="schema")


def test_a_model_of_driftloops_own_pipelines_passes() -> None:
    for task in ("binary", "multiclass", "regression"):
        spec = make_spec(task, gates=[SCHEMA])
        frame, labels, _ = make_rows(task, rows=200)  # with missing values
        model = fit(spec, frame, labels)
        said = predict(model, spec, frame)
        (result,) = run_gates(spec, Candidate(said, said, dump(model)), None, frame, labels, seed=1)
        assert result.passed, result.sentence
        assert {detail.name for detail in result.details} == {
            "rows as sent", "missing values left out", "one row at a time", "x null", "colour null", "colour unseen",
            "noise null", "all that is not required null",
        }  # fmt: skip


def nan_on_missing(rows: pd.DataFrame | Columns) -> np.ndarray:
    return sigmoid(np.asarray(rows["x"], np.float64))


def crash_on_unseen(rows: pd.DataFrame | Columns) -> np.ndarray:
    if UNSEEN in list(rows["colour"]):
        raise ValueError("Found unknown categories")
    return good(rows)  # type: ignore[arg-type]


def crash_on_missing_text(rows: pd.DataFrame | Columns) -> np.ndarray:
    assert all(len(value) > 2 for value in rows["colour"])  # type: ignore[arg-type]
    return good(rows)  # type: ignore[arg-type]


def by_batch(rows: pd.DataFrame | Columns) -> np.ndarray:
    values = good(rows)  # type: ignore[arg-type]
    return np.clip(values - values.mean() + 0.5, 0.0, 1.0)


def by_dtype(rows: pd.DataFrame | Columns) -> np.ndarray:
    return good(rows) if isinstance(rows, pd.DataFrame) else 1.0 - good(rows)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "check", "word"),
    [
        (nan_on_missing, "x null", "not finite"),
        (crash_on_unseen, "colour unseen", "raises ValueError: Found unknown"),
        (crash_on_missing_text, "colour null", "raises TypeError"),
        (by_batch, "one row at a time", "differ"),
        (by_dtype, "rows as sent", "differ"),
    ],
)
def test_what_a_service_sends_must_be_answered(model, check: str, word: str) -> None:  # type: ignore[no-untyped-def]
    result = judge(SCHEMA, FRAME, LABELS, model)
    assert (result.passed, result.verdict) == (False, "failed")
    failed = {detail.name: detail for detail in result.details if detail.verdict == "failed"}
    assert word in failed[check].note
    assert result.value == len(failed)
    if check not in ("rows as sent", "one row at a time"):
        assert result.details[0].name == check


def test_required_features_are_never_null() -> None:
    spec = make_spec(gates=[SCHEMA])
    required = {name: FeatureSpec(kind=feature.kind, required=True) for name, feature in spec.features.items()}
    spec = type(spec)(model="m", task="binary", features=required, gates=[SCHEMA])
    assert judge(SCHEMA, FRAME, LABELS, lambda rows: good(rows), spec=spec).passed
    result = judge(SCHEMA, FRAME.assign(x=np.nan), LABELS, lambda rows: good(rows), spec=spec)
    assert not result.passed
    assert "do not accept the row" in result.sentence


def test_whole_numbers_are_sent_as_integers() -> None:
    seen: list[Columns] = []

    def model(rows: pd.DataFrame | Columns) -> np.ndarray:
        seen.append(rows)  # type: ignore[arg-type]
        return good(rows)  # type: ignore[arg-type]

    frame = FRAME.assign(x=np.round(3.0 * FRAME["x"]), noise=1e300)
    assert judge(SCHEMA, frame, LABELS, model).passed
    np.testing.assert_array_equal(seen[1]["x"], frame["x"].to_numpy()[:200])  # seen[0] is the holdout itself


def test_the_features_are_the_champions_or_the_change_is_declared() -> None:
    names = ("x", "colour", "noise")
    assert judge(SCHEMA, FRAME, LABELS, good, good, features=names).passed
    result = judge(SCHEMA, FRAME, LABELS, good, good, features=("x", "colour", "old"))
    assert not result.passed
    assert "new since champion v1, and not declared under added: noise" in result.sentence
    assert "gone since champion v1, and not declared under removed: old" in result.sentence
    declared = GateSpec(gate="schema", added=["noise"], removed=["old"])
    assert judge(declared, FRAME, LABELS, good, good, features=("x", "colour", "old")).passed


def test_a_file_that_does_not_load_fails_and_the_other_gates_still_run() -> None:
    spec = make_spec(gates=[GateSpec(gate="schema"), GateSpec(gate="sanity"), GateSpec(gate="metric")])
    scores = good(FRAME)
    results = run_gates(spec, Candidate(scores, scores, b"rubbish"), None, FRAME, LABELS, seed=0)
    assert [result.passed for result in results] == [False, True, True]
    assert "not a skops archive" in results[0].sentence


def test_a_gate_that_breaks_is_not_passed_and_the_others_still_run() -> None:
    spec = make_spec(gates=[GateSpec(gate="slices", columns=["nowhere"]), GateSpec(gate="sanity")])
    scores = good(FRAME)
    every = np.ones(300, np.bool_)
    champion = Rival("v1", scores, every, every)
    results = run_gates(spec, Candidate(scores, scores, b""), champion, FRAME, LABELS, seed=0)
    assert [result.passed for result in results] == [False, True]
    assert "could not be run: KeyError" in results[0].sentence


def test_sanity_looks_at_the_distribution() -> None:
    sanity = GateSpec(gate="sanity")
    flat = np.full(300, 0.2)
    flat[:2] = 0.3
    result = judge(sanity, FRAME, LABELS, flat)
    assert not result.passed
    assert "99.3% of 300 predictions are the same" in result.sentence
    assert judge(GateSpec(gate="sanity", largest_share=1.0), FRAME, LABELS, flat).passed
    spec = make_spec("regression")
    truth = np.linspace(0.0, 10.0, 300)
    wild = truth.copy()
    wild[0] = 25.0
    result = judge(sanity, FRAME, truth, wild, spec=spec)
    assert not result.passed
    assert "further out than 1 times the labels' range" in result.sentence
    assert result.details[-1].value == pytest.approx(1.5)
    assert judge(GateSpec(gate="sanity", range=2.0), FRAME, truth, wild, spec=spec).passed
    assert judge(GateSpec(gate="sanity", range=None), FRAME, truth, wild, spec=spec).passed
    before = Reference(FRAME, 3.0 * truth)
    assert judge(sanity, FRAME, truth, wild, spec=spec, reference=before).passed
