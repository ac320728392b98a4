from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftloop.spec.training import CandidateSpec
from driftloop.training.candidates import Unavailable, select
from driftloop.training.dataset import TrainingSet, cut, from_frame
from driftloop.training.newest_rows import NewestRows
from support.training_rows import DAY_MS, make_labeled, make_rows, make_spec

#: 240 rows a day, so 400 rows are 40 hours.
DATA = from_frame(make_spec(), *make_rows())
HOUR_MS = DAY_MS // 24


def places(data: TrainingSet = DATA, changed_at_ms: int | None = None, **keys: Any) -> list[int]:
    return select(CandidateSpec(**keys), data, "binary", changed_at_ms).places.tolist()  # type: ignore[arg-type]


def test_a_window_of_time_and_one_of_rows() -> None:
    assert places(candidate="window", last="10h") == list(range(300, 400))
    assert places(candidate="window", last="30d") == list(range(400))
    assert places(candidate="window", rows=7) == list(range(393, 400))
    assert places(candidate="window", rows=5000) == list(range(400))


def test_since_the_change_and_everything() -> None:
    assert places(candidate="since_change", changed_at_ms=20 * HOUR_MS) == list(range(200, 400))
    assert places(candidate="everything", changed_at_ms=20 * HOUR_MS) == list(range(400))


def test_since_the_change_is_refused_where_there_is_none_or_nothing_after_it() -> None:
    with pytest.raises(Unavailable, match="no change has been dated"):
        places(candidate="since_change")
    with pytest.raises(Unavailable, match="no row is later than the change at 1970-01-03"):
        places(candidate="since_change", changed_at_ms=2 * DAY_MS)
    with pytest.raises(Unavailable, match="no row to select from"):
        places(DATA.rows(slice(0, 0)), candidate="everything")


def test_decayed_weights_halve_and_have_the_mean_one() -> None:
    found = select(CandidateSpec(candidate="decayed", half_life="5h"), DATA, "binary", None)
    assert found.places.tolist() == list(range(400))
    assert found.weights is not None
    np.testing.assert_allclose(found.weights[50:] / found.weights[:-50], 2.0, rtol=1e-12)
    assert found.weights.mean() == pytest.approx(1.0, abs=1e-12)
    # Rows older than 30 half-lives are left out.
    short = select(CandidateSpec(candidate="decayed", half_life="1h"), DATA, "binary", None)
    assert short.places.tolist() == list(range(99, 400))
    bounded = select(CandidateSpec(candidate="decayed", half_life="1h", last="10h"), DATA, "binary", None)
    assert bounded.places.tolist() == list(range(300, 400))


def test_a_reservoir_has_the_labels_and_hours_of_all_rows() -> None:
    spec = CandidateSpec(candidate="reservoir", rows=80, stratum="10h")
    chosen = select(spec, DATA, "binary", None).places
    assert len(chosen) == 80
    # 8 strata, 4 stretches of 100 rows with two labels each: one row of each, the others in proportion.
    for stretch in range(4):
        for label in (0, 1):
            everywhere = DATA.labels[100 * stretch : 100 * (stretch + 1)] == label
            found = int(((chosen // 100 == stretch) & (DATA.labels[chosen] == label)).sum())
            assert abs(found - 1 - 72 * (everywhere.sum() - 1) / 392) < 1.0
    assert places(candidate="reservoir", rows=80, stratum="10h") == chosen.tolist()
    assert places(candidate="reservoir", rows=80, stratum="10h", seed=1) != chosen.tolist()
    assert places(candidate="reservoir", rows=5000) == list(range(400))
    assert min(places(candidate="reservoir", rows=20, last="10h")) >= 300


def test_a_reservoir_of_a_regression_has_numbers_of_every_size() -> None:
    data = from_frame(make_spec("regression"), *make_rows("regression"))
    data.labels[7] = 1e6
    data.labels[9] = 0.0
    spec = CandidateSpec(candidate="reservoir", rows=60, stratum="30d")
    chosen = select(spec, data, "regression", None).places.tolist()
    assert {7, 9} <= set(chosen)


@given(seed=st.integers(0, 2**32), kind=st.sampled_from(["reservoir", "decayed", "window"]))
@settings(max_examples=20, deadline=None)
def test_the_order_in_which_the_log_is_read_does_not_matter(seed: int, kind: str) -> None:
    keys: dict[str, Any] = {"reservoir": {"rows": 30}, "decayed": {"half_life": "3h"}, "window": {"rows": 30}}[kind]
    spec = make_spec()
    rows = make_labeled(spec, *make_rows(rows=120))
    candidate = CandidateSpec(candidate=kind, **keys)  # type: ignore[arg-type]
    straight = cut(rows, spec, 0, 10**12)
    shuffled = [rows[place] for place in np.random.default_rng(seed).permutation(120)]
    mixed = cut(shuffled, spec, 0, 10**12)
    first, second = (select(candidate, data, "binary", None) for data in (straight, mixed))
    assert first.digest(straight) == second.digest(mixed)


def test_the_digest_knows_rows_and_weights() -> None:
    one, same, other, heavier = (
        select(CandidateSpec(candidate="decayed", half_life=half), data, "binary", None).digest(data)
        for half, data in (("5h", DATA), ("5h", DATA), ("5h", DATA.rows(slice(1, None))), ("6h", DATA))
    )
    assert one == same
    assert len({one, other, heavier}) == 3


@given(seed=st.integers(0, 2**32), most=st.integers(1, 70), batch=st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_the_newest_rows_are_the_same_in_any_order_and_memory_is_bounded(seed: int, most: int, batch: int) -> None:
    spec = make_spec(training={"most_rows": most})
    rows = make_labeled(spec, *make_rows(rows=60))
    revised = [msgspec.structs.replace(row, revision=1, label=msgspec.Raw(b"1")) for row in rows[::3]]
    everything = rows + revised
    mixed = [everything[place] for place in np.random.default_rng(seed).permutation(len(everything))]
    held = NewestRows(most)
    for start in range(0, len(mixed), batch):
        held.extend(mixed[start : start + batch])
        assert len(held.rows) <= 1.25 * most + batch
    expected = cut(everything, spec, 0, 10**12)
    found = cut(held.rows, spec, 0, 10**12)
    assert len(found) == min(most, 60)
    assert found.to_parquet() == expected.to_parquet()
