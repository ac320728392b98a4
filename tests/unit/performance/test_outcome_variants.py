"""The same bytes in any split and any order, for statistics with settings beside the usual ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftloop.performance.outcomes import OutcomeStats
from driftloop.spec.model import ValueSpec

KINDS = ["ranking", "exact", "value"]
LIMIT = 100


def empty(kind: str) -> OutcomeStats:
    if kind == "ranking":
        return OutcomeStats("ranking", cutoffs=(2, 5))
    if kind == "exact":
        return OutcomeStats("binary", exact_rows=LIMIT)
    return OutcomeStats("binary", value=ValueSpec(tp=3.5, fn=-7.25, column="amount"))


def rows(kind: str, seed: int, count: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    delays = rng.integers(0, 10**9, count)
    if kind == "ranking":
        lists = [[str(item) for item in rng.permutation(6)[: rng.integers(0, 7)]] for _ in range(count)]
        gains = [{str(item): float(gain) for item, gain in enumerate(rng.integers(0, 3, 6))} for _ in range(count)]
        return {"predictions": lists, "labels": gains, "delays_ms": delays}
    data = {"predictions": rng.beta(0.5, 0.5, count).round(2), "labels": rng.integers(0, 2, count), "delays_ms": delays}
    if kind == "value":
        weights = rng.lognormal(0.0, 20.0, count)
        weights[rng.random(count) < 0.1] = np.nan
        data["weights"] = weights
    return data


def take(data: dict[str, Any], index: Any) -> dict[str, Any]:
    return {
        name: [column[at] for at in index] if isinstance(column, list) else column[index]
        for name, column in data.items()
    }


def total_of(kind: str, data: dict[str, Any], parts: list[Any], order: Any) -> OutcomeStats:
    total = empty(kind)
    for at in order:
        stats = empty(kind)
        stats.update(**take(data, parts[at]))
        total.merge(OutcomeStats.decode(stats.encode(), empty(kind)))
    return total


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 160), cuts=st.lists(st.integers(0, 160), max_size=6))
def test_any_split_and_order_gives_the_same_bytes(kind: str, seed: int, count: int, cuts: list[int]) -> None:
    data = rows(kind, seed, count)
    whole = empty(kind)
    whole.update(**data)
    rng = np.random.default_rng(seed + 1)
    parts = np.split(rng.permutation(count), sorted(min(cut, count) for cut in cuts))
    total = total_of(kind, data, parts, rng.permutation(len(parts)))
    assert total == whole
    assert total.encode() == whole.encode()
    names = ["value", "mean_value", "roc_auc", "average_precision", "ece", "lift_10pct"]
    assert total.metrics(names=None if kind == "ranking" else names) == whole.metrics(
        names=None if kind == "ranking" else names
    )
    assert whole.copy() == whole


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(2, 60))
def test_a_correction_is_as_if_the_first_label_had_never_been(kind: str, seed: int, count: int) -> None:
    data = rows(kind, seed, count)
    corrected = {**data, "labels": rows(kind, seed + 7, count)["labels"]}
    half, rest = np.arange(count // 2), np.arange(count // 2, count)
    stats = empty(kind)
    stats.update(**data)
    stats.update(**take(data, half), sign=-1)
    stats.update(**take(corrected, half))
    expected = empty(kind)
    expected.update(**take(corrected, half))
    expected.update(**take(data, rest))
    if kind != "exact" or count + 2 * (count // 2) <= LIMIT:
        assert stats.metrics() == expected.metrics()
    if kind != "exact":  # these remember how many rows went in and out
        assert stats.encode() == expected.encode()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 60), st.booleans()), min_size=2, max_size=6), st.integers(0, 2**32))
def test_whether_scores_are_kept_does_not_depend_on_the_order_of_merges(
    sizes: list[tuple[int, bool]], seed: int
) -> None:
    """Also where rows are taken out again in another part than the one that they came in with."""
    parts = []
    for index, (size, corrects) in enumerate(sizes):
        stats = empty("exact")
        data = rows("exact", seed + index, size)
        stats.update(**data)
        parts.append(stats)
        if corrects:
            out = empty("exact")
            out.update(**data, sign=-1)
            parts.append(out)
    rng = np.random.default_rng(seed)
    results = set()
    for _ in range(4):
        total = empty("exact")
        for at in rng.permutation(len(parts)):
            total.merge(OutcomeStats.decode(parts[at].encode(), empty("exact")))
        results.add(total.encode())
    pairs = empty("exact")
    for start in range(0, len(parts), 2):
        pair = parts[start].copy()
        for other in parts[start + 1 : start + 2]:
            pair.merge(other)
        pairs.merge(pair)
    assert {pairs.encode()} == results


def test_damaged_wires_are_refused() -> None:
    stats = empty("exact")
    stats.update(**rows("exact", 1, 5))
    for wrong in (b"[7]", b"[1,[0.5],[1],[0,1]]", b"[1,[0.5],[1000],[0]]", b"3"):
        import msgspec

        wire = msgspec.json.decode(stats.encode())
        wire["sums"]["exact"] = msgspec.Raw(wrong)
        with pytest.raises(ValueError, match="damaged outcome statistics"):
            OutcomeStats.decode(msgspec.json.encode(wire), empty("exact"))
    with pytest.raises(ValueError, match="spec has changed"):
        OutcomeStats.decode(stats.encode(), OutcomeStats("binary"))


def test_the_most_exact_rows_fit_into_a_message() -> None:
    most = 50_000
    stats = OutcomeStats("binary", exact_rows=most)
    chance = np.random.default_rng(2)
    scores = chance.random(most) / 1000  # the longest texts
    stats.update(scores, chance.integers(0, 2, most), np.zeros(most, np.int64))
    assert 1_000_000 < len(stats.encode()) < 1_700_000
