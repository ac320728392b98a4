"""Losses by time of prediction: the merge laws, corrections, the wire, and what a loss is."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import brier_score_loss

from driftloop.performance.loss_bins import LossBins, LossSettings
from driftloop.performance.losses import loss_reference, losses_of, reference_losses
from driftloop.performance.outcomes import OutcomeStats
from driftloop.profiles.reference import MetricReference, ReferenceProfile

DAY = 86_400_000
SETTINGS = LossSettings(24, DAY)


def stats() -> OutcomeStats:
    return OutcomeStats("binary", losses=SETTINGS)


def rows(seed: int, count: int) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    chance = np.random.default_rng(seed)
    times = chance.integers(5 * DAY, 6 * DAY, count)
    return chance.random(count), chance.integers(0, 2, count), chance.integers(0, 10**6, count), times


def add(into: OutcomeStats, chosen: NDArray[np.int64], seed: int, count: int, sign: int = 1) -> None:
    scores, labels, delays, times = rows(seed, count)
    into.update(scores[chosen], labels[chosen], delays[chosen], sign, offsets_ms=times[chosen])


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6), order=st.randoms(use_true_random=False), cuts=st.lists(st.integers(0, 60), max_size=4)
)
def test_any_order_split_and_merge_gives_the_same_bytes(seed: int, order: object, cuts: list[int]) -> None:
    whole = stats()
    add(whole, np.arange(60), seed, 60)
    shuffled = list(range(60))
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    parts = []
    for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), 60], strict=True):
        part = stats()
        add(part, np.array(shuffled[start:stop], np.int64), seed, 60)
        parts.append(OutcomeStats.decode(part.encode(), stats()))
    order.shuffle(parts)  # type: ignore[attr-defined]
    merged = stats()
    for part in parts:
        merged.merge(part)
    assert merged.encode() == whole.encode()
    assert merged == whole
    late, corrected = stats(), whole.copy()
    add(late, np.array([3, 4]), seed, 60, sign=-1)
    corrected.merge(late)
    add(corrected, np.array([3, 4]), seed, 60)
    assert corrected == whole
    assert late.losses is not None
    assert not late.losses.consistent


def test_bins_are_those_of_the_time_in_the_window() -> None:
    one = LossBins(LossSettings(7, 1000))
    times = np.array([0, 142, 143, 999, 500])
    one.update(times, np.array([True, False, False, True, False]), np.array([1.0, 0.5, 0.25, 1.0, 0.0]), 1)
    found = one.of_window(10_000)
    assert [(part.start_ms, part.rows, part.errors, part.total, part.squares) for part in found] == [
        (10_000, 2, 1, 1.5, 1.25),
        (10_143, 1, 0, 0.25, 0.0625),
        (10_429, 1, 0, 0.0, 0.0),
        (10_858, 1, 1, 1.0, 1.0),
    ]
    for part in found:  # a bin begins where its first millisecond falls into it
        start = part.start_ms - 10_000
        assert start * 7 // 1000 > (start - 1) * 7 // 1000


def test_without_losses_on_one_side_the_other_has_none_either() -> None:
    with_losses, without = stats(), OutcomeStats("binary")
    add(with_losses, np.arange(5), 1, 5)
    other_bins = OutcomeStats("binary", losses=LossSettings(12, DAY))
    for other in (without, other_bins):
        for left, right in ((with_losses.copy(), other), (other.copy(), with_losses)):
            left.merge(right)
            assert left.losses is None
    assert b"losses" not in without.encode(), "older readers and writers see no difference"
    assert OutcomeStats.decode(without.encode(), stats()).losses is None
    assert OutcomeStats.decode(other_bins.encode(), stats()).losses is None
    assert OutcomeStats.decode(with_losses.encode(), without).losses is None


def test_missing_times_and_damage_are_said() -> None:
    made = stats()
    with pytest.raises(ValueError, match="offsets_ms"):
        made.update(np.array([0.5]), np.array([1]), np.array([0]))
    assert made.labeled == 0
    add(made, np.arange(5), 1, 5)
    wire = msgspec.json.decode(made.encode())
    for bins in ([[99, 1, 0, "0", "0"]], [[0, 1, 0, "zz", "0"]], [[0]], 3):
        wire["losses"]["bins"] = bins
        with pytest.raises(ValueError, match="damaged"):
            OutcomeStats.decode(msgspec.json.encode(wire), stats())


def test_losses_are_briers_and_errors_are_wrong_decisions() -> None:
    scores, labels, _, _ = rows(9, 500)
    errors, losses = losses_of("binary", scores, labels, 0.3, 1.0)
    assert losses.mean() == pytest.approx(brier_score_loss(labels, scores), rel=1e-12)
    assert errors.tolist() == ((scores >= 0.3) != (labels == 1)).tolist()
    chance = np.random.default_rng(2)
    shares = chance.dirichlet([1.0, 1.0, 1.0], 400)
    classes = chance.integers(0, 3, 400)
    wrong, losses = losses_of("multiclass", shares, classes, 0.5, 1.0)
    indicator = np.eye(3)[classes]
    np.testing.assert_allclose(losses, 0.5 * ((shares - indicator) ** 2).sum(axis=1), atol=1e-15)
    assert wrong.tolist() == (shares.argmax(axis=1) != classes).tolist()
    certain = losses_of("multiclass", np.eye(3), np.array([1, 2, 2]), 0.5, 1.0)
    assert (certain[0].tolist(), certain[1].tolist()) == ([True, True, False], [1.0, 1.0, 0.0])
    above, losses = losses_of("regression", np.array([0.0, 3.0, 1e308]), np.array([1.0, 3.0, -1e308]), 0.0, 2.0)
    assert (above.tolist(), losses.tolist()) == ([False, False, True], [0.5, 0.0, 1.0])


def test_the_reference_has_the_scale_of_a_regression() -> None:
    labels = np.arange(1000.0)
    off = np.random.default_rng(4).normal(0.0, 3.0, 1000)
    found = reference_losses("regression", labels + off, labels, 0.5)
    assert found is not None
    assert found.scale == pytest.approx(np.quantile(np.abs(off), 0.99))
    assert found.error_mean == pytest.approx(0.01)
    assert 0.0 < found.loss_mean < 1.0  # type: ignore[operator]
    assert reference_losses("regression", labels, labels, 0.5) is None, "without any error there is no scale"
    assert reference_losses("regression", labels[:0], labels[:0], 0.5) is None


def test_a_profile_without_losses_tells_what_its_metrics_do() -> None:
    metrics = {"accuracy": MetricReference(value=0.9, rows=200), "brier": MetricReference(value=0.07, rows=200)}
    profile = ReferenceProfile(model_id="m", model_version="v", features={}, rows=200, metrics=metrics)
    found = loss_reference("binary", profile)
    assert found is not None
    assert (found.rows, found.error_mean, found.loss_mean) == (200, pytest.approx(0.1), 0.07)
    assert loss_reference("regression", profile) is None
    of_classes = loss_reference(
        "multiclass", msgspec.structs.replace(profile, metrics={"accuracy": metrics["accuracy"]})
    )
    assert of_classes is not None
    assert of_classes.loss_mean is None
    assert loss_reference("binary", msgspec.structs.replace(profile, metrics={})) is None
