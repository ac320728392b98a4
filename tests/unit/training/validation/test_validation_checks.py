"""Each check of a training set: data that passes and data that does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec.model import FeatureSpec, ModelSpec
from driftloop.spec.training import TrainingSpec
from driftloop.spec.validation import Bounds, ValidationSpec
from driftloop.training.dataset import TrainingSet, from_frame
from driftloop.training.estimators import columns_of, feature_frame
from driftloop.training.validation.leakage import label_power
from driftloop.training.validation.result import CheckResult
from driftloop.training.validation.times import times_of
from driftloop.training.validation.validate import reason_of, validate

START_MS = 1_700_000_000_000
HOUR_MS = 3_600_000
ROWS = 1_000


def make_spec(task: str = "binary", classes: tuple[str, ...] = (), **rules: Any) -> ModelSpec:
    return ModelSpec(
        model="m",
        task=task,  # type: ignore[arg-type]
        classes=list(classes),
        features={
            "x": FeatureSpec(kind="numeric"),
            "colour": FeatureSpec(kind="categorical"),
            "more": FeatureSpec(kind="numeric"),
        },
        training=TrainingSpec(validation=ValidationSpec(**rules)),
    )


def make_frame(rows: int = ROWS, seed: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "x": rng.normal(size=rows),
            "colour": pd.Series(rng.choice(["red", "green", "blue"], rows), dtype=object),
            "more": rng.normal(size=rows),
        }
    )


def make_labels(frame: pd.DataFrame, seed: int = 4) -> NDArray[np.int64]:
    rng = np.random.default_rng(seed)
    signal = frame["x"].fillna(0.0) + (frame["colour"] == "red") + rng.normal(size=len(frame))
    return (signal > 0.5).to_numpy().astype(np.int64)


def make_data(
    spec: ModelSpec, frame: pd.DataFrame | None = None, labels: NDArray[Any] | None = None, delay_ms: Any = None
) -> TrainingSet:
    frame = make_frame() if frame is None else frame
    labels = make_labels(frame) if labels is None else labels
    times = START_MS + np.arange(len(frame), dtype=np.int64) * HOUR_MS
    data = from_frame(spec, frame, labels, times)
    delays = np.random.default_rng(5).integers(1, 100, len(frame)) * HOUR_MS if delay_ms is None else delay_ms
    object.__setattr__(data, "labeled_at_ms", times + np.asarray(delays, np.int64))
    return data


def make_reference(spec: ModelSpec, frame: pd.DataFrame | None = None, label_mean: float = 0.45) -> ReferenceProfile:
    frame = make_frame(seed=9) if frame is None else frame
    columns = columns_of(spec, feature_frame(spec, frame))
    return ReferenceProfile.build(spec, columns, model_version="v1", label_mean=label_mean)


def checks(
    spec: ModelSpec, data: TrainingSet, reference: ReferenceProfile | None = None, **more: Any
) -> dict[tuple[str, str | None], CheckResult]:
    result, _ = validate(spec, data, reference, **more)
    return {(check.check, check.column): check for check in result.checks}


def test_sound_data_passes_every_check_with_default_bounds() -> None:
    spec = make_spec()
    found = checks(spec, make_data(spec), make_reference(spec))
    assert {check.verdict for check in found.values()} == {"pass"}
    assert {name for name, _ in found} == {
        "unreadable", "schema", "missing", "missing_increase", "out_of_range", "new_categories", "rarest_class",
        "rows_per_class", "label_shift", "duplicates", "leakage", "label_delay",
    }  # fmt: skip
    assert all(check.sentence for check in found.values())


def with_missing(share: float) -> pd.DataFrame:
    frame = make_frame()
    frame.loc[: int(share * len(frame)) - 1, "x"] = np.nan
    return frame


def with_new_categories(share: float) -> pd.DataFrame:
    frame = make_frame()
    frame.loc[: int(share * len(frame)) - 1, "colour"] = "pink"
    return frame


def out_of_range(share: float) -> pd.DataFrame:
    frame = make_frame()
    frame.loc[: int(share * len(frame)) - 1, "more"] = 99.0
    return frame


@pytest.mark.parametrize(
    ("check", "column", "make", "value"),
    [
        ("missing", "x", with_missing, 1.0),
        ("missing_increase", "x", with_missing, 1.0),
        ("new_categories", "colour", with_new_categories, 1.0),
        ("out_of_range", "more", out_of_range, 1.0),
    ],
)
def test_shares_of_bad_values(check: str, column: str, make: Any, value: float) -> None:
    """10 % is within the bounds, 30 % warns, 60 % fails; the value is the share itself."""
    spec = make_spec(**{check: Bounds(warn=0.2, fail=0.5)})
    verdicts = []
    for share in (0.1, 0.3, 0.6):
        found = checks(spec, make_data(spec, make(share)), make_reference(spec))[check, column]
        assert found.value == pytest.approx(share * value, abs=0.002)
        verdicts.append((found.verdict, found.bound))
    assert verdicts == [("pass", 0.2), ("warn", 0.2), ("fail", 0.5)]


def test_without_a_champion_nothing_is_compared() -> None:
    spec = make_spec()
    names = {name for name, _ in checks(spec, make_data(spec))}
    assert not names & {"missing_increase", "out_of_range", "new_categories", "label_shift"}


@pytest.mark.parametrize(("unreadable", "verdict"), [(0, "pass"), (50, "warn"), (500, "fail")])
def test_rows_that_do_not_fit_the_spec(unreadable: int, verdict: str) -> None:
    spec = make_spec()
    found = checks(spec, make_data(spec), unreadable=unreadable)["unreadable", None]
    assert (found.verdict, found.value) == (verdict, unreadable / (ROWS + unreadable))


def test_a_feature_that_is_gone_fails_and_one_that_never_was_warns() -> None:
    spec = make_spec()
    gone = make_frame().assign(more=np.nan)
    assert checks(spec, make_data(spec, gone), make_reference(spec))["schema", "more"].verdict == "fail"
    assert checks(spec, make_data(spec, gone), make_reference(spec, gone))["schema", "more"].verdict == "warn"
    assert checks(spec, make_data(spec, gone))["schema", "more"].verdict == "warn"
    assert ("schema", "more") not in checks(make_spec(schema=False), make_data(spec, gone))


def test_rules_of_the_spec_are_bounds_of_the_training_data_too() -> None:
    features = {**make_spec().features, "x": FeatureSpec(kind="numeric", minimum=-1.0, max_violations=0.2)}
    features["colour"] = FeatureSpec(kind="categorical", categories=["red", "green", "blue"])
    spec = ModelSpec(model="m", task="binary", features=features)
    found = checks(spec, make_data(spec))
    assert found["rule_violations", "x"].verdict == "pass"  # 16 % of a normal distribution
    assert found["rule_violations", "x"].value == pytest.approx(0.159, abs=0.03)
    assert found["rule_violations", "colour"].verdict == "pass"
    for share, verdict in ((0.05, "warn"), (0.3, "fail")):
        assert checks(spec, make_data(spec, with_new_categories(share)))["rule_violations", "colour"].verdict == verdict


@pytest.mark.parametrize(("rare", "verdict"), [(200, "pass"), (30, "warn"), (5, "fail")])
def test_few_rows_of_a_class(rare: int, verdict: str) -> None:
    spec = make_spec(rarest_class=Bounds(warn=0.1, fail=0.01))
    labels = np.zeros(ROWS, np.int64)
    labels[:rare] = 1
    found = checks(spec, make_data(spec, labels=labels))
    assert found["rows_per_class", "1"].verdict == verdict
    assert found["rows_per_class", "1"].value == rare
    assert found["rows_per_class", "0"].verdict == "pass"
    assert found["rarest_class", None].verdict == verdict


def test_a_class_of_the_spec_without_rows_fails() -> None:
    spec = make_spec("multiclass", ("low", "middle", "high"))
    found = checks(spec, make_data(spec, labels=np.arange(ROWS) % 2))
    assert found["rows_per_class", "high"].verdict == "fail"
    assert found["rows_per_class", "low"].verdict == "pass"


def test_labels_of_a_regression_that_are_all_one_number_fail() -> None:
    spec = make_spec("regression")
    assert checks(spec, make_data(spec, labels=np.full(ROWS, 2.5)))["labels", None].verdict == "fail"
    assert checks(spec, make_data(spec, labels=np.arange(ROWS, dtype=float)))["labels", None].verdict == "pass"


@pytest.mark.parametrize(("before", "verdict"), [(0.4, "pass"), (0.1, "warn"), (0.99, "fail")])
def test_a_base_rate_that_has_changed(before: float, verdict: str) -> None:
    spec = make_spec(label_shift=Bounds(warn=0.2, fail=0.5))
    found = checks(spec, make_data(spec), make_reference(spec, label_mean=before))["label_shift", None]
    assert found.verdict == verdict


@pytest.mark.parametrize(("copies", "verdict"), [(0, "pass"), (400, "warn"), (950, "fail")])
def test_repeated_rows(copies: int, verdict: str) -> None:
    spec = make_spec()
    frame = make_frame()
    frame.loc[ROWS - copies :] = frame.loc[0].to_numpy()
    labels = make_labels(frame)
    labels[ROWS - copies :] = labels[0]
    found = checks(spec, make_data(spec, frame, labels))["duplicates", None]
    assert (found.verdict, found.value) == (verdict, copies / ROWS)


def test_repeated_rows_with_vectors() -> None:
    spec = ModelSpec(model="m", task="binary", features={"v": FeatureSpec(kind="vector", length=2)})
    frame = pd.DataFrame({"v": [[1.0, 2.0], [1.0, 2.0], None, None] * 20})
    found = checks(spec, make_data(spec, frame, np.array([0, 0, 1, 1] * 20)))
    assert found["duplicates", None].value == 78 / 80


LABELS: dict[str, Any] = {
    "binary": lambda x: (x > 0.0).astype(np.int64),
    "multiclass": lambda x: np.digitize(x, [-0.5, 0.5]),
    "regression": lambda x: 3.0 * x + 1.0,
}


@pytest.mark.parametrize("task", list(LABELS))
@pytest.mark.parametrize("shape", ["as it is", "turned round", "folded", "category", "only when known"])
def test_a_feature_made_from_the_label_fails(task: str, shape: str) -> None:
    spec = make_spec(task, ("a", "b", "c") if task == "multiclass" else ())
    frame = make_frame()
    labels = LABELS[task](np.random.default_rng(8).normal(size=ROWS))
    if shape == "category":
        values: Any = pd.Series([f"k{round(float(label))}" for label in labels], dtype=object)
        frame["colour"] = values
        column = "colour"
    else:
        codes = labels.astype(float)
        frame["more"] = {
            "as it is": codes,
            "turned round": -codes,
            "folded": np.where(np.arange(ROWS) % 2, codes, 100.0 + codes),
            "only when known": np.where(codes == codes.max(), 1.0, np.nan) if task == "binary" else codes,
        }[shape]
        column = "more"
    found = checks(spec, make_data(spec, frame, labels))
    if task == "regression" and shape in ("category", "folded"):
        assert found["leakage", column].verdict in ("warn", "fail")  # coarser than the label itself
    else:
        assert found["leakage", column].verdict == "fail", found["leakage", column]
        assert "known_in_advance" in found["leakage", column].sentence
    assert found["leakage", "x"].verdict == "pass"


def test_a_strong_but_honest_feature_passes() -> None:
    """Its AUC is 0.93."""
    spec = make_spec()
    frame = make_frame()
    labels = (frame["x"] + 0.35 * np.random.default_rng(2).normal(size=ROWS) > 0).to_numpy().astype(np.int64)
    found = checks(spec, make_data(spec, frame, labels))["leakage", "x"]
    assert found.value is not None
    assert 0.75 < found.value < 0.99
    assert found.verdict != "fail"


def test_a_feature_that_is_known_in_advance_is_left_out() -> None:
    spec = make_spec(known_in_advance=["more"])
    frame = make_frame()
    labels = make_labels(frame)
    assert ("leakage", "more") not in checks(spec, make_data(spec, frame.assign(more=labels), labels))


def test_a_name_for_each_row_tells_nothing_of_later_rows() -> None:
    """In sample it would tell everything: it is judged by rows that it was not learnt from."""
    names = pd.Series([f"customer-{row}" for row in range(ROWS)], dtype=object)
    assert label_power(names, make_labels(make_frame()), "binary") == pytest.approx(0.0, abs=1e-12)


def test_noise_and_few_rows_have_no_power() -> None:
    frame = make_frame(20_000)
    labels = np.random.default_rng(1).integers(0, 2, len(frame))
    for name in ("x", "colour"):
        power = label_power(frame[name], labels, "binary")
        assert power is not None
        assert power < 0.05
    assert label_power(frame["x"][:15], labels[:15], "binary") is None
    assert label_power(frame["x"], np.zeros(len(frame), np.int64), "binary") is None


@pytest.mark.parametrize("values", [np.full(ROWS, np.nan), np.full(ROWS, 1e308), np.repeat([-1e308, 1e308], ROWS // 2)])
def test_extreme_columns_and_labels_raise_nothing(values: NDArray[np.float64]) -> None:
    for task in ("binary", "regression"):
        spec = make_spec(task)
        frame = make_frame().assign(more=values)
        labels = values if task == "regression" and np.isfinite(values).all() else None
        found = checks(spec, make_data(spec, frame, labels), make_reference(spec))
        assert found["missing", "more"].value == float(np.isnan(values).mean())


UNITS = {"seconds": 1e-3, "milliseconds": 1.0, "microseconds": 1e3, "nanoseconds": 1e6}


@pytest.mark.parametrize("unit", list(UNITS))
def test_times_before_the_prediction_pass_and_shuffled_ones_fail(unit: str) -> None:
    spec = make_spec()
    opened = START_MS + np.arange(ROWS) * HOUR_MS - 5 * HOUR_MS
    frame = make_frame().assign(more=opened * UNITS[unit])
    assert checks(spec, make_data(spec, frame))["time_after_prediction", "more"].value == 0.0
    shuffled = frame.assign(more=np.random.default_rng(6).permutation(opened) * UNITS[unit])
    found = checks(make_spec(time_after_prediction=Bounds(warn=0.01, fail=0.3)), make_data(spec, shuffled))
    assert found["time_after_prediction", "more"].verdict == "fail"
    assert found["time_after_prediction", "more"].value == pytest.approx(0.5, abs=0.05)


def test_the_time_when_the_label_became_known_fails() -> None:
    spec = make_spec()
    data = make_data(spec)
    assert data.labeled_at_ms is not None
    closed = make_frame().assign(more=data.labeled_at_ms / 1000)
    found = checks(spec, make_data(spec, closed))
    assert found["time_after_prediction", "more"].verdict == "fail"
    assert found["label_delay", "more"].verdict == "warn"
    texts = pd.Series(pd.to_datetime(data.labeled_at_ms, unit="ms", utc=True).strftime("%Y-%m-%dT%H:%M:%SZ"))
    found = checks(spec, make_data(spec, make_frame().assign(colour=texts.astype(object))))
    assert found["time_after_prediction", "colour"].verdict == "fail"


def test_how_long_the_label_took_is_noticed() -> None:
    spec = make_spec(label_delay=Bounds(warn=0.9, fail=0.99))
    delays = np.random.default_rng(5).integers(1, 100_000, ROWS) * 1000
    frame = make_frame().assign(more=np.log(delays))
    assert checks(spec, make_data(spec, frame, delay_ms=delays))["label_delay", "more"].verdict == "fail"
    assert checks(spec, make_data(spec, delay_ms=delays))["label_delay", "more"].verdict == "pass"


def test_small_numbers_and_names_are_no_times() -> None:
    predicted = np.full(100, float(START_MS))
    assert times_of(pd.Series(np.arange(100.0)), predicted) is None
    assert times_of(pd.Series(["red"] * 100, dtype=object), predicted) is None
    assert times_of(pd.Series(np.full(100, np.nan)), predicted) is None
    early = np.zeros(100)  # tests and simulations begin in 1970
    assert times_of(pd.Series(np.arange(100.0)), early) is None


def test_checks_can_be_switched_off() -> None:
    gone = make_frame().assign(more=np.nan)
    spec = make_spec(enabled=False)
    result, suite = validate(spec, make_data(spec, gone), make_reference(spec))
    assert (result.checks, result.verdict, suite) == ([], "pass", None)
    off = make_spec(missing=None, duplicates=None, leakage=None, label_delay=None)
    assert not {name for name, _ in checks(off, make_data(off))} & {"missing", "duplicates", "leakage", "label_delay"}


def test_the_reason_names_what_failed() -> None:
    spec = make_spec()
    gone = make_frame().assign(more=np.nan)
    result, _ = validate(spec, make_data(spec, gone), make_reference(spec), unreadable=900)
    assert result.verdict == "fail"
    reason = reason_of(result)
    assert reason.startswith("the data does not pass validation: unreadable: 900 of 1,900 labeled rows")
    assert "no row has a value of 'more'" in reason
    assert result.to_builtins()["verdict"] == "fail"


def test_a_suite_decides_with_the_checks() -> None:
    items = [
        {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "x"}},
        {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "colour", "value_set": ["red", "green"]}},
        {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "@label", "value_set": [0, 1]}},
        {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "@prediction_id"}},
    ]
    base = make_spec()
    verdicts = {}
    for severity in ("critical", "warning"):
        suite = {"name": "s", "expectations": [{**item, "severity": severity} for item in items]}
        spec = ModelSpec(model="m", task="binary", features=base.features, training=TrainingSpec(expectations=suite))
        result, told = validate(spec, make_data(spec), None, asset="ab" * 32)
        assert told is not None
        assert told["statistics"]["successful_expectations"] == 3
        assert (result.expectations, result.unmet_expectations) == (4, 1)
        verdicts[severity] = result.verdict
        bad = result.of("fail") + result.of("warn")
        assert "is not met" in bad[0].sentence
    assert verdicts == {"critical": "fail", "warning": "warn"}
