"""Counts by category, unseen ones bounded and independent of order."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftloop.profiles.categorical import (
    MAX_UNSEEN,
    CategoricalReference,
    CategoricalSummary,
    CategoricalWire,
)

REPEATABLE = settings(derandomize=True, deadline=None)


def summary_of(reference: CategoricalReference, *batches: list[str | None]) -> CategoricalSummary:
    summary = CategoricalSummary(reference)
    for batch in batches:
        summary.update(batch)
    return summary


def test_reference_keeps_the_most_frequent_and_counts_the_rest() -> None:
    reference = CategoricalReference.build(["b", "a", "b", None, "c", "d"], max_categories=2)
    assert reference.categories == {"a": 1, "b": 2}
    assert (reference.rows, reference.missing, reference.other) == (5, 1, 2)
    assert reference.names == ("a", "b")


def test_counts_unseen_and_missing() -> None:
    reference = CategoricalReference.build(["a", "b"])
    summary = summary_of(reference, ["a", None, "x", "x", ""], ["a", "y"])
    assert summary.counts == {"a": 2}
    assert summary.unseen_names == {"x": 2, "y": 1, "": 1}
    assert (summary.rows, summary.unseen, summary.missing) == (6, 4, 1)


def test_unseen_categories_are_bounded_and_the_same_in_any_order() -> None:
    random = np.random.default_rng(5)
    reference = CategoricalReference.build(["known"])
    values: list[str | None] = [f"id-{number}" for number in random.zipf(1.3, 6_000) % 5_000]
    whole = summary_of(reference, values)
    assert len(whole.unseen_names) == MAX_UNSEEN
    assert whole.unseen == 6_000
    true = {name: values.count(name) for name in whole.unseen_names}
    assert whole.unseen_names == true
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(values))
        parts = [summary_of(reference, [values[index] for index in chunk]) for chunk in np.array_split(order, 7)]
        merged = parts.pop()
        while parts:
            merged.merge(parts.pop())
        assert msgspec.json.encode(merged.to_wire()) == msgspec.json.encode(whole.to_wire())


NAMES = st.one_of(st.none(), st.sampled_from(["a", "b", "x", "y", "z", ""]), st.text(max_size=3))


@REPEATABLE
@given(st.lists(NAMES, max_size=20), st.lists(NAMES, max_size=40), st.randoms(use_true_random=False))
def test_any_split_and_merge_order_gives_the_same_bytes(
    reference_values: list[str | None], values: list[str | None], random: object
) -> None:
    reference = CategoricalReference.build(reference_values, max_categories=4)
    whole = summary_of(reference, values)
    shuffled = sorted(values, key=lambda _: random.random())  # type: ignore[attr-defined]
    parts = [summary_of(reference, shuffled[start::2]) for start in range(2)]
    merged = parts[1].copy()
    merged.merge(parts[0])
    encoded = msgspec.json.encode(whole.to_wire())
    assert msgspec.json.encode(merged.to_wire()) == encoded
    assert CategoricalSummary.from_wire(msgspec.json.decode(encoded, type=CategoricalWire), reference) == whole


def test_long_and_odd_names_from_outside_are_cut_and_still_encoded() -> None:
    reference = CategoricalReference.build(["a"])
    summary = summary_of(reference, ["x" * 5_000, "\ud800odd"])
    assert sorted(map(len, summary.unseen_names)) == [4, 200]
    assert msgspec.json.encode(summary.to_wire())


def test_a_wire_form_of_another_reference_is_refused() -> None:
    wire = summary_of(CategoricalReference.build(["a"]), ["a"]).to_wire()
    with pytest.raises(ValueError, match="another one"):
        CategoricalSummary.from_wire(wire, CategoricalReference.build(["b"]))
