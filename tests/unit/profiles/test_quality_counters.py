"""Quality counters: known answers, and that any split and order of merges gives the same bytes."""

from __future__ import annotations

import random
import zlib

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftloop.profiles.bounded_names import KEPT_NAMES, BoundedNames
from driftloop.profiles.columns import FeatureDecoder, PredictionDecoder
from driftloop.profiles.feature_keys import SAMPLED_ONE_IN, FeatureKeys, sampled_rows
from driftloop.profiles.inputs import InputStats
from driftloop.profiles.quality import QualityStats, QualityWire
from driftloop.profiles.reference import ReferenceProfile
from driftloop.profiles.refusals import refusal_of_features, refusal_of_prediction
from driftloop.profiles.row_hashes import KEPT_HASHES, DistinctRows, row_hashes
from driftloop.profiles.rules import LONGEST_MATCHED, RuleBook
from driftloop.spec import parse_spec

SPEC = parse_spec(
    """
model: m
task: multiclass
classes: [a, b]
features:
  x: {kind: numeric, required: true, minimum: 0, maximum: 10}
  a.b: {kind: numeric, maximum: 5}
  c: {kind: categorical, pattern: "[a-z]+"}
  d: {kind: categorical, categories: ["1", "true"], pattern: ".*"}
"""
)
KNOWN = frozenset(SPEC.features)


def rows(seed: int, count: int) -> list[tuple[bytes, int]]:
    """Raw features and event times, with copies, extra keys (more than are kept) and absent ones."""
    chance = random.Random(seed)
    found = []
    for _ in range(count):
        features = {"x": chance.randrange(200), "c": chance.choice("abc"), "a.b": 1, "d": "1"}
        if chance.random() < 0.5:
            features[f"extra{chance.randrange(400)}"] = 1
        if chance.random() < 0.3:
            del features["c"]
        found.append((msgspec.json.encode(features), chance.randrange(10**12)))
    return found


def counted(part: list[tuple[bytes, int]]) -> QualityStats:
    stats = QualityStats()
    raws = [raw for raw, _ in part]
    hashes = row_hashes(raws, len(raws))
    stats.hashed_rows += len(raws)
    stats.distinct.update(hashes)
    sample = sampled_rows(hashes, np.array([time_ms for _, time_ms in part], np.int64))
    stats.keys.update((raws[at] for at in sample), KNOWN)
    for raw in raws:
        stats.add_refused("x", f"got {raw[5:6].decode()}")
        stats.add_violations({("c", "pattern"): 1, ("a.b", "maximum"): raw[5] % 2})
        stats.repeated_ids += raw[6] % 2
    return stats


def wire(stats: QualityStats) -> bytes:
    return msgspec.json.encode(stats.to_wire())


