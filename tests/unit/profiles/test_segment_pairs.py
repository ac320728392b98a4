"""Segments of one column and of pairs: bounded, and every row in exactly one of them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from driftloop.profiles.reference import ReferenceProfile
from driftloop.profiles.segments import segment_key, segment_names, segment_rows
from driftloop.spec.model import FeatureSpec, ModelSpec

texts = st.one_of(st.none(), st.sampled_from(["a", "b", "a&b", "\\", "\\&", "c=d", "(other)", ""]))


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=60), st.integers(1, 5))
def test_every_row_is_in_the_segment_that_its_key_names(rows: list[tuple[str | None, str | None]], limit: int) -> None:
    columns = {"o": [first for first, _ in rows], "c": [second for _, second in rows]}
    for declared in ("o", ["o", "c"]):
        names = segment_names(declared)
        found = segment_rows(declared, columns, limit)
        assert sorted(at for positions in found.values() for at in positions) == list(range(len(rows)))
        assert len(found) <= limit + 2
        for key, positions in found.items():
            for at in positions:
                assert segment_key(names, [columns[name][at] for name in names], found) == key


@given(st.tuples(texts, texts), st.tuples(texts, texts))
def test_two_pairs_never_have_one_key(
    first: tuple[str | None, str | None], second: tuple[str | None, str | None]
) -> None:
    rows = segment_rows(["o", "c"], {"o": [first[0], second[0]], "c": [first[1], second[1]]})
    assert len(rows) == len({first, second})


def test_a_profile_has_the_most_frequent_pairs_and_one_for_the_rest() -> None:
    spec = ModelSpec(
        model="m",
        task="binary",
        features={name: FeatureSpec(kind="categorical") for name in ("origin", "carrier")},
        segments=["origin", ["origin", "carrier"]],
    )
    random = np.random.default_rng(0)
    columns = {
        "origin": list(random.choice(["JFK", "LGA", "EWR"], 5_000)),
        "carrier": [f"c{number}" for number in random.geometric(0.2, 5_000)],
    }
    profile = ReferenceProfile.build(spec, columns, model_version="v1")
    pairs = {key: part.rows for key, part in profile.segments.items() if "&" in key}
    assert len(pairs) == 21
    assert sum(pairs.values()) == 5_000
    assert pairs["origin=JFK&carrier=c1"] > 250
    assert pairs["origin&carrier=(other)"] > 0
    assert profile.for_segment("origin=JFK&carrier=c1").rows == pairs["origin=JFK&carrier=c1"]
