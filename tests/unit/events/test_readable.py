"""Bytes that no decoder should see."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftloop.events.readable import MAX_NESTING, unreadable

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
DOCUMENTS = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=40)


@given(DOCUMENTS)
def test_ordinary_json_is_readable(document: object) -> None:
    assert unreadable(json.dumps(document, ensure_ascii=False, default=str).encode("utf-8", "ignore")) is None


@given(st.binary())
def test_it_answers_whatever_it_is_given(value: bytes) -> None:
    answer = unreadable(value)
    try:
        value.decode()
    except UnicodeDecodeError:
        assert answer is not None
        assert "UTF-8" in answer
    else:
        assert answer is None


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_nesting_is_counted_exactly(opening: bytes, closing: bytes) -> None:
    inner = b'"[[[[{{{{ \\" [["'
    allowed = opening * MAX_NESTING + inner + closing * MAX_NESTING
    json.loads(allowed)
    assert unreadable(allowed) is None
    assert "64 levels" in str(unreadable(opening + allowed + closing))
    # A list beside a list is not deeper.
    assert unreadable(b"[" + b",".join([b"[[1]]"] * 500) + b"]") is None


@pytest.mark.parametrize("hostile", [b'"\\' * 300_000 + b"[" * 65, b'["' * 300_000, b"[" * 65 + b'"\\' * 300_000])
def test_hostile_bytes_take_no_longer_than_others(hostile: bytes) -> None:
    started = time.process_time()
    unreadable(hostile)
    assert time.process_time() - started < 2.0, "the time must not grow with the square of the length"
