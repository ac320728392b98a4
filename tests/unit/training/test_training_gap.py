"""Which rows a judged model does not learn: known answers for every part, and the law of ``gap: labels``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import TimeSeriesSplit

from driftloop.cli._how_trained import how_trained
from driftloop.events.decisions import RetrainCommand
from driftloop.registry import ArtifactStore, Registry, create_schema, open_engine
from driftloop.spec.load import parse_spec
from driftloop.spec.model import ModelSpec
from driftloop.spec.problems import SpecError
from driftloop.spec.training import CandidateSpec, SearchSpec
from driftloop.training import choice as choice_module
from driftloop.training import run as run_module
from driftloop.training import search as search_module
from driftloop.training import train as train_module
from driftloop.training.dataset import SplitError, TrainingSet, cut, from_frame
from driftloop.training.errors import EstimatorError
from driftloop.training.gap import GapReport, before_gap, places_before_gap
from driftloop.training.reproduction import reproduce
from driftloop.training.run import CommandRunner
from driftloop.training.train import Trained, lineage_of, train
from support.training_rows import DAY_MS, make_labeled, make_rows, make_spec

HOUR_MS = 3_600_000
#: 400 rows, ten an hour; the last 80 are the holdout, which begins at hour 32.
ROWS, HOLDOUT_MS = 400, 32 * HOUR_MS


def gap_spec(gap: str | None, **training: Any) -> ModelSpec:
    return make_spec(training={"gap": gap, **training}, label_horizon="10h")


def data_of(delays_ms: int | None = 4 * HOUR_MS) -> TrainingSet:
    """``delays_ms``: from prediction to label; None: nobody knows."""
    frame, labels, times = make_rows(rows=ROWS)
    frame["noise"] = np.arange(ROWS, dtype=np.float64)  # which row it is
    data = from_frame(make_spec(), frame, labels, times)
    return data if delays_ms is None else dataclasses.replace(data, labeled_at_ms=times + delays_ms)


class Fits:
    """Keeps which rows each fit was given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: dict[str, list[list[int]]] = {}
        for name, module in (("train", train_module), ("choice", choice_module), ("search", search_module)):
            self._watch(monkeypatch, name, module)

    def _watch(self, monkeypatch: pytest.MonkeyPatch, name: str, module: Any) -> None:
        original = module.fit
        given = self.rows.setdefault(name, [])

        def fit(spec: ModelSpec, frame: Any, labels: Any, weights: Any = None) -> Any:
            given.append([int(row) for row in frame["noise"]])
            return original(spec, frame, labels, weights)

        monkeypatch.setattr(module, "fit", fit)


