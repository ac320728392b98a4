"""What the detectors with a guarantee promise, in simulation with fixed seeds."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import beta as beta_distribution
from scipy.stats import binom

from driftloop.concept.batch import BatchDetector
from driftloop.concept.bets import BETS, LOG_WEIGHTS, log_factors, log_sum, spread_around
from driftloop.concept.build import build_detector, reference_risk
from driftloop.concept.confidence_sequence import ConfidenceSequence
from driftloop.concept.e_detector import EDetector
from driftloop.concept.source_risk import upper_risk
from driftloop.profiles.reference import LossReference
from driftloop.spec.concept import ConceptDetector

Draw = Callable[[np.random.Generator, tuple[int, ...]], NDArray[np.float64]]

RISK = 0.2
LOSSES: dict[str, Draw] = {
    "zeros-and-ones": lambda chance, shape: (chance.random(shape) < RISK).astype(float),
    "graded": lambda chance, shape: chance.beta(2.0, 8.0, shape),
    "small-or-one": lambda chance, shape: np.where(chance.random(shape) < 0.19, 1.0, 0.01 / 0.81),
}


def batches(losses: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """(batches, rows) to counts, sums and sums of squares."""
    return np.full(len(losses), losses.shape[1]), losses.sum(axis=1), (losses * losses).sum(axis=1)


def most_allowed(runs: int, alpha: float) -> int:
    """What no more than one in 10,000 binomial draws at the full error rate would exceed."""
    return int(binom.ppf(0.9999, runs, alpha))


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("rows", [1, 40])
def test_no_more_than_alpha_of_the_stable_streams_ever_raise_an_alarm(kind: str, rows: int) -> None:
    """At the edge: the true risk is the bound itself."""
    alpha, runs, length = 0.05, 150, 150
    chance = np.random.default_rng(101)
    losses = LOSSES[kind](chance, (runs, length, rows))
    alarmed = 0
    for stream in losses:
        detector = ConfidenceSequence(alpha=alpha, bound=RISK, reference=RISK)
        alarmed += bool(detector.update_batches(*batches(stream)))
    assert alarmed <= most_allowed(runs, alpha)


@pytest.mark.parametrize("kind", LOSSES)
def test_the_bets_are_fair_at_best(kind: str) -> None:
    """The mean factor of each bet over many batches is at most 1 where the risk is the bound, up to chance."""
    chance = np.random.default_rng(5)
    losses = LOSSES[kind](chance, (20_000, 5))
    factors = np.exp([log_factors(5, x.sum(), spread_around(0.35, 5, x.sum(), (x * x).sum()), RISK) for x in losses])
    error = factors.std(axis=0) / math.sqrt(len(losses))
    assert (factors.mean(axis=0) <= 1.0 + 4.0 * error).all()
    assert np.exp(LOG_WEIGHTS).sum() == pytest.approx(1.0)
    assert len(LOG_WEIGHTS) == BETS


@pytest.mark.parametrize("kind", ["sr", "cusum"])
@pytest.mark.parametrize("rows", [1, 40])
def test_the_average_run_length_is_at_least_one_over_alpha(kind: str, rows: int) -> None:
    """Lower bound: runs that last longer than the simulation count as that long."""
    alpha, runs, longest = 0.02, 60, 400
    chance = np.random.default_rng(17)
    lengths = []
    for _ in range(runs):
        detector = EDetector(alpha=alpha, kind=kind, bound=RISK, reference=RISK)  # type: ignore[arg-type]
        alarms = detector.update_batches(*batches(LOSSES["zeros-and-ones"](chance, (longest, rows))))
        lengths.append(alarms[0] + 1 if alarms else longest)
    assert np.mean(lengths) >= 1.0 / alpha


def test_both_sides_of_the_guarantee_with_a_reference_sample() -> None:
    """A fresh reference sample each time, no tolerance: all of alpha is spent, and no more."""
    alpha, runs = 0.1, 60
    chance = np.random.default_rng(23)
    alarmed = 0
    for _ in range(runs):
        source = LOSSES["graded"](chance, (500,))
        losses = LossReference(
            rows=500, error_mean=0.0, loss_mean=float(source.mean()), loss_variance=float(source.var(ddof=1))
        )
        rules = ConceptDetector(detector="confidence_sequence", alpha=alpha, tolerance=0.0)
        detector = build_detector(rules, reference_risk(losses, "loss"))
        assert isinstance(detector, ConfidenceSequence)
        alarmed += bool(detector.update_batches(*batches(LOSSES["graded"](chance, (100, 50)))))
    assert alarmed <= most_allowed(runs, alpha)


@pytest.mark.parametrize("kind", LOSSES)
def test_the_reference_bound_covers_the_risk(kind: str) -> None:
    alpha, runs = 0.05, 4000
    source = LOSSES[kind](np.random.default_rng(31), (runs, 60))
    missed = sum(upper_risk(float(x.mean()), float(x.var(ddof=1)), 60, alpha) < RISK for x in source)
    assert missed <= most_allowed(runs, alpha)


def test_the_reference_bound_lies_above_the_exact_binomial_one_and_not_far() -> None:
    for rows, errors in ((100, 0), (100, 10), (1000, 100), (10_000, 2500)):
        exact = float(beta_distribution.ppf(0.99, errors + 1, rows - errors))
        bound = upper_risk(errors / rows, None, rows, 0.01)
        assert exact <= bound <= exact + 1.3 * (exact - errors / rows)
    assert upper_risk(0.1, 0.01, 0, 0.05) == 1.0
    assert upper_risk(0.0, 0.0, 10, 0.05) <= 1.0


@pytest.mark.parametrize("kind", LOSSES)
def test_the_interval_holds_at_all_times_at_once(kind: str) -> None:
    chance = np.random.default_rng(41)
    missed = 0
    for _ in range(60):
        detector = ConfidenceSequence(alpha=0.025, bound=0.99, reference=0.5)
        for stream in LOSSES[kind](chance, (12, 1, 30)):
            detector.update_batches(*batches(stream))
            low, high = detector.interval()
            assert 0.0 <= low <= detector.total / detector.n + 1e-9
            assert detector.total / detector.n - 1e-9 <= high <= 1.0
            if not low <= RISK <= high:
                missed += 1
                break
    assert missed <= most_allowed(60, 0.05)


def test_the_lower_limit_is_above_the_bound_just_when_the_capital_is_there() -> None:
    detector = ConfidenceSequence(alpha=0.01, bound=0.2, reference=0.2)
    for count in range(1, 60):
        alarm = bool(detector.update([float(count % 2)]))
        low = detector.interval()[0]
        assert alarm == (low > 0.2) or abs(low - 0.2) < 1e-9, count
        if alarm:
            assert detector.e_value() is not None
            assert (detector.e_value() or 0.0) >= 100.0
            return
    pytest.fail("no alarm at a risk of 0.5")


def test_a_change_is_found_dated_and_let_go_of() -> None:
    chance = np.random.default_rng(3)
    before = (chance.random((300, 50)) < 0.2).astype(float)
    after = (chance.random((120, 50)) < 0.35).astype(float)
    times = (np.arange(420) * 1000).tolist()
    sequence = ConfidenceSequence(alpha=0.005, bound=0.23, reference=0.2)
    e_detector = EDetector(alpha=0.0001, bound=0.23, reference=0.2)
    for detector in (sequence, e_detector):
        assert detector.update_batches(*batches(before), times[:300]) == []
        alarms = detector.update_batches(*batches(after), times[300:])
        assert alarms, detector
        assert detector.changed_at is not None
    assert e_detector.changed_at is not None
    first = EDetector(alpha=0.0001, bound=0.23, reference=0.2)
    assert first.update_batches(*batches(before), times[:300]) == []
    one_by_one = ((at, batches(after[at - 300 : at - 299])) for at in range(300, 420))
    first_alarm = next(at for at, batch in one_by_one if first.update_batches(*batch, [times[at]]))
    assert first_alarm < 320
    assert first.changed_at is not None
    assert abs(first.changed_at - 300_000) <= 5_000
    assert sequence.holding, "the risk stays high"
    sequence.update_batches(*batches((chance.random((100, 50)) < 0.2).astype(float)))
    assert not sequence.holding, "the risk is shown to be below the bound again"


DETECTORS: dict[str, Callable[[], BatchDetector]] = {
    "confidence_sequence": lambda: ConfidenceSequence(alpha=0.05, bound=0.2, reference=0.15),
    "e-sr": lambda: EDetector(alpha=0.01, bound=0.2, reference=0.15, kind="sr"),
    "e-cusum": lambda: EDetector(alpha=0.01, bound=0.2, reference=0.15, kind="cusum"),
}


@pytest.mark.parametrize("make", DETECTORS.values(), ids=list(DETECTORS))
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cuts=st.sets(st.integers(0, 90), max_size=5))
@example(seed=27921800, cuts={0, 64, 65})  # a batch without rows, alone, after an alarm
def test_cuts_and_json_change_nothing(make: Callable[[], BatchDetector], seed: int, cuts: set[int]) -> None:
    chance = np.random.default_rng(seed)
    rates = np.r_[np.full(30, 0.1), np.full(40, 0.6), np.full(20, 0.05)]
    rows = chance.integers(0, 30, 90)
    totals = chance.binomial(rows, rates).astype(float)
    whole, parts = make(), make()
    expected = whole.update_batches(rows, totals, totals)
    found = []
    ordered = sorted(cuts)
    for start, stop in zip([0, *ordered], [*ordered, 90], strict=True):
        found += [start + at for at in parts.update_batches(rows[start:stop], totals[start:stop], totals[start:stop])]
        data = msgspec.json.encode(parts)
        parts = msgspec.json.decode(data, type=type(parts))
        assert msgspec.json.encode(parts) == data
    assert found == expected
    assert (parts.detected or parts.anew) == (whole.detected or whole.anew)
    whole.detected, whole.anew = parts.detected, parts.anew
    assert parts == whole


@pytest.mark.parametrize("make", DETECTORS.values(), ids=list(DETECTORS))
def test_extremes(make: Callable[[], BatchDetector]) -> None:
    detector = make()
    assert detector.update([]) == []
    assert detector.update_batches([0], [0.0], [0.0]) == []
    assert detector.estimate is None
    for bad in ([math.nan], [math.inf], [-0.1], [1.1]):
        with pytest.raises(ValueError, match=r"\[0, 1\]"):
            detector.update(bad)
    assert detector == make() or detector.seen == 1
    detector.update_batches([10**9], [1e9], [1e9])  # everything wrong: as far out as numbers go
    assert b"null" not in msgspec.json.encode(detector.statistic)
    ones = make()
    ones.update([1.0] * 500)
    zeros = make()
    gaps = np.diff([-1, *zeros.update([0.0] * 500)])
    assert (gaps >= 100).all(), "an e-SR detector's level grows by 1 a batch at most while nothing happens"
    for one in (ones, zeros):
        assert msgspec.json.decode(msgspec.json.encode(one), type=type(one)) == one


def test_log_sum_neither_overflows_nor_underflows() -> None:
    assert log_sum(np.array([1e6, 0.0])) == pytest.approx(1e6)
    assert log_sum(np.array([-1e6, -1e6])) == pytest.approx(-1e6 + math.log(2.0))