@given(st.integers(0, 2**32), st.integers(0, 4000), st.integers(1, 8), st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_any_split_and_order_of_merges_gives_the_same_bytes(
    seed: int, count: int, parts: int, chance: random.Random
) -> None:
    everything = rows(seed, count)
    expected = wire(counted(everything))
    chance.shuffle(everything)
    cuts = sorted(chance.randrange(count + 1) for _ in range(parts - 1))
    pieces = [counted(everything[a:b]) for a, b in zip([0, *cuts], [*cuts, count], strict=True)]
    while len(pieces) > 1:  # a random tree of merges, some through the wire
        other = pieces.pop(chance.randrange(len(pieces)))
        if chance.random() < 0.5:
            other = QualityStats.from_wire(msgspec.json.decode(wire(other), type=QualityWire | None))
        pieces[chance.randrange(len(pieces))].merge(other)
    assert wire(pieces[0]) == expected


def test_nothing_counted_is_nothing_on_the_wire() -> None:
    assert QualityStats().to_wire() is None
    assert wire(QualityStats.from_wire(None)) == b"null"


def test_input_statistics_carry_them_and_older_ones_are_read() -> None:
    columns = {"x": np.arange(9.0), "a.b": np.arange(9.0), "c": list("abc") * 3, "d": ["1"] * 9}
    profile = ReferenceProfile.build(SPEC, columns, model_version="v1")
    stats = InputStats(profile)
    stats.quality.merge(counted(rows(1, 50)))
    assert InputStats.decode(stats.encode(), profile) == stats
    assert wire(stats.copy().quality) == wire(stats.quality)
    older = msgspec.json.decode(stats.encode())
    del older["quality"]
    assert InputStats.decode(msgspec.json.encode(older), profile).quality.to_wire() is None


# -- distinct rows


def test_few_distinct_rows_are_counted_exactly() -> None:
    sketch = DistinctRows()
    for _ in range(3):
        sketch.update(row_hashes([b"%d" % number for number in range(KEPT_HASHES - 1)], KEPT_HASHES - 1))
    assert sketch.exact
    assert sketch.distinct() == KEPT_HASHES - 1


@pytest.mark.parametrize("text", [b'{"x": %d}', b"%08d", b'{"a": 1.5, "id": "u-%d", "b": null}'])
@pytest.mark.parametrize("distinct", [2_000, 30_000, 300_000])
def test_many_distinct_rows_are_estimated_within_four_standard_errors(text: bytes, distinct: int) -> None:
    """Rows that differ in a counter: what a plain CRC would not mix."""
    sketch = DistinctRows()
    hashes = row_hashes((text % number for number in range(distinct)), distinct)
    for start in range(0, distinct, 1_000):
        sketch.update(hashes[start : start + 1_000])
    sketch.update(hashes)
    assert not sketch.exact
    assert sketch.distinct() == pytest.approx(distinct, rel=4 / (KEPT_HASHES - 2) ** 0.5)


def test_the_hashes_are_crc32_and_the_finalizer_of_murmur3() -> None:
    def finalized(crc: int) -> int:
        crc = ((crc ^ crc >> 16) * 0x85EBCA6B) % 2**32
        crc = ((crc ^ crc >> 13) * 0xC2B2AE35) % 2**32
        return crc ^ crc >> 16

    texts = [b"", b"{}", b'{"x": 1}', b"123456789"]
    assert zlib.crc32(texts[3]) == 0xCBF43926  # the check value that CRC-32 is specified with
    assert row_hashes(texts, 4).tolist() == [finalized(zlib.crc32(text)) for text in texts]


def test_a_damaged_sketch_is_refused() -> None:
    for text in ("AAA=", "!", "A" * 8 * KEPT_HASHES):
        with pytest.raises(ValueError):
            DistinctRows.from_wire(text)


# -- keys


def test_keys_that_are_extra_or_absent() -> None:
    keys = FeatureKeys()
    keys.update([b'{"x":1,"a.b":null,"c":"a","d":"1"}', b'{"x":1,"c":"a","d":"1","z":{"y":[1]}}', b'{"z":1}'], KNOWN)
    assert (keys.rows, keys.extra_rows, keys.extra.counts) == (3, 2, {"z": 2})
    assert keys.absent == {"a.b": 2, "x": 1, "c": 1, "d": 1}


@pytest.mark.parametrize("same", ["features", "times", "neither"])
def test_about_one_row_in_sixteen_is_in_the_sample(same: str) -> None:
    """Also where all rows are copies, or were all predicted at one time, or on the full minute."""
    count = 20_000
    raws = [b"{}" if same == "features" else b'{"x":%d}' % number for number in range(count)]
    times = np.full(count, 1_700_000_000_000) if same == "times" else 1_700_000_000_000 + np.arange(count) * 60_000
    sample = sampled_rows(row_hashes(raws, count), times)
    assert sample.size == pytest.approx(count / SAMPLED_ONE_IN, rel=0.15)


def test_names_are_bounded_and_cut() -> None:
    names = BoundedNames()
    names.add({f"name{number}": 2 for number in range(5_000)})
    assert len(names.counts) == KEPT_NAMES
    assert set(names.counts.values()) == {2}
    long = BoundedNames()
    long.add({"x" * 300: 1, "x" * 400: 2, "\ud800": 1})
    assert long.counts == {"x" * 200: 3, "?": 1}


# -- rules


def test_violations_by_rule() -> None:
    book = RuleBook(SPEC)
    found = book.violations(
        {
            "x": np.array([-1, 0, 10, 10.5, np.nan, np.inf, -np.inf]),
            "a.b": np.array([5.0, 6.0]),
            "c": ["abc", "abc1", "", None, "a" * (LONGEST_MATCHED + 1), "abc1", "x\n"],
            "d": ["1", "true", "True", None, ""],
        }
    )
    assert found == {
        ("x", "minimum"): 2,
        ("x", "maximum"): 2,
        ("a.b", "maximum"): 1,
        ("c", "pattern"): 5,
        ("d", "categories"): 2,
    }
    assert book
    assert not RuleBook(parse_spec("{model: m, task: binary, features: {x: {kind: numeric}}}"))


def test_verdicts_on_more_texts_than_are_remembered() -> None:
    texts = [f"t{number}" for number in range(25_000)] + ["abc"] * 5
    columns = {"x": np.zeros(1), "a.b": np.zeros(1), "c": texts, "d": ["1"]}
    assert RuleBook(SPEC).violations(columns) == {("c", "pattern"): 25_000}


# -- refusals


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        (b'{"x": "1"}', ("x", "got str")),
        (b'{"x": 1e999}', ("x", "out of range")),
        (b"{}", ("x", "missing")),
        (b'{"x": null}', ("x", "got null")),
        (b'{"x": 1, "a.b": [1]}', ("a.b", "got array")),
        (b'{"x": 1, "c": 1.5}', ("c", "got float")),
        (b'{"x": 1, "c": {"d": 1}}', ("c", "got object")),
        (b"[]", ("@features", "got array")),
        (b"3", ("@features", "got int")),
    ],
)
def test_the_feature_at_which_a_record_fails(features: bytes, expected: tuple[str, str]) -> None:
    """Held to msgspec's own errors: another wording of theirs would show here."""
    with pytest.raises(msgspec.ValidationError) as caught:
        FeatureDecoder(SPEC).decode_row(features)
    assert refusal_of_features(caught.value, KNOWN) == expected


@pytest.mark.parametrize(
    ("prediction", "kind"),
    [(b"3", "got int"), (b'{"a": 2.0}', "out of range"), (b'{"z": 1.0}', "unknown class"), (b'{"a": "x"}', "got str")],
)
def test_a_prediction_that_fails(prediction: bytes, kind: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        PredictionDecoder(SPEC).decode(prediction)
    assert refusal_of_prediction(caught.value) == ("@prediction", kind)
