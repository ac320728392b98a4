"""References made of counts: the same statistics as from the values themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from driftloop.drift.distances import ks_statistic, scaled_wasserstein, wasserstein
from driftloop.drift.statistic import statistic_of
from driftloop.profiles.categorical import CategoricalReference, CategoricalSummary
from driftloop.profiles.counted import as_reference, counted_profile, recounted, without_rows
from driftloop.profiles.inputs import InputStats
from driftloop.profiles.numeric import NumericReference, NumericSummary
from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec.model import FeatureSpec, ModelSpec

SPEC = ModelSpec(
    model="m", task="binary", features={"x": FeatureSpec(kind="numeric"), "c": FeatureSpec(kind="categorical")}
)


def counted(template: NumericReference, values: np.ndarray) -> NumericSummary:
    summary = NumericSummary(template)
    summary.update(values.astype(np.float64))
    return summary


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_on_anchors_every_statistic_is_that_of_the_two_samples(data: st.DataObject) -> None:
    """The version's reference is not part of it: only its anchors are used."""
    whole = st.integers(-50, 50)
    template = NumericReference.build(np.arange(-50.0, 51.0))
    before = np.array(data.draw(st.lists(whole, min_size=2, max_size=60)), dtype=np.float64)
    now = np.array(data.draw(st.lists(whole, min_size=1, max_size=60)), dtype=np.float64)
    reference = as_reference(counted(template, before))
    assert isinstance(reference, NumericReference)
    window = NumericSummary(reference)
    window.merge(counted(template, now))
    assert ks_statistic(reference, window) == pytest.approx(stats.ks_2samp(before, now).statistic, abs=1e-12)
    assert wasserstein(reference, window) == pytest.approx(stats.wasserstein_distance(before, now), abs=1e-9)
    assert reference.mean == pytest.approx(before.mean(), abs=1e-12)
    assert window.std() == pytest.approx(np.std(now, ddof=1) if now.size > 1 else None)
    if np.ptp(before):
        assert reference.std == pytest.approx(np.std(before, ddof=1))
        expected = stats.wasserstein_distance(before, now) / np.std(before, ddof=1)
        assert scaled_wasserstein(reference, window) == pytest.approx(expected, abs=1e-9)


def test_between_anchors_ks_is_too_small_by_at_most_what_an_interval_holds() -> None:
    random = np.random.default_rng(3)
    template = NumericReference.build(random.normal(size=20_000))
    before, now = random.normal(0.4, 1.2, 3_000), random.normal(0.6, 1.0, 2_000)
    reference = as_reference(counted(template, before))
    assert isinstance(reference, NumericReference)
    window = NumericSummary(reference)
    window.merge(counted(template, now))
    exact = stats.ks_2samp(before, now).statistic
    held = (reference.count_array / reference.rows + window.counts / window.rows).max()
    found = ks_statistic(reference, window)
    assert found is not None
    assert exact - held <= found <= exact
    assert wasserstein(reference, window) == pytest.approx(stats.wasserstein_distance(before, now), rel=0.01)


def test_beyond_the_anchors_the_distance_counts() -> None:
    """Both windows lie above everything that the version was trained on."""
    template = NumericReference.build(np.array([0.0, 1.0, 2.0]))
    before, now = np.array([10.0, 12.0]), np.array([20.0, 22.0])
    reference = as_reference(counted(template, before))
    assert isinstance(reference, NumericReference)
    window = NumericSummary(reference)
    window.merge(counted(template, now))
    assert wasserstein(reference, window) == pytest.approx(10.0)


def test_a_constant_that_moved_is_like_the_windows_after_the_move() -> None:
    template = NumericReference.build(np.full(100, 3.0))
    moved = np.full(50, 4.0)
    against_training, reference = counted(template, moved), as_reference(counted(template, moved))
    assert isinstance(reference, NumericReference)
    window = NumericSummary(reference)
    window.merge(counted(template, moved))
    assert scaled_wasserstein(template, against_training) == 1.0
    assert scaled_wasserstein(reference, window) == 0.0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=4, max_size=200), st.data())
def test_a_reference_less_a_piece_is_the_reference_of_the_rest(values: list[int], data: st.DataObject) -> None:
    column = np.array(values, dtype=np.float64) * 0.37
    size = data.draw(st.integers(1, len(values) - 1))
    whole = NumericReference.build(column, max_anchors=8)
    rest = without_rows(counted(whole, column[:size]))
    assert isinstance(rest, NumericReference)
    expected = whole.place(np.sort(column[size:]))
    assert rest.counts == expected.counts.tolist()
    assert (rest.rows, rest.std) == (len(values) - size, whole.std)
    assert rest.mean == pytest.approx(column[size:].mean())
    # Offsets are fixed-point sums of single values, each rounded on its own: they come apart again exactly.
    assert expected.offsets is None or rest.offsets == expected.offsets.tolist()

    texts = [str(value) for value in values]
    known = CategoricalReference.build(texts, max_categories=5)
    part = CategoricalSummary(known)
    part.update(texts[:size])
    left = without_rows(part)
    assert isinstance(left, CategoricalReference)
    assert left.rows == len(values) - size
    left.check("c")
    assert all(left.categories[name] == texts[size:].count(name) for name in known.names)


def test_merged_windows_are_the_same_reference_in_any_order() -> None:
    random = np.random.default_rng(4)

    def columns(rows: int) -> dict[str, object]:
        return {"x": random.normal(size=rows), "c": list(random.choice(["a", "b", "new"], rows))}

    base = {"x": random.normal(size=500), "c": list(random.choice(["a", "b"], 500))}
    profile = ReferenceProfile.build(SPEC, base, model_version="v1")
    parts = []
    for rows in (30, 200, 5):
        part = InputStats(profile)
        part.update(columns(rows), rows)  # type: ignore[arg-type]
        parts.append(part)
    digests = set()
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        merged = InputStats(profile)
        for at in order:
            merged.merge(parts[at])
        reference = counted_profile(merged)
        digests.add(reference.digest())
        window = recounted(parts[0], reference)
        assert window.rows == 30
        assert statistic_of("jensen_shannon", window.features["c"]) is not None
    assert len(digests) == 1
