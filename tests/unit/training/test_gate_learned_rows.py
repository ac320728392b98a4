"""A champion that has learned rows of the holdout: what a challenger is compared on, and what becomes of one that
cannot be judged yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from driftloop.events.decisions import GateResult, RetrainCommand
from driftloop.registry.artifacts import ArtifactStore
from driftloop.registry.database import create_schema, open_engine
from driftloop.registry.models import Registry
from driftloop.registry.rows import VersionRow
from driftloop.spec.gates import GateSpec
from driftloop.spec.model import ModelSpec
from driftloop.spec.policy import BreakerSpec, PolicySpec
from driftloop.training import run as run_module
from driftloop.training.bootstrap import register_first_version
from driftloop.training.dataset import OffsetRange, TrainingSet
from driftloop.training.estimators import fit, predict
from driftloop.training.gates import Candidate, Rival, run_gates
from driftloop.training.run import CommandRunner, Finished
from driftloop.training.train import Champion, Trained, train
from support.training_rows import make_labeled, make_rows, make_spec

#: A tree that learns every row by heart: perfect on what it has seen.
TREE = "sklearn.tree.DecisionTreeClassifier"
BETTER = GateSpec(gate="metric", metric="roc_auc", mode="superiority", margin=0.0)
NOT_WORSE = GateSpec(gate="metric", metric="roc_auc", margin=0.15)
LEARNED, HOLDOUT = 400, 300


def spec_with(*gates: GateSpec, learned: bool = False, minimum_rows: int = 100, **more: Any) -> ModelSpec:
    training = {"compare_on_learned": learned, **more.pop("training", {})}
    return make_spec(estimator=TREE, gates=list(gates), minimum_rows=minimum_rows, training=training, **more)


def judged(later: int, *, sign: float, learned: bool = False, gate: GateSpec = BETTER, seed: int = 0) -> GateResult:
    """The relation turns round when the champion has learned everything up to then, of the holdout all but the last
    ``later`` rows. The challenger knows the relation with ``sign``; -1 is the present one."""
    spec = spec_with(gate, learned=learned)
    before, after = make_rows(rows=LEARNED + HOLDOUT - later, seed=seed), make_rows(rows=later, seed=seed + 50, sign=-1)
    frame, labels = before[0], before[1]
    champion = fit(spec, frame, labels)

    holdout = pd.concat([frame.iloc[LEARNED:], after[0]], ignore_index=True)
    truth = np.concatenate([labels[LEARNED:], after[1]])
    challenger = fit(spec, *make_rows(rows=600, seed=seed + 99, sign=sign)[:2])
    scores = predict(challenger, spec, holdout)
    unseen = np.arange(HOLDOUT) >= HOLDOUT - later
    rival = Rival("v2", predict(champion, spec, holdout), np.ones(HOLDOUT, np.bool_), unseen)
    (result,) = run_gates(spec, Candidate(scores, scores, b""), rival, holdout, truth, seed=seed)
    return result


@pytest.mark.parametrize("seed", range(3))
def test_a_better_challenger_passes_once_there_are_enough_later_rows(seed: int) -> None:
    for later in (0, 20, 99):
        soon = judged(later, sign=-1.0, seed=seed)
        assert (soon.passed, soon.verdict, soon.left_out) == (False, "insufficient", HOLDOUT - later)
        assert soon.sentence.startswith(
            f"insufficient: only {later} of 300 holdout rows are later than what champion v2 has learned, and 100 are "
            "needed (minimum_rows); wait"
        )
        # What happened before: it is held against the rows that the champion knows by heart.
        before = judged(later, sign=-1.0, learned=True, seed=seed)
        assert (before.passed, before.verdict) == (False, "failed")
        assert before.value is not None
        assert before.value < 0.0
    for later in (100, 200, 300):
        enough = judged(later, sign=-1.0, seed=seed)
        assert (enough.passed, enough.verdict, enough.left_out) == (True, "passed", None), enough.sentence
        assert f"on {later} later rows" in enough.sentence


@pytest.mark.parametrize("seed", range(3))
def test_a_worse_challenger_never_passes(seed: int) -> None:
    """Shuffled: it knows nothing. The champion knows the old relation, which still holds in this world."""
    for later in (0, 20, 99, 100, 200, 300):
        spec = spec_with(NOT_WORSE)
        frame, labels, _ = make_rows(rows=LEARNED + HOLDOUT, seed=seed)
        known = LEARNED + HOLDOUT - later
        champion = fit(spec, frame.iloc[:known], labels[:known])
        shuffled = np.random.default_rng(seed).permutation(labels[:LEARNED])
        holdout, truth = frame.iloc[LEARNED:].reset_index(drop=True), labels[LEARNED:]
        scores = predict(fit(spec, frame.iloc[:LEARNED], shuffled), spec, holdout)
        rival = Rival(
            "v2", predict(champion, spec, holdout), np.ones(HOLDOUT, np.bool_), np.arange(HOLDOUT) >= known - LEARNED
        )
        (result,) = run_gates(spec, Candidate(scores, scores, b""), rival, holdout, truth, seed=seed)
        assert not result.passed, (later, result.sentence)
        assert result.verdict == ("insufficient" if later < 100 else "failed")


def test_of_a_small_holdout_all_rows_are_enough() -> None:
    """Else one with fewer rows than ``minimum_rows`` could be judged before a promotion and never after."""
    scores = np.linspace(0.0, 1.0, 50)
    truth = (np.arange(50) % 3 == 0).astype(np.int64)
    frame = make_rows(rows=50)[0]
    known = np.ones(50, np.bool_)
    for later, verdict in ((49, "insufficient"), (50, "passed")):
        rival = Rival("v2", scores, known, np.arange(50) >= 50 - later)
        (result,) = run_gates(spec_with(NOT_WORSE), Candidate(scores, scores, b""), rival, frame, truth, seed=0)
        assert result.verdict == verdict, result.sentence


@pytest.mark.parametrize(
    "gate",
    [
        GateSpec(gate="slices", columns=["colour"], margin=0.05),
        GateSpec(gate="fairness", columns=["colour"], margin=0.05),
        GateSpec(gate="calibration", margin=0.05),
        GateSpec(gate="robustness", margin=0.05),
    ],
    ids=lambda gate: str(gate.gate),
)
def test_every_gate_that_compares_leaves_learned_rows_out(gate: GateSpec) -> None:
    """The champion's scores on learned rows may be anything: they change no bit of the result."""
    spec = spec_with(gate, minimum_rows=30)
    frame, labels, _ = make_rows(rows=HOLDOUT, seed=3)
    model = fit(make_spec(), *make_rows(rows=400)[:2])
    scores = predict(model, spec, frame)
    candidate = Candidate(scores, scores, b"", judged=lambda rows: predict(model, spec, rows))  # type: ignore[arg-type]
    known, unseen = np.ones(HOLDOUT, np.bool_), np.arange(HOLDOUT) >= 150

    def result(learned_scores: Any, unseen: Any = unseen) -> GateResult:
        said = np.where(unseen, scores, learned_scores)
        rival = Rival("v2", said, known, unseen, predict=lambda rows: predict(model, spec, rows))  # type: ignore[arg-type]
        (found,) = run_gates(spec, candidate, rival, frame, labels, seed=1)
        return found

    by_heart, nonsense = result(labels.astype(np.float64)), result(np.full(HOLDOUT, 0.5))
    assert by_heart == nonsense
    assert by_heart.verdict == "passed", by_heart.sentence
    none_later = result(scores, np.zeros(HOLDOUT, np.bool_))
    if gate.gate != "robustness":  # whose bound on the challenger's own fall is judged all the same
        assert (none_later.verdict, none_later.left_out) == ("insufficient", HOLDOUT)


