"""Our detectors against River's, value by value, and through JSON at any point."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from river import drift

from driftloop.concept.adwin import ADWIN
from driftloop.concept.base import Detector
from driftloop.concept.ddm import DDM
from driftloop.concept.eddm import EDDM
from driftloop.concept.hddm_a import HDDMA
from driftloop.concept.hddm_w import HDDMW
from driftloop.concept.kswin import KSWIN
from driftloop.concept.page_hinkley import PageHinkley

Make = Callable[[], Any]

BINARY: dict[str, tuple[Make, Make]] = {
    "ddm": (DDM, drift.binary.DDM),
    "ddm-set": (
        lambda: DDM(warm_start=100, warning_threshold=1.5, drift_threshold=2.5),
        lambda: drift.binary.DDM(100, 1.5, 2.5),
    ),
    "eddm": (EDDM, drift.binary.EDDM),
    "eddm-set": (
        lambda: EDDM(warm_start=10, alpha=0.8, beta=0.75),
        lambda: drift.binary.EDDM(10, 0.8, 0.75),
    ),
    "hddm_a": (HDDMA, drift.binary.HDDMA),
    "hddm_a-two": (
        lambda: HDDMA(two_sided_test=True, drift_confidence=0.01, warning_confidence=0.05),
        lambda: drift.binary.HDDMA(0.01, 0.05, True),
    ),
    "hddm_w": (HDDMW, drift.binary.HDDMW),
    "hddm_w-two": (
        lambda: HDDMW(two_sided_test=True, lambda_val=0.1),
        lambda: drift.binary.HDDMW(lambda_val=0.1, two_sided_test=True),
    ),
}
REAL: dict[str, tuple[Make, Make]] = {
    "adwin": (ADWIN, drift.ADWIN),
    "adwin-set": (
        lambda: ADWIN(delta=0.05, clock=1, max_buckets=3, min_window_length=10, grace_period=50),
        lambda: drift.ADWIN(0.05, 1, 3, 10, 50),
    ),
    "page_hinkley": (PageHinkley, drift.PageHinkley),
    "page_hinkley-up": (
        lambda: PageHinkley(threshold_=5.0, delta=0.1, mode="up", alpha=0.99),
        lambda: drift.PageHinkley(30, 0.1, 5.0, 0.99, "up"),
    ),
    "page_hinkley-down": (
        lambda: PageHinkley(threshold_=3.0, mode="down"),
        lambda: drift.PageHinkley(threshold=3.0, mode="down"),
    ),
    "kswin": (lambda: KSWIN(seed=7), lambda: drift.KSWIN(seed=7)),
    "kswin-set": (
        lambda: KSWIN(seed=1, alpha=0.05, window_size=60, stat_size=20),
        lambda: drift.KSWIN(0.05, 60, 20, seed=1),
    ),
}


def binary_streams() -> dict[str, NDArray[np.float64]]:
    chance = np.random.default_rng(11)
    rates = {
        "rise": [0.1] * 1500 + [0.3] * 1500,
        "fall": [0.5] * 1500 + [0.2] * 1500,
        "steps": [0.05] * 800 + [0.9] * 300 + [0.05] * 800 + [0.4] * 800,
        "gradual": np.linspace(0.1, 0.6, 3000).tolist(),
        "stable": [0.2] * 4000,
    }
    streams = {name: (chance.random(len(rate)) < rate).astype(float) for name, rate in rates.items()}
    return {**streams, "zeros": np.zeros(500), "ones": np.ones(500), "late": np.r_[np.zeros(400), np.ones(400)]}


def real_streams() -> dict[str, NDArray[np.float64]]:
    chance = np.random.default_rng(12)
    return {
        "shift": np.r_[chance.normal(0, 1, 1200), chance.normal(3, 1, 1200)],
        "variance": np.r_[chance.normal(0, 1, 1200), chance.normal(0, 4, 1200)],
        "fall": np.r_[chance.uniform(0.5, 1, 1200), chance.uniform(0, 0.7, 1200)],
        "gradual": chance.normal(0, 1, 2500) + np.linspace(0, 3, 2500),
        "constant": np.full(500, 0.3),
        "steps": np.r_[np.full(300, 0.1), np.full(300, 0.9), np.full(300, 0.1)] + chance.normal(0, 0.01, 900),
        **{name: values for name, values in binary_streams().items() if name in ("rise", "steps")},
    }


def estimate_of(peer: Any) -> float | None:
    if isinstance(peer, drift.ADWIN):
        return peer.estimation
    for name in ("_p", "_z", "_x_mean"):
        if hasattr(peer, name):
            return float(getattr(peer, name).get())
    return float(peer._total.ewma) if hasattr(peer, "_total") else None


def follow(ours: Detector, peer: Any, stream: NDArray[np.float64]) -> int:
    alarms = 0
    for index, x in enumerate(stream.tolist()):
        peer.update(int(x) if x in (0.0, 1.0) else x)
        found = ours.update([x])
        assert bool(found) == ours.detected == peer.drift_detected, f"value {index}"
        if hasattr(peer, "warning_detected") and not peer.drift_detected:
            assert ours.warning == peer.warning_detected, f"value {index}"
        expected = estimate_of(peer)
        if expected is not None:
            assert ours.estimate == pytest.approx(expected, rel=1e-9, abs=1e-12), f"value {index}"
        if isinstance(peer, drift.ADWIN):
            assert (ours.width, ours.spread) == (peer.width, pytest.approx(peer.variance, rel=1e-9, abs=1e-9))
        if isinstance(peer, drift.KSWIN) and peer.p_value:
            assert ours.p_value == pytest.approx(peer.p_value, rel=1e-9)
        alarms += bool(found)
    return alarms


@pytest.mark.parametrize("name", BINARY)
def test_alarms_warnings_and_estimates_on_zeros_and_ones_are_those_of_river(name: str) -> None:
    ours, peer = BINARY[name]
    assert sum(follow(ours(), peer(), stream) for stream in binary_streams().values()) > 0


@pytest.mark.parametrize("name", REAL)
def test_alarms_and_estimates_on_numbers_are_those_of_river(name: str) -> None:
    ours, peer = REAL[name]
    streams = real_streams()
    if name.startswith("kswin"):
        streams = {key: values[::3] for key, values in streams.items() if key in ("shift", "rise", "steps")}
    assert sum(follow(ours(), peer(), stream) for stream in streams.values()) > 0


@pytest.mark.parametrize("make", [pair[0] for pair in (BINARY | REAL).values()], ids=list(BINARY | REAL))
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_batches_and_a_round_trip_through_json_change_no_alarm(make: Make, data: st.DataObject) -> None:
    seed = data.draw(st.integers(0, 2**32 - 1))
    chance = np.random.default_rng(seed)
    stream = (chance.random(400) < np.r_[np.full(200, 0.1), np.full(200, 0.8)]).astype(float)
    whole = make()
    expected = whole.update(stream)
    cuts = sorted(data.draw(st.lists(st.integers(0, 400), max_size=6)))
    cuts = sorted([*cuts, *(at + 1 for at in expected[-1:])] * 2)  # pieces without a value too, also after an alarm
    parts: Detector = make()
    found = []
    for start, stop in zip([0, *cuts], [*cuts, 400], strict=True):
        found += [start + at for at in parts.update(stream[start:stop])]
        if start < stop:
            parts = msgspec.json.decode(msgspec.json.encode(parts), type=type(parts))
    assert found == expected
    assert (parts.detected or parts.anew) == (whole.detected or whole.anew)
    whole.detected, whole.anew = parts.detected, parts.anew  # what the last batch said; an empty one says nothing
    assert parts == whole


@pytest.mark.parametrize("make", [pair[0] for pair in (BINARY | REAL).values()], ids=list(BINARY | REAL))
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_a_number_never_enters(make: Make, bad: float) -> None:
    detector = make()
    detector.update([0.0, 1.0])
    before = msgspec.json.encode(detector)
    with pytest.raises(ValueError, match="finite"):
        detector.update([0.0, bad])
    assert msgspec.json.encode(detector) == before


def test_draws_are_those_of_pythons_generator() -> None:
    for seed in (0, 1, 42, 2**31):
        chance, ours = random.Random(seed), KSWIN(seed=seed)
        for _ in range(40):
            assert ours._sample(70, 30) == chance.sample(range(70), 30)


def test_the_change_is_dated_near_where_it_was() -> None:
    stream = (np.random.default_rng(5).random(4000) < np.r_[np.full(2000, 0.1), np.full(2000, 0.4)]).astype(float)
    for detector in (ADWIN(), DDM(), HDDMA(), HDDMW()):
        times = (np.arange(4000) * 10).tolist()
        alarms = detector.update(stream, times)
        first = type(detector)()
        first.update(stream[: alarms[0] + 1], times[: alarms[0] + 1])
        assert first.detected
        assert first.changed_at is not None
        assert abs(first.changed_at - 20_000) < (1_000 if isinstance(detector, ADWIN) else 4_000), detector
        assert first.rose