@pytest.mark.parametrize(
    ("gap", "delays_ms", "learned"),
    [
        (None, 4 * HOUR_MS, 320),
        # Rows of the hour at which the gap begins are exactly so long before: the first of them is learned.
        ("6h", 4 * HOUR_MS, 261),
        ("10h", None, 221),
        # The last label that was known when the holdout began is that of the row four hours before.
        ("labels", 4 * HOUR_MS, 281),
        ("labels", 0, 320),
        # Nobody knows when: a label horizon later.
        ("labels", None, 221),
    ],
)
def test_which_rows_the_judged_model_learns(
    gap: str | None, delays_ms: int | None, learned: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = Fits(monkeypatch)
    trained = train(gap_spec(gap), data_of(delays_ms), None, seed=0)
    judged, *_, released = fits.rows["train"]
    assert judged == list(range(learned))
    assert released == list(range(ROWS)), "the released model learns everything"
    assert (trained.train_rows, trained.holdout_rows) == (learned, 80)
    assert (trained.seen_from_ms, trained.seen_to_ms) == (0, (ROWS - 1) * HOUR_MS // 10 + 1)
    report = None
    if gap is not None:
        report = GapReport(gap=gap, holdout_from_ms=HOLDOUT_MS, rows=320, left_out=320 - learned)
    assert trained.gap == report
    lineage = msgspec.json.decode(msgspec.json.encode(lineage_of(gap_spec(gap), trained, {})))
    assert lineage["training"]["gap"] == gap
    assert lineage.get("gap") == msgspec.to_builtins(report)
    lines = [] if gap is None else [f"gap {gap}: {320 - learned} of 320 rows before the holdout not learned"]
    assert list(how_trained(lineage)) == lines


def test_without_a_gap_everything_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever labels became known; nothing new is in the lineage."""
    early, late = (train(gap_spec(None), data_of(delay), None, seed=0) for delay in (0, 30 * DAY_MS))
    assert (early.model_digest, early.metrics, early.gates) == (late.model_digest, late.metrics, late.gates)
    assert "gap" not in lineage_of(gap_spec(None), early, {})


def test_a_model_that_is_not_fitted_again_has_seen_no_row_of_the_gap() -> None:
    trained = train(gap_spec("6h", refit_on_all=False), data_of(), None, seed=0)
    assert trained.seen_to_ms == 26 * HOUR_MS + 1


def test_candidates_are_compared_with_the_same_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the slice, and, for the chosen one, before the holdout. 'Last' counts from the newest row that is left."""
    fits = Fits(monkeypatch)
    candidates = [CandidateSpec(candidate="everything"), CandidateSpec(candidate="window", rows=100)]
    trained = train(gap_spec("6h", candidates=candidates), data_of(), None, seed=0)
    assert trained.choice is not None
    # Of the 261 rows before the gap the last fifth is the slice, from row 209 on, and rows up to 149 are learned.
    assert (trained.choice.slice_from_ms, trained.choice.slice_rows) == (209 * HOUR_MS // 10, 52)
    assert fits.rows["choice"] == [list(range(150)), list(range(50, 150))]
    chosen = trained.choice.chosen
    assert fits.rows["train"][0] == (list(range(261)) if chosen == "everything" else list(range(161, 261)))


def test_a_search_has_the_gap_in_every_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    fits = Fits(monkeypatch)
    search = SearchSpec(parameters={"C": [1.0]}, folds=3)
    trained = train(gap_spec("2h", search=search), data_of(), None, seed=0)
    # scikit-learn counts its gap in rows: ten an hour, of which that exactly two hours before is learned.
    wanted = [
        (len(earlier), len(later)) for earlier, later in TimeSeriesSplit(n_splits=3, gap=19).split(np.empty((301, 1)))
    ]
    assert trained.search is not None
    assert trained.search.folds == wanted
    assert fits.rows["search"] == [list(range(earlier)) for earlier, _ in wanted]


def test_folds_without_a_row_are_left_out_and_none_at_all_is_told() -> None:
    # Folds of 66 rows; a gap of 100 rows leaves the first one none.
    search = SearchSpec(parameters={"C": [1.0]}, folds=3)
    data = data_of().rows(slice(0, 265))
    found = search_module.search(gap_spec("10h", search=search), data, None)
    assert [fold[0] for fold in found.folds] == [34, 100]
    with pytest.raises(EstimatorError, match=r"gap: 40h leaves no row to fit on before any of the 3 later parts"):
        search_module.search(gap_spec("40h", search=search), data, None)


@pytest.mark.parametrize(
    ("gap", "delays_ms", "message"),
    [
        ("33h", 0, "none of the 320 rows before the holdout lies 33h or more before that"),
        ("labels", 3 * DAY_MS, "none of the 320 rows before the holdout had its label when that began"),
    ],
)
def test_nothing_left_is_told(gap: str, delays_ms: int, message: str) -> None:
    with pytest.raises(SplitError, match=message):
        train(gap_spec(gap), data_of(delays_ms), None, seed=0)
    candidates = [CandidateSpec(candidate="everything")]
    with pytest.raises(SplitError, match=r"rows before the slice of training\.choice lies 28h or more"):
        train(gap_spec("28h", candidates=candidates), data_of(), None, seed=0)


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 60)), min_size=2, max_size=60),
    st.floats(0.05, 0.95),
    st.integers(1, 60),
)
def test_no_label_of_the_training_part_is_known_after_the_holdouts_start(
    rows: list[tuple[int, int]], share: float, gap_ms: int
) -> None:
    """Whatever times predictions and labels have; and every row that is left out has such a label."""
    rows.sort()
    times = np.array([at for at, _ in rows], dtype=np.int64)
    frame, labels, _ = make_rows(rows=len(rows))
    data = dataclasses.replace(
        from_frame(make_spec(), frame, labels, times),
        labeled_at_ms=times + np.array([late for _, late in rows], dtype=np.int64),
    )
    try:
        earlier, later = data.split(share)
    except SplitError:
        return
    start_ms = int(later.predicted_at_ms[0])
    assert earlier.labeled_at_ms is not None
    try:
        kept, report = before_gap(gap_spec("labels"), earlier, later)
    except SplitError:
        assert (earlier.labeled_at_ms > start_ms).all()
        return
    assert kept.labeled_at_ms is not None
    assert report is not None
    assert (kept.labeled_at_ms <= start_ms).all()
    assert report.left_out == int((earlier.labeled_at_ms > start_ms).sum()) == len(earlier) - len(kept)
    far = earlier.rows(places_before_gap(gap_spec(f"{gap_ms}ms"), earlier, start_ms))
    assert far.ids.tolist() == earlier.ids[earlier.predicted_at_ms + gap_ms <= start_ms].tolist()