def in_this_process(spec: ModelSpec, parquet: bytes, champion: Any, *, seed: int, **_: Any) -> Trained:
    from driftloop.training.artifacts import load

    rival = None
    if champion is not None:
        pipeline = None if champion.artifact is None else load(champion.artifact)
        rival = Champion(champion.version, pipeline, champion.trained_to_ms)
    return train(spec, TrainingSet.from_parquet(spec, parquet), rival, seed=seed)


class Loop:
    """Commands on a history of 2,000 rows, each on those that have come until then."""

    def __init__(self, folder: Path, spec: ModelSpec) -> None:
        engine = open_engine(f"sqlite:///{folder / 'registry.db'}")
        create_schema(engine)
        self.registry = Registry(engine, ArtifactStore(folder / "artifacts"))
        self.spec = spec
        register_first_version(self.registry, spec, *make_rows(seed=1, sign=-1.0), 100)
        frame, labels, times = make_rows(rows=2_000)
        self.history = make_labeled(spec, frame, labels, times + 10**9)
        self.runner = CommandRunner({"m": spec}, self.registry, self, labeled_topic="t", folder=folder / "work")  # type: ignore[arg-type]

    def rows(self, *_: Any, most_rows: int | None = None) -> Any:
        return self.history[: self.until], [OffsetRange(partition=0, first=0, end=self.until)]

    def retrain(self, until: int) -> Finished:
        self.until = until
        command = RetrainCommand(
            command_id=f"{until:032d}", model_id="m", champion_version="v1", trigger="drift", reason="r",
            window_end_ms=10**10, from_ms=0, to_ms=10**12,
        )  # fmt: skip
        return self.runner.run(command)

    def version(self, name: str | None) -> VersionRow:
        row = self.registry.version("m", str(name))
        assert row is not None
        return row


def test_the_loop_waits_after_a_promotion_and_goes_on_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a breaker that holds after one failure: what could not be judged is none. Before, the first retraining after
    a promotion failed, and the loop stood still."""
    monkeypatch.setattr(run_module, "train_in_child", in_this_process)
    policy = PolicySpec(breaker=BreakerSpec(failures=1))
    loop = Loop(tmp_path, spec_with(NOT_WORSE, policy=policy))
    assert [loop.retrain(1_000).outcome, loop.retrain(1_050).outcome, loop.retrain(1_090).outcome] == [
        "promoted", "rejected", "rejected",
    ]  # fmt: skip
    for name, later in (("v3", 50), ("v4", 90)):
        (gate,) = loop.version(name).gates
        assert (gate.verdict, gate.left_out) == ("insufficient", round((1_000 + later) * 0.2) - later)
    ended = loop.retrain(1_400)
    assert (ended.outcome, ended.version) == ("promoted", "v5"), ended.reason

    (tmp_path / "before").mkdir()
    before = Loop(tmp_path / "before", spec_with(NOT_WORSE, policy=policy, learned=True))
    assert [before.retrain(1_000).outcome, before.retrain(1_050).outcome, before.retrain(1_400).outcome] == [
        "promoted", "rejected", "held",
    ]  # fmt: skip


def test_gates_of_older_trainers_are_read(tmp_path: Path) -> None:
    old = b'{"gate":"sanity","passed":true,"value":null,"bound":null,"sentence":""}'
    assert msgspec.json.decode(old, type=GateResult).left_out is None
