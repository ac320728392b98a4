"""Samples of rows: any split, order and merge gives the same bytes; the sample is uniform; kinds survive the wire."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftloop.profiles.columns import Columns, FeatureDecoder, select_rows
from driftloop.profiles.derived import derive, vocabulary, words
from driftloop.profiles.inputs import InputStats
from driftloop.profiles.reference import ReferenceProfile
from driftloop.profiles.row_sample import RowSample, SampleSchema, SampleWire, rank_of
from driftloop.spec import ModelSpec, parse_spec
from driftloop.spec.multivariate import MAX_TEXT_BYTES

SPEC = parse_spec(
    """
model: m
task: binary
features:
  x: {kind: numeric}
  place: {kind: categorical}
  embedding: {kind: vector, length: 3}
  comment: {kind: text}
segments: [place]
drift: {multivariate: {methods: [{method: mmd, threshold: 0.1}], sample_rows: 50}}
"""
)
SCHEMA = SampleSchema(
    rows=8, seed=3, columns={"comment": "text", "embedding": "vector:3", "place": "categorical", "x": "numeric"}
)


def make_columns(rows: int, seed: int) -> Columns:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows)
    x[::5] = math.nan
    vectors = rng.normal(size=(rows, 3))
    vectors[::7] = math.nan
    return {
        "x": x,
        "place": [None if value == 3 else "abc"[value] for value in rng.integers(0, 4, rows)],
        "embedding": vectors,
        "comment": [None if value == 0 else f"the {value} of {value}" for value in rng.integers(0, 9, rows)],
    }


def sample_of(columns: Columns, ids: list[str], schema: SampleSchema = SCHEMA) -> RowSample:
    sample = RowSample(schema)
    sample.update(columns, ids)
    return sample


def encoded(sample: RowSample) -> bytes:
    return msgspec.json.encode(sample.to_wire())


@settings(deadline=None, max_examples=60)
@given(data=st.data(), rows=st.integers(0, 40))
def test_any_split_and_merge_order_gives_the_same_bytes(data: st.DataObject, rows: int) -> None:
    columns = make_columns(rows, 1)
    ids = [f"p{at}" for at in range(rows)]
    whole = sample_of(columns, ids)
    order = data.draw(st.permutations(range(rows)))
    parts = [RowSample(SCHEMA) for _ in range(4)]
    at = 0
    while at < rows:  # batches of any size, each to any part
        size = data.draw(st.integers(1, rows - at))
        members = list(order[at : at + size])
        chosen = parts[data.draw(st.integers(0, 3))]
        chosen.update(select_rows(columns, members), [ids[member] for member in members])
        at += size
    shuffled = data.draw(st.permutations(parts))
    left = RowSample(SCHEMA)
    for part in shuffled:
        left.merge(part)
    right = shuffled[3].copy()
    inner = shuffled[1].copy()
    inner.merge(shuffled[2])
    right.merge(inner)
    right.merge(shuffled[0])
    assert encoded(left) == encoded(right) == encoded(whole)
    assert left == whole
    assert len(whole) == min(rows, SCHEMA.rows)


@settings(deadline=None, max_examples=30)
@given(values=st.lists(st.floats(width=64), min_size=1, max_size=20), text=st.text(max_size=40))
def test_any_value_survives_the_wire(values: list[float], text: str) -> None:
    count = len(values)
    columns: Columns = {
        "x": np.array(values),
        "embedding": np.array([[value, 1.0, -0.0] for value in values]),
        "place": [text] * count,
        "comment": [text] * count,
    }
    sample = sample_of(columns, [str(at) for at in range(count)])
    wire = msgspec.json.decode(encoded(sample), type=SampleWire)
    again = RowSample.from_wire(wire, SCHEMA)
    assert again == sample
    assert encoded(again) == encoded(sample)
    decoded = again.columns()
    assert all(not math.isinf(value) for value in np.asarray(decoded["x"]))
    assert np.asarray(decoded["embedding"]).shape == (len(sample), 3)


def test_the_sample_holds_the_lowest_ranks_and_their_own_values() -> None:
    columns = make_columns(500, 2)
    ids = [f"id-{at}" for at in range(500)]
    sample = sample_of(columns, ids)
    lowest = sorted(range(500), key=lambda at: rank_of(ids[at], SCHEMA.seed))[: SCHEMA.rows]
    expected = select_rows(columns, lowest)
    found = sample.columns()
    np.testing.assert_array_equal(np.asarray(found["x"]), np.asarray(expected["x"]))
    np.testing.assert_allclose(np.asarray(found["embedding"]), np.asarray(expected["embedding"]), rtol=1e-7)
    assert found["place"] == expected["place"]
    assert found["comment"] == expected["comment"]


def test_every_row_is_as_likely_to_be_sampled() -> None:
    """Over seeds, the number of times that each row is in a sample of 8 of 40 is binomial(400, 0.2)."""
    columns = make_columns(40, 3)
    ids = [f"row {at}" for at in range(40)]
    hits = np.zeros(40)
    for seed in range(400):
        chosen = sorted(range(40), key=lambda at: rank_of(ids[at], seed))[:8]
        hits[chosen] += 1
    deviation = math.sqrt(400 * 0.2 * 0.8)
    assert hits.sum() == 400 * 8
    assert abs(hits - 80).max() < 4 * deviation
    assert ((hits - 80) ** 2).sum() / deviation**2 < 40 + 4 * math.sqrt(80)
    schema = msgspec.structs.replace(SCHEMA, seed=4)
    assert sample_of(columns, ids, schema).columns()["place"] != sample_of(columns, ids).columns()["place"]


def test_rows_of_one_rank_are_ordered_by_content() -> None:
    columns = make_columns(30, 4)
    ids = ["the same"] * 30
    backwards = list(range(29, -1, -1))
    assert encoded(sample_of(columns, ids)) == encoded(sample_of(select_rows(columns, backwards), ids))


def test_memory_is_bounded_by_the_size_of_cells() -> None:
    columns: Columns = {
        "x": np.array([1.0]),
        "place": ["é" * 10_000],
        "embedding": np.array([[1e300, 0.0, 0.0]]),
        "comment": ["wört " * 10_000],
    }
    found = sample_of(columns, ["a"]).columns()
    place, comment = found["place"][0], found["comment"][0]
    assert isinstance(place, str)
    assert isinstance(comment, str)
    assert len(place.encode()) <= 256
    assert MAX_TEXT_BYTES - 4 <= len(comment.encode()) <= MAX_TEXT_BYTES
    assert np.isnan(np.asarray(found["embedding"])).all(), "beyond float32 counts as missing"


def test_a_feature_that_has_changed_its_kind_since_counts_as_missing(profile: ReferenceProfile) -> None:
    """The spec has, but the version was registered with the one before."""
    columns: Columns = {
        "x": np.arange(5.0),
        "place": ["a"] * 5,
        "embedding": np.ones((5, 4)),
        "comment": np.arange(5.0),
    }
    stats = InputStats(profile)
    stats.update(columns, 5, [str(at) for at in range(5)])
    assert InputStats.decode(stats.encode(), profile) == stats
    assert stats.sample is not None
    found = stats.sample.columns()
    assert np.isnan(np.asarray(found["embedding"])).all()
    assert found["comment"] == [None] * 5
    assert stats.features["comment#length"].missing == 5


def test_other_schemas_do_not_merge_and_damaged_samples_are_refused() -> None:
    sample = sample_of(make_columns(20, 5), [str(at) for at in range(20)])
    with pytest.raises(ValueError, match="cannot be merged"):
        sample.merge(RowSample(msgspec.structs.replace(SCHEMA, seed=9)))
    wire = sample.to_wire()
    for damaged in (
        msgspec.structs.replace(wire, ranks=wire.ranks[1:]),
        msgspec.structs.replace(wire, cells={**wire.cells, "x": ["text"] * len(wire.ranks)}),
        msgspec.structs.replace(wire, cells={**wire.cells, "embedding": ["AAAA"] * len(wire.ranks)}),
        msgspec.structs.replace(wire, ranks=[-1, *wire.ranks[1:]]),
    ):
        with pytest.raises(ValueError, match="damaged"):
            RowSample.from_wire(damaged, SCHEMA)


# -- in the statistics of a window ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def profile() -> ReferenceProfile:
    return ReferenceProfile.build(SPEC, make_columns(300, 6), model_version="v1")


def test_window_statistics_with_samples_merge_to_the_same_bytes(profile: ReferenceProfile) -> None:
    columns = make_columns(200, 7)
    ids = [f"p{at}" for at in range(200)]
    whole = InputStats(profile)
    whole.update(columns, 200, ids)
    for cut in (0, 1, 63, 199, 200):
        parts = []
        for members in (list(range(cut)), list(range(cut, 200))):
            part = InputStats(profile)
            part.update(select_rows(columns, members), len(members), [ids[at] for at in members])
            parts.append(InputStats.decode(part.encode(), profile))
        parts[1].merge(parts[0])
        assert parts[1].encode() == whole.encode()
    assert whole.copy().encode() == whole.encode()
    assert whole.sample is not None
    assert len(whole.sample) == 50


def test_the_reference_keeps_rows_and_comes_back(profile: ReferenceProfile) -> None:
    assert profile.sample is not None
    assert len(profile.sample.rows.ranks) == 100
    again = ReferenceProfile.decode(profile.encode())
    assert again == profile
    assert again.digest() == profile.digest()
    assert all(part.sample is None for part in profile.segments.values())
    assert profile.for_segment("place=nowhere").sample is None


def test_nothing_is_sampled_when_nothing_asks_for_it() -> None:
    spec = parse_spec("{model: m, task: binary, features: {x: {kind: numeric}}}")
    profile = ReferenceProfile.build(spec, {"x": np.arange(10.0)}, model_version="v1")
    assert profile.sample is None
    stats = InputStats(profile)
    stats.update({"x": np.arange(10.0)}, 10, [str(at) for at in range(10)])
    assert stats.sample is None
    assert b"sample" not in stats.encode()


# -- vectors and texts ---------------------------------------------------------------------------------------------


def test_vectors_and_texts_are_decoded_with_errors_that_name_the_key() -> None:
    decoder = FeatureDecoder(SPEC)
    good = [b'{"embedding": [1, 2.5, 3], "comment": "hello"}', b'{"embedding": null}']
    bad = [b'{"embedding": [1, 2]}', b'{"embedding": [1, 2, "x"]}', b'{"comment": 3}', b'{"embedding": 4}']
    columns, errors = decoder.decode([*good, *bad])
    assert np.asarray(columns["embedding"]).tolist()[0] == [1.0, 2.5, 3.0]
    assert np.isnan(np.asarray(columns["embedding"])[1]).all()
    assert columns["comment"] == ["hello", None]
    assert [index for index, _ in errors] == [2, 3, 4, 5]
    assert "length >= 3" in errors[0][1]
    assert all("$.embedding" in text or "$.comment" in text for _, text in errors)
    empty = decoder.columns([])
    assert np.asarray(empty["embedding"]).shape == (0, 3)


def test_derived_columns_have_known_values() -> None:
    columns: Columns = {
        "v": np.array([[3.0, 4.0], [math.nan, math.nan], [1e300, 1e300]]),
        "t": ["One two, THREE", None, ""],
    }
    found = derive(columns, ["v"], {"t": frozenset({"one", "two"})})
    assert found["v#norm"][0] == 5.0
    assert math.isnan(found["v#norm"][1])
    assert found["v#norm"][2] == pytest.approx(math.sqrt(2) * 1e300)
    np.testing.assert_array_equal(found["t#length"], [14.0, math.nan, 0.0])
    np.testing.assert_array_equal(found["t#unknown_words"], [1 / 3, math.nan, 0.0])


def test_the_vocabulary_is_bounded_and_knows_no_order() -> None:
    texts: list[str | None] = ["b a a", None, "c"]
    assert vocabulary(texts) == vocabulary(texts[::-1]) == ["a", "b", "c"]
    many: list[str | None] = [f"w{at}" for at in range(12_000)]
    assert len(vocabulary([*many, "often often"])) == 10_000
    assert "often" in vocabulary([*many, "often often"])
    assert words("x" * 100) == ["x" * 40]


def test_a_profile_without_the_features_is_still_read(profile: ReferenceProfile) -> None:
    """One registered before these fields were there."""
    content = msgspec.json.decode(profile.encode())
    for name in ("sample", "importances", "vocabularies", "vectors"):
        content.pop(name, None)
    old = ReferenceProfile.decode(msgspec.json.encode(content))
    assert old.sample is None
    assert old.importances == {}


def spec_problems(text: str) -> str:
    from driftloop.spec import SpecError

    with pytest.raises(SpecError) as caught:
        parse_spec(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("features", "multivariate", "said"),
    [
        ("{x: {kind: vector}}", "{}", "needs its 'length'"),
        ("{x: {kind: numeric, length: 3}}", "{}", "only a vector feature has a 'length'"),
        ("{t: {kind: text}, 't#length': {kind: numeric}}", "{}", "taken by a column made from 't'"),
        ("{x: {kind: numeric}}", "{methods: [{method: mmd}]}", "features together, and there are 1"),
        ("{x: {kind: numeric}, y: {kind: numeric}}", "{methods: [{method: centroid_shift}]}", "expected one of"),
        ("{x: {kind: numeric}, y: {kind: numeric}}", "{methods: [{method: mmd}, {method: mmd}]}", "listed twice"),
        (
            "{x: {kind: numeric}, y: {kind: numeric}}",
            "{methods: [{method: domain_classifier, threshold: 0.5}]}",
            "above 0.5",
        ),
        ("{e: {kind: vector, length: 1536}}", "{sample_rows: 1000}", "at most 146 rows do"),
    ],
)
def test_specs_that_cannot_work_are_refused(features: str, multivariate: str, said: str) -> None:
    text = f"{{model: m, task: binary, features: {features}, drift: {{multivariate: {multivariate}}}}}"
    assert said in spec_problems(text)


def test_a_sample_fits_into_a_message() -> None:
    """The estimate by which specs are refused is not below what a sample of vectors and numbers really takes."""
    from driftloop.spec.multivariate import sample_bytes

    spec: ModelSpec = parse_spec(
        "{model: m, task: binary, features: {x: {kind: numeric}, e: {kind: vector, length: 384}}}"
    )
    rng = np.random.default_rng(1)
    columns: Columns = {"x": rng.normal(size=600), "e": rng.normal(size=(600, 384))}
    profile = ReferenceProfile.build(spec, columns, model_version="v1")
    stats = InputStats(profile)
    stats.update(columns, 600, [str(at) for at in range(600)])
    assert stats.sample is not None
    assert 0.9 * sample_bytes(spec) < len(encoded(stats.sample)) <= sample_bytes(spec)