def test_the_gap_goes_through_the_kept_file_and_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command's rows with delays of their own: registered, and reproduced with equal bits from the stored file."""
    from driftloop.training import reproduction

    def in_this_process(spec: ModelSpec, parquet: bytes, champion: Any, *, seed: int, **more: Any) -> Trained:
        return train(spec, TrainingSet.from_parquet(spec, parquet), None, seed=seed)

    for module in (run_module, reproduction):
        monkeypatch.setattr(module, "train_in_child", in_this_process)
    engine = open_engine(f"sqlite:///{tmp_path / 'registry.db'}")
    create_schema(engine)
    registry = Registry(engine, ArtifactStore(tmp_path / "artifacts"))
    spec = gap_spec("labels")
    delays_ms = np.random.default_rng(4).integers(0, 20 * HOUR_MS, ROWS)
    rows = [
        msgspec.structs.replace(row, labeled_at_ms=row.predicted_at_ms + int(delay))
        for row, delay in zip(make_labeled(spec, *make_rows(rows=ROWS)), delays_ms, strict=True)
    ]

    class Log:
        def rows(self, *_: Any, **more: Any) -> Any:
            return rows, []

    log: Any = Log()
    runner = CommandRunner({"m": spec}, registry, log, labeled_topic="t", folder=tmp_path / "work")
    command = RetrainCommand(
        command_id="e" * 32, model_id="m", champion_version="", trigger="drift", reason="r", from_ms=0,
        window_end_ms=10 * DAY_MS, to_ms=10 * DAY_MS,
    )  # fmt: skip
    name = runner.run(command).version
    version = registry.version("m", str(name))
    assert version is not None
    left_out = int((cut(rows, spec, 0, 10 * DAY_MS).labeled_at_ms[:320] > HOLDOUT_MS).sum())  # type: ignore[index]
    assert version.lineage["gap"] == {"gap": "labels", "holdout_from_ms": HOLDOUT_MS, "rows": 320, "left_out": left_out}
    assert version.lineage["train_rows"] == 320 - left_out < 320
    (tmp_path / "again").mkdir()
    found = reproduce(registry, version, {"m": gap_spec(None)}, folder=tmp_path / "again")
    assert found.equal, [one for one in found.comparisons if not one.equal]
    assert "rows in the gap" in [one.subject for one in found.comparisons]
    assert [part.where for part in found.spec_changes] == ["training.gap"]


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ("{gap: 7d}", None),
        ("{gap: labels}", None),
        ("{gap: 90d, candidates: [{candidate: everything}]}", None),
        ("{gap: label}", "expected a duration such as '7d', or 'labels', got 'label'"),
        ("{gap: 0s}", "expected a duration longer than nothing, got '0s'; leave the key out for no gap"),
        ("{gap: 30d, last: 30d}", "a gap of 30d leaves nothing to learn of training.last, which is 30d"),
    ],
)
def test_what_a_spec_may_say(training: str, message: str | None) -> None:
    text = f"{{model: m, task: binary, features: {{x: {{kind: numeric}}}}, training: {training}}}"
    if message is None:
        parse_spec(text)
        return
    with pytest.raises(SpecError, match=message) as found:
        parse_spec(text)
    assert found.value.problems[0].key == "training.gap"
