from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftloop.training.reservoir import Reservoir, quotas

rows_of_strata = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 10**6)), max_size=120, unique_by=lambda row: row[1]
)


def sample_of(rows: list[tuple[int, int]], size: int, seed: int = 3) -> Reservoir:
    sample = Reservoir(size, seed)
    for stratum, key in rows:
        sample.add(stratum, f"p{key}")
    return sample


@given(rows=rows_of_strata, size=st.integers(1, 60), data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_order_and_any_split_give_the_same_sample(
    rows: list[tuple[int, int]], size: int, data: st.DataObject
) -> None:
    whole = sample_of(rows, size).chosen()
    shuffled = data.draw(st.permutations(rows))
    assert sample_of(shuffled, size).chosen() == whole
    cut = data.draw(st.integers(0, len(rows)))
    first, second = sample_of(shuffled[:cut], size), sample_of(shuffled[cut:], size)
    other = sample_of(shuffled[cut:], size)
    other.merge(sample_of(shuffled[:cut], size))
    first.merge(second)
    assert first.chosen() == other.chosen() == whole


@given(rows=rows_of_strata, size=st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_the_sample_has_the_strata_in_their_proportions(rows: list[tuple[int, int]], size: int) -> None:
    chosen = sample_of(rows, size).chosen()
    assert len(chosen) == min(size, len(rows))
    counts = Counter(stratum for stratum, _ in rows)
    found = Counter(stratum for stratum, key in rows if f"p{key}" in chosen)
    if size >= len(rows):
        assert found == counts
        return
    # One for each stratum where that is possible, and at most a row away from the share of what is left.
    base = 1 if size >= len(counts) else 0
    left, whole = size - base * len(counts), len(rows) - base * len(counts)
    for stratum, count in counts.items():
        assert abs(found[stratum] - base - left * (count - base) / whole) < 1.0
        assert base <= found[stratum] <= count


def test_quotas_of_a_known_case() -> None:
    # One each; the other 7 of 97 in proportion to 89, 7 and 1: 6.42, 0.51, 0.07.
    assert quotas({"a": 90, "b": 8, "c": 2}, 10) == {"a": 7, "b": 2, "c": 1}
    assert quotas({"a": 90, "b": 8, "c": 2}, 2) == {"a": 2, "b": 0, "c": 0}
    assert quotas({"a": 1, "b": 1, "c": 1}, 2) == {"a": 1, "b": 1, "c": 0}
    assert quotas({}, 5) == {}


def test_every_row_of_a_stratum_is_equally_likely() -> None:
    """Over 400 seeds each of 20 rows is in a sample of 5 about 100 times; 6 standard deviations are 52."""
    times = Counter(key for seed in range(400) for key in sample_of([(0, key) for key in range(20)], 5, seed).chosen())
    assert sum(times.values()) == 2000
    assert all(abs(count - 100) < 52 for count in times.values())
    assert len(times) == 20


def test_samples_of_another_size_or_seed_do_not_merge() -> None:
    with pytest.raises(ValueError, match="5 rows by seed 3 cannot be merged with one of 5 rows by seed 4"):
        sample_of([], 5).merge(sample_of([], 5, seed=4))


def test_memory_is_bounded_by_the_size_for_each_stratum() -> None:
    sample = sample_of([(key % 3, key) for key in range(3000)], 10)
    assert sum(len(kept) for kept in sample._kept.values()) == 30
