"""Merging is associative and commutative to the last bit, and empty statistics change nothing: for every kind of
partial that crosses a process, as real windows of four source partitions have them, with all that a spec can ask for.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_all_tasks import TASKS, Model, history

from driftloop.events.batch import RecordBatch
from driftloop.events.messages import WindowPartial
from driftloop.monitoring.catalog import new_outcomes
from driftloop.monitoring.intake import Limits
from driftloop.monitoring.source import SourceMonitor
from driftloop.performance.estimated.estimator import estimator_of
from driftloop.performance.outcomes import OutcomeStats
from driftloop.profiles.inputs import InputStats
from support.core_world import logs_of
from support.world import DAY, START

PARTITIONS = 4
Stats = Any  # InputStats or OutcomeStats
#: Each window, version and segment: its partials by source partition.
Windows = list[list[WindowPartial]]


def windows_of(model: Model, task: str) -> Windows:
    logs = logs_of(history(task), PARTITIONS)
    found: dict[tuple[Any, ...], dict[tuple[int, bool], WindowPartial]] = {}
    for at in range(PARTITIONS):
        monitor = SourceMonitor(at, model, Limits(), predictions_topic="predictions", labels_topic="labels")
        for topic, take in (("predictions", monitor.take_predictions), ("labels", monitor.take_labels)):
            values = logs[topic, at]
            count, recorded = len(values), START + 1000 * DAY
            take(RecordBatch(topic, at, range(count), [recorded] * count, [b""] * count, values))
            for partial in monitor.take_partials():
                key = (partial.model_version, partial.kind, partial.segment, partial.window_start_ms)
                found.setdefault(key, {})[at, partial.late] = partial
    return [list(partials.values()) for _, partials in sorted(found.items()) if len(partials) > 2]


def decoded(model: Model, partial: WindowPartial) -> Stats:
    empty = nothing(model, partial)
    stats = bytes(partial.stats)
    if isinstance(empty, OutcomeStats):
        return OutcomeStats.decode(stats, empty)
    profile = model.profiles[partial.model_version]
    return InputStats.decode(stats, profile.for_segment(partial.segment), empty.estimator)


def nothing(model: Model, partial: WindowPartial) -> Stats:
    profile = model.profiles[partial.model_version]
    if partial.kind == "outcome":
        return new_outcomes(model.given, profile, partial.segment)
    return InputStats(profile.for_segment(partial.segment), estimator_of(model.given, profile))


def merged(*parts: Stats) -> Stats:
    total, *others = parts
    for other in others:
        total.merge(other)
    return total


@pytest.fixture(scope="module", params=list(TASKS))
def world(request: pytest.FixtureRequest, merges: set[str]) -> tuple[Model, Windows]:
    model = Model(str(request.param))
    return model, windows_of(model, str(request.param))


@pytest.fixture(scope="module")
def merges() -> Iterator[set[str]]:
    """Names of the types that were merged so far, in this module."""
    seen: set[str] = set()
    with pytest.MonkeyPatch.context() as patch:
        for kind in mergeable_types():
            patch.setattr(kind, "merge", _noting(kind, seen))
        yield seen


def _noting(kind: type, seen: set[str]) -> Any:
    whole = kind.merge  # type: ignore[attr-defined]

    def merge(self: Any, other: Any) -> None:
        seen.add(type(self).__name__)
        whole(self, other)

    return merge


def mergeable_types() -> list[type]:
    """Every class of the packages of statistics that has a ``merge`` of its own."""
    found = {}
    for package in ("driftloop.profiles", "driftloop.performance"):
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            for name, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
                protocol = getattr(kind, "_is_protocol", False)
                if "merge" in vars(kind) and kind.__module__ == module.name and not protocol:
                    found[name] = kind
    return [found[name] for name in sorted(found)]


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_shape_and_order_of_merges_gives_the_same_bytes(world: tuple[Model, Windows], data: st.DataObject) -> None:
    model, windows = world
    partials = data.draw(st.sampled_from(windows), label="window")
    order = data.draw(st.permutations(partials), label="order")
    cut = data.draw(st.integers(1, len(order) - 1), label="cut")
    straight = merged(*(decoded(model, partial) for partial in partials)).encode()
    left = merged(*(decoded(model, partial) for partial in order[:cut]))
    right = merged(*(decoded(model, partial) for partial in order[cut:]))
    assert merged(left, right).encode() == straight
    # As it crosses a process, and with nothing on either side.
    through = [decoded(model, partial) for partial in order]
    assert merged(nothing(model, partials[0]), *through, nothing(model, partials[0])).encode() == straight


def test_the_laws_on_every_window(world: tuple[Model, Windows]) -> None:
    model, windows = world
    assert {partials[0].kind for partials in windows} == {"input", "outcome"}
    for first, second, third in itertools.chain.from_iterable(
        itertools.islice(itertools.permutations(partials, 3), 2) for partials in windows
    ):
        a, b, c = (decoded(model, partial) for partial in (first, second, third))
        one = merged(a, b, c).encode()
        a, b, c = (decoded(model, partial) for partial in (first, second, third))
        assert merged(a, merged(b, c)).encode() == one, first
        a, b, c = (decoded(model, partial) for partial in (first, second, third))
        assert merged(b, a, c).encode() == one, first


def test_no_type_is_left_out(merges: set[str]) -> None:
    """Runs last: whoever adds a type with ``merge`` must see to it that a window here has it."""
    if not merges:
        pytest.skip("says something only after the tests above")
    assert {kind.__name__ for kind in mergeable_types()} - merges == set()
